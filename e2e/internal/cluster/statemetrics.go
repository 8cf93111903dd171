//go:build e2e

package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"

	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/sandbox"
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
// sandbox that has joined. It may read everything.
func (c *Cluster) StateMetrics(ctx context.Context, s *sandbox.Sandbox, program string, resources ...string) (*StateMetrics, error) {
	kubeconfig, err := c.Kubeconfig(StateMetricsUser, adminGroup)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program,
		"--kubeconfig="+kubeconfig, "--resources="+strings.Join(resources, ","),
		"--host=127.0.0.1", "--port="+stateMetricsPort, "--telemetry-host=127.0.0.1", "--telemetry-port=8081")
	p, err := process.Start(s, cmd)
	if err != nil {
		return nil, err
	}
	return &StateMetrics{p, http.Client{Transport: &http.Transport{DialContext: s.Dial}}}, nil
}

// Close ends it.
func (s *StateMetrics) Close() error { return kill(s.process) }

// Logs is what it said last.
func (s *StateMetrics) Logs() string { return lastWords(s.process) }

// PID is the process id, as the caller sees it.
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
