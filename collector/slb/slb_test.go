package slb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/slbtest"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

const testRegion = "cn-x"

// list is a kube.Lister of what is in it.
type list[T any] []T

func (l list[T]) List() ([]T, error) { return l, nil }

// endpoints are pods on these nodes behind each Service, or why they are not known.
type endpoints struct {
	nodes []string
	err   error
}

func (e endpoints) ListEndpoints(_ context.Context, _ string, services []string) (map[string][]*discoveryv1.EndpointSlice, error) {
	found := make(map[string][]*discoveryv1.EndpointSlice)
	for _, name := range services {
		slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4}
		for _, node := range e.nodes {
			ready := true
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{"10.0.0.1"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			})
		}
		found[name] = append(found[name], slice)
	}
	return found, e.err
}

func testNode(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{ProviderID: testRegion + ".i-" + name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
}

// testService has ports with node ports from 30000 plus the port on.
func testService(name, balancer string, policy corev1.ServiceExternalTrafficPolicy, ports ...int32) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID("uid-" + name),
			Labels: map[string]string{kube.LoadBalancerIDLabel: balancer},
		},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: policy},
	}
	if balancer != "" {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	}
	for _, p := range ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", p), Port: p, NodePort: 30000 + p, Protocol: corev1.ProtocolTCP})
	}
	return s
}

// serve is the load balancer of a Service as the cloud controller manager makes it, with
// these instances as backends.
func serve(s *corev1.Service, instances ...string) *slbtest.LoadBalancer {
	l := &slbtest.LoadBalancer{
		ID: s.Labels[kube.LoadBalancerIDLabel], Name: ccm.DefaultName(s.UID), Owner: ccm.DefaultName(s.UID), Spec: "slb.s1.small", AddressType: "internet", ClusterID: "c1",
	}
	for _, p := range s.Spec.Ports {
		g := &slbtest.Group{
			ID: fmt.Sprintf("rsp-%s-%d", s.Name, p.Port), Name: fmt.Sprintf("k8s/%d/%s/shop/c1", p.NodePort, s.Name),
			Backends: slbtest.ECS(int(p.NodePort), instances...),
		}
		l.Groups = append(l.Groups, g)
		l.Listeners = append(l.Listeners, slbtest.Listener{
			Port: int(p.Port), Protocol: "tcp", Group: g.ID, Description: fmt.Sprintf("k8s/%d/%s/shop/c1", p.Port, s.Name),
		})
	}
	return l
}

// shop is a cluster of three nodes with two Services and the load balancer of its API
// server, in a region with one more load balancer.
func shop() (*slbtest.Cloud, Config) {
	web := testService("web", "lb-web", corev1.ServiceExternalTrafficPolicyCluster, 80, 443)
	mail := testService("mail", "lb-mail", corev1.ServiceExternalTrafficPolicyLocal, 25)
	cloud := slbtest.New()
	cloud.Add(
		serve(web, "i-n1", "i-n2", "i-n3"), serve(mail, "i-n1"),
		&slbtest.LoadBalancer{
			ID: "lb-api", Name: "apiserver", Spec: "slb.s2.small", AddressType: "intranet", ClusterID: "c1",
			Listeners: []slbtest.Listener{{Port: 6443, Protocol: "tcp", Group: "rsp-api"}},
			Groups:    []*slbtest.Group{{ID: "rsp-api", Name: "apiserver", Backends: []slbtest.Backend{{ServerID: "eni-1", ServerIP: "10.0.1.1", Type: "eni", Port: 6443}}}},
		},
		&slbtest.LoadBalancer{ID: "lb-others", AddressType: "internet"},
	)
	cloud.Quotas = []slbtest.Quota{
		{Code: "slb_quota_instances_num", Total: 100, Usage: 7, Consumable: true},
		{Code: "slb_quota_listeners_num", Total: 60, Usage: 5},
		{Code: "slb_quota_acls_num", Total: 200},
	}
	return cloud, Config{
		API: cloud, Region: testRegion, ClusterID: "c1", Calls: 100, Interval: 5 * time.Minute,
		Services: list[*corev1.Service]{
			web, mail, testService("pending", "", corev1.ServiceExternalTrafficPolicyCluster, 80),
			{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "internal"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP}},
		},
		Nodes:     list[*corev1.Node]{testNode("n1"), testNode("n2"), testNode("n3")},
		Endpoints: endpoints{nodes: []string{"n1"}},
		Quotas:    Limits{"slb_quota_backendservers_num": 400, "slb_quota_listeners_num": 1},
		Log:       slog.New(slog.DiscardHandler),
		Now:       func() time.Time { return time.Date(2030, 1, 5, 18, 0, 0, 0, time.UTC) },
	}
}

func newCollector(t *testing.T, config Config) *Collector {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCollect(t *testing.T) {
	t.Parallel()
	_, config := shop()
	got, err := collectortest.Collect(t, newCollector(t, config))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "shop.prom", got)
}

