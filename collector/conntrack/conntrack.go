// Package conntrack exposes the host's connection tracking: how full the table
// is, what the kernel dropped, its timeouts (Collector), and what the table is
// made of (TableCollector).
package conntrack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

var (
	familyEntries = collector.NewGauge("ack_conntrack_entries",
		"Entries in the connection tracking table of the host's network namespace. Entries that have expired and are not yet collected are among them.")
	familyLimit = collector.NewGauge("ack_conntrack_entries_limit",
		"Most entries that the kernel keeps for a network namespace (nf_conntrack_max); new flows are dropped or evict others above it.")
	familyBuckets = collector.NewGauge("ack_conntrack_buckets",
		"Buckets of the hash table that all network namespaces share.")
	familyCPUs = collector.NewGauge("ack_conntrack_cpus",
		"CPUs of the host that are online. kube-proxy sets the limit to conntrack.maxPerCore, which ACK recommends to be 65536, times this.")
	familyTimeout = collector.NewGauge("ack_conntrack_timeout_seconds",
		"How long an entry of this protocol and state stays without a packet, as set in the host's network namespace.",
		"protocol", "state")
)

// counterFamilies are the kernel's counters, summed over the CPUs.
var counterFamilies = [numCounters]*collector.Family{
	insertFailed: collector.NewCounter("ack_conntrack_insert_failed_total",
		"Entries that could not be inserted, and whose packet was dropped: two packets of one flow raced, or the hash chain was full."),
	drops: collector.NewCounter("ack_conntrack_drops_total",
		"Packets dropped because the table was full and nothing could be evicted, or because memory ran out."),
	earlyDrops: collector.NewCounter("ack_conntrack_early_drops_total",
		"Entries evicted to make room in a full table."),
	invalid: collector.NewCounter("ack_conntrack_invalid_total",
		"Packets that could not be tracked."),
	searchRestarts: collector.NewCounter("ack_conntrack_search_restarts_total",
		"Look-ups that began again because the table was resized meanwhile."),
	clashResolved: collector.NewCounter("ack_conntrack_clash_resolved_total",
		"Insertion races that the kernel settled without a drop. Absent on kernels that do not count it."),
	chainTooLong: collector.NewCounter("ack_conntrack_chain_too_long_total",
		"Insertions refused because the hash chain was too long; they also count as insert_failed. Absent on kernels that do not count it."),
}

// Collector reads usage, limit, timeouts and counters: a few small files.
type Collector struct {
	procfs hostfs.Procfs
	sysfs  hostfs.Sysfs
	sums   accumulator
}

// New makes a Collector that reads the host's proc file system and sysfs.
func New(procfs hostfs.Procfs, sysfs hostfs.Sysfs) *Collector {
	return &Collector{procfs: procfs, sysfs: sysfs}
}

// snapshot is what the files say.
type snapshot struct {
	entries, limit, buckets uint64
	cpus                    int // 0 where they could not be counted
	counts                  counts
	timeouts                []timeout
}

type timeout struct {
	protocol, state string
	seconds         uint64
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return append([]*collector.Family{familyEntries, familyLimit, familyBuckets, familyCPUs, familyTimeout}, counterFamilies[:]...)
}

// Collect implements collector.Collector. It is not applicable where the kernel
// has no connection tracking. Outside the host's network namespace it reports
// what is still true: not the timeouts, which belong to the namespace.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	host, err := c.procfs.InHostNetwork()
	if err != nil {
		return nil, err
	}
	s, err := c.readUsage(host)
	if err != nil {
		return nil, err
	}
	// What follows does not hide the usage where it cannot be read.
	s.cpus, err = c.sysfs.OnlineCPUs()
	if host {
		var errTimeouts error
		s.timeouts, errTimeouts = readTimeouts(c.procfs)
		err = errors.Join(err, errTimeouts)
	}
	return s.metrics(), err
}

// readUsage reads everything but the timeouts.
func (c *Collector) readUsage(host bool) (snapshot, error) {
	var s snapshot
	var err error
	// The limit and the buckets are the same in every network namespace.
	s.limit, err = hostfs.ReadUint(c.procfs.Sysctl("net/netfilter/nf_conntrack_max"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("the kernel does not track connections: %w", collector.ErrNotApplicable)
	}
	if err != nil {
		return s, err
	}
	s.buckets, err = hostfs.ReadUint(c.procfs.Sysctl("net/netfilter/nf_conntrack_buckets"))
	if err != nil {
		return s, err
	}
	return s, c.readStat(&s, host)
}

// readStat reads entries and counters. The file of process 1 shows the host's
// network namespace to everyone. A kernel without CONFIG_NF_CONNTRACK_PROCFS
// does not have it; then the entries are a kernel parameter, which shows the
// namespace of whoever reads it.
func (c *Collector) readStat(s *snapshot, host bool) error {
	path := c.procfs.Path("1", "net", "stat", "nf_conntrack")
	content, err := hostfs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !host {
			return fmt.Errorf("%w, and this is not the host's network namespace: %w", err, collector.ErrUnavailable)
		}
		s.entries, err = hostfs.ReadUint(c.procfs.Sysctl("net/netfilter/nf_conntrack_count"))
		return err
	}
	if err != nil {
		return err
	}
	parsed, err := parseStat(content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.entries = parsed.entries
	s.counts = c.sums.add(parsed)
	return nil
}

// readTimeouts reads every timeout that the kernel has. One that cannot be read
// does not hide the others.
func readTimeouts(procfs hostfs.Procfs) ([]timeout, error) {
	var timeouts []timeout
	var failed []error
	for _, f := range timeoutFiles {
		seconds, err := hostfs.ReadUint(procfs.Sysctl("net/netfilter/" + f.file))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			failed = append(failed, err)
		default:
			timeouts = append(timeouts, timeout{f.protocol, f.state, seconds})
		}
	}
	return timeouts, errors.Join(failed...)
}

func (s snapshot) metrics() []prometheus.Metric {
	metrics := []prometheus.Metric{
		familyEntries.Metric(float64(s.entries)),
		familyLimit.Metric(float64(s.limit)),
		familyBuckets.Metric(float64(s.buckets)),
	}
	if s.cpus > 0 {
		metrics = append(metrics, familyCPUs.Metric(float64(s.cpus)))
	}
	for c, family := range counterFamilies {
		if s.counts.present[c] {
			metrics = append(metrics, family.Metric(float64(s.counts.value[c])))
		}
	}
	for _, t := range s.timeouts {
		metrics = append(metrics, familyTimeout.Metric(float64(t.seconds), t.protocol, t.state))
	}
	return metrics
}
