//go:build e2e

package cloud

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"ack-exporter/collector"
	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/internal/aliyun"
)

const (
	// atOnce is how many cases of one test run side by side: they wait most of the time.
	atOnce = 32
	// short is how long a test waits for what never comes.
	short = 3 * time.Second
)

// ways are the ways to fail, with the reason that each is counted by.
func ways() map[cloud.Kind]collector.Reason {
	return map[cloud.Kind]collector.Reason{
		cloud.Throttle:      collector.ReasonThrottled,
		cloud.InternalError: collector.ReasonUnavailable,
		cloud.Unavailable:   collector.ReasonUnavailable,
		cloud.Skew:          collector.ReasonOther,
		cloud.Deny:          collector.ReasonForbidden,
		cloud.Page:          collector.ReasonUnavailable,
		cloud.Close:         collector.ReasonUnavailable,
		cloud.Hang:          collector.ReasonTimeout,
		cloud.Trickle:       collector.ReasonTimeout,
		cloud.Truncate:      collector.ReasonUnavailable,
		cloud.Nonsense:      collector.ReasonDecode,
	}
}

// TestWholeOrNothing has every call of every function fail in every way until the
// function gives up. It must return nothing then, with the documented reason; and
// everything when the fault has gone.
func TestWholeOrNothing(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){}
	for name, f := range functions(cloud.DefaultRegion) {
		for kind, reason := range ways() {
			for n := range f.calls {
				cases[fmt.Sprintf("%s/%s/call %d", name, kind, n+1)] = func(t *testing.T) {
					wholeOrNothing(t, f, cloud.Fault{Kind: kind, Skip: n}, reason)
				}
			}
		}
	}
	sideBySide(t, cases)
}

// sideBySide runs cases that wait most of the time, many more at once than there are
// processors.
func sideBySide(t *testing.T, cases map[string]func(*testing.T)) {
	var all sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for name, run := range cases {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			t.Run(name, run)
		})
	}
	all.Wait()
}

func wholeOrNothing(t *testing.T, f function, fault cloud.Fault, reason collector.Reason) {
	c, host := cloudtest.Start(t, cloud.Config{Refuse: true})
	fill(c)
	client := newClient(t, c, host, withKey())
	c.Fail(f.action, fault)
	ctx := t.Context()
	if reason == collector.ReasonTimeout {
		limited, cancel := context.WithTimeout(ctx, short)
		defer cancel()
		ctx = limited
	}
	got, _, err := f.do(ctx, client)
	if got != nil || collector.ReasonOf(err) != reason {
		t.Errorf("it returned %T for reason %s, not %s: %v", got, collector.ReasonOf(err), reason, err)
	}
	c.Heal()
	got, rows, err := f.do(t.Context(), client)
	if err != nil || got == nil || rows != f.rows {
		t.Errorf("afterwards it returned %d rows of %d: %v", rows, f.rows, err)
	}
}

// TestRetry has calls fail for as long as trying again helps.
func TestRetry(t *testing.T) {
	t.Parallel()
	retried := map[cloud.Kind]bool{
		cloud.Throttle: true, cloud.InternalError: true, cloud.Unavailable: true, cloud.Page: true, cloud.Close: true, cloud.Hang: true,
		cloud.Trickle: true, cloud.Truncate: true,
	}
	cases := map[string]func(*testing.T){}
	for kind, reason := range ways() {
		cases[kind.String()] = func(t *testing.T) {
			c, host := cloudtest.Start(t, cloud.Config{Refuse: true})
			fill(c)
			a := withKey()
			if reason == collector.ReasonTimeout {
				a.timeout = short
			}
			client := newClient(t, c, host, a)
			c.Fail("slb:DescribeLoadBalancers", cloud.Fault{Kind: kind, Skip: 1, Times: 3})
			got, err := aliyun.LoadBalancers(t.Context(), client)
			calls := c.Count("slb:DescribeLoadBalancers")
			if retried[kind] && (err != nil || len(got) != rows || calls != 3+3) {
				t.Errorf("%s: %d rows in %d calls, %v", kind, len(got), calls, err)
			}
			if !retried[kind] && (err == nil || calls != 2) {
				t.Errorf("%s: %d calls, %v", kind, calls, err)
			}
		}
	}
	sideBySide(t, cases)
}

