package test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// imageOnly are the least values that there are.
const imageOnly = "image: {repository: registry.example.com/ops/ack-exporter}\n"

// everything makes every object that the chart has.
const everything = imageOnly + `
node: {scrape: serviceMonitor, profile: unprivileged}
cluster: {scrape: podMonitor}
networkPolicy: {enabled: true}
prometheusRule: {enabled: true}
dashboards: {enabled: true}
`

// podTemplate is a DaemonSet or a Deployment.
type podTemplate struct {
	object
	pod      *corev1.PodTemplateSpec
	selector map[string]string
}

func workloads(objects []object) []podTemplate {
	var found []podTemplate
	for _, d := range all[*appsv1.DaemonSet](objects) {
		found = append(found, podTemplate{d, &d.Spec.Template, d.Spec.Selector.MatchLabels})
	}
	for _, d := range all[*appsv1.Deployment](objects) {
		found = append(found, podTemplate{d, &d.Spec.Template, d.Spec.Selector.MatchLabels})
	}
	return found
}

func (w podTemplate) container() corev1.Container { return w.pod.Spec.Containers[0] }

func TestGoodValues(t *testing.T) {
	t.Parallel()
	for name, values := range valuesFiles(t, "good") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := render(t, "monitoring", values)
			checkIdentities(t, objects)
			for _, w := range workloads(objects) {
				checkPod(t, w)
				checkVolumes(t, w)
				checkArgs(t, w)
				checkScrapedOnce(t, w, objects)
			}
		})
	}
}

// checkIdentities makes sure that nothing stands twice and nothing lands elsewhere.
func checkIdentities(t *testing.T, objects []object) {
	t.Helper()
	seen := make(map[string]bool)
	for _, o := range objects {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		id := kind + " " + o.GetNamespace() + "/" + o.GetName()
		if seen[id] {
			t.Errorf("%s stands twice", id)
		}
		seen[id] = true
		if !strings.HasPrefix(o.GetName(), "ack-exporter") {
			t.Errorf("%s: the name does not say whose it is", id)
		}
		if o.GetLabels()["app.kubernetes.io/name"] != "ack-exporter" {
			t.Errorf("%s: no label app.kubernetes.io/name", id)
		}
		want := []string{"monitoring"}
		switch kind {
		case "ClusterRole", "ClusterRoleBinding":
			want = []string{""}
		case "Role", "RoleBinding":
			want = append(want, "kube-system")
		}
		if !slices.Contains(want, o.GetNamespace()) {
			t.Errorf("%s: the namespace is none of %q", id, want)
		}
	}
}

// checkPod checks what holds for each pod whatever the values are.
func checkPod(t *testing.T, w podTemplate) {
	t.Helper()
	name, spec := w.GetName(), w.pod.Spec
	for key, value := range w.selector {
		if w.pod.Labels[key] != value {
			t.Errorf("%s: the selector's %s=%s is not on the pod", name, key, value)
		}
	}
	if _, node := w.object.(*appsv1.DaemonSet); node && (spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken) {
		t.Errorf("%s: the node role has a token, and asks no API", name)
	}
	terms := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	virtual := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: "type", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"virtual-kubelet"}},
	}}}
	if !reflect.DeepEqual(terms, virtual) {
		t.Errorf("%s: virtual nodes are not left out: %v", name, terms)
	}
	if spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: no seccomp profile", name)
	}
	if spec.HostPID || spec.HostIPC {
		t.Errorf("%s: more of the host than its network", name)
	}
	c := w.container()
	sc := c.SecurityContext
	if sc.ReadOnlyRootFilesystem == nil || !*sc.ReadOnlyRootFilesystem {
		t.Errorf("%s: the root file system can be written", name)
	}
	if sc.Privileged == nil {
		if *sc.AllowPrivilegeEscalation || !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: capabilities are kept", name)
		}
	}
	if c.LivenessProbe == nil || c.ReadinessProbe == nil {
		t.Errorf("%s: no probes", name)
	}
	if c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() || !c.Resources.Limits.Cpu().IsZero() {
		t.Errorf("%s: wants requests, a limit of memory and none of CPU: %v", name, c.Resources)
	}
}

