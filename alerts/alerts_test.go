package alerts_test

import (
	"strings"
	"testing"

	"ack-exporter/alerts"
	"ack-exporter/internal/rulelint"
)

// TestRunbookPrefix proves that each annotation is replaced, and nothing else.
func TestRunbookPrefix(t *testing.T) {
	t.Parallel()
	const prefix = "https://wiki.example.com:8443/run-books/$1"
	text, err := alerts.RulesWithRunbooksAt(prefix + "/")
	if err != nil {
		t.Fatal(err)
	}
	before := rulelint.Parse("before", []byte(alerts.Rules())).Rules
	after := rulelint.Parse("after", []byte(text)).Rules
	if len(after) != len(before) || len(after) == 0 {
		t.Fatalf("%d rules instead of %d", len(after), len(before))
	}
	for i, r := range after {
		if !r.Alert {
			continue
		}
		if want := prefix + "/" + r.Name; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: %q instead of %s", r.Name, r.Annotations["runbook_url"], want)
		}
		for name, value := range before[i].Annotations {
			if name != "runbook_url" && r.Annotations[name] != value {
				t.Errorf("%s: %s became %q", r.Name, name, r.Annotations[name])
			}
		}
	}
	if got, want := strings.Count(text, "\n"), strings.Count(alerts.Rules(), "\n"); got != want {
		t.Errorf("%d lines instead of %d", got, want)
	}
}

func TestRunbookPrefixThatCannotBe(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"":                        "does not begin with http",
		"wiki.example.com/x":      "does not begin with http",
		"//wiki.example.com":      "does not begin with http",
		"javascript:alert(1)":     "does not begin with http",
		"https:///x":              "has no host",
		"https://a\nb":            "invalid control character",
		"https://a.example/x?y=1": "has a query or a fragment",
		"https://a.example/x#y":   "has a query or a fragment",
		"https://a.example/x y":   "must be written as %XX",
		"https://a.example/'x":    "must be written as %XX",
		"https://a.example/日":     "must be written as %XX",
		"https://a.example/%zz":   "invalid URL escape",
	} {
		if _, err := alerts.RulesWithRunbooksAt(prefix); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", prefix, err, want)
		}
	}
}

func TestAlertmanagerExampleIsThere(t *testing.T) {
	t.Parallel()
	if !strings.Contains(alerts.AlertmanagerExample(), "route:") {
		t.Errorf("got %q", alerts.AlertmanagerExample())
	}
}
