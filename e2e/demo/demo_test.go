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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/sandbox"
	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

const (
	buildTimeout = 5 * time.Minute
	playTimeout  = 4 * time.Minute
	// endTimeout is how long an interrupt may take, startingEndTimeout how long while
	// something starts: Prometheus stops only once it has started.
	endTimeout         = 15 * time.Second
	startingEndTimeout = time.Minute
)

// steps are what the demo prints, in this order, with other lines between them.
var steps = []string{
	`building the exporter`,
	`starting Prometheus and Alertmanager; the rules have seconds`,
	`Prometheus +(?P<prometheus>http://127\.0\.0\.1:\d+)/classic/alerts`,
	`Alertmanager +(?P<alertmanager>http://127\.0\.0\.1:\d+)`,
	`exporter +(?P<exporter>http://127\.0\.0\.1:\d+)/metrics`,
	`WRONG    \d+ flows fill`,
	`FIRING   warning  ACKConntrackTableNearlyFull demo-node – Node demo-node uses 8[45].*% .* are udp unreplied\. http://127\.0\.0\.1:\d+/runbooks/ACKConntrackTableNearlyFull`,
	`FIRING   critical ACKConntrackTableNearlyFull demo-node – Node demo-node uses 9[45].*% .*`,
	`MENDED   the connection tracking table`,
	`RESOLVED (warning |critical) ACKConntrackTableNearlyFull`,
	`RESOLVED (warning |critical) ACKConntrackTableNearlyFull`,
	`WRONG    net\.ipv4\.ip_forward`,
	`FIRING   critical ACKIPForwardingOff demo-node – net\.ipv4\.ip_forward of node demo-node is not 1\. `,
	`MENDED   net\.ipv4\.ip_forward`,
	`RESOLVED critical ACKIPForwardingOff`,
	`WRONG    the certificate of the API server on the node expires tomorrow`,
	`FIRING   critical ACKCertificateExpiresSoon demo-node – The certificate kube-apiserver of the file /etc/kubernetes/pki/apiserver\.crt on node demo-node expires in 23h 59m \d+s, and does not renew itself\. `,
	`MENDED   the certificate is renewed`,
	`RESOLVED critical ACKCertificateExpiresSoon`,
}

// clusterSteps follow where the programs of a cluster have been built.
var clusterSteps = []string{
	`starting a cluster: etcd, kube-apiserver`,
	`HEALTHY  both replicas of CoreDNS answer, and node \S+ gets answers .*; in the cloud are the instances of its 4 nodes, .*: nothing fires`,
	`WRONG    the resolver of the VPC`,
	`FIRING   critical (ACKDNSExternalFailing (\S+) – .* Names of the cluster resolve\. Of its other probes these fail: .*vpc \(|ACKVPCResolverFailing )`,
	`FIRING   critical (ACKDNSExternalFailing|ACKVPCResolverFailing) `,
	`MENDED   the resolver answers`,
	`RESOLVED critical (ACKDNSExternalFailing|ACKVPCResolverFailing) `,
	`RESOLVED critical (ACKDNSExternalFailing|ACKVPCResolverFailing) `,
	`WRONG    in the ConfigMap of kube-proxy`,
	`FIRING   critical ACKKubeProxyConfigInvalid +– kube-proxy cannot read the configuration in the ConfigMap kube-proxy-worker\.`,
	`MENDED   it is udpTimeout`,
	`RESOLVED critical ACKKubeProxyConfigInvalid`,
	`WRONG    in the console of the cloud somebody deletes the listener 80`,
	`FIRING   critical ACKLoadBalancerListenersDiffer +– The load balancer lb-\S+ of the Service shop/web has no listener for ports of the Service \(1\)\.`,
	`MENDED   the cloud controller manager`,
	`RESOLVED critical ACKLoadBalancerListenersDiffer`,
	`WRONG    the Service shop/web gets two more ports`,
	`FIRING   warning  ACKSLBHeadroomLow +– After 2 more nodes an SLB instance has as many backends as it may have\.`,
	`MENDED   the quota is raised`,
	`RESOLVED warning  ACKSLBHeadroomLow`,
	`WRONG    the subscription of the instance of node \S+ ends tomorrow`,
	`FIRING   critical ACKInstanceExpiresSoon (\S+) – The subscription of the instance of node \S+ ends at .*, and has not been renewed yet\.`,
	`MENDED   it is paid for six months more`,
	`RESOLVED critical ACKInstanceExpiresSoon`,
	`that was all`,
}

// withoutClusterSteps follow where they have not.
var withoutClusterSteps = []string{
	"left out: .*`make e2e-binaries`",
	`that was all`,
}

