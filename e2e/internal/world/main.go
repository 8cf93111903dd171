//go:build e2e

package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable names the role of a re-executed test binary.
const roleVariable = "ACK_E2E_ROLE"

// A Role is what a re-executed test binary does in place of running tests.
type Role func(args []string) error

// scratch is removed when the test binary ends.
var scratch string

func init() {
	// The first thread stands for the whole process in /proc/self, and does not
	// end with its goroutine. Pinning it here keeps it from being the one that
	// enters a world.
	runtime.LockOSThread()
}

// Main runs the tests, or the role that a parent asked for. Every TestMain of a
// package that uses this one must call it.
func Main(m *testing.M, roles map[string]Role) {
	if name := os.Getenv(roleVariable); name != "" {
		if err := play(name, roles); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1) //nolint:forbidigo // a role has no other way to report a failure than its status
		}
		return
	}
	var err error
	if scratch, err = os.MkdirTemp("", "ack-exporter-e2e-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	// Programs that run as another user must get at what is in it.
	if err := os.Chmod(scratch, 0o755); err != nil {
		panic(err)
	}
	m.Run()
}

// Scratch is a folder that lives as long as the test binary.
func Scratch() string { return scratch }

func play(name string, roles map[string]Role) error {
	role, ok := map[string]Role{"hold": hold, "sysctl": holdSysctl}[name]
	if !ok {
		role, ok = roles[name]
	}
	if !ok {
		return errors.New("no such role")
	}
	return role(os.Args[1:])
}

// RoleCommand is a command that plays a role of this test binary.
func RoleCommand(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	return cmd, nil
}

// Require skips the test where it cannot run, or fails it where E2E_REQUIRED=1
// says that it must run.
func Require(t testing.TB, can bool, why string) {
	t.Helper()
	switch {
	case can:
	case os.Getenv("E2E_REQUIRED") == "1":
		t.Fatalf("E2E_REQUIRED=1, but %s", why)
	default:
		t.Skip(why)
	}
}

// keeper is a child that keeps something up until its standard input ends: that
// happens in an orderly stop, and also where this process is killed.
type keeper struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	close  func() error
}

// startKeeper starts a keeper and waits for the line by which it says that all is up.
func startKeeper(t testing.TB, attr *syscall.SysProcAttr, role string, args ...string) *keeper {
	t.Helper()
	// Not the test's context: that ends before the functions of t.Cleanup run.
	cmd, err := RoleCommand(context.Background(), role, args...)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{cmd: cmd}
	cmd.Stderr = &k.stderr
	// A session of its own, so that an interrupt from the terminal ends the
	// tests, and the end of the tests ends the keeper, in this order.
	attr.Setsid = true
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.close = stdin.Close
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", role, err)
	}
	line := make([]byte, len(keeperReady))
	if n, err := stdout.Read(line); err != nil || string(line[:n]) != keeperReady {
		stopErr := k.stop()
		t.Fatalf("%s did not start: %v, %v", role, err, stopErr)
	}
	return k
}

const (
	keeperReady   = "ready\n"
	keeperTimeout = 30 * time.Second
)

// stop ends the keeper and what it kept up.
func (k *keeper) stop() error {
	kill := time.AfterFunc(keeperTimeout, func() { _ = k.cmd.Process.Kill() })
	defer kill.Stop()
	_ = k.close()
	if err := k.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, k.stderr.String())
	}
	return nil
}
