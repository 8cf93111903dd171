package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"ack-exporter/internal/server/servertest"
)

// buffer is a bytes.Buffer that can be read while another goroutine writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--version": "ack-exporter, version ",
		"--help":    "--collector.conntrack_table.interval",
		"-h":        "--web.config.file",
	} {
		args := []string{"node", flag}
		if flag == "--version" {
			args = []string{flag}
		}
		var stdout, stderr buffer
		if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
			t.Errorf("%s: status %d", flag, status)
		}
		if out := stdout.String(); !strings.Contains(out, want) {
			t.Errorf("%s: %q is missing from %s", flag, want, out)
		}
		if stderr.String() != "" {
			t.Errorf("%s: %s", flag, &stderr)
		}
		if flag == "--version" && strings.Contains(stdout.String(), "usage:") {
			t.Errorf("%s goes on: %s", flag, &stdout)
		}
	}
}

func TestBadInputIsOneLineAndStatus1(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const free = "--web.listen-address=127.0.0.1:0"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "no command"},
		{[]string{"nod"}, `expected command but got "nod"`},
		{[]string{"node", "--no-such-flag"}, "unknown long flag '--no-such-flag'"},
		{[]string{"node", "--collector.conntrack_table.interval=soon"}, "soon"},
		{[]string{"node", "--collector.conntrack_table.interval=0s", free}, "--collector.conntrack_table.interval: 0s is shorter than 1s"},
		{[]string{"node", "--collector.conntrack_table.interval=-1m", free}, "--collector.conntrack_table.interval: -1m0s is shorter than 1s"},
		{[]string{"node", "--collector.conntrack_table.max-entries=-1"}, "-1"},
		{[]string{"node", "--collector.scrape-timeout=0s", free}, "--collector.scrape-timeout: 0s is not positive"},
		{[]string{"node", "--collector.sysctl.nodeport-range=30000", free}, "--collector.sysctl.nodeport-range"},
		{[]string{"node", "--collector.certificate_files.path=pki/*.crt", free}, `--collector.certificate_files: path \"pki/*.crt\": not an absolute path`},
		{[]string{"node", "--collector.certificate_files.kubeconfig=/root/**/config", free}, "** is not known"},
		{[]string{"node", "--collector.instance.metadata-endpoint=100.100.100.200", free}, "--collector.instance.metadata-endpoint"},
		{[]string{"node", "--collector.instance.interval=0s", free}, "--collector.instance.interval: 0s is shorter than 1s"},
		{[]string{"node", "--path.procfs=/no/such/dir", free}, "--path.procfs: open /no/such/dir: no such file or directory"},
		{[]string{"node", "--path.sysfs=/dev/null", free}, "--path.sysfs"},
		{[]string{"node", "--log.level=loud"}, "loud"},
		{[]string{"node", "--web.telemetry-path=/healthz", free}, "the telemetry path /healthz is taken"},
		{[]string{"node", "--web.config.file=/no/such/file", free}, "/no/such/file"},
		{[]string{"node", "--web.listen-address=" + l.Addr().String()}, "address already in use"},
		{[]string{"node", "--web.listen-address=nowhere"}, "nowhere"},
	} {
		var stdout, stderr buffer
		if status := run(t.Context(), c.args, &stdout, &stderr); status != 1 {
			t.Errorf("%v: status %d", c.args, status)
		}
		var complaints []string
		for line := range strings.Lines(stderr.String()) {
			// Collectors may have begun, and may say what they lack here.
			if !strings.Contains(line, "level=info") && !strings.Contains(line, "level=warn") {
				complaints = append(complaints, line)
			}
		}
		if len(complaints) != 1 || !strings.Contains(complaints[0], c.want) {
			t.Errorf("%v: want one line with %q, got %q", c.args, c.want, complaints)
		}
		if stdout.String() != "" {
			t.Errorf("%v: stdout: %s", c.args, &stdout)
		}
	}
}

