//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/sandbox"
	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

const (
	buildTimeout = 5 * time.Minute
	playTimeout  = 4 * time.Minute
	// endTimeout is how long an interrupt may take.
	endTimeout = 15 * time.Second
)

// steps are what the demo prints, in this order, with other lines between them.
var steps = []string{
	`building the exporter`,
	`starting Prometheus and Alertmanager; the rules have seconds`,
	`Prometheus +(?P<prometheus>http://127\.0\.0\.1:\d+)/classic/alerts`,
	`Alertmanager +(?P<alertmanager>http://127\.0\.0\.1:\d+)`,
	`exporter +(?P<exporter>http://127\.0\.0\.1:\d+)/metrics`,
	`WRONG    \d+ flows fill`,
	`FIRING   warning  ACKConntrackTableNearlyFull demo-node – Node demo-node uses 85% .* are udp unreplied\. http://127\.0\.0\.1:\d+/runbooks/ACKConntrackTableNearlyFull`,
	`FIRING   critical ACKConntrackTableNearlyFull demo-node – Node demo-node uses 95% .*`,
	`MENDED   the connection tracking table`,
	`RESOLVED (warning |critical) ACKConntrackTableNearlyFull`,
	`RESOLVED (warning |critical) ACKConntrackTableNearlyFull`,
	`WRONG    net\.ipv4\.ip_forward`,
	`FIRING   critical ACKIPForwardingOff demo-node – net\.ipv4\.ip_forward of node demo-node is not 1\. `,
	`MENDED   net\.ipv4\.ip_forward`,
	`RESOLVED critical ACKIPForwardingOff`,
	`that was all`,
}

// TestDemo runs the demo to its end, looks at what it shows, and interrupts it.
func TestDemo(t *testing.T) {
	requireRoot(t)
	before := machineState(t)
	temporary := t.TempDir()
	marker := fmt.Sprintf("ACK_EXPORTER_DEMO_TEST=%d", time.Now().UnixNano())
	cmd, lines := start(t, build(t), append(os.Environ(), marker, "TMPDIR="+temporary))

	addresses := followSteps(t, lines)
	for name, path := range map[string]string{
		"prometheus": "/classic/alerts", "alertmanager": "/api/v2/status", "exporter": "/runbooks/ACKIPForwardingOff",
	} {
		if err := ready(t.Context(), addresses[name]+path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	requireProcesses(t, marker, 4) // itself, the exporter, Prometheus, Alertmanager, and what holds the node

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(endTimeout, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for line := range lines {
		t.Log(line)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the interrupt: %v", err)
	}
	if left := processes(t, marker); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if after := machineState(t); after != before {
		t.Errorf("the machine was %s before, and is %s", before, after)
	}
}

// TestInterrupted interrupts the demo while it starts.
func TestInterrupted(t *testing.T) {
	requireRoot(t)
	temporary := t.TempDir()
	marker := fmt.Sprintf("ACK_EXPORTER_DEMO_TEST=%d", time.Now().UnixNano())
	cmd, lines := start(t, build(t), append(os.Environ(), marker, "TMPDIR="+temporary))
	for line := range lines {
		t.Log(line)
		if strings.Contains(line, "starting Prometheus") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the interrupt: %v", err)
	}
	if left := processes(t, marker); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// TestKilled ends the demo in a way in which it cannot clean up.
func TestKilled(t *testing.T) {
	requireRoot(t)
	temporary := t.TempDir()
	marker := fmt.Sprintf("ACK_EXPORTER_DEMO_TEST=%d", time.Now().UnixNano())
	cmd, lines := start(t, build(t), append(os.Environ(), marker, "TMPDIR="+temporary))
	for line := range lines {
		if strings.Contains(line, "ready; look at") {
			break
		}
	}
	requireProcesses(t, marker, 4)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for line := range lines {
		t.Log(line)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Errorf("after the kill: %v", err)
	}
	world.Eventually(t, endTimeout, func() error {
		if left := processes(t, marker); len(left) > 0 {
			return fmt.Errorf("processes are left: %q", left)
		}
		return nil
	})
}

// TestRefusals shows what it says where it cannot run.
func TestRefusals(t *testing.T) {
	requireRoot(t)
	binary := build(t)
	for name, test := range map[string]struct {
		wrapper, env []string
		want         string
	}{
		"without root": {
			wrapper: []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"},
			want:    `that needs root: sudo make demo`,
		},
		"without packages": {
			env:  []string{"PROMETHEUS_BIN=/nowhere/prometheus"},
			want: `apt-get install -y --no-install-recommends prometheus prometheus-alertmanager\n`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			argv := append(append([]string{}, test.wrapper...), binary)
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), test.env...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("ended with %v", err)
			}
			if !regexp.MustCompile(test.want).Match(out) {
				t.Errorf("it says %q, not %q", out, test.want)
			}
		})
	}
}

func requireRoot(t *testing.T) {
	t.Helper()
	world.Require(t, os.Geteuid() == 0, sandbox.ErrNotRoot.Error())
	_, err := monitoring.Find()
	world.Require(t, err == nil, fmt.Sprint(err))
}

// build builds the demo where others may run it too.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(world.Scratch(), "demo")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "e2e", "-buildvcs=false", "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return path
}

// start starts the demo and returns its lines as they come.
func start(t *testing.T, binary string, env []string) (*exec.Cmd, <-chan string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), playTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = env
	// A group of its own, as in a shell.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return cmd, lines
}

// followSteps waits for all steps and returns the addresses in them by name.
func followSteps(t *testing.T, lines <-chan string) map[string]string {
	t.Helper()
	addresses := make(map[string]string)
	next := 0
	for line := range lines {
		t.Log(line)
		pattern := regexp.MustCompile(steps[next])
		match := pattern.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		for i, name := range pattern.SubexpNames() {
			if name != "" {
				addresses[name] = match[i]
			}
		}
		if next++; next == len(steps) {
			return addresses
		}
	}
	t.Fatalf("it ended before %q", steps[next])
	return nil
}

// machineState is what the demo must not change of the machine.
func machineState(t *testing.T) string {
	t.Helper()
	var state []string
	for _, name := range []string{"net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_udp_timeout"} {
		value, err := sandbox.ReadSysctl(name)
		world.Require(t, err == nil, fmt.Sprint(err))
		state = append(state, name+"="+value)
	}
	return strings.Join(state, " ")
}

// processes lists those whose environment has the marker.
func processes(t *testing.T, marker string) []string {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range environments {
		content, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if bytes.Contains(content, []byte(marker)) {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm"))
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}

// requireProcesses shows that the marker finds the processes.
func requireProcesses(t *testing.T, marker string, atLeast int) {
	t.Helper()
	if found := processes(t, marker); len(found) < atLeast {
		t.Errorf("the demo has the processes %q: fewer than %d", found, atLeast)
	}
}
