// Package nodelocaldns exposes how NodeLocal DNSCache is set up in the cluster
// (Collector), and which pods use it (PodsCollector). Whether it answers on a node
// is told by the DNS probes of that node.
package nodelocaldns

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

var (
	familyPresent = collector.NewGauge("ack_nodelocaldns_daemonset_present",
		"Whether the DaemonSet kube-system/node-local-dns exists.")
	familyReplicas = collector.NewGauge("ack_nodelocaldns_replicas",
		"Nodes that should run NodeLocal DNSCache (desired), on which it is ready, and on which it is of the newest template (updated). 0 without the DaemonSet.",
		"state")
	familyInfo = collector.NewGauge("ack_nodelocaldns_info",
		"Version of NodeLocal DNSCache: the tag of its image, empty where the image has none.",
		"version")
	familyWebhookConfigured = collector.NewGauge("ack_nodelocaldns_webhook_configured",
		"Whether the MutatingWebhookConfiguration that has pods set up for the cache exists and names a CA. 0: new pods are not set up.")
	familyWebhookReplicas = collector.NewGauge("ack_nodelocaldns_webhook_replicas",
		"Replicas of the Deployment behind the webhook, desired and available. 0 without the Deployment.",
		"state")
	familyNamespaces = collector.NewGauge("ack_nodelocaldns_namespaces",
		"Namespaces whose new pods should be set up for the cache: those with the label node-local-dns-injection=enabled, without kube-system, kube-public and those with a label of elastic container instances.")
	familyTerwayCheck = collector.NewGauge("ack_nodelocaldns_terway_check",
		"1 where Terway meets what the cache needs. host_stack_cidrs: with IPvlan, pods reach 169.254.20.10; absent with other network modes. version: at least v1.0.10.301; absent where the tag of the image does not tell.",
		"check")
	familyTerwayInfo = collector.NewGauge("ack_nodelocaldns_terway_info",
		"Version of Terway: the tag of its image. Absent where the DaemonSet kube-system/terway-eniip does not exist.",
		"version")
)

// Collector tells how NodeLocal DNSCache is set up.
type Collector struct{ sources Sources }

// New makes a Collector.
func New(sources Sources) *Collector { return &Collector{sources: sources} }

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{
		familyPresent, familyReplicas, familyInfo, familyWebhookConfigured, familyWebhookReplicas,
		familyNamespaces, familyTerwayCheck, familyTerwayInfo,
	}
}

// Collect implements collector.Collector. It is collector.ErrNotApplicable where
// neither NodeLocal DNSCache nor a part of it exists and no namespace asks for it.
// A configuration of Terway that cannot be understood is a decode error next to
// all other metrics.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	i, err := readInstallation(c.sources)
	if err != nil {
		return nil, err
	}
	if !i.present() && !i.remains() && len(i.namespaces) == 0 {
		return nil, notInstalled()
	}
	t, err := readTerway(c.sources)
	if err != nil {
		return nil, err
	}
	terway, err := t.metrics()
	return append(i.metrics(), terway...), err
}

func notInstalled() error {
	return fmt.Errorf("there is no NodeLocal DNSCache, and no namespace is labelled for it: %w", collector.ErrNotApplicable)
}

// installation is what there is of NodeLocal DNSCache; nil is what there is not.
type installation struct {
	cache      *appsv1.DaemonSet
	controller *appsv1.Deployment
	webhook    *admissionv1.MutatingWebhookConfiguration
	namespaces []string // that ask for it, sorted
}

func readInstallation(s Sources) (installation, error) {
	var i installation
	var err error
	if i.cache, err = find(s.Cache, cacheName); err != nil {
		return i, err
	}
	if i.controller, err = find(s.Controller, controllerName); err != nil {
		return i, err
	}
	if i.webhook, err = find(s.Webhook, controllerName); err != nil {
		return i, err
	}
	i.namespaces, err = labelledNamespaces(s.Namespaces)
	return i, err
}

// find returns the object of that name, or nil.
func find[T metav1.Object](objects kube.Lister[T], name string) (T, error) {
	var none T
	list, err := objects.List()
	if err != nil {
		return none, err
	}
	for _, object := range list {
		if object.GetName() == name {
			return object, nil
		}
	}
	return none, nil
}

func (i installation) present() bool { return i.cache != nil }

// remains tells whether the part that sets pods up is there.
func (i installation) remains() bool { return i.controller != nil || i.webhook != nil }

func (i installation) metrics() []prometheus.Metric {
	metrics := []prometheus.Metric{
		familyPresent.Metric(collector.Bool(i.present())),
		familyWebhookConfigured.Metric(collector.Bool(configured(i.webhook))),
		familyNamespaces.Metric(float64(len(i.namespaces))),
	}
	var cache appsv1.DaemonSetStatus
	if i.cache != nil {
		cache = i.cache.Status
		version := imageTag(i.cache.Spec.Template.Spec.Containers, cacheContainer)
		metrics = append(metrics, familyInfo.Metric(1, version))
	}
	var desired, available int32
	if i.controller != nil {
		desired, available = wanted(i.controller), i.controller.Status.AvailableReplicas
	}
	return append(metrics,
		familyReplicas.Metric(float64(cache.DesiredNumberScheduled), "desired"),
		familyReplicas.Metric(float64(cache.NumberReady), "ready"),
		familyReplicas.Metric(float64(cache.UpdatedNumberScheduled), "updated"),
		familyWebhookReplicas.Metric(float64(desired), "desired"),
		familyWebhookReplicas.Metric(float64(available), "available"),
	)
}

// wanted is how many replicas d asks for; the API server's default is 1.
func wanted(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

// configured tells whether the API server can call the webhooks. Without a CA it
// trusts only public ones, and the controller's certificate is from none of them.
func configured(c *admissionv1.MutatingWebhookConfiguration) bool {
	if c == nil || len(c.Webhooks) == 0 {
		return false
	}
	for _, w := range c.Webhooks {
		if len(w.ClientConfig.CABundle) == 0 {
			return false
		}
	}
	return true
}

// container returns the container of that name, or nil.
func container(containers []corev1.Container, name string) *corev1.Container {
	for i := range containers {
		if containers[i].Name == name {
			return &containers[i]
		}
	}
	return nil
}
