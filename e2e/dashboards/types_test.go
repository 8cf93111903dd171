//go:build e2e

package dashboards

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ack-exporter/dashboards"
	"ack-exporter/e2e/internal/npm"
)

const compileTimeout = 2 * time.Minute

// typeFaults are what the compiler must find in the small dashboard, and the words
// by which it says so.
var typeFaults = map[string]struct {
	make func(dashboard object)
	want string
}{
	"legend placement": {func(d object) {
		panel(d, timeSeries)["options"].(map[string]any)["legend"].(map[string]any)["placement"] = "sideways"
	}, `"sideways"`},
	"misspelt key": {func(d object) {
		t := target(d, stat)
		t["exprr"] = t["expr"]
		delete(t, "expr")
	}, `"exprr"`},
	"unit number":     {func(d object) { fieldDefaults(d, stat)["unit"] = 5 }, `'number' is not assignable to type 'string'`},
	"panel type":      {func(d object) { panel(d, stat)["type"] = "heatmap" }, `"heatmap"`},
	"custom option":   {func(d object) { fieldDefaults(d, timeSeries)["custom"] = object{"lineWidht": 1} }, `"lineWidht"`},
	"option of other": {func(d object) { panel(d, stat)["options"].(map[string]any)["showHeader"] = true }, `"showHeader"`},
	"data source": {func(d object) {
		panel(d, stat)["datasource"] = object{"type": "prometheus", "uid": "P1809F7CD0C75ACF3"}
	}, `'"P1809F7CD0C75ACF3"'`},
	"override value": {func(d object) {
		rule := panel(d, timeSeries)["fieldConfig"].(map[string]any)["overrides"].([]any)[0].(map[string]any)
		rule["properties"] = []any{object{"id": "custom.axisPlacement", "value": "rigth"}}
	}, `"rigth"`},
	"override property": {func(d object) {
		rule := panel(d, timeSeries)["fieldConfig"].(map[string]any)["overrides"].([]any)[0].(map[string]any)
		rule["properties"] = []any{object{"id": "units", "value": "s"}}
	}, `"units"`},
	"time":     {func(d object) { d["time"] = object{"from": 3, "to": "now"} }, `'number' is not assignable to type 'string'`},
	"variable": {func(d object) { variable(d, 1)["refresh"] = "always" }, `'string' is not assignable to type`},
}

// TestTypes compiles the dashboards as values of the types of @grafana/schema.
func TestTypes(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{"small": small(t, nil)}
	for name, fault := range typeFaults {
		files["fault "+name] = small(t, fault.make)
	}
	pack := dashboards.Files()
	names, err := fs.Glob(pack, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if files[name], err = fs.ReadFile(pack, name); err != nil {
			t.Fatal(err)
		}
	}
	errors := compile(t, files)
	for name := range files {
		found := strings.Join(errors[name], "\n")
		if kind, ok := strings.CutPrefix(name, "fault "); !ok && found != "" {
			t.Errorf("%s:\n%s", name, found)
		} else if want := typeFaults[kind].want; ok && !strings.Contains(found, want) {
			t.Errorf("%s: found %q, without %q", name, found, want)
		}
	}
}

// compile returns what the compiler says of each dashboard.
func compile(t *testing.T, files map[string][]byte) map[string][]string {
	t.Helper()
	packages := nodeModules(t)
	folder := t.TempDir()
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}
	if err := npm.CopyFiles(folder, "app", []string{"tsconfig.json", "types"}); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		source := fmt.Appendf(nil, "import type { StrictDashboard } from '../types/strict';\nexport const dashboard: StrictDashboard = %s;\n", content)
		write(t, filepath.Join(folder, "src", name+".ts"), source)
	}
	ctx, cancel := context.WithTimeout(t.Context(), compileTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "node_modules/typescript/bin/tsc", "--pretty", "false")
	cmd.Dir = folder
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, output)
	}
	return errorsByFile(t, string(output))
}

// errorsByFile takes the lines of the compiler apart: those that are indented go
// on with the error before.
func errorsByFile(t *testing.T, output string) map[string][]string {
	t.Helper()
	errors := make(map[string][]string)
	var name string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, " ") {
			path, _, ok := strings.Cut(line, ".ts(")
			if name = strings.TrimPrefix(path, "src/"); !ok || name == path {
				t.Fatalf("the compiler says:\n%s", output)
			}
		}
		errors[name] = append(errors[name], line)
	}
	return errors
}
