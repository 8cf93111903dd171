package hostfs_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReadFields(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		content string
		want    []uint64
		words   string
	}{
		"one":         {"42\n", []uint64{42}, ""},
		"two":         {"32768\t60999\n", []uint64{32768, 60999}, ""},
		"no line end": {"0", []uint64{0}, ""},
		"empty":       {"", []uint64{0}, "0 values instead of 1"},
		"too many":    {"1 2\n", []uint64{0}, "2 values instead of 1"},
		"negative":    {"-1\n", []uint64{0}, "value 1 is no unsigned integer"},
		"words":       {"1 many\n", []uint64{0, 0}, "value 2 is no unsigned integer"},
		"too large":   {"18446744073709551616\n", []uint64{0}, "value 1 is no unsigned integer"},
	} {
		path := write(t, filepath.Join(t.TempDir(), "file"), c.content)
		got, err := hostfs.ReadFields(path, len(c.want))
		if c.words != "" {
			if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil || len(got) != len(c.want) || got[0] != c.want[0] || got[len(got)-1] != c.want[len(c.want)-1] {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestReadFileIsBounded(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "file"), strings.Repeat("x", 2<<20))
	if b, err := hostfs.ReadFile(path); err != nil || len(b) != 2<<20 {
		t.Errorf("at the bound: %d bytes, %v", len(b), err)
	}
	write(t, path, strings.Repeat("x", 2<<20+1))
	if b, err := hostfs.ReadFile(path); !errors.Is(err, collector.ErrDecode) || b != nil {
		t.Errorf("above the bound: %d bytes, %v", len(b), err)
	}
	if _, err := hostfs.ReadFile("/dev/zero"); !errors.Is(err, collector.ErrDecode) {
		t.Errorf("endless file: %v", err)
	}
}

func FuzzReadFields(f *testing.F) {
	f.Add([]byte("32768\t60999\n"), 2)
	f.Add([]byte("1\n"), 1)
	f.Add([]byte(""), 0)
	f.Add([]byte("\x00 -5 0x10"), 3)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, n int) {
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := hostfs.ReadFields(path, n)
		if err != nil && !errors.Is(err, collector.ErrDecode) {
			t.Fatalf("not a decode error: %v", err)
		}
		if err == nil && len(got) != n {
			t.Fatalf("%d values instead of %d", len(got), n)
		}
	})
}

// tree makes a proc file system in which this process is 4242.
func tree(t *testing.T, sameNamespace bool) hostfs.Procfs {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "1/net/dev"), "")
	if sameNamespace {
		link(t, "../1/net", filepath.Join(dir, "4242/net"))
	} else {
		write(t, filepath.Join(dir, "4242/net/dev"), "")
	}
	link(t, "4242", filepath.Join(dir, "self"))
	return hostfs.Procfs(dir)
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func TestInHostNetwork(t *testing.T) {
	t.Parallel()
	if host, err := tree(t, true).InHostNetwork(); err != nil || !host {
		t.Errorf("same namespace: %v, %v", host, err)
	}
	if host, err := tree(t, false).InHostNetwork(); err != nil || host {
		t.Errorf("another namespace: %v, %v", host, err)
	}
}

func TestInHostNetworkIsUnknown(t *testing.T) {
	t.Parallel()
	noSelf := tree(t, true)
	if err := os.Remove(noSelf.Path("self")); err != nil {
		t.Fatal(err)
	}
	container := tree(t, true)
	if err := os.Remove(container.Path("self")); err != nil {
		t.Fatal(err)
	}
	link(t, "1", container.Path("self"))
	hidden := tree(t, false)
	if err := os.RemoveAll(hidden.Path("1")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		procfs hostfs.Procfs
		words  string
	}{
		"this process is not in it":       {noSelf, "self"},
		"process 1 is this process":       {container, "name it by --path.procfs"},
		"process 1 is hidden (hidepid=2)": {hidden, "1/net/dev"},
	} {
		_, err := c.procfs.InHostNetwork()
		if !errors.Is(err, hostfs.ErrHostUnknown) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v", name, err)
		}
		if collector.ReasonOf(err) != collector.ReasonUnavailable {
			t.Errorf("%s: reason %s", name, collector.ReasonOf(err))
		}
	}
	if _, err := noSelf.InHostNetwork(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// helperEnv makes the test binary answer the question about itself and exit.
const helperEnv = "HOSTFS_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run()) //nolint:forbidigo // TestMain must
	}
	host, err := hostfs.Procfs("/proc").InHostNetwork()
	switch {
	case err != nil:
		os.Stdout.WriteString(err.Error())
	case host:
		os.Stdout.WriteString("host")
	default:
		os.Stdout.WriteString("foreign")
	}
}

