package rulelint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// maxTemplate bounds a template in a label or an annotation, in bytes.
const maxTemplate = 64 << 10

// File is what one file says.
type File struct {
	Name  string
	Rules []Rule

	problems []Finding
}

// Rule is an alert or a recording rule.
type Rule struct {
	Group string
	// Name is that of the alert, or of the metric that is recorded.
	Name        string
	Alert       bool
	Expr        string
	Labels      map[string]string
	Annotations map[string]string

	// exprLine is the line of the file on which a byte of Expr stands.
	exprLine func(pos int) int
}

// Records lists the names of the recording rules.
func (f *File) Records() []string {
	var names []string
	for _, r := range f.Rules {
		if !r.Alert {
			names = append(names, r.Name)
		}
	}
	return names
}

// Parse reads a Prometheus rule file, or manifests of the kind PrometheusRule.
// What is wrong with it is among the findings of Lint; the rest is read all the
// same.
func Parse(name string, content []byte) *File {
	r := &reader{nodes: nodes{left: maxReads}, file: &File{Name: name}, source: newSource(content)}
	r.report = r.problem
	if len(content) > MaxFileBytes {
		r.problem(nil, "larger than %d bytes", MaxFileBytes)
		return r.file
	}
	r.documents(content)
	return r.file
}

// reader knows what the fields of a rule file mean.
type reader struct {
	nodes
	file   *File
	source source
	// group and rule are where it is.
	group, rule string
}

func (r *reader) problem(n *yaml.Node, format string, args ...any) {
	// What has not been read is no mistake.
	if r.left < 0 || len(r.file.problems) == maxFindings {
		return
	}
	f := Finding{File: r.file.Name, Group: r.group, Rule: r.rule, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line = n.Line
	}
	r.file.problems = append(r.file.problems, f)
}

func (r *reader) documents(content []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	found := false
	for first := true; ; first = false {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.syntaxError(err)
			return
		}
		for _, n := range document.Content {
			found = r.document(n, first) || found
		}
	}
	if !found && len(r.file.problems) == 0 {
		r.problem(nil, "neither a Prometheus rule file nor a PrometheusRule manifest")
	}
}

// syntaxError tells the line, which the YAML parser has in its text only.
func (r *reader) syntaxError(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var at yaml.Node
	if number, rest, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok {
		if line, err := strconv.Atoi(number); err == nil {
			at.Line, text = line, rest
		}
	}
	r.problem(&at, "not YAML: %s", shorten(text))
}

// document reads one document and tells whether it is one of rules. Manifests of
// other kinds may stand between them.
func (r *reader) document(n *yaml.Node, first bool) bool {
	top := r.mapping(n)
	kind := r.text(top.get("kind"))
	switch {
	case kind == "PrometheusRule":
		spec := r.mapping(top.get("spec"))
		r.allow(spec, "groups")
		r.groups(spec.get("groups"))
		return true
	case strings.HasSuffix(kind, "List"):
		r.problem(n, "kind %s is not supported: put each of its items into a document of its own", shorten(kind))
		return false
	case kind != "" || len(top) == 0:
		return false
	}
	if !first {
		r.problem(n, "Prometheus reads nothing but the first document of a rule file")
	}
	r.allow(top, "groups")
	r.groups(top.get("groups"))
	return true
}

func (r *reader) groups(n *yaml.Node) {
	names := make(map[string]bool)
	rules := make(map[string]int)
	for _, n := range r.list(n) {
		r.readGroup(n, names, rules)
		r.group = ""
	}
}

// readGroup reads a group. Names and rules are those that the file has already.
func (r *reader) readGroup(n *yaml.Node, names map[string]bool, rules map[string]int) {
	group := r.mapping(n)
	r.group = r.text(group.get("name"))
	switch {
	case r.group == "":
		r.problem(n, "group without a name")
	case names[r.group]:
		r.problem(n, "another group has the same name")
	}
	names[r.group] = true
	// partial_response_strategy is for Thanos.
	r.allow(group, "name", "interval", "query_offset", "limit", "labels", "rules", "partial_response_strategy")
	r.duration(group, "interval")
	r.duration(group, "query_offset")
	if limit := r.text(group.get("limit")); limit != "" {
		if _, err := strconv.Atoi(limit); err != nil {
			r.problem(group.get("limit"), "limit %q is not a whole number", shorten(limit))
		}
	}
	labels := r.labels(group.get("labels"))
	for _, n := range r.list(group.get("rules")) {
		r.readRule(n, labels, rules)
		r.rule = ""
	}
}

