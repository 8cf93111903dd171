package dnsprobe

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

const (
	testName     = "kubernetes.default.svc.cluster.local."
	testExternal = "aliyun.com."
)

// listen opens the same port of a loopback address for UDP and TCP; port 0 is one
// that is free.
func listen(t testing.TB, addr string, port uint16) (*net.UDPConn, net.Listener, uint16) {
	t.Helper()
	var config net.ListenConfig
	for range 20 {
		address := net.JoinHostPort(addr, strconv.Itoa(int(port)))
		l, err := config.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		got := l.Addr().(*net.TCPAddr).AddrPort().Port()
		pc, err := config.ListenPacket(t.Context(), "udp", l.Addr().String())
		if err == nil {
			return pc.(*net.UDPConn), l, got
		}
		l.Close()
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil, 0
}

func closeBoth(a, b io.Closer) {
	a.Close()
	b.Close()
}

// serve runs a DNS server until the test ends.
func serve(t testing.TB, addr string, port uint16, handler dns.HandlerFunc) uint16 {
	t.Helper()
	pc, l, port := listen(t, addr, port)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done := make(chan error, 1)
		go func() { done <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	return port
}

// serveRaw answers every message, over UDP and TCP, with the messages that reply
// makes of it, until the test ends. It goes on until a client closes.
func serveRaw(t testing.TB, addr string, reply func(query []byte) [][]byte) uint16 {
	t.Helper()
	pc, l, port := listen(t, addr, 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			for _, r := range reply(b[:n]) {
				_, _ = pc.WriteTo(r, from)
			}
		}
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				for {
					q, err := stream{conn}.receive()
					if err != nil {
						return
					}
					for _, r := range reply(q) {
						if err := (stream{conn}).send(r); err != nil {
							return
						}
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		closeBoth(pc, l)
		wg.Wait()
	})
	return port
}

// healthy answers every question with an address.
func healthy(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(answerTo(q)) }

func answerTo(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Answer = append(m.Answer, &dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5},
		A:   net.IPv4(192, 0, 2, 1),
	})
	return m
}

// packed is m in wire format.
func packed(m *dns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func unpacked(b []byte) *dns.Msg {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		panic(err)
	}
	return m
}

// rcode answers with one, and with the flag TC where it is truncated.
func rcode(code int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, code)) }
}

// newAsker asks servers on a port, and is patient with them.
func newAsker(port uint16) *asker {
	return &asker{
		dial:    new(net.Dialer).DialContext,
		names:   [numNames]string{testName, testExternal},
		port:    port,
		timeout: 10 * time.Second,
	}
}

// impatient lets questions time out soon.
func (a *asker) impatient() *asker {
	a.timeout = 100 * time.Millisecond
	return a
}

// ill is where the servers listen that are asked one by one.
const ill = "127.0.0.2"

// askIll puts one question to the server there.
func (a *asker) askIll(t testing.TB, tr transport, kept *keptSocket) outcome {
	t.Helper()
	p := probe{
		server:   server{coreDNSPod, netip.MustParseAddr(ill)},
		question: question{tr, clusterName},
		kept:     kept,
	}
	return a.ask(t.Context(), p)
}

// why is the reason of an outcome, and "" for a success.
func why(o outcome) reason {
	if o.err == nil {
		return ""
	}
	return reasonOf(o.err)
}

func TestAnswersOfServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler  dns.HandlerFunc
		udp, tcp reason
	}{
		"healthy":   {healthy, "", ""},
		"SERVFAIL":  {rcode(dns.RcodeServerFailure), servfail, servfail},
		"NXDOMAIN":  {rcode(dns.RcodeNameError), nxdomain, nxdomain},
		"REFUSED":   {rcode(dns.RcodeRefused), refused, refused},
		"NOTIMP":    {rcode(dns.RcodeNotImplemented), otherRcode, otherRcode},
		"no answer": {rcode(dns.RcodeSuccess), nodata, nodata},
		"only an alias": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = append(m.Answer, &dns.CNAME{
				Hdr:    dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET},
				Target: "elsewhere.example.",
			})
			_ = w.WriteMsg(m)
		}, nodata, nodata},
		"truncated over UDP": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := answerTo(q)
			m.Truncated = w.RemoteAddr().Network() == "udp"
			_ = w.WriteMsg(m)
		}, truncated, ""},
		"REFUSED without the question": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetRcode(q, dns.RcodeRefused)
			m.Question = nil
			_ = w.WriteMsg(m)
		}, refused, refused},
		"another case": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := answerTo(q)
			m.Question[0].Name = "Kubernetes.DEFAULT.svc.cluster.local."
			_ = w.WriteMsg(m)
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(serve(t, ill, 0, c.handler))
			var kept keptSocket
			defer kept.close()
			for tr, want := range map[transport]reason{freshUDP: c.udp, keptUDP: c.udp, freshTCP: c.tcp} {
				if o := a.askIll(t, tr, &kept); why(o) != want || o.took <= 0 {
					t.Errorf("%s %s: %q in %s, %v; want %q", protocolNames[tr], socketNames[tr], why(o), o.took, o.err, want)
				}
			}
		})
	}
}

// withID is an answer with another ID.
func withID(b []byte, id uint16) []byte {
	b = append([]byte(nil), b...)
	binary.BigEndian.PutUint16(b, id)
	return b
}

func TestMessagesThatAreNoAnswer(t *testing.T) {
	t.Parallel()
	right := func(q []byte) []byte { return packed(answerTo(unpacked(q))) }
	wrongID := func(q []byte) []byte { return withID(right(q), binary.BigEndian.Uint16(q)+1) }
	for name, c := range map[string]struct {
		reply func(q []byte) [][]byte
		want  reason
		// waits says that the reason is only known when the time is over.
		waits bool
	}{
		"silence":               {func([]byte) [][]byte { return nil }, timeout, true},
		"a wrong ID":            {func(q []byte) [][]byte { return [][]byte{wrongID(q)} }, mismatch, true},
		"a wrong ID first":      {func(q []byte) [][]byte { return [][]byte{wrongID(q), right(q)} }, "", false},
		"the query itself":      {func(q []byte) [][]byte { return [][]byte{q} }, mismatch, true},
		"a short message":       {func([]byte) [][]byte { return [][]byte{[]byte("no DNS")} }, malformed, true},
		"a short one first":     {func(q []byte) [][]byte { return [][]byte{{}, {0}, right(q)} }, "", false},
		"garbage with the ID":   {func(q []byte) [][]byte { return [][]byte{append(right(q)[:14], 0xff, 0xff, 0xff)} }, malformed, false},
		"half an answer":        {func(q []byte) [][]byte { return [][]byte{right(q)[:len(right(q))-6]} }, malformed, false},
		"header only, no error": {func(q []byte) [][]byte { return [][]byte{right(q)[:headerSize]} }, mismatch, true},
		"another question's":    {func(q []byte) [][]byte { return [][]byte{packed(answerTo(aboutAnother(q)))} }, mismatch, true},
		"another one's first":   {func(q []byte) [][]byte { return [][]byte{packed(answerTo(aboutAnother(q))), right(q)} }, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsker(serveRaw(t, ill, c.reply))
			if c.waits {
				a.timeout = time.Second // long enough for what comes to come
			}
			for _, tr := range []transport{freshUDP, freshTCP} {
				if o := a.askIll(t, tr, nil); why(o) != c.want {
					t.Errorf("%s: %q, %v; want %q", protocolNames[tr], why(o), o.err, c.want)
				}
			}
		})
	}
}

func aboutAnother(q []byte) *dns.Msg {
	m := unpacked(q)
	m.Question[0].Name = "another.example."
	return m
}

// flood is a link that never stops to say the same.
type flood struct {
	link
	message  []byte
	received int
}

func (f *flood) receive() ([]byte, error) {
	f.received++
	return f.message, nil
}

func TestFloodEndsTheWait(t *testing.T) {
	t.Parallel()
	q := query{id: 7, name: testName, earlier: 3}
	for _, id := range []uint16{5, 8} { // a late answer, and a wrong one
		f := &flood{message: withID(make([]byte, headerSize), id)}
		if err := q.await(f); reasonOf(err) != mismatch || f.received != maxStrays {
			t.Errorf("%v after %d messages", err, f.received)
		}
	}
}

