package coredns

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector/coredns/corefile"
	"ack-exporter/internal/kube"
)

// Where ACK keeps CoreDNS.
const (
	namespace      = metav1.NamespaceSystem
	deploymentName = "coredns"
	configMapName  = "coredns"
	serviceName    = "kube-dns"
	podLabel       = "k8s-app=kube-dns"
	containerName  = "coredns"
	corefileKey    = "Corefile"
)

// Labels of nodes.
const (
	zoneLabel    = corev1.LabelTopologyZone
	oldZoneLabel = corev1.LabelFailureDomainBetaZone
)

// Sources is where a Collector finds objects. Each Query selects at least what the
// function of the same name below says, and the trim function beside it keeps all
// that is used.
type Sources struct {
	Deployments    kube.Lister[*appsv1.Deployment]
	Pods           kube.Lister[*corev1.Pod]
	EndpointSlices kube.Lister[*discoveryv1.EndpointSlice]
	ConfigMaps     kube.Lister[*corev1.ConfigMap]
	// Services are at least kube-system/kube-dns. Of it is used spec.sessionAffinity,
	// where anything but ClientIP means none.
	Services kube.Lister[*corev1.Service]
	// Nodes are all nodes of the cluster. Of each are used the name, the labels type,
	// topology.kubernetes.io/zone and failure-domain.beta.kubernetes.io/zone,
	// spec.unschedulable, and the cpu of status.capacity.
	Nodes kube.Lister[*corev1.Node]
}

// DeploymentQuery selects the Deployment of CoreDNS.
func DeploymentQuery() kube.Query { return named(deploymentName) }

// PodQuery selects the pods of CoreDNS.
func PodQuery() kube.Query { return kube.Query{Namespace: namespace, Labels: podLabel} }

// EndpointSliceQuery selects the endpoints of the Service of the cluster's DNS.
func EndpointSliceQuery() kube.Query {
	return kube.Query{Namespace: namespace, Labels: discoveryv1.LabelServiceName + "=" + serviceName}
}

// ConfigMapQuery selects the ConfigMap with the Corefile.
func ConfigMapQuery() kube.Query { return named(configMapName) }

func named(name string) kube.Query {
	return kube.Query{Namespace: namespace, Fields: "metadata.name=" + name}
}

// identity is what remains of the metadata of every object.
func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID,
		ResourceVersion: m.ResourceVersion, DeletionTimestamp: m.DeletionTimestamp,
	}
}

// TrimDeployment drops what is not used of a Deployment.
func TrimDeployment(d *appsv1.Deployment) {
	*d = appsv1.Deployment{
		ObjectMeta: identity(d.ObjectMeta),
		Spec:       appsv1.DeploymentSpec{Replicas: d.Spec.Replicas},
	}
}

// TrimPod drops what is not used of a Pod.
func TrimPod(p *corev1.Pod) {
	kept := corev1.Pod{
		ObjectMeta: identity(p.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: p.Spec.NodeName},
		Status:     corev1.PodStatus{Phase: p.Status.Phase, Reason: p.Status.Reason, PodIP: p.Status.PodIP},
	}
	for _, c := range p.Spec.Containers {
		kept.Spec.Containers = append(kept.Spec.Containers, corev1.Container{
			Name: c.Name, Image: c.Image,
			Resources: corev1.ResourceRequirements{Limits: only(c.Resources.Limits, corev1.ResourceMemory)},
		})
	}
	for _, c := range p.Status.Conditions {
		kept.Status.Conditions = append(kept.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status})
	}
	for _, c := range p.Status.ContainerStatuses {
		kept.Status.ContainerStatuses = append(kept.Status.ContainerStatuses, trimmedStatus(c))
	}
	*p = kept
}

func trimmedStatus(c corev1.ContainerStatus) corev1.ContainerStatus {
	kept := corev1.ContainerStatus{Name: c.Name, RestartCount: c.RestartCount}
	if w := c.State.Waiting; w != nil {
		kept.State.Waiting = &corev1.ContainerStateWaiting{Reason: w.Reason}
	}
	if t := c.LastTerminationState.Terminated; t != nil {
		kept.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			Reason: t.Reason, ExitCode: t.ExitCode, FinishedAt: t.FinishedAt,
		}
	}
	return kept
}

func only(list corev1.ResourceList, name corev1.ResourceName) corev1.ResourceList {
	quantity, ok := list[name]
	if !ok {
		return nil
	}
	return corev1.ResourceList{name: quantity}
}

// TrimEndpointSlice drops what is not used of an EndpointSlice.
func TrimEndpointSlice(s *discoveryv1.EndpointSlice) {
	kept := discoveryv1.EndpointSlice{ObjectMeta: identity(s.ObjectMeta)}
	for _, e := range s.Endpoints {
		trimmed := discoveryv1.Endpoint{
			Addresses:  e.Addresses,
			Conditions: discoveryv1.EndpointConditions{Ready: e.Conditions.Ready},
		}
		if e.TargetRef != nil {
			trimmed.TargetRef = &corev1.ObjectReference{Name: e.TargetRef.Name}
		}
		kept.Endpoints = append(kept.Endpoints, trimmed)
	}
	*s = kept
}

// TrimConfigMap drops what is not used of a ConfigMap. A Corefile that is too large
// stays large enough to be recognised.
func TrimConfigMap(m *corev1.ConfigMap) {
	kept := corev1.ConfigMap{ObjectMeta: identity(m.ObjectMeta)}
	if text, ok := m.Data[corefileKey]; ok {
		kept.Data = map[string]string{corefileKey: strings.Clone(text[:min(len(text), corefile.MaxSize+1)])}
	}
	*m = kept
}
