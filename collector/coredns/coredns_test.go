package coredns

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/coredns/corefile"
)

// healthySum is the hash of healthyCorefile.
func healthySum(t testing.TB) string {
	t.Helper()
	f, err := corefile.Parse(healthyCorefile)
	if err != nil {
		t.Fatal(err)
	}
	sum, known := f.Sum("sha512")
	if !known {
		t.Fatal("no sum")
	}
	return sum
}

func newTestCollector(t testing.TB, o objects, n *network) *Collector {
	t.Helper()
	return New(Config{Sources: sources(o), Prober: newTestProber(t, n, patience)})
}

func TestCollectHealthy(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	n.serveHealthy(t, "10.0.0.1", metricsOf("1.9.3", "sha512", healthySum(t)))
	n.serveHealthy(t, "10.0.0.2", metricsOf("1.9.3", "", ""))
	got, err := collectortest.Collect(t, newTestCollector(t, trimmed(healthyObjects()), n))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "healthy.prom", got)
}

func TestCollectSick(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	// One has an old Corefile, one answers nothing but questions over UDP, the others
	// cannot be asked.
	n.serveHealthy(t, "10.0.0.1", strings.Replace(metricsOf("1.9.3", "sha512", "1234"), "reload_failed_total 0", "reload_failed_total 1", 1))
	n.serveHTTP(t, "10.0.0.1", readyPort, say(http.StatusServiceUnavailable, "kubernetes"))
	n.serveDNS(t, "10.0.0.2", resolve)
	delete(n.servers, "tcp 10.0.0.2:53")

	o := objects{
		deployments: []*appsv1.Deployment{deployment(6)},
		pods: []*corev1.Pod{
			pod(1, ended(3, "OOMKilled", 137), memory("170Mi")),
			pod(2, notReady, ended(1, "Error", 1), func(p *corev1.Pod) { p.Spec.NodeName = "node-1" }),
			pod(3, unscheduled),
			pod(4, isWaiting("CrashLoopBackOff"), ended(7, "Completed", 0), phase(corev1.PodPending)),
			pod(5, leaving, notReady),
			pod(6, phase(corev1.PodFailed), notReady),
		},
		services: []*corev1.Service{service(corev1.ServiceAffinityClientIP)},
		slices: []*discoveryv1.EndpointSlice{
			slice(endpoint(1, nil), endpoint(2, new(false))), slice(endpoint(1, new(false)), endpoint(4, new(false))),
		},
		configMaps: []*corev1.ConfigMap{configMap(strings.NewReplacer(
			"lameduck 15s", "lameduck 5s", "    ready\n", "    autopath @kubernetes\n", "    cache 30\n", "", "prefer_udp", "",
		).Replace(healthyCorefile))},
		nodes: []*corev1.Node{
			node(1, "cn-hangzhou-i", "130"), node(2, "cn-hangzhou-j", "64500m"), node(3, "cn-hangzhou-k", "8", unschedulable),
			node(4, "cn-hangzhou-l", "1000", virtual),
		},
	}
	got, err := collectortest.Collect(t, newTestCollector(t, trimmed(o), n))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "sick.prom", got)
}

