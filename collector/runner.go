package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// A failed refresh is tried again after firstRetry, then after twice as
	// long each time, never later than the interval: the first refresh that
	// can succeed is at most one interval away.
	firstRetry = time.Second
	// firstWarmUp takes the place of firstRetry until an in-scrape collector has
	// succeeded once: readiness should not wait for long.
	firstWarmUp = 100 * time.Millisecond
	// maxRetry caps these pauses where there is no interval.
	maxRetry = time.Minute
	// stopGrace is how long a stop waits for a refresh that is under way.
	stopGrace = time.Second
	// jitter is the share by which a pause is shortened or lengthened, so that
	// the exporters of a cluster do not act in step.
	jitter = 0.1
)

var errStillRunning = fmt.Errorf("the previous refresh is still running: %w", context.DeadlineExceeded)

// runner runs one Collector and keeps what is known about it.
type runner struct {
	spec   Spec
	log    *slog.Logger
	random func() float64

	// busy holds one token while a Collect call is under way, also one that
	// nobody waits for any more.
	busy chan struct{}

	mu    sync.Mutex
	state state
}

// state is what a scrape shows. The metrics slice is never written to once it
// is here.
type state struct {
	metrics []prometheus.Metric
	taken   time.Time // when metrics became complete

	ran         bool // a refresh has ended
	ready       bool // a refresh has succeeded, or found nothing to do
	success     bool
	applicable  bool
	lastErr     error
	lastSuccess time.Time
	duration    time.Duration
	pause       time.Duration // the pause in force before jitter
	errors      map[Reason]float64

	following bool
	followErr error
}

type outcome struct {
	metrics  []prometheus.Metric
	err      error
	duration time.Duration
}

func newRunner(spec Spec, log *slog.Logger, random func() float64) *runner {
	r := &runner{
		spec:   spec,
		log:    log.With("collector", spec.Name),
		random: random,
		busy:   make(chan struct{}, 1),
		state: state{
			applicable: true,
			pause:      spec.Interval,
			errors:     make(map[Reason]float64),
		},
	}
	for _, reason := range Reasons() {
		r.state.errors[reason] = 0
	}
	return r
}

func (r *runner) inScrape() bool { return r.spec.Interval == 0 }

// loop refreshes in the background until ctx ends.
func (r *runner) loop(ctx context.Context) {
	timer := time.NewTimer(time.Duration(r.random() * float64(r.spec.Spread)))
	defer timer.Stop()
	var wake <-chan struct{}
	if waker, ok := r.spec.Collector.(Waker); ok {
		wake = waker.Wake()
	}
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		if r.refresh(ctx) {
			failures = 0
		} else {
			failures++
		}
		timer.Reset(r.pauseAfter(failures))
	}
}

// pauseAfter is the pause before the next refresh when this many refreshes in
// a row have failed. Jitter never cuts the rest that a collector asks for.
func (r *runner) pauseAfter(failures int) time.Duration {
	interval := r.spec.Interval
	rest := time.Duration(0)
	if rester, ok := r.spec.Collector.(Rester); ok {
		rest = rester.Rest()
	}
	r.mu.Lock()
	r.state.pause = max(interval, rest)
	r.mu.Unlock()

	pause := interval
	if failures > 0 {
		pause = backOff(failures, firstRetry, interval)
	}
	return max(r.jittered(max(pause, rest)), rest)
}

// backOff is first after one failure, doubled with every further one up to limit.
func backOff(failures int, first, limit time.Duration) time.Duration {
	d := first
	for i := 1; i < failures && d < limit; i++ {
		d *= 2
	}
	return min(d, limit)
}

func (r *runner) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + jitter*(2*r.random()-1)))
}

