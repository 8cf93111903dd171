//go:build e2e

package alerting

import (
	"errors"
	"testing"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
)

func collectorFailing(collector string) monitoringtest.Alert {
	return monitoringtest.Alert{
		Name: "ACKExporterCollectorFailing", Severity: monitoringtest.Warning, Node: firstNode,
		Labels:      map[string]string{"collector": collector},
		Description: `The collector ` + collector + ` on node node-a has failed for 3s\.`,
	}
}

// An exporter that may not read the connection tracking table says so. Its
// other collectors are not concerned.
func TestCollectorFailing(t *testing.T) {
	t.Parallel()
	w, p, s := oneNode(t, "{}")
	// It does not even try where there is nothing to read.
	open(t, newSender(t, w), 10)
	stop(t, p)
	p = start(t, w, exporter.Config{Wrapper: asNobody, Args: []string{withoutKernelLog}})
	failing := collectorFailing("conntrack_table")
	s.Fires(failing)
	stop(t, p)
	ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
	s.Resolves(failing)
	s.Done()
}

// An exporter in a network namespace of its own has one trouble, not three.
func TestWrongNetworkNamespace(t *testing.T) {
	t.Parallel()
	w, p, s := oneNode(t, "{}")
	// It comes as a target of its own, when it is known what it sees.
	p2 := start(t, w, exporter.Config{Wrapper: inOtherNet, FromWorld: true, Address: secondAddress, Args: []string{withoutKernelLog}})
	p2.Await(t, patience, func(m exporter.Metrics) error {
		return errors.Join(
			m.Expect(1, "ack_exporter_collector_success", "collector", "conntrack"),
			m.Expect(0, "ack_exporter_host_network_namespace"))
	})
	wrong := monitoringtest.Alert{
		Name: "ACKExporterWrongNetworkNamespace", Severity: monitoringtest.Warning, Node: firstNode,
		Description: `The exporter on node node-a runs in a network namespace of its own\.`,
	}
	s.SetExporters(monitoringtest.Target(secondAddress, firstNode, "pod-2"))
	s.Fires(wrong)
	s.AwaitSuppressed(collectorFailing("conntrack_table"), collectorFailing("sysctl"))
	s.RequireSilence()
	s.SetExporters(monitoringtest.Target(firstAddress, firstNode, "pod-1"))
	s.Resolves(wrong)
	s.Done()
	stop(t, p)
}

// An exporter that has died is noticed.
func TestExporterDown(t *testing.T) {
	t.Parallel()
	w, p, s := oneNode(t, "{}")
	down := monitoringtest.Alert{
		Name: "ACKExporterDown", Severity: monitoringtest.Warning, Node: firstNode,
		Description: `Prometheus has had no answer from the exporter on node node-a for 3s\.`,
	}
	p.Kill(t)
	s.Fires(down)
	ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
	s.Resolves(down)
	s.Done()
}

// A node on which no exporter runs is noticed, unless it is none.
func TestExporterMissing(t *testing.T) {
	t.Parallel()
	w := healthyNode(t)
	ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
	ready(t, w, exporter.Config{Address: secondAddress, Args: []string{withoutKernelLog}})
	const virtual = "virtual-kubelet-cn-hangzhou-i"
	nodes := monitoringtest.ServeNodes(t, w, firstNode, virtual)
	first := monitoringtest.Target(firstAddress, firstNode, "pod-1")
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Targets:     []monitoringtest.Endpoint{first},
		ClusterInfo: []monitoringtest.Endpoint{nodes.Target()},
	})
	missing := monitoringtest.Alert{
		Name: "ACKExporterMissing", Severity: monitoringtest.Warning, Node: secondNode,
		Description: `Prometheus knows of no exporter on node node-b\.`,
	}
	nodes.Set(firstNode, secondNode, virtual)
	s.Fires(missing)
	s.SetExporters(first, monitoringtest.Target(secondAddress, secondNode, "pod-2"))
	s.Resolves(missing)
	s.Done()
}
