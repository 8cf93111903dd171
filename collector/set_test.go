package collector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

var familyValue = collector.NewGauge("ack_test_value", "A value.", "part")

// fake is a Collector whose every call is made by the test.
type fake struct {
	calls   atomic.Int64
	collect func(ctx context.Context, call int64) ([]prometheus.Metric, error)
}

func (*fake) Families() []*collector.Family { return []*collector.Family{familyValue} }

func (f *fake) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	return f.collect(ctx, f.calls.Add(1))
}

// value makes the metric that carries v.
func value(v float64) []prometheus.Metric {
	return []prometheus.Metric{familyValue.Metric(v, "whole")}
}

// brokenAfterTheFirst succeeds once, with v.
func brokenAfterTheFirst(v float64) *fake {
	return &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
		if call == 1 {
			return value(v), nil
		}
		return nil, errors.New("broken")
	}}
}

func newSet(t *testing.T, specs ...collector.Spec) *collector.Set {
	t.Helper()
	set, err := collector.NewSet(slog.New(slog.DiscardHandler), specs...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// running runs set until the returned stop is called or the test ends.
func running(t *testing.T, set *collector.Set) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		set.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// sample finds the value of one series in what set exposes, and whether it is there.
func sample(t *testing.T, set *collector.Set, series string) (string, bool) {
	t.Helper()
	for line := range strings.Lines(collectortest.Exposition(t, set)) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

func expect(t *testing.T, set *collector.Set, want map[string]string) {
	t.Helper()
	for series, v := range want {
		got, ok := sample(t, set, series)
		if !ok {
			got = "absent"
		}
		if got != v {
			t.Errorf("%s is %s, want %s", series, got, v)
		}
	}
}

// elapse lets time pass, which is fake in the tests that call it.
func elapse(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a synctest bubble nobody waits
}

const (
	seriesValue       = `ack_test_value{part="whole"}`
	seriesSuccess     = `ack_exporter_collector_success{collector="fake"}`
	seriesApplicable  = `ack_exporter_collector_applicable{collector="fake"}`
	seriesLastSuccess = `ack_exporter_collector_last_success_timestamp_seconds{collector="fake"}`
	seriesInterval    = `ack_exporter_collector_refresh_interval_seconds{collector="fake"}`
)

func errorsOf(reason string) string {
	return fmt.Sprintf(`ack_exporter_collector_errors_total{collector="fake",reason=%q}`, reason)
}

func background(c collector.Collector) collector.Spec {
	return collector.Spec{Name: "fake", Collector: c, Interval: time.Minute, Timeout: 10 * time.Second}
}

func inScrape(c collector.Collector) collector.Spec {
	return collector.Spec{Name: "fake", Collector: c, Timeout: 2 * time.Second}
}

func TestExpositionBeforeTheFirstRefresh(t *testing.T) {
	t.Parallel()
	set := newSet(t, background(&fake{}))
	want := `# HELP ack_exporter_collector_applicable Whether the subject of the collector exists here. 0 is not a failure: the collector has nothing to report.
# TYPE ack_exporter_collector_applicable gauge
ack_exporter_collector_applicable{collector="fake"} 1
# HELP ack_exporter_collector_duration_seconds How long the last refresh took.
# TYPE ack_exporter_collector_duration_seconds gauge
ack_exporter_collector_duration_seconds{collector="fake"} 0
# HELP ack_exporter_collector_errors_total Refreshes that failed, or succeeded in part only, by reason.
# TYPE ack_exporter_collector_errors_total counter
ack_exporter_collector_errors_total{collector="fake",reason="decode"} 0
ack_exporter_collector_errors_total{collector="fake",reason="forbidden"} 0
ack_exporter_collector_errors_total{collector="fake",reason="other"} 0
ack_exporter_collector_errors_total{collector="fake",reason="permission"} 0
ack_exporter_collector_errors_total{collector="fake",reason="throttled"} 0
ack_exporter_collector_errors_total{collector="fake",reason="timeout"} 0
ack_exporter_collector_errors_total{collector="fake",reason="unavailable"} 0
# HELP ack_exporter_collector_last_success_timestamp_seconds When the last refresh that succeeded ended, in Unix time. 0 until the first.
# TYPE ack_exporter_collector_last_success_timestamp_seconds gauge
ack_exporter_collector_last_success_timestamp_seconds{collector="fake"} 0
# HELP ack_exporter_collector_refresh_interval_seconds Pause between two refreshes in the background that is in force now. 0 where the collector reads in the scrape.
# TYPE ack_exporter_collector_refresh_interval_seconds gauge
ack_exporter_collector_refresh_interval_seconds{collector="fake"} 60
# HELP ack_exporter_collector_success Whether the last refresh of the collector succeeded. 1 also where the collector is not applicable; 0 until the first refresh has ended.
# TYPE ack_exporter_collector_success gauge
ack_exporter_collector_success{collector="fake"} 0
`
	if got := collectortest.Exposition(t, set); got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestBackgroundRefreshKeepsItsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			return value(float64(call)), nil
		}}
		set := newSet(t, background(f))
		defer running(t, set)()

		synctest.Wait()
		expect(t, set, map[string]string{seriesValue: "1", seriesSuccess: "1", seriesInterval: "60"})

		const hours = 10
		elapse(hours * time.Hour)
		synctest.Wait()
		if n := f.calls.Load(); n < hours*60*9/10 || n > hours*60*11/10 {
			t.Errorf("%d refreshes in %d hours", n, hours)
		}
		// A scrape does not refresh.
		before := f.calls.Load()
		expect(t, set, map[string]string{seriesValue: fmt.Sprint(before)})
		if f.calls.Load() != before {
			t.Error("a scrape refreshed a collector that refreshes in the background")
		}
	})
}

func TestExportersDoNotActInStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var last [2]time.Time
		var specs []collector.Spec
		for i := range last {
			spec := background(&fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
				last[i] = time.Now()
				return nil, nil
			}})
			spec.Name = fmt.Sprint("fake", i)
			specs = append(specs, spec)
		}
		stop := running(t, newSet(t, specs...))
		elapse(10 * time.Hour)
		stop()
		if last[0].Equal(last[1]) {
			t.Error("after ten hours both still refresh at the same moment")
		}
	})
}

func TestFirstRefreshIsSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var late atomic.Int64
		start := time.Now()
		var specs []collector.Spec
		for i := range 100 {
			f := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
				if time.Since(start) > 10*time.Second {
					late.Add(1)
				}
				return nil, nil
			}}
			spec := background(f)
			spec.Name = fmt.Sprint("fake", i)
			spec.Spread = 20 * time.Second
			specs = append(specs, spec)
		}
		set := newSet(t, specs...)
		stop := running(t, set)
		elapse(20 * time.Second)
		synctest.Wait()
		stop()
		if len(set.Pending()) != 0 {
			t.Errorf("%d collectors have not run after the spread", len(set.Pending()))
		}
		if n := late.Load(); n < 20 || n > 80 {
			t.Errorf("%d of 100 collectors began in the second half of the spread", n)
		}
	})
}

func TestBackOffGrowsToTheIntervalAndEndsWithIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		last := time.Now()
		f := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			pauses = append(pauses, time.Since(last))
			last = time.Now()
			if call == 11 {
				return value(1), nil
			}
			return nil, collector.ErrThrottled
		}}
		spec := background(f)
		spec.Interval = 40 * time.Second // not a power of two: the cap shows
		set := newSet(t, spec)
		stop := running(t, set)
		elapse(250 * time.Second)
		expect(t, set, map[string]string{seriesValue: "1"})
		elapse(time.Minute)
		synctest.Wait()
		expect(t, set, map[string]string{errorsOf("throttled"): fmt.Sprint(f.calls.Load() - 1)})
		stop()

		want := []float64{0, 1, 2, 4, 8, 16, 32, 40, 40, 40, 40, 40, 1}
		if len(pauses) < len(want) {
			t.Fatalf("only %d refreshes: %v", len(pauses), pauses)
		}
		for i, seconds := range want {
			if got := pauses[i].Seconds(); got < 0.9*seconds || got > 1.1*seconds {
				t.Errorf("pause %d is %.2fs, want about %vs", i, got, seconds)
			}
		}
	})
}

func TestSnapshotGoesAwayAtMaxAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := brokenAfterTheFirst(7)
		set := newSet(t, background(f))
		defer running(t, set)()
		synctest.Wait()
		first, _ := sample(t, set, seriesLastSuccess)

		elapse(3 * time.Minute)
		expect(t, set, map[string]string{seriesValue: "7", seriesSuccess: "0", seriesLastSuccess: first})
		elapse(time.Second)
		expect(t, set, map[string]string{seriesValue: "absent", seriesSuccess: "0", seriesLastSuccess: first})
	})
}

func TestMaxAgeCanBeSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := brokenAfterTheFirst(7)
		spec := background(f)
		spec.MaxAge = time.Hour
		set := newSet(t, spec)
		defer running(t, set)()
		elapse(time.Hour)
		expect(t, set, map[string]string{seriesValue: "7"})
		elapse(time.Second)
		expect(t, set, map[string]string{seriesValue: "absent"})
	})
}

func TestHangIsATimeoutAndNeverTwoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			if call == 2 {
				<-release // ignores its context
			}
			return value(float64(call)), nil
		}}
		set := newSet(t, background(f))
		defer running(t, set)()

		elapse(10 * time.Minute)
		synctest.Wait()
		if n := f.calls.Load(); n != 2 {
			t.Fatalf("%d calls while the second hangs", n)
		}
		expect(t, set, map[string]string{seriesSuccess: "0", seriesValue: "absent", errorsOf("other"): "0"})
		if n, _ := sample(t, set, errorsOf("timeout")); n == "0" {
			t.Error("no timeout was counted")
		}

		close(release)
		elapse(time.Minute + 7*time.Second)
		synctest.Wait()
		expect(t, set, map[string]string{seriesSuccess: "1"})
		if v, ok := sample(t, set, seriesValue); !ok || v == "2" {
			t.Errorf("the value is %q: of no call after the one that hung", v)
		}
	})
}

func TestPanicIsContained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			if call == 1 {
				panic("no such thing")
			}
			return value(1), nil
		}}
		good := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
			return []prometheus.Metric{familyValue.Metric(2, "good")}, nil
		}}
		goodSpec := inScrape(good)
		goodSpec.Name = "good"
		set := newSet(t, background(bad), goodSpec)
		defer running(t, set)()
		synctest.Wait()
		expect(t, set, map[string]string{
			seriesSuccess: "0", errorsOf("other"): "1",
			`ack_test_value{part="good"}`: "2",
		})
		elapse(2 * time.Second)
		expect(t, set, map[string]string{seriesSuccess: "1", seriesValue: "1", errorsOf("other"): "1"})
	})
}

func TestPartialResultIsPublishedAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
			return value(5), fmt.Errorf("one of two: %w", collector.ErrDecode)
		}}
		set := newSet(t, background(f))
		defer running(t, set)()
		synctest.Wait()
		expect(t, set, map[string]string{seriesValue: "5", seriesSuccess: "0", seriesLastSuccess: "0", errorsOf("decode"): "1"})
		if len(set.Pending()) != 1 {
			t.Error("ready after a result that is not whole")
		}
	})
}

func TestNotApplicableIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			switch {
			case call == 2:
				return value(1), nil
			case call > 3:
				return nil, syscall.EPERM
			}
			return value(9), fmt.Errorf("no such module: %w", collector.ErrNotApplicable)
		}}
		set := newSet(t, background(f))
		defer running(t, set)()
		synctest.Wait()
		expect(t, set, map[string]string{seriesApplicable: "0", seriesSuccess: "1", seriesValue: "absent", errorsOf("other"): "0"})
		if p := set.Pending(); len(p) != 0 {
			t.Errorf("not ready: %v", p)
		}
		elapse(67 * time.Second) // the module is loaded
		expect(t, set, map[string]string{seriesApplicable: "1", seriesSuccess: "1", seriesValue: "1"})
		elapse(67 * time.Second) // and unloaded: what was known of it is no longer true
		expect(t, set, map[string]string{seriesApplicable: "0", seriesSuccess: "1", seriesValue: "absent"})
		elapse(67 * time.Second) // and loaded again, but nobody may ask it
		expect(t, set, map[string]string{seriesApplicable: "1", seriesSuccess: "0", seriesValue: "absent"})
	})
}

