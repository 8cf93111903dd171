package slb

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

var readAt = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func ecs(port int, ids ...string) []aliyun.Backend {
	var list []aliyun.Backend
	for _, id := range ids {
		list = append(list, aliyun.Backend{ServerID: id, Type: typeECS, Port: aliyun.Integer(port)})
	}
	return list
}

func eni(port int, addresses ...string) []aliyun.Backend {
	var list []aliyun.Backend
	for _, ip := range addresses {
		list = append(list, aliyun.Backend{ServerID: "eni-1", ServerIP: ip, Type: "eni", Port: aliyun.Integer(port)})
	}
	return list
}

// balancer is a complete load balancer with a group for each list of backends.
func balancer(t testing.TB, id string, groups ...[]aliyun.Backend) *inventory.LoadBalancer {
	t.Helper()
	l := &inventory.LoadBalancer{LoadBalancer: aliyun.LoadBalancer{ID: id}, Listed: readAt}
	for i, list := range groups {
		backends, err := inventory.NewBackends(list)
		if err != nil {
			t.Fatal(err)
		}
		l.Groups = append(l.Groups, inventory.Group{
			ServerGroup: aliyun.ServerGroup{ID: fmt.Sprint("rsp-", id, "-", i)}, Backends: backends, Read: readAt,
		})
	}
	return l
}

func has(balancers ...*inventory.LoadBalancer) *inventory.Inventory {
	i := &inventory.Inventory{Region: make(map[string]aliyun.LoadBalancer), Cluster: make(map[string]*inventory.LoadBalancer)}
	for _, l := range balancers {
		i.Region[l.ID], i.Cluster[l.ID] = l.LoadBalancer, l
	}
	return i
}

