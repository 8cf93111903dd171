package netstat

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/hostfs"
)

func fixture(name string) hostfs.Procfs {
	return hostfs.Procfs(filepath.Join("testdata", name, "proc"))
}

func TestCollectGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"4.19", "6.1", "no-ipv6"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := collectortest.Collect(t, New(fixture(name)))
			if err != nil {
				t.Fatal(err)
			}
			collectortest.Golden(t, name+".prom", got)
		})
	}
}

// TestOneFileHidesNoOther shows what is left where one of the files cannot be
// read or understood.
func TestOneFileHidesNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind            error
		words           string
		present, absent []string
	}{
		"bad-udp": {
			collector.ErrDecode, "1/net/snmp: UDP counter InDatagrams",
			[]string{`ack_network_udp_receive_errors_total{family="ipv6"} 6`, "ack_network_softnet_dropped_packets_total 4"},
			[]string{`family="ipv4"`},
		},
		"no-softnet": {
			fs.ErrNotExist, "1/net/softnet_stat",
			[]string{`ack_network_udp_receive_errors_total{family="ipv4"} 497`, `ack_network_udp_receive_errors_total{family="ipv6"} 6`},
			[]string{"softnet"},
		},
	} {
		got, err := collectortest.Collect(t, New(fixture(name)))
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", name, err)
		}
		for _, series := range c.present {
			if !strings.Contains(got, series+"\n") {
				t.Errorf("%s: %q is missing from\n%s", name, series, got)
			}
		}
		for _, series := range c.absent {
			if strings.Contains(got, series) {
				t.Errorf("%s: %q is shown:\n%s", name, series, got)
			}
		}
	}
}

