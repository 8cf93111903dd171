//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/dnscluster"
	"ack-exporter/e2e/internal/flows"
	"ack-exporter/e2e/internal/hostroot"
	"ack-exporter/e2e/internal/monitoring"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/poll"
	"ack-exporter/e2e/internal/sandbox"
	"ack-exporter/mixin"
)

// Ports of the loopback address, or the next that are free.
const (
	exporterPort     = 9777
	prometheusPort   = 9090
	alertmanagerPort = 9093
	portsToTry       = 50
)

const (
	nodeName = "demo-node"
	// job is what the rules call the exporters.
	job = "ack-exporter"
	// withoutKernelLog is for all nodes: the log is the machine's, and what it tells
	// is none of this.
	withoutKernelLog = "--no-collector.kmsg"
	// maxFlows bounds what is opened: a flow takes some hundred bytes of the
	// kernel's memory.
	maxFlows     = 1_000_000
	readyTimeout = time.Minute
)

// demo is what is running.
type demo struct {
	out     io.Writer
	mu      sync.Mutex // of out
	started time.Time
	// cleanup is done in reverse order at the end.
	cleanup []func() error

	notifying sync.Mutex
	states    map[string]string // of alerts, by receiver and fingerprint
	events    chan event

	folder  string
	binary  string // of the exporter
	sandbox *sandbox.Sandbox
	root    hostroot.Root // of the node
	sender  *flows.Sender
	stack   *monitoring.Stack
	address struct{ exporter, prometheus, alertmanager, webhook string }
}

func newDemo(out io.Writer) *demo {
	return &demo{out: out, started: time.Now(), states: make(map[string]string), events: make(chan event, 100)}
}

// say prints a line with the time since the start.
func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.out, "[%5.1fs] %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) atEnd(f func() error) { d.cleanup = append(d.cleanup, f) }

// end stops everything, the last started first.
func (d *demo) end() error {
	var errs []error
	for _, f := range slices.Backward(d.cleanup) {
		errs = append(errs, f())
	}
	if len(errs) > 0 {
		d.say("stopped; nothing is left behind")
	}
	return errors.Join(errs...)
}

// play is all of it. It returns when ctx ends, or something fails.
func (d *demo) play(ctx context.Context, install bool) error {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return d.requirePackages(ctx, install) },
		d.startNode,
		d.startMonitoring,
		d.tell,
		d.conntrack,
		d.parameter,
		d.certificate,
		d.cluster,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("that was all; everything runs on, with nothing wrong, until Ctrl-C")
	d.rest(ctx)
	return nil
}

// startNode makes a node and starts the exporter on it.
func (d *demo) startNode(ctx context.Context) error {
	var err error
	if d.folder, err = os.MkdirTemp("", "ack-exporter-demo-"); err != nil {
		return err
	}
	d.atEnd(func() error { return os.RemoveAll(d.folder) })

	d.binary = os.Getenv("E2E_EXPORTER")
	if d.binary == "" {
		d.binary = filepath.Join(d.folder, "ack-exporter")
		d.say("building the exporter")
		if err := node.Build(ctx, d.binary); err != nil {
			return err
		}
	}
	d.say("making a node: a network and a process namespace, in which things go wrong without harm")
	if d.sandbox, err = d.newNode(ctx); err != nil {
		return err
	}
	if d.sender, err = flows.NewSender(ctx, d.sandbox); err != nil {
		return err
	}
	d.atEnd(d.sender.Close)
	if d.root, err = d.newRoot(nodeName); err != nil {
		return err
	}
	d.say("starting the exporter")
	d.address.exporter, err = d.startExporter(ctx, d.sandbox, node.Config{Rootfs: string(d.root), Args: []string{
		// What is in the table is known after seconds, by a sample.
		"--collector.conntrack_table.interval=1s", "--collector.conntrack_table.max-entries=20000",
		"--collector.certificate_files.interval=1s",
		withoutKernelLog,
	}})
	return err
}

// newSandbox makes a sandbox that ends with the demo.
func (d *demo) newSandbox(ctx context.Context) (*sandbox.Sandbox, error) {
	s, err := sandbox.New(ctx)
	if err != nil {
		return nil, err
	}
	d.atEnd(s.Close)
	return s, nil
}

// newNode makes a sandbox with kernel parameters as ACK wants them.
func (d *demo) newNode(ctx context.Context) (*sandbox.Sandbox, error) {
	s, err := d.newSandbox(ctx)
	if err != nil {
		return nil, err
	}
	for name, value := range node.Healthy() {
		if err := s.SetSysctl(name, value); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// newRoot makes the root file system of a node, without files.
func (d *demo) newRoot(node string) (hostroot.Root, error) {
	return hostroot.New(filepath.Join(d.folder, "root-"+node))
}

// startExporter starts the exporter in a sandbox, waits until each collector has
// looked once, and returns where it listens: at a socket of the machine, so that it
// can be reached from outside.
func (d *demo) startExporter(ctx context.Context, s *sandbox.Sandbox, config node.Config) (address string, err error) {
	if config.Listener, err = listen(ctx, exporterPort); err != nil {
		return "", err
	}
	defer func() { _ = config.Listener.Close() }()
	config.Binary = d.binary
	p, err := node.Start(ctx, s, config)
	if err != nil {
		return "", err
	}
	d.atEnd(func() error {
		_, err := p.Stop(node.StopTimeout)
		return err
	})
	address = config.Listener.Addr().String()
	err = poll.Until(ctx, readyTimeout, func() error { return ready(ctx, "http://"+address+"/readyz") })
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, p.Output())
	}
	return address, nil
}

