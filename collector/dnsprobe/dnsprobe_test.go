package dnsprobe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/hostfs"
)

// The fixtures of the neighbour are whole proc file systems.
const (
	hostProc    hostfs.Procfs = "../conntrack/testdata/6.18/proc"
	foreignProc hostfs.Procfs = "../conntrack/testdata/foreign/proc"
)

// sysfs is one that says this of the machine.
func sysfs(t testing.TB, vendor, product string) hostfs.Sysfs {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "class/dmi/id")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"sys_vendor": vendor, "product_name": product} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return hostfs.Sysfs(root)
}

// told is a Source that says what the test wants.
type told struct {
	targets Targets
	err     error
}

func (s *told) Targets(context.Context) (Targets, error) { return s.targets, s.err }

// fakeNetwork answers questions in memory. It records whom it was asked to reach.
type fakeNetwork struct {
	// answer makes the answer of a server; nil: it stays silent.
	answer func(server, network string, q *dns.Msg) *dns.Msg
	// fail is the error of every dial.
	fail error

	mu     sync.Mutex
	dialed []string // network and address
}

func (f *fakeNetwork) dial(_ context.Context, network, address string) (net.Conn, error) {
	f.mu.Lock()
	f.dialed = append(f.dialed, network+" "+address)
	f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	client, server := net.Pipe()
	go f.serve(server, network, netip.MustParseAddrPort(address).Addr().String())
	return client, nil
}

func (f *fakeNetwork) serve(conn net.Conn, network, name string) {
	defer conn.Close()
	l := link(datagrams{conn})
	if network == "tcp" {
		l = stream{conn}
	}
	for {
		b, err := l.receive()
		if err != nil {
			return
		}
		answer := f.answer(name, network, unpacked(b))
		if answer == nil {
			continue
		}
		if err := l.send(packed(answer)); err != nil {
			return
		}
	}
}

// dials is whom it was asked to reach since the last call, sorted.
func (f *fakeNetwork) dials() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dialed
	f.dialed = nil
	slices.Sort(d)
	return d
}

func answerAll(_, _ string, q *dns.Msg) *dns.Msg { return answerTo(q) }

func testConfig(source Source) Config {
	return Config{
		Source: source, Nodes: 5000,
		Procfs: foreignProc, Sysfs: "testdata/no-such-sysfs",
		ClusterName: testName, ExternalName: testExternal,
		Interval: 15 * time.Second, Timeout: 2 * time.Second,
		MaxPods: 32, MaxRate: 100,
		Log: slog.New(slog.DiscardHandler),
	}
}

// newCollector makes a Collector that reaches servers through f only.
func newCollector(t testing.TB, config Config, f *fakeNetwork) *Collector {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	c.asker.dial = f.dial
	c.addresses = func() ([]net.Addr, error) { return nil, nil }
	return c
}

// forget closes the kept sockets.
func (c *Collector) forget() { c.tally.follow(plan{}, 0, nil) }

func collect(t *testing.T, c *Collector) string {
	t.Helper()
	got, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func expectLines(t *testing.T, exposition string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(exposition, "\n"+line+"\n") {
			t.Errorf("%s is missing from\n%s", line, exposition)
		}
	}
}

func series(exposition, family string) int {
	return strings.Count(exposition, "\n"+family+"{") + strings.Count(exposition, "\n"+family+"_")
}

// TestGolden: of two pods one is silent, and the other cannot resolve external
// names over UDP.
func TestGolden(t *testing.T) {
	t.Parallel()
	ecs := sysfs(t, "Alibaba Cloud", "Alibaba Cloud ECS")
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNetwork{answer: func(server, network string, q *dns.Msg) *dns.Msg {
			switch {
			case server == "10.0.0.5":
				return nil
			case server == "10.0.0.6" && network == "udp" && q.Question[0].Name == testExternal:
				return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			}
			return answerTo(q)
		}}
		config := testConfig(&told{targets: Targets{3, addrs("172.21.0.10"), addrs("10.0.0.5", "10.0.0.6")}})
		config.Procfs, config.Sysfs = hostProc, ecs
		c := newCollector(t, config, f)
		defer c.forget()
		c.addresses = hasNodeLocal
		collectortest.Golden(t, "two-pods.prom", collect(t, c))
	})
}

// hasNodeLocal are the addresses of a node with NodeLocal DNSCache.
func hasNodeLocal() ([]net.Addr, error) {
	return []net.Addr{
		&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)},
		&net.IPNet{IP: net.IPv4(169, 254, 20, 10), Mask: net.CIDRMask(32, 32)},
	}, nil
}

