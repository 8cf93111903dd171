// Package hostnet says whether the exporter sees the host's network, or a pod's.
package hostnet

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

var familyHost = collector.NewGauge("ack_exporter_host_network_namespace",
	"Whether the exporter runs in the network namespace of the host's process 1. 0: what belongs to the network namespace (kernel parameters, timeouts, the connection tracking table by class) cannot be seen; set hostNetwork.")

// Collector compares the network namespace of this process with that of the
// host's process 1.
type Collector struct {
	procfs hostfs.Procfs
}

// New makes a Collector that reads the host's proc file system.
func New(procfs hostfs.Procfs) *Collector { return &Collector{procfs} }

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family { return []*collector.Family{familyHost} }

// Collect implements collector.Collector. Where the question has no answer
// (hostfs.ErrHostUnknown) there is no series, rather than a guess.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	host, err := c.procfs.InHostNetwork()
	if err != nil {
		return nil, err
	}
	return []prometheus.Metric{familyHost.Metric(collector.Bool(host))}, nil
}
