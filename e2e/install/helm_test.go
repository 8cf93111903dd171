//go:build e2e

package install

import (
	"path/filepath"
	"testing"

	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

// helm is Helm's own program, used as somebody at a terminal does.
type helm struct {
	program, home, kubeconfig string
	world                     *world.World // from which it reaches the API
}

func newHelm(t *testing.T, c *clustertest.Cluster, w *world.World) helm {
	t.Helper()
	return helm{
		program: clustertest.Binary(t, "helm"), home: t.TempDir(),
		kubeconfig: c.Kubeconfig(t, "helm", "system:masters"), world: w,
	}
}

// run returns what it printed.
func (h helm) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return h.world.Output(t.Context(), "", "env", append([]string{
		"HELM_CACHE_HOME=" + h.home, "HELM_CONFIG_HOME=" + h.home, "HELM_DATA_HOME=" + h.home, "KUBECONFIG=" + h.kubeconfig,
		h.program, "--namespace=" + namespace,
	}, args...)...)
}

// upgrade installs the chart with these values, or changes what is installed.
func (h helm) upgrade(t *testing.T, values ...string) {
	t.Helper()
	if _, err := h.tryUpgrade(t, values...); err != nil {
		t.Fatal(err)
	}
}

func (h helm) tryUpgrade(t *testing.T, values ...string) (string, error) {
	t.Helper()
	args := []string{"upgrade", "--install", "--create-namespace", "ack-exporter", filepath.Join(repository, "deploy/helm/ack-exporter")}
	for _, value := range append(values, "image.repository="+repositoryName) {
		args = append(args, "--set="+value)
	}
	return h.run(t, args...)
}

func (h helm) uninstall(t *testing.T) {
	t.Helper()
	if _, err := h.run(t, "uninstall", "ack-exporter"); err != nil {
		t.Fatal(err)
	}
}
