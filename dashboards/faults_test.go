package dashboards_test

import (
	"os"
	"strings"
	"testing"
)

// Where the data sources of a panel and of a query are.
const (
	panelSource = `"h": 8},
      "datasource": {"type": "prometheus", "uid": "${datasource}"},`
	querySource = `"targets": [
        {
          "datasource": {"type": "prometheus", "uid": `
)

// faults are what the linter must find in a dashboard that is good but for one
// text in the place of another. want is a part of what it says.
var faults = []struct{ name, old, new, want string }{
	{"unknown field", `"uid": "good"`, `"__inputs": [], "uid": "good"`, `unknown field "__inputs"`},
	{"unknown option", `"frameIndex": 0`, `"frameIndexes": 0`, `unknown field "frameIndexes"`},
	{"two documents", `"uid": "good"`, `"uid": "good"} {`, "not a dashboard"},
	{"uid", `"uid": "good"`, `"uid": "other"`, "is not the name of the file"},
	{"title", `"title": "Good"`, `"title": ""`, "no title or description"},
	{"schema version", `"schemaVersion": 42`, `"schemaVersion": 16`, "schemaVersion is 16"},
	{"editable", `"editable": false`, `"editable": true`, "editable"},
	{"editable by default", `"editable": false,`, ``, "editable"},
	{"tags", `"tags": ["a-tag"],`, `"tags": [],`, "no tags"},
	{"refresh", `"refresh": "1m"`, `"refresh": ""`, "no tags, refresh"},
	{"timezone", `"timezone": "browser"`, `"timezone": ""`, "or timezone"},
	{"link without variables", `"includeVars": true`, `"includeVars": false`, "keeps variables and time"},
	{"link without time", `"keepTime": true`, `"keepTime": false`, "keeps variables and time"},

	{"variable without label", `"label": "Cluster"`, `"label": ""`, "the variable cluster is hidden, or has no label"},
	{"variables in another order", `"name": "node"`, `"name": "cluster"`, "the variables are datasource cluster cluster"},
	{"other kind of data source", `"query": "prometheus"`, `"query": "loki"`, "does not choose a Prometheus"},
	{"variable without refresh", `"refresh": 2`, `"refresh": 1`, "does not refresh"},
	{"variable without all", `"allValue": ".*"`, `"allValue": ".+"`, "does not begin with all"},
	{"variable that begins elsewhere", `"$__all"`, `"c1"`, "does not begin with all"},
	{"several clusters", `"value": "$__all"}`, `"value": "$__all"}, "multi": true`, "possible to choose several"},
	{"variable of another label", `, cluster)"`, `, instance)"`, "does not list the values of the label cluster"},
	{"variable of an unknown metric", `label_values(ack_exporter_collector_success{`, `label_values(node_uname_info{`, "the exporter has no metric node_uname_info"},
	{"nodes of all clusters", `{job='ack-exporter', cluster=~'$cluster'}, node)`, `{job='ack-exporter'}, node)`, "lists nodes of other clusters"},
	{"variable query", `"refId": "StandardVariableQuery"`, `"refID2": ""`, `unknown field "refID2"`},

	{"same id", `"id": 3`, `"id": 2`, "is not its own"},
	{"overlap", `"x": 12, "y": 1,`, `"x": 11, "y": 1,`, `"Events" lies on "Usage"`},
	{"outside of the grid", `"x": 18, "y": 9, "w": 6`, `"x": 18, "y": 9, "w": 7`, "outside of the grid"},
	{"unknown type", `"type": "bargauge"`, `"type": "gauge"`, `no panel type "gauge"`},
	{"collapsed row", `"collapsed": false`, `"collapsed": true`, "the row is collapsed"},
	{"no text", `"Read this."`, `" "`, "no Markdown text"},
	{"panel without title", `"title": "Usage"`, `"title": ""`, "panel 2 has no title"},
	{"fixed data source", `"${datasource}"`, `"P1"`, "good.json: the data source is not the one"},
	{"fixed data source of a panel", panelSource, `"h": 8},`, "good.json: Usage: the data source is not the one"},
	{"data source of an import", querySource + `"${datasource}"`, querySource + `"${DS_PROMETHEUS}"`, "good.json: Usage: the data source is not the one"},
	{"no description", `"How full. Watched by ACKConntrackTableNearlyFull."`, `""`, "does not tell which alert"},
	{"description without alerts", `"What the kernel wrote. No alert watches it."`, `"What the kernel wrote."`, "does not tell which alert"},
	{"unknown alert", `ACKConntrackDropping`, `ACKConntrackDropped`, "there is no alert ACKConntrackDropped"},
	{"unit", `"unit": "cps"`, `"unit": "cpss"`, `the unit "cpss"`},
	{"no unit", `"unit": "percentunit"`, `"unit": ""`, `the unit ""`},
	{"unit of a column", `{"id": "unit", "value": "s"}`, `{"id": "unit", "value": "seconds"}`, `the unit "seconds"`},
	{"property", `{"id": "unit", "value": "s"}`, `{"id": "unit", "value": 5}`, `the property unit of "UDP"`},
	{"threshold of no alert", `{"color": "yellow", "value": 0.8}`, `{"color": "yellow", "value": 0.7}`, "the threshold 0.7"},
	{"threshold of a column", `{"color": "yellow", "value": 11}`, `{"color": "yellow", "value": 12}`, "the threshold 12"},
	{"thresholds in disorder", `{"color": "yellow", "value": 0.8}, {"color": "red", "value": 0.9}`, `{"color": "red", "value": 0.9}, {"color": "yellow", "value": 0.8}`, "do not rise"},
	{"thresholds without base", `"value": null`, `"value": 0`, "begin with a base"},
	{"link to nowhere", `"/d/good?`, `"/d/gone?`, "leads to no dashboard"},
	{"link without cluster", `&${cluster:queryparam}`, ``, "does not take ${cluster:queryparam} along"},
	{"link without time range", `&${__url_time_range}`, ``, "does not take ${__url_time_range} along"},
	{"tooltip", `"mode": "multi"`, `"mode": "single"`, "the tooltip"},
	{"legend", `"displayMode": "table"`, `"displayMode": "list"`, "the legend is no table"},

	{"same refId", `"refId": "B"`, `"refId": "A"`, `the refId "A" is not unique`},
	{"graph of one point", `"instant": false`, `"instant": true`, "a timeseries wants"},
	{"table of series", `"format": "table"`, `"format": "time_series"`, "a table wants"},
	{"not PromQL", `sum by (event) (`, `sum by event (`, "unexpected"},
	{"unknown variable", `$__rate_interval`, `$__interval`, "there is no variable $__interval"},
	{"unknown metric", `ack_ipvs_services{`, `ack_ipvs_service{`, "there is no metric ack_ipvs_service"},
	{"unknown label of a matcher", `protocol='udp'`, `proto='udp'`, "ack_ipvs_timeout_seconds has no label proto"},
	{"all clusters", `ack_conntrack_entries{job='ack-exporter', cluster=~'$cluster',`, `ack_conntrack_entries{job='ack-exporter',`, "ack_conntrack_entries: no matcher for the chosen cluster"},
	{"all nodes", `ack_conntrack_drops_total{job='ack-exporter', cluster=~'$cluster', node=~'$node'}`, `ack_conntrack_drops_total{job='ack-exporter', cluster=~'$cluster'}`, "no matcher for the chosen node"},
	{"one cluster", `cluster=~'$cluster', node=~'$node'}))`, `cluster='$cluster', node=~'$node'}))`, "no matcher for the chosen cluster"},
	{"any job", `ack_ipvs_services{job='ack-exporter', `, `ack_ipvs_services{`, "no matcher for its job"},
	{"counter as it is", `increase(ack_conntrack_drops_total{job='ack-exporter', cluster=~'$cluster', node=~'$node'}[1h])`, `ack_conntrack_drops_total{job='ack-exporter', cluster=~'$cluster', node=~'$node'}`, "a counter wants a rate"},
	{"rate of a gauge", `ack_kernel_log_events_total{`, `ack_conntrack_entries{`, "a counter wants a rate"},
	{"fixed window", `[$__rate_interval]`, `[5m]`, "a window is neither"},
	{"hidden window", `Dropped within the last hour`, `Dropped`, "a window is neither"},
	{"short window", `[1h]`, `[30m]`, "a window is neither"},
	{"subquery", `max by (protocol) (max by (cluster, node, protocol) (ack_ipvs_services{job='ack-exporter', cluster=~'$cluster', node=~'$node'}))`, `max_over_time(sum by (protocol) (ack_ipvs_services)[1h:1m])`, "a subquery"},
	{"sum over pods", `max by (cluster, node, event)`, `sum by (cluster, node, event)`, `no "max by"`},
	{"pods kept", `max by (cluster, node, event)`, `max without (pod)`, `no "max by"`},
	{"nodes mixed up", `max by (cluster, node, event)`, `max by (node, event)`, `no "max by"`},
	{"label lost", `max by (cluster, node, protocol)`, `max by (cluster, node)`, `no "max by"`},
	{"rate of a sum", `max by (cluster, node, event) (rate(`, `max by (cluster, node, event) (0 + rate(`, `no "max by"`},
	{"unknown label of an aggregation", `sum by (event)`, `sum by (events)`, "have no label events"},
	{"unknown label that is joined", `max by (protocol) (max by (cluster, node, protocol) (ack_ipvs_services{job='ack-exporter', cluster=~'$cluster', node=~'$node'}))`, `max by (protocol) (label_join(max by (cluster, node, protocol) (ack_ipvs_services{job='ack-exporter', cluster=~'$cluster', node=~'$node'}), 'about', '', 'state'))`, "have no label state"},
	{"labels that do not match", `/ (max by (cluster, node) (ack_conntrack_entries_limit{job='ack-exporter', cluster=~'$cluster', node=~'$node'})`, `/ (max(max by (cluster, node) (ack_conntrack_entries_limit{job='ack-exporter', cluster=~'$cluster', node=~'$node'}))`, "cannot be matched"},
	{"nothing without a word", `"noValue": "none"`, `"noValue": ""`, "noValue"},
	{"legend of an unknown label", `{{event}}`, `{{kind}}`, `the legend "{{kind}}" names kind`},
	{"legend that leaves out a label", `{{node}} {{cluster}}`, `{{node}}`, "the series have cluster, node"},
	{"no legend", `"legendFormat": "{{protocol}}"`, `"legendFormat": ""`, `the legend ""`},

	{"queries of different labels", `max by (cluster, node) (ack_ipvs_timeout_seconds{job='ack-exporter', cluster=~'$cluster', node=~'$node', protocol='tcp'})`, `max by (cluster, node, protocol) (ack_ipvs_timeout_seconds{job='ack-exporter', cluster=~'$cluster', node=~'$node'})`, "the labels of the queries differ"},
	{"no merge", `{"id": "merge", "options": {}},`, ``, "the transformations are"},
	{"time shown", `{"Time": true}`, `{}`, "the column Time"},
	{"field without a column", `, "Value #B": "TCP"`, ``, "the columns are"},
	{"column without a place", `, "Value #B": 3`, ``, "the columns are"},
	{"empty cells that speak", `{"id": "noValue", "value": ""}`, `{"id": "noValue", "value": "none"}`, "empty cells are not left empty"},
	{"override of no column", `"options": "UDP"`, `"options": "udp"`, `no column "udp" to override`},
	{"order of no column", `"displayName": "UDP"`, `"displayName": "udp"`, `no column "udp" to sort by`},
	{"no order", `"sortBy": [{"displayName": "UDP", "desc": true}]`, `"sortBy": []`, "in no order"},
}

