//go:build e2e

package conntrack

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

// class is a pair of labels of ack_conntrack_table_entries.
type class struct{ protocol, state string }

// census counts the entries of a table. The zero value of a class is not kept.
type census struct {
	classes map[class]int
	dns     map[string]int // by protocol; original destination port 53
}

func newCensus() census {
	return census{classes: make(map[class]int), dns: make(map[string]int)}
}

func (c census) add(k class, dns bool, n int) {
	c.classes[k] += n
	if dns {
		c.dns[k.protocol] += n
	}
}

func (c census) total() int {
	n := 0
	for _, count := range c.classes {
		n += count
	}
	return n
}

func (c census) equal(other census) bool {
	return maps.Equal(c.classes, other.classes) && maps.Equal(c.dns, other.dns)
}

func (c census) String() string {
	var lines []string
	for k, n := range c.classes {
		lines = append(lines, fmt.Sprintf("%s/%s=%d", k.protocol, k.state, n))
	}
	for protocol, n := range c.dns {
		lines = append(lines, fmt.Sprintf("dns/%s=%d", protocol, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// The states that the exporter promises to show for every protocol.
var (
	tcpStates = []string{
		"none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait",
		"last_ack", "time_wait", "close", "syn_sent2", "offload",
	}
	otherStates    = []string{"unreplied", "replied", "assured", "offload"}
	otherProtocols = []string{"udp", "icmp", "icmpv6", "sctp", "gre", "other"}
)

// allClasses lists every class, so that zeros are checked too.
func allClasses() []class {
	var all []class
	for _, state := range tcpStates {
		all = append(all, class{"tcp", state})
	}
	for _, protocol := range otherProtocols {
		for _, state := range otherStates {
			all = append(all, class{protocol, state})
		}
	}
	return all
}

// metrics is what the exporter must show for this census: all of these series,
// and no other of these families.
func (c census) metrics() exporter.Metrics {
	m := make(exporter.Metrics)
	for _, k := range allClasses() {
		m[tableKey(k)] = float64(c.classes[k])
	}
	for _, protocol := range []string{"tcp", "udp"} {
		m[dnsKey(protocol)] = float64(c.dns[protocol])
	}
	return m
}

func tableKey(k class) string {
	return exporter.Key("ack_conntrack_table_entries", "protocol", k.protocol, "state", k.state)
}

func dnsKey(protocol string) string {
	return exporter.Key("ack_conntrack_dns_entries", "protocol", protocol)
}

// tableMetrics picks the families that a census speaks of.
func tableMetrics(m exporter.Metrics) exporter.Metrics {
	picked := m.Family("ack_conntrack_table_entries")
	maps.Copy(picked, m.Family("ack_conntrack_dns_entries"))
	return picked
}

// listTable counts the entries that the conntrack tool lists.
func listTable(t testing.TB, w *world.World) census {
	t.Helper()
	c := newCensus()
	for _, family := range []string{"ipv4", "ipv6"} {
		for line := range strings.Lines(w.Run(t, "conntrack", "-L", "-f", family, "-o", "extended")) {
			k, dns, err := parseListed(line)
			if err != nil {
				t.Fatal(err)
			}
			c.add(k, dns, 1)
		}
	}
	return c
}

// parseListed reads a line such as
//
//	ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=999 dport=53 [UNREPLIED] src=10.0.0.2 …
//	ipv4     2 tcp      6 119 SYN_SENT src=…
//
// of which the first dport is that of the original direction.
func parseListed(line string) (k class, dns bool, err error) {
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return k, false, fmt.Errorf("conntrack -L printed %q", line)
	}
	names := map[string]string{"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "132": "sctp", "47": "gre"}
	protocol, ok := names[fields[3]]
	if !ok {
		protocol = "other"
	}
	at := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "dport=") })
	dns = at >= 0 && fields[at] == "dport=53"
	return class{protocol, listedState(protocol, fields)}, dns, nil
}

func listedState(protocol string, fields []string) string {
	switch {
	case slices.Contains(fields, "[OFFLOAD]"):
		return "offload"
	case protocol == "tcp":
		return strings.ToLower(fields[5])
	case slices.Contains(fields, "[UNREPLIED]"):
		return "unreplied"
	case slices.Contains(fields, "[ASSURED]"):
		return "assured"
	default:
		return "replied"
	}
}

// counterColumns names each counter of the exporter as /proc/net/stat does.
var counterColumns = map[string]string{
	"ack_conntrack_insert_failed_total":   "insert_failed",
	"ack_conntrack_drops_total":           "drop",
	"ack_conntrack_early_drops_total":     "early_drop",
	"ack_conntrack_invalid_total":         "invalid",
	"ack_conntrack_search_restarts_total": "search_restart",
	"ack_conntrack_clash_resolved_total":  "clashres",
	"ack_conntrack_chain_too_long_total":  "chainlength",
}

// toolNames are the names by which conntrack -S calls some of them.
var toolNames = map[string]string{"clashres": "clash_resolve", "chainlength": "chaintoolong"}

// counters are the kernel's counters summed over the CPUs, as the exporter
// names them, as the conntrack tool reads them by netlink.
func counters(t testing.TB, w *world.World) exporter.Metrics {
	t.Helper()
	sums := make(map[string]float64)
	for line := range strings.Lines(w.Run(t, "conntrack", "-S")) {
		for _, field := range strings.Fields(line)[1:] {
			name, value, _ := strings.Cut(field, "=")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("conntrack -S printed %q", line)
			}
			sums[name] += n
		}
	}
	m := make(exporter.Metrics)
	for metric, column := range counterColumns {
		name := column
		if other, ok := toolNames[column]; ok {
			name = other
		}
		value, ok := sums[name]
		if !ok {
			t.Fatalf("conntrack -S has no %s", name)
		}
		m[metric] = value
	}
	return m
}

