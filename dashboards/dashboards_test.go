// Package dashboards_test proves that the dashboards say what is true: a linter
// checks each file against the metrics that the exporter has and the alerts that
// watch them. That they look right is shown in e2e/dashboards.
package dashboards_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"ack-exporter/dashboards"
	"ack-exporter/mixin"
)

const (
	metricNames = "../cmd/ack-exporter/testdata/metrics.txt"
	rulesFile   = "../alerts/ack-exporter.rules.yaml"
)

// foreign are metrics that the exporter does not name: those that Prometheus
// makes, those of the libraries it is made of, and those of other exporters.
func foreign() map[string]metric {
	alert := []string{
		"alertname", "severity", "check", "collector", "configmap", "event", "job_name", "key", "kind", "load_balancer_id", "location", "product",
		"protocol", "quota", "reason", "result", "route_table_id", "server", "source", "subject", "type", "use", "zone",
	}
	// Sums over replicas are what they are for.
	coreDNS := func(labels ...string) metric {
		return metric{labels: append(labels, "instance"), counter: true, ofCluster: true}
	}
	job := func(labels ...string) metric {
		return metric{labels: append(labels, "namespace", "job_name"), scraped: true, ofCluster: true}
	}
	container := metric{labels: []string{"namespace", "pod", "container"}, counter: true, ofCluster: true}
	return map[string]metric{
		"ALERTS":                  {labels: append(alert, "alertstate")},
		"ALERTS_FOR_STATE":        {labels: alert},
		"ack_exporter_build_info": {labels: []string{"version", "revision", "goversion"}, scraped: true},
		"coredns_dns_request_duration_seconds_bucket":   coreDNS("le"),
		"coredns_dns_requests_total":                    coreDNS(),
		"coredns_dns_responses_total":                   coreDNS("rcode"),
		"coredns_forward_healthcheck_broken_total":      coreDNS(),
		"coredns_forward_healthcheck_failures_total":    coreDNS("to"),
		"coredns_proxy_healthcheck_failures_total":      coreDNS("proxy_name", "to"),
		"coredns_proxy_request_duration_seconds_bucket": coreDNS("to", "le"),
		"container_cpu_cfs_periods_total":               container,
		"container_cpu_cfs_throttled_periods_total":     container,
		"certmanager_certificate_ready_status":          {labels: []string{"namespace", "exported_namespace", "name", "condition"}, ofCluster: true},
		"go_goroutines":                                 {scraped: true},
		"kube_job_complete":                             job("condition"),
		"kube_job_failed":                               job("condition"),
		"kube_job_status_start_time":                    job(),
		"kube_node_info":                                {labels: []string{"node"}, scraped: true},
		"process_cpu_seconds_total":                     {counter: true, scraped: true},
		"process_resident_memory_bytes":                 {scraped: true},
		"scrape_duration_seconds":                       {scraped: true},
		"scrape_samples_scraped":                        {scraped: true},
		"up":                                            {scraped: true},
	}
}

// ofCluster matches metrics of the cluster role.
var ofCluster = regexp.MustCompile(`^ack_(coredns|exporter_cloud|kubeproxy|nodelocaldns|slb|vpc)_`)

// aboutNodes matches metrics of the cluster role that name the node that they are about
// as the target of a node would.
var aboutNodes = regexp.MustCompile(`^ack_(instance|node)_`)

var familyLine = regexp.MustCompile(`(?m)^(\w+)\{([\w,]*)\} (\w+)$`)

// families are the metrics that the exporter has. Of a histogram, panels show
// the buckets.
func families(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile(metricNames)
	if err != nil {
		t.Fatal(err)
	}
	lines := familyLine.FindAllStringSubmatch(string(text), -1)
	if len(lines) != strings.Count(string(text), "\n") {
		t.Fatalf("%s has lines that are no metrics", metricNames)
	}
	all := map[string]metric{}
	for _, line := range lines {
		m := metric{counter: line[3] == "counter", scraped: true, ofCluster: ofCluster.MatchString(line[1])}
		if line[2] != "" {
			m.labels = strings.Split(line[2], ",")
		}
		if aboutNodes.MatchString(line[1]) {
			m.labels = slices.DeleteFunc(m.labels, func(label string) bool { return label == "node" })
		}
		name := line[1]
		if line[3] == "histogram" {
			name, m.counter, m.labels = name+"_bucket", true, append(m.labels, "le")
		}
		all[name] = m
	}
	return all
}

