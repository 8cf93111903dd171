//go:build e2e

package install

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/hostroot"
	"ack-exporter/e2e/internal/kubelet"
	"ack-exporter/e2e/internal/sandbox"
	"ack-exporter/e2e/internal/world"
)

// scrapeInterval is the shortest that the rules are made for, half of the chart's.
const scrapeInterval = 15 * time.Second

// TestNode installs the chart on a node with a real kubelet, looks at what the pods
// say, has them replaced, and removes everything.
func TestNode(t *testing.T) {
	clustertest.RequireNodes(t)
	requireUnchanged(t, "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter")
	s := newSite(t)
	certificate := fillHost(t, s)
	firstPod(t, s)
	objects, files := s.objects(t), s.leavings(t)

	s.upgrade(t, version)
	t.Run("full", func(t *testing.T) { testFull(t, s, certificate) })
	t.Run("rollout", func(t *testing.T) { testRollout(t, s) })
	t.Run("unprivileged", func(t *testing.T) { testUnprivileged(t, s) })
	t.Run("cloud", func(t *testing.T) { testCloud(t, s) })
	t.Run("uninstall", func(t *testing.T) { testUninstall(t, s, objects, files) })
}

// requireUnchanged makes sure that kernel parameters of this machine, which a kubelet and
// the test set on a node, are at the end what they were.
func requireUnchanged(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		before, err := sandbox.ReadSysctl(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if after, err := sandbox.ReadSysctl(name); err != nil || after != before {
				t.Errorf("%s of this machine is %s, %v; it was %s", name, after, err, before)
			}
		})
	}
}

// firstPod runs something else on the node: container runtime and kubelet keep books once
// they have had a pod.
func firstPod(t *testing.T, s *site) {
	t.Helper()
	pods := s.cluster.Client().CoreV1().Pods(metav1.NamespaceDefault)
	const name = "first"
	// The API takes pods once there is a ServiceAccount for them.
	world.Eventually(t, patience, func() error {
		_, err := pods.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: kubelet.PauseImage}}},
		}, metav1.CreateOptions{})
		return err
	})
	world.Eventually(t, patience, func() error {
		pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !isReady(*pod) {
			err = fmt.Errorf("not ready: %+v", pod.Status)
		}
		return err
	})
	if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	world.Eventually(t, patience, func() error {
		_, err := pods.Get(t.Context(), name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the pod is still there: %w", err)
		}
		return nil
	})
}

// testFull compares what the pod in the profile full says with the truth, and with what
// the exporter says outside of containers, as root and on the node itself.
func testFull(t *testing.T, s *site, certificate *x509.Certificate) {
	pod := s.podsOf(t, "node")[0]
	if pod.Status.PodIP != pod.Status.HostIP {
		t.Errorf("the pod has the address %s, the node %s", pod.Status.PodIP, pod.Status.HostIP)
	}
	s.requireConfined(t, pod, confined{user: 0, capabilities: 1 << unix.CAP_NET_ADMIN})
	for _, pod := range s.podsOf(t, "cluster") {
		s.requireConfined(t, pod, confined{user: 65534})
	}

	got := s.requireSameAsHost(t, pod)
	for key, want := range map[string]float64{
		exporter.Key("ack_exporter_host_network_namespace"):                                  1,
		exporter.Key("ack_sysctl_value", "name", "net.ipv4.conf.all.rp_filter", "field", ""): 1,
		exporter.Key("ack_sysctl_compliant", "name", "net.ipv4.conf.all.rp_filter"):          0,
		exporter.Key("ack_conntrack_entries_limit"):                                          s.parameter(t, "net/netfilter/nf_conntrack_max"),
	} {
		if value, ok := got[key]; !ok || value != want {
			t.Errorf("%s is %v (%v), want %v", key, value, ok, want)
		}
	}
	if byClass := sum(got.Family("ack_conntrack_table_entries")); byClass < flowCount {
		t.Errorf("%v entries by class, want at least %d", byClass, flowCount)
	}
	s.requireEntries(t, pod)
	// The file belongs to root, and nobody else may read it.
	ends := got.Family("ack_certificate_not_after_timestamp_seconds")
	maps.DeleteFunc(ends, func(series string, _ float64) bool {
		return !strings.Contains(series, `location="`+certificatePath+`"`)
	})
	if len(ends) != 1 || sum(ends) != float64(certificate.NotAfter.Unix()) {
		t.Errorf("the certificate ends at %v, want %d", ends, certificate.NotAfter.Unix())
	}
}

