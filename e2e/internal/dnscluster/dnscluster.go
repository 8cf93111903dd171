//go:build e2e

// Package dnscluster makes clusters in which DNS is as it should be: a resolver of
// the VPC, two replicas of CoreDNS on two nodes, the Service kube-dns in front of
// them, and the rights and the flags with which both roles of the exporter look at
// all that. What goes wrong is up to the caller.
package dnscluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/poll"
	"ack-exporter/e2e/internal/sandbox"
)

const (
	// namespace and account are those of the shipped rights.
	namespace = "ack-exporter"
	account   = "ack-exporter-cluster"
	// targetsMap is the ConfigMap for the DNS probes, targetsKey what it has.
	targetsMap = "ack-exporter-dns"
	targetsKey = "targets.json"

	firstReplica  = "10.244.1.2"
	secondReplica = "10.244.1.3"
	// upstreamAddress is that of a resolver of the VPC, which knows externalName.
	upstreamAddress = "100.100.2.136"
	externalName    = "www.example.com"

	// The pace of the collectors. Questions to a replica that does not answer end
	// before the next ones.
	interval = "2s"
	timeout  = "700ms"

	// targetsTimeout is how long the cluster role may take to see the cluster.
	targetsTimeout = 3 * time.Minute
)

// ShortAlerts is a _config of the mixin that shortens, on top of monitoring.Short,
// the alerts on DNS. The replicas of CoreDNS take some seconds to follow the
// ConfigMap, as they do in a cluster.
const ShortAlerts = `{
	// A pass in which nothing answers takes longer than the interval: few fit into the windows.
	dnsProbes+: { window: '10s', longWindow: '20s', questions: 2 },
	alerts+:
		local windows = { longWindow: '20s', shortWindow: '10s', age: '5s' };
		local burning = {
			critical+: windows + { slow+: { shortWindow: '10s', age: '5s' } },
			// So that the first step of which people hear is the second.
			warning+: windows + { 'for': '12s' },
		};
		{
			ACKDNSFailing+: burning,
			ACKDNSExternalFailing+: burning,
			// Its second step ends before the first, of which people would hear then.
			ACKVPCResolverFailing+: { warning+: { 'for': '10m' } },
			ACKCoreDNSEndpointsMissing+: { warning+: { 'for': '12s' } },
			ACKCoreDNSReplicaSilent+: { warning+: { since: '4s', 'for': '5s' } },
			ACKCoreDNSReplicaNotReady+: { warning+: { since: '4s' } },
			ACKCoreDNSCorefileNotLoaded+: { warning+: { 'for': '1m' } },
			// On a busy machine such a pass takes longer than it may; and a configuration that cannot be read has an
			// alert of its own, which comes before this one.
			ACKExporterCollectorFailing+: { warning+: { 'for': '1m' } },
		},
}`

// Config says what to run, and where.
type Config struct {
	Binaries cluster.Binaries
	// Sandbox is that of the API. What else there is gets sandboxes of its own.
	Sandbox *sandbox.Sandbox
	// Folder gets files until Close.
	Folder string
}

// Cluster is such a cluster.
type Cluster struct {
	*cluster.Cluster
	// Upstream is the resolver of the VPC, Replicas are those of CoreDNS.
	Upstream *cluster.CoreDNS
	Replicas []*cluster.CoreDNS
	// Pods are the replicas as the API knows them.
	Pods []*corev1.Pod

	folder string
	// cleanup is done in reverse order by Close.
	cleanup []func() error
}

// Node is the name of the first node, on which the node role can run.
func Node() string { return cluster.Node(0).Name }

// OtherNode is the name of the second node.
func OtherNode() string { return cluster.Node(1).Name }

// Start starts it and waits until the servers listen.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	api, err := cluster.Start(ctx, config.Sandbox, config.Binaries, config.Folder, cluster.Options{})
	if err != nil {
		return nil, err
	}
	c := &Cluster{Cluster: api, folder: config.Folder, cleanup: []func() error{api.Close}}
	for _, step := range []func(context.Context) error{c.GrantShipped, c.startServers, c.register} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func (c *Cluster) startServers(ctx context.Context) error {
	var err error
	if c.Upstream, err = c.startServer(ctx, cluster.CoreDNSOptions{
		Address:  upstreamAddress,
		Corefile: ".:53 {\n  hosts {\n    203.0.113.5 " + externalName + "\n  }\n}\n",
	}); err != nil {
		return err
	}
	for _, address := range []string{firstReplica, secondReplica} {
		replica, err := c.startServer(ctx, cluster.CoreDNSOptions{
			Address: address, Corefile: GoodCorefile(), Nameservers: []string{upstreamAddress},
		})
		if err != nil {
			return err
		}
		c.Replicas = append(c.Replicas, replica)
	}
	return nil
}