// fixture is a proc file system of an idle node.
func fixture(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/proc")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// started runs the node role and returns where it serves; stop ends it and
// returns the exit status.
func started(t *testing.T, log io.Writer, args ...string) (url string, stop func() int) {
	t.Helper()
	address := servertest.FreeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	status := make(chan int, 1)
	args = append([]string{"node", "--web.listen-address=" + address}, args...)
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--path.procfs=") }) {
		args = append(args, "--path.procfs="+fixture(t))
	}
	go func() { status <- run(ctx, args, io.Discard, log) }()
	url = "http://" + address
	servertest.Await(t, func() bool {
		_, err := servertest.Fetch(t.Context(), http.DefaultClient, url+"/readyz")
		return err == nil
	}, func() string { return fmt.Sprintf("not ready: %s", log) })
	return url, func() int {
		cancel()
		return <-status
	}
}

func TestNodeServesAndStopsCleanly(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var log buffer
	// A missing log device is not applicable, so this needs no privilege.
	url, stop := started(t, &log, "--collector.kmsg.path=testdata/no-such-device")
	body, err := servertest.Fetch(t.Context(), http.DefaultClient, url+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"ack_conntrack_entries 0",
		"ack_conntrack_entries_limit 262144",
		"ack_conntrack_table_complete 1",
		"ack_exporter_host_network_namespace 1",
		`ack_exporter_collector_success{collector="conntrack_table"} 1`,
		`ack_exporter_collector_applicable{collector="kmsg"} 0`,
		`ack_sysctl_compliant{name="net.ipv4.ip_forward"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if !strings.Contains(body, "ack_exporter_build_info{") {
		t.Error("the build is not told")
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// Names that client_golang gives to what it finds in the Go runtime.
		if !strings.HasPrefix(p.Metric, "go_") {
			t.Errorf("promlint: %s: %s", p.Metric, p.Text)
		}
	}
	if status := stop(); status != 0 {
		t.Errorf("status %d: %s", status, &log)
	}
	if !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("log: %s", &log)
	}
}

func TestCollectorsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	var log buffer
	url, stop := started(t, &log, "--no-collector.kmsg", "--no-collector.conntrack_table", "--no-collector.sysctl", "--no-collector.hostnet")
	body, err := servertest.Fetch(t.Context(), http.DefaultClient, url+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(body, "ack_conntrack_entries 0\n") {
		t.Error("the collector that is on is missing")
	}
	for _, prefix := range []string{"ack_kernel_log", "ack_conntrack_table", "ack_sysctl", "ack_exporter_host", `ack_exporter_collector_success{collector="kmsg"}`} {
		if strings.Contains(body, "\n"+prefix) {
			t.Errorf("%s is there although it is off", prefix)
		}
	}
	stop()
}

func TestLogFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"logfmt": "level=info",
		"json":   `"level":"info"`,
	} {
		var log buffer
		_, stop := started(t, &log, "--no-collector.kmsg", "--log.format="+format)
		stop()
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s: %s", format, &log)
		}
	}
	var log buffer
	_, stop := started(t, &log, "--no-collector.kmsg", "--log.level=error")
	stop()
	if log.String() != "" {
		t.Errorf("level error: %s", &log)
	}
}

func TestForeignNamespaceIsSaidLoudly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixture(t))); err != nil {
		t.Fatal(err)
	}
	// The process gets a network of its own.
	if err := errors.Join(
		os.Remove(filepath.Join(dir, "4242/net")),
		os.Mkdir(filepath.Join(dir, "4242/net"), 0o755),
		os.WriteFile(filepath.Join(dir, "4242/net/dev"), nil, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	var log buffer
	url, stop := started(t, &log, "--path.procfs="+dir, "--no-collector.kmsg", "--no-collector.sysctl", "--no-collector.conntrack_table")
	body, err := servertest.Fetch(t.Context(), http.DefaultClient, url+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(body, "ack_exporter_host_network_namespace 0\n") {
		t.Error("the metric does not tell")
	}
	stop()
	if !strings.Contains(log.String(), `level=error`) || !strings.Contains(log.String(), "set hostNetwork") {
		t.Errorf("the log does not tell: %s", &log)
	}
}
