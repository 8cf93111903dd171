//go:build e2e

package dashboards

import (
	"fmt"
	"slices"
	"strings"
)

// A gap is a target that may find nothing.
type gap struct{ uid, panel, refID string }

func (g gap) String() string { return g.uid + "/" + g.panel + "/" + g.refID }

// parseGaps reads lines such as
//
//	dashboard-uid/Title of the panel/A  reason
//
// with the reason after two spaces or more. Empty lines and lines that begin with
// # say nothing.
func parseGaps(text string) ([]gap, error) {
	var gaps []gap
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, "  ")
		uid, rest, _ := strings.Cut(strings.TrimSpace(name), "/")
		slash := strings.LastIndex(rest, "/")
		if slash < 1 || uid == "" || rest[slash+1:] == "" || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("line %d: %q is not \"uid/panel/refId  reason\"", number, line)
		}
		g := gap{uid, rest[:slash], rest[slash+1:]}
		if slices.Contains(gaps, g) {
			return nil, fmt.Errorf("line %d: %s is there twice", number, g)
		}
		gaps = append(gaps, g)
	}
	return gaps, nil
}

// check lists everything that is wrong with the dashboards: what the page found,
// panels that were not drawn, targets that found nothing, and gaps that are none.
func (r Report) check(gaps []gap) []string {
	var wrong []string
	unused := slices.Clone(gaps)
	for _, d := range r {
		for _, problem := range d.Problems {
			wrong = append(wrong, fmt.Sprintf("%s: %s", d.File, problem))
		}
		if len(d.Panels) == 0 {
			wrong = append(wrong, d.File+": no panels")
		}
		for _, p := range d.Panels {
			for _, problem := range p.check(d.UID, gaps) {
				wrong = append(wrong, fmt.Sprintf("%s: %s: %s", d.File, p, problem))
			}
			unused = slices.DeleteFunc(unused, func(g gap) bool { return p.has(d.UID, g) })
		}
	}
	for _, g := range unused {
		wrong = append(wrong, fmt.Sprintf("%s may be empty, but there is no such target", g))
	}
	return wrong
}

func (p PanelReport) has(uid string, g gap) bool {
	return g.uid == uid && g.panel == p.Title &&
		slices.ContainsFunc(p.Targets, func(t TargetReport) bool { return t.RefID == g.refID })
}

func (p PanelReport) check(uid string, gaps []gap) []string {
	wrong := slices.Clone(p.Problems)
	empty := len(p.Targets) > 0
	for _, t := range p.Targets {
		allowed := slices.Contains(gaps, gap{uid, p.Title, t.RefID})
		switch {
		case t.Error != "":
			wrong = append(wrong, fmt.Sprintf("%s: %s: %s", t.RefID, t.Expr, t.Error))
		case t.Values == 0 && !allowed:
			wrong = append(wrong, fmt.Sprintf("%s: %s finds nothing (%d series)", t.RefID, t.Expr, t.Series))
		case t.Values > 0 && allowed:
			wrong = append(wrong, fmt.Sprintf("%s: %s may be empty, but finds %d series", t.RefID, t.Expr, t.Series))
		}
		empty = empty && t.Values == 0
	}
	if len(wrong) == 0 && !empty && p.Marks == 0 {
		wrong = append(wrong, "nothing is drawn")
	}
	return wrong
}
