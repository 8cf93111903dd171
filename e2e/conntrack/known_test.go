//go:build e2e

package conntrack

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

// TestKnownFlows makes a few flows in every state that real packets can bring
// about, and compares all that the exporter says of them.
func TestKnownFlows(t *testing.T) {
	w := trackingWorld(t)
	makeKnownFlows(t, w)
	p := exporter.Start(t, w, exporter.Config{Args: tableFlags("2s", "250000")})

	var m exporter.Metrics
	var want census
	var wantUsage, wantCounters exporter.Metrics
	world.Eventually(t, patience, func() error {
		// An entry may come or go between two readings. Where the table was the
		// same before and after a whole pass and a scrape, it was so in between.
		want, wantUsage, wantCounters = listTable(t, w), usage(t, w), counters(t, w)
		m = p.AwaitRefresh(t, patience, "conntrack_table")
		if after := listTable(t, w); !after.equal(want) {
			return errMoved
		}
		if len(usage(t, w).Difference(wantUsage))+len(counters(t, w).Difference(wantCounters)) > 0 {
			return errMoved
		}
		return nil
	})

	exporter.RequireSame(t, tableMetrics(m), want.metrics())
	exporter.RequireSame(t, usageMetrics(m), wantUsage)
	exporter.RequireSame(t, counterMetrics(m), wantCounters)
	exporter.RequireSame(t, procCounters(t, w), wantCounters)
	if wantCounters["ack_conntrack_invalid_total"] == 0 {
		t.Error("no packet was invalid: the counters prove nothing")
	}
	requireTimeouts(t, w, m)
	for _, expect := range []error{
		m.Expect(1, "ack_conntrack_table_complete"),
		m.Expect(float64(want.total()), "ack_conntrack_table_visited_entries"),
		m.Expect(float64(want.total()), "ack_conntrack_entries"),
		m.Expect(1, "ack_exporter_host_network_namespace"),
		m.Expect(1, "ack_exporter_collector_success", "collector", "conntrack"),
		m.Expect(1, "ack_exporter_collector_applicable", "collector", "conntrack"),
		m.Expect(1, "ack_exporter_collector_success", "collector", "conntrack_table"),
		m.Expect(1, "ack_exporter_collector_applicable", "collector", "conntrack_table"),
	} {
		if expect != nil {
			t.Error(expect)
		}
	}
	if m.Value(t, "ack_conntrack_table_cpu_seconds_total") <= 0 {
		t.Error("the passes cost no CPU time")
	}
	requireReady(t, p)
}

func makeKnownFlows(t *testing.T, w *world.World) {
	t.Helper()
	tr := newTraffic(t, w)
	for i, v := range []ip{ipv4, ipv6} {
		polite, rude := tr.listen(v, "8081", true), tr.listen(v, "8082", false)
		tr.tcp(v, polite, "established", 7-i, leaveOpen)
		tr.tcp(v, tr.listen(v, "53", true), "established", 3, leaveOpen)
		tr.tcp(v, polite, "time_wait", 5-i, closeConn)
		tr.tcp(v, rude, "close_wait", 4, halfClose)
		tr.tcp(v, rude, "close", 2, resetConn)
		tr.tcp(v, tr.listen(v, portLostFin, false), "fin_wait", 3-i, halfClose)
		tr.tcp(v, tr.listen(v, portLostFinReply, true), "last_ack", 2, halfClose)
		tr.listen(v, portLostSynAck, false)
		tr.halfOpen(v.loopback, portLostSynAck, "syn_recv", 3)
		tr.halfOpen(v.silent, "80", "syn_sent", 6-i)
		tr.halfOpen(v.silent, "53", "syn_sent", 1)

		tr.echoUDP(v, "53")
		tr.echoUDP(v, "5353") // not DNS as CoreDNS serves it
		tr.udpUnanswered(v, "53", 9-i)
		tr.udpUnanswered(v, "123", 2)
		tr.udpAnswered(v, "53", 8-i)
		tr.udpAnswered(v, "5353", 3)
		tr.udpStreams(v, "53", 2)
		tr.udpStreams(v, "5353", 1)
	}
	tr.icmp(3)
	tr.otherProtocols()
	tr.invalid(5)
	tr.settle()
}

// requireTimeouts compares every timeout in the world with its series.
func requireTimeouts(t *testing.T, w *world.World, m exporter.Metrics) {
	t.Helper()
	// frag6 has to do with fragments, and DCCP has left the kernel.
	file := regexp.MustCompile(`^nf_conntrack_(generic|gre|icmp|icmpv6|sctp|tcp|udp)_timeout(?:_(.+))?$`)
	entries, err := os.ReadDir(w.Path("/proc/sys/net/netfilter"))
	if err != nil {
		t.Fatal(err)
	}
	want := make(exporter.Metrics)
	for _, entry := range entries {
		match := file.FindStringSubmatch(entry.Name())
		if match == nil {
			continue
		}
		protocol, state := match[1], match[2]
		switch {
		case protocol == "generic":
			protocol = "other"
		case state == "" && (protocol == "udp" || protocol == "gre"):
			state = "unreplied"
		}
		key := exporter.Key("ack_conntrack_timeout_seconds", "protocol", protocol, "state", state)
		want[key] = number(t, w, filepath.Join("net/netfilter", entry.Name()))
	}
	udp, err := strconv.ParseFloat(timeouts["nf_conntrack_udp_timeout"], 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := want.Expect(udp, "ack_conntrack_timeout_seconds", "protocol", "udp", "state", "unreplied"); err != nil {
		t.Fatalf("the test reads other timeouts than it set: %v", err)
	}
	exporter.RequireSame(t, m.Family("ack_conntrack_timeout_seconds"), want)
}
