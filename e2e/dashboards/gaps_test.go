//go:build e2e

package dashboards

import (
	"slices"
	"strings"
	"testing"
)

func TestParseGaps(t *testing.T) {
	t.Parallel()
	got, err := parseGaps("# why\n\nuid/A/B panel/C  some reason\n  other/Title/A\t  x  y\n")
	want := []gap{{"uid", "A/B panel", "C"}, {"other", "Title", "A"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("parsed %v, %v, want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"uid/Title/A":                "line 1",
		"\nuid/Title/A    ":          "line 2",
		"uid/Title  reason":          "line 1",
		"/Title/A  reason":           "line 1",
		"uid//A  reason":             "line 1",
		"u/T/A  one\nu/T/A  another": "line 2: u/T/A is there twice",
	} {
		if _, err := parseGaps(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, without %q", text, err, want)
		}
	}
}
