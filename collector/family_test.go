package collector_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

// exposed is a prometheus.Collector of one family and given metrics.
type exposed struct {
	family  *collector.Family
	metrics []prometheus.Metric
}

func (e exposed) Describe(ch chan<- *prometheus.Desc) { e.family.Describe(ch) }

func (e exposed) Collect(ch chan<- prometheus.Metric) {
	for _, m := range e.metrics {
		ch <- m
	}
}

func newDuration() *collector.Family {
	return collector.NewHistogram("ack_test_duration_seconds", "A duration.", []float64{0.1, 1}, "part")
}

func TestTypeName(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]*collector.Family{
		"gauge":     collector.NewGauge("ack_test", "A gauge."),
		"counter":   collector.NewCounter("ack_test_total", "A counter."),
		"histogram": newDuration(),
	} {
		if got := f.TypeName(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestHistogramHasClassicAndNativeBuckets(t *testing.T) {
	t.Parallel()
	family := newDuration()
	h := family.Histogram("whole")
	for _, v := range []float64{0.05, 0.5, 5} {
		h.Observe(v)
	}
	m := h.Metric()
	got := collectortest.Exposition(t, exposed{family, []prometheus.Metric{m}})
	want := `# HELP ack_test_duration_seconds A duration.
# TYPE ack_test_duration_seconds histogram
ack_test_duration_seconds_bucket{part="whole",le="0.1"} 1
ack_test_duration_seconds_bucket{part="whole",le="1"} 2
ack_test_duration_seconds_bucket{part="whole",le="+Inf"} 3
ack_test_duration_seconds_sum{part="whole"} 5.55
ack_test_duration_seconds_count{part="whole"} 3
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var written dto.Metric
	if err := m.Write(&written); err != nil {
		t.Fatal(err)
	}
	// Schema 3 is the coarsest whose buckets grow by at most a factor of 1.1.
	if native := written.GetHistogram(); native.GetSchema() != 3 || len(native.GetPositiveDelta()) != 3 {
		t.Errorf("native part: %v", native)
	}
}

func TestHistogramBeginsAtZero(t *testing.T) {
	t.Parallel()
	family := newDuration()
	got := collectortest.Exposition(t, exposed{family, []prometheus.Metric{family.Histogram("whole").Metric()}})
	if !strings.HasSuffix(got, "ack_test_duration_seconds_sum{part=\"whole\"} 0\nack_test_duration_seconds_count{part=\"whole\"} 0\n") {
		t.Error(got)
	}
}

func TestHistogramMetricIsConstant(t *testing.T) {
	t.Parallel()
	family := newDuration()
	h := family.Histogram("whole")
	h.Observe(0.5)
	m := h.Metric()
	before := collectortest.Exposition(t, exposed{family, []prometheus.Metric{m}})
	h.Observe(0.5)
	if after := collectortest.Exposition(t, exposed{family, []prometheus.Metric{m}}); after != before {
		t.Errorf("it changed to\n%s", after)
	}
	if later := collectortest.Exposition(t, exposed{family, []prometheus.Metric{h.Metric()}}); !strings.Contains(later, "_count{part=\"whole\"} 2\n") {
		t.Errorf("the second value is missing from\n%s", later)
	}
}

func TestHistogramThatCannotBeObservesNothing(t *testing.T) {
	t.Parallel()
	h := newDuration().Histogram("one", "too many")
	h.Observe(1)
	if err := h.Metric().Write(&dto.Metric{}); err == nil {
		t.Error("no error")
	}
}

func TestHistogramMisuseIsReportedByTheGather(t *testing.T) {
	t.Parallel()
	gauge := collector.NewGauge("ack_test", "A gauge.")
	for name, c := range map[string]exposed{
		"no label value":           {newDuration(), []prometheus.Metric{newDuration().Histogram().Metric()}},
		"a value that is no UTF-8": {newDuration(), []prometheus.Metric{newDuration().Histogram("\xff").Metric()}},
		"a single value":           {newDuration(), []prometheus.Metric{newDuration().Metric(1, "whole")}},
		"histogram of a gauge":     {gauge, []prometheus.Metric{gauge.Histogram().Metric()}},
	} {
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(c)
		if _, err := reg.Gather(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSharedLabels(t *testing.T) {
	t.Parallel()
	names := []string{"zone", "key"}
	gauge := collector.NewGauge("ack_test", "A gauge.", names...)
	counter := collector.NewCounter("ack_test_total", "A counter.", names...)
	labels := collector.NewLabels(names, "z", "k")
	for _, test := range []struct {
		family *collector.Family
		want   string
	}{
		{gauge, "# HELP ack_test A gauge.\n# TYPE ack_test gauge\nack_test{key=\"k\",zone=\"z\"} 2\n"},
		{counter, "# HELP ack_test_total A counter.\n# TYPE ack_test_total counter\nack_test_total{key=\"k\",zone=\"z\"} 2\n"},
	} {
		got := collectortest.Exposition(t, exposed{test.family, []prometheus.Metric{test.family.With(2, labels)}})
		if got != test.want {
			t.Errorf("got\n%s\nwant\n%s", got, test.want)
		}
	}
	wide := collector.NewGauge("ack_wide", "A gauge.", append(append([]string{}, names...), "area")...)
	more := collector.NewLabels(names, "z", "k").And(wide.Labels, "a")
	want := "# HELP ack_wide A gauge.\n# TYPE ack_wide gauge\nack_wide{area=\"a\",key=\"k\",zone=\"z\"} 3\n"
	if got := collectortest.Exposition(t, exposed{wide, []prometheus.Metric{wide.With(3, more)}}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for name, m := range map[string]prometheus.Metric{
		"no further value":   wide.With(1, labels.And(wide.Labels)),
		"other labels first": wide.With(1, labels.And([]string{"key", "zone", "area"}, "a")),
		"of wrong labels":    wide.With(1, collector.NewLabels(names, "z", "\xff").And(wide.Labels, "a")),

		"too few values":  gauge.With(1, collector.NewLabels(names, "z")),
		"not UTF-8":       gauge.With(1, collector.NewLabels(names, "z", "\xff")),
		"of other labels": gauge.With(1, collector.NewLabels([]string{"key"}, "k")),
		"a histogram":     newDuration().With(1, collector.NewLabels([]string{"part"}, "whole")),
	} {
		if err := m.Write(&dto.Metric{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
