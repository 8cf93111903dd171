// Package kmsg counts the lines of the kernel's log that tell of known troubles.
package kmsg

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
)

var (
	familyEvents = collector.NewCounter("ack_kernel_log_events_total",
		"Kernel log lines that tell of this trouble, since the exporter started. The kernel limits the rate of many of them, so this shows that something happens, not how often.",
		"event")
	familyLost = collector.NewCounter("ack_kernel_log_lost_records_total",
		"Kernel log records that were overwritten before the exporter could read them. Where it had not read any record before, an unknown number counts as 1.")
	familyMalformed = collector.NewCounter("ack_kernel_log_malformed_records_total",
		"Kernel log records that are not in the format of /dev/kmsg, or too large. Their lines are not counted.")
)

// Config says what a Collector reads.
type Config struct {
	// Path of the kernel's log device, /dev/kmsg.
	Path string
}

// Collector follows the kernel's log and reports what it heard so far.
type Collector struct {
	open func() (source, error)
	// position belongs to Follow alone, which never runs twice at a time.
	position position

	mu     sync.Mutex
	counts counts
}

// counts is what was heard so far; it is copied as a whole.
type counts struct {
	events          [len(events)]uint64
	lost, malformed uint64
}

// New makes a Collector.
func New(config Config) *Collector {
	return &Collector{open: func() (source, error) { return openDevice(config.Path) }}
}

// Families implements collector.Collector.
func (c *Collector) Families() []*collector.Family {
	return []*collector.Family{familyEvents, familyLost, familyMalformed}
}

// Collect implements collector.Collector. It reads no file and never fails.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	counted := c.snapshot()
	metrics := []prometheus.Metric{
		familyLost.Metric(float64(counted.lost)),
		familyMalformed.Metric(float64(counted.malformed)),
	}
	for i, n := range counted.events {
		metrics = append(metrics, familyEvents.Metric(float64(n), events[i].name))
	}
	return metrics, nil
}

func (c *Collector) snapshot() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

func (c *Collector) count(update func(*counts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	update(&c.counts)
}
