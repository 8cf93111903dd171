//go:build e2e

// Package monitoringtest runs a Prometheus and an Alertmanager in a test, and
// holds what Alertmanager sends against what it should.
package monitoringtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/mixin"
)

// Jobs that the rules know.
const (
	Exporters   = "ack-exporter"
	ClusterInfo = "kube-state-metrics"
)

// Cluster is the label that all targets of a scene have.
const Cluster = "test"

// patience is how long a scene waits for what takes seconds on an idle machine.
const patience = 3 * time.Minute

// Scene is a world with monitoring.
type Scene struct {
	*monitoring.Stack
	t     testing.TB
	rules map[step]rule

	mu            sync.Mutex
	notifications []monitoring.Notification // since the last call of Expect
	states        map[string]string         // of alerts, by receiver and fingerprint
	expected      map[string]bool           // everything that was to fire in the course of the scene
}

// Options say what a scene has besides what all have.
type Options struct {
	// Config is a jsonnet object that is added to _config.
	Config string
	// Targets are those of the exporters on nodes.
	Targets []Endpoint
	// ClusterRole are those of the exporters in the role cluster.
	ClusterRole []Endpoint
	// ClusterInfo are the targets of kube-state-metrics.
	ClusterInfo []Endpoint
}

// Endpoint is something to scrape.
type Endpoint = monitoring.Target

// Target is an exporter as Prometheus finds it in a cluster.
func Target(address, node, pod string) Endpoint {
	return Endpoint{Address: address, Labels: map[string]string{
		"cluster": Cluster, "node": node, "pod": pod, "namespace": "monitoring", "container": "ack-exporter",
	}}
}