// checkVolumes makes sure that volumes and mounts belong together, and that nothing
// of the host can be written.
func checkVolumes(t *testing.T, w podTemplate) {
	t.Helper()
	volumes := make(map[string]bool)
	for _, v := range w.pod.Spec.Volumes {
		if volumes[v.Name] {
			t.Errorf("%s: the volume %s stands twice", w.GetName(), v.Name)
		}
		volumes[v.Name] = true
	}
	for _, m := range w.container().VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s: no volume for the mount %s", w.GetName(), m.Name)
		}
		delete(volumes, m.Name)
		if !m.ReadOnly {
			t.Errorf("%s: %s can be written", w.GetName(), m.MountPath)
		}
	}
	if len(volumes) > 0 {
		t.Errorf("%s: volumes without a mount: %v", w.GetName(), volumes)
	}
}

// checkArgs asks the exporter whether it knows all flags: with --help it reads the
// whole command line and starts nothing.
func checkArgs(t *testing.T, w podTemplate) {
	t.Helper()
	c := w.container()
	if c.Command != nil {
		t.Errorf("%s: the image has an entrypoint", w.GetName())
	}
	if out, err := exporter(t, append(slices.Clone(c.Args), "--help")...); err != nil {
		t.Errorf("%s: %v: %s", w.GetName(), err, out)
	}
}

// checkScrapedOnce makes sure that a pod is found in one way at most.
func checkScrapedOnce(t *testing.T, w podTemplate, objects []object) {
	t.Helper()
	matches := func(selector map[string]string) bool {
		for key, value := range selector {
			if w.pod.Labels[key] != value {
				return false
			}
		}
		return true
	}
	ways := 0
	if _, ok := w.pod.Annotations["prometheus.io/scrape"]; ok {
		ways++
	}
	for _, m := range all[*monitoringv1.PodMonitor](objects) {
		if matches(m.Spec.Selector.MatchLabels) {
			ways++
		}
	}
	for _, m := range all[*monitoringv1.ServiceMonitor](objects) {
		for _, s := range all[*corev1.Service](objects) {
			if reflect.DeepEqual(m.Spec.Selector.MatchLabels, s.Spec.Selector) && matches(s.Spec.Selector) {
				ways++
			}
		}
	}
	if ways > 1 {
		t.Errorf("%s is scraped in %d ways", w.GetName(), ways)
	}
}

// Each file of bad values begins with what the error must say.
func TestBadValues(t *testing.T) {
	t.Parallel()
	for name, values := range valuesFiles(t, "bad") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, _, _ := strings.Cut(values, "\n")
			want, ok := strings.CutPrefix(first, "# error: ")
			if !ok {
				t.Fatalf("the first line is %q, not an expected error", first)
			}
			_, err := renderFiles(loadChart(t), namespace, values)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not contain %q: %v", want, err)
			}
		})
	}
}

// A flag that does not exist must not pass the check of the flags.
func TestUnknownFlagIsFound(t *testing.T) {
	t.Parallel()
	if out, err := exporter(t, "node", "--collector.nosuch", "--help"); err == nil {
		t.Errorf("accepted: %s", out)
	}
}

// The schema must know each value, and the values each property of the schema.
func TestSchemaAndValuesAgree(t *testing.T) {
	t.Parallel()
	c := loadChart(t)
	var schema map[string]any
	if err := json.Unmarshal(c.Schema, &schema); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, values, schema map[string]any)
	compare = func(path string, values, schema map[string]any) {
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return
		}
		if schema["additionalProperties"] != false {
			t.Errorf("%s: the schema lets unknown values through", path)
		}
		for name, property := range properties {
			value, ok := values[name]
			if !ok && path+name != ".global" {
				t.Errorf("%s.%s is in the schema, not in values.yaml", path, name)
			}
			if inner, ok := value.(map[string]any); ok {
				compare(path+"."+name, inner, property.(map[string]any))
			}
		}
	}
	properties := schema["properties"].(map[string]any)
	delete(properties, "global")
	compare("", c.Values, schema)
}

