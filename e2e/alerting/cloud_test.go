//go:build e2e

package alerting

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/cloudcluster/cloudclustertest"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

// cloudScene is a cluster in a simulated cloud in which nothing is wrong at first.
type cloudScene struct{ *cloudcluster.Cluster }

// TestCloud makes wrong what only the API of the cloud can tell.
func TestCloud(t *testing.T) {
	w := world.New(t)
	// Not beside tests whose seconds a build would make longer.
	clustertest.Binaries(t)
	t.Parallel()
	c := newCloudScene(t, w)
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config:      cloudcluster.ShortAlerts,
		ClusterRole: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, secondNode, "cluster-1")},
	})
	// It is not for lack of data that nothing fires.
	s.AwaitQuery(`sum(ack_instance_known)`, cloudcluster.Nodes)
	s.AwaitQuery(`sum(ack_node_ready)`, cloudcluster.Nodes)
	s.AwaitQuery(`count(ack_slb_info)`, 4)
	s.AwaitQuery(`sum(ack_slb_drift_changes_total)`, 0)
	s.AwaitQuery(`count(ack_vpc_route_entries)`, 1)
	s.AwaitQuery(`sum(ack_certificate_locations{source="slb"})`, 1)
	s.AwaitQuery(`sum(ack_slb_events_left_out)`, 0)
	s.RequireSilence()

	c.breakMuch(t, s)
	c.reclaim(t, s)
	s.Done()
}

func newCloudScene(t *testing.T, w *world.World) *cloudScene {
	t.Helper()
	c, flags := cloudclustertest.Start(t, w)
	p := exporter.Start(t, w, exporter.Config{Role: node.RoleCluster, Wrapper: c.Wrapper(), Args: append(flags, c.Flags("2s")...)})
	p.AwaitReady(t, patience)
	return &cloudScene{c}
}

// fault is something wrong of which people hear.
type fault struct {
	alert monitoringtest.Alert
	// suppressed is another step of the alert, of which they do not.
	suppressed        *monitoringtest.Alert
	doWrong, doMended func() error
}

// breakMuch makes wrong what has nothing to do with each other, at once, and mends it.
func (c *cloudScene) breakMuch(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	faults := []fault{c.expiry(), c.quota(), c.listener(t), c.addresses(), c.arrears(t)}
	var alerts []monitoringtest.Alert
	for _, f := range faults {
		must(t, f.doWrong())
		alerts = append(alerts, f.alert)
	}
	s.Fires(alerts...)
	for _, f := range faults {
		if f.suppressed != nil {
			s.AwaitSuppressed(*f.suppressed)
		}
	}
	for _, f := range faults {
		must(t, f.doMended())
	}
	s.Resolves(alerts...)
}

// warningOf is the first step of an alert that has two.
func warningOf(alert monitoringtest.Alert) *monitoringtest.Alert {
	alert.Severity = monitoringtest.Warning
	return &alert
}

// changed changes a row of the account, and back.
func changed[T any](change func(key string, change func(*T)) error, key string, wrong, mended func(*T)) (doWrong, doMended func() error) {
	return func() error { return change(key, wrong) }, func() error { return change(key, mended) }
}

// expiry lets a subscription end tomorrow, without anybody to renew it.
func (c *cloudScene) expiry() fault {
	name := cloudcluster.NodeName(cloudcluster.Subscription)
	f := fault{alert: monitoringtest.Alert{
		Name: "ACKInstanceExpiresSoon", Severity: monitoringtest.Critical, Node: name,
		Description: `The subscription of the instance of node ` + name + ` ends at \S+ \S+ \S+ UTC, and has not been renewed yet\.`,
	}}
	f.suppressed = warningOf(f.alert)
	id := cloudcluster.InstanceID(cloudcluster.Subscription)
	before, _ := c.Cloud.Instances.Get(id)
	f.doWrong, f.doMended = changed(c.Cloud.Instances.Change, id,
		func(i *cloud.Instance) { i.Expiry, i.Renewal = time.Now().Add(20*time.Hour), "NotRenewal" },
		func(i *cloud.Instance) { *i = before })
	return f
}

