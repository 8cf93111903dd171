package rulelint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ack-exporter/internal/rulelint"
)

func options() rulelint.Options {
	return rulelint.Options{
		Families: []rulelint.Family{
			{Name: "ack_table_entries", Type: "gauge", Labels: []string{"protocol", "state"}},
			{Name: "ack_table_entries_limit", Type: "gauge"},
			{Name: "ack_drops_total", Type: "counter"},
			{Name: "ack_replicas", Type: "gauge", Labels: []string{"node"}},
			{Name: "ack_request_duration_seconds", Type: "histogram", Labels: []string{"code"}},
			{Name: "ack_pause_seconds", Type: "summary"},
		},
		Records:      []string{"node:ack_table_usage:ratio"},
		TargetLabels: []string{"region"},
	}
}

// lint returns the findings in files as lines; the names are a.yaml, b.yaml, ...
func lint(t *testing.T, contents ...string) []string {
	t.Helper()
	var files []*rulelint.File
	for i, content := range contents {
		files = append(files, rulelint.Parse(fmt.Sprintf("%c.yaml", 'a'+i), []byte(content)))
	}
	findings, err := rulelint.New(options()).Lint(t.Context(), files...)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return lines
}

// expect compares findings as a whole.
func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n--- got\n%s\n--- want\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// expression is a rule file with this expression on its line 5.
func expression(expr string) string {
	return "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: '" + strings.ReplaceAll(expr, "'", "''") + "'\n"
}

func TestExpressionsThatAreRight(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		`ack_table_entries{protocol="tcp", state=~"a|b", job="x", cluster!="", region="eu"} > 0`,
		`sum by (cluster, node, protocol) (ack_table_entries)`,
		`sum without (instance, state) (ack_table_entries)`,
		`node:ack_table_usage:ratio{whatever="x"} > 0.9`,
		`ack_table_entries_limit{exporter_of_others=""}`,
		`ack_table_entries_limit{optional=~"|x"}`,
		`ack_replicas{exported_node="x"}`,
		`histogram_quantile(0.9, sum by (le, code) (rate(ack_request_duration_seconds_bucket{code="200"}[5m])))`,
		`rate(ack_request_duration_seconds_sum[5m]) / rate(ack_request_duration_seconds_count[5m])`,
		`ack_pause_seconds{quantile="0.9"} / ack_pause_seconds_count`,
		// Metrics of others are not judged, nor is what they bring along.
		`up{nonsense="1"}`,
		`sum by (nonsense) (kube_pod_info)`,
		`sum by (nonsense) (ack_replicas * on (node) group_left (nonsense) kube_node_labels)`,
		`ack_replicas * on (nonsense) kube_node_labels`,
		`sum by (nonsense) (label_replace(ack_replicas, "nonsense", "$1", "node", "(.*)"))`,
		`sum by (nonsense) (label_join(ack_replicas, "nonsense", "-", "node", "job"))`,
		`sum by (nonsense) (info(ack_replicas))`,
		`sum by (nonsense) (node:ack_table_usage:ratio)`,
		`sum by (version) (count_values("version", ack_replicas))`,
		`{__name__=~"ack_.*", nonsense="1"}`,
		`sum by (nonsense) (vector(1))`,
		// A label of one side is enough.
		`ack_table_entries / on (node) group_left () ack_table_entries_limit`,
		`sum by (node, protocol) (ack_table_entries) and on (node, protocol) ack_replicas > 0`,
		// Names that only look like ours.
		`cluster:track_items:sum`, `stack_ack`, `track_ack_total`,
		// What a server may have been told to allow.
		`sort_by_label(ack_table_entries, "protocol")`,
		`max_over_time(ack_replicas[1h:1m] offset 5m)`,
		`absent(ack_table_entries{protocol="tcp"}) or -ack_replicas`,
	} {
		expect(t, expr, lint(t, expression(expr)))
	}
}

