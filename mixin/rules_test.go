package mixin_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	"ack-exporter/mixin"
)

// promtoolTests are the unit tests of the rules, for `promtool test rules`.
const promtoolTests = "tests/*.yaml"

// promtoolFile is a file of promtoolTests.
type promtoolFile struct {
	RuleFiles          []string       `json:"rule_files"`
	EvaluationInterval model.Duration `json:"evaluation_interval"`
	GroupEvalOrder     []string       `json:"group_eval_order,omitempty"`
	Tests              []promtoolTest `json:"tests"`
}

type promtoolTest struct {
	Name            string              `json:"name"`
	Interval        model.Duration      `json:"interval"`
	InputSeries     []promtoolSeries    `json:"input_series"`
	AlertRuleTests  []promtoolAlertTest `json:"alert_rule_test,omitempty"`
	PromQLExprTests []promtoolExprTest  `json:"promql_expr_test,omitempty"`
}

type promtoolSeries struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

type promtoolAlertTest struct {
	EvalTime  model.Duration  `json:"eval_time"`
	Alertname string          `json:"alertname"`
	ExpAlerts []promtoolAlert `json:"exp_alerts"`
}

type promtoolAlert struct {
	ExpLabels      map[string]string `json:"exp_labels"`
	ExpAnnotations map[string]string `json:"exp_annotations"`
}

type promtoolExprTest struct {
	Expr       string           `json:"expr"`
	EvalTime   model.Duration   `json:"eval_time"`
	ExpSamples []promtoolSample `json:"exp_samples"`
}

type promtoolSample struct {
	Labels string  `json:"labels"`
	Value  float64 `json:"value"`
}

// promtoolFiles reads the unit tests, by the name of their file. Their paths of
// rules are made relative to this folder.
func promtoolFiles(t *testing.T) map[string]promtoolFile {
	t.Helper()
	paths, err := filepath.Glob(promtoolTests)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s: %v", promtoolTests, err)
	}
	files := map[string]promtoolFile{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file promtoolFile
		if err := yaml.UnmarshalStrict(content, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, test := range file.Tests {
			for _, series := range test.InputSeries {
				if _, err := strconv.Atoi(series.Values); err == nil {
					t.Errorf("%s: %s: put quotes around values such as '0x60': to YAML that is a number", path, test.Name)
				}
			}
		}
		for i, rules := range file.RuleFiles {
			file.RuleFiles[i] = filepath.Join(filepath.Dir(path), rules)
		}
		files[filepath.Base(path)] = file
	}
	return files
}

// promtools are the programs to run the unit tests with: those that PROMTOOL
// lists, else the one in the PATH.
func promtools(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("PROMTOOL"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("promtool")
	switch {
	case err == nil:
		return []string{path}
	case os.Getenv("E2E_REQUIRED") == "1":
		t.Fatalf("E2E_REQUIRED=1, but %v", err)
	default:
		t.Skipf("%v; set PROMTOOL", err)
	}
	return nil
}

// TestPromtool runs the unit tests of the rules as they are, and in variants
// that must not make a difference. Each test gets the rules that it is about,
// and wholePack, which is about all of them, also the rule file as it is.
func TestPromtool(t *testing.T) {
	t.Parallel()
	const wholePack = "healthy.yaml"
	files := promtoolFiles(t)
	for _, promtool := range promtools(t) {
		t.Run(filepath.Base(promtool), func(t *testing.T) {
			t.Parallel()
			t.Run("check", func(t *testing.T) {
				t.Parallel()
				runPromtool(t, promtool, "check", "rules", rulesFile)
			})
			t.Run("whole pack", func(t *testing.T) {
				t.Parallel()
				runPromtool(t, promtool, "test", "rules", filepath.Join("tests", wholePack))
			})
			for name, file := range files {
				for title, change := range map[string]variant{"as it is": unchanged, "two pods": twoPods, "restart": restart} {
					t.Run(title+"/"+name, func(t *testing.T) {
						t.Parallel()
						testRules(t, promtool, writeVariant(t, file, change))
					})
				}
			}
		})
	}
}

func testRules(t *testing.T, promtool string, paths []string) {
	t.Helper()
	runPromtool(t, promtool, append([]string{"test", "rules"}, paths...)...)
}

func runPromtool(t *testing.T, promtool string, args ...string) {
	t.Helper()
	if output, err := promtoolOutput(t, promtool, args...); err != nil {
		t.Errorf("%s %s: %v\n%s", promtool, strings.Join(args, " "), err, output)
	}
}

func promtoolOutput(t *testing.T, promtool string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), promtool, args...)
	// A fifth less time, for some memory.
	cmd.Env = append(os.Environ(), "GOGC=400")
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// TestVariantsCanFail shows mistakes in rules that only the variants see.
func TestVariantsCanFail(t *testing.T) {
	t.Parallel()
	promtool := promtools(t)[0]
	constant := promtoolTest{
		Name: "constant", Interval: model.Duration(time.Minute),
		InputSeries: []promtoolSeries{{Series: `ack_kernel_log_events_total{cluster="prod", node="n1"}`, Values: "5x40"}},
	}
	quiet, fires := constant, constant
	for minute := 20; minute <= 40; minute++ {
		at := promtoolAlertTest{EvalTime: model.Duration(time.Duration(minute) * time.Minute), Alertname: "ACKBad"}
		quiet.AlertRuleTests = append(quiet.AlertRuleTests, at)
		at.ExpAlerts = []promtoolAlert{{ExpLabels: map[string]string{"cluster": "prod", "node": "n1"}}}
		fires.AlertRuleTests = append(fires.AlertRuleTests, at)
	}
	for name, seeded := range map[string]struct {
		expr   string
		test   promtoolTest
		change variant
	}{
		"sum of pods":         {`sum by (cluster, node) (ack_kernel_log_events_total) > 5`, quiet, twoPods},
		"labels of pods":      {`ack_kernel_log_events_total > 4`, fires, twoPods},
		"many to many":        {`ack_kernel_log_events_total > 4 and on (node) ack_kernel_log_events_total * on (node) ack_kernel_log_events_total`, fires, twoPods},
		"counter begins anew": {`max by (cluster, node) (ack_kernel_log_events_total) < 5`, quiet, restart},
		"gap":                 {`max by (cluster, node) (ack_kernel_log_events_total) > 4`, fires, restart},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := filepath.Join(t.TempDir(), "rules.yaml")
			rule := map[string]string{"alert": "ACKBad", "expr": seeded.expr}
			writeYAML(t, rules, map[string]any{"groups": []any{map[string]any{"name": "bad", "rules": []any{rule}}}})
			file := promtoolFile{RuleFiles: []string{rules}, Tests: []promtoolTest{seeded.test}, EvaluationInterval: model.Duration(time.Minute)}
			testRules(t, promtool, writeVariant(t, file, unchanged))
			args := append([]string{"test", "rules"}, writeVariant(t, file, seeded.change)...)
			if output, err := promtoolOutput(t, promtool, args...); err == nil {
				t.Errorf("the variant does not see it:\n%s", output)
			}
		})
	}
}

