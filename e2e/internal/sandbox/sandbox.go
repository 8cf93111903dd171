//go:build e2e

// Package sandbox makes private hosts: a network, process and mount namespace
// with a /proc and a /sys of their own. To a program inside it looks like a node
// on which nothing else runs, and what it does wrong there harms nobody.
//
// A program that uses it must call Play first.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// commandTimeout bounds tools such as ip, nft and conntrack.
const commandTimeout = 60 * time.Second

// ErrNotRoot says that namespaces cannot be made.
var ErrNotRoot = errors.New("namespaces need root")

// Sandbox is a private host. Its process 1 is a keeper, and everything in it ends
// together with that.
type Sandbox struct {
	keeper *Keeper
	// namespaces are those that programs enter.
	namespaces []string
	// cgroups are the folders of the control groups that programs join, and
	// cgroupKeeper is who removes them. Only machines have them.
	cgroups      []string
	cgroupKeeper *Keeper
}

// New makes a Sandbox with the loopback interface up.
func New(ctx context.Context) (*Sandbox, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	keeper, err := startKeeper(ctx, &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
	}, roleHold)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{keeper: keeper, namespaces: []string{"mnt", "net", "pid"}}
	if _, err := s.Output(ctx, "", "ip", "link", "set", "lo", "up"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// hold is process 1 of a Sandbox.
func hold([]string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, fs := range []struct{ kind, path string }{{"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := unix.Mount(fs.kind, fs.path, fs.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", fs.path, err)
		}
	}
	return beFirst()
}

// beFirst is what is left to do for process 1 once all is up.
func beFirst() error {
	signal.Ignore(unix.SIGCHLD) // orphans are reaped by the kernel
	fmt.Fprint(os.Stdout, keeperReady)
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// Close ends everything in the sandbox.
func (s *Sandbox) Close() error {
	err := s.keeper.Stop()
	if s.cgroupKeeper != nil {
		err = errors.Join(err, s.cgroupKeeper.Stop())
	}
	return err
}

// WithoutNetwork is the same sandbox with the network of the caller: what is
// started there ends with the sandbox, and can be reached from outside.
func (s *Sandbox) WithoutNetwork() *Sandbox {
	others := slices.DeleteFunc(slices.Clone(s.namespaces), func(kind string) bool { return kind == "net" })
	return &Sandbox{keeper: s.keeper, namespaces: others, cgroups: s.cgroups}
}

// PID is process 1 of the sandbox, as the caller sees it.
func (s *Sandbox) PID() int { return s.keeper.cmd.Process.Pid }

// Path is where a file of the sandbox is for the caller.
func (s *Sandbox) Path(path string) string { return "/proc/" + strconv.Itoa(s.PID()) + "/root" + path }

// enter runs f on a thread that is in the given control groups, and in the given
// namespaces of a process. The thread ends afterwards. f must not panic, only return
// errors.
func enter(pid int, cgroups, kinds []string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime throws the thread away with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			// To change the mount namespace, a thread must not share its working directory.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			// First, as their folders are those of the caller.
			if err := joinCgroups(cgroups, "tasks"); err != nil {
				return err
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
func InNet(pid int, f func() error) error { return enter(pid, nil, []string{"net"}, f) }

// Net is InNet for this sandbox.
func (s *Sandbox) Net(f func() error) error {
	if !slices.Contains(s.namespaces, "net") {
		return f()
	}
	return InNet(s.PID(), f)
}

// Start starts a program inside the sandbox. It is a child of the caller: its
// status, its resource usage and its signals are its own.
func (s *Sandbox) Start(cmd *exec.Cmd) error {
	return enter(s.PID(), s.cgroups, s.namespaces, cmd.Start)
}

// Dialer returns a function that connects from within the network namespace of a process.
func Dialer(pid int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := InNet(pid, func() (err error) {
			conn, err = dial(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// dial needs no other goroutine: the address is a literal.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Dial connects from within the network of the sandbox.
func (s *Sandbox) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = s.Net(func() (err error) {
		conn, err = dial(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens for TCP connections in the network of the sandbox.
func (s *Sandbox) Listen(ctx context.Context, address string) (listener net.Listener, err error) {
	err = s.Net(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", address)
		return err
	})
	return listener, err
}

// Output runs a tool in the network of the sandbox, but with the processes and
// the files of the caller, and returns what it printed.
func (s *Sandbox) Output(ctx context.Context, input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := s.Net(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return stdout.String(), nil
}
