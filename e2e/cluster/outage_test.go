//go:build e2e

package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

const (
	outageInterval = 2 * time.Second
	// outage is longer than the lease, and than any back-off that is still short.
	outage = 25 * time.Second
	// recovery is how long after the API server is back everything is shown again:
	// less than the default interval of 15 s.
	recovery = 10 * time.Second
)

// TestOutage stops the API server, and has it hang: under a replica that takes part
// in an election and under one that is alone.
func TestOutage(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	putNodes(t, c, 2)
	c.Put(t, dnsDeployment(2), corefileMap(cluster.DefaultCorefile), proxyMap(proxyConfig("300s")),
		labelledNamespace(), nodeCache(2, 2), userPod("set-up", cluster.Node(0).Name, true))
	elected := run(t, c, "replica-a", firstAddress, every(outageInterval)...)
	sole := run(t, c, "sole", secondAddress, append(every(outageInterval), "--no-leader-election", "--dnsprobe-targets.name=")...)
	both := []*replica{elected, sole}
	for _, r := range both {
		r.Await(t, patience, showsAll)
	}

	t.Log("the API server is stopped")
	before := errorsOf(t, both)
	began := time.Now()
	c.StopAPI(t)
	for _, r := range both {
		r.Await(t, outageInterval+slack, keepsLast)
	}
	for _, r := range both {
		r.Await(t, outageInterval+4*outageInterval+slack, hasGone)
	}
	t.Logf("everything has gone after %s", time.Since(began).Round(time.Millisecond))
	elected.Await(t, leaseDuration+slack, has(0, "ack_exporter_leader"))
	await(t, began.Add(outage))
	requireCounted(t, both, before, "unavailable")

	began = time.Now()
	c.StartAPI(t)
	awaitRecovery(t, both, began)

	t.Log("the API server hangs")
	before = errorsOf(t, both)
	began = time.Now()
	c.PauseAPI(t)
	// Watches that nothing comes through look like those on which nothing changes;
	// the lease and listings tell.
	elected.Await(t, leaseDuration+maxAge+slack, hasGone)
	sole.Await(t, maxAge+slack, func(m exporter.Metrics) error {
		return errors.Join(fails(m, "nodelocaldns_pods"), absent(m, "ack_nodelocaldns_pods"))
	})
	t.Logf("everything has gone after %s", time.Since(began).Round(time.Millisecond))
	requireCounted(t, []*replica{elected}, before[:1], "unavailable")
	if failures(scrape(t, sole), "nodelocaldns_pods", "timeout") <= before[1]["nodelocaldns_pods timeout"] {
		t.Error("a listing that hangs is no timeout")
	}
	began = time.Now()
	c.ResumeAPI(t)
	awaitRecovery(t, both, began)
}

// TestStopInOutage stops replicas that never reached the API server, or not any more.
func TestStopInOutage(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	led := run(t, c, "replica-a", firstAddress, every(outageInterval)...)
	awaitLeading(t, led)
	unlucky := newReplica(t, c, "sole", secondAddress)
	c.StopAPI(t)
	unlucky.start(t, append(every(outageInterval), "--no-leader-election")...)
	// Its retries grow rare.
	unlucky.Await(t, patience, func(m exporter.Metrics) error {
		if n := failures(m, "coredns", "unavailable"); n < 6 {
			return fmt.Errorf("collector coredns has failed %v times", n)
		}
		return nil
	})
	for _, r := range []*replica{led, unlucky} {
		took, err := r.Stop()
		t.Logf("%s stopped after %s", r.name, took.Round(time.Millisecond))
		if err != nil {
			t.Error(err)
		}
	}
}

func awaitLeading(t testing.TB, r *replica) {
	t.Helper()
	r.Await(t, patience, has(1, "ack_exporter_leader"))
}

// await waits for a moment.
func await(t testing.TB, moment time.Time) {
	t.Helper()
	select {
	case <-time.After(time.Until(moment)):
	case <-t.Context().Done():
		t.Fatal("the test ended")
	}
}

// families are one of each collector.
func families() map[string]string {
	return map[string]string{
		"coredns": "ack_coredns_replicas", "kubeproxy": "ack_kubeproxy_services",
		"nodelocaldns": "ack_nodelocaldns_replicas", "nodelocaldns_pods": "ack_nodelocaldns_pods",
	}
}

func showsAll(m exporter.Metrics) error {
	errs := []error{m.Expect(1, "ack_exporter_leader")}
	for name, family := range families() {
		errs = append(errs, succeeds(m, name))
		if absent(m, family) == nil {
			errs = append(errs, fmt.Errorf("there is no %s", family))
		}
	}
	return errors.Join(errs...)
}

// keepsLast is nil where each collector fails, but shows what it saw.
func keepsLast(m exporter.Metrics) error {
	var errs []error
	for name, family := range families() {
		errs = append(errs, fails(m, name))
		if absent(m, family) == nil {
			errs = append(errs, fmt.Errorf("%s has gone", family))
		}
	}
	return errors.Join(errs...)
}

func hasGone(m exporter.Metrics) error {
	var errs []error
	for name, family := range families() {
		errs = append(errs, fails(m, name), absent(m, family))
	}
	return errors.Join(errs...)
}

// errorCounts are those of all collectors and reasons, as "coredns timeout".
type errorCounts map[string]float64

func errorsOf(t testing.TB, all []*replica) []errorCounts {
	t.Helper()
	list := make([]errorCounts, 0, len(all))
	for _, r := range all {
		counts := make(errorCounts)
		m := scrape(t, r)
		for name := range families() {
			for _, reason := range []string{"timeout", "throttled", "forbidden", "unavailable", "decode", "permission", "other"} {
				counts[name+" "+reason] = failures(m, name, reason)
			}
		}
		list = append(list, counts)
	}
	return list
}

// requireCounted fails where a collector did not count failures, or counted them for
// a reason that is not the API server's absence.
func requireCounted(t testing.TB, all []*replica, before []errorCounts, reason string) {
	t.Helper()
	for i, now := range errorsOf(t, all) {
		for name := range families() {
			if now[name+" "+reason] == before[i][name+" "+reason] {
				t.Errorf("%s: collector %s has counted no failure for %s", all[i].name, name, reason)
			}
		}
		for key, n := range now {
			if n > before[i][key] && !strings.HasSuffix(key, " unavailable") && !strings.HasSuffix(key, " timeout") {
				t.Errorf("%s: %v failures %s", all[i].name, n-before[i][key], key)
			}
		}
	}
}

// awaitRecovery waits until all is shown again.
func awaitRecovery(t testing.TB, all []*replica, since time.Time) {
	t.Helper()
	back := time.Now()
	for _, r := range all {
		world.Eventually(t, patience, func() error { return showsAll(scrape(t, r)) })
		took := time.Since(back)
		t.Logf("%s shows all %s after the API server is back, which took %s", r.name,
			took.Round(time.Millisecond), back.Sub(since).Round(time.Millisecond))
		if took > recovery {
			t.Errorf("that is more than %s", recovery)
		}
	}
}
