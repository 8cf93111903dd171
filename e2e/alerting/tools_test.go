//go:build e2e

package alerting

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/world"
)

// repository is the root of this source.
const repository = "../.."

const (
	// toolTimeout is for the tests of the rules, which look at hours of them.
	toolTimeout = 12 * time.Minute
	// buildTimeout is for a build from nothing: promtool is large.
	buildTimeout = 15 * time.Minute
)

// TestTools lets the tools of Prometheus and Alertmanager judge the rendered
// files: those of the distribution, which is the oldest version that knows all of
// the rules' fields, and a current promtool, which runs the tests of the rules too.
// `make test` runs these with the promtool of the distribution.
//
// It does not run beside other tests, whose seconds it would make longer.
func TestTools(t *testing.T) {
	rules := find(t, "alerts/*.yaml")
	t.Run("Promtool/distribution", func(t *testing.T) {
		t.Parallel()
		runTool(t, tool(t, "PROMTOOL_BIN", "promtool", "prometheus"), append([]string{"check", "rules"}, rules...)...)
	})
	t.Run("Promtool/current", func(t *testing.T) {
		t.Parallel()
		promtool := currentPromtool(t)
		runRuleTests(t, promtool)
	})
	t.Run("Amtool", func(t *testing.T) {
		t.Parallel()
		amtool := tool(t, "AMTOOL_BIN", "amtool", "prometheus-alertmanager")
		config := find(t, "alerts/alertmanager-example.yml")[0]
		runTool(t, amtool, "check-config", config)
		for severity, receiver := range map[string]string{"critical": "pager", "warning": "tickets", "none": "tickets"} {
			runTool(t, amtool, "config", "routes", "test", "--config.file="+config,
				"--verify.receivers="+receiver, "cluster=test", "alertname=Any", "severity="+severity)
		}
	})
}

// find returns the files of the repository that match a pattern, of which there
// must be some.
func find(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	return files
}

// tool is the path of a program: the one that a variable names, or the one that a
// package of the distribution has installed.
func tool(t *testing.T, variable, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(cmp.Or(os.Getenv(variable), name))
	world.Require(t, err == nil, fmt.Sprintf("%s is missing: apt-get install --no-install-recommends %s", name, from))
	return path
}

// runRuleTests has promtool check the rules and run their tests, each with the rules that it
// is about: all rules in all tests would take it half an hour.
func runRuleTests(t *testing.T, promtool string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^TestPromtool$/^promtool-/^(check|whole_pack|as_it_is)$", "./mixin")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "PROMTOOL="+promtool)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
	judged := []string{"/check", "/whole_pack"}
	for _, file := range find(t, "mixin/tests/*.yaml") {
		judged = append(judged, "/as_it_is/"+filepath.Base(file))
	}
	for _, name := range judged {
		if !strings.Contains(string(out), "--- PASS: TestPromtool/"+filepath.Base(promtool)+name+" ") {
			t.Errorf("%s was not judged:\n%s", name, out)
		}
	}
}

func runTool(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
}

// currentPromtool builds the promtool that the repository pins. It is kept in the
// user's cache, named after what it was made of.
func currentPromtool(t *testing.T) string {
	t.Helper()
	path, err := promtoolPath()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	partial := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-modfile", "tools/promtool.mod",
		"-tags", "remove_all_sd", "-o", partial, "github.com/prometheus/prometheus/cmd/promtool")
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	if err := os.Rename(partial, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func promtoolPath() (string, error) {
	sum := sha256.New()
	for _, name := range []string{"tools/promtool.mod", "tools/promtool.sum"} {
		content, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			return "", err
		}
		sum.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "ack-exporter")
	return filepath.Join(folder, fmt.Sprintf("promtool-%x", sum.Sum(nil)[:8])), os.MkdirAll(folder, 0o755)
}