// unchanged is no variant.
func unchanged(series labels.Labels, values []parser.SequenceValue, _ promtoolTest) []promtoolSeries {
	return []promtoolSeries{describe(series, "", values)}
}

// variant makes other series of one, that must raise the same alerts.
type variant func(series labels.Labels, values []parser.SequenceValue, test promtoolTest) []promtoolSeries

// writeVariant writes a variant of a file of tests: each test as a file of its
// own, with only the rules that it is about. promtool evaluates all rules at
// each step, so that most of its time would go to rules that nobody looks at.
func writeVariant(t *testing.T, file promtoolFile, change variant) []string {
	t.Helper()
	dir := t.TempDir()
	groups := readGroups(t, file.RuleFiles[0])
	var paths []string
	for i, test := range file.Tests {
		var changed []promtoolSeries
		for _, series := range test.InputSeries {
			l, values, err := promQL().ParseSeriesDesc(series.Series + " " + series.Values)
			if err != nil {
				t.Fatalf("%s: %v", test.Name, err)
			}
			changed = append(changed, change(l, values, test)...)
		}
		test.InputSeries = changed
		rules := filepath.Join(dir, fmt.Sprintf("rules-%d.yaml", i))
		writeYAML(t, rules, map[string]any{"groups": rulesOf(t, groups, test)})
		alone := file
		alone.RuleFiles, alone.Tests = []string{rules}, []promtoolTest{test}
		path := filepath.Join(dir, fmt.Sprintf("test-%d.yaml", i))
		writeYAML(t, path, alone)
		paths = append(paths, path)
	}
	return paths
}

// promtoolGroup is a group of a rule file.
type promtoolGroup struct {
	Name  string         `json:"name"`
	Rules []promtoolRule `json:"rules"`
}

type promtoolRule struct {
	Record        string            `json:"record,omitempty"`
	Alert         string            `json:"alert,omitempty"`
	Expr          string            `json:"expr"`
	For           string            `json:"for,omitempty"`
	KeepFiringFor string            `json:"keep_firing_for,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func readGroups(t *testing.T, path string) []promtoolGroup {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []promtoolGroup `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups
}

// rulesOf are the rules that a test is about: the alerts that it names or that
// its expressions select from ALERTS, and the recording rules that these or its
// expressions read.
func rulesOf(t *testing.T, groups []promtoolGroup, test promtoolTest) []promtoolGroup {
	t.Helper()
	named := map[string]bool{}
	for _, a := range test.AlertRuleTests {
		named[a.Alertname] = true
	}
	var selected []*parser.VectorSelector
	var read strings.Builder
	for _, e := range test.PromQLExprTests {
		selected = append(selected, selectorsOfAlerts(t, e.Expr)...)
		read.WriteString(e.Expr + "\n")
	}
	isAbout := func(alert string) bool {
		return named[alert] || slices.ContainsFunc(selected, func(s *parser.VectorSelector) bool {
			return !slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool {
				return m.Name == "alertname" && !m.Matches(alert)
			})
		})
	}
	// Backwards: a rule reads only what stands above it, as TestConventions proves.
	var kept []promtoolGroup
	for _, group := range slices.Backward(groups) {
		var rules []promtoolRule
		for _, rule := range slices.Backward(group.Rules) {
			if rule.Alert != "" && !isAbout(rule.Alert) || rule.Record != "" && !strings.Contains(read.String(), rule.Record) {
				continue
			}
			rules = append(rules, rule)
			read.WriteString(rule.Expr + "\n" + strings.Join(slices.Collect(maps.Values(rule.Annotations)), "\n") + "\n")
		}
		slices.Reverse(rules)
		if len(rules) > 0 {
			kept = append(kept, promtoolGroup{Name: group.Name, Rules: rules})
		}
	}
	slices.Reverse(kept)
	return kept
}

