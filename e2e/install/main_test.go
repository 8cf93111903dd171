//go:build e2e

// Package install tests what goes into a cluster. It builds the image with buildah
// and looks into it; nothing is pulled, as the image in which the binary is compiled
// is made of this machine's own tools. It gives the manifests to a real API server,
// and runs the node role confined as they say. On a node with a real kubelet, containerd
// and runc, Helm installs the image, replaces it and removes it.
//
//	go test -tags e2e ./e2e/install    # as root
package install

import (
	"testing"

	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }
