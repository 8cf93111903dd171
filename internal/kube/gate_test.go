package kube

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

// counted is a collector that succeeds, and counts how often.
type counted struct{ calls atomic.Int64 }

func (*counted) Families() []*collector.Family { return nil }

func (c *counted) Collect(context.Context) ([]prometheus.Metric, error) {
	c.calls.Add(1)
	return nil, nil
}

const gateInterval = 15 * time.Second

// gated is a set with one collector behind the gate of a sole replica, whose first
// lists are complete when up is called.
type gated struct {
	*Election
	inner counted
	set   *collector.Set
	up    func()
}

// startGated starts all that. It is stopped when the test ends.
func startGated(t *testing.T) (g *gated, stop func()) {
	t.Helper()
	g = &gated{Election: NewSole(quiet)}
	set, err := collector.NewSet(quiet, collector.Spec{
		Name: "gated", Collector: g.Gate(&g.inner), Interval: gateInterval, Timeout: gateInterval,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.set = set
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { set.Run(ctx) })
	running.Go(func() {
		g.Run(ctx, func(term context.Context, up func()) {
			g.up = up
			<-term.Done()
		})
	})
	synctest.Wait()
	return g, func() {
		cancel()
		running.Wait()
	}
}

// requireShows fails where the set does not expose these lines about its collector.
func (g *gated) requireShows(t *testing.T, want ...string) {
	t.Helper()
	exposed := collectortest.Exposition(t, g.set)
	for _, line := range want {
		if !strings.Contains(exposed, "ack_exporter_collector_"+line+"\n") {
			t.Errorf("%s is missing from\n%s", line, exposed)
		}
	}
}

const (
	succeeded   = `success{collector="gated"} 1`
	notYet      = `success{collector="gated"} 0`
	applicable  = `applicable{collector="gated"} 1`
	noSubject   = `applicable{collector="gated"} 0`
	noFailure   = `errors_total{collector="gated",reason="unavailable"} 0`
	oneFailure  = `errors_total{collector="gated",reason="unavailable"} 1`
	noTimeout   = `errors_total{collector="gated",reason="timeout"} 0`
	noTimeTaken = `last_success_timestamp_seconds{collector="gated"} 0`
)

func elapse(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a synctest bubble nobody waits
}

// TestFirstListsAreNoFailure: while a new leader lists for the first time nothing has
// failed, and nothing is ready.
func TestFirstListsAreNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, stop := startGated(t)
		defer stop()
		elapse(13 * time.Second)
		g.requireShows(t, notYet, applicable, noFailure, noTimeout, noTimeTaken)
		if pending := g.set.Pending(); len(pending) != 1 || pending[0].Err != nil {
			t.Errorf("pending: %v", pending)
		}
		if g.Leading() || g.inner.calls.Load() != 0 {
			t.Error("it acts before its watches are complete")
		}

		g.up()
		synctest.Wait()
		g.requireShows(t, succeeded, applicable, noFailure, noTimeout)
		if pending := g.set.Pending(); len(pending) != 0 || !g.Leading() {
			t.Errorf("pending: %v, leads: %v", pending, g.Leading())
		}
		elapse(gateInterval / 2)
		if n := g.inner.calls.Load(); n != 1 {
			t.Errorf("%d refreshes for one change", n)
		}
	})
}

// TestFirstListsThatTakeLong are told for what they are, before the time of the
// refresh is over; and once they are complete nobody waits.
func TestFirstListsThatTakeLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, stop := startGated(t)
		defer stop()
		elapse(14 * time.Second)
		g.requireShows(t, notYet, applicable, oneFailure, noTimeout)
		if pending := g.set.Pending(); len(pending) != 1 || !strings.Contains(errorText(pending[0].Err), "not complete yet") {
			t.Errorf("pending: %v", pending)
		}
		elapse(2 * time.Second) // the next attempt waits too
		g.up()
		synctest.Wait()
		g.requireShows(t, succeeded, applicable, oneFailure, noTimeout)
	})
}

// TestStandbyThatLeadsRefreshesOnceItCan: until then, what it said holds.
func TestStandbyThatLeadsRefreshesOnceItCan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, stop := startGated(t)
		defer stop()
		g.become(standby)
		synctest.Wait()
		g.requireShows(t, succeeded, noSubject)
		g.become(syncing)
		elapse(gateInterval * 3 / 2) // past the next refresh, which waits
		g.requireShows(t, succeeded, noSubject, noFailure, noTimeout)
		g.up()
		synctest.Wait()
		g.requireShows(t, succeeded, applicable, noFailure, noTimeout)
	})
}

// TestTermThatEndsBeforeItsFirstLists: nobody goes on waiting for them.
func TestTermThatEndsBeforeItsFirstLists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, stop := startGated(t)
		defer stop()
		g.become(unknown)
		synctest.Wait()
		g.requireShows(t, notYet, applicable, oneFailure)
		if pending := g.set.Pending(); len(pending) != 1 || !strings.Contains(errorText(pending[0].Err), "who leads") {
			t.Errorf("pending: %v", pending)
		}
	})
}
