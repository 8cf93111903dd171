//go:build e2e

package dnscluster

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
)

const system = metav1.NamespaceSystem

// ProxyConfigMap is the ConfigMap of kube-proxy.
const ProxyConfigMap = "kube-proxy-worker"

// GoodProxyConfig is a configuration of kube-proxy as ACK recommends.
const GoodProxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
ipvs:
  udpTimeout: 10s
`

// GoodCorefile is as ACK recommends, but replicas follow it soon.
func GoodCorefile() string {
	return strings.NewReplacer("cache 30", "cache 1", "reload\n", "reload 2s 1s\n").Replace(cluster.DefaultCorefile)
}

func labels() map[string]string { return map[string]string{"k8s-app": "kube-dns"} }

// Service is the Service kube-dns.
func Service() *corev1.Service {
	service := cluster.Service(system, "kube-dns", labels(),
		corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		corev1.ServicePort{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP})
	service.Spec.ClusterIP = cluster.DNSAddress
	return service
}

// dnsPod is a replica of CoreDNS on the node of that number.
func dnsPod(number int, address string) *corev1.Pod {
	pod := cluster.Pod(system, fmt.Sprintf("coredns-%d", number), labels(), cluster.Node(number).Name, address)
	pod.Spec.Containers[0] = container()
	pod.Status.ContainerStatuses[0].Name = pod.Spec.Containers[0].Name
	pod.Status.ContainerStatuses[0].Image = pod.Spec.Containers[0].Image
	return pod
}

func container() corev1.Container {
	return corev1.Container{
		Name: "coredns", Image: "registry.example/coredns:v1.15.0",
		Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
		},
	}
}

func deployment() *appsv1.Deployment {
	replicas := int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "coredns"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels()},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container()}},
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
