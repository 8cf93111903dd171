//go:build e2e

package main

import (
	"context"
	"time"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/monitoring"
)

// Quotas of backends of a load balancer: a young account's, and what it gets where it asks.
const (
	smallQuota = 24
	largeQuota = 200
)

// act is something that happens in the cloud, and what follows from it.
type act struct {
	what, status string
	do           func(context.Context) error
}

// playActs plays acts about one alert, one after the other.
func (d *demo) playActs(ctx context.Context, severity, alert string, acts ...act) error {
	for _, a := range acts {
		d.say("%s", a.what)
		if err := a.do(ctx); err != nil {
			return err
		}
		if err := d.await(ctx, event{a.status, severity, alert}); err != nil {
			return err
		}
	}
	return nil
}

// listener has somebody change by hand what belongs to the cloud controller manager.
func (d *demo) listener(ctx context.Context, c clusters) error {
	id, err := c.cloud.LoadBalancer(ctx, cloudcluster.Web)
	if err != nil {
		return err
	}
	return d.playActs(ctx, "critical", "ACKLoadBalancerListenersDiffer",
		act{"WRONG    in the console of the cloud somebody deletes the listener 80 of the load balancer of the Service shop/web", monitoring.Firing, func(context.Context) error {
			c.cloud.Cloud.Listeners.Remove(cloud.ListenerKey(id, "http", 80))
			return nil
		}},
		act{"MENDED   the cloud controller manager looks at the Service again, and makes the listener anew", monitoring.Resolved, c.cloud.Ensure})
}

// headroom lets a Service grow until the next nodes have no place behind its load
// balancer: all is well until somebody adds them.
func (d *demo) headroom(ctx context.Context, c clusters) error {
	return d.playActs(ctx, "warning", "ACKSLBHeadroomLow",
		act{"WRONG    the Service shop/web gets two more ports, so that each node is a backend of its load balancer four times; the account may have 24 backends on one", monitoring.Firing, func(ctx context.Context) error {
			return c.cloud.AddPorts(ctx, cloudcluster.Web, 90, 91)
		}},
		act{"MENDED   the quota is raised, before a node is added in vain", monitoring.Resolved, func(context.Context) error {
			return setBackendQuota(c, largeQuota)
		}})
}

// setBackendQuota is how many backends a load balancer may have.
func setBackendQuota(c clusters, total float64) error {
	return c.cloud.Cloud.Quotas.Change(cloud.QuotaKey("slb", cloudcluster.QuotaBackends), func(q *cloud.Quota) { q.Total = total })
}

// subscription lets the time of a node run out.
func (d *demo) subscription(ctx context.Context, c clusters) error {
	ending := func(end time.Time, renewal string) func(context.Context) error {
		return func(context.Context) error {
			return c.cloud.Cloud.Instances.Change(cloudcluster.InstanceID(cloudcluster.Subscription), func(i *cloud.Instance) { i.Expiry, i.Renewal = end, renewal })
		}
	}
	const most = 20 * time.Hour
	return d.playActs(ctx, "critical", "ACKInstanceExpiresSoon",
		act{"WRONG    the subscription of the instance of node " + cloudcluster.NodeName(cloudcluster.Subscription) + " ends tomorrow, and does not renew itself", monitoring.Firing, ending(time.Now().Add(most), "NotRenewal")},
		act{"MENDED   it is paid for six months more, and renews itself then", monitoring.Resolved, ending(time.Now().AddDate(0, 6, 0), "AutoRenewal")})
}