// TestCollectBroken shows that a ConfigMap which cannot be used hides nothing else.
func TestCollectBroken(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	n.serveHealthy(t, "10.0.0.1", metricsOf("1.9.3", "sha512", "1234"))
	tests := map[string]struct {
		configMaps []*corev1.ConfigMap
		target     error
		says       string
		// parse is the line that tells so, if any.
		parse string
	}{
		"syntax": {
			[]*corev1.ConfigMap{configMap(".:53 {\n    errors\n    health {\n")},
			collector.ErrDecode,
			"ConfigMap kube-system/coredns: Corefile:3 - ", `ack_coredns_corefile_check{check="parse"} 0`,
		},
		"huge": {
			[]*corev1.ConfigMap{configMap(strings.Repeat("#", corefile.MaxSize+100))}, collector.ErrDecode, "262144", "",
		},
		"hostile": {
			[]*corev1.ConfigMap{configMap("(a) {\n    import b\n}\n(b) {\n    import a\n}\n. {\n    import a\n}\n")},
			collector.ErrDecode,
			"imports itself", `ack_coredns_corefile_check{check="parse"} 0`,
		},
		"no key": {
			[]*corev1.ConfigMap{{ObjectMeta: meta(configMapName)}}, collector.ErrDecode, "no key Corefile", "",
		},
		"none": {nil, collector.ErrUnavailable, "does not exist", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := healthyObjects()
			o.pods = o.pods[1:]
			o.configMaps = test.configMaps
			got, err := collectortest.Collect(t, newTestCollector(t, trimmed(o), n))
			if !errors.Is(err, test.target) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
			for _, line := range []string{
				`ack_coredns_replicas{state="ready"} 1`, `ack_coredns_endpoint_up{check="dns_udp",node="node-1",pod="coredns-1"} 1`,
				"ack_coredns_corefile_versions 1",
			} {
				if !strings.Contains(got, line+"\n") {
					t.Errorf("no %s", line)
				}
			}
			if test.parse != "" && !strings.Contains(got, test.parse+"\n") {
				t.Errorf("no %s", test.parse)
			}
			want := 0
			if test.parse != "" {
				want = 1
			}
			if n := strings.Count(got, "ack_coredns_corefile_check{"); n != want {
				t.Errorf("%d checks, want %d", n, want)
			}
			if strings.Contains(got, "ack_coredns_lameduck_seconds") || strings.Contains(got, "ack_coredns_corefile_loaded") {
				t.Error("tells what cannot be known")
			}
		})
	}
}

func TestCollectNotApplicable(t *testing.T) {
	t.Parallel()
	o := healthyObjects()
	o.deployments, o.pods = nil, nil
	got, err := collectortest.Collect(t, newTestCollector(t, o, newNetwork()))
	if !errors.Is(err, collector.ErrNotApplicable) || got != "" {
		t.Errorf("got %v\n%s", err, got)
	}
}

// TestCollectNoPods shows that a CoreDNS which has lost all its pods is not taken for
// one that does not exist.
func TestCollectNoPods(t *testing.T) {
	t.Parallel()
	o := healthyObjects()
	o.pods, o.slices = nil, nil
	got, err := collectortest.Collect(t, newTestCollector(t, o, newNetwork()))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`ack_coredns_replicas{state="ready"} 0`, `ack_coredns_replicas{state="desired"} 2`,
		`ack_coredns_service_endpoints{state="ready"} 0`, "ack_coredns_hosting_nodes 0",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}

// TestCollectSourceFails shows that nothing is told from a part of the objects.
func TestCollectSourceFails(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*Sources){
		"deployments": func(s *Sources) { s.Deployments = list[*appsv1.Deployment]{err: collector.ErrForbidden} },
		"pods":        func(s *Sources) { s.Pods = list[*corev1.Pod]{err: collector.ErrForbidden} },
		"services":    func(s *Sources) { s.Services = list[*corev1.Service]{err: collector.ErrForbidden} },
		"slices":      func(s *Sources) { s.EndpointSlices = list[*discoveryv1.EndpointSlice]{err: collector.ErrForbidden} },
		"config maps": func(s *Sources) { s.ConfigMaps = list[*corev1.ConfigMap]{err: collector.ErrForbidden} },
		"nodes":       func(s *Sources) { s.Nodes = list[*corev1.Node]{err: collector.ErrForbidden} },
	}
	for name, fail := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTestCollector(t, healthyObjects(), newNetwork())
			fail(&c.sources)
			metrics, err := c.Collect(t.Context())
			if !errors.Is(err, collector.ErrForbidden) || metrics != nil {
				t.Errorf("got %d metrics, %v", len(metrics), err)
			}
		})
	}
}

