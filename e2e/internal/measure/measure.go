//go:build e2e

// Package measure is what benchmarks share: the CPU time of a process, and figures
// with a budget.
package measure

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessCPU is the CPU time of a process, read from its clock, which is finer than
// /proc/PID/stat.
func ProcessCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	const perProcess = 2 // CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|perProcess), &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// Report adds a figure, in place of the time that one iteration took.
func Report(b *testing.B, value float64, unit string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(value, unit)
}

// Budget reports a figure that has a bound. E2E_BUDGETS=1 makes it a failure to be
// above it; a machine that is busy with something else is no judge.
func Budget(b *testing.B, what string, value float64, unit string, bound float64) {
	b.Helper()
	Report(b, value, unit)
	switch {
	case value <= bound:
	case os.Getenv("E2E_BUDGETS") == "1":
		b.Errorf("%s: %.3g %s is above the budget of %.3g", what, value, unit, bound)
	default:
		b.Logf("over budget: %s: %.3g %s is above %.3g", what, value, unit, bound)
	}
}
