//go:build e2e

// Package cluster tests the cluster role against a real API server with exactly the
// rights that deploy/rbac/cluster.yaml gives it, and against real CoreDNS servers;
// and the DNS probes of the node role against the same. Nothing leaves the machine.
//
// There is no controller and no kubelet: the tests write what these would, and so
// know what is true.
//
//	go test -tags e2e ./e2e/cluster                                      # as root
//	go test -tags e2e -run '^$' -bench . -benchtime 1x ./e2e/cluster
package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

const (
	// patience is how long a test waits for what takes a moment on an idle machine.
	patience = time.Minute

	namespace = "ack-exporter"
	account   = "ack-exporter-cluster"
	leaseName = "ack-exporter"
	// targetsMap is the ConfigMap for the DNS probes.
	targetsMap = "ack-exporter-dns"

	rbacFile = "../../deploy/rbac/cluster.yaml"

	firstAddress  = "10.244.9.2"
	secondAddress = "10.244.9.3"

	system = "kube-system"
)

// exporterUser is who the API server sees.
var exporterUser = cluster.ServiceAccountUser(namespace, account)

// start starts a cluster in a world of its own, and grants the rights that the
// project ships.
func start(t testing.TB, options cluster.Options) *clustertest.Cluster {
	t.Helper()
	c := clustertest.Start(t, world.New(t), options)
	c.Apply(t, []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: `+namespace+`}}`))
	c.ApplyFile(t, rbacFile)
	return c
}

// replica is a pod in which the cluster role can run.
type replica struct {
	*exporter.Process
	name, address string
	world         *world.World
	link          *clustertest.Link
	environment   []string
	log           string
}

// newReplica makes the pod.
func newReplica(t testing.TB, c *clustertest.Cluster, name, address string) *replica {
	t.Helper()
	r := &replica{name: name, address: address, world: world.New(t)}
	r.link = c.Join(t, r.world, address)
	r.environment = c.InCluster(t, r.world, namespace, account)
	r.log = filepath.Join(world.Scratch(), fmt.Sprintf("%s-%d.log", name, r.world.PID()))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", r.name, r.output(t))
		}
	})
	return r
}

// asPod executes a command in place of the shell, with the name of the pod as its
// hostname, and with its log in a file. Its arguments are these two, and the command.
const asPod = `hostname "$1" && log=$2 && shift 2 && exec "$@" 2>>"$log"`

// start starts the role, after it has ended again.
func (r *replica) start(t testing.TB, args ...string) {
	t.Helper()
	wrapper := append([]string{"env"}, r.environment...)
	wrapper = append(wrapper, "unshare", "--uts", "sh", "-c", asPod, "sh", r.name, r.log)
	r.Process = exporter.Start(t, r.world, exporter.Config{Role: node.RoleCluster, Wrapper: wrapper, Args: args})
}

// run makes a pod, and starts the role in it.
func run(t testing.TB, c *clustertest.Cluster, name, address string, args ...string) *replica {
	t.Helper()
	r := newReplica(t, c, name, address)
	r.start(t, args...)
	return r
}

// stop ends the role as a kubelet does.
func (r *replica) stop(t testing.TB) {
	t.Helper()
	if _, err := r.Stop(); err != nil {
		t.Fatal(err)
	}
}

// output is what the role has logged.
func (r *replica) output(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(r.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// every has the collectors refresh in this interval.
func every(interval time.Duration) []string {
	var flags []string
	for _, name := range append(collectors(), certificates, "certificate_bundles", "certificate_endpoints") {
		flags = append(flags, fmt.Sprintf("--collector.%s.interval=%s", name, interval))
	}
	return append(flags, "--collector.coredns.timeout=500ms",
		"--collector.certificate_bundles.timeout=500ms", "--collector.certificate_endpoints.timeout=500ms")
}

// certificates is the collector that always applies: a cluster without Secrets has none
// that is wrong.
const certificates = "certificate_secrets"

// collectors are those of the cluster role that act on the leader only, and look at
// CoreDNS, NodeLocal DNSCache and kube-proxy.
func collectors() []string {
	return []string{"coredns", "kubeproxy", "nodelocaldns", "nodelocaldns_pods"}
}

// succeeds is nil where the last refresh of the collector succeeded and its subject
// exists.
func succeeds(m exporter.Metrics, name string) error {
	return errors.Join(
		m.Expect(1, "ack_exporter_collector_success", "collector", name),
		m.Expect(1, "ack_exporter_collector_applicable", "collector", name))
}

// notApplicable is nil where the collector has found nothing to watch.
func notApplicable(m exporter.Metrics, name string) error {
	return errors.Join(
		m.Expect(1, "ack_exporter_collector_success", "collector", name),
		m.Expect(0, "ack_exporter_collector_applicable", "collector", name))
}

// fails is nil where the last refresh of the collector failed.
func fails(m exporter.Metrics, name string) error {
	return m.Expect(0, "ack_exporter_collector_success", "collector", name)
}

// failures is how often the collector has failed for this reason.
func failures(m exporter.Metrics, name, reason string) float64 {
	return m[exporter.Key("ack_exporter_collector_errors_total", "collector", name, "reason", reason)]
}

// absent is nil where none of the families has a series.
func absent(m exporter.Metrics, families ...string) error {
	for _, name := range families {
		for key := range m.Family(name) {
			return fmt.Errorf("there is %s", key)
		}
	}
	return nil
}