func TestScrapeReadsAtEachScrape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			if call == 2 {
				return nil, syscall.EACCES
			}
			return value(float64(call)), nil
		}}
		set := newSet(t, inScrape(f))
		expect(t, set, map[string]string{seriesValue: "1"})
		expect(t, set, map[string]string{seriesValue: "absent"})
		expect(t, set, map[string]string{seriesSuccess: "1", seriesInterval: "0", errorsOf("permission"): "1"})
	})
}

func TestScrapeWaitsNoLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
			<-release
			return value(1), nil
		}}
		set := newSet(t, inScrape(f))
		start := time.Now()
		expect(t, set, map[string]string{seriesSuccess: "0"})
		if took := time.Since(start); took < 2*time.Second || took > 5*time.Second {
			t.Errorf("the scrape took %s, the timeout is 2s", took)
		}
		// As long as it hangs, later scrapes do not wait for it again.
		start = time.Now()
		expect(t, set, map[string]string{seriesSuccess: "0"})
		if took := time.Since(start); took > 0 {
			t.Errorf("a scrape waited %s for a collector that is known to hang", took)
		}
		close(release)
		synctest.Wait()
		expect(t, set, map[string]string{seriesSuccess: "1", seriesValue: "1"})
	})
}

func TestOverlappingScrapesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
			elapse(time.Second)
			return value(1), nil
		}}
		set := newSet(t, inScrape(f))
		for range 3 {
			go expect(t, set, map[string]string{seriesValue: "1", seriesSuccess: "1"})
		}
		elapse(time.Minute)
		synctest.Wait()
		expect(t, set, map[string]string{errorsOf("timeout"): "0"})
	})
}

func TestScrapesInQuickSuccession(t *testing.T) {
	t.Parallel()
	set := newSet(t, inScrape(&fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) { return value(1), nil }}))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				ch := make(chan prometheus.Metric, 100)
				set.Collect(ch)
			}
		})
	}
	wg.Wait()
	expect(t, set, map[string]string{errorsOf("timeout"): "0"})
}

// What asks outside of the cluster fails as loudly as anything, but readiness does not
// wait for it.
func TestReadyWithoutWhatIsExternal(t *testing.T) {
	t.Parallel()
	for external, pending := range map[bool]int{false: 1, true: 0} {
		synctest.Test(t, func(t *testing.T) {
			refused := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) { return nil, collector.ErrForbidden }}
			spec := background(refused)
			spec.External = external
			set := newSet(t, spec)
			defer running(t, set)()
			synctest.Wait()
			if p := set.Pending(); len(p) != pending {
				t.Errorf("external %t: %v", external, p)
			}
			expect(t, set, map[string]string{errorsOf("forbidden"): "1"})
		})
	}
}

func TestReadyWithoutAScrape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			if call < 4 {
				return nil, syscall.ENOENT
			}
			return value(1), nil
		}}
		set := newSet(t, inScrape(local))
		if p := set.Pending(); len(p) != 1 || p[0].Name != "fake" || p[0].Err != nil {
			t.Errorf("before the start: %v", p)
		}
		defer running(t, set)()
		synctest.Wait()
		if p := set.Pending(); len(p) != 1 || !errors.Is(p[0].Err, syscall.ENOENT) {
			t.Errorf("after a failure: %v", p)
		}
		elapse(time.Minute)
		synctest.Wait()
		if p := set.Pending(); len(p) != 0 {
			t.Errorf("after a success: %v", p)
		}
		if n := local.calls.Load(); n != 4 {
			t.Errorf("%d calls; it should rest once it has succeeded", n)
		}
	})
}

func TestStopWaitsForARefreshAndLeaksNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	began := make(chan struct{})
	ended := make(chan struct{})
	f := &fake{collect: func(ctx context.Context, _ int64) ([]prometheus.Metric, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}
	var log bytes.Buffer
	set, err := collector.NewSet(slog.New(slog.NewTextHandler(&log, nil)), background(f))
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, set)
	<-began
	stop()
	select {
	case <-ended:
	default:
		t.Error("Run returned before the refresh had ended")
	}
	if log.Len() != 0 {
		t.Errorf("a refresh that a stop ended was logged: %s", &log)
	}
	expect(t, set, map[string]string{errorsOf("other"): "0", errorsOf("timeout"): "0"})
}

