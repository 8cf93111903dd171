package instance

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

var (
	familyExpired = collector.NewGauge("ack_node_condition_instance_expired",
		"The condition InstanceExpired of the node: 1 for the status that it has, 0 for the others. True: the instance is about to be released. Absent where nothing reports the condition.",
		"node", "status")
	familyReady = collector.NewGauge("ack_node_ready",
		"Whether the condition Ready of the node is True. Only of nodes with the condition InstanceExpired, which can be wrong on others.",
		"node")
)

// statuses are the values of a condition.
var statuses = []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}

// Conditions tells what ack-node-problem-detector says of the instances of nodes. It
// needs the Kubernetes API only.
type Conditions struct{ nodes kube.Lister[*corev1.Node] }

// NewConditions makes a Conditions.
func NewConditions(nodes kube.Lister[*corev1.Node]) *Conditions { return &Conditions{nodes: nodes} }

// Families implements collector.Collector.
func (*Conditions) Families() []*collector.Family {
	return []*collector.Family{familyExpired, familyReady}
}

// Collect implements collector.Collector. It is not applicable where no node has the
// condition. Virtual nodes do not count: they are no instances.
func (c *Conditions) Collect(context.Context) ([]prometheus.Metric, error) {
	nodes, err := c.nodes.List()
	if err != nil {
		return nil, err
	}
	var list []prometheus.Metric
	for _, n := range nodes {
		expired, ok := condition(n, kube.NodeInstanceExpired)
		if !ok || kube.IsVirtual(n) {
			continue
		}
		for _, status := range statuses {
			list = append(list, familyExpired.Metric(collector.Bool(status == expired), n.Name, string(status)))
		}
		ready, _ := condition(n, corev1.NodeReady)
		list = append(list, familyReady.Metric(collector.Bool(ready == corev1.ConditionTrue), n.Name))
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no node has the condition %s: %w", kube.NodeInstanceExpired, collector.ErrNotApplicable)
	}
	return list, nil
}

// condition is the status of a condition of n, and false where there is none. What is
// neither true nor false is unknown.
func condition(n *corev1.Node, name corev1.NodeConditionType) (corev1.ConditionStatus, bool) {
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type != name:
		case c.Status == corev1.ConditionTrue, c.Status == corev1.ConditionFalse:
			return c.Status, true
		default:
			return corev1.ConditionUnknown, true
		}
	}
	return "", false
}
