package dashboards_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	schemaVersion = 42
	gridWidth     = 24
	// noAlert is how a description says so.
	noAlert = "No alert watches it."
)

var (
	alertName   = regexp.MustCompile(`\bACK[A-Z]\w+`)
	placeholder = regexp.MustCompile(`\$\{[^}]*\}|\$[A-Za-z_]\w*`)
	labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	// units that panels may have, so that a typing error is none of them.
	units = []string{"bytes", "cps", "dateTimeAsIso", "dateTimeFromNow", "none", "percentunit", "pps", "s", "short"}
)

// A linter knows what dashboards may speak of.
type linter struct {
	clusterLabel, nodeLabel string
	metrics                 map[string]metric
	// levels are the numbers that each alert compares with.
	levels map[string][]float64
}

// lint returns what is wrong with a set of dashboards, by file name.
func (l *linter) lint(files map[string][]byte) []string {
	c := check{linter: l, uids: map[string]bool{}}
	decoded := map[string]*dashboard{}
	titles := map[string]bool{}
	for _, c.file = range slices.Sorted(maps.Keys(files)) {
		d := new(dashboard)
		if err := strict(files[c.file], d); err != nil {
			c.reportf("not a dashboard: %v", err)
			continue
		}
		if c.uids[d.UID] || titles[d.Title] {
			c.reportf("its uid %s or its title %q is that of another one", d.UID, d.Title)
		}
		c.uids[d.UID], titles[d.Title] = true, true
		decoded[c.file] = d
	}
	for _, c.file = range slices.Sorted(maps.Keys(decoded)) {
		c.dashboard = decoded[c.file]
		c.checkDashboard()
	}
	return c.findings
}

// A check is a linter at work, and where it is.
type check struct {
	*linter
	file      string
	dashboard *dashboard
	panel     *panel
	uids      map[string]bool
	findings  []string
}

func (c *check) reportf(format string, args ...any) {
	where := c.file
	if c.panel != nil {
		where += ": " + c.panel.Title
	}
	c.findings = append(c.findings, where+": "+fmt.Sprintf(format, args...))
}

func (c *check) checkDashboard() {
	d := c.dashboard
	if d.UID+".json" != c.file {
		c.reportf("the uid %s is not the name of the file", d.UID)
	}
	if d.Title == "" || d.Description == "" {
		c.reportf("no title or description")
	}
	if d.SchemaVersion != schemaVersion {
		c.reportf("schemaVersion is %d, not %d", d.SchemaVersion, schemaVersion)
	}
	if d.Editable == nil || *d.Editable {
		c.reportf("editable: what somebody changes is lost when the files are loaded again")
	}
	if len(d.Tags) == 0 || d.Refresh == "" || d.Timezone == "" {
		c.reportf("no tags, refresh or timezone")
	}
	c.checkLinks()
	c.checkVariables()
	c.checkLayout()
	for i := range d.Panels {
		c.panel = &d.Panels[i]
		c.checkPanel()
	}
	c.panel = nil
}

// checkLinks wants a way to the other dashboards that loses nothing.
func (c *check) checkLinks() {
	for _, l := range c.dashboard.Links {
		if l.Type == "dashboards" && l.AsDropdown && l.IncludeVars && l.KeepTime && slices.Equal(l.Tags, c.dashboard.Tags) {
			return
		}
	}
	c.reportf("no link to the dashboards with its tags that keeps variables and time")
}

// checkVariables wants datasource, cluster and, where there is one, node, in this
// order since each depends on those before.
func (c *check) checkVariables() {
	var names []string
	for i := range c.dashboard.Templating.List {
		v := &c.dashboard.Templating.List[i]
		names = append(names, v.Name)
		if v.Label == "" || v.Hide != 0 {
			c.reportf("the variable %s is hidden, or has no label", v.Name)
		}
		if v.Name == "datasource" {
			if v.Type != "datasource" || string(v.Query) != `"prometheus"` {
				c.reportf("the variable datasource does not choose a Prometheus")
			}
			continue
		}
		c.checkQueryVariable(v)
	}
	if got := strings.Join(names, " "); got != "datasource cluster" && got != "datasource cluster node" {
		c.reportf("the variables are %s", got)
	}
}

func (c *check) checkQueryVariable(v *variable) {
	c.checkDatasource(v.Datasource)
	if v.Type != "query" || v.Refresh != 2 {
		c.reportf("the variable %s does not refresh with the time range", v.Name)
	}
	if !v.IncludeAll || v.AllValue != ".*" || !strings.Contains(string(v.Current), "$__all") {
		c.reportf("the variable %s does not begin with all, those without the label too", v.Name)
	}
	if v.Multi != (v.Name == "node") {
		c.reportf("of the variable %s it must be possible to choose several if it is node, and else not", v.Name)
	}
	var q variableQuery
	if err := strict(v.Query, &q); err != nil {
		c.reportf("the variable %s: %v", v.Name, err)
		return
	}
	call := labelValues.FindStringSubmatch(q.Query)
	if label := map[string]string{"cluster": c.clusterLabel, "node": c.nodeLabel}[v.Name]; call == nil || call[2] != label {
		c.reportf("the variable %s does not list the values of the label %s", v.Name, label)
		return
	}
	c.checkVariableSelector(v.Name, call[1])
}