func (r *reader) readRule(n *yaml.Node, groupLabels map[string]string, rules map[string]int) {
	fields := r.mapping(n)
	alert, record := r.text(fields.get("alert")), r.text(fields.get("record"))
	r.rule = cmp.Or(alert, record)
	r.allow(fields, "record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")
	switch {
	case r.rule == "":
		r.problem(n, "rule with neither alert nor record")
		return
	case alert != "" && record != "":
		r.problem(n, "rule with both alert and record")
		return
	}
	rule := Rule{Group: r.group, Name: r.rule, Alert: alert != "", Labels: maps.Clone(groupLabels)}
	maps.Copy(rule.Labels, r.labels(fields.get("labels")))
	rule.Annotations = r.annotations(fields.get("annotations"))
	r.duration(fields, "for")
	r.duration(fields, "keep_firing_for")
	if rule.Alert {
		r.templates(fields.get("labels"))
		r.templates(fields.get("annotations"))
	} else {
		r.recording(record, fields)
	}
	r.expr(&rule, n, fields.get("expr"))
	r.file.Rules = append(r.file.Rules, rule)

	// One name can stand for several expressions: they make different series.
	key := fmt.Sprintf("%t %q %q %q", rule.Alert, rule.Name, strings.Fields(rule.Expr), rule.Labels)
	if line, ok := rules[key]; ok {
		r.problem(n, "the same rule as on line %d", line)
	}
	rules[key] = n.Line
}

// recording checks what only a recording rule must not have.
func (r *reader) recording(name string, rule fields) {
	if !model.UTF8Validation.IsValidMetricName(name) || strings.ContainsAny(name, "{}") {
		r.problem(rule.get("record"), "record is not the name of a metric")
	}
	for _, field := range []string{"for", "keep_firing_for", "annotations"} {
		if n := rule.get(field); n != nil {
			r.problem(n, "%s is for alerts only", field)
		}
	}
}

func (r *reader) expr(rule *Rule, at, n *yaml.Node) {
	rule.Expr = r.text(n)
	if strings.TrimSpace(rule.Expr) == "" {
		r.problem(at, "rule without expr")
		n = at
	}
	rule.exprLine = func(pos int) int { return r.source.line(n, pos) }
}

func (r *reader) labels(n *yaml.Node) map[string]string {
	labels := r.annotations(n)
	if _, ok := labels[model.MetricNameLabel]; ok {
		r.problem(n, "the label %s is reserved", model.MetricNameLabel)
	}
	return labels
}

func (r *reader) annotations(n *yaml.Node) map[string]string {
	texts := make(map[string]string)
	for _, f := range r.mapping(n) {
		if !model.UTF8Validation.IsValidLabelName(f.name) {
			r.problem(f.key, "not the name of a label or an annotation")
		}
		texts[f.name] = r.text(f.value)
	}
	return texts
}

// templates checks the syntax of each value.
func (r *reader) templates(n *yaml.Node) {
	for _, f := range r.mapping(n) {
		text := r.text(f.value)
		if len(text) > maxTemplate {
			r.problem(f.value, "%s: longer than %d bytes", f.name, maxTemplate)
			continue
		}
		if err := parseTemplate(text); err != nil {
			r.problem(f.value, "%s: %s", f.name, shorten(err.Error()))
		}
	}
}

// parseTemplate finds errors of syntax and unknown variables. Functions are not
// checked: each version of Prometheus has others.
func parseTemplate(text string) error {
	const variables = "{{$labels := .}}{{$externalLabels := .}}{{$externalURL := .}}{{$value := .}}"
	tree := parse.New("template")
	tree.Mode = parse.SkipFuncCheck
	_, err := tree.Parse(variables+text, "", "", make(map[string]*parse.Tree))
	return err
}

func (r *reader) duration(fields fields, name string) {
	text := r.text(fields.get(name))
	if text == "" {
		return
	}
	if _, err := model.ParseDuration(text); err != nil {
		r.problem(fields.get(name), "%s: %s", name, shorten(err.Error()))
	}
}

// allow reports fields with other names.
func (r *reader) allow(fields fields, names ...string) {
	for _, f := range fields {
		if !slices.Contains(names, f.name) {
			r.problem(f.key, "unknown field %q", shorten(f.name))
		}
	}
}
