//go:build e2e

package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
)

// TestObjects has the metrics follow what is made, changed and deleted through the
// API. The API server cannot stream lists, like those of many clusters.
func TestObjects(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{APIServerArgs: []string{"--feature-gates=WatchList=false"}})
	r := run(t, c, "replica-a", firstAddress, every(time.Second)...)
	r.AwaitReady(t, patience)
	r.Await(t, patience, func(m exporter.Metrics) error {
		errs := []error{m.Expect(1, "ack_exporter_leader")}
		for _, name := range collectors() {
			errs = append(errs, notApplicable(m, name))
		}
		return errors.Join(errs...)
	})
	s := &scene{t, c, r}
	s.coreDNS()
	s.corefile()
	s.kubeProxy()
	s.nodeLocalDNS()

	// Another term writes the ConfigMap for the DNS probes anew, where it changed.
	r.stop(t)
	c.Put(t, dnsPod("coredns-c", 1, "10.244.1.4"))
	r.start(t, every(time.Second)...)
	awaitTargets(t, c, "10.244.1.4")
	requireRights(t, c, true)
	requireSelectors(t, c)
	requireUserAgent(t, c, r)
}

// scene changes a cluster that one replica watches.
type scene struct {
	t testing.TB
	c *clustertest.Cluster
	r *replica
}

// shows waits until the metrics are so.
func (s *scene) shows(conditions ...func(exporter.Metrics) error) {
	s.t.Helper()
	s.r.Await(s.t, patience, func(m exporter.Metrics) error {
		var errs []error
		for _, condition := range conditions {
			errs = append(errs, condition(m))
		}
		return errors.Join(errs...)
	})
}

// has is for one series.
func has(value float64, name string, labels ...string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error { return m.Expect(value, name, labels...) }
}

// lacks is for whole families.
func lacks(families ...string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error { return absent(m, families...) }
}

// lacksReplica is for the series of one pod of CoreDNS.
func lacksReplica(pod string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		for key := range m {
			if strings.Contains(key, fmt.Sprintf("pod=%q", pod)) {
				return fmt.Errorf("there is %s", key)
			}
		}
		return nil
	}
}

func is(state func(exporter.Metrics, string) error, collector string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error { return state(m, collector) }
}

func replicas(state string, n float64) func(exporter.Metrics) error {
	return has(n, "ack_coredns_replicas", "state", state)
}

func (s *scene) coreDNS() {
	s.t.Helper()
	a, b := dnsPod("coredns-a", 0, "10.244.1.2"), dnsPod("coredns-b", 1, "10.244.1.3")
	putNodes(s.t, s.c, 3)
	service := dnsService()
	s.c.Put(s.t, a, b, service, cluster.EndpointSlice(service, a, b), dnsDeployment(2), corefileMap(cluster.DefaultCorefile))
	s.shows(is(succeeds, "coredns"), replicas("desired", 2), replicas("ready", 2),
		has(2, "ack_coredns_replicas_recommended"), has(2, "ack_coredns_hosting_nodes"), has(2, "ack_coredns_hosting_zones"),
		has(3, "ack_coredns_cluster_nodes"), has(3, "ack_coredns_cluster_zones"),
		has(0, "ack_coredns_session_affinity"), has(2, "ack_coredns_service_endpoints", "state", "ready"),
		has(512<<20, "ack_coredns_memory_limit_bytes"), has(15, "ack_coredns_lameduck_seconds"),
		has(0, "ack_coredns_pod_restarts_total", "pod", "coredns-a", "node", a.Spec.NodeName),
		has(1, "ack_coredns_info", "pod", "coredns-a", "node", a.Spec.NodeName, "zone", cluster.Zones()[0],
			"image", "registry.example/coredns:v1.15.0", "version", "1.15.0"))

	// 17 nodes need a third replica; virtual ones and those that take no pods need none.
	for number := range 17 {
		s.c.Put(s.t, cluster.Node(number), cluster.VirtualNode(100+number))
	}
	s.shows(has(17, "ack_coredns_cluster_nodes"), has(3, "ack_coredns_replicas_recommended"))
	cordoned := cluster.Node(16)
	cordoned.Spec.Unschedulable = true
	s.c.Put(s.t, cordoned)
	s.shows(has(16, "ack_coredns_cluster_nodes"), has(2, "ack_coredns_replicas_recommended"))
	for number := range 14 {
		s.c.Delete(s.t, cluster.Node(3+number))
	}
	s.shows(has(3, "ack_coredns_cluster_nodes"))

	s.c.Put(s.t, dnsDeployment(3))
	s.c.Delete(s.t, b)
	s.shows(replicas("desired", 3), replicas("ready", 1), lacksReplica("coredns-b"))
	b = dnsPod("coredns-b", 0, "10.244.1.3")
	s.c.Put(s.t, b)
	s.shows(replicas("ready", 2), has(1, "ack_coredns_hosting_nodes"), has(1, "ack_coredns_hosting_zones"))

	cluster.SetPodReady(b, false)
	b.Status.ContainerStatuses[0].RestartCount = 3
	service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.c.Put(s.t, b, service, cluster.EndpointSlice(service, a, b))
	s.shows(replicas("ready", 1), has(1, "ack_coredns_session_affinity"),
		has(1, "ack_coredns_service_endpoints", "state", "ready"), has(1, "ack_coredns_service_endpoints", "state", "not_ready"),
		has(1, "ack_coredns_pod_not_ready", "pod", "coredns-b", "node", b.Spec.NodeName, "reason", "probe"),
		has(3, "ack_coredns_pod_restarts_total", "pod", "coredns-b", "node", b.Spec.NodeName))
}