// refresh runs Collect once, bounded by the timeout, and records the outcome.
// It reports whether the collector is well: it succeeded, or has nothing to do.
func (r *runner) refresh(ctx context.Context) bool {
	if r.isFollower() {
		following, err := r.followState()
		if err != nil {
			return r.record(outcome{err: err})
		}
		if !following {
			return false // has not begun to listen: neither a success nor a failure
		}
	}
	select {
	case r.busy <- struct{}{}:
	default:
		return r.record(outcome{err: errStillRunning})
	}

	runCtx, cancel := context.WithTimeout(ctx, r.spec.Timeout)
	defer cancel()
	start := time.Now()
	done := make(chan outcome, 1)
	go func() {
		var metrics []prometheus.Metric
		err := contain(func() (err error) {
			metrics, err = r.spec.Collector.Collect(runCtx)
			return err
		})
		// Whoever gets the outcome may begin the next refresh at once.
		<-r.busy
		done <- outcome{metrics, err, time.Since(start)}
	}()

	select {
	case o := <-done:
		return r.finish(ctx, o)
	case <-runCtx.Done():
	}
	if ctx.Err() != nil {
		r.awaitStop(done)
		return false
	}
	return r.record(outcome{
		err:      fmt.Errorf("no result after %s: %w", r.spec.Timeout, context.DeadlineExceeded),
		duration: time.Since(start),
	})
}

// finish records o, unless it only fails because the exporter is stopping.
func (r *runner) finish(ctx context.Context, o outcome) bool {
	if o.err != nil && ctx.Err() != nil {
		return false
	}
	return r.record(o)
}

// awaitStop gives a Collect call that was told to stop a moment to do so. One
// that hangs is left behind; the process is about to end.
func (r *runner) awaitStop(done <-chan outcome) {
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		r.log.Warn("collector does not stop; leaving it behind")
	}
}

func (r *runner) record(o outcome) bool {
	now := time.Now()
	r.mu.Lock()
	before := r.state
	s := &r.state
	s.ran = true
	s.duration = o.duration
	s.lastErr = o.err
	notApplicable := errors.Is(o.err, ErrNotApplicable)
	// A failure is never hidden behind a subject that was not there before.
	s.applicable = !notApplicable
	switch {
	case o.err == nil || notApplicable:
		s.success, s.ready = true, true
		s.lastSuccess = now
		s.metrics, s.taken = o.metrics, now
		if notApplicable {
			s.metrics = nil
		}
	default:
		s.success = false
		s.errors[ReasonOf(o.err)]++
		if len(o.metrics) > 0 {
			s.metrics, s.taken = o.metrics, now
		} else if r.inScrape() {
			s.metrics = nil
		}
	}
	after := r.state
	r.mu.Unlock()

	r.logChange(before, after)
	return after.success
}

// logChange writes a line where the collector begins to fail, recovers, or
// finds that its subject came or went; refreshes like the last are silent.
func (r *runner) logChange(before, after state) {
	wasFailing := before.ran && !before.success
	switch {
	case !after.success && !wasFailing:
		r.log.Warn("collector fails", "reason", string(ReasonOf(after.lastErr)), "err", after.lastErr)
	case !after.success:
		r.log.Debug("collector still fails", "reason", string(ReasonOf(after.lastErr)), "err", after.lastErr)
	case wasFailing:
		r.log.Info("collector recovered")
	}
	switch {
	case before.applicable && !after.applicable:
		r.log.Info("collector is not applicable", "why", after.lastErr)
	case !before.applicable && after.applicable:
		r.log.Info("collector is applicable now")
	}
}

func (r *runner) isFollower() bool {
	_, ok := r.spec.Collector.(Follower)
	return ok
}

func (r *runner) followState() (following bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.following, r.state.followErr
}

// follow keeps a Follower listening until ctx ends.
func (r *runner) follow(ctx context.Context, f Follower) {
	for failures := 0; ctx.Err() == nil; {
		up := func() {
			failures = 0
			r.setFollow(true, nil)
		}
		err := contain(func() error { return f.Follow(ctx, up) })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = fmt.Errorf("listening ended: %w", ErrUnavailable)
		}
		r.setFollow(false, err)
		failures++
		if !sleep(ctx, r.jittered(backOff(failures, firstRetry, maxRetry))) {
			return
		}
	}
}

func (r *runner) setFollow(following bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.following, r.state.followErr = following, err
}

// snapshot is the state now, without metrics that are too old to be told.
func (r *runner) snapshot() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	if !r.inScrape() && time.Since(s.taken) > r.maxAge(s.pause) {
		s.metrics = nil
	}
	s.errors = maps.Clone(r.state.errors)
	return s
}

func (r *runner) maxAge(pause time.Duration) time.Duration {
	if r.spec.MaxAge > 0 {
		return r.spec.MaxAge
	}
	return MaxAgeIntervals * pause
}

// contain turns a panic into an error that carries the stack.
func contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// sleep waits for d; it reports false where ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
