//go:build e2e

// Package netstat tests what the exporter says of dropped packets against the real
// kernel, in private network namespaces. Nothing leaves the machine.
//
//	go test -tags e2e ./e2e/netstat    # as root
package netstat

import (
	"testing"
	"time"

	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

// patience is how long a test waits for what takes a moment on an idle machine.
const patience = time.Minute
