//go:build e2e

package alerting

import (
	"strings"
	"testing"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
)

// parameter is a kernel parameter that somebody has changed.
type parameter struct {
	name, value string
	alert       string
	severity    string
	description string
}

// TestParameters changes one kernel parameter after the other.
func TestParameters(t *testing.T) {
	t.Parallel()
	for group, parameters := range map[string][]parameter{
		"Forwarding": {
			{
				"net/ipv4/ip_forward", "0", "ACKIPForwardingOff", monitoringtest.Critical,
				`net\.ipv4\.ip_forward of node node-a is not 1\.`,
			}, {
				"net/ipv4/conf/eth0/rp_filter", "1", "ACKReversePathFilterOn", monitoringtest.Warning,
				`On node node-a these are not 0: net\.ipv4\.conf\.eth0\.rp_filter\.`,
			}, {
				// The kernel takes the larger of both for eth0.
				"net/ipv4/conf/all/rp_filter", "2", "ACKReversePathFilterOn", monitoringtest.Warning,
				`On node node-a these are not 0:( net\.ipv4\.conf\.(all|eth0)\.rp_filter){2}\.`,
			},
		},
		"Ports": {
			{
				"net/ipv4/ip_local_port_range", "1024 65000", "ACKLocalPortRangeUnsupported", monitoringtest.Warning,
				`net\.ipv4\.ip_local_port_range of node node-a is not "32768 60999", or shares ports with the NodePorts of the cluster\.`,
			}, {
				"net/ipv4/tcp_tw_reuse", "1", "ACKTCPTimeWaitReuseOn", monitoringtest.Warning,
				`net\.ipv4\.tcp_tw_reuse of node node-a is 1\.`,
			},
		},
	} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			w := healthyNode(t)
			addInterface(t, w)
			ready(t, w, exporter.Config{Args: []string{withoutKernelLog}})
			s := monitoringtest.New(t, w, monitoringtest.Options{
				Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
			})
			for _, p := range parameters {
				alert := monitoringtest.Alert{Name: p.alert, Severity: p.severity, Node: firstNode, Description: p.description}
				before := strings.Join(strings.Fields(w.Sysctl(t, p.name)), " ")
				w.SetSysctl(t, p.name, p.value)
				s.Fires(alert)
				w.SetSysctl(t, p.name, before)
				s.Resolves(alert)
			}
			s.Done()
		})
	}
}

// addInterface gives a world an eth0.
func addInterface(t *testing.T, w *world.World) {
	t.Helper()
	w.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
}
