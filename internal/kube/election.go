package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
)

// Timing of the lease, the same as that of the control plane's own components. A
// leader that cannot renew gives up before anyone else can take over: one attempt
// takes renewDeadline/2 at most.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// standing is what a replica knows about the leadership.
type standing int

const (
	// unknown: nobody could be asked, or nobody leads yet.
	unknown standing = iota
	// standby: another replica leads, or this one does not yet know enough to.
	standby
	leading
)

// Lead is what a leader does until ctx, its term, ends. It calls up once it knows
// enough for collectors to act.
type Lead func(ctx context.Context, up func())

// Election lets one of several replicas lead.
type Election struct {
	lease *lease // nil: there is one replica only
	log   *slog.Logger
	// failing belongs to Run.
	failing bool

	// asked is closed once the first answer, or its lack, says what to do.
	asked chan struct{}
	first sync.Once

	mu       sync.Mutex
	standing standing
	gates    []*gate
}

// NewElection makes an Election by the Lease of that namespace and name. client is
// that of the group coordination.k8s.io; identity tells the replicas from each other.
func NewElection(client rest.Interface, log *slog.Logger, namespace, name, identity string) *Election {
	return &Election{
		lease: &lease{client: client, namespace: namespace, name: name, identity: identity},
		log:   log, asked: make(chan struct{}),
	}
}

// NewSole makes an Election that this replica always wins.
func NewSole(log *slog.Logger) *Election { return &Election{log: log, asked: make(chan struct{})} }

// Run takes part until ctx ends, then gives the lease back.
func (e *Election) Run(ctx context.Context, lead Lead) {
	if e.lease == nil {
		e.hold(ctx, lead)
		return
	}
	for e.acquire(ctx) {
		e.term(ctx, lead)
	}
}

// acquire waits for the lease. It is false where ctx ended before.
func (e *Election) acquire(ctx context.Context) bool {
	tick := time.NewTicker(retryPeriod)
	defer tick.Stop()
	for {
		holder, err := e.lease.try(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			e.note(err)
			e.become(unknown)
		case holder == e.lease.identity:
			e.note(nil)
			return true
		default:
			e.note(nil)
			e.become(standby)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// note logs when the lease cannot be read or written any more, and when it can again.
func (e *Election) note(err error) {
	if failing := err != nil; failing != e.failing {
		e.failing = failing
		if failing {
			e.log.Warn("the lease is out of reach", "err", err)
		} else {
			e.log.Info("the lease is within reach again")
		}
	}
}

// term leads for as long as the lease can be renewed.
func (e *Election) term(ctx context.Context, lead Lead) {
	term, end := context.WithCancel(ctx)
	var holding sync.WaitGroup
	holding.Go(func() { e.hold(term, lead) })
	e.renew(ctx)
	end()
	holding.Wait()
	if ctx.Err() == nil {
		return
	}
	if err := e.lease.release(context.WithoutCancel(ctx)); err != nil {
		e.log.Warn("the lease was not given back; another replica waits until it is over", "err", err)
	}
}

// renew renews the lease until ctx ends, or somebody else has it, or it could not
// be renewed for renewDeadline.
func (e *Election) renew(ctx context.Context) {
	tick := time.NewTicker(retryPeriod)
	defer tick.Stop()
	renewed := time.Now()
	for time.Since(renewed) < renewDeadline {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		begun := time.Now()
		holder, err := e.lease.try(ctx)
		switch {
		case err != nil:
			e.note(err)
		case holder == e.lease.identity:
			e.note(nil)
			renewed = begun
		default:
			return
		}
	}
}

// hold leads for one term.
func (e *Election) hold(term context.Context, lead Lead) {
	e.become(standby)
	lead(term, func() { e.become(leading) })
	<-term.Done()
	e.become(unknown)
}

func (e *Election) become(s standing) {
	defer e.first.Do(func() { close(e.asked) })
	e.mu.Lock()
	defer e.mu.Unlock()
	if s == e.standing {
		return
	}
	if s == leading || e.standing == leading {
		e.log.Info("leadership", "leading", s == leading)
	}
	e.standing = s
	for _, g := range e.gates {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

func (e *Election) now() standing {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.standing
}

// Leading tells whether this replica leads now.
func (e *Election) Leading() bool { return e.now() == leading }

// Gate makes a collector act on the leader only. On other replicas it is not
// applicable. Where nobody knows who leads, since the API server does not
// answer, it fails: what it showed last may still be true.
func (e *Election) Gate(c collector.Collector) collector.Collector {
	return e.add(&gate{Collector: c, election: e, wake: make(chan struct{}, 1)})
}

// GateLeaderless is Gate for a collector that also acts where nobody knows who
// leads: it can tell why the API server does not answer.
func (e *Election) GateLeaderless(c collector.Collector) collector.Collector {
	return e.add(&gate{Collector: c, election: e, wake: make(chan struct{}, 1), leaderless: true})
}

func (e *Election) add(g *gate) collector.Collector {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gates = append(e.gates, g)
	return g
}

type gate struct {
	collector.Collector
	election *Election
	wake     chan struct{}
	// leaderless: it acts also where nobody knows who leads.
	leaderless bool
}

// Wake implements collector.Waker: a new leader does not wait for an interval.
func (g *gate) Wake() <-chan struct{} { return g.wake }

// Collect implements collector.Collector.
func (g *gate) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	// That nobody has been asked yet is no failure.
	select {
	case <-g.election.asked:
	case <-ctx.Done():
	}
	switch s := g.election.now(); {
	case s == leading, s == unknown && g.leaderless:
		return g.Collector.Collect(ctx)
	case s == standby:
		return nil, fmt.Errorf("this replica does not lead: %w", collector.ErrNotApplicable)
	default:
		return nil, fmt.Errorf("who leads: %w", collector.ErrUnavailable)
	}
}
