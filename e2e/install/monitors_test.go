//go:build e2e

package install

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

// TestMonitors gives an API server the CustomResourceDefinitions of prometheus-operator,
// and then all that the chart has for it: by them the API server judges each field.
func TestMonitors(t *testing.T) {
	w := world.New(t)
	c := clustertest.Start(t, w, cluster.Options{})
	folder := definitions(t)
	for _, kind := range []string{"podmonitors", "servicemonitors", "prometheusrules"} {
		c.ApplyFile(t, filepath.Join(folder, "monitoring.coreos.com_"+kind+".yaml"))
	}
	client, err := dynamic.NewForConfig(c.Admin())
	if err != nil {
		t.Fatal(err)
	}
	count := func(resource string) (int, error) {
		version := schema.GroupVersion{Group: "monitoring.coreos.com", Version: "v1"}
		list, err := client.Resource(version.WithResource(resource)).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return 0, err
		}
		return len(list.Items), nil
	}
	// A definition is served a moment after it was made.
	world.Eventually(t, patience, func() error {
		for _, resource := range []string{"podmonitors", "servicemonitors", "prometheusrules"} {
			if _, err := count(resource); err != nil {
				return err
			}
		}
		return nil
	})

	h := newHelm(t, c, w)
	everything := []string{
		"prometheusRule.enabled=true", "prometheusRule.labels.release=prometheus", "dashboards.enabled=true", "monitor.labels.release=prometheus",
		"monitor.endpoint.scheme=HTTPS", "monitor.endpoint.tlsConfig.insecureSkipVerify=true", "monitor.endpoint.scrapeTimeout=10s",
		"monitor.relabelings[0].targetLabel=cluster", "monitor.relabelings[0].replacement=production",
	}
	require := func(podMonitors, serviceMonitors int) {
		t.Helper()
		for resource, want := range map[string]int{"podmonitors": podMonitors, "servicemonitors": serviceMonitors, "prometheusrules": 1} {
			if got, err := count(resource); err != nil || got != want {
				t.Errorf("%d %s, %v; want %d", got, resource, err, want)
			}
		}
	}
	h.upgrade(t, append(everything, "node.scrape=podMonitor", "cluster.scrape=serviceMonitor")...)
	require(1, 1)
	h.upgrade(t, append(everything, "node.scrape=serviceMonitor", "cluster.scrape=podMonitor")...)
	require(1, 1)

	// The definitions see what is wrong, also where the chart lets values through.
	for _, wrong := range []string{"monitor.endpoint.scrapeTimeout=soon", "monitor.endpoint.scheme=gopher", "monitor.relabelings[0].action=delete"} {
		out, err := h.tryUpgrade(t, append(everything, "node.scrape=podMonitor", wrong)...)
		if err == nil || !strings.Contains(err.Error(), "PodMonitor") {
			t.Errorf("%s: accepted, or refused for something else: %v\n%s", wrong, err, out)
		}
	}
	// Of a release whose last change has failed, Helm would remove what that would have made.
	h.upgrade(t, append(everything, "node.scrape=podMonitor", "cluster.scrape=podMonitor")...)
	require(2, 0)
	h.uninstall(t)
	for _, resource := range []string{"podmonitors", "servicemonitors", "prometheusrules"} {
		if left, err := count(resource); err != nil || left > 0 {
			t.Errorf("%d %s are left, %v", left, resource, err)
		}
	}
	c.ApplyFile(t, filepath.Join(repository, "deploy/manifests/podmonitors.yaml"))
}

// definitions is the folder of the CustomResourceDefinitions in prometheus-operator's Go
// module.
func definitions(t *testing.T) string {
	t.Helper()
	const module = "github.com/prometheus-operator/prometheus-operator"
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	cmd.Dir = "operator"
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(out, &downloaded); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(downloaded.Dir, "example/prometheus-operator-crd")
}
