package ipvs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/hostfs"
)

// withoutCPU removes the series that is never the same twice.
func withoutCPU(exposition string) string {
	var b strings.Builder
	for line := range strings.Lines(exposition) {
		if !strings.HasPrefix(line, "ack_ipvs_table_cpu_seconds_total ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestTableGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"4.19", "6.1-traffic", "6.1-stale", "6.1-empty", "6.12"} {
		got, err := collectortest.Collect(t, NewTable(fixture(name), 0))
		if err != nil {
			t.Fatal(err)
		}
		collectortest.Golden(t, name+".prom", withoutCPU(got))
	}
}

// TestStaleConnectionsOfARealKernel: the sample was taken after one destination
// of 10.96.0.10:53 was removed (2 connections), one of [fd00:96::10]:53 got weight
// 0 (1), the persistent service 10.96.0.11:53 was deleted (3, and a template), and
// a destination of the service for mark 7 was removed (3).
func TestStaleConnectionsOfARealKernel(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"6.1-traffic": 0, "6.1-stale": 9, "6.1-empty": 0} {
		got, err := collectortest.Collect(t, NewTable(fixture(name), 0))
		if err != nil || !strings.Contains(got, fmt.Sprintf("\nack_ipvs_stale_udp_connections %d\n", want)) {
			t.Errorf("%s: %v, want %d stale connections:\n%s", name, err, want, got)
		}
	}
}

func TestTableNeedsNoHostNetwork(t *testing.T) {
	t.Parallel()
	host, err := collectortest.Collect(t, NewTable(fixture("6.1-traffic"), 0))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := collectortest.Collect(t, NewTable(fixture("6.1-foreign"), 0))
	if err != nil || withoutCPU(foreign) != withoutCPU(host) {
		t.Errorf("%v\n%s", err, foreign)
	}
}