// check is for a check of the Corefile.
func check(name string, passed float64) func(exporter.Metrics) error {
	return has(passed, "ack_coredns_corefile_check", "check", name)
}

// without is the Corefile without the lines that begin with a word.
func without(corefile, word string) string {
	var kept strings.Builder
	for line := range strings.Lines(corefile) {
		if !strings.HasPrefix(strings.TrimSpace(line), word) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// with is the Corefile with a line more in its server block.
func with(corefile, line string) string {
	return strings.Replace(corefile, "    errors\n", "    errors\n    "+line+"\n", 1)
}

func (s *scene) corefile() {
	s.t.Helper()
	s.shows(check("parse", 1), check("ready", 1), check("no_autopath", 1), check("lameduck", 1), check("prefer_udp", 1))
	s.c.Put(s.t, corefileMap(with(without(cluster.DefaultCorefile, "ready"), "autopath @kubernetes")))
	s.shows(check("parse", 1), check("ready", 0), check("no_autopath", 0))
	s.c.Put(s.t, corefileMap(strings.Replace(cluster.DefaultCorefile, "lameduck 15s", "lameduck 5s", 1)))
	s.shows(check("ready", 1), check("no_autopath", 1), check("lameduck", 0), has(5, "ack_coredns_lameduck_seconds"))
	s.c.Delete(s.t, corefileMap(""))
	s.shows(is(fails, "coredns"), lacks("ack_coredns_corefile_check", "ack_coredns_lameduck_seconds"), replicas("ready", 1))
	s.c.Put(s.t, corefileMap(cluster.DefaultCorefile))
	s.shows(is(succeeds, "coredns"), check("parse", 1))
}

func (s *scene) kubeProxy() {
	s.t.Helper()
	s.c.Put(s.t, proxyMap(proxyConfig("300s")))
	worker := []string{"configmap", "kube-proxy-worker"}
	timeout := append([]string{"protocol", "udp"}, worker...)
	s.shows(is(succeeds, "kubeproxy"), has(1, "ack_kubeproxy_config_valid", worker...),
		has(1, "ack_kubeproxy_config_info", append([]string{"mode", "ipvs", "scheduler", "rr"}, worker...)...),
		has(300, "ack_kubeproxy_config_timeout_seconds", timeout...),
		has(65536, "ack_kubeproxy_config_conntrack_max_per_core", worker...),
		// The Services kubernetes and kube-dns; the latter is not one of other UDP.
		has(2, "ack_kubeproxy_services"), has(0, "ack_kubeproxy_udp_services"),
		has(0, "ack_kubeproxy_nodes_without_ipvs_timeouts"))
	s.c.Put(s.t, proxyMap(proxyConfig("10s")+"udpTimeuot: 5s\n"))
	s.shows(has(10, "ack_kubeproxy_config_timeout_seconds", timeout...), has(1, "ack_kubeproxy_config_strict_errors", worker...))

	udp := cluster.Service("default", "syslog", map[string]string{"app": "syslog"}, corev1.ServicePort{Name: "syslog", Port: 514, Protocol: corev1.ProtocolUDP})
	s.c.Put(s.t, udp)
	s.shows(has(3, "ack_kubeproxy_services"), has(1, "ack_kubeproxy_udp_services"))
	s.c.Delete(s.t, udp)
	s.shows(has(2, "ack_kubeproxy_services"), has(0, "ack_kubeproxy_udp_services"))

	// Nodes of a cluster that grew old; on virtual ones there is no kube-proxy.
	old, virtual := cluster.Node(2), cluster.VirtualNode(100)
	old.Status.NodeInfo.KubeletVersion, virtual.Status.NodeInfo.KubeletVersion = "v1.16.9-aliyun.1", "v1.16.9-aliyun.1"
	s.c.Put(s.t, old, virtual)
	s.shows(has(1, "ack_kubeproxy_nodes_without_ipvs_timeouts"))

	for _, other := range []string{"kube-proxy-master", "kube-proxy"} {
		s.c.Put(s.t, configMap(other, "config.conf", proxyConfig("20s")))
		s.shows(has(20, "ack_kubeproxy_config_timeout_seconds", "configmap", other, "protocol", "udp"))
		s.c.Delete(s.t, configMap(other, "", ""))
	}
	s.c.Delete(s.t, proxyMap(""))
	s.shows(is(notApplicable, "kubeproxy"), lacks("ack_kubeproxy_config_valid", "ack_kubeproxy_services"))
}

func (s *scene) nodeLocalDNS() {
	s.t.Helper()
	const pods = "ack_nodelocaldns_pods"
	s.c.Put(s.t, labelledNamespace(), nodeCache(3, 2), controller(2, 1), webhook("a CA"),
		terwayDaemonSet(), terwayMap(terwayConfig))
	node := cluster.Node(0).Name
	for i := range 3 {
		s.c.Put(s.t, userPod(fmt.Sprintf("set-up-%d", i), node, true))
	}
	missing := userPod("older", node, false)
	// Nothing is expected of a pod on a virtual node.
	s.c.Put(s.t, missing, userPod("virtual", cluster.VirtualNode(100).Name, false))
	s.shows(is(succeeds, "nodelocaldns"), has(1, "ack_nodelocaldns_daemonset_present"),
		has(3, "ack_nodelocaldns_replicas", "state", "desired"), has(2, "ack_nodelocaldns_replicas", "state", "ready"),
		has(1, "ack_nodelocaldns_info", "version", "v1.22.28"),
		has(1, "ack_nodelocaldns_webhook_configured"), has(1, "ack_nodelocaldns_webhook_replicas", "state", "available"),
		has(1, "ack_nodelocaldns_namespaces"),
		has(1, "ack_nodelocaldns_terway_check", "check", "host_stack_cidrs"), has(1, "ack_nodelocaldns_terway_check", "check", "version"),
		is(succeeds, "nodelocaldns_pods"), has(0, "ack_nodelocaldns_orphaned_pods"),
		has(3, pods, "namespace", cacheNamespace, "state", "injected"), has(1, pods, "namespace", cacheNamespace, "state", "missing"))

	s.c.Delete(s.t, missing)
	s.c.Put(s.t, nodeCache(3, 3), webhook(""), terwayMap(strings.Replace(terwayConfig, cacheAddress+"/32", "10.0.0.0/8", 1)))
	s.shows(has(3, "ack_nodelocaldns_replicas", "state", "ready"), has(0, "ack_nodelocaldns_webhook_configured"),
		has(0, "ack_nodelocaldns_terway_check", "check", "host_stack_cidrs"),
		has(0, pods, "namespace", cacheNamespace, "state", "missing"))

	// Without the cache, pods that count on it have no DNS.
	s.c.Delete(s.t, nodeCache(0, 0))
	s.shows(has(0, "ack_nodelocaldns_daemonset_present"), has(3, "ack_nodelocaldns_orphaned_pods"))
	s.c.Delete(s.t, controller(0, 0), webhook(""))
	plain := labelledNamespace()
	plain.Labels = nil
	s.c.Put(s.t, plain)
	for i := range 3 {
		s.c.Delete(s.t, userPod(fmt.Sprintf("set-up-%d", i), node, true))
	}
	s.shows(is(notApplicable, "nodelocaldns"), is(notApplicable, "nodelocaldns_pods"), lacks(pods, "ack_nodelocaldns_replicas"))
}