func TestExpressionsThatAreWrong(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`ack_table_entris > 0`:                                                       `no metric "ack_table_entris"; did you mean "ack_table_entries"?`,
		`{__name__="ack_drop_total"}`:                                                `no metric "ack_drop_total"; did you mean "ack_drops_total"?`,
		`ack_something_else_altogether`:                                              `no metric "ack_something_else_altogether"`,
		`rate(ack_request_duration_seconds[5m])`:                                     `no metric "ack_request_duration_seconds"; did you mean "ack_request_duration_seconds_sum"?`,
		`ack_table_entries_bucket`:                                                   `no metric "ack_table_entries_bucket"`,
		`node:ack_table_usge:ratio > 1`:                                              `no recording rule "node:ack_table_usge:ratio" in these files or in the rule pack; did you mean "node:ack_table_usage:ratio"?`,
		`ack_drops:rate5m`:                                                           `no recording rule "ack_drops:rate5m" in these files or in the rule pack`,
		`ack_table_entries{protcol="tcp"}`:                                           `ack_table_entries has no label "protcol"`,
		`ack_table_entries_limit{le="1"}`:                                            `ack_table_entries_limit has no label "le"`,
		`ack_replicas{zone!="a"}`:                                                    `ack_replicas has no label "zone"`,
		`ack_replicas{"a b"="c"}`:                                                    `ack_replicas has no label "a b"`,
		`sum by (protcol) (ack_table_entries)`:                                       `by (protcol): no metric under it has this label`,
		`sum(ack_replicas) without (pot)`:                                            `without (pot): no metric under it has this label`,
		`ack_replicas > on (nod) ack_table_entries_limit`:                            `on (nod): no metric on either side has this label`,
		`ack_replicas > ignoring (nod) ack_table_entries_limit`:                      `ignoring (nod): no metric on either side has this label`,
		`ack_replicas * on (node) group_left (zone) ack_table_entries_limit`:         `group_left (zone): no metric on either side has this label`,
		`ack_replicas * on (node) group_right (zone) ack_table_entries_limit`:        `group_right (zone): no metric on either side has this label`,
		`histogram_quantile(0.9, sum by (lee) (ack_request_duration_seconds_count))`: `by (lee): no metric under it has this label`,
		`sum(ack_replicas`:                                                           `not PromQL: unclosed left parenthesis`,
		`rate(up)`:                                                                   `not PromQL: expected type range vector in call to function "rate", got instant vector`,
		`nofunction(up)`:                                                             `not PromQL: unknown function with name "nofunction"`,
		`up and ack_gone`:                                                            `no metric "ack_gone"`,
		strings.Repeat("(", 9<<10) + "up" + strings.Repeat(")", 9<<10):               `the expression is longer than 16384 bytes`,
	} {
		expect(t, expr, lint(t, expression(expr)), "a.yaml:5: g/A: "+want)
	}
}

func TestRecordingRulesOfAllFilesAreKnown(t *testing.T) {
	t.Parallel()
	uses := expression(`job:ack_drops:rate5m > 0 and ack_own`)
	expect(t, "alone", lint(t, uses),
		`a.yaml:5: g/A: no recording rule "job:ack_drops:rate5m" in these files or in the rule pack`,
		`a.yaml:5: g/A: no metric "ack_own"`)
	defines := "groups:\n- name: g\n  rules:\n  - {record: 'job:ack_drops:rate5m', expr: 'rate(ack_drops_total[5m])'}\n  - {record: ack_own, expr: up}\n"
	expect(t, "together", lint(t, uses, defines))
}

func TestLines(t *testing.T) {
	t.Parallel()
	expect(t, "styles", lint(t, `# A comment.
groups:
- name: g
  rules:
  - alert: Literal
    # Another.
    expr: |

      # In PromQL.
      ack_table_entries{protocol="tcp"}
        > on (node)
      ack_gone
  - alert: Folded
    expr: >-
      sum by (
        node,
        protcol
      )
      (ack_table_entries)
  - alert: Plain
    expr: ack_table_entries
      and ack_table_entries{
        protocol="tcp", stat="x"}
  - alert: Quoted
    expr: "ack_replicas and
      ack_gone"
  - alert: Behind
    expr: |
      sum(ack_table_entries{state="a"})
        by (state,
            zone)
  - alert: Open
    expr: |
      (
        up
    for: 5m
`),
		`a.yaml:12: g/Literal: no metric "ack_gone"`,
		`a.yaml:17: g/Folded: by (protcol): no metric under it has this label`,
		`a.yaml:23: g/Plain: ack_table_entries has no label "stat"`,
		`a.yaml:25: g/Quoted: no metric "ack_gone"`,
		`a.yaml:31: g/Behind: by (zone): no metric under it has this label`,
		`a.yaml:35: g/Open: not PromQL: unclosed left parenthesis`)
}

