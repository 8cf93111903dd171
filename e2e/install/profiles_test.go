//go:build e2e

package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector/dnsprobe"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

// With the flags, the user, the capabilities and the network that a manifest gives
// it, no collector of the node role fails.
func TestProfiles(t *testing.T) {
	world.Require(t, os.Geteuid() == 0, "needs root")
	for manifest, inHostNetwork := range map[string]bool{"node-full.yaml": true, "node-unprivileged.yaml": false} {
		t.Run(manifest, func(t *testing.T) {
			spec := podOf(t, filepath.Join(repository, "deploy/manifests", manifest)).Spec
			p := exporter.Start(t, world.New(t), exporter.Config{
				Wrapper:   confinement(t, spec),
				Args:      argsOutsideContainer(spec.Containers[0].Args, targetsFile(t)),
				FromWorld: true,
			})
			p.AwaitReady(t, time.Minute)
			metrics, err := p.Scrape(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			success := metrics.Family("ack_exporter_collector_success")
			if len(success) < 3 {
				t.Errorf("%d collectors: %v", len(success), success)
			}
			for series, value := range success {
				if value != 1 {
					t.Errorf("%s is %v", series, value)
				}
			}
			// The one question is answered in both, the other where the answer is true.
			metrics.Value(t, "ack_conntrack_entries")
			if got := len(metrics.Family("ack_exporter_host_network_namespace")) == 1; got != inHostNetwork {
				t.Errorf("asked for the host's network: %v, want %v", got, inHostNetwork)
			}
			if got := len(metrics.Family("ack_conntrack_table_entries")) > 0; got != inHostNetwork {
				t.Errorf("classes of the table: %v, want %v", got, inHostNetwork)
			}
		})
	}
}

// confinement is a command that confines the exporter as the pod does.
func confinement(t *testing.T, spec corev1.PodSpec) []string {
	t.Helper()
	security := spec.Containers[0].SecurityContext
	if security.AllowPrivilegeEscalation == nil || *security.AllowPrivilegeEscalation || fmt.Sprint(security.Capabilities.Drop) != "[ALL]" {
		t.Fatalf("not confined: %v", security)
	}
	kept := "-all"
	for _, capability := range security.Capabilities.Add {
		kept += ",+" + strings.ToLower(string(capability))
	}
	user := strconv.FormatInt(*spec.SecurityContext.RunAsUser, 10)
	command := []string{
		"setpriv", "--reuid", user, "--regid", user, "--clear-groups",
		"--bounding-set", kept, "--inh-caps", "-all", "--no-new-privs",
	}
	if !spec.HostNetwork {
		command = append([]string{"unshare", "--net"}, command...)
	}
	return command
}

// targetsFile is what the cluster role writes where there is no DNS server yet.
func targetsFile(t *testing.T) string {
	t.Helper()
	content, err := dnsprobe.FromCluster(nil, nil, nil).Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(world.Scratch(), "targets.json")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// argsOutsideContainer are the flags of the pod for one that sees the host's /proc and
// /sys where they are; the harness says where to listen, and what the host's root is.
func argsOutsideContainer(args []string, targets string) []string {
	var kept []string
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "--web.listen-address", "--path.procfs", "--path.rootfs":
		case "--collector.dnsprobe.targets-file":
			kept = append(kept, name+"="+targets)
		default:
			kept = append(kept, strings.TrimSuffix(name+"="+strings.TrimPrefix(value, "/host"), "="))
		}
	}
	return kept
}
