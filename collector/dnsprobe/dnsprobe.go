// Package dnsprobe asks the DNS servers that the pods of this node depend on, and
// counts what goes wrong on the way to each of them.
package dnsprobe

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

var (
	familyAttempts = collector.NewCounter("ack_dns_probe_attempts_total",
		"Questions put to this server. None is ever repeated. They leave from the exporter's own network namespace, which is the node's with hostNetwork only.",
		"target_kind", "server", "protocol", "socket", "name_kind")
	familySuccesses = collector.NewCounter("ack_dns_probe_successes_total",
		"Questions that this server answered in time with an address. The others failed.",
		"target_kind", "server", "protocol", "socket", "name_kind")
	familyFailures = collector.NewCounter("ack_dns_probe_failures_total",
		"Questions that failed, by reason, all servers of a kind together. ack_dns_probe_attempts_total less ack_dns_probe_successes_total tells which server.",
		"target_kind", "protocol", "socket", "name_kind", "reason")
	familyDuration = collector.NewHistogram("ack_dns_probe_duration_seconds",
		"How long the questions took that succeeded; over TCP with the handshake.",
		[]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1},
		"target_kind", "protocol", "name_kind")
	familyTargets = collector.NewGauge("ack_dns_probe_targets",
		"Servers that are probed.",
		"target_kind")
	familyLeftOut = collector.NewGauge("ack_dns_probe_left_out_targets",
		"CoreDNS pods that this node does not probe, as there are more than it may. Each node chooses others.")
	familyInterval = collector.NewGauge("ack_dns_probe_interval_seconds",
		"Least time between two turns of a server of this kind that is in force now; in a turn it is asked each question once. It grows with the number of nodes, so that no CoreDNS pod gets too many questions.",
		"target_kind")
	familyNodeLocal = collector.NewGauge("ack_dns_probe_node_local_address",
		"Whether an interface of the host has the address 169.254.20.10, where NodeLocal DNSCache listens. Absent outside the host's network namespace.")
)

const (
	// maxTargetsAge is how long the servers of the cluster are probed while their
	// source fails. Later they can be others.
	maxTargetsAge = 5 * time.Minute
	// passShare is the part of the time of a pass in which all questions end, even
	// where nobody answers.
	passShare = 0.8
	// minRate keeps the time between two questions within bounds.
	minRate = 0.01
	dnsPort = 53
)

// Config says what a Collector asks, and whom.
type Config struct {
	// Source tells the servers of the cluster.
	Source Source
	// VPCResolvers are probed wherever the host is. Empty: the two that every VPC
	// has, and only on an ECS instance.
	VPCResolvers []netip.Addr
	// Nodes is how many nodes are assumed where the Source does not tell.
	Nodes int

	Procfs hostfs.Procfs
	Sysfs  hostfs.Sysfs

	// ClusterName and ExternalName are names with an IPv4 address, one inside the
	// cluster and one outside.
	ClusterName, ExternalName string

	// Interval between two passes, as in the Spec of the Collector.
	Interval time.Duration
	// Timeout of one question.
	Timeout time.Duration
	// MaxPods is how many CoreDNS pods this node probes at most.
	MaxPods int
	// MaxRate is how many questions per second one CoreDNS pod gets at most from
	// all nodes together.
	MaxRate float64

	// Log gets a line of level debug for every failure.
	Log *slog.Logger
}

func (c Config) validate() error {
	switch {
	case c.Source == nil, c.Log == nil:
		return errors.New("no source of targets, or no logger")
	case c.Nodes < 1 || c.Nodes > maxNodes:
		return fmt.Errorf("the number of nodes: %d is not between 1 and %d", c.Nodes, maxNodes)
	case c.MaxPods < 1 || c.MaxPods > maxPods:
		return fmt.Errorf("the number of pods: %d is not between 1 and %d", c.MaxPods, maxPods)
	case !(c.MaxRate >= minRate):
		return fmt.Errorf("the rate: %g is less than %g", c.MaxRate, minRate)
	case c.Timeout <= 0:
		return fmt.Errorf("the timeout: %s is not positive", c.Timeout)
	case c.Timeout > time.Duration(passShare*float64(c.Interval)):
		return fmt.Errorf("the timeout: %s is longer than %g of the interval %s", c.Timeout, passShare, c.Interval)
	}
	return nil
}

// Collector probes DNS servers.
type Collector struct {
	config    Config
	asker     asker
	addresses func() ([]net.Addr, error)
	seed      maphash.Seed

	// What follows belongs to Collect alone.
	pass    int
	tally   *tally
	cluster Targets // the last that the source told
	told    time.Time
}