func TestCollectWithoutCloud(t *testing.T) {
	t.Parallel()
	_, config := shop()
	config.API = nil
	if got, err := collectortest.Collect(t, newCollector(t, config)); got != "" || !errors.Is(err, collector.ErrNotApplicable) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCollectNotComplete proves that what not everything is known of has no series.
func TestCollectNotComplete(t *testing.T) {
	t.Parallel()
	cloud, config := shop()
	config.Calls = 6 // two listings, and four of three lists and three groups
	c := newCollector(t, config)
	for n := range 3 {
		got, err := collectortest.Collect(t, c)
		if err != nil {
			t.Fatal(err)
		}
		complete := strings.Contains(got, "ack_slb_scan_pending_groups 0\n") && strings.Contains(got, "ack_slb_scan_pending_load_balancers 0\n")
		if complete != (n == 1 || n == 2) {
			t.Errorf("refresh %d: complete %t", n, complete)
		}
		for series, want := range map[string]bool{
			`ack_slb_listeners{load_balancer_id="lb-web"} 2`:                true,
			`ack_slb_backend_servers{load_balancer_id="lb-mail"`:            true,
			`ack_slb_backend_servers{load_balancer_id="lb-web"`:             complete,
			`ack_slb_backend_attachments{`:                                  complete,
			`ack_slb_headroom_nodes{`:                                       complete,
			`ack_slb_headroom_service_ports{quota="backend_attachments"`:    complete,
			`ack_slb_headroom_service_ports{quota="listeners",reading="lis`: true,
		} {
			if strings.Contains(got, series) != want {
				t.Errorf("refresh %d: %s: not %t", n, series, want)
			}
		}
	}
	if cloud.Calls["DescribeVServerGroupAttribute"] < 3 {
		t.Errorf("%v", cloud.Calls)
	}
}

// TestCollectListingFails proves that a listing that breaks off leaves nothing.
func TestCollectListingFails(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"DescribeLoadBalancers", "DescribeLoadBalancerListeners"} {
		cloud, config := shop()
		cloud.PageSize = 1
		cloud.Before = func(action aliyun.Action, _ map[string]any) error {
			if cloud.Calls[name] > 1 {
				return aliyun.Refusal(action, 503, "ServiceUnavailable")
			}
			return nil
		}
		c := newCollector(t, config)
		got, err := collectortest.Collect(t, c)
		if got != "" || !errors.Is(err, collector.ErrUnavailable) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if c.Rest() <= 0 || c.Rest() >= config.Interval {
			t.Errorf("%s: rests for %s", name, c.Rest())
		}
	}
}

// TestCollectParts proves that a part that fails is an error next to the rest.
func TestCollectParts(t *testing.T) {
	t.Parallel()
	t.Run("quotas", func(t *testing.T) {
		t.Parallel()
		cloud, config := shop()
		cloud.Before = func(action aliyun.Action, _ map[string]any) error {
			if action.Product == aliyun.Quotas {
				return aliyun.Refusal(action, 403, "NoPermission")
			}
			return nil
		}
		got, err := collectortest.Collect(t, newCollector(t, config))
		if collector.ReasonOf(err) != collector.ReasonForbidden {
			t.Errorf("%v", err)
		}
		for _, want := range []string{
			`ack_slb_instances_limit{source="default"} 60`, `ack_slb_listeners_limit{source="flag"} 1`,
			`ack_slb_backend_servers_limit{source="flag"} 400`, `ack_slb_backend_attachments{instance_id="i-n1",reading="ports"} 3`,
		} {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("no %s", want)
			}
		}
		if strings.Contains(got, "quota_center\"") {
			t.Error("something is from Quota Center")
		}
	})
	t.Run("endpoints", func(t *testing.T) {
		t.Parallel()
		_, config := shop()
		config.Endpoints = endpoints{err: collector.ErrForbidden}
		got, err := collectortest.Collect(t, newCollector(t, config))
		if !errors.Is(err, collector.ErrForbidden) || !strings.Contains(got, `ack_slb_predicted_backends{load_balancer_id="lb-web",reading="attachments"} 6`) ||
			strings.Contains(got, `ack_slb_predicted_backends{load_balancer_id="lb-mail"`) {
			t.Errorf("%v\n%s", err, got)
		}
	})
	t.Run("group", func(t *testing.T) {
		t.Parallel()
		cloud, config := shop()
		cloud.LoadBalancers["lb-web"].Groups[0].Backends[0].Port = -1
		got, err := collectortest.Collect(t, newCollector(t, config))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(got, `ack_slb_backend_servers{load_balancer_id="lb-mail",reading="servers"} 1`) {
			t.Errorf("%v\n%s", err, got)
		}
	})
}

