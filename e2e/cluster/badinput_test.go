//go:build e2e

package cluster

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
)

const (
	// huge is nearly as much as the API server lets a ConfigMap have.
	huge = 900 << 10
	// maxResident bounds what the exporter holds whatever a ConfigMap has, in MiB.
	maxResident = 120
)

// badInput is what a ConfigMap must not do any harm with.
type badInput struct {
	name      string
	configMap *corev1.ConfigMap
	// shows is what the exporter makes of it where it is strange, but no error.
	shows func(exporter.Metrics) error
	// also is what the exporter says of it where it is an error; nil for nothing else.
	also func(exporter.Metrics) error
}

// subject is a ConfigMap, and the collector that reads it.
type subject struct {
	collector string
	good      *corev1.ConfigMap
	inputs    []badInput
	// usable is nil where the collector has read the good ConfigMap.
	usable func(exporter.Metrics) error
	// kept are families that the collector shows although it cannot use the ConfigMap.
	kept []string
}

func subjects() []subject {
	return []subject{corefileSubject(), proxySubject(), terwaySubject()}
}

func corefileSubject() subject {
	good := cluster.DefaultCorefile
	return subject{
		collector: "coredns", good: corefileMap(good), usable: check("kubernetes", 1), kept: []string{"ack_coredns_replicas", "ack_coredns_replicas_recommended"},
		inputs: []badInput{
			{name: "no key", configMap: configMap("coredns", "Other", good)},
			// CoreDNS takes it for one that serves nothing of use.
			{name: "empty", configMap: corefileMap(""), shows: check("kubernetes", 0)},
			{name: "broken", configMap: corefileMap(".:53 {\n  errors\n")},
			{name: "huge", configMap: corefileMap(good + strings.Repeat("#", huge))},
			{name: "many words", configMap: corefileMap(strings.Repeat("a {\n", 50_000))},
			{name: "deep nesting", configMap: corefileMap(strings.Repeat("a {\n", 12_000))},
			{name: "many blocks", configMap: corefileMap(strings.Repeat("example.org {\n  errors\n}\n", 6_000)), shows: check("root", 0)},
			{name: "snippets that multiply", configMap: corefileMap(multiplyingSnippets())},
			// Of our own files and environment nothing may be read.
			{name: "our files", configMap: corefileMap(".:53 {\n  import /proc/self/environ\n  import ../../*\n  errors {$HOME} {%PATH%}\n}\n"), shows: isUnknown("health")},
			{name: "not a text", configMap: corefileMap("\x00\x01\u2028{\x00}"), shows: check("kubernetes", 0)},
		},
	}
}

// isUnknown is for a check of the Corefile that cannot be told.
func isUnknown(name string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		if key := exporter.Key("ack_coredns_corefile_check", "check", name); absent(m, key) != nil || has(1, "ack_coredns_corefile_check", "check", "parse")(m) != nil {
			return fmt.Errorf("%s is known, or nothing is", key)
		}
		return nil
	}
}

// multiplyingSnippets is small, and large once its snippets are put in.
func multiplyingSnippets() string {
	var b strings.Builder
	b.WriteString("(s0) {\n  errors\n}\n")
	for i := range 20 {
		fmt.Fprintf(&b, "(s%d) {\n", i+1)
		for range 10 {
			fmt.Fprintf(&b, "  import s%d\n", i)
		}
		b.WriteString("}\n")
	}
	return b.String() + ".:53 {\n  import s20\n}\n"
}

func proxySubject() subject {
	good := proxyConfig("300s")
	return subject{
		collector: "kubeproxy", good: proxyMap(good), usable: udpTimeout(300), kept: []string{"ack_kubeproxy_services"},
		inputs: []badInput{
			// It tells nothing about kube-proxy.
			{name: "no key", configMap: configMap("kube-proxy-worker", "other", good), also: lacks("ack_kubeproxy_config_valid")},
			{name: "another key", configMap: configMap("kube-proxy-worker", "config", proxyConfig("71s")), shows: udpTimeout(71)},
			{name: "empty", configMap: proxyMap(""), also: isInvalid},
			{name: "broken", configMap: proxyMap("mode: [ipvs\n"), also: isInvalid},
			{name: "unknown mode", configMap: proxyMap(strings.Replace(good, "mode: ipvs", "mode: evil", 1)), also: isInvalid},
			{name: "huge", configMap: proxyMap(good + "x: [" + strings.Repeat("x,", huge/2) + "x]\n"), also: lacks("ack_kubeproxy_config_valid")},
			{name: "deep nesting", configMap: proxyMap(good + "x: " + strings.Repeat("[", 120<<10)), also: isInvalid},
			{name: "long list", configMap: proxyMap(proxyConfig("72s") + "nodePortAddresses: [" + strings.Repeat("x,", 60<<10) + "x]\n"), shows: udpTimeout(72)},
			{name: "many unknown fields", configMap: proxyMap(proxyConfig("73s") + manyFields()), shows: udpTimeout(73)},
			{name: "aliases that multiply", configMap: proxyMap(multiplyingAliases() + good), also: lacks("ack_kubeproxy_config_valid")},
		},
	}
}

// isInvalid is for a configuration that kube-proxy cannot use.
func isInvalid(m exporter.Metrics) error {
	return has(0, "ack_kubeproxy_config_valid", "configmap", "kube-proxy-worker")(m)
}

