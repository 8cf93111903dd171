//go:build e2e

package world

import (
	"fmt"
	"testing"

	"ack-exporter/e2e/internal/sandbox"
)

// Sysctl reads a kernel parameter, named in slashes, in the world.
func (w *World) Sysctl(t testing.TB, name string) string {
	t.Helper()
	value, err := w.Sandbox.Sysctl(name)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// SetSysctl sets a kernel parameter of the world, which goes away with it.
func (w *World) SetSysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := w.Sandbox.SetSysctl(name, value); err != nil {
		t.Fatal(err)
	}
}

// SetMachineSysctl sets a kernel parameter that all worlds share with the
// machine, until the test ends. A keeper puts the old value back, so that this
// also happens where the tests are killed.
func SetMachineSysctl(t testing.TB, name, value string) {
	t.Helper()
	_, err := sandbox.ReadSysctl(name)
	Require(t, err == nil, fmt.Sprintf("kernel parameter %s cannot be read: %v", name, err))
	err = sandbox.SysctlWritable(name)
	Require(t, err == nil, fmt.Sprintf("kernel parameter %s cannot be set from here: %v", name, err))
	keeper, err := sandbox.HoldSysctl(t.Context(), name, value)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keeper.Stop(); err != nil {
			t.Errorf("put back %s: %v", name, err)
		}
	})
}
