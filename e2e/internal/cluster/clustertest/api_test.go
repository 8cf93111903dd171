//go:build e2e

package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

const (
	// within is many times what the API takes on a quiet machine.
	within = 30 * time.Second

	account = "reader"
)

// readerRoles let the account read ConfigMaps of one namespace.
const readerRoles = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list, watch]}]
---
# An empty document, but for this line.
---
apiVersion: v1
kind: List
items:
- apiVersion: rbac.authorization.k8s.io/v1
  kind: RoleBinding
  metadata: {name: reader, namespace: kube-system}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
  subjects: [{kind: ServiceAccount, name: reader, namespace: kube-system}]
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: seen, namespace: kube-system}
  data: {key: value}
`

// TestAPI shares one cluster among its subtests, which do not disturb each other.
func TestAPI(t *testing.T) {
	w := world.New(t)
	began := time.Now()
	c := clustertest.Start(t, w, cluster.Options{})
	t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
	t.Run("Version", func(t *testing.T) { testVersion(t, c) })
	t.Run("Access", func(t *testing.T) { testAccess(t, w, c) })
	t.Run("Watch", func(t *testing.T) { testWatch(t, c) })
	t.Run("Status", func(t *testing.T) { testStatus(t, c) })
	t.Run("Nodes", func(t *testing.T) { testNodes(t, c) })
	t.Run("Restart", func(t *testing.T) { testRestart(t, c) })
}

func testVersion(t *testing.T, c *clustertest.Cluster) {
	version, err := c.Client().Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != "v1.36.3" || version.Major != "1" || version.Minor != "36" {
		t.Errorf("the API server's version is %+v", version)
	}
}

// clientFor uses a kubeconfig as a program inside of the world does.
func clientFor(t *testing.T, w *world.World, kubeconfig string) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = world.Dialer(w.PID())
	config.UserAgent = "harness"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// testAccess shows that users may do what their roles allow and nothing else, and
// that the audit log says what they asked for.
func testAccess(t *testing.T, w *world.World, c *clustertest.Cluster) {
	kubeconfig := c.ServiceAccountKubeconfig(t, "kube-system", account)
	// Programs under test need not be root.
	w.Run(t, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "test", "-r", kubeconfig)
	client := clientFor(t, w, kubeconfig)
	if _, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "seen", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("before the role was bound: %v", err)
	}
	c.Apply(t, []byte(readerRoles))
	var list *corev1.ConfigMapList
	// A role counts a moment after it was written.
	world.Eventually(t, within, func() (err error) {
		list, err = client.CoreV1().ConfigMaps("kube-system").List(t.Context(), metav1.ListOptions{
			FieldSelector: "metadata.name=seen", LabelSelector: "!absent", Limit: 10,
		})
		return err
	})
	if len(list.Items) != 1 || list.Items[0].Data["key"] != "value" {
		t.Errorf("the list is %v", list.Items)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"another namespace": func(ctx context.Context) error {
			_, err := client.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
			return err
		},
		"another resource": func(ctx context.Context) error {
			_, err := client.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
			return err
		},
		"another verb": func(ctx context.Context) error {
			return client.CoreV1().ConfigMaps("kube-system").Delete(ctx, "seen", metav1.DeleteOptions{})
		},
	} {
		if err := call(t.Context()); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	watch, err := client.CoreV1().ConfigMaps("kube-system").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watch.Stop()
	requireRequests(t, c)

	certificate := clientFor(t, w, c.Kubeconfig(t, "anna", "system:masters"))
	if _, err := certificate.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("a user in the group of administrators: %v", err)
	}
	certificate = clientFor(t, w, c.Kubeconfig(t, "bert", "nobodies"))
	if _, err := certificate.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without a role: %v", err)
	}
}

// requireRequests looks for what testAccess did in the audit log.
func requireRequests(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	want := []string{
		"get configmaps kube-system/seen []: 403",
		"list configmaps kube-system/seen [!absent metadata.name=seen]: 200",
		"list configmaps default/ []: 403",
		"list secrets kube-system/ []: 403",
		"delete configmaps kube-system/seen []: 403",
		"watch configmaps kube-system/ []: 200",
	}
	world.Eventually(t, within, func() error {
		requests := c.Requests(t, cluster.ServiceAccountUser("kube-system", account))
		var got []string
		for _, r := range requests {
			selectors := strings.TrimSpace(r.LabelSelector + " " + r.FieldSelector)
			got = append(got, fmt.Sprintf("%s %s %s/%s [%s]: %d", r.Verb, r.Resource, r.Namespace, r.Name, selectors, r.Code))
			if r.UserAgent != "harness" || r.Group != "" || r.Sub != "" {
				t.Errorf("%s: user agent %q, group %q, subresource %q", r, r.UserAgent, r.Group, r.Sub)
			}
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				return fmt.Errorf("the audit log has no %q, only %q", line, got)
			}
		}
		return nil
	})
	if others := c.Requests(t, "nobody"); len(others) > 0 {
		t.Errorf("the audit log says of a user who does not exist: %v", others)
	}
}

func testWatch(t *testing.T, c *clustertest.Cluster) {
	watch, err := c.Client().CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=watched"})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	manifest := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: watched}\ndata: {%s: x}\n"
	c.Apply(t, fmt.Appendf(nil, manifest, "before"))
	c.Apply(t, fmt.Appendf(nil, manifest, "after"))
	for _, want := range []string{"before", "after"} {
		select {
		case event := <-watch.ResultChan():
			object, ok := event.Object.(*corev1.ConfigMap)
			if !ok || len(object.Data) != 1 || object.Data[want] != "x" {
				t.Fatalf("event %s: %v, want the key %q", event.Type, event.Object, want)
			}
		case <-time.After(within):
			t.Fatalf("no event for the key %q", want)
		}
	}
}

// testStatus shows that what controllers would write can be written.
func testStatus(t *testing.T, c *clustertest.Cluster) {
	c.Apply(t, []byte(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: deployed, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: main, image: "registry.example/x:1"}]}
status: {replicas: 3, readyReplicas: 2, observedGeneration: 1}
`))
	deployment, err := c.Client().AppsV1().Deployments("default").Get(t.Context(), "deployed", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (appsv1.DeploymentStatus{Replicas: 3, ReadyReplicas: 2, ObservedGeneration: 1}); deployment.Status.String() != want.String() {
		t.Errorf("the status is %v", deployment.Status)
	}
	// What comes from the API can be changed and put back.
	deployment.Status.ReadyReplicas = 3
	c.Put(t, deployment)
	if deployment, err = c.Client().AppsV1().Deployments("default").Get(t.Context(), "deployed", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if deployment.Status.ReadyReplicas != 3 {
		t.Errorf("the changed status is %v", deployment.Status)
	}
}

func testNodes(t *testing.T, c *clustertest.Cluster) {
	node, virtual := cluster.Node(7), cluster.VirtualNode(8)
	pod := cluster.Pod("default", "pod", map[string]string{"app": "y"}, node.Name, "10.244.7.2")
	service := cluster.Service("default", "served", map[string]string{"app": "y"}, corev1.ServicePort{Name: "http", Port: 80})
	c.Put(t, node, virtual, pod, service, cluster.EndpointSlice(service, pod))

	ctx := t.Context()
	gotNode, errNode := c.Client().CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	virtuals, errVirtual := c.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "type=virtual-kubelet"})
	gotPod, errPod := c.Client().CoreV1().Pods("default").Get(ctx, "pod", metav1.GetOptions{})
	slice, errSlice := c.Client().DiscoveryV1().EndpointSlices("default").Get(ctx, "served-1", metav1.GetOptions{})
	if err := errors.Join(errNode, errVirtual, errPod, errSlice); err != nil {
		t.Fatal(err)
	}
	if gotNode.Spec.ProviderID != "cn-hangzhou.i-bp100000000000000007" || len(gotNode.Spec.Taints) != 0 || len(gotNode.Status.Conditions) != 4 ||
		gotNode.Labels[corev1.LabelTopologyZone] != "cn-hangzhou-i" || gotNode.Status.Capacity.Cpu().Value() != 4 {
		t.Errorf("the node is %v", gotNode)
	}
	if len(virtuals.Items) != 1 || virtuals.Items[0].Name != virtual.Name {
		t.Errorf("the virtual nodes are %v", virtuals.Items)
	}
	if gotPod.Status.PodIP != "10.244.7.2" || len(gotPod.Status.ContainerStatuses) != 1 || !gotPod.Status.ContainerStatuses[0].Ready {
		t.Errorf("the pod's status is %v", gotPod.Status)
	}
	if len(slice.Endpoints) != 1 || !*slice.Endpoints[0].Conditions.Ready {
		t.Errorf("the endpoints are %v", slice.Endpoints)
	}

	cluster.SetPodReady(pod, false)
	cluster.SetNodeReady(node, false)
	c.Put(t, node, pod, cluster.EndpointSlice(service, pod))
	if slice, errSlice = c.Client().DiscoveryV1().EndpointSlices("default").Get(ctx, "served-1", metav1.GetOptions{}); errSlice != nil {
		t.Fatal(errSlice)
	}
	if len(slice.Endpoints) != 1 || *slice.Endpoints[0].Conditions.Ready {
		t.Errorf("the endpoints of a pod that is not ready are %v", slice.Endpoints)
	}

	c.Delete(t, pod, virtual)
	_, errPod = c.Client().CoreV1().Pods("default").Get(ctx, "pod", metav1.GetOptions{})
	_, errVirtual = c.Client().CoreV1().Nodes().Get(ctx, virtual.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(errPod) || !apierrors.IsNotFound(errVirtual) {
		t.Errorf("what was deleted: %v, %v", errPod, errVirtual)
	}
}

