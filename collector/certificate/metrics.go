package certificate

import (
	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
)

// metrics says e in series. Certificates that are there twice are told once.
func (e Entry) metrics() []prometheus.Metric {
	var metrics []prometheus.Metric
	type identity struct{ key, subject, serial string }
	seen := make(map[identity]bool, len(e.Certificates))
	source := string(e.Source)
	for _, c := range e.Certificates {
		id := identity{c.Key, c.Subject, c.Serial}
		if seen[id] {
			continue
		}
		seen[id] = true
		labels := collector.NewLabels(familyNotAfter.Labels, source, e.Location, c.Key, c.Subject, c.Serial)
		metrics = append(metrics,
			familyNotAfter.With(float64(c.NotAfter.Unix()), labels),
			familyInfo.With(1, labels.And(familyInfo.Labels, c.Issuer, string(c.Role), string(c.Class))),
		)
		if !c.NotBefore.IsZero() {
			metrics = append(metrics, familyNotBefore.With(float64(c.NotBefore.Unix()), labels))
		}
	}
	failures := make(map[Failure]bool, len(e.Failures))
	for _, f := range e.Failures {
		if !failures[f] {
			failures[f] = true
			metrics = append(metrics, familyErrors.Metric(1, source, e.Location, f.Key, string(f.Reason)))
		}
	}
	flaws := make(map[Flaw]bool, len(e.Flaws))
	for _, f := range e.Flaws {
		if !flaws[f] {
			flaws[f] = true
			metrics = append(metrics, familyProblem.Metric(1, source, e.Location, f.Key, string(f.Problem)))
		}
	}
	return metrics
}

// exposition says all entries of these sources in series. A source without a
// location is told as 0.
func exposition(entries []Entry, sources ...Source) []prometheus.Metric {
	var metrics []prometheus.Metric
	locations := make(map[Source]int)
	for _, e := range entries {
		if len(e.Certificates) > 0 {
			locations[e.Source]++
		}
		metrics = append(metrics, e.metrics()...)
	}
	for _, source := range sources {
		metrics = append(metrics, familyLocations.Metric(float64(locations[source]), string(source)))
	}
	return metrics
}
