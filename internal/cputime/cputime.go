// Package cputime measures what slow work costs, and keeps it to a small share
// of one core.
package cputime

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// DutyCycle is the largest share of one core that the work of one Meter takes:
// work that cost 0.8 s of CPU time is followed by a rest of 100 s. Together with
// the scrapes the exporter stays below one percent.
const DutyCycle = 0.008

// Of runs f on a thread of its own and returns the CPU time that it used, in user
// space and in the kernel. It does not see what goroutines use that f starts.
func Of(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := thread()
	f()
	return thread() - start
}

func thread() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// Meter adds up what one kind of work has cost. The zero Meter is ready for use,
// by several goroutines at once.
type Meter struct {
	last, total atomic.Int64 // nanoseconds
}

// Add notes that the work was done once more, and what that cost.
func (m *Meter) Add(cost time.Duration) {
	m.last.Store(cost.Nanoseconds())
	m.total.Add(cost.Nanoseconds())
}

// Total is what all of the work has cost.
func (m *Meter) Total() time.Duration { return time.Duration(m.total.Load()) }

// Rest is how long to rest after the last time, so as to keep to DutyCycle.
func (m *Meter) Rest() time.Duration {
	return time.Duration(float64(m.last.Load()) / DutyCycle)
}