// checkLayout wants panels that lie side by side.
func (c *check) checkLayout() {
	panels := c.dashboard.Panels
	ids := map[int]bool{}
	for i, p := range panels {
		g := p.GridPos
		if ids[p.ID] || p.ID < 1 {
			c.reportf("the id %d of %q is not its own", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > gridWidth {
			c.reportf("%q is outside of the grid", p.Title)
		}
		for _, other := range panels[:i] {
			o := other.GridPos
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				c.reportf("%q lies on %q", p.Title, other.Title)
			}
		}
	}
}

func (c *check) checkPanel() {
	p := c.panel
	if p.Title == "" {
		c.reportf("panel %d has no title", p.ID)
	}
	c.checkOptions()
	if p.Type == "row" || p.Type == "text" {
		return
	}
	c.checkDatasource(p.Datasource)
	c.checkDescription()
	c.checkUnits()
	c.checkThresholds()
	c.checkDataLinks()
	c.checkTargets()
}

func (c *check) checkDatasource(d *datasource) {
	if d == nil || *d != (datasource{Type: "prometheus", UID: "${datasource}"}) {
		c.reportf("the data source is not the one that the variable chooses: %v", d)
	}
}

// checkDescription wants it to tell which alerts watch the panel.
func (c *check) checkDescription() {
	description := c.panel.Description
	named := alertName.FindAllString(description, -1)
	for _, name := range named {
		if _, ok := c.levels[name]; !ok {
			c.reportf("there is no alert %s", name)
		}
	}
	aboutAlerts := slices.ContainsFunc(c.panel.Targets, func(t target) bool { return strings.Contains(t.Expr, "ALERTS{") })
	if description == "" || len(named) == 0 && !aboutAlerts && !strings.HasSuffix(description, noAlert) {
		c.reportf("the description does not tell which alert watches it")
	}
}

func (c *check) checkUnits() {
	check := func(unit string) {
		if !slices.Contains(units, unit) {
			c.reportf("the unit %q is none of %v", unit, units)
		}
	}
	check(c.panel.FieldConfig.Defaults.Unit)
	for _, unit := range properties[string](c, "unit") {
		check(unit)
	}
}

// checkThresholds wants those of the alerts that watch the panel, or 1 where one
// is bad. A whole number that is more than a level begins one above it.
func (c *check) checkThresholds() {
	levels := []float64{1}
	for _, name := range alertName.FindAllString(c.panel.Description, -1) {
		for _, level := range c.levels[name] {
			levels = append(levels, level, level+1)
		}
	}
	for _, t := range append(properties[thresholds](c, "thresholds"), c.panel.FieldConfig.Defaults.Thresholds) {
		if t.Mode != "absolute" || len(t.Steps) == 0 || t.Steps[0].Value != nil {
			c.reportf("the thresholds do not begin with a base")
			continue
		}
		for i, step := range t.Steps[1:] {
			if step.Value == nil || i > 0 && *step.Value <= *t.Steps[i].Value {
				c.reportf("the thresholds do not rise")
				return
			}
			if !slices.Contains(levels, *step.Value) {
				c.reportf("the threshold %v is none of the alerts that the description names", *step.Value)
			}
		}
	}
}

// checkDataLinks wants links to dashboards that are there and that take along
// what was chosen.
func (c *check) checkDataLinks() {
	links := c.panel.FieldConfig.Defaults.Links
	for _, more := range properties[[]dataLink](c, "links") {
		links = append(links, more...)
	}
	for _, l := range links {
		uid, query, internal := strings.Cut(strings.TrimPrefix(l.URL, "/d/"), "?")
		if !strings.HasPrefix(l.URL, "/d/") {
			continue
		}
		if !internal || !c.uids[uid] {
			c.reportf("the link %q leads to no dashboard", l.URL)
		}
		for _, part := range []string{"var-node=", "${cluster:queryparam}", "${datasource:queryparam}", "${__url_time_range}"} {
			if !slices.ContainsFunc(strings.Split(query, "&"), func(s string) bool { return strings.HasPrefix(s, part) }) {
				c.reportf("the link %q does not take %s along", l.URL, part)
			}
		}
	}
}

// properties are the values of one property in all overrides of the panel.
func properties[T any](c *check, id string) []T {
	var values []T
	for _, o := range c.panel.FieldConfig.Overrides {
		for _, p := range o.Properties {
			if p.ID != id {
				continue
			}
			var v T
			if err := strict(p.Value, &v); err != nil {
				c.reportf("the property %s of %q: %v", id, o.Matcher.Options, err)
				continue
			}
			values = append(values, v)
		}
	}
	return values
}

// checkOptions wants options that the type of panel has, and the same habits everywhere.
func (c *check) checkOptions() {
	p := c.panel
	var err error
	switch p.Type {
	case "row":
		if p.Collapsed || len(p.Panels) > 0 {
			c.reportf("the row is collapsed")
		}
	case "text":
		var o textOptions
		if err = strict(p.Options, &o); err == nil && (o.Mode != "markdown" || strings.TrimSpace(o.Content) == "") {
			c.reportf("no Markdown text")
		}
	case "timeseries":
		var o timeseriesOptions
		if err = strict(p.Options, &o); err == nil && (o.Tooltip.Mode != "multi" || o.Tooltip.Sort != "desc") {
			c.reportf("the tooltip does not show all series, largest first")
		}
		if l := o.Legend; err == nil && (!l.ShowLegend || l.DisplayMode != "table" || !slices.Equal(l.Calcs, []string{"lastNotNull", "max"})) {
			c.reportf("the legend is no table of the last and the largest values")
		}
	case "stat":
		err = strict(p.Options, new(statOptions))
	case "bargauge":
		err = strict(p.Options, new(bargaugeOptions))
	case "table":
		err = strict(p.Options, new(tableOptions))
	default:
		c.reportf("there is no panel type %q", p.Type)
	}
	if err != nil {
		c.reportf("options: %v", err)
	}
}

// checkTargets wants queries that fit the type of panel and each other.
func (c *check) checkTargets() {
	p := c.panel
	if len(p.Targets) == 0 {
		c.reportf("no queries")
	}
	ids := map[string]bool{}
	var results []labelSet
	for i := range p.Targets {
		t := &p.Targets[i]
		c.checkDatasource(t.Datasource)
		if ids[t.RefID] || t.RefID == "" {
			c.reportf("the refId %q is not unique", t.RefID)
		}
		ids[t.RefID] = true
		c.checkFormat(t)
		result, ok := c.checkExpr(t.Expr)
		if !ok {
			return
		}
		results = append(results, result)
		if p.Type == "timeseries" || p.Type == "bargauge" {
			c.checkLegend(t.LegendFormat, result)
		}
	}
	if p.Type == "table" {
		c.checkTable(results)
	}
}

func (c *check) checkFormat(t *target) {
	format, instant := "time_series", true
	switch c.panel.Type {
	case "table":
		format = "table"
	case "timeseries":
		instant = false
	}
	if t.Format != format || t.Instant != instant || t.Range == instant {
		c.reportf("query %s: a %s wants format %s, and instant %t", t.RefID, c.panel.Type, format, instant)
	}
}

var legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)

