package sysctl_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/sysctl"
	"ack-exporter/internal/hostfs"
)

func newCollector(proc string) *sysctl.Collector {
	return sysctl.New(sysctl.Config{
		Procfs:    hostfs.Procfs(proc),
		NodePorts: sysctl.PortRange{First: 30000, Last: 32767},
	})
}

func TestKernels(t *testing.T) {
	t.Parallel()
	// 3.10: all that can be wrong is; 4.19: healthy, as Alibaba Cloud Linux 2
	// starts; 5.10: eth1 alone filters, the NodePort range is reserved in part;
	// 6.18: overlap, a VLAN that filters, an interface that just vanished.
	for _, kernel := range []string{"3.10", "4.19", "5.10", "6.18"} {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			got, err := collectortest.Collect(t, newCollector(filepath.Join("testdata", kernel, "proc")))
			if err != nil {
				t.Fatal(err)
			}
			collectortest.Golden(t, kernel+".prom", got)
		})
	}
}

func TestNoMetrics(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(t *testing.T, proc string)
		tree   string
		want   error
		says   string
	}{
		"other network namespace": {
			tree: "foreign", want: collector.ErrUnavailable, says: "hostNetwork: true",
		},
		"unknown network namespace": {
			change: func(t *testing.T, proc string) { remove(t, filepath.Join(proc, "1")) },
			want:   hostfs.ErrHostUnknown,
		},
		"no IPv4": {
			change: func(t *testing.T, proc string) { remove(t, filepath.Join(proc, "sys/net/ipv4")) },
			want:   collector.ErrNotApplicable,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proc := filepath.Join("testdata", test.tree, "proc")
			if test.change != nil {
				proc = healthyTree(t)
				test.change(t, proc)
			}
			got, err := collectortest.Collect(t, newCollector(proc))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v instead of %v that says %q", err, test.want, test.says)
			}
			if got != "" {
				t.Errorf("metrics:\n%s", got)
			}
		})
	}
}

// One parameter that fails hides itself and what follows from it, nothing else.
func TestPartialResult(t *testing.T) {
	t.Parallel()
	const compliant, overlap = "ack_sysctl_compliant", "ack_sysctl_local_port_range_nodeport_overlap_ports"
	tests := map[string]struct {
		file, content string
		reason        collector.Reason
		absent        []string
	}{
		"text": {
			"ip_forward", "on\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.ip_forward"}`},
		},
		"two values": {
			"tcp_tw_reuse", "0 0\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.tcp_tw_reuse"}`},
		},
		"no file": {
			"tcp_tw_reuse", "", collector.ReasonUnavailable,
			[]string{compliant + `{name="net.ipv4.tcp_tw_reuse"}`},
		},
		"tcp_tw_recycle empty": {
			"tcp_tw_recycle", "\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.tcp_tw_recycle"}`},
		},
		"interface": {
			"conf/eth0/rp_filter", "-1\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.conf.eth0.rp_filter"}`},
		},
		"all: no verdict on an interface": {
			"conf/all/rp_filter", "x\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.conf.all.rp_filter"}`, compliant + `{name="net.ipv4.conf.eth0.rp_filter"}`},
		},
		"range of one port": {
			"ip_local_port_range", "32768\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.ip_local_port_range"}`, overlap},
		},
		"range upside down": {
			"ip_local_port_range", "60999 32768\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.ip_local_port_range"}`, overlap},
		},
		"range beyond the ports": {
			"ip_local_port_range", "32768 65536\n", collector.ReasonDecode,
			[]string{compliant + `{name="net.ipv4.ip_local_port_range"}`, overlap},
		},
		"reserved ports": {
			"ip_local_reserved_ports", "8080-\n", collector.ReasonDecode, []string{overlap},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proc := healthyTree(t)
			path := filepath.Join(proc, "sys/net/ipv4", test.file)
			if test.content == "" {
				remove(t, path)
			} else if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}

			got, err := collectortest.Collect(t, newCollector(proc))
			if err == nil || collector.ReasonOf(err) != test.reason || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v; want the reason %s and the file", err, test.reason)
			}
			whole, err := os.ReadFile("testdata/4.19.prom")
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(whole)) {
				series, _, _ := strings.Cut(line, " ")
				if !strings.HasPrefix(series, compliant) && series != overlap {
					continue
				}
				absent := slices.Contains(test.absent, series)
				if strings.Contains(got, line) == absent {
					t.Errorf("%s: absent is %t instead of %t in\n%s", series, !absent, absent, got)
				}
			}
		})
	}
}

// A file that cannot be read at all: a directory fails for root too.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	proc := healthyTree(t)
	for _, name := range []string{"ip_forward", "ip_local_reserved_ports"} {
		path := filepath.Join(proc, "sys/net/ipv4", name)
		remove(t, path)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := collectortest.Collect(t, newCollector(proc))
	if err == nil || !strings.Contains(err.Error(), "ip_forward") || !strings.Contains(err.Error(), "ip_local_reserved_ports") {
		t.Errorf("error %v; want both files", err)
	}
	if !strings.Contains(got, `ack_sysctl_compliant{name="net.ipv4.conf.all.rp_filter"} 1`) {
		t.Errorf("the other parameters are hidden:\n%s", got)
	}
}

func TestInterfacesCannotBeListed(t *testing.T) {
	t.Parallel()
	proc := healthyTree(t)
	remove(t, filepath.Join(proc, "sys/net/ipv4/conf"))
	got, err := collectortest.Collect(t, newCollector(proc))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(got, `ack_sysctl_compliant{name="net.ipv4.ip_forward"} 1`) {
		t.Errorf("the other parameters are hidden:\n%s", got)
	}
}

// This is not a test of values: any machine may have any.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, newCollector("/proc"))
	if err != nil && got != "" {
		t.Errorf("partial result on a real kernel: %v", err)
	}
	t.Logf("error %v, metrics:\n%s", err, got)
}

func BenchmarkCollect(b *testing.B) {
	c := newCollector("testdata/6.18/proc")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
