//go:build e2e

package alerting

import (
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
)

func forwardingOff(node string) monitoringtest.Alert {
	return monitoringtest.Alert{
		Name: "ACKIPForwardingOff", Severity: monitoringtest.Critical, Node: node,
		Description: `net\.ipv4\.ip_forward of node ` + node + ` is not 1\.`,
	}
}

// While an alert fires, the DaemonSet replaces the exporter: for a while there is
// none, and then one in another pod. That is no news.
func TestRollOut(t *testing.T) {
	t.Parallel()
	const gap = 2 * time.Second
	w, p, s := oneNode(t, `{ keepFiringFor: '15s', alerts+: { ACKExporterDown+: { warning+: { 'for': '15s' } } } }`)
	alert := forwardingOff(firstNode)
	w.SetSysctl(t, "net/ipv4/ip_forward", "0")
	s.Fires(alert)

	stop(t, p)
	stopped := time.Now()
	s.SetExporters(monitoringtest.Target(secondAddress, firstNode, "pod-2"))
	s.AwaitQuery(`count(ack_sysctl_compliant{pod="pod-1"}) or vector(0)`, 0)
	world.Eventually(t, patience, func() error { return elapsed(stopped, gap) })
	ready(t, w, exporter.Config{Address: secondAddress, Args: []string{withoutKernelLog}})
	s.AwaitQuery(`max(ack_sysctl_compliant{pod="pod-2", name="net.ipv4.ip_forward"}) + 1`, 1)
	// Longer than Alertmanager holds back a notification.
	s.AwaitQuery(`count_over_time(ack_sysctl_compliant{pod="pod-2", name="net.ipv4.ip_forward"}[1h]) > bool 5`, 1)
	s.AwaitQuery(`count(max_over_time(up{pod="pod-1"}[1h]) unless up{pod="pod-1"})`, 1)
	// It is one and the same alert that fires all the time.
	s.AwaitQuery(`count(count_over_time(ALERTS_FOR_STATE{alertname="ACKIPForwardingOff"}[1h]))`, 1)
	s.AwaitQuery(`changes(ALERTS_FOR_STATE{alertname="ACKIPForwardingOff"}[1h])`, 0)
	s.RequireSilence()

	w.SetSysctl(t, "net/ipv4/ip_forward", "1")
	s.Resolves(alert)
	s.Done()
}

// What concerns two nodes at once is one notification.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	w := healthyNode(t)
	ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
	ready(t, w, exporter.Config{Address: secondAddress, Args: []string{withoutKernelLog}})
	s := monitoringtest.New(t, w, monitoringtest.Options{
		// Prometheus may see the second node some seconds after the first.
		Config: `{ alertmanager+: { groupWait: '5s', groupInterval: '5s' } }`,
		Targets: []monitoringtest.Endpoint{
			monitoringtest.Target(firstAddress, firstNode, "pod-1"),
			monitoringtest.Target(secondAddress, secondNode, "pod-2"),
		},
	})
	w.SetSysctl(t, "net/ipv4/ip_forward", "0")
	sent := s.Fires(forwardingOff(firstNode), forwardingOff(secondNode))
	if len(sent) != 1 {
		t.Errorf("%d notifications instead of one: %v", len(sent), sent)
	}
	w.SetSysctl(t, "net/ipv4/ip_forward", "1")
	s.Resolves(forwardingOff(firstNode), forwardingOff(secondNode))
	s.Done()
}
