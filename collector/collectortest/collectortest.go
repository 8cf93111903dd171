// Package collectortest holds what the tests of all collectors share.
package collectortest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"ack-exporter/collector"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// Collect runs c once and returns its exposition, sorted by name. It fails the
// test where the metrics break the rules of a registry, carry a family that c
// does not declare, or do not pass promlint. The error is that of Collect.
func Collect(t testing.TB, c collector.Collector) (string, error) {
	t.Helper()
	metrics, collectErr := c.Collect(t.Context())
	return Exposition(t, once{c.Families(), metrics}), collectErr
}

// Exposition is what pc exposes in the text format, after the same checks.
func Exposition(t testing.TB, pc prometheus.Collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(pc); err != nil {
		t.Fatalf("register: %v", err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatalf("gather: %v", err)
	}
	problems, err := promlint.NewWithMetricFamilies(excerpts(families)).Lint()
	if err != nil {
		t.Fatalf("lint: %v", err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
	var b bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			t.Fatalf("encode: %v", err)
		}
	}
	return b.String()
}

// excerpts are the families with their first metrics: what promlint judges is the same
// in all of them but for duplicates, which it looks for by comparing each metric with each
// other, and of which there are none after a registry.
func excerpts(families []*dto.MetricFamily) []*dto.MetricFamily {
	const most = 20
	short := make([]*dto.MetricFamily, 0, len(families))
	for _, f := range families {
		short = append(short, &dto.MetricFamily{
			Name: f.Name, Help: f.Help, Type: f.Type, Unit: f.Unit, Metric: f.Metric[:min(most, len(f.Metric))],
		})
	}
	return short
}

// Golden compares got with the file testdata/name, or with -update writes it.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	CompareFile(t, filepath.Join("testdata", name), got)
}

// CompareFile compares got with a file, or with -update writes it.
func CompareFile(t testing.TB, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run the test with -update to accept):\n--- want\n%s\n--- got\n%s", path, want, got)
	}
}

// once exposes metrics that were collected before.
type once struct {
	families []*collector.Family
	metrics  []prometheus.Metric
}

func (o once) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range o.families {
		f.Describe(ch)
	}
}

func (o once) Collect(ch chan<- prometheus.Metric) {
	for _, m := range o.metrics {
		ch <- m
	}
}