// TestDemo runs the demo to its end, looks at what it shows, and interrupts it.
func TestDemo(t *testing.T) {
	requireRoot(t)
	before := machineState(t)
	temporary := t.TempDir()
	marker := newMarker()
	cmd, lines := start(t, build(t), append(os.Environ(), marker, "TMPDIR="+temporary))

	rest, atLeast := withoutClusterSteps, nodeProcesses
	if clusterBuilt(t) {
		rest, atLeast = clusterSteps, nodeProcesses+clusterProcesses
	}
	addresses := followSteps(t, lines, slices.Concat(steps, rest))
	for name, path := range map[string]string{
		"prometheus": "/classic/alerts", "alertmanager": "/api/v2/status", "exporter": "/runbooks/ACKIPForwardingOff",
	} {
		if err := ready(t.Context(), addresses[name]+path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	running := requireProcesses(t, marker, atLeast)

	interrupt(t, cmd, lines, endTimeout)
	if left := running.left(t); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if after := machineState(t); after != before {
		t.Errorf("the machine was %s before, and is %s", before, after)
	}
}

// TestWithoutCluster shows that nobody has to wait for what is built in minutes.
func TestWithoutCluster(t *testing.T) {
	requireRoot(t)
	cmd, lines := start(t, build(t), append(os.Environ(), "TMPDIR="+t.TempDir(), "E2E_CLUSTER_BIN="+t.TempDir()))
	followSteps(t, lines, slices.Concat(steps, withoutClusterSteps))
	interrupt(t, cmd, lines, endTimeout)
}

// TestInterrupted interrupts the demo while it starts something.
func TestInterrupted(t *testing.T) {
	requireRoot(t)
	starts := []string{"starting Prometheus"}
	if clusterBuilt(t) {
		starts = append(starts, "starting a cluster")
	}
	for _, step := range starts {
		t.Run(step, func(t *testing.T) {
			temporary := t.TempDir()
			marker := newMarker()
			cmd, lines := start(t, build(t), append(os.Environ(), marker, "TMPDIR="+temporary))
			awaitLine(t, lines, step)
			running := requireProcesses(t, marker, 3)
			interrupt(t, cmd, lines, startingEndTimeout)
			if left := running.left(t); len(left) > 0 {
				t.Errorf("processes are left: %q", left)
			}
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("files are left: %v, %v", left, err)
			}
		})
	}
}

// TestKilled ends the demo in a way in which it cannot clean up.
func TestKilled(t *testing.T) {
	requireRoot(t)
	line, atLeast := "ready; look at", nodeProcesses
	if clusterBuilt(t) {
		line, atLeast = "HEALTHY", nodeProcesses+clusterProcesses
	}
	marker := newMarker()
	cmd, lines := start(t, build(t), append(os.Environ(), marker, "TMPDIR="+t.TempDir()))
	awaitLine(t, lines, line)
	running := requireProcesses(t, marker, atLeast)
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
		if left := running.left(t); len(left) > 0 {
			return fmt.Errorf("processes are left: %q", left)
		}
		return nil
	})
}

// awaitLine reads until a line has this text.
func awaitLine(t *testing.T, lines <-chan string, text string) {
	t.Helper()
	for line := range lines {
		t.Log(line)
		if strings.Contains(line, text) {
			return
		}
	}
	t.Fatalf("it ended before %q", text)
}

// interrupt ends the demo as Ctrl-C does.
func interrupt(t *testing.T, cmd *exec.Cmd, lines <-chan string, within time.Duration) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(within, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for line := range lines {
		t.Log(line)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the interrupt: %v", err)
	}
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
func followSteps(t *testing.T, lines <-chan string, steps []string) map[string]string {
	t.Helper()
	addresses := make(map[string]string)
	next := 0
	for line := range lines {
		t.Log(line)
		pattern := regexp.MustCompile(steps[next])
		match := pattern.FindStringSubmatch(line)
		if match == nil {
			if strings.Contains(line, "] FIRING ") {
				t.Errorf("that fires unexpectedly, before %q", steps[next])
			}
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

// Processes of the demo, at least.
const (
	// nodeProcesses are itself, the exporter, Prometheus, Alertmanager, and what holds
	// the node.
	nodeProcesses = 5
	// clusterProcesses are etcd, the API server, two exporters, three CoreDNS, and what
	// holds each of the five sandboxes.
	clusterProcesses = 12
)

// clusterBuilt tells whether the demo has the act about the cluster.
func clusterBuilt(t *testing.T) bool {
	t.Helper()
	_, err := cluster.Find(t.Context())
	if err != nil && os.Getenv("E2E_REQUIRED") == "1" {
		t.Fatalf("E2E_REQUIRED=1, but the programs of a cluster are missing: %v", err)
	}
	return err == nil
}

// newMarker is something in the environment that tells the processes of one demo.
func newMarker() string { return fmt.Sprintf("ACK_EXPORTER_DEMO_TEST=%d", time.Now().UnixNano()) }

// family is a demo with all that it has started.
type family struct {
	marker string
	// namespaces are the process namespaces of its sandboxes. Programs there can have
	// an environment of their own.
	namespaces map[string]bool
}

// requireProcesses shows that there is something that can be left.
func requireProcesses(t *testing.T, marker string, atLeast int) family {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	f := family{marker: marker, namespaces: make(map[string]bool)}
	f.each(t, func(folder, _ string) {
		if namespace, err := os.Readlink(filepath.Join(folder, "ns/pid")); err == nil && namespace != own {
			f.namespaces[namespace] = true
		}
	})
	if found := f.left(t); len(found) < atLeast {
		t.Errorf("the demo has the processes %q: fewer than %d", found, atLeast)
	}
	return f
}

// left lists the names of its processes.
func (f family) left(t *testing.T) []string {
	t.Helper()
	var names []string
	f.each(t, func(_, name string) { names = append(names, name) })
	return names
}

// each calls do for all processes that have the marker in their environment or are
// in one of the namespaces.
func (f family) each(t *testing.T, do func(folder, name string)) {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		// Errors: it has ended.
		environment, errEnvironment := os.ReadFile(filepath.Join(folder, "environ"))
		namespace, errNamespace := os.Readlink(filepath.Join(folder, "ns/pid"))
		if errors.Join(errEnvironment, errNamespace) != nil {
			continue
		}
		if bytes.Contains(environment, []byte(f.marker)) || f.namespaces[namespace] {
			name, _ := os.ReadFile(filepath.Join(folder, "comm"))
			do(folder, strings.TrimSpace(string(name)))
		}
	}
}
