//go:build e2e

package cluster

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const region = "cn-hangzhou"

// Zones are those over which nodes are spread, one after the other.
func Zones() []string { return []string{region + "-h", region + "-i", region + "-j"} }

// Node is an ECS instance with the given number that is ready, as ACK registers
// it. Put writes it; what a test wants otherwise it changes before.
func Node(number int) *corev1.Node {
	types := []string{"ecs.g7.xlarge", "ecs.c7.xlarge", "ecs.g8i.xlarge", "ecs.u1-c1m4.xlarge"}
	address := NodeAddress(number)
	instance := fmt.Sprintf("i-bp1%017d", number)
	node := newNode(region+"."+address, address, number)
	node.Labels[corev1.LabelInstanceTypeStable] = types[number%len(types)]
	node.Labels["alibabacloud.com/nodepool-id"] = fmt.Sprintf("np%032d", number%8)
	node.Labels["alibabacloud.com/ecs-instance-id"] = instance
	node.Spec.ProviderID = region + "." + instance
	return node
}

// NodeAddress is the internal IP of the node with that number.
func NodeAddress(number int) string {
	return fmt.Sprintf("192.168.%d.%d", number/250, 1+number%250)
}

// VirtualNode is a node that stands for elastic container instances, and that
// no kubelet runs.
func VirtualNode(number int) *corev1.Node {
	node := newNode(fmt.Sprintf("virtual-kubelet-%s-%d", zone(number), number), NodeAddress(number), number)
	node.Labels["type"] = "virtual-kubelet"
	node.Spec.Taints = []corev1.Taint{{
		Key: "virtual-kubelet.io/provider", Value: "alibabacloud", Effect: corev1.TaintEffectNoSchedule,
	}}
	return node
}

func zone(number int) string { return Zones()[number%len(Zones())] }

func newNode(name, address string, number int) *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("4"),
		corev1.ResourceMemory:           resource.MustParse("16Gi"),
		corev1.ResourcePods:             resource.MustParse("64"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:       name,
			corev1.LabelOSStable:       "linux",
			corev1.LabelArchStable:     "amd64",
			corev1.LabelTopologyRegion: region,
			corev1.LabelTopologyZone:   zone(number),
		}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: address},
				{Type: corev1.NodeHostName, Address: name},
			},
			NodeInfo: corev1.NodeSystemInfo{
				KernelVersion: "5.10.134-18.al8.x86_64", OSImage: "Alibaba Cloud Linux 3",
				ContainerRuntimeVersion: "containerd://2.1.4", KubeletVersion: "v1.34.1-aliyun.1",
				OperatingSystem: "linux", Architecture: "amd64",
			},
		},
	}
	SetNodeReady(node, true)
	return node
}

// SetNodeReady sets the conditions of a node.
func SetNodeReady(node *corev1.Node, ready bool) {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	readiness := condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady")
	if !ready {
		readiness = condition(corev1.NodeReady, corev1.ConditionUnknown, "NodeStatusUnknown")
	}
	node.Status.Conditions = []corev1.NodeCondition{
		readiness,
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
	}
}

// Pod is a pod with one container that runs on a node and is ready, as a kubelet
// reports it.
func Pod(namespace, name string, labels map[string]string, node, address string) *corev1.Pod {
	const container = "main"
	started := metav1.Now()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName:   node,
			Containers: []corev1.Container{{Name: container, Image: "registry.example/" + container + ":1"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, StartTime: &started,
			PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: container, Image: "registry.example/" + container + ":1",
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}},
			}},
		},
	}
	SetPodReady(pod, true)
	return pod
}

// SetPodReady sets the conditions of a pod that runs, and of its containers.
func SetPodReady(pod *corev1.Pod, ready bool) {
	now := metav1.Now()
	status, reason := corev1.ConditionTrue, ""
	if !ready {
		status, reason = corev1.ConditionFalse, "ContainersNotReady"
	}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: status, Reason: reason, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: status, Reason: reason, LastTransitionTime: now},
	}
	for i := range pod.Status.ContainerStatuses {
		container := &pod.Status.ContainerStatuses[i]
		container.Ready, container.Started = ready, &ready
	}
}

// Service is a Service of type ClusterIP that selects pods by these labels. The
// API chooses an address unless the test does.
func Service(namespace, name string, selector map[string]string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: selector, Ports: ports},
	}
}

// EndpointSlice is what the controller of endpoints writes for a Service with
// these pods.
func EndpointSlice(service *corev1.Service, pods ...*corev1.Pod) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace, Name: service.Name + "-1",
			Labels: map[string]string{
				discoveryv1.LabelServiceName: service.Name,
				discoveryv1.LabelManagedBy:   "endpointslice-controller.k8s.io",
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, port := range service.Spec.Ports {
		protocol := port.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &port.Name, Protocol: &protocol, Port: &port.Port})
	}
	for _, pod := range pods {
		ready := podReady(pod)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{pod.Status.PodIP},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
			NodeName:   &pod.Spec.NodeName,
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name},
		})
	}
	return slice
}

// TLSSecret is a Secret with a certificate and its private key, both in PEM.
func TLSSecret(namespace, name string, certificate, key []byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}
}

// TLSIngress is an Ingress for the first of the hosts, which serves all of them with
// the certificate of a Secret.
func TLSIngress(namespace, name, secret string, hosts ...string) *networkingv1.Ingress {
	path := networkingv1.PathTypePrefix
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: name, Port: networkingv1.ServiceBackendPort{Number: 80},
	}}
	rule := networkingv1.IngressRule{Host: hosts[0], IngressRuleValue: networkingv1.IngressRuleValue{
		HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &path, Backend: backend}}},
	}}
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: networkingv1.IngressSpec{
			Rules: []networkingv1.IngressRule{rule}, TLS: []networkingv1.IngressTLS{{SecretName: secret, Hosts: hosts}},
		},
	}
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
