package dnsprobe

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// reason is why a probe failed, as an error and as the value of a label.
type reason string

const (
	timeout    reason = "timeout"
	refused    reason = "refused"
	servfail   reason = "servfail"
	nxdomain   reason = "nxdomain"
	otherRcode reason = "other_rcode"
	nodata     reason = "nodata"
	truncated  reason = "truncated"
	mismatch   reason = "mismatch"
	malformed  reason = "malformed"
	network    reason = "network"
)

// reasons lists all that there are.
func reasons() []reason {
	return []reason{timeout, refused, servfail, nxdomain, otherRcode, nodata, truncated, mismatch, malformed, network}
}

func (r reason) Error() string { return string(r) }

// reasonOf classifies why a probe failed. What the server did not say itself is
// a timeout, or comes from the network or this machine.
func reasonOf(err error) reason {
	if r, ok := errors.AsType[reason](err); ok {
		return r
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return timeout
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		return timeout
	}
	return network
}

const (
	headerSize = 12
	// maxUDP is more than a server may send: 512 bytes where the client has not
	// offered more, which this one does not.
	maxUDP = 2048
)

// query is one question as it is sent.
type query struct {
	id   uint16
	name string
	// earlier is how many questions went over the same socket before this one, with
	// the IDs just below id. Their answers can still arrive.
	earlier uint16
}

// message is the query in wire format: an A record, without EDNS, as the resolver
// of libc asks by default.
func (q query) message() ([]byte, error) {
	var m dns.Msg
	m.SetQuestion(q.name, dns.TypeA)
	m.Id = q.id
	return m.Pack()
}

// judge says whether b answers q, and if so, what is wrong with the answer. The
// error about one that is not ours says what it is instead; none, where it is
// just late.
func (q query) judge(b []byte) (ours bool, err error) {
	if len(b) < headerSize {
		return false, malformed
	}
	if id := binary.BigEndian.Uint16(b); id != q.id {
		if q.id-id <= q.earlier {
			return false, nil
		}
		return false, mismatch
	}
	var m dns.Msg
	unpackErr := m.Unpack(b)
	switch {
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return false, mismatch
	case unpackErr != nil && !m.Truncated:
		return true, malformed
	case !q.isAskedIn(&m):
		return false, mismatch
	case m.Truncated:
		return true, truncated
	}
	return true, judgeRcode(&m)
}

// isAskedIn reports whether m repeats the question, as an answer must. Servers
// leave it out of some errors.
func (q query) isAskedIn(m *dns.Msg) bool {
	if len(m.Question) == 0 {
		switch m.Rcode {
		case dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused:
			return true
		}
		return false
	}
	asked := m.Question[0]
	return len(m.Question) == 1 && asked.Qtype == dns.TypeA && asked.Qclass == dns.ClassINET &&
		strings.EqualFold(asked.Name, q.name)
}

func judgeRcode(m *dns.Msg) error {
	switch m.Rcode {
	case dns.RcodeSuccess:
		// The name is known to have an address: no answer is a wrong one.
		for _, rr := range m.Answer {
			if rr.Header().Rrtype == dns.TypeA {
				return nil
			}
		}
		return nodata
	case dns.RcodeServerFailure:
		return servfail
	case dns.RcodeNameError:
		return nxdomain
	case dns.RcodeRefused:
		return refused
	default:
		return otherRcode
	}
}
