//go:build e2e

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Emulator is the program that runs the machine.
const Emulator = "qemu-system-x86_64"

// commandLine is the kernel's. A panic ends the machine at once. Programs always
// get the same addresses, so that what the emulator has translated fits again.
// The rest makes the boot quick and quiet.
const commandLine = "console=ttyS0 panic=-1 oops=panic quiet loglevel=4 tsc=reliable no_timer_check mitigations=off random.trust_cpu=on norandmaps"

// Machine is a virtual machine that runs until it switches itself off.
type Machine struct {
	Kernel    string
	Initramfs string
	CPUs      int
	MemoryMiB int
	// Folder gets console.log, the kernel's messages, from the first serial port,
	// and record.log from the second: nothing can get in between its lines.
	Folder string
}

// Result is what is left of a machine.
type Result struct {
	Console, Record string
	Wall, CPU       time.Duration
	MaxRSS          int64 // in bytes
}

// Run boots the machine and waits for its end. The result is also valid where
// that is an error.
func (m *Machine) Run(ctx context.Context) (*Result, error) {
	console, record := filepath.Join(m.Folder, "console.log"), filepath.Join(m.Folder, "record.log")
	// The emulator is named, never a list with KVM in it: on some hosts /dev/kvm
	// opens and then hangs the kernel, and qemu does not fall back. What it has
	// translated would otherwise fill a gigabyte.
	cmd := exec.CommandContext(ctx, Emulator,
		"-accel", "tcg,tb-size=256", "-machine", "pc", "-cpu", "max",
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.MemoryMiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot",
		"-serial", "file:"+console, "-serial", "file:"+record,
		"-kernel", m.Kernel, "-initrd", m.Initramfs, "-append", commandLine)
	cmd.WaitDelay = 5 * time.Second
	// Also where the tests are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	r := &Result{Wall: time.Since(start)}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", Emulator, errors.Join(err, ctx.Err()), stderr.String())
	}
	if state := cmd.ProcessState; state != nil {
		r.CPU = state.UserTime() + state.SystemTime()
		if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
			r.MaxRSS = usage.Maxrss << 10
		}
	}
	var errConsole, errRecord error
	r.Console, errConsole = readLog(console)
	r.Record, errRecord = readLog(record)
	return r, errors.Join(err, errConsole, errRecord)
}

func readLog(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.ReplaceAll(string(b), "\r", ""), err
}

// Tail is the end of a log.
func Tail(log string, lines int) string {
	all := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
