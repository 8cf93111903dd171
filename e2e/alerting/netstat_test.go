//go:build e2e

package alerting

import (
	"bytes"
	"context"
	"net"
	"testing"

	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
)

// TestUDPDatagramsDropped sends datagrams to a socket that nobody reads: once its
// buffer is full, the kernel drops them all.
func TestUDPDatagramsDropped(t *testing.T) {
	t.Parallel()
	w, _, s := oneNode(t, "{}")
	datagramsDropped := monitoringtest.Alert{
		Name: "ACKNodeUDPDatagramsDropped", Severity: monitoringtest.Warning, Node: firstNode,
		Description: `Node node-a drops 100% of the UDP datagrams for its own sockets and those of pods with hostNetwork: there is no room for them\.`,
	}
	sender := sendToSilence(t, w)
	datagram := bytes.Repeat([]byte{'x'}, 1000)
	stop := repeat(t, func() error {
		_, err := sender.Write(datagram)
		return err
	})
	s.Fires(datagramsDropped)
	stop()
	s.Resolves(datagramsDropped)
	s.Done()
}

// sendToSilence connects to a socket of the world that has little room and that
// nobody reads.
func sendToSilence(t *testing.T, w *world.World) net.Conn {
	t.Helper()
	var receiver net.PacketConn
	err := w.Net(func() (err error) {
		receiver, err = (&net.ListenConfig{}).ListenPacket(context.WithoutCancel(t.Context()), "udp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = receiver.Close() })
	if err := receiver.(*net.UDPConn).SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	sender, err := w.Dial(t.Context(), "udp", receiver.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sender.Close() })
	return sender
}