func udpTimeout(seconds float64) func(exporter.Metrics) error {
	return has(seconds, "ack_kubeproxy_config_timeout_seconds", "configmap", "kube-proxy-worker", "protocol", "udp")
}

func manyFields() string {
	var b strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&b, "field%06d: 1\n", i)
	}
	return b.String()
}

// multiplyingAliases is small, and beyond any memory with its aliases written out.
func multiplyingAliases() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := range 40 {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	return b.String()
}

func terwaySubject() subject {
	return subject{
		collector: "nodelocaldns", good: terwayMap(terwayConfig),
		usable: has(1, "ack_nodelocaldns_terway_check", "check", "host_stack_cidrs"), kept: []string{"ack_nodelocaldns_replicas", "ack_nodelocaldns_terway_info"},
		inputs: []badInput{
			{name: "empty", configMap: terwayMap("")},
			{name: "broken", configMap: terwayMap("{\"type\": ")},
			{name: "wrong types", configMap: terwayMap(`{"type": {"terway": true}, "host_stack_cidrs": "x"}`)},
			{name: "huge nesting", configMap: terwayMap(strings.Repeat("[", huge))},
			{name: "huge chain", configMap: terwayMap(`{"plugins": [` + strings.Repeat(`{"type":"x"},`, huge/13-8) + `{"type":"x"}]}`)},
		},
	}
}

// TestBadInput writes what should not be into each ConfigMap.
func TestBadInput(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	putNodes(t, c, 2)
	c.Put(t, dnsDeployment(2), nodeCache(2, 2), labelledNamespace(), terwayDaemonSet())
	for _, s := range subjects() {
		c.Put(t, s.good)
	}
	r := run(t, c, "replica-a", firstAddress, every(time.Second)...)
	for _, s := range subjects() {
		r.Await(t, patience, is(succeeds, s.collector))
	}
	for _, s := range subjects() {
		for _, input := range s.inputs {
			s.try(t, c, r, input)
		}
	}
	peak := peakMemory(t, r.PID())
	t.Logf("peak memory: %.0f MiB", peak)
	if peak > maxResident {
		t.Errorf("the exporter took %.0f MiB, which is more than %d", peak, maxResident)
	}
	if output := r.output(t); len(output) > 1<<20 {
		t.Errorf("the log has %d bytes", len(output))
	}
	requireRights(t, c, false)
}

// try writes one input, and the good ConfigMap afterwards.
func (s subject) try(t *testing.T, c *clustertest.Cluster, r *replica, input badInput) {
	t.Helper()
	before, logged := scrape(t, r), s.warnings(t, r)
	c.Put(t, input.configMap)
	expected, lines := input.shows, 0
	if expected == nil {
		// More than one failure: the log names the first.
		expected, lines = s.hasFailed(before, 2), 1
	}
	after := r.Await(t, patience, expected)
	errs := []error{others(after, s.collector)}
	if input.shows != nil {
		errs = append(errs, succeeds(after, s.collector))
	}
	if input.also != nil {
		errs = append(errs, input.also(after))
	}
	for _, family := range s.kept {
		if absent(after, family) == nil {
			errs = append(errs, fmt.Errorf("there is no %s", family))
		}
	}
	if n := s.warnings(t, r) - logged; n != lines {
		errs = append(errs, fmt.Errorf("the log has %d lines about it", n))
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("%s, %s: %v", s.good.Name, input.name, err)
	}
	t.Logf("%s, %s: a refresh takes %.3f s, and %.0f MiB at the most", s.good.Name, input.name,
		after[exporter.Key("ack_exporter_collector_duration_seconds", "collector", s.collector)], peakMemory(t, r.PID()))
	c.Put(t, s.good)
	r.Await(t, patience, func(m exporter.Metrics) error { return errors.Join(succeeds(m, s.collector), s.usable(m)) })
}

// hasFailed is nil where the collector has failed so many times more, all of them
// over what it read.
func (s subject) hasFailed(before exporter.Metrics, times float64) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		counted := failures(m, s.collector, "decode") - failures(before, s.collector, "decode")
		if counted < times {
			return fmt.Errorf("collector %s has failed %v times", s.collector, counted)
		}
		return fails(m, s.collector)
	}
}

// others is nil where all other collectors are well.
func others(m exporter.Metrics, collector string) error {
	var errs []error
	for _, name := range collectors() {
		if name != collector {
			errs = append(errs, succeeds(m, name))
		}
	}
	return errors.Join(errs...)
}

// warnings counts the lines of the log by which the collector says that it fails.
func (s subject) warnings(t *testing.T, r *replica) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(r.output(t)) {
		if strings.Contains(line, `msg="collector fails"`) && strings.Contains(line, " collector="+s.collector+" ") {
			n++
		}
	}
	return n
}

// peakMemory is the largest resident size of a process so far, in MiB.
func peakMemory(t testing.TB, pid int) float64 {
	t.Helper()
	return memory(t, pid, "VmHWM")
}

// memory is a field of the status of a process, in MiB.
func memory(t testing.TB, pid int, field string) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), field+":")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil || !found {
		t.Fatalf("no %s: %v", field, err)
	}
	return kib / 1024
}
