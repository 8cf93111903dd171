package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// TestCertificateFlags: a flag that makes no sense is an error that names it.
func TestCertificateFlags(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{
		"--collector.certificate_bundles.timeout=0s", "--collector.certificate_bundles.interval=10ms",
		"--collector.certificate_endpoints.timeout=-1s", "--collector.certificate_endpoints.interval=0s",
		"--collector.certificate_endpoints.target=example.com", "--collector.certificate_endpoints.target=example.com:443#",
		"--collector.certificate_endpoints.api-server-name=https://example.com",
	} {
		app := kingpin.New(programName, "")
		cluster := addClusterCommand(app)
		if _, err := app.Parse([]string{"cluster", flag}); err != nil {
			t.Fatal(err)
		}
		_, err := cluster.offlineSpecs(slog.New(slog.DiscardHandler))
		name, _, _ := strings.Cut(flag, "=")
		name = strings.TrimSuffix(name, ".timeout")
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