func TestClosedPort(t *testing.T) {
	t.Parallel()
	pc, l, port := listen(t, ill, 0)
	closeBoth(pc, l)
	var kept keptSocket
	defer kept.close()
	for tr := range numTransports {
		if o := newAsker(port).askIll(t, tr, &kept); why(o) != network {
			t.Errorf("%s %s: %q, %v", protocolNames[tr], socketNames[tr], why(o), o.err)
		}
	}
}

// TestTCPServersThatBreakOff has servers that accept and then do not behave.
func TestTCPServersThatBreakOff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after []byte // what is sent before the server goes
		stall bool   // it stays instead
		want  reason
	}{
		"closes at once":           {nil, false, network},
		"closes within the size":   {[]byte{0}, false, network},
		"closes within a message":  {[]byte{0, 40, 1, 2, 3}, false, network},
		"never sends the message":  {[]byte{0xff, 0xff}, true, timeout},
		"never sends anything":     {nil, true, timeout},
		"sends a message of no ID": {[]byte{0, 0}, true, malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pc, l, port := listen(t, ill, 0)
			defer closeBoth(pc, l)
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if _, err := (stream{conn}).receive(); err != nil {
					t.Error(err)
				}
				_, _ = conn.Write(c.after)
				if c.stall {
					_, _ = io.Copy(io.Discard, conn)
				}
			}()
			a := newAsker(port)
			if c.stall {
				a.impatient()
			}
			if o := a.askIll(t, freshTCP, nil); why(o) != c.want {
				t.Errorf("%q, %v; want %q", why(o), o.err, c.want)
			}
			<-done
		})
	}
}

// ports records the source ports that a server sees over UDP.
type ports struct {
	mu   sync.Mutex
	seen []uint16
}

func (p *ports) note(w dns.ResponseWriter) {
	if from, ok := w.RemoteAddr().(*net.UDPAddr); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen, from.AddrPort().Port())
	}
}

func (p *ports) take() []uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func TestOnlyTheKeptSocketKeepsItsPort(t *testing.T) {
	t.Parallel()
	var seen ports
	a := newAsker(serve(t, ill, 0, func(w dns.ResponseWriter, q *dns.Msg) {
		seen.note(w)
		healthy(w, q)
	}))
	var kept keptSocket
	defer kept.close()
	for tr, same := range map[transport]bool{freshUDP: false, keptUDP: true} {
		distinct := make(map[uint16]bool)
		for range 5 {
			if o := a.askIll(t, tr, &kept); o.err != nil {
				t.Fatal(o.err)
			}
		}
		for _, port := range seen.take() {
			distinct[port] = true
		}
		// Fresh ports are random; two of five may be the same, but not all.
		if same != (len(distinct) == 1) {
			t.Errorf("%s: ports %v", socketNames[tr], distinct)
		}
	}
}

// TestLateAnswerIsNotTakenForTheNextOne: the server holds the answer to the first
// question back until the second has come, whose own answer is SERVFAIL.
func TestLateAnswerIsNotTakenForTheNextOne(t *testing.T) {
	t.Parallel()
	var held [][]byte
	a := newAsker(serveRaw(t, ill, func(q []byte) [][]byte {
		if len(held) < 3 {
			held = append(held, packed(answerTo(unpacked(q))))
			return nil
		}
		return append(held, packed(new(dns.Msg).SetRcode(unpacked(q), dns.RcodeServerFailure)))
	}))
	var kept keptSocket
	defer kept.close()
	a.impatient()
	for range 3 {
		if o := a.askIll(t, keptUDP, &kept); why(o) != timeout {
			t.Fatalf("%q, %v", why(o), o.err)
		}
	}
	a.timeout = 10 * time.Second
	if o := a.askIll(t, keptUDP, &kept); why(o) != servfail {
		t.Errorf("%q, %v", why(o), o.err)
	}
}

