package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"ack-exporter/collector"
)

const (
	// endpointMaxChain is how many certificates of one handshake are looked at. A
	// chain of the web has four at most.
	endpointMaxChain = 16
	// endpointReserve is what a refresh needs after its last handshake.
	endpointReserve = 200 * time.Millisecond
)

// Dial connects to an address host:port.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// EndpointProber takes from TLS servers what they present in a handshake. Nothing
// else is sent to them: no data, no certificate, no token.
type EndpointProber struct {
	// Dial connects; nil is the network of this process, without any proxy.
	Dial Dial
	// Timeout of connecting and handshake together.
	Timeout time.Duration
	// Concurrency is how many servers are asked at once.
	Concurrency int
}

func (p EndpointProber) validate() error {
	switch {
	case p.Timeout <= 0:
		return fmt.Errorf("the timeout: %s is not positive", p.Timeout)
	case p.Concurrency < 1:
		return fmt.Errorf("handshakes at once: %d is less than 1", p.Concurrency)
	}
	return nil
}

// endpointAddress is where a server is.
type endpointAddress struct {
	// dial is host:port.
	dial string
	// name is whom the client wants. The server is not told where it is an IP address.
	name string
}

// endpointAnswer is what a server said.
type endpointAnswer struct {
	// chain is what it presented, its own certificate first; empty for a reason.
	chain  []*x509.Certificate
	reason Reason
	err    error // not its fault: there is no answer
}

// ask asks each server once. Those without an answer, for lack of time, are missing,
// and are an error.
func (p EndpointProber) ask(ctx context.Context, addresses []endpointAddress) (map[endpointAddress]endpointAnswer, error) {
	answers := make([]endpointAnswer, len(addresses))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(p.Concurrency, len(addresses)) {
		workers.Go(func() {
			for i := range next {
				answers[i] = p.askOne(ctx, addresses[i])
			}
		})
	}
	for i := range addresses {
		next <- i
	}
	close(next)
	workers.Wait()

	known := make(map[endpointAddress]endpointAnswer, len(addresses))
	var last error
	for i, a := range answers {
		if a.err == nil {
			known[addresses[i]] = a
		} else {
			last = a.err
		}
	}
	if last != nil {
		return known, fmt.Errorf("%d of %d TLS servers not asked: %w", len(addresses)-len(known), len(addresses), last)
	}
	return known, nil
}

// askOne asks one server, if there is time to wait for it. A handshake that is cut
// short would tell nothing about the server.
func (p EndpointProber) askOne(ctx context.Context, a endpointAddress) (answer endpointAnswer) {
	// Here nobody else would catch it.
	defer func() {
		if r := recover(); r != nil {
			answer = endpointAnswer{err: fmt.Errorf("panic: %v\n%s", r, debug.Stack())}
		}
	}()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < p.Timeout+endpointReserve {
		return endpointAnswer{err: fmt.Errorf("no time: %w", context.DeadlineExceeded)}
	}
	limited, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	answer.chain, answer.reason = p.handshake(limited, a)
	if ctx.Err() != nil {
		return endpointAnswer{err: ctx.Err()}
	}
	return answer
}

func (p EndpointProber) handshake(ctx context.Context, a endpointAddress) (chain []*x509.Certificate, reason Reason) {
	dial := p.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	conn, err := dial(ctx, "tcp", a.dial)
	if err != nil {
		return nil, ReasonUnreachable
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{
		ServerName: a.name,
		// What is expired or not trusted is what this looks for. It is judged
		// afterwards, and no secret is ever sent.
		InsecureSkipVerify: true,
		// Called before a server can refuse a client without a certificate.
		VerifyConnection: func(s tls.ConnectionState) error {
			chain = s.PeerCertificates
			return nil
		},
	})
	err = client.HandshakeContext(ctx)
	switch {
	case len(chain) > endpointMaxChain:
		return chain[:endpointMaxChain], ReasonTooMany
	case len(chain) > 0:
		return chain, ""
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return nil, ReasonTimeout
	default:
		return nil, ReasonTLS
	}
}

// tell adds to e what the server said; key and class are those of its certificates.
func (a endpointAnswer) tell(e *Entry, key string, class Class) {
	e.tell(key, class, a.chain)
	if a.reason != "" {
		e.fail(key, a.reason)
	}
	if len(a.chain) > 0 && issuersExpireFirst(a.chain[0], a.chain[1:]) {
		e.Flaws = append(e.Flaws, Flaw{key, ProblemIssuerExpiresFirst})
	}
}

// endpointCovers tells whether clients that call by this DNS name or IP address
// take the certificate. The common name does not count, for any client in Go.
func endpointCovers(c *x509.Certificate, name string) bool { return c.VerifyHostname(name) == nil }

// endpointTrust is whom the clients of a server trust.
type endpointTrust struct {
	roots *x509.CertPool // nil: the system's
}

// newEndpointTrust trusts just these.
func newEndpointTrust(roots []*x509.Certificate) endpointTrust {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(endpointTimeless(c))
	}
	return endpointTrust{pool}
}

// holds tells whether clients accept the chain, apart from its dates and names. It
// fails where there are no roots of the system.
func (t endpointTrust) holds(chain []*x509.Certificate) (bool, error) {
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(endpointTimeless(c))
	}
	_, err := endpointTimeless(chain[0]).Verify(x509.VerifyOptions{Roots: t.roots, Intermediates: intermediates})
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return false, fmt.Errorf("%w: %w", collector.ErrUnavailable, err)
	}
	return err == nil, nil
}

// endpointTimeless is c as if it were always valid. Dates are told as such; that a
// certificate has expired must not hide who issued it.
func endpointTimeless(c *x509.Certificate) *x509.Certificate {
	timeless := *c
	timeless.NotBefore = time.Time{}
	timeless.NotAfter = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)
	return &timeless
}
