package kube

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// clusterIDLabel has the id of the ACK cluster on each of its nodes.
const clusterIDLabel = "ack.aliyun.com"

// Instance is the ECS instance that a node is.
type Instance struct{ Region, ID string }

// InstanceOf is the instance behind a node by its provider id, which is REGION.INSTANCE,
// in older clusters alicloud://REGION.INSTANCE. Hybrid, LingJun and virtual nodes have
// none, nor has a node that the cloud controller manager has not seen yet.
func InstanceOf(n *corev1.Node) (Instance, bool) {
	region, id, ok := strings.Cut(strings.TrimPrefix(n.Spec.ProviderID, "alicloud://"), ".")
	return Instance{region, id}, ok && !IsVirtual(n) && !strings.Contains(region, "/") && strings.HasPrefix(id, "i-")
}

// ClusterID is the id of the ACK cluster as the labels of its nodes have it, and empty
// where they have none, or several.
func ClusterID(nodes []*corev1.Node) string {
	var id string
	for _, n := range nodes {
		switch other := n.Labels[clusterIDLabel]; {
		case other == "" || other == id:
		case id == "":
			id = other
		default:
			return ""
		}
	}
	return id
}
