package ccm

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	uid         = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
	defaultName = "a0a1b2c3d4e5f60718293a4b5c6d7e8f"
)

// service is a Service with one port 80, NodePort 30080, whose pods listen on 8080.
func service(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "web", UID: uid, Annotations: map[string]string{},
			Labels: map[string]string{"service.k8s.alibaba/loadbalancer-id": "lb-a"},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyCluster,
			Ports: []corev1.ServicePort{{Name: "web", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: 30080}},
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// annotated sets annotations: names without a slash get the newer prefix.
func annotated(pairs ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for i := 0; i < len(pairs); i += 2 {
			name := pairs[i]
			if !strings.Contains(name, "/") {
				name = newPrefix + name
			}
			s.Annotations[name] = pairs[i+1]
		}
	}
}

func local(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func eni(s *corev1.Service) { annotated(backendTypeAnnotation, "eni")(s) }

func aNode(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pool": "a"}},
		Spec:       corev1.NodeSpec{ProviderID: "cn-x.i-" + name},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
	for _, c := range change {
		c(n)
	}
	return n
}

func labelled(name, value string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels[name] = value }
}

func virtual(n *corev1.Node) {
	n.Labels["type"], n.Spec.ProviderID, n.Status.Conditions = "virtual-kubelet", "", nil
}

