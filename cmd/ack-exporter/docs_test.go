package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

const metricsPage = "../../docs/metrics.md"

// nodeSpecs are the collectors of the node role as they are by default.
func nodeSpecs(t *testing.T) []collector.Spec {
	t.Helper()
	app := kingpin.New(programName, "")
	node := addNodeCommand(app)
	if _, err := app.Parse([]string{"node"}); err != nil {
		t.Fatal(err)
	}
	specs, err := node.specs(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// clusterSpecs are the collectors of the cluster role as they are by default.
func clusterSpecs(t *testing.T) []collector.Spec {
	t.Helper()
	app := kingpin.New(programName, "")
	cluster := addClusterCommand(app)
	if _, err := app.Parse([]string{"cluster"}); err != nil {
		t.Fatal(err)
	}
	specs, err := cluster.offlineSpecs(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return specs
}

// TestDocsMetrics proves that docs/metrics.md tells every family as the code
// does, between the markers of each collector.
func TestDocsMetrics(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	got := string(page)
	self, err := collector.NewSet(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	got = replaceTable(t, got, "every collector", self.Families())
	shown := make(map[*collector.Family]string)
	for _, spec := range slices.Concat(nodeSpecs(t), clusterSpecs(t)) {
		families := spec.Collector.Families()
		if first := shown[families[0]]; first != "" {
			got = replaceBlock(t, got, spec.Name, fmt.Sprintf("The metrics of `%s`.\n", first))
			continue
		}
		for _, f := range families {
			shown[f] = spec.Name
		}
		got = replaceTable(t, got, spec.Name, families)
	}
	collectortest.CompareFile(t, metricsPage, got)
}

// replaceTable puts the table of families between the markers of this name.
func replaceTable(t *testing.T, page, name string, families []*collector.Family) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.TypeName(), strings.Join(f.Labels, ", "), f.Help)
	}
	return replaceBlock(t, page, name, b.String())
}

// replaceBlock puts the text between the markers of this name.
func replaceBlock(t *testing.T, page, name, text string) string {
	t.Helper()
	begin, end := "<!-- metrics: "+name+" -->\n", "<!-- end: "+name+" -->\n"
	before, rest, ok1 := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no markers for %q", metricsPage, name)
	}
	return before + begin + text + end + after
}

// TestDocsNames freezes names, types and labels: dashboards and rules of other
// people depend on them.
func TestDocsNames(t *testing.T) {
	t.Parallel()
	self, err := collector.NewSet(slog.New(slog.DiscardHandler), slices.Concat(nodeSpecs(t), clusterSpecs(t))...)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range self.Families() {
		lines = append(lines, fmt.Sprintf("%s{%s} %s\n", f.Name, strings.Join(f.Labels, ","), f.TypeName()))
	}
	slices.Sort(lines)
	collectortest.CompareFile(t, "testdata/metrics.txt", strings.Join(lines, ""))
}

// TestDocsFlags proves that the README names every flag.
func TestDocsFlags(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	app := kingpin.New(programName, "")
	addWebFlags(app)
	addNodeCommand(app)
	addClusterCommand(app)
	tasks := make(map[string]task)
	addRulesCommands(app, tasks)
	addDashboardsCommand(app, tasks)
	model := app.Model()
	flags := slices.Clone(model.Flags)
	for _, command := range model.FlattenedCommands() {
		flags = append(flags, command.Flags...)
	}
	for _, f := range flags {
		if f.Hidden || strings.HasPrefix(f.Name, "help") {
			continue
		}
		if !strings.Contains(string(readme), "`--"+f.Name) && !strings.Contains(string(readme), "`--[no-]"+f.Name) {
			t.Errorf("README.md does not name --%s", f.Name)
		}
	}
}
