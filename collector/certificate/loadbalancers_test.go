package certificate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

// listenerAccount is what the API tells of, one row in a page.
type listenerAccount struct {
	balancers, certificates []any
	listeners               map[string][]any
	fail                    func(call int) error
	calls                   int
	actions                 []string
}

func (a *listenerAccount) Call(_ context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	a.calls++
	a.actions = append(a.actions, action.Name)
	if a.fail != nil {
		if err := a.fail(a.calls); err != nil {
			return err
		}
	}
	var body map[string]any
	switch action.Name {
	case "DescribeLoadBalancers":
		n := parameters["PageNumber"].(int)
		page := append([]any{}, a.balancers[min(n-1, len(a.balancers)):min(n, len(a.balancers))]...)
		body = map[string]any{"TotalCount": len(a.balancers), "LoadBalancers": map[string]any{"LoadBalancer": page}}
	case "DescribeLoadBalancerListeners":
		rows := []any{}
		for _, id := range parameters["LoadBalancerId"].([]string) {
			rows = append(rows, a.listeners[id]...)
		}
		from, next := 0, ""
		if token, ok := parameters["NextToken"].(string); ok {
			_, _ = fmt.Sscan(token, &from)
		}
		if from+1 < len(rows) {
			next = fmt.Sprint(from + 1)
		}
		body = map[string]any{"Listeners": append([]any{}, rows[from:min(from+1, len(rows))]...), "NextToken": next}
	case "DescribeServerCertificates":
		body = map[string]any{"ServerCertificates": map[string]any{"ServerCertificate": a.certificates}}
	default:
		return fmt.Errorf("unexpected %s", action.Name)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func balancer(id string, tags ...string) any {
	list := []any{}
	for _, value := range tags {
		list = append(list, map[string]any{"TagKey": "ack.aliyun.com", "TagValue": value})
	}
	return map[string]any{"LoadBalancerId": id, "Tags": map[string]any{"Tag": list}}
}

func listener(id string, port int, protocol, certificate string) any {
	return map[string]any{
		"LoadBalancerId": id, "ListenerPort": port, "ListenerProtocol": protocol,
		"HTTPSListenerConfig": map[string]any{"ServerCertificateId": certificate},
	}
}

func serverCertificate(id, name, ends string) any {
	return map[string]any{
		"ServerCertificateId": id, "CommonName": name, "ExpireTime": ends, "Fingerprint": "00:11",
		"SubjectAlternativeNames": map[string]any{"SubjectAlternativeName": []string{"www.b.example"}},
	}
}

func balanced(name, id string, annotations map[string]string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name, Annotations: annotations}}
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	if id != "" {
		s.Labels = map[string]string{kube.LoadBalancerIDLabel: id}
	}
	kube.TrimService(s)
	return s
}

func listenerCluster(a *listenerAccount) LoadBalancersConfig {
	labelled := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"ack.aliyun.com": "c1"}}}
	return LoadBalancersConfig{
		API:   a,
		Nodes: listed[*corev1.Node]{objects: []*corev1.Node{labelled}},
		Services: listed[*corev1.Service]{objects: []*corev1.Service{
			balanced("own", "lb-own", nil),
			balanced("reused", "", map[string]string{"service.beta.kubernetes.io/alicloud-loadbalancer-id": "lb-reused"}),
			balanced("gone", "lb-gone", nil),
			balanced("network", "nlb-a", nil),
		}},
	}
}

func listenersOfACluster() *listenerAccount {
	return &listenerAccount{
		balancers: []any{balancer("lb-own"), balancer("lb-api", "c1"), balancer("lb-reused"), balancer("lb-foreign", "c2"), balancer("lb-nobody")},
		listeners: map[string][]any{
			"lb-own":     {listener("lb-own", 443, "https", "1_a"), listener("lb-own", 80, "http", ""), listener("lb-own", 8443, "https", "1_gone")},
			"lb-api":     {listener("lb-api", 6443, "tcp", "")},
			"lb-reused":  {listener("lb-reused", 443, "HTTPS", "1_b"), listener("lb-reused", 444, "https", ""), listener("lb-reused", 445, "https", "1_undated")},
			"lb-foreign": {listener("lb-foreign", 443, "https", "1_foreign")},
			"lb-nobody":  {listener("lb-nobody", 443, "https", "1_foreign")},
		},
		certificates: []any{
			serverCertificate("1_a", "a.example", "2031-01-26T23:59:59Z"), serverCertificate("1_b", "", "2030-01-26T23:59Z"),
			serverCertificate("1_undated", "u.example", ""), serverCertificate("1_foreign", "f.example", "2030-01-26T23:59:59Z"),
			serverCertificate("1_unbound", "x.example", "2020-01-26T23:59:59Z"),
		},
	}
}

