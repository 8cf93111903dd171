//go:build e2e

package conntrack

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/exporter"
)

// The programs that run the exporter with less than root has.
var (
	asNobody         = []string{"setpriv", "--reuid", nobody, "--regid", nobody, "--clear-groups"}
	asNobodyNetAdmin = append(slices.Clone(asNobody), "--inh-caps", "+net_admin", "--ambient-caps", "+net_admin")
	asBareRoot       = []string{"setpriv", "--bounding-set", "-all"}
	asRootNetAdmin   = []string{"setpriv", "--bounding-set", "-all,+net_admin"}
	asRootLessAdmin  = []string{"setpriv", "--bounding-set", "-net_admin"}
	// inOtherNet runs the exporter in a network namespace that is not that of
	// process 1, as a pod without hostNetwork does.
	inOtherNet = []string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}
)

// passFamilies come from the pass over the table only.
var passFamilies = []string{
	"ack_conntrack_table_entries", "ack_conntrack_dns_entries",
	"ack_conntrack_table_complete", "ack_conntrack_table_visited_entries",
}

const smallTable = 2000

// TestForeignNamespace runs the exporter outside the network namespace of the
// host: it still tells the host's usage, and does not touch the table.
func TestForeignNamespace(t *testing.T) {
	for name, wrapper := range map[string][]string{
		"root":   inOtherNet,
		"nobody": append(slices.Clone(inOtherNet), asNobody...),
	} {
		t.Run(name, func(t *testing.T) {
			w := trackingWorld(t)
			fill(t, w, smallTable)
			newTraffic(t, w).invalid(7)
			p := exporter.Start(t, w, exporter.Config{Wrapper: wrapper, Args: tableFlags("2s", "0")})
			m := p.Await(t, patience, func(m exporter.Metrics) error {
				return errors.Join(
					m.Expect(1, "ack_exporter_collector_success", "collector", "conntrack"),
					refused(m, "unavailable"))
			})
			if err := m.Expect(0, "ack_exporter_host_network_namespace"); err != nil {
				t.Error(err)
			}
			requireUsage(t, m, usage(t, w), counters(t, w))
			requireNone(t, m, passFamilies...)
			// The timeouts that the exporter could read are those of its own namespace.
			requireNone(t, m, "ack_conntrack_timeout_seconds")
		})
	}
}

// TestWithoutCapability runs the exporter in the host's network namespace, but
// without the right to read the table.
func TestWithoutCapability(t *testing.T) {
	w := trackingWorld(t)
	fill(t, w, smallTable)
	newTraffic(t, w).invalid(7)
	for name, wrapper := range map[string][]string{
		"nobody":                 asNobody,
		"root without any":       asBareRoot,
		"root without NET_ADMIN": asRootLessAdmin,
	} {
		t.Run(name, func(t *testing.T) {
			p := exporter.Start(t, w, exporter.Config{Wrapper: wrapper, Args: tableFlags("2s", "0")})
			m := p.Await(t, patience, func(m exporter.Metrics) error {
				return errors.Join(
					m.Expect(1, "ack_exporter_collector_success", "collector", "conntrack"),
					refused(m, "permission"))
			})
			if err := m.Expect(1, "ack_exporter_host_network_namespace"); err != nil {
				t.Error(err)
			}
			requireUsage(t, m, usage(t, w), counters(t, w))
			requireTimeouts(t, w, m)
			requireNone(t, m, passFamilies...)
		})
	}
}

// TestOneCapability shows that CAP_NET_ADMIN is all that the table needs.
func TestOneCapability(t *testing.T) {
	w := trackingWorld(t)
	made := fill(t, w, smallTable)
	for name, wrapper := range map[string][]string{
		"nobody": asNobodyNetAdmin,
		"root":   asRootNetAdmin,
	} {
		t.Run(name, func(t *testing.T) {
			p := exporter.Start(t, w, exporter.Config{Wrapper: wrapper, Args: tableFlags("2s", "0")})
			m := p.AwaitSuccess(t, patience, "conntrack_table")
			exporter.RequireSame(t, tableMetrics(m), made.metrics())
		})
	}
}

// requireUsage compares what needs no privilege, and must not be all zero.
func requireUsage(t *testing.T, m, wantUsage, wantCounters exporter.Metrics) {
	t.Helper()
	if wantUsage["ack_conntrack_entries"] != smallTable || wantCounters["ack_conntrack_invalid_total"] == 0 {
		t.Errorf("the table has %v entries and %v invalid packets: not what was made",
			wantUsage["ack_conntrack_entries"], wantCounters["ack_conntrack_invalid_total"])
	}
	exporter.RequireSame(t, usageMetrics(m), wantUsage)
	exporter.RequireSame(t, counterMetrics(m), wantCounters)
}

// refused is nil where the pass over the table has failed for this reason, and
// for no other.
func refused(m exporter.Metrics, reason string) error {
	errs := []error{
		m.Expect(0, "ack_exporter_collector_success", "collector", "conntrack_table"),
		m.Expect(1, "ack_exporter_collector_applicable", "collector", "conntrack_table"),
		m.Expect(0, "ack_exporter_collector_last_success_timestamp_seconds", "collector", "conntrack_table"),
	}
	for key, n := range m.Family("ack_exporter_collector_errors_total") {
		if !strings.Contains(key, `collector="conntrack_table"`) {
			continue
		}
		if expected := strings.Contains(key, `reason="`+reason+`"`); expected != (n > 0) {
			errs = append(errs, fmt.Errorf("%s is %v", key, n))
		}
	}
	return errors.Join(errs...)
}
