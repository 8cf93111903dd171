//go:build e2e

package install

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

const namespace = "ack-exporter"

// A real API server takes the manifests, and the pods that their controllers would
// make of them; it refuses the node role where a namespace forbids what it needs.
func TestManifests(t *testing.T) {
	world.Require(t, os.Geteuid() == 0, "needs root")
	c := clustertest.Start(t, world.New(t), cluster.Options{})
	for _, file := range []string{
		"manifests/namespace.yaml", "rbac/cluster.yaml",
		"manifests/node-full.yaml", "manifests/cluster.yaml",
		"manifests/node-unprivileged.yaml", // in place of node-full
	} {
		c.ApplyFile(t, filepath.Join(repository, "deploy", file))
	}
	c.Apply(t, []byte(`
apiVersion: v1
kind: Namespace
metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: ack-exporter-cluster, namespace: restricted}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: ack-exporter-node, namespace: restricted}}
`))

	for _, test := range []struct {
		manifest string
		// violations are all that the level restricted finds in it; none: it is taken there too.
		violations []string
	}{
		{"cluster.yaml", nil},
		{"node-unprivileged.yaml", []string{"restricted volume types"}}, // paths of the host
		{"node-full.yaml", []string{
			"host namespaces", "hostPort", "unrestricted capabilities", "restricted volume types", "runAsNonRoot != true", "runAsUser=0",
		}},
	} {
		pod := podOf(t, filepath.Join(repository, "deploy/manifests", test.manifest))
		if err := create(t, c, namespace, pod); err != nil {
			t.Errorf("%s: %v", test.manifest, err)
		}
		checkViolations(t, test.manifest, create(t, c, "restricted", pod), test.violations)
	}
}

// violation is how each begins in the list that the API server makes; its details
// follow in parentheses.
var violation = regexp.MustCompile(`(?:^|\), )([^()]+) \(`)

// checkViolations compares what the API server refuses with all that it may refuse.
func checkViolations(t *testing.T, manifest string, err error, want []string) {
	t.Helper()
	if err == nil && want == nil {
		return
	}
	if err == nil {
		t.Errorf("%s: accepted, want %q", manifest, want)
		return
	}
	_, list, _ := strings.Cut(err.Error(), `violates PodSecurity "restricted:latest": `)
	var found []string
	for _, match := range violation.FindAllStringSubmatch(list, -1) {
		found = append(found, match[1])
	}
	if !slices.Equal(found, want) {
		t.Errorf("%s: refused for %q, want %q: %v", manifest, found, want, err)
	}
}

// create asks the API server whether it would take the pod.
func create(t *testing.T, c *clustertest.Cluster, namespace string, pod *corev1.Pod) error {
	t.Helper()
	pod.Namespace = namespace
	_, err := c.Client().CoreV1().Pods(namespace).Create(t.Context(), pod,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	return err
}

// podOf is a pod as the controller of the one workload in a manifest makes it.
func podOf(t *testing.T, path string) *corev1.Pod {
	t.Helper()
	manifest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), len(manifest)); ; {
		// A DaemonSet has its template where a Deployment has it.
		var workload appsv1.Deployment
		err := decoder.Decode(&workload)
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s: no DaemonSet or Deployment", path)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if workload.Kind == "DaemonSet" || workload.Kind == "Deployment" {
			return &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: workload.Name, Labels: workload.Spec.Template.Labels},
				Spec:       workload.Spec.Template.Spec,
			}
		}
	}
}
