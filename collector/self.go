package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The metrics that every collector has, whatever happens to it.
var (
	familySuccess = NewGauge("ack_exporter_collector_success",
		"Whether the last refresh of the collector succeeded. 1 also where the collector is not applicable; 0 until the first refresh has ended.",
		"collector")
	familyApplicable = NewGauge("ack_exporter_collector_applicable",
		"Whether the subject of the collector exists here. 0 is not a failure: the collector has nothing to report.",
		"collector")
	familyLastSuccess = NewGauge("ack_exporter_collector_last_success_timestamp_seconds",
		"When the last refresh that succeeded ended, in Unix time. 0 until the first.",
		"collector")
	familyDuration = NewGauge("ack_exporter_collector_duration_seconds",
		"How long the last refresh took.",
		"collector")
	familyInterval = NewGauge("ack_exporter_collector_refresh_interval_seconds",
		"Pause between two refreshes in the background that is in force now. 0 where the collector reads in the scrape.",
		"collector")
	familyErrors = NewCounter("ack_exporter_collector_errors_total",
		"Refreshes that failed, or succeeded in part only, by reason.",
		"collector", "reason")
)

func selfFamilies() []*Family {
	return []*Family{familySuccess, familyApplicable, familyLastSuccess, familyDuration, familyInterval, familyErrors}
}

func selfMetrics(name string, s state) []prometheus.Metric {
	metrics := []prometheus.Metric{
		familySuccess.Metric(Bool(s.success), name),
		familyApplicable.Metric(Bool(s.applicable), name),
		familyLastSuccess.Metric(unixSeconds(s.lastSuccess), name),
		familyDuration.Metric(s.duration.Seconds(), name),
		familyInterval.Metric(s.pause.Seconds(), name),
	}
	for _, reason := range Reasons() {
		metrics = append(metrics, familyErrors.Metric(s.errors[reason], name, string(reason)))
	}
	return metrics
}

// unixSeconds is t in Unix time, 0 for the zero time.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / float64(time.Second)
}
