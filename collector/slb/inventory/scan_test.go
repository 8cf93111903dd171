package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ack-exporter/collector"
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/collector/slb/slbtest"
	"ack-exporter/internal/aliyun"
)

// clock goes on by a minute in each refresh.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) tick() { c.now = c.now.Add(time.Minute) }

type scan struct {
	t     *testing.T
	cloud *slbtest.Cloud
	clock *clock
	*inventory.Scanner
}

func newScan(t *testing.T, calls int) *scan {
	t.Helper()
	s := &scan{t: t, cloud: slbtest.New(), clock: newClock()}
	s.Scanner = inventory.NewScanner(inventory.Config{API: s.cloud, Calls: calls, Now: s.clock.Now})
	return s
}

// balancers adds load balancers with groups of two backends each.
func (s *scan) balancers(n, groups int) {
	for i := range n {
		l := &slbtest.LoadBalancer{ID: fmt.Sprintf("lb-%03d", i), ClusterID: "c1"}
		for j := range groups {
			port := 30000 + j
			l.Groups = append(l.Groups, &slbtest.Group{
				ID: fmt.Sprintf("rsp-%03d-%03d", i, j), Name: groupName(i, j), Backends: slbtest.ECS(port, "i-a", "i-b"),
			})
			l.Listeners = append(l.Listeners, slbtest.Listener{Port: 80 + j, Protocol: "tcp", Group: l.Groups[j].ID})
		}
		s.cloud.Add(l)
	}
}

func groupName(i, j int) string { return fmt.Sprintf("k8s/%d/s%d/ns/c1", 30000+j, i) }

// wanted is what balancers has made.
func wanted(n, groups int, servers ...string) inventory.Wanted {
	return inventory.Wanted{ClusterID: "c1", Services: slices.Values(services(n, groups, servers...))}
}

func services(n, groups int, servers ...string) []ccm.Service {
	var all []ccm.Service
	for i := range n {
		service := ccm.Service{LoadBalancerID: fmt.Sprintf("lb-%03d", i)}
		for j := range groups {
			g := ccm.Group{Name: groupName(i, j), Known: true}
			for _, server := range servers {
				g.Backends = append(g.Backends, ccm.Backend{ServerID: server, Port: int32(30000 + j)})
			}
			service.Listeners = append(service.Listeners, ccm.Listener{Port: int32(80 + j), Group: g})
		}
		all = append(all, service)
	}
	return all
}

func (s *scan) refresh(w inventory.Wanted) (*inventory.Inventory, inventory.Progress) {
	s.t.Helper()
	s.clock.tick()
	i, p, err := s.Refresh(s.t.Context(), w)
	if err != nil {
		s.t.Fatal(err)
	}
	return i, p
}

func TestRefreshReadsAll(t *testing.T) {
	t.Parallel()
	s := newScan(t, 100)
	s.balancers(3, 2)
	s.cloud.Add(&slbtest.LoadBalancer{ID: "lb-others", ClusterID: "c2"}, &slbtest.LoadBalancer{ID: "lb-api"},
		&slbtest.LoadBalancer{ID: "lb-reused"}, &slbtest.LoadBalancer{ID: "lb-none"})
	w := wanted(3, 2, "i-a", "i-b")
	w.LoadBalancers = []string{"lb-api", "lb-deleted"}
	w.Services = slices.Values(append(services(3, 2, "i-a", "i-b"), ccm.Service{LoadBalancerID: "lb-reused"}, ccm.Service{}))
	i, p := s.refresh(w)
	if len(i.Region) != 7 || len(i.Cluster) != 5 || !i.Complete() {
		t.Errorf("%d of the region, %d of the cluster, complete %t", len(i.Region), len(i.Cluster), i.Complete())
	}
	want := inventory.Progress{Calls: 1 + 1 + 5 + 6, LoadBalancers: 5, Groups: 6, Oldest: s.clock.now}
	if p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	lb := i.Cluster["lb-001"]
	if len(lb.Listeners) != 2 || len(lb.Groups) != 2 || lb.Groups[1].Name != groupName(1, 1) {
		t.Fatalf("%+v", lb)
	}
	got := slices.Collect(lb.Groups[1].Backends.All())
	if len(got) != 2 || got[1] != (aliyun.Backend{ServerID: "i-b", Type: "ecs", Port: 30001, Weight: 100}) {
		t.Errorf("%+v", got)
	}
}