// checkLegend wants a name for each series: no label that is not there, and none
// left out, or two series would have the same name.
func (c *check) checkLegend(format string, result labelSet) {
	named := labelSet{}
	for _, label := range legendLabel.FindAllStringSubmatch(format, -1) {
		named[label[1]] = true
	}
	if format == "" || !maps.Equal(named, result) {
		c.reportf("the legend %q names %v; the series have %v", format, named, result)
	}
}

// checkTable wants a column for each field, and no column without a field.
func (c *check) checkTable(results []labelSet) {
	p := c.panel
	fields := maps.Clone(results[0])
	for i, result := range results {
		if !maps.Equal(result, results[0]) {
			c.reportf("the labels of the queries differ: %v and %v", results[0], result)
		}
		if len(results) == 1 {
			fields["Value"] = true
		} else {
			fields["Value #"+p.Targets[i].RefID] = true
		}
	}
	var ids []string
	for _, t := range p.Transformations {
		ids = append(ids, t.ID)
	}
	want := []string{"organize"}
	if len(results) > 1 {
		want = []string{"merge", "organize"}
	}
	if !slices.Equal(ids, want) {
		c.reportf("the transformations are %v, not %v", ids, want)
		return
	}
	organize := p.Transformations[len(ids)-1].Options
	if !organize.ExcludeByName["Time"] {
		c.reportf("the column Time says nothing")
	}
	if renamed := setOf(maps.Keys(organize.RenameByName)); !maps.Equal(renamed, fields) || !maps.Equal(setOf(maps.Keys(organize.IndexByName)), fields) {
		c.reportf("the columns are %v; the fields are %v", renamed, fields)
	}
	c.checkColumns(setOf(maps.Values(organize.RenameByName)))
}

// checkColumns wants overrides and the order to be of columns that are there. The first
// override is of all columns: an empty cell would say what an empty table says.
func (c *check) checkColumns(columns labelSet) {
	overrides := c.panel.FieldConfig.Overrides
	if len(overrides) == 0 || !overrides[0].emptiesCells() {
		c.reportf("empty cells are not left empty by the first override")
		return
	}
	for _, o := range overrides[1:] {
		if o.Matcher.ID != "byName" || !columns[o.Matcher.Options] {
			c.reportf("there is no column %q to override", o.Matcher.Options)
		}
	}
	var o tableOptions
	if err := strict(c.panel.Options, &o); err != nil {
		return // Told by checkOptions.
	}
	if len(o.SortBy) == 0 {
		c.reportf("the rows are in no order")
	}
	for _, by := range o.SortBy {
		if !columns[by.DisplayName] {
			c.reportf("there is no column %q to sort by", by.DisplayName)
		}
	}
}