func sum(m exporter.Metrics) float64 {
	total := 0.0
	for _, value := range m {
		total += value
	}
	return total
}

// parameter is a number that the kernel of the node says.
func (s *site) parameter(t *testing.T, name string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(s.host.Sysctl(t, name), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// requireEntries compares how many entries a pod sees with what the kernel says.
func (s *site) requireEntries(t *testing.T, pod corev1.Pod) {
	t.Helper()
	// An entry can come or go between the two looks.
	world.Eventually(t, patience, func() error {
		m, err := s.scrape(t.Context(), pod)
		if err != nil {
			return err
		}
		want := s.parameter(t, "net/netfilter/nf_conntrack_count")
		if want < flowCount {
			t.Fatalf("the kernel has %v entries, and %d flows were opened", want, flowCount)
		}
		return m.Expect(want, "ack_conntrack_entries")
	})
}

// requireSameAsHost compares a pod of the node role with an exporter that runs on the
// node itself with the same collectors, and returns what the pod says. blind are families
// that the pod cannot see, and must not show.
func (s *site) requireSameAsHost(t *testing.T, pod corev1.Pod, blind ...string) exporter.Metrics {
	t.Helper()
	host := exporter.Start(t, s.host, exporter.Config{
		Args:    argsOutsideContainer(pod.Spec.Containers[0].Args, targetsFile(t)),
		Address: "127.0.0.1:9778", Rootfs: hostroot.Root("/"),
	})
	host.AwaitReady(t, patience)
	var got, want exporter.Metrics
	// Collectors that go on in the background may have looked at different times.
	world.Eventually(t, patience, func() error {
		var errGot, errWant error
		got, errGot = s.scrape(t.Context(), pod)
		want, errWant = host.Scrape(t.Context())
		if err := errors.Join(errGot, errWant); err != nil {
			return err
		}
		for series, success := range got.Family("ack_exporter_collector_success") {
			if success != 1 {
				return fmt.Errorf("%s is %v", series, success)
			}
		}
		expected := state(want)
		for _, family := range blind {
			hidden := expected.Family(family)
			if len(hidden) == 0 {
				t.Fatalf("the host has no %s either", family)
			}
			maps.DeleteFunc(expected, func(series string, _ float64) bool { return hidden[series] != 0 })
		}
		if diff := state(got).Difference(expected); len(diff) > 0 {
			return fmt.Errorf("the pod differs from the host: %s", strings.Join(diff, "\n"))
		}
		return nil
	})
	t.Logf("%d series are the same in the pod and on the host", len(state(got)))
	if _, err := host.Stop(); err != nil {
		t.Error(err)
	}
	return got
}

// state is what is the same for everybody who looks at one time: not what counts packets
// or work, and not when that was done.
func state(m exporter.Metrics) exporter.Metrics {
	moving := []string{
		"ack_network_", "ack_exporter_build_info", "ack_exporter_collector_duration_seconds", "ack_exporter_collector_last_success_timestamp_seconds",
		"ack_exporter_collector_errors_total", "ack_conntrack_table_cpu_seconds_total",
	}
	kept := make(exporter.Metrics)
	for series, value := range m {
		isMoving := slices.ContainsFunc(moving, func(prefix string) bool { return strings.HasPrefix(series, prefix) })
		if strings.HasPrefix(series, "ack_") && !isMoving {
			kept[series] = value
		}
	}
	return kept
}

// confined is what the kernel says of a process.
type confined struct {
	user         int
	capabilities uint64
}

// requireConfined makes sure that the kernel confines a pod's process as the pod says.
func (s *site) requireConfined(t *testing.T, pod corev1.Pod, want confined) {
	t.Helper()
	status, err := os.ReadFile(s.process(t, pod, "status"))
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name], _, _ = strings.Cut(strings.TrimSpace(value), "\t")
	}
	const filtered = "2" // by seccomp
	for name, want := range map[string]string{
		"Name": "ack-exporter", "Uid": strconv.Itoa(want.user), "NoNewPrivs": "1", "Seccomp": filtered,
		"CapEff": fmt.Sprintf("%016x", want.capabilities), "CapBnd": fmt.Sprintf("%016x", want.capabilities),
	} {
		if fields[name] != want {
			t.Errorf("%s: %s is %s, want %s", pod.Name, name, fields[name], want)
		}
	}
}