// selectorsOfAlerts are the selectors of alerts in an expression.
func selectorsOfAlerts(t *testing.T, text string) []*parser.VectorSelector {
	t.Helper()
	expr, err := promQL().ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var selectors []*parser.VectorSelector
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && strings.HasPrefix(s.Name, "ALERTS") {
			selectors = append(selectors, s)
		}
		return nil
	})
	return selectors
}

func writeYAML(t *testing.T, path string, v any) {
	t.Helper()
	content, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// twoPods shows each series twice at a time, as in a roll-out that starts the
// new pod before it stops the old one. They share the work that pods do
// themselves; anything else they both see.
func twoPods(series labels.Labels, values []parser.SequenceValue, _ promtoolTest) []promtoolSeries {
	if podsWork.MatchString(series.Get(model.MetricNameLabel)) {
		values = halves(values)
	}
	return []promtoolSeries{describe(series, "1", values), describe(series, "2", values)}
}

// podsWork matches counters of what each pod does, in place of what it sees: the
// sum of all pods says what was done. Those of CoreDNS are of its own pods.
var podsWork = regexp.MustCompile(`^(ack_(dns_probe|exporter_cloud)_.+_(total|bucket|count|sum)|coredns_.+)$`)

func halves(values []parser.SequenceValue) []parser.SequenceValue {
	values = slices.Clone(values)
	for i := range values {
		if !value.IsStaleNaN(values[i].Value) {
			values[i].Value /= 2
		}
	}
	return values
}

// restart hands each series from one pod to another, with one sample missing
// between them. Counters of the kernel go on, those of the exporter begin again.
func restart(series labels.Labels, values []parser.SequenceValue, test promtoolTest) []promtoolSeries {
	at := int(restartTime(test) / time.Duration(test.Interval))
	if at >= len(values) {
		return []promtoolSeries{describe(series, "1", values)}
	}
	stale := parser.SequenceValue{Value: math.Float64frombits(value.StaleNaN)}
	before := append(slices.Clone(values[:at]), stale)
	after := slices.Repeat([]parser.SequenceValue{{Omitted: true}}, at+1)
	rest := values[min(at+1, len(values)):]
	if name := series.Get(model.MetricNameLabel); exportersOwn.MatchString(name) || podsWork.MatchString(name) {
		rest = fromZero(rest)
	}
	return []promtoolSeries{describe(series, "1", before), describe(series, "2", append(after, rest...))}
}

// exportersOwn matches counters that the exporter keeps, not the kernel.
var exportersOwn = regexp.MustCompile(`^(ack_kernel_log_.+_total|.+_cpu_seconds_total|ack_exporter_.+_total)$`)

// restartTime is halfway between the last two times at which a test looks, the
// start being one. Tests look early, at the edges that they are about, and late
// again: what is between the last two is not an edge.
func restartTime(test promtoolTest) time.Duration {
	times := []time.Duration{0}
	for _, a := range test.AlertRuleTests {
		times = append(times, time.Duration(a.EvalTime))
	}
	for _, e := range test.PromQLExprTests {
		times = append(times, time.Duration(e.EvalTime))
	}
	slices.Sort(times)
	times = slices.Compact(times)
	last := len(times) - 1
	return (times[last-1] + times[last]) / 2
}

// fromZero is what a counter shows that begins at its first value.
func fromZero(values []parser.SequenceValue) []parser.SequenceValue {
	var shown []parser.SequenceValue
	count, last := 0.0, math.NaN()
	for _, v := range values {
		if !v.Omitted && !value.IsStaleNaN(v.Value) {
			switch {
			case v.Value >= last:
				count += v.Value - last
			case v.Value < last:
				count = v.Value
			}
			last = v.Value
			v.Value = count
		}
		shown = append(shown, v)
	}
	return shown
}

// describe writes a series value by value, as that of a pod unless pod is "".
func describe(series labels.Labels, pod string, values []parser.SequenceValue) promtoolSeries {
	b := labels.NewBuilder(series)
	if pod != "" {
		// What the cluster role says of a pod keeps the name of that pod: it is scraped with honor_labels.
		if series.Get("pod") == "" || !ofCluster.MatchString(series.Get(model.MetricNameLabel)) {
			b.Set("pod", series.Get("pod")+"-"+pod)
		}
		b.Set("instance", series.Get("instance")+"-"+pod)
	}
	var words []string
	for _, v := range values {
		switch {
		case v.Omitted:
			words = append(words, "_")
		case value.IsStaleNaN(v.Value):
			words = append(words, "stale")
		default:
			words = append(words, strconv.FormatFloat(v.Value, 'f', -1, 64))
		}
	}
	return promtoolSeries{Series: b.Labels().String(), Values: strings.Join(words, " ")}
}

// TestRulesOf shows which rules a test gets.
func TestRulesOf(t *testing.T) {
	t.Parallel()
	groups := []promtoolGroup{
		{Name: "recording", Rules: []promtoolRule{
			{Record: "a:deep:ratio", Expr: "ack_a"}, {Record: "a:b:ratio", Expr: "a:deep:ratio / 2"}, {Record: "a:text:ratio"}, {Record: "a:other:ratio"},
		}},
		{Name: "alerts", Rules: []promtoolRule{
			{Alert: "ACKOne", Expr: "a:b:ratio > 1", Labels: map[string]string{"severity": "warning"}},
			{Alert: "ACKOne", Expr: "a:b:ratio > 2", Annotations: map[string]string{"description": "a:text:ratio"}},
			{Alert: "ACKTwo", Expr: "a:other:ratio > 1"},
		}},
	}
	alert := func(name string) promtoolTest {
		return promtoolTest{AlertRuleTests: []promtoolAlertTest{{Alertname: name}}}
	}
	expr := func(expr string) promtoolTest { return promtoolTest{PromQLExprTests: []promtoolExprTest{{Expr: expr}}} }
	all := "recording: a:deep:ratio a:b:ratio a:text:ratio a:other:ratio; alerts: ACKOne ACKOne ACKTwo; "
	for name, test := range map[string]struct {
		test promtoolTest
		want string
	}{
		"an alert with all severities, and what it reads": {alert("ACKOne"), "recording: a:deep:ratio a:b:ratio a:text:ratio; alerts: ACKOne ACKOne; "},
		"another alert":            {alert("ACKTwo"), "recording: a:other:ratio; alerts: ACKTwo; "},
		"a recording rule":         {expr("round(a:b:ratio, 0.1)"), "recording: a:deep:ratio a:b:ratio; "},
		"whatever waits":           {expr("count_over_time(ALERTS[9m])"), all},
		"whatever waits of a name": {expr(`count(ALERTS{alertname=~".*Two"})`), "recording: a:other:ratio; alerts: ACKTwo; "},
		"since when":               {expr(`ALERTS_FOR_STATE{alertname!="ACKOne"}`), "recording: a:other:ratio; alerts: ACKTwo; "},
		"neither of the rules":     {expr("ack_a"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got strings.Builder
			for _, group := range rulesOf(t, groups, test.test) {
				got.WriteString(group.Name + ":")
				for _, rule := range group.Rules {
					got.WriteString(" " + rule.Record + rule.Alert)
				}
				got.WriteString("; ")
			}
			if got.String() != test.want {
				t.Errorf("got %q; want %q", got.String(), test.want)
			}
		})
	}
}

// TestRestart shows what the variant of that name makes of a series.
func TestRestart(t *testing.T) {
	t.Parallel()
	test := promtoolTest{
		Interval:       model.Duration(time.Minute),
		AlertRuleTests: []promtoolAlertTest{{EvalTime: model.Duration(2 * time.Minute)}, {EvalTime: model.Duration(4 * time.Minute)}},
	}
	for metric, want := range map[string][2]string{
		"ack_conntrack_drops_total":    {"5 6 7 stale", "_ _ _ _ 9 _ 10"},
		"ack_kernel_log_events_total":  {"5 6 7 stale", "_ _ _ _ 0 _ 1"},
		"ack_dns_probe_attempts_total": {"5 6 7 stale", "_ _ _ _ 0 _ 1"},
	} {
		series, values, err := promQL().ParseSeriesDesc(metric + `{job="ack-exporter"} 5 6 7 8 9 _ 10`)
		if err != nil {
			t.Fatal(err)
		}
		got := restart(series, values, test)
		if len(got) != 2 || got[0].Values != want[0] || got[1].Values != want[1] {
			t.Errorf("%s: %v; want %q", metric, got, want)
		}
		if wantSeries := `{__name__="` + metric + `", instance="-2", job="ack-exporter", pod="-2"}`; got[1].Series != wantSeries {
			t.Errorf("the new pod shows %s; want %s", got[1].Series, wantSeries)
		}
	}
}

func promQL() parser.Parser { return parser.NewParser(parser.Options{}) }

func parseRules(t *testing.T, content []byte) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(content, false, model.UTF8Validation, promQL(), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	var rules []rulefmt.Rule
	for _, group := range groups.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

func committedRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	content, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	return parseRules(t, content)
}

// TestEveryRuleIsTested proves that the unit tests show each severity of each
// alert while it fires, with all its annotations, and while it keeps quiet, and
// that they look at each recording rule.
func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	problems := untested(committedRules(t), promtoolFiles(t))
	if len(problems) > 0 {
		t.Error(strings.Join(problems, "\n"))
	}
}

