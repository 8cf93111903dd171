package mixin_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ack-exporter/collector/collectortest"
	"ack-exporter/mixin"
)

// TestRendered proves that the files in alerts/ and dashboards/ are what the
// sources render to. With -update it writes them.
func TestRendered(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render("{}")
	if err != nil {
		t.Fatal(err)
	}
	collectortest.CompareFile(t, "../alerts/ack-exporter.rules.yaml", string(pack.Rules))
	collectortest.CompareFile(t, "../alerts/alertmanager-example.yml", string(pack.Alertmanager))
	for name, dashboard := range pack.Dashboards {
		collectortest.CompareFile(t, filepath.Join("../dashboards", name), string(dashboard))
	}
	files, err := filepath.Glob("../dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = filepath.Base(file)
	}
	if want := slices.Sorted(maps.Keys(pack.Dashboards)); !slices.Equal(files, want) {
		t.Errorf("dashboards/ holds %v; the sources render to %v", files, want)
	}
}

// TestBadConfig shows that what cannot be rendered is an error that says why.
func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, config := range []string{"{", "{ alerts: {} }", "{ rateWindow: error 'no window' }"} {
		if pack, err := mixin.Render(config); err == nil {
			t.Errorf("%s: rendered %d bytes of rules", config, len(pack.Rules))
		}
	}
}

// TestLeaveOut shows that a severity, or a whole alert, can be left out.
func TestLeaveOut(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]int{
		"{}": 2,
		"{ alerts+: { ACKConntrackTableNearlyFull+: { warning:: {} } } }": 1,
		"{ alerts+: { ACKConntrackTableNearlyFull: {} } }":                0,
	} {
		pack, err := mixin.Render(config)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(pack.Rules), "alert: ACKConntrackTableNearlyFull\n"); got != want {
			t.Errorf("%s: %d rules, want %d", config, got, want)
		}
	}
}