// TestRefreshInTurns proves that each group is read in its turn, load balancer by load
// balancer, and that no refresh makes more calls than it may.
func TestRefreshInTurns(t *testing.T) {
	t.Parallel()
	const calls = 10
	s := newScan(t, calls)
	s.balancers(4, 6)
	w := wanted(4, 6, "i-a", "i-b")
	// 2 calls are for listings, and 8 for the 4 lists and 24 groups.
	for n := range 4 {
		i, p := s.refresh(w)
		complete := 0
		for _, l := range i.Cluster {
			if l.Complete() {
				complete++
			}
		}
		if complete != n+1 || p.Calls > calls {
			t.Errorf("refresh %d: %d are complete, %d calls", n, complete, p.Calls)
		}
	}
	// Afterwards everything is read again, within as many refreshes as it takes.
	for range 4 {
		s.refresh(w)
	}
	if _, p := s.refresh(w); s.clock.now.Sub(p.Oldest) > 4*time.Minute {
		t.Errorf("the oldest is of %s at %s", p.Oldest, s.clock.now)
	}
}

// TestRefreshOrder proves what is read first, and that nothing waits forever.
func TestRefreshOrder(t *testing.T) {
	t.Parallel()
	s := newScan(t, 200)
	s.balancers(4, 10)
	same := wanted(4, 10, "i-a", "i-b")
	s.refresh(same)

	// Something else is wanted of one group, and has come into being.
	s.Scanner = shrink(s, 6, same)
	fewer := services(4, 10, "i-a", "i-b")
	fewer[2].Listeners[7].Group.Backends = fewer[2].Listeners[7].Group.Backends[:1]
	changed := inventory.Wanted{ClusterID: "c1", Services: slices.Values(fewer)}
	group := s.cloud.LoadBalancers["lb-002"].Groups[7]
	group.Backends = slbtest.ECS(30007, "i-a")
	i, _ := s.refresh(changed)
	if g := i.Cluster["lb-002"].Groups[7]; g.Backends.Len() != 1 || g.Outdated || !g.AsWanted {
		t.Errorf("the group that changed was not read: %+v", g)
	}

	// All groups differ for good. The lists, which do not, are read all the same.
	other := wanted(4, 10, "i-z")
	i, p := s.refresh(other)
	outdated := 0
	for _, l := range i.Cluster {
		for _, g := range l.Groups {
			if g.Outdated {
				outdated++
			}
			if g.AsWanted {
				t.Errorf("%s is as wanted", g.ID)
			}
		}
	}
	// 2 of 6 calls are for listings, 1 of the other 4 for what is old.
	if outdated != 40-3 || p.Calls != 6 {
		t.Errorf("%d are outdated, %d calls", outdated, p.Calls)
	}
	for range 20 {
		i, p = s.refresh(other)
	}
	if age := s.clock.now.Sub(p.Oldest); age > 15*time.Minute {
		t.Errorf("something is %s old", age)
	}
	if !i.Complete() {
		t.Error("not complete")
	}
}

// shrink is a Scanner that knows all, and may make fewer calls from then on.
func shrink(s *scan, calls int, w inventory.Wanted) *inventory.Scanner {
	s.t.Helper()
	limited := inventory.Config{API: s.cloud, Calls: calls, Now: s.clock.Now}
	scanner := inventory.NewScanner(limited)
	s.Scanner = scanner
	for range 100 {
		if i, p := s.refresh(w); i.Complete() && p.Unread == 0 {
			return scanner
		}
	}
	s.t.Fatal("does not become complete")
	return nil
}

// TestRefreshFindsNewGroups proves that a list of groups is read again when a listener or
// a Service names a group that is not in it.
func TestRefreshFindsNewGroups(t *testing.T) {
	t.Parallel()
	s := newScan(t, 6)
	s.balancers(6, 3)
	s.Scanner = shrink(s, 8, wanted(6, 3, "i-a", "i-b"))
	lb := s.cloud.LoadBalancers["lb-004"]
	lb.Groups = append(lb.Groups, &slbtest.Group{ID: "rsp-new", Name: "mine", Backends: slbtest.ECS(1, "i-a")})
	lb.Listeners = append(lb.Listeners, slbtest.Listener{Port: 9, Protocol: "tcp", Group: "rsp-new"})
	i, _ := s.refresh(wanted(6, 3, "i-a", "i-b"))
	if got := i.Cluster["lb-004"]; len(got.Groups) != 4 || got.Groups[3].Backends.Len() != 1 {
		t.Errorf("%+v", got.Groups)
	}
}

