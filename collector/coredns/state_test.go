package coredns

import (
	"errors"
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/coredns/corefile"
)

func TestRecommended(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		nodes int
		cores int64 // thousandths
		want  int
	}{
		{0, 0, 2},
		{16, 128_000, 2},
		{17, 0, 3},
		{24, 0, 3},
		{3, 128_001, 3},
		{3, 192_000, 3},
		{3, 6400_000, 100},
		{3, 6400_001, 100},
		{800, 0, 100},
		{5000, 0, 100},
	} {
		if got := recommended(test.nodes, test.cores); got != test.want {
			t.Errorf("%d nodes with %d thousandths of a core: got %d, want %d", test.nodes, test.cores, got, test.want)
		}
	}
}

func TestHosting(t *testing.T) {
	t.Parallel()
	on := func(name string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = name } }
	oldLabel := func(n *corev1.Node) {
		n.Labels = map[string]string{oldZoneLabel: n.Labels[zoneLabel]}
	}
	noLabel := func(n *corev1.Node) { n.Labels = nil }
	tests := map[string]struct {
		pods                       []*corev1.Pod
		nodes                      []*corev1.Node
		hostingNodes, hostingZones int
		clusterNodes, clusterZones int
	}{
		"spread": {
			[]*corev1.Pod{pod(1), pod(2)},
			[]*corev1.Node{node(1, "i", "4"), node(2, "j", "4"), node(3, "k", "4")},
			2, 2, 3, 3,
		},
		"on one node": {
			[]*corev1.Pod{pod(1), pod(2, on("node-1"))}, []*corev1.Node{node(1, "i", "4"), node(2, "j", "4")}, 1, 1, 2, 2,
		},
		"in one zone": {
			[]*corev1.Pod{pod(1), pod(2)}, []*corev1.Node{node(1, "i", "4"), node(2, "i", "4")}, 2, 1, 2, 1,
		},
		"not ready elsewhere": {
			[]*corev1.Pod{pod(1), pod(2, notReady)}, []*corev1.Node{node(1, "i", "4"), node(2, "j", "4")}, 1, 1, 2, 2,
		},
		"leaving elsewhere": {
			[]*corev1.Pod{pod(1), pod(2, leaving)}, []*corev1.Node{node(1, "i", "4"), node(2, "j", "4")}, 1, 1, 2, 2,
		},
		"on a virtual node": {
			[]*corev1.Pod{pod(1), pod(2, on("node-1")), pod(3, on("node-2"))},
			[]*corev1.Node{node(1, "i", "4", virtual), node(2, "j", "4")},
			3, 2, 1, 1,
		},
		"old label of zones": {
			[]*corev1.Pod{pod(1), pod(2)}, []*corev1.Node{node(1, "i", "4", oldLabel), node(2, "j", "4")}, 2, 2, 2, 2,
		},
		"no zones": {
			[]*corev1.Pod{pod(1), pod(2)}, []*corev1.Node{node(1, "", "4", noLabel), node(2, "", "4")}, 2, 0, 2, 0,
		},
		"node that is not known": {[]*corev1.Pod{pod(1)}, nil, 1, 0, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := assess(objects{pods: test.pods, nodes: test.nodes})
			got := []int{s.HostingNodes, s.HostingZones, s.ClusterNodes, s.ClusterZones}
			want := []int{test.hostingNodes, test.hostingZones, test.clusterNodes, test.clusterZones}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"ready":            {pod(1), ""},
		"leaving":          {pod(1, notReady, leaving), ""},
		"probe":            {pod(1, notReady), "probe"},
		"crashing":         {pod(1, isWaiting("CrashLoopBackOff")), "crash_loop"},
		"image":            {pod(1, isWaiting("ImagePullBackOff")), "image"},
		"create":           {pod(1, isWaiting("CreateContainerConfigError")), "create"},
		"creating":         {pod(1, isWaiting("ContainerCreating")), "starting"},
		"something new":    {pod(1, isWaiting("SomethingNew")), "other"},
		"unscheduled":      {pod(1, unscheduled), "unschedulable"},
		"just scheduled":   {pod(1, notReady, phase(corev1.PodPending), func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }), "starting"},
		"node lost":        {pod(1, notReady, func(p *corev1.Pod) { p.Status.Reason = "NodeLost" }), "node_lost"},
		"phase unknown":    {pod(1, notReady, phase(corev1.PodUnknown)), "node_lost"},
		"no condition yet": {pod(1, func(p *corev1.Pod) { p.Status.Conditions = nil }), "probe"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := makeReplica(test.pod).NotReady; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	sidecar := func(p *corev1.Pod) {
		p.Spec.Containers = append([]corev1.Container{{Name: "sidecar"}}, p.Spec.Containers...)
	}
	renamed := func(p *corev1.Pod) { p.Spec.Containers[0].Name = "dns" }
	gib := float64(1 << 30)
	tests := map[string]struct {
		pods []*corev1.Pod
		want *float64
	}{
		"same":      {[]*corev1.Pod{pod(1), pod(2)}, new(2 * gib)},
		"different": {[]*corev1.Pod{pod(1), pod(2, memory("1Gi"))}, new(gib)},
		"one none":  {[]*corev1.Pod{pod(1), pod(2, memory(""))}, new(2 * gib)},
		"none":      {[]*corev1.Pod{pod(1, memory(""))}, nil},
		"sidecar":   {[]*corev1.Pod{pod(1, sidecar)}, new(2 * gib)},
		"renamed":   {[]*corev1.Pod{pod(1, renamed)}, new(2 * gib)},
		"which one": {[]*corev1.Pod{pod(1, renamed, sidecar)}, nil},
		"no pods":   {nil, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := assess(objects{pods: test.pods}).MemoryLimit; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	s := assess(objects{})
	if s.ClientIP != nil || s.ReadyEndpoints != 0 {
		t.Errorf("without a Service: %+v", s)
	}
	// All Services of the cluster come along.
	others := []*corev1.Service{service(corev1.ServiceAffinityClientIP), service(corev1.ServiceAffinityClientIP)}
	others[0].Namespace, others[1].Name = "games", "kube-dns-upstream"
	if s = assess(objects{services: others}); s.ClientIP != nil {
		t.Errorf("of another Service: %v", *s.ClientIP)
	}
	anonymous := discoveryv1.Endpoint{Addresses: []string{"10.0.0.9"}}
	s = assess(objects{
		services: []*corev1.Service{service(corev1.ServiceAffinityNone), others[0], others[1]},
		slices: []*discoveryv1.EndpointSlice{
			slice(endpoint(1, new(true)), endpoint(2, new(false)), endpoint(3, nil)), slice(endpoint(1, new(true)), anonymous),
		},
	})
	if s.ClientIP == nil || *s.ClientIP {
		t.Error("session affinity")
	}
	if s.ReadyEndpoints != 3 || s.NotReadyEndpoints != 1 {
		t.Errorf("%d are ready and %d not", s.ReadyEndpoints, s.NotReadyEndpoints)
	}
}

func TestDesired(t *testing.T) {
	t.Parallel()
	if s := assess(objects{}); s.Desired != nil {
		t.Errorf("without a Deployment: %d", *s.Desired)
	}
	if s := assess(objects{deployments: []*appsv1.Deployment{{}}}); *s.Desired != 1 {
		t.Errorf("by default: %d", *s.Desired)
	}
	if s := assess(objects{deployments: []*appsv1.Deployment{deployment(0)}}); *s.Desired != 0 {
		t.Errorf("none: %d", *s.Desired)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		image:                                  "1.9.3",
		"registry:5000/coredns/coredns:1.11.3": "1.11.3",
		"registry:5000/coredns/coredns":        "",
		"coredns:v1.6.2@sha256:0123456789":     "1.6.2",
		"coredns@sha256:0123456789":            "",
		"coredns:1.13.0-rc1":                   "1.13.0",
		"coredns:latest":                       "",
		"coredns:1.6":                          "",
		"coredns:1.x.3":                        "",
		"coredns:1.6.-2":                       "",
		"":                                     "",
	} {
		if got := version(tag(image)); got != want {
			t.Errorf("%s: got %q, want %q", image, got, want)
		}
	}
}

func TestIsLegacy(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"1.2.6": true, "1.4.0": true, "0.9.9": true, "1.5.0": false, "1.10.1": false, "2.0.0": false, "": false,
	} {
		if got := isLegacy(release); got != want {
			t.Errorf("%s: got %t", release, got)
		}
	}
}

// TestTrim shows that what is trimmed means the same.
func TestTrim(t *testing.T) {
	t.Parallel()
	sick := func() objects {
		o := healthyObjects()
		o.pods = append(o.pods, pod(3, unscheduled), pod(4, isWaiting("CrashLoopBackOff"), ended(7, "OOMKilled", 137)), pod(5, leaving), pod(6, memory("1Gi")))
		o.slices = append(o.slices, slice(endpoint(3, nil), discoveryv1.Endpoint{Addresses: []string{"10.0.0.9"}}))
		return o
	}
	want, got := assess(sick()), assess(trimmed(sick()))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("trimmed: %+v\nwhole: %+v", got, want)
	}
	o := trimmed(sick())
	for _, p := range o.pods {
		if p.Labels != nil || p.Annotations != nil || p.Name == "" || p.ResourceVersion == "" {
			t.Errorf("metadata: %+v", p.ObjectMeta)
		}
	}
	if len(o.configMaps[0].Data) != 1 || o.deployments[0].Spec.Paused {
		t.Error("keeps what is not used")
	}
	if _, err := new(Collector).readCorefile(o.configMaps); err != nil {
		t.Error(err)
	}
}

func TestUnchangedCorefileIsNotReadAgain(t *testing.T) {
	t.Parallel()
	c := &Collector{}
	read := func(text string) *corefile.File {
		t.Helper()
		file, err := c.readCorefile([]*corev1.ConfigMap{configMap(text)})
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	first := read(". {\n    errors\n}\n")
	if read(". {\n    errors\n}\n") != first {
		t.Error("it is read again")
	}
	if changed := read(". {\n    cache\n}\n"); changed == first || !changed.Checks(false)[corefile.CheckCache] {
		t.Error("a changed one is not read")
	}
	for range 2 {
		if _, err := c.readCorefile([]*corev1.ConfigMap{configMap(". {")}); !errors.Is(err, collector.ErrDecode) {
			t.Errorf("a broken one: %v", err)
		}
	}
}