// TestNumberOfSeries keeps the figures of the documentation true.
func TestNumberOfSeries(t *testing.T) {
	t.Parallel()
	ecs := sysfs(t, "Alibaba Cloud", "Alibaba Cloud ECS")
	for numPods, want := range map[int]int{2: 396, 32: 696, 625: 696} {
		f := &fakeNetwork{fail: syscall.ENETUNREACH}
		config := testConfig(&told{targets: Targets{5000, addrs("172.21.0.10"), pods(numPods)}})
		config.Procfs, config.Sysfs = hostProc, ecs
		c := newCollector(t, config, f)
		c.addresses = hasNodeLocal
		got := 0
		for line := range strings.Lines(collect(t, c)) {
			if !strings.HasPrefix(line, "#") {
				got++
			}
		}
		if got != want {
			t.Errorf("%d pods: %d series, want %d", numPods, got, want)
		}
	}
}

// TestNothingIsSentToAVPCThatIsNotThere records every address that the exporter
// wants to reach.
func TestNothingIsSentToAVPCThatIsNotThere(t *testing.T) {
	t.Parallel()
	vpcDials := []string{
		"tcp 100.100.2.136:53", "tcp 100.100.2.138:53",
		"udp 100.100.2.136:53", "udp 100.100.2.136:53",
		"udp 100.100.2.138:53", "udp 100.100.2.138:53",
	}
	for name, c := range map[string]struct {
		sysfs hostfs.Sysfs
		named []netip.Addr
		want  []string
	}{
		"an ECS instance":       {sysfs(t, "Alibaba Cloud", "Alibaba Cloud ECS"), nil, vpcDials},
		"another machine":       {sysfs(t, "QEMU", "Standard PC"), nil, nil},
		"no firmware tables":    {"testdata/no-such-sysfs", nil, nil},
		"named by somebody":     {sysfs(t, "QEMU", "Standard PC"), addrs("192.0.2.1"), []string{"tcp 192.0.2.1:53", "udp 192.0.2.1:53", "udp 192.0.2.1:53"}},
		"named, and it is ECS":  {sysfs(t, "Alibaba Cloud", "Alibaba Cloud ECS"), addrs("192.0.2.1"), []string{"tcp 192.0.2.1:53", "udp 192.0.2.1:53", "udp 192.0.2.1:53"}},
		"unreadable tables":     {sysfs(t, strings.Repeat("x", 2<<20), ""), nil, nil},
		"the vendor's other OS": {sysfs(t, "Alibaba Cloud", "Alibaba Cloud Linux"), nil, nil},
	} {
		f := &fakeNetwork{fail: syscall.ENETUNREACH}
		config := testConfig(Static(addrs("172.21.0.10")))
		config.Sysfs, config.VPCResolvers = c.sysfs, c.named
		collector := newCollector(t, config, f)
		for range 20 {
			_, _ = collector.Collect(t.Context())
		}
		got := slices.DeleteFunc(f.dials(), func(d string) bool { return strings.HasSuffix(d, " 172.21.0.10:53") })
		want := slices.Sorted(func(yield func(string) bool) {
			for range 20 {
				for _, d := range c.want {
					if !yield(d) {
						return
					}
				}
			}
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: dialed %d times: %v", name, len(got), slices.Compact(got))
		}
	}
}

func TestNodeLocal(t *testing.T) {
	t.Parallel()
	const gauge = "ack_dns_probe_node_local_address"
	for name, c := range map[string]struct {
		procfs    hostfs.Procfs
		addresses func() ([]net.Addr, error)
		gauge     string
		dialed    bool
	}{
		"there":            {hostProc, hasNodeLocal, "1", true},
		"missing":          {hostProc, func() ([]net.Addr, error) { return nil, nil }, "0", false},
		"in a pod":         {foreignProc, hasNodeLocal, "", false},
		"no such proc":     {"testdata/no-such-proc", hasNodeLocal, "", false},
		"not to be listed": {hostProc, func() ([]net.Addr, error) { return nil, errors.New("no netlink") }, "", false},
	} {
		f := &fakeNetwork{fail: syscall.ENETUNREACH}
		config := testConfig(Static(addrs("172.21.0.10")))
		config.Procfs, config.Nodes = c.procfs, 1
		collector := newCollector(t, config, f)
		collector.addresses = c.addresses
		got := collect(t, collector)
		if c.gauge != "" {
			expectLines(t, got, gauge+" "+c.gauge)
		} else if strings.Contains(got, gauge) {
			t.Errorf("%s: the gauge is there", name)
		}
		if dialed := slices.Contains(f.dials(), "udp 169.254.20.10:53"); dialed != c.dialed {
			t.Errorf("%s: dialed %v", name, dialed)
		}
	}
}

func TestNotApplicableWithoutServers(t *testing.T) {
	t.Parallel()
	f := &fakeNetwork{fail: syscall.ENETUNREACH}
	got, err := collectortest.Collect(t, newCollector(t, testConfig(Static(nil)), f))
	if !errors.Is(err, collector.ErrNotApplicable) || got != "" || len(f.dials()) > 0 {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestSourceThatFails: for a while the last servers are probed, and then none.
// What does not depend on the source goes on.
func TestSourceThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNetwork{answer: answerAll}
		source := &told{err: fmt.Errorf("broken: %w", collector.ErrDecode)}
		config := testConfig(source)
		c := newCollector(t, config, f)
		defer c.forget()
		if got, err := collectortest.Collect(t, c); !errors.Is(err, collector.ErrDecode) || got != "" {
			t.Errorf("at the start: %v\n%s", err, got)
		}
		*source = told{targets: Targets{1, addrs("172.21.0.10"), nil}}
		collect(t, c)
		source.err = collector.ErrDecode
		elapse(maxTargetsAge)
		got, err := collectortest.Collect(t, c)
		if !errors.Is(err, collector.ErrDecode) {
			t.Error(err)
		}
		expectLines(t, got, attempts("cluster_dns", "172.21.0.10", "tcp", "fresh", "cluster")+" 2")
		elapse(time.Second)
		c.config.VPCResolvers = addrs("192.0.2.1")
		got, err = collectortest.Collect(t, c)
		if !errors.Is(err, collector.ErrDecode) || strings.Contains(got, "172.21.0.10") {
			t.Errorf("too old: %v\n%s", err, got)
		}
		expectLines(t, got, attempts("vpc", "192.0.2.1", "tcp", "fresh", "external")+" 1")
	})
}

