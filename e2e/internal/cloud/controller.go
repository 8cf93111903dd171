//go:build e2e

package cloud

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Controller does in a Cloud what the cloud controller manager does there for the
// Services of one cluster, by its rules, and once: it watches nothing. What is broken
// by hand afterwards stays broken until Ensure is called again.
type Controller struct {
	Cloud *Cloud
	// ClusterID is the id of the ACK cluster.
	ClusterID string
	// VPCID and VSwitchID are where load balancers are.
	VPCID, VSwitchID string
}

// What the cloud controller manager writes and reads.
const (
	// TagName has the name by which the controller finds its load balancers again.
	TagName = "kubernetes.do.not.delete"
	// TagCluster has the id of the cluster.
	TagCluster = "ack.aliyun.com"
	// TagReused is "true" at load balancers that the controller was given.
	TagReused = "kubernetes.reused.by.user"
	// LabelLoadBalancer is written to Services.
	LabelLoadBalancer = "service.k8s.alibaba/loadbalancer-id"
	// FinalizerService is added to Services.
	FinalizerService = "service.k8s.alibaba/resources"

	annotationPrefix    = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
	olderPrefix         = "service.beta.kubernetes.io/alicloud-loadbalancer-"
	annotationBackend   = "service.beta.kubernetes.io/backend-type"
	annotationClass     = "service.beta.kubernetes.io/class"
	defaultWeight       = 100
	maxLoadBalancerName = 32
)

var (
	// ErrNoLoadBalancer says that a Service names a load balancer that does not exist.
	ErrNoLoadBalancer = errors.New("not able to find the load balancer")
	errNotSimulated   = errors.New("not simulated")
)

// simulated are the annotations that Ensure acts on.
var simulated = []string{
	"id", "name", "address-type", "spec", "instance-charge-type", "charge-type", "bandwidth", "cert-id", "protocol-port", "forward-port",
	"force-override-listeners", "remove-unscheduled-backend", "backend-label", "delete-protection", "modification-protection", "vswitch-id",
	"master-zoneid", "slave-zoneid", "additional-resource-tags", "scheduler", "acl-status", "acl-id", "acl-type",
}

// settings are the annotations of a Service. The older prefix counts where the newer
// one is not there.
type settings map[string]string

func settingsOf(service *corev1.Service) (settings, error) {
	s := settings{}
	for _, prefix := range []string{olderPrefix, annotationPrefix} {
		for name, value := range service.Annotations {
			rest, ok := strings.CutPrefix(name, prefix)
			if ok && !slices.Contains(simulated, rest) {
				return nil, fmt.Errorf("annotation %s: %w", name, errNotSimulated)
			}
			if ok {
				s[rest] = value
			}
		}
	}
	if service.Spec.LoadBalancerClass != nil || service.Annotations[annotationClass] != "" {
		return nil, fmt.Errorf("a class of load balancers: %w", errNotSimulated)
	}
	return s, nil
}

func (s settings) or(name, fallback string) string {
	if value := s[name]; value != "" {
		return value
	}
	return fallback
}

// DefaultName is how the controller names a load balancer of its own. It is the value
// of TagName too.
func DefaultName(service *corev1.Service) string {
	name := "a" + strings.ReplaceAll(string(service.UID), "-", "")
	return name[:min(len(name), maxLoadBalancerName)]
}

// GroupName is how the controller names a VServer group, and describes its backends.
// port is the port of the node, or of the pods where they are backends themselves.
func (o Controller) GroupName(service *corev1.Service, port string) string {
	return strings.Join([]string{"k8s", port, service.Name, service.Namespace, o.ClusterID}, "/")
}

// ListenerDescription is how the controller describes the listener of a port.
func (o Controller) ListenerDescription(service *corev1.Service, port int32) string {
	return o.GroupName(service, strconv.Itoa(int(port)))
}

// Instances are the instances that nodes are, paid by use and running, in the VPC of the
// controller. Nodes that are none have none.
func (o Controller) Instances(nodes ...*corev1.Node) []Instance {
	var all []Instance
	for _, n := range nodes {
		_, id, ok := strings.Cut(n.Spec.ProviderID, ".")
		if !ok {
			continue
		}
		i := Instance{
			ID: id, Name: n.Name, Type: n.Labels[corev1.LabelInstanceTypeStable], ZoneID: n.Labels[corev1.LabelTopologyZone],
			VPCID: o.VPCID, VSwitchID: o.VSwitchID, Tags: map[string]string{TagCluster: o.ClusterID},
		}
		for _, address := range n.Status.Addresses {
			if address.Type == corev1.NodeInternalIP {
				i.IP = address.Address
			}
		}
		all = append(all, i)
	}
	return all
}

