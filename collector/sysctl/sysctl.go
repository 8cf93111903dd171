// Package sysctl tells the kernel parameters that ACK forbids to change on a
// node, and whether their values are the ones that ACK supports.
package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

var (
	familyValue = collector.NewGauge("ack_sysctl_value",
		"Value of a kernel parameter in the host's network namespace. The label field tells min from max where a parameter has two values, and is empty elsewhere.",
		"name", "field")
	familyCompliant = collector.NewGauge("ack_sysctl_compliant",
		"Whether the kernel parameter has a value that ACK supports. For rp_filter of an interface that is the larger value of the interface and of all, as the kernel takes it.",
		"name")
	familyOverlap = collector.NewGauge("ack_sysctl_local_port_range_nodeport_overlap_ports",
		"Ports that the kernel may pick for outgoing connections although they belong to the NodePort range. Ports in net.ipv4.ip_local_reserved_ports are not among them. 0 is healthy.")
)

// Config says where a Collector reads, and what it compares with.
type Config struct {
	// Procfs is the host's proc file system.
	Procfs hostfs.Procfs
	// NodePorts is the range of the cluster's NodePort Services.
	NodePorts PortRange
}

// Collector reads the kernel parameters in the scrape.
type Collector struct {
	proc      hostfs.Procfs
	nodePorts PortRange
}

// New makes a Collector.
func New(config Config) *Collector {
	return &Collector{proc: config.Procfs, nodePorts: config.NodePorts}
}

// Families implements collector.Collector.
func (c *Collector) Families() []*collector.Family {
	return []*collector.Family{familyValue, familyCompliant, familyOverlap}
}

// Collect implements collector.Collector. A parameter that cannot be read does
// not hide the others.
//
// Outside the host's network namespace it returns collector.ErrUnavailable and
// no metrics: the values of a pod would be a lie about the node.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	host, err := c.proc.InHostNetwork()
	if err != nil {
		return nil, err
	}
	if !host {
		return nil, fmt.Errorf("kernel parameters under net/ show the values of this pod's network namespace; run the pod with hostNetwork: true: %w", collector.ErrUnavailable)
	}
	if _, err := os.Stat(c.proc.Sysctl("net/ipv4")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the kernel has no IPv4: %w: %w", collector.ErrNotApplicable, err)
	}
	s, err := read(c.proc)
	return metrics(judge(s, c.nodePorts)), err
}

func metrics(r report) []prometheus.Metric {
	var m []prometheus.Metric
	for _, v := range r.values {
		m = append(m, familyValue.Metric(float64(v.value), v.name, v.field))
	}
	for _, v := range r.verdicts {
		m = append(m, familyCompliant.Metric(collector.Bool(v.compliant), v.name))
	}
	if r.overlap != nil {
		m = append(m, familyOverlap.Metric(float64(*r.overlap)))
	}
	return m
}
