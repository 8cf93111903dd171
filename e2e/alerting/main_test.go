//go:build e2e

// Package alerting tests the way from something that is wrong on a node to the
// person who is told: the exporter on the real kernel, Prometheus with the rules
// of the mixin, Alertmanager with the example configuration, a webhook. Of the
// configuration only durations, windows and URLs are others.
//
// Each test begins with a world in which nothing fires, makes one thing wrong,
// sees exactly the notifications that it should, mends it and sees them resolved.
//
//	go test -tags e2e ./e2e/alerting    # as root
//
// E2E_REQUIRED=1 fails where a test would be skipped. E2E_EXPORTER, PROMETHEUS_BIN
// and ALERTMANAGER_BIN name other binaries, PROMTOOL_BIN and AMTOOL_BIN other
// tools than those of the distribution.
package alerting

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/world"
)

// TestMain lets many tests run side by side: they wait more than they compute.
// The flag -parallel still wins.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	world.Main(m, map[string]world.Role{"devour": devour})
}

// patience is how long a test waits for what takes a moment on an idle machine.
const patience = 3 * time.Minute

const (
	firstNode, secondNode       = "node-a", "node-b"
	firstAddress, secondAddress = "127.0.0.1:9777", "127.0.0.1:9778"
)

// The programs that run the exporter with less than root has.
var (
	asNobody = []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}
	// inOtherNet runs it in a network namespace that is not that of process 1.
	inOtherNet = []string{"unshare", "--net"}
)

// healthyNode makes a world in which nothing is wrong.
func healthyNode(t *testing.T) *world.World {
	t.Helper()
	w := world.New(t)
	for name, value := range node.Healthy() {
		w.SetSysctl(t, name, value)
	}
	return w
}

// withoutKernelLog is for tests that run side by side: they share the kernel log,
// and one of them makes the kernel write to it.
const withoutKernelLog = "--no-collector.kmsg"

// start starts an exporter that looks at the connection tracking table each
// second.
func start(t *testing.T, w *world.World, c exporter.Config) *exporter.Process {
	t.Helper()
	c.Args = append([]string{"--collector.conntrack_table.interval=1s"}, c.Args...)
	return exporter.Start(t, w, c)
}

// ready is start for an exporter that succeeds in everything, and waits for that.
func ready(t *testing.T, w *world.World, c exporter.Config) *exporter.Process {
	t.Helper()
	p := start(t, w, c)
	p.AwaitReady(t, patience)
	return p
}

// oneNode is the scene of most tests: a healthy node with an exporter.
func oneNode(t *testing.T, config string) (*world.World, *exporter.Process, *monitoringtest.Scene) {
	t.Helper()
	w := healthyNode(t)
	p := ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
	return w, p, monitoringtest.New(t, w, monitoringtest.Options{
		Config:  config,
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
	})
}

func stop(t *testing.T, p *exporter.Process) {
	t.Helper()
	if _, err := p.Stop(); err != nil {
		t.Fatal(err)
	}
}

// elapsed is nil where so much time has passed.
func elapsed(since time.Time, d time.Duration) error {
	if passed := time.Since(since); passed < d {
		return fmt.Errorf("only %s have passed", passed)
	}
	return nil
}