// pod is an endpoint on a node.
func pod(address, node string, change ...func(*discoveryv1.Endpoint)) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}
	if node != "" {
		e.NodeName = &node
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func notReady(e *discoveryv1.Endpoint)    { e.Conditions.Ready = new(false) }
func terminating(e *discoveryv1.Endpoint) { e.Conditions.Terminating = new(true) }

func endpoints(all ...discoveryv1.Endpoint) map[types.NamespacedName][]*discoveryv1.EndpointSlice {
	return map[types.NamespacedName][]*discoveryv1.EndpointSlice{{Namespace: "ns", Name: "web"}: {{
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: all,
		Ports: []discoveryv1.EndpointPort{{Name: new("web"), Port: new(int32(9090))}},
	}}}
}

// one computes one Service.
func one(t *testing.T, c Cluster, s *corev1.Service) Service {
	t.Helper()
	c.ID, c.Services = "c1", []*corev1.Service{s}
	all := Compute(c)
	if len(all) != 1 {
		t.Fatalf("%d Services", len(all))
	}
	return all[0]
}

func TestService(t *testing.T) {
	t.Parallel()
	got := one(t, Cluster{Nodes: []*corev1.Node{aNode("b"), aNode("a")}}, service())
	want := Service{
		NamespacedName: types.NamespacedName{Namespace: "ns", Name: "web"}, UID: uid, LoadBalancerID: "lb-a", OwnListeners: true,
		Name: defaultName, AddressType: "internet", Settled: true, Addresses: []string{"192.0.2.1"},
		Settings: Settings{DeleteProtection: "on", ModificationProtection: "ConsoleProtection"},
		Listeners: []Listener{{Port: 80, Protocol: "tcp", Name: "k8s/80/web/ns/c1", Group: Group{
			Name: "k8s/30080/web/ns/c1", OtherName: "k8s/8080/web/ns/c1", Known: true, PerNode: true,
			Backends: []Backend{{ServerID: "i-b", Port: 30080}, {ServerID: "i-a", Port: 30080}},
		}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestWhichServicesHaveACLB(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		want   bool
	}{
		"CLB":                    {func(*corev1.Service) {}, true},
		"NodePort":               {func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }, false},
		"class":                  {func(s *corev1.Service) { s.Spec.LoadBalancerClass = new("alibabacloud.com/nlb") }, false},
		"class annotation":       {annotated(classAnnotation, "x"), false},
		"empty class annotation": {annotated(classAnnotation, ""), true},
		"nlb":                    {annotated("type", "nlb"), false},
		"clb":                    {annotated("type", "clb"), true},
	} {
		s := service(local, test.change)
		if got := len(Compute(Cluster{Services: []*corev1.Service{s}})) == 1; got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
		if got := NeedsEndpoints(s); got != test.want {
			t.Errorf("%s needs endpoints: %v", name, got)
		}
	}
	if NeedsEndpoints(service()) || !NeedsEndpoints(service(eni)) || NeedsEndpoints(service(annotated(backendTypeAnnotation, "ecs"))) {
		t.Error("endpoints are needed by wrong Services")
	}
}

func TestLoadBalancerOfAService(t *testing.T) {
	t.Parallel()
	old := oldPrefix + "id"
	for name, test := range map[string]struct {
		change               func(*corev1.Service)
		id                   string
		reused, ownListeners bool
	}{
		"label":         {func(*corev1.Service) {}, "lb-a", false, true},
		"none":          {func(s *corev1.Service) { s.Labels = nil }, "", false, true},
		"annotation":    {annotated("id", "lb-b"), "lb-b", true, false},
		"legacy":        {annotated(old, "lb-c"), "lb-c", true, false},
		"both":          {annotated("id", "lb-b", old, "lb-c"), "lb-b", true, false},
		"empty new one": {annotated("id", "", old, "lb-c"), "lb-a", false, true},
		"override":      {annotated("id", "lb-b", "force-override-listeners", "true"), "lb-b", true, true},
		"no override":   {annotated("id", "lb-b", "force-override-listeners", "on"), "lb-b", true, false},
		"not an id":     {annotated("id", "lb b\n"), "", true, false},
		"a label that is no id": {func(s *corev1.Service) {
			s.Labels["service.k8s.alibaba/loadbalancer-id"] = strings.Repeat("x", 101)
		}, "", false, true},
	} {
		got := one(t, Cluster{}, service(test.change))
		if got.LoadBalancerID != test.id || got.Reused != test.reused || got.OwnListeners != test.ownListeners {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		want   bool
	}{
		"address": {func(*corev1.Service) {}, true},
		"host name": {func(s *corev1.Service) {
			s.Status.LoadBalancer.Ingress[0] = corev1.LoadBalancerIngress{Hostname: "a.example"}
		}, true},
		"being created": {func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = nil }, false},
		"being deleted": {func(s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{} }, false},
	} {
		got := one(t, Cluster{}, service(test.change))
		if got.Settled != test.want || got.Deleting != (name == "being deleted") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	protected := Settings{DeleteProtection: "on", ModificationProtection: "ConsoleProtection"}
	for name, test := range map[string]struct {
		change      func(*corev1.Service)
		want        Settings
		addressType string
	}{
		"made":   {func(*corev1.Service) {}, protected, "internet"},
		"reused": {annotated("id", "lb-b"), Settings{}, ""},
		"all": {
			annotated("id", "lb-b", "name", "n", "spec", "slb.s2.small", "delete-protection", "on", "modification-protection", "NonProtection",
				"address-type", "intranet", "charge-type", "paybybandwidth", "instance-charge-type", "PayBySpec", "bandwidth", "50"),
			Settings{"n", "slb.s2.small", "on", "NonProtection", "intranet", "paybybandwidth", "PayBySpec", 50},
			"intranet",
		},
		"off": {
			annotated("delete-protection", "off", "modification-protection", "NonProtection"),
			Settings{DeleteProtection: "off", ModificationProtection: "NonProtection"},
			"internet",
		},
		"not understood": {
			annotated("delete-protection", "yes", "modification-protection", "on", "address-type", "public", "charge-type", "4", "bandwidth", "-5"),
			Settings{},
			"",
		},
	} {
		got := one(t, Cluster{}, service(test.change))
		if got.Settings != test.want || got.AddressType != test.addressType {
			t.Errorf("%s: got %q %+v", name, got.AddressType, got.Settings)
		}
	}
}

func TestProtocols(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"":                     "tcp",
		"http:80":              "http",
		"https:443,http:80":    "http",
		"https:443":            "tcp",
		"https:443,":           "",
		"https:443, http:80":   "",
		"http:80,nonsense":     "http",
		"nonsense,http:80":     "",
		"HTTP:80":              "",
		"https:8080,udp:80:80": "udp",
		":":                    "",
	} {
		l := one(t, Cluster{}, service(annotated("protocol-port", list))).Listeners[0]
		if l.Protocol != want || l.Name != "k8s/80/web/ns/c1" {
			t.Errorf("%q: got %+v", list, l)
		}
	}
	for protocol, want := range map[corev1.Protocol]string{corev1.ProtocolUDP: "udp", "": "tcp", corev1.ProtocolSCTP: ""} {
		l := one(t, Cluster{}, service(func(s *corev1.Service) { s.Spec.Ports[0].Protocol = protocol })).Listeners[0]
		if l.Protocol != want {
			t.Errorf("%q: got %q", protocol, l.Protocol)
		}
	}
}

func TestForwards(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]bool{"80:443": true, "88:443,80:443": true, "": false, "8080:443": false, "80": false, "80:x": false, "80:0": false} {
		if got := one(t, Cluster{}, service(annotated("protocol-port", "http:80", "forward-port", list))).Listeners[0].Forwards; got != want {
			t.Errorf("%q: got %v", list, got)
		}
	}
	if one(t, Cluster{}, service(annotated("forward-port", "80:443"))).Listeners[0].Forwards {
		t.Error("a TCP listener cannot forward")
	}
}

func TestGroupsOfAReusedLoadBalancer(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]Group{
		"":                   {Name: "k8s/30080/web/ns/c1", OtherName: "k8s/8080/web/ns/c1", Known: true, PerNode: true},
		"rsp-b:443":          {Name: "k8s/30080/web/ns/c1", OtherName: "k8s/8080/web/ns/c1", Known: true, PerNode: true},
		"rsp-b:443,rsp-a:80": {ID: "rsp-a", Known: true, PerNode: true},
		"rsp-a":              {PerNode: true},
		"rsp a:80":           {PerNode: true},
		":80":                {PerNode: true},
	} {
		if got := one(t, Cluster{}, service(annotated("id", "lb-b", "vgroup-port", list))).Listeners[0].Group; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v", list, got)
		}
	}
	// On its own load balancer the controller does not look at it.
	if got := one(t, Cluster{}, service(annotated("vgroup-port", "rsp-a:80"))).Listeners[0].Group; got.ID != "" || got.Name == "" {
		t.Errorf("got %+v", got)
	}
}