func TestStopIsNoFailure(t *testing.T) {
	t.Parallel()
	// Whether the refresh or the stop is seen first is up to the scheduler.
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{collect: func(ctx context.Context, _ int64) ([]prometheus.Metric, error) {
				<-ctx.Done()
				return nil, errors.New("torn down")
			}}
			set := newSet(t, background(f))
			stop := running(t, set)
			synctest.Wait()
			stop()
			expect(t, set, map[string]string{errorsOf("other"): "0", errorsOf("timeout"): "0"})
		})
	}
}

func TestStopLeavesAHangingRefreshBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
			<-release
			return nil, nil
		}}
		stop := running(t, newSet(t, background(f)))
		synctest.Wait()
		start := time.Now()
		stop()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the stop took %s", took)
		}
		close(release)
	})
}

// follower listens as the test says.
type follower struct {
	fake
	follow func(ctx context.Context, up func(), call int64) error
	starts atomic.Int64
}

func (f *follower) Follow(ctx context.Context, up func()) error {
	return f.follow(ctx, up, f.starts.Add(1))
}

func TestFollowerIsShownOnlyWhileItListens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		breaks := make(chan error)
		f := &follower{
			follow: func(ctx context.Context, up func(), call int64) error {
				if call == 1 {
					elapse(5 * time.Second) // slow to begin
				}
				up()
				select {
				case <-ctx.Done():
					return ctx.Err()
				case err := <-breaks:
					return err
				}
			},
		}
		f.collect = func(context.Context, int64) ([]prometheus.Metric, error) { return value(3), nil }
		set := newSet(t, inScrape(f))
		defer running(t, set)()

		elapse(time.Second)
		expect(t, set, map[string]string{seriesValue: "absent", seriesSuccess: "0", errorsOf("other"): "0"})
		if len(set.Pending()) != 1 {
			t.Error("ready before it listens")
		}
		elapse(10 * time.Second)
		expect(t, set, map[string]string{seriesValue: "3", seriesSuccess: "1"})
		if len(set.Pending()) != 0 {
			t.Error("not ready though it listens")
		}

		breaks <- collector.ErrForbidden
		synctest.Wait()
		expect(t, set, map[string]string{seriesValue: "absent"})
		expect(t, set, map[string]string{seriesSuccess: "0"})
		elapse(2 * time.Second)
		expect(t, set, map[string]string{seriesValue: "3", seriesSuccess: "1"})
		if n, _ := sample(t, set, errorsOf("forbidden")); n == "0" {
			t.Error("the break was not counted")
		}
	})
}

func TestFollowerBacksOffAndSurvivesPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &follower{follow: func(context.Context, func(), int64) error { panic("deaf") }}
		f.collect = func(context.Context, int64) ([]prometheus.Metric, error) { return value(3), nil }
		set := newSet(t, inScrape(f))
		defer running(t, set)()
		elapse(time.Hour)
		if n := f.starts.Load(); n < 55 || n > 75 {
			t.Errorf("%d starts in an hour", n)
		}
		expect(t, set, map[string]string{seriesValue: "absent", seriesSuccess: "0"})
	})
}

func TestFollowerThatIsNotApplicable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &follower{follow: func(context.Context, func(), int64) error { return collector.ErrNotApplicable }}
		f.collect = func(context.Context, int64) ([]prometheus.Metric, error) { return value(3), nil }
		set := newSet(t, inScrape(f))
		defer running(t, set)()
		elapse(time.Second)
		expect(t, set, map[string]string{seriesApplicable: "0", seriesSuccess: "1", seriesValue: "absent"})
	})
}

// resting is a Collector that asks for a pause.
type resting struct {
	fake
	rest time.Duration
}

func (r *resting) Rest() time.Duration { return r.rest }

func TestRestStretchesIntervalAndMaxAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &resting{rest: 10 * time.Minute}
		r.collect = func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			if call == 1 {
				return value(1), nil
			}
			return nil, collector.ErrUnavailable
		}
		set := newSet(t, background(r))
		defer running(t, set)()
		elapse(8 * time.Minute)
		expect(t, set, map[string]string{seriesValue: "1", seriesInterval: "600"})
		if n := r.calls.Load(); n != 1 {
			t.Errorf("%d refreshes in 8 minutes", n)
		}
		elapse(18 * time.Minute)
		expect(t, set, map[string]string{seriesValue: "1"})
		if n := r.calls.Load(); n != 3 {
			t.Errorf("%d refreshes in 26 minutes: a failure must not cut the rest", n)
		}
		elapse(5 * time.Minute)
		expect(t, set, map[string]string{seriesValue: "absent"})
	})
}

