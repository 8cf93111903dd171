//go:build e2e

// Package ipvs tests the exporter's view of IPVS against Debian's kernel, booted
// in a virtual machine of its own: few machines on which one would run tests have
// IPVS. qemu emulates the processor, so that neither KVM nor root is needed for that.
//
// The machine follows a script (the program guest) in which the exporter runs as
// several users, and services, destinations and real traffic come and go. It
// records what the exporters, ipvsadm and the kernel's files say in the same
// moment; the tests here compare that. The test of the alerts, which needs root,
// boots it once more, and looks at it with Prometheus from outside.
//
//	go test -tags e2e ./e2e/ipvs
//
// It takes the packages of the kernel and of ipvsadm from Debian's archive, once,
// into the user's cache. E2E_REQUIRED=1 fails where the test would be skipped,
// and E2E_EXPORTER names a binary to test in place of one built from this tree.
// With -artifacts the logs of the machine are kept.
package ipvs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/e2e/ipvs/internal/vm"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

const (
	fetchTimeout = 5 * time.Minute
	buildTimeout = 5 * time.Minute
	// bootTimeout is longer than the time that the machine gives itself.
	bootTimeout = 6 * time.Minute

	tailLines = 40
)

// needed are the kernel modules; those of IPVS are loaded in the course of the
// script, what they need before.
var needed = []string{
	"ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_sh", "ip_vs_mh",
}

// TestIPVS boots once; its subtests look at what was recorded.
func TestIPVS(t *testing.T) {
	r := boot(t)
	t.Run("NotLoaded", r.testNotLoaded)
	t.Run("Agreement", r.testAgreement)
	t.Run("Timeouts", r.testTimeouts)
	t.Run("Services", r.testServices)
	t.Run("Traffic", r.testTraffic)
	t.Run("NoDestination", r.testNoDestination)
	t.Run("Stale", r.testStale)
	t.Run("Restored", r.testRestored)
	t.Run("Expiry", r.testExpiry)
	t.Run("Parameters", r.testParameters)
	t.Run("Errors", r.testErrors)
	t.Run("End", r.testEnd)
}

// boot runs the machine through the script and returns its record.
func boot(t *testing.T) record {
	t.Helper()
	return run(t, newMachine(t, needed))
}

// newMachine makes a machine with these kernel modules, and those that they need.
func newMachine(t *testing.T, modules []string) vm.Machine {
	t.Helper()
	world.Require(t, runtime.GOARCH == "amd64", "the virtual machine is an amd64")
	_, err := exec.LookPath(vm.Emulator)
	world.Require(t, err == nil, "qemu is missing: apt-get install --no-install-recommends qemu-system-x86")
	ctx, cancel := context.WithTimeout(t.Context(), fetchTimeout)
	defer cancel()
	packages, err := vm.Packages(ctx)
	world.Require(t, err == nil, fmt.Sprintf("there is no kernel to boot, from packages of Debian: %v", err))

	kernel, err := vm.FindKernel(packages)
	if err != nil {
		t.Fatal(err)
	}
	machine := vm.Machine{
		Kernel:    kernel.Image,
		Initramfs: filepath.Join(t.TempDir(), "initramfs"),
		CPUs:      2,
		MemoryMiB: 384,
		Folder:    t.ArtifactDir(),
	}
	if err := writeInitramfs(t, machine.Initramfs, packages, kernel, modules); err != nil {
		t.Fatal(err)
	}
	return machine
}

func run(t *testing.T, machine vm.Machine) record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	result, err := machine.Run(ctx)
	t.Logf("%s: %s, %s of CPU time, %d MiB", filepath.Base(machine.Kernel),
		result.Wall.Round(time.Millisecond), result.CPU.Round(time.Millisecond), result.MaxRSS>>20)
	if err != nil {
		t.Errorf("the machine: %v", err)
	}
	sections, err := vm.ParseRecord(result.Record)
	if err != nil {
		t.Errorf("the machine's record: %v", err)
	}
	if t.Failed() {
		t.Fatalf("the end of the record:\n%s\n\nthe end of the console:\n%s",
			vm.Tail(result.Record, tailLines), vm.Tail(result.Console, tailLines))
	}
	return sections
}

func writeInitramfs(t *testing.T, path, packages string, kernel *vm.Kernel, names []string) error {
	t.Helper()
	guest := buildGuest(t)
	modules, err := kernel.Modules(t.Context(), names...)
	if err != nil {
		return err
	}
	archive, err := vm.NewInitramfs(path)
	if err != nil {
		return err
	}
	archive.Copy("init", guest)
	archive.Symlink("sbin/modprobe", "/init") // where the kernel and ipvsadm look for it
	archive.Copy("ack-exporter", exporter.Binary(t))
	archive.Program(packages, ipvsadmPath(packages))
	archive.Symlink("bin/ipvsadm", "/"+ipvsadmPath(packages))
	for i, m := range modules {
		archive.File(fmt.Sprintf("modules/%02d-%s.ko", i, m.Name), m.Data)
	}
	return archive.Close()
}

// ipvsadmPath is where the package has the program: below /usr from Debian 13 on.
func ipvsadmPath(packages string) string {
	if _, err := os.Stat(filepath.Join(packages, "sbin/ipvsadm")); err == nil {
		return "sbin/ipvsadm"
	}
	return "usr/sbin/ipvsadm"
}

// buildGuest builds the program of the machine, a Go module of its own.
func buildGuest(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	path := filepath.Join(t.TempDir(), "guest")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", "guest", "-tags", "e2e", "-buildvcs=false", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return path
}
