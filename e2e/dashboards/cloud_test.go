//go:build e2e

package dashboards

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/cloudcluster/cloudclustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

// cloudAddress is where the cluster role listens.
const cloudAddress = "127.0.0.1:9779"

// troubledCloud is a cluster in a simulated cloud, of which the cluster role tells: much of
// what dashboards can show of a cloud is wrong there.
func troubledCloud(t *testing.T, w *world.World) {
	t.Helper()
	c, flags := cloudclustertest.Start(t, w)
	exporter.Start(t, w, exporter.Config{
		Role: node.RoleCluster, Address: cloudAddress, Wrapper: c.Wrapper(), Args: append(flags, c.Flags("2s")...),
	}).AwaitReady(t, patience)

	change := func(number int, change func(*cloud.Instance)) {
		must(t, c.Cloud.Instances.Change(cloudcluster.InstanceID(number), change))
	}
	change(cloudcluster.Subscription, func(i *cloud.Instance) {
		i.Expiry, i.Renewal = time.Now().Add(50*time.Hour), "NotRenewal"
		i.Events = []cloud.SystemEvent{{ID: "e-1", Type: "SystemMaintenance.Reboot", Status: "Scheduled", NotBefore: time.Now().Add(30 * time.Hour)}}
	})
	change(cloudcluster.Spot, func(i *cloud.Instance) { i.Locks, i.Status = []string{"Recycling"}, "Stopped" })
	id, err := c.LoadBalancer(t.Context(), cloudcluster.Web)
	must(t, err)
	c.Cloud.Listeners.Remove(cloud.ListenerKey(id, "http", 80))
	must(t, c.Cloud.VSwitches.Change(cloudcluster.PodVSwitch, func(v *cloud.VSwitch) { v.Available = 3 }))
	must(t, c.Put(t.Context(), cloudcluster.Event(cloudcluster.Cart, corev1.EventTypeWarning, "SyncLoadBalancerFailed",
		"Error syncing load balancer: SDK.ServerError Message: The Account is arrearage.", time.Now())))
	// A right that somebody takes away while everything is known.
	c.Cloud.Forbid("slb:DescribeServerCertificates")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