// Ensure makes, or mends, the load balancer of a Service with its listeners, groups
// and backends: nodes, and for the policy Local or the backend type eni also endpoints,
// tell which. It returns the Service as the controller leaves it, for the caller to
// write: with label, finalizer and address. A Service with an annotation that is not
// simulated is an error, ErrNoLoadBalancer one that names a load balancer that does not
// exist.
func (o Controller) Ensure(service *corev1.Service, nodes []*corev1.Node, endpoints ...*discoveryv1.EndpointSlice) (*corev1.Service, error) {
	balancer, err := o.ensure(service, nodes, endpoints)
	if err != nil {
		return nil, fmt.Errorf("load balancer of %s/%s: %w", service.Namespace, service.Name, err)
	}
	done := service.DeepCopy()
	if done.Labels == nil {
		done.Labels = make(map[string]string)
	}
	done.Labels[LabelLoadBalancer] = balancer.ID
	if !slices.Contains(done.Finalizers, FinalizerService) {
		done.Finalizers = append(done.Finalizers, FinalizerService)
	}
	done.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: balancer.Address}}
	return done, nil
}

func (o Controller) ensure(service *corev1.Service, nodes []*corev1.Node, endpoints []*discoveryv1.EndpointSlice) (LoadBalancer, error) {
	s, err := settingsOf(service)
	if err != nil {
		return LoadBalancer{}, err
	}
	protocols, err := s.protocols(service)
	if err != nil {
		return LoadBalancer{}, err
	}
	c := o.Cloud
	c.mu.Lock()
	defer c.mu.Unlock()
	balancer, err := o.loadBalancer(service, s)
	if err != nil {
		return LoadBalancer{}, err
	}
	groups := o.groups(service, s, balancer.ID, nodes, endpoints)
	listeners := o.listeners(service, s, balancer.ID, groups, protocols)
	o.sweep(service, balancer.ID, s.ownsListeners())
	c.LoadBalancers.set(balancer)
	for _, g := range groups {
		c.ServerGroups.set(g)
	}
	c.Listeners.set(listeners...)
	return balancer, nil
}

// Delete removes what Ensure made for a Service; of a load balancer that the
// controller was given only the Service's own listeners and groups.
func (o Controller) Delete(service *corev1.Service) {
	c := o.Cloud
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, b := range c.LoadBalancers.rows {
		o.sweep(service, id, true)
		if b.Tags[TagName] == DefaultName(service) {
			delete(c.LoadBalancers.rows, id)
		}
	}
}

// sweep removes the groups, and listeners, of the Service from a load balancer.
func (o Controller) sweep(service *corev1.Service, balancer string, listeners bool) {
	c := o.Cloud
	own := func(name string) bool {
		return strings.HasPrefix(name, "k8s/") && strings.HasSuffix(name, "/"+service.Name+"/"+service.Namespace+"/"+o.ClusterID)
	}
	for key, g := range c.ServerGroups.rows {
		if g.LoadBalancerID == balancer && own(g.Name) {
			delete(c.ServerGroups.rows, key)
		}
	}
	for key, l := range c.Listeners.rows {
		if listeners && l.LoadBalancerID == balancer && own(l.Description) {
			delete(c.Listeners.rows, key)
		}
	}
}

// ownsListeners is false for a load balancer that was given without its listeners.
func (s settings) ownsListeners() bool {
	return s["id"] == "" || s["force-override-listeners"] == "true"
}

