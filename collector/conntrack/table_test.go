package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

// nla is one netlink attribute.
func nla(kind uint16, payload ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(nlaHeader+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, payload...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

// nest is an attribute that holds others.
func nest(kind uint16, attributes ...[]byte) []byte {
	var payload []byte
	for _, a := range attributes {
		payload = append(payload, a...)
	}
	return nla(kind|unix.NLA_F_NESTED, payload...)
}

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// flow is an entry as the kernel sends it, in the order in which it does.
type flow struct {
	proto    uint8
	dstPort  uint16
	status   uint32
	tcpState int // below 0: no protocol information
}

func (f flow) tuple(kind uint16, src, dst uint16) []byte {
	ip := nest(1, nla(1, 10, 0, 0, 1), nla(2, 10, 0, 0, 2))
	ports := [][]byte{nla(ctaProtoNum, f.proto), nla(2, be16(src)...), nla(ctaProtoDstPort, be16(dst)...)}
	return nest(kind, ip, nest(ctaTupleProto, ports...))
}

func (f flow) attributes() []byte {
	b := f.tuple(ctaTupleOrig, 40000, f.dstPort)
	b = append(b, f.tuple(2, f.dstPort, 40000)...)
	b = append(b, nla(ctaStatus, be32(f.status)...)...)
	b = append(b, nla(7, be32(100)...)...)
	if f.tcpState >= 0 {
		b = append(b, nest(ctaProtoInfo, nest(ctaProtoInfoTCP, nla(ctaProtoInfoTCPState, uint8(f.tcpState)), nla(2, 7)))...)
	}
	return b
}

// message wraps a payload in a netlink header.
func message(kind, flags uint16, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(netlinkHeader+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = append(b, 1, 0, 0, 0, 0, 0, 0, 0)
	return append(b, payload...)
}

func (f flow) message() []byte {
	return message(subsystemConntrack<<8|messageNew, unix.NLM_F_MULTI, append([]byte{unix.AF_INET, 0, 0, 0}, f.attributes()...))
}

const (
	confirmed = 1 << 3
	answered  = confirmed | statusSeenReply
	settled   = answered | statusAssured
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		flow     flow
		protocol protocol
		state    tableState
	}{
		{"tcp established", flow{unix.IPPROTO_TCP, 443, settled, 3}, tcp, tcpEstablished},
		{"tcp time_wait", flow{unix.IPPROTO_TCP, 443, settled, 7}, tcp, tcpTimeWait},
		{"tcp syn_sent2 is the last state", flow{unix.IPPROTO_TCP, 443, confirmed, 9}, tcp, tcpSynSent2},
		{"tcp state of a later kernel", flow{unix.IPPROTO_TCP, 443, confirmed, 10}, tcp, tcpNone},
		{"tcp without information", flow{unix.IPPROTO_TCP, 443, settled, -1}, tcp, tcpNone},
		{"tcp offloaded", flow{unix.IPPROTO_TCP, 443, settled | statusOffload, -1}, tcp, offload},
		{"tcp offloaded to hardware", flow{unix.IPPROTO_TCP, 443, settled | statusHWOffload, 3}, tcp, offload},
		{"udp unreplied", flow{unix.IPPROTO_UDP, 53, confirmed, -1}, udp, unreplied},
		{"udp replied", flow{unix.IPPROTO_UDP, 53, answered, -1}, udp, replied},
		{"udp assured", flow{unix.IPPROTO_UDP, 4789, settled, -1}, udp, assured},
		{"udp offloaded", flow{unix.IPPROTO_UDP, 4789, settled | statusOffload, -1}, udp, offload},
		{"icmp", flow{unix.IPPROTO_ICMP, 0, answered, -1}, icmp, replied},
		{"icmpv6", flow{unix.IPPROTO_ICMPV6, 0, confirmed, -1}, icmpv6, unreplied},
		{"sctp", flow{unix.IPPROTO_SCTP, 80, settled, -1}, sctp, assured},
		{"gre", flow{unix.IPPROTO_GRE, 0, confirmed, -1}, gre, unreplied},
		{"ospf", flow{89, 0, confirmed, -1}, otherProtocol, unreplied},
	} {
		var got, want classes
		got.add(append([]byte{unix.AF_INET, 0, 0, 0}, c.flow.attributes()...))
		want.entries = 1
		want.cells[c.protocol][c.state] = 1
		if c.protocol == udp && c.flow.dstPort == 53 {
			want.dnsUDP = 1
		}
		if got != want {
			t.Errorf("%s: got %+v", c.name, got)
		}
		if !c.state.applies(c.protocol) {
			t.Errorf("%s: the state is not among those that are shown", c.name)
		}
	}
}

func TestDNSIsTheOriginalDestinationPort(t *testing.T) {
	t.Parallel()
	var c classes
	for _, f := range []flow{
		{unix.IPPROTO_UDP, 53, answered, -1},
		{unix.IPPROTO_TCP, 53, settled, 7},
		{unix.IPPROTO_TCP, 53, settled, 3},
		{unix.IPPROTO_UDP, 5353, answered, -1},
		{unix.IPPROTO_SCTP, 53, answered, -1},
	} {
		c.add(append([]byte{unix.AF_INET6, 0, 0, 0}, f.attributes()...))
	}
	// An answer comes from port 53: that is no query.
	reply := flow{unix.IPPROTO_UDP, 40000, answered, -1}
	c.add(append([]byte{unix.AF_INET, 0, 0, 0}, reply.tuple(ctaTupleOrig, 53, 40000)...))
	if c.dnsUDP != 1 || c.dnsTCP != 2 {
		t.Errorf("udp %d, tcp %d", c.dnsUDP, c.dnsTCP)
	}
}

func TestMalformedEntriesAreCounted(t *testing.T) {
	t.Parallel()
	whole := flow{unix.IPPROTO_TCP, 443, settled, 3}.attributes()
	tooLong := append([]byte{}, whole...)
	binary.NativeEndian.PutUint16(tooLong, uint16(len(tooLong)+1))
	tooShort := append([]byte{}, whole...)
	binary.NativeEndian.PutUint16(tooShort, 3)
	for name, attributes := range map[string][]byte{
		"nothing":           {},
		"length too long":   tooLong,
		"length too short":  tooShort,
		"no tuple":          nla(ctaStatus, be32(settled)...),
		"no status":         flow{unix.IPPROTO_UDP, 53, settled, -1}.tuple(ctaTupleOrig, 1, 2),
		"half a status":     append(flow{proto: unix.IPPROTO_UDP}.tuple(ctaTupleOrig, 1, 2), nla(ctaStatus, 1, 2)...),
		"tuple without one": append(nest(ctaTupleOrig, nla(1, 1)), nla(ctaStatus, be32(settled)...)...),
	} {
		var c classes
		c.add(append([]byte{unix.AF_INET, 0, 0, 0}, attributes...))
		if want := (classes{entries: 1, malformed: 1}); c != want {
			t.Errorf("%s: got %+v", name, c)
		}
	}
	var c classes
	c.add([]byte{unix.AF_INET})
	if want := (classes{entries: 1, malformed: 1}); c != want {
		t.Errorf("no header: got %+v", c)
	}
}

func TestDatagrams(t *testing.T) {
	t.Parallel()
	one := flow{unix.IPPROTO_UDP, 53, answered, -1}.message()
	end := message(unix.NLMSG_DONE, unix.NLM_F_MULTI, be32(0))
	errno := func(e unix.Errno) []byte {
		return message(unix.NLMSG_ERROR, 0, binary.NativeEndian.AppendUint32(nil, uint32(-int32(e))))
	}
	for _, c := range []struct {
		name     string
		datagram []byte
		done     bool
		entries  uint64
		err      error
	}{
		{"two entries", append(append([]byte{}, one...), one...), false, 2, nil},
		{"the end with the last entry", append(append([]byte{}, one...), end...), true, 1, nil},
		{"the end alone", end, true, 0, nil},
		{"an acknowledgement", errno(0), true, 0, nil},
		{"no capability", errno(unix.EPERM), true, 0, unix.EPERM},
		{"an error at the end", message(unix.NLMSG_DONE, 0, binary.NativeEndian.AppendUint32(nil, ^uint32(104))), true, 0, unix.ENOBUFS},
		{"interrupted", message(subsystemConntrack<<8|messageNew, unix.NLM_F_DUMP_INTR, nil), false, 0, errInterrupted},
		{"another message", message(unix.NLMSG_NOOP, 0, nil), false, 0, nil},
		{"cut", one[:len(one)-4], false, 0, collector.ErrDecode},
		{"bytes left over", append(append([]byte{}, one...), 1, 2, 3), false, 1, collector.ErrDecode},
		{"length below a header", append([]byte{4, 0, 0, 0}, make([]byte, 16)...), false, 0, collector.ErrDecode},
	} {
		var p pass
		done, err := p.addDatagram(c.datagram)
		if done != c.done || p.entries != c.entries || !errors.Is(err, c.err) {
			t.Errorf("%s: done %v, %d entries, %v", c.name, done, p.entries, err)
		}
	}
}

func TestDumpIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		errs  []error
		dumps int
		want  error
	}{
		"at once":               {[]error{nil}, 1, nil},
		"after ENOBUFS":         {[]error{unix.ENOBUFS, nil}, 2, nil},
		"after an interruption": {[]error{errInterrupted, unix.ENOBUFS, nil}, 3, nil},
		"not for ever":          {[]error{errInterrupted, errInterrupted, errInterrupted, nil}, 3, errInterrupted},
		"not without a right":   {[]error{unix.EPERM, nil}, 1, unix.EPERM},
	} {
		dumps := 0
		p, err := restarting(func() (pass, error) {
			err := c.errs[dumps]
			dumps++
			// What a dump that broke off had counted is not part of the next.
			return pass{classes: classes{entries: 5}, complete: err == nil}, err
		})
		if dumps != c.dumps || !errors.Is(err, c.want) || p.entries != 5 || p.complete != (c.want == nil) {
			t.Errorf("%s: %d dumps, %d entries, complete %v, %v", name, dumps, p.entries, p.complete, err)
		}
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	datagram := flow{unix.IPPROTO_TCP, 443, settled, 3}.message()
	var p pass
	if n := testing.AllocsPerRun(100, func() {
		if _, err := p.addDatagram(datagram); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for each entry", n)
	}
}

// withDump is a TableCollector that gets its passes from the test.
func withDump(procfs string, dump func(context.Context, uint64) (pass, error)) *TableCollector {
	c := NewTable(fixture(procfs), 100)
	c.dump = dump
	return c
}

func TestTableGolden(t *testing.T) {
	t.Parallel()
	var whole classes
	for range 3 {
		whole.add(append([]byte{unix.AF_INET, 0, 0, 0}, flow{unix.IPPROTO_TCP, 443, settled, 3}.attributes()...))
	}
	whole.add(append([]byte{unix.AF_INET, 0, 0, 0}, flow{unix.IPPROTO_UDP, 53, confirmed, -1}.attributes()...))
	c := withDump("5.10", func(context.Context, uint64) (pass, error) {
		return pass{classes: whole, complete: true, cpu: 20 * time.Millisecond}, nil
	})
	got, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "table-complete.prom", got)

	// The table of the fixture has 1000 entries; a pass that stopped after 4 is
	// a sample of 1 in 250.
	c.dump = func(context.Context, uint64) (pass, error) { return pass{classes: whole, cpu: time.Second}, nil }
	if got, err = collectortest.Collect(t, c); err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "table-sampled.prom", got)
	if rest := c.Rest(); rest != 125*time.Second {
		t.Errorf("a rest of %s after a second of CPU time", rest)
	}
}

