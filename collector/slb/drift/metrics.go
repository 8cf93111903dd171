package drift

import (
	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
)

var (
	familyDrift = collector.NewGauge("ack_slb_drift",
		"How many items of a load balancer are not as they should be, by what is wrong. namespace and service are those of the Service that it is about, empty for the load balancer of the API server. There is no series where nothing is wrong, or nothing is known.",
		"load_balancer_id", "namespace", "service", "kind")
	familyChanges = collector.NewCounter("ack_slb_drift_changes_total",
		"How often something came to be wrong with a load balancer since the exporter began to look, by what. The cloud controller manager overwrites what others change, so that it can be gone again.",
		"kind")
)

// Families lists what a Tracker makes.
func Families() []*collector.Family { return []*collector.Family{familyDrift, familyChanges} }

// Tracker makes metrics of what is found, and counts what was not there the time before.
type Tracker struct {
	before  map[key]bool
	changes map[Kind]float64
}

// NewTracker makes a Tracker that has seen nothing.
func NewTracker() *Tracker { return &Tracker{changes: make(map[Kind]float64)} }

// Metrics are those of what was found now, of which it marks what is New. What is wrong the
// first time has been so before anybody looked, and is not counted.
func (t *Tracker) Metrics(found []Finding) []prometheus.Metric {
	var metrics []prometheus.Metric
	now := make(map[key]bool, len(found))
	for i := range found {
		f := &found[i]
		now[f.key()] = true
		f.New = !t.before[f.key()]
		if t.before != nil && f.New {
			t.changes[f.Kind]++
		}
		metrics = append(metrics, familyDrift.Metric(float64(f.Count), f.LoadBalancerID, f.Service.Namespace, f.Service.Name, string(f.Kind)))
	}
	t.before = now
	for _, kind := range Kinds() {
		metrics = append(metrics, familyChanges.Metric(t.changes[kind], string(kind)))
	}
	return metrics
}