// TestUntestedIsTold shows that the check above can fail.
func TestUntestedIsTold(t *testing.T) {
	t.Parallel()
	alert := func(name, severity string) rulefmt.Rule {
		return rulefmt.Rule{
			Alert: name, Labels: map[string]string{"severity": severity},
			Annotations: map[string]string{"summary": "s.", "description": "{{ $value }}"},
		}
	}
	fires := promtoolAlert{
		ExpLabels:      map[string]string{"severity": "warning"},
		ExpAnnotations: map[string]string{"summary": "s.", "description": "1"},
	}
	rules := []rulefmt.Rule{alert("ACKOne", "warning"), alert("ACKOne", "critical"), alert("ACKTwo", "warning"), {Record: "a:b:c"}}
	got := untested(rules, map[string]promtoolFile{"x.yaml": {Tests: []promtoolTest{
		{Name: "a", AlertRuleTests: []promtoolAlertTest{{Alertname: "ACKOne", ExpAlerts: []promtoolAlert{fires}}}},
		{Name: "a", AlertRuleTests: []promtoolAlertTest{{Alertname: "ACKThree"}}},
		{AlertRuleTests: []promtoolAlertTest{
			{Alertname: "ACKTwo"},
			{Alertname: "ACKTwo", ExpAlerts: []promtoolAlert{{
				ExpLabels: fires.ExpLabels, ExpAnnotations: map[string]string{"description": "1"},
			}}},
		}},
	}}})
	want := []string{
		"ACKOne, critical: no test in which it fires",
		"ACKOne, warning: no test in which it keeps quiet",
		"ACKTwo: no test of all its annotations",
		"a:b:c: no test of its values",
		`x.yaml: "a" is the name of two tests`,
		"x.yaml: a test without a name",
		"x.yaml: a: there is no alert ACKThree",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func untested(rules []rulefmt.Rule, files map[string]promtoolFile) []string {
	seen := look(files)
	known := map[string]bool{}
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for _, rule := range rules {
		if rule.Record != "" {
			if !slices.ContainsFunc(seen.exprs, func(e string) bool { return strings.Contains(e, rule.Record) }) {
				problem("%s: no test of its values", rule.Record)
			}
			continue
		}
		known[rule.Alert] = true
		step := rule.Alert + ", " + rule.Labels["severity"]
		if !seen.fires[step] {
			problem("%s: no test in which it fires", step)
		}
		if !slices.ContainsFunc(seen.tests[rule.Alert], func(firing []string) bool { return !slices.Contains(firing, step) }) {
			problem("%s: no test in which it keeps quiet", step)
		}
		complete := strings.Join(slices.Sorted(maps.Keys(rule.Annotations)), " ")
		if seen.fires[step] && !seen.annotations[rule.Alert+" "+complete] {
			problem("%s: no test of all its annotations", rule.Alert)
		}
	}
	for name, file := range files {
		names := map[string]bool{}
		for _, test := range file.Tests {
			if test.Name == "" {
				problem("%s: a test without a name", name)
			} else if names[test.Name] {
				problem("%s: %q is the name of two tests", name, test.Name)
			}
			names[test.Name] = true
			for _, a := range test.AlertRuleTests {
				if !known[a.Alertname] {
					problem("%s: %s: there is no alert %s", name, test.Name, a.Alertname)
				}
			}
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// tested is what unit tests look at.
type tested struct {
	// fires has "alert, severity" where it fires in a test.
	fires map[string]bool
	// tests lists for each alert what fires, test by test.
	tests map[string][][]string
	// annotations has the name of an alert and those of the annotations that it
	// is expected to have.
	annotations map[string]bool
	exprs       []string
}

func look(files map[string]promtoolFile) tested {
	seen := tested{fires: map[string]bool{}, tests: map[string][][]string{}, annotations: map[string]bool{}}
	for _, file := range files {
		for _, test := range file.Tests {
			for _, a := range test.AlertRuleTests {
				var firing []string
				for _, e := range a.ExpAlerts {
					step := a.Alertname + ", " + e.ExpLabels["severity"]
					firing = append(firing, step)
					seen.fires[step] = true
					names := strings.Join(slices.Sorted(maps.Keys(e.ExpAnnotations)), " ")
					seen.annotations[a.Alertname+" "+names] = true
				}
				seen.tests[a.Alertname] = append(seen.tests[a.Alertname], firing)
			}
			for _, e := range test.PromQLExprTests {
				seen.exprs = append(seen.exprs, e.Expr)
			}
		}
	}
	return seen
}

// TestConventions proves that the committed rules keep the conventions.
func TestConventions(t *testing.T) {
	t.Parallel()
	if problems := breaches(committedRules(t), "cluster", "node"); len(problems) > 0 {
		t.Error(strings.Join(problems, "\n"))
	}
}

// goodRules are a recording rule and an alert that keep the conventions.
func goodRules() []rulefmt.Rule {
	return []rulefmt.Rule{
		{Record: "cluster_node:ack_usage:ratio", Expr: `max by (cluster, node) (ack_used) / (max by (cluster, node) (ack_limit) > 0)`},
		{
			Alert: "ACKTableFull",
			Expr: `cluster_node:ack_usage:ratio > 0.6
				and on (cluster, node) predict_linear(cluster_node:ack_usage:ratio[1h], 3600) > 1
				unless on (cluster, node) sum by (cluster, node) (max by (cluster, node, protocol) (rate(ack_total[5m]))) == 0`,
			KeepFiringFor: model.Duration(time.Minute),
			Labels:        map[string]string{"severity": "warning"},
			Annotations: map[string]string{
				"summary": "A table is full.", "description": "Node {{ $labels.node }}.", "impact": "i", "action": "a",
				"risks": "CT-01", "runbook_url": "http://localhost/runbooks/ACKTableFull",
			},
		},
	}
}

// TestBreachesAreTold shows for each convention a rule that breaks it.
func TestBreachesAreTold(t *testing.T) {
	t.Parallel()
	if problems := breaches(goodRules(), "cluster", "node"); len(problems) > 0 {
		t.Fatal(problems)
	}
	expr := func(expr string) func(_, alert *rulefmt.Rule) {
		return func(_, alert *rulefmt.Rule) { alert.Expr = expr }
	}
	annotation := func(name, text string) func(_, alert *rulefmt.Rule) {
		return func(_, alert *rulefmt.Rule) { alert.Annotations[name] = text }
	}
	for name, test := range map[string]struct {
		change func(record, alert *rulefmt.Rule)
		want   string
	}{
		"no PromQL":                   {expr(`max by (cluster, node) (`), "parse error"},
		"metric as it is":             {expr(`ack_used`), "ack_used is not aggregated"},
		"operator before aggregation": {expr(`max by (cluster, node) (ack_used - ack_limit)`), "ack_limit is not aggregated"},
		"one side as it is":           {expr(`max by (cluster, node) (ack_used) / ack_limit`), "ack_limit is not aggregated"},
		"rate as it is":               {expr(`rate(ack_total[5m]) > 0`), "ack_total is not aggregated"},
		"sum of pods":                 {expr(`sum by (cluster, node) (ack_used)`), "sum of all pods"},
		"without":                     {expr(`max without (pod) (ack_used)`), "without"},
		"cluster aggregated away":     {expr(`max by (node) (ack_used)`), "aggregated without cluster"},
		"cluster not matched":         {expr(`max by (cluster, node) (ack_used) and on (node) max by (cluster, node) (ack_limit)`), "matched without cluster"},
		"sides that never match":      {expr(`max by (cluster, node) (ack_used) / max by (cluster, node, state) (ack_limit)`), "never match"},
		"pod in the result":           {expr(`max by (cluster, node, pod) (ack_used)`), "the result has the label pod"},
		"no node in the result":       {expr(`max by (cluster) (ack_used)`), "the result has no label node"},
		"cluster, of nodes":           {expr(`max by (cluster) (ack_used) and on (cluster) max by (cluster) (ack_kubeproxy_services)`), "the result has no label node"},
		"sum of work of one pod":      {expr(`sum by (cluster, node) (1 + increase(ack_dns_probe_attempts_total[5m]))`), "ack_dns_probe_attempts_total is not aggregated"},
		"absent":                      {expr(`max by (cluster, node) (ack_used) unless absent(cluster_node:ack_usage:ratio)`), "absent"},
		"forecast alone":              {expr(`predict_linear(cluster_node:ack_usage:ratio[1h], 3600) > 1`), "predict_linear stands alone"},
		"unknown recording rule":      {expr(`max by (cluster, node) (node:ack_usage:ratio)`), "no recording rule node:ack_usage:ratio"},
		"level of a recording rule": {func(record, alert *rulefmt.Rule) {
			record.Record, alert.Expr = "node:ack_usage:ratio", "node:ack_usage:ratio"
		}, "cluster_node:metric:operation"},
		"name of a recording rule": {func(record, alert *rulefmt.Rule) {
			record.Record, alert.Expr = "cluster_node:ack_usage", "max by (cluster, node) (ack_used)"
		}, "cluster_node:metric:operation"},
		"prefix":            {func(_, alert *rulefmt.Rule) { alert.Alert = "TableFull" }, "CamelCase"},
		"camel case":        {func(_, alert *rulefmt.Rule) { alert.Alert = "ACK_table_full" }, "CamelCase"},
		"severity":          {func(_, alert *rulefmt.Rule) { alert.Labels["severity"] = "info" }, `severity "info"`},
		"pod label":         {func(_, alert *rulefmt.Rule) { alert.Labels["namespace"] = "x" }, "the result has the label namespace"},
		"not kept":          {func(_, alert *rulefmt.Rule) { alert.KeepFiringFor = 0 }, "keep_firing_for"},
		"summary of a node": {annotation("summary", "Node {{ $labels.node }} is full."), "summary"},
		"summary, no end":   {annotation("summary", "A table is full"), "summary"},
		"no impact":         {annotation("impact", ""), "no impact"},
		"other annotation":  {annotation("message", "m"), "annotation message"},
		"other runbook":     {annotation("runbook_url", "http://localhost/runbooks/ACKOther"), "runbook_url"},
		"label of no one":   {annotation("description", "{{ $labels.state }}"), "the result has no label state"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := goodRules()
			test.change(&rules[0], &rules[1])
			if problems := strings.Join(breaches(rules, "cluster", "node"), "\n"); !strings.Contains(problems, test.want) {
				t.Errorf("got %q; want %q", problems, test.want)
			}
		})
	}
}

// podLabels are those that change when a pod is replaced. An alert that had one
// would end and begin anew with each roll-out.
var podLabels = []string{"pod", "instance", "container", "endpoint", "service", "namespace"}

// serverLabel tells which DNS server several nodes complain of.
const serverLabel = "server"

// ofCluster matches metrics of the cluster role and of CoreDNS and its containers,
// and what is recorded of them. What begins with one of them is about the cluster,
// and about no node.
var ofCluster = regexp.MustCompile(`^(\w+:)?(ack_exporter_leader$|ack_instance_info$|(ack_(certificate|coredns|exporter_cloud|kubeproxy|nodelocaldns|slb|vpc)|certmanager|coredns|container|kube_job)_)`)

// alertAnnotations are what each alert says.
var alertAnnotations = []string{"summary", "description", "impact", "action", "risks", "runbook_url"}

var (
	camelCase   = regexp.MustCompile(`^ACK[A-Z][A-Za-z0-9]+$`)
	recordName  = regexp.MustCompile(`^([a-z0-9_]+):[a-z0-9_]+:[a-z0-9_]+$`)
	labelOfText = regexp.MustCompile(`\$labels\.(\w+)`)
)

// breaches are the conventions that rules do not keep, where these labels tell
// clusters and nodes from each other.
func breaches(rules []rulefmt.Rule, clusterLabel, nodeLabel string) []string {
	check := &conventions{cluster: clusterLabel, node: nodeLabel, records: map[string][]string{}}
	for _, rule := range rules {
		check.rule(rule)
	}
	return check.problems
}

type conventions struct {
	cluster, node string
	// records has the labels of the recording rules so far.
	records  map[string][]string
	name     string
	problems []string
}

func (c *conventions) problem(format string, args ...any) {
	c.problems = append(c.problems, c.name+": "+fmt.Sprintf(format, args...))
}

func (c *conventions) rule(rule rulefmt.Rule) {
	c.name = rule.Record + rule.Alert
	expr, err := promQL().ParseExpr(rule.Expr)
	if err != nil {
		c.problem("%v", err)
		return
	}
	c.functions(expr)
	result := slices.Concat(c.labels(expr), slices.Collect(maps.Keys(rule.Labels)))
	for _, label := range podLabels {
		if label != c.node && slices.Contains(result, label) {
			c.problem("the result has the label %s", label)
		}
	}
	if !slices.Contains(result, c.cluster) {
		c.problem("the result has no label %s", c.cluster)
	}
	if !slices.Contains(result, c.node) && !slices.Contains(result, serverLabel) && !ofCluster.MatchString(firstMetric(expr)) {
		c.problem("the result has no label %s, and is not about a server or the cluster either", c.node)
	}
	if rule.Record != "" {
		level := strings.Join(result, "_")
		if parts := recordName.FindStringSubmatch(rule.Record); parts == nil || parts[1] != level {
			c.problem("is not %s:metric:operation", level)
		}
		c.records[rule.Record] = result
		return
	}
	c.alert(rule, result)
}

func (c *conventions) alert(rule rulefmt.Rule, result []string) {
	if !camelCase.MatchString(rule.Alert) {
		c.problem("is not ACK and CamelCase")
	}
	if s := rule.Labels["severity"]; s != "critical" && s != "warning" {
		c.problem("severity %q", s)
	}
	if rule.KeepFiringFor == 0 {
		c.problem("no keep_firing_for: a roll-out ends it")
	}
	for _, name := range alertAnnotations {
		if rule.Annotations[name] == "" {
			c.problem("no %s", name)
		}
	}
	for name := range rule.Annotations {
		if !slices.Contains(alertAnnotations, name) {
			c.problem("annotation %s", name)
		}
	}
	if s := rule.Annotations["summary"]; strings.Contains(s, "{{") || !strings.HasSuffix(s, ".") {
		c.problem("the summary is no sentence that holds for all nodes: %q", s)
	}
	if s := rule.Annotations["runbook_url"]; !strings.HasSuffix(s, "/"+rule.Alert) {
		c.problem("runbook_url %q", s)
	}
	for _, label := range labelOfText.FindAllStringSubmatch(rule.Annotations["description"], -1) {
		if !slices.Contains(result, label[1]) {
			c.problem("the result has no label %s for the description", label[1])
		}
	}
}

// firstMetric is the metric that stands first in an expression.
func firstMetric(expr parser.Expr) string {
	name := ""
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && name == "" {
			name = s.Name
		}
		return nil
	})
	return name
}

// functions finds those that must not be used, or not alone.
func (c *conventions) functions(expr parser.Expr) {
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		call, ok := node.(*parser.Call)
		if !ok {
			return nil
		}
		guarded := slices.ContainsFunc(path, func(n parser.Node) bool {
			b, ok := n.(*parser.BinaryExpr)
			return ok && b.Op == parser.LAND
		})
		switch name := call.Func.Name; {
		case strings.HasPrefix(name, "absent"):
			c.problem("%s has no label of the cluster or the node", name)
		case name == "predict_linear" && !guarded:
			c.problem("predict_linear stands alone")
		}
		return nil
	})
}

