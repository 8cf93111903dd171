//go:build e2e

// Package world gives tests sandboxes that end with them, and ends a test where
// something in them fails.
package world

import (
	"context"
	"net"
	"os"
	"testing"

	"ack-exporter/e2e/internal/sandbox"
)

// World is a private host.
type World struct {
	*sandbox.Sandbox
}

// New makes a World with the loopback interface up. It ends with the test.
func New(t testing.TB) *World {
	t.Helper()
	Require(t, os.Geteuid() == 0, sandbox.ErrNotRoot.Error())
	s, err := sandbox.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop the world: %v", err)
		}
	})
	return &World{s}
}

// Dialer returns a function that connects from within the network namespace of a process.
func Dialer(pid int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return sandbox.Dialer(pid)
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
	out, err := w.Output(t.Context(), input, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
