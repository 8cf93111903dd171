package coredns

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ack-exporter/internal/kube"
)

// What ACK recommends: a replica for so many nodes and for so many cores, whichever
// needs more, within these bounds.
const (
	nodesPerReplica = 8
	coresPerReplica = 64
	minReplicas     = 2
	maxReplicas     = 100
)

// objects is what the API server has about CoreDNS.
type objects struct {
	deployments []*appsv1.Deployment
	pods        []*corev1.Pod
	services    []*corev1.Service
	slices      []*discoveryv1.EndpointSlice
	configMaps  []*corev1.ConfigMap
	nodes       []*corev1.Node
}

// read lists everything. Part of it would say something else than all, so that an
// error leaves nothing.
func (s Sources) read() (objects, error) {
	var o objects
	var err error
	if o.deployments, err = s.Deployments.List(); err != nil {
		return objects{}, err
	}
	if o.pods, err = s.Pods.List(); err != nil {
		return objects{}, err
	}
	if o.services, err = s.Services.List(); err != nil {
		return objects{}, err
	}
	if o.slices, err = s.EndpointSlices.List(); err != nil {
		return objects{}, err
	}
	if o.configMaps, err = s.ConfigMaps.List(); err != nil {
		return objects{}, err
	}
	o.nodes, err = s.Nodes.List()
	return o, err
}

// Snapshot is what is known about CoreDNS. A nil field is not known.
type Snapshot struct {
	Desired     *int
	Ready       int
	Recommended int
	// HostingNodes and HostingZones run a ready replica. On a virtual node every
	// replica has a machine of its own, and counts as a node.
	HostingNodes, HostingZones int
	// ClusterNodes and ClusterZones could run one.
	ClusterNodes, ClusterZones int

	// ClientIP tells whether the Service sends a client to the same replica again.
	ClientIP                          *bool
	ReadyEndpoints, NotReadyEndpoints int
	// MemoryLimit is the smallest of all replicas that have one, in bytes.
	MemoryLimit *float64

	// Replicas are in the order of their names.
	Replicas []Replica

	Checks   map[string]bool
	Lameduck *time.Duration
	// Versions is how many Corefiles the replicas say that they have loaded.
	Versions *int
}

// Replica is one pod of CoreDNS.
type Replica struct {
	Pod, Node, Zone, Image string
	// Address is empty where the replica cannot be asked.
	Address  string
	Ready    bool
	Leaving  bool
	Restarts int
	// NotReady is why it is not ready; empty where it is, or is leaving.
	NotReady string
	// Ended is how its container ended the last time; nil where it never has.
	Ended *Ending

	// Asked is what it said itself.
	Asked Reply
	// Version is the release it runs, by its own word or by its image.
	Version string
	// Loaded tells whether it has loaded the Corefile of the ConfigMap.
	Loaded *bool
}

// Ending is how a container ended.
type Ending struct {
	Reason string
	At     time.Time
}

// assess tells what the objects mean.
func assess(o objects) Snapshot {
	var s Snapshot
	for _, d := range o.deployments {
		desired := 1 // the default of Kubernetes
		if d.Spec.Replicas != nil {
			desired = int(*d.Spec.Replicas)
		}
		s.Desired = &desired
	}
	nodes := make(map[string]*corev1.Node, len(o.nodes))
	for _, n := range o.nodes {
		nodes[n.Name] = n
	}
	s.assessCluster(o.nodes)
	s.assessPods(o.pods, nodes)
	s.assessService(o.services, o.slices)
	return s
}

func zoneOf(n *corev1.Node) string { return cmp.Or(n.Labels[zoneLabel], n.Labels[oldZoneLabel]) }

// assessCluster counts what the number of replicas depends on. Like the autoscaler of
// ACK's add-on it leaves out virtual nodes and those that take no pods.
func (s *Snapshot) assessCluster(nodes []*corev1.Node) {
	zones := make(map[string]bool)
	var milliCores int64
	for _, n := range nodes {
		if kube.IsVirtual(n) || n.Spec.Unschedulable {
			continue
		}
		s.ClusterNodes++
		milliCores += n.Status.Capacity.Cpu().MilliValue()
		zones[zoneOf(n)] = true
	}
	delete(zones, "")
	s.ClusterZones = len(zones)
	s.Recommended = recommended(s.ClusterNodes, milliCores)
}

func recommended(nodes int, milliCores int64) int {
	byNodes := ceil(int64(nodes), nodesPerReplica)
	byCores := ceil(milliCores, coresPerReplica*1000)
	return int(min(max(minReplicas, byNodes, byCores), maxReplicas))
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

func (s *Snapshot) assessPods(pods []*corev1.Pod, nodes map[string]*corev1.Node) {
	hosts, zones := make(map[string]bool), make(map[string]bool)
	for _, p := range pods {
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			continue // it has ended for good, as by eviction, and another one replaces it
		}
		r := makeReplica(p)
		node := nodes[r.Node]
		if node != nil {
			r.Zone = zoneOf(node)
		}
		s.Replicas = append(s.Replicas, r)
		s.limitMemory(p)
		if !r.Ready || r.Leaving {
			continue
		}
		s.Ready++
		zones[r.Zone] = true
		if node != nil && kube.IsVirtual(node) {
			hosts[r.Node+"/"+r.Pod] = true
		} else {
			hosts[r.Node] = true
		}
	}
	delete(zones, "")
	s.HostingNodes, s.HostingZones = len(hosts), len(zones)
	slices.SortFunc(s.Replicas, func(a, b Replica) int { return cmp.Compare(a.Pod, b.Pod) })
}

