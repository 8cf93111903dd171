//go:build e2e

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func sysctlPath(name string) string { return "/proc/sys/" + name }

// Sysctl reads a kernel parameter, named in slashes, in the sandbox.
func (s *Sandbox) Sysctl(name string) (value string, err error) {
	err = s.Net(func() (err error) {
		value, err = ReadSysctl(name)
		return err
	})
	return value, err
}

// SetSysctl sets a kernel parameter of the sandbox, which goes away with it.
func (s *Sandbox) SetSysctl(name, value string) error {
	return s.Net(func() error { return writeSysctl(name, value) })
}

// ReadSysctl reads a kernel parameter of the machine.
func ReadSysctl(name string) (string, error) {
	b, err := os.ReadFile(sysctlPath(name))
	return strings.TrimSpace(string(b)), err
}

// SysctlWritable is nil where a kernel parameter of the machine can be set.
func SysctlWritable(name string) error {
	f, err := os.OpenFile(sysctlPath(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// HoldSysctl sets a kernel parameter that all sandboxes share with the machine.
// The keeper puts the old value back when it ends. Where another process holds
// the parameter, this waits.
func HoldSysctl(ctx context.Context, name, value string) (*Keeper, error) {
	return startKeeper(ctx, &syscall.SysProcAttr{}, roleSysctl, name, value)
}

// holdSysctl keeps a kernel parameter at a value until standard input ends.
func holdSysctl(args []string) error {
	name, value := args[0], args[1]
	f, err := os.Open(sysctlPath(name))
	if err != nil {
		return err
	}
	defer f.Close() // and with it the lock
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	before, err := ReadSysctl(name)
	if err != nil {
		return err
	}
	if err := writeSysctl(name, value); err != nil {
		return err
	}
	fmt.Fprint(os.Stdout, keeperReady)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, restoreSysctl(name, before))
}

func restoreSysctl(name, before string) error {
	if err := writeSysctl(name, before); err != nil {
		return err
	}
	after, err := ReadSysctl(name)
	if err == nil && after != before {
		err = fmt.Errorf("%s is %s; it was %s", name, after, before)
	}
	return err
}

func writeSysctl(name, value string) error {
	return os.WriteFile(sysctlPath(name), []byte(value), 0)
}
