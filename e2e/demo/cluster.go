//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/dnscluster"
	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/poll"
)

// seenTimeout is how long Prometheus may take to see what is there.
const seenTimeout = time.Minute

// clusters are the same cluster twice: with its DNS, and with its cloud.
type clusters struct {
	dns   *dnscluster.Cluster
	cloud *cloudcluster.Cluster
}

// cluster is the act about the cluster, its DNS and its cloud. It is left out where the
// programs have not been built, which takes minutes.
func (d *demo) cluster(ctx context.Context) error {
	binaries, err := cluster.Find(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		d.say("left out: what goes wrong in a cluster, its DNS and its cloud; `make e2e-binaries`, as this user, builds etcd, kube-apiserver and CoreDNS for it, once")
		return nil
	}
	if err != nil {
		return err
	}
	c, err := d.startCluster(ctx, binaries)
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, clusters) error{
		d.healthy, d.resolver, d.proxyConfig, d.listener, d.headroom, d.subscription,
	} {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// startCluster starts a cluster in a cloud, the cluster role, and the node role on one of
// its nodes.
func (d *demo) startCluster(ctx context.Context, binaries cluster.Binaries) (c clusters, err error) {
	d.say("starting a cluster: etcd, kube-apiserver, two replicas of CoreDNS, a resolver that they ask for names outside, and a simulation of the cloud's API")
	network, err := d.newSandbox(ctx)
	if err != nil {
		return c, err
	}
	c.dns, err = dnscluster.Start(ctx, dnscluster.Config{Binaries: binaries, Sandbox: network, Folder: d.folder})
	if err != nil {
		return c, err
	}
	d.atEnd(c.dns.Close)
	c.cloud, err = cloudcluster.Start(ctx, cloudcluster.Config{API: c.dns.Cluster, Sandbox: network})
	if err != nil {
		return c, err
	}
	d.atEnd(c.cloud.Close)
	if err := setBackendQuota(c, smallQuota); err != nil {
		return c, err
	}
	d.say("starting the exporter in the role cluster, with the rights that it ships, and on a node of that cluster")
	flags, err := c.dns.ClusterRoleFlags(ctx)
	if err != nil {
		return c, err
	}
	clusterRole, err := d.startExporter(ctx, network, node.Config{
		Role: node.RoleCluster, Wrapper: c.cloud.Wrapper(), Args: append(flags, c.cloud.Flags("2s")...),
	})
	if err != nil {
		return c, err
	}
	worker, err := d.newNode(ctx)
	if err != nil {
		return c, err
	}
	if flags, err = c.dns.Join(ctx, worker); err != nil {
		return c, err
	}
	root, err := d.newRoot("worker")
	if err != nil {
		return c, err
	}
	nodeRole, err := d.startExporter(ctx, worker, node.Config{Rootfs: string(root), Args: append(flags, withoutKernelLog)})
	if err != nil {
		return c, err
	}
	return c, d.stack.SetTargets(job,
		target(d.address.exporter, nodeName, "ack-exporter-demo"),
		target(nodeRole, dnscluster.Node(), "ack-exporter-worker"),
		target(clusterRole, dnscluster.OtherNode(), "ack-exporter-cluster"))
}

// healthy waits until Prometheus knows of all that could be wrong, and nothing is.
func (d *demo) healthy(ctx context.Context, _ clusters) error {
	for _, expect := range []struct {
		expr string
		is   float64
	}{
		{`count(up == 1)`, 3},
		{`sum(ack_coredns_endpoint_up)`, 10}, // five ways to ask each replica
		{`min(ack_coredns_corefile_check)`, 1},
		{`min(ack_kubeproxy_config_valid)`, 1},
		{`sum(ack_instance_known)`, cloudcluster.Nodes},
		{`count(ack_slb_info{service!=""})`, 3},
		{`sum(ack_slb_drift_changes_total)`, 0},
		{`max(cluster_node:ack_dns_probe_cluster_names_failed:ratio20s)`, 0},
		{`max(cluster_node:ack_dns_probe_external_names_failed:ratio20s)`, 0},
		{`count(ALERTS) or vector(0)`, 0},
	} {
		if err := d.awaitQuery(ctx, expect.expr, expect.is); err != nil {
			return err
		}
	}
	select {
	case e := <-d.events:
		return fmt.Errorf("with nothing wrong there was a notification: %v", e)
	default:
	}
	d.say("HEALTHY  both replicas of CoreDNS answer, and node %s gets answers for names inside and outside of the cluster; "+
		"in the cloud are the instances of its %d nodes, and three Services have load balancers as they want them: nothing fires", dnscluster.Node(), cloudcluster.Nodes)
	return nil
}

// awaitQuery waits until an expression gives one sample with this value.
func (d *demo) awaitQuery(ctx context.Context, expr string, want float64) error {
	return poll.Until(ctx, seenTimeout, func() error {
		samples, err := d.stack.Query(ctx, expr)
		if err == nil && (len(samples) != 1 || samples[0].Value != want) {
			err = fmt.Errorf("%s is %v, not %v", expr, samples, want)
		}
		return err
	})
}

// resolver has the resolver of the VPC hang.
func (d *demo) resolver(ctx context.Context, c clusters) error {
	const severity, external, vpc = "critical", "ACKDNSExternalFailing", "ACKVPCResolverFailing"
	for _, step := range []struct {
		what, status string
		do           func() error
	}{
		{"WRONG    the resolver of the VPC, which CoreDNS asks for names outside of the cluster, hangs", monitoring.Firing, c.dns.Upstream.Pause},
		{"MENDED   the resolver answers again; the alerts look back over 20 s", monitoring.Resolved, c.dns.Upstream.Resume},
	} {
		d.say("%s", step.what)
		if err := step.do(); err != nil {
			return err
		}
		if err := d.await(ctx, event{step.status, severity, external}, event{step.status, severity, vpc}); err != nil {
			return err
		}
	}
	return nil
}

// proxyConfig breaks the configuration of kube-proxy, which nobody notices until a
// node restarts.
func (d *demo) proxyConfig(ctx context.Context, c clusters) error {
	const severity, alert = "critical", "ACKKubeProxyConfigInvalid"
	for _, step := range []struct{ what, config, status string }{
		{
			"WRONG    in the ConfigMap of kube-proxy somebody writes udpTimeout: 10, without a unit",
			strings.Replace(dnscluster.GoodProxyConfig, "10s", "10", 1), monitoring.Firing,
		},
		{"MENDED   it is udpTimeout: 10s again", dnscluster.GoodProxyConfig, monitoring.Resolved},
	} {
		d.say("%s", step.what)
		if err := c.dns.SetProxyConfig(ctx, step.config); err != nil {
			return err
		}
		if err := d.await(ctx, event{step.status, severity, alert}); err != nil {
			return err
		}
	}
	return nil
}
