//go:build e2e

package dashboards

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/flows"
	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/sandbox"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/mixin"
)

const (
	// patience is how long a test waits beyond what it must.
	patience = 2 * time.Minute

	firstNode, secondNode, thirdNode = "node-a", "node-b", "node-c"
	secondAddress                    = "127.0.0.1:9778"
)

// How many seconds a dashboard shows: few to see that all is there, more where the
// pictures are for people.
const (
	quickView  = 25
	peopleView = 300
)

// busyNodes are nodes on which a lot is wrong: there is something to see in every
// panel. One has an exporter that may see everything, one an exporter that may
// not, one has none; all share a connection tracking table that fills up again
// and again. The first is a master with certificates that are wrong in many ways. The
// cluster role tells of another cluster, and of the cloud that it is in.
func busyNodes(t *testing.T) http.Handler {
	t.Helper()
	limit := lowerLimit(t)
	w := world.New(t)
	w.SetSysctl(t, "net/ipv4/tcp_tw_reuse", "1")
	// Most machines have no IPVS, and then there is none in any test.
	flags := []string{"--collector.conntrack_table.interval=1s", "--no-collector.ipvs", "--no-collector.ipvs_table"}
	kubernetes := newIssuer(t, lasting("kubernetes", 9*year))
	exporter.Start(t, w, exporter.Config{Args: flags, Rootfs: masterFiles(t, kubernetes)})
	exporter.Start(t, w, exporter.Config{
		Address: secondAddress, Args: flags, Rootfs: workerFiles(t, kubernetes),
		Wrapper: []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"},
	})
	cluster := monitoringtest.ServeNodes(t, w, firstNode, secondNode, thirdNode)
	cluster.SetRenewalJobs(
		monitoringtest.RenewalJob{Name: "cert-job-masters", Started: time.Now().Add(-50 * time.Hour), Completed: true},
		monitoringtest.RenewalJob{Name: "cert-job-workers", Started: time.Now().Add(-49 * time.Hour), Failed: true},
	)
	troubledCloud(t, w)
	stack := monitor(t, w, map[string][]monitoring.Target{
		monitoringtest.Exporters: {
			monitoringtest.Target(exporter.Address, firstNode, "pod-1"),
			monitoringtest.Target(secondAddress, secondNode, "pod-2"),
			monitoringtest.Target(cloudAddress, thirdNode, "cluster-1"),
		},
		monitoringtest.ClusterInfo: {cluster.Target()},
	})
	// Counters must have been seen before they rise.
	awaitAtLeast(t, stack, `min(sum_over_time(up[1h]))`, 3)
	fillAgainAndAgain(t, w, limit)
	view := quickView
	if os.Getenv("E2E_PICTURES") != "" {
		view = peopleView
	}
	awaitAtLeast(t, stack, `min(sum_over_time(up[1h]))`, view)
	for _, expr := range []string{
		`increase(ack_kernel_log_events_total{event="conntrack_table_full"}[1h])`,
		`count(ALERTS{alertstate="firing", alertname="ACKTCPTimeWaitReuseOn"})`,
		`count(ALERTS{alertstate="firing", alertname="ACKCertificateKeyMismatch"})`,
	} {
		awaitAtLeast(t, stack, expr, 1)
	}
	return prometheusOf(w)
}

// monitor starts Prometheus in a world.
func monitor(t *testing.T, w *world.World, targets map[string][]monitoring.Target) *monitoring.Stack {
	t.Helper()
	binaries, err := monitoring.Find()
	world.Require(t, err == nil, fmt.Sprintf("%v: apt-get install --no-install-recommends %s", err, strings.Join(monitoring.Packages, " ")))
	pack, err := mixin.Render(monitoring.Short(monitoring.WebhookAddress, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	stack, err := monitoring.Start(t.Context(), monitoring.Config{
		Binaries: binaries, Sandbox: w.Sandbox, Folder: t.TempDir(),
		PrometheusAddress: monitoring.PrometheusAddress, AlertmanagerAddress: monitoring.AlertmanagerAddress,
		Rules: pack.Rules, Alertmanager: pack.Alertmanager, Targets: targets,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the output of the monitoring:\n%s", stack.Logs())
		}
	})
	return stack
}

// awaitAtLeast waits until an expression has at least this value.
func awaitAtLeast(t *testing.T, stack *monitoring.Stack, expr string, least int) {
	t.Helper()
	world.Eventually(t, patience+time.Duration(least)*time.Second, func() error {
		samples, err := stack.Query(t.Context(), expr)
		switch {
		case err != nil:
			return err
		case len(samples) == 0:
			return fmt.Errorf("%s finds nothing", expr)
		case samples[0].Value < float64(least):
			return fmt.Errorf("%s is %v, less than %d", expr, samples[0].Value, least)
		}
		return nil
	})
}

// lowerLimit lets few flows fill a table. Each network namespace is held against
// the limit by itself: the machine's own flows must not suffer.
func lowerLimit(t *testing.T) int {
	t.Helper()
	entries, err := sandbox.ReadSysctl("net/netfilter/nf_conntrack_count")
	world.Require(t, err == nil, fmt.Sprintf("this kernel does not track connections: %v", err))
	n, err := strconv.Atoi(entries)
	if err != nil {
		t.Fatal(err)
	}
	limit := 5000 + 4*n
	world.SetMachineSysctl(t, "net/netfilter/nf_conntrack_max", strconv.Itoa(limit))
	return limit
}

// fillAgainAndAgain opens flows until the table has been full for a moment, then
// empties it, until the test ends.
func fillAgainAndAgain(t *testing.T, w *world.World, limit int) {
	t.Helper()
	const ticksToFull, overflow = 100, 500
	sender, err := flows.NewSender(t.Context(), w.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	step := func(refusedBefore int) (refused int, err error) {
		if err := sender.Open(limit / ticksToFull); err != nil {
			return 0, err
		}
		if sender.Refused-refusedBefore < overflow {
			return refusedBefore, nil
		}
		return sender.Refused, sender.Flush()
	}
	ended := make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		refused := 0
		for {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				ended <- nil
				return
			}
			var err error
			if refused, err = step(refused); err != nil {
				ended <- err
				return
			}
		}
	}()
	t.Cleanup(func() { // runs after the test's context has ended
		if err := <-ended; err != nil {
			t.Errorf("fill the table: %v", err)
		}
		_ = sender.Close()
	})
}
