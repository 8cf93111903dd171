//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/world"
)

const (
	stateMetricsPort = "8080"
	// StateMetricsUser is who asks the API for kube-state-metrics.
	StateMetricsUser = "kube-state-metrics"
)

// StateMetrics is a running kube-state-metrics.
type StateMetrics struct {
	process *process.Process
	client  http.Client
}

// StateMetrics starts kube-state-metrics for these resources, in the plural, in a
// world that has joined. It may read everything, and ends with the test.
func (c *Cluster) StateMetrics(t testing.TB, w *world.World, resources ...string) *StateMetrics {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), Binary(t, programKubeStateMetrics),
		"--kubeconfig="+c.Kubeconfig(t, StateMetricsUser, adminGroup), "--resources="+strings.Join(resources, ","),
		"--host=127.0.0.1", "--port="+stateMetricsPort, "--telemetry-host=127.0.0.1", "--telemetry-port=8081")
	p, err := process.Start(w.Sandbox, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what %s printed:\n%s", p.Name(), tail(p.Output()))
		}
		if err := kill(p); err != nil {
			t.Errorf("%s: %v", p.Name(), err)
		}
	})
	return &StateMetrics{p, http.Client{Transport: &http.Transport{DialContext: w.Dial}}}
}

// PID is the process id, as the tests see it.
func (s *StateMetrics) PID() int { return s.process.PID() }

// Scrape returns its metrics.
func (s *StateMetrics) Scrape(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+stateMetricsPort+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
	return string(body), err
}
