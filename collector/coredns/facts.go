package coredns

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"ack-exporter/collector"
)

const (
	// maxMetrics bounds what is read of the metrics of a replica, in bytes, maxLine a
	// line of them, and maxKept what is kept of them.
	maxMetrics = 16 << 20
	maxLine    = 64 << 10
	maxKept    = 256 << 10
)

// The metrics of CoreDNS that are used.
const (
	metricBuild        = "coredns_build_info"
	metricLoaded       = "coredns_reload_version_info"
	metricReloadFailed = "coredns_reload_failed_total"
	metricPanics       = "coredns_panics_total"
	metricAPIRequests  = "coredns_kubernetes_rest_client_requests_total"
)

func used() []string {
	return []string{metricBuild, metricLoaded, metricReloadFailed, metricPanics, metricAPIRequests}
}

// Facts is what a replica tells by its own metrics. A nil field is not told.
type Facts struct {
	Version string
	// Loaded names the Corefile that the replica took up last, also where it then
	// could not use it. It tells none before the first change since its start.
	Loaded         *Sum
	ReloadFailures *float64
	Panics         *float64
	// APIRequests counts its requests to the API server by how they ended.
	APIRequests map[string]float64
}

// Sum is the hash of a Corefile.
type Sum struct{ Algorithm, Value string }

// Ways in which a request of CoreDNS to the API server can end.
const (
	apiOK          = "ok"
	apiDenied      = "denied"
	apiThrottled   = "throttled"
	apiRefused     = "refused"
	apiFailed      = "failed"
	apiUnreachable = "unreachable"
)

func apiResults() []string {
	return []string{apiOK, apiDenied, apiThrottled, apiRefused, apiFailed, apiUnreachable}
}

// readFacts reads metrics in the text format. Of the many that CoreDNS has only the
// lines that are used are kept and parsed.
func readFacts(r io.Reader) (*Facts, error) {
	kept, err := filter(r)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(kept)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w: %w", err, collector.ErrDecode)
	}
	build := families[metricBuild].GetMetric()
	if len(build) == 0 {
		return nil, fmt.Errorf("metrics: no %s: %w", metricBuild, collector.ErrDecode)
	}
	return &Facts{
		Version:        label(build[0], "version"),
		Loaded:         loadedSum(families[metricLoaded]),
		ReloadFailures: total(families[metricReloadFailed]),
		Panics:         total(families[metricPanics]),
		APIRequests:    apiRequests(families[metricAPIRequests]),
	}, nil
}

func filter(r io.Reader) (io.Reader, error) {
	limited := &io.LimitedReader{R: r, N: maxMetrics + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxLine)
	var kept bytes.Buffer
	for lines.Scan() {
		if !isUsed(lines.Bytes()) {
			continue
		}
		kept.Write(lines.Bytes())
		kept.WriteByte('\n')
		if kept.Len() > maxKept {
			return nil, fmt.Errorf("metrics: more than %d bytes that are used: %w", maxKept, collector.ErrDecode)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("metrics: more than %d bytes: %w", maxMetrics, collector.ErrDecode)
	}
	return &kept, nil
}

// isUsed tells whether a line is about a metric that is used.
func isUsed(line []byte) bool {
	name := bytes.TrimPrefix(line, []byte("# TYPE "))
	if end := bytes.IndexAny(name, "{ \t"); end >= 0 {
		name = name[:end]
	}
	return slices.Contains(used(), string(name))
}

func label(m *dto.Metric, name string) string {
	for _, pair := range m.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

func loadedSum(family *dto.MetricFamily) *Sum {
	for _, m := range family.GetMetric() {
		if value(family, m) == 1 {
			return &Sum{Algorithm: label(m, "hash"), Value: label(m, "value")}
		}
	}
	return nil
}

func total(family *dto.MetricFamily) *float64 {
	if len(family.GetMetric()) == 0 {
		return nil
	}
	sum := 0.0
	for _, m := range family.GetMetric() {
		sum += value(family, m)
	}
	return &sum
}

func value(family *dto.MetricFamily, m *dto.Metric) float64 {
	switch family.GetType() {
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue()
	case dto.MetricType_GAUGE:
		return m.GetGauge().GetValue()
	default:
		return m.GetUntyped().GetValue()
	}
}

func apiRequests(family *dto.MetricFamily) map[string]float64 {
	if len(family.GetMetric()) == 0 {
		return nil
	}
	counts := make(map[string]float64)
	for _, m := range family.GetMetric() {
		counts[apiResult(label(m, "code"))] += value(family, m)
	}
	return counts
}

// apiResult tells what a status code means. client-go writes a word in its place
// where no answer came.
func apiResult(code string) string {
	switch {
	case code == "401" || code == "403":
		return apiDenied
	case code == "429":
		return apiThrottled
	case len(code) != 3:
		return apiUnreachable
	case code[0] == '4':
		return apiRefused
	case code[0] == '5':
		return apiFailed
	default:
		return apiOK
	}
}