// elapse lets time pass, which is fake in the tests that call it.
func elapse(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a synctest bubble nobody waits
}

func attempts(labels ...any) string {
	return fmt.Sprintf("ack_dns_probe_attempts_total{name_kind=%q,protocol=%q,server=%q,socket=%q,target_kind=%q}",
		labels[4], labels[2], labels[1], labels[3], labels[0])
}

// TestServersComeAndGo: what stays goes on counting, what goes leaves nothing
// behind, and what comes back begins anew.
func TestServersComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNetwork{answer: answerAll}
		source := &told{targets: Targets{1, addrs("172.21.0.10"), addrs("10.0.0.5", "10.0.0.6")}}
		c := newCollector(t, testConfig(source), f)
		defer c.forget()
		both := collect(t, c)
		gone := c.tally.servers[server{coreDNSPod, netip.MustParseAddr("10.0.0.5")}].kept.conn

		source.targets.Pods = addrs("10.0.0.6")
		one := collect(t, c)
		expectLines(t, one, attempts("coredns_pod", "10.0.0.6", "udp", "kept", "cluster")+" 2",
			attempts("cluster_dns", "172.21.0.10", "udp", "kept", "cluster")+" 2",
			`ack_dns_probe_targets{target_kind="coredns_pod"} 1`)
		if strings.Contains(one, "10.0.0.5") {
			t.Errorf("the pod that is gone has series:\n%s", one)
		}
		if _, err := gone.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("its socket is open: %v", err)
		}
		if kept := slices.DeleteFunc(f.dials(), func(d string) bool { return d != "udp 10.0.0.6:53" }); len(kept) != 5 {
			t.Errorf("two passes opened %d sockets for a pod, want 4 fresh and 1 kept", len(kept))
		}

		source.targets.Pods = nil
		if none := collect(t, c); strings.Contains(none, `target_kind="coredns_pod",`) {
			t.Errorf("a kind that is gone has series:\n%s", none)
		}
		source.targets.Pods = addrs("10.0.0.5", "10.0.0.6")
		again := collect(t, c)
		expectLines(t, again, attempts("coredns_pod", "10.0.0.5", "udp", "kept", "cluster")+" 1")
		if a, b := series(both, "ack_dns_probe_attempts_total"), series(again, "ack_dns_probe_attempts_total"); a != b {
			t.Errorf("%d series, before %d", b, a)
		}
	})
}

