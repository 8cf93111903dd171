//go:build e2e

package conntrack

import (
	"math"
	"testing"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

// TestSampled compares a large table with what a pass that stops early says of
// it, and with what a pass that does not says.
func TestSampled(t *testing.T) {
	const (
		entries = 300_000
		sample  = 50_000
	)
	w := trackingWorld(t)
	world.SetMachineSysctl(t, "net/netfilter/nf_conntrack_max", "400000")
	made := fill(t, w, entries)

	// A pass that has not ended well within the interval stops, and is a smaller
	// sample. On a busy machine a short interval would have that effect.
	const interval = "30s"

	t.Run("sample", func(t *testing.T) {
		p := exporter.Start(t, w, exporter.Config{Args: tableFlags(interval, "50000")})
		m := p.AwaitSuccess(t, patience, "conntrack_table")
		if err := m.Expect(0, "ack_conntrack_table_complete"); err != nil {
			t.Error(err)
		}
		visited := m.Value(t, "ack_conntrack_table_visited_entries")
		if visited < sample || visited >= 1.2*sample {
			t.Errorf("%v entries were visited, not about %d", visited, sample)
		}
		exporter.RequireSame(t, usageMetrics(m), usage(t, w))
		requireClose(t, tableMetrics(m), made.metrics(), entries, visited)
	})

	t.Run("exact", func(t *testing.T) {
		p := exporter.Start(t, w, exporter.Config{Args: tableFlags(interval, "0")})
		m := p.AwaitSuccess(t, patience, "conntrack_table")
		exporter.RequireSame(t, tableMetrics(m), made.metrics())
		for _, expect := range []error{
			m.Expect(1, "ack_conntrack_table_complete"),
			m.Expect(entries, "ack_conntrack_table_visited_entries"),
			m.Expect(entries, "ack_conntrack_entries"),
		} {
			if expect != nil {
				t.Error(expect)
			}
		}
	})
}

// requireClose fails where a class above 5 % of the table is further than 3 %
// from the truth, or a smaller one further than chance allows.
func requireClose(t *testing.T, got, want exporter.Metrics, entries, visited float64) {
	t.Helper()
	large := 0
	for key, truth := range want {
		estimate, ok := got[key]
		if !ok {
			t.Errorf("there is no series %s", key)
			continue
		}
		allowed := 5 * standardError(truth, entries, visited)
		if truth > 0.05*entries {
			large++
			allowed = 0.03 * truth
			t.Logf("%s: %.0f, the truth is %.0f: %+.2f %%", key, estimate, truth, 100*(estimate-truth)/truth)
		}
		if math.Abs(estimate-truth) > allowed {
			t.Errorf("%s is %.0f, not %.0f ± %.0f", key, estimate, truth, allowed)
		}
	}
	if large == 0 {
		t.Error("the table has no class above 5 %")
	}
	if len(got) != len(want) {
		t.Errorf("%d series instead of %d", len(got), len(want))
	}
}

// standardError of an estimate from a sample drawn without replacement.
func standardError(truth, entries, visited float64) float64 {
	share := truth / entries
	return entries * math.Sqrt(share*(1-share)/visited*(1-visited/entries))
}
