//go:build e2e

// Package cloudclustertest gives tests clusters in a simulated cloud that end with them.
package cloudclustertest

import (
	"testing"

	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

// Start starts a cluster in a world, and returns it with the flags of its cluster role.
func Start(t testing.TB, w *world.World) (c *cloudcluster.Cluster, flags []string) {
	t.Helper()
	api := clustertest.Start(t, w, cluster.Options{})
	c, err := cloudcluster.Start(t.Context(), cloudcluster.Config{API: api.Cluster, Sandbox: w.Sandbox})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if flags, err = c.ClusterRoleFlags(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, flags
}
