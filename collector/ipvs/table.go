package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/cputime"
	"ack-exporter/internal/hostfs"
)

var (
	familyServices = collector.NewGauge("ack_ipvs_services",
		"Virtual services, by protocol; fwmark are those that take packets by their firewall mark.",
		"protocol")
	familyDestinations = collector.NewGauge("ack_ipvs_destinations",
		"Destinations of the services of this protocol, those with weight 0 included.",
		"protocol")
	familyConnections = collector.NewGauge("ack_ipvs_connections",
		"Connections of the services of this protocol as their destinations count them. Connections whose destination was removed are not among them.",
		"protocol", "state")
	familySchedulers = collector.NewGauge("ack_ipvs_scheduler_services",
		"Services by scheduler. Only schedulers in use have a series.",
		"scheduler")
	familyStale = collector.NewGauge("ack_ipvs_stale_udp_connections",
		"UDP connections whose service is gone, or whose destination is no longer one with a weight above 0 of that service. Packets on them are lost; those to a destination with weight 0, once its backend has gone. At least so many where ack_ipvs_table_complete is 0.")
	familyVisited = collector.NewGauge("ack_ipvs_table_visited_connections",
		"Connections of all protocols that the last pass visited.")
	familyComplete = collector.NewGauge("ack_ipvs_table_complete",
		"Whether the last pass visited all connections. 0: it stopped at the bound.")
	familyCPU = collector.NewCounter("ack_ipvs_table_cpu_seconds_total",
		"CPU time that passes over services and connections have cost.")
)

// TableCollector counts services, destinations and connections, and finds the UDP
// connections that lead nowhere. The kernel makes the files anew for each reader,
// line by line, which is too slow for a scrape: before Linux 6.14 the cost of
// reading the connections grows with the square of their number. It needs no
// capability, and not the host's network namespace.
type TableCollector struct {
	procfs         hostfs.Procfs
	maxConnections uint64
	cost           cputime.Meter
}

// NewTable makes a TableCollector whose passes stop after maxConnections
// connections; 0 sets no bound.
func NewTable(procfs hostfs.Procfs, maxConnections uint64) *TableCollector {
	return &TableCollector{procfs: procfs, maxConnections: maxConnections}
}

// Families implements collector.Collector.
func (*TableCollector) Families() []*collector.Family {
	return []*collector.Family{
		familyServices, familyDestinations, familyConnections, familySchedulers,
		familyStale, familyVisited, familyComplete, familyCPU,
	}
}

// Rest implements collector.Rester.
func (c *TableCollector) Rest() time.Duration { return c.cost.Rest() }

// table is what one pass found.
type table struct {
	services    services
	connections connections
	stale       uint64
}

// Collect implements collector.Collector. It is not applicable where IPVS is not
// loaded.
func (c *TableCollector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	// Whether it is the host's does not matter, but process 1 must be the host's.
	if _, err := c.procfs.InHostNetwork(); err != nil {
		return nil, err
	}
	var t table
	var err error
	c.cost.Add(cputime.Of(func() { t, err = c.read(ctx) }))
	if err != nil {
		return nil, err
	}
	return c.metrics(t), nil
}

func (c *TableCollector) read(ctx context.Context) (table, error) {
	var t table
	var err error
	if t.services, err = c.readServices(ctx); err != nil {
		return t, err
	}
	if t.connections, err = c.readConnections(ctx, &t.services); err != nil {
		return t, err
	}
	if len(t.connections.suspects) == 0 {
		return t, nil
	}
	// A destination that was added during the pass has made suspects of its own
	// connections.
	now, err := c.readServices(ctx)
	if err != nil {
		return t, err
	}
	t.stale = t.connections.stale(&now)
	return t, nil
}

func (c *TableCollector) readServices(ctx context.Context) (services, error) {
	f, err := c.open(servicesFile)
	if err != nil {
		return services{}, err
	}
	defer f.Close()
	s, err := readServices(ctx, f)
	if err != nil {
		return s, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, nil
}

func (c *TableCollector) readConnections(ctx context.Context, s *services) (connections, error) {
	f, err := c.open(connectionsFile)
	if err != nil {
		return connections{}, err
	}
	defer f.Close()
	conns, err := readConnections(ctx, f, s, c.maxConnections)
	if err != nil {
		return conns, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return conns, nil
}

func (c *TableCollector) open(file []string) (*os.File, error) {
	f, err := os.Open(c.procfs.Path(file...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("IPVS is not loaded: %w", collector.ErrNotApplicable)
	}
	return f, err
}

func (c *TableCollector) metrics(t table) []prometheus.Metric {
	metrics := []prometheus.Metric{
		familyStale.Metric(float64(t.stale)),
		familyVisited.Metric(float64(t.connections.visited)),
		familyComplete.Metric(collector.Bool(t.connections.complete)),
		familyCPU.Metric(c.cost.Total().Seconds()),
	}
	for p, name := range protocolNames {
		metrics = append(metrics,
			familyServices.Metric(float64(t.services.services[p]), name),
			familyDestinations.Metric(float64(t.services.destinations[p]), name),
			familyConnections.Metric(float64(t.services.active[p]), name, "active"),
			familyConnections.Metric(float64(t.services.inactive[p]), name, "inactive"),
		)
	}
	for name, n := range t.services.schedulers {
		metrics = append(metrics, familySchedulers.Metric(float64(*n), name))
	}
	return metrics
}