func TestFullProfile(t *testing.T) {
	t.Parallel()
	objects := render(t, namespace, imageOnly)
	w := podTemplate{pod: &only[*appsv1.DaemonSet](t, objects, "ack-exporter-node").Spec.Template}
	spec, c := w.pod.Spec, w.container()
	if !spec.HostNetwork || *spec.SecurityContext.RunAsUser != 0 {
		t.Errorf("not the host's network as user 0: %v", spec)
	}
	if !slices.Equal(c.SecurityContext.Capabilities.Add, []corev1.Capability{"NET_ADMIN"}) {
		t.Errorf("capabilities: %v", c.SecurityContext.Capabilities)
	}
	want := map[string]string{
		"/host/proc": "/proc", "/host/sys": "/sys",
		"/host/root/etc/kubernetes": "/etc/kubernetes", "/host/root/var/lib/kubelet/pki": "/var/lib/kubelet/pki",
	}
	if got := hostPaths(w); !reflect.DeepEqual(got, want) {
		t.Errorf("paths of the host: %v, want %v", got, want)
	}
	if off := switchedOff(c.Args); !slices.Equal(off, []string{"kmsg"}) {
		t.Errorf("switched off: %v", off)
	}
	if c.Image != "registry.example.com/ops/ack-exporter:"+loadChart(t).AppVersion() {
		t.Errorf("image: %s", c.Image)
	}
}

func TestKernelLogNeedsPrivileges(t *testing.T) {
	t.Parallel()
	objects := render(t, namespace, imageOnly+"node: {kernelLog: true}")
	w := podTemplate{pod: &only[*appsv1.DaemonSet](t, objects, "ack-exporter-node").Spec.Template}
	c := w.container()
	if c.SecurityContext.Privileged == nil || !*c.SecurityContext.Privileged {
		t.Error("not privileged")
	}
	if hostPaths(w)["/dev/kmsg"] != "/dev/kmsg" || len(switchedOff(c.Args)) != 0 {
		t.Errorf("mounts %v, switched off %v", hostPaths(w), switchedOff(c.Args))
	}
}

func TestUnprivilegedProfile(t *testing.T) {
	t.Parallel()
	objects := render(t, namespace, imageOnly+"node: {profile: unprivileged}")
	w := podTemplate{pod: &only[*appsv1.DaemonSet](t, objects, "ack-exporter-node").Spec.Template}
	spec, c := w.pod.Spec, w.container()
	if spec.HostNetwork || *spec.SecurityContext.RunAsUser == 0 || !*spec.SecurityContext.RunAsNonRoot {
		t.Errorf("the host's network, or user 0: %v", spec)
	}
	if len(c.SecurityContext.Capabilities.Add) != 0 {
		t.Errorf("capabilities: %v", c.SecurityContext.Capabilities)
	}
	if got, want := hostPaths(w), map[string]string{"/host/proc": "/proc", "/host/sys": "/sys"}; !reflect.DeepEqual(got, want) {
		t.Errorf("paths of the host: %v, want %v", got, want)
	}
	if off := switchedOff(c.Args); !slices.Equal(off, documentedBlind(t)) {
		t.Errorf("switched off are %v, and README.md says %v", off, documentedBlind(t))
	}
}

// hostPaths are the paths of the host in a pod, by where they are mounted.
func hostPaths(w podTemplate) map[string]string {
	paths := make(map[string]string)
	for _, m := range w.container().VolumeMounts {
		for _, v := range w.pod.Spec.Volumes {
			if v.Name == m.Name && v.HostPath != nil {
				paths[m.MountPath] = v.HostPath.Path
			}
		}
	}
	return paths
}

