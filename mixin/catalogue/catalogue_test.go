package catalogue

import (
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	r, ok := c.Risk("CT-01")
	if !ok || r.Area() != "CT" || r.Thresholds["critical"] != 0.9 {
		t.Errorf("CT-01: %v %+v", ok, r)
	}
	if _, ok := c.Risk("CT-99"); ok {
		t.Error("there is no CT-99")
	}
}

// TestBadRows changes one thing in a good row.
func TestBadRows(t *testing.T) {
	t.Parallel()
	const good = `
sources: {manual: A manual}
areas: {CT: Tracking}
gaps: {cluster: not yet}
foreign: {other_total: Other}
risks:
- {id: CT-01, priority: A, title: Full, impact: Bad., action: Mend it., source: 'manual, chapter', metrics: [up]}
- {id: CT-02, priority: B, title: Other, source: manual, gap: cluster}
`
	if _, err := parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, replacement, want string }{
		{"id: CT-02", "id: CT-01", "CT-01 is there twice"},
		{"id: CT-02", "id: CT-2", "CT-2: id: not of the form XX-00"},
		{"id: CT-02", "id: ZZ-02", "ZZ-02: id: no such area"},
		{"priority: B", "priority: C", `CT-02: priority: "C" is not A, B or own`},
		{"title: Other", "title: Full", "CT-02 and CT-01 have one title"},
		{"title: Other", "title: Other.", "CT-02: title: empty, or ends in a full stop"},
		{"source: manual, gap", "source: rumour, gap", `CT-02: source: no manual "rumour"`},
		{", gap: cluster", "", "CT-02: needs one of metrics, same_as and gap"},
		{"gap: cluster}", "same_as: CT-02}", "CT-02: same_as: no other row CT-02"},
		{"action: Mend it., ", "", "CT-01: impact, action: missing"},
		{"gap: cluster}", "gap: cluster, no_alert: quiet}", "CT-02: no_alert: without metrics"},
		{"gap: cluster}", "gap: undetectable}", "CT-02: why: missing"},
		{"total: Other", "total: ''", "foreign: other_total: no other exporter of it"},
		{"other_total", "ack_total", "foreign: ack_total: no other exporter of it"},
		{"gap: cluster}", "gap: cluster, colour: red}", `unknown field "colour"`},
	} {
		_, err := parse([]byte(strings.Replace(good, c.old, c.replacement, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: got %v, want %s", c.replacement, c.old, err, c.want)
		}
	}
}
