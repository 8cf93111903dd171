//go:build e2e

package clustertest_test

import (
	"testing"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

// start starts a cluster in a world of its own.
func start(t *testing.T) *clustertest.Cluster {
	t.Helper()
	return clustertest.Start(t, world.New(t), cluster.Options{})
}

// TestBinaries builds the programs where they are not in the cache.
func TestBinaries(t *testing.T) {
	t.Logf("%+v, %s", clustertest.Binaries(t), clustertest.Binary(t, "helm"))
}
