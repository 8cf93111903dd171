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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

const (
	clusterID = "c0123456789abcdef0123456789abcdef"
	uid       = "01234567-89ab-cdef-0123-456789abcdef"
	ownName   = "a0123456789abcdef0123456789abcde"

	prefix = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
)

// webService is a Service with two ports.
func webService(annotations map[string]string) *corev1.Service {
	s := cluster.Service("shop", "web", map[string]string{"app": "web"},
		corev1.ServicePort{Name: "http", Port: 80, NodePort: 30080, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP},
		corev1.ServicePort{Name: "https", Port: 443, NodePort: 30443, TargetPort: intstr.FromInt32(8443), Protocol: corev1.ProtocolTCP})
	s.UID, s.Spec.Type, s.Annotations = types.UID(uid), corev1.ServiceTypeLoadBalancer, map[string]string{}
	for name, value := range annotations {
		if !strings.Contains(name, "/") {
			name = prefix + name
		}
		s.Annotations[name] = value
	}
	return s
}

// threeNodes are ready, but for what change does to the last.
func threeNodes(change func(*corev1.Node)) []*corev1.Node {
	nodes := []*corev1.Node{cluster.Node(0), cluster.Node(1), cluster.Node(2)}
	if change != nil {
		change(nodes[2])
	}
	return nodes
}

// inventory is what the API says of a load balancer.
type inventory struct {
	balancer  aliyun.LoadBalancer
	listeners []string
	groups    map[string][]string
}

