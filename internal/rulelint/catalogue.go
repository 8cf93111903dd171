package rulelint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// catalogue is what is known of names.
type catalogue struct {
	// series maps the name of each series to the labels that it can have, those
	// of its target included.
	series  map[string]labelSet
	records map[string]bool
}

// labelSet is the labels that the series of an expression can have.
type labelSet map[string]bool

func newCatalogue(o Options) catalogue {
	c := catalogue{series: make(map[string]labelSet), records: make(map[string]bool)}
	target := append(DefaultTargetLabels(), o.TargetLabels...)
	for _, f := range o.Families {
		for suffix, extra := range suffixes(f.Type) {
			c.series[f.Name+suffix] = labelsOf(slices.Concat(f.Labels, extra), target)
		}
	}
	return c.with(o.Records)
}

// suffixes maps what a family of this type appends to its name to the labels
// that go with it.
func suffixes(familyType string) map[string][]string {
	switch familyType {
	case "histogram":
		return map[string][]string{"_bucket": {"le"}, "_sum": nil, "_count": nil}
	case "summary":
		return map[string][]string{"": {"quantile"}, "_sum": nil, "_count": nil}
	default:
		return map[string][]string{"": nil}
	}
}

func labelsOf(own, target []string) labelSet {
	labels := make(labelSet)
	for _, l := range target {
		labels[l] = true
	}
	for _, l := range own {
		labels[l] = true
		// What Prometheus makes of a label that the target has as well.
		labels["exported_"+l] = true
	}
	return labels
}

// with is c and more recording rules.
func (c catalogue) with(records []string) catalogue {
	all := maps.Clone(c.records)
	for _, r := range records {
		all[r] = true
	}
	c.records = all
	return c
}

// problem is what is wrong with a name that an expression selects, or "".
func (c catalogue) problem(name string) string {
	if c.records[name] || c.series[name] != nil {
		return ""
	}
	switch {
	case strings.Contains(name, ":") && namesOurs(name):
		return fmt.Sprintf("no recording rule %q in these files or in the rule pack%s", shorten(name), c.hint(name))
	case strings.HasPrefix(name, prefix):
		return fmt.Sprintf("no metric %q%s", shorten(name), c.hint(name))
	}
	return ""
}

// namesOurs tells whether a name like level:metric:operation is about a metric
// of the exporter.
func namesOurs(record string) bool {
	return slices.ContainsFunc(strings.Split(record, ":"), func(part string) bool { return strings.HasPrefix(part, prefix) })
}

// hint names what was probably meant.
func (c catalogue) hint(name string) string {
	names := slices.Concat(slices.Collect(maps.Keys(c.series)), slices.Collect(maps.Keys(c.records)))
	slices.Sort(names)
	best, bestDistance := "", len(name)/6+1
	for _, n := range names {
		if d := distance(name, n, bestDistance); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many bytes must be inserted, removed or replaced to make a of
// b. Where the lengths alone say that it is limit or more, it is limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
