//go:build e2e

package alerting

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
)

const (
	system = "kube-system"
	// clusterNamespace and clusterAccount are those of the shipped rights.
	clusterNamespace = "ack-exporter"
	clusterAccount   = "ack-exporter-cluster"
	clusterRights    = repository + "/deploy/rbac/cluster.yaml"
	// targetsMap is the ConfigMap for the DNS probes.
	targetsMap = "ack-exporter-dns"

	dnsAddressA = "10.244.1.2"
	dnsAddressB = "10.244.1.3"
	// upstreamAddress is that of a resolver of the VPC, which knows externalName.
	upstreamAddress = "100.100.2.136"
	externalName    = "www.example.com"

	// The pace of the collectors. Questions to a replica that does not answer end
	// before the next ones.
	clusterInterval = "2s"
	clusterTimeout  = "700ms"
)

// clusterConfig shortens what monitoring.Short leaves as it is. The replicas of
// CoreDNS take some seconds to follow the ConfigMap, as they do in a cluster.
const clusterConfig = `{
	dnsProbes+: { window: '10s', longWindow: '20s' },
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
			ACKCoreDNSEndpointsMissing+: { warning+: { 'for': '12s' } },
			ACKCoreDNSReplicaSilent+: { warning+: { since: '4s', 'for': '5s' } },
			ACKCoreDNSReplicaNotReady+: { warning+: { since: '4s' } },
			ACKCoreDNSCorefileNotLoaded+: { warning+: { 'for': '1m' } },
		},
}`

// dnsCluster is a cluster in which nothing is wrong: two replicas of CoreDNS, which
// the cluster role asks and a node probes, on two nodes.
type dnsCluster struct {
	*cluster.Cluster
	service  *corev1.Service
	pods     []*corev1.Pod
	replicas []*cluster.CoreDNS
	node     string // the name of the one that runs the node role
}

// TestCluster makes wrong what is about the cluster as a whole: first what is
// written in its API, then CoreDNS itself.
func TestCluster(t *testing.T) {
	_, err := exec.LookPath("nft")
	world.Require(t, err == nil, fmt.Sprintf("nft is missing: %v", err))
	w := world.New(t)
	// Not beside tests whose seconds a build would make longer.
	for _, program := range []string{"etcd", "kube-apiserver", "coredns"} {
		cluster.Binary(t, program)
	}
	t.Parallel()
	c := newDNSCluster(t, w)
	c.startClusterRole(t, w)
	nodeTarget := c.startNodeRole(t)
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config:      clusterConfig,
		Targets:     []monitoringtest.Endpoint{nodeTarget},
		ClusterRole: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, secondNode, "cluster-1")},
	})
	// It is not for lack of data that nothing fires.
	s.AwaitQuery(`sum(ack_coredns_endpoint_up)`, 10)
	s.AwaitQuery(`min(ack_coredns_corefile_check)`, 1)
	s.AwaitQuery(`sum(ack_dns_probe_targets{target_kind=~"cluster_dns|coredns_pod"})`, 3)
	s.AwaitQuery(`max(cluster_node:ack_dns_probe_cluster_names_failed:ratio20s)`, 0)
	s.RequireSilence()

	c.breakCorefile(t, s)
	c.breakService(t, s)
	c.breakEndpoints(t, s)
	c.breakProxyConfig(t, s)
	c.pauseReplicas(t, s)
	s.Done()
}

