//go:build e2e

// Package exporter builds the exporter, runs it in a world and scrapes it.
package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ack-exporter/e2e/internal/world"
)

const (
	// Address is where the exporter listens.
	Address = "127.0.0.1:9777"
	// StopTimeout is how long the exporter may take to stop.
	StopTimeout = 5 * time.Second

	buildTimeout  = 5 * time.Minute
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
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	path := filepath.Join(world.Scratch(), "ack-exporter")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "ack-exporter/cmd/ack-exporter")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return path, nil
})

// Process is a running exporter.
type Process struct {
	cmd     *exec.Cmd
	log     lockedBuffer
	client  *http.Client
	waited  chan struct{} // closed when the process has ended
	waitErr error         // valid from then on
}

// Config says how to run the exporter.
type Config struct {
	// Wrapper is a command that ends by executing the exporter, such as
	// setpriv with its options.
	Wrapper []string
	// Args are flags besides those that every test needs.
	Args []string
}

// Start starts the role node in a world. When the test ends the exporter is
// told to stop, and the test fails unless it does so as it should.
func Start(t testing.TB, w *world.World, c Config) *Process {
	t.Helper()
	argv := append([]string{}, c.Wrapper...)
	argv = append(argv, Binary(t), "node", "--web.listen-address="+Address, "--path.procfs=/proc")
	argv = append(argv, c.Args...)
	// Not the test's context: that ends before the functions of t.Cleanup run.
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	p := &Process{cmd: cmd, waited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := w.Start(cmd); err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	go func() {
		p.waitErr = cmd.Wait()
		close(p.waited)
	}()
	p.client = &http.Client{Transport: &http.Transport{
		DialContext:         world.Dialer(cmd.Process.Pid),
		MaxIdleConnsPerHost: maxScrapers,
	}}
	t.Cleanup(func() {
		if _, err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the exporter's output:\n%s", p.log.String())
		}
	})
	return p
}

// PID is the process id, as the tests see it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Stop tells the exporter to stop and says how long it took. It is an error
// where that is too long, or the exit status is not 0. A second call is empty.
func (p *Process) Stop() (time.Duration, error) {
	select {
	case <-p.waited:
		return 0, p.exitError()
	default:
	}
	p.client.CloseIdleConnections()
	start := time.Now()
	// That it has just ended shows below.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.waited:
		return time.Since(start), p.exitError()
	case <-time.After(StopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.waited
		return time.Since(start), fmt.Errorf("the exporter still ran %s after SIGTERM", StopTimeout)
	}
}

func (p *Process) exitError() error {
	if p.waitErr != nil {
		return fmt.Errorf("the exporter ended with %w", p.waitErr)
	}
	return nil
}

// ErrNoAnswer says that the exporter did not begin to answer.
var ErrNoAnswer = errors.New("no answer")

// Get asks for a path and returns the whole answer, whatever its status.
func (p *Process) Get(ctx context.Context, path string) (status int, body string, err error) {
	return get(ctx, p.client, path)
}

func get(ctx context.Context, client *http.Client, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+Address+path, http.NoBody)
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
	return scrape(ctx, p.client)
}

// ScrapeOnce is Scrape on a connection of its own.
func (p *Process) ScrapeOnce(ctx context.Context) (Metrics, error) {
	transport := &http.Transport{DialContext: world.Dialer(p.PID()), DisableKeepAlives: true}
	return scrape(ctx, &http.Client{Transport: transport})
}

func scrape(ctx context.Context, client *http.Client) (Metrics, error) {
	status, body, err := get(ctx, client, "/metrics")
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
		select {
		case <-p.waited:
			t.Fatalf("the exporter has ended: %v", p.waitErr)
		default:
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

// lockedBuffer can be read while a process still writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