// procCounters are the same counters, as /proc/net/stat shows them.
func procCounters(t testing.TB, w *world.World) exporter.Metrics {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(w.Run(t, "cat", "/proc/thread-self/net/stat/nf_conntrack")), "\n")
	columns := strings.Fields(lines[0])
	m := make(exporter.Metrics)
	for metric, column := range counterColumns {
		at := slices.Index(columns, column)
		if at < 0 {
			t.Fatalf("/proc/net/stat/nf_conntrack has no column %s", column)
		}
		for _, line := range lines[1:] {
			n, err := strconv.ParseUint(strings.Fields(line)[at], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			m[metric] += float64(n)
		}
	}
	return m
}

// counterMetrics picks the counters.
func counterMetrics(m exporter.Metrics) exporter.Metrics {
	picked := make(exporter.Metrics)
	for name := range counterColumns {
		maps.Copy(picked, m.Family(name))
	}
	return picked
}

// number reads a kernel parameter of the world that is one number.
func number(t testing.TB, w *world.World, name string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(w.Sysctl(t, name), 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// usage is what the exporter must show for the size of the table.
func usage(t testing.TB, w *world.World) exporter.Metrics {
	t.Helper()
	return exporter.Metrics{
		"ack_conntrack_entries":       number(t, w, "net/netfilter/nf_conntrack_count"),
		"ack_conntrack_entries_limit": number(t, w, "net/netfilter/nf_conntrack_max"),
		"ack_conntrack_buckets":       number(t, w, "net/netfilter/nf_conntrack_buckets"),
	}
}

// usageMetrics picks the size of the table.
func usageMetrics(m exporter.Metrics) exporter.Metrics {
	picked := make(exporter.Metrics)
	for _, name := range []string{"ack_conntrack_entries", "ack_conntrack_entries_limit", "ack_conntrack_buckets"} {
		maps.Copy(picked, m.Family(name))
	}
	return picked
}