// newDNSCluster starts a cluster with the rights that the project ships.
func newDNSCluster(t *testing.T, w *world.World) *dnsCluster {
	t.Helper()
	c := &dnsCluster{Cluster: cluster.Start(t, w, cluster.Options{}), service: dnsService(), node: cluster.Node(0).Name}
	c.Apply(t, []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: `+clusterNamespace+`}}`))
	c.ApplyFile(t, clusterRights)
	c.CoreDNS(t, cluster.CoreDNSOptions{
		Address:  upstreamAddress,
		Corefile: ".:53 {\n  hosts {\n    203.0.113.5 " + externalName + "\n  }\n}\n",
	})
	for number, address := range []string{dnsAddressA, dnsAddressB} {
		c.replicas = append(c.replicas, c.CoreDNS(t, cluster.CoreDNSOptions{
			Address: address, Corefile: goodCorefile(), Nameservers: []string{upstreamAddress},
		}))
		pod := dnsPod(number, address)
		c.pods = append(c.pods, pod)
		c.Put(t, cluster.Node(number), pod)
	}
	c.Put(t, c.service, cluster.EndpointSlice(c.service, c.pods...), dnsDeployment(),
		configMap("coredns", "Corefile", goodCorefile()), configMap("kube-proxy-worker", "config.conf", goodProxyConfig))
	return c
}

// asClusterRole executes the exporter in the role cluster. What it is given is the
// command line of the node role.
var asClusterRole = []string{"sh", "-c", `exe=$1 listen=$3 && shift 4 && exec "$exe" cluster "$listen" "$@"`, "sh"}

// startClusterRole starts it in a world, and waits until it sees the cluster.
func (c *dnsCluster) startClusterRole(t *testing.T, w *world.World) {
	t.Helper()
	args := []string{
		"--kubeconfig=" + c.ServiceAccountKubeconfig(t, clusterNamespace, clusterAccount),
		"--namespace=" + clusterNamespace, "--collector.coredns.timeout=" + clusterTimeout,
	}
	for _, collector := range []string{"coredns", "kubeproxy", "nodelocaldns", "nodelocaldns_pods"} {
		args = append(args, "--collector."+collector+".interval="+clusterInterval)
	}
	p := exporter.Start(t, w, exporter.Config{Wrapper: asClusterRole, Args: args})
	p.Await(t, patience, func(m exporter.Metrics) error {
		return errors.Join(
			m.Expect(1, "ack_exporter_leader"),
			m.Expect(2, "ack_coredns_service_endpoints", "state", "ready"),
			m.Expect(1, "ack_kubeproxy_config_valid", "configmap", "kube-proxy-worker"))
	})
}

// startNodeRole starts it on the first node, and tells where to scrape it.
func (c *dnsCluster) startNodeRole(t *testing.T) monitoringtest.Endpoint {
	t.Helper()
	w := healthyNode(t)
	c.Join(t, w, cluster.NodeAddress(0))
	// kube-proxy, as far as the Service kube-dns goes.
	cluster.Balance(t, w, cluster.DNSAddress, dnsAddressA, dnsAddressB)
	address := cluster.NodeAddress(0) + ":9777"
	ready(t, w, exporter.Config{Address: address, Args: []string{
		withoutKernelLog,
		"--collector.dnsprobe.interval=" + clusterInterval, "--collector.dnsprobe.timeout=" + clusterTimeout,
		"--collector.dnsprobe.targets-file=" + c.mountTargets(t),
		"--collector.dnsprobe.vpc-resolver=" + upstreamAddress, "--collector.dnsprobe.external-name=" + externalName,
	}})
	return monitoringtest.Target(address, c.node, "pod-1")
}

// mountTargets waits until the cluster role tells the nodes which servers to probe,
// and puts that where the node role sees it, as a kubelet does.
func (c *dnsCluster) mountTargets(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "targets.json")
	world.Eventually(t, patience, func() error {
		m, err := c.Client().CoreV1().ConfigMaps(clusterNamespace).Get(t.Context(), targetsMap, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(m.Data["targets.json"]), 0o644)
	})
	return path
}

// breakCorefile adds a plugin that ACK advises against. The replicas follow.
func (c *dnsCluster) breakCorefile(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKCoreDNSCorefileCheckFailed", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"check": "no_autopath"},
		Description: `The Corefile in the ConfigMap coredns does not pass the check no_autopath: it has the plugin autopath\.`,
	}
	c.setCorefile(t, strings.Replace(goodCorefile(), "    errors\n", "    errors\n    autopath @kubernetes\n", 1))
	s.Fires(alert)
	c.setCorefile(t, goodCorefile())
	s.Resolves(alert)
}

func (c *dnsCluster) setCorefile(t *testing.T, corefile string) {
	t.Helper()
	c.Put(t, configMap("coredns", "Corefile", corefile))
	for _, replica := range c.replicas {
		replica.SetCorefile(t, corefile)
	}
}

// breakService has each client always ask the same replica.
func (c *dnsCluster) breakService(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKCoreDNSSessionAffinity", Severity: monitoringtest.Warning,
		Description: `The Service kube-dns has the session affinity ClientIP\.`,
	}
	sticky := dnsService()
	sticky.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	c.Put(t, sticky)
	s.Fires(alert)
	c.service.Spec.SessionAffinity = corev1.ServiceAffinityNone
	c.Put(t, c.service)
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
	c.Put(t, cluster.EndpointSlice(c.service))
	s.Fires(alert)
	s.AwaitSuppressed(warning)
	c.Put(t, cluster.EndpointSlice(c.service, c.pods...))
	s.Resolves(alert)
}

// breakProxyConfig misspells a field of the configuration of kube-proxy.
func (c *dnsCluster) breakProxyConfig(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	alert := monitoringtest.Alert{
		Name: "ACKKubeProxyConfigIgnored", Severity: monitoringtest.Warning,
		Labels:      map[string]string{"configmap": "kube-proxy-worker"},
		Description: `Fields in the ConfigMap kube-proxy-worker that kube-proxy ignores: 1\. They are misspelt, indented wrongly, or there twice\.`,
	}
	c.Put(t, configMap("kube-proxy-worker", "config.conf", goodProxyConfig+"bindAdress: 0.0.0.0\n"))
	s.Fires(alert)
	c.Put(t, configMap("kube-proxy-worker", "config.conf", goodProxyConfig))
	s.Resolves(alert)
}

// pauseReplicas has all replicas hang: the kubelet would still say that they run.
// People hear of the node, and of each way of asking a replica.
func (c *dnsCluster) pauseReplicas(t *testing.T, s *monitoringtest.Scene) {
	t.Helper()
	failing := monitoringtest.Alert{
		Name: "ACKDNSFailing", Severity: monitoringtest.Critical, Node: c.node,
		Description: `\d\S*% of the lookups of an in-cluster name through the DNS address of the cluster failed on node ` +
			c.node + ` within the last 20s, most with the reason timeout\. Of its other probes these fail: coredns_pod \(\S+%\)\.`,
	}
	warning := failing
	warning.Severity = monitoringtest.Warning
	alerts := []monitoringtest.Alert{failing}
	for _, check := range []string{"dns_udp", "dns_tcp", "health", "ready"} {
		alerts = append(alerts, monitoringtest.Alert{
			Name: "ACKCoreDNSReplicaSilent", Severity: monitoringtest.Warning,
			Labels: map[string]string{"check": check},
			Description: fmt.Sprintf(`Replicas of CoreDNS that, asked directly, fail the check %s: coredns-0 on node %s, coredns-1 on node %s\.`,
				check, c.pods[0].Spec.NodeName, c.pods[1].Spec.NodeName),
		})
	}
	for _, replica := range c.replicas {
		replica.Pause(t)
	}
	s.Fires(alerts...)
	s.AwaitSuppressed(warning)
	for _, replica := range c.replicas {
		replica.Resume(t)
	}
	s.Resolves(alerts...)
}

// goodCorefile is as ACK recommends, but replicas follow it soon.
func goodCorefile() string {
	return strings.NewReplacer("cache 30", "cache 1", "reload\n", "reload 2s 1s\n").Replace(cluster.DefaultCorefile)
}

const goodProxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs:
  udpTimeout: 10s
`

func dnsLabels() map[string]string { return map[string]string{"k8s-app": "kube-dns"} }

func dnsService() *corev1.Service {
	service := cluster.Service(system, "kube-dns", dnsLabels(),
		corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		corev1.ServicePort{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP})
	service.Spec.ClusterIP = cluster.DNSAddress
	return service
}

// dnsPod is a replica of CoreDNS on the node of that number.
func dnsPod(number int, address string) *corev1.Pod {
	pod := cluster.Pod(system, fmt.Sprintf("coredns-%d", number), dnsLabels(), cluster.Node(number).Name, address)
	pod.Spec.Containers[0] = dnsContainer()
	pod.Status.ContainerStatuses[0].Name = pod.Spec.Containers[0].Name
	pod.Status.ContainerStatuses[0].Image = pod.Spec.Containers[0].Image
	return pod
}

func dnsContainer() corev1.Container {
	return corev1.Container{
		Name: "coredns", Image: "registry.example/coredns:v1.15.0",
		Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
		},
	}
}

func dnsDeployment() *appsv1.Deployment {
	replicas := int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "coredns"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: dnsLabels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: dnsLabels()},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{dnsContainer()}},
			},
		},
	}
}

func configMap(name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name},
		Data:       map[string]string{key: value},
	}
}
