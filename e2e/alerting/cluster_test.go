//go:build e2e

package alerting

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/dnscluster"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

// dnsCluster is a cluster in which nothing is wrong at first. The cluster role asks
// its replicas of CoreDNS, and a node probes them.
type dnsCluster struct{ *dnscluster.Cluster }

// TestCluster makes wrong what is about the cluster as a whole: first what is
// written in its API, then CoreDNS itself.
func TestCluster(t *testing.T) {
	_, err := exec.LookPath("nft")
	world.Require(t, err == nil, fmt.Sprintf("nft is missing: %v", err))
	w := world.New(t)
	// Not beside tests whose seconds a build would make longer.
	binaries := clustertest.Binaries(t)
	t.Parallel()
	c := newDNSCluster(t, w, binaries)
	c.openShop(t)
	c.startClusterRole(t, w)
	nodeTarget := c.startNodeRole(t)
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config:      dnscluster.ShortAlerts,
		Targets:     []monitoringtest.Endpoint{nodeTarget},
		ClusterRole: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, secondNode, "cluster-1")},
	})
	// It is not for lack of data that nothing fires.
	s.AwaitQuery(`sum(ack_coredns_endpoint_up)`, 10)
	s.AwaitQuery(`min(ack_coredns_corefile_check)`, 1)
	s.AwaitQuery(`sum(ack_certificate_locations{source="secret"})`, 1)
	s.AwaitQuery(`sum(ack_dns_probe_targets{target_kind=~"cluster_dns|coredns_pod"})`, 3)
	s.AwaitQuery(`max(cluster_node:ack_dns_probe_cluster_names_failed:ratio20s)`, 0)
	s.RequireSilence()

	c.breakCorefile(t, s)
	c.breakService(t, s)
	c.breakEndpoints(t, s)
	c.breakProxyConfig(t, s)
	c.breakShop(t, s)
	c.pauseReplicas(t, s)
	s.Done()
}

func newDNSCluster(t *testing.T, w *world.World, binaries cluster.Binaries) *dnsCluster {
	t.Helper()
	c, err := dnscluster.Start(t.Context(), dnscluster.Config{Binaries: binaries, Sandbox: w.Sandbox, Folder: t.TempDir()})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return &dnsCluster{c}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes objects to the API.
func (c *dnsCluster) put(t *testing.T, objects ...runtime.Object) {
	t.Helper()
	must(t, c.Put(t.Context(), objects...))
}

// startClusterRole starts it in a world, and waits until it sees the cluster.
func (c *dnsCluster) startClusterRole(t *testing.T, w *world.World) {
	t.Helper()
	flags, err := c.ClusterRoleFlags(t.Context())
	must(t, err)
	p := exporter.Start(t, w, exporter.Config{Role: node.RoleCluster, Args: flags})
	p.Await(t, patience, func(m exporter.Metrics) error {
		return errors.Join(
			m.Expect(1, "ack_exporter_leader"),
			m.Expect(2, "ack_coredns_service_endpoints", "state", "ready"),
			m.Expect(1, "ack_kubeproxy_config_valid", "configmap", dnscluster.ProxyConfigMap))
	})
}

// startNodeRole starts it on the first node, and tells where to scrape it.
func (c *dnsCluster) startNodeRole(t *testing.T) monitoringtest.Endpoint {
	t.Helper()
	w := healthyNode(t)
	flags, err := c.Join(t.Context(), w.Sandbox)
	must(t, err)
	address := cluster.NodeAddress(0) + ":9777"
	ready(t, w, exporter.Config{Address: address, Args: append(flags, withoutKernelLog)})
	return monitoringtest.Target(address, dnscluster.Node(), "pod-1")
}

// breakCorefile adds a plugin that ACK advises against. The replicas follow.
func (c *dnsCluster) breakCorefile(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKCoreDNSCorefileCheckFailed", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"check": "no_autopath"},
		Description: `The Corefile in the ConfigMap coredns does not pass the check no_autopath: it has the plugin autopath\.`,
	}
	c.setCorefile(t, strings.Replace(dnscluster.GoodCorefile(), "    errors\n", "    errors\n    autopath @kubernetes\n", 1))
	s.Fires(alert)
	c.setCorefile(t, dnscluster.GoodCorefile())
	s.Resolves(alert)
}