// labels are those of the result of an expression.
func (c *conventions) labels(expr parser.Expr) []string {
	switch e := expr.(type) {
	case *parser.AggregateExpr:
		return c.aggregation(e)
	case *parser.BinaryExpr:
		return c.operation(e)
	case *parser.VectorSelector:
		result, ok := c.records[e.Name]
		switch {
		case ok:
		case strings.Contains(e.Name, ":"):
			c.problem("there is no recording rule %s", e.Name)
		default:
			c.problem("%s is not aggregated: two pods that show it break what follows", e.Name)
		}
		return result
	}
	var result []string
	for _, child := range parser.Children(expr) {
		if inner, ok := child.(parser.Expr); ok {
			result = append(result, c.labels(inner)...)
		}
	}
	if call, ok := expr.(*parser.Call); ok && call.Func.Name == "histogram_quantile" {
		result = slices.DeleteFunc(slices.Clone(result), func(label string) bool { return label == "le" })
	}
	return result
}

func (c *conventions) aggregation(e *parser.AggregateExpr) []string {
	if e.Without {
		c.problem("%s without (...) keeps labels of pods", e.Op)
	} else if !slices.Contains(e.Grouping, c.cluster) {
		c.problem("aggregated without %s", c.cluster)
	}
	switch metric := c.metricOf(e.Expr); {
	case metric == "":
		c.labels(e.Expr)
	case e.Op == parser.SUM && podsWork.MatchString(metric):
	case e.Op != parser.MAX && e.Op != parser.MIN:
		c.problem("%s of all pods that show %s counts some nodes twice; take their max first", e.Op, metric)
	}
	return e.Grouping
}

