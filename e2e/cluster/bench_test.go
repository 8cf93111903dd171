//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/measure"
	"ack-exporter/e2e/internal/world"
)

const (
	scaleNodes    = 5000
	scaleServices = 500
	// window is how long the steady state is measured.
	window = 30 * time.Second
	// scrapePause is that of Prometheus, shortened so that a window has several.
	scrapePause = 5 * time.Second
	// Each kubelet writes the status of its node every 5 minutes.
	nodeWrites = 5 * time.Minute / scaleNodes
)

// watchedKinds are those that the cluster role watches, as kube-state-metrics calls
// them.
func watchedKinds() []string {
	return []string{
		"nodes", "services", "pods", "deployments", "daemonsets", "configmaps",
		"endpointslices", "namespaces", "mutatingwebhookconfigurations",
	}
}

// measured is a process that watches the cluster.
type measured struct {
	pid    int
	user   string
	scrape func(ctx context.Context) error
}

// usage is what it has taken.
type usage struct {
	cpu      time.Duration
	requests int
}

// BenchmarkScale measures the cluster role in a cluster of the largest size that ACK
// has, beside kube-state-metrics for the same kinds: from the start until everything
// is shown, and then while the nodes report their status.
func BenchmarkScale(b *testing.B) {
	c := start(b, cluster.Options{})
	c.Load(b, cluster.Scale{Nodes: scaleNodes, Services: scaleServices})
	service := dnsService()
	a := dnsPod("coredns-a", 0, dnsAddressA)
	c.Put(b, a, service, cluster.EndpointSlice(service, a), dnsDeployment(2), corefileMap(cluster.DefaultCorefile), proxyMap(proxyConfig("300s")),
		nodeCache(scaleNodes, scaleNodes), terwayDaemonSet(), terwayMap(terwayConfig), controller(2, 2), webhook("a CA"))

	ours, r := benchmarkStart(b, c)
	w := world.New(b)
	c.Join(b, w, secondAddress)
	theirs := startStateMetrics(b, c, w)
	b.Run("steady", func(b *testing.B) { benchmarkSteady(b, c, ours, theirs) })
	requireRights(b, c, false)
	if _, err := r.Stop(); err != nil {
		b.Error(err)
	}
}

// benchmarkStart starts the cluster role with its defaults.
func benchmarkStart(b *testing.B, c *clustertest.Cluster) (measured, *replica) {
	exporter.Binary(b) // built before the clock runs
	r := newReplica(b, c, "replica-a", firstAddress)
	began := time.Now()
	r.start(b)
	r.Await(b, patience, func(m exporter.Metrics) error {
		return errors.Join(m.Expect(scaleNodes, "ack_coredns_cluster_nodes"), m.Expect(100, "ack_coredns_replicas_recommended"),
			m.Expect(scaleServices+2, "ack_kubeproxy_services"), succeeds(m, "nodelocaldns"))
	})
	took := time.Since(began)
	p := measured{r.PID(), exporterUser, func(ctx context.Context) error {
		_, err := r.Scrape(ctx)
		return err
	}}
	u := p.usage(b, c)
	b.Run("start", func(b *testing.B) {
		measure.Report(b, took.Seconds(), "s")
		measure.Report(b, u.cpu.Seconds(), "cpu-s")
		measure.Report(b, float64(u.requests), "requests")
		measure.Budget(b, "peak memory", peakMemory(b, p.pid), "peak-MiB", 160)
	})
	return p, r
}

// startStateMetrics starts kube-state-metrics and waits until it shows the same.
func startStateMetrics(b *testing.B, c *clustertest.Cluster, w *world.World) measured {
	b.Helper()
	s := c.StateMetrics(b, w, watchedKinds()...)
	began := time.Now()
	world.Eventually(b, patience, func() error {
		body, err := s.Scrape(b.Context())
		if err != nil {
			return err
		}
		for family, want := range map[string]int{"\nkube_node_info{": scaleNodes, "\nkube_service_info{": scaleServices + 2} {
			if n := strings.Count(body, family); n < want {
				return fmt.Errorf("%d of %d series %q", n, want, family)
			}
		}
		return nil
	})
	took := time.Since(began)
	p := measured{s.PID(), cluster.StateMetricsUser, func(ctx context.Context) error {
		_, err := s.Scrape(ctx)
		return err
	}}
	u := p.usage(b, c)
	b.Run("start-kube-state-metrics", func(b *testing.B) {
		measure.Report(b, took.Seconds(), "s")
		measure.Report(b, u.cpu.Seconds(), "cpu-s")
		measure.Report(b, float64(u.requests), "requests")
		measure.Report(b, peakMemory(b, p.pid), "peak-MiB")
	})
	return p
}

