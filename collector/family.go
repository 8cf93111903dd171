package collector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// Native buckets grow by at most this factor, and a series has at most so
	// many of them.
	nativeFactor     = 1.1
	nativeMaxBuckets = 160
	// nativeMinReset is how long a series with too many native buckets waits
	// before it begins anew rather than become coarser.
	nativeMinReset = time.Hour
)

var (
	errNotAHistogram = errors.New("not a family of histograms")
	errIsAHistogram  = errors.New("a histogram has no single value")
)

// Family describes one metric family: what stands in its HELP and TYPE lines,
// and which labels its series carry.
type Family struct {
	Name string
	Help string
	// Type is UntypedValue for a histogram, which has no single value.
	Type   prometheus.ValueType
	Labels []string

	desc    *prometheus.Desc
	buckets []float64 // upper bounds of a histogram; nil for every other type
}

// NewGauge describes a family of gauges.
func NewGauge(name, help string, labels ...string) *Family {
	return newFamily(name, help, prometheus.GaugeValue, labels)
}

// NewCounter describes a family of counters; its name ends in _total.
func NewCounter(name, help string, labels ...string) *Family {
	return newFamily(name, help, prometheus.CounterValue, labels)
}

// NewHistogram describes a family of histograms that have classic buckets with
// these upper bounds, in ascending order, and native buckets as well.
func NewHistogram(name, help string, buckets []float64, labels ...string) *Family {
	f := newFamily(name, help, prometheus.UntypedValue, labels)
	f.buckets = append([]float64{}, buckets...)
	return f
}

func newFamily(name, help string, t prometheus.ValueType, labels []string) *Family {
	return &Family{
		Name: name, Help: help, Type: t, Labels: labels,
		desc: prometheus.NewDesc(name, help, labels, nil),
	}
}

// TypeName is the word of the TYPE line: "gauge", "counter" or "histogram".
func (f *Family) TypeName() string {
	switch {
	case f.buckets != nil:
		return "histogram"
	case f.Type == prometheus.CounterValue:
		return "counter"
	default:
		return "gauge"
	}
}

// Describe sends what a registry needs to know of the family.
func (f *Family) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }

// Metric is one series of the family with the label values in the order of
// f.Labels. A wrong number of values, or a value that is not UTF-8, makes a
// metric that a gather reports as an error; it never panics.
func (f *Family) Metric(value float64, labelValues ...string) prometheus.Metric {
	if f.buckets != nil {
		return prometheus.NewInvalidMetric(f.desc, errIsAHistogram)
	}
	m, err := prometheus.NewConstMetric(f.desc, f.Type, value, labelValues...)
	if err != nil {
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return m
}

// Labels are label values that the series of several families share. Where there
// are ten thousand of them, that is most of what a series costs.
type Labels struct {
	names []string
	pairs []*dto.LabelPair // sorted by name
	err   error
}

// NewLabels prepares label values in the order of names, which must be the Labels
// of every family that gets them.
func NewLabels(names []string, values ...string) *Labels {
	return (&Labels{}).And(names, values...)
}

// And prepares the values of further labels beside those of l, which are not kept a
// second time. names are all labels, those of l first.
func (l *Labels) And(names []string, values ...string) *Labels {
	known := len(l.names)
	all := &Labels{names: names, err: l.err}
	switch {
	case len(names) != known+len(values):
		all.err = fmt.Errorf("%d label values for the %d labels %q", known+len(values), len(names), names)
	case !slices.Equal(names[:known], l.names):
		all.err = fmt.Errorf("labels %q do not begin with %q", names, l.names)
	}
	if all.err != nil {
		return all
	}
	all.pairs = append(make([]*dto.LabelPair, 0, len(names)), l.pairs...)
	for i, name := range names[known:] {
		if !utf8.ValidString(values[i]) {
			all.err = fmt.Errorf("label %s: %q is not UTF-8", name, values[i])
		}
		all.pairs = append(all.pairs, &dto.LabelPair{Name: &names[known+i], Value: &values[i]})
	}
	slices.SortFunc(all.pairs, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

// With is one series of the family. What is wrong with the labels shows like in
// Metric.
func (f *Family) With(value float64, labels *Labels) prometheus.Metric {
	switch {
	case f.buckets != nil:
		return prometheus.NewInvalidMetric(f.desc, errIsAHistogram)
	case labels.err != nil:
		return prometheus.NewInvalidMetric(f.desc, labels.err)
	case !slices.Equal(f.Labels, labels.names):
		return prometheus.NewInvalidMetric(f.desc, fmt.Errorf("labels %q in place of %q", labels.names, f.Labels))
	}
	return &sharedMetric{family: f, labels: labels, value: value}
}

// sharedMetric is a gauge or a counter whose labels others have too.
type sharedMetric struct {
	family *Family
	labels *Labels
	value  float64
}

func (m *sharedMetric) Desc() *prometheus.Desc { return m.family.desc }

func (m *sharedMetric) Write(out *dto.Metric) error {
	out.Label = m.labels.pairs
	if m.family.Type == prometheus.CounterValue {
		out.Counter = &dto.Counter{Value: &m.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &m.value}
	}
	return nil
}

// Histogram begins a series of a family of histograms, with the label values in
// the order of f.Labels. What is wrong with it shows like in Metric.
func (f *Family) Histogram(labelValues ...string) *Histogram {
	h := &Histogram{desc: f.desc}
	if f.buckets == nil {
		h.err = errNotAHistogram
		return h
	}
	name, help := f.Name, f.Help
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                         f.buckets,
		NativeHistogramBucketFactor:     nativeFactor,
		NativeHistogramMaxBucketNumber:  nativeMaxBuckets,
		NativeHistogramMinResetDuration: nativeMinReset,
	}, f.Labels)
	h.observer, h.err = vec.GetMetricWithLabelValues(labelValues...)
	return h
}

// Histogram is one series that a Collector keeps from refresh to refresh.
type Histogram struct {
	desc     *prometheus.Desc
	observer prometheus.Observer
	err      error
}

// Observe adds one value. It may be called by several goroutines at once.
func (h *Histogram) Observe(value float64) {
	if h.err == nil {
		h.observer.Observe(value)
	}
}

// Metric is the series as it is now; what is observed later does not change it.
func (h *Histogram) Metric() prometheus.Metric {
	if h.err != nil {
		return prometheus.NewInvalidMetric(h.desc, h.err)
	}
	live, ok := h.observer.(prometheus.Metric)
	if !ok {
		return prometheus.NewInvalidMetric(h.desc, errNotAHistogram)
	}
	m := &constHistogram{desc: h.desc}
	if err := live.Write(&m.state); err != nil {
		return prometheus.NewInvalidMetric(h.desc, err)
	}
	return m
}

// constHistogram is a histogram at one moment. Nobody writes to its state.
type constHistogram struct {
	desc  *prometheus.Desc
	state dto.Metric
}

func (m *constHistogram) Desc() *prometheus.Desc { return m.desc }

func (m *constHistogram) Write(out *dto.Metric) error {
	out.Label, out.Histogram = m.state.Label, m.state.Histogram
	return nil
}

// Bool is the value of a gauge that answers a yes-or-no question.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
