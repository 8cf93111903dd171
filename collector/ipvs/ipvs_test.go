package ipvs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/hostfs"
)

// fixture is a proc file system in testdata; its process 4242 is this one. They
// are from Debian's kernel 6.1 with services made by ipvsadm and real traffic; 4.19
// and 6.12 are the same lists, whose format has not changed, with the parameters
// that those kernels have.
func fixture(name string) hostfs.Procfs {
	return hostfs.Procfs(filepath.Join("testdata", name, "proc"))
}

func answering(t timeouts, err error) func(context.Context) (timeouts, error) {
	return func(context.Context) (timeouts, error) { return t, err }
}

func TestCollectGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"4.19", "6.1-traffic", "6.12"} {
		c := New(fixture(name))
		c.timeouts = answering(timeouts{"tcp": 900, "tcp_fin": 120, "udp": 300}, nil)
		got, err := collectortest.Collect(t, c)
		if err != nil {
			t.Fatal(err)
		}
		collectortest.Golden(t, name+"-ipvs.prom", got)
	}
}

func TestWithoutTheCapabilityTheRestIsServed(t *testing.T) {
	t.Parallel()
	c := New(fixture("6.1-traffic"))
	c.timeouts = answering(nil, syscall.EPERM)
	got, err := collectortest.Collect(t, c)
	if collector.ReasonOf(err) != collector.ReasonPermission {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(got, `ack_ipvs_sysctl{name="conn_reuse_mode"} 1`) || strings.Contains(got, "ack_ipvs_timeout_seconds{") {
		t.Errorf("got %s", got)
	}
}

func TestCollectWhereItCannot(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"not-loaded":  collector.ErrNotApplicable,
		"6.1-foreign": collector.ErrUnavailable,
		"no-such":     hostfs.ErrHostUnknown,
	} {
		c := New(fixture(name))
		c.timeouts = func(context.Context) (timeouts, error) {
			t.Errorf("%s: the kernel was asked; it would load the module, or answer for another namespace", name)
			return nil, nil
		}
		got, err := collectortest.Collect(t, c)
		if !errors.Is(err, want) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestSysctlsThatAreNotOneNumber(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(string(fixture("6.1-traffic")))); err != nil {
		t.Fatal(err)
	}
	procfs := hostfs.Procfs(dir)
	for name, content := range map[string]string{"conn_reuse_mode": "0-3,8\n", "conntrack": "3\t50\n", "drop_entry": ""} {
		if err := os.WriteFile(procfs.Sysctl("net/ipv4/vs/"+name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(procfs.Sysctl("net/ipv4/vs/run_estimation")); err != nil {
		t.Fatal(err)
	}
	c := New(procfs)
	c.timeouts = answering(timeouts{"udp": 10}, nil)
	got, err := collectortest.Collect(t, c)
	if err != nil || !strings.Contains(got, `ack_ipvs_sysctl{name="expire_nodest_conn"} 0`) {
		t.Errorf("%v\n%s", err, got)
	}
	for _, name := range []string{"conn_reuse_mode", "conntrack", "drop_entry", "run_estimation"} {
		if strings.Contains(got, fmt.Sprintf("name=%q", name)) {
			t.Errorf("%s is shown", name)
		}
	}
}

// reply is what the kernel sent, without the headers of netlink.
func reply(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "netlink", name))
	if err != nil {
		t.Fatal(err)
	}
	return b[unix.NLMSG_HDRLEN+unix.GENL_HDRLEN:]
}

func TestDecodeTimeoutsOfARealKernel(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]timeouts{
		"ipvs_get_config.bin":            {"tcp": 900, "tcp_fin": 120, "udp": 300},
		"ipvs_get_config_900_120_10.bin": {"tcp": 900, "tcp_fin": 120, "udp": 10},
	} {
		got, err := decodeTimeouts(reply(t, name))
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestDecodeTimeoutsErrors(t *testing.T) {
	t.Parallel()
	whole := reply(t, "ipvs_get_config.bin")
	for name, b := range map[string][]byte{
		"nothing":              nil,
		"cut":                  whole[:len(whole)-2],
		"length too long":      {12, 0, 4, 0, 1, 0, 0, 0},
		"two bytes":            {6, 0, 6, 0, 1, 0, 0, 0},
		"none of the timeouts": {8, 0, 9, 0, 1, 0, 0, 0},
	} {
		if got, err := decodeTimeouts(b); !errors.Is(err, collector.ErrDecode) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestTimeoutThatTheKernelLacksIsMissing(t *testing.T) {
	t.Parallel()
	got, err := decodeTimeouts([]byte{8, 0, 4, 0, 1, 0, 0, 0})
	if err != nil || !maps.Equal(got, timeouts{"tcp": 1}) {
		t.Errorf("%v, %v", got, err)
	}
}

// kernel answers as a kernel with IPVS in which the family has this number.
func kernel(t *testing.T, id uint16, answer func() ([]genetlink.Message, error)) *genetlink.Conn {
	t.Helper()
	conn := genltest.Dial(genltest.ServeFamily(
		genetlink.Family{ID: id, Version: 1, Name: familyName},
		genltest.CheckRequest(id, commandGetConfig, netlink.Request, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
			return answer()
		})))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestRequestTimeouts(t *testing.T) {
	t.Parallel()
	whole := genetlink.Message{Data: reply(t, "ipvs_get_config.bin")}
	for name, c := range map[string]struct {
		answer func() ([]genetlink.Message, error)
		reason collector.Reason
	}{
		"no capability": {func() ([]genetlink.Message, error) { return nil, genltest.Error(int(unix.EPERM)) }, collector.ReasonPermission},
		"two replies":   {func() ([]genetlink.Message, error) { return []genetlink.Message{whole, whole}, nil }, collector.ReasonDecode},
	} {
		got, err := requestTimeouts(kernel(t, 32, c.answer))
		if err == nil || collector.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	// The number of the family changes when the module is loaded again.
	for _, id := range []uint16{32, 35} {
		got, err := requestTimeouts(kernel(t, id, func() ([]genetlink.Message, error) { return []genetlink.Message{whole}, nil }))
		if err != nil || got["udp"] != 300 {
			t.Errorf("family %d: %v, %v", id, got, err)
		}
	}
}

func TestModuleUnloadedMeanwhile(t *testing.T) {
	t.Parallel()
	conn := genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, genltest.Error(int(unix.ENOENT))
	})
	defer conn.Close()
	if _, err := requestTimeouts(conn); !errors.Is(err, collector.ErrNotApplicable) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeTimeouts(f *testing.F) {
	f.Add(reply(f, "ipvs_get_config.bin"))
	f.Add(reply(f, "ctrl_getfamily_ipvs.bin"))
	f.Add([]byte{6, 0, 6, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodeTimeouts(b)
		if err != nil && !errors.Is(err, collector.ErrDecode) {
			t.Fatalf("not a decode error: %v", err)
		}
		if (err == nil) != (len(got) > 0) {
			t.Fatalf("%v, %v", got, err)
		}
	})
}
