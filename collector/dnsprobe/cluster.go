package dnsprobe

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/internal/kube"
)

// FromCluster is what the nodes of a cluster have to know, from all its nodes, all
// its Services and the pods of CoreDNS. The number of nodes is rounded up to two
// digits, so that what the nodes read does not change with each of them.
func FromCluster(nodes []*corev1.Node, services []*corev1.Service, pods []*corev1.Pod) Targets {
	var t Targets
	for _, n := range nodes {
		if !kube.IsVirtual(n) {
			t.Nodes++
		}
	}
	t.Nodes = max(1, roundUp(t.Nodes))
	for _, s := range services {
		if s.Namespace == metav1.NamespaceSystem && s.Name == "kube-dns" {
			t.ClusterDNS = append(t.ClusterDNS, addresses(s.Spec.ClusterIPs...)...)
		}
	}
	for _, p := range pods {
		if isReady(p) {
			t.Pods = append(t.Pods, addresses(p.Status.PodIP)...)
		}
	}
	return t
}

// roundUp keeps the first two digits.
func roundUp(n int) int {
	unit := 1
	for n/unit >= 100 {
		unit *= 10
	}
	return (n + unit - 1) / unit * unit
}

// addresses leaves out what is none, as the "None" of a headless Service.
func addresses(list ...string) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
