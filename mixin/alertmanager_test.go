package mixin_test

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"sigs.k8s.io/yaml"

	"ack-exporter/mixin"
)

// inhibition is a rule of Alertmanager by which one alert silences another.
type inhibition struct {
	Source []string `json:"source_matchers"`
	Target []string `json:"target_matchers"`
	Equal  []string `json:"equal"`
}

var matcherForm = regexp.MustCompile(`^(\w+)(=|=~)"(.*)"$`)

// matches tells whether an alert has what all matchers want.
func matches(t *testing.T, matchers []string, alert map[string]string) bool {
	t.Helper()
	for _, text := range matchers {
		m := matcherForm.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("not a matcher of this test: %s", text)
		}
		value, want := alert[m[1]], regexp.QuoteMeta(m[3])
		if m[2] == "=~" {
			want = m[3]
		}
		if !regexp.MustCompile("^(?:" + want + ")$").MatchString(value) {
			return false
		}
	}
	return true
}

// silences tells whether source keeps target from being sent. What is a source and a
// target at once is not silenced by its like.
func (i inhibition) silences(t *testing.T, source, target map[string]string) bool {
	t.Helper()
	if !matches(t, i.Source, source) || !matches(t, i.Target, target) {
		return false
	}
	if matches(t, i.Target, source) && matches(t, i.Source, target) {
		return false
	}
	return !slices.ContainsFunc(i.Equal, func(label string) bool { return source[label] != target[label] })
}

func inhibitions(t *testing.T, pack *mixin.Pack) []inhibition {
	t.Helper()
	var config struct {
		InhibitRules []inhibition `json:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(pack.Alertmanager, &config); err != nil || len(config.InhibitRules) == 0 {
		t.Fatalf("no inhibition: %v", err)
	}
	return config.InhibitRules
}

// TestInhibitionLabels proves that the alerts that rules of inhibition name are there,
// and have the labels that must be equal: those that both lack would be equal as well.
func TestInhibitionLabels(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render("{}")
	if err != nil {
		t.Fatal(err)
	}
	check := &conventions{cluster: "cluster", node: "node", records: map[string][]string{}}
	labels := map[string][]string{}
	for _, rule := range parseRules(t, pack.Rules) {
		check.rule(rule)
		if rule.Alert != "" {
			expr, err := promQL().ParseExpr(rule.Expr)
			if err != nil {
				t.Fatal(err)
			}
			labels[rule.Alert] = check.labels(expr)
		}
	}
	for _, rule := range inhibitions(t, pack) {
		for _, text := range slices.Concat(rule.Source, rule.Target) {
			m := matcherForm.FindStringSubmatch(text)
			if m == nil || m[1] != model.AlertNameLabel {
				continue
			}
			named := regexp.MustCompile("^(?:" + m[3] + ")$")
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(m[3], -1) {
				if labels[name] == nil {
					t.Errorf("%s: there is no alert %s", text, name)
				}
			}
			for name := range labels {
				for _, label := range rule.Equal {
					if named.MatchString(name) && label != model.AlertNameLabel && !slices.Contains(labels[name], label) {
						t.Errorf("%s has no label %s, which must be equal", name, label)
					}
				}
			}
		}
	}
}

// TestInhibition shows what keeps what from being sent.
func TestInhibition(t *testing.T) {
	t.Parallel()
	pack, err := mixin.Render("{}")
	if err != nil {
		t.Fatal(err)
	}
	rules := inhibitions(t, pack)
	about := func(name, severity string, more ...string) map[string]string {
		alert := map[string]string{"alertname": name, "severity": severity, "cluster": "prod", "node": "n1"}
		for i := 0; i < len(more); i += 2 {
			alert[more[i]] = more[i+1]
		}
		return alert
	}
	warning := func(name string, more ...string) map[string]string { return about(name, "warning", more...) }
	notice, reclaiming := warning("ACKSpotInterruptionNotice"), warning("ACKInstanceReclaiming")
	expired, locked := warning("ACKNodeInstanceExpired"), warning("ACKInstanceLocked", "reason", "financial")
	for name, c := range map[string]struct {
		source, target map[string]string
		want           bool
	}{
		"a notice, and the exporter of the node":            {notice, warning("ACKExporterDown"), true},
		"a notice, and one that is missing":                 {notice, warning("ACKExporterMissing"), true},
		"a notice, and its DNS":                             {notice, about("ACKDNSFailing", "critical"), true},
		"a notice, and its instance":                        {notice, warning("ACKInstanceNotRunning"), true},
		"a reclaim, and the exporter":                       {reclaiming, warning("ACKExporterDown"), true},
		"the condition, and the exporter":                   {expired, warning("ACKExporterDown"), true},
		"a notice, and the same by the API":                 {notice, reclaiming, true},
		"a notice, and the same by the condition":           {notice, expired, true},
		"the same the other way round":                      {reclaiming, notice, false},
		"a notice, and the exporter of another node":        {notice, warning("ACKExporterDown", "node", "n2"), false},
		"a notice, and the exporter of another cluster":     {notice, warning("ACKExporterDown", "cluster", "test"), false},
		"a notice, and a full table":                        {notice, about("ACKConntrackTableNearlyFull", "critical"), false},
		"a notice, and a lock":                              {notice, locked, false},
		"a notice, and a cluster without a leader":          {notice, map[string]string{"alertname": "ACKExporterNoLeader", "severity": "warning", "cluster": "prod"}, false},
		"the exporter, and a notice":                        {warning("ACKExporterDown"), notice, false},
		"a lock, and an instance that does not run":         {locked, warning("ACKInstanceNotRunning"), true},
		"an instance that does not run, and the exporter":   {warning("ACKInstanceNotRunning"), warning("ACKExporterDown"), false},
		"the last day of a subscription, and its last week": {about("ACKInstanceExpiresSoon", "critical"), warning("ACKInstanceExpiresSoon"), true},
		"the last day, and a week of another node":          {about("ACKInstanceExpiresSoon", "critical"), warning("ACKInstanceExpiresSoon", "node", "n2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			silenced := func(i inhibition) bool { return i.silences(t, c.source, c.target) }
			if got := slices.ContainsFunc(rules, silenced); got != c.want {
				t.Errorf("%v, and %v: silenced is %v", slices.Sorted(maps.Values(c.source)), slices.Sorted(maps.Values(c.target)), got)
			}
		})
	}
}