// TestPassEndsInTimeWhereNobodyAnswers: the most servers that there can be.
func TestPassEndsInTimeWhereNobodyAnswers(t *testing.T) {
	t.Parallel()
	ecs := sysfs(t, "Alibaba Cloud", "Alibaba Cloud ECS")
	for _, timeout := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 12 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeNetwork{answer: func(string, string, *dns.Msg) *dns.Msg { return nil }}
			config := testConfig(&told{targets: Targets{1, addrs("172.21.0.10"), pods(32)}})
			config.Procfs, config.Sysfs, config.Timeout = hostProc, ecs, timeout
			c := newCollector(t, config, f)
			defer c.forget()
			c.addresses = hasNodeLocal
			ctx, cancel := context.WithTimeout(t.Context(), config.Interval)
			defer cancel()
			start := time.Now()
			if _, err := c.Collect(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 12*time.Second {
				t.Errorf("timeout %s: the pass took %s", timeout, took)
			}
			var lost uint64
			for _, kt := range c.tally.kinds {
				for f, n := range kt.failures {
					if f.reason == "timeout" {
						lost += n
					}
				}
			}
			if want := uint64(34*5 + 2*3); lost != want {
				t.Errorf("%d timeouts, want %d", lost, want)
			}
		})
	}
}

// TestStopInAPassCountsNoLosses: what was cut short is no measurement.
func TestStopInAPassCountsNoLosses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNetwork{answer: func(_, network string, q *dns.Msg) *dns.Msg {
			if network == "tcp" {
				return answerTo(q)
			}
			return nil
		}}
		c := newCollector(t, testConfig(&told{targets: Targets{1, addrs("172.21.0.10"), nil}}), f)
		defer c.forget()
		ctx, cancel := context.WithTimeout(t.Context(), 11*time.Second)
		c.asker.timeout = 12 * time.Second
		defer cancel()
		metrics, err := c.Collect(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || len(metrics) == 0 {
			t.Errorf("%d metrics, %v", len(metrics), err)
		}
		for s, st := range c.tally.servers {
			if st.attempts[freshTCP][clusterName] != 1 || st.attempts[freshUDP][clusterName] != 0 || st.attempts[keptUDP][clusterName] != 0 {
				t.Errorf("%v: attempts %v", s, st.attempts)
			}
		}
	})
}

// flaky is a Source that fails now and then.
type flaky struct {
	targets Targets
	calls   int
}

func (s *flaky) Targets(context.Context) (Targets, error) {
	if s.calls++; s.calls%3 == 0 {
		return Targets{}, collector.ErrDecode
	}
	return s.targets, nil
}

// TestPace runs the collector in its frame for hours, on one of 5,000 nodes of a
// cluster with two CoreDNS pods. After a failure the frame would try again soon.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNetwork{fail: syscall.ENETUNREACH}
		config := testConfig(&flaky{targets: Targets{5000, addrs("172.21.0.10"), addrs("10.0.0.5", "10.0.0.6")}})
		config.VPCResolvers = addrs("192.0.2.1")
		c := newCollector(t, config, f)
		set, err := collector.NewSet(config.Log, collector.Spec{
			Name: "dnsprobe", Collector: c, Interval: config.Interval, Timeout: config.Interval,
		})
		if err != nil {
			t.Fatal(err)
		}
		const duration = 4 * time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), duration)
		defer cancel()
		set.Run(ctx)

		perServer := make(map[string]float64)
		for _, d := range f.dials() {
			_, address, _ := strings.Cut(d, " ")
			perServer[address]++
		}
		// Every question opens a socket here, as none can be opened. Half of those to
		// the service reach each pod.
		for _, pod := range []string{"10.0.0.5:53", "10.0.0.6:53"} {
			rate := 5000 * (perServer[pod] + perServer["172.21.0.10:53"]/2) / duration.Seconds()
			if rate > 1.05*config.MaxRate || rate < 0.8*config.MaxRate {
				t.Errorf("%s gets %g questions per second", pod, rate)
			}
		}
		passes := perServer["192.0.2.1:53"] / float64(len(questions(vpc)))
		if mean := duration.Seconds() / passes; mean < 15 || mean > 16.5 {
			t.Errorf("%g seconds between passes", mean)
		}
	})
}

func TestPanicIsHandedToTheFrame(t *testing.T) {
	t.Parallel()
	c := newCollector(t, testConfig(Static(addrs("172.21.0.10"))), &fakeNetwork{})
	c.config.Nodes = 1
	c.asker.dial = func(context.Context, string, string) (net.Conn, error) { panic("out of sockets") }
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "out of sockets") || !strings.Contains(p, "ask.go") {
			t.Errorf("recovered %s", p)
		}
	}()
	_, _ = c.Collect(t.Context())
	t.Error("no panic")
}

