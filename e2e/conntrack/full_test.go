//go:build e2e

package conntrack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

var tableFullKey = exporter.Key("ack_kernel_log_events_total", "event", "conntrack_table_full")

// TestTableFull sends more flows than the table holds.
func TestTableFull(t *testing.T) {
	w := trackingWorld(t)
	// The limit is one number for all network namespaces, each of which is held
	// against it by itself: the machine's own flows must not suffer.
	limit := 500 + 2*machineEntries(t)
	world.SetMachineSysctl(t, "net/netfilter/nf_conntrack_max", strconv.Itoa(limit))
	p := exporter.Start(t, w, exporter.Config{Args: tableFlags("2s", "250000")})
	log := openKernelLog(t)
	before := p.Await(t, patience, func(m exporter.Metrics) error {
		return errors.Join(
			m.Expect(1, "ack_exporter_collector_success", "collector", "conntrack"),
			m.Expect(1, "ack_exporter_collector_success", "collector", "kmsg"))
	})
	exporter.RequireSame(t, counterMetrics(before), counters(t, w))

	// The kernel logs only so many lines in five seconds, of all kinds together;
	// what came before may have used them up. So this goes on until there is one.
	sender := newChurn(t, w)
	lines := 0
	world.Eventually(t, patience, func() error {
		if err := sender.send(2 * limit); err != nil {
			return err
		}
		lines += log.tableFull()
		if lines == 0 {
			return errors.New("the kernel has not logged that the table is full")
		}
		return nil
	})
	if sender.refused == 0 {
		t.Fatal("the kernel refused no packet: the table is not full")
	}

	wantCounters, wantUsage := counters(t, w), usage(t, w)
	after := p.Await(t, patience, func(m exporter.Metrics) error {
		lines += log.tableFull()
		return m.Expect(before[tableFullKey]+float64(lines), "ack_kernel_log_events_total", "event", "conntrack_table_full")
	})
	exporter.RequireSame(t, counterMetrics(after), wantCounters)
	exporter.RequireSame(t, usageMetrics(after), wantUsage)
	if got := after.Value(t, "ack_conntrack_entries_limit"); got != float64(limit) {
		t.Errorf("the limit is %v, not %d", got, limit)
	}
	if got := after.Value(t, "ack_conntrack_entries"); got < 0.98*float64(limit) || got > float64(limit) {
		t.Errorf("%v entries do not reach the limit of %d", got, limit)
	}
	// Each refused packet is a drop; evictions come on top.
	dropped := after.Value(t, "ack_conntrack_drops_total") - before.Value(t, "ack_conntrack_drops_total")
	if dropped != float64(sender.refused) {
		t.Errorf("drops rose by %v, but %d packets were refused", dropped, sender.refused)
	}
	lost := dropped + after.Value(t, "ack_conntrack_early_drops_total") - before.Value(t, "ack_conntrack_early_drops_total")
	if want := float64(sender.sent - limit); lost < want {
		t.Errorf("drops and early drops rose by %v for %d flows in a table of %d", lost, sender.sent, limit)
	}
	t.Logf("%d flows, %v drops, %v lines in the kernel log", sender.sent, dropped, lines)
}

// TestCrowdedHash brings about what the kernel does not log: flows that are lost
// because a chain of the hash table is too long.
func TestCrowdedHash(t *testing.T) {
	const flows = 60_000
	w := trackingWorld(t)
	world.SetMachineSysctl(t, "net/netfilter/nf_conntrack_max", strconv.Itoa(2*flows+machineEntries(t)))
	world.SetMachineSysctl(t, "net/netfilter/nf_conntrack_buckets", "1024")
	p := exporter.Start(t, w, exporter.Config{Args: tableFlags("2s", "250000")})
	sender := newChurn(t, w)
	if err := sender.send(flows); err != nil {
		t.Fatal(err)
	}
	wantCounters, wantUsage := counters(t, w), usage(t, w)
	m := p.AwaitSuccess(t, patience, "conntrack_table")
	exporter.RequireSame(t, counterMetrics(m), wantCounters)
	exporter.RequireSame(t, usageMetrics(m), wantUsage)
	for _, name := range []string{"ack_conntrack_chain_too_long_total", "ack_conntrack_insert_failed_total"} {
		if got := m.Value(t, name); got == 0 || got != float64(sender.refused) {
			t.Errorf("%s is %v after %d packets were refused", name, got, sender.refused)
		}
	}
	if got := m.Value(t, "ack_conntrack_buckets"); got != 1024 {
		t.Errorf("%v buckets instead of 1024", got)
	}
	t.Logf("%d of %d flows refused", sender.refused, flows)
}

// machineEntries is how many entries the tests' own network namespace has.
func machineEntries(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// churn sends single datagrams to ever new addresses: each is a new flow.
type churn struct {
	conn          *net.UDPConn
	sent, refused int
}

func newChurn(t *testing.T, w *world.World) *churn {
	t.Helper()
	c := &churn{}
	err := w.Net(func() (err error) {
		c.conn, err = net.ListenUDP("udp4", nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close() })
	return c
}

// send opens n flows. The kernel refuses packets of flows that it cannot track.
func (c *churn) send(n int) error {
	for range n {
		c.sent++
		// 127.77.0.0/16, whose packets the ruleset drops after tracking.
		to := &net.UDPAddr{IP: net.IPv4(127, 77, byte(c.sent>>8), byte(c.sent)), Port: 1000 + c.sent>>16}
		_, err := c.conn.WriteTo([]byte("?"), to)
		switch {
		case errors.Is(err, unix.EPERM):
			c.refused++
		case err != nil:
			return err
		}
	}
	return nil
}

// kernelLog is a reader of what the kernel logs from now on.
type kernelLog struct {
	t  *testing.T
	fd int
}

func openKernelLog(t *testing.T) *kernelLog {
	t.Helper()
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	world.Require(t, err == nil, fmt.Sprintf("the kernel log cannot be read: %v", err))
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		t.Fatalf("go to the end of the kernel log: %v", err)
	}
	return &kernelLog{t, fd}
}

// tableFull counts the lines about full tables since the last call.
func (l *kernelLog) tableFull() int {
	l.t.Helper()
	buf := make([]byte, 8192) // each read returns one line
	for lines := 0; ; {
		n, err := unix.Read(l.fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			return lines
		}
		if err != nil {
			l.t.Fatalf("read the kernel log: %v", err)
		}
		if bytes.Contains(buf[:n], []byte("nf_conntrack: table full")) {
			lines++
		}
	}
}