// process is the path of what the kernel says of the process of a pod.
func (s *site) process(t *testing.T, pod corev1.Pod, file string) string {
	t.Helper()
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	pid, err := os.ReadFile(s.node.Path("/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + id + "/init.pid"))
	if err != nil {
		t.Fatal(err)
	}
	return s.node.Path(filepath.Join("/proc", string(pid), file))
}

// testRollout replaces all pods by those of the next version while they are scraped.
func testRollout(t *testing.T, s *site) {
	s.cluster.Apply(t, []byte(proxyConfig))
	leads, nodes := s.watch(t, "cluster", "ack_kubeproxy_config_valid"), s.watch(t, "node", "ack_conntrack_entries")
	leads.await(t)
	nodes.await(t)
	before := s.podNames(t)
	s.upgrade(t, nextVersion)
	for _, name := range s.podNames(t) {
		if slices.Contains(before, name) {
			t.Errorf("%s has not been replaced", name)
		}
	}
	for _, pod := range append(s.podsOf(t, "node"), s.podsOf(t, "cluster")...) {
		m, err := s.scrape(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		for series := range m.Family("ack_exporter_build_info") {
			if !strings.Contains(series, `version="`+nextVersion+`"`) {
				t.Errorf("%s: %s", pod.Name, series)
			}
		}
	}
	// Once more after the end, or the last gap would not be seen.
	leads.await(t)
	nodes.await(t)
	for _, w := range []*watcher{leads, nodes} {
		gap, pods := w.stop()
		t.Logf("%s: the longest gap was %s; shown by %v", w.family, gap.Round(time.Millisecond), pods)
		if gap > scrapeInterval {
			t.Errorf("that is longer than %s", scrapeInterval)
		}
		if len(pods) < 2 {
			t.Errorf("%s was not handed over: %v", w.family, pods)
		}
	}
}

func (s *site) podNames(t *testing.T) []string {
	t.Helper()
	pods, err := s.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return names
}

// proxyConfig is something of the cluster that the leader has series about.
const proxyConfig = `
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy-worker, namespace: kube-system}
data:
  config.conf: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    mode: ipvs
`

// watcher scrapes all pods of a role all the time, and notes when any shows a family.
type watcher struct {
	family string
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu   sync.Mutex
	last time.Time // of the last sight
	gap  time.Duration
	pods []string      // that have shown it
	seen chan struct{} // closed at the next sight
}

// watchPause is short against any gap that counts, and watchTimeout bounds one scrape.
const (
	watchPause   = 200 * time.Millisecond
	watchTimeout = 2 * time.Second
)

// watch scrapes until stop.
func (s *site) watch(t *testing.T, role, family string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{family: family, cancel: cancel, seen: make(chan struct{})}
	w.ended.Go(func() {
		tick := time.NewTicker(watchPause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look(ctx, s, role)
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { w.stop() })
	return w
}

// look scrapes each pod. A pod that does not answer keeps nobody waiting but itself.
func (w *watcher) look(ctx context.Context, s *site, role string) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	pods, err := s.pods(ctx)
	if err != nil {
		return // a gap, if it stays so
	}
	for _, pod := range pods {
		if pod.Labels["app.kubernetes.io/component"] != role || pod.Status.PodIP == "" {
			continue
		}
		w.ended.Go(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), watchTimeout)
			defer cancel()
			if m, err := s.scrape(ctx, pod); err == nil && len(m.Family(w.family)) > 0 {
				w.sight(pod.Name)
			}
		})
	}
}

func (w *watcher) sight(pod string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if !w.last.IsZero() {
		w.gap = max(w.gap, now.Sub(w.last))
	}
	w.last = now
	if !slices.Contains(w.pods, pod) {
		w.pods = append(w.pods, pod)
	}
	close(w.seen)
	w.seen = make(chan struct{})
}

// await waits until the family is seen.
func (w *watcher) await(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	seen := w.seen
	w.mu.Unlock()
	select {
	case <-seen:
	case <-time.After(patience):
		t.Fatalf("nobody shows %s", w.family)
	}
}

// stop returns the longest time between two sights, and who showed the family.
func (w *watcher) stop() (gap time.Duration, pods []string) {
	w.cancel()
	w.ended.Wait()
	return w.gap, w.pods
}

// testUnprivileged compares what the pod in the profile unprivileged says with what an
// exporter on the node itself says of the same.
func testUnprivileged(t *testing.T, s *site) {
	s.upgrade(t, nextVersion, "node.profile=unprivileged")
	pod := s.podsOf(t, "node")[0]
	if pod.Status.PodIP == pod.Status.HostIP {
		t.Errorf("the pod has the address of the node, %s", pod.Status.PodIP)
	}
	s.requireConfined(t, pod, confined{user: 65534})
	got := s.requireSameAsHost(t, pod, "ack_conntrack_timeout_seconds") // those of its own network
	s.requireEntries(t, pod)
	if blind := got.Family("ack_sysctl_value"); len(blind) > 0 {
		t.Errorf("kernel parameters of another network: %v", blind)
	}
}

// testCloud looks at what credentials get into the pods. Nothing of the cloud can be
// reached from there.
func testCloud(t *testing.T, s *site) {
	const (
		role     = "acs:ram::1234567890123456:role/ack-exporter"
		provider = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c0123456789abcdef"
		token    = "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token"
	)
	s.upgrade(t, nextVersion, "cluster.cloud.region=cn-hangzhou", "cluster.cloud.credentials=oidc",
		"cluster.cloud.rrsaRoleARN="+role, "cluster.cloud.rrsaProviderARN="+provider)
	for _, pod := range s.podsOf(t, "cluster") {
		s.requireEnvironment(t, pod, "ALIBABA_CLOUD_ROLE_ARN="+role, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN="+provider, "ALIBABA_CLOUD_OIDC_TOKEN_FILE="+token)
		s.requireToken(t, pod, token)
	}

	_, err := s.cluster.Client().CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "keys"},
		StringData: map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "an-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "a-secret"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.upgrade(t, nextVersion, "cluster.cloud.region=cn-hangzhou", "cluster.cloud.credentials=environment", "cluster.cloud.secret=keys")
	for _, pod := range s.podsOf(t, "cluster") {
		s.requireEnvironment(t, pod, "ALIBABA_CLOUD_ACCESS_KEY_ID=an-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET=a-secret")
	}
	if err := s.cluster.Client().CoreV1().Secrets(namespace).Delete(t.Context(), "keys", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// requireEnvironment makes sure that a pod's process has these variables of the cloud, and
// no others.
func (s *site) requireEnvironment(t *testing.T, pod corev1.Pod, want ...string) {
	t.Helper()
	environment, err := os.ReadFile(s.process(t, pod, "environ"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for variable := range strings.SplitSeq(string(environment), "\x00") {
		if strings.HasPrefix(variable, "ALIBABA_CLOUD_") {
			got = append(got, variable)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s has the variables %q, want %q", pod.Name, got, want)
	}
}

// requireToken makes sure that a pod's process can read a token that is for RAM.
func (s *site) requireToken(t *testing.T, pod corev1.Pod, path string) {
	t.Helper()
	path = s.process(t, pod, "root"+path)
	var file unix.Stat_t
	if err := unix.Stat(path, &file); err != nil {
		t.Fatal(err)
	}
	const user = 65534
	if byUser, byGroup := file.Uid == user && file.Mode&0o400 != 0, file.Gid == user && file.Mode&0o040 != 0; !byUser && !byGroup {
		t.Errorf("the token is of user %d and group %d with mode %o: the process may not read it", file.Uid, file.Gid, file.Mode)
	}
	token, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Audience []string `json:"aud"`
		Subject  string   `json:"sub"`
	}
	if err := json.Unmarshal(content, &claims); err != nil {
		t.Fatal(err)
	}
	subject := cluster.ServiceAccountUser(namespace, clusterWorkload)
	if !slices.Equal(claims.Audience, []string{"sts.aliyuncs.com"}) || claims.Subject != subject {
		t.Errorf("the token is for %q, of %s; want that of %s", claims.Audience, claims.Subject, subject)
	}
}

// testUninstall removes the release, and looks for anything that was not there before.
func testUninstall(t *testing.T, s *site, objects, files []string) {
	s.helm.uninstall(t)
	// The namespace is the one thing that Helm leaves, with what each namespace has.
	objects = append(objects, "namespaces /"+namespace,
		"serviceaccounts "+namespace+"/default", "configmaps "+namespace+"/kube-root-ca.crt",
		// These are the node's and the test's own.
		"leases kube-node-lease/"+nodeName, "configmaps kube-system/kube-proxy-worker")
	world.Eventually(t, patience, func() error {
		if left := subtract(s.objects(t), objects); len(left) > 0 {
			return fmt.Errorf("objects are left: %q", left)
		}
		if left := subtract(s.leavings(t), files); len(left) > 0 {
			return fmt.Errorf("the node has what it had not before: %q", left)
		}
		return nil
	})
}

// subtract is what is in a and not in b.
func subtract(a, b []string) []string {
	return slices.DeleteFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// objects lists all objects of the API but events, which end by themselves.
func (s *site) objects(t *testing.T) []string {
	t.Helper()
	lists, err := s.cluster.Client().Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(s.cluster.Admin())
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || resource.Name == "events" || resource.Name == "componentstatuses" {
				continue
			}
			all, err := client.Resource(version.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("list %s: %v", resource.Name, err)
			}
			for _, object := range all.Items {
				found = append(found, resource.Name+" "+object.GetNamespace()+"/"+object.GetName())
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("the API has no objects")
	}
	return found
}

// leavings are what pods could leave on the node: processes, containers, mounts, control
// groups, and files outside of containerd's own folder, which has the images.
func (s *site) leavings(t *testing.T) []string {
	t.Helper()
	var found []string
	names, err := filepath.Glob(s.node.Path("/proc/[0-9]*/comm"))
	if err != nil || len(names) == 0 {
		t.Fatalf("processes: %v, %v", names, err)
	}
	for _, name := range names {
		// One that has ended meanwhile has left nothing.
		if comm, err := os.ReadFile(name); err == nil {
			found = append(found, "process "+string(bytes.TrimSpace(comm)))
		}
	}
	containers, err := s.node.Ctr(t.Context(), "containers", "list", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	for id := range strings.FieldsSeq(containers) {
		found = append(found, "container "+id)
	}
	mounts, err := os.ReadFile("/proc/" + strconv.Itoa(s.node.PID()) + "/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		found = append(found, "mount "+strings.Fields(line)[1])
	}
	for _, group := range s.files(t, "/sys/fs/cgroup/memory/kubepods") {
		// Those of classes of pods stay.
		if strings.Contains(group, "/pod") {
			found = append(found, group)
		}
	}
	for _, folder := range []string{"/run/netns", "/run/containerd", "/etc/cni", "/var/lib/kubelet", "/var/lib/cni", "/var/log"} {
		found = append(found, s.files(t, folder)...)
	}
	return found
}

// files are those below a folder of the node, by their paths.
func (s *site) files(t *testing.T, folder string) []string {
	t.Helper()
	root := s.node.Path(folder)
	var found []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		found = append(found, folder+strings.TrimPrefix(path, root))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