// TestReadyByRelease shows that the plugin ready is asked for where it exists only.
func TestReadyByRelease(t *testing.T) {
	t.Parallel()
	without := strings.Replace(healthyCorefile, "    ready\n", "", 1)
	tests := map[string]struct {
		text     string
		releases []string
		want     bool
	}{
		"there":                            {healthyCorefile, []string{"1.9.3"}, true},
		"missing":                          {without, []string{"1.9.3"}, false},
		"the first release that has it":    {without, []string{"1.5.0"}, false},
		"too old for it":                   {healthyCorefile, []string{"1.4.0", "1.3.1"}, false},
		"too old, and not there":           {without, []string{"1.3.1"}, true},
		"while it is upgraded":             {without, []string{"1.3.1", "1.6.2"}, false},
		"a release that cannot be told":    {without, []string{""}, false},
		"one that can, and one that can't": {without, []string{"", "1.3.1"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := corefile.Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			var s Snapshot
			for _, release := range test.releases {
				s.Replicas = append(s.Replicas, Replica{Version: release})
			}
			s.assessCorefile(file, nil)
			if got := s.Checks[corefile.CheckReady]; got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestLoaded(t *testing.T) {
	t.Parallel()
	file, err := corefile.Parse(healthyCorefile)
	if err != nil {
		t.Fatal(err)
	}
	included, err := corefile.Parse(healthyCorefile + "import more\n")
	if err != nil {
		t.Fatal(err)
	}
	good := &Sum{"sha512", healthySum(t)}
	tests := map[string]struct {
		file     *corefile.File
		sums     []*Sum
		want     string // one letter for each replica
		versions int
		failures float64
	}{
		"all":                  {file, []*Sum{good, good}, "yy", 1, 0},
		"one has another":      {file, []*Sum{good, {"sha512", "1234"}}, "yn", 2, 0},
		"none tells":           {file, []*Sum{nil, nil}, "--", 0, 0},
		"one tells":            {file, []*Sum{nil, good}, "-y", 1, 0},
		"one not asked":        {file, []*Sum{good}, "y", 1, 0},
		"unknown algorithm":    {file, []*Sum{{"crc32", "1234"}, good}, "-y", 1, 0},
		"failed before":        {file, []*Sum{good, {"sha512", "1234"}}, "-n", 2, 1},
		"file that is unknown": {included, []*Sum{good, {"sha512", "1234"}}, "--", 2, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Snapshot{}
			for _, sum := range test.sums {
				s.Replicas = append(s.Replicas, Replica{Asked: Reply{Facts: &Facts{Loaded: sum, ReloadFailures: &test.failures}}})
			}
			s.Replicas = append(s.Replicas, Replica{}) // one without facts
			s.assessCorefile(test.file, nil)
			got := ""
			for _, r := range s.Replicas {
				switch {
				case r.Loaded == nil:
					got += "-"
				case *r.Loaded:
					got += "y"
				default:
					got += "n"
				}
			}
			if got != test.want+"-" {
				t.Errorf("got %s, want %s-", got, test.want)
			}
			if (s.Versions == nil) != (test.versions == 0) || s.Versions != nil && *s.Versions != test.versions {
				t.Errorf("versions: %v, want %d", s.Versions, test.versions)
			}
		})
	}
}

func TestCollectSlowReplica(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	n.serveHealthy(t, "10.0.0.1", metricsOf("1.9.3", "", ""))
	n.serveHanging(t, "10.0.0.2")
	c := New(Config{Sources: sources(healthyObjects()), Prober: newTestProber(t, n, quick)})
	got, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range checks() {
		for pod, want := range map[string]string{"1": "1", "2": "0"} {
			line := `ack_coredns_endpoint_up{check="` + string(check) + `",node="node-` + pod + `",pod="coredns-` + pod + `"} ` + want
			if !strings.Contains(got, line+"\n") {
				t.Errorf("no %s", line)
			}
		}
	}
}
