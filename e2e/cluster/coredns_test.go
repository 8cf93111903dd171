//go:build e2e

package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

const (
	dnsAddressA = "10.244.1.2"
	dnsAddressB = "10.244.1.3"
	// upstreamAddress is that of a resolver of the VPC.
	upstreamAddress = "100.100.2.136"
	nodeAddress     = "192.168.0.1"

	probeInterval = 2 * time.Second
)

// testedCorefile is as ACK writes it, but with a cache, a lameduck and a reload that
// do not take longer than a test.
func testedCorefile() string {
	return strings.NewReplacer("lameduck 15s", "lameduck 4s", "cache 30", "cache 1", "reload\n", "reload 2s 1s\n").
		Replace(cluster.DefaultCorefile)
}

// dnsScene is a cluster with two real CoreDNS servers, which the cluster role asks
// and a node probes.
type dnsScene struct {
	scene
	a, b, upstream *clustertest.CoreDNS
	podA, podB     *corev1.Pod
	service        *corev1.Service
	nodeWorld      *world.World
	node           *exporter.Process
}

// TestCoreDNS makes CoreDNS ill.
func TestCoreDNS(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"nft", "conntrack"} {
		_, err := exec.LookPath(tool)
		world.Require(t, err == nil, fmt.Sprintf("%s is missing: %v", tool, err))
	}
	s := newDNSScene(t)
	s.healthy()
	s.killed()
	s.paused()
	s.withoutReady()
	s.withoutUpstream()
	s.reloads()
	s.lameduck()
	s.stale()
	requireRights(t, s.c, false)
}

func newDNSScene(t *testing.T) *dnsScene {
	t.Helper()
	c := start(t, cluster.Options{})
	putNodes(t, c, 2)
	s := &dnsScene{
		scene: scene{t: t, c: c},
		upstream: c.CoreDNS(t, cluster.CoreDNSOptions{
			Address:  upstreamAddress,
			Corefile: ".:53 {\n  hosts {\n    " + externalAddress + " " + externalName + "\n  }\n}\n",
		}),
		podA: dnsPod("coredns-a", 0, dnsAddressA), podB: dnsPod("coredns-b", 1, dnsAddressB), service: dnsService(),
		nodeWorld: world.New(t),
	}
	options := cluster.CoreDNSOptions{Address: dnsAddressA, Corefile: testedCorefile(), Nameservers: []string{upstreamAddress}}
	s.a = c.CoreDNS(t, options)
	options.Address = dnsAddressB
	s.b = c.CoreDNS(t, options)
	c.Put(t, s.podA, s.podB, s.service, cluster.EndpointSlice(s.service, s.podA, s.podB), dnsDeployment(2), corefileMap(testedCorefile()))
	s.r = run(t, c, "replica-a", firstAddress, every(probeInterval)...)
	s.startNode()
	return s
}

// startNode starts the node role on a node whose kube-proxy knows only the second
// CoreDNS yet, with the targets that the cluster role tells.
func (s *dnsScene) startNode() {
	s.t.Helper()
	targets := filepath.Join(world.Scratch(), fmt.Sprintf("targets-%d.json", s.nodeWorld.PID()))
	content := awaitTargets(s.t, s.c, dnsAddressA, dnsAddressB, cluster.DNSAddress)
	if err := os.WriteFile(targets, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.c.Join(s.t, s.nodeWorld, nodeAddress)
	clustertest.Balance(s.t, s.nodeWorld, cluster.DNSAddress, dnsAddressB)
	s.node = exporter.Start(s.t, s.nodeWorld, exporter.Config{Args: []string{
		"--collector.dnsprobe.interval=" + probeInterval.String(), "--collector.dnsprobe.timeout=700ms",
		"--collector.dnsprobe.targets-file=" + targets, "--collector.dnsprobe.external-name=" + externalName,
		"--collector.dnsprobe.vpc-resolver=" + upstreamAddress,
	}})
	s.node.AwaitSuccess(s.t, patience, "dnsprobe")
}

// up is for a check of one replica.
func up(pod *corev1.Pod, check string, value float64) func(exporter.Metrics) error {
	return has(value, "ack_coredns_endpoint_up", "pod", pod.Name, "node", pod.Spec.NodeName, "check", check)
}

// all is for all checks of one replica.
func all(pod *corev1.Pod, value float64) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		var errs []error
		for _, check := range []string{"health", "ready", "dns_udp", "dns_tcp", "metrics"} {
			errs = append(errs, up(pod, check, value)(m))
		}
		return errors.Join(errs...)
	}
}

