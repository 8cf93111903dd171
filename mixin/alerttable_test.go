package mixin_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"ack-exporter/mixin"
)

// tablesOfAlerts are the panels that list the alerts that fire, by dashboard.
var tablesOfAlerts = map[string]string{
	"ack-exporter-overview.json": "Alerts that fire",
	"ack-exporter-node.json":     "Alerts that fire on these nodes",
}

// alertTable is what a panel asks for, with variables that choose everything.
func alertTable(t *testing.T, dashboard []byte, title string) string {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(dashboard, &d); err != nil {
		t.Fatal(err)
	}
	for _, panel := range d.Panels {
		if panel.Title == title && len(panel.Targets) == 1 {
			return strings.NewReplacer("$cluster", ".*", "$node", ".*").Replace(panel.Targets[0].Expr)
		}
	}
	t.Fatalf("no panel %s with one query", title)
	return ""
}

// certificate are the labels that name a certificate together.
var certificate = []string{"key", "location", "source", "subject"}

// drifted are the labels of what is wrong with which load balancer.
var drifted = []string{"kind", "load_balancer_id"}

// joined are the labels that a query joins to one, sorted.
func joined(t *testing.T, query string) []string {
	t.Helper()
	expr, err := promQL().ParseExpr(query)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if call, ok := node.(*parser.Call); ok && call.Func.Name == "label_join" {
			for _, arg := range call.Args[3:] {
				names = append(names, arg.(*parser.StringLiteral).Val)
			}
		}
		return nil
	})
	slices.Sort(names)
	return names
}

// TestAlertTableKnowsLabels proves that the tables of alerts show the label that
// tells alerts of one name and node apart, and that no alert has two of them,
// which would be joined to one line, but for those that name a certificate, and what is
// wrong with which load balancer.
func TestAlertTableKnowsLabels(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render("{}")
	if err != nil {
		t.Fatal(err)
	}
	for file, title := range tablesOfAlerts {
		shown := joined(t, alertTable(t, pack.Dashboards[file], title))
		used := map[string]bool{}
		check := &conventions{cluster: "cluster", node: "node", records: map[string][]string{}}
		for _, rule := range parseRules(t, pack.Rules) {
			check.rule(rule)
			if rule.Alert == "" {
				continue
			}
			expr, err := promQL().ParseExpr(rule.Expr)
			if err != nil {
				t.Fatal(err)
			}
			own := map[string]bool{}
			for _, label := range check.labels(expr) {
				own[label] = label != "cluster" && label != "node"
			}
			maps.DeleteFunc(own, func(_ string, own bool) bool { return !own })
			names := slices.Sorted(maps.Keys(own))
			isOther := func(label string) bool { return !slices.Contains(certificate, label) }
			if len(own) > 1 && slices.ContainsFunc(names, isOther) && !slices.Equal(names, drifted) {
				t.Errorf("%s: more than one label tells its alerts apart: %v", rule.Alert, names)
			}
			maps.Copy(used, own)
		}
		if want := slices.Sorted(maps.Keys(used)); !slices.Equal(shown, want) {
			t.Errorf("%s: the table shows the labels %v; the alerts have %v", file, shown, want)
		}
	}
}

// TestAlertTableRows lets promtool answer what the tables ask: alerts that differ
// in one label only are rows of their own, and so are certificates.
func TestAlertTableRows(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render("{}")
	if err != nil {
		t.Fatal(err)
	}
	test := promtoolTest{Name: "rows", Interval: model.Duration(time.Minute)}
	fires := func(labels string, since string) {
		test.InputSeries = append(test.InputSeries,
			promtoolSeries{Series: `ALERTS{` + labels + `, alertstate="firing"}`, Values: "1x10"},
			promtoolSeries{Series: `ALERTS_FOR_STATE{` + labels + `}`, Values: since + "x10"})
	}
	const corefile = `alertname="ACKCoreDNSCorefileCheckFailed", cluster="prod", severity="warning"`
	const config = `alertname="ACKKubeProxyConfigInvalid", cluster="prod", severity="critical"`
	const replica = `alertname="ACKCoreDNSReplicaUnreachable", cluster="prod", severity="warning"`
	const expired = `alertname="ACKCertificateExpired", cluster="prod", severity="critical"`
	fires(corefile+`, check="health"`, "60")
	fires(corefile+`, check="ready"`, "120")
	fires(config+`, configmap="kube-proxy"`, "180")
	fires(config+`, configmap="kube-proxy-worker"`, "240")
	fires(replica+`, server="10.0.0.1"`, "300")
	fires(replica+`, server="10.0.0.2"`, "360")
	fires(`alertname="ACKIPForwardingOff", cluster="prod", node="n1", severity="critical"`, "420")
	fires(expired+`, source="secret", location="shop/tls", key="tls.crt", subject="shop.example.com"`, "480")
	fires(expired+`, source="secret", location="shop/tls", key="ca.crt", subject="ca"`, "540")
	fires(expired+`, source="webhook", location="ValidatingWebhookConfiguration/policy", key="check"`, "600")
	// One that waits is no row.
	test.InputSeries = append(test.InputSeries,
		promtoolSeries{Series: `ALERTS{` + corefile + `, check="errors", alertstate="pending"}`, Values: "1x10"},
		promtoolSeries{Series: `ALERTS_FOR_STATE{` + corefile + `, check="errors"}`, Values: "60x10"})
	rows := []promtoolSample{
		{Labels: `{` + corefile + `, about="health"}`, Value: 60_000},
		{Labels: `{` + corefile + `, about="ready"}`, Value: 120_000},
		{Labels: `{` + config + `, about="kube-proxy"}`, Value: 180_000},
		{Labels: `{` + config + `, about="kube-proxy-worker"}`, Value: 240_000},
		{Labels: `{` + replica + `, about="10.0.0.1"}`, Value: 300_000},
		{Labels: `{` + replica + `, about="10.0.0.2"}`, Value: 360_000},
		{Labels: `{alertname="ACKIPForwardingOff", cluster="prod", node="n1", severity="critical"}`, Value: 420_000},
		{Labels: `{` + expired + `, about="secret shop/tls tls.crt shop.example.com"}`, Value: 480_000},
		{Labels: `{` + expired + `, about="secret shop/tls ca.crt ca"}`, Value: 540_000},
		{Labels: `{` + expired + `, about="webhook ValidatingWebhookConfiguration/policy check"}`, Value: 600_000},
	}
	for file, title := range tablesOfAlerts {
		test.PromQLExprTests = append(test.PromQLExprTests, promtoolExprTest{
			Expr: alertTable(t, pack.Dashboards[file], title), EvalTime: model.Duration(5 * time.Minute), ExpSamples: rows,
		})
	}
	// promtool wants a file of rules. None of these fires.
	file := promtoolFile{RuleFiles: []string{rulesFile}, EvaluationInterval: model.Duration(time.Minute), Tests: []promtoolTest{test}}
	for _, promtool := range promtools(t) {
		testRules(t, promtool, writeVariant(t, file, unchanged))
	}
}
