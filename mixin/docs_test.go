package mixin_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"ack-exporter/collector/collectortest"
	"ack-exporter/mixin/catalogue"
)

const (
	rulesFile    = "../alerts/ack-exporter.rules.yaml"
	runbooks     = "../docs/runbooks"
	coveragePage = "../docs/coverage.md"
	alertsPage   = "../docs/alerts.md"
	metricNames  = "../cmd/ack-exporter/testdata/metrics.txt"
)

// pack is what the pages are made from.
type pack struct {
	catalogue *catalogue.Catalogue
	alerts    []rulefmt.Rule
}

func loadPack(t *testing.T) pack {
	t.Helper()
	c, err := catalogue.Load()
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	p := pack{catalogue: c}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if rule.Alert != "" {
				p.alerts = append(p.alerts, rule)
			}
		}
	}
	return p
}

// names are the alerts in the order of the rules, each once.
func (p pack) names() []string {
	var names []string
	for _, a := range p.alerts {
		if !slices.Contains(names, a.Alert) {
			names = append(names, a.Alert)
		}
	}
	return names
}

// steps are the severities of one alert.
func (p pack) steps(name string) []rulefmt.Rule {
	var steps []rulefmt.Rule
	for _, a := range p.alerts {
		if a.Alert == name {
			steps = append(steps, a)
		}
	}
	return steps
}

func risksOf(a rulefmt.Rule) []string { return strings.Split(a.Annotations["risks"], ", ") }

// alertsOf are the names of the alerts on a risk.
func (p pack) alertsOf(id string) []string {
	var names []string
	for _, a := range p.alerts {
		if slices.Contains(risksOf(a), id) && !slices.Contains(names, a.Alert) {
			names = append(names, a.Alert)
		}
	}
	return names
}

// TestCatalogue proves that what the catalogue claims is there.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	p := loadPack(t)
	known, err := os.ReadFile(metricNames)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range p.alerts {
		for _, id := range risksOf(a) {
			if r, ok := p.catalogue.Risk(id); !ok || len(r.Metrics) == 0 {
				t.Errorf("%s: the catalogue has no metrics for the risk %q", a.Alert, id)
			}
		}
	}
	promql := parser.NewParser(parser.Options{})
	measured := map[string]bool{}
	for _, r := range p.catalogue.Risks {
		if len(r.Metrics) == 0 {
			continue
		}
		if alerts := p.alertsOf(r.ID); (len(alerts) == 0) != (r.NoAlert != "") {
			t.Errorf("%s has metrics; it needs an alert (has %v) or a reason for none (%q)", r.ID, alerts, r.NoAlert)
		}
		for _, metric := range r.Metrics {
			expr, err := promql.ParseExpr(metric)
			if err != nil {
				t.Errorf("%s: %v", r.ID, err)
				continue
			}
			selector, ok := expr.(*parser.VectorSelector)
			if !ok {
				t.Errorf("%s: %s is no selector", r.ID, metric)
				continue
			}
			measured[selector.Name] = true
			if selector.Name != "up" && !strings.Contains(string(known), selector.Name+"{") && p.catalogue.Foreign[selector.Name] == "" {
				t.Errorf("%s: neither the exporter nor foreign has the metric %s", r.ID, metric)
			}
		}
	}
	for metric := range p.catalogue.Foreign {
		if !measured[metric] {
			t.Errorf("foreign: no risk is measured with %s", metric)
		}
	}
}

// TestDocsCoverage proves that docs/coverage.md lists every risk of the manuals
// with what covers it, or why nothing does.
func TestDocsCoverage(t *testing.T) {
	t.Parallel()
	p := loadPack(t)
	rows := map[string]int{}
	for _, r := range p.catalogue.Risks {
		rows[r.Priority]++
	}
	for priority, want := range p.catalogue.Rows {
		if rows[priority] != want {
			t.Errorf("%d rows of priority %s; the manuals have %d", rows[priority], priority, want)
		}
	}
	replaceBlock(t, coveragePage, "catalogue", p.coverage())
}

func (p pack) coverage() string {
	var covered, open strings.Builder
	areas := p.areas()
	for _, area := range areas {
		var rows, gaps strings.Builder
		for _, r := range p.catalogue.Risks {
			switch {
			case r.Area() != area:
			case len(r.Metrics) > 0:
				fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s |\n", r.ID, r.Priority, r.Title, p.metricsCell(r), p.alertCell(r))
			default:
				fmt.Fprintf(&gaps, "| %s | %s | %s | %s |\n", r.ID, r.Priority, r.Title, p.gap(r))
			}
		}
		title := "\n### " + p.catalogue.Areas[area] + "\n\n"
		if rows.Len() > 0 {
			covered.WriteString(title + "| id | priority | risk | metrics | alerts |\n|---|---|---|---|---|\n" + rows.String())
		}
		if gaps.Len() > 0 {
			open.WriteString(title + "| id | priority | risk | covered by, or why not |\n|---|---|---|---|\n" + gaps.String())
		}
	}
	return "## Measured\n" + covered.String() + "\n## Not measured\n" + open.String()
}

// areas are the prefixes of ids, in the order of their first rows.
func (p pack) areas() []string {
	var areas []string
	for _, r := range p.catalogue.Risks {
		if !slices.Contains(areas, r.Area()) {
			areas = append(areas, r.Area())
		}
	}
	return areas
}

