//go:build e2e

package cloud

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/cloudcluster/cloudclustertest"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

// scene is a cluster in a simulated cloud.
type scene struct {
	*cloudcluster.Cluster
	world *world.World
	role  []string // flags of the cluster role
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := world.New(t)
	c, role := cloudclustertest.Start(t, w)
	return &scene{c, w, role}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts the cluster role, with the environment in which it finds its key.
func (s *scene) start(t testing.TB, flags ...string) *exporter.Process {
	t.Helper()
	return exporter.Start(t, s.world, exporter.Config{
		Role: node.RoleCluster, Wrapper: s.Wrapper(), Args: slices.Concat(s.role, []string{"--log.level=debug", "--no-leader-election"}, flags),
	})
}

func stopped(t testing.TB, p *exporter.Process) {
	t.Helper()
	_, err := p.Stop()
	must(t, err)
}

// TestClusterRole has the cluster role look at a cluster in a simulated cloud, with the
// rights that the project ships for the cluster and for the cloud, and nothing more.
func TestClusterRole(t *testing.T) {
	clustertest.Binaries(t)
	t.Parallel()
	s := newScene(t)
	p := s.start(t, s.Flags("1s")...)
	p.AwaitReady(t, patience)
	t.Run("healthy", func(t *testing.T) { s.healthy(t, p) })
	t.Run("changes", func(t *testing.T) { s.changes(t, p) })
	t.Run("refused", func(t *testing.T) { s.refused(t, p) })
	t.Run("throttled", func(t *testing.T) { s.throttled(t, p) })
	t.Run("unreachable", func(t *testing.T) { s.unreachable(t, p) })
	t.Run("without a key", func(t *testing.T) { s.keyless(t, p) })
	s.requireNoSecrets(t, p)
	stopped(t, p)
	t.Run("one refresh", s.oneRefresh)
	t.Run("budget", s.budget)
	t.Run("no credentials", s.noCredentials)
}

// await waits until the exporter tells the truth.
func (s *scene) await(t testing.TB, p *exporter.Process, besides exporter.Metrics, conditions ...func(exporter.Metrics) error) {
	t.Helper()
	want := truthOf(t, s.Cluster, besides)
	p.Await(t, patience, func(m exporter.Metrics) error {
		errs := []error{sameAs(m, want)}
		for _, condition := range conditions {
			errs = append(errs, condition(m))
		}
		return errors.Join(errs...)
	})
}

// succeed is nil where the last refresh of all of these collectors succeeded.
func succeed(names ...string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		var errs []error
		for _, name := range names {
			errs = append(errs, m.Expect(1, "ack_exporter_collector_success", "collector", name), m.Expect(1, "ack_exporter_collector_applicable", "collector", name))
		}
		return errors.Join(errs...)
	}
}

// healthy compares everything that is told with what there is. Nothing is wrong with it.
func (s *scene) healthy(t *testing.T, p *exporter.Process) {
	s.await(t, p, nil, succeed(cloudcluster.Collectors()...))
	m, err := p.Scrape(t.Context())
	must(t, err)
	for _, family := range []string{"ack_slb_drift", "ack_instance_locked", "ack_instance_system_event_timestamp_seconds", "ack_certificate_errors", "ack_slb_event_timestamp_seconds"} {
		if found := m.Family(family); len(found) > 0 {
			t.Errorf("with nothing wrong there is %v", found)
		}
	}
	for key, value := range m {
		if name, _, _ := strings.Cut(key, "{"); strings.HasSuffix(name, "_unknown") && value != 0 {
			t.Errorf("%s is %v", key, value)
		}
	}
	for _, call := range s.Cloud.Calls() {
		if call.Code != "" {
			t.Errorf("%s was answered with %s", call.Action, call.Code)
		}
	}
}

// change is something that happens in the cloud, and what shows it.
type change struct {
	name string
	do   func() error
	want exporter.Metrics
}

// has is one series.
func has(value float64, name string, labels ...string) exporter.Metrics {
	return exporter.Metrics{exporter.Key(name, labels...): value}
}

