//go:build e2e

package netstat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

const (
	// sent datagrams of this size are far more than fit into the smallest buffer.
	sent         = 500
	datagramSize = 1000
	// nobody is a user without any capability.
	nobody = "65534"
)

// TestReceiveBuffer overflows the receive buffer of a socket, over IPv4 and over
// IPv6. The truth is what the socket did not get, and what /proc says.
func TestReceiveBuffer(t *testing.T) {
	w := world.New(t)
	p := exporter.Start(t, w, exporter.Config{})
	p.AwaitSuccess(t, patience, "netstat")
	lost := map[string]float64{}
	for family, address := range map[string]string{"ipv4": "127.0.0.1:0", "ipv6": "[::1]:0"} {
		before := scrape(t, p)
		received := overflow(t, w, address)
		if received == 0 || received == sent {
			t.Fatalf("%s: the socket got %d of %d datagrams: nothing overflowed, or nothing came", family, received, sent)
		}
		lost[family] = float64(sent - received)
		after := scrape(t, p)
		for key, want := range map[string]float64{
			dropped(family, "receive_buffer"):                                          lost[family],
			exporter.Key("ack_network_udp_receive_errors_total", "family", family):     lost[family],
			exporter.Key("ack_network_udp_received_datagrams_total", "family", family): float64(received),
			dropped(family, "checksum"):                                                0,
			exporter.Key("ack_network_udp_send_buffer_errors_total", "family", family): 0,
		} {
			if got := after[key] - before[key]; got != want {
				t.Errorf("%s grew by %v, not by %v", key, got, want)
			}
		}
	}
	m := scrape(t, p)
	exporter.RequireSame(t, udpMetrics(m), procUDP(t, w))
	for family, n := range lost {
		if m[dropped(family, "receive_buffer")] != n {
			t.Errorf("%s: the counters are of more than this namespace: %v, not %v", family, m[dropped(family, "receive_buffer")], n)
		}
	}
}

// TestSoftnet compares what the CPUs took in with what /proc said before and after.
func TestSoftnet(t *testing.T) {
	w := world.New(t)
	p := exporter.Start(t, w, exporter.Config{})
	p.AwaitSuccess(t, patience, "netstat")
	overflow(t, w, "127.0.0.1:0")
	before := procSoftnet(t, w)
	m := scrape(t, p)
	after := procSoftnet(t, w)
	for column, metric := range []string{
		"ack_network_softnet_processed_packets_total", "ack_network_softnet_dropped_packets_total", "ack_network_softnet_squeezed_total",
	} {
		if got := m.Value(t, metric); got < before[column] || got > after[column] {
			t.Errorf("%s is %v; /proc said %v before and %v after", metric, got, before[column], after[column])
		}
	}
	if before[0] == 0 {
		t.Error("no CPU took in a packet: the counters prove nothing")
	}
}

// TestUnprivileged shows that neither a capability nor the host's network
// namespace is needed, and that it is the host's datagrams that are counted.
func TestUnprivileged(t *testing.T) {
	w := world.New(t)
	p := exporter.Start(t, w, exporter.Config{
		Wrapper:   []string{"unshare", "--net", "setpriv", "--reuid=" + nobody, "--regid=" + nobody, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"},
		FromWorld: true,
	})
	p.AwaitSuccess(t, patience, "netstat")
	lost := float64(sent - overflow(t, w, "127.0.0.1:0"))
	m := scrape(t, p)
	if got := m[dropped("ipv4", "receive_buffer")]; got != lost || lost == 0 {
		t.Errorf("the host's sockets lost %v datagrams; the metric says %v", lost, got)
	}
	if err := m.Expect(0, "ack_exporter_host_network_namespace"); err != nil {
		t.Error(err)
	}
}

func dropped(family, reason string) string {
	return exporter.Key("ack_network_udp_dropped_datagrams_total", "family", family, "reason", reason)
}

func scrape(t *testing.T, p *exporter.Process) exporter.Metrics {
	t.Helper()
	m, err := p.Scrape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// overflow sends datagrams to a socket of the world that nobody reads, and counts
// those that are in it afterwards. Over loopback they are there, or lost, when
// the sender has sent them.
func overflow(t *testing.T, w *world.World, address string) (received int) {
	t.Helper()
	receiver := listen(t, w, address)
	if err := receiver.SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	sender, err := w.Dial(t.Context(), "udp", receiver.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	for range sent {
		if _, err := sender.Write(bytes.Repeat([]byte{'x'}, datagramSize)); err != nil {
			t.Fatal(err)
		}
	}
	return drain(t, receiver)
}

func listen(t *testing.T, w *world.World, address string) *net.UDPConn {
	t.Helper()
	var conn net.PacketConn
	err := w.Net(func() (err error) {
		conn, err = (&net.ListenConfig{}).ListenPacket(context.WithoutCancel(t.Context()), "udp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

// drain reads what is in a socket, and does not wait for more.
func drain(t *testing.T, conn *net.UDPConn) (n int) {
	t.Helper()
	buffer := make([]byte, 2*datagramSize)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(buffer)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return n
		case err != nil:
			t.Fatal(err)
		}
		n++
	}
}

// udpMetrics are the series of UDP.
func udpMetrics(m exporter.Metrics) exporter.Metrics {
	udp := exporter.Metrics{}
	for key, value := range m {
		if strings.HasPrefix(key, "ack_network_udp_") {
			udp[key] = value
		}
	}
	return udp
}

// procUDP is what nstat reads of the same counters.
func procUDP(t *testing.T, w *world.World) exporter.Metrics {
	t.Helper()
	want := exporter.Metrics{}
	lines := strings.Lines(w.Run(t, "nstat", "--noupdate", "--ignore", "--zeros", "Udp*"))
	for line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		name, family := strings.TrimPrefix(fields[0], "Udp"), "ipv4"
		if rest, ok := strings.CutPrefix(name, "6"); ok {
			name, family = rest, "ipv6"
		}
		switch name {
		case "InDatagrams":
			want[exporter.Key("ack_network_udp_received_datagrams_total", "family", family)] = value
		case "InErrors":
			want[exporter.Key("ack_network_udp_receive_errors_total", "family", family)] = value
		case "SndbufErrors":
			want[exporter.Key("ack_network_udp_send_buffer_errors_total", "family", family)] = value
		case "RcvbufErrors":
			want[dropped(family, "receive_buffer")] = value
		case "MemErrors":
			want[dropped(family, "memory")] = value
		case "InCsumErrors":
			want[dropped(family, "checksum")] = value
		}
	}
	return want
}

// procSoftnet sums the first three columns of all CPUs.
func procSoftnet(t *testing.T, w *world.World) (sums [3]float64) {
	t.Helper()
	for line := range strings.Lines(w.Run(t, "cat", "/proc/thread-self/net/softnet_stat")) {
		var columns [3]uint32
		if _, err := fmt.Sscanf(line, "%x %x %x", &columns[0], &columns[1], &columns[2]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for i, value := range columns {
			sums[i] += float64(value)
		}
	}
	return sums
}