// New starts Prometheus and Alertmanager in a world, with the rules of the mixin.
// The exporters must be ready. It returns once Prometheus has scraped all targets
// and evaluated the rules, and has found nothing wrong.
func New(t testing.TB, w *world.World, o Options) *Scene {
	t.Helper()
	binaries, err := monitoring.Find()
	world.Require(t, err == nil, fmt.Sprintf("%v: apt-get install --no-install-recommends %s", err, strings.Join(monitoring.Packages, " ")))
	if o.Config == "" {
		o.Config = "{}"
	}
	pack, err := mixin.Render(monitoring.Short(monitoring.WebhookAddress, o.Config))
	if err != nil {
		t.Fatal(err)
	}
	s := &Scene{t: t, rules: parseRules(t, pack.Rules), states: map[string]string{}, expected: map[string]bool{}}
	s.receive(w)
	s.Stack, err = monitoring.Start(t.Context(), monitoring.Config{
		Binaries: binaries, Sandbox: w.Sandbox, Folder: t.TempDir(),
		PrometheusAddress: monitoring.PrometheusAddress, AlertmanagerAddress: monitoring.AlertmanagerAddress,
		Rules: pack.Rules, Alertmanager: pack.Alertmanager,
		Targets: map[string][]monitoring.Target{Exporters: slices.Concat(o.Targets, o.ClusterRole), ClusterInfo: o.ClusterInfo},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	s.awaitQuiet(len(o.Targets), len(o.ClusterRole)+len(o.ClusterInfo))
	return s
}

func (s *Scene) receive(w *world.World) {
	listener, err := w.Listen(s.t.Context(), monitoring.WebhookAddress)
	if err != nil {
		s.t.Fatal(err)
	}
	webhook := monitoring.Receive(listener, func(n monitoring.Notification) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notifications = append(s.notifications, n)
	})
	s.t.Cleanup(func() {
		if err := webhook.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *Scene) end() {
	failed := s.t.Failed()
	if failed {
		s.logState()
	}
	if err := s.Stop(); err != nil {
		s.t.Error(err)
	}
	if failed {
		s.t.Logf("the output of the monitoring:\n%s", s.Logs())
	}
}

// logState shows what Prometheus knows where a test has failed.
func (s *Scene) logState() {
	// Not the test's context, which has ended.
	samples, err := s.Query(context.Background(), `{__name__=~"ALERTS|up|cluster_node:.+|ack_conntrack_entries.*"}`)
	s.t.Logf("the state at the end: %v", err)
	for _, sample := range samples {
		s.t.Logf("%s%s %v", sample.Labels["__name__"], labelsKey(sample.Labels), sample.Value)
	}
}

// SetExporters replaces the exporters to scrape, of both roles.
func (s *Scene) SetExporters(targets ...Endpoint) {
	s.t.Helper()
	if err := s.SetTargets(Exporters, targets...); err != nil {
		s.t.Fatal(err)
	}
}

// awaitQuiet waits for an evaluation of the rules on all targets. Before that,
// an alert may be pending that waits for a target; none may fire.
func (s *Scene) awaitQuiet(nodes, others int) {
	s.t.Helper()
	s.AwaitQuery("sum(up) or vector(0)", float64(nodes+others))
	if nodes > 0 {
		s.AwaitQuery("count(cluster_node:ack_conntrack_usage:ratio)", float64(nodes))
	}
	s.AwaitQuery("count(ALERTS) or vector(0)", 0)
	s.requireOnlyExpected()
}

// AwaitQuery waits until an expression gives one sample with this value.
func (s *Scene) AwaitQuery(expr string, want float64) {
	s.t.Helper()
	world.Eventually(s.t, patience, func() error {
		samples, err := s.Query(s.t.Context(), expr)
		switch {
		case err != nil:
			return err
		case len(samples) != 1:
			return fmt.Errorf("%s has %d samples: %v", expr, len(samples), samples)
		case samples[0].Value != want:
			return fmt.Errorf("%s is %v, not %v", expr, samples[0].Value, want)
		}
		return nil
	})
}

// Done checks at the end of a scene that nothing fires any more, that nothing has
// fired unexpectedly, and that no notification was sent besides the expected.
func (s *Scene) Done() {
	s.t.Helper()
	s.AwaitQuery("count(ALERTS) or vector(0)", 0)
	world.Eventually(s.t, patience, func() error {
		active, err := s.Active(s.t.Context())
		if err == nil && len(active) > 0 {
			err = fmt.Errorf("Alertmanager still has %v", active) //nolint:staticcheck // a name
		}
		return err
	})
	s.requireOnlyExpected()
	s.RequireSilence()
}

// requireOnlyExpected fails the test for each alert that has fired at any time
// and is not among those that were expected.
func (s *Scene) requireOnlyExpected() {
	s.t.Helper()
	fired, err := s.Query(s.t.Context(), `count_over_time(ALERTS{alertstate="firing"}[1h])`)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, sample := range fired {
		delete(sample.Labels, "alertstate")
		if key := labelsKey(sample.Labels); !s.expected[key] {
			s.t.Errorf("fired unexpectedly: %s", key)
		}
	}
}

// RequireSilence fails the test where there were notifications since the last
// call of Expect.
func (s *Scene) RequireSilence() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.notifications {
		s.t.Errorf("unexpected notification to %s: %s", n.Receiver, describe(n))
	}
}

// AwaitSuppressed waits until Alertmanager inhibits an alert, of which no
// notification is expected.
func (s *Scene) AwaitSuppressed(alerts ...Alert) {
	s.t.Helper()
	for _, a := range alerts {
		want := labelsKey(a.labels())
		s.expected[want] = true
		world.Eventually(s.t, patience, func() error {
			active, err := s.Active(s.t.Context())
			if err != nil {
				return err
			}
			for _, found := range active {
				if labelsKey(found.Labels) == want && found.Status.State == "suppressed" && len(found.Status.InhibitedBy) > 0 {
					return nil
				}
			}
			return fmt.Errorf("%s is not inhibited; Alertmanager has %v", want, active)
		})
	}
}

// step is an alert at one severity.
type step struct{ name, severity string }

// rule is what a scene knows of an alerting rule.
type rule struct{ Annotations map[string]string }

func parseRules(t testing.TB, content []byte) map[step]rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	rules := make(map[step]rule)
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			if r.Alert != "" {
				rules[step{r.Alert, r.Labels["severity"]}] = rule{r.Annotations}
			}
		}
	}
	return rules
}

func labelsKey(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "__name__" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", name, labels[name]))
		}
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

func describe(n monitoring.Notification) string {
	var lines []string
	for _, a := range n.Alerts {
		lines = append(lines, a.Status+" "+labelsKey(a.Labels))
	}
	sort.Strings(lines)
	return strings.Join(lines, "; ")
}

var errIncomplete = errors.New("not all notifications have arrived")
