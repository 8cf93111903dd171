//go:build e2e

package conntrack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/measure"
	"ack-exporter/e2e/internal/world"
)

const (
	million = 1_000_000
	// rounds of what is compared take turns, and medians are reported: what else
	// the machine does then meets all alike.
	rounds = 5
)

// The default interval: the frame gives a pass 30 s within it.
const passInterval = "60s"

// BenchmarkMillion measures the exporter on a node with a million entries. Each
// part does its rounds once, whatever b.N is.
func BenchmarkMillion(b *testing.B) {
	w := trackingWorld(b)
	world.SetMachineSysctl(b, "net/netfilter/nf_conntrack_max", "1100000")
	made := fill(b, w, million)
	b.Run("exact", func(b *testing.B) { benchmarkExact(b, w, made) })
	b.Run("sampled", func(b *testing.B) { benchmarkSampled(b, w, made) })
	b.Run("scrape", func(b *testing.B) { benchmarkScrape(b, w) })
	b.Run("datapath", func(b *testing.B) { benchmarkDatapath(b, w) })
	b.Run("share", func(b *testing.B) { benchmarkShare(b, w) })
}

// benchmarkExact compares an exact pass of the exporter with a dump that throws
// the bytes away, and with the conntrack tool.
func benchmarkExact(b *testing.B, w *world.World, made census) {
	var bare, exact, tool []float64
	var wall, memory float64
	for range rounds {
		bare = append(bare, bareDump(b, w))

		p := exporter.Start(b, w, exporter.Config{Args: tableFlags(passInterval, "0")})
		m := awaitPass(b, w, p)
		if diff := tableMetrics(m).Difference(made.metrics()); len(diff) > 0 {
			b.Fatalf("the pass is wrong: %s", diff)
		}
		exact = append(exact, passCPU(b, m))
		wall = max(wall, m.Value(b, "ack_exporter_collector_duration_seconds", "collector", "conntrack_table"))
		memory = max(memory, peakMemory(b, p))
		stop(b, p)

		list := exec.CommandContext(b.Context(), "conntrack", "-L") // writes to /dev/null
		tool = append(tool, milliseconds(runInside(b, w, list)))
	}
	measure.Report(b, median(bare), "bare-ms")
	measure.Report(b, median(exact), "exact-ms")
	measure.Report(b, median(tool), "conntrack-L-ms")
	measure.Report(b, wall, "wall-s")
	measure.Budget(b, "an exact pass in bare dumps", medianRatio(exact, bare), "exact/bare", 1.15)
	measure.Budget(b, "an exact pass in runs of conntrack -L", medianRatio(exact, tool), "exact/conntrack-L", 1.0/3)
	measure.Budget(b, "peak memory", memory, "peak-MiB", 30)
}

// bareDump is the CPU time of a dump that throws the bytes away, in milliseconds.
func bareDump(b *testing.B, w *world.World) float64 {
	b.Helper()
	var d dumped
	cpu := play(b, w, &d, "dump")
	if d.Bytes < 100*million {
		b.Fatalf("the bare dump has %d bytes in %d datagrams only", d.Bytes, d.Datagrams)
	}
	return milliseconds(cpu)
}

// benchmarkSampled is about the pass that the exporter makes by default. It is
// compared with the same share of a bare dump, too: how many milliseconds an
// entry costs depends on the machine by a factor of two.
func benchmarkSampled(b *testing.B, w *world.World, made census) {
	var cpu, bare []float64
	var wrong, memory float64
	for range rounds {
		whole := bareDump(b, w)
		p := exporter.Start(b, w, exporter.Config{})
		m := awaitPass(b, w, p)
		if err := m.Expect(0, "ack_conntrack_table_complete"); err != nil {
			b.Fatal(err)
		}
		cpu = append(cpu, passCPU(b, m))
		bare = append(bare, whole*m.Value(b, "ack_conntrack_table_visited_entries")/million)
		wrong = max(wrong, largestError(b, tableMetrics(m), made.metrics()))
		memory = max(memory, peakMemory(b, p))
		stop(b, p)
	}
	measure.Budget(b, "CPU time of a default pass", median(cpu), "ms", 400)
	measure.Report(b, slices.Max(cpu), "max-ms")
	measure.Budget(b, "a default pass in bare dumps of as many entries", medianRatio(cpu, bare), "sampled/bare", 1.15)
	measure.Budget(b, "largest error of a class above 5 %", wrong, "error-%", 3)
	measure.Budget(b, "peak memory", memory, "peak-MiB", 30)
}

// largestError of the classes above 5 % of the table, in per cent of the truth.
func largestError(b *testing.B, got, want exporter.Metrics) float64 {
	b.Helper()
	largest, compared := 0.0, 0
	for key, truth := range want {
		estimate, ok := got[key]
		if !ok {
			b.Fatalf("there is no series %s", key)
		}
		if truth > 0.05*million {
			compared++
			largest = max(largest, 100*max(estimate-truth, truth-estimate)/truth)
		}
	}
	if compared == 0 {
		b.Fatal("no class is above 5 %")
	}
	return largest
}