// drifted is the series of something that is not as it should be.
func drifted(count float64, id, service, kind string) exporter.Metrics {
	namespace := cloudcluster.Shop
	if service == "" {
		namespace = ""
	}
	return has(count, "ack_slb_drift", "load_balancer_id", id, "namespace", namespace, "service", service, "kind", kind)
}

// changes makes them all at once, since each is about something else, and takes them back.
func (s *scene) changes(t *testing.T, p *exporter.Process) {
	restore := s.snapshot()
	said := time.Now().Truncate(time.Second)
	failed := cloudcluster.Event(cloudcluster.Web, corev1.EventTypeWarning, "SyncLoadBalancerFailed",
		"Error syncing load balancer: SDK.ServerError Message: The Account is arrearage.", said)
	expired := cloudcluster.NewNode(3)
	cloudcluster.SetInstanceExpired(expired, corev1.ConditionTrue)
	besides := has(float64(said.Unix()), "ack_slb_event_timestamp_seconds",
		"namespace", cloudcluster.Shop, "service", cloudcluster.Web, "reason", "SyncLoadBalancerFailed", "cause", "arrears")

	all := s.changesOfCloud(t)
	shown := maps.Clone(besides)
	for _, c := range all {
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for key, value := range c.want {
			if strings.HasPrefix(key, "ack_slb_drift{") {
				shown[key] = value
			}
		}
	}
	must(t, s.Put(t.Context(), failed, expired))
	s.await(t, p, shown, succeed(cloudcluster.Collectors()...), func(m exporter.Metrics) error {
		var errs []error
		for _, c := range all {
			for key, value := range c.want {
				if got, ok := m[key]; !ok || got != value {
					errs = append(errs, fmt.Errorf("%s: %s is %v (%t), not %v", c.name, key, got, ok, value))
				}
			}
		}
		return errors.Join(errs...)
	})

	restore()
	must(t, s.Put(t.Context(), cloudcluster.NewNode(3)))
	must(t, s.Delete(t.Context(), failed))
	s.await(t, p, nil)
}