// metricsCell lists what a risk is measured with, and who else exposes it.
func (p pack) metricsCell(r catalogue.Risk) string {
	cells := make([]string, len(r.Metrics))
	for i, metric := range r.Metrics {
		cells[i] = code([]string{metric})
		name, _, _ := strings.Cut(metric, "{")
		if exporter := p.catalogue.Foreign[name]; exporter != "" {
			cells[i] += " of " + exporter
		}
	}
	return strings.Join(cells, ", ")
}

func (p pack) alertCell(r catalogue.Risk) string {
	alerts := p.alertsOf(r.ID)
	if len(alerts) == 0 {
		return "none: " + r.NoAlert
	}
	for i, name := range alerts {
		alerts[i] = fmt.Sprintf("[%s](runbooks/%s.md)", name, name)
	}
	return strings.Join(alerts, ", ")
}

func (p pack) gap(r catalogue.Risk) string {
	if r.SameAs != "" {
		return "as " + r.SameAs
	}
	text := r.Gap
	if sentence, ok := p.catalogue.Gaps[r.Gap]; ok {
		text = sentence
	}
	if r.Elsewhere != "" {
		text += ": " + code(strings.Split(r.Elsewhere, ", "))
	}
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text
}

// TestDocsAlerts proves that docs/alerts.md lists every alert as it is.
func TestDocsAlerts(t *testing.T) {
	t.Parallel()
	p := loadPack(t)
	var b strings.Builder
	b.WriteString("| alert | severity | for | what is wrong | risks |\n|---|---|---|---|---|\n")
	for _, a := range p.alerts {
		fmt.Fprintf(&b, "| [%s](runbooks/%s.md) | %s | %s | %s | %s |\n",
			a.Alert, a.Alert, a.Labels["severity"], a.For, strings.TrimSuffix(a.Annotations["summary"], "."), a.Annotations["risks"])
	}
	replaceBlock(t, alertsPage, "alerts", b.String())
}

// TestRunbooks proves that each alert has a page with its four parts, that its
// head says what the rules say, and that there are no other pages.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	p := loadPack(t)
	files, err := filepath.Glob(filepath.Join(runbooks, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := p.names()
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".md"); name != "README" && !slices.Contains(names, name) {
			t.Errorf("%s is about no alert", file)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(runbooks, name+".md")
			replaceBlock(t, path, "alert", p.runbookHead(name))
			page, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			requireParts(t, name, string(page))
			requirePromQL(t, string(page))
			requireLinks(t, string(page))
		})
	}
}

func (p pack) runbookHead(name string) string {
	var b strings.Builder
	steps := p.steps(name)
	annotations := steps[0].Annotations
	fmt.Fprintf(&b, "**%s**\n", annotations["summary"])
	for _, step := range steps {
		fmt.Fprintf(&b, "\n%s, once it has lasted %s:\n\n```promql\n%s\n```\n", step.Labels["severity"], step.For, step.Expr)
	}
	fmt.Fprintf(&b, "\n- Impact: %s\n- Action: %s\n", annotations["impact"], annotations["action"])
	for _, id := range risksOf(steps[0]) {
		r, _ := p.catalogue.Risk(id)
		manual, chapter, _ := strings.Cut(r.Source, ", ")
		source := p.catalogue.Sources[manual]
		if chapter != "" {
			source += ", " + chapter
		}
		fmt.Fprintf(&b, "- Risk %s (%s): %s", id, source, r.Title)
		if r.Limit != "" {
			fmt.Fprintf(&b, ". Recommended: %s", r.Limit)
		}
		b.WriteString(".\n")
	}
	return b.String()
}

func requireParts(t *testing.T, name, page string) {
	t.Helper()
	if !strings.HasPrefix(page, "# "+name+"\n") {
		t.Errorf("does not begin with its name")
	}
	parts := strings.Split(page, "\n## ")[1:]
	for i, title := range []string{"Meaning", "Impact", "Diagnosis", "Mitigation"} {
		if len(parts) <= i || !strings.HasPrefix(parts[i], title+"\n\n") {
			t.Errorf("part %d is not %s, or is empty", i+1, title)
		}
	}
	if len(parts) != 4 {
		t.Errorf("%d parts", len(parts))
	}
}

var (
	promqlBlock = regexp.MustCompile("(?s)```promql\n(.*?)```")
	pageLink    = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
)

func requirePromQL(t *testing.T, page string) {
	t.Helper()
	promql := parser.NewParser(parser.Options{})
	for _, block := range promqlBlock.FindAllStringSubmatch(page, -1) {
		if _, err := promql.ParseExpr(block[1]); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
		}
	}
}

func requireLinks(t *testing.T, page string) {
	t.Helper()
	for _, link := range pageLink.FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join(runbooks, link[1])); err != nil {
			t.Errorf("dead link: %v", err)
		}
	}
}

// replaceBlock proves that the block of that name is what it should be, or with
// -update writes it.
func replaceBlock(t *testing.T, path, name, want string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end -->"
	before, rest, ok1 := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no markers for %q", path, name)
	}
	collectortest.CompareFile(t, path, before+begin+want+end+after)
}

func code(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		// A bar would end the cell of the table.
		quoted[i] = "`" + strings.ReplaceAll(item, "|", `\|`) + "`"
	}
	return strings.Join(quoted, ", ")
}