func TestUsage(t *testing.T) {
	t.Parallel()
	got := usageOf(has(
		// An instance at two ports of one group, and again in another one.
		balancer(t, "lb-1", slices.Concat(ecs(1, "i-a", "i-b"), ecs(2, "i-a")), ecs(3, "i-a")),
		balancer(t, "lb-2", ecs(1, "i-a")),
		// Two addresses of one interface are two servers, and no instance.
		balancer(t, "lb-3", eni(80, "10.0.0.1", "10.0.0.2"), eni(81, "10.0.0.1")),
		balancer(t, "lb-4"),
	))
	want := usage{
		balancers: map[string]balancerUsage{"lb-1": {2, 4}, "lb-2": {1, 1}, "lb-3": {2, 3}, "lb-4": {}},
		instances: map[string]instanceUsage{"i-a": {2, 3, 4}, "i-b": {1, 1, 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestUsageNotComplete(t *testing.T) {
	t.Parallel()
	unread, unlisted := balancer(t, "lb-2", ecs(1, "i-a"), nil), balancer(t, "lb-3")
	unread.Groups[1].Read, unlisted.Listed = time.Time{}, time.Time{}
	for _, l := range []*inventory.LoadBalancer{unread, unlisted} {
		got := usageOf(has(balancer(t, "lb-1", ecs(1, "i-a")), l))
		want := usage{balancers: map[string]balancerUsage{"lb-1": {1, 1}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", l.ID, got, want)
		}
	}
}

// TestUsageProperties proves by chance how the readings relate.
func TestUsageProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		var all []*inventory.LoadBalancer
		attachments := 0
		for n := range 1 + random.IntN(5) {
			var groups [][]aliyun.Backend
			for range random.IntN(6) {
				var group []aliyun.Backend
				for range random.IntN(10) {
					group = append(group, ecs(random.IntN(3), fmt.Sprint("i-", random.IntN(8)))...)
				}
				groups = append(groups, group)
				attachments += len(group)
			}
			all = append(all, balancer(t, fmt.Sprint("lb-", n), groups...))
		}
		u := usageOf(has(all...))
		sums := [2]int{}
		for id, b := range u.balancers {
			sums[0] += b.attachments
			if b.servers > b.attachments || b.servers > 8 {
				t.Fatalf("seed %d: %s: %+v", seed, id, b)
			}
		}
		for id, i := range u.instances {
			sums[1] += i.ports
			if i.loadBalancers < 1 || i.loadBalancers > i.groups || i.groups > i.ports || i.loadBalancers > len(all) {
				t.Fatalf("seed %d: %s: %+v", seed, id, i)
			}
		}
		if sums != [2]int{attachments, attachments} {
			t.Fatalf("seed %d: %v, not %d", seed, sums, attachments)
		}
	}
}

// serves is a Service with a port for each group.
func serves(id string, groups ...ccm.Group) ccm.Service {
	s := ccm.Service{LoadBalancerID: id}
	for i, g := range groups {
		s.Listeners = append(s.Listeners, ccm.Listener{Port: int32(80 + i), Group: g})
	}
	return s
}

func perNode(name string, ids ...string) ccm.Group {
	g := ccm.Group{Name: name, Known: true, PerNode: true}
	for _, id := range ids {
		g.Backends = append(g.Backends, ccm.Backend{ServerID: id, Port: 1})
	}
	return g
}

func perPod(name string, addresses ...string) ccm.Group {
	g := ccm.Group{Name: name, Known: true}
	for _, ip := range addresses {
		g.Backends = append(g.Backends, ccm.Backend{ServerIP: ip, Port: 1})
	}
	return g
}

func predict(services []ccm.Service) map[string]*prediction {
	p := newPredictor()
	for _, s := range services {
		p.add(s)
	}
	return p.balancers
}

func TestPredict(t *testing.T) {
	t.Parallel()
	shared := ccm.Group{ID: "rsp-1", Known: true, Backends: []ccm.Backend{{ServerID: "i-z"}}}
	got := predict([]ccm.Service{
		serves("lb-1", perNode("a", "i-a", "i-b"), perNode("b", "i-a", "i-b"), perPod("c", "10.0.0.1")),
		serves("lb-1", perNode("d", "i-a", "i-b")),
		serves("lb-2", shared), serves("lb-2", shared),
		serves("lb-3", ccm.Group{PerNode: true}, ccm.Group{PerNode: true}),
		serves("", perNode("e", "i-a")),
	})
	want := map[string]*prediction{
		"lb-1": {ports{3, 1}, balancerUsage{3, 7}, true},
		"lb-2": {ports{0, 1}, balancerUsage{1, 1}, true},
		"lb-3": {ports{2, 0}, balancerUsage{}, false},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", slices.Collect(maps.Values(got)))
	}
}

func TestHeadroomNodes(t *testing.T) {
	t.Parallel()
	two := balancer(t, "lb-1", ecs(1, "i-a", "i-b", "i-c"), ecs(2, "i-a", "i-b", "i-c"))
	cheap := balancer(t, "lb-2", ecs(1, "i-a", "i-b", "i-c", "i-d"))
	unread := balancer(t, "lb-3", nil)
	unread.Groups[0].Read = time.Time{}
	a, b := serves("lb-1", perNode("a"), perNode("b")), serves("lb-2", perNode("c"), perPod("d"))
	for _, test := range []struct {
		name     string
		has      *inventory.Inventory
		services []ccm.Service
		limit    float64
		want     []headroom
	}{
		// 3 servers and 6 attachments, 2 more for each node: 2.5 nodes.
		{"one", has(two), []ccm.Service{a}, 11, []headroom{{"backend_servers", "servers", 8}, {"backend_servers", "attachments", 2}}},
		{"the least counts", has(two, cheap), []ccm.Service{a, b}, 11, []headroom{{"backend_servers", "servers", 7}, {"backend_servers", "attachments", 2}}},
		{"exhausted", has(two), []ccm.Service{a}, 6, []headroom{{"backend_servers", "servers", 3}, {"backend_servers", "attachments", 0}}},
		{"over the limit", has(two), []ccm.Service{a}, 2, []headroom{{"backend_servers", "servers", 0}, {"backend_servers", "attachments", 0}}},
		{"pods only", has(cheap), []ccm.Service{serves("lb-2", perPod("d"))}, 11, nil},
		{"no Services", has(two), nil, 11, nil},
		{"deleted", has(), []ccm.Service{a}, 11, nil},
		{"not complete", has(two, unread), []ccm.Service{a, serves("lb-3", perNode("e"))}, 11, nil},
		{
			"not complete, but pods only", has(two, unread),
			[]ccm.Service{a, serves("lb-3", perPod("e"))},
			11,
			[]headroom{{"backend_servers", "servers", 8}, {"backend_servers", "attachments", 2}},
		},
	} {
		got := headroomNodes(test.has, predict(test.services), usageOf(test.has), test.limit)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// TestHeadroomNodesIsExact proves by chance that so many nodes fit, and not one more.
func TestHeadroomNodesIsExact(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 3))
		nodes, limit := 1+random.IntN(20), 1+random.IntN(100)
		groups := make([]int, 1+random.IntN(3))
		for i := range groups {
			groups[i] = 1 + random.IntN(4)
		}
		found := headroomNodesOf(t, groups, nodes, limit)
		for _, h := range found {
			fits := func(more int) bool {
				for _, n := range groups {
					if h.reading == readingServers && nodes+more > limit || h.reading == readingAttachments && n*(nodes+more) > limit {
						return false
					}
				}
				return true
			}
			if more := int(h.value); more > 0 && !fits(more) || fits(more+1) {
				t.Fatalf("seed %d: %+v of %v groups, %d nodes, limit %d", seed, h, groups, nodes, limit)
			}
		}
		if len(found) != 2 {
			t.Fatalf("seed %d: %v", seed, found)
		}
	}
}

func headroomNodesOf(t *testing.T, groups []int, nodes, limit int) []headroom {
	t.Helper()
	var ids []string
	for n := range nodes {
		ids = append(ids, fmt.Sprint("i-", n))
	}
	var all []*inventory.LoadBalancer
	var services []ccm.Service
	for i, n := range groups {
		var has [][]aliyun.Backend
		var wants []ccm.Group
		for j := range n {
			has, wants = append(has, ecs(j, ids...)), append(wants, perNode(fmt.Sprint(j)))
		}
		id := fmt.Sprint("lb-", i)
		all, services = append(all, balancer(t, id, has...)), append(services, serves(id, wants...))
	}
	i := has(all...)
	return headroomNodes(i, predict(services), usageOf(i), float64(limit))
}

func TestHeadroomPorts(t *testing.T) {
	t.Parallel()
	busy := balancer(t, "lb-1", ecs(1, "i-a"), ecs(2, "i-a"), ecs(3, "i-a"))
	busy.Listeners = make([]aliyun.Listener, 3)
	api := balancer(t, "lb-api", nil)
	api.Listeners = make([]aliyun.Listener, 9)
	services := []ccm.Service{serves("lb-1", perNode("a")), serves("lb-2", perNode("a"))}
	got := headroomPorts(has(busy, api), predict(services), usageOf(has(busy, api)), 5, 10)
	want := []headroom{
		{"listeners", "listeners", 7},
		{"backend_attachments", "load_balancers", 4},
		{"backend_attachments", "groups", 2},
		{"backend_attachments", "ports", 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	api.Listed = time.Time{}
	if got := headroomPorts(has(busy, api), predict(services), usageOf(has(busy, api)), 5, 10); !slices.Equal(got, want[:1]) {
		t.Errorf("not complete: %v", got)
	}
	if got := headroomPorts(has(), nil, usageOf(has()), 5, 10); !slices.Equal(got, []headroom{
		{"backend_attachments", "load_balancers", 5}, {"backend_attachments", "groups", 5}, {"backend_attachments", "ports", 5},
	}) {
		t.Errorf("nothing: %v", got)
	}
}