// skip skips the test, and fails it where everything must run.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("E2E_REQUIRED") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// TestRealKernel asks in a network, process and mount namespace of its own, whose
// process 1 is a shell.
func TestRealKernel(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		command, want string
		rootOnly      bool
	}{
		"with process 1":   {command: `"$0"; true`, want: "host"},
		"in another one":   {command: `unshare --net "$0"; true`, want: "foreign"},
		"process 1 itself": {command: `exec "$0"`, want: hostfs.ErrHostUnknown.Error()},
		"another user":     {command: `setpriv --reuid 65534 --clear-groups --inh-caps=-all "$0"; true`, want: "host", rootOnly: true},
	} {
		if c.rootOnly && os.Geteuid() != 0 {
			continue
		}
		args := []string{"--net", "--pid", "--fork", "--mount-proc", "sh", "-c", c.command, self}
		if os.Geteuid() != 0 {
			args = append([]string{"--map-root-user"}, args...)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", args...)
		cmd.Env = append(os.Environ(), helperEnv+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			skip(t, "%v: %v: %s", cmd, err, out)
		}
		if !strings.HasPrefix(string(out), c.want) {
			t.Errorf("%s: %s, want %s", name, out, c.want)
		}
	}
}

func TestOnlineCPUs(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]int{"0\n": 1, "0-1\n": 2, "0-3,5,8-9\n": 7, "\n": 0, "0-\n": 0, "3-1\n": 0, "a\n": 0, "0,\n": 0, "0-99999\n": 0} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "devices/system/cpu/online"), content)
		got, err := hostfs.Sysfs(dir).OnlineCPUs()
		if got != want || (want == 0) != errors.Is(err, collector.ErrDecode) {
			t.Errorf("%q: got %d, %v", content, got, err)
		}
	}
	if _, err := hostfs.Sysfs(t.TempDir()).OnlineCPUs(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestIsECS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vendor, product string // empty: no such file
		want            bool
	}{
		"ECS":                {"Alibaba Cloud\n", "Alibaba Cloud ECS\n", true},
		"another cloud":      {"Amazon EC2\n", "m5.large\n", false},
		"another product":    {"Alibaba Cloud\n", "Alibaba Cloud\n", false},
		"another vendor":     {"QEMU\n", "Alibaba Cloud ECS\n", false},
		"a longer name":      {"Alibaba Cloud\n", "Alibaba Cloud ECS of somebody\n", false},
		"no product":         {"Alibaba Cloud\n", "", false},
		"no firmware tables": {"", "", false},
		"only spaces":        {" \n", " \n", false},
	} {
		dir := t.TempDir()
		for file, content := range map[string]string{"sys_vendor": c.vendor, "product_name": c.product} {
			if content != "" {
				write(t, filepath.Join(dir, "class/dmi/id", file), content)
			}
		}
		if got, err := hostfs.Sysfs(dir).IsECS(); err != nil || got != c.want {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestIsECSWhereItCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "class/dmi/id/sys_vendor"), strings.Repeat("x", 2<<20+1))
	if ecs, err := hostfs.Sysfs(dir).IsECS(); ecs || !errors.Is(err, collector.ErrDecode) {
		t.Errorf("got %v, %v", ecs, err)
	}
}

func FuzzOnlineCPUs(f *testing.F) {
	for _, seed := range []string{"0\n", "0-3,5\n", "", "-", "65535-65535,0"} {
		f.Add(seed)
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "devices/system/cpu/online")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := hostfs.Sysfs(dir).OnlineCPUs()
		if (err == nil) != (n > 0) {
			t.Fatalf("%d CPUs, %v", n, err)
		}
	})
}