// TestThrottlingIsHeeded looks at when a call is repeated.
func TestThrottlingIsHeeded(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	client := newClient(t, c, host, withKey())
	const wait = 2500 * time.Millisecond
	c.Fail("slb:DescribeLoadBalancers", cloud.Fault{Kind: cloud.Throttle, Times: 1, For: wait})
	if _, err := aliyun.LoadBalancers(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	calls := c.Calls()
	if len(calls) != 2 || calls[0].Code != "Throttling.User" || calls[1].Code != "" {
		t.Fatalf("the calls are %+v", calls)
	}
	if paused := calls[1].Time.Sub(calls[0].Time); paused < wait {
		t.Errorf("it asked again after %s", paused)
	}
}

// TestDeadline ends a call that hangs, and one that is throttled for longer than there
// is time.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		fault  cloud.Fault
		reason collector.Reason
	}{
		{cloud.Fault{Kind: cloud.Hang}, collector.ReasonTimeout},
		{cloud.Fault{Kind: cloud.Throttle, For: time.Hour}, collector.ReasonThrottled},
	} {
		c, host := cloudtest.Start(t, cloud.Config{})
		client := newClient(t, c, host, withKey())
		c.Fail(cloud.Any, test.fault)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		begin := time.Now()
		_, err := aliyun.LoadBalancers(ctx, client)
		cancel()
		if took := time.Since(begin); collector.ReasonOf(err) != test.reason || took > 10*time.Second {
			t.Errorf("%s: %s, %v", test.fault.Kind, took, err)
		}
	}
}

// TestSkewSaysSo finds the clock in the error.
func TestSkewSaysSo(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	client := newClient(t, c, host, withKey())
	for _, off := range []time.Duration{16 * time.Minute, -16 * time.Minute} {
		c.Fail(cloud.Any, cloud.Fault{Kind: cloud.Skew, For: off, Times: 1})
		_, err := aliyun.LoadBalancers(t.Context(), client)
		if failed, ok := errors.AsType[*aliyun.Error](err); !ok || failed.Code != "InvalidTimeStamp.Expired" {
			t.Errorf("%s: %v", off, err)
		}
	}
	c.Fail(cloud.Any, cloud.Fault{Kind: cloud.Skew, For: 14 * time.Minute, Times: 1})
	if _, err := aliyun.LoadBalancers(t.Context(), client); err != nil {
		t.Error(err)
	}
}

// TestNumbersAsStrings reads every answer of a cloud that writes numbers as strings.
func TestNumbersAsStrings(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	fill(c)
	client := newClient(t, c, host, withKey())
	for name, f := range functions(c.Region()) {
		want, _, err := f.do(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		c.Fail(cloud.Any, cloud.Fault{Kind: cloud.Strings})
		got, _, err := f.do(t.Context(), client)
		c.Heal()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChangesMeanwhile changes a listing while it is read: what is returned is one of
// the states that there were, or an error.
func TestChangesMeanwhile(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	fill(c)
	client := newClient(t, c, host, withKey())
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				c.LoadBalancers.Remove("lb-000")
				c.LoadBalancers.Set(cloud.LoadBalancer{ID: "lb-000"})
			}
		}
	})
	for range 20 {
		got, err := aliyun.LoadBalancers(t.Context(), client)
		if err != nil && (got != nil || !errors.Is(err, collector.ErrUnavailable)) {
			t.Errorf("%d rows, %v", len(got), err)
		}
		seen := map[string]bool{}
		for _, b := range got {
			if seen[b.ID] {
				t.Errorf("%s is there twice", b.ID)
			}
			seen[b.ID] = true
		}
		if err == nil && (len(got) < rows-1 || len(got) > rows) {
			t.Errorf("%d rows", len(got))
		}
	}
	close(stop)
	changes.Wait()
}