func TestNamesOfGroups(t *testing.T) {
	t.Parallel()
	byName := func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("http") }
	unset := func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.IntOrString{} }
	for name, test := range map[string]struct {
		service     *corev1.Service
		pods        bool
		want, other string
	}{
		"nodes":              {service(annotated(backendTypeAnnotation, "ecs")), false, "k8s/30080/web/ns/c1", ""},
		"pods":               {service(eni), false, "k8s/8080/web/ns/c1", ""},
		"pods by name":       {service(eni, byName), false, "k8s/http/web/ns/c1", ""},
		"no target":          {service(eni, unset), false, "k8s/80/web/ns/c1", ""},
		"pods by default":    {service(), true, "k8s/8080/web/ns/c1", "k8s/30080/web/ns/c1"},
		"nodes all the same": {service(annotated(backendTypeAnnotation, "ecs")), true, "k8s/30080/web/ns/c1", ""},
	} {
		g := one(t, Cluster{PodsByDefault: test.pods}, test.service).Listeners[0].Group
		if g.Name != test.want || g.OtherName != test.other {
			t.Errorf("%s: got %+v", name, g)
		}
	}
	l := Compute(Cluster{Services: []*corev1.Service{service()}})[0].Listeners[0]
	if l.Name != "" || l.Group.Name != "" || l.Group.OtherName != "" {
		t.Errorf("names without the id of the cluster: %+v", l)
	}
}

// backendsOf are the backends of the only group, as text.
func backendsOf(g Group) string {
	var all []string
	for _, b := range g.Backends {
		all = append(all, fmt.Sprintf("%s%s:%d", b.ServerID, b.ServerIP, b.Port))
	}
	for _, b := range g.Optional {
		all = append(all, fmt.Sprintf("(%s%s:%d)", b.ServerID, b.ServerIP, b.Port))
	}
	slices.Sort(all)
	if !g.Known {
		all = append(all, "?")
	}
	return strings.Join(all, " ")
}

