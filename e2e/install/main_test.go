//go:build e2e

// Package install builds the image of the exporter from the Dockerfile, with
// buildah, and looks into it. Nothing is pulled: the image in which the binary is
// compiled is made of this machine's own tools.
//
//	go test -tags e2e ./e2e/install    # as root
package install

import (
	"testing"

	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }
