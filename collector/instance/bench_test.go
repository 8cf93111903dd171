package instance_test

import (
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/internal/aliyun"
)

// BenchmarkNodes measures a refresh of 5,000 instances on subscription, each with a
// scheduled event, on an account in memory, which takes part of the time.
func BenchmarkNodes(b *testing.B) {
	const size = 5000
	a, nodes := fleet(size)
	c := newNodes(a, nodes...)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	var metrics []prometheus.Metric
	var err error
	empty := heap()
	for b.Loop() {
		a.calls = nil
		if metrics, err = c.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	calls := float64(len(a.calls))
	a.calls = nil
	b.ReportMetric((heap()-empty)/(1<<20), "MiB-kept")
	b.ReportMetric(calls, "calls/refresh")
	b.ReportMetric(calls/aliyun.DefaultRate, "s-at-default-rate")
	b.ReportMetric(float64(len(metrics)), "series")
	for _, weighed := range []any{a, c, metrics} {
		runtime.KeepAlive(weighed)
	}
}
