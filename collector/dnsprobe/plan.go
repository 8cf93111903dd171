package dnsprobe

import (
	"cmp"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"time"
)

// kind says what a server is.
type kind uint8

const (
	clusterDNS kind = iota
	nodeLocal
	coreDNSPod
	vpc
	numKinds
)

var kindNames = [numKinds]string{"cluster_dns", "node_local", "coredns_pod", "vpc"}

// transport is how a question travels.
type transport uint8

const (
	freshUDP transport = iota
	keptUDP
	freshTCP
	numTransports
)

var (
	protocolNames = [numTransports]string{"udp", "udp", "tcp"}
	socketNames   = [numTransports]string{"fresh", "kept", "fresh"}
)

// nameKind says what is asked for.
type nameKind uint8

const (
	clusterName nameKind = iota
	externalName
	numNames
)

var nameKindNames = [numNames]string{"cluster", "external"}

// question is one of those that a server of some kind is asked in each pass.
type question struct {
	transport transport
	name      nameKind
}

// questions lists what is asked of a server. The kept socket tests the way to the
// server, for which one name is enough. The VPC's resolvers do not know the
// cluster's names.
func questions(k kind) []question {
	if k == vpc {
		return []question{{freshUDP, externalName}, {keptUDP, externalName}, {freshTCP, externalName}}
	}
	return []question{
		{freshUDP, clusterName},
		{keptUDP, clusterName},
		{freshTCP, clusterName},
		{freshUDP, externalName},
		{freshTCP, externalName},
	}
}

// server is one that is probed.
type server struct {
	kind kind
	addr netip.Addr
}

// survey is what there is to probe now.
type survey struct {
	cluster Targets
	// nodeLocal says whether an interface has the address of NodeLocal DNSCache;
	// it means nothing where that is not known.
	nodeLocal, nodeLocalKnown bool
	vpc                       []netip.Addr
}

// limits bound the work of a pass.
type limits struct {
	interval time.Duration
	maxPods  int
	// maxRate is how many questions per second one CoreDNS pod gets at most from
	// all nodes together.
	maxRate float64
	// nodes is assumed where nobody tells how many there are.
	nodes int
}

// plan says who is probed, and how often.
type plan struct {
	servers []server
	// leftOut counts the CoreDNS pods above the limit.
	leftOut int
	// stride is in how many passes a question that can reach CoreDNS is asked once.
	stride int
}

func makePlan(s survey, l limits, seed maphash.Seed) plan {
	var p plan
	add := func(k kind, addrs ...netip.Addr) {
		for _, a := range addrs {
			p.servers = append(p.servers, server{k, a})
		}
	}
	for _, a := range s.cluster.ClusterDNS {
		// A cluster can have NodeLocal DNSCache as its DNS address. It is probed as
		// that, and only where it is.
		if a != nodeLocalAddr {
			add(clusterDNS, a)
		}
	}
	if s.nodeLocal {
		add(nodeLocal, nodeLocalAddr)
	}
	services := len(p.servers)
	pods := pick(s.cluster.Pods, l.maxPods, seed)
	add(coreDNSPod, pods...)
	add(vpc, s.vpc...)
	p.leftOut = len(s.cluster.Pods) - len(pods)
	p.stride = l.stride(cmp.Or(s.cluster.Nodes, l.nodes), services, len(s.cluster.Pods))
	return p
}

// pick chooses at most n of addrs. Each exporter has a seed of its own, so that
// all of them together probe every pod; while the pods stay, so does the choice.
func pick(addrs []netip.Addr, n int, seed maphash.Seed) []netip.Addr {
	if len(addrs) <= n {
		return addrs
	}
	rank := func(a netip.Addr) uint64 { return maphash.Bytes(seed, a.AsSlice()) }
	ranked := slices.SortedFunc(slices.Values(addrs), func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return ranked[:n]
}

// stride is how much slower than once a pass the nodes must ask so that no CoreDNS
// pod gets more than maxRate. All nodes are taken to be like this one, all questions
// to a service to reach CoreDNS, where they are spread over the pods.
func (l limits) stride(nodes, services, pods int) int {
	direct := float64(len(questions(coreDNSPod))) * min(1, float64(l.maxPods)/float64(max(1, pods)))
	if pods == 0 {
		direct = 0
	}
	viaService := float64(services*len(questions(clusterDNS))) / float64(max(1, pods))
	load := float64(nodes) * (direct + viaService) / l.interval.Seconds()
	return max(1, int(math.Ceil(load/l.maxRate)))
}

// strideOf is in how many passes a server of this kind is asked once.
func (p plan) strideOf(k kind) int {
	if k == vpc {
		return 1
	}
	return p.stride
}

// workers is how many questions are under way at once, so that n of them end
// within the budget even where each one takes the longest time that it may.
func workers(n int, longest, budget time.Duration) int {
	turns := max(1, int(budget/longest))
	return min(n, max(minWorkers, (n+turns-1)/turns))
}
