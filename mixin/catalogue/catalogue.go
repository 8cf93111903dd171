// Package catalogue holds the risks of an ACK cluster: what is wrong, what it
// breaks, what to do. Alerts, runbooks and docs/coverage.md are made from it.
package catalogue

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed catalogue.yaml
var document []byte

// Catalogue is all risks, in the order of the file.
type Catalogue struct {
	// Sources are the manuals by their short names.
	Sources map[string]string `json:"sources"`
	// Gaps are the reasons why a risk is not covered, by their keys.
	Gaps map[string]string `json:"gaps"`
	// Foreign maps metrics of others that risks are measured with to who exposes them.
	Foreign map[string]string `json:"foreign"`
	// Areas are the subjects by the prefix of the ids.
	Areas map[string]string `json:"areas"`
	// Rows are the numbers of risks that the manuals name, by priority.
	Rows  map[string]int `json:"rows"`
	Risks []Risk         `json:"risks"`
}

// Risk is one condition. catalogue.yaml says what each field means.
type Risk struct {
	ID       string `json:"id"`
	Priority string `json:"priority"`
	Title    string `json:"title"`
	Impact   string `json:"impact"`
	Action   string `json:"action"`
	Limit    string `json:"limit"`
	Source   string `json:"source"`

	Thresholds map[string]float64 `json:"thresholds"`
	Metrics    []string           `json:"metrics"`
	NoAlert    string             `json:"no_alert"`

	SameAs    string `json:"same_as"`
	Gap       string `json:"gap"`
	Elsewhere string `json:"elsewhere"`
	Why       string `json:"why"`
}

// Area is the prefix of the id.
func (r Risk) Area() string { return r.ID[:2] }

// Load reads the catalogue that is built in. An error names the row and the field.
func Load() (*Catalogue, error) { return parse(document) }

func parse(b []byte) (*Catalogue, error) {
	var c Catalogue
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	return &c, nil
}

// Risk returns the risk of that id.
func (c *Catalogue) Risk(id string) (Risk, bool) {
	for _, r := range c.Risks {
		if r.ID == id {
			return r, true
		}
	}
	return Risk{}, false
}

func (c *Catalogue) validate() error {
	ids, titles := map[string]bool{}, map[string]string{}
	var errs []error
	for _, r := range c.Risks {
		if ids[r.ID] {
			errs = append(errs, fmt.Errorf("%s is there twice", r.ID))
		}
		if other, ok := titles[r.Title]; ok {
			errs = append(errs, fmt.Errorf("%s and %s have one title", r.ID, other))
		}
		ids[r.ID], titles[r.Title] = true, r.ID
	}
	for metric, exporter := range c.Foreign {
		if exporter == "" || strings.HasPrefix(metric, "ack_") {
			errs = append(errs, fmt.Errorf("foreign: %s: no other exporter of it", metric))
		}
	}
	for _, r := range c.Risks {
		if err := c.validateRisk(r, ids); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.ID, err))
		}
	}
	return errors.Join(errs...)
}

var idForm = regexp.MustCompile(`^[A-Z]{2}-\d{2}$`)

func (c *Catalogue) validateRisk(r Risk, ids map[string]bool) error {
	if !idForm.MatchString(r.ID) {
		return errors.New("id: not of the form XX-00")
	}
	if c.Areas[r.Area()] == "" {
		return errors.New("id: no such area")
	}
	if r.Priority != "A" && r.Priority != "B" && r.Priority != "own" {
		return fmt.Errorf("priority: %q is not A, B or own", r.Priority)
	}
	if r.Title == "" || strings.HasSuffix(r.Title, ".") {
		return errors.New("title: empty, or ends in a full stop")
	}
	manual, _, _ := strings.Cut(r.Source, ",")
	if c.Sources[manual] == "" {
		return fmt.Errorf("source: no manual %q", manual)
	}
	ways := 0
	for _, is := range []bool{len(r.Metrics) > 0, r.SameAs != "", r.Gap != ""} {
		if is {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("needs one of metrics, same_as and gap")
	case r.SameAs != "" && (!ids[r.SameAs] || r.SameAs == r.ID):
		return fmt.Errorf("same_as: no other row %s", r.SameAs)
	case len(r.Metrics) > 0 && (r.Impact == "" || r.Action == ""):
		return errors.New("impact, action: missing")
	case r.NoAlert != "" && len(r.Metrics) == 0:
		return errors.New("no_alert: without metrics")
	case r.Why == "" && r.Gap == "undetectable":
		return errors.New("why: missing")
	}
	return nil
}
