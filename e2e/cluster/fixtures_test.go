//go:build e2e

package cluster

import (
	"fmt"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
)

const (
	// externalName and externalAddress are what the upstream of CoreDNS knows.
	externalName    = "www.example.com"
	externalAddress = "203.0.113.5"

	cacheNamespace = "shop"
	cacheAddress   = "169.254.20.10"
	controllerName = "ack-node-local-dns-admission-controller"
)

func podLabels() map[string]string { return map[string]string{"k8s-app": "kube-dns"} }

// dnsDeployment is the Deployment of CoreDNS.
func dnsDeployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "coredns"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: podLabels()},
			Template: template(podLabels(), "coredns", "registry.example/coredns:v1.15.0"),
		},
	}
}

func template(labels map[string]string, container, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: container, Image: image}}},
	}
}

// dnsPod is a replica of CoreDNS on the node of that number.
func dnsPod(name string, node int, address string) *corev1.Pod {
	pod := cluster.Pod(system, name, podLabels(), cluster.Node(node).Name, address)
	const image = "registry.example/coredns:v1.15.0"
	container := &pod.Spec.Containers[0]
	container.Name, container.Image = "coredns", image
	container.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}
	pod.Status.ContainerStatuses[0].Name, pod.Status.ContainerStatuses[0].Image = "coredns", image
	return pod
}

// dnsService is the Service of the cluster's DNS.
func dnsService() *corev1.Service {
	service := cluster.Service(system, "kube-dns", podLabels(),
		corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		corev1.ServicePort{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP})
	service.Spec.ClusterIP = cluster.DNSAddress
	return service
}

// configMap is one of kube-system.
func configMap(name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name},
		Data:       map[string]string{key: value},
	}
}

func corefileMap(corefile string) *corev1.ConfigMap {
	return configMap("coredns", "Corefile", corefile)
}

func proxyMap(config string) *corev1.ConfigMap {
	return configMap("kube-proxy-worker", "config.conf", config)
}

func terwayMap(config string) *corev1.ConfigMap {
	return configMap("eni-config", "10-terway.conf", config)
}

// proxyConfig is a configuration of kube-proxy.
func proxyConfig(udpTimeout string) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs:
  scheduler: rr
  tcpTimeout: 0s
  udpTimeout: %s
conntrack:
  maxPerCore: 65536
  min: 131072
`, udpTimeout)
}

// terwayConfig is a configuration of Terway.
const terwayConfig = `{
  "cniVersion": "0.4.0", "name": "terway", "type": "terway",
  "eniip_virtual_type": "IPVlan", "host_stack_cidrs": ["` + cacheAddress + `/32"]
}`

// daemonSet is one of kube-system, of which so many are ready.
func daemonSet(name, container, image string, desired, ready int32) *appsv1.DaemonSet {
	labels := map[string]string{"k8s-app": name}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: template(labels, container, image),
		},
		Status: appsv1.DaemonSetStatus{
			DesiredNumberScheduled: desired, CurrentNumberScheduled: desired,
			UpdatedNumberScheduled: desired, NumberReady: ready, NumberMisscheduled: 0,
		},
	}
}

func nodeCache(desired, ready int32) *appsv1.DaemonSet {
	return daemonSet("node-local-dns", "node-cache", "registry.example/node-cache:v1.22.28", desired, ready)
}

func terwayDaemonSet() *appsv1.DaemonSet {
	return daemonSet("terway-eniip", "terway", "registry.example/terway:v1.5.0", 3, 3)
}

// controller is the Deployment behind the webhook of NodeLocal DNSCache.
func controller(replicas, available int32) *appsv1.Deployment {
	labels := map[string]string{"k8s-app": controllerName}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: controllerName},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: template(labels, "webhook", "registry.example/webhook:v1"),
		},
		Status: appsv1.DeploymentStatus{Replicas: replicas, ReadyReplicas: available, AvailableReplicas: available},
	}
}

// webhook sets pods up for the cache. It matches none that the tests write: nobody
// would answer.
func webhook(ca string) *admissionv1.MutatingWebhookConfiguration {
	path, ignore, none := "/inject", admissionv1.Ignore, admissionv1.SideEffectClassNone
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: controllerName},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "inject.node-local-dns.example",
			ClientConfig: admissionv1.WebhookClientConfig{
				Service:  &admissionv1.ServiceReference{Namespace: system, Name: controllerName, Path: &path},
				CABundle: []byte(ca),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"none": "such"}},
			FailurePolicy:     &ignore, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
}

// labelledNamespace asks for the cache.
func labelledNamespace() *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: cacheNamespace, Labels: map[string]string{"node-local-dns-injection": "enabled"},
	}}
}

// userPod is a pod of the namespace that uses the cache. injected is set up for it.
func userPod(name, node string, injected bool) *corev1.Pod {
	pod := cluster.Pod(cacheNamespace, name, map[string]string{"app": "shop"}, node, "10.244.5.5")
	pod.Spec.DNSPolicy = corev1.DNSClusterFirst
	if injected {
		pod.Spec.DNSPolicy = corev1.DNSNone
		pod.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{cacheAddress, cluster.DNSAddress}}
	}
	return pod
}

// putNodes registers the nodes with the numbers below n.
func putNodes(t testing.TB, c *clustertest.Cluster, n int) {
	t.Helper()
	for number := range n {
		c.Put(t, cluster.Node(number))
	}
}