// TestCollectDrift proves that what differs is told, counted and logged once, and that nothing is
// said of a group of which something else is wanted since it was read.
func TestCollectDrift(t *testing.T) {
	t.Parallel()
	cloud, config := shop()
	var log bytes.Buffer
	config.Log = slog.New(slog.NewTextHandler(&log, nil))
	c := newCollector(t, config)
	collect := func() string {
		t.Helper()
		got, err := collectortest.Collect(t, c)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := collect(); strings.Contains(got, "ack_slb_drift{") || log.Len() > 0 {
		t.Fatalf("before:\n%s%s", log.String(), got)
	}
	group := cloud.LoadBalancers["lb-web"].Groups[0]
	group.Backends = append(group.Backends[:2], slbtest.ECS(30080, "i-others")...)
	for range 2 {
		got := collect()
		for _, want := range []string{
			`ack_slb_drift{kind="backend_missing",load_balancer_id="lb-web",namespace="shop",service="web"} 1`,
			`ack_slb_drift_changes_total{kind="backend_missing"} 1`, `ack_slb_drift_changes_total{kind="gone"} 0`,
		} {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("no %s", want)
			}
		}
	}
	if n := strings.Count(log.String(), "kind=backend_missing load_balancer_id=lb-web service=shop/web count=1"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}

	group.Backends = slbtest.ECS(30080, "i-n1", "i-n2", "i-n3")
	if got := collect(); strings.Contains(got, "ack_slb_drift{") || !strings.Contains(got, `ack_slb_drift_changes_total{kind="backend_missing"} 1`) {
		t.Errorf("mended:\n%s", got)
	}
	// A node more, and no group is read any more.
	c.config.Nodes = append(config.Nodes.(list[*corev1.Node]), testNode("n4"))
	cloud.Before = func(action aliyun.Action, _ map[string]any) error {
		if action.Name == "DescribeVServerGroupAttribute" {
			return aliyun.ErrBudget
		}
		return nil
	}
	if got := collect(); strings.Contains(got, "ack_slb_drift{") || !strings.Contains(got, `ack_slb_predicted_backends{load_balancer_id="lb-web",reading="servers"} 4`) {
		t.Errorf("a node more:\n%s", got)
	}
	cloud.Before = nil
	if got := collect(); !strings.Contains(got, `ack_slb_drift{kind="backend_missing",load_balancer_id="lb-web",namespace="shop",service="web"} 2`) {
		t.Errorf("read again:\n%s", got)
	}
}

// TestCollectInterrupted proves that throttling is counted, and no failure.
func TestCollectInterrupted(t *testing.T) {
	t.Parallel()
	cloud, config := shop()
	cloud.Before = func(action aliyun.Action, _ map[string]any) error {
		if action.Name == "DescribeVServerGroups" {
			return aliyun.ErrBudget
		}
		return nil
	}
	got, err := collectortest.Collect(t, newCollector(t, config))
	if err != nil || !strings.Contains(got, `ack_slb_scan_stopped_total{reason="budget"} 1`) ||
		!strings.Contains(got, "ack_slb_scan_pending_load_balancers 3\n") || !strings.Contains(got, `ack_slb_instances{reading="region"} 4`) {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestCollectAfterAbsence proves that a replica that leads again does not show what it read
// in its last term.
func TestCollectAfterAbsence(t *testing.T) {
	t.Parallel()
	cloud, config := shop()
	now := config.Now()
	config.Now = func() time.Time { return now }
	c := newCollector(t, config)
	if _, err := collectortest.Collect(t, c); err != nil {
		t.Fatal(err)
	}
	cloud.Before = func(action aliyun.Action, _ map[string]any) error {
		if action.Name == "DescribeVServerGroups" {
			return aliyun.ErrBudget
		}
		return nil
	}
	now = now.Add(15 * time.Minute)
	if got, _ := collectortest.Collect(t, c); !strings.Contains(got, "ack_slb_scan_pending_groups 0\n") {
		t.Errorf("it forgets too early:\n%s", got)
	}
	now = now.Add(16 * time.Minute)
	if got, _ := collectortest.Collect(t, c); !strings.Contains(got, "ack_slb_scan_pending_load_balancers 3\n") {
		t.Errorf("it shows what is old:\n%s", got)
	}
}

func TestRest(t *testing.T) {
	t.Parallel()
	_, config := shop()
	config.Calls = 20
	c := newCollector(t, config)
	if c.Rest() != 0 {
		t.Errorf("rests for %s before its first refresh", c.Rest())
	}
	if _, err := collectortest.Collect(t, c); err != nil {
		t.Fatal(err)
	}
	// One page, one batch of listeners, three lists, four groups.
	if want := 9 * 5 * time.Minute / 20; c.Rest() != want {
		t.Errorf("rests for %s, not %s", c.Rest(), want)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, config := range []Config{{}, {Calls: 1}, {Interval: 1}, {Calls: -1, Interval: 1}} {
		if _, err := New(config); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
}
