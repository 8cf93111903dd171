package collector

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Family describes one metric family: what stands in its HELP and TYPE lines,
// and which labels its series carry.
type Family struct {
	Name   string
	Help   string
	Type   prometheus.ValueType
	Labels []string

	desc *prometheus.Desc
}

// NewGauge describes a family of gauges.
func NewGauge(name, help string, labels ...string) *Family {
	return newFamily(name, help, prometheus.GaugeValue, labels)
}

// NewCounter describes a family of counters; its name ends in _total.
func NewCounter(name, help string, labels ...string) *Family {
	return newFamily(name, help, prometheus.CounterValue, labels)
}

func newFamily(name, help string, t prometheus.ValueType, labels []string) *Family {
	return &Family{
		Name: name, Help: help, Type: t, Labels: labels,
		desc: prometheus.NewDesc(name, help, labels, nil),
	}
}

// TypeName is the word of the TYPE line: "gauge" or "counter".
func (f *Family) TypeName() string {
	if f.Type == prometheus.CounterValue {
		return "counter"
	}
	return "gauge"
}

// Describe sends what a registry needs to know of the family.
func (f *Family) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }

// Metric is one series of the family with the label values in the order of
// f.Labels. A wrong number of values, or a value that is not UTF-8, makes a
// metric that a gather reports as an error; it never panics.
func (f *Family) Metric(value float64, labelValues ...string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(f.desc, f.Type, value, labelValues...)
	if err != nil {
		return prometheus.NewInvalidMetric(f.desc, err)
	}
	return m
}

// Bool is the value of a gauge that answers a yes-or-no question.
func Bool(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
