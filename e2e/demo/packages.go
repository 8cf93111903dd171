//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"ack-exporter/e2e/internal/monitoring"
)

// tools are other programs that it needs, by the package that has them.
var tools = map[string]string{"ip": "iproute2", "nft": "nftables"}

// missing lists the packages that are not installed, and why they are needed.
func missing() (packages []string, why error) {
	if _, err := monitoring.Find(); err != nil {
		packages, why = append(packages, monitoring.Packages...), err
	}
	for tool, name := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			packages, why = append(packages, name), errors.Join(why, err)
		}
	}
	return packages, why
}

// requirePackages sees to it that everything is installed.
func (d *demo) requirePackages(ctx context.Context, install bool) error {
	packages, why := missing()
	if why == nil {
		return nil
	}
	command := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, packages...)
	_, err := exec.LookPath(command[0])
	switch {
	case err != nil:
		return fmt.Errorf("%w\nInstall Prometheus, Alertmanager, iproute2 and nftables", why)
	case !install:
		return fmt.Errorf("%w\nInstall them with\n    %s\nor let the demo do it: make demo DEMO=--install\n"+
			"Debian starts Prometheus and Alertmanager as services then; the demo runs its own", why, strings.Join(command, " "))
	}
	d.say("installing: %s", strings.Join(command, " "))
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(cmd.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	_, why = missing()
	return why
}