func TestNodesThatTakePart(t *testing.T) {
	t.Parallel()
	condition := func(c ...corev1.NodeCondition) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Status.Conditions = c }
	}
	provider := func(id string) func(*corev1.Node) { return func(n *corev1.Node) { n.Spec.ProviderID = id } }
	for name, test := range map[string]struct {
		node    func(*corev1.Node)
		service func(*corev1.Service)
		want    string
	}{
		"in":             {func(*corev1.Node) {}, nil, "i-a:30080"},
		"older provider": {provider("alicloud://cn-x.i-a"), nil, "i-a:30080"},
		"master":         {labelled(masterLabel, ""), nil, ""},
		"control plane":  {labelled("node-role.kubernetes.io/control-plane", ""), nil, "i-a:30080"},
		"scaled in":      {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: toBeDeletedTaint}} }, nil, ""},
		"other taint":    {func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "x"}} }, nil, "i-a:30080"},
		"no condition":   {condition(), nil, ""},
		"not ready":      {condition(corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}), nil, ""},
		"label 1":        {labelled(corev1.LabelNodeExcludeBalancers, "false"), nil, ""},
		"label 2":        {labelled("alpha.service-controller.kubernetes.io/exclude-balancer", ""), nil, ""},
		"label 3":        {labelled("service.alibabacloud.com/exclude-node", ""), nil, ""},
		"label 4":        {labelled("service.beta.kubernetes.io/exclude-node", ""), nil, ""},
		"hybrid":         {provider("ack-hybrid://x"), nil, ""},
		"not seen yet":   {provider(""), nil, "?"},
		"cordoned":       {func(n *corev1.Node) { n.Spec.Unschedulable = true }, nil, "i-a:30080"},
		"cordoned, out":  {func(n *corev1.Node) { n.Spec.Unschedulable = true }, annotated("remove-unscheduled-backend", "on"), ""},
		"cordoned, off":  {func(n *corev1.Node) { n.Spec.Unschedulable = true }, annotated("remove-unscheduled-backend", "off"), "i-a:30080"},
		"label wanted":   {labelled("k", "v"), annotated("backend-label", "pool=a,k=v"), "i-a:30080"},
		"other value":    {labelled("k", "w"), annotated("backend-label", "k=v"), ""},
		"no label":       {func(*corev1.Node) {}, annotated("backend-label", "k="), ""},
		"no labels":      {func(*corev1.Node) {}, annotated("backend-label", "pool"), "i-a:30080 ?"},
		"virtual":        {virtual, nil, "?"},
	} {
		s := service()
		if test.service != nil {
			test.service(s)
		}
		if got := backendsOf(one(t, Cluster{Nodes: []*corev1.Node{aNode("a", test.node)}}, s).Listeners[0].Group); got != test.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestFilling(t *testing.T) {
	t.Parallel()
	excluded := labelled(corev1.LabelNodeExcludeBalancers, "")
	nodes := []*corev1.Node{
		aNode("a"), aNode("b"), aNode("x", excluded), aNode("h", func(n *corev1.Node) { n.Spec.ProviderID = "ack-hybrid://h" }),
		aNode("cordoned", func(n *corev1.Node) { n.Spec.Unschedulable = true }),
	}
	withVirtual := append(slices.Clone(nodes), aNode("v", virtual))
	named := func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromString("http") }
	all := "i-a:30080 i-b:30080 i-cordoned:30080"
	for name, test := range map[string]struct {
		service   *corev1.Service
		nodes     []*corev1.Node
		endpoints map[types.NamespacedName][]*discoveryv1.EndpointSlice
		want      string
	}{
		"cluster":                     {service(), nodes, nil, all},
		"cluster, virtual nodes":      {service(), withVirtual, nil, all + " ?"},
		"cluster, pods on them":       {service(), withVirtual, endpoints(pod("10.0.0.1", "a"), pod("10.0.0.9", "v")), "10.0.0.9:8080 " + all},
		"cluster, pods not ready":     {service(), withVirtual, endpoints(pod("10.0.0.9", "v", notReady)), "(10.0.0.9:8080) " + all},
		"local, not known":            {service(local), nodes, nil, "?"},
		"local, none":                 {service(local), nodes, endpoints(), ""},
		"local":                       {service(local), nodes, endpoints(pod("10.0.0.1", "a"), pod("10.0.0.2", "a")), "i-a:30080"},
		"local, not ready":            {service(local), nodes, endpoints(pod("10.0.0.1", "a"), pod("10.0.0.2", "b", notReady)), "(i-b:30080) i-a:30080"},
		"local, one of two not ready": {service(local), nodes, endpoints(pod("10.0.0.1", "a", notReady), pod("10.0.0.2", "a")), "i-a:30080"},
		"local, about to end":         {service(local), nodes, endpoints(pod("10.0.0.1", "a", terminating)), ""},
		"local, excluded nodes":       {service(local), nodes, endpoints(pod("10.0.0.1", "x"), pod("10.0.0.2", "h"), pod("10.0.0.3", "gone")), ""},
		"local, cordoned": {
			service(local, annotated("remove-unscheduled-backend", "on")), nodes,
			endpoints(pod("10.0.0.1", "cordoned"), pod("10.0.0.2", "b")), "i-b:30080",
		},
		"local, virtual":        {service(local), withVirtual, endpoints(pod("10.0.0.1", "a"), pod("10.0.0.9", "v")), "i-a:30080 ?"},
		"local, no node":        {service(local), nodes, endpoints(pod("10.0.0.1", "")), "?"},
		"pods, not known":       {service(eni), nodes, nil, "?"},
		"pods":                  {service(eni), nodes, endpoints(pod("10.0.0.1", "a"), pod("10.0.0.1", "a"), pod("10.0.0.2", "x"), pod("10.0.0.3", "")), "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080"},
		"pods, port by name":    {service(eni, named), nodes, endpoints(pod("10.0.0.1", "a")), "10.0.0.1:9090"},
		"pods, other states":    {service(eni), nodes, endpoints(pod("10.0.0.1", "a", notReady), pod("10.0.0.2", "a", terminating), pod("10.0.0.3", "h")), "(10.0.0.1:8080) (10.0.0.3:8080)"},
		"pods win over local":   {service(eni, local), nodes, endpoints(pod("10.0.0.1", "a")), "10.0.0.1:8080"},
		"pods with IPv6":        {service(eni, annotated("backend-ip-version", "ipv6")), nodes, endpoints(pod("10.0.0.1", "a")), "10.0.0.1:8080 ?"},
		"an unknown node label": {service(local, annotated("backend-label", "x")), nodes, endpoints(pod("10.0.0.1", "a")), "i-a:30080 ?"},
	} {
		g := one(t, Cluster{Nodes: test.nodes, Endpoints: test.endpoints}, test.service).Listeners[0].Group
		if got := backendsOf(g); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		if perNode := strings.HasPrefix(name, "cluster"); g.PerNode != perNode {
			t.Errorf("%s: per node is %v", name, g.PerNode)
		}
	}
	// IPv6 slices stand beside those that count.
	six := endpoints(pod("2001:db8::1", "a"))
	for _, s := range six {
		s[0].AddressType = discoveryv1.AddressTypeIPv6
	}
	if got := backendsOf(one(t, Cluster{Nodes: nodes, Endpoints: six}, service(eni)).Listeners[0].Group); got != "" {
		t.Errorf("IPv6: got %q", got)
	}
	// A port that has no name in the slice has no backends there.
	unnamed := endpoints(pod("10.0.0.1", "a"))
	for _, s := range unnamed {
		s[0].Ports[0].Port = nil
	}
	if got := backendsOf(one(t, Cluster{Nodes: nodes, Endpoints: unnamed}, service(eni, named)).Listeners[0].Group); got != "" {
		t.Errorf("no port: got %q", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	n := Name{"80", "web", "ns", "c1"}
	if got, ok := ParseName(n.String()); !ok || got != n {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, s := range []string{"", "web", "k8s/80/web/ns", "k8s/80/web/ns/c1/x", "x/80/web/ns/c1", "k8s//web/ns/c1", "k8s/80/web/ns/"} {
		if got, ok := ParseName(s); ok {
			t.Errorf("%q is %+v", s, got)
		}
	}
	if got := DefaultName("short"); got != "ashort" {
		t.Errorf("got %q", got)
	}
}

// Whatever annotations say, what is computed is one listener for each port, with values of
// their form.
func FuzzAnnotations(f *testing.F) {
	f.Add("https:443,http:80", "rsp-a:80", "pool=a", "80:443", "lb-b", "50", "eni")
	f.Add("http:80:80,", ":", "=,=", "80", "\x00", "1e9", "")
	f.Fuzz(func(t *testing.T, protocols, groups, labels, forward, id, bandwidth, kind string) {
		s := service(annotated("protocol-port", protocols, "vgroup-port", groups, "backend-label", labels, "forward-port", forward, "id", id,
			"bandwidth", bandwidth, "delete-protection", kind, "address-type", kind, backendTypeAnnotation, kind))
		got := one(t, Cluster{Nodes: []*corev1.Node{aNode("a")}, Endpoints: endpoints(pod("10.0.0.1", "a"))}, s)
		l := got.Listeners[0]
		if len(got.Listeners) != 1 || l.Port != 80 || oneOf(l.Protocol, "", "tcp", "udp", "http", "https") != l.Protocol {
			t.Errorf("listeners %+v", got.Listeners)
		}
		if anID(got.LoadBalancerID) != got.LoadBalancerID || anID(l.Group.ID) != l.Group.ID || got.Settings.Bandwidth < 0 {
			t.Errorf("got %+v", got)
		}
		if _, ok := ParseName(l.Group.Name); l.Group.Name != "" && (!ok || l.Group.ID != "") {
			t.Errorf("group %+v", l.Group)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("k8s/80/web/ns/c1")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := ParseName(s); ok && n.String() != s {
			t.Errorf("%q is %+v", s, n)
		}
	})
}
