//go:build e2e

package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/world"
)

// kind is a sort of entry with which fill makes a table.
type kind struct {
	class    class
	perMille int
	protocol byte
	tcpState byte // 1 is SYN_SENT, … as the kernel numbers them
	status   uint32
	port     uint16 // destination
	ipv6     bool
}

// Flags of an entry (include/uapi/linux/netfilter/nf_conntrack_common.h).
const (
	statusSeenReply = 1 << 1
	statusAssured   = 1 << 2
	statusConfirmed = 1 << 3 // without it ctnetlink refuses to make the entry
)

// mix is what a busy node's table looks like. A class holds either more than a
// fifth of the table or less than a twentieth, so that the error of a sample of
// 50,000 that is allowed for the large ones, 3 %, is four standard deviations.
var mix = []kind{
	{class{"tcp", "established"}, 340, unix.IPPROTO_TCP, 3, statusSeenReply | statusAssured, 443, false},
	{class{"tcp", "established"}, 40, unix.IPPROTO_TCP, 3, statusSeenReply | statusAssured, 10250, true},
	{class{"tcp", "time_wait"}, 240, unix.IPPROTO_TCP, 7, statusSeenReply | statusAssured, 80, false},
	{class{"tcp", "syn_sent"}, 30, unix.IPPROTO_TCP, 1, 0, 6379, false},
	{class{"tcp", "syn_recv"}, 10, unix.IPPROTO_TCP, 2, statusSeenReply, 80, false},
	{class{"tcp", "fin_wait"}, 10, unix.IPPROTO_TCP, 4, statusSeenReply | statusAssured, 80, false},
	{class{"tcp", "close_wait"}, 5, unix.IPPROTO_TCP, 5, statusSeenReply | statusAssured, 53, false},
	{class{"tcp", "last_ack"}, 5, unix.IPPROTO_TCP, 6, statusSeenReply | statusAssured, 80, true},
	{class{"tcp", "close"}, 10, unix.IPPROTO_TCP, 8, statusSeenReply, 80, false},
	{class{"udp", "replied"}, 190, unix.IPPROTO_UDP, 0, statusSeenReply, 53, false},
	{class{"udp", "replied"}, 40, unix.IPPROTO_UDP, 0, statusSeenReply, 53, true},
	{class{"udp", "unreplied"}, 30, unix.IPPROTO_UDP, 0, 0, 53, false},
	{class{"udp", "assured"}, 20, unix.IPPROTO_UDP, 0, statusSeenReply | statusAssured, 8472, false},
	{class{"icmp", "replied"}, 15, unix.IPPROTO_ICMP, 0, statusSeenReply, 0, false},
	{class{"icmpv6", "unreplied"}, 5, unix.IPPROTO_ICMPV6, 0, 0, 0, true},
	{class{"sctp", "assured"}, 5, unix.IPPROTO_SCTP, 0, statusSeenReply | statusAssured, 9000, false},
	{class{"other", "replied"}, 5, experimental, 0, statusSeenReply, 0, false},
}

// fill puts n entries into the table of a world by ctnetlink and returns their
// census. They last for longer than any test.
func fill(t testing.TB, w *world.World, n int) census {
	t.Helper()
	var order []kind // entry i is of the kind order[i%1000]
	for _, k := range mix {
		for range k.perMille {
			order = append(order, k)
		}
	}
	if len(order) != 1000 {
		t.Fatalf("the mix adds up to %d per mille", len(order))
	}
	made := newCensus()
	err := w.Net(func() error {
		f, err := newFiller()
		if err != nil {
			return err
		}
		defer f.close()
		for i := range n {
			k := order[i%len(order)]
			if err := f.add(k, uint32(i)); err != nil {
				return err
			}
			made.add(k.class, k.port == 53, 1)
		}
		return f.flush()
	})
	if err != nil {
		t.Fatalf("fill the table: %v", err)
	}
	if got := w.Sysctl(t, "net/netfilter/nf_conntrack_count"); got != strconv.Itoa(n) {
		t.Fatalf("the kernel has %s entries after %d were made", got, n)
	}
	return made
}

// filler sends requests for new entries in large batches.
type filler struct {
	fd    int
	batch []byte
	reply []byte
}

const (
	fillBatch  = 64 << 10
	fillBuffer = 4 << 20
	// maxRequest is more than the largest request for an entry.
	maxRequest = 512
	// Entries beyond this number come from another address.
	portsPerHost = 60000
	// entryLifetime of the entries, in seconds: a day.
	entryLifetime = 86400
)

func newFiller() (*filler, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, fillBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, fillBuffer))
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &filler{fd: fd, batch: make([]byte, 0, fillBatch), reply: make([]byte, 64<<10)}, nil
}

func (f *filler) close() { _ = unix.Close(f.fd) }

// flush sends the batch. The kernel works through it before the call returns,
// and answers only what went wrong.
func (f *filler) flush() error {
	if len(f.batch) == 0 {
		return nil
	}
	if err := unix.Sendto(f.fd, f.batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	f.batch = f.batch[:0]
	n, _, err := unix.Recvfrom(f.fd, f.reply, unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return err
	case n < unix.NLMSG_HDRLEN+4:
		return fmt.Errorf("an answer of %d bytes", n)
	}
	code := int32(binary.NativeEndian.Uint32(f.reply[unix.NLMSG_HDRLEN:]))
	return fmt.Errorf("the kernel refuses an entry: %w", unix.Errno(-code))
}

// Attributes of ctnetlink (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	subsystem = 1 << 8        // NFNL_SUBSYS_CTNETLINK
	newEntry  = subsystem     // IPCTNL_MSG_CT_NEW, which is 0
	getEntry  = subsystem | 1 // IPCTNL_MSG_CT_GET

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaProtoInfo  = 4
	ctaTimeout    = 7

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Source, ctaIPv4Destination = 1, 2
	ctaIPv6Source, ctaIPv6Destination = 3, 4

	ctaProtoNumber            = 1
	ctaProtoSourcePort        = 2
	ctaProtoDestinationPort   = 3
	ctaProtoICMPID            = 4 // type and code follow
	ctaProtoICMPv6ID          = 7
	ctaProtoInfoTCP           = 1
	ctaProtoInfoTCPState      = 1
	ctaProtoInfoTCPFlagsOrig  = 4
	ctaProtoInfoTCPFlagsReply = 5
)

