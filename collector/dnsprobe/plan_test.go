package dnsprobe

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var testLimits = limits{interval: 15 * time.Second, maxPods: 32, maxRate: 100, nodes: 5000}

// pods makes n addresses.
func pods(n int) []netip.Addr {
	list := make([]netip.Addr, n)
	for i := range list {
		list[i] = netip.AddrFrom4([4]byte{10, 0, byte(i / 256), byte(i % 256)})
	}
	return list
}

func cluster(nodes, numPods int) survey {
	return survey{cluster: Targets{Nodes: nodes, ClusterDNS: addrs("172.21.0.10"), Pods: pods(numPods)}}
}

func planOf(s survey) plan { return makePlan(s, testLimits, maphash.MakeSeed()) }

func TestPlanNamesEveryServerOnce(t *testing.T) {
	t.Parallel()
	s := cluster(10, 2)
	s.nodeLocal, s.nodeLocalKnown = true, true
	s.vpc = addrs("192.0.2.1")
	s.cluster.ClusterDNS = append(s.cluster.ClusterDNS, nodeLocalAddr)
	want := []server{
		{clusterDNS, netip.MustParseAddr("172.21.0.10")},
		{nodeLocal, nodeLocalAddr},
		{coreDNSPod, netip.MustParseAddr("10.0.0.0")},
		{coreDNSPod, netip.MustParseAddr("10.0.0.1")},
		{vpc, netip.MustParseAddr("192.0.2.1")},
	}
	if got := planOf(s); !slices.Equal(got.servers, want) {
		t.Errorf("got %v", got.servers)
	}
	s.nodeLocal = false
	if got := planOf(s); !slices.Equal(got.servers, slices.Delete(want, 1, 2)) {
		t.Errorf("without the address: got %v", got.servers)
	}
}

// TestNoPodGetsTooMany computes what a pod gets from all nodes at the pace of each
// plan, by the plan's own servers rather than by the formula of the stride.
func TestNoPodGetsTooMany(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{1, 10, 100, 500, 1000, 5000, 100_000} {
		for _, numPods := range []int{0, 1, 2, 13, 32, 33, 125, 625, 4096} {
			for _, withNodeLocal := range []bool{false, true} {
				s := cluster(nodes, numPods)
				s.nodeLocal = withNodeLocal
				p := planOf(s)
				var direct, viaService float64
				for _, server := range p.servers {
					if server.kind == coreDNSPod {
						direct += float64(len(questions(server.kind)))
					} else {
						viaService += float64(len(questions(server.kind)))
					}
				}
				perPod := float64(nodes) * (direct + viaService) / float64(max(1, numPods)) /
					(float64(p.stride) * testLimits.interval.Seconds())
				if perPod > testLimits.maxRate*1.000001 {
					t.Errorf("%d nodes, %d pods: %g questions per second for each at stride %d", nodes, numPods, perPod, p.stride)
				}
				slower := perPod * float64(p.stride) / float64(max(1, p.stride-1))
				if p.stride > 1 && slower <= testLimits.maxRate*0.999999 {
					t.Errorf("%d nodes, %d pods: stride %d is slower than need be", nodes, numPods, p.stride)
				}
			}
		}
	}
}

func TestStride(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ nodes, pods, want int }{
		{10, 2, 1},
		{100, 2, 1},
		{500, 2, 3},
		{5000, 2, 25},
		{5000, 625, 1}, // as many pods as ACK recommends
		{0, 0, 17},     // not known: 5,000 nodes and one pod
	} {
		if got := planOf(cluster(c.nodes, c.pods)).stride; got != c.want {
			t.Errorf("%d nodes, %d pods: got %d, want %d", c.nodes, c.pods, got, c.want)
		}
	}
	p := planOf(cluster(5000, 2))
	if p.strideOf(vpc) != 1 || p.strideOf(clusterDNS) != 25 || p.strideOf(coreDNSPod) != 25 {
		t.Errorf("strides %d, %d, %d", p.strideOf(vpc), p.strideOf(clusterDNS), p.strideOf(coreDNSPod))
	}
}

// TestNodesShareThePods: each node leaves most pods out, and together they leave
// none out.
func TestNodesShareThePods(t *testing.T) {
	t.Parallel()
	const nodes, numPods = 500, 625
	probed := make(map[netip.Addr]int)
	for range nodes {
		p := planOf(cluster(nodes, numPods))
		if p.leftOut != numPods-testLimits.maxPods || len(p.servers) != 1+testLimits.maxPods {
			t.Fatalf("%d left out, %d servers", p.leftOut, len(p.servers))
		}
		for _, s := range p.servers[1:] {
			probed[s.addr]++
		}
	}
	// 25.6 nodes probe a pod on average, with a standard deviation of 5.
	for _, a := range pods(numPods) {
		if n := probed[a]; n < 1 || n > 70 {
			t.Errorf("%s is probed by %d nodes", a, n)
		}
	}
}

func TestChoiceOfPodsIsStable(t *testing.T) {
	t.Parallel()
	seed := maphash.MakeSeed()
	all := pods(625)
	before := pick(all, 32, seed)
	gone := before[0]
	after := pick(slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return a == gone }), 32, seed)
	if !slices.Equal(after[:31], before[1:]) {
		t.Errorf("before %v, after %v", before, after)
	}
	if few := pick(all[:32], 32, seed); !slices.Equal(few, all[:32]) {
		t.Errorf("of 32: %v", few)
	}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		questions       int
		timeout, budget time.Duration
		want            int
	}{
		{3, 2 * time.Second, 12 * time.Second, 3},
		{26, 2 * time.Second, 12 * time.Second, 8},
		{176, 2 * time.Second, 12 * time.Second, 30},
		{176, 5 * time.Second, 12 * time.Second, 88},
		{176, 5 * time.Second, time.Second, 176},
		{0, time.Second, time.Second, 0},
	} {
		if got := workers(c.questions, c.timeout, c.budget); got != c.want {
			t.Errorf("%v: got %d", c, got)
		}
	}
}
