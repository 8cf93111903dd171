// Package rulelint checks Prometheus rules against the metrics that an exporter
// really has. It reports what cannot be right and keeps quiet where it cannot
// know: metrics of other exporters are never judged.
package rulelint

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// prefix is how the names of all metrics begin that are judged.
const prefix = "ack_"

const (
	// maxFindings bounds the findings in one file; who has more reads no further.
	maxFindings = 1000
	// maxMessage bounds what one finding quotes of its input, in bytes.
	maxMessage = 500
)

// Family is a metric family that the exporter has. Type is the word of its TYPE
// line.
type Family struct {
	Name   string
	Type   string
	Labels []string
}

// Options says what exists.
type Options struct {
	Families []Family
	// Records are the names of recording rules that exist elsewhere than in the
	// files that are checked.
	Records []string
	// TargetLabels are labels that Prometheus adds to every series of the
	// exporter, next to those of DefaultTargetLabels.
	TargetLabels []string
}

// DefaultTargetLabels lists the labels that scraping adds as a rule.
func DefaultTargetLabels() []string {
	return []string{
		"job", "instance", "cluster", "node", "pod", "namespace", "container",
		"endpoint", "service", "prometheus", "prometheus_replica",
	}
}

// Finding is something that cannot be right.
type Finding struct {
	File string
	// Line is 0 where the finding is about the whole file.
	Line int
	// Group and Rule are empty where the finding is not about one.
	Group, Rule string
	Message     string
}

// String is the finding as one line, "FILE:LINE: group/rule: message".
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	b.WriteString(": ")
	if f.Group != "" || f.Rule != "" {
		fmt.Fprintf(&b, "%s: ", strings.Trim(f.Group+"/"+f.Rule, "/"))
	}
	b.WriteString(f.Message)
	return printable(b.String())
}

// printable keeps input from breaking the line or steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// shorten cuts what is too long to be read in a message.
func shorten(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "..."
}

// Linter checks rules.
type Linter struct {
	catalogue catalogue
}

// New makes a Linter.
func New(o Options) *Linter {
	return &Linter{catalogue: newCatalogue(o)}
}

// Lint checks files together: a recording rule of one is known to all. The
// findings are in the order of files and lines. The error is that of ctx.
func (l *Linter) Lint(ctx context.Context, files ...*File) ([]Finding, error) {
	var records []string
	for _, f := range files {
		records = append(records, f.Records()...)
	}
	known := l.catalogue.with(records)
	var all []Finding
	for _, f := range files {
		findings := slices.Clone(f.problems)
		for i := range f.Rules {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if len(findings) >= maxFindings {
				break
			}
			findings = append(findings, known.checkRule(f.Name, &f.Rules[i])...)
		}
		slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Line, b.Line) })
		all = append(all, slices.Compact(findings)...)
	}
	return all, nil
}
