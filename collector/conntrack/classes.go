package conntrack

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// classes is what one pass over the table found. It has a fixed size and no
// pointers: counting an entry allocates nothing.
type classes struct {
	entries uint64 // visited
	cells   [numProtocols][numStates]uint64
	dnsUDP  uint64 // original destination port 53
	dnsTCP  uint64
	// malformed entries could not be understood; they are in entries only.
	malformed uint64
}

type protocol int

const (
	tcp protocol = iota
	udp
	icmp
	icmpv6
	sctp
	gre
	otherProtocol
	numProtocols
)

var protocolNames = [numProtocols]string{"tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "other"}

type tableState int

// The first states are those of TCP, numbered as the kernel numbers them
// (include/uapi/linux/netfilter/nf_conntrack_tcp.h); the others are made from
// the status of the entry.
const (
	tcpNone tableState = iota
	tcpSynSent
	tcpSynRecv
	tcpEstablished
	tcpFinWait
	tcpCloseWait
	tcpLastAck
	tcpTimeWait
	tcpClose
	tcpSynSent2
	unreplied
	replied
	assured
	offload
	numStates
)

var stateNames = [numStates]string{
	"none", "syn_sent", "syn_recv", "established", "fin_wait", "close_wait",
	"last_ack", "time_wait", "close", "syn_sent2",
	"unreplied", "replied", "assured", "offload",
}

// applies tells which states an entry of this protocol can be in, so that all
// of them can be shown, with zero where there is none.
func (s tableState) applies(p protocol) bool {
	if p == tcp {
		return s <= tcpSynSent2 || s == offload
	}
	return s > tcpSynSent2
}

// Attributes and flags of a ctnetlink message
// (include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h).
const (
	ctaTupleOrig = 1
	ctaStatus    = 3
	ctaProtoInfo = 4

	ctaTupleProto   = 2
	ctaProtoNum     = 1
	ctaProtoDstPort = 3

	ctaProtoInfoTCP      = 1
	ctaProtoInfoTCPState = 1

	statusSeenReply  = 1 << 1
	statusAssured    = 1 << 2
	statusOffload    = 1 << 14
	statusHWOffload  = 1 << 15
	nlaTypeMask      = 0x3fff // without the flags for nested and for byte order
	nlaHeader        = 4
	portDNS          = 53
	noState          = 0xff
	netfilterHeader  = 4  // struct nfgenmsg
	netlinkHeader    = 16 // struct nlmsghdr
	netlinkAlignment = 4
)

// entry is what is read of one connection.
type entry struct {
	proto   uint8
	dstPort uint16
	status  uint32
	// tcpState is noState where the kernel sent none, as for offloaded flows.
	tcpState uint8
}

// add counts one message of the dump: b begins with the netfilter header.
func (c *classes) add(b []byte) {
	c.entries++
	if len(b) < netfilterHeader {
		c.malformed++
		return
	}
	e, ok := parseEntry(b[netfilterHeader:])
	if !ok {
		c.malformed++
		return
	}
	p := e.protocol()
	c.cells[p][e.state(p)]++
	if e.dstPort != portDNS {
		return
	}
	switch p {
	case udp:
		c.dnsUDP++
	case tcp:
		c.dnsTCP++
	}
}

func (e entry) protocol() protocol {
	switch e.proto {
	case unix.IPPROTO_TCP:
		return tcp
	case unix.IPPROTO_UDP:
		return udp
	case unix.IPPROTO_ICMP:
		return icmp
	case unix.IPPROTO_ICMPV6:
		return icmpv6
	case unix.IPPROTO_SCTP:
		return sctp
	case unix.IPPROTO_GRE:
		return gre
	}
	return otherProtocol
}

func (e entry) state(p protocol) tableState {
	switch {
	case e.status&(statusOffload|statusHWOffload) != 0:
		return offload
	case p == tcp && int(e.tcpState) <= int(tcpSynSent2):
		return tableState(e.tcpState)
	case p == tcp:
		return tcpNone
	case e.status&statusSeenReply == 0:
		return unreplied
	case e.status&statusAssured == 0:
		return replied
	}
	return assured
}

// attribute splits the first netlink attribute off b. It is not ok where b
// holds no whole attribute.
func attribute(b []byte) (kind uint16, payload, rest []byte, ok bool) {
	if len(b) < nlaHeader {
		return 0, nil, nil, false
	}
	length := int(binary.NativeEndian.Uint16(b))
	if length < nlaHeader || length > len(b) {
		return 0, nil, nil, false
	}
	kind = binary.NativeEndian.Uint16(b[2:]) & nlaTypeMask
	return kind, b[nlaHeader:length], b[min(align(length), len(b)):], true
}

func align(n int) int { return (n + netlinkAlignment - 1) &^ (netlinkAlignment - 1) }

// parseEntry reads the attributes of one connection, and no further than it
// must. It is not ok where they are damaged or lack the protocol or the status.
func parseEntry(b []byte) (entry, bool) {
	e := entry{tcpState: noState}
	var hasTuple, hasStatus bool
	for len(b) > 0 {
		kind, payload, rest, ok := attribute(b)
		if !ok {
			return e, false
		}
		b = rest
		switch kind {
		case ctaTupleOrig:
			e.proto, e.dstPort, hasTuple = parseTuple(payload)
		case ctaStatus:
			if len(payload) < 4 {
				return e, false
			}
			e.status, hasStatus = binary.BigEndian.Uint32(payload), true
		case ctaProtoInfo:
			e.tcpState = parseTCPState(payload)
		}
		if hasTuple && hasStatus && (e.proto != unix.IPPROTO_TCP || e.tcpState != noState) {
			return e, true
		}
	}
	return e, hasTuple && hasStatus
}

// parseTuple reads the protocol and the destination port, 0 for protocols that
// have none, from the attributes of a tuple.
func parseTuple(b []byte) (proto uint8, dstPort uint16, ok bool) {
	private, found := nested(b, ctaTupleProto)
	if !found {
		return 0, 0, false
	}
	for len(private) > 0 {
		kind, payload, rest, whole := attribute(private)
		if !whole {
			return 0, 0, false
		}
		private = rest
		switch {
		case kind == ctaProtoNum && len(payload) >= 1:
			proto, ok = payload[0], true
		case kind == ctaProtoDstPort && len(payload) >= 2:
			dstPort = binary.BigEndian.Uint16(payload)
		}
	}
	return proto, dstPort, ok
}

// parseTCPState reads the state from the attributes of a protocol's private
// information; noState where they are those of another protocol.
func parseTCPState(b []byte) uint8 {
	info, ok := nested(b, ctaProtoInfoTCP)
	if !ok {
		return noState
	}
	state, ok := nested(info, ctaProtoInfoTCPState)
	if !ok || len(state) < 1 {
		return noState
	}
	return state[0]
}

// nested finds the payload of the first attribute of this kind.
func nested(b []byte, want uint16) ([]byte, bool) {
	for len(b) > 0 {
		kind, payload, rest, ok := attribute(b)
		if !ok {
			return nil, false
		}
		if kind == want {
			return payload, true
		}
		b = rest
	}
	return nil, false
}
