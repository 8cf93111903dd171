//go:build e2e

package cloudcluster

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cluster"
)

// Nodes is how many nodes there are, numbered from 0. The first two have an end.
const (
	Nodes = 4
	// Subscription is on subscription, which renews itself; Spot is a spot instance. The
	// others are paid by use.
	Subscription = 0
	Spot         = 1
)

// The Services of type LoadBalancer, in the namespace Shop.
const (
	Shop = "shop"
	// Web has nodes as backends, of two listeners, one of them HTTPS.
	Web = "web"
	// Cart has the policy Local, and pods on two nodes.
	Cart = "cart"
	// Reusing has a load balancer that the user made.
	Reusing = "legacy"
)

// What is in the account.
const (
	// APIServer is the load balancer of the API server, Reused that of the Service Reusing,
	// Foreign one that has nothing to do with the cluster.
	APIServer = "lb-bp1apiserver"
	Reused    = "lb-bp1ofuser"
	Foreign   = "lb-bp1foreign"

	Certificate = "1000000000000000_test"
	RouteTable  = "vtb-bp1test"
	// PodVSwitch is where Terway takes addresses from.
	PodVSwitch = "vsw-bp1pods"

	// accessList is who may reach the API server.
	accessList     = "acl-bp1apiserver"
	apiServerGroup = "rsp-bp1apiserver"
)

// Quotas of the account, as the API names them.
const (
	QuotaInstances   = "slb_quota_instances_num"
	QuotaListeners   = "slb_quota_listeners_num"
	QuotaBackends    = "slb_quota_backendservers_num"
	QuotaAttachments = "slb_quota_backendserver_attached_num"
	QuotaRoutes      = "vpc_quota_route_entrys_num"
)

// Annotation is one of the cloud controller manager.
func Annotation(name string) string {
	return "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-" + name
}

// NewNode is a node as ACK registers it.
func NewNode(number int) *corev1.Node {
	node := cluster.Node(number)
	instance := newInstance(number)
	node.Labels["ack.aliyun.com"] = ID
	node.Labels["node.alibabacloud.com/instance-charge-type"] = instance.ChargeType
	node.Labels["node.alibabacloud.com/spot-strategy"] = instance.SpotStrategy
	SetInstanceExpired(node, corev1.ConditionFalse)
	return node
}

// SetInstanceExpired is what the node problem detector says.
func SetInstanceExpired(node *corev1.Node, status corev1.ConditionStatus) {
	const condition = "InstanceExpired"
	reason := map[corev1.ConditionStatus]string{corev1.ConditionFalse: "InstanceNotToBeTerminated", corev1.ConditionTrue: "InstanceToBeTerminated"}[status]
	now := metav1.Now()
	said := corev1.NodeCondition{Type: condition, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	for i := range node.Status.Conditions {
		if node.Status.Conditions[i].Type == condition {
			node.Status.Conditions[i] = said
			return
		}
	}
	node.Status.Conditions = append(node.Status.Conditions, said)
}

// InstanceID is the id of the instance of a node.
func InstanceID(number int) string { return fmt.Sprintf("i-bp1%017d", number) }

// NodeName is the name of a node.
func NodeName(number int) string { return cluster.Node(number).Name }

func zone(number int) string { return cluster.Zones()[number%len(cluster.Zones())] }

// nodeVSwitch is the vSwitch of a node.
func nodeVSwitch(number int) string { return "vsw-bp1" + zone(number) }

// NodeVSwitch is the vSwitch that a node is in.
func NodeVSwitch(number int) string { return nodeVSwitch(number) }

func newInstance(number int) cloud.Instance {
	node := cluster.Node(number)
	i := cloud.Instance{
		ID: InstanceID(number), Type: node.Labels[corev1.LabelInstanceTypeStable], ZoneID: zone(number),
		VPCID: vpcID, VSwitchID: nodeVSwitch(number), IP: cluster.NodeAddress(number), Tags: map[string]string{cloud.TagCluster: ID},
		ChargeType: "PostPaid", SpotStrategy: "NoSpot",
	}
	switch number {
	case Subscription:
		i.ChargeType, i.Renewal = "PrePaid", "AutoRenewal"
		i.Expiry = time.Now().AddDate(0, 6, 0).Truncate(time.Minute)
	case Spot:
		i.SpotStrategy = "SpotAsPriceGo"
	}
	return i
}

// fill fills the account with what no Service is the reason of.
func (c *Cluster) fill() {
	account := c.Cloud
	account.RouteTables.Set(cloud.RouteTable{ID: RouteTable, VPCID: vpcID})
	for number := range Nodes {
		account.Instances.Set(newInstance(number))
		account.RouteEntries.Set(NewRoute(number))
	}
	// An instance that is no node.
	account.Instances.Set(cloud.Instance{ID: "i-bp1other", VPCID: vpcID, VSwitchID: nodeVSwitch(0)})
	for number, z := range cluster.Zones() {
		account.VSwitches.Set(cloud.VSwitch{
			ID: nodeVSwitch(number), VPCID: vpcID, ZoneID: z, CIDR: fmt.Sprintf("192.168.%d.0/24", number), Available: 200 + number,
		})
	}
	account.VSwitches.Set(
		cloud.VSwitch{ID: PodVSwitch, VPCID: vpcID, ZoneID: zone(0), CIDR: "192.168.64.0/19", Available: 8000},
		cloud.VSwitch{ID: "vsw-bp1other", VPCID: vpcID, ZoneID: zone(0), CIDR: "192.168.128.0/24"})
	for code, total := range map[string]float64{QuotaListeners: 50, QuotaBackends: 200, QuotaAttachments: 50} {
		account.Quotas.Set(cloud.Quota{ProductCode: "slb", Code: code, Total: total, Unmeasured: true})
	}
	account.Quotas.Set(
		cloud.Quota{ProductCode: "slb", Code: QuotaInstances, Total: 60, Usage: 5, Dimensions: map[string]string{"regionId": region}},
		cloud.Quota{ProductCode: "vpc", Code: QuotaRoutes, Total: 200, Unmeasured: true})
	account.Certificates.Set(cloud.Certificate{
		ID: Certificate, CommonName: "shop.example", Names: []string{"shop.example"}, Expiry: time.Now().AddDate(0, 9, 0).Truncate(time.Second), Fingerprint: "00:11",
	})
	c.fillLoadBalancers()
}

// NewRoute is the route to the pods of a node.
func NewRoute(number int) cloud.RouteEntry {
	return cloud.RouteEntry{
		ID: fmt.Sprintf("rte-bp1%d", number), TableID: RouteTable, Destination: fmt.Sprintf("10.244.%d.0/24", number), NextHopID: InstanceID(number),
	}
}

func (c *Cluster) fillLoadBalancers() {
	account := c.Cloud
	account.LoadBalancers.Set(
		cloud.LoadBalancer{
			ID: APIServer, Name: "ManagedK8SSlbIntranet", Address: "192.168.255.253", AddressType: "intranet", VPCID: vpcID, VSwitchID: nodeVSwitch(0),
			DeleteProtection: "on", ModificationProtection: "ConsoleProtection", ModificationReason: "managed.by.ack", Tags: map[string]string{cloud.TagCluster: ID},
		},
		cloud.LoadBalancer{ID: Reused, Name: "of-the-user", Address: "198.18.200.1", AddressType: "internet", VPCID: vpcID},
		cloud.LoadBalancer{ID: Foreign, Name: "foreign", Address: "198.18.200.2", AddressType: "internet", VPCID: vpcID})
	account.ServerGroups.Set(cloud.ServerGroup{ID: apiServerGroup, Name: "apiserver", LoadBalancerID: APIServer, Backends: []cloud.Backend{
		{ServerID: "eni-bp1apiserver", ServerIP: "192.168.255.254", Type: "eni", Port: 6443, Weight: 100},
	}})
	account.AccessLists.Set(cloud.AccessList{ID: accessList, Entries: []cloud.AccessEntry{
		{IP: "100.104.0.0/16", Comment: "ACK"}, {IP: "192.168.0.0/16", Comment: "nodes"},
	}})
	account.Listeners.Set(
		cloud.Listener{LoadBalancerID: APIServer, Port: 6443, ServerGroupID: apiServerGroup, ACLStatus: "on", ACLType: "white", ACLID: accessList},
		cloud.Listener{LoadBalancerID: Foreign, Port: 22})
}

func shopNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Shop}}
}

