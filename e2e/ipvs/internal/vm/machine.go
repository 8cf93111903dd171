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
	// Arguments are those of process 1.
	Arguments []string
	// Ports are TCP ports of the machine that can be reached at the loopback
	// address. Only where there are any the machine has a network card.
	Ports []int
	// Start starts the emulator elsewhere, such as in another network namespace.
	// What is there must end with the tests.
	Start func(*exec.Cmd) error
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
	args := append([]string{
		"-accel", "tcg,tb-size=256", "-machine", "pc", "-cpu", "max",
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.MemoryMiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:" + console, "-serial", "file:" + record,
		"-kernel", m.Kernel, "-initrd", m.Initramfs, "-append", m.commandLine(),
	}, m.network()...)
	cmd := exec.CommandContext(ctx, Emulator, args...)
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	err := m.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
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

// commandLine passes process 1 its arguments behind those of the kernel.
func (m *Machine) commandLine() string {
	if len(m.Arguments) == 0 {
		return commandLine
	}
	return commandLine + " -- " + strings.Join(m.Arguments, " ")
}

// network gives the machine a network of its own, from which nothing leads
// elsewhere, and no boot ROM, which is in another package than the emulator.
func (m *Machine) network() []string {
	if len(m.Ports) == 0 {
		return []string{"-nic", "none"}
	}
	options := []string{"user", "id=net", "restrict=on"}
	for _, port := range m.Ports {
		options = append(options, fmt.Sprintf("hostfwd=tcp:127.0.0.1:%d-:%d", port, port))
	}
	return []string{"-netdev", strings.Join(options, ","), "-device", "virtio-net-pci,netdev=net,romfile="}
}

func (m *Machine) start(cmd *exec.Cmd) error {
	if m.Start != nil {
		return m.Start(cmd)
	}
	// Also where the tests are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd.Start()
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
