package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxAgeIntervals is how many intervals a snapshot may be shown by default.
const MaxAgeIntervals = 3

// Spec places a Collector in a Set.
type Spec struct {
	// Name is the value of the label collector, and part of the flags.
	Name      string
	Collector Collector

	// Interval between refreshes in the background. Zero: Collect is cheap and
	// local, and runs in every scrape.
	Interval time.Duration
	// Timeout of one Collect call; at most Interval where that is not zero.
	Timeout time.Duration
	// MaxAge is how long a snapshot is shown while no refresh succeeds; zero
	// means three intervals. It has no meaning without an interval.
	MaxAge time.Duration
	// Spread delays the first refresh by a random time up to this, so that the
	// roll-out of a DaemonSet does not hit a shared API at once.
	Spread time.Duration
	// External: it asks something that is neither the machine's nor the cluster's. The
	// exporter is ready without it: else a right that is missing elsewhere, or a way there
	// that is cut, would hold up a roll-out.
	External bool
}

func (s Spec) validate() error {
	switch {
	case s.Name == "":
		return errors.New("a collector has no name")
	case s.Collector == nil:
		return fmt.Errorf("collector %s: nothing to run", s.Name)
	case s.Interval < 0, s.MaxAge < 0, s.Spread < 0:
		return fmt.Errorf("collector %s: a negative duration", s.Name)
	case s.Timeout <= 0:
		return fmt.Errorf("collector %s: the timeout %s is not positive", s.Name, s.Timeout)
	case s.Interval > 0 && s.Timeout > s.Interval:
		return fmt.Errorf("collector %s: the timeout %s is longer than the interval %s", s.Name, s.Timeout, s.Interval)
	}
	return nil
}

// Set runs collectors and exposes their metrics and its own about them. It is a
// prometheus.Collector; Run must be running for background refreshes.
type Set struct {
	runners []*runner
	// turn is held by the gather that reads; overlapping ones wait for it, so
	// that a collector that is busy is one that hangs.
	turn chan struct{}
}

// NewSet checks specs and makes a Set of them.
func NewSet(log *slog.Logger, specs ...Spec) (*Set, error) {
	s := &Set{turn: make(chan struct{}, 1)}
	names := make(map[string]bool)
	for _, spec := range specs {
		if err := spec.validate(); err != nil {
			return nil, err
		}
		if names[spec.Name] {
			return nil, fmt.Errorf("two collectors are named %s", spec.Name)
		}
		names[spec.Name] = true
		s.runners = append(s.runners, newRunner(spec, log, rand.Float64))
	}
	return s, nil
}

// Run refreshes, follows and warms up until ctx ends. It returns when all of
// that has stopped; only a Collect call that ignores its context is left behind.
func (s *Set) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, r := range s.runners {
		if f, ok := r.spec.Collector.(Follower); ok {
			wg.Go(func() { r.follow(ctx, f) })
		}
		if !r.inScrape() {
			wg.Go(func() { r.loop(ctx) })
		}
	}
	wg.Go(func() { s.warmUp(ctx) })
	wg.Wait()
}

// warmUp runs the collectors that read in the scrape until each has succeeded
// once, so that readiness does not wait for the first scrape.
func (s *Set) warmUp(ctx context.Context) {
	for attempt := 1; ; attempt++ {
		var cold []*runner
		for _, r := range s.runners {
			if r.inScrape() && !r.snapshot().ready {
				cold = append(cold, r)
			}
		}
		if len(cold) == 0 {
			return
		}
		s.read(ctx, cold)
		if !sleep(ctx, backOff(attempt, firstWarmUp, maxRetry)) {
			return
		}
	}
}

// read runs the given in-scrape collectors side by side.
func (s *Set) read(ctx context.Context, runners []*runner) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	var wg sync.WaitGroup
	for _, r := range runners {
		wg.Go(func() { r.refresh(ctx) })
	}
	wg.Wait()
}

// Pending is a collector that has neither succeeded nor found that it is not
// applicable since the start.
type Pending struct {
	Name string
	// Err is why its last refresh failed; nil where none has ended.
	Err error
}

// Pending lists the collectors for which the exporter is not ready yet.
func (s *Set) Pending() []Pending {
	var p []Pending
	for _, r := range s.runners {
		if state := r.snapshot(); !state.ready && !r.spec.External {
			p = append(p, Pending{r.spec.Name, state.lastErr})
		}
	}
	return p
}

// Families lists the families of all collectors and of the Set itself. Several
// collectors may share a family; it is listed once.
func (s *Set) Families() []*Family {
	families := selfFamilies()
	for _, r := range s.runners {
		for _, f := range r.spec.Collector.Families() {
			if !slices.Contains(families, f) {
				families = append(families, f)
			}
		}
	}
	return families
}

// Describe implements prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range s.Families() {
		f.Describe(ch)
	}
}

// Collect implements prometheus.Collector. It waits for the collectors that
// read in the scrape, each at most for its timeout, and for nothing else.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	var local []*runner
	for _, r := range s.runners {
		if r.inScrape() {
			local = append(local, r)
		}
	}
	// A gather has no context to pass on; the timeouts bound it.
	s.read(context.Background(), local)
	for _, r := range s.runners {
		state := r.snapshot()
		for _, m := range state.metrics {
			ch <- m
		}
		for _, m := range selfMetrics(r.spec.Name, state) {
			ch <- m
		}
	}
}
