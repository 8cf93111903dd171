//go:build e2e

package clustertest

import (
	"os"
	"testing"

	"ack-exporter/e2e/internal/kubelet"
	"ack-exporter/e2e/internal/world"
)

// RequireNodes skips the test where no node can be made.
func RequireNodes(t testing.TB) {
	t.Helper()
	world.Require(t, os.Geteuid() == 0, "needs root")
	err := kubelet.Programs()
	world.Require(t, err == nil, "no node can be made; "+
		"apt-get install --no-install-recommends containerd runc containernetworking-plugins iptables: "+errorText(err))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Node makes a node of a cluster that has controllers, and waits until it is ready.
func (c *Cluster) Node(t testing.TB, config kubelet.Config) *kubelet.Node {
	t.Helper()
	config.Kubelet = Binaries(t).Kubelet
	n, err := kubelet.Start(t.Context(), c.Cluster, world.Scratch(), config)
	must(t, err)
	atEnd(t, n)
	return n
}