func (c *Cluster) startServer(ctx context.Context, options cluster.CoreDNSOptions) (*cluster.CoreDNS, error) {
	pod, err := sandbox.New(ctx)
	if err != nil {
		return nil, err
	}
	c.cleanup = append(c.cleanup, pod.Close)
	server, err := c.CoreDNS(ctx, pod, options)
	if err != nil {
		return nil, err
	}
	c.cleanup = append(c.cleanup, server.Close)
	return server, nil
}

// register writes what controllers, kubelets and people would.
func (c *Cluster) register(ctx context.Context) error {
	for number, address := range []string{firstReplica, secondReplica} {
		pod := dnsPod(number, address)
		c.Pods = append(c.Pods, pod)
		if err := c.Put(ctx, cluster.Node(number), pod); err != nil {
			return err
		}
	}
	return c.Put(ctx, Service(), cluster.EndpointSlice(Service(), c.Pods...), deployment(),
		configMap("coredns", "Corefile", GoodCorefile()), configMap(ProxyConfigMap, "config.conf", GoodProxyConfig))
}

// Close ends all that Start has started.
func (c *Cluster) Close() error {
	var errs []error
	for _, f := range slices.Backward(c.cleanup) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Logs is what the servers said last.
func (c *Cluster) Logs() string {
	logs := []string{c.Cluster.Logs()}
	for _, server := range append([]*cluster.CoreDNS{c.Upstream}, c.Replicas...) {
		logs = append(logs, server.Logs())
	}
	return strings.Join(logs, "\n")
}

// ClusterRoleFlags are those with which the cluster role looks at the cluster, from
// the sandbox of the API.
func (c *Cluster) ClusterRoleFlags(ctx context.Context) ([]string, error) {
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, namespace, account)
	if err != nil {
		return nil, err
	}
	flags := []string{"--kubeconfig=" + kubeconfig, "--namespace=" + namespace, "--collector.coredns.timeout=" + timeout}
	for _, collector := range []string{"coredns", "kubeproxy", "nodelocaldns", "nodelocaldns_pods", "certificate_secrets"} {
		flags = append(flags, "--collector."+collector+".interval="+interval)
	}
	return flags, nil
}

// Join makes a sandbox the first node, and returns the flags with which the node
// role probes DNS there. The cluster role must run: it tells which servers to probe.
func (c *Cluster) Join(ctx context.Context, s *sandbox.Sandbox) (flags []string, err error) {
	if _, err := c.Cluster.Join(ctx, s, cluster.NodeAddress(0)); err != nil {
		return nil, err
	}
	// kube-proxy, as far as the Service kube-dns goes.
	if err := cluster.Balance(ctx, s, cluster.DNSAddress, firstReplica, secondReplica); err != nil {
		return nil, err
	}
	targets, err := c.mountTargets(ctx)
	if err != nil {
		return nil, err
	}
	return []string{
		"--collector.dnsprobe.interval=" + interval, "--collector.dnsprobe.timeout=" + timeout,
		"--collector.dnsprobe.targets-file=" + targets,
		"--collector.dnsprobe.vpc-resolver=" + upstreamAddress, "--collector.dnsprobe.external-name=" + externalName,
	}, nil
}

// mountTargets waits until the cluster role tells the nodes which servers to probe,
// and puts that where the node role sees it, as a kubelet does.
func (c *Cluster) mountTargets(ctx context.Context) (path string, err error) {
	path = filepath.Join(c.folder, targetsKey)
	return path, poll.Until(ctx, targetsTimeout, func() error {
		m, err := c.Client().CoreV1().ConfigMaps(namespace).Get(ctx, targetsMap, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("the targets of the DNS probes: %w", err)
		}
		return os.WriteFile(path, []byte(m.Data[targetsKey]), 0o644)
	})
}

// SetCorefile changes the ConfigMap of CoreDNS. The replicas follow.
func (c *Cluster) SetCorefile(ctx context.Context, corefile string) error {
	errs := []error{c.Put(ctx, configMap("coredns", "Corefile", corefile))}
	for _, replica := range c.Replicas {
		errs = append(errs, replica.SetCorefile(corefile))
	}
	return errors.Join(errs...)
}

// SetProxyConfig changes the ConfigMap of kube-proxy.
func (c *Cluster) SetProxyConfig(ctx context.Context, config string) error {
	return c.Put(ctx, configMap(ProxyConfigMap, "config.conf", config))
}
