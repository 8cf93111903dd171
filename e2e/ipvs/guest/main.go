//go:build e2e

// Command guest is process 1 of the virtual machine in which e2e/ipvs tests the
// exporter. It follows a script, and writes what it sees to the second serial
// port, for the test outside to judge. With the argument serve it does what the
// test asks for instead.
//
// It is a module of its own: the exporter does not depend on what it needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// watchdog is how long all of it may take at most; the test outside waits for
// longer.
const watchdog = 5 * time.Minute

func main() {
	// The archive has links to this program under other names.
	if filepath.Base(os.Args[0]) == "modprobe" {
		recordModprobe()
		return
	}
	r, err := start()
	if err != nil {
		// There is nowhere to write to but the console.
		fmt.Fprintf(os.Stderr, "guest: %v\n", err)
		powerOff()
		return
	}
	work := script
	if slices.Contains(os.Args[1:], "serve") {
		work = serve
	}
	ended := make(chan error, 1)
	go func() { ended <- contain(func(ctx context.Context) error { return work(ctx, r) }) }()
	timer := time.NewTimer(watchdog)
	defer timer.Stop()
	select {
	case err = <-ended:
	case <-timer.C:
		stacks := make([]byte, 64<<10)
		fmt.Fprintf(os.Stderr, "%s\n", stacks[:runtime.Stack(stacks, true)])
		err = fmt.Errorf("not done within %s", watchdog)
	}
	r.end(err)
	powerOff()
}

// contain turns a panic into an error: the end of process 1 would be a panic of
// the kernel, and take the reason with it.
func contain(f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), watchdog)
	defer cancel()
	return f(ctx)
}

// start makes the file systems and opens the record.
func start() (*record, error) {
	for _, fs := range []struct{ kind, path string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(fs.path, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(fs.kind, fs.path, fs.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("mount %s: %w", fs.path, err)
		}
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return nil, err
	}
	return openRecord("/dev/ttyS1")
}

func powerOff() {
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintf(os.Stderr, "guest: power off: %v\n", err)
}