// TestFaults proves that each rule of the linter finds what it is for.
func TestFaults(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/good.json")
	if err != nil {
		t.Fatal(err)
	}
	l := newLinter(t, readRules(t))
	if findings := l.lint(map[string][]byte{"good.json": good}); len(findings) > 0 {
		t.Fatalf("the linter finds faults in a dashboard that has none:\n%s", strings.Join(findings, "\n"))
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(string(good), fault.old) {
				t.Fatalf("testdata/good.json does not contain %s", fault.old)
			}
			bad := strings.Replace(string(good), fault.old, fault.new, 1)
			findings := strings.Join(l.lint(map[string][]byte{"good.json": []byte(bad)}), "\n")
			if !strings.Contains(findings, fault.want) {
				t.Errorf("the linter does not say %q, but:\n%s", fault.want, findings)
			}
		})
	}
}

// TestTwins proves that two dashboards cannot have the same uid or title.
func TestTwins(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/good.json")
	if err != nil {
		t.Fatal(err)
	}
	l := newLinter(t, readRules(t))
	for _, twin := range []string{
		strings.Replace(string(good), `"title": "Good"`, `"title": "Better"`, 1),
		strings.Replace(string(good), `"uid": "good"`, `"uid": "better"`, 1),
	} {
		findings := strings.Join(l.lint(map[string][]byte{"better.json": []byte(twin), "good.json": good}), "\n")
		if !strings.Contains(findings, "is that of another one") {
			t.Errorf("the linter does not see that two dashboards have one name:\n%s", findings)
		}
	}
}