func (p measured) usage(b *testing.B, c *clustertest.Cluster) usage {
	b.Helper()
	return usage{measure.ProcessCPU(b, p.pid), len(c.Requests(b, p.user))}
}

// benchmarkSteady has the nodes report, and both processes scraped.
func benchmarkSteady(b *testing.B, c *clustertest.Cluster, ours, theirs measured) {
	before := []usage{ours.usage(b, c), theirs.usage(b, c)}
	writes := time.NewTicker(nodeWrites)
	defer writes.Stop()
	scrapes := time.NewTicker(scrapePause)
	defer scrapes.Stop()
	var took []time.Duration
	began := time.Now()
	for n := 0; time.Since(began) < window; {
		select {
		case <-writes.C:
			writeStatus(b, c, n%scaleNodes)
			n++
		case <-scrapes.C:
			took = append(took, timed(b, ours.scrape))
			timed(b, theirs.scrape)
		}
	}
	lasted := time.Since(began)
	after := []usage{ours.usage(b, c), theirs.usage(b, c)}
	share := func(i int) float64 { return 100 * float64(after[i].cpu-before[i].cpu) / float64(lasted) }
	perMinute := func(i int) float64 { return float64(after[i].requests-before[i].requests) / lasted.Minutes() }
	measure.Report(b, share(0), "%-of-a-core")
	measure.Report(b, share(1), "ksm-%-of-a-core")
	measure.Report(b, perMinute(0), "requests/min")
	measure.Report(b, perMinute(1), "ksm-requests/min")
	measure.Report(b, memory(b, theirs.pid, "VmRSS"), "ksm-MiB")
	measure.Budget(b, "memory", memory(b, ours.pid, "VmRSS"), "MiB", 160)
	measure.Budget(b, "memory against kube-state-metrics", memory(b, ours.pid, "VmRSS")/memory(b, theirs.pid, "VmRSS"), "MiB/ksm", 1)
	measure.Budget(b, "slowest scrape", float64(slices.Max(took))/float64(time.Millisecond), "scrape-ms", 250)
}

const (
	scaleSecrets  = 10_000
	scaleReleases = 2_000
	// secretScrapes is the pause between two scrapes while Secrets change.
	secretScrapes = time.Second
)