func TestManifests(t *testing.T) {
	t.Parallel()
	manifest := func(expr string) string {
		return `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: x
spec:
  groups:
  - name: g
    partial_response_strategy: warn
    rules:
    - alert: A
      expr: ` + expr + "\n"
	}
	other := "apiVersion: v1\nkind: ConfigMap\ndata: {groups: []}\n"
	expect(t, "two among others", lint(t, "---\n"+other+"---\n"+manifest("ack_replicas")+"---\n"+manifest("ack_gone")),
		`a.yaml:28: g/A: no metric "ack_gone"`)
	expect(t, "no rules", lint(t, other), "a.yaml: neither a Prometheus rule file nor a PrometheusRule manifest")
	expect(t, "list", lint(t, "kind: List\nitems: []\n"),
		"a.yaml:1: kind List is not supported: put each of its items into a document of its own")
	expect(t, "fields", lint(t, "kind: PrometheusRule\nspec:\n  group: []\n"), `a.yaml:3: unknown field "group"`)
}

func TestFilesThatAreWrong(t *testing.T) {
	t.Parallel()
	const head = "groups:\n- name: g\n  rules:\n"
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"empty":          {"", []string{"a.yaml: neither a Prometheus rule file nor a PrometheusRule manifest"}},
		"not a mapping":  {"- a\n", []string{"a.yaml:1: not a mapping"}},
		"not YAML":       {"groups:\n- name: [\n", []string{"a.yaml:2: not YAML: did not find expected node content"}},
		"unknown fields": {"grops: []\ngroups:\n- name: g\n  ruls: []\n", []string{`a.yaml:1: unknown field "grops"`, `a.yaml:4: g: unknown field "ruls"`}},
		"groups": {"groups:\n- rules: []\n- name: g\n- name: g\n  interval: soon\n  limit: some\n", []string{
			"a.yaml:2: group without a name",
			"a.yaml:4: g: another group has the same name",
			`a.yaml:5: g: interval: not a valid duration string: "soon"`,
			`a.yaml:6: g: limit "some" is not a whole number`,
		}},
		"kinds of rules": {head + "  - expr: up\n  - {alert: A, record: b, expr: up}\n  - alert: B\n  - record: a b{}\n    expr: up\n    for: 1m\n    annotations: {a: b}\n", []string{
			"a.yaml:4: g: rule with neither alert nor record",
			"a.yaml:5: g/A: rule with both alert and record",
			"a.yaml:6: g/B: rule without expr",
			"a.yaml:7: g/a b{}: record is not the name of a metric",
			"a.yaml:9: g/a b{}: for is for alerts only",
			"a.yaml:10: g/a b{}: annotations is for alerts only",
		}},
		"fields of rules": {head + "  - alert: A\n    expr: up\n    exper: up\n    for: 5 minutes\n    keep_firing_for: 1x\n    labels: {__name__: x}\n    for: 1m\n", []string{
			`a.yaml:6: g/A: unknown field "exper"`,
			`a.yaml:7: g/A: for: unknown unit " minutes" in duration "5 minutes"`,
			`a.yaml:8: g/A: keep_firing_for: unknown unit "x" in duration "1x"`,
			"a.yaml:9: g/A: the label __name__ is reserved",
			`a.yaml:10: g: field "for" is here twice`,
		}},
		"templates": {head + "  - alert: A\n    expr: up\n    labels: {severity: '{{ if $labels.a }}x'}\n    annotations:\n      summary: '{{ $label.node }} has {{ $value | humanize }}'\n      description: '{{ anything | humanizePercentage }}'\n", []string{
			"a.yaml:6: g/A: severity: template: template:1: unexpected EOF",
			`a.yaml:8: g/A: summary: template: template:1: undefined variable "$label"`,
		}},
		"duplicates": {head + "  - {alert: A, expr: up > 1, labels: {x: y}}\n  - {alert: A, expr: up > 1, labels: {x: z}}\n  - {alert: A, expr: up > 2, labels: {x: y}}\n  - {alert: A, expr: 'up   > 1', labels: {x: y}}\n", []string{
			"a.yaml:7: g/A: the same rule as on line 4",
		}},
		"types":           {head + "  - alert: [A]\n    expr: {a: b}\n", []string{"a.yaml:4: g: not a text", "a.yaml:4: g: rule with neither alert nor record"}},
		"second document": {head + "---\n" + head, []string{"a.yaml:5: Prometheus reads nothing but the first document of a rule file"}},
		"control characters": {head + "  - alert: \"A\\nB\\e[31m\"\n    expr: ack_gone\n", []string{
			`a.yaml:5: g/A B [31m: no metric "ack_gone"`,
		}},
		"size": {strings.Repeat("#", rulelint.MaxFileBytes+1), []string{"a.yaml: larger than 2097152 bytes"}},
	} {
		expect(t, name, lint(t, c.content), c.want...)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	expect(t, "shared labels", lint(t, `groups:
- name: g
  rules:
  - &first
    alert: A
    expr: ack_replicas
    labels: &labels {severity: critical}
  - <<: *first
    alert: B
  - alert: C
    expr: ack_gone
    labels: {<<: *labels, x: y}
`), `a.yaml:11: g/C: no metric "ack_gone"`)
	expect(t, "in itself", lint(t, "groups:\n- name: g\n  rules:\n  - &a\n    <<: *a\n    alert: A\n    expr: up\n"),
		"a.yaml:5: g: mappings are merged more than 3 deep")
}