// metricOf is the metric that an expression shows as it is, or through
// functions; "" where there is an operator or an aggregation in between.
func (c *conventions) metricOf(expr parser.Expr) string {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		if strings.Contains(e.Name, ":") {
			return ""
		}
		return e.Name
	case *parser.AggregateExpr, *parser.BinaryExpr:
		return ""
	}
	for _, child := range parser.Children(expr) {
		if inner, ok := child.(parser.Expr); ok {
			if metric := c.metricOf(inner); metric != "" {
				return metric
			}
		}
	}
	return ""
}

func (c *conventions) operation(e *parser.BinaryExpr) []string {
	left, right := c.labels(e.LHS), c.labels(e.RHS)
	matching := e.VectorMatching
	switch {
	case matching == nil || len(right) == 0:
		// One side is a number.
		return slices.Concat(left, right)
	case len(left) == 0:
		return right
	case matching.On && !slices.Contains(matching.MatchingLabels, c.cluster):
		c.problem("matched without %s", c.cluster)
	case !matching.On && !sameLabels(left, right):
		c.problem("sides with the labels %v and %v never match", left, right)
	}
	if matching.On && !e.Op.IsSetOperator() && matching.Card == parser.CardOneToOne {
		return matching.MatchingLabels
	}
	if matching.Card == parser.CardOneToMany {
		return right
	}
	return left
}