// eniConfig is what Terway is told, with what must not become known to anybody.
func eniConfig() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "eni-config"},
		Data: map[string]string{"eni_conf": fmt.Sprintf(
			`{"version": "1", "access_key": %q, "access_secret": %q, "vswitches": {%q: [%q]}}`, TerwayKey, TerwaySecret, zone(0), PodVSwitch,
		)},
	}
}

// TerwayKey and TerwaySecret are an access key that eni-config has, as in old clusters.
const (
	TerwayKey    = "LTAI5tOfTerway"
	TerwaySecret = "secret-of-terway"
)

func labels(name string) map[string]string { return map[string]string{"app": name} }

// service is one of type LoadBalancer.
func service(name string, annotations map[string]string, ports ...int32) *corev1.Service {
	s := cluster.Service(Shop, name, labels(name))
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Annotations = annotations
	for _, port := range ports {
		s.Spec.Ports = append(s.Spec.Ports, newPort(port))
	}
	return s
}

// newPort is a port of a Service. That of the nodes is 30000 more.
func newPort(port int32) corev1.ServicePort {
	return corev1.ServicePort{
		Name: fmt.Sprintf("p%d", port), Port: port, Protocol: corev1.ProtocolTCP, NodePort: 30000 + port, TargetPort: intstr.FromInt32(8000 + port),
	}
}

func webService() *corev1.Service {
	return service(Web, map[string]string{Annotation("protocol-port"): "https:443,http:80", Annotation("cert-id"): Certificate}, 80, 443)
}

func cartService() *corev1.Service {
	s := service(Cart, nil, 81)
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.HealthCheckNodePort = 30990
	return s
}

// cartEndpoints are two pods on one node, and one on another.
func cartEndpoints() *discoveryv1.EndpointSlice {
	var pods []*corev1.Pod
	for number, node := range []int{0, 0, 2} {
		pods = append(pods, cluster.Pod(Shop, fmt.Sprintf("cart-%d", number), labels(Cart), NodeName(node), fmt.Sprintf("10.244.%d.%d", node, 10+number)))
	}
	return cluster.EndpointSlice(cartService(), pods...)
}

func reusingService() *corev1.Service {
	return service(Reusing, map[string]string{Annotation("id"): Reused, Annotation("force-override-listeners"): "true"}, 82)
}

// Event is what the cloud controller manager says of a Service. Another one with this
// reason takes its place.
func Event(service, kind, reason, message string, at time.Time) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: Shop, Name: fmt.Sprintf("%s.%x", service, reason)},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: Shop, Name: service},
		Type:           kind, Reason: reason, Message: message,
		Source:         corev1.EventSource{Component: "service-controller"},
		FirstTimestamp: metav1.NewTime(at), LastTimestamp: metav1.NewTime(at), Count: 1,
	}
}