// loadBalancer is the load balancer of the Service as it ought to be.
func (o Controller) loadBalancer(service *corev1.Service, s settings) (LoadBalancer, error) {
	if id := s["id"]; id != "" {
		b, ok := o.Cloud.LoadBalancers.rows[id]
		if !ok {
			return b, fmt.Errorf("%s: %w", id, ErrNoLoadBalancer)
		}
		b = b.copied()
		b.Tags = with(b.Tags, TagReused, "true")
		return b, nil
	}
	name := DefaultName(service)
	found := o.Cloud.LoadBalancers.sorted(func(b LoadBalancer) bool { return b.Tags[TagName] == name })
	var b LoadBalancer
	if len(found) > 0 {
		b = found[0].copied()
	} else {
		b = LoadBalancer{ID: identifier("lb-bp1", name), AddressType: s.or("address-type", "internet")}
		b.Address = o.Cloud.newAddress(b.AddressType)
	}
	b.Name, b.Spec, b.ChargeType = s.or("name", name), s.or("spec", "slb.s1.small"), s.or("instance-charge-type", "PayBySpec")
	b.VPCID, b.VSwitchID = o.VPCID, s.or("vswitch-id", o.VSwitchID)
	b.MasterZone, b.SlaveZone = s.or("master-zoneid", b.MasterZone), s.or("slave-zoneid", b.SlaveZone)
	b.InternetChargeType, b.Bandwidth = s.or("charge-type", "paybytraffic"), -1
	if n, err := strconv.Atoi(s["bandwidth"]); err == nil {
		b.Bandwidth = n
	}
	b.DeleteProtection = s.or("delete-protection", "on")
	b.ModificationProtection, b.ModificationReason = s.or("modification-protection", "ConsoleProtection"), "managed.by.ack"
	b.Tags = with(with(b.Tags, TagName, name), TagCluster, o.ClusterID)
	for tag := range strings.SplitSeq(s["additional-resource-tags"], ",") {
		if key, value, ok := strings.Cut(tag, "="); ok {
			b.Tags[key] = value
		}
	}
	return b, nil
}

// with is a copy of tags with one more.
func with(tags map[string]string, key, value string) map[string]string {
	all := maps.Clone(tags)
	if all == nil {
		all = make(map[string]string)
	}
	all[key] = value
	return all
}

// newAddress is one that nobody has: of the range for benchmarks, or of a private one.
func (c *Cloud) newAddress(kind string) string {
	c.addresses++
	prefix := "198.18"
	if kind == "intranet" {
		prefix = "172.30"
	}
	return fmt.Sprintf("%s.%d.%d", prefix, c.addresses/250, 1+c.addresses%250)
}

// identifier is an id that is always the same for the same seed.
func identifier(prefix, seed string) string { return prefix + digest([]byte(seed))[:17] }

// groups are the VServer groups of the Service, by the port that each is for.
func (o Controller) groups(service *corev1.Service, s settings, balancer string, nodes []*corev1.Node, endpoints []*discoveryv1.EndpointSlice) map[int32]ServerGroup {
	groups := make(map[int32]ServerGroup)
	for _, port := range service.Spec.Ports {
		name := strconv.Itoa(int(port.NodePort))
		if service.Annotations[annotationBackend] == "eni" {
			name = port.TargetPort.String()
		}
		name = o.GroupName(service, name)
		g := ServerGroup{ID: identifier("rsp-bp1", balancer+name), Name: name, LoadBalancerID: balancer}
		switch {
		case service.Annotations[annotationBackend] == "eni":
			g.Backends = podBackends(port, endpoints)
		case service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal:
			g.Backends = nodeBackends(port, s.candidates(nodes), podsByNode(endpoints))
		default:
			g.Backends = nodeBackends(port, s.candidates(nodes), nil)
		}
		for n := range g.Backends {
			g.Backends[n].Description = name
		}
		groups[port.Port] = g
	}
	return groups
}

// nodeBackends are nodes as backends. pods, unless nil, is how many each has; one that
// has none is left out.
func nodeBackends(port corev1.ServicePort, nodes []*corev1.Node, pods map[string]int) []Backend {
	backends := []Backend{}
	for _, n := range nodes {
		weight := defaultWeight
		if pods != nil {
			weight = pods[n.Name]
		}
		_, id, ok := strings.Cut(n.Spec.ProviderID, ".")
		if ok && weight > 0 {
			backends = append(backends, Backend{ServerID: id, Port: int(port.NodePort), Weight: weight, Type: "ecs"})
		}
	}
	return backends
}

// podsByNode counts the pods that are ready.
func podsByNode(all []*discoveryv1.EndpointSlice) map[string]int {
	pods := make(map[string]int)
	for _, slice := range all {
		for _, endpoint := range slice.Endpoints {
			if ready(endpoint) && endpoint.NodeName != nil {
				pods[*endpoint.NodeName]++
			}
		}
	}
	return pods
}