// TestHostUnknown shows that nothing is said where process 1 may be that of a
// container: its files would show the pod's own network namespace.
func TestHostUnknown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no-such-procfs", "own-processes"} {
		got, err := collectortest.Collect(t, New(fixture(name)))
		if got != "" || !errors.Is(err, hostfs.ErrHostUnknown) || collector.ReasonOf(err) != collector.ReasonUnavailable {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestTotalsSurviveManyScrapes(t *testing.T) {
	t.Parallel()
	c := New(fixture("6.1"))
	first, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	second, err := collectortest.Collect(t, c)
	if err != nil || first != second {
		t.Errorf("%v: the same files give\n%s\nand then\n%s", err, first, second)
	}
}

const udpNames = "Udp: InDatagrams InErrors RcvbufErrors\n"

func TestParseSNMPErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, words string }{
		"empty":            {"", "no two lines of Udp:"},
		"names only":       {udpNames, "no two lines of Udp:"},
		"another protocol": {strings.ReplaceAll(udpNames+"Udp: 1 2 3\n", "Udp:", "UdpLite:"), "no two lines of Udp:"},
		"value missing":    {udpNames + "Udp: 1 2\n", "2 values for 3 names"},
		"value too many":   {udpNames + "Udp: 1 2 3 4\n", "4 values for 3 names"},
		"negative":         {udpNames + "Udp: 1 -2 3\n", "InErrors"},
		"not a number":     {udpNames + "Udp: 1 2 NaN\n", "RcvbufErrors"},
		"wider than 64":    {udpNames + "Udp: 18446744073709551616 2 3\n", "InDatagrams"},
		"name twice":       {"Udp: InErrors InErrors\nUdp: 1 2\n", "InErrors stands there twice"},
		"counter missing":  {"Udp: InDatagrams InErrors\nUdp: 1 2\n", "no UDP counter RcvbufErrors"},
	} {
		_, err := parseSNMP([]byte(c.content))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseSNMP6Errors(t *testing.T) {
	t.Parallel()
	const good = "Udp6InDatagrams 1\nUdp6InErrors 2\n"
	for name, c := range map[string]struct{ content, words string }{
		"empty":           {"", "no UDP counter InDatagrams"},
		"counter missing": {good, "no UDP counter RcvbufErrors"},
		"no value":        {good + "Udp6RcvbufErrors\n", "is no name and value"},
		"two values":      {good + "Udp6RcvbufErrors 1 2\n", "is no name and value"},
		"not a number":    {good + "Udp6RcvbufErrors 0x1\n", "RcvbufErrors"},
		"name twice":      {good + "Udp6InErrors 2\n", "InErrors stands there twice"},
	} {
		_, err := parseSNMP6([]byte(c.content))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCountersNobodyKnowsMayHoldAnything(t *testing.T) {
	t.Parallel()
	got, err := parseSNMP([]byte("Tcp: MaxConn\nTcp: -1\nUdp: New InDatagrams InErrors RcvbufErrors\nUdp: what? 1 2 3\n"))
	if err != nil || len(got) != 3 || got["RcvbufErrors"] != 3 {
		t.Errorf("got %v, %v", got, err)
	}
}

// numberedLine is a line of Linux 5.14 and later.
func numberedLine(number uint32) string {
	return fmt.Sprintf("5 6 7 0 0 0 0 0 0 0 0 0 %08x 0 0\n", number)
}

func TestParseSoftnetErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, words string }{
		"empty":              {"", "no line for any CPU"},
		"empty line":         {"1 2 3\n\n", "line 2 has 0 columns"},
		"two columns":        {"1 2\n", "line 1 has 2 columns"},
		"not hexadecimal":    {"1 2 3\n1 xyz 3\n", "line 2, column 2"},
		"wider than 32":      {"100000000 2 3\n", "line 1, column 1"},
		"bad number of CPU":  {strings.Replace(numberedLine(1), "00000001", "-1", 1), "line 1, column 13"},
		"CPU twice":          {numberedLine(1) + numberedLine(1), "line 2 is a second one of CPU 1"},
		"no such CPU":        {numberedLine(maxCPUs), "there is no CPU 8192"},
		"lines of two kinds": {numberedLine(1) + "1 2 3\n", "line 2 has 3 columns"},
		"more than a host":   {strings.Repeat("1 2 3\n", maxCPUs+1), "more than 8192 lines"},
	} {
		_, err := parseSoftnet([]byte(c.content))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSums(t *testing.T) {
	t.Parallel()
	// The key is the CPU, the value what it dropped.
	type reading map[uint32]uint32
	const top = math.MaxUint32
	for name, c := range map[string]struct {
		numbered bool
		readings []reading
		want     []uint64
	}{
		"from zero at the start":        {true, []reading{{0: 5, 1: 7}}, []uint64{12}},
		"growth":                        {true, []reading{{0: 5, 1: 7}, {0: 6, 1: 9}}, []uint64{12, 15}},
		"one CPU wraps":                 {true, []reading{{0: top, 1: 1}, {0: 4, 1: 1}}, []uint64{top + 1, top + 6}},
		"a CPU goes and comes back":     {true, []reading{{0: 5, 1: 8}, {1: 9}, {0: 6, 1: 9}}, []uint64{13, 14, 15}},
		"a CPU more":                    {true, []reading{{0: 5}, {0: 5, 3: 8}}, []uint64{5, 13}},
		"growth, lines without a CPU":   {false, []reading{{0: 5, 1: 7}, {0: 6, 1: 9}}, []uint64{12, 15}},
		"one wraps, without a CPU":      {false, []reading{{0: top, 1: 1}, {0: 4, 1: 1}}, []uint64{top + 1, top + 6}},
		"which CPU went, nobody knows":  {false, []reading{{0: 5, 1: 800}, {0: 801}, {0: 803}}, []uint64{805, 805, 807}},
		"which CPU came, nobody knows":  {false, []reading{{0: 801}, {0: 5, 1: 803}, {0: 6, 1: 803}}, []uint64{801, 801, 802}},
		"nothing moves, nothing counts": {false, []reading{{0: 5}, {0: 5}}, []uint64{5, 5}},
	} {
		var a sums
		for i, r := range c.readings {
			now := softnet{cpus: map[uint32]cpu{}, numbered: c.numbered}
			for key, dropped := range r {
				now.cpus[key] = cpu{dropped: dropped}
			}
			if got := a.add(now).dropped; got != c.want[i] {
				t.Errorf("%s: reading %d gives %d, want %d", name, i, got, c.want[i])
			}
		}
	}
}

// BenchmarkCollect reads the files of this machine.
func BenchmarkCollect(b *testing.B) {
	c := New("/proc")
	for b.Loop() {
		if _, err := c.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func addFiles(f *testing.F, file string, fixtures ...string) {
	f.Helper()
	for _, name := range fixtures {
		content, err := hostfs.ReadFile(fixture(name).Path("1", "net", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
}

// requireUDP checks what a parser of hostile content may return.
func requireUDP(t *testing.T, counters udp, err error) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, collector.ErrDecode) {
			t.Fatalf("not a decode error: %v", err)
		}
		return
	}
	if len(counters) < 3 || len(counters) > len(reasons)+len(wholes) {
		t.Fatalf("%d counters: %v", len(counters), counters)
	}
}

func FuzzParseSNMP(f *testing.F) {
	addFiles(f, "snmp", "4.19", "6.1", "bad-udp")
	f.Fuzz(func(t *testing.T, content []byte) {
		counters, err := parseSNMP(content)
		requireUDP(t, counters, err)
	})
}

func FuzzParseSNMP6(f *testing.F) {
	addFiles(f, "snmp6", "4.19", "6.1")
	f.Fuzz(func(t *testing.T, content []byte) {
		counters, err := parseSNMP6(content)
		requireUDP(t, counters, err)
	})
}

func FuzzParseSoftnet(f *testing.F) {
	addFiles(f, "softnet_stat", "4.19", "6.1", "no-ipv6")
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := parseSoftnet(content)
		if err != nil {
			if !errors.Is(err, collector.ErrDecode) {
				t.Fatalf("not a decode error: %v", err)
			}
			return
		}
		if len(s.cpus) == 0 || len(s.cpus) > maxCPUs {
			t.Fatalf("%d CPUs", len(s.cpus))
		}
		var a sums
		if first, second := a.add(s), a.add(s); first != second {
			t.Fatal("the same reading twice changed the totals")
		}
	})
}
