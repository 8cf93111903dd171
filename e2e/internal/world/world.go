//go:build e2e

// Package world makes private hosts for tests: a network, process and mount
// namespace with a /proc and a /sys of their own. To a program inside it looks
// like a node on which nothing else runs.
package world

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// commandTimeout bounds tools such as ip, nft and conntrack.
const commandTimeout = 60 * time.Second

// World is a private host. Its process 1 is a keeper, and everything in it ends
// together with that.
type World struct {
	pid int
}

// New makes a World with the loopback interface up. It ends with the test.
func New(t testing.TB) *World {
	t.Helper()
	Require(t, os.Geteuid() == 0, "namespaces need root")
	k := startKeeper(t, &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
	}, "hold")
	t.Cleanup(func() {
		if err := k.stop(); err != nil {
			t.Errorf("stop the world: %v", err)
		}
	})
	w := &World{pid: k.cmd.Process.Pid}
	w.Run(t, "ip", "link", "set", "lo", "up")
	return w
}

// hold is process 1 of a World.
func hold([]string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, fs := range []struct{ kind, path string }{{"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(fs.kind, fs.path, fs.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", fs.path, err)
		}
	}
	signal.Ignore(unix.SIGCHLD) // orphans are reaped by the kernel
	fmt.Fprint(os.Stdout, keeperReady)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// PID is process 1 of the world, as the tests see it.
func (w *World) PID() int { return w.pid }

// Path is where a file of the world is for the tests.
func (w *World) Path(path string) string { return procRoot(w.pid) + path }

func procRoot(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/root" }

// enter runs f on a thread that is in the given namespaces of a process. The
// thread ends afterwards. f must not end the test, only return errors.
func enter(pid int, kinds []string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime throws the thread away with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			// To change the mount namespace, a thread must not share its working directory.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			if err := setNamespaces(pid, kinds); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-result
}

func setNamespaces(pid int, kinds []string) error {
	files := make([]*os.File, 0, len(kinds))
	for _, kind := range kinds {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/" + kind)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	for _, f := range files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("enter %s: %w", f.Name(), err)
		}
	}
	return nil
}

// InNet runs f on a thread in the network namespace of a process: sockets that
// it opens stay there, and files under /proc/sys/net that it opens show the
// values of that namespace.
func InNet(pid int, f func() error) error { return enter(pid, []string{"net"}, f) }

// Net is InNet for this world.
func (w *World) Net(f func() error) error { return InNet(w.pid, f) }

// Start starts a program inside the world. It is a child of the tests: its
// status, its resource usage and its signals are its own.
func (w *World) Start(cmd *exec.Cmd) error {
	return enter(w.pid, []string{"mnt", "net", "pid"}, cmd.Start)
}

// Dialer returns a function that connects from within the network namespace of a process.
func Dialer(pid int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := InNet(pid, func() (err error) {
			// The address is a literal: the dialer needs no other goroutine.
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// Run runs a tool in the world's network, but with the processes and the files
// of the tests, and returns what it printed.
func (w *World) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return w.RunInput(t, "", name, args...)
}

// RunInput is Run with something on the standard input.
func (w *World) RunInput(t testing.TB, input, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := w.Net(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return stdout.String()
}