// TestLateAnswersAreNoMismatch: a question after which only answers to earlier ones
// come has timed out.
func TestLateAnswersAreNoMismatch(t *testing.T) {
	t.Parallel()
	var last []byte
	a := newAsker(serveRaw(t, ill, func(q []byte) [][]byte {
		late := last
		last = packed(answerTo(unpacked(q)))
		if late == nil {
			return nil
		}
		return [][]byte{late}
	})).impatient()
	var kept keptSocket
	defer kept.close()
	for i := range 4 {
		if o := a.askIll(t, keptUDP, &kept); why(o) != timeout {
			t.Errorf("question %d: %q, %v", i, why(o), o.err)
		}
	}
}

// TestKeptSocketSurvivesAClosedPort: the server goes and comes back, and the
// client is the same.
func TestKeptSocketSurvivesAClosedPort(t *testing.T) {
	t.Parallel()
	pc, l, port := listen(t, ill, 0)
	closeBoth(pc, l)
	a := newAsker(port)
	var kept keptSocket
	defer kept.close()
	for range 3 {
		if o := a.askIll(t, keptUDP, &kept); !errors.Is(o.err, syscall.ECONNREFUSED) {
			t.Fatal(o.err)
		}
	}
	before := kept.conn.LocalAddr().String()
	// What the kernel holds against the socket is about an earlier question.
	if _, err := kept.conn.Write([]byte("a question whose reply nobody awaits")); err != nil {
		t.Fatal(err)
	}
	serve(t, ill, port, healthy)
	if o := a.askIll(t, keptUDP, &kept); o.err != nil {
		t.Error(o.err)
	}
	if after := kept.conn.LocalAddr().String(); after != before {
		t.Errorf("another socket: %s, before %s", after, before)
	}
}

func TestKeptSocketIsReplacedWhenBroken(t *testing.T) {
	t.Parallel()
	a := newAsker(serve(t, ill, 0, healthy))
	var kept keptSocket
	defer kept.close()
	if o := a.askIll(t, keptUDP, &kept); o.err != nil {
		t.Fatal(o.err)
	}
	kept.conn.Close()
	if o := a.askIll(t, keptUDP, &kept); why(o) != network || kept.conn != nil {
		t.Fatalf("%q, %v, %v", why(o), o.err, kept.conn)
	}
	if o := a.askIll(t, keptUDP, &kept); o.err != nil {
		t.Error(o.err)
	}
}

func TestBrokenSockets(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		syscall.EINVAL: true, syscall.EADDRNOTAVAIL: true, syscall.EBADF: true, net.ErrClosed: true,
		syscall.ENETUNREACH: true, syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false, syscall.EPERM: false,
		context.DeadlineExceeded: false, timeout: false, servfail: false,
	} {
		if got := isBroken(&net.OpError{Op: "write", Err: err}); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// slowToWake is a link on which setting a deadline in the past takes until wake.
type slowToWake struct {
	link
	wake chan struct{}
}

func (l *slowToWake) send([]byte) error { return syscall.EPERM }

func (l *slowToWake) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		<-l.wake
	}
	return nil
}

// TestACutShortQuestionStrikesNoOther: who gets a kept socket back can use it for
// the next question, as no deadline can be set on it any more.
func TestACutShortQuestionStrikesNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l := &slowToWake{wake: make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- query{name: testName}.exchange(ctx, l) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("the exchange is over (%v), and its deadline is not yet set", err)
		default:
		}
		close(l.wake)
		if err := <-done; !errors.Is(err, syscall.EPERM) {
			t.Error(err)
		}
	})
}

// TestKeptSocketAfterACutShortQuestion is the same on a real socket.
func TestKeptSocketAfterACutShortQuestion(t *testing.T) {
	t.Parallel()
	a := newAsker(serve(t, ill, 0, healthy))
	var kept keptSocket
	defer kept.close()
	p := probe{server{coreDNSPod, netip.MustParseAddr(ill)}, question{keptUDP, clusterName}, &kept}
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if o := a.ask(ctx, p); o.err != nil && !o.void {
			t.Fatalf("cut short: %+v", o)
		}
		if o := a.ask(t.Context(), p); o.err != nil {
			t.Fatalf("the next one: %v", o.err)
		}
	}
}