// of names the series of one replica.
func of(pod *corev1.Pod, labels ...string) []string {
	return append(labels, "pod", pod.Name, "node", pod.Spec.NodeName)
}

// probes are questions of the node role. An empty field stands for all.
type probes struct{ kind, server, protocol, socket, name string }

func (p probes) matches(key string) bool {
	for label, value := range map[string]string{
		"target_kind": p.kind, "server": p.server, "protocol": p.protocol, "socket": p.socket, "name_kind": p.name,
	} {
		if value != "" && !strings.Contains(key, fmt.Sprintf("%s=%q", label, value)) {
			return false
		}
	}
	return true
}

// sum adds up the series of a family.
func (p probes) sum(m exporter.Metrics, family string) float64 {
	total := 0.0
	for key, value := range m.Family(family) {
		if p.matches(key) {
			total += value
		}
	}
	return total
}

// expectation is what becomes of probes: which share of them is answered.
type expectation struct {
	probes
	// none: no probe succeeds. Otherwise each one does, unless some is set: then
	// both happens.
	none, some bool
	// reason is one for which probes fail.
	reason string
}

// enough is how many probes decide.
const enough = 3

// probed waits until the node's probes end as expected, for some time. What a change
// finds under way may still end in the old way, so that each attempt begins anew.
func (s *dnsScene) probed(expected ...expectation) {
	s.t.Helper()
	before := s.scrapeNode()
	world.Eventually(s.t, patience, func() error {
		now := s.scrapeNode()
		for _, e := range expected {
			decided, err := e.judge(before, now)
			if err != nil {
				before = now
				return err
			}
			if !decided {
				return fmt.Errorf("too few probes yet for %+v", e)
			}
		}
		return nil
	})
}

