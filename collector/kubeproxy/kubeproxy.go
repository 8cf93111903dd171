// Package kubeproxy exposes the configuration of kube-proxy as it is written in
// its ConfigMaps, and what in the cluster decides whether it is a good one.
// What the nodes really run is told by the collector ipvs of each node.
package kubeproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

// Namespace is where the ConfigMaps are.
const Namespace = metav1.NamespaceSystem

var (
	familyValid = collector.NewGauge("ack_kubeproxy_config_valid",
		"Whether kube-proxy can start with what the ConfigMap says. 0: it goes on as it is until its pods are restarted, and then fails. The log says why. Absent where that cannot be told.",
		"configmap")
	familyStrictErrors = collector.NewGauge("ack_kubeproxy_config_strict_errors",
		"Fields of the configuration that kube-proxy ignores because it does not know them, as when they are misspelt or indented wrongly, and fields that are there twice. The log names them; no more than about a hundred are counted.",
		"configmap")
	familyInfo = collector.NewGauge("ack_kubeproxy_config_info",
		"Mode and IPVS scheduler as written, empty where the configuration leaves them to kube-proxy: iptables, and rr.",
		"configmap", "mode", "scheduler")
	familyTimeout = collector.NewGauge("ack_kubeproxy_config_timeout_seconds",
		"Timeout of idle IPVS connections of this protocol as written. Absent where none is written, or 0: then kube-proxy leaves the kernel's as it is.",
		"configmap", "protocol")
	familyMaxPerCore = collector.NewGauge("ack_kubeproxy_config_conntrack_max_per_core",
		"Connection tracking entries for each CPU of a node, conntrack.maxPerCore, as written; ACK recommends at least 65536. 0: kube-proxy leaves the limit as it is. Absent where it is not written: kube-proxy takes 32768.",
		"configmap")
	familyMin = collector.NewGauge("ack_kubeproxy_config_conntrack_min",
		"Least number of connection tracking entries of a node, conntrack.min, as written. Absent where it is not written: kube-proxy takes 131072.",
		"configmap")
	familyConntrackTimeout = collector.NewGauge("ack_kubeproxy_config_conntrack_timeout_seconds",
		"How long connection tracking keeps an entry of this protocol and state, as written, with the labels of ack_conntrack_timeout_seconds. Absent where none is written, or 0: kube-proxy leaves the kernel's as it is, or has a default of its own for tcp.",
		"configmap", "protocol", "state")
	familyServices = collector.NewGauge("ack_kubeproxy_services",
		"Services that kube-proxy makes rules for: those with a cluster IP.")
	familyUDPServices = collector.NewGauge("ack_kubeproxy_udp_services",
		"Services with a cluster IP and a UDP port other than cluster DNS (kube-system/kube-dns and kube-dns-upstream). A short IPVS timeout for UDP can cut sessions of their clients.")
	familyOldNodes = collector.NewGauge("ack_kubeproxy_nodes_without_ipvs_timeouts",
		"Nodes older than Kubernetes 1.18, whose kube-proxy cannot set the IPVS timeouts: values set by hand are lost when the node restarts. Virtual nodes are left out.")
)

// Sources is what the Collector reads.
type Sources struct {
	// ConfigMaps holds those that ConfigMapFields selects, trimmed by TrimConfigMap.
	ConfigMaps []kube.Lister[*corev1.ConfigMap]
	// Services holds all Services of the cluster with metadata.namespace,
	// metadata.name, spec.type, spec.clusterIP and spec.ports[].protocol.
	Services kube.Lister[*corev1.Service]
	// Nodes holds all nodes with the label type and
	// status.nodeInfo.kubeletVersion.
	Nodes kube.Lister[*corev1.Node]
}

// configMapNames lists where ACK keeps the configuration: of workers, of the
// masters of dedicated clusters, and of both where kubeadm made the cluster.
func configMapNames() []string {
	return []string{"kube-proxy-worker", "kube-proxy-master", "kube-proxy"}
}

// ConfigMapFields lists the field selectors of the ConfigMaps in Namespace; the
// API server takes one name in each.
func ConfigMapFields() []string {
	var fields []string
	for _, name := range configMapNames() {
		fields = append(fields, metav1.ObjectNameField+"="+name)
	}
	return fields
}

