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
	// unasked: there is no answer yet, nor a lack of one.
	unasked standing = iota
	// unknown: nobody could be asked, or nobody leads any more.
	unknown
	// standby: another replica leads.
	standby
	// syncing: this replica has the lease, but does not yet know enough to act.
	syncing
	leading
)

// settled tells whether a collector knows what to do. Otherwise it soon will.
func (s standing) settled() bool { return s != unasked && s != syncing }

// Lead is what a leader does until ctx, its term, ends. It calls up once it knows
// enough for collectors to act.
type Lead func(ctx context.Context, up func())

// Election lets one of several replicas lead.
type Election struct {
	lease *lease // nil: there is one replica only
	log   *slog.Logger
	// failing belongs to Run.
	failing bool

	mu       sync.Mutex
	standing standing
	changed  chan struct{} // closed when standing changes
	gates    []*gate
}

// NewElection makes an Election by the Lease of that namespace and name. client is
// that of the group coordination.k8s.io; identity tells the replicas from each other.
func NewElection(client rest.Interface, log *slog.Logger, namespace, name, identity string) *Election {
	return &Election{
		lease: &lease{client: client, namespace: namespace, name: name, identity: identity},
		log:   log, changed: make(chan struct{}),
	}
}

// NewSole makes an Election that this replica always wins.
func NewSole(log *slog.Logger) *Election { return &Election{log: log, changed: make(chan struct{})} }

// Run takes part until ctx ends, then gives the lease back.
func (e *Election) Run(ctx context.Context, lead Lead) {
	if e.lease == nil {
		e.hold(ctx, lead)
		return
	}
	for {
		acquired, ok := e.acquire(ctx)
		if !ok {
			return
		}
		e.term(ctx, acquired, lead)
	}
}

// acquire waits for the lease, and tells since when it counts. It is false where ctx
// ended before.
func (e *Election) acquire(ctx context.Context) (time.Time, bool) {
	tick := time.NewTicker(retryPeriod)
	defer tick.Stop()
	for {
		begun := time.Now()
		holder, err := e.lease.try(ctx)
		switch {
		case ctx.Err() != nil:
			return time.Time{}, false
		case err != nil:
			e.note(err)
			e.become(unknown)
		case holder == e.lease.identity:
			e.note(nil)
			return begun, true
		default:
			e.note(nil)
			e.become(standby)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Time{}, false
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
func (e *Election) term(ctx context.Context, acquired time.Time, lead Lead) {
	term, end := context.WithCancel(ctx)
	var holding sync.WaitGroup
	holding.Go(func() { e.hold(term, lead) })
	e.renew(ctx, acquired)
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
// be renewed for renewDeadline. The others count from when they see it: a time before
// the request is never too late.
func (e *Election) renew(ctx context.Context, renewed time.Time) {
	tick := time.NewTicker(retryPeriod)
	defer tick.Stop()
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
	e.become(syncing)
	lead(term, func() { e.become(leading) })
	<-term.Done()
	e.become(unknown)
}

func (e *Election) become(s standing) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s == e.standing {
		return
	}
	if s == leading || e.standing == leading {
		e.log.Info("leadership", "leading", s == leading)
	}
	e.standing = s
	close(e.changed)
	e.changed = make(chan struct{})
	if !s.settled() {
		return // there is nothing to do yet
	}
	for _, g := range e.gates {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

// Leading tells whether this replica leads now, and knows enough to.
func (e *Election) Leading() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.standing == leading
}

// Gate makes a collector act on the leader only. On other replicas it is not
// applicable. A new leader's waits until the watches are complete. Where nobody
// knows who leads, since the API server does not answer, it fails: what it showed
// last may still be true.
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

// Rest implements collector.Rester, for a collector that does.
func (g *gate) Rest() time.Duration {
	if r, ok := g.Collector.(collector.Rester); ok {
		return r.Rest()
	}
	return 0
}

// Collect implements collector.Collector.
func (g *gate) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	switch s := g.await(ctx); {
	case s == leading, s == unknown && g.leaderless:
		return g.Collector.Collect(ctx)
	case s == standby:
		return nil, fmt.Errorf("this replica does not lead: %w", collector.ErrNotApplicable)
	case s == syncing:
		return nil, fmt.Errorf("this replica leads, but its watches are not complete yet: %w", collector.ErrUnavailable)
	default:
		return nil, fmt.Errorf("who leads: %w", collector.ErrUnavailable)
	}
}

// await returns the standing once it is settled, or as it is when most of the time
// of ctx is over: that nobody has been asked yet, and that a first list takes a
// while, is no failure.
func (g *gate) await(ctx context.Context) standing {
	if deadline, ok := ctx.Deadline(); ok {
		// Whoever gives ctx calls it a timeout when it is over, and not what it is.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*9/10)
		defer cancel()
	}
	for {
		now, changed := g.look()
		if now.settled() {
			return now
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now
		}
	}
}

// look returns the standing, and what is closed when it changes. Whoever looks does
// not have to be woken for what he has seen.
func (g *gate) look() (standing, <-chan struct{}) {
	g.election.mu.Lock()
	defer g.election.mu.Unlock()
	select {
	case <-g.wake:
	default:
	}
	return g.election.standing, g.election.changed
}
