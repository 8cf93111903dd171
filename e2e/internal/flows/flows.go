//go:build e2e

// Package flows fills the connection tracking table of a sandbox with real
// traffic: single datagrams to ever new addresses, each of which is a new flow.
package flows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/sandbox"
)

// ruleset makes the kernel track UDP: it only tracks where a rule asks for the
// state. Everything else, such as scrapes, is left alone. The datagrams are
// dropped on arrival and answered by nobody.
const ruleset = `
table inet flows {
	chain output {
		type filter hook output priority raw;
		meta l4proto != udp notrack
	}
	chain prerouting {
		type filter hook prerouting priority raw;
		meta l4proto != udp notrack
	}
	chain input {
		type filter hook input priority filter;
		ct state invalid drop
		ip daddr 127.77.0.0/16 drop
	}
}
`

// timeout of the flows in seconds: longer than anyone looks at them.
const timeout = "3600"

// Class is how the exporter calls them.
const Class = "udp unreplied"

// Sender opens flows.
type Sender struct {
	sandbox *sandbox.Sandbox
	conn    net.PacketConn
	// Sent is how many flows were tried, Refused how many the kernel refused
	// because it could not track them.
	Sent, Refused int
}

// NewSender makes the kernel track flows in a sandbox.
func NewSender(ctx context.Context, s *sandbox.Sandbox) (*Sender, error) {
	if _, err := s.Output(ctx, ruleset, "nft", "-f", "-"); err != nil {
		return nil, err
	}
	if err := s.SetSysctl("net/netfilter/nf_conntrack_udp_timeout", timeout); err != nil {
		return nil, err
	}
	f := &Sender{sandbox: s}
	err := s.Net(func() (err error) {
		f.conn, err = (&net.ListenConfig{}).ListenPacket(ctx, "udp4", "127.0.0.1:0")
		return err
	})
	return f, err
}

// Close ends it. The flows stay in the table.
func (f *Sender) Close() error { return f.conn.Close() }

// Open opens n flows.
func (f *Sender) Open(n int) error {
	for range n {
		f.Sent++
		to := &net.UDPAddr{IP: net.IPv4(127, 77, byte(f.Sent>>8), byte(f.Sent)), Port: 1000 + f.Sent>>16}
		_, err := f.conn.WriteTo([]byte("?"), to)
		switch {
		case errors.Is(err, unix.EPERM):
			f.Refused++
		case err != nil:
			return err
		}
	}
	return nil
}

// Flush empties the table by the request that `conntrack -F` makes: to delete,
// without saying what (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
func (f *Sender) Flush() error {
	return f.sandbox.Net(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const deleteEntries = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
		request := binary.NativeEndian.AppendUint32(nil, 20)
		request = binary.NativeEndian.AppendUint16(request, deleteEntries)
		request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
		request = append(request, make([]byte, 12)...) // sequence, port, all families
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		return acknowledged(fd)
	})
}

// acknowledged reads the answer to a request.
func acknowledged(fd int) error {
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < unix.NLMSG_HDRLEN+4 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); code != 0 {
		return fmt.Errorf("empty the table: %w", unix.Errno(-code))
	}
	return nil
}
