package dnsprobe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

const (
	// minWorkers is how many questions may be under way at once in any case.
	minWorkers = 8
	// maxStrays is how many messages that are no answer are read before the answer
	// is given up. A kept socket can hold several hundred late ones.
	maxStrays = 512
)

// asker puts questions. Nothing is ever asked twice: losses are the measurement.
type asker struct {
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	names   [numNames]string
	port    uint16
	timeout time.Duration
}

// probe is one question to one server.
type probe struct {
	server
	question
	// kept is the socket of a question with transport keptUDP.
	kept *keptSocket
}

// outcome is how a probe ended.
type outcome struct {
	err  error
	took time.Duration
	// void says that the probe was cut short, and tells nothing.
	void bool
	// panicked is the message and the stack of a panic.
	panicked string
}

// pass puts all the questions, at most so many at once, and returns when all have
// ended.
func (a *asker) pass(ctx context.Context, probes []probe, workers int) []outcome {
	outcomes := make([]outcome, len(probes))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				outcomes[i] = a.contained(ctx, probes[i])
			}
		})
	}
	for i := range probes {
		next <- i
	}
	close(next)
	wg.Wait()
	return outcomes
}

// contained keeps a panic for the goroutine that can report it.
func (a *asker) contained(ctx context.Context, p probe) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			o = outcome{panicked: fmt.Sprintf("%v\n%s", r, debug.Stack())}
		}
	}()
	return a.ask(ctx, p)
}

func (a *asker) ask(ctx context.Context, p probe) outcome {
	askCtx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	start := time.Now()
	err := a.put(askCtx, p)
	return outcome{err: err, took: time.Since(start), void: err != nil && ctx.Err() != nil}
}

func (a *asker) put(ctx context.Context, p probe) error {
	address := netip.AddrPortFrom(p.addr, a.port).String()
	name := a.names[p.name]
	if p.transport == keptUDP {
		return p.kept.put(ctx, name, func() (net.Conn, error) { return a.dial(ctx, "udp", address) })
	}
	conn, err := a.dial(ctx, protocolNames[p.transport], address)
	if err != nil {
		return err
	}
	defer conn.Close()
	q := query{id: dns.Id(), name: name}
	if p.transport == freshTCP {
		return q.exchange(ctx, stream{conn})
	}
	return q.exchange(ctx, datagrams{conn})
}

// keptSocket is a UDP socket that one server is asked over for ever. It measures
// what clients live through that do not change their source port: forwarders with
// a fixed one, pools of connections. The kernel sends all its packets where it
// sent the first one, as long as it remembers that; a fresh socket goes elsewhere
// and shows nothing.
//
// Timeouts and errors of the way, ECONNREFUSED too, leave it open. Only an error
// of the socket itself ends it, such as when the node has lost the address that
// the socket is bound to: such a client has to open another one as well.
type keptSocket struct {
	conn net.Conn
	// id is that of the next question. IDs go up one by one, so that no late answer
	// can be taken for that of a later question.
	id      uint16
	earlier uint16
}

func (k *keptSocket) put(ctx context.Context, name string, dial func() (net.Conn, error)) error {
	if k.conn == nil {
		conn, err := dial()
		if err != nil {
			return err
		}
		*k = keptSocket{conn: conn, id: dns.Id()}
	}
	err := query{id: k.id, name: name, earlier: k.earlier}.exchange(ctx, datagrams{k.conn})
	k.id++
	k.earlier = min(k.earlier+1, maxStrays)
	if isBroken(err) {
		k.close()
	}
	return err
}

func (k *keptSocket) close() {
	if k.conn != nil {
		k.conn.Close()
	}
	*k = keptSocket{}
}

// isBroken reports whether err is about the socket rather than the way to the
// server. By ENETUNREACH, or EINVAL, the kernel says that the node no longer has
// the address that the socket is bound to; or it has no route, and then a new
// socket cannot be opened either.
func isBroken(err error) bool {
	for _, broken := range []error{
		net.ErrClosed, syscall.EBADF, syscall.ENOTCONN, syscall.EPIPE,
		syscall.EINVAL, syscall.EADDRNOTAVAIL, syscall.ENODEV, syscall.ENETUNREACH,
	} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// exchange sends the query and waits for its answer until ctx ends.
func (q query) exchange(ctx context.Context, l link) error {
	message, err := q.message()
	if err != nil {
		return err
	}
	if err := l.SetDeadline(time.Time{}); err != nil {
		return err
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		// It can only fail on a connection that is closed, and then nothing waits.
		_ = l.SetDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-woken // else it could strike the next question on this socket
		}
	}()
	if err := l.send(message); err != nil {
		return err
	}
	return q.await(l)
}

// await reads until the answer is there. Like any resolver it does not let other
// messages end the wait, as anybody could send them; but where no answer comes,
// they are the reason.
func (q query) await(l link) error {
	var stray error
	for range maxStrays {
		b, err := l.receive()
		if err != nil {
			if stray != nil {
				return stray
			}
			return err
		}
		ours, err := q.judge(b)
		if ours {
			return err
		}
		if err != nil {
			stray = err
		}
	}
	return mismatch
}

// link carries messages over a connection.
type link interface {
	send(message []byte) error
	receive() ([]byte, error)
	SetDeadline(t time.Time) error
}

// datagrams is a link over UDP.
type datagrams struct{ net.Conn }

func (d datagrams) send(message []byte) error {
	_, err := d.Write(message)
	if errors.Is(err, syscall.ECONNREFUSED) {
		// The kernel reports what came back for an earlier question, and has not
		// sent this one.
		_, err = d.Write(message)
	}
	return err
}

func (d datagrams) receive() ([]byte, error) {
	buffer := make([]byte, maxUDP)
	n, err := d.Read(buffer)
	return buffer[:n], err
}

// stream is a link over TCP, where the size of a message precedes it. A size has
// two bytes, which bounds the message.
type stream struct{ net.Conn }

func (s stream) send(message []byte) error {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(message)))
	_, err := s.Write(append(framed, message...))
	return err
}

func (s stream) receive() ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(s, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(s, message)
	return message, err
}