func read(t *testing.T, api aliyun.API, id string) inventory {
	t.Helper()
	all, err := aliyun.LoadBalancers(t.Context(), api)
	i := slices.IndexFunc(all, func(b aliyun.LoadBalancer) bool { return b.ID == id })
	if err != nil || i < 0 {
		t.Fatalf("%s is not in the list: %v", id, err)
	}
	got := inventory{balancer: all[i], groups: map[string][]string{}}
	listeners, err := aliyun.Listeners(t.Context(), api, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		got.listeners = append(got.listeners, fmt.Sprintf("%s:%d %s %s", l.Protocol, l.Port, l.Description, l.HTTPS.ServerCertificateID))
	}
	groups, err := aliyun.ServerGroups(t.Context(), api, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		backends, err := aliyun.ServerGroupBackends(t.Context(), api, g.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range backends {
			got.groups[g.Name] = append(got.groups[g.Name], fmt.Sprintf("%s %s%s:%d %d", b.Type, b.ServerID, b.ServerIP, b.Port, b.Weight))
		}
		slices.Sort(got.groups[g.Name])
	}
	slices.Sort(got.listeners)
	return got
}

func tagsOf(b aliyun.LoadBalancer) map[string]string {
	tags := map[string]string{}
	for _, tag := range b.Tags.Tag {
		tags[tag.Key] = tag.Value
	}
	return tags
}

// instanceOf is the id of the instance of a node.
func instanceOf(t *testing.T, n *corev1.Node) string {
	t.Helper()
	i, ok := kube.InstanceOf(n)
	if !ok {
		t.Fatalf("node %s has no instance", n.Name)
	}
	return i.ID
}

func newController(t *testing.T) (cloud.Controller, *aliyun.Client) {
	t.Helper()
	c, host := cloudtest.Start(t, cloud.Config{})
	return cloud.Controller{Cloud: c, ClusterID: clusterID, VPCID: vpcID, VSwitchID: "vsw-a"}, newClient(t, c, host, withKey())
}

// TestService looks at the load balancer of a Service, breaks it, and mends it.
func TestService(t *testing.T) {
	t.Parallel()
	controller, client := newController(t)
	nodes := threeNodes(nil)
	service, err := controller.Ensure(webService(map[string]string{"cert-id": "1_x", "protocol-port": "https:443", "spec": "slb.s2.small"}), nodes)
	if err != nil {
		t.Fatal(err)
	}
	id := service.Labels[kube.LoadBalancerIDLabel]
	got := read(t, client, id)
	if b := got.balancer; b.Name != ownName || b.Address != service.Status.LoadBalancer.Ingress[0].IP || b.DeleteProtection != "on" ||
		b.ModificationProtection != "ConsoleProtection" || b.ModificationReason != "managed.by.ack" || b.VPCID != vpcID || b.Spec != "slb.s2.small" {
		t.Errorf("the load balancer is %+v", b)
	}
	if tags := tagsOf(got.balancer); !maps.Equal(tags, map[string]string{"kubernetes.do.not.delete": ownName, "ack.aliyun.com": clusterID}) {
		t.Errorf("its tags are %v", tags)
	}
	want := []string{"https:443 k8s/443/web/shop/" + clusterID + " 1_x", "tcp:80 k8s/80/web/shop/" + clusterID + " "}
	if !slices.Equal(got.listeners, want) {
		t.Errorf("the listeners are %v", got.listeners)
	}
	for port, group := range map[int]string{30080: "k8s/30080/web/shop/" + clusterID, 30443: "k8s/30443/web/shop/" + clusterID} {
		var backends []string
		for _, n := range nodes {
			backends = append(backends, fmt.Sprintf("ecs %s:%d 100", instanceOf(t, n), port))
		}
		if !slices.Equal(got.groups[group], backends) {
			t.Errorf("the backends of %s are %v", group, got.groups[group])
		}
	}

	c := controller.Cloud
	c.Listeners.Remove(cloud.ListenerKey(id, "https", 443))
	c.ServerGroups.Remove(c.ServerGroups.All()[0].ID)
	if err := c.LoadBalancers.Change(id, func(b *cloud.LoadBalancer) {
		b.Tags, b.DeleteProtection = map[string]string{"ack.aliyun.com": clusterID}, "off"
	}); err != nil {
		t.Fatal(err)
	}
	broken := read(t, client, id)
	if len(broken.listeners) != 1 || len(broken.groups) != 1 || broken.balancer.DeleteProtection != "off" || len(tagsOf(broken.balancer)) != 1 {
		t.Errorf("broken by hand: %+v", broken)
	}
	if err := c.LoadBalancers.Change(id, func(b *cloud.LoadBalancer) { b.Tags[cloud.TagName] = ownName }); err != nil {
		t.Fatal(err)
	}
	if _, err := controller.Ensure(service, nodes); err != nil {
		t.Fatal(err)
	}
	if mended := read(t, client, id); len(mended.listeners) != 2 || len(mended.groups) != 2 || mended.balancer.DeleteProtection != "on" ||
		mended.balancer.Address != got.balancer.Address {
		t.Errorf("mended: %+v", mended)
	}
	controller.Delete(service)
	if left := len(c.LoadBalancers.All()) + len(c.Listeners.All()) + len(c.ServerGroups.All()); left != 0 {
		t.Errorf("%d rows are left", left)
	}
}

// TestBackends looks at who is behind a Service.
func TestBackends(t *testing.T) {
	t.Parallel()
	label := func(name, value string) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Labels[name] = value }
	}
	for name, test := range map[string]struct {
		annotations map[string]string
		last        func(*corev1.Node)
		backends    int
	}{
		"all":                    {nil, nil, 3},
		"not ready":              {nil, func(n *corev1.Node) { cluster.SetNodeReady(n, false) }, 2},
		"cordoned":               {nil, func(n *corev1.Node) { n.Spec.Unschedulable = true }, 3},
		"cordoned, and removed":  {map[string]string{"remove-unscheduled-backend": "on"}, func(n *corev1.Node) { n.Spec.Unschedulable = true }, 2},
		"excluded":               {nil, label("service.beta.kubernetes.io/exclude-node", ""), 2},
		"master":                 {nil, label("node-role.kubernetes.io/master", ""), 2},
		"control plane":          {nil, label("node-role.kubernetes.io/control-plane", ""), 3},
		"virtual":                {nil, label("type", "virtual-kubelet"), 2},
		"hybrid":                 {nil, func(n *corev1.Node) { n.Spec.ProviderID = "ack-hybrid://n" }, 2},
		"about to be deleted":    {nil, func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler"}} }, 2},
		"labels":                 {map[string]string{"backend-label": "pool=a"}, label("pool", "a"), 1},
		"labels of older prefix": {map[string]string{"service.beta.kubernetes.io/alicloud-loadbalancer-backend-label": "pool=a"}, label("pool", "a"), 1},
	} {
		controller, client := newController(t)
		service, err := controller.Ensure(webService(test.annotations), threeNodes(test.last))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := read(t, client, service.Labels[kube.LoadBalancerIDLabel])
		if group := got.groups["k8s/30080/web/shop/"+clusterID]; len(group) != test.backends {
			t.Errorf("%s: %v", name, group)
		}
	}
}

