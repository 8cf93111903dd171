package kube

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/server/servertest"
)

var quiet = slog.New(slog.DiscardHandler)

// always is a collector that succeeds.
type always struct{}

func (always) Families() []*collector.Family { return nil }

func (always) Collect(context.Context) ([]prometheus.Metric, error) { return nil, nil }

// replica is one that takes part in an election until stop.
type replica struct {
	*Election
	gate collector.Collector
	stop func()
}

func start(t *testing.T, e *Election) *replica {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &replica{Election: e, gate: e.Gate(always{})}
	var running sync.WaitGroup
	running.Go(func() {
		e.Run(ctx, func(term context.Context, up func()) {
			up()
			<-term.Done()
		})
	})
	r.stop = func() {
		cancel()
		running.Wait()
	}
	return r
}

func (r *replica) err(t *testing.T) error {
	t.Helper()
	_, err := r.gate.Collect(t.Context())
	return err
}

func (r *replica) await(t *testing.T, want error) {
	t.Helper()
	servertest.Await(t, func() bool { return errors.Is(r.err(t), want) || want == nil && r.err(t) == nil },
		func() string { return "the gate does not say: " + errorText(want) })
}

func errorText(err error) string {
	if err == nil {
		return "go on"
	}
	return err.Error()
}

func TestOneReplicaLeadsAndAnotherFollows(t *testing.T) {
	t.Parallel()
	_, client := leaseClient(t)
	first := start(t, NewElection(client, quiet, "monitoring", "ack-exporter", "first"))
	first.await(t, nil)
	second := start(t, NewElection(client, quiet, "monitoring", "ack-exporter", "second"))
	second.await(t, collector.ErrNotApplicable)
	if !first.Leading() || second.Leading() {
		t.Errorf("first leads: %v, second leads: %v", first.Leading(), second.Leading())
	}

	// A leader that stops gives the lease back: nobody waits until it is over.
	before := time.Now()
	first.stop()
	if err := first.err(t); !errors.Is(err, collector.ErrUnavailable) {
		t.Errorf("the gate of a replica that has stopped says %v", err)
	}
	second.await(t, nil)
	if took := time.Since(before); took > leaseDuration {
		t.Errorf("the change took %s", took)
	}
	second.stop()
}

func TestSoleReplicaLeadsAtOnce(t *testing.T) {
	t.Parallel()
	sole := start(t, NewSole(quiet))
	sole.await(t, nil)
	sole.stop()
	sole.await(t, collector.ErrUnavailable)
}

// TestGateWaitsForTheFirstAnswer: a replica that has just started has not failed.
func TestGateWaitsForTheFirstAnswer(t *testing.T) {
	t.Parallel()
	_, client := leaseClient(t)
	e := NewElection(client, quiet, "monitoring", "ack-exporter", "only")
	early := e.Gate(always{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := early.Collect(ended); !errors.Is(err, collector.ErrUnavailable) {
		t.Errorf("before anyone was asked: %v", err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := early.Collect(t.Context())
		first <- err
	}()
	defer start(t, e).stop()
	if err := <-first; errors.Is(err, collector.ErrUnavailable) {
		t.Errorf("the first refresh fails: %v", err)
	}
}

// TestGateLeaderless: it acts on the leader, and where nobody knows who leads.
func TestGateLeaderless(t *testing.T) {
	t.Parallel()
	_, client := leaseClient(t)
	gated := func(e *Election) func() error {
		gate := e.GateLeaderless(always{})
		return func() error {
			_, err := gate.Collect(t.Context())
			return err
		}
	}
	elected := NewElection(client, quiet, "monitoring", "ack-exporter", "first")
	act := gated(elected)
	first := start(t, elected)
	first.await(t, nil)
	if err := act(); err != nil {
		t.Errorf("the leader: %v", err)
	}
	other := NewElection(client, quiet, "monitoring", "ack-exporter", "second")
	follow := gated(other)
	second := start(t, other)
	second.await(t, collector.ErrNotApplicable)
	if err := follow(); !errors.Is(err, collector.ErrNotApplicable) {
		t.Errorf("another replica: %v", err)
	}
	second.stop()
	first.stop()
	first.await(t, collector.ErrUnavailable)
	if err := act(); err != nil {
		t.Errorf("where nobody leads: %v", err)
	}
}

func TestGateWakesItsCollector(t *testing.T) {
	t.Parallel()
	e := NewSole(quiet)
	r := start(t, e)
	defer r.stop()
	select {
	case <-r.gate.(collector.Waker).Wake():
	case <-time.After(time.Minute):
		t.Error("a new leader does not refresh")
	}
}

// TestLeaderWithoutAnAPIServerGivesUp before anyone else could take over, and goes
// on when it is back.
func TestLeaderWithoutAnAPIServerGivesUp(t *testing.T) {
	t.Parallel()
	api, client := leaseClient(t)
	r := start(t, NewElection(client, quiet, "monitoring", "ack-exporter", "only"))
	defer r.stop()
	r.await(t, nil)
	api.setDown(true)
	before := time.Now()
	r.await(t, collector.ErrUnavailable)
	if took := time.Since(before); took > leaseDuration {
		t.Errorf("it led for %s without renewing", took)
	}
	api.setDown(false)
	r.await(t, nil)
}

// TestSlowAcquisitionCounts: what an answer took is not added to the term.
func TestSlowAcquisitionCounts(t *testing.T) {
	t.Parallel()
	api, client := leaseClient(t)
	e := NewElection(client, quiet, "monitoring", "ack-exporter", "only")
	api.setDown(true)
	acquired := time.Now().Add(-renewDeadline + retryPeriod + retryPeriod/2)
	e.renew(t.Context(), acquired)
	if held := time.Since(acquired); held < renewDeadline || held > leaseDuration {
		t.Errorf("it holds on for %s", held)
	}
}
