package dashboards_test

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// rateInterval stands for $__rate_interval, which is no duration before
	// Grafana makes it one. Nobody would write this.
	rateInterval = 427 * time.Second
)

// A metric is what is known of one.
type metric struct {
	labels  []string
	counter bool
	// scraped metrics have the labels of their target too, and one series for
	// each target that a node has, or had before a roll-out.
	scraped bool
	// ofCluster metrics are of the cluster role, and of no node.
	ofCluster bool
}

// labelSet is the labels of the series that an expression has.
type labelSet map[string]bool

func (s labelSet) String() string { return strings.Join(slices.Sorted(maps.Keys(s)), ", ") }

func setOf(names iter.Seq[string]) labelSet {
	s := labelSet{}
	for name := range names {
		s[name] = true
	}
	return s
}

// inQuery puts values in the place of variables. It is false where there is no
// such variable.
func (c *check) inQuery(text string) (string, bool) {
	values := map[string]string{"__rate_interval": "427s"}
	for _, v := range c.dashboard.Templating.List {
		values[v.Name] = ".*"
	}
	known := true
	text = placeholder.ReplaceAllStringFunc(text, func(s string) string {
		value, ok := values[strings.Trim(s, "${}")]
		if !ok {
			c.reportf("there is no variable %s", s)
			known = false
		}
		return value
	})
	return text, known
}

func (c *check) parse(text string) (parser.Expr, bool) {
	text, ok := c.inQuery(text)
	if !ok {
		return nil, false
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		c.reportf("%s: %v", text, err)
		return nil, false
	}
	return expr, true
}

// checkExpr checks the query of a panel and returns the labels of its result. It
// is false where they cannot be known.
func (c *check) checkExpr(text string) (labelSet, bool) {
	expr, ok := c.parse(text)
	if !ok {
		return nil, false
	}
	before := len(c.findings)
	parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			c.checkSelector(n, path)
		case *parser.MatrixSelector:
			c.checkWindow(n.Range)
		case *parser.SubqueryExpr:
			c.reportf("%s: a subquery is evaluated anew at each step", n)
		}
		return nil
	})
	if filters(expr) && c.panel.FieldConfig.Defaults.NoValue == "" {
		c.reportf("it filters, and does not say what nothing means: noValue")
	}
	if len(c.findings) > before {
		return nil, false
	}
	result := c.labelsOf(expr)
	return result, len(c.findings) == before
}

// checkVariableSelector checks what the values of a variable come from.
func (c *check) checkVariableSelector(name, text string) {
	expr, ok := c.parse(text)
	if !ok {
		return
	}
	selector, ok := expr.(*parser.VectorSelector)
	if !ok {
		c.reportf("the variable %s is of no selector", name)
		return
	}
	if m, ok := c.metrics[selector.Name]; !ok || !m.scraped {
		c.reportf("the variable %s: the exporter has no metric %s", name, selector.Name)
	}
	if name == "node" && matcherOf(selector, c.clusterLabel) == nil {
		c.reportf("the variable node lists nodes of other clusters too")
	}
}

func matcherOf(s *parser.VectorSelector, label string) *labels.Matcher {
	i := slices.IndexFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == label })
	if i < 0 {
		return nil
	}
	return s.LabelMatchers[i]
}

// checkSelector wants a metric that exists, of the chosen clusters and nodes.
func (c *check) checkSelector(s *parser.VectorSelector, path []parser.Node) {
	m, ok := c.metrics[s.Name]
	if !ok {
		c.reportf("there is no metric %s", s.Name)
		return
	}
	needed := []string{c.clusterLabel}
	if !m.ofCluster && slices.ContainsFunc(c.dashboard.Templating.List, func(v variable) bool { return v.Name == "node" }) {
		needed = append(needed, c.nodeLabel)
	}
	for _, label := range needed {
		if matcher := matcherOf(s, label); matcher == nil || matcher.Type != labels.MatchRegexp || matcher.Value != ".*" {
			c.reportf("%s: no matcher for the chosen %s", s.Name, label)
		}
	}
	for _, matcher := range s.LabelMatchers {
		if known := c.labelsOfMetric(m); matcher.Name != model.MetricNameLabel && matcher.Name != "job" && !known[matcher.Name] {
			c.reportf("%s has no label %s", s.Name, matcher.Name)
		}
	}
	c.checkRate(s, m, path)
	if m.scraped {
		c.checkAggregation(s, m, path)
	}
}

// checkRate wants counters, and nothing else, to be in a rate or an increase.
func (c *check) checkRate(s *parser.VectorSelector, m metric, path []parser.Node) {
	rated := slices.ContainsFunc(path, func(n parser.Node) bool {
		call, ok := n.(*parser.Call)
		return ok && (call.Func.Name == "rate" || call.Func.Name == "increase")
	})
	if m.counter != rated {
		c.reportf("%s: a counter wants a rate or an increase, and nothing else does", s.Name)
	}
}

// checkAggregation wants one series for each node, or each cluster where the
// metric is of the cluster role, whatever number of pods there is: before anything
// is done to the series of a metric, there is a "max by" of the node and of all
// labels of the metric that no matcher is about.
func (c *check) checkAggregation(s *parser.VectorSelector, m metric, path []parser.Node) {
	if matcherOf(s, "job") == nil {
		c.reportf("%s: no matcher for its job", s.Name)
	}
	for _, n := range slices.Backward(path) {
		switch n := n.(type) {
		case *parser.MatrixSelector, *parser.Call, *parser.ParenExpr, parser.Expressions:
			continue
		case *parser.AggregateExpr:
			if n.Op == parser.MAX && !n.Without && c.keeps(n.Grouping, s, m) {
				return
			}
		}
		break
	}
	c.reportf("%s: no \"max by\" that makes one series a node of it, and keeps its labels", s.Name)
}

