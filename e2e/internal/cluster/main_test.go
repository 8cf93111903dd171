//go:build e2e

package cluster_test

import (
	"testing"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

// start starts a cluster in a world of its own.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	return cluster.Start(t, world.New(t), cluster.Options{})
}

// TestBinaries builds the programs where they are not in the cache.
func TestBinaries(t *testing.T) {
	for _, program := range []string{"etcd", "kube-apiserver", "coredns"} {
		t.Log(cluster.Binary(t, program))
	}
}