func TestLoadBalancersGolden(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, NewLoadBalancers(listenerCluster(listenersOfACluster())))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "loadbalancers.txt", got)
}

func TestLoadBalancersWithoutCredentials(t *testing.T) {
	t.Parallel()
	c := listenerCluster(nil)
	c.API = nil
	if got, err := collectortest.Collect(t, NewLoadBalancers(c)); !errors.Is(err, collector.ErrNotApplicable) || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}

// The id on the command line comes before what the nodes say.
func TestLoadBalancersOfTheNamedCluster(t *testing.T) {
	t.Parallel()
	c := listenerCluster(listenersOfACluster())
	c.ClusterID = "c2"
	got, err := collectortest.Collect(t, NewLoadBalancers(c))
	if err != nil || !strings.Contains(got, `location="lb-foreign:443"`) {
		t.Errorf("%v\n%s", err, got)
	}
}

// Without an id of the cluster the Services say what is known.
func TestLoadBalancersWithoutAClusterID(t *testing.T) {
	t.Parallel()
	a := listenersOfACluster()
	a.listeners["lb-api"] = []any{listener("lb-api", 443, "https", "1_a")}
	c := listenerCluster(a)
	c.Nodes = listed[*corev1.Node]{}
	got, err := collectortest.Collect(t, NewLoadBalancers(c))
	if err != nil || strings.Contains(got, "lb-api") || !strings.Contains(got, "lb-own:443") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestLoadBalancersWithoutHTTPS(t *testing.T) {
	t.Parallel()
	a := listenersOfACluster()
	a.listeners = map[string][]any{"lb-own": {listener("lb-own", 80, "tcp", "")}}
	got, err := collectortest.Collect(t, NewLoadBalancers(listenerCluster(a)))
	if err != nil || !strings.Contains(got, `ack_certificate_locations{source="slb"} 0`) || slices.Contains(a.actions, "DescribeServerCertificates") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestNoLoadBalancersAtAll(t *testing.T) {
	t.Parallel()
	a := listenersOfACluster()
	a.balancers = nil
	got, err := collectortest.Collect(t, NewLoadBalancers(listenerCluster(a)))
	if !errors.Is(err, collector.ErrForbidden) || got != "" {
		t.Errorf("Services have some: %v\n%s", err, got)
	}
	c := listenerCluster(a)
	c.Services = listed[*corev1.Service]{objects: []*corev1.Service{balanced("network", "nlb-a", nil)}}
	got, err = collectortest.Collect(t, NewLoadBalancers(c))
	if err != nil || !strings.Contains(got, `ack_certificate_locations{source="slb"} 0`) {
		t.Errorf("nobody has one: %v\n%s", err, got)
	}
}

func TestTooManyListeners(t *testing.T) {
	t.Parallel()
	listeners := make([]aliyun.Listener, listenersMaxTold+10)
	for i := range listeners {
		listeners[i] = aliyun.Listener{LoadBalancerID: "lb-a", Port: aliyun.Integer(i)}
	}
	entries := listenerEntries(listeners, nil)
	if n := len(entries); n != listenersMaxTold+1 || entries[n-1].Failures[0].Reason != ReasonTooMany {
		t.Errorf("%d entries", n)
	}
}

func TestLoadBalancersAreWholeOrAbsent(t *testing.T) {
	t.Parallel()
	whole := listenersOfACluster()
	if _, err := collectortest.Collect(t, NewLoadBalancers(listenerCluster(whole))); err != nil {
		t.Fatal(err)
	}
	broken := make(map[string]bool)
	for n := 1; n <= whole.calls; n++ {
		a := listenersOfACluster()
		a.fail = func(call int) error {
			if call == n {
				return collector.ErrUnavailable
			}
			return nil
		}
		got, err := collectortest.Collect(t, NewLoadBalancers(listenerCluster(a)))
		if !errors.Is(err, collector.ErrUnavailable) || got != "" {
			t.Errorf("call %d: %v\n%s", n, err, got)
		}
		broken[a.actions[len(a.actions)-1]] = true
	}
	if want := []string{"DescribeLoadBalancerListeners", "DescribeLoadBalancers", "DescribeServerCertificates"}; !slices.Equal(slices.Sorted(maps.Keys(broken)), want) {
		t.Errorf("failed: %v", broken)
	}
	for name, lose := range map[string]func(*LoadBalancersConfig){
		"Services": func(c *LoadBalancersConfig) { c.Services = listed[*corev1.Service]{err: collector.ErrForbidden} },
		"nodes":    func(c *LoadBalancersConfig) { c.Nodes = listed[*corev1.Node]{err: collector.ErrForbidden} },
	} {
		c := listenerCluster(listenersOfACluster())
		lose(&c)
		if got, err := collectortest.Collect(t, NewLoadBalancers(c)); !errors.Is(err, collector.ErrForbidden) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}