// BenchmarkCertificates measures the cluster role with as many TLS Secrets as its
// budget is for, among Secrets of Helm that are ten times as large: from the start
// until all are shown, scraped for a while, while all of them are renewed, and while
// they are listed anew since the API server was restarted.
func BenchmarkCertificates(b *testing.B) {
	c := start(b, cluster.Options{})
	c.Load(b, cluster.Scale{Secrets: scaleSecrets, Releases: scaleReleases})
	exporter.Binary(b) // built before the clock runs
	r := newReplica(b, c, "replica-a", firstAddress)
	began := time.Now()
	r.start(b, "--collector.certificate_secrets.interval=5s")
	complete := func(m exporter.Metrics) error {
		return errors.Join(succeeds(m, certificates), m.Expect(scaleSecrets, located, "source", "secret"))
	}
	r.Await(b, patience, complete)
	took := time.Since(began)
	pid := r.PID()
	b.Run("start", func(b *testing.B) {
		measure.Report(b, took.Seconds(), "s")
		measure.Report(b, measure.ProcessCPU(b, pid).Seconds(), "cpu-s")
		measure.Report(b, received(b, pid), "received-MiB")
		measure.Report(b, float64(len(c.Requests(b, exporterUser))), "requests")
		measure.Budget(b, "peak memory", peakMemory(b, pid), "peak-MiB", 160)
	})
	b.Run("steady", func(b *testing.B) {
		resetPeak(b, pid)
		before := measure.ProcessCPU(b, pid)
		slowest := scrapeFor(b, r, timer(b, window))
		measure.Report(b, 100*float64(measure.ProcessCPU(b, pid)-before)/float64(window), "%-of-a-core")
		measure.Report(b, memory(b, pid, "VmRSS"), "MiB")
		measure.Budget(b, "peak memory", peakMemory(b, pid), "peak-MiB", 160)
		measure.Budget(b, "slowest scrape", float64(slowest)/float64(time.Millisecond), "scrape-ms", 250)
	})
	b.Run("renew", func(b *testing.B) {
		resetPeak(b, pid)
		before := measure.ProcessCPU(b, pid)
		done := make(chan error, 1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			done <- c.RotateSecrets(b.Context(), scaleSecrets)
		}()
		scrapeFor(b, r, ended)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		r.AwaitRefresh(b, patience, certificates)
		measure.Report(b, (measure.ProcessCPU(b, pid) - before).Seconds(), "cpu-s")
		measure.Budget(b, "peak memory", peakMemory(b, pid), "peak-MiB", 160)
	})
	// A restarted API server refuses everybody until it knows the rights.
	requireRights(b, c, false)
	b.Run("relist", func(b *testing.B) {
		resetPeak(b, pid)
		before, lists := measure.ProcessCPU(b, pid), secretLists(b, c)
		c.StopAPI(b)
		c.StartAPI(b)
		r.AwaitRefresh(b, patience, certificates)
		r.Await(b, patience, complete)
		if n := secretLists(b, c) - lists; n < scaleSecrets/1000 {
			b.Errorf("%d pages of Secrets were asked for: no list anew", n)
		}
		measure.Report(b, (measure.ProcessCPU(b, pid) - before).Seconds(), "cpu-s")
		measure.Budget(b, "peak memory", peakMemory(b, pid), "peak-MiB", 160)
	})
	r.stop(b)
}

// secretLists is how many pages of Secrets have been asked for.
func secretLists(b *testing.B, c *clustertest.Cluster) (n int) {
	b.Helper()
	for _, q := range c.Requests(b, exporterUser) {
		if q.Resource == "secrets" && q.Verb == "list" {
			n++
		}
	}
	return n
}

// timer ends after d.
func timer(b *testing.B, d time.Duration) <-chan struct{} {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	b.Cleanup(cancel)
	return ctx.Done()
}

// scrapeFor scrapes until it has ended, and returns how long the slowest took.
func scrapeFor(b *testing.B, r *replica, ended <-chan struct{}) (slowest time.Duration) {
	b.Helper()
	ticker := time.NewTicker(secretScrapes)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return slowest
		case <-ticker.C:
			slowest = max(slowest, timed(b, func(ctx context.Context) error {
				_, _, err := r.Get(ctx, "/metrics")
				return err
			}))
		}
	}
}

// resetPeak has the kernel begin anew with the largest resident size.
func resetPeak(b *testing.B, pid int) {
	b.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// received is what has come over the network of a process, in MiB.
func received(b *testing.B, pid int) float64 {
	b.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		b.Fatal(err)
	}
	sum := 0.0
	for line := range strings.Lines(string(table)) {
		name, counters, ok := strings.Cut(line, ":")
		fields := strings.Fields(counters)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return sum / (1 << 20)
}

// writeStatus is what a kubelet does now and again.
func writeStatus(b *testing.B, c *clustertest.Cluster, number int) {
	b.Helper()
	nodes := c.Client().CoreV1().Nodes()
	node, err := nodes.Get(b.Context(), cluster.Node(number).Name, metav1.GetOptions{})
	if err == nil {
		cluster.SetNodeReady(node, true)
		_, err = nodes.UpdateStatus(b.Context(), node, metav1.UpdateOptions{})
	}
	if err != nil {
		b.Fatal(err)
	}
}

func timed(b *testing.B, scrape func(context.Context) error) time.Duration {
	b.Helper()
	began := time.Now()
	if err := scrape(b.Context()); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
