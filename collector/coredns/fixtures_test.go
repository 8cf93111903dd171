package coredns

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/internal/kube"
)

// list is a Lister of what a test gives it.
type list[T any] struct {
	items []T
	err   error
}

func (l list[T]) List() ([]T, error) { return l.items, l.err }

// sources lists o.
func sources(o objects) Sources {
	return Sources{
		Deployments:    list[*appsv1.Deployment]{items: o.deployments},
		Pods:           list[*corev1.Pod]{items: o.pods},
		Services:       list[*corev1.Service]{items: o.services},
		EndpointSlices: list[*discoveryv1.EndpointSlice]{items: o.slices},
		ConfigMaps:     list[*corev1.ConfigMap]{items: o.configMaps},
		Nodes:          list[*corev1.Node]{items: o.nodes},
	}
}

const image = "registry-vpc.cn-hangzhou.aliyuncs.com/acs/coredns:v1.9.3.10-7dfca203-aliyun"

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, ResourceVersion: "7",
		Labels: map[string]string{"k8s-app": "kube-dns"}, Annotations: map[string]string{"not": "used"},
	}
}

func deployment(replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: meta(deploymentName), Spec: appsv1.DeploymentSpec{Replicas: &replicas, Paused: true}}
}

// pod is a replica that is ready, on node-N with the address 10.0.0.N.
func pod(n int, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: meta(fmt.Sprintf("coredns-%d", n)),
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprintf("node-%d", n),
			Containers: []corev1.Container{{
				Name: containerName, Image: image, Args: []string{"-conf", "/etc/coredns/Corefile"},
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
					corev1.ResourceMemory: resource.MustParse("2Gi"), corev1.ResourceCPU: resource.MustParse("1"),
				}},
			}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.0.%d", n),
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, Message: "not used"},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Name: containerName, Image: image}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func notReady(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionFalse }

func unscheduled(p *corev1.Pod) {
	p.Spec.NodeName = ""
	p.Status = corev1.PodStatus{
		Phase:      corev1.PodPending,
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse}},
	}
}

func leaving(p *corev1.Pod) {
	p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1700000000, 0)}
}

func phase(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = phase }
}

func isWaiting(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		notReady(p)
		p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: "not used"}
	}
}

func ended(restarts int32, reason string, code int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := &p.Status.ContainerStatuses[0]
		c.RestartCount = restarts
		c.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			Reason: reason, ExitCode: code, FinishedAt: metav1.Unix(1700000000, 0),
		}
	}
}

func memory(limit string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Limits = nil
		if limit != "" {
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}
		}
	}
}

func node(n int, zone, cpu string, change ...func(*corev1.Node)) *corev1.Node {
	made := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", n), Labels: map[string]string{zoneLabel: zone}},
		Status:     corev1.NodeStatus{Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}},
	}
	for _, c := range change {
		c(made)
	}
	return made
}

func virtual(n *corev1.Node)       { n.Labels["type"] = "virtual-kubelet" }
func unschedulable(n *corev1.Node) { n.Spec.Unschedulable = true }

func service(affinity corev1.ServiceAffinity) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(serviceName), Spec: corev1.ServiceSpec{SessionAffinity: affinity, ClusterIP: "172.21.0.10"}}
}

func endpoint(n int, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  []string{fmt.Sprintf("10.0.0.%d", n)},
		Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: ready},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("coredns-%d", n)},
	}
}

func slice(endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: meta(serviceName + "-abcde"), Endpoints: endpoints}
}

const healthyCorefile = `.:53 {
    errors
    health {
       lameduck 15s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods verified
       fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       prefer_udp
    }
    cache 30
    loop
    reload
    loadbalance
}
`

func configMap(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: meta(configMapName), Data: map[string]string{corefileKey: text, "other": "not used"}}
}

// healthyObjects is a cluster with two replicas, one in each zone, that has what ACK
// recommends.
func healthyObjects() objects {
	return objects{
		deployments: []*appsv1.Deployment{deployment(2)},
		pods:        []*corev1.Pod{pod(2), pod(1)},
		services:    []*corev1.Service{service(corev1.ServiceAffinityNone)},
		slices:      []*discoveryv1.EndpointSlice{slice(endpoint(1, new(true)), endpoint(2, new(true)))},
		configMaps:  []*corev1.ConfigMap{configMap(healthyCorefile)},
		nodes:       []*corev1.Node{node(1, "cn-hangzhou-i", "8"), node(2, "cn-hangzhou-j", "8")},
	}
}

// trimmed is o as it comes out of a watch.
func trimmed(o objects) objects {
	each(o.deployments, TrimDeployment)
	each(o.pods, TrimPod)
	each(o.services, kube.TrimService)
	each(o.slices, TrimEndpointSlice)
	each(o.configMaps, TrimConfigMap)
	return o
}

func each[T any](list []T, do func(T)) {
	for _, item := range list {
		do(item)
	}
}