func (s *scene) changesOfCloud(t *testing.T) []change {
	account := s.Cloud
	balancer := func(service string) string {
		id, err := s.LoadBalancer(t.Context(), service)
		must(t, err)
		return id
	}
	web, cart := balancer(cloudcluster.Web), balancer(cloudcluster.Cart)
	tomorrow := time.Now().Add(24 * time.Hour).Truncate(time.Minute)
	instance := func(number int, change func(*cloud.Instance)) func() error {
		return func() error { return account.Instances.Change(cloudcluster.InstanceID(number), change) }
	}
	of := func(number int, value float64, name string, labels ...string) exporter.Metrics {
		return has(value, "ack_instance_"+name, append([]string{"node", cloudcluster.NodeName(number), "instance_id", cloudcluster.InstanceID(number)}, labels...)...)
	}
	group := s.groupOf(t, web, 80)
	return []change{
		{"a subscription ends tomorrow, and does not renew itself", instance(cloudcluster.Subscription, func(i *cloud.Instance) {
			i.Expiry, i.Renewal = tomorrow, "NotRenewal"
		}), of(cloudcluster.Subscription, 0, "auto_renew")},
		{"a spot instance is gone", func() error {
			account.Instances.Remove(cloudcluster.InstanceID(cloudcluster.Spot))
			return nil
		}, of(cloudcluster.Spot, 0, "known")},
		{"an instance is locked, with an event", instance(2, func(i *cloud.Instance) {
			i.Locks, i.Status = []string{"financial", "Recycling"}, "Stopped"
			i.Events = []cloud.SystemEvent{
				{ID: "e-1", Type: "SystemMaintenance.Reboot", Status: "Scheduled", NotBefore: tomorrow}, {ID: "e-2", Type: "SystemFailure.Stop", Status: "Executed"},
			}
		}), of(2, 1, "locked", "reason", "financial")},
		{"an instance is to be released", instance(3, func(i *cloud.Instance) { i.AutoRelease = tomorrow }), of(3, float64(tomorrow.Unix()), "expiry_timestamp_seconds")},
		{"a listener is deleted", func() error {
			account.Listeners.Remove(cloud.ListenerKey(web, "https", 443))
			return nil
		}, drifted(1, web, cloudcluster.Web, "listener_missing")},
		{"a backend is removed", func() error {
			return account.ServerGroups.Change(group, func(g *cloud.ServerGroup) { g.Backends = g.Backends[1:] })
		}, drifted(1, web, cloudcluster.Web, "backend_missing")},
		{"tags are removed", func() error {
			return account.LoadBalancers.Change(cart, func(b *cloud.LoadBalancer) { b.Tags = nil })
		}, drifted(2, cart, cloudcluster.Cart, "tag")},
		{"a listener is added by hand, with a certificate that does not exist", func() error {
			account.Listeners.Set(cloud.Listener{LoadBalancerID: cart, Protocol: "https", Port: 444, CertificateID: "1_none"})
			return nil
		}, drifted(1, cart, cloudcluster.Cart, "listener_extra")},
		{"a load balancer is deleted", func() error {
			account.LoadBalancers.Remove(cloudcluster.Reused)
			return nil
		}, drifted(1, cloudcluster.Reused, cloudcluster.Reusing, "gone")},
		{"the load balancer of the API server is stopped", func() error {
			return account.LoadBalancers.Change(cloudcluster.APIServer, func(b *cloud.LoadBalancer) { b.Status = "inactive" })
		}, drifted(1, cloudcluster.APIServer, "", "apiserver_inactive")},
		{"a quota is lowered", func() error {
			return account.Quotas.Change(cloud.QuotaKey("slb", cloudcluster.QuotaBackends), func(q *cloud.Quota) { q.Total = 10 })
		}, has(10, "ack_slb_backend_servers_limit", "source", "quota_center")},
		{"a vSwitch is full", func() error {
			return account.VSwitches.Change(cloudcluster.PodVSwitch, func(v *cloud.VSwitch) { v.Available = 0 })
		}, exporter.Metrics{}},
		{"a vSwitch is deleted", func() error {
			account.VSwitches.Remove(cloudcluster.NodeVSwitch(cloudcluster.Subscription))
			return nil
		}, has(1, "ack_vpc_vswitches_unknown", "use", "node")},
		{"routes are added", func() error {
			for n := range 150 {
				account.RouteEntries.Set(cloud.RouteEntry{ID: fmt.Sprintf("rte-%d", n), TableID: cloudcluster.RouteTable, NextHopType: "NatGateway"})
			}
			return nil
		}, has(50-cloudcluster.Nodes, "ack_vpc_headroom_nodes", "route_table_id", cloudcluster.RouteTable)},
	}
}

// groupOf is the group behind a listener.
func (s *scene) groupOf(t testing.TB, balancer string, port int) string {
	t.Helper()
	for _, l := range s.Cloud.Listeners.All() {
		if l.LoadBalancerID == balancer && l.Port == port {
			return l.ServerGroupID
		}
	}
	t.Fatalf("%s has no listener %d", balancer, port)
	return ""
}

