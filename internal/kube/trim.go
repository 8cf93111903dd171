package kube

import (
	"slices"

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

// IsControlPlane tells whether n runs the control plane. A managed cluster has no
// such node.
func IsControlPlane(n *corev1.Node) bool {
	_, newer := n.Labels[controlPlaneLabel]
	_, older := n.Labels[masterLabel]
	return newer || older
}

// IsVirtual tells whether n is no machine: no DaemonSet and no kube-proxy runs there.
func IsVirtual(n *corev1.Node) bool { return n.Labels[nodeTypeLabel] == nodeTypeVirtual }

// nodeLabels lists the labels of nodes that anyone uses.
func nodeLabels() []string {
	return []string{
		nodeTypeLabel, corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone,
		controlPlaneLabel, masterLabel,
	}
}

// TrimNode keeps what the subjects use of a node: its name, the labels for zone,
// virtual nodes and the control plane, whether it takes pods, its CPUs and the kubelet's version.
func TrimNode(n *corev1.Node) {
	labels := make(map[string]string)
	for name, value := range n.Labels {
		if slices.Contains(nodeLabels(), name) {
			labels[name] = value
		}
	}
	*n = corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, ResourceVersion: n.ResourceVersion, Labels: labels},
		Spec:       corev1.NodeSpec{Unschedulable: n.Spec.Unschedulable},
		Status: corev1.NodeStatus{
			Capacity: corev1.ResourceList{corev1.ResourceCPU: n.Status.Capacity[corev1.ResourceCPU]},
			NodeInfo: corev1.NodeSystemInfo{KubeletVersion: n.Status.NodeInfo.KubeletVersion},
		},
	}
}

// TrimService keeps what the subjects use of a Service: its name, type and
// addresses in the cluster, the protocols of its ports, and that it sends a client
// to the same pod again; that it does not, which is the default, is left empty.
func TrimService(s *corev1.Service) {
	ports := make([]corev1.ServicePort, 0, len(s.Spec.Ports))
	for _, p := range s.Spec.Ports {
		ports = append(ports, corev1.ServicePort{Protocol: p.Protocol})
	}
	var affinity corev1.ServiceAffinity
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		affinity = corev1.ServiceAffinityClientIP
	}
	*s = corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, ResourceVersion: s.ResourceVersion},
		Spec: corev1.ServiceSpec{
			Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, Ports: ports,
			SessionAffinity: affinity,
		},
	}
}