func (s *dnsScene) scrapeNode() exporter.Metrics {
	s.t.Helper()
	m, err := s.node.Scrape(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (e expectation) judge(before, now exporter.Metrics) (decided bool, err error) {
	grown := func(family string) float64 { return e.sum(now, family) - e.sum(before, family) }
	attempts, successes := grown("ack_dns_probe_attempts_total"), grown("ack_dns_probe_successes_total")
	switch {
	case e.none && successes > 0:
		return false, fmt.Errorf("%v probes %+v succeed", successes, e)
	case !e.none && !e.some && successes < attempts:
		return false, fmt.Errorf("%v of %v probes %+v fail", attempts-successes, attempts, e)
	}
	if e.some && (successes == 0 || successes == attempts) {
		return false, nil
	}
	return attempts >= enough && (e.reason == "" || e.failed(before, now) > 0), nil
}

// failed is how many more probes have failed for the reason. These series do not
// tell the server.
func (e expectation) failed(before, now exporter.Metrics) float64 {
	p := e.probes
	p.server = ""
	n := 0.0
	for key, value := range now.Family("ack_dns_probe_failures_total") {
		if p.matches(key) && strings.Contains(key, fmt.Sprintf("reason=%q", e.reason)) {
			n += value - before[key]
		}
	}
	return n
}

func (s *dnsScene) healthy() {
	s.t.Helper()
	for _, pod := range []*corev1.Pod{s.podA, s.podB} {
		s.shows(all(pod, 1), has(1, "ack_coredns_info", of(pod, "zone", zoneOf(pod), "image", "registry.example/coredns:v1.15.0", "version", "1.15.0")...),
			has(0, "ack_coredns_panics_total", of(pod)...), has(0, "ack_coredns_reload_failures_total", of(pod)...),
			has(0, "ack_coredns_api_requests_total", of(pod, "result", "denied")...),
			func(m exporter.Metrics) error {
				key := exporter.Key("ack_coredns_api_requests_total", of(pod, "result", "ok")...)
				if m[key] == 0 {
					return fmt.Errorf("%s is 0 or absent", key)
				}
				return nil
			})
	}
	s.shows(check("parse", 1), check("ready", 1), check("no_autopath", 1), lacks("ack_coredns_corefile_loaded"))
	s.probed(expectation{probes: probes{kind: "cluster_dns"}}, expectation{probes: probes{kind: "vpc"}},
		expectation{probes: probes{server: dnsAddressA}}, expectation{probes: probes{server: dnsAddressB}})
}

func zoneOf(pod *corev1.Pod) string {
	for number, zone := range cluster.Zones() {
		if cluster.Node(number).Name == pod.Spec.NodeName {
			return zone
		}
	}
	return ""
}

// killed: nothing listens. The kubelet starts it again.
func (s *dnsScene) killed() {
	s.t.Helper()
	s.a.Kill(s.t)
	ended := metav1.NewTime(time.Now().Truncate(time.Second))
	status := &s.podA.Status.ContainerStatuses[0]
	status.RestartCount = 1
	status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137, FinishedAt: ended}
	s.c.Put(s.t, s.podA)
	s.shows(all(s.podA, 0), all(s.podB, 1), has(1, "ack_coredns_pod_restarts_total", of(s.podA)...),
		has(float64(ended.Unix()), "ack_coredns_pod_last_termination_timestamp_seconds", of(s.podA, "reason", "oom_killed")...))
	s.probed(expectation{probes: probes{server: dnsAddressA}, none: true},
		expectation{probes: probes{kind: "coredns_pod", protocol: "udp"}, some: true, reason: "network"},
		expectation{probes: probes{server: dnsAddressB}}, expectation{probes: probes{kind: "cluster_dns"}})
	s.a.Start(s.t)
	s.shows(all(s.podA, 1))
	s.probed(expectation{probes: probes{server: dnsAddressA}})
}

// paused: it listens, and does not answer.
func (s *dnsScene) paused() {
	s.t.Helper()
	s.a.Pause(s.t)
	s.shows(all(s.podA, 0), all(s.podB, 1))
	s.probed(expectation{probes: probes{server: dnsAddressA}, none: true},
		expectation{probes: probes{kind: "coredns_pod"}, some: true, reason: "timeout"},
		expectation{probes: probes{server: dnsAddressB}})
	s.a.Resume(s.t)
	s.shows(all(s.podA, 1))
	s.probed(expectation{probes: probes{server: dnsAddressA}})
}

// withoutReady: a Corefile without the plugin, and with one that ACK advises against.
// It serves all the same.
func (s *dnsScene) withoutReady() {
	s.t.Helper()
	corefile := with(without(testedCorefile(), "ready"), "autopath @kubernetes")
	s.restartWith(corefile)
	s.c.Put(s.t, corefileMap(corefile))
	s.shows(check("ready", 0), check("no_autopath", 0), up(s.podA, "ready", 0), up(s.podA, "health", 1),
		up(s.podA, "dns_udp", 1), up(s.podA, "dns_tcp", 1), all(s.podB, 1))
	s.probed(expectation{probes: probes{server: dnsAddressA}})
	s.restartWith(testedCorefile())
	s.c.Put(s.t, corefileMap(testedCorefile()))
	s.shows(check("ready", 1), check("no_autopath", 1), all(s.podA, 1))
}

// restartWith starts the first CoreDNS anew with this Corefile.
func (s *dnsScene) restartWith(corefile string) {
	s.t.Helper()
	s.a.Kill(s.t)
	s.a.SetCorefile(s.t, corefile)
	s.a.Start(s.t)
}

// withoutUpstream: names outside of the cluster are not answered, and the probe of
// the resolver tells why.
func (s *dnsScene) withoutUpstream() {
	s.t.Helper()
	s.upstream.Kill(s.t)
	external := func(kind string, reason string) expectation {
		return expectation{probes: probes{kind: kind, name: "external"}, none: true, reason: reason}
	}
	s.probed(external("cluster_dns", "servfail"), external("coredns_pod", "servfail"), external("vpc", "network"),
		expectation{probes: probes{kind: "cluster_dns", name: "cluster"}}, expectation{probes: probes{kind: "coredns_pod", name: "cluster"}})
	// It is not the replicas that are ill.
	s.shows(all(s.podA, 1), all(s.podB, 1))
	s.upstream.Start(s.t)
	s.probed(expectation{probes: probes{kind: "cluster_dns"}}, expectation{probes: probes{kind: "vpc"}})
}

func loaded(pod *corev1.Pod, value float64) func(exporter.Metrics) error {
	return has(value, "ack_coredns_corefile_loaded", of(pod)...)
}

func versions(n float64) func(exporter.Metrics) error {
	return has(n, "ack_coredns_corefile_versions")
}

// reloads: the ConfigMap changes, and not every replica follows.
func (s *dnsScene) reloads() {
	s.t.Helper()
	second := strings.Replace(testedCorefile(), "ttl 30", "ttl 20", 1)
	s.c.Put(s.t, corefileMap(second))
	s.a.SetCorefile(s.t, second)
	s.b.SetCorefile(s.t, second)
	s.shows(loaded(s.podA, 1), loaded(s.podB, 1), versions(1))

	third := strings.Replace(testedCorefile(), "ttl 30", "ttl 10", 1)
	s.c.Put(s.t, corefileMap(third))
	s.shows(loaded(s.podA, 0), loaded(s.podB, 0), versions(1))
	s.a.SetCorefile(s.t, third)
	s.shows(loaded(s.podA, 1), loaded(s.podB, 0), versions(2))
	s.b.SetCorefile(s.t, third)
	s.shows(loaded(s.podA, 1), loaded(s.podB, 1), versions(1))

	// One that CoreDNS can parse, but not use: it goes on with the one before.
	unusable := with(third, "nonsense")
	s.c.Put(s.t, corefileMap(unusable))
	s.a.SetCorefile(s.t, unusable)
	s.shows(check("parse", 1), has(0, "ack_coredns_reload_failures_total", of(s.podB)...), func(m exporter.Metrics) error {
		if n := m[exporter.Key("ack_coredns_reload_failures_total", of(s.podA)...)]; n < 1 {
			return fmt.Errorf("%v reloads have failed", n)
		}
		return nil
	}, loaded(s.podB, 0), all(s.podA, 1))
	s.probed(expectation{probes: probes{server: dnsAddressA}})

	broken := third + "}\n{\n"
	s.c.Put(s.t, corefileMap(broken))
	s.shows(check("parse", 0), is(fails, "coredns"), all(s.podA, 1), replicas("ready", 2))
	s.restartWith(third)
	s.c.Put(s.t, corefileMap(third))
	s.shows(check("parse", 1), is(succeeds, "coredns"), loaded(s.podB, 1))
}

// lameduck: told to stop, it says that it is not ready, and answers for a while.
func (s *dnsScene) lameduck() {
	s.t.Helper()
	s.shows(has(4, "ack_coredns_lameduck_seconds"), check("lameduck", 0))
	s.a.Terminate(s.t)
	s.shows(up(s.podA, "dns_udp", 1), up(s.podA, "dns_tcp", 1), up(s.podA, "ready", 0))
	s.shows(all(s.podA, 0))
	s.a.Stop(s.t)
	s.a.Start(s.t)
	s.shows(all(s.podA, 1))
}

// stale: the replica behind a socket that stays open goes away. Connection tracking
// goes on sending it there, while fresh sockets reach the other one.
func (s *dnsScene) stale() {
	s.t.Helper()
	kept := probes{kind: "cluster_dns", socket: "kept"}
	fresh := probes{kind: "cluster_dns", socket: "fresh"}
	s.probed(expectation{probes: kept}, expectation{probes: fresh})
	clustertest.Balance(s.t, s.nodeWorld, cluster.DNSAddress, dnsAddressA)
	s.b.Link.Cut(s.t)
	s.probed(expectation{probes: kept, none: true, reason: "timeout"}, expectation{probes: fresh},
		expectation{probes: probes{server: dnsAddressB}, none: true}, expectation{probes: probes{server: dnsAddressA}})
	s.shows(all(s.podA, 1), all(s.podB, 0))
	// What kube-proxy should have done.
	s.nodeWorld.Run(s.t, "conntrack", "-D", "-p", "udp", "-d", cluster.DNSAddress, "--reply-src", dnsAddressB)
	s.probed(expectation{probes: kept}, expectation{probes: fresh})
	s.b.Link.Restore(s.t)
	s.shows(all(s.podB, 1))
}
