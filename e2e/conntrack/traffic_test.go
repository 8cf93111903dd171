//go:build e2e

package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/world"
)

// traffic makes real flows in a world and keeps book of what the kernel must
// have in its table afterwards.
type traffic struct {
	t    *testing.T
	w    *world.World
	made census

	streams []net.Conn
}

func newTraffic(t *testing.T, w *world.World) *traffic {
	return &traffic{t: t, w: w, made: newCensus()}
}

// ip is one of the two versions of IP, with the addresses that flows use.
type ip struct {
	version  string // suffix of a network such as tcp4
	loopback string
	silent   string
}

var (
	ipv4 = ip{"4", "127.0.0.1", silentIPv4}
	ipv6 = ip{"6", "::1", silentIPv6}
)

// do runs f in the network of the world.
func (tr *traffic) do(f func() error) {
	tr.t.Helper()
	if err := tr.w.Net(f); err != nil {
		tr.t.Fatal(err)
	}
}

// closeLater keeps something open until the test ends.
func (tr *traffic) closeLater(c io.Closer) {
	tr.t.Cleanup(func() { _ = c.Close() })
}

// listen starts a TCP server that answers the end of the client's stream with
// the end of its own where polite, and never where not.
func (tr *traffic) listen(v ip, port string, polite bool) string {
	tr.t.Helper()
	var l net.Listener
	tr.do(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(tr.t.Context(), "tcp"+v.version, net.JoinHostPort(v.loopback, port))
		return err
	})
	tr.closeLater(l)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tr.closeLater(conn)
			if polite {
				go func() {
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}()
			}
		}
	}()
	return l.Addr().String()
}

func (tr *traffic) dial(network, address string) net.Conn {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := world.Dialer(tr.w.PID())(ctx, network, address)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.closeLater(conn)
	return conn
}

// tcp opens n connections and leaves each in a state by what end does to it.
func (tr *traffic) tcp(v ip, address, state string, n int, end func(*net.TCPConn) error) {
	tr.t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		tr.t.Fatal(err)
	}
	for range n {
		conn, ok := tr.dial("tcp"+v.version, address).(*net.TCPConn)
		if !ok {
			tr.t.Fatal("no TCP connection")
		}
		if err := end(conn); err != nil {
			tr.t.Fatalf("%s: %v", state, err)
		}
	}
	tr.made.add(class{"tcp", state}, port == "53", n)
}

func leaveOpen(*net.TCPConn) error   { return nil }
func closeConn(c *net.TCPConn) error { return c.Close() }
func halfClose(c *net.TCPConn) error { return c.CloseWrite() }
func resetConn(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }

// halfOpen sends the first packet of n connections and waits for none of them.
func (tr *traffic) halfOpen(host, port, state string, n int) {
	tr.t.Helper()
	sockaddr, domain := socketAddress(tr.t, host, port)
	for range n {
		tr.do(func() error {
			fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			tr.closeLater(descriptor(fd))
			if err := unix.Connect(fd, sockaddr); !errors.Is(err, unix.EINPROGRESS) {
				return fmt.Errorf("connect to %s: %w", host, err)
			}
			return nil
		})
	}
	tr.made.add(class{"tcp", state}, port == "53", n)
}

type descriptor int

func (d descriptor) Close() error { return unix.Close(int(d)) }

func socketAddress(t *testing.T, host, port string) (address unix.Sockaddr, domain int) {
	t.Helper()
	addrPort, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	if addrPort.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addrPort.Port()), Addr: addrPort.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(addrPort.Port()), Addr: addrPort.Addr().As16()}, unix.AF_INET6
}

// echoUDP starts a UDP server that sends every datagram back.
func (tr *traffic) echoUDP(v ip, port string) {
	tr.t.Helper()
	var server net.PacketConn
	tr.do(func() (err error) {
		server, err = (&net.ListenConfig{}).ListenPacket(tr.t.Context(), "udp"+v.version, net.JoinHostPort(v.loopback, port))
		return err
	})
	tr.closeLater(server)
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(buf[:n], from)
		}
	}()
}

// udpUnanswered sends one datagram of n flows to an address that is silent.
func (tr *traffic) udpUnanswered(v ip, port string, n int) {
	tr.t.Helper()
	for range n {
		if _, err := tr.dial("udp"+v.version, net.JoinHostPort(v.silent, port)).Write([]byte("?")); err != nil {
			tr.t.Fatal(err)
		}
	}
	tr.made.add(class{"udp", "unreplied"}, port == "53", n)
}

// udpAnswered sends one datagram of n flows to an echo server and takes the answer.
func (tr *traffic) udpAnswered(v ip, port string, n int) {
	tr.t.Helper()
	for range n {
		if err := exchange(tr.dial("udp"+v.version, net.JoinHostPort(v.loopback, port))); err != nil {
			tr.t.Fatal(err)
		}
	}
	tr.made.add(class{"udp", "replied"}, port == "53", n)
}

// udpStreams opens n flows to an echo server that settle makes streams.
func (tr *traffic) udpStreams(v ip, port string, n int) {
	tr.t.Helper()
	for range n {
		tr.streams = append(tr.streams, tr.dial("udp"+v.version, net.JoinHostPort(v.loopback, port)))
	}
	tr.made.add(class{"udp", "assured"}, port == "53", n)
}

