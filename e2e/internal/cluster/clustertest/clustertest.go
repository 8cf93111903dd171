//go:build e2e

// Package clustertest runs clusters in tests: they end with the test, and end it
// where something in them fails. The methods are those of package cluster.
package clustertest

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/world"
)

// deadlineMargin is left of a test's time when a build is given up: an explanation
// is better than the panic of go test.
const deadlineMargin = 10 * time.Second

// Cluster is a running Kubernetes API.
type Cluster struct{ *cluster.Cluster }

// must ends the test where something has failed.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// atEnd ends what a test has started, and shows what it said where the test fails.
func atEnd(t testing.TB, p interface {
	Logs() string
	Close() error
},
) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Logs())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func untilDeadline(t testing.TB) (context.Context, context.CancelFunc) {
	if test, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, ok := test.Deadline(); ok {
			return context.WithDeadline(t.Context(), deadline.Add(-deadlineMargin))
		}
	}
	return context.WithCancel(t.Context())
}

// Binaries are the programs of a cluster. The first call on a machine builds them.
func Binaries(t testing.TB) cluster.Binaries {
	t.Helper()
	ctx, cancel := untilDeadline(t)
	defer cancel()
	b, err := cluster.Build(ctx)
	must(t, err)
	return b
}

// Binary is one program. The first call on a machine builds it.
func Binary(t testing.TB, program string) string {
	t.Helper()
	ctx, cancel := untilDeadline(t)
	defer cancel()
	path, err := cluster.Binary(ctx, program)
	must(t, err)
	return path
}

// Start starts a cluster in a world and waits until its API is ready.
func Start(t testing.TB, w *world.World, options cluster.Options) *Cluster {
	t.Helper()
	c, err := cluster.Start(t.Context(), w.Sandbox, Binaries(t), world.Scratch(), options)
	must(t, err)
	atEnd(t, c)
	return &Cluster{c}
}

// SetAPICertificate has the API server present another certificate, within seconds.
func (c *Cluster) SetAPICertificate(t testing.TB, pair *pki.Pair) {
	t.Helper()
	must(t, c.Cluster.SetAPICertificate(pair))
}

// StartAPI starts the API server again after StopAPI.
func (c *Cluster) StartAPI(t testing.TB) {
	t.Helper()
	must(t, c.Cluster.StartAPI(t.Context()))
}

// StopAPI ends the API server as a crash would.
func (c *Cluster) StopAPI(t testing.TB) {
	t.Helper()
	must(t, c.Cluster.StopAPI())
}

// PauseAPI keeps the API server from answering.
func (c *Cluster) PauseAPI(t testing.TB) {
	t.Helper()
	must(t, c.Cluster.PauseAPI())
}

// ResumeAPI is the end of PauseAPI.
func (c *Cluster) ResumeAPI(t testing.TB) {
	t.Helper()
	must(t, c.Cluster.ResumeAPI())
}

// Apply makes or changes the objects of a manifest.
func (c *Cluster) Apply(t testing.TB, manifest []byte) {
	t.Helper()
	must(t, c.Cluster.Apply(t.Context(), manifest))
}

// ApplyFile is Apply for a file.
func (c *Cluster) ApplyFile(t testing.TB, path string) {
	t.Helper()
	must(t, c.Cluster.ApplyFile(t.Context(), path))
}

// Put is Apply for typed objects.
func (c *Cluster) Put(t testing.TB, objects ...runtime.Object) {
	t.Helper()
	must(t, c.Cluster.Put(t.Context(), objects...))
}

// Delete removes objects that are there.
func (c *Cluster) Delete(t testing.TB, objects ...runtime.Object) {
	t.Helper()
	must(t, c.Cluster.Delete(t.Context(), objects...))
}

// Load fills a cluster.
func (c *Cluster) Load(t testing.TB, scale cluster.Scale) {
	t.Helper()
	must(t, c.Cluster.Load(t.Context(), scale))
}

// Requests returns what a user has asked for since the cluster was started.
func (c *Cluster) Requests(t testing.TB, user string) []cluster.Request {
	t.Helper()
	requests, err := c.Cluster.Requests(user)
	must(t, err)
	return requests
}

// Kubeconfig writes a kubeconfig for a user and returns its path.
func (c *Cluster) Kubeconfig(t testing.TB, user string, groups ...string) string {
	t.Helper()
	path, err := c.Cluster.Kubeconfig(user, groups...)
	must(t, err)
	return path
}

// ServiceAccountKubeconfig writes a kubeconfig of a ServiceAccount and returns its
// path.
func (c *Cluster) ServiceAccountKubeconfig(t testing.TB, namespace, name string) string {
	t.Helper()
	path, err := c.Cluster.ServiceAccountKubeconfig(t.Context(), namespace, name)
	must(t, err)
	return path
}

// InCluster gives the programs of a world what a kubelet gives those of a pod.
func (c *Cluster) InCluster(t testing.TB, w *world.World, namespace, account string) (environment []string) {
	t.Helper()
	environment, err := c.Cluster.InCluster(t.Context(), w.Sandbox, namespace, account)
	must(t, err)
	return environment
}

// Link is the cable between a world and the cluster's network.
type Link struct{ link *cluster.Link }

// Join connects a world to the network of the cluster.
func (c *Cluster) Join(t testing.TB, w *world.World, address string) *Link {
	t.Helper()
	link, err := c.Cluster.Join(t.Context(), w.Sandbox, address)
	must(t, err)
	return &Link{link}
}

// Cut is what happens when a node loses its network.
func (l *Link) Cut(t testing.TB) {
	t.Helper()
	must(t, l.link.Cut(t.Context()))
}

// Restore is the end of Cut.
func (l *Link) Restore(t testing.TB) {
	t.Helper()
	must(t, l.link.Restore(t.Context()))
}

// Balance has a world that has joined spread connections to a cluster IP over the
// backends.
func Balance(t testing.TB, w *world.World, clusterIP string, backends ...string) {
	t.Helper()
	must(t, cluster.Balance(t.Context(), w.Sandbox, clusterIP, backends...))
}

// StateMetrics starts kube-state-metrics for these resources in a world that has
// joined. The first call on a machine builds it.
func (c *Cluster) StateMetrics(t testing.TB, w *world.World, resources ...string) *cluster.StateMetrics {
	t.Helper()
	s, err := c.Cluster.StateMetrics(t.Context(), w.Sandbox, Binary(t, "kube-state-metrics"), resources...)
	must(t, err)
	atEnd(t, s)
	return s
}
