//go:build e2e

package conntrack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

// TestGracefulStop stops the exporter while it is scraped without a pause.
func TestGracefulStop(t *testing.T) {
	w := trackingWorld(t)
	fill(t, w, smallTable)
	across := 0
	for range 3 {
		across += stopUnderScrapes(t, w)
	}
	if across == 0 {
		t.Error("no scrape was under way when the exporter was stopped")
	}
}

// stopUnderScrapes returns how many scrapes had begun before the stop, and had
// their answer after.
func stopUnderScrapes(t *testing.T, w *world.World) (across int) {
	t.Helper()
	p := exporter.Start(t, w, exporter.Config{Args: tableFlags("2s", "250000")})
	p.AwaitSuccess(t, patience, "conntrack_table")

	// Set before the signal is sent.
	var stopping atomic.Bool
	var whole, whileStopping atomic.Int64
	var scrapers sync.WaitGroup
	const inFlight = 6 // the exporter refuses more than 10
	for range inFlight {
		scrapers.Go(func() {
			for {
				began := !stopping.Load()
				status, body, err := p.Get(t.Context(), "/metrics")
				if errors.Is(err, exporter.ErrNoAnswer) && stopping.Load() {
					return
				}
				if began && stopping.Load() {
					whileStopping.Add(1)
				}
				if err := checkAnswer(status, body, err); err != nil {
					t.Errorf("an answer that began is not whole: %v", err)
					return
				}
				whole.Add(1)
			}
		})
	}
	world.Eventually(t, patience, func() error {
		if n := whole.Load(); n < 50 {
			return fmt.Errorf("%d scrapes so far", n)
		}
		return nil
	})
	stopping.Store(true)
	took, err := p.Stop()
	if err != nil {
		t.Error(err)
	}
	scrapers.Wait()
	t.Logf("stopped in %s; %d scrapes, %d of them across the stop", took, whole.Load(), whileStopping.Load())
	return int(whileStopping.Load())
}

func checkAnswer(status int, body string, err error) error {
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d", status)
	}
	m, err := exporter.Parse(strings.NewReader(body))
	if err != nil {
		return err
	}
	return m.Expect(smallTable, "ack_conntrack_entries")
}

// TestStopFinishesAnswer stops the exporter while a client that reads slowly has
// read the beginning of an answer.
func TestStopFinishesAnswer(t *testing.T) {
	w := trackingWorld(t)
	fill(t, w, smallTable)
	// With buffers this small most of the answer is still in the exporter.
	w.SetSysctl(t, "net/ipv4/tcp_wmem", "4096 4096 4096")
	w.SetSysctl(t, "net/ipv4/tcp_rmem", "4096 4096 4096")
	p := exporter.Start(t, w, exporter.Config{})
	p.AwaitSuccess(t, patience, "conntrack_table")

	conn, err := world.Dialer(w.PID())(t.Context(), "tcp4", exporter.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()

	stopped := make(chan error, 1)
	go func() {
		_, err := p.Stop()
		stopped <- err
	}()
	world.Eventually(t, exporter.StopTimeout, func() error {
		if _, err := p.ScrapeOnce(t.Context()); !errors.Is(err, exporter.ErrNoAnswer) {
			return fmt.Errorf("the exporter still takes connections: %w", err)
		}
		return nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("the exporter ended before its answer did: %v", err)
	default:
	}
	m, err := exporter.Parse(answer.Body)
	if err != nil {
		t.Fatalf("the answer is not whole: %v", err)
	}
	if err := m.Expect(smallTable, "ack_conntrack_entries"); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestSideBySide scrapes from several sides at once: no scrape may find a
// collector busy with another, and go without its metrics.
func TestSideBySide(t *testing.T) {
	w := trackingWorld(t)
	fill(t, w, smallTable)
	p := exporter.Start(t, w, exporter.Config{Args: tableFlags("2s", "250000")})
	p.AwaitSuccess(t, patience, "conntrack_table")

	var scrapers sync.WaitGroup
	const sides, each = 8, 150 // the exporter refuses more than 10 at once
	for range sides {
		scrapers.Go(func() {
			for range each {
				status, body, err := p.Get(t.Context(), "/metrics")
				if err := checkAnswer(status, body, err); err != nil {
					t.Errorf("one of %d answers: %v", sides*each, err)
				}
			}
		})
	}
	scrapers.Wait()
	m := scrapeAnew(t, p)
	for _, collector := range []string{"hostnet", "conntrack", "conntrack_table", "sysctl", "kmsg"} {
		for key, n := range m.Family("ack_exporter_collector_errors_total") {
			if n > 0 && strings.Contains(key, fmt.Sprintf("collector=%q", collector)) {
				t.Errorf("%s is %v", key, n)
			}
		}
	}
}

// TestNoLeak scrapes on new connections again and again, and passes go on.
func TestNoLeak(t *testing.T) {
	w := trackingWorld(t)
	fill(t, w, smallTable)
	p := exporter.Start(t, w, exporter.Config{Args: tableFlags("1s", "250000")})
	p.AwaitSuccess(t, patience, "conntrack_table")

	goroutines, descriptors := leastOf(t, p, 20)
	for range 50 {
		scrapeAnew(t, p)
	}
	for range 3 {
		p.AwaitRefresh(t, patience, "conntrack_table")
	}
	// What leaks stays; all else goes away within this time.
	world.Eventually(t, patience, func() error {
		goroutinesNow, descriptorsNow := leastOf(t, p, 20)
		if goroutinesNow > goroutines || descriptorsNow > descriptors {
			return fmt.Errorf("%v goroutines have become %v, %v open files %v", goroutines, goroutinesNow, descriptors, descriptorsNow)
		}
		return nil
	})
	t.Logf("%v goroutines, %v open files", goroutines, descriptors)
}

// leastOf takes the least of several scrapes: a scrape has goroutines that work
// side by side with the one that counts them, and a pass has a socket.
func leastOf(t *testing.T, p *exporter.Process, scrapes int) (goroutines, descriptors float64) {
	t.Helper()
	goroutines, descriptors = math.Inf(1), math.Inf(1)
	for range scrapes {
		m := scrapeAnew(t, p)
		goroutines = min(goroutines, m.Value(t, "go_goroutines"))
		descriptors = min(descriptors, m.Value(t, "process_open_fds"))
	}
	return goroutines, descriptors
}

// scrapeAnew scrapes on a connection of its own.
func scrapeAnew(t *testing.T, p *exporter.Process) exporter.Metrics {
	t.Helper()
	m, err := p.ScrapeOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}
