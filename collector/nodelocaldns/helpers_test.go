package nodelocaldns

import (
	"context"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/internal/eniconfig"
	"ack-exporter/internal/kube"
)

// listed is a lister of given objects, or of an error.
type listed[T any] struct {
	objects []T
	err     error
}

func (l listed[T]) List() ([]T, error) { return l.objects, l.err }

func of[T any](objects ...T) kube.Lister[T] { return listed[T]{objects: objects} }

func meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{"large": strings.Repeat("x", 1000)}}
}

func daemonSet(name, container, image string) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: meta(name, nil)}
	d.Namespace = Namespace
	d.Spec.Template.Spec.Containers = []corev1.Container{
		{Name: "sidecar", Image: "example.com/sidecar:v9"},
		{Name: container, Image: image, Args: []string{"-conf", "/etc/Corefile"}},
	}
	d.Status = appsv1.DaemonSetStatus{DesiredNumberScheduled: 8, NumberReady: 7, UpdatedNumberScheduled: 6, NumberAvailable: 5}
	TrimDaemonSet(d)
	return d
}

func deployment(replicas *int32, available int32) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: meta(controllerName, nil)}
	d.Namespace = Namespace
	d.Spec.Replicas, d.Status.AvailableReplicas = replicas, available
	TrimDeployment(d)
	return d
}

func webhook(bundles ...string) *admissionv1.MutatingWebhookConfiguration {
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta(controllerName, nil)}
	for _, b := range bundles {
		c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{
			Name: "dns.example.com", ClientConfig: admissionv1.WebhookClientConfig{CABundle: []byte(b)},
		})
	}
	TrimWebhook(c)
	return c
}

func eniConfig(data map[string]string) *corev1.ConfigMap {
	m := &corev1.ConfigMap{ObjectMeta: meta(eniconfig.Name, nil), Data: data}
	m.Namespace = Namespace
	eniconfig.Trim(m)
	return m
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: meta(name, labels)}
	TrimNamespace(n)
	return n
}

func labelled(name string) *corev1.Namespace {
	return namespace(name, map[string]string{injectionLabel: injectionEnabled, "team": "a"})
}

// nothing is a cluster without NodeLocal DNSCache.
func nothing() Sources {
	return Sources{
		Cache:      of[*appsv1.DaemonSet](),
		Terway:     of[*appsv1.DaemonSet](),
		Controller: of[*appsv1.Deployment](),
		Webhook:    of[*admissionv1.MutatingWebhookConfiguration](),
		ENIConfig:  of[*corev1.ConfigMap](),
		Namespaces: of[*corev1.Namespace](),
		Nodes: of(
			&corev1.Node{ObjectMeta: meta("node-1", nil)},
			&corev1.Node{ObjectMeta: meta("virtual-kubelet-a", map[string]string{"type": "virtual-kubelet"})},
		),
	}
}

const ipvlan = `{"cniVersion":"0.3.0","name":"terway","eniip_virtual_type":"IPVlan","host_stack_cidrs":["169.254.20.10/32"],"type":"terway"}`

// healthy is a cluster with Terway in which all is well.
func healthy() Sources {
	s := nothing()
	s.Cache = of(daemonSet(cacheName, cacheContainer, "registry-vpc.example.com/acs/k8s-dns-node-cache:v1.22.28.1-5f96b759-aliyun"))
	s.Terway = of(daemonSet(terwayName, terwayContainer, "registry-vpc.example.com/acs/terway:v1.0.10.398-g63d2e57-aliyun"))
	s.Controller = of(deployment(new(int32(2)), 2))
	s.Webhook = of(webhook("CERTIFICATE"))
	s.ENIConfig = of(eniConfig(map[string]string{"10-terway.conf": ipvlan, "eni_conf": "{}"}))
	s.Namespaces = of(labelled("shop"), labelled("bank"))
	return s
}

// pod is one in the state in which a pod is created, changed by changes.
func pod(namespace string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p"}}
	p.Spec.DNSPolicy, p.Spec.NodeName = corev1.DNSClusterFirst, "node-1"
	for _, change := range changes {
		change(p)
	}
	return p
}

func nameservers(policy corev1.DNSPolicy, servers ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.DNSPolicy, p.Spec.DNSConfig = policy, &corev1.PodDNSConfig{Nameservers: servers}
	}
}

func injected(p *corev1.Pod) { nameservers(corev1.DNSNone, "169.254.20.10", "172.21.0.10")(p) }

func alone(p *corev1.Pod) { nameservers(corev1.DNSNone, "169.254.20.10")(p) }

func label(name, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{name: value} }
}

// podList lists pods from memory; it notes which namespaces it was asked for.
type podList struct {
	pods  []*corev1.Pod
	asked []string
	fail  func(call int) error
}

func (l *podList) ListPods(_ context.Context, namespace string, each func(*corev1.Pod) error) error {
	l.asked = append(l.asked, namespace)
	for _, p := range l.pods {
		if namespace != metav1.NamespaceAll && p.Namespace != namespace {
			continue
		}
		if err := each(p); err != nil {
			return err
		}
	}
	if l.fail != nil {
		return l.fail(len(l.asked))
	}
	return nil
}

func contains(t *testing.T, exposition string, series ...string) {
	t.Helper()
	for _, s := range series {
		if !strings.Contains(exposition, s+"\n") {
			t.Errorf("%s is missing from\n%s", s, exposition)
		}
	}
}