func (c *check) keeps(grouping []string, s *parser.VectorSelector, m metric) bool {
	target := c.labelsOfTarget(m)
	for _, label := range append(slices.Clone(target), m.labels...) {
		chosen := !slices.Contains(target, label) && matcherOf(s, label) != nil
		if !chosen && !slices.Contains(grouping, label) {
			return false
		}
	}
	return true
}

// checkWindow wants windows that fit the resolution of the graph. One that is
// fixed is an hour, and the title says so.
func (c *check) checkWindow(window time.Duration) {
	switch {
	case window == rateInterval:
	case window == time.Hour && strings.Contains(c.panel.Title, "last hour"):
	default:
		c.reportf("a window is neither $__rate_interval nor the last hour of the title: %s", window)
	}
}

// filters tells whether the result of an expression may lack series because of
// their values.
func filters(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return filters(e.Expr)
	case *parser.AggregateExpr:
		return filters(e.Expr)
	case *parser.Call:
		return slices.ContainsFunc(e.Args, filters)
	case *parser.BinaryExpr:
		if e.Op == parser.LOR {
			return filters(e.LHS) && filters(e.RHS)
		}
		return e.Op.IsComparisonOperator() && !e.ReturnBool || filters(e.LHS)
	default:
		return false
	}
}

func (c *check) labelsOfMetric(m metric) labelSet {
	labels := append(c.labelsOfTarget(m), m.labels...)
	if m.scraped {
		labels = append(labels, model.InstanceLabel) // Prometheus adds it
	}
	return setOf(slices.Values(labels))
}

// labelsOfTarget are those that tell what a metric is about: a node of a cluster,
// or a cluster.
func (c *check) labelsOfTarget(m metric) []string {
	if m.ofCluster {
		return []string{c.clusterLabel}
	}
	return []string{c.clusterLabel, c.nodeLabel}
}

// labelsOf returns the labels of the series that an expression has, and reports
// labels that it speaks of and that are not there.
func (c *check) labelsOf(e parser.Expr) labelSet {
	switch e := e.(type) {
	case *parser.NumberLiteral, *parser.StringLiteral:
		return labelSet{}
	case *parser.ParenExpr:
		return c.labelsOf(e.Expr)
	case *parser.VectorSelector:
		return c.labelsOfMetric(c.metrics[e.Name])
	case *parser.MatrixSelector:
		return c.labelsOf(e.VectorSelector)
	case *parser.AggregateExpr:
		return c.labelsOfAggregate(e)
	case *parser.BinaryExpr:
		return c.labelsOfBinary(e)
	case *parser.Call:
		return c.labelsOfCall(e)
	default:
		c.reportf("%s: the labels of its result are not known", e)
		return labelSet{}
	}
}

func (c *check) labelsOfAggregate(e *parser.AggregateExpr) labelSet {
	inner := c.labelsOf(e.Expr)
	if e.Op == parser.TOPK || e.Op == parser.BOTTOMK {
		return inner
	}
	if e.Without {
		c.reportf("%s: without keeps labels that nobody knows", e)
	}
	for _, label := range e.Grouping {
		if !inner[label] {
			c.reportf("%s: its series have no label %s", e, label)
		}
	}
	return setOf(slices.Values(e.Grouping))
}

func (c *check) labelsOfBinary(e *parser.BinaryExpr) labelSet {
	left, right := c.labelsOf(e.LHS), c.labelsOf(e.RHS)
	switch {
	case e.VectorMatching == nil:
		// One side is a number.
		maps.Copy(left, right)
		return left
	case e.Op == parser.LOR:
		maps.Copy(left, right)
		return left
	}
	matching := setOf(slices.Values(e.VectorMatching.MatchingLabels))
	rest := func(side labelSet) labelSet {
		side = maps.Clone(side)
		maps.DeleteFunc(side, func(label string, _ bool) bool { return matching[label] != e.VectorMatching.On })
		return side
	}
	if !maps.Equal(rest(left), rest(right)) || e.VectorMatching.On && !maps.Equal(rest(left), matching) {
		c.reportf("%s: its sides have labels %v and %v, and cannot be matched", e, left, right)
	}
	switch {
	case e.VectorMatching.Card == parser.CardOneToMany:
		return right
	case e.VectorMatching.Card == parser.CardManyToOne, e.Op.IsSetOperator(), e.Op.IsComparisonOperator() && !e.ReturnBool:
		return left
	}
	switch e.VectorMatching.Card {
	case parser.CardManyToOne:
		return left
	case parser.CardOneToMany:
		return right
	default:
		return rest(left)
	}
}

func (c *check) labelsOfCall(e *parser.Call) labelSet {
	result := labelSet{}
	for _, arg := range e.Args {
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			maps.Copy(result, c.labelsOf(arg))
		}
	}
	if e.Func.Name == "histogram_quantile" {
		delete(result, "le")
	}
	if e.Func.Name == "label_join" {
		for _, source := range e.Args[3:] {
			if label, ok := source.(*parser.StringLiteral); ok && !result[label.Val] {
				c.reportf("%s: its series have no label %s", e, label.Val)
			}
		}
	}
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		if label, ok := e.Args[1].(*parser.StringLiteral); ok {
			result[label.Val] = true
		}
	}
	return result
}