func TestRefreshInterrupted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		err     error
		stopped inventory.Stop
		failed  bool
	}{
		{"budget", aliyun.ErrBudget, inventory.ByBudget, false},
		{"throttled", aliyun.Refusal(aliyun.Action{}, 400, "Throttling.User"), inventory.ByThrottle, false},
		{"forbidden", aliyun.Refusal(aliyun.Action{}, 403, "Forbidden.RAM"), inventory.ByError, true},
		{"unavailable", fmt.Errorf("x: %w", collector.ErrUnavailable), inventory.ByError, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScan(t, 100)
			s.balancers(2, 3)
			s.cloud.Before = func(aliyun.Action, map[string]any) error {
				if s.cloud.Calls["DescribeVServerGroupAttribute"] > 4 {
					return test.err
				}
				return nil
			}
			i, p, err := s.Refresh(t.Context(), inventory.Wanted{ClusterID: "c1"})
			if (err != nil) != test.failed || err != nil && !errors.Is(err, test.err) {
				t.Errorf("error %v", err)
			}
			if p.Stopped != test.stopped || p.Unread != 2 {
				t.Errorf("%+v", p)
			}
			if !i.Cluster["lb-000"].Complete() || i.Cluster["lb-001"].Complete() {
				t.Error("what was read is lost, or more is there")
			}
			s.cloud.Before = nil
			if i, p := s.refresh(inventory.Wanted{ClusterID: "c1"}); !i.Complete() || p.Stopped != inventory.NotStopped {
				t.Errorf("not complete afterwards: %+v", p)
			}
		})
	}
}

// TestRefreshInTime proves that reading ends before the time of the caller does.
func TestRefreshInTime(t *testing.T) {
	t.Parallel()
	s := newScan(t, 100)
	s.balancers(1, 5)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s.Scanner = inventory.NewScanner(inventory.Config{API: hanging{s.cloud}, Calls: 100, Now: s.clock.Now})
	i, p, err := s.Refresh(ctx, inventory.Wanted{ClusterID: "c1"})
	if err != nil || p.Stopped != inventory.ByTime || ctx.Err() != nil {
		t.Fatalf("%+v, %v, %v", p, err, ctx.Err())
	}
	if lb := i.Cluster["lb-000"]; len(lb.Groups) != 5 || lb.Complete() {
		t.Errorf("%+v", lb)
	}
}

// hanging answers nothing about the backends of a group.
type hanging struct{ *slbtest.Cloud }

func (h hanging) Call(ctx context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	if action.Name == "DescribeVServerGroupAttribute" {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.Cloud.Call(ctx, action, parameters, out)
}

// TestRefreshDeleted proves that what is deleted while it is read is no failure.
func TestRefreshDeleted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"DescribeLoadBalancerListeners", "DescribeVServerGroups", "DescribeVServerGroupAttribute"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newScan(t, 100)
			s.balancers(3, 2)
			s.cloud.Before = func(action aliyun.Action, _ map[string]any) error {
				if action.Name == at {
					delete(s.cloud.LoadBalancers, "lb-001")
					if at == "DescribeVServerGroupAttribute" {
						delete(s.cloud.LoadBalancers, "lb-000")
					}
				}
				return nil
			}
			i, p := s.refresh(inventory.Wanted{ClusterID: "c1"})
			if i.Cluster["lb-001"] != nil || !i.Complete() || p.Unread != 0 {
				t.Errorf("%+v", p)
			}
			if _, there := i.Region["lb-001"]; there {
				t.Error("it is in the region still")
			}
			if i.Cluster["lb-002"] == nil {
				t.Error("another one is missing")
			}
		})
	}
}

func TestRefreshDeletedGroup(t *testing.T) {
	t.Parallel()
	s := newScan(t, 100)
	s.balancers(2, 3)
	s.cloud.Before = func(action aliyun.Action, _ map[string]any) error {
		if action.Name == "DescribeVServerGroupAttribute" {
			lb := s.cloud.LoadBalancers["lb-000"]
			lb.Groups = lb.Groups[:1]
		}
		return nil
	}
	if i, p := s.refresh(inventory.Wanted{ClusterID: "c1"}); len(i.Cluster["lb-000"].Groups) != 1 || !i.Complete() {
		t.Errorf("%+v", p)
	}
}