// limitMemory takes the limit of a pod into account. One without a limit can use all
// of its node.
func (s *Snapshot) limitMemory(p *corev1.Pod) {
	c := mainContainer(p)
	if c == nil {
		return
	}
	if limit := c.Resources.Limits.Memory(); !limit.IsZero() {
		bytes := limit.AsApproximateFloat64()
		if s.MemoryLimit == nil || bytes < *s.MemoryLimit {
			s.MemoryLimit = &bytes
		}
	}
}

// mainContainer is the one that runs CoreDNS; nil where none has its name and there
// are several.
func mainContainer(p *corev1.Pod) *corev1.Container {
	for i, c := range p.Spec.Containers {
		if c.Name == containerName || len(p.Spec.Containers) == 1 {
			return &p.Spec.Containers[i]
		}
	}
	return nil
}

func makeReplica(p *corev1.Pod) Replica {
	r := Replica{
		Pod: p.Name, Node: p.Spec.NodeName,
		Ready: condition(p, corev1.PodReady) == corev1.ConditionTrue, Leaving: p.DeletionTimestamp != nil,
	}
	if c := mainContainer(p); c != nil {
		r.Image = c.Image
	}
	if p.Status.Phase == corev1.PodRunning && !r.Leaving {
		r.Address = p.Status.PodIP
	}
	if !r.Ready && !r.Leaving {
		r.NotReady = whyNotReady(p)
	}
	for _, c := range p.Status.ContainerStatuses {
		r.Restarts += int(c.RestartCount)
		if t := c.LastTerminationState.Terminated; t != nil && (r.Ended == nil || r.Ended.At.Before(t.FinishedAt.Time)) {
			r.Ended = &Ending{Reason: howEnded(t), At: t.FinishedAt.Time}
		}
	}
	return r
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// howEnded is one of a few words for how a container ended.
func howEnded(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason == "OOMKilled":
		return "oom_killed"
	case t.ExitCode == 0:
		return "completed"
	default:
		return "error"
	}
}

// waiting are the reasons of the kubelet by which a container does not run.
var waiting = map[string]string{
	"CrashLoopBackOff":           "crash_loop",
	"ErrImagePull":               "image",
	"ImagePullBackOff":           "image",
	"InvalidImageName":           "image",
	"ErrImageNeverPull":          "image",
	"ImageInspectError":          "image",
	"RegistryUnavailable":        "image",
	"CreateContainerConfigError": "create",
	"CreateContainerError":       "create",
	"RunContainerError":          "create",
	"ContainerCreating":          "starting",
	"PodInitializing":            "starting",
}

// whyNotReady is one of a few words for why a pod is not ready.
func whyNotReady(p *corev1.Pod) string {
	switch {
	case condition(p, corev1.PodScheduled) == corev1.ConditionFalse:
		return "unschedulable"
	case p.Status.Reason == "NodeLost" || p.Status.Phase == corev1.PodUnknown:
		return "node_lost"
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting == nil {
			continue
		}
		if reason, ok := waiting[c.State.Waiting.Reason]; ok {
			return reason
		}
		return "other"
	}
	if p.Status.Phase == corev1.PodRunning {
		return "probe" // it runs, but does not pass its readiness probe
	}
	return "starting"
}

func (s *Snapshot) assessService(services []*corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) {
	for _, service := range services {
		if service.Namespace != namespace || service.Name != serviceName {
			continue
		}
		s.ClientIP = new(service.Spec.SessionAffinity == corev1.ServiceAffinityClientIP)
	}
	// With two IP families, and while slices are rearranged, an endpoint is in several.
	ready := make(map[string]bool)
	for _, slice := range endpointSlices {
		for _, e := range slice.Endpoints {
			name := strings.Join(e.Addresses, ",")
			if e.TargetRef != nil {
				name = e.TargetRef.Name
			}
			// Kubernetes asks to take a missing condition for true.
			ready[name] = ready[name] || e.Conditions.Ready == nil || *e.Conditions.Ready
		}
	}
	for _, is := range ready {
		if is {
			s.ReadyEndpoints++
		} else {
			s.NotReadyEndpoints++
		}
	}
}

// version is the release in what CoreDNS or its image calls it: "1.9.3" in
// "v1.9.3.10-7dfca203-aliyun". It is empty where there is none.
func version(name string) string {
	name = strings.TrimPrefix(name, "v")
	parts := strings.SplitN(name, ".", 4)
	if len(parts) < 3 {
		return ""
	}
	patch := parts[2]
	if end := strings.IndexFunc(patch, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		patch = patch[:end]
	}
	for _, part := range []string{parts[0], parts[1], patch} {
		if _, err := strconv.ParseUint(part, 10, 16); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("%s.%s.%s", parts[0], parts[1], patch)
}

// tag is the tag of an image: what follows the last colon behind the last slash.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, _ := strings.Cut(name, ":")
	return tag
}

// isLegacy tells whether a release has no plugin ready, but still the plugin proxy.
func isLegacy(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d.", &major, &minor); err != nil {
		return false
	}
	return major < 1 || major == 1 && minor < 5
}