// switchedOff are the collectors that a command line switches off, sorted.
func switchedOff(args []string) []string {
	var names []string
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "--no-collector."); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// documentedBlind are the collectors that README.md says to switch off in the
// profile unprivileged.
func documentedBlind(t *testing.T) []string {
	t.Helper()
	line := regexp.MustCompile(`(?m)^ {4}(--no-collector\.\w+ ?)+$`).FindString(read(t, repository+"/README.md"))
	return switchedOff(strings.Fields(line))
}

// Both roles exclude each other's pods, and the Deployment survives a drained node.
func TestClusterRole(t *testing.T) {
	t.Parallel()
	objects := render(t, namespace, imageOnly)
	d := only[*appsv1.Deployment](t, objects, "ack-exporter-cluster")
	node := only[*appsv1.DaemonSet](t, objects, "ack-exporter-node")
	if reflect.DeepEqual(d.Spec.Selector, node.Spec.Selector) {
		t.Error("one selector for both roles")
	}
	if *d.Spec.Replicas != 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
		t.Errorf("a roll-out leaves no replica: %v", d.Spec)
	}
	pdb := only[*policyv1.PodDisruptionBudget](t, objects, "ack-exporter-cluster")
	if !reflect.DeepEqual(pdb.Spec.Selector, d.Spec.Selector) || pdb.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("budget: %v", pdb.Spec)
	}
	var keys []string
	for _, s := range d.Spec.Template.Spec.TopologySpreadConstraints {
		if !reflect.DeepEqual(s.LabelSelector, d.Spec.Selector) {
			t.Errorf("%s spreads other pods", s.TopologyKey)
		}
		keys = append(keys, s.TopologyKey)
	}
	if !slices.Equal(keys, []string{corev1.LabelHostname, corev1.LabelTopologyZone}) {
		t.Errorf("spread over %v", keys)
	}
}

// The chart must grant what deploy/rbac/cluster.yaml grants, in any namespace.
func TestRBAC(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"ack-exporter", "monitoring"} {
		manifest := strings.ReplaceAll(read(t, rbacFile), "namespace: ack-exporter\n", "namespace: "+namespace+"\n")
		want := decode(t, rbacFile, manifest)
		if len(want) < 7 {
			t.Fatalf("%s: %d objects", rbacFile, len(want))
		}
		var got []object
		for _, o := range render(t, namespace, imageOnly) {
			switch o.(type) {
			case *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding, *rbacv1.Role, *rbacv1.RoleBinding:
			case *corev1.ServiceAccount:
				if o.GetName() != "ack-exporter-cluster" {
					continue
				}
			default:
				continue
			}
			o.SetLabels(nil)
			got = append(got, o)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("in the namespace %s the chart grants\n%v\nand not\n%v", namespace, toYAML(t, got), toYAML(t, want))
		}
	}
}

func toYAML(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRBACCanBeLeftOut(t *testing.T) {
	t.Parallel()
	objects := render(t, namespace, imageOnly+"cluster: {rbac: false}")
	if n := len(all[*rbacv1.Role](objects)) + len(all[*rbacv1.ClusterRole](objects)); n != 0 {
		t.Errorf("%d roles", n)
	}
	only[*corev1.ServiceAccount](t, objects, "ack-exporter-cluster")
}

func TestRules(t *testing.T) {
	t.Parallel()
	const prefix = "https://example.com/run$books$1"
	objects := render(t, namespace, imageOnly+"prometheusRule: {enabled: true, labels: {release: prometheus}, runbookURLPrefix: '"+prefix+"/'}")
	rule := only[*monitoringv1.PrometheusRule](t, objects, "ack-exporter")
	if rule.Labels["release"] != "prometheus" {
		t.Errorf("labels: %v", rule.Labels)
	}
	dir := t.TempDir()
	if printed, err := exporter(t, "rules", "--output-dir="+dir, "--runbook-url-prefix="+prefix); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	var want monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(dir, filepath.Base(rulesFile)))), &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Groups) == 0 || !reflect.DeepEqual(rule.Spec, want) {
		t.Error("the rules are not those of the exporter")
	}
}

