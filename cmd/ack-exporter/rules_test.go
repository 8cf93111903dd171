package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ack-exporter/alerts"
	"ack-exporter/dashboards"
	"ack-exporter/internal/rulelint"
	"ack-exporter/internal/server/servertest"
)

// ran runs a command that ends by itself.
func ran(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

// file writes a file of this content and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// directory returns the contents of the files of a directory by name.
func directory(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(content)
	}
	return files
}

func TestRulesPrintsTheRuleFileAsItIs(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"rules"}, {"rules", "write"}} {
		if status, stdout, stderr := ran(t, args...); status != 0 || stdout != alerts.Rules() || stderr != "" {
			t.Errorf("%v: status %d, stderr %q, stdout %.200q", args, status, stderr, stdout)
		}
	}
}

func TestRulesWithRunbooksElsewhere(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := ran(t, "rules", "--runbook-url-prefix=https://wiki.example.com/ack")
	want, err := alerts.RulesWithRunbooksAt("https://wiki.example.com/ack")
	if err != nil {
		t.Fatal(err)
	}
	if status != 0 || stdout != want || stderr != "" || want == alerts.Rules() {
		t.Errorf("status %d, stderr %q, stdout %.200q", status, stderr, stdout)
	}
}

func TestRulesIntoADirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	rules, example := filepath.Join(dir, "ack-exporter.rules.yaml"), filepath.Join(dir, "alertmanager-example.yml")
	// The second time it replaces what is there.
	for range 2 {
		if status, stdout, stderr := ran(t, "rules", "--output-dir="+dir); status != 0 || stdout != rules+"\n"+example+"\n" {
			t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
		}
		got := directory(t, dir)
		if len(got) != 2 || got[filepath.Base(rules)] != alerts.Rules() || got[filepath.Base(example)] != alerts.AlertmanagerExample() {
			t.Errorf("got %.500q", got)
		}
		if err := os.WriteFile(rules, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDashboards(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(dashboards.Files(), "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%v: %v", names, err)
	}
	status, stdout, stderr := ran(t, "dashboards")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	documents := json.NewDecoder(strings.NewReader(stdout))
	for range names {
		var dashboard struct{ Title, UID string }
		if err := documents.Decode(&dashboard); err != nil || dashboard.Title == "" || dashboard.UID == "" {
			t.Errorf("dashboard %+v: %v", dashboard, err)
		}
	}
	if err := documents.Decode(new(any)); err != io.EOF {
		t.Errorf("after the last dashboard: %v", err)
	}

	dir := t.TempDir()
	if status, _, stderr := ran(t, "dashboards", "--output-dir="+dir); status != 0 {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	files := directory(t, dir)
	if len(files) != len(names) {
		t.Errorf("%d files of %d", len(files), len(names))
	}
	for _, name := range names {
		status, stdout, _ := ran(t, "dashboards", strings.TrimSuffix(name, ".json"))
		if status != 0 || stdout == "" || stdout != files[name] {
			t.Errorf("%s: status %d, printed %.100q, written %.100q", name, status, stdout, files[name])
		}
	}
}

func TestPackIsAskedForWrongly(t *testing.T) {
	t.Parallel()
	plain := file(t, "plain", "")
	var names []string
	entries, err := fs.Glob(dashboards.Files(), "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range entries {
		names = append(names, strings.TrimSuffix(name, ".json"))
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rules", "--runbook-url-prefix=wiki"}, `--runbook-url-prefix: "wiki" does not begin with http:// or https://`},
		{[]string{"rules", "--runbook-url-prefix="}, `--runbook-url-prefix: "" does not begin with http:// or https://`},
		{[]string{"rules", "--runbook-url-prefix=https://a\x01b"}, "invalid control character in URL"},
		{[]string{"rules", "--output-dir=" + plain}, "--output-dir: mkdir " + plain + ": not a directory"},
		{[]string{"rules", "nonsense"}, "nonsense"},
		{[]string{"rules", "lint"}, "required argument 'file' not provided"},
		{[]string{"dashboards", "nope"}, `no dashboard "nope"; there are: ` + strings.Join(names, ", ")},
		{[]string{"dashboards", "--output-dir=" + plain + "/x"}, "--output-dir: mkdir " + plain + ": not a directory"},
	} {
		status, stdout, stderr := ran(t, c.args...)
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: status %d, stdout %q, want one line with %q, got %q", c.args, status, stdout, c.want, stderr)
		}
	}
}

// TestLintOfTheRulePack proves that it names nothing that the exporter lacks.
func TestLintOfTheRulePack(t *testing.T) {
	t.Parallel()
	rules := len(rulelint.Parse("", []byte(alerts.Rules())).Rules)
	pack := file(t, "pack.yaml", alerts.Rules())
	want := fmt.Sprintf("%s in 1 file: no problems\n", count(rules, "rule"))
	if status, stdout, stderr := ran(t, "rules", "lint", pack); status != 0 || stdout != want || stderr != "" {
		t.Errorf("status %d, stderr %q\n%s", status, stderr, stdout)
	}
}

func TestLintTellsEachProblemAndGoesOn(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	directory := t.TempDir()
	good := file(t, "good.yaml", "groups:\n- name: g\n  rules:\n  - record: a:ack_own:b\n    expr: ack_exporter_build_info{version='1', zone='x'}\n")
	bad := file(t, "bad.yaml", "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: |\n      ack_conntrack_entriez > 0\n        and a:ack_own:b{x='y'}\n        and ack_ipvs_connections{protcol='udp'}\n")
	large := file(t, "large.yaml", strings.Repeat("#", rulelint.MaxFileBytes+10))

	status, stdout, stderr := ran(t, "rules", "lint", "--target-label=zone", missing, directory, bad, large, good)
	want := missing + ": no such file or directory\n" +
		directory + ": is a directory\n" +
		bad + ":6: g/A: no metric \"ack_conntrack_entriez\"; did you mean \"ack_conntrack_entries\"?\n" +
		bad + ":8: g/A: ack_ipvs_connections has no label \"protcol\"\n" +
		large + ": larger than 2097152 bytes\n"
	if status != 1 || stdout != want || stderr != "ack-exporter: 5 problems in 5 files\n" {
		t.Errorf("status %d, stderr %q, got\n%swant\n%s", status, stderr, stdout, want)
	}
	if status, stdout, stderr := ran(t, "rules", "lint", "--target-label=zone", good); status != 0 || stdout != "1 rule in 1 file: no problems\n" {
		t.Errorf("status %d, stderr %q, stdout %q", status, stderr, stdout)
	}
	if status, stdout, _ := ran(t, "rules", "lint", good); status != 1 || !strings.Contains(stdout, `ack_exporter_build_info has no label "zone"`) {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
}

// TestLintKnowsWhatIsServed compares what the linter knows with what a running
// exporter shows.
func TestLintKnowsWhatIsServed(t *testing.T) {
	t.Parallel()
	known, err := families()
	if err != nil {
		t.Fatal(err)
	}
	var log buffer
	url, stop := started(t, &log, "--collector.kmsg.path=testdata/no-such-device")
	defer stop()
	body, err := servertest.Fetch(t.Context(), http.DefaultClient, url+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for line := range strings.Lines(body) {
		name, ours := strings.CutPrefix(line, "# TYPE ")
		if !ours || !strings.HasPrefix(name, "ack_") {
			continue
		}
		served++
		name, _, _ = strings.Cut(name, " ")
		if !slices.ContainsFunc(known, func(f rulelint.Family) bool { return f.Name == name }) {
			t.Errorf("%s is not known", name)
		}
	}
	if served == 0 {
		t.Errorf("nothing is served: %s", body)
	}
}

func TestNodeServesRunbooks(t *testing.T) {
	t.Parallel()
	var log buffer
	url, stop := started(t, &log, "--no-collector.kmsg")
	defer stop()
	body, err := servertest.Fetch(t.Context(), http.DefaultClient, url+"/runbooks/")
	if err != nil || !strings.Contains(body, "<h1") {
		t.Errorf("%v: %s", err, body)
	}
	if status, _, stderr := ran(t, "node", "--web.telemetry-path=/runbooks/", "--web.listen-address=127.0.0.1:0"); status != 1 || !strings.Contains(stderr, "the telemetry path /runbooks/ is taken") {
		t.Errorf("status %d: %s", status, stderr)
	}
}
