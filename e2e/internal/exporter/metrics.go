//go:build e2e

package exporter

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics maps every series of a scrape, written as Key does, to its value.
// Histograms and summaries are left out.
type Metrics map[string]float64

// Key writes a series as the exposition format does: Key("a", "x", "1") is
// a{x="1"}.
func Key(name string, labels ...string) string {
	if len(labels) == 0 {
		return name
	}
	pairs := make([]string, 0, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	sort.Strings(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// Parse reads an answer to its end.
func Parse(r io.Reader) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("the metrics cannot be parsed: %w", err)
	}
	m := make(Metrics)
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			if value, ok := valueOf(family.GetType(), metric); ok {
				m[Key(name, labelsOf(metric)...)] = value
			}
		}
	}
	return m, nil
}

func valueOf(kind dto.MetricType, m *dto.Metric) (float64, bool) {
	switch kind {
	case dto.MetricType_GAUGE:
		return m.GetGauge().GetValue(), true
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue(), true
	case dto.MetricType_UNTYPED:
		return m.GetUntyped().GetValue(), true
	default:
		return 0, false
	}
}

func labelsOf(m *dto.Metric) []string {
	var labels []string
	for _, pair := range m.GetLabel() {
		labels = append(labels, pair.GetName(), pair.GetValue())
	}
	return labels
}

// Family returns the series of one family.
func (m Metrics) Family(name string) Metrics {
	family := make(Metrics)
	for key, value := range m {
		if key == name || strings.HasPrefix(key, name+"{") {
			family[key] = value
		}
	}
	return family
}

// Value is the value of a series; a series that is not there ends the test.
func (m Metrics) Value(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	value, ok := m[Key(name, labels...)]
	if !ok {
		t.Fatalf("there is no series %s", Key(name, labels...))
	}
	return value
}

// Expect is nil where the series is there and has the value.
func (m Metrics) Expect(want float64, name string, labels ...string) error {
	key := Key(name, labels...)
	switch got, ok := m[key]; {
	case !ok:
		return fmt.Errorf("there is no series %s", key)
	case got != want:
		return fmt.Errorf("%s is %v, not %v", key, got, want)
	default:
		return nil
	}
}

// Difference lists where m differs from want, of which it must have every
// series and no other.
func (m Metrics) Difference(want Metrics) []string {
	var diff []string
	for key, value := range want {
		if got, ok := m[key]; !ok {
			diff = append(diff, fmt.Sprintf("%s is missing, want %v", key, value))
		} else if got != value {
			diff = append(diff, fmt.Sprintf("%s is %v, want %v", key, got, value))
		}
	}
	for key, value := range m {
		if _, ok := want[key]; !ok {
			diff = append(diff, fmt.Sprintf("%s is %v, and should not be there", key, value))
		}
	}
	sort.Strings(diff)
	return diff
}

// RequireSame fails the test for everything in which got differs from want.
func RequireSame(t testing.TB, got, want Metrics) {
	t.Helper()
	for _, diff := range got.Difference(want) {
		t.Error(diff)
	}
}

// RefreshedSince is nil where the last success of the collector began after
// since.
func (m Metrics) RefreshedSince(since time.Time, collector string) error {
	ended, ok := m[Key("ack_exporter_collector_last_success_timestamp_seconds", "collector", collector)]
	if !ok {
		return fmt.Errorf("there is no collector %s", collector)
	}
	if err := m.Expect(1, "ack_exporter_collector_success", "collector", collector); err != nil {
		return err
	}
	took := m[Key("ack_exporter_collector_duration_seconds", "collector", collector)]
	began := ended - took
	if began <= float64(since.UnixNano())/float64(time.Second) {
		return fmt.Errorf("the last refresh of collector %s that succeeded began at %.3f", collector, began)
	}
	return nil
}
