package conntrack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/cputime"
	"ack-exporter/internal/hostfs"
)

var (
	familyTableEntries = collector.NewGauge("ack_conntrack_table_entries",
		"Entries by L4 protocol and state: for TCP the state of the connection, for others unreplied, replied or assured; offload where a flow table forwards the packets. Scaled to ack_conntrack_entries where the pass was a sample.",
		"protocol", "state")
	familyTableDNS = collector.NewGauge("ack_conntrack_dns_entries",
		"Entries whose original destination port is 53. Scaled like ack_conntrack_table_entries.",
		"protocol")
	familyTableComplete = collector.NewGauge("ack_conntrack_table_complete",
		"Whether the last pass visited the whole table. 0: it stopped at the bound, and the classes are estimated from a sample.")
	familyTableVisited = collector.NewGauge("ack_conntrack_table_visited_entries",
		"Entries that the last pass visited.")
	familyTableCPU = collector.NewCounter("ack_conntrack_table_cpu_seconds_total",
		"CPU time that passes over the table have cost.")
)

// TableCollector counts the entries of the table by class, in a pass that is
// too slow for a scrape.
type TableCollector struct {
	procfs     hostfs.Procfs
	maxEntries uint64
	dump       func(context.Context, uint64) (pass, error)
	cost       cputime.Meter
}

// NewTable makes a TableCollector whose passes stop after maxEntries entries; 0
// sets no bound, and makes every pass exact.
func NewTable(procfs hostfs.Procfs, maxEntries uint64) *TableCollector {
	return &TableCollector{procfs: procfs, maxEntries: maxEntries, dump: dumpTable}
}

// Families implements collector.Collector.
func (*TableCollector) Families() []*collector.Family {
	return []*collector.Family{familyTableEntries, familyTableDNS, familyTableComplete, familyTableVisited, familyTableCPU}
}

// Rest implements collector.Rester.
func (c *TableCollector) Rest() time.Duration { return c.cost.Rest() }

// table is the table by class, as far as it was seen.
type table struct {
	pass
	scale float64
}

// Collect implements collector.Collector. It fails with ErrUnavailable outside
// the host's network namespace, and with a permission error without
// CAP_NET_ADMIN.
func (c *TableCollector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	before, err := c.count()
	if err != nil {
		return nil, err
	}
	// Over an empty table a pass would keep softirqs off for the whole walk.
	if before == 0 {
		c.cost.Add(0)
		return c.metrics(table{pass: pass{complete: true}, scale: 1}), nil
	}
	t, err := c.pass(ctx)
	if err != nil {
		return nil, err
	}
	if t.malformed > 0 {
		err = fmt.Errorf("%d of %d entries of the dump: %w", t.malformed, t.entries, collector.ErrDecode)
	}
	return c.metrics(t), err
}

func (c *TableCollector) pass(ctx context.Context) (table, error) {
	p, err := c.dump(ctx, c.maxEntries)
	c.cost.Add(p.cpu)
	if err != nil {
		return table{}, err
	}
	t := table{pass: p, scale: 1}
	if p.complete || p.entries == 0 {
		return t, nil
	}
	count, err := c.count()
	if err != nil {
		return table{}, err
	}
	// The count may have fallen below what the pass saw; it saw no more than
	// a part of what there was, so the classes are never scaled down.
	t.scale = max(1, float64(count)/float64(p.entries))
	return t, nil
}

// count is how many entries the host's network namespace has.
func (c *TableCollector) count() (uint64, error) {
	host, err := c.procfs.InHostNetwork()
	if err != nil {
		return 0, err
	}
	if !host {
		return 0, fmt.Errorf("a pass from outside the host's network namespace sees nothing and stalls the host's packets; set hostNetwork: %w", collector.ErrUnavailable)
	}
	count, err := hostfs.ReadUint(c.procfs.Sysctl("net/netfilter/nf_conntrack_count"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("the kernel does not track connections: %w", collector.ErrNotApplicable)
	}
	return count, err
}

func (c *TableCollector) metrics(t table) []prometheus.Metric {
	metrics := []prometheus.Metric{
		familyTableComplete.Metric(collector.Bool(t.complete)),
		familyTableVisited.Metric(float64(t.entries)),
		familyTableCPU.Metric(c.cost.Total().Seconds()),
		familyTableDNS.Metric(t.scale*float64(t.dnsUDP), protocolNames[udp]),
		familyTableDNS.Metric(t.scale*float64(t.dnsTCP), protocolNames[tcp]),
	}
	for p := range numProtocols {
		for s := range numStates {
			if s.applies(p) {
				metrics = append(metrics, familyTableEntries.Metric(t.scale*float64(t.cells[p][s]), protocolNames[p], stateNames[s]))
			}
		}
	}
	return metrics
}