func TestTableNeverScalesDown(t *testing.T) {
	t.Parallel()
	c := withDump("5.10", func(context.Context, uint64) (pass, error) {
		p := pass{}
		p.entries = 4000 // of a table that has 1000 left at the end of the pass
		p.cells[udp][replied] = 4000
		return p, nil
	})
	got, err := collectortest.Collect(t, c)
	if err != nil || !strings.Contains(got, `{protocol="udp",state="replied"} 4000`) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestEmptyTableIsNotWalked(t *testing.T) {
	t.Parallel()
	c := withDump("6.18", func(context.Context, uint64) (pass, error) {
		t.Error("the table was walked")
		return pass{}, nil
	})
	got, err := collectortest.Collect(t, c)
	if err != nil || !strings.Contains(got, "ack_conntrack_table_complete 1\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTableIsRefusedOutsideTheHost(t *testing.T) {
	t.Parallel()
	c := withDump("foreign", func(context.Context, uint64) (pass, error) {
		t.Error("the table was walked from a foreign network namespace")
		return pass{}, nil
	})
	got, err := collectortest.Collect(t, c)
	if collector.ReasonOf(err) != collector.ReasonUnavailable || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTableWithoutConntrack(t *testing.T) {
	t.Parallel()
	_, err := NewTable(fixture("untracked"), 0).Collect(t.Context())
	if !errors.Is(err, collector.ErrNotApplicable) {
		t.Errorf("got %v", err)
	}
}

func TestTableFailures(t *testing.T) {
	t.Parallel()
	c := withDump("5.10", func(context.Context, uint64) (pass, error) {
		return pass{cpu: 2 * time.Second}, unix.EPERM
	})
	got, err := collectortest.Collect(t, c)
	if collector.ReasonOf(err) != collector.ReasonPermission || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
	if c.Rest() != 250*time.Second {
		t.Errorf("a pass that failed rests %s after 2s of CPU time", c.Rest())
	}
	c.dump = func(context.Context, uint64) (pass, error) {
		p := pass{complete: true}
		p.entries, p.malformed = 10, 1
		p.cells[udp][replied] = 9
		return p, nil
	}
	got, err = collectortest.Collect(t, c)
	if collector.ReasonOf(err) != collector.ReasonDecode || !strings.Contains(got, `{protocol="udp",state="replied"} 9`) {
		t.Errorf("%v\n%s", err, got)
	}
}

func FuzzAddDatagram(f *testing.F) {
	for _, fl := range []flow{
		{unix.IPPROTO_TCP, 443, settled, 3},
		{unix.IPPROTO_UDP, 53, confirmed, -1},
		{unix.IPPROTO_TCP, 80, settled | statusOffload, -1},
	} {
		f.Add(fl.message())
		f.Add(append(fl.message(), message(unix.NLMSG_DONE, 0, be32(0))...))
	}
	f.Add(message(unix.NLMSG_ERROR, 0, be32(1)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		var p pass
		_, err := p.addDatagram(datagram)
		var sum uint64
		for _, states := range p.cells {
			for _, n := range states {
				sum += n
			}
		}
		if sum+p.malformed != p.entries {
			t.Fatalf("%d entries, %d in a class, %d malformed", p.entries, sum, p.malformed)
		}
		if p.entries > uint64(len(datagram)/netlinkHeader) {
			t.Fatalf("%d entries in %d bytes", p.entries, len(datagram))
		}
		if err == nil && p.entries == 0 && len(datagram) > 0 && len(datagram) < netlinkHeader {
			t.Fatal("a datagram without a message was taken for good")
		}
	})
}

func BenchmarkAddDatagram(b *testing.B) {
	var datagram []byte
	for i := range 35 { // as many as the kernel puts in 8 KiB
		f := flow{unix.IPPROTO_TCP, 443, settled, 3}
		if i%3 == 0 {
			f = flow{unix.IPPROTO_UDP, 53, answered, -1}
		}
		datagram = append(datagram, f.message()...)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(datagram)))
	var p pass
	for b.Loop() {
		if _, err := p.addDatagram(datagram); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(p.entries), "ns/entry")
}

func BenchmarkScrape(b *testing.B) {
	c := newCollector("6.18")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Collect(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
