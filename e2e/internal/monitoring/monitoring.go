//go:build e2e

// Package monitoring runs a real Prometheus and a real Alertmanager with the
// rules of the mixin, and a webhook that receives the notifications.
package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/sandbox"
)

// Addresses at which everything listens where nothing else does.
const (
	PrometheusAddress   = "127.0.0.1:9090"
	AlertmanagerAddress = "127.0.0.1:9093"
	WebhookAddress      = "127.0.0.1:9095"
)

const (
	// readyTimeout bounds the start. A new Prometheus takes some seconds until it
	// knows of its Alertmanager.
	readyTimeout = time.Minute
	stopTimeout  = 20 * time.Second
	askTimeout   = 10 * time.Second
	pollInterval = 100 * time.Millisecond
)

// Config says what to run, and where.
type Config struct {
	Binaries Binaries
	// Sandbox is where the programs run and listen.
	Sandbox *sandbox.Sandbox
	// Folder gets their files.
	Folder string
	// PrometheusAddress and AlertmanagerAddress are where they listen.
	PrometheusAddress, AlertmanagerAddress string
	// Rules is a rule file, Alertmanager a configuration of Alertmanager.
	Rules, Alertmanager []byte
	// Targets are scraped every second, by job.
	Targets map[string][]Target
}

// Target is something to scrape.
type Target struct {
	Address string
	Labels  map[string]string
}

// Stack is a Prometheus together with its Alertmanager.
type Stack struct {
	config       Config
	client       *http.Client
	prometheus   *process.Process
	alertmanager *process.Process
}

// Start starts both and waits until Prometheus has found Alertmanager.
func Start(ctx context.Context, c Config) (*Stack, error) {
	s := &Stack{config: c, client: &http.Client{
		Timeout:   askTimeout,
		Transport: &http.Transport{DialContext: c.Sandbox.Dial},
	}}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, s.Stop()), s.Logs())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	if err := s.writeFiles(); err != nil {
		return err
	}
	c := s.config
	var err error
	s.alertmanager, err = process.Start(c.Sandbox, command(ctx, c.Binaries.Alertmanager,
		"--config.file="+s.path("alertmanager.yml"), "--storage.path="+s.path("alertmanager"),
		"--web.listen-address="+c.AlertmanagerAddress, "--web.external-url=http://"+c.AlertmanagerAddress+"/",
		"--cluster.listen-address="))
	if err != nil {
		return err
	}
	s.prometheus, err = process.Start(c.Sandbox, command(ctx, c.Binaries.Prometheus,
		"--config.file="+s.path("prometheus.yml"), "--storage.tsdb.path="+s.path("prometheus"),
		"--web.listen-address="+c.PrometheusAddress, "--web.external-url=http://"+c.PrometheusAddress+"/",
		// A hidden flag; by default new targets wait for 5 s.
		"--scrape.discovery-reload-interval=200ms"))
	if err != nil {
		return err
	}
	return s.await(ctx, func() error {
		return errors.Join(s.ready(ctx, c.AlertmanagerAddress), s.ready(ctx, c.PrometheusAddress), s.connected(ctx))
	})
}

// command is one that Stop ends, not the context.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.WithoutCancel(ctx), name, args...)
}

func (s *Stack) path(name string) string { return filepath.Join(s.config.Folder, name) }

// PrometheusConfig is the path of its configuration.
func (s *Stack) PrometheusConfig() string { return s.path("prometheus.yml") }

// writeFiles writes the configuration in JSON, which is YAML as well.
func (s *Stack) writeFiles() error {
	type object = map[string]any
	var jobs []object
	for job, targets := range s.config.Targets {
		jobs = append(jobs, object{
			"job_name": job,
			// The cluster role tells itself which node and pod a series is about.
			"honor_labels":    true,
			"file_sd_configs": []object{{"files": []string{s.targetsFile(job)}, "refresh_interval": "1s"}},
		})
		if err := s.SetTargets(job, targets...); err != nil {
			return err
		}
	}
	config, err := json.MarshalIndent(object{
		"global":     object{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{s.path("rules.yml")},
		"alerting": object{"alertmanagers": []object{
			{"static_configs": []object{{"targets": []string{s.config.AlertmanagerAddress}}}},
		}},
		"scrape_configs": jobs,
	}, "", "  ")
	return errors.Join(err,
		os.WriteFile(s.PrometheusConfig(), config, 0o644),
		os.WriteFile(s.path("rules.yml"), s.config.Rules, 0o644),
		os.WriteFile(s.path("alertmanager.yml"), s.config.Alertmanager, 0o644))
}

func (s *Stack) targetsFile(job string) string { return s.path("targets-" + job + ".json") }

// SetTargets replaces the targets of a job. Prometheus takes some seconds to
// notice.
func (s *Stack) SetTargets(job string, targets ...Target) error {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := make([]group, 0, len(targets))
	for _, t := range targets {
		groups = append(groups, group{[]string{t.Address}, t.Labels})
	}
	content, err := json.Marshal(groups)
	if err != nil {
		return err
	}
	// Prometheus must not read half of it.
	partial := s.path("partial-" + job)
	if err := os.WriteFile(partial, content, 0o644); err != nil {
		return err
	}
	return os.Rename(partial, s.targetsFile(job))
}

// await calls condition until it is nil, or a program has ended.
func (s *Stack) await(ctx context.Context, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		for _, p := range s.processes() {
			if ended, exit := p.Ended(); ended {
				return fmt.Errorf("%s has ended: %w", p.Name(), errors.Join(exit, err))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (s *Stack) processes() []*process.Process {
	var running []*process.Process
	for _, p := range []*process.Process{s.prometheus, s.alertmanager} {
		if p != nil {
			running = append(running, p)
		}
	}
	return running
}

func (s *Stack) ready(ctx context.Context, address string) error {
	_, err := s.get(ctx, address, "/-/ready")
	return err
}

// connected is nil where Prometheus knows of Alertmanager: what fires before
// that would be sent a minute later.
func (s *Stack) connected(ctx context.Context) error {
	var found struct {
		ActiveAlertmanagers []struct{ URL string }
	}
	if err := s.api(ctx, "/api/v1/alertmanagers", &found); err != nil {
		return err
	}
	if len(found.ActiveAlertmanagers) == 0 {
		return errors.New("Prometheus does not know of Alertmanager yet") //nolint:staticcheck // a name
	}
	return nil
}

// Stop ends both. It is an error where they do not end as they should.
func (s *Stack) Stop() error {
	s.client.CloseIdleConnections()
	var errs []error
	for _, p := range s.processes() {
		_, err := p.Stop(stopTimeout)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Logs is what both have printed.
func (s *Stack) Logs() string {
	var b bytes.Buffer
	for _, p := range s.processes() {
		fmt.Fprintf(&b, "--- %s:\n%s", p.Name(), p.Output())
	}
	return b.String()
}