// snapshot remembers the account.
func (s *scene) snapshot() (restore func()) {
	c := s.Cloud
	all := []func(){
		kept(c.Instances, func(i cloud.Instance) string { return i.ID }), kept(c.LoadBalancers, func(b cloud.LoadBalancer) string { return b.ID }),
		kept(c.Listeners, func(l cloud.Listener) string { return cloud.ListenerKey(l.LoadBalancerID, l.Protocol, l.Port) }),
		kept(c.ServerGroups, func(g cloud.ServerGroup) string { return g.ID }), kept(c.VSwitches, func(v cloud.VSwitch) string { return v.ID }),
		kept(c.RouteEntries, func(e cloud.RouteEntry) string { return e.ID }),
		kept(c.Quotas, func(q cloud.Quota) string { return cloud.QuotaKey(q.ProductCode, q.Code) }),
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

// table is a cloud.Table.
type table[T any] interface {
	All() []T
	Set(rows ...T)
	Remove(keys ...string)
}

func kept[T any](rows table[T], key func(T) string) (restore func()) {
	before := rows.All()
	return func() {
		for _, now := range rows.All() {
			rows.Remove(key(now))
		}
		rows.Set(before...)
	}
}

// users are the collectors that fail without the right to an action. Quotas and networks of
// nodes that slb was told once are good for an hour.
func users() map[string][]string {
	return map[string][]string{
		"ecs:DescribeInstances":                  {"instances", "vpc"},
		"ecs:DescribeInstanceAutoRenewAttribute": {"instances"},
		"ecs:DescribeInstancesFullStatus":        {"instances"},
		"slb:DescribeLoadBalancers":              {"slb", "certificate_load_balancers"},
		"slb:DescribeLoadBalancerListeners":      {"slb", "certificate_load_balancers"},
		"slb:DescribeVServerGroups":              {"slb"},
		"slb:DescribeVServerGroupAttribute":      {"slb"},
		"slb:DescribeAccessControlListAttribute": {"slb"},
		"slb:DescribeServerCertificates":         {"certificate_load_balancers"},
		"vpc:DescribeRouteTableList":             {"vpc"},
		"vpc:DescribeRouteEntryList":             {"vpc"},
		"vpc:DescribeVSwitches":                  {"vpc"},
		"quotas:ListProductQuotas":               {"vpc"},
	}
}

// forbidden is how often a collector has failed for lack of a right.
func forbidden(m exporter.Metrics, name string) float64 { return failures(m, name, "forbidden") }

func failures(m exporter.Metrics, name, reason string) float64 {
	return m[exporter.Key("ack_exporter_collector_errors_total", "collector", name, "reason", reason)]
}

// allFailures is how often it has failed at all.
func allFailures(m exporter.Metrics, name string) (n float64) {
	for key, value := range m.Family("ack_exporter_collector_errors_total") {
		if strings.Contains(key, fmt.Sprintf("collector=%q", name)) {
			n += value
		}
	}
	return n
}

// refused takes away one right after the other. What needs it says so, and the rest does
// not notice.
func (s *scene) refused(t *testing.T, p *exporter.Process) {
	actions := slices.Sorted(maps.Keys(users()))
	for _, action := range actions {
		before := p.Await(t, patience, succeed(cloudcluster.Collectors()...))
		s.Cloud.Forbid(action)
		fail := users()[action]
		m := p.Await(t, patience, func(m exporter.Metrics) error {
			for _, name := range fail {
				if forbidden(m, name) == forbidden(before, name) || m.Expect(0, "ack_exporter_collector_success", "collector", name) != nil {
					return fmt.Errorf("without the right to %s, %s does not fail for it", action, name)
				}
			}
			return nil
		})
		s.Cloud.Permit(action)
		for _, name := range cloudcluster.Collectors() {
			if forbidden(m, name) > forbidden(before, name) && !slices.Contains(fail, name) {
				t.Errorf("without the right to %s, %s fails for it", action, name)
			}
		}
	}
	// That was all that it asks for.
	for action := range s.Cloud.Counts() {
		if !slices.Contains(actions, action) {
			t.Errorf("it asks for %s", action)
		}
	}
	s.await(t, p, nil, succeed(cloudcluster.Collectors()...))
}

// throttled has the API ask for fewer requests about instances, which two collectors make.
func (s *scene) throttled(t *testing.T, p *exporter.Process) {
	before := s.unharmed(t, p)
	s.Cloud.Fail("ecs:DescribeInstances", cloud.Fault{Kind: cloud.Throttle, For: time.Millisecond})
	p.Await(t, patience, func(m exporter.Metrics) error {
		for _, name := range []string{"instances", "vpc"} {
			if failures(m, name, "throttled") == failures(before, name, "throttled") {
				return fmt.Errorf("%s does not notice that it is to ask for less", name)
			}
		}
		return nil
	})
	s.Cloud.Heal()
	s.await(t, p, nil, succeed(cloudcluster.Collectors()...))
}

// unharmed is a scrape in which all collectors succeed.
func (s *scene) unharmed(t testing.TB, p *exporter.Process) exporter.Metrics {
	t.Helper()
	return p.Await(t, patience, succeed(cloudcluster.Collectors()...))
}

// unreachable has nobody listen where the API of the cloud was.
func (s *scene) unreachable(t *testing.T, p *exporter.Process) {
	before := s.unharmed(t, p)
	must(t, s.Unplug())
	m := s.allFail(t, p, before, "unavailable")
	for _, name := range []string{"instance_conditions", "slb_events"} {
		if allFailures(m, name) > allFailures(before, name) {
			t.Errorf("%s fails without the cloud", name)
		}
	}
	// What was told before is taken back.
	p.Await(t, patience, func(m exporter.Metrics) error {
		for _, name := range []string{"ack_instance_known", "ack_slb_info", "ack_vpc_route_entries", "ack_certificate_info"} {
			if len(m.Family(name)) > 0 {
				return fmt.Errorf("there still is %s", name)
			}
		}
		return errors.Join(succeed("instance_conditions", "slb_events")(m), sizeOf(m, "ack_node_ready", cloudcluster.Nodes))
	})
	must(t, s.Plug(t.Context()))
	s.await(t, p, nil, succeed(cloudcluster.Collectors()...))
}

func sizeOf(m exporter.Metrics, family string, want int) error {
	if n := len(m.Family(family)); n != want {
		return fmt.Errorf("%d series of %s, not %d", n, family, want)
	}
	return nil
}

// allFail waits until all that ask the cloud fail for this reason.
func (s *scene) allFail(t testing.TB, p *exporter.Process, before exporter.Metrics, reason string) exporter.Metrics {
	t.Helper()
	return p.Await(t, patience, func(m exporter.Metrics) error {
		for _, name := range cloudcluster.Asking() {
			if failures(m, name, reason) == failures(before, name, reason) || m.Expect(0, "ack_exporter_collector_success", "collector", name) != nil {
				return fmt.Errorf("%s does not fail with %s", name, reason)
			}
		}
		return nil
	})
}

// keyless has the cloud know nothing of the key, for a while.
func (s *scene) keyless(t *testing.T, p *exporter.Process) {
	before := s.unharmed(t, p)
	s.Cloud.RemoveKey(s.Key.ID)
	s.allFail(t, p, before, "forbidden")
	s.Cloud.SetKey(s.Key)
	s.await(t, p, nil, succeed(cloudcluster.Collectors()...))
}

// requireNoSecrets looks for what nobody must see in everything that the exporter says.
func (s *scene) requireNoSecrets(t *testing.T, p *exporter.Process) {
	t.Helper()
	said := map[string]string{"log": p.Output()}
	for _, path := range []string{"/metrics", "/", "/readyz"} {
		_, body, err := p.Get(t.Context(), path)
		must(t, err)
		said[path] = body
	}
	if !strings.Contains(said["log"], "collector fails") {
		t.Error("the log says nothing of what went wrong")
	}
	for where, text := range said {
		for _, secret := range []string{s.Key.ID, s.Key.Secret, cloudcluster.TerwayKey, cloudcluster.TerwaySecret, "Signature", "ACS3-HMAC"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %q in it", where, secret)
			}
		}
	}
}

// pages is how many calls it takes to list n rows.
func pages(n, size int) int { return max(1, (n+size-1)/size) }

// oneRefresh counts the calls of the first refresh of each collector, which docs/cloud-calls.md
// has in formulas.
func (s *scene) oneRefresh(t *testing.T) {
	s.Cloud.ResetCalls()
	// Later flags of a kind are not allowed, so that the short interval is not there.
	p := s.start(t, s.Flags("1h")...)
	p.Await(t, patience, succeed(cloudcluster.Collectors()...))
	stopped(t, p)

	u := truth{t: t, c: s.Cluster}
	var err error
	u.services, err = s.Services(t.Context())
	must(t, err)
	balancers, groups := u.ofCluster(), 0
	for id := range balancers {
		groups += u.groups(id)
	}
	inRegion := pages(len(s.Cloud.LoadBalancers.All()), 100)
	inCluster := pages(len(balancers), 10)
	want := map[string]int{
		// Of all nodes, for instances, for vpc and for the access control of the API server; and of those on subscription.
		"ecs:DescribeInstances":                  3 * pages(cloudcluster.Nodes, 100),
		"ecs:DescribeInstancesFullStatus":        pages(cloudcluster.Nodes, 100),
		"ecs:DescribeInstanceAutoRenewAttribute": 1,
		// For slb and for certificates.
		"slb:DescribeLoadBalancers":         2 * inRegion,
		"slb:DescribeLoadBalancerListeners": 2 * inCluster,
		"slb:DescribeVServerGroups":         len(balancers),
		"slb:DescribeVServerGroupAttribute": groups,
		"slb:DescribeServerCertificates":    1,
		"vpc:DescribeRouteTableList":        1,
		"vpc:DescribeRouteEntryList":        pages(len(s.Cloud.RouteEntries.All()), 100),
		// For vpc and for access control.
		"vpc:DescribeVSwitches": 2 * pages(len(s.Cloud.VSwitches.All()), 50),
		// One list.
		"slb:DescribeAccessControlListAttribute": 1,
		"quotas:ListProductQuotas":               2,
	}
	if got := s.Cloud.Counts(); !maps.Equal(got, want) {
		t.Errorf("one refresh makes the calls %v, not %v", got, want)
	}
}

// budget gives the exporter fewer requests a minute than one refresh takes.
func (s *scene) budget(t *testing.T) {
	const most = 7
	flags := slices.DeleteFunc(s.Flags("1s"), func(flag string) bool { return strings.HasPrefix(flag, "--cloud.budget=") })
	s.Cloud.ResetCalls()
	p := s.start(t, append(flags, fmt.Sprintf("--cloud.budget=%d", most))...)
	// Twice as often as it may.
	p.Await(t, patience, func(m exporter.Metrics) error {
		unsent := 0.0
		for key, value := range m.Family("ack_exporter_cloud_requests_total") {
			if strings.Contains(key, `result="budget"`) {
				unsent += value
			}
		}
		if unsent < most || len(s.Cloud.Calls()) < most {
			return fmt.Errorf("%d requests were sent, and %v were not", len(s.Cloud.Calls()), unsent)
		}
		throttled := 0.0
		for _, name := range cloudcluster.Asking() {
			throttled += failures(m, name, "throttled")
			// On a busy machine it can also be late.
			if other := allFailures(m, name) - failures(m, name, "throttled") - failures(m, name, "timeout"); other > 0 {
				t.Fatalf("%s fails for another reason than the budget", name)
			}
		}
		if throttled == 0 {
			return errors.New("no collector notices that the budget is used up")
		}
		return nil
	})
	stopped(t, p)
	requireBudget(t, s.Cloud.Calls(), most)
}

// requireBudget fails where there were more calls in any minute.
func requireBudget(t testing.TB, calls []cloud.Call, most int) {
	t.Helper()
	for i := range calls {
		if i >= most && calls[i].Time.Sub(calls[i-most].Time) < time.Minute {
			t.Errorf("%d calls in %s", most+1, calls[i].Time.Sub(calls[i-most].Time))
		}
	}
}

// noCredentials has the exporter leave the cloud alone, which is the default.
func (s *scene) noCredentials(t *testing.T) {
	s.Cloud.ResetCalls()
	p := s.start(t, cloudcluster.Every("1s")...)
	m := p.Await(t, patience, func(m exporter.Metrics) error {
		errs := []error{succeed("instance_conditions", "slb_events")(m)}
		for _, name := range cloudcluster.Asking() {
			errs = append(errs, m.Expect(1, "ack_exporter_collector_success", "collector", name), m.Expect(0, "ack_exporter_collector_applicable", "collector", name))
		}
		return errors.Join(errs...)
	})
	p.AwaitReady(t, patience)
	for _, family := range []string{"ack_instance_known", "ack_slb_info", "ack_vpc_route_entries", "ack_certificate_locations", "ack_exporter_cloud_requests_total"} {
		must(t, sizeOf(m, family, 0))
	}
	stopped(t, p)
	if calls := s.Cloud.Calls(); len(calls) > 0 {
		t.Errorf("without credentials there were the calls %v", calls)
	}
}