// podBackends are pods as backends, at the port that the slices tell.
func podBackends(port corev1.ServicePort, all []*discoveryv1.EndpointSlice) []Backend {
	backends := []Backend{}
	for _, slice := range all {
		i := slices.IndexFunc(slice.Ports, func(p discoveryv1.EndpointPort) bool {
			return p.Name == nil && port.Name == "" || p.Name != nil && *p.Name == port.Name
		})
		if i < 0 || slice.Ports[i].Port == nil {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if ready(endpoint) && len(endpoint.Addresses) > 0 {
				ip := endpoint.Addresses[0]
				backends = append(backends, Backend{
					ServerID: identifier("eni-bp1", ip), ServerIP: ip, Port: int(*slice.Ports[i].Port), Weight: defaultWeight, Type: "eni",
				})
			}
		}
	}
	return backends
}

func ready(endpoint discoveryv1.Endpoint) bool {
	return endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
}

// excluding are labels of nodes that are no backends.
var excluding = []string{
	"node-role.kubernetes.io/master", "node.kubernetes.io/exclude-from-external-load-balancers",
	"alpha.service-controller.kubernetes.io/exclude-balancer", "service.alibabacloud.com/exclude-node", "service.beta.kubernetes.io/exclude-node",
}

// candidates are the nodes that can be backends.
func (s settings) candidates(nodes []*corev1.Node) []*corev1.Node {
	var all []*corev1.Node
	for _, n := range nodes {
		isTainted := slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == "ToBeDeletedByClusterAutoscaler" })
		isExcluded := slices.ContainsFunc(excluding, func(name string) bool { _, ok := n.Labels[name]; return ok })
		isReady := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
		isUnscheduled := n.Spec.Unschedulable && s["remove-unscheduled-backend"] == "on"
		isElsewhere := n.Labels["type"] == "virtual-kubelet" || strings.HasPrefix(n.Spec.ProviderID, "ack-hybrid://")
		if isReady && !isTainted && !isExcluded && !isUnscheduled && !isElsewhere && s.selects(n) {
			all = append(all, n)
		}
	}
	return all
}

// selects tells whether a node has all the labels that are asked for.
func (s settings) selects(n *corev1.Node) bool {
	for label := range strings.SplitSeq(s["backend-label"], ",") {
		if key, value, ok := strings.Cut(label, "="); ok && n.Labels[key] != value {
			return false
		}
	}
	return true
}

// protocols are the protocols of the listeners by port.
func (s settings) protocols(service *corev1.Service) (map[int32]string, error) {
	protocols := make(map[int32]string)
	for _, port := range service.Spec.Ports {
		protocols[port.Port] = strings.ToLower(string(port.Protocol))
		if port.Protocol == "" {
			protocols[port.Port] = "tcp"
		}
	}
	for _, part := range strings.FieldsFunc(s["protocol-port"], func(r rune) bool { return r == ',' }) {
		protocol, number, _ := strings.Cut(part, ":")
		port, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("annotation protocol-port %q: %w", part, err)
		}
		protocols[int32(port)] = protocol
	}
	return protocols, nil
}

// listeners are those that the Service has, none where they are not the controller's.
func (o Controller) listeners(service *corev1.Service, s settings, balancer string, groups map[int32]ServerGroup, protocols map[int32]string) []Listener {
	if !s.ownsListeners() {
		return nil
	}
	var all []Listener
	for _, port := range service.Spec.Ports {
		l := Listener{
			LoadBalancerID: balancer, Protocol: protocols[port.Port], Port: int(port.Port), ServerGroupID: groups[port.Port].ID,
			Description: o.ListenerDescription(service, port.Port), Scheduler: s.or("scheduler", "rr"),
			ACLStatus: s.or("acl-status", "off"), ACLID: s["acl-id"], ACLType: s["acl-type"],
		}
		if l.Protocol == "https" {
			l.CertificateID = s["cert-id"]
		}
		if l.Protocol == "http" {
			l.ForwardPort = s.forwarded(l.Port)
		}
		all = append(all, l)
	}
	return all
}

// forwarded is where a port is redirected to, 0 for nowhere.
func (s settings) forwarded(port int) int {
	for part := range strings.SplitSeq(s["forward-port"], ",") {
		from, to, _ := strings.Cut(part, ":")
		if n, err := strconv.Atoi(to); err == nil && from == strconv.Itoa(port) {
			return n
		}
	}
	return 0
}