// TestRefreshOneBroken proves that one answer that cannot be used hides no other.
func TestRefreshOneBroken(t *testing.T) {
	t.Parallel()
	s := newScan(t, 100)
	s.balancers(2, 3)
	s.cloud.LoadBalancers["lb-000"].Groups[1].Backends = slbtest.ECS(70000, "i-a")
	i, p, err := s.Refresh(t.Context(), inventory.Wanted{ClusterID: "c1"})
	if !errors.Is(err, collector.ErrDecode) || p.Unread != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if i.Cluster["lb-000"].Complete() || !i.Cluster["lb-001"].Complete() {
		t.Error("wrong ones are complete")
	}
}

func TestRefreshForgets(t *testing.T) {
	t.Parallel()
	s := newScan(t, 100)
	s.balancers(2, 1)
	s.refresh(inventory.Wanted{ClusterID: "c1"})
	s.cloud.LoadBalancers["lb-000"].ClusterID = "c2"
	if i, _ := s.refresh(inventory.Wanted{ClusterID: "c1"}); len(i.Region) != 2 || len(i.Cluster) != 1 {
		t.Errorf("%d, %d", len(i.Region), len(i.Cluster))
	}
	// Without the id of the cluster its tag says nothing.
	if i, _ := s.refresh(inventory.Wanted{}); len(i.Cluster) != 0 {
		t.Errorf("%d", len(i.Cluster))
	}
}

// TestRefreshNeverPartial proves by chance that whatever call fails, in whatever way, no
// listing is published in part: each is as the cloud has it, or is not there.
func TestRefreshNeverPartial(t *testing.T) {
	t.Parallel()
	failures := []error{
		aliyun.ErrBudget, collector.ErrUnavailable, collector.ErrDecode,
		aliyun.Refusal(aliyun.Action{}, 403, "Forbidden.RAM"), aliyun.Refusal(aliyun.Action{}, 400, "InvalidParameter"),
		aliyun.Refusal(aliyun.Action{}, 400, "Throttling"),
	}
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newScan(t, 5+random.IntN(60))
		s.balancers(1+random.IntN(14), random.IntN(5))
		s.cloud.PageSize = 1 + random.IntN(7)
		w := inventory.Wanted{ClusterID: "c1"}
		s.cloud.Before = func(aliyun.Action, map[string]any) error {
			if random.IntN(12) == 0 {
				return failures[random.IntN(len(failures))]
			}
			return nil
		}
		for range 4 {
			s.clock.tick()
			i, _, err := s.Refresh(t.Context(), w)
			if i == nil && err == nil {
				t.Fatalf("seed %d: neither an inventory nor an error", seed)
			}
			if i != nil {
				checkWhole(t, seed, s.cloud, i)
			}
		}
		s.cloud.Before = nil
		complete := false
		// The least that a refresh reads is one list or group, of 70.
		for n := 0; n < 70 && !complete; n++ {
			i, _ := s.refresh(w)
			complete = i.Complete()
		}
		if !complete {
			t.Fatalf("seed %d: not complete after the failures have ended", seed)
		}
	}
}

func checkWhole(t *testing.T, seed uint64, cloud *slbtest.Cloud, i *inventory.Inventory) {
	t.Helper()
	if len(i.Region) != len(cloud.LoadBalancers) || len(i.Cluster) != len(cloud.LoadBalancers) {
		t.Fatalf("seed %d: %d of the region and %d of the cluster, of %d", seed, len(i.Region), len(i.Cluster), len(cloud.LoadBalancers))
	}
	for id, l := range i.Cluster {
		has := cloud.LoadBalancers[id]
		if len(l.Listeners) != len(has.Listeners) {
			t.Fatalf("seed %d: %d listeners of %d", seed, len(l.Listeners), len(has.Listeners))
		}
		if want := len(has.Groups); len(l.Groups) != want && !l.Listed.IsZero() || len(l.Groups) > 0 && l.Listed.IsZero() {
			t.Fatalf("seed %d: %d groups of %d", seed, len(l.Groups), want)
		}
		for _, g := range l.Groups {
			if n := g.Backends.Len(); n != 2 && !g.Read.IsZero() || n > 0 && g.Read.IsZero() {
				t.Fatalf("seed %d: %d backends of 2", seed, n)
			}
		}
	}
}
