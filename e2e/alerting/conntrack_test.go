//go:build e2e

package alerting

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/flows"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/sandbox"
	"ack-exporter/e2e/internal/world"
)

// TestConntrack fills tables. The limit is one number for the whole machine, so
// that its parts share it.
func TestConntrack(t *testing.T) {
	t.Parallel()
	limit := lowerLimit(t)
	t.Run("NearlyFull", func(t *testing.T) { testNearlyFull(t, limit) })
	t.Run("Full", func(t *testing.T) { testFull(t, limit) })
	t.Run("FillingUp", func(t *testing.T) { testFillingUp(t, limit) })
}

// lowerLimit lets few flows fill a table. Each network namespace is held against
// the limit by itself: the machine's own flows must not suffer.
func lowerLimit(t *testing.T) int {
	t.Helper()
	entries, err := sandbox.ReadSysctl("net/netfilter/nf_conntrack_count")
	world.Require(t, err == nil, fmt.Sprintf("this kernel does not track connections: %v", err))
	n, err := strconv.Atoi(entries)
	if err != nil {
		t.Fatal(err)
	}
	limit := 4000 + 1000*(n/250)
	world.SetMachineSysctl(t, "net/netfilter/nf_conntrack_max", strconv.Itoa(limit))
	return limit
}

// newSender opens flows in a world.
func newSender(t *testing.T, w *world.World) *flows.Sender {
	t.Helper()
	sender, err := flows.NewSender(t.Context(), w.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sender.Close() })
	return sender
}

func open(t *testing.T, sender *flows.Sender, n int) {
	t.Helper()
	if err := sender.Open(n); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, sender *flows.Sender) {
	t.Helper()
	if err := sender.Flush(); err != nil {
		t.Fatal(err)
	}
}

// nearlyFull is the alert at some percent of the limit. The last flows may not be
// there yet, or not any more, when Prometheus looks.
func nearlyFull(severity string, percent int) monitoringtest.Alert {
	return monitoringtest.Alert{
		Name: "ACKConntrackTableNearlyFull", Severity: severity, Node: firstNode,
		Description: fmt.Sprintf(`Node node-a uses (%d|%d\.\d+)%% of its connection tracking table\. Most of its entries, \S+k, are %s\.`,
			percent, percent-1, flows.Class),
	}
}

// Both steps of the alert have one name. The first comes before the second; where
// the second fires there is no need for the first.
func testNearlyFull(t *testing.T, limit int) {
	t.Parallel()
	w, _, s := oneNode(t, `{ alerts+: { ACKConntrackTableNearlyFull+: { critical+: { 'for': '4s' }, warning+: { 'for': '5s' } } } }`)
	sender := newSender(t, w)
	warning, critical := nearlyFull(monitoringtest.Warning, 85), nearlyFull(monitoringtest.Critical, 95)

	open(t, sender, limit*85/100)
	s.Fires(warning)
	open(t, sender, limit*10/100)
	s.Fires(critical)
	s.AwaitSuppressed(warning)
	s.RequireSilence()
	flush(t, sender)
	s.Resolves(warning, critical)

	// At once to the second step: nobody hears of the first.
	open(t, sender, limit*95/100)
	s.Fires(critical)
	s.AwaitSuppressed(warning)
	flush(t, sender)
	s.Resolves(critical)
	s.Done()
}

// A full table drops packets. It makes the kernel write to its log, which this
// exporter reads too.
func testFull(t *testing.T, limit int) {
	t.Parallel()
	w := healthyNode(t)
	ready(t, w, exporter.Config{})
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config: `{ alerts+: {
			ACKConntrackDropping: { warning: { window: '10s', 'for': '5s' }, critical: { window: '5s', 'for': '12s' } },
			ACKConntrackTableNearlyFull: {},
		} }`,
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
	})
	dropping := func(severity, window string) monitoringtest.Alert {
		return monitoringtest.Alert{
			Name: "ACKConntrackDropping", Severity: severity, Node: firstNode,
			Description: fmt.Sprintf(`Node node-a lost connections within the last %s because .* was full\. (Most of its entries, \S+, are %s|What fills it is not known: .*)\.`, window, flows.Class),
		}
	}
	warning, critical := dropping(monitoringtest.Warning, "10s"), dropping(monitoringtest.Critical, "5s")

	sender := newSender(t, w)
	open(t, sender, 2*limit)
	if sender.Refused == 0 {
		t.Fatal("the kernel refused no packet: the table is not full")
	}
	stop := repeat(t, func() error { return sender.Open(100) })
	s.Fires(warning)
	s.Fires(critical)
	stop()
	flush(t, sender)
	s.Resolves(warning, critical)
	s.Done()
}

// A table that will be full soon is told of while it is not.
func testFillingUp(t *testing.T, limit int) {
	t.Parallel()
	w := healthyNode(t)
	sender := newSender(t, w)
	open(t, sender, limit*55/100)
	ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config: `{ alerts+: { ACKConntrackTableFillingUp+: {
			warning+: { window: '15s', shortWindow: '5s', horizon: '60s', 'for': '3s' },
		} } }`,
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
	})
	fillingUp := monitoringtest.Alert{
		Name: "ACKConntrackTableFillingUp", Severity: monitoringtest.Warning, Node: firstNode,
		Description: `Node node-a uses [67]\d\S*% of its connection tracking table, and all of it within 60s if it goes on like this\. Most of its entries, \S+k, are ` + flows.Class + `\.`,
	}
	stop := repeat(t, func() error { return sender.Open(limit / 1000) })
	s.Fires(fillingUp)
	stop()
	s.Resolves(fillingUp)
	s.Done()
}

// repeat runs f ten times a second until the test calls stop, or ends.
func repeat(t *testing.T, f func() error) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				ended <- nil
				return
			}
			if err := f(); err != nil {
				ended <- err
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		close(done)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}