func (c *dnsCluster) setCorefile(t *testing.T, corefile string) {
	t.Helper()
	must(t, c.SetCorefile(t.Context(), corefile))
}

// breakService has each client always ask the same replica.
func (c *dnsCluster) breakService(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKCoreDNSSessionAffinity", Severity: monitoringtest.Warning,
		Description: `The Service kube-dns has the session affinity ClientIP\.`,
	}
	sticky := dnscluster.Service()
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	c.put(t, sticky)
	s.Fires(alert)
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityNone
	c.put(t, sticky)
	s.Resolves(alert)
}

// breakEndpoints leaves the Service without replicas: that is for the pager.
func (c *dnsCluster) breakEndpoints(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKCoreDNSEndpointsMissing", Severity: monitoringtest.Critical,
		Description: `The Service kube-dns has 0 ready endpoints, and 0 that are not ready\.`,
	}
	warning := alert
	warning.Severity = monitoringtest.Warning
	c.put(t, cluster.EndpointSlice(dnscluster.Service()))
	s.Fires(alert)
	s.AwaitSuppressed(warning)
	c.put(t, cluster.EndpointSlice(dnscluster.Service(), c.Pods...))
	s.Resolves(alert)
}

// breakProxyConfig misspells a field of the configuration of kube-proxy.
func (c *dnsCluster) breakProxyConfig(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKKubeProxyConfigIgnored", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"configmap": dnscluster.ProxyConfigMap},
		Description: `Fields in the ConfigMap kube-proxy-worker that kube-proxy ignores: 1\. They are misspelt, indented wrongly, or there twice\.`,
	}
	must(t, c.SetProxyConfig(t.Context(), dnscluster.GoodProxyConfig+"bindAdress: 0.0.0.0\n"))
	s.Fires(alert)
	must(t, c.SetProxyConfig(t.Context(), dnscluster.GoodProxyConfig))
	s.Resolves(alert)
}

// pauseReplicas has all replicas hang: the kubelet would still say that they run.
// People hear of the node, and of each way of asking a replica.
func (c *dnsCluster) pauseReplicas(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	failing := monitoringtest.Alert{
		Name: "ACKDNSFailing", Severity: monitoringtest.Critical, Node: dnscluster.Node(),
		Description: `\d\S*% of the lookups of an in-cluster name through the DNS address of the cluster failed on node ` +
			dnscluster.Node() + ` within the last 20s, most with the reason timeout\. Of its other probes these fail: coredns_pod \(\S+%\)\.`,
	}
	warning := failing
	warning.Severity = monitoringtest.Warning
	alerts := []monitoringtest.Alert{failing}
	for _, check := range []string{"dns_udp", "dns_tcp", "health", "ready"} {
		alerts = append(alerts, monitoringtest.Alert{
			Name: "ACKCoreDNSReplicaSilent", Severity: monitoringtest.Warning,
			Labels: map[string]string{"check": check},
			Description: fmt.Sprintf(`Replicas of CoreDNS that, asked directly, fail the check %s: coredns-0 on node %s, coredns-1 on node %s\.`,
				check, c.Pods[0].Spec.NodeName, c.Pods[1].Spec.NodeName),
		})
	}
	for _, replica := range c.Replicas {
		must(t, replica.Pause())
	}
	s.Fires(alerts...)
	s.AwaitSuppressed(warning)
	for _, replica := range c.Replicas {
		must(t, replica.Resume())
	}
	s.Resolves(alerts...)
}