func TestDashboards(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(repository + "/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	objects := render(t, namespace, imageOnly+"dashboards: {enabled: true, annotations: {grafana_folder: ACK}}")
	// Besides, there is the one that the cluster role fills.
	if n := len(all[*corev1.ConfigMap](objects)) - 1; n != len(files) {
		t.Errorf("%d ConfigMaps for %d dashboards; link each file below files/dashboards in the chart", n, len(files))
	}
	for _, file := range files {
		name := filepath.Base(file)
		m := only[*corev1.ConfigMap](t, objects, strings.Replace(strings.TrimSuffix(name, ".json"), "ack-exporter-", "ack-exporter-dashboard-", 1))
		if m.Data[name] != read(t, file) {
			t.Errorf("%s is not that of dashboards/", name)
		}
		if m.Labels["grafana_dashboard"] != "1" || m.Annotations["grafana_folder"] != "ACK" {
			t.Errorf("%s: labels %v, annotations %v", name, m.Labels, m.Annotations)
		}
		// kubectl apply keeps the object in an annotation, which may have 256 KiB.
		if b, err := json.Marshal(m); err != nil || len(b) > 250<<10 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

// What the rules need of a target: its job, and the node that it is on.
func TestMonitors(t *testing.T) {
	t.Parallel()
	const settings = `
monitor:
  labels: {release: prometheus}
  relabelings: [{targetLabel: cluster, replacement: production}]
  endpoint: {scheme: HTTPS, scrapeTimeout: 10s}
`
	objects := render(t, namespace, imageOnly+settings+"node: {scrape: serviceMonitor}\ncluster: {scrape: podMonitor}\n")
	service := only[*monitoringv1.ServiceMonitor](t, objects, "ack-exporter-node")
	pod := only[*monitoringv1.PodMonitor](t, objects, "ack-exporter-cluster")
	if service.Labels["release"] != "prometheus" || pod.Labels["release"] != "prometheus" {
		t.Errorf("labels: %v, %v", service.Labels, pod.Labels)
	}
	if service.Spec.JobLabel != "app.kubernetes.io/name" || pod.Spec.JobLabel != "app.kubernetes.io/name" {
		t.Error("the job is not ack-exporter")
	}
	s, p := service.Spec.Endpoints[0], pod.Spec.PodMetricsEndpoints[0]
	if s.Port != "metrics" || *p.Port != "metrics" || !s.HonorLabels || !p.HonorLabels || s.Interval != "30s" || p.ScrapeTimeout != "10s" {
		t.Errorf("endpoints: %v, %v", s, p)
	}
	for _, relabelings := range [][]monitoringv1.RelabelConfig{s.RelabelConfigs, p.RelabelConfigs} {
		node, cluster := relabelings[0], relabelings[1]
		if len(relabelings) != 2 || node.TargetLabel != "node" || node.SourceLabels[0] != "__meta_kubernetes_pod_node_name" || cluster.TargetLabel != "cluster" {
			t.Errorf("relabelings: %v", relabelings)
		}
	}
	headless := only[*corev1.Service](t, objects, "ack-exporter-node")
	if headless.Spec.ClusterIP != corev1.ClusterIPNone || !headless.Spec.PublishNotReadyAddresses || headless.Spec.Ports[0].Name != "metrics" ||
		headless.Labels["app.kubernetes.io/component"] != "node" {
		t.Errorf("service: %v", headless)
	}
}

func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	full := render(t, namespace, imageOnly+"networkPolicy: {enabled: true}")
	if n := len(all[*networkingv1.NetworkPolicy](full)); n != 1 {
		t.Errorf("%d policies: one for pods in the host's network has no effect", n)
	}
	p := only[*networkingv1.NetworkPolicy](t, full, "ack-exporter-cluster")
	if len(p.Spec.Ingress) != 1 || p.Spec.Ingress[0].Ports[0].Port.String() != "metrics" || p.Spec.Ingress[0].From != nil {
		t.Errorf("policy: %v", p.Spec)
	}
	if !slices.Equal(p.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}) {
		t.Errorf("what goes out is restricted: %v", p.Spec)
	}
	only[*networkingv1.NetworkPolicy](t, render(t, namespace, everything), "ack-exporter-node")
}

// What the cluster role may ask is said once for the cluster, and the chart adds what its
// own values mean.
func TestEgress(t *testing.T) {
	t.Parallel()
	const policy = "networkPolicy: {enabled: true, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}\nnode: {profile: unprivileged}\n"
	for credentials, want := range map[string]int{"none": 1, "ecs-role": 3} {
		objects := render(t, namespace, imageOnly+policy+"cluster: {cloud: {region: cn-hangzhou, credentials: "+credentials+"}}\n")
		p := only[*networkingv1.NetworkPolicy](t, objects, "ack-exporter-cluster")
		if len(p.Spec.PolicyTypes) != 2 || len(p.Spec.Egress) != want || p.Spec.Egress[0].To[0].IPBlock.CIDR != "10.0.0.0/8" {
			t.Errorf("%s: %v", credentials, p.Spec)
		}
		if node := only[*networkingv1.NetworkPolicy](t, objects, "ack-exporter-node"); len(node.Spec.Egress) != 0 || len(node.Spec.PolicyTypes) != 1 {
			t.Errorf("the node role is restricted too: %v", node.Spec)
		}
	}
}

// Uninstalling removes what the leader fills, as it is the chart's.
func TestFilledObjects(t *testing.T) {
	t.Parallel()
	objects := render(t, namespace, imageOnly)
	m := only[*corev1.ConfigMap](t, objects, "ack-exporter-dns")
	if m.Data != nil {
		t.Errorf("the chart would write what the leader writes: %v", m.Data)
	}
	if l := only[*coordinationv1.Lease](t, objects, "ack-exporter"); l.Spec.HolderIdentity != nil {
		t.Errorf("the chart says who leads: %v", l.Spec)
	}
	without := render(t, namespace, imageOnly+"cluster: {enabled: false}")
	if n := len(all[*corev1.ConfigMap](without)) + len(all[*coordinationv1.Lease](without)); n != 0 {
		t.Errorf("%d of them without the role that fills them", n)
	}
}

// With TLS or a password, the kubelet's requests would be refused.
func TestProbesWithWebConfig(t *testing.T) {
	t.Parallel()
	for _, w := range workloads(render(t, namespace, imageOnly+"web: {configSecret: web}")) {
		c := w.container()
		if c.LivenessProbe.TCPSocket == nil || c.ReadinessProbe.TCPSocket == nil {
			t.Errorf("%s: probes %v, %v", w.GetName(), c.LivenessProbe, c.ReadinessProbe)
		}
		if !slices.Contains(c.Args, "--web.config.file=/etc/ack-exporter/web/web.yml") {
			t.Errorf("%s: %v", w.GetName(), c.Args)
		}
	}
}

// Packaged, the chart holds the files that it links to.
func TestPackage(t *testing.T) {
	t.Parallel()
	archive, err := chartutil.Save(loadChart(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	packaged, err := loader.LoadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	want, err := renderFiles(loadChart(t), namespace, everything)
	if err != nil {
		t.Fatal(err)
	}
	got, err := renderFiles(packaged, namespace, everything)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the packaged chart renders to something else")
	}
}

// Helm keeps chart and manifest of a release in one Secret, which may have 1 MiB.
func TestReleaseFitsIntoSecret(t *testing.T) {
	t.Parallel()
	c := loadChart(t)
	files, err := renderFiles(c, namespace, everything)
	if err != nil {
		t.Fatal(err)
	}
	release, err := json.Marshal(map[string]any{"chart": c, "manifest": files})
	if err != nil {
		t.Fatal(err)
	}
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write(release); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// In base64 twice: by Helm and by the API. Half of the room is for what is to come.
	size := compressed.Len() * 16 / 9
	t.Logf("a release takes %d KiB", size>>10)
	if size > 512<<10 {
		t.Error("that is more than 512 KiB")
	}
}