func TestTableWhereItCannot(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{"not-loaded": collector.ErrNotApplicable, "no-such": hostfs.ErrHostUnknown} {
		got, err := collectortest.Collect(t, NewTable(fixture(name), 0))
		if !errors.Is(err, want) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestBoundOnConnections(t *testing.T) {
	t.Parallel()
	for bound, want := range map[uint64][]string{
		0:  {"ack_ipvs_table_complete 1\n", "ack_ipvs_table_visited_connections 37\n"},
		37: {"ack_ipvs_table_complete 1\n", "ack_ipvs_table_visited_connections 37\n"},
		36: {"ack_ipvs_table_complete 0\n", "ack_ipvs_table_visited_connections 36\n"},
		1:  {"ack_ipvs_table_complete 0\n", "ack_ipvs_table_visited_connections 1\n"},
	} {
		got, err := collectortest.Collect(t, NewTable(fixture("6.1-traffic"), bound))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range want {
			if !strings.Contains(got, line) {
				t.Errorf("bound %d: %s is missing from\n%s", bound, line, got)
			}
		}
	}
}

const listHeader = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
`

const connHeader = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"

func list(t *testing.T, lines string) *services {
	t.Helper()
	s, err := readServices(t.Context(), strings.NewReader(listHeader+lines))
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// staleIn counts the stale connections of a list, by services that do not change.
func staleIn(t *testing.T, s *services, lines string) uint64 {
	t.Helper()
	c, err := readConnections(t.Context(), strings.NewReader(connHeader+lines), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c.stale(s)
}

func TestStale(t *testing.T) {
	t.Parallel()
	const (
		dns      = "UDP  0A60000A:0035 rr  \n"
		allPorts = "UDP  0A60000C:0000 rr  persistent 75000 FFFFFFFF\n"
		mark     = "FWM  00000007 rr \n"
		pod1     = "  -> 0AF40101:14E9      Masq    1      0          1         \n"
		pod2     = "  -> 0AF40102:14E9      Masq    1      0          1         \n"
		pod2Off  = "  -> 0AF40102:14E9      Masq    0      0          1         \n"
		pod2Any  = "  -> 0AF40102:0000      Masq    1      0          1         \n"
		toPod2   = "UDP 0A600001 C001 0A60000A 0035 0AF40102 14E9 UDP             293\n"
		any2     = "UDP 0A600001 C001 0A60000C 1B58 0AF40102 1B58 UDP             293\n"
		marked2  = "UDP 0A600001 C001 0A600909 14E9 0AF40102 14E9 UDP             293\n"
	)
	for name, c := range map[string]struct {
		services, connections string
		want                  uint64
	}{
		"live":                                      {dns + pod1 + pod2, toPod2, 0},
		"destination gone":                          {dns + pod1, toPod2, 1},
		"weight 0":                                  {dns + pod1 + pod2Off, toPod2, 1},
		"service gone":                              {"", toPod2, 1},
		"service without destinations":              {dns, toPod2, 1},
		"destination of another service":            {dns + pod1 + "UDP  0A60000B:0035 rr \n" + pod2, toPod2, 1},
		"destination with another port":             {dns + "  -> 0AF40102:14EA      Masq    1      0          1\n", toPod2, 1},
		"the same service with TCP":                 {"TCP  0A60000A:0035 rr \n" + pod2, toPod2, 1},
		"a connection with TCP":                     {dns + pod1, strings.Replace(toPod2, "UDP", "TCP", 1), 0},
		"three connections":                         {dns + pod1, toPod2 + toPod2 + toPod2, 3},
		"template of a persistent service":          {dns + pod1, "UDP 0A600001 0000 0A60000A 0035 0AF40102 14E9 ASSURED         593\n", 0},
		"all ports: live":                           {allPorts + pod2Any, any2, 0},
		"all ports: gone":                           {allPorts + "  -> 0AF40101:0000      Masq    1      0 0\n", any2, 1},
		"all ports: the port is changed":            {allPorts + pod2Any, strings.Replace(any2, "0AF40102 1B58", "0AF40102 1B59", 1), 1},
		"the exact service comes before all ports":  {"UDP  0A60000C:1B58 rr \n" + pod1 + allPorts + pod2Any, any2, 1},
		"mark: live":                                {mark + pod2, marked2, 0},
		"mark: gone":                                {mark + pod1, marked2, 1},
		"mark: weight 0":                            {mark + pod2Off, marked2, 1},
		"mark: all ports":                           {mark + pod2Any, marked2, 0},
		"mark: all ports do not change the port":    {mark + pod2Any, toPod2, 1},
		"mark comes before the address":             {mark + pod2 + dns + pod1, toPod2, 0},
		"IPv6: live":                                {"UDP  [fd00:0096:0000:0000:0000:0000:0000:0010]:0035 lc \n  -> [fd00:0244:0000:0000:0000:0000:0000:0001]:14E9      Masq    1      0          1\n", conn6, 0},
		"IPv6: gone":                                {"UDP  [fd00:0096:0000:0000:0000:0000:0000:0010]:0035 lc \n  -> [fd00:0244:0000:0000:0000:0000:0000:0002]:14E9      Masq    1      0          1\n", conn6, 1},
		"IPv4 service with a destination over IPv6": {dns + "  -> [fd00:0244:0000:0000:0000:0000:0000:0001]:0035      Tunnel  1      0          1\n", "UDP 0A600001 C001 0A60000A 0035 fd00:0244:0000:0000:0000:0000:0000:0001 0035 UDP             293\n", 0},
	} {
		if got := staleIn(t, list(t, c.services), c.connections); got != c.want {
			t.Errorf("%s: %d stale connections, want %d", name, got, c.want)
		}
	}
}

const conn6 = "UDP fd00:0096:0000:0000:0000:0000:0000:0099 CA8C fd00:0096:0000:0000:0000:0000:0000:0010 0035 fd00:0244:0000:0000:0000:0000:0000:0001 14E9 UDP             293\n"

func TestDestinationAddedDuringThePassIsNotStale(t *testing.T) {
	t.Parallel()
	const service = "UDP  0A60000A:0035 rr  \n  -> 0AF40101:14E9      Masq    1      0          1\n"
	connections := connHeader +
		"UDP 0A600001 C001 0A60000A 0035 0AF40102 14E9 UDP             293\n" +
		"UDP 0A600001 C002 0A60000A 0035 0AF40103 14E9 UDP             293\n"
	c, err := readConnections(t.Context(), strings.NewReader(connections), list(t, service), 0)
	if err != nil {
		t.Fatal(err)
	}
	after := list(t, service+"  -> 0AF40102:14E9      Masq    1      0          1\n")
	if got := c.stale(after); got != 1 {
		t.Errorf("%d stale connections, want 1", got)
	}
}

func TestSuspectsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(connHeader)
	const destinations = maxSuspects + 500
	for i := range destinations {
		for range 2 {
			fmt.Fprintf(&b, "UDP 0A600001 C001 0A60000A 0035 %08X 14E9 UDP             293\n", i)
		}
	}
	s := list(t, "")
	c, err := readConnections(t.Context(), strings.NewReader(b.String()), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.suspects) != maxSuspects || c.stale(s) != 2*destinations {
		t.Errorf("%d kept, %d stale", len(c.suspects), c.stale(s))
	}
}

func TestSchedulersAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range maxSchedulers + 5 {
		fmt.Fprintf(&b, "TCP  0A60000A:%04X s%d \n", i, i)
	}
	s := list(t, b.String())
	if len(s.schedulers) != maxSchedulers+1 || *s.schedulers[otherScheduler] != 5 {
		t.Errorf("%d schedulers, %d others", len(s.schedulers), *s.schedulers[otherScheduler])
	}
}

func TestBadLists(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, words string }{
		"empty":                    {"", "empty"},
		"another file":             {"Inter-|   Receive\n", "line 1"},
		"unknown protocol":         {listHeader + "XYZ  0A60000A:0035 rr\n", "line 4"},
		"no scheduler":             {listHeader + "UDP  0A60000A:0035\n", "line 4"},
		"short address":            {listHeader + "UDP  0A6000:0035 rr\n", "line 4"},
		"short IPv6 address":       {listHeader + "UDP  [fd00::1]:0035 rr\n", "line 4"},
		"no port":                  {listHeader + "UDP  0A60000A rr\n", "line 4"},
		"mark is no number":        {listHeader + "FWM  seven rr\n", "line 4"},
		"destination first":        {listHeader + "  -> 0AF40101:14E9      Masq    1      0          1\n", "line 4"},
		"destination cut":          {listHeader + "UDP  0A60000A:0035 rr\n  -> 0AF40101:14E9      Masq    1\n", "line 5"},
		"weight is no number":      {listHeader + "UDP  0A60000A:0035 rr\n  -> 0AF40101:14E9      Masq    x      0          1\n", "line 5"},
		"line that does not end":   {listHeader + strings.Repeat("x", 2*maxLine), "line 4"},
		"empty line between lines": {listHeader + "\n", "line 4"},
	} {
		_, err := readServices(t.Context(), strings.NewReader(c.content))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("services, %s: got %v", name, err)
		}
	}
	for name, content := range map[string]string{
		"empty":           "",
		"another file":    "Inter-|   Receive\n",
		"empty line":      connHeader + "\n",
		"one word":        connHeader + "UDP\n",
		"half a line":     connHeader + "UDP 0A600001 C001 0A60000A\n",
		"bad port":        connHeader + "UDP 0A600001 C001 0A60000A 00353 0AF40102 14E9 UDP 293\n",
		"bad address":     connHeader + "UDP 0A600001 C001 0A60000G 0035 0AF40102 14E9 UDP 293\n",
		"does not end":    connHeader + strings.Repeat("x", 2*maxLine),
		"bad IPv6 groups": connHeader + strings.Replace(conn6, "fd00:0096", "fd00.0096", 1),
	} {
		_, err := readConnections(t.Context(), strings.NewReader(content), &services{}, 0)
		if !errors.Is(err, collector.ErrDecode) {
			t.Errorf("connections, %s: got %v", name, err)
		}
	}
}

func TestReadingStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	endless := io.MultiReader(strings.NewReader(connHeader), &repeat{line: []byte(conn6)})
	if _, err := readConnections(ctx, endless, &services{}, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTooManyBackendsAreAnError(t *testing.T) {
	t.Parallel()
	s := services{backends: make(map[backend]struct{}), virtual: make(map[endpoint]struct{}), schedulers: make(map[string]*uint64)}
	for i := range maxLiveBackends {
		s.virtual[endpoint{port: uint16(i), addr: address{byte(i >> 16), byte(i >> 24)}}] = struct{}{}
	}
	err := s.addDestination(serviceLine{protocol: udp}, []byte("  -> 0AF40101:14E9      Masq    1      0          1"))
	if !errors.Is(err, collector.ErrDecode) {
		t.Errorf("got %v", err)
	}
}

// repeat reads as a line that comes again and again, n times, or without an end.
type repeat struct {
	line []byte
	n    int
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		if r.n < 0 {
			return total, io.EOF
		}
		k := copy(p[total:], r.line[r.at:])
		total += k
		r.at += k
		if r.at == len(r.line) {
			r.at = 0
			if r.n > 0 {
				if r.n--; r.n == 0 {
					r.n = -1
				}
			}
		}
	}
	return total, nil
}

func FuzzReadServices(f *testing.F) {
	for _, name := range []string{"6.1-traffic", "6.1-stale", "6.1-empty"} {
		b, err := os.ReadFile(fixture(name).Path(servicesFile...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := readServices(context.Background(), bytes.NewReader(content))
		if err != nil && !errors.Is(err, collector.ErrDecode) {
			t.Fatalf("not a decode error: %v", err)
		}
		var total uint64
		for _, n := range s.services {
			total += n
		}
		var bySchedulers uint64
		for _, n := range s.schedulers {
			bySchedulers += *n
		}
		if total != bySchedulers {
			t.Fatalf("%d services, %d by scheduler", total, bySchedulers)
		}
	})
}

func FuzzReadConnections(f *testing.F) {
	for _, name := range []string{"6.1-traffic", "6.1-stale", "6.1-empty"} {
		b, err := os.ReadFile(fixture(name).Path(connectionsFile...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := readConnections(context.Background(), bytes.NewReader(content), &services{}, 1000)
		if err != nil && !errors.Is(err, collector.ErrDecode) {
			t.Fatalf("not a decode error: %v", err)
		}
		if c.visited > 1000 || c.stale(&services{}) > c.visited {
			t.Fatalf("%d visited, %d stale", c.visited, c.stale(&services{}))
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	f.Add([]byte("0A60000A"))
	f.Add([]byte("fd00:0096:0000:0000:0000:0000:0000:0010"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := parseAddress(b)
		if !ok {
			return
		}
		again := fmt.Sprintf("%02X%02X%02X%02X", a[12], a[13], a[14], a[15])
		if len(b) != 8 {
			again = ""
			for i := 0; i < 16; i += 2 {
				again += fmt.Sprintf(":%02x%02x", a[i], a[i+1])
			}
			again = again[1:]
		}
		if !strings.EqualFold(again, string(b)) {
			t.Fatalf("%q reads as %q", b, again)
		}
	})
}

// The benchmarks compare with reading the bytes alone, in the same run.

func BenchmarkReadConnections1M(b *testing.B) {
	s, err := readServices(context.Background(), strings.NewReader(listHeader+
		"UDP  [fd00:0096:0000:0000:0000:0000:0000:0010]:0035 lc \n  -> [fd00:0244:0000:0000:0000:0000:0000:0001]:14E9      Masq    1      0          1\n"+
		"UDP  0A60000A:0035 rr \n  -> 0AF40102:14E9      Masq    1      0          1\n"))
	if err != nil {
		b.Fatal(err)
	}
	line := "UDP 0A600001 C001 0A60000A 0035 0AF40102 14E9 UDP             293\n" + conn6 +
		"TCP 0A60000A B1BA 0A60000A 0050 0AF40102 1F90 TIME_WAIT       116\n" +
		"UDP 0A600001 C001 0A60000A 0035 0AF40103 14E9 UDP             293\n"
	compare(b, connHeader, line, 250_000, func(r io.Reader) error {
		c, err := readConnections(context.Background(), r, &s, 0)
		if err == nil && (c.visited != 1_000_000 || c.stale(&s) != 250_000) {
			err = fmt.Errorf("%d visited, %d stale", c.visited, c.stale(&s))
		}
		return err
	})
}

func BenchmarkReadServices100k(b *testing.B) {
	var lines strings.Builder
	for i := range 100_000 {
		word := "TCP"
		if i%10 == 0 {
			word = "UDP"
		}
		fmt.Fprintf(&lines, "%s  %08X:0035 rr  \n", word, 0x0A600000+i)
		for range 2 {
			fmt.Fprintf(&lines, "  -> %08X:14E9      Masq    1      0          2         \n", 0x0AF40000+2*i)
		}
	}
	compare(b, listHeader, lines.String(), 1, func(r io.Reader) error {
		s, err := readServices(context.Background(), r)
		if err == nil && s.services[tcp]+s.services[udp] != 100_000 {
			err = fmt.Errorf("%d services", s.services[tcp]+s.services[udp])
		}
		return err
	})
}

// compare runs parse on a file of n times the lines, next to a reader that throws
// the bytes away as the kernel would give them to it.
func compare(b *testing.B, header, lines string, n int, parse func(io.Reader) error) {
	b.Helper()
	path := b.TempDir() + "/list"
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	size, err := io.Copy(f, io.MultiReader(strings.NewReader(header), &repeat{line: []byte(lines), n: n}))
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	read := func(use func(io.Reader) error) float64 {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		start := b.Elapsed()
		if err := use(f); err != nil {
			b.Fatal(err)
		}
		return (b.Elapsed() - start).Seconds()
	}
	discard := func(r io.Reader) error {
		buf := make([]byte, maxLine)
		for {
			if _, err := r.Read(buf); err != nil {
				return nil //nolint:nilerr // the end of the file
			}
		}
	}
	var bare, parsed float64
	b.ReportAllocs()
	b.SetBytes(size)
	for b.Loop() {
		bare += read(discard)
		parsed += read(parse)
	}
	b.ReportMetric(parsed/bare, "x-bare")
	b.ReportMetric(parsed/float64(b.N)*1000, "ms/pass")
}
