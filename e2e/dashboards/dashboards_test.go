//go:build e2e

package dashboards

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ack-exporter/dashboards"
)

// TestDashboards draws the dashboards of the pack.
func TestDashboards(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("allowed_empty.txt")
	if err != nil {
		t.Fatal(err)
	}
	gaps, err := parseGaps(string(text))
	if err != nil {
		t.Fatalf("allowed_empty.txt: %v", err)
	}
	prepare(t)
	from := time.Now()
	prometheus := busyNodes(t)
	report := render(t, prometheus, dashboards.Files(), nil, from, time.Now())
	keep(t, report, os.Getenv("E2E_PICTURES"))
	for _, wrong := range report.check(gaps) {
		t.Error(wrong)
	}
}

// keep writes the report to the artifacts, and the pictures to a folder, which is
// that of the artifacts where none is named.
func keep(t *testing.T, report Report, folder string) {
	t.Helper()
	write(t, filepath.Join(t.ArtifactDir(), "report.json"), report.json(t))
	if folder == "" {
		folder = t.ArtifactDir()
	}
	for _, d := range report {
		small, err := shrink(d.picture)
		if err != nil {
			t.Errorf("%s: make the picture small: %v", d.File, err)
			continue
		}
		if len(small) > maxPicture {
			t.Errorf("%s: the picture has %d bytes, more than %d", d.File, len(small), maxPicture)
		}
		write(t, filepath.Join(folder, strings.TrimSuffix(d.File, ".json")+".png"), small)
	}
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
