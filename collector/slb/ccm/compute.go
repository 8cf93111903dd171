package ccm

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ack-exporter/internal/kube"
)

// maxName is how much of its default name a load balancer gets.
const maxName = 32

// Compute computes what the controller wants for every Service that has a CLB instance, in
// the order of c.Services. What an annotation that cannot be understood is about is not
// known.
func Compute(c Cluster) []Service {
	b := &builder{cluster: c, nodes: candidates(c.Nodes)}
	var all []Service
	for _, s := range c.Services {
		if hasCLB(s) {
			all = append(all, b.service(s))
		}
	}
	return all
}

// NeedsEndpoints tells whether the backends of a Service follow its pods, so that its
// endpoints are needed to know them.
func NeedsEndpoints(s *corev1.Service) bool {
	return hasCLB(s) && (s.Annotations[backendTypeAnnotation] == backendTypePods || isLocal(s))
}

// hasCLB tells whether the controller gives the Service a CLB instance.
func hasCLB(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.LoadBalancerClass == nil &&
		s.Annotations[classAnnotation] == "" && !strings.EqualFold(annotation(s, "type"), typeNLB)
}

func isLocal(s *corev1.Service) bool {
	return s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// DefaultName is the name that the controller gives to the load balancer of a Service.
func DefaultName(uid types.UID) string {
	name := strings.ReplaceAll("a"+string(uid), "-", "")
	return name[:min(len(name), maxName)]
}

// builder computes Services of one cluster.
type builder struct {
	cluster Cluster
	nodes   nodes
}

func (b *builder) service(s *corev1.Service) Service {
	named := annotation(s, "id")
	reused := named != ""
	wanted := Service{
		NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: s.Name},
		UID:            s.UID,
		LoadBalancerID: anID(s.Labels[kube.LoadBalancerIDLabel]),
		Reused:         reused,
		OwnListeners:   !reused || annotation(s, "force-override-listeners") == "true",
		Name:           DefaultName(s.UID),
		Settings:       settingsOf(s, reused),
		Deleting:       s.DeletionTimestamp != nil,
		Settled:        s.DeletionTimestamp == nil && len(s.Status.LoadBalancer.Ingress) > 0,
	}
	if reused {
		wanted.LoadBalancerID = anID(named)
	}
	wanted.AddressType = wanted.Settings.AddressType
	if !reused && annotation(s, "address-type") == "" {
		wanted.AddressType = "internet"
	}
	for _, i := range s.Status.LoadBalancer.Ingress {
		if i.IP != "" {
			wanted.Addresses = append(wanted.Addresses, i.IP)
		}
	}
	part := b.nodes.of(s)
	for _, p := range s.Spec.Ports {
		wanted.Listeners = append(wanted.Listeners, b.listener(s, p, reused, part))
	}
	return wanted
}

func (b *builder) listener(s *corev1.Service, p corev1.ServicePort, reused bool, part part) Listener {
	l := Listener{
		Port:     p.Port,
		Protocol: protocolOf(s, p),
		Name:     b.name(s, fmt.Sprint(p.Port)),
		Group:    b.group(s, p, part),
	}
	l.Forwards = l.Protocol == "http" && forwards(s, p.Port)
	if !reused {
		return l
	}
	switch id, ok := groupOf(s, p.Port); {
	case !ok:
		l.Group = Group{PerNode: l.Group.PerNode}
	case id != "":
		l.Group.ID, l.Group.Name, l.Group.OtherName = id, "", ""
	}
	return l
}

// name is the name of a listener or a group, by which the controller finds it again.
func (b *builder) name(s *corev1.Service, port string) string {
	if b.cluster.ID == "" {
		return ""
	}
	return Name{Port: port, Service: s.Name, Namespace: s.Namespace, ClusterID: b.cluster.ID}.String()
}

// takesPods tells whether pods are the backends of a Service, in place of nodes.
func (b *builder) takesPods(s *corev1.Service) bool {
	if given := s.Annotations[backendTypeAnnotation]; given != "" {
		return given == backendTypePods
	}
	return b.cluster.PodsByDefault
}