func ready(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("GET %s: status %d: %s", url, resp.StatusCode, body)
	}
	return nil
}

// startMonitoring starts Prometheus, Alertmanager and the webhook. They have the
// machine's network, but end with the node.
func (d *demo) startMonitoring(ctx context.Context) error {
	if err := d.choosePorts(ctx); err != nil {
		return err
	}
	d.say("starting Prometheus and Alertmanager; the rules have seconds in place of minutes, so that there is something to see soon")
	extra := fmt.Sprintf(`{
		runbookURLPrefix: 'http://%s/runbooks',
		alerts+: {
			ACKConntrackTableNearlyFull+: { warning+: { 'for': '5s' }, critical+: { 'for': '5s' } },
			// So that the first step of which people hear is the second.
			ACKCertificateExpiresSoon+: { warning+: { 'for': '12s' } },
		},
	} + %s + %s`, d.address.exporter, dnscluster.ShortAlerts, cloudcluster.ShortAlerts)
	pack, err := mixin.Render(monitoring.Short(d.address.webhook, extra))
	if err != nil {
		return err
	}
	binaries, err := monitoring.Find()
	if err != nil {
		return err
	}
	d.stack, err = monitoring.Start(ctx, monitoring.Config{
		Binaries: binaries, Sandbox: d.sandbox.WithoutNetwork(), Folder: d.folder,
		PrometheusAddress: d.address.prometheus, AlertmanagerAddress: d.address.alertmanager,
		Rules: pack.Rules, Alertmanager: pack.Alertmanager,
		Targets: map[string][]monitoring.Target{job: {target(d.address.exporter, nodeName, "ack-exporter-demo")}},
	})
	if err != nil {
		return err
	}
	d.atEnd(d.stack.Stop)
	return nil
}

// target is an exporter as Prometheus finds it in a cluster.
func target(address, node, pod string) monitoring.Target {
	return monitoring.Target{Address: address, Labels: map[string]string{"cluster": "demo", "node": node, "pod": pod}}
}

// choosePorts finds ports for what is started next, and starts the webhook.
func (d *demo) choosePorts(ctx context.Context) error {
	for port, address := range map[int]*string{
		prometheusPort: &d.address.prometheus, alertmanagerPort: &d.address.alertmanager,
	} {
		listener, err := listen(ctx, port)
		if err != nil {
			return err
		}
		// Open until both are chosen, so that they differ.
		defer func() { _ = listener.Close() }()
		*address = listener.Addr().String()
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.address.webhook = listener.Addr().String()
	d.atEnd(monitoring.Receive(listener, d.notified).Close)
	return nil
}

// listen listens at the loopback address, on this port or the next that is free.
func listen(ctx context.Context, port int) (*net.TCPListener, error) {
	var last error
	for p := port; p < port+portsToTry; p++ {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			last = err
			continue
		}
		if tcp, ok := listener.(*net.TCPListener); ok {
			return tcp, nil
		}
	}
	return nil, fmt.Errorf("no port from %d on is free: %w", port, last)
}

// tell says where to look.
func (d *demo) tell(context.Context) error {
	d.say("ready; look at\n"+
		"         Prometheus    http://%[1]s/classic/alerts\n"+
		"         Alertmanager  http://%[2]s\n"+
		"         exporter      http://%[3]s/metrics\n"+
		"         runbooks      http://%[3]s/runbooks/",
		d.address.prometheus, d.address.alertmanager, d.address.exporter)
	return nil
}

// conntrack fills the connection tracking table of the node in two steps, and
// empties it.
func (d *demo) conntrack(ctx context.Context) error {
	const alert = "ACKConntrackTableNearlyFull"
	text, err := d.sandbox.Sysctl("net/netfilter/nf_conntrack_max")
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("nf_conntrack_max: %w", err)
	}
	if limit > maxFlows {
		d.say("a connection tracking table of %d entries is too large to be filled for a demo", limit)
		return nil
	}
	for _, step := range []struct {
		percent  int
		severity string
	}{{85, "warning"}, {95, "critical"}} {
		n := limit*step.percent/100 - d.sender.Sent
		d.say("WRONG    %d flows fill the connection tracking table of the node to %d %%", n, step.percent)
		if err := d.sender.Open(n); err != nil {
			return err
		}
		if err := d.await(ctx, event{monitoring.Firing, step.severity, alert}); err != nil {
			return err
		}
	}
	d.say("MENDED   the connection tracking table is empty again")
	if err := d.sender.Flush(); err != nil {
		return err
	}
	return d.await(ctx, event{monitoring.Resolved, "warning", alert}, event{monitoring.Resolved, "critical", alert})
}

// parameter breaks a kernel parameter of the node and mends it.
func (d *demo) parameter(ctx context.Context) error {
	const parameter, severity, alert = "net/ipv4/ip_forward", "critical", "ACKIPForwardingOff"
	for _, step := range []struct{ what, value, status string }{
		{"WRONG    net.ipv4.ip_forward of the node is 0, as some hardening guides want it", "0", monitoring.Firing},
		{"MENDED   net.ipv4.ip_forward of the node is 1 again", "1", monitoring.Resolved},
	} {
		d.say("%s", step.what)
		if err := d.sandbox.SetSysctl(parameter, step.value); err != nil {
			return err
		}
		if err := d.await(ctx, event{step.status, severity, alert}); err != nil {
			return err
		}
	}
	return nil
}