// TrimConfigMap drops what the Collector does not use.
func TrimConfigMap(m *corev1.ConfigMap) {
	var data map[string]string
	if key, config, found := configOf(m); found {
		// One byte more tells that it is too large.
		data = map[string]string{key: strings.Clone(config[:min(len(config), maxConfig+1)])}
	}
	*m = corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, ResourceVersion: m.ResourceVersion},
		Data:       data,
	}
}

// Collector judges the configuration of kube-proxy.
type Collector struct {
	sources Sources
	log     *slog.Logger
	// last holds what was read of each ConfigMap.
	last map[string]reading
	// logged holds the strict errors of each ConfigMap that the log has named.
	logged map[string]string
}

// New makes a Collector. It logs the fields that kube-proxy ignores, once.
func New(log *slog.Logger, sources Sources) *Collector {
	return &Collector{sources: sources, log: log, last: make(map[string]reading), logged: make(map[string]string)}
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{
		familyValid, familyStrictErrors, familyInfo, familyTimeout, familyMaxPerCore, familyMin,
		familyConntrackTimeout, familyServices, familyUDPServices, familyOldNodes,
	}
}

// Collect implements collector.Collector. A ConfigMap that kube-proxy could not
// use, or that cannot be examined here, is a decode error, next to the metrics of
// all others. It is
// collector.ErrNotApplicable where there is no ConfigMap at all: kube-proxy is
// then managed out of sight, or something else takes its place.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	configMaps, err := c.configMaps()
	if err != nil {
		return nil, err
	}
	if len(configMaps) == 0 {
		return nil, fmt.Errorf("%s has no ConfigMap %s: %w", Namespace, strings.Join(configMapNames(), ", "), collector.ErrNotApplicable)
	}
	counts, err := c.count()
	if err != nil {
		return nil, err
	}
	metrics := counts.metrics()
	var failed []error
	for _, m := range configMaps {
		s, err := c.read(m)
		if !errors.Is(err, errNotExamined) {
			metrics = append(metrics, familyValid.Metric(collector.Bool(err == nil), m.Name))
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		c.logStrictErrors(m, s.strictErrors)
		metrics = append(metrics, s.metrics(m.Name)...)
	}
	return metrics, errors.Join(failed...)
}

// configMaps returns those that there are, in the order of their names.
func (c *Collector) configMaps() ([]*corev1.ConfigMap, error) {
	var found []*corev1.ConfigMap
	for _, lister := range c.sources.ConfigMaps {
		list, err := lister.List()
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			if m.Namespace == Namespace && slices.Contains(configMapNames(), m.Name) {
				found = append(found, m)
			}
		}
	}
	slices.SortFunc(found, func(a, b *corev1.ConfigMap) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(found, func(a, b *corev1.ConfigMap) bool { return a.Name == b.Name }), nil
}

// logStrictErrors names the fields that kube-proxy ignores when they change.
func (c *Collector) logStrictErrors(m *corev1.ConfigMap, found []string) {
	message := clip(strings.Join(found, ", "))
	if message == c.logged[m.Name] {
		return
	}
	c.logged[m.Name] = message
	if message != "" {
		key, _, _ := configOf(m)
		c.log.Warn("kube-proxy ignores a part of its configuration",
			"configmap", Namespace+"/"+m.Name, "key", key, "fields", message)
	}
}

func (s settings) metrics(configMap string) []prometheus.Metric {
	metrics := []prometheus.Metric{
		familyStrictErrors.Metric(float64(len(s.strictErrors)), configMap),
		familyInfo.Metric(1, configMap, s.mode, s.scheduler),
	}
	for _, t := range s.ipvs {
		metrics = append(metrics, familyTimeout.Metric(t.duration.Seconds(), configMap, t.protocol))
	}
	if s.maxPerCore != nil {
		metrics = append(metrics, familyMaxPerCore.Metric(float64(*s.maxPerCore), configMap))
	}
	if s.min != nil {
		metrics = append(metrics, familyMin.Metric(float64(*s.min), configMap))
	}
	for _, t := range s.conntrack {
		metrics = append(metrics, familyConntrackTimeout.Metric(t.duration.Seconds(), configMap, t.protocol, t.state))
	}
	return metrics
}
