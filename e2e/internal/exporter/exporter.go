//go:build e2e

// Package exporter builds the exporter, runs it in a world and scrapes it.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ack-exporter/e2e/internal/hostroot"
	"ack-exporter/e2e/internal/node"
	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/world"
)

const (
	// Address is where the exporter listens, unless a Config says otherwise.
	Address = "127.0.0.1:9777"
	// StopTimeout is how long the exporter may take to stop.
	StopTimeout = node.StopTimeout

	scrapeTimeout = 10 * time.Second
	// maxScrapers is how many can scrape side by side without new connections.
	maxScrapers = 10
)

// Binary is the path of the exporter: the one that E2E_EXPORTER names, or one
// that is built from this source, once.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("E2E_EXPORTER"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(world.Scratch(), "ack-exporter")
	return path, node.Build(context.Background(), path)
})

// Process is a running exporter.
type Process struct {
	process *process.Process
	address string
	dial    dialer
	client  *http.Client
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Config says how to run the exporter.
type Config struct {
	// Role is that of package node; empty: the role node.
	Role string
	// Wrapper is a command that ends by executing the exporter, such as
	// setpriv with its options.
	Wrapper []string
	// Args are flags besides those that every test needs.
	Args []string
	// Rootfs is the root file system of the host. Empty: one without files.
	Rootfs hostroot.Root
	// Address is where the exporter listens in place of the constant Address.
	Address string
	// FromWorld passes the exporter a socket of the world, which it can be reached
	// by even where the wrapper puts it into another network.
	FromWorld bool
}

// Start starts the exporter in a world. When the test ends the exporter is
// told to stop, and the test fails unless it does so as it should.
func Start(t testing.TB, w *world.World, c Config) *Process {
	t.Helper()
	config := node.Config{
		Binary: Binary(t), Role: c.Role, Rootfs: string(c.Rootfs), Address: Address, Wrapper: c.Wrapper, Args: c.Args,
	}
	if c.Rootfs == "" {
		config.Rootfs = withoutFiles(t)
	}
	if c.Address != "" {
		config.Address = c.Address
	}
	p := &Process{address: config.Address}
	if c.FromWorld {
		config.Listener = listen(t, w, config.Address)
		defer func() { _ = config.Listener.Close() }()
	}
	var err error
	if p.process, err = node.Start(t.Context(), w.Sandbox, config); err != nil {
		t.Fatal(err)
	}
	p.dial = world.Dialer(p.PID())
	if c.FromWorld {
		p.dial = w.Dial
	}
	p.client = &http.Client{Transport: &http.Transport{
		DialContext:         p.dial,
		MaxIdleConnsPerHost: maxScrapers,
	}}
	t.Cleanup(func() {
		if _, err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the exporter's output:\n%s", p.process.Output())
		}
	})
	return p
}

// withoutFiles is a root file system that all users may read, and in which nothing is.
func withoutFiles(t testing.TB) string {
	t.Helper()
	root, err := hostroot.New(filepath.Join(world.Scratch(), "empty"))
	if err != nil {
		t.Fatal(err)
	}
	return string(root)
}

func listen(t testing.TB, w *world.World, address string) *net.TCPListener {
	t.Helper()
	listener, err := w.Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		t.Fatalf("a %T is no TCP listener", listener)
	}
	return tcp
}

// PID is the process id, as the tests see it.
func (p *Process) PID() int { return p.process.PID() }

// Output is what the exporter has logged so far.
func (p *Process) Output() string { return p.process.Output() }

// Stop tells the exporter to stop and says how long it took. It is an error
// where that is too long, or the exit status is not 0. A second call is empty.
func (p *Process) Stop() (time.Duration, error) {
	p.client.CloseIdleConnections()
	return p.process.Stop(StopTimeout)
}

// Kill ends the exporter as a crash would.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.client.CloseIdleConnections()
	if err := p.process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// ErrNoAnswer says that the exporter did not begin to answer.
var ErrNoAnswer = errors.New("no answer")

// Get asks for a path and returns the whole answer, whatever its status.
func (p *Process) Get(ctx context.Context, path string) (status int, body string, err error) {
	return p.get(ctx, p.client, path)
}

func (p *Process) get(ctx context.Context, client *http.Client, path string) (status int, body string, err error) {
	return get(ctx, client, p.address, path)
}

func get(ctx context.Context, client *http.Client, address, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, "", fmt.Errorf("GET %s: the answer breaks off after %d bytes: %w", path, len(b), err)
	}
	return resp.StatusCode, string(b), nil
}

// Scrape reads all metrics once.
func (p *Process) Scrape(ctx context.Context) (Metrics, error) {
	return p.scrape(ctx, p.client)
}

// ScrapeOnce is Scrape on a connection of its own.
func (p *Process) ScrapeOnce(ctx context.Context) (Metrics, error) {
	transport := &http.Transport{DialContext: p.dial, DisableKeepAlives: true}
	return p.scrape(ctx, &http.Client{Transport: transport})
}

func (p *Process) scrape(ctx context.Context, client *http.Client) (Metrics, error) {
	return scrape(ctx, client, p.address)
}

// ScrapeAt reads all metrics of an exporter that something else has started, at an
// address of a world, on a connection of its own.
func ScrapeAt(ctx context.Context, w *world.World, address string) (Metrics, error) {
	transport := &http.Transport{DialContext: w.Dial, DisableKeepAlives: true}
	return scrape(ctx, &http.Client{Transport: transport}, address)
}

func scrape(ctx context.Context, client *http.Client, address string) (Metrics, error) {
	status, body, err := get(ctx, client, address, "/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("GET /metrics: status %d: %.500s", status, body)
	}
	return Parse(strings.NewReader(body))
}

// Await scrapes until the metrics fulfil the condition, and returns them.
func (p *Process) Await(t testing.TB, within time.Duration, condition func(Metrics) error) Metrics {
	t.Helper()
	var m Metrics
	world.Eventually(t, within, func() (err error) {
		if ended, err := p.process.Ended(); ended {
			t.Fatalf("the exporter has ended: %v", err)
		}
		if m, err = p.Scrape(t.Context()); err != nil {
			return err
		}
		return condition(m)
	})
	return m
}

// AwaitSuccess scrapes until the collector has succeeded once.
func (p *Process) AwaitSuccess(t testing.TB, within time.Duration, collector string) Metrics {
	t.Helper()
	return p.Await(t, within, func(m Metrics) error { return m.RefreshedSince(time.Unix(0, 0), collector) })
}

// AwaitRefresh scrapes until the background collector has succeeded in a
// refresh that began after the call.
func (p *Process) AwaitRefresh(t testing.TB, within time.Duration, collector string) Metrics {
	t.Helper()
	since := time.Now()
	return p.Await(t, within, func(m Metrics) error { return m.RefreshedSince(since, collector) })
}

// AwaitReady waits until every collector has succeeded once, or found that its
// subject is not here.
func (p *Process) AwaitReady(t testing.TB, within time.Duration) {
	t.Helper()
	world.Eventually(t, within, func() error {
		status, body, err := p.Get(t.Context(), "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET /readyz: status %d: %s", status, body)
		}
		return err
	})
}