// woken is a collector that can be asked for a refresh.
type woken struct {
	fake
	wake chan struct{}
}

func (w *woken) Wake() <-chan struct{} { return w.wake }

func TestWakeDoesNotWaitForTheInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &woken{wake: make(chan struct{}, 1)}
		w.collect = func(_ context.Context, call int64) ([]prometheus.Metric, error) { return value(float64(call)), nil }
		set := newSet(t, background(w))
		defer running(t, set)()
		elapse(time.Second)
		expect(t, set, map[string]string{seriesValue: "1"})
		w.wake <- struct{}{}
		elapse(time.Second)
		expect(t, set, map[string]string{seriesValue: "2"})
		// The next one is a whole interval later.
		elapse(50 * time.Second)
		expect(t, set, map[string]string{seriesValue: "2"})
		elapse(20 * time.Second)
		expect(t, set, map[string]string{seriesValue: "3"})
	})
}

func TestFailureAndRecoveryAreLoggedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &fake{collect: func(_ context.Context, call int64) ([]prometheus.Metric, error) {
			if call < 20 {
				return nil, fmt.Errorf("reading: %w", collector.ErrForbidden)
			}
			return value(1), nil
		}}
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		set, err := collector.NewSet(slog.New(handler), background(f))
		if err != nil {
			t.Fatal(err)
		}
		stop := running(t, set)
		elapse(time.Hour)
		stop()
		want := `level=WARN msg="collector fails" collector=fake reason=forbidden err="reading: forbidden"
level=INFO msg="collector recovered" collector=fake
`
		if log.String() != want {
			t.Errorf("got:\n%s", &log)
		}
	})
}

func TestNewSetRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	ok := background(&fake{})
	for name, change := range map[string]func(*collector.Spec){
		"a collector has no name":                                           func(s *collector.Spec) { s.Name = "" },
		"collector fake: nothing to run":                                    func(s *collector.Spec) { s.Collector = nil },
		"collector fake: a negative duration":                               func(s *collector.Spec) { s.Interval = -1 },
		"collector fake: the timeout 0s is not positive":                    func(s *collector.Spec) { s.Timeout = 0 },
		"collector fake: the timeout 2m0s is longer than the interval 1m0s": func(s *collector.Spec) { s.Timeout = 2 * time.Minute },
	} {
		spec := ok
		change(&spec)
		_, err := collector.NewSet(slog.New(slog.DiscardHandler), spec)
		if err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	if _, err := collector.NewSet(slog.New(slog.DiscardHandler), ok, ok); err == nil || err.Error() != "two collectors are named fake" {
		t.Errorf("got %v", err)
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want collector.Reason
	}{
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), collector.ReasonTimeout},
		{syscall.EAGAIN, collector.ReasonTimeout},
		{fmt.Errorf("open: %w", syscall.EPERM), collector.ReasonPermission},
		{syscall.EACCES, collector.ReasonPermission},
		{syscall.ENOENT, collector.ReasonUnavailable},
		{syscall.ECONNREFUSED, collector.ReasonUnavailable},
		{fmt.Errorf("page 2: %w", collector.ErrThrottled), collector.ReasonThrottled},
		{collector.ErrForbidden, collector.ReasonForbidden},
		{fmt.Errorf("%w: %w", collector.ErrDecode, io.ErrUnexpectedEOF), collector.ReasonDecode},
		{errors.New("anything"), collector.ReasonOther},
	} {
		if got := collector.ReasonOf(c.err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
}

func TestMetricNeverPanics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(newSet(t, inScrape(&fake{collect: func(context.Context, int64) ([]prometheus.Metric, error) {
		return []prometheus.Metric{familyValue.Metric(1), familyValue.Metric(1, "\xff"), familyValue.Metric(1, "good")}, nil
	}})))
	families, err := reg.Gather()
	if err == nil {
		t.Error("bad label values were not reported")
	}
	for _, f := range families {
		if f.GetName() == "ack_test_value" && len(f.GetMetric()) == 1 {
			return
		}
	}
	t.Error("the good series is missing")
}
