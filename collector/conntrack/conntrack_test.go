package conntrack

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/hostfs"
)

// fixture is a proc file system in testdata; its process 4242 is this one.
func fixture(name string) hostfs.Procfs {
	return hostfs.Procfs(filepath.Join("testdata", name, "proc"))
}

// newCollector reads a fixture on a machine with four CPUs.
func newCollector(name string) *Collector { return New(fixture(name), "testdata/sys") }

func TestCollectGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"3.10", "4.19", "5.10", "6.1", "6.18", "foreign", "noprocfs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := collectortest.Collect(t, newCollector(name))
			if err != nil {
				t.Fatal(err)
			}
			collectortest.Golden(t, name+".prom", got)
		})
	}
}

func TestCollectFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		want  error
		words string
	}{
		{"untracked", collector.ErrNotApplicable, "does not track connections"},
		{"noprocfs-foreign", collector.ErrUnavailable, "1/net/stat/nf_conntrack"},
		{"no-such-procfs", hostfs.ErrHostUnknown, "no-such-procfs"},
	} {
		got, err := collectortest.Collect(t, newCollector(c.name))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if got != "" {
			t.Errorf("%s: metrics with a failure:\n%s", c.name, got)
		}
	}
}

func TestBadTimeoutHidesNothingElse(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, newCollector("bad-timeout"))
	if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), "nf_conntrack_udp_timeout") {
		t.Errorf("got %v", err)
	}
	for _, series := range []string{"ack_conntrack_entries 7\n", `ack_conntrack_timeout_seconds{protocol="udp",state="stream"} 120` + "\n"} {
		if !strings.Contains(got, series) {
			t.Errorf("%q is missing from\n%s", series, got)
		}
	}
	if strings.Contains(got, `protocol="udp",state="unreplied"`) {
		t.Error("a timeout that cannot be read is shown")
	}
}

func TestUnknownCPUsHideNothingElse(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, New(fixture("6.18"), "testdata/no-such-sys"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(got, "ack_conntrack_entries 0\n") || strings.Contains(got, "ack_conntrack_cpus ") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestParseStatErrors(t *testing.T) {
	t.Parallel()
	const header = "entries drop early_drop\n"
	for name, c := range map[string]struct{ content, words string }{
		"empty":            {"", "header"},
		"no header":        {"00000001 00000002\n", "does not begin with entries"},
		"header only":      {header, "no line for any CPU"},
		"column missing":   {header + "1 2\n", "line 2 has 2 columns, the header 3"},
		"column too many":  {header + "1 2 3\n1 2 3 4\n", "line 3 has 4 columns, the header 3"},
		"not hexadecimal":  {header + "1 2 xyz\n", "line 2, column early_drop"},
		"wider than 32":    {header + "1 100000000 0\n", "line 2, column drop"},
		"bad entries":      {header + "- 1 0\n", "line 2, column entries"},
		"more than a host": {header + strings.Repeat("1 2 3\n", maxCPUs+1), "more than 8192 lines"},
	} {
		_, err := parseStat([]byte(c.content))
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestColumnsNobodyKnowsMayHoldAnything(t *testing.T) {
	t.Parallel()
	s, err := parseStat([]byte("entries drop new_thing\n5 2 what?\n"))
	if err != nil || s.entries != 5 || s.cpus[0][drops] != 2 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestAccumulator(t *testing.T) {
	t.Parallel()
	cpus := func(drop ...uint32) stat {
		s := stat{cpus: make([][numCounters]uint32, len(drop))}
		for i, d := range drop {
			s.cpus[i][drops] = d
		}
		return s
	}
	const top = math.MaxUint32
	for name, c := range map[string]struct {
		readings []stat
		want     []uint64
	}{
		"from zero at the start": {[]stat{cpus(5, 7)}, []uint64{12}},
		"growth":                 {[]stat{cpus(5, 7), cpus(6, 9)}, []uint64{12, 15}},
		"one CPU wraps":          {[]stat{cpus(top, 1), cpus(4, 1)}, []uint64{top + 1, top + 6}},
		"both wrap":              {[]stat{cpus(top, top), cpus(0, 1)}, []uint64{2 * top, 2*top + 3}},
		"wrap twice":             {[]stat{cpus(top), cpus(1 << 30), cpus(1 << 31), cpus(3 << 30), cpus(7)}, []uint64{top, top + 1 + 1<<30, top + 1 + 1<<31, top + 1 + 3<<30, top + 9 + top}},
		"began again at zero":    {[]stat{cpus(500), cpus(3)}, []uint64{500, 503}},
		"a CPU more":             {[]stat{cpus(5), cpus(5, 8)}, []uint64{5, 13}},
		"a CPU gone and back":    {[]stat{cpus(5, 8), cpus(6), cpus(6, 9)}, []uint64{13, 14, 15}},
	} {
		var a accumulator
		for i, reading := range c.readings {
			if got := a.add(reading).value[drops]; got != c.want[i] {
				t.Errorf("%s: reading %d gives %d, want %d", name, i, got, c.want[i])
			}
		}
	}
}

func TestSumsSurviveManyScrapes(t *testing.T) {
	t.Parallel()
	c := newCollector("6.1")
	first, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	second, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Errorf("the same file gives\n%s\nand then\n%s", first, second)
	}
	if !strings.Contains(first, "ack_conntrack_clash_resolved_total 4.294967296e+09\n") {
		t.Errorf("the CPUs are not summed in 64 bits:\n%s", first)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	t.Parallel()
	_, err := newCollector("no-such-procfs").Collect(t.Context())
	if !errors.Is(err, fs.ErrNotExist) || collector.ReasonOf(err) != collector.ReasonUnavailable {
		t.Errorf("got %v", err)
	}
}

func FuzzParseStat(f *testing.F) {
	for _, name := range []string{"3.10", "4.19", "5.10", "6.1", "6.18"} {
		content, err := hostfs.ReadFile(fixture(name).Path("1", "net", "stat", "nf_conntrack"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte("entries\n0\n"))
	f.Add([]byte("entries entries drop drop\n1 2 3 4\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s, err := parseStat(content)
		if err != nil {
			if !errors.Is(err, collector.ErrDecode) {
				t.Fatalf("not a decode error: %v", err)
			}
			return
		}
		if len(s.cpus) == 0 || len(s.cpus) > maxCPUs {
			t.Fatalf("%d CPUs", len(s.cpus))
		}
		var a accumulator
		if first, second := a.add(s), a.add(s); first != second {
			t.Fatal("the same reading twice changed the sums")
		}
	})
}