// quota leaves room for two more nodes only.
func (c *cloudScene) quota() fault {
	f := fault{alert: monitoringtest.Alert{
		Name: "ACKSLBHeadroomLow", Severity: monitoringtest.Warning, Labels: map[string]string{"quota": "backend_servers"},
		Description: `After 2 more nodes an SLB instance has as many backends as it may have\.`,
	}}
	f.doWrong, f.doMended = changed(c.Cloud.Quotas.Change, cloud.QuotaKey("slb", cloudcluster.QuotaBackends),
		func(q *cloud.Quota) { q.Total = 2*cloudcluster.Nodes + 4 },
		func(q *cloud.Quota) { q.Total = 200 })
	return f
}

// listener has somebody delete a listener in the console.
func (c *cloudScene) listener(t *testing.T) fault {
	id, err := c.LoadBalancer(t.Context(), cloudcluster.Web)
	must(t, err)
	key := cloud.ListenerKey(id, "http", 80)
	before, ok := c.Cloud.Listeners.Get(key)
	if !ok {
		t.Fatalf("there is no listener %s", key)
	}
	return fault{
		alert: monitoringtest.Alert{
			Name: "ACKSLBListenersDiffer", Severity: monitoringtest.Critical,
			Labels:      map[string]string{"load_balancer_id": id, "kind": "listener_missing"},
			Description: `SLB instance ` + id + ` has no listener for ports of a Service \(1\)\. Services: shop/web\.`,
		},
		doWrong:  func() error { c.Cloud.Listeners.Remove(key); return nil },
		doMended: func() error { c.Cloud.Listeners.Set(before); return nil },
	}
}

// addresses uses the vSwitch of the pods up.
func (c *cloudScene) addresses() fault {
	before, _ := c.Cloud.VSwitches.Get(cloudcluster.PodVSwitch)
	f := fault{alert: monitoringtest.Alert{
		Name: "ACKPodAddressesShort", Severity: monitoringtest.Critical, Labels: map[string]string{"zone": before.ZoneID},
		Description: `Of the addresses that the vSwitches of pods have in zone ` + before.ZoneID + `, 0% are free\.`,
	}}
	f.suppressed = warningOf(f.alert)
	f.doWrong, f.doMended = changed(c.Cloud.VSwitches.Change, cloudcluster.PodVSwitch,
		func(v *cloud.VSwitch) { v.Available = 0 },
		func(v *cloud.VSwitch) { *v = before })
	return f
}

// arrears has the cloud controller manager fail, because nobody has paid.
func (c *cloudScene) arrears(t *testing.T) fault {
	said := time.Now()
	return fault{
		alert: monitoringtest.Alert{
			Name: "ACKCloudAccountInArrears", Severity: monitoringtest.Critical,
			Description: `Services whose load balancers cannot be set up, because the account is in arrears or its balance is too low: 1\.`,
		},
		doWrong: func() error {
			return c.Put(t.Context(), cloudcluster.Event(cloudcluster.Cart, corev1.EventTypeWarning, "SyncLoadBalancerFailed",
				"Error syncing load balancer: SDK.ServerError Message: The Account is arrearage.", said))
		},
		doMended: func() error {
			return c.Put(t.Context(), cloudcluster.Event(cloudcluster.Cart, corev1.EventTypeNormal, "EnsuredLoadBalancer",
				"Ensured load balancer", time.Now().Add(time.Second)))
		},
	}
}

// reclaim has the cloud take a spot instance back. That it stops is no news then.
func (c *cloudScene) reclaim(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	id, name := cloudcluster.InstanceID(cloudcluster.Spot), cloudcluster.NodeName(cloudcluster.Spot)
	reclaiming := monitoringtest.Alert{
		Name: "ACKInstanceReclaiming", Severity: monitoringtest.Warning, Node: name,
		Description: `The instance of node ` + name + ` is locked to be recycled\.`,
	}
	must(t, c.Cloud.Instances.Change(id, func(i *cloud.Instance) { i.Locks = []string{"Recycling"} }))
	s.Fires(reclaiming)
	must(t, c.Cloud.Instances.Change(id, func(i *cloud.Instance) { i.Status = "Stopped" }))
	s.AwaitSuppressed(monitoringtest.Alert{Name: "ACKInstanceNotRunning", Severity: monitoringtest.Warning, Node: name})
	// It runs again for longer than the alert about that is kept, before the lock goes.
	must(t, c.Cloud.Instances.Change(id, func(i *cloud.Instance) { i.Status = "Running" }))
	s.AwaitQuery(`count(ALERTS{alertname="ACKInstanceNotRunning"}) or vector(0)`, 0)
	must(t, c.Cloud.Instances.Change(id, func(i *cloud.Instance) { i.Locks = nil }))
	s.Resolves(reclaiming)
}
