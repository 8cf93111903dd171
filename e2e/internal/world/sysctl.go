//go:build e2e

package world

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func sysctlPath(name string) string { return "/proc/sys/" + name }

// Sysctl reads a kernel parameter, named in slashes, in the world.
func (w *World) Sysctl(t testing.TB, name string) string {
	t.Helper()
	var value string
	err := w.Net(func() (err error) {
		value, err = readSysctl(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// SetSysctl sets a kernel parameter of the world, which goes away with it.
func (w *World) SetSysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := w.Net(func() error { return writeSysctl(name, value) }); err != nil {
		t.Fatal(err)
	}
}

// SetMachineSysctl sets a kernel parameter that all worlds share with the
// machine, until the test ends. A keeper puts the old value back, so that this
// also happens where the tests are killed.
func SetMachineSysctl(t testing.TB, name, value string) {
	t.Helper()
	before, err := readSysctl(name)
	Require(t, err == nil, fmt.Sprintf("kernel parameter %s cannot be read: %v", name, err))
	f, err := os.OpenFile(sysctlPath(name), os.O_WRONLY, 0)
	Require(t, err == nil, fmt.Sprintf("kernel parameter %s cannot be set from here: %v", name, err))
	f.Close()
	k := startKeeper(t, &syscall.SysProcAttr{}, "sysctl", name, value)
	t.Cleanup(func() {
		stopErr := k.stop()
		after, err := readSysctl(name)
		if err := errors.Join(stopErr, err); err != nil {
			t.Errorf("put back %s: %v", name, err)
		}
		if after != before {
			t.Errorf("%s is %s after the test; it was %s", name, after, before)
		}
	})
}

// holdSysctl keeps a kernel parameter at a value until standard input ends.
func holdSysctl(args []string) error {
	name, value := args[0], args[1]
	before, err := readSysctl(name)
	if err != nil {
		return err
	}
	if err := writeSysctl(name, value); err != nil {
		return err
	}
	fmt.Fprint(os.Stdout, keeperReady)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, writeSysctl(name, before))
}

func readSysctl(name string) (string, error) {
	b, err := os.ReadFile(sysctlPath(name))
	return strings.TrimSpace(string(b)), err
}

func writeSysctl(name, value string) error {
	return os.WriteFile(sysctlPath(name), []byte(value), 0)
}