func sameLabels(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestConfig proves that _config reaches all rules: other labels, selectors,
// thresholds and texts, and nothing left of the defaults.
func TestConfig(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render(`{
		ackExporterSelector: 'app="exporter"',
		kubeStateMetricsSelector: 'app="ksm"',
		nodeLocalDNSSelector: 'app="cache"',
		corednsSelector: 'app="dns"',
		corednsContainerSelector: 'app="dns-container"',
		realNodeSelector: 'node!="virtual"',
		clusterLabel: 'cluster_id',
		nodeLabel: 'instance',
		runbookURLPrefix: 'https://wiki.example/ack',
		alertLabels: { team: 'platform' },
		keepFiringFor: '7m',
		rateWindow: '11m',
		alerts+: {
			ACKConntrackTableNearlyFull+: { warning+: { above: 0.71, 'for': '13m' } },
			ACKKernelStuck: { critical: { window: '17m', 'for': '19m' } },
		},
	}`)
	if err != nil {
		t.Fatal(err)
	}
	rules := parseRules(t, pack.Rules)
	if problems := breaches(rules, "cluster_id", "instance"); len(problems) > 0 {
		t.Error(strings.Join(problems, "\n"))
	}
	for _, left := range []string{
		`job="`, "virtual-kubelet", "node-local-dns-.+", "cluster_node:", "localhost",
		"abels.cluster ", "abels.node ", "cluster=%q", "node=%q", "(cluster,", "(node,", " node)",
	} {
		for _, rule := range rules {
			for _, text := range append(slices.Collect(maps.Values(rule.Annotations)), rule.Record, rule.Expr) {
				if strings.Contains(text, left) {
					t.Errorf("%s%s: still has %q in %s", rule.Record, rule.Alert, left, text)
				}
			}
		}
	}
	steps := map[string]rulefmt.Rule{}
	for _, rule := range rules {
		if rule.Alert == "" {
			continue
		}
		steps[rule.Alert+", "+rule.Labels["severity"]] = rule
		if rule.Labels["team"] != "platform" || time.Duration(rule.KeepFiringFor) != 7*time.Minute ||
			!strings.HasPrefix(rule.Annotations["runbook_url"], "https://wiki.example/ack/") {
			t.Errorf("%s: labels %v, keep_firing_for %s, %s", rule.Alert, rule.Labels, rule.KeepFiringFor, rule.Annotations["runbook_url"])
		}
	}
	if full := steps["ACKConntrackTableNearlyFull, warning"]; full.For.String() != "13m" ||
		full.Expr != "cluster_id_instance:ack_conntrack_usage:ratio > 0.71" {
		t.Errorf("a threshold and a duration: %+v", full)
	}
	if stuck := steps["ACKKernelStuck, critical"]; stuck.For.String() != "19m" || !strings.Contains(stuck.Expr, "[17m]") {
		t.Errorf("a window and a duration: %+v", stuck)
	}
	if rule, ok := steps["ACKKernelStuck, warning"]; ok {
		t.Errorf("a severity that the alert does not have: %+v", rule)
	}
	if races := steps["ACKConntrackInsertRaces, warning"]; strings.Count(races.Expr, "[11m]") != 3 {
		t.Errorf("the window of rates: %s", races.Expr)
	}
	for name, selector := range map[string]string{
		"ack_": `app="exporter"`, "kube_": `app="ksm"`, "up": `app="exporter"`, "coredns_dns_responses_": `app="dns"`, "container_": `app="dns-container"`,
	} {
		requireSelector(t, rules, name, selector)
	}
}

// requireSelector proves that each selector of metrics whose name begins so has
// this matcher.
func requireSelector(t *testing.T, rules []rulefmt.Rule, prefix, matcher string) {
	t.Helper()
	found := 0
	for _, rule := range rules {
		expr, err := promQL().ParseExpr(rule.Expr)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			s, ok := node.(*parser.VectorSelector)
			if !ok || !strings.HasPrefix(s.Name, prefix) {
				return nil
			}
			found++
			if !slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.String() == matcher }) {
				t.Errorf("%s: %s has no %s", rule.Alert, s, matcher)
			}
			return nil
		})
	}
	if found == 0 {
		t.Errorf("no selector of %s", prefix)
	}
}