// benchmarkScrape measures scrapes while exact passes run, and what a scrape
// costs when none does.
func benchmarkScrape(b *testing.B, w *world.World) {
	const enough = 200
	var during []time.Duration
	for len(during) < enough {
		p := exporter.Start(b, w, exporter.Config{Args: tableFlags(passInterval, "0")})
		awaitRunning(b, w)
		before := len(during)
		tick := time.NewTicker(10 * time.Millisecond)
		for passRunning(b, w) {
			during = append(during, timedScrape(b, p))
			<-tick.C
		}
		tick.Stop()
		if len(during) == before {
			b.Fatal("no scrape met a pass")
		}
		stop(b, p)
	}
	slices.Sort(during)

	p := exporter.Start(b, w, exporter.Config{})
	awaitPass(b, w, p)
	cpuBefore := measure.ProcessCPU(b, p.PID())
	quiet := make([]time.Duration, enough)
	for i := range quiet {
		quiet[i] = timedScrape(b, p)
	}
	cost := measure.ProcessCPU(b, p.PID()) - cpuBefore
	slices.Sort(quiet)
	stop(b, p)

	measure.Report(b, milliseconds(quantile(during, 0.5)), "p50-ms")
	measure.Budget(b, "p99 of scrapes during passes", milliseconds(quantile(during, 0.99)), "p99-ms", 10)
	measure.Report(b, milliseconds(quantile(quiet, 0.5)), "quiet-p50-ms")
	measure.Report(b, milliseconds(quantile(quiet, 0.99)), "quiet-p99-ms")
	measure.Report(b, milliseconds(cost)/enough, "cpu-ms/scrape")
	measure.Report(b, float64(len(during)), "scrapes")
}

func timedScrape(b *testing.B, p *exporter.Process) time.Duration {
	b.Helper()
	start := time.Now()
	status, body, err := p.Get(b.Context(), "/metrics")
	took := time.Since(start)
	if err != nil || status != http.StatusOK || len(body) == 0 {
		b.Fatalf("scrape: status %d, %d bytes, %v", status, len(body), err)
	}
	return took
}

// benchmarkShare runs the exporter with its defaults from the end of one pass to
// the end of the next, scraped every 15 s, and reports the share of one core
// that all of it took.
func benchmarkShare(b *testing.B, w *world.World) {
	p := exporter.Start(b, w, exporter.Config{})
	awaitPass(b, w, p)
	start, before := time.Now(), measure.ProcessCPU(b, p.PID())
	scrapes := 0
	scrape := time.NewTicker(15 * time.Second)
	defer scrape.Stop()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for began := false; ; {
		running := passRunning(b, w)
		if began && !running {
			break
		}
		began = began || running
		select {
		case <-scrape.C:
			timedScrape(b, p)
			scrapes++
		case <-poll.C:
		}
		if time.Since(start) > 4*time.Minute {
			b.Fatal("there was no second pass")
		}
	}
	took := time.Since(start)
	share := 100 * float64(measure.ProcessCPU(b, p.PID())-before) / float64(took)
	if scrapes < 3 {
		b.Fatalf("%d scrapes only", scrapes)
	}
	measure.Budget(b, "share of one core", share, "%-of-a-core", 1)
	measure.Report(b, took.Seconds(), "window-s")
	stop(b, p)
}

// benchmarkDatapath measures UDP round trips through a tracked veth pair while
// the CPU that handles what comes back also runs exact passes: the worst place
// to be.
func benchmarkDatapath(b *testing.B, w *world.World) {
	if runtime.NumCPU() < 2 {
		b.Skip("needs two CPUs")
	}
	const server = "198.51.100.2:7" // documentation addresses, inside the worlds
	peer := world.New(b)
	w.Run(b, "ip", "link", "add", "e2e0", "type", "veth", "peer", "name", "e2e1", "netns", strconv.Itoa(peer.PID()))
	w.Run(b, "ip", "address", "add", "198.51.100.1/24", "dev", "e2e0")
	w.Run(b, "ip", "link", "set", "e2e0", "up")
	peer.Run(b, "ip", "address", "add", "198.51.100.2/24", "dev", "e2e1")
	peer.Run(b, "ip", "link", "set", "e2e1", "up")
	mask := strconv.FormatUint(1<<loadedCPU, 16)
	if err := os.WriteFile(w.Path("/sys/class/net/e2e0/queues/rx-0/rps_cpus"), []byte(mask), 0); err != nil {
		b.Fatal(err)
	}
	startEcho(b, peer, server)

	const window = 2 * time.Second
	var idle50, idle99, pass50, pass99 []float64
	ping := func(p50, p99 *[]float64) {
		var r roundTrips
		play(b, w, &r, "ping", server, window.String())
		if r.N < 1000 {
			b.Fatalf("%d round trips only", r.N)
		}
		*p50 = append(*p50, microseconds(r.P50))
		*p99 = append(*p99, microseconds(r.P99))
	}
	onLoadedCPU := []string{"taskset", "--cpu-list", strconv.Itoa(loadedCPU)}
	for range rounds {
		ping(&idle50, &idle99)
		p := exporter.Start(b, w, exporter.Config{Wrapper: onLoadedCPU, Args: tableFlags(passInterval, "0")})
		awaitRunning(b, w)
		ping(&pass50, &pass99)
		if !passRunning(b, w) {
			b.Fatalf("the pass ended before %s were over", window)
		}
		stop(b, p)
	}
	measure.Report(b, median(idle50), "idle-p50-µs")
	measure.Report(b, median(pass50), "pass-p50-µs")
	measure.Report(b, median(idle99), "idle-p99-µs")
	measure.Report(b, median(pass99), "pass-p99-µs")
	measure.Budget(b, "p99 of round trips during passes against idle", medianRatio(pass99, idle99), "pass/idle-p99", 1.5)
}

