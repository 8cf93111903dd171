package kubeproxy

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"ack-exporter/internal/kube"
)

// counts says what in the cluster the configuration matters to.
type counts struct {
	services, udpServices int
	oldNodes              int
}

func (c *Collector) count() (counts, error) {
	services, err := c.sources.Services.List()
	if err != nil {
		return counts{}, err
	}
	nodes, err := c.sources.Nodes.List()
	if err != nil {
		return counts{}, err
	}
	var n counts
	for _, s := range services {
		if !proxied(s) {
			continue
		}
		n.services++
		if hasUDP(s) && !isClusterDNS(s) {
			n.udpServices++
		}
	}
	for _, node := range nodes {
		if !kube.IsVirtual(node) && lacksIPVSTimeouts(node.Status.NodeInfo.KubeletVersion) {
			n.oldNodes++
		}
	}
	return n, nil
}

func (n counts) metrics() []prometheus.Metric {
	return []prometheus.Metric{
		familyServices.Metric(float64(n.services)),
		familyUDPServices.Metric(float64(n.udpServices)),
		familyOldNodes.Metric(float64(n.oldNodes)),
	}
}

// proxied tells whether kube-proxy makes rules for s.
func proxied(s *corev1.Service) bool {
	return s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone
}

func hasUDP(s *corev1.Service) bool {
	for _, port := range s.Spec.Ports {
		if port.Protocol == corev1.ProtocolUDP {
			return true
		}
	}
	return false
}

// isClusterDNS recognises the Service of CoreDNS, and the one by which NodeLocal
// DNSCache reaches CoreDNS.
func isClusterDNS(s *corev1.Service) bool {
	return s.Namespace == Namespace && (s.Name == "kube-dns" || s.Name == "kube-dns-upstream")
}

// lacksIPVSTimeouts tells whether kube-proxy of this version, such as
// v1.16.9-aliyun.1, has no setting for the IPVS timeouts. It came with 1.18. The
// kubelet's version stands for that of kube-proxy, which nodes no longer report.
func lacksIPVSTimeouts(kubelet string) bool {
	v, err := version.ParseGeneric(kubelet)
	return err == nil && v.LessThan(version.MajorMinor(1, 18))
}
