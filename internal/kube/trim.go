package kube

import (
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The label by which virtual nodes, which stand for elastic container instances,
// are told from machines.
const (
	nodeTypeLabel   = "type"
	nodeTypeVirtual = "virtual-kubelet"
)

// The labels of nodes that run the control plane, the newer and the older one.
const (
	controlPlaneLabel = "node-role.kubernetes.io/control-plane"
	masterLabel       = "node-role.kubernetes.io/master"
)

// NodeInstanceExpired is the condition by which ack-node-problem-detector says that the
// instance of a node is about to be released.
const NodeInstanceExpired corev1.NodeConditionType = "InstanceExpired"

const (
	// LoadBalancerIDLabel is what the cloud controller manager writes to a Service: the
	// load balancer that it has.
	LoadBalancerIDLabel = "service.k8s.alibaba/loadbalancer-id"
	// serviceAnnotations begin with this, the older ones too.
	serviceAnnotations = "service.beta.kubernetes.io/"
)

// IsControlPlane tells whether n runs the control plane. A managed cluster has no
// such node.
func IsControlPlane(n *corev1.Node) bool {
	_, newer := n.Labels[controlPlaneLabel]
	_, older := n.Labels[masterLabel]
	return newer || older
}

// IsVirtual tells whether n is no machine: no DaemonSet and no kube-proxy runs there.
func IsVirtual(n *corev1.Node) bool { return n.Labels[nodeTypeLabel] == nodeTypeVirtual }

// TrimNode keeps what the subjects use of a node: its name and labels, what instance it is,
// whether it takes pods and traffic, its CPUs and the kubelet's version. Which labels are
// used is for Services to say, so all stay; the same text is held once for all nodes.
func TrimNode(n *corev1.Node) {
	labels := make(map[string]string, len(n.Labels))
	for name, value := range n.Labels {
		labels[shared(name)] = shared(value)
	}
	var taints []corev1.Taint
	for _, t := range n.Spec.Taints {
		taints = append(taints, corev1.Taint{Key: shared(t.Key), Effect: t.Effect})
	}
	var conditions []corev1.NodeCondition
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady || c.Type == NodeInstanceExpired {
			conditions = append(conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	*n = corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.ResourceVersion, Labels: labels},
		Spec:       corev1.NodeSpec{ProviderID: n.Spec.ProviderID, Unschedulable: n.Spec.Unschedulable, Taints: taints},
		Status: corev1.NodeStatus{
			Capacity:   corev1.ResourceList{corev1.ResourceCPU: n.Status.Capacity[corev1.ResourceCPU]},
			Conditions: conditions,
			NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: n.Status.NodeInfo.KubeletVersion},
		},
	}
}

// shared is s, of which there is one copy for all that use it.
func shared(s string) string { return unique.Make(s).Value() }

// TrimService keeps what the subjects use of a Service: its name, type and
// addresses in the cluster, the protocols of its ports, and that it sends a client
// to the same pod again; that it does not, which is the default, is left empty. Of
// one that has, or had, a load balancer it also keeps what the cloud controller
// manager reads and writes.
func TrimService(s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer || s.Labels[LoadBalancerIDLabel] != "" {
		trimLoadBalancer(s)
		return
	}
	ports := make([]corev1.ServicePort, 0, len(s.Spec.Ports))
	for _, p := range s.Spec.Ports {
		ports = append(ports, corev1.ServicePort{Protocol: p.Protocol})
	}
	*s = corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, ResourceVersion: s.ResourceVersion},
		Spec: corev1.ServiceSpec{
			Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, Ports: ports,
			SessionAffinity: affinity(s),
		},
	}
}

// affinity is how a Service sends clients to the same pod again, empty where it does not.
func affinity(s *corev1.Service) corev1.ServiceAffinity {
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		return corev1.ServiceAffinityClientIP
	}
	return ""
}

func trimLoadBalancer(s *corev1.Service) {
	annotations := make(map[string]string)
	for name, value := range s.Annotations {
		if strings.HasPrefix(name, serviceAnnotations) {
			annotations[shared(name)] = value
		}
	}
	labels := make(map[string]string)
	if id := s.Labels[LoadBalancerIDLabel]; id != "" {
		labels[LoadBalancerIDLabel] = id
	}
	*s = corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: s.Name, ResourceVersion: s.ResourceVersion, UID: s.UID,
			CreationTimestamp: s.CreationTimestamp, DeletionTimestamp: s.DeletionTimestamp,
			Labels: labels, Annotations: annotations,
		},
		Spec: corev1.ServiceSpec{
			Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, Ports: s.Spec.Ports,
			SessionAffinity: affinity(s), ExternalTrafficPolicy: s.Spec.ExternalTrafficPolicy,
			LoadBalancerClass: s.Spec.LoadBalancerClass,
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: s.Status.LoadBalancer.Ingress}},
	}
}
