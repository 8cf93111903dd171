//go:build e2e

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"ack-exporter/e2e/internal/sandbox"
)

// A Role is what a re-executed test binary does in place of running tests.
type Role = sandbox.Role

// scratch is removed when the test binary ends.
var scratch string

// Main runs the tests, or the role that a parent asked for. Every TestMain of a
// package that uses this one must call it.
func Main(m *testing.M, roles map[string]Role) {
	played, err := sandbox.Play(roles)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a role has no other way to report a failure than its status
	}
	if played {
		return
	}
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

// RoleCommand is a command that plays a role of this test binary.
func RoleCommand(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	return sandbox.RoleCommand(ctx, name, args...)
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

// RequireTools is Require for programs that must be installed.
func RequireTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		Require(t, err == nil, name+" is not installed")
	}
}