func exchange(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

// raw sends each packet, which begins after the IP header, to an address. What
// comes back is for the kernel only.
func (tr *traffic) raw(network, to string, packets ...[]byte) {
	tr.t.Helper()
	var conn net.PacketConn
	tr.do(func() (err error) {
		conn, err = (&net.ListenConfig{}).ListenPacket(tr.t.Context(), network, "")
		return err
	})
	defer func() { _ = conn.Close() }()
	for _, packet := range packets {
		if _, err := conn.WriteTo(packet, &net.IPAddr{IP: net.ParseIP(to)}); err != nil {
			tr.t.Fatalf("%s to %s: %v", network, to, err)
		}
	}
}

const (
	icmpEchoReply     = 0
	icmpEchoRequest   = 8
	icmpv6EchoRequest = 128
	icmpv6EchoReply   = 129

	experimental = 253 // a protocol that is none: RFC 3692
)

// echoes makes n ICMP echo messages, each with an identifier, and so a flow, of its own.
func echoes(kind byte, firstID, n int) [][]byte {
	packets := make([][]byte, n)
	for i := range packets {
		p := []byte{kind, 0, 0, 0}
		p = binary.BigEndian.AppendUint16(p, uint16(firstID+i))
		p = binary.BigEndian.AppendUint16(p, 1) // sequence
		// Of ICMPv6 the kernel makes the checksum itself, since it covers addresses.
		binary.BigEndian.PutUint16(p[2:], internetChecksum(p))
		packets[i] = p
	}
	return packets
}

// internetChecksum is that of RFC 1071, for an even number of bytes.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (tr *traffic) icmp(n int) {
	tr.raw("ip4:icmp", ipv4.loopback, echoes(icmpEchoRequest, 100, n)...)
	tr.made.add(class{"icmp", "replied"}, false, n)
	tr.raw("ip4:icmp", ipv4.silent, echoes(icmpEchoRequest, 200, n+1)...)
	tr.made.add(class{"icmp", "unreplied"}, false, n+1)
	tr.raw("ip6:ipv6-icmp", ipv6.loopback, echoes(icmpv6EchoRequest, 100, n+2)...)
	tr.made.add(class{"icmpv6", "replied"}, false, n+2)
	tr.raw("ip6:ipv6-icmp", ipv6.silent, echoes(icmpv6EchoRequest, 200, n+3)...)
	tr.made.add(class{"icmpv6", "unreplied"}, false, n+3)
}

// otherProtocols sends packets that belong to no flow of TCP, UDP or ICMP.
func (tr *traffic) otherProtocols() {
	tr.raw("ip4:gre", ipv4.silent, []byte{0, 0, 8, 0})
	tr.made.add(class{"gre", "unreplied"}, false, 1)
	tr.raw("ip4:132", ipv4.silent, sctpInit(1000, 80), sctpInit(1001, 80))
	tr.made.add(class{"sctp", "unreplied"}, false, 2)
	tr.raw(fmt.Sprint("ip4:", experimental), ipv4.silent, []byte{1, 2, 3, 4})
	tr.raw(fmt.Sprint("ip6:", experimental), ipv6.silent, []byte{1, 2, 3, 4})
	tr.made.add(class{"other", "unreplied"}, false, 2)
}

// sctpInit is the packet by which an SCTP association begins (RFC 9260).
func sctpInit(source, destination uint16) []byte {
	var p []byte
	p = binary.BigEndian.AppendUint16(p, source)
	p = binary.BigEndian.AppendUint16(p, destination)
	p = append(p, 0, 0, 0, 0)                   // verification tag: none yet
	p = append(p, 0, 0, 0, 0)                   // checksum
	p = append(p, 1, 0, 0, 20)                  // chunk INIT of 20 bytes
	p = binary.BigEndian.AppendUint32(p, 7)     // initiate tag
	p = binary.BigEndian.AppendUint32(p, 65536) // receive window
	p = append(p, 0, 1, 0, 1)                   // streams out and in
	p = binary.BigEndian.AppendUint32(p, 1)     // initial TSN
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(p[8:], sum)
	return p
}

// invalid sends n answers to questions that nobody asked: the kernel counts
// them as invalid and makes no entry.
func (tr *traffic) invalid(n int) {
	tr.raw("ip4:icmp", ipv4.silent, echoes(icmpEchoReply, 300, n)...)
}

// settle waits until the kernel's table is what was made. The kernel takes a UDP
// flow for a stream when packets have gone both ways for more than two seconds,
// so they are kept busy.
func (tr *traffic) settle() {
	tr.t.Helper()
	world.Eventually(tr.t, patience, func() error {
		for _, conn := range tr.streams {
			if err := exchange(conn); err != nil {
				return err
			}
		}
		if got := listTable(tr.t, tr.w); !got.equal(tr.made) {
			return fmt.Errorf("the kernel's table is not what the traffic should have made:\n got %s\nwant %s", got, tr.made)
		}
		return nil
	})
}
