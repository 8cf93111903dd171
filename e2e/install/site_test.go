//go:build e2e

package install

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/flows"
	"ack-exporter/e2e/internal/kubelet"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

const (
	// patience is how long a test waits for what takes seconds on an idle machine.
	patience = 2 * time.Minute

	repositoryName = "e2e.invalid/ack-exporter"
	nextVersion    = "1.2.4"
	port           = "9777"

	nodeName                      = "node-a"
	nodeWorkload, clusterWorkload = "ack-exporter-node", "ack-exporter-cluster"
)

// site is a cluster with a real node, into which Helm installs the image.
type site struct {
	cluster *clustertest.Cluster
	control *world.World // of the cluster
	node    *kubelet.Node
	host    *world.World // of the node

	helm helm
}

func newSite(t *testing.T) *site {
	t.Helper()
	images := map[string]string{repositoryName: "", strings.TrimSuffix(kubelet.PauseImage, ":1"): pauseArchive(t)}
	s := &site{control: world.New(t)}
	s.cluster = clustertest.Start(t, s.control, cluster.Options{Controllers: true})
	s.helm = newHelm(t, s.cluster, s.control)
	images[repositoryName] = versionArchive(t, version)
	s.node = s.cluster.Node(t, kubelet.Config{
		Name: nodeName, Address: "10.0.0.11", PodRange: "10.244.1.0/24", Images: images,
		Labels: map[string]string{"topology.kubernetes.io/zone": "zone-a"},
	})
	s.host = &world.World{Sandbox: s.node.Sandbox}
	next := versionArchive(t, nextVersion)
	if _, err := s.node.Ctr(t.Context(), "images", "import", "--base-name", repositoryName, next); err != nil {
		t.Fatal(err)
	}
	return s
}

// versionArchive is an image of the exporter.
func versionArchive(t *testing.T, version string) string {
	t.Helper()
	binary, err := os.ReadFile(compile(t, runtime.GOARCH, version))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := buildVersion(t, binary, version)
	return s.archive(t, version)
}

// pauseArchive is the image of the first process of each pod.
func pauseArchive(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-tags", "e2e", "-o", filepath.Join(folder, "pause"), "ack-exporter/e2e/internal/kubelet/pause")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	const dockerfile = "FROM scratch\nCOPY pause /pause\nUSER 65534:65534\nENTRYPOINT [\"/pause\"]\n"
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	s.build(t, folder)
	return s.archive(t, "1")
}

// upgrade installs a version with values, as the README says, and waits until all its
// pods are ready and no others are left.
func (s *site) upgrade(t *testing.T, version string, values ...string) {
	t.Helper()
	s.helm.upgrade(t, append(values, "image.tag="+version)...)
	world.Eventually(t, patience, func() error { return s.rolledOut(t.Context()) })
}

// rolledOut is nil where all pods are those of the newest template, and ready.
func (s *site) rolledOut(ctx context.Context) error {
	apps := s.cluster.Client().AppsV1()
	daemons, err := apps.DaemonSets(namespace).Get(ctx, nodeWorkload, metav1.GetOptions{})
	if err != nil {
		return err
	}
	deployment, err := apps.Deployments(namespace).Get(ctx, clusterWorkload, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	var unready []error
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || !isReady(pod) {
			unready = append(unready, fmt.Errorf("%s: %s %v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses))
		}
	}
	if done := daemonsDone(daemons) && deploymentDone(deployment); !done || len(unready) > 0 {
		return fmt.Errorf("DaemonSet %+v, Deployment %+v: %w", daemons.Status, deployment.Status, errors.Join(unready...))
	}
	return nil
}

func daemonsDone(d *appsv1.DaemonSet) bool {
	s := d.Status
	return s.ObservedGeneration == d.Generation && s.DesiredNumberScheduled == 1 && s.UpdatedNumberScheduled == 1 && s.NumberReady == 1
}

func deploymentDone(d *appsv1.Deployment) bool {
	s := d.Status
	return s.ObservedGeneration == d.Generation && s.Replicas == 2 && s.UpdatedReplicas == 2 && s.ReadyReplicas == 2
}

func isReady(pod corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// pods are those of the release.
func (s *site) pods(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := s.cluster.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=ack-exporter"})
	if err != nil {
		return nil, err
	}
	return pods.Items, nil
}

// podsOf are those of one role.
func (s *site) podsOf(t *testing.T, role string) []corev1.Pod {
	t.Helper()
	all, err := s.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pods []corev1.Pod
	for _, pod := range all {
		if pod.Labels["app.kubernetes.io/component"] == role {
			pods = append(pods, pod)
		}
	}
	if len(pods) == 0 {
		t.Fatalf("no pods of the role %s", role)
	}
	return pods
}

// scrape asks a pod over the network of the node, as Prometheus does over that of the
// cluster.
func (s *site) scrape(ctx context.Context, pod corev1.Pod) (exporter.Metrics, error) {
	return exporter.ScrapeAt(ctx, s.host, net.JoinHostPort(pod.Status.PodIP, port))
}

const (
	// flowCount is how many flows the node has; few enough for every limit.
	flowCount = 500
	// certificatePath is where a node has its client certificate.
	certificatePath = "/var/lib/kubelet/pki/kubelet-client-current.pem"
)

// fillHost gives the node something to measure: flows, a kernel parameter that nobody
// should change, and the certificate that it returns.
func fillHost(t *testing.T, s *site) *x509.Certificate {
	t.Helper()
	for name, value := range node.Healthy() {
		s.host.SetSysctl(t, name, value)
	}
	s.host.SetSysctl(t, "net/ipv4/conf/all/rp_filter", "1")
	sender, err := flows.NewSender(t.Context(), s.node.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sender.Close() })
	if err := sender.Open(flowCount); err != nil {
		t.Fatal(err)
	}
	authority, err := pki.NewAuthority(pki.Template{CommonName: "kubernetes"})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Client(pki.Template{CommonName: "system:node:" + nodeName})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.node.Folder(certificatePath), slices.Concat(pair.Chain, pair.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	return pair.Certificate
}
