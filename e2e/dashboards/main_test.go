//go:build e2e

// Package dashboards draws every dashboard in headless Chromium, with Grafana's
// own components and against a real Prometheus, and asks the page what it drew:
// no panel may show an error, and every query must find something.
//
//	go test -tags e2e ./e2e/dashboards                              # as root
//	E2E_PICTURES=folder go test -tags e2e -run Dashboards ./e2e/dashboards
//
// The page is a small program in app/, which stands in for Grafana: that cannot be
// installed from a package registry, but what it draws with can. It is built once,
// into the user's cache, which takes npm and the packages of its lock file.
//
// E2E_REQUIRED=1 fails where a test would be skipped, and E2E_EXPORTER names a
// binary to test in place of one built from this tree. With -artifacts the reports
// and the pictures are kept.
package dashboards

import (
	"testing"

	"ack-exporter/e2e/internal/world"
)

func TestMain(m *testing.M) { world.Main(m, nil) }
