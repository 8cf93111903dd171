//go:build e2e

package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
)

// TestSmall draws a dashboard of which all that is to be seen is known, and the
// same one with faults, each of which must be found, and nothing else.
func TestSmall(t *testing.T) {
	t.Parallel()
	prepare(t)
	from := time.Now()
	w := world.New(t)
	exporter.Start(t, w, exporter.Config{})
	stack := monitor(t, w, map[string][]monitoring.Target{
		monitoringtest.Exporters: {monitoringtest.Target(exporter.Address, firstNode, "pod-1")},
	})
	awaitAtLeast(t, stack, `sum_over_time(up[1h])`, 8)
	files := fstest.MapFS{"small.json": {Data: small(t, nil)}}
	for name, fault := range faults {
		files[name+".json"] = &fstest.MapFile{Data: small(t, fault.make)}
	}
	for _, d := range render(t, prometheusOf(w), files, nil, from, time.Now()) {
		name := strings.TrimSuffix(d.File, ".json")
		t.Run(name, func(t *testing.T) {
			report := Report{d}
			if fault, faulty := faults[name]; faulty {
				requireOnly(t, report.check(nil), fault.want)
				return
			}
			keep(t, report, "")
			requireOnly(t, report.check(nil))
			requireText(t, d)
			requireVariables(t, d, ".*")
			requireOnly(t, report.check([]gap{{"small", "State", "A"}, {"small", "Gone", "A"}}),
				`node=~"node-a"} may be empty, but finds 1 series`, "small/Gone/A may be empty, but there is no such target")
		})
	}
	chosen := fstest.MapFS{"small.json": files["small.json"]}
	for _, d := range render(t, prometheusOf(w), chosen, map[string]string{"cluster": monitoringtest.Cluster}, from, time.Now()) {
		requireOnly(t, Report{d}.check(nil))
		requireVariables(t, d, monitoringtest.Cluster)
	}
}

// panel is a panel of the small dashboard, by its id.
func panel(dashboard object, id float64) object {
	var find func(panels any) object
	find = func(panels any) object {
		for _, p := range panels.([]any) {
			p := object(p.(map[string]any))
			if p["id"] == id {
				return p
			}
			if inside, ok := p["panels"]; ok {
				if found := find(inside); found != nil {
					return found
				}
			}
		}
		return nil
	}
	return find(dashboard["panels"])
}

func target(dashboard object, id float64) map[string]any {
	return panel(dashboard, id)["targets"].([]any)[0].(map[string]any)
}

func fieldDefaults(dashboard object, id float64) map[string]any {
	return panel(dashboard, id)["fieldConfig"].(map[string]any)["defaults"].(map[string]any)
}

func variable(dashboard object, index int) map[string]any {
	return dashboard["templating"].(map[string]any)["list"].([]any)[index].(map[string]any)
}

// The panels that get faults, by their ids.
const (
	timeSeries = 2
	stat       = 3
	table      = 5
	text       = 7
)

// faults are what the tests must find, and the words by which they say so.
var faults = map[string]struct {
	make func(dashboard object)
	want string
}{
	"bad PromQL":       {func(d object) { target(d, timeSeries)["expr"] = "up{" }, `panel "Scrapes" (timeseries, id 2): A: up{: bad_data: `},
	"unknown metric":   {func(d object) { target(d, stat)["expr"] = "ack_nothing" }, `A: ack_nothing finds nothing (0 series)`},
	"only NaN":         {func(d object) { target(d, stat)["expr"] = "up * NaN" }, `A: up * NaN finds nothing (1 series)`},
	"unknown type":     {func(d object) { panel(d, stat)["type"] = "gauge" }, `panels of type gauge are not supported`},
	"unknown unit":     {func(d object) { fieldDefaults(d, stat)["unit"] = "byte" }, `there is no unit byte`},
	"unknown option":   {func(d object) { fieldDefaults(d, stat)["custom"] = object{"lineWidth": 1} }, `a stat panel has no property custom.lineWidth`},
	"unknown legend":   {func(d object) { target(d, timeSeries)["legendFormat"] = "{{zone}}" }, `the legend names the label zone, which no series has`},
	"unknown variable": {func(d object) { target(d, timeSeries)["expr"] = `up{pod="$pod"}` }, `there is no variable pod`},
	"other source":     {func(d object) { target(d, stat)["datasource"] = object{"type": "prometheus", "uid": "abc"} }, `is not a variable of the dashboard`},
	"not merged":       {func(d object) { delete(panel(d, table), "transformations") }, `a table shows one frame, but there are 2: merge them`},
	"out of sight":     {func(d object) { defaults := fieldDefaults(d, timeSeries); defaults["min"], defaults["max"] = 5, 6 }, `panel "Scrapes" (timeseries, id 2): nothing is drawn`},
	"no text":          {func(d object) { panel(d, text)["options"] = object{"mode": "markdown", "content": ""} }, `panel "Notes" (text, id 7): nothing is drawn`},
	"repeated":         {func(d object) { panel(d, stat)["repeat"] = "node" }, `the option repeat is not supported`},
	"unknown transformation": {func(d object) {
		panel(d, table)["transformations"] = []any{object{"id": "mingle", "options": object{}}}
	}, `there is no transformation mingle`},
	"empty variable": {func(d object) {
		variable(d, 3)["query"] = "label_values(ack_nothing, job)"
	}, `variable scraped: label_values(ack_nothing, job) finds nothing`},
}

// small reads the small dashboard and changes it.
func small(t *testing.T, change func(object)) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	if change == nil {
		return content
	}
	var dashboard object
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	change(dashboard)
	if content, err = json.Marshal(dashboard); err != nil {
		t.Fatal(err)
	}
	return content
}

// requireOnly fails unless each of the problems has the words that it should.
func requireOnly(t *testing.T, problems []string, want ...string) {
	t.Helper()
	if !slices.EqualFunc(problems, want, strings.Contains) {
		t.Errorf("found %q, want %q", problems, want)
	}
}

// requireText compares what is written on the page: units, mappings, labels, and
// values of variables are those that the dashboard asks for.
func requireText(t *testing.T, d DashboardReport) {
	t.Helper()
	for i, want := range []struct {
		title string
		texts []string
	}{
		{"Basics of All", []string{"Basics of All"}},
		{"Scrapes", []string{"node-a CPU", "Last *", "Max", "%"}},
		{"State", []string{"running"}},
		{"Memory", []string{"MiB"}},
		{"Nodes", []string{"cluster", "Up", "Started", "test", "yes", time.Now().UTC().Format("2006-")}},
		{"More", []string{"More"}},
		{"Notes", []string{"The cluster is All."}},
	} {
		p := d.Panels[i]
		if p.Title != want.title {
			t.Errorf("panel %d has the title %q, not %q", i, p.Title, want.title)
		}
		for _, text := range want.texts {
			if !strings.Contains(p.Text, text) {
				t.Errorf("%s shows %q, without %q", p, p.Text, text)
			}
		}
	}
	if series := d.Panels[1].Targets[0].Series; series != 1 {
		t.Errorf("%d series of up, want 1", series)
	}
}

func requireVariables(t *testing.T, d DashboardReport, cluster string) {
	t.Helper()
	want := map[string]string{"datasource": "prometheus", "cluster": cluster, "node": "node-a", "scraped": "ack-exporter"}
	for _, v := range d.Variables {
		if v.Value != want[v.Name] {
			t.Errorf("variable %s is %q, not %q", v.Name, v.Value, want[v.Name])
		}
	}
	if len(d.Variables) != len(want) {
		t.Errorf("%d variables, want %d", len(d.Variables), len(want))
	}
	query := fmt.Sprintf(`rate(process_cpu_seconds_total{cluster=~"%s", node=~"node-a"}[4s])`, cluster)
	if got := d.Panels[1].Targets[1].Expr; got != query {
		t.Errorf("the query is %s, not %s", got, query)
	}
}