// TestEndpointsAsBackends has the pods decide: by the nodes that they are on, or as
// backends themselves.
func TestEndpointsAsBackends(t *testing.T) {
	t.Parallel()
	nodes := threeNodes(nil)
	labels := map[string]string{"app": "web"}
	pods := []*corev1.Pod{
		cluster.Pod("shop", "web-1", labels, nodes[0].Name, "10.244.0.5"),
		cluster.Pod("shop", "web-2", labels, nodes[0].Name, "10.244.0.6"),
		cluster.Pod("shop", "web-3", labels, nodes[1].Name, "10.244.1.5"),
	}
	cluster.SetPodReady(pods[2], false)
	local, eni := webService(nil), webService(map[string]string{"service.beta.kubernetes.io/backend-type": "eni"})
	local.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	for _, test := range []struct {
		service *corev1.Service
		group   string
		want    []string
	}{
		{local, "k8s/30080/web/shop/", []string{"ecs " + instanceOf(t, nodes[0]) + ":30080 2"}},
		{eni, "k8s/8080/web/shop/", []string{"10.244.0.5:80 100", "10.244.0.6:80 100"}},
	} {
		controller, client := newController(t)
		service, err := controller.Ensure(test.service, nodes, cluster.EndpointSlice(test.service, pods...))
		if err != nil {
			t.Fatal(err)
		}
		group := read(t, client, service.Labels[kube.LoadBalancerIDLabel]).groups[test.group+clusterID]
		if len(group) != len(test.want) {
			t.Fatalf("%s: %v", test.group, group)
		}
		for i, want := range test.want {
			if !slices.ContainsFunc(group, func(b string) bool { return strings.HasSuffix(b, want) }) {
				t.Errorf("%s: backend %d of %v is not %s", test.group, i, group, want)
			}
		}
	}
}

// TestGivenLoadBalancer reuses a load balancer with and without its listeners.
func TestGivenLoadBalancer(t *testing.T) {
	t.Parallel()
	for override, listeners := range map[string]int{"": 0, "false": 0, "true": 2} {
		controller, client := newController(t)
		annotations := map[string]string{"id": "lb-given", "force-override-listeners": override}
		if _, err := controller.Ensure(webService(annotations), threeNodes(nil)); !errors.Is(err, cloud.ErrNoLoadBalancer) {
			t.Errorf("before there is one: %v", err)
		}
		controller.Cloud.LoadBalancers.Set(cloud.LoadBalancer{ID: "lb-given", Name: "mine", Address: "192.0.2.1"})
		service, err := controller.Ensure(webService(annotations), threeNodes(nil))
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, client, "lb-given")
		if len(got.listeners) != listeners || len(got.groups) != 2 || got.balancer.Name != "mine" || tagsOf(got.balancer)[cloud.TagReused] != "true" {
			t.Errorf("%q: %+v", override, got)
		}
		controller.Delete(service)
		if got := read(t, client, "lb-given"); len(got.listeners) != 0 || len(got.groups) != 0 {
			t.Errorf("after the Service: %+v", got)
		}
	}
}