// startEcho starts the server of the round trips and waits until it listens.
func startEcho(b *testing.B, w *world.World, address string) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd, err := world.RoleCommand(ctx, "echo", address)
	if err == nil {
		err = w.Start(cmd)
	}
	if err != nil {
		cancel()
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	conn, err := world.Dialer(w.PID())(b.Context(), "udp4", address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	world.Eventually(b, patience, func() error { return exchange(conn) })
}

// BenchmarkStart measures the time from the start of the process to the end of
// its first answer.
func BenchmarkStart(b *testing.B) {
	w := trackingWorld(b)
	exporter.Binary(b) // built before the clock runs
	var times []float64
	for range 2*rounds + 1 {
		start := time.Now()
		p := exporter.Start(b, w, exporter.Config{})
		tick := time.NewTicker(time.Millisecond)
		for {
			_, err := p.ScrapeOnce(b.Context())
			if err == nil {
				break
			}
			if !errors.Is(err, exporter.ErrNoAnswer) || time.Since(start) > patience {
				b.Fatal(err)
			}
			<-tick.C
		}
		tick.Stop()
		times = append(times, milliseconds(time.Since(start)))
		stop(b, p)
	}
	measure.Budget(b, "first scrape after the start", slices.Max(times), "max-ms", 1000)
	measure.Report(b, median(times), "ms")
}

// passRunning tells whether somebody in the world has a socket of the kind by
// which the table is read: a pass opens one, and closes it when it ends.
func passRunning(t testing.TB, w *world.World) bool {
	t.Helper()
	f, err := os.Open("/proc/" + strconv.Itoa(w.PID()) + "/net/netlink")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// sk, protocol, port id (0 is the kernel's own socket), …
		fields := strings.Fields(lines.Text())
		if len(fields) > 2 && fields[1] == strconv.Itoa(unix.NETLINK_NETFILTER) && fields[2] != "0" {
			return true
		}
	}
	return false
}

// awaitRunning waits for a pass to begin.
func awaitRunning(b *testing.B, w *world.World) {
	b.Helper()
	world.Eventually(b, patience, func() error {
		if !passRunning(b, w) {
			return errors.New("no pass is running")
		}
		return nil
	})
}

// awaitPass waits for the end of the first pass. It does not scrape meanwhile.
func awaitPass(b *testing.B, w *world.World, p *exporter.Process) exporter.Metrics {
	b.Helper()
	awaitRunning(b, w)
	world.Eventually(b, patience, func() error {
		if passRunning(b, w) {
			return errors.New("the pass is still running")
		}
		return nil
	})
	return p.AwaitSuccess(b, patience, "conntrack_table")
}

// runInside runs a program in a world to its end and returns the CPU time that
// it used, in user space and in the kernel.
func runInside(b *testing.B, w *world.World, cmd *exec.Cmd) time.Duration {
	b.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := w.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		b.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func stop(b *testing.B, p *exporter.Process) {
	b.Helper()
	if _, err := p.Stop(); err != nil {
		b.Fatal(err)
	}
}

// passCPU is what the passes of an exporter have cost so far, in milliseconds.
func passCPU(b *testing.B, m exporter.Metrics) float64 {
	b.Helper()
	return 1000 * m.Value(b, "ack_conntrack_table_cpu_seconds_total")
}

// peakMemory is the largest resident size of the exporter so far, in MiB.
func peakMemory(b *testing.B, p *exporter.Process) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil || !found {
		b.Fatalf("no VmHWM: %v", err)
	}
	return kib / 1024
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// medianRatio is the median of the ratios in each round: its two figures were
// taken one right after the other.
func medianRatio(over, under []float64) float64 {
	ratios := make([]float64, len(over))
	for i := range over {
		ratios[i] = over[i] / under[i]
	}
	return median(ratios)
}