// New makes a Collector.
func New(config Config) (*Collector, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	c := &Collector{
		config:    config,
		addresses: net.InterfaceAddrs,
		seed:      maphash.MakeSeed(),
		tally:     newTally(),
	}
	// Keep-alive is of no use to connections that live for one question.
	dialer := &net.Dialer{KeepAlive: -1}
	c.asker = asker{dial: dialer.DialContext, port: dnsPort, timeout: config.Timeout}
	for i, name := range [numNames]string{clusterName: config.ClusterName, externalName: config.ExternalName} {
		var err error
		if c.asker.names[i], err = canonical(name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// canonical is name as it comes back in an answer.
func canonical(name string) (string, error) {
	var m dns.Msg
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	b, err := m.Pack()
	if name == "" || name == "." || err != nil {
		return "", fmt.Errorf("%.300q is not a name of the DNS", name)
	}
	if err := m.Unpack(b); err != nil {
		return "", fmt.Errorf("%.300q is not a name of the DNS: %w", name, err)
	}
	return m.Question[0].Name, nil
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{
		familyAttempts, familySuccesses, familyFailures, familyDuration,
		familyTargets, familyLeftOut, familyInterval, familyNodeLocal,
	}
}

// Rest implements collector.Rester: also after a failure the next pass does not
// come sooner, since that would break the limit on questions.
func (c *Collector) Rest() time.Duration { return c.config.Interval }

// Collect implements collector.Collector. One call is one pass over all servers.
// It is not applicable where there is no server to probe. Servers of which nothing
// could be learned make it fail, and the others are probed.
func (c *Collector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	s, err := c.survey(ctx)
	p := makePlan(s, c.limits(), c.seed)
	c.pass++
	c.tally.follow(p, c.pass, rand.IntN)
	if len(p.servers) == 0 {
		if err == nil {
			err = fmt.Errorf("no DNS server to probe: %w", collector.ErrNotApplicable)
		}
		return nil, err
	}
	c.probe(ctx, c.tally.due(p, c.pass))
	return append(c.tally.metrics(), c.metrics(s, p)...), errors.Join(err, ctx.Err())
}

func (c *Collector) limits() limits {
	return limits{
		interval: c.config.Interval,
		maxPods:  c.config.MaxPods,
		maxRate:  c.config.MaxRate,
		nodes:    c.config.Nodes,
	}
}

// survey finds out what there is to probe. An error is about a part of it.
func (c *Collector) survey(ctx context.Context) (survey, error) {
	var s survey
	var errCluster, errVPC error
	s.cluster, errCluster = c.clusterTargets(ctx)
	s.vpc, errVPC = c.vpcResolvers()
	s.nodeLocal, s.nodeLocalKnown = c.nodeLocal()
	return s, errors.Join(errCluster, errVPC)
}

// clusterTargets are what the source tells, or told a short time ago.
func (c *Collector) clusterTargets(ctx context.Context) (Targets, error) {
	t, err := c.config.Source.Targets(ctx)
	switch {
	case err == nil:
		c.cluster, c.told = t, time.Now()
	case time.Since(c.told) > maxTargetsAge:
		c.cluster = Targets{}
	}
	return c.cluster, err
}

// vpcResolvers are those of the VPC. Outside Alibaba Cloud nothing is ever sent to
// their addresses unless somebody names them.
func (c *Collector) vpcResolvers() ([]netip.Addr, error) {
	if len(c.config.VPCResolvers) > 0 {
		return c.config.VPCResolvers, nil
	}
	ecs, err := c.config.Sysfs.IsECS()
	if err != nil || !ecs {
		return nil, err
	}
	return []netip.Addr{
		netip.AddrFrom4([4]byte{100, 100, 2, 136}),
		netip.AddrFrom4([4]byte{100, 100, 2, 138}),
	}, nil
}

// nodeLocal reports whether the host has the address of NodeLocal DNSCache, and
// whether that can be told from here.
func (c *Collector) nodeLocal() (has, known bool) {
	host, err := c.config.Procfs.InHostNetwork()
	if err != nil || !host {
		return false, false
	}
	addrs, err := c.addresses()
	if err != nil {
		return false, false
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Unmap() == nodeLocalAddr {
			return true, true
		}
	}
	return false, true
}

// probe puts the questions of a pass and counts how they ended.
func (c *Collector) probe(ctx context.Context, probes []probe) {
	rand.Shuffle(len(probes), func(i, j int) { probes[i], probes[j] = probes[j], probes[i] })
	budget := c.config.Interval
	if deadline, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(deadline))
	}
	budget = time.Duration(passShare * float64(budget))
	for i, o := range c.asker.pass(ctx, probes, workers(len(probes), c.config.Timeout, budget)) {
		switch {
		case o.panicked != "":
			panic(o.panicked)
		case o.void:
			continue
		case o.err != nil:
			c.logFailure(probes[i], o)
		}
		c.tally.count(probes[i], o)
	}
}

func (c *Collector) logFailure(p probe, o outcome) {
	c.config.Log.Debug("DNS probe failed",
		"target_kind", kindNames[p.kind], "server", p.addr.String(),
		"protocol", protocolNames[p.transport], "socket", socketNames[p.transport],
		"name", c.asker.names[p.name], "reason", string(reasonOf(o.err)), "err", o.err)
}

// metrics are those about the plan.
func (c *Collector) metrics(s survey, p plan) []prometheus.Metric {
	metrics := []prometheus.Metric{familyLeftOut.Metric(float64(p.leftOut))}
	if s.nodeLocalKnown {
		metrics = append(metrics, familyNodeLocal.Metric(collector.Bool(s.nodeLocal)))
	}
	targets := make(map[kind]int)
	for _, server := range p.servers {
		targets[server.kind]++
	}
	for k := range numKinds {
		metrics = append(metrics, familyTargets.Metric(float64(targets[k]), kindNames[k]))
		if targets[k] > 0 {
			interval := time.Duration(p.strideOf(k)) * c.config.Interval
			metrics = append(metrics, familyInterval.Metric(interval.Seconds(), kindNames[k]))
		}
	}
	return metrics
}