// TestBombs proves that aliases do not multiply without bound.
func TestBombs(t *testing.T) {
	t.Parallel()
	const head = "groups:\n- name: g\n  rules:\n"
	const spent = "a.yaml: g/B41: with its aliases it is larger than 8388608 bytes; the rest is not read"

	var labels strings.Builder
	labels.WriteString(head + "  - alert: A\n    expr: up\n    labels: &labels\n")
	for i := range 3000 {
		fmt.Fprintf(&labels, "      label%d: %s\n", i, strings.Repeat("x", 20))
	}
	for i := range 1000 {
		fmt.Fprintf(&labels, "  - {alert: B%d, expr: up, labels: *labels}\n", i)
	}

	var rules strings.Builder
	rules.WriteString("groups:\n- name: g\n  rules: &rules\n")
	for i := range 1000 {
		fmt.Fprintf(&rules, "  - {alert: A%d, expr: up}\n", i)
	}
	for i := range 10000 {
		fmt.Fprintf(&rules, "- {name: g%d, rules: *rules}\n", i)
	}

	var merges strings.Builder
	merges.WriteString("groups:\n- &a0 {name: g}\n")
	for i := range 10 {
		fmt.Fprintf(&merges, "- &a%d {<<: [%s]}\n", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 100), ","))
	}

	for name, bomb := range map[string]string{"labels": labels.String(), "rules": rules.String(), "merges": merges.String()} {
		start := time.Now()
		got := lint(t, bomb)
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if len(got) == 0 || len(got) > 1000 {
			t.Errorf("%s: %d findings", name, len(got))
		}
		if name == "labels" {
			expect(t, name, got, spent)
		}
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("groups:\n- name: g\n  rules:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  - {alert: A%d, expr: ack_gone}\n  - {}\n", i)
	}
	if n := len(lint(t, b.String())); n != 1000 {
		t.Errorf("%d findings", n)
	}
}

func TestLintEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := rulelint.New(options()).Lint(ctx, rulelint.Parse("a.yaml", []byte(expression("up"))))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(expression("sum by (x) (ack_table_entries{y='z'}) > on (a) group_left (b) ack_gone")))
	f.Add([]byte("kind: PrometheusRule\nspec: {groups: [{name: g, interval: 1m, rules: [{record: 'a:b', expr: up}]}]}\n---\nkind: List\n"))
	f.Add([]byte("groups:\n- &a\n  name: g\n  rules:\n  - <<: [*a, {alert: A, expr: >-\n\n     up +\n      (}]\n"))
	f.Add([]byte("<<:\ngroups: [~, {<<: [~, {name: g}], rules: [~]}]"))
	f.Add([]byte("a: &a [*a]\ngroups: *a"))
	f.Fuzz(func(t *testing.T, content []byte) {
		findings, err := rulelint.New(options()).Lint(t.Context(), rulelint.Parse("f", content))
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range findings {
			if finding.Message == "" || strings.ContainsAny(finding.String(), "\n\x1b") {
				t.Errorf("got %q", finding)
			}
		}
	})
}
