package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"ack-exporter/collector"
)

// clusterSpec is the collector of that name with these flags.
func clusterSpec(t *testing.T, name string, flags ...string) (collector.Spec, error) {
	t.Helper()
	app := kingpin.New(programName, "")
	cluster := addClusterCommand(app)
	if _, err := app.Parse(append([]string{"cluster"}, flags...)); err != nil {
		t.Fatal(err)
	}
	specs, err := cluster.offlineSpecs(slog.New(slog.DiscardHandler))
	for _, spec := range specs {
		if spec.Name == name {
			return spec, nil
		}
	}
	return collector.Spec{}, err
}

// TestInstancesTime: 5,000 instances take longer than other refreshes may, and what is
// known is shown until the next ones are.
func TestInstancesTime(t *testing.T) {
	t.Parallel()
	spec, err := clusterSpec(t, "instances")
	if err != nil || spec.Timeout != 5*time.Minute || spec.MaxAge < spec.Interval+spec.Timeout {
		t.Errorf("by default: %v, %+v", err, spec)
	}
	if spec, err = clusterSpec(t, "instances", "--collector.instances.interval=2m"); err != nil || spec.Timeout != 2*time.Minute {
		t.Errorf("every 2 minutes: %v, %+v", err, spec)
	}
	if spec, err = clusterSpec(t, "certificate_bundles"); err != nil || spec.Timeout != backgroundTimeout {
		t.Errorf("another one: %v, %+v", err, spec)
	}
	for _, name := range []string{"instances", "instance_conditions"} {
		flag := "--collector." + name + ".interval"
		if _, err := clusterSpec(t, name, flag+"=10ms"); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
		if spec, err := clusterSpec(t, name, "--no-collector."+name); err != nil || spec.Name != "" {
			t.Errorf("switched off: %v, %+v", err, spec)
		}
	}
}
