//go:build e2e

// Package conntrack tests the exporter's view of connection tracking against
// the real kernel, in private network namespaces. Nothing leaves the machine.
//
// The truth is what the tests did (every flow is made by hand), what the
// conntrack tool lists and what /proc says.
//
//	go test -tags e2e ./e2e/conntrack                                      # as root
//	go test -tags e2e -run '^$' -bench . -benchtime 1x ./e2e/conntrack
//
// E2E_REQUIRED=1 fails where a test would be skipped, E2E_EXPORTER names a
// binary to test in place of one built from this tree, and E2E_BUDGETS=1 makes
// the benchmarks fail where a budget is exceeded.
package conntrack

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) {
	world.Main(m, map[string]world.Role{
		"dump": dumpRole,
		"echo": echoRole,
		"ping": pingRole,
	})
}

// patience is how long a test waits for what takes a moment on an idle machine.
const patience = time.Minute

const (
	nobody = "65534"
	// silent addresses belong to the world, but packets to them are dropped after
	// they were tracked: as with a remote address that does not answer.
	silentIPv4 = "127.0.0.66"
	silentIPv6 = "fd00:66::66"
	// Ports at which one TCP packet is lost, so that a connection stays in a state
	// that it would only pass through.
	portLostSynAck   = "8091" // stays in SYN_RECV
	portLostFin      = "8092" // FIN of the client: stays in FIN_WAIT
	portLostFinReply = "8093" // FIN of the server: stays in LAST_ACK
)

// ruleset makes the kernel track connections: it only does so where a rule asks
// for their state. The scrapes are not tracked, so that they do not disturb
// what they measure. The packets of the table-full test are dropped on arrival,
// and answered by nobody.
//
// A connection whose FIN is lost is frozen: what its ends send again would take
// the entry on to the next state, and is dropped before it is tracked.
const ruleset = `
table inet e2e {
	set frozen {
		type nf_proto . inet_service
		flags dynamic
		size 256
	}
	chain output {
		type filter hook output priority raw;
		tcp dport { ` + portLostFin + `, ` + portLostFinReply + ` } meta nfproto . tcp sport @frozen drop
		tcp sport { ` + portLostFin + `, ` + portLostFinReply + ` } meta nfproto . tcp dport @frozen drop
		tcp dport ` + portLostFin + ` tcp flags & fin == fin add @frozen { meta nfproto . tcp sport }
		tcp sport ` + portLostFinReply + ` tcp flags & fin == fin add @frozen { meta nfproto . tcp dport }
		tcp dport 9777 notrack
		tcp sport 9777 notrack
	}
	chain prerouting {
		type filter hook prerouting priority raw;
		tcp dport 9777 notrack
		tcp sport 9777 notrack
	}
	chain input {
		type filter hook input priority filter;
		ct state invalid drop
		ip daddr ` + silentIPv4 + ` drop
		ip daddr 127.77.0.0/16 drop
		ip6 daddr ` + silentIPv6 + ` drop
		tcp sport ` + portLostSynAck + ` tcp flags & (syn | ack) == (syn | ack) drop
		tcp dport ` + portLostFin + ` tcp flags & fin == fin drop
		tcp sport ` + portLostFinReply + ` tcp flags & fin == fin drop
	}
}
`

// timeouts are set so that no entry expires during a test, and so that none has
// the value that it has outside.
var timeouts = map[string]string{
	"nf_conntrack_tcp_timeout_syn_sent":     "901",
	"nf_conntrack_tcp_timeout_syn_recv":     "902",
	"nf_conntrack_tcp_timeout_fin_wait":     "903",
	"nf_conntrack_tcp_timeout_close_wait":   "904",
	"nf_conntrack_tcp_timeout_last_ack":     "905",
	"nf_conntrack_tcp_timeout_time_wait":    "906",
	"nf_conntrack_tcp_timeout_close":        "907",
	"nf_conntrack_tcp_timeout_max_retrans":  "908",
	"nf_conntrack_udp_timeout":              "910",
	"nf_conntrack_udp_timeout_stream":       "911",
	"nf_conntrack_icmp_timeout":             "912",
	"nf_conntrack_icmpv6_timeout":           "913",
	"nf_conntrack_gre_timeout":              "914",
	"nf_conntrack_generic_timeout":          "915",
	"nf_conntrack_sctp_timeout_cookie_wait": "916",
	"nf_conntrack_sctp_timeout_closed":      "917",
}

// trackingWorld makes a world in which the kernel tracks connections.
func trackingWorld(t testing.TB) *world.World {
	t.Helper()
	w := world.New(t)
	for name, value := range timeouts {
		w.SetSysctl(t, "net/netfilter/"+name, value)
	}
	w.Run(t, "ip", "-6", "address", "add", silentIPv6+"/128", "dev", "lo", "nodad")
	w.RunInput(t, ruleset, "nft", "-f", "-")
	return w
}

// tableFlags make the passes frequent, and exact up to maxEntries.
func tableFlags(interval, maxEntries string) []string {
	return []string{
		"--collector.conntrack_table.interval=" + interval,
		"--collector.conntrack_table.max-entries=" + maxEntries,
	}
}

// errMoved says that the table changed while it was compared.
var errMoved = errors.New("the table changed during the comparison")

// requireReady waits until every collector has succeeded once.
func requireReady(t *testing.T, p *exporter.Process) {
	t.Helper()
	world.Eventually(t, patience, func() error {
		status, body, err := p.Get(t.Context(), "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET /readyz: status %d: %s", status, body)
		}
		return err
	})
}

// requireNone fails where one of the families has a series.
func requireNone(t *testing.T, m exporter.Metrics, families ...string) {
	t.Helper()
	for _, name := range families {
		if series := m.Family(name); len(series) > 0 {
			t.Errorf("%s must not be there, but has %d series", name, len(series))
		}
	}
}
