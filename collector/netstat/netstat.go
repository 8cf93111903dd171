// Package netstat exposes what the host's network stack lost before a program
// could have it: UDP datagrams that found no room, and packets that a CPU was too
// busy to take in.
package netstat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

// notPods ends each HELP of what belongs to a network namespace.
const notPods = " Those of the host's network namespace, which pods with hostNetwork share; sockets of other pods are not among them."

var (
	familyReceived = collector.NewCounter("ack_network_udp_received_datagrams_total",
		"UDP datagrams that programs received (InDatagrams)."+notPods, "family")
	familyReceiveErrors = collector.NewCounter("ack_network_udp_receive_errors_total",
		"UDP datagrams that arrived for a socket and were not delivered, for whatever reason (InErrors)."+notPods, "family")
	familyDropped = collector.NewCounter("ack_network_udp_dropped_datagrams_total",
		"UDP datagrams among ack_network_udp_receive_errors_total whose reason is known: no room in the receive buffer of the socket (RcvbufErrors), no memory for UDP as a whole (MemErrors, absent before Linux 5.11), a wrong checksum (InCsumErrors)."+notPods, "family", "reason")
	familySendErrors = collector.NewCounter("ack_network_udp_send_buffer_errors_total",
		"UDP datagrams that could not be sent for want of memory or of room in a queue (SndbufErrors)."+notPods, "family")
	familyProcessed = collector.NewCounter("ack_network_softnet_processed_packets_total",
		"Packets that the CPUs of the machine took in from devices, for all network namespaces.")
	familySoftnetDropped = collector.NewCounter("ack_network_softnet_dropped_packets_total",
		"Packets dropped because the backlog queue of a CPU was full (net.core.netdev_max_backlog), for all network namespaces.")
	familySqueezed = collector.NewCounter("ack_network_softnet_squeezed_total",
		"How often a CPU stopped taking in packets with work left, because its budget or its time was used up.")
)

// reasons of familyDropped, by the name of the kernel's counter.
var reasons = map[string]string{
	"RcvbufErrors": "receive_buffer",
	"MemErrors":    "memory",
	"InCsumErrors": "checksum",
}

// wholes are the counters of UDP that are families of their own.
var wholes = map[string]*collector.Family{
	"InDatagrams":  familyReceived,
	"InErrors":     familyReceiveErrors,
	"SndbufErrors": familySendErrors,
}

// Collector reads three small files of process 1.
type Collector struct {
	procfs  hostfs.Procfs
	softnet sums
}

// New makes a Collector that reads the host's proc file system.
func New(procfs hostfs.Procfs) *Collector { return &Collector{procfs: procfs} }

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{
		familyReceived, familyReceiveErrors, familyDropped, familySendErrors,
		familyProcessed, familySoftnetDropped, familySqueezed,
	}
}

// Collect implements collector.Collector. The files of process 1 show the host's
// network namespace to everyone; softnet_stat shows the whole machine in each.
// One that cannot be read does not hide the others. Where the kernel has no IPv6,
// its series are absent. Where process 1 may not be that of the host, whose
// numbers these are is not known: hostfs.ErrHostUnknown.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	if _, err := c.procfs.InHostNetwork(); err != nil {
		return nil, err
	}
	var metrics []prometheus.Metric
	ipv4, errIPv4 := readUDP(c.procfs.Path("1", "net", "snmp"), parseSNMP)
	metrics = append(metrics, udpMetrics("ipv4", ipv4)...)
	ipv6, errIPv6 := readUDP(c.procfs.Path("1", "net", "snmp6"), parseSNMP6)
	if errors.Is(errIPv6, fs.ErrNotExist) {
		errIPv6 = nil
	}
	metrics = append(metrics, udpMetrics("ipv6", ipv6)...)
	softnet, errSoftnet := c.readSoftnet()
	return append(metrics, softnet...), errors.Join(errIPv4, errIPv6, errSoftnet)
}

// udp holds counters by their name in the kernel. One that the kernel does not
// have is missing.
type udp map[string]uint64

func readUDP(path string, parse func([]byte) (udp, error)) (udp, error) {
	content, err := hostfs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	counters, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return counters, nil
}

func udpMetrics(family string, counters udp) []prometheus.Metric {
	var metrics []prometheus.Metric
	for name, value := range counters {
		if reason, ok := reasons[name]; ok {
			metrics = append(metrics, familyDropped.Metric(float64(value), family, reason))
		}
		if whole, ok := wholes[name]; ok {
			metrics = append(metrics, whole.Metric(float64(value), family))
		}
	}
	return metrics
}

func (c *Collector) readSoftnet() ([]prometheus.Metric, error) {
	path := c.procfs.Path("1", "net", "softnet_stat")
	content, err := hostfs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cpus, err := parseSoftnet(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	total := c.softnet.add(cpus)
	return []prometheus.Metric{
		familyProcessed.Metric(float64(total.processed)),
		familySoftnetDropped.Metric(float64(total.dropped)),
		familySqueezed.Metric(float64(total.squeezed)),
	}, nil
}
