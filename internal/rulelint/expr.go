package rulelint

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
)

// maxExpr bounds an expression, in bytes: the parser's time grows with the
// square of the depth.
const maxExpr = 16 << 10

// checkRule checks the expression of a rule.
func (c catalogue) checkRule(file string, r *Rule) []Finding {
	x := &exprCheck{catalogue: c, file: file, rule: r}
	if strings.TrimSpace(r.Expr) == "" {
		return nil // Told by the reader.
	}
	if len(r.Expr) > maxExpr {
		x.report(0, "the expression is longer than %d bytes", maxExpr)
		return x.findings
	}
	// What a server must be told to allow is no mistake of the rule.
	p := parser.NewParser(parser.Options{
		EnableExperimentalFunctions:  true,
		ExperimentalDurationExpr:     true,
		EnableExtendedRangeSelectors: true,
		EnableBinopFillModifiers:     true,
	})
	expr, err := p.ParseExpr(r.Expr)
	if err != nil {
		x.parseError(err)
		return x.findings
	}
	x.walk(expr)
	return x.findings
}

// exprCheck walks over one expression.
type exprCheck struct {
	catalogue catalogue
	file      string
	rule      *Rule
	findings  []Finding
}

func (x *exprCheck) report(pos posrange.Pos, format string, args ...any) {
	x.findings = append(x.findings, Finding{
		File: x.file, Line: x.rule.exprLine(int(pos)), Group: x.rule.Group, Rule: x.rule.Name,
		Message: fmt.Sprintf(format, args...),
	})
}

// parseError reports the first error; the others follow from it.
func (x *exprCheck) parseError(err error) {
	if many, ok := errors.AsType[parser.ParseErrors](err); ok && len(many) > 0 {
		x.report(many[0].PositionRange.Start, "not PromQL: %s", shorten(many[0].Err.Error()))
		return
	}
	x.report(0, "not PromQL: %s", shorten(err.Error()))
}

// scope is what is known of the labels that the metrics under a node have.
type scope struct {
	labels labelSet
	// unknown: a metric of another exporter, the result of a recording rule, or
	// labels made by a function are among them.
	unknown bool
}

func (s *scope) add(other scope) {
	s.unknown = s.unknown || other.unknown
	if s.labels == nil {
		s.labels = make(labelSet)
	}
	maps.Copy(s.labels, other.labels)
}

// lacks tells whether no series in s can have the label.
func (s scope) lacks(label string) bool {
	return !s.unknown && len(s.labels) > 0 && !s.labels[label]
}

// walk checks node and all under it.
func (x *exprCheck) walk(node parser.Node) scope {
	if selector, ok := node.(*parser.VectorSelector); ok {
		return x.selector(selector)
	}
	var under scope
	for child := range parser.ChildrenIter(node) {
		under.add(x.walk(child))
	}
	switch e := node.(type) {
	case *parser.AggregateExpr:
		x.grouping(e, under)
		// Its result has a label that no metric has.
		under.unknown = under.unknown || e.Op == parser.COUNT_VALUES
	case *parser.BinaryExpr:
		x.matching(e, under)
	case *parser.Call:
		switch e.Func.Name {
		case "label_replace", "label_join", "info":
			under.unknown = true
		}
	}
	return under
}

// selector checks the name and the matchers of a selector.
func (x *exprCheck) selector(s *parser.VectorSelector) scope {
	name := metricName(s)
	if problem := x.catalogue.problem(name); problem != "" {
		x.report(s.PosRange.Start, "%s", problem)
	}
	known := x.catalogue.series[name]
	if known == nil {
		return scope{unknown: true}
	}
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel || known[m.Name] || wantsAbsence(m) {
			continue
		}
		x.report(x.find(m.Name, s.PosRange), "%s has no label %q", name, shorten(m.Name))
	}
	return scope{labels: known}
}

// metricName is the one name that s selects, or "".
func metricName(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return s.Name
}

// wantsAbsence tells whether m is meant to match series without its label too.
func wantsAbsence(m *labels.Matcher) bool {
	return (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp) && m.Matches("")
}

func (x *exprCheck) grouping(e *parser.AggregateExpr, under scope) {
	clause := "by"
	if e.Without {
		clause = "without"
	}
	// The clause stands before or behind what it aggregates.
	inner := e.Expr.PositionRange()
	before := posrange.PositionRange{Start: e.PosRange.Start, End: inner.Start}
	behind := posrange.PositionRange{Start: inner.End, End: e.PosRange.End}
	for _, label := range e.Grouping {
		if under.lacks(label) {
			x.report(x.find(label, before, behind), "%s (%s): no metric under it has this label", clause, shorten(label))
		}
	}
}

func (x *exprCheck) matching(e *parser.BinaryExpr, under scope) {
	m := e.VectorMatching
	if m == nil {
		return
	}
	clause := "ignoring"
	if m.On {
		clause = "on"
	}
	between := posrange.PositionRange{Start: e.LHS.PositionRange().End, End: e.RHS.PositionRange().Start}
	for _, label := range m.MatchingLabels {
		if under.lacks(label) {
			x.report(x.find(label, between), "%s (%s): no metric on either side has this label", clause, shorten(label))
		}
	}
	clause = "group_left"
	if m.Card == parser.CardOneToMany {
		clause = "group_right"
	}
	for _, label := range m.Include {
		if under.lacks(label) {
			x.report(x.find(label, between), "%s (%s): no metric on either side has this label", clause, shorten(label))
		}
	}
}

// find is where the word stands in one of the ranges; where it does not, it is
// the start of the first.
func (x *exprCheck) find(word string, ranges ...posrange.PositionRange) posrange.Pos {
	for _, r := range ranges {
		start, end := max(0, int(r.Start)), min(len(x.rule.Expr), int(r.End))
		for pos := start; pos < end; pos++ {
			rest := x.rule.Expr[pos:end]
			if strings.HasPrefix(rest, word) && !inWord(x.rule.Expr, pos-1) && !inWord(x.rule.Expr, pos+len(word)) {
				return posrange.Pos(pos)
			}
		}
	}
	return ranges[0].Start
}

// inWord tells whether the byte at i belongs to a name.
func inWord(s string, i int) bool {
	if i < 0 || i >= len(s) {
		return false
	}
	c := s[i]
	return c == '_' || c == ':' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
