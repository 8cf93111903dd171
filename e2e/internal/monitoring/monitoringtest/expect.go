//go:build e2e

package monitoringtest

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/world"
)

// Severities, and the receivers that the example configuration of Alertmanager
// has for them.
const (
	Warning  = "warning"
	Critical = "critical"
)

var receivers = map[string]string{Critical: "pager", Warning: "tickets"}

// Alert is an alert as it should be sent.
type Alert struct {
	Name, Severity string
	// Node is empty where the alert is about the cluster.
	Node string
	// Labels are those besides the name, the severity, the cluster and the node.
	Labels map[string]string
	// Description is a regular expression for all of that annotation.
	Description string
}

func (a Alert) labels() map[string]string {
	labels := map[string]string{"alertname": a.Name, "severity": a.Severity, "cluster": Cluster}
	if a.Node != "" {
		labels["node"] = a.Node
	}
	maps.Copy(labels, a.Labels)
	return labels
}

// Fires waits until each of the alerts has been sent as firing, to its receiver,
// with all labels and annotations, and returns the notifications. One of
// anything else fails the test.
func (s *Scene) Fires(alerts ...Alert) []monitoring.Notification {
	s.t.Helper()
	for _, a := range alerts {
		s.expected[labelsKey(a.labels())] = true
	}
	return s.expect(monitoring.Firing, alerts)
}

// Resolves is Fires for the end of alerts. Their descriptions may be of any moment
// in which they fired.
func (s *Scene) Resolves(alerts ...Alert) []monitoring.Notification {
	s.t.Helper()
	return s.expect(monitoring.Resolved, alerts)
}

func (s *Scene) expect(status string, alerts []Alert) []monitoring.Notification {
	s.t.Helper()
	var seen []monitoring.Notification
	missing := make(map[string]Alert)
	for _, a := range alerts {
		missing[labelsKey(a.labels())] = a
	}
	world.Eventually(s.t, patience, func() error {
		for _, n := range s.take() {
			seen = append(seen, n)
			s.check(n, status, missing)
		}
		if len(missing) == 0 {
			return nil
		}
		return fmt.Errorf("%w: %s of %v", errIncomplete, status, missing)
	})
	return seen
}

// take returns the notifications that have arrived since the last call.
func (s *Scene) take() []monitoring.Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.notifications
	s.notifications = nil
	return taken
}

// check judges one notification. A group is sent again when one of its alerts
// changes: those that have not changed are no news.
func (s *Scene) check(n monitoring.Notification, status string, missing map[string]Alert) {
	s.t.Helper()
	if n.Path != "/"+n.Receiver {
		s.t.Errorf("receiver %s has the URL of %s", n.Receiver, n.Path)
	}
	for _, got := range n.Alerts {
		id := n.Receiver + " " + got.Fingerprint
		if s.states[id] == got.Status {
			continue
		}
		s.states[id] = got.Status
		key := labelsKey(got.Labels)
		want, ok := missing[key]
		if !ok || got.Status != status {
			s.t.Fatalf("unexpected: %s %s, to %s", got.Status, key, n.Receiver)
		}
		if n.Receiver != receivers[want.Severity] {
			s.t.Errorf("%s was sent to %s", key, n.Receiver)
		}
		s.checkAnnotations(want, got)
		delete(missing, key)
	}
}

// annotations that every alert must have.
var annotations = []string{"summary", "description", "impact", "action", "risks", "runbook_url"}

// checkAnnotations compares with the rule what is not a template there, and the
// description with what the test says.
func (s *Scene) checkAnnotations(want Alert, got monitoring.Alert) {
	s.t.Helper()
	templates := s.rules[step{want.Name, want.Severity}].Annotations
	for _, name := range annotations {
		text := got.Annotations[name]
		switch {
		case text == "":
			s.t.Errorf("%s has no annotation %s", want.Name, name)
		case name != "description" && text != templates[name]:
			s.t.Errorf("%s: %s is %q, not %q", want.Name, name, text, templates[name])
		}
	}
	if len(got.Annotations) != len(annotations) {
		s.t.Errorf("%s has the annotations %v, not %v", want.Name, got.Annotations, annotations)
	}
	if !strings.HasSuffix(got.Annotations["runbook_url"], "/"+want.Name) {
		s.t.Errorf("%s: runbook_url is %q", want.Name, got.Annotations["runbook_url"])
	}
	if got.Status == monitoring.Firing && !regexp.MustCompile("^(?:"+want.Description+")$").MatchString(got.Annotations["description"]) {
		s.t.Errorf("%s: the description is %q, not %q", want.Name, got.Annotations["description"], want.Description)
	}
}