func (b *builder) group(s *corev1.Service, p corev1.ServicePort, part part) Group {
	byNode, byPod := b.name(s, fmt.Sprint(p.NodePort)), b.name(s, targetPort(p).String())
	pods := b.takesPods(s)
	g := Group{Name: byNode, OtherName: byPod, PerNode: !pods && !isLocal(s)}
	if pods {
		g.Name, g.OtherName = byPod, byNode
	}
	if s.Annotations[backendTypeAnnotation] != "" {
		g.OtherName = ""
	}
	endpoints, known := b.cluster.Endpoints[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}]
	f := filling{part: part, port: p, known: part.known, seen: make(map[Backend]bool)}
	switch {
	case pods:
		// Addresses of which family are taken is for the controller's own flags to say.
		f.known = known && annotation(s, "backend-ip-version") != "ipv6"
		f.each(endpoints, f.pod)
	case isLocal(s):
		f.known = f.known && known
		f.each(endpoints, f.local)
	default:
		f.cluster()
		// Pods on virtual nodes are backends themselves.
		if b.nodes.virtual {
			f.known = f.known && known
			f.each(endpoints, f.virtual)
		}
	}
	g.Backends, g.Optional, g.Known = f.backends, f.optional(), f.known
	return g
}

func targetPort(p corev1.ServicePort) *intstr.IntOrString {
	if p.TargetPort == (intstr.IntOrString{}) {
		return &intstr.IntOrString{IntVal: p.Port}
	}
	return &p.TargetPort
}

// filling is a group that is being filled.
type filling struct {
	part     part
	port     corev1.ServicePort
	known    bool
	backends []Backend
	seen     map[Backend]bool
	maybe    []Backend
}

func (f *filling) add(b Backend, ready bool) {
	switch {
	case !ready:
		f.maybe = append(f.maybe, b)
	case !f.seen[b]:
		f.seen[b] = true
		f.backends = append(f.backends, b)
	}
}

// optional are the backends that may be there, but need not be.
func (f *filling) optional() []Backend {
	return slices.DeleteFunc(f.maybe, func(b Backend) bool { return f.seen[b] })
}

// cluster adds every node that takes part.
func (f *filling) cluster() {
	// Each of them is there once, and there can be thousands.
	f.backends = slices.Grow(f.backends, len(f.part.nodes))
	for _, n := range f.part.nodes {
		switch {
		case !n.backend:
		case n.instance == "":
			f.known = false
		default:
			f.backends = append(f.backends, Backend{ServerID: n.instance, Port: f.port.NodePort})
		}
	}
}

func (f *filling) node(n *node, ready bool) {
	if n.instance == "" {
		f.known = false
		return
	}
	f.add(Backend{ServerID: n.instance, Port: f.port.NodePort}, ready)
}

// endpoint is a pod behind the Service.
type endpoint struct {
	address, node string
	port          int32
	ready         bool
}

// each calls add for the endpoints that are not about to end.
func (f *filling) each(all []*discoveryv1.EndpointSlice, add func(endpoint)) {
	for _, s := range all {
		port, ok := f.backendPort(s)
		if s.AddressType != discoveryv1.AddressTypeIPv4 || !ok {
			continue
		}
		for _, e := range s.Endpoints {
			if is(e.Conditions.Terminating) {
				continue
			}
			for _, address := range e.Addresses {
				found := endpoint{address: address, port: port, ready: is(e.Conditions.Ready)}
				if e.NodeName != nil {
					found.node = *e.NodeName
				}
				add(found)
			}
		}
	}
}

func is(flag *bool) bool { return flag != nil && *flag }

// backendPort is the port of the pods of a slice: as the Service says, or by its name.
func (f *filling) backendPort(s *discoveryv1.EndpointSlice) (int32, bool) {
	target := targetPort(f.port)
	if target.Type == intstr.Int {
		return target.IntVal, true
	}
	for _, p := range s.Ports {
		if p.Name != nil && *p.Name == f.port.Name {
			return deref(p.Port), deref(p.Port) != 0
		}
	}
	return 0, false
}

func deref(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}

// pod adds the pod itself. Pods outside of the VPC, as on hybrid nodes, are left out by
// the controller, which asks the cloud for that.
func (f *filling) pod(e endpoint) {
	n := f.part.byName[e.node]
	f.add(Backend{ServerIP: e.address, Port: e.port}, e.ready && (n == nil || !n.hybrid))
}

// local adds the node of a pod. Of pods on virtual nodes the controller does not take all.
func (f *filling) local(e endpoint) {
	n := f.part.byName[e.node]
	switch {
	case e.node == "", n != nil && n.virtual:
		f.known = false
	case n != nil && f.part.has(n) && n.backend:
		f.node(n, e.ready)
	}
}

// virtual adds a pod on a virtual node.
func (f *filling) virtual(e endpoint) {
	if n := f.part.byName[e.node]; n != nil && n.virtual && f.part.has(n) {
		f.add(Backend{ServerIP: e.address, Port: e.port}, e.ready)
	}
}