// testRestart ends the API server and starts it again with its data.
func testRestart(t *testing.T, c *clustertest.Cluster) {
	get := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := c.Client().CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{})
		return err
	}
	c.Apply(t, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\n"))
	c.StopAPI(t)
	if err := get(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a request to a stopped API server: %v", err)
	}
	c.StartAPI(t)
	if err := get(t.Context()); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	c.PauseAPI(t)
	if err := get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request to a paused API server: %v", err)
	}
	c.ResumeAPI(t)
	world.Eventually(t, within, func() error { return get(t.Context()) })
}

// TestOptions shows that flags of a test win: without a certificate or a token
// nothing is answered, as it is by default.
func TestOptions(t *testing.T) {
	w := world.New(t)
	c := clustertest.Start(t, w, cluster.Options{APIServerArgs: []string{"--anonymous-auth=false"}})
	anonymous, err := kubernetes.NewForConfig(rest.AnonymousClientConfig(c.Admin()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := anonymous.Discovery().ServerVersion(); !apierrors.IsUnauthorized(err) {
		t.Errorf("without a certificate: %v", err)
	}
	// Another cluster has the same addresses and ports, and other data.
	other := start(t)
	c.Put(t, cluster.Node(1))
	nodes, err := other.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) > 0 {
		t.Errorf("a second cluster has the nodes of the first: %v", nodes.Items)
	}
	if anonymous, err = kubernetes.NewForConfig(rest.AnonymousClientConfig(other.Admin())); err != nil {
		t.Fatal(err)
	}
	if _, err := anonymous.Discovery().ServerVersion(); err != nil {
		t.Errorf("without a certificate, by default: %v", err)
	}
}

// TestEnd shows that nothing outlives the test.
func TestEnd(t *testing.T) {
	var pids []int
	var pod string
	t.Run("Cluster", func(t *testing.T) {
		w := world.New(t)
		c := clustertest.Start(t, w, cluster.Options{})
		d := c.CoreDNS(t, cluster.CoreDNSOptions{Address: "10.244.1.2", Corefile: cluster.DefaultCorefile, Nameservers: []string{"100.100.2.136"}})
		pids = append(c.PIDs(), d.PID(), w.PID(), d.World.PID())
		pod = d.World.Path("/etc/coredns")
	})
	if len(pids) != 5 {
		t.Fatalf("the processes are %v", pids)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
	}
	for _, path := range []string{pod, "/etc/coredns"} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	left, err := os.ReadDir(world.Scratch())
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

// TestLoad fills a cluster to a tenth of what scale tests want.
func TestLoad(t *testing.T) {
	c := start(t)
	began := time.Now()
	c.Load(t, cluster.Scale{Nodes: 500, Services: 50, Secrets: 50})
	took := time.Since(began)
	t.Logf("loaded in %s", took.Round(time.Millisecond))
	if took > within {
		t.Errorf("it took %s", took)
	}
	nodes, errNodes := c.Client().CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	services, errServices := c.Client().CoreV1().Services("").List(t.Context(), metav1.ListOptions{})
	secrets, errSecrets := c.Client().CoreV1().Secrets(cluster.LoadNamespace(3)).List(t.Context(), metav1.ListOptions{FieldSelector: "type=kubernetes.io/tls"})
	if err := errors.Join(errNodes, errServices, errSecrets); err != nil {
		t.Fatal(err)
	}
	addresses := 0
	for _, service := range services.Items {
		addresses += len(service.Status.LoadBalancer.Ingress)
	}
	if len(nodes.Items) != 500 || addresses != 50 || len(secrets.Items) != 3 {
		t.Errorf("there are %d nodes, %d addresses of load balancers and %d secrets in one of 20 namespaces", len(nodes.Items), addresses, len(secrets.Items))
	}
}