// TestUnknownAnnotation is refused, so that no scene relies on what does nothing.
func TestUnknownAnnotation(t *testing.T) {
	t.Parallel()
	controller, _ := newController(t)
	if _, err := controller.Ensure(webService(map[string]string{"cookie": "c"}), threeNodes(nil)); err == nil {
		t.Error("no error")
	}
}

// TestInstancesOfNodes finds the instances of nodes by the ids that the nodes have.
func TestInstancesOfNodes(t *testing.T) {
	t.Parallel()
	controller, client := newController(t)
	nodes := append(threeNodes(nil), cluster.VirtualNode(9))
	controller.Cloud.Instances.Set(controller.Instances(nodes...)...)
	var ids []string
	for _, n := range nodes[:3] {
		ids = append(ids, instanceOf(t, n))
	}
	found, unknown, err := aliyun.Instances(t.Context(), client, ids)
	if err != nil || len(found) != 3 || len(unknown) != 0 || len(controller.Cloud.Instances.All()) != 3 {
		t.Fatalf("found %v, unknown %v, %v", found, unknown, err)
	}
	if i := found[ids[1]]; i.Status != "Running" || i.ChargeType != "PostPaid" || i.Spot() || i.VPC.ID != vpcID || i.Type != "ecs.c7.xlarge" {
		t.Errorf("got %+v", i)
	}
}

// TestInstanceAttributes reads what can be wrong with an instance.
func TestInstanceAttributes(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	client := newClient(t, c, host, withKey())
	end := time.Date(2031, 2, 3, 4, 5, 0, 0, time.UTC)
	c.Instances.Set(
		cloud.Instance{ID: "i-prepaid", ChargeType: "PrePaid", Expiry: end, Renewal: "AutoRenewal"},
		cloud.Instance{ID: "i-spot", SpotStrategy: "SpotAsPriceGo", Locks: []string{"Recycling"}, Status: "Stopped"},
		cloud.Instance{ID: "i-event", Events: []cloud.SystemEvent{
			{ID: "e-1", Type: "SystemMaintenance.Reboot", NotBefore: end}, {ID: "e-2", Type: "SystemMaintenance.Stop", Status: "Executed"},
		}})
	ids := []string{"i-prepaid", "i-spot", "i-event"}
	found, _, err := aliyun.Instances(t.Context(), client, ids)
	if err != nil {
		t.Fatal(err)
	}
	if expiry, ok := found["i-prepaid"].ExpiredTime.Expiry(); !ok || !expiry.Equal(end) {
		t.Errorf("the subscription ends %s", expiry)
	}
	spot := found["i-spot"]
	if _, ends := spot.ExpiredTime.Expiry(); ends || !spot.Spot() || !slices.Equal(spot.Locks(), []string{"recycling"}) || spot.Status != "Stopped" {
		t.Errorf("the spot instance is %+v", spot)
	}
	renewals, err := aliyun.AutoRenewals(t.Context(), client, []string{"i-prepaid"})
	if err != nil || len(renewals) != 1 || !bool(renewals[0].Enabled) || renewals[0].Status != "AutoRenewal" {
		t.Errorf("the renewals are %+v, %v", renewals, err)
	}
	statuses, err := aliyun.FullStatuses(t.Context(), client, ids)
	if err != nil || len(statuses) != 3 || statuses[0].InstanceID != "i-event" || len(statuses[0].Events.Event) != 1 {
		t.Fatalf("the statuses are %+v, %v", statuses, err)
	}
	if e := statuses[0].Events.Event[0]; e.ID != "e-1" || e.Type.Name != "SystemMaintenance.Reboot" || !e.NotBefore.Equal(end) {
		t.Errorf("the event is %+v", e)
	}
}
