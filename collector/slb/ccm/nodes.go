package ccm

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/internal/kube"
)

const (
	// The controller does not look at the newer label of the control plane.
	masterLabel      = "node-role.kubernetes.io/master"
	toBeDeletedTaint = "ToBeDeletedByClusterAutoscaler"
	hybridPrefix     = "ack-hybrid://"
)

// exclusionLabels keep a node out, whatever their value.
func exclusionLabels() []string {
	return []string{
		corev1.LabelNodeExcludeBalancers,
		"alpha.service-controller.kubernetes.io/exclude-balancer",
		"service.alibabacloud.com/exclude-node",
		"service.beta.kubernetes.io/exclude-node",
	}
}

// node is a node that the controller considers.
type node struct {
	*corev1.Node
	// instance is empty for a node that the controller has not seen yet.
	instance        string
	virtual, hybrid bool
	// backend: the node itself can be a backend.
	backend bool
}

// nodes are those that the controller considers, for every Service alike.
type nodes struct {
	all []*node
	// virtual: there are virtual nodes.
	virtual bool
	byName  map[string]*node
}

func candidates(all []*corev1.Node) nodes {
	c := nodes{byName: make(map[string]*node)}
	for _, n := range all {
		if !considered(n) {
			continue
		}
		instance, _ := kube.InstanceOf(n)
		of := &node{
			Node: n, instance: instance.ID, virtual: kube.IsVirtual(n), hybrid: strings.HasPrefix(n.Spec.ProviderID, hybridPrefix),
		}
		of.backend = !of.virtual && !of.hybrid && !isExcluded(n)
		c.all, c.virtual = append(c.all, of), c.virtual || of.virtual
		c.byName[n.Name] = of
	}
	return c
}

// considered tells whether the controller considers a node at all. Of a virtual node it
// takes the pods, and does not care whether it is ready.
func considered(n *corev1.Node) bool {
	if _, master := n.Labels[masterLabel]; master {
		return false
	}
	for _, t := range n.Spec.Taints {
		if t.Key == toBeDeletedTaint {
			return false
		}
	}
	return kube.IsVirtual(n) || isReady(n)
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func isExcluded(n *corev1.Node) bool {
	for _, l := range exclusionLabels() {
		if _, excluded := n.Labels[l]; excluded {
			return true
		}
	}
	return false
}

// part is the nodes that take part in one Service.
type part struct {
	nodes  []*node
	byName map[string]*node
	labels [][2]string
	// schedulable: nodes that are cordoned do not take part.
	schedulable bool
	// known is false where it cannot be told which nodes take part.
	known bool
}

// of is the part of the nodes that a Service asks for.
func (c nodes) of(s *corev1.Service) part {
	labels, known := labelsOf(s)
	p := part{byName: c.byName, labels: labels, schedulable: annotation(s, "remove-unscheduled-backend") == on, known: known}
	for _, n := range c.all {
		if p.has(n) {
			p.nodes = append(p.nodes, n)
		}
	}
	return p
}

func (p part) has(n *node) bool {
	if p.schedulable && n.Spec.Unschedulable {
		return false
	}
	for _, l := range p.labels {
		if value, ok := n.Labels[l[0]]; !ok || value != l[1] {
			return false
		}
	}
	return true
}
