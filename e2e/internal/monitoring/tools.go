//go:build e2e

package monitoring

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Packages are the packages of Debian that have what this one starts.
var Packages = []string{"prometheus", "prometheus-alertmanager"}

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("not installed")

// Binaries are the programs to run.
type Binaries struct{ Prometheus, Alertmanager string }

// Find finds the programs: those that PROMETHEUS_BIN and ALERTMANAGER_BIN name,
// or those of the distribution.
func Find() (b Binaries, err error) {
	var errPrometheus, errAlertmanager error
	b.Prometheus, errPrometheus = find("PROMETHEUS_BIN", "prometheus")
	// Debian's name, and that of the project.
	b.Alertmanager, errAlertmanager = find("ALERTMANAGER_BIN", "prometheus-alertmanager", "alertmanager")
	return b, errors.Join(errPrometheus, errAlertmanager)
}

func find(variable string, names ...string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return exec.LookPath(path)
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w, and %s names no other", names[0], ErrMissing, variable)
}
