package nodelocaldns

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/internal/kube"
)

// Namespace is where NodeLocal DNSCache and Terway are.
const Namespace = metav1.NamespaceSystem

// The names that ACK gives to the parts.
const (
	cacheName      = "node-local-dns"
	cacheContainer = "node-cache"
	// controllerName is that of the Deployment and of the
	// MutatingWebhookConfiguration.
	controllerName = "ack-node-local-dns-admission-controller"
)

// The selectors of what the stores have to hold. All but the last are of fields;
// those in a namespace are for objects in Namespace.
const (
	CacheFields      = "metadata.name=" + cacheName
	TerwayFields     = "metadata.name=" + terwayName
	ControllerFields = "metadata.name=" + controllerName
	WebhookFields    = "metadata.name=" + controllerName
	NamespaceLabels  = injectionLabel + "=" + injectionEnabled
)

// Labels that decide whether pods are set up for the cache.
const (
	injectionLabel    = "node-local-dns-injection"
	injectionEnabled  = "enabled"
	injectionDisabled = "disabled"
)

// eciLabels lists the labels, of namespaces and of pods, by which pods run on
// elastic container instances. The webhook leaves them alone, whatever the value.
func eciLabels() []string {
	return []string{"eci", "alibabacloud.com/eci", "virtual-node-affinity-injection"}
}

// Sources is what the collectors read.
type Sources struct {
	// Cache and Terway hold the DaemonSets that CacheFields and TerwayFields
	// select, trimmed by TrimDaemonSet.
	Cache, Terway kube.Lister[*appsv1.DaemonSet]
	// Controller holds the Deployment that ControllerFields selects, trimmed by
	// TrimDeployment.
	Controller kube.Lister[*appsv1.Deployment]
	// Webhook holds what WebhookFields selects, trimmed by TrimWebhook.
	Webhook kube.Lister[*admissionv1.MutatingWebhookConfiguration]
	// ENIConfig holds the ConfigMap that eniconfig.Fields selects, trimmed by
	// eniconfig.Trim.
	ENIConfig kube.Lister[*corev1.ConfigMap]
	// Namespaces holds those that NamespaceLabels selects, trimmed by
	// TrimNamespace.
	Namespaces kube.Lister[*corev1.Namespace]
	// Nodes holds all nodes with metadata.name and the label type.
	Nodes kube.Lister[*corev1.Node]
}

// trimMeta keeps what identifies an object.
func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, ResourceVersion: m.ResourceVersion}
}

// TrimDaemonSet drops what the collectors do not use.
func TrimDaemonSet(d *appsv1.DaemonSet) {
	var containers []corev1.Container
	for _, c := range d.Spec.Template.Spec.Containers {
		containers = append(containers, corev1.Container{Name: c.Name, Image: c.Image})
	}
	status := appsv1.DaemonSetStatus{
		DesiredNumberScheduled: d.Status.DesiredNumberScheduled,
		NumberReady:            d.Status.NumberReady,
		UpdatedNumberScheduled: d.Status.UpdatedNumberScheduled,
	}
	*d = appsv1.DaemonSet{ObjectMeta: trimMeta(d.ObjectMeta), Status: status}
	d.Spec.Template.Spec.Containers = containers
}

// TrimDeployment drops what the collectors do not use.
func TrimDeployment(d *appsv1.Deployment) {
	*d = appsv1.Deployment{
		ObjectMeta: trimMeta(d.ObjectMeta),
		Spec:       appsv1.DeploymentSpec{Replicas: d.Spec.Replicas},
		Status:     appsv1.DeploymentStatus{AvailableReplicas: d.Status.AvailableReplicas},
	}
}

// TrimWebhook drops what the collectors do not use. Of a CA there stays one byte:
// that there is one.
func TrimWebhook(c *admissionv1.MutatingWebhookConfiguration) {
	var webhooks []admissionv1.MutatingWebhook
	for _, w := range c.Webhooks {
		kept := admissionv1.MutatingWebhook{Name: w.Name}
		kept.ClientConfig.CABundle = slices.Clone(w.ClientConfig.CABundle[:min(1, len(w.ClientConfig.CABundle))])
		webhooks = append(webhooks, kept)
	}
	*c = admissionv1.MutatingWebhookConfiguration{ObjectMeta: trimMeta(c.ObjectMeta), Webhooks: webhooks}
}

// TrimNamespace drops what the collectors do not use.
func TrimNamespace(n *corev1.Namespace) {
	labels := make(map[string]string)
	for _, name := range append(eciLabels(), injectionLabel) {
		if value, ok := n.Labels[name]; ok {
			labels[name] = value
		}
	}
	*n = corev1.Namespace{ObjectMeta: trimMeta(n.ObjectMeta)}
	n.Labels = labels
}

// labelledNamespaces returns the names of the namespaces whose new pods the
// webhook should set up, sorted.
func labelledNamespaces(namespaces kube.Lister[*corev1.Namespace]) ([]string, error) {
	list, err := namespaces.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range list {
		if n.Labels[injectionLabel] == injectionEnabled && !isSystem(n.Name) && !hasECILabel(n.Labels) {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// isSystem recognises the namespaces that the webhook never touches.
func isSystem(namespace string) bool {
	return namespace == metav1.NamespaceSystem || namespace == metav1.NamespacePublic
}

func hasECILabel(labels map[string]string) bool {
	return slices.ContainsFunc(eciLabels(), func(name string) bool {
		_, ok := labels[name]
		return ok
	})
}

// virtualNodes returns the names of the nodes that are none.
func virtualNodes(nodes kube.Lister[*corev1.Node]) (map[string]bool, error) {
	list, err := nodes.List()
	if err != nil {
		return nil, err
	}
	virtual := make(map[string]bool)
	for _, n := range list {
		if kube.IsVirtual(n) {
			virtual[n.Name] = true
		}
	}
	return virtual, nil
}