// newLinter makes a linter for dashboards that were rendered with these rules.
func newLinter(t *testing.T, rules []byte) *linter {
	t.Helper()
	l := &linter{clusterLabel: "cluster", nodeLabel: "node", metrics: foreign(), levels: map[string][]float64{}}
	maps.Copy(l.metrics, families(t))
	promql := parser.NewParser(parser.Options{})
	groups, errs := rulefmt.Parse(rules, false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if rule.Record != "" {
				l.metrics[rule.Record] = metric{}
				continue
			}
			l.levels[rule.Alert] = append(l.levels[rule.Alert], levels(t, promql, rule.Expr)...)
		}
	}
	return l
}

// levels are the numbers that an expression compares with.
func levels(t *testing.T, promql parser.Parser, text string) []float64 {
	t.Helper()
	expr, err := promql.ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	var all []float64
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if b, ok := n.(*parser.BinaryExpr); ok && b.Op.IsComparisonOperator() {
			if number, ok := b.RHS.(*parser.NumberLiteral); ok {
				all = append(all, number.Val)
			}
		}
		return nil
	})
	return all
}

// committed are the dashboards as they are shipped, by file name.
func committed(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := fs.Glob(dashboards.Files(), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[name], err = fs.ReadFile(dashboards.Files(), name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func readRules(t *testing.T) []byte {
	t.Helper()
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestLint lints the dashboards.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, finding := range newLinter(t, readRules(t)).lint(committed(t)) {
		t.Error(finding)
	}
}

// TestNames keeps the uids, which links and bookmarks depend on.
func TestNames(t *testing.T) {
	t.Parallel()
	want := []string{
		"ack-exporter-certificates.json",
		"ack-exporter-cloud-network.json",
		"ack-exporter-cluster.json",
		"ack-exporter-conntrack-ipvs.json",
		"ack-exporter-dns.json",
		"ack-exporter-health.json",
		"ack-exporter-instances.json",
		"ack-exporter-load-balancers.json",
		"ack-exporter-node.json",
		"ack-exporter-overview.json",
	}
	if got := slices.Sorted(maps.Keys(committed(t))); !slices.Equal(got, want) {
		t.Errorf("the dashboards are %v, and were %v", got, want)
	}
}

// TestComplete proves that the dashboards show every metric of the exporter, and
// that every alert names a panel that shows what it watches.
func TestComplete(t *testing.T) {
	t.Parallel()
	shown, named := map[string]bool{}, map[string]bool{}
	word := regexp.MustCompile(`\w+`)
	for name, file := range committed(t) {
		var d dashboard
		if err := strict(file, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				for _, w := range word.FindAllString(q.Expr, -1) {
					shown[w] = true
				}
			}
			for _, a := range alertName.FindAllString(p.Description, -1) {
				named[a] = true
			}
		}
	}
	for metric := range families(t) {
		if !shown[metric] {
			t.Errorf("no panel shows %s", metric)
		}
	}
	for alert := range newLinter(t, readRules(t)).levels {
		if !named[alert] {
			t.Errorf("no panel says that %s watches it", alert)
		}
	}
}

// otherConfig changes everything in _config that dashboards depend on.
const otherConfig = `{
  clusterLabel: 'k8s',
  nodeLabel: 'machine',
  ackExporterSelector: 'job="others"',
  dashboardTitlePrefix: 'Others / ',
  dashboardTags: ['others'],
  dashboardRefresh: '5m',
  dashboardTimezone: 'utc',
  dashboardTop: 7,
  runbookURLPrefix: 'https://runbooks.example',
  alerts+: {
    ACKConntrackTableNearlyFull+: { warning+: { above: 0.71 }, critical+: { above: 0.83 } },
    ACKConntrackDNSDominates+: { warning+: { above: 0.37, usage: 0.44 } },
    ACKConntrackInsertRaces+: { warning+: { above: 0.29 } },
    ACKConntrackLimitLow+: { warning+: { below: 4242 } },
    ACKConntrackUDPStreamTimeoutLong+: { warning+: { above: 177 } },
    ACKIPVSUDPTimeoutLong+: { warning+: { above: 17 } },
    ACKIPVSStaleUDPConnections+: { warning+: { above: 5 }, critical+: { above: 19 } },
    ACKVPCResolverFailing+: { warning+: { above: 0.23 }, critical+: { above: 0.77 } },
    ACKDNSSlow+: { warning+: { above: 0.025 } },
  },
}`

// TestConfig proves that the dashboards follow _config: rendered with another
// one, they pass the linter, which compares their thresholds with the levels of
// the alerts, and nothing of the defaults is left.
func TestConfig(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render(otherConfig)
	if err != nil {
		t.Fatal(err)
	}
	l := newLinter(t, pack.Rules)
	l.clusterLabel, l.nodeLabel = "k8s", "machine"
	for _, finding := range l.lint(pack.Dashboards) {
		t.Error(finding)
	}
	steps := map[string]string{}
	for name, file := range pack.Dashboards {
		for _, left := range []string{"(cluster", `job=\"ack-exporter\"`, "ACK / ", "topk(10", "localhost"} {
			if strings.Contains(string(file), left) {
				t.Errorf("%s: %s is left of the defaults", name, left)
			}
		}
		var d dashboard
		if err := strict(file, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.HasPrefix(d.Title, "Others / ") || !slices.Equal(d.Tags, []string{"others"}) || d.Refresh != "5m" || d.Timezone != "utc" {
			t.Errorf("%s: title %q, tags %v, refresh %s, timezone %s", name, d.Title, d.Tags, d.Refresh, d.Timezone)
		}
		for i := range d.Panels {
			steps[d.UID+"/"+d.Panels[i].Title] = thresholdsOf(&check{panel: &d.Panels[i]})
		}
	}
	for panel, want := range map[string]string{
		"ack-exporter-overview/Fullest connection tracking tables": "yellow 0.71, red 0.83",
		"ack-exporter-overview/Stale UDP connections of IPVS":      "yellow 6, red 20",
		"ack-exporter-conntrack-ipvs/Usage":                        "yellow 0.71, red 0.83",
		"ack-exporter-conntrack-ipvs/Share of DNS":                 "yellow 0.37",
		"ack-exporter-conntrack-ipvs/Packets lost to races":        "yellow 0.29",
		"ack-exporter-conntrack-ipvs/Size of the table":            "green 4242",
		"ack-exporter-conntrack-ipvs/Longest UDP stream timeout":   "yellow 178",
		"ack-exporter-conntrack-ipvs/Timeouts of IPVS":             "yellow 18",
		"ack-exporter-conntrack-ipvs/Stale UDP connections":        "yellow 6, red 20",
		"ack-exporter-dns/Resolvers of the VPC":                    "yellow 0.23, red 0.77",
		"ack-exporter-dns/Nodes with slow answers":                 "yellow 0.025",
		"ack-exporter-node/Fullest table":                          "yellow 0.71, red 0.83",
		"ack-exporter-node/Stale UDP connections":                  "yellow 6, red 20",
	} {
		if steps[panel] != want {
			t.Errorf("%s: the thresholds are %q, not %q", panel, steps[panel], want)
		}
	}
}

// thresholdsOf writes the thresholds of a panel above their base.
func thresholdsOf(c *check) string {
	var all []string
	for _, t := range append(properties[thresholds](c, "thresholds"), c.panel.FieldConfig.Defaults.Thresholds) {
		for _, step := range t.Steps[min(1, len(t.Steps)):] {
			all = append(all, fmt.Sprintf("%s %v", step.Color, *step.Value))
		}
	}
	return strings.Join(all, ", ")
}