// add asks for entry i, whose addresses and ports no other entry has.
func (f *filler) add(k kind, i uint32) error {
	start := len(f.batch)
	f.batch = binary.NativeEndian.AppendUint32(f.batch, 0) // length: below
	f.batch = binary.NativeEndian.AppendUint16(f.batch, newEntry)
	f.batch = binary.NativeEndian.AppendUint16(f.batch, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	f.batch = append(f.batch, 0, 0, 0, 0, 0, 0, 0, 0) // sequence, port
	host := i / portsPerHost
	if k.protocol == experimental {
		host = i // has no ports to tell entries apart
	}
	client, server := addresses(k.ipv6, host, i%200)
	family := byte(unix.AF_INET)
	if k.ipv6 {
		family = unix.AF_INET6
	}
	f.batch = append(f.batch, family, 0, 0, 0)

	clientPort := uint16(1024 + i%portsPerHost)
	f.tuple(ctaTupleOrig, k, client, server, clientPort, k.port, true)
	f.tuple(ctaTupleReply, k, server, client, k.port, clientPort, false)
	f.attribute(ctaStatus, binary.BigEndian.AppendUint32(nil, k.status|statusConfirmed)...)
	f.attribute(ctaTimeout, binary.BigEndian.AppendUint32(nil, entryLifetime)...)
	if k.protocol == unix.IPPROTO_TCP {
		f.nest(ctaProtoInfo, func() {
			f.nest(ctaProtoInfoTCP, func() {
				f.attribute(ctaProtoInfoTCPState, k.tcpState)
				f.attribute(ctaProtoInfoTCPFlagsOrig, 0, 0)
				f.attribute(ctaProtoInfoTCPFlagsReply, 0, 0)
			})
		})
	}
	binary.NativeEndian.PutUint32(f.batch[start:], uint32(len(f.batch)-start))
	if len(f.batch) > fillBatch-maxRequest {
		return f.flush()
	}
	return nil
}

func addresses(v6 bool, host, service uint32) (client, server []byte) {
	if !v6 {
		return binary.BigEndian.AppendUint32(nil, 10<<24|host), binary.BigEndian.AppendUint32(nil, 172<<24|16<<16|service)
	}
	client, server = make([]byte, 16), make([]byte, 16)
	client[0], server[0], server[1] = 0xfd, 0xfd, 1
	binary.BigEndian.PutUint32(client[12:], host)
	binary.BigEndian.PutUint32(server[12:], service)
	return client, server
}

func (f *filler) tuple(which uint16, k kind, source, destination []byte, sourcePort, destinationPort uint16, original bool) {
	sourceAttribute, destinationAttribute := uint16(ctaIPv4Source), uint16(ctaIPv4Destination)
	if k.ipv6 {
		sourceAttribute, destinationAttribute = ctaIPv6Source, ctaIPv6Destination
	}
	f.nest(which, func() {
		f.nest(ctaTupleIP, func() {
			f.attribute(sourceAttribute, source...)
			f.attribute(destinationAttribute, destination...)
		})
		f.nest(ctaTupleProto, func() {
			f.attribute(ctaProtoNumber, k.protocol)
			switch k.protocol {
			case unix.IPPROTO_ICMP:
				f.echo(ctaProtoICMPID, icmpEchoRequest, icmpEchoReply, max(sourcePort, destinationPort), original)
			case unix.IPPROTO_ICMPV6:
				f.echo(ctaProtoICMPv6ID, icmpv6EchoRequest, icmpv6EchoReply, max(sourcePort, destinationPort), original)
			case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
				f.attribute(ctaProtoSourcePort, binary.BigEndian.AppendUint16(nil, sourcePort)...)
				f.attribute(ctaProtoDestinationPort, binary.BigEndian.AppendUint16(nil, destinationPort)...)
			}
		})
	})
}

// echo writes the part of a tuple that ICMP has in place of ports: identifier,
// type and code, under consecutive attributes.
func (f *filler) echo(first uint16, request, reply byte, id uint16, original bool) {
	kind := reply
	if original {
		kind = request
	}
	f.attribute(first, binary.BigEndian.AppendUint16(nil, id)...)
	f.attribute(first+1, kind)
	f.attribute(first+2, 0)
}

func (f *filler) attribute(kind uint16, payload ...byte) {
	f.batch = binary.NativeEndian.AppendUint16(f.batch, uint16(unix.NLA_HDRLEN+len(payload)))
	f.batch = binary.NativeEndian.AppendUint16(f.batch, kind)
	f.batch = append(f.batch, payload...)
	for len(f.batch)%unix.NLA_ALIGNTO != 0 {
		f.batch = append(f.batch, 0)
	}
}

func (f *filler) nest(kind uint16, content func()) {
	start := len(f.batch)
	f.attribute(kind | unix.NLA_F_NESTED)
	content()
	binary.NativeEndian.PutUint16(f.batch[start:], uint16(len(f.batch)-start))
}
