// Package alerts holds the rule pack as files of the program: recording rules
// and alerts for Prometheus, and an example of a configuration of Alertmanager.
package alerts

import (
	_ "embed"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

const (
	// RulesFile is the name of the rule file.
	RulesFile = "ack-exporter.rules.yaml"
	// AlertmanagerFile is the name of the example for Alertmanager.
	AlertmanagerFile = "alertmanager-example.yml"
)

//go:embed ack-exporter.rules.yaml
var rules string

//go:embed alertmanager-example.yml
var alertmanagerExample string

// Rules is the rule file.
func Rules() string { return rules }

// AlertmanagerExample is an example of a configuration of Alertmanager.
func AlertmanagerExample() string { return alertmanagerExample }

// RulesWithRunbooksAt is the rule file with runbook_url annotations of the form
// prefix/AlertName.
func RulesWithRunbooksAt(prefix string) (string, error) {
	if err := checkPrefix(prefix); err != nil {
		return "", err
	}
	// The URL stands alone on its line, as the rule file is rendered.
	runbookURL := regexp.MustCompile(`(?m)^(\s*runbook_url: ["']?)\S*/(\w+["']?)$`)
	// In a replacement a dollar sign means a group.
	prefix = strings.ReplaceAll(strings.TrimRight(prefix, "/"), "$", "$$")
	return runbookURL.ReplaceAllString(rules, "${1}"+prefix+"/${2}"), nil
}

// checkPrefix makes sure that the prefix makes links, and breaks no YAML.
func checkPrefix(prefix string) error {
	u, err := url.Parse(prefix)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%q does not begin with http:// or https://", prefix)
	case u.Host == "":
		return fmt.Errorf("%q has no host", prefix)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("%q has a query or a fragment; the name of the alert is appended to the path", prefix)
	}
	if i := strings.IndexFunc(prefix, mustEscape); i >= 0 {
		return fmt.Errorf("%q has a character that must be written as %%XX", prefix)
	}
	return nil
}

// mustEscape tells whether r has no place in a URL as it is written.
func mustEscape(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\<>^`{|}", r)
}