func TestFailuresAreLoggedAtLevelDebug(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	config := testConfig(Static(addrs("172.21.0.10")))
	config.Nodes = 1
	config.Log = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	collect(t, newCollector(t, config, &fakeNetwork{fail: syscall.ENETUNREACH}))
	want := `level=DEBUG msg="DNS probe failed" target_kind=cluster_dns server=172.21.0.10 protocol=udp socket=kept name=kubernetes.default.svc.cluster.local. reason=network err="network is unreachable"`
	if lines := b.String(); !strings.Contains(lines, want) || strings.Count(lines, "\n") != 5 {
		t.Errorf("got\n%s", lines)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for words, change := range map[string]func(*Config){
		"no source of targets":                                      func(c *Config) { c.Source = nil },
		"no logger":                                                 func(c *Config) { c.Log = nil },
		"the number of nodes: 0 is not":                             func(c *Config) { c.Nodes = 0 },
		"the number of pods: 0 is not":                              func(c *Config) { c.MaxPods = 0 },
		"the number of pods: 4097 is not":                           func(c *Config) { c.MaxPods = 4097 },
		"the rate: 0 is less than 0.01":                             func(c *Config) { c.MaxRate = 0 },
		"the rate: NaN is less than 0.01":                           func(c *Config) { c.MaxRate = math.NaN() },
		"the timeout: 0s is not positive":                           func(c *Config) { c.Timeout = 0 },
		"the timeout: 13s is longer than 0.8 of the interval 15s":   func(c *Config) { c.Timeout = 13 * time.Second },
		`"" is not a name of the DNS`:                               func(c *Config) { c.ClusterName = "" },
		`"." is not a name of the DNS`:                              func(c *Config) { c.ExternalName = "." },
		`"a..b" is not a name of the DNS`:                           func(c *Config) { c.ExternalName = "a..b" },
		`"` + strings.Repeat("a", 64) + `" is not a name of the DN`: func(c *Config) { c.ExternalName = strings.Repeat("a", 64) },
	} {
		config := testConfig(Static(nil))
		change(&config)
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("want %q, got %v", words, err)
		}
	}
	config := testConfig(Static(nil))
	config.ClusterName = `k\117bernetes.default.svc.cluster.local`
	if c, err := New(config); err != nil || c.asker.names[clusterName] != "kubernetes.default.svc.cluster.local." {
		t.Errorf("got %+v, %v", c, err)
	}
}

// FuzzJudge: whatever a server sends has a reason, and is an answer only with the
// ID and the flag of one.
func FuzzJudge(f *testing.F) {
	q := query{id: 0x1234, name: testName, earlier: 2}
	message, err := q.message()
	if err != nil {
		f.Fatal(err)
	}
	asked := unpacked(message)
	answer := packed(answerTo(asked))
	f.Add(message)
	f.Add(answer)
	f.Add(answer[:headerSize])
	f.Add(answer[:len(answer)-3])
	f.Add(withID(answer, 0x1233))
	f.Add(packed(new(dns.Msg).SetRcode(asked, dns.RcodeNameError)))
	f.Add(packed(new(dns.Msg).SetRcode(asked, dns.RcodeBadVers).SetEdns0(1232, false)))
	f.Add([]byte("\x12\x34\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, err := q.judge(b)
		if err != nil && !slices.Contains(reasons(), reasonOf(err)) {
			t.Fatalf("no reason: %v", err)
		}
		if ours && (len(b) < headerSize || b[0] != 0x12 || b[1] != 0x34 || b[2]&0x80 == 0) {
			t.Fatalf("not an answer: %x", b)
		}
		if !ours && err == nil && (b[0] != 0x12 || b[1] < 0x32 || b[1] > 0x33) {
			t.Fatalf("not late: %x", b)
		}
	})
}

// BenchmarkPass is a whole pass over 32 pods and the services, answered at once by
// one real server on this machine.
func BenchmarkPass(b *testing.B) {
	const servers = 35
	list := make([]netip.Addr, servers)
	for i := range list {
		list[i] = netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})
	}
	pc, l, port := listen(b, "0.0.0.0", 0)
	closeBoth(pc, l)
	for i := range list {
		serve(b, list[i].String(), port, healthy)
	}
	config := testConfig(&told{targets: Targets{1, list[:3], list[3:]}})
	c, err := New(config)
	if err != nil {
		b.Fatal(err)
	}
	defer c.forget()
	c.asker.port = port
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	for s, st := range c.tally.servers {
		if st.attempts != st.successes {
			b.Errorf("%v: %v attempts, %v successes", s, st.attempts, st.successes)
		}
	}
}
