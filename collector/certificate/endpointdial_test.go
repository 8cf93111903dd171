package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ack-exporter/collector"
)

// endpointDate is a day of which golden files tell.
func endpointDate(year int) time.Time { return time.Date(year, time.March, 1, 0, 0, 0, 0, time.UTC) }

// endpointPair is a certificate with its key, and those above it.
type endpointPair struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
	// above are intermediate ones.
	above []*x509.Certificate
	root  bool
}

// endpointIssue makes a certificate that parent signs, or that signs itself. It is
// valid from 2020 to 2090 unless change says something else.
func endpointIssue(t testing.TB, parent *endpointPair, serial int64, name string, change func(*x509.Certificate)) *endpointPair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: endpointDate(2020), NotAfter: endpointDate(2090),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer, signer := template, key
	pair := &endpointPair{key: key, root: parent == nil}
	if parent != nil {
		issuer, signer = parent.Certificate, parent.key
		if !parent.root {
			pair.above = append([]*x509.Certificate{parent.Certificate}, parent.above...)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if pair.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return pair
}

func endpointCA(t testing.TB, parent *endpointPair, serial int64, name string) *endpointPair {
	t.Helper()
	return endpointIssue(t, parent, serial, name, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	})
}

// endpointLeaf is for a server with these names and addresses.
func endpointLeaf(t testing.TB, ca *endpointPair, serial int64, hosts ...string) *endpointPair {
	t.Helper()
	return endpointIssue(t, ca, serial, "server", func(c *x509.Certificate) { endpointHosts(c, hosts) })
}

func endpointExpired(t testing.TB, ca *endpointPair, serial int64, hosts ...string) *endpointPair {
	t.Helper()
	return endpointIssue(t, ca, serial, "server", func(c *x509.Certificate) {
		endpointHosts(c, hosts)
		c.NotAfter = endpointDate(2021)
	})
}

func endpointHosts(c *x509.Certificate, hosts []string) {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
}

func (p *endpointPair) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: p.Raw})
}

func (p *endpointPair) tls() tls.Certificate {
	chain := [][]byte{p.Raw}
	for _, c := range p.above {
		chain = append(chain, c.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: p.key}
}

// endpointServer is a listener on loopback that counts connections.
type endpointServer struct {
	net.Listener
	connections atomic.Int32
}

func (s *endpointServer) address() string { return s.Addr().String() }

// endpointListen serves each connection until the test ends.
func endpointListen(t testing.TB, serve func(*endpointServer, net.Conn)) *endpointServer {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &endpointServer{Listener: listener}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			go func() {
				defer conn.Close()
				serve(s, conn)
			}()
		}
	}()
	return s
}

// endpointTLS is a server that presents this pair.
func endpointTLS(t testing.TB, pair *endpointPair, change func(*tls.Config)) *endpointServer {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{pair.tls()}}
	if change != nil {
		change(config)
	}
	return endpointListen(t, func(_ *endpointServer, conn net.Conn) {
		_, _ = io.Copy(io.Discard, tls.Server(conn, config))
	})
}

// endpointSilent accepts, and says nothing.
func endpointSilent(_ *endpointServer, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func endpointClosing(*endpointServer, net.Conn) {}

func endpointGarbage(_ *endpointServer, conn net.Conn) {
	_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.6\r\n"+strings.Repeat("\x00\xff", 4096))
	_, _ = io.Copy(io.Discard, conn)
}

// endpointRefused is an address at which nobody listens.
func endpointRefused(t testing.TB) string {
	t.Helper()
	s := endpointListen(t, endpointClosing)
	s.Close()
	return s.address()
}

func endpointProber() EndpointProber {
	return EndpointProber{Timeout: 5 * time.Second, Concurrency: 8}
}

func TestEndpointAnswers(t *testing.T) {
	t.Parallel()
	root := endpointCA(t, nil, 1, "root")
	middle := endpointCA(t, root, 2, "middle")
	good := endpointLeaf(t, middle, 3, "a.example")
	long := endpointCA(t, nil, 4, "long")
	for i := range 20 {
		long = endpointCA(t, long, int64(5+i), "long")
	}
	clientCA := func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }
	for name, c := range map[string]struct {
		address string
		serials []int64
		reason  Reason
		// quick: it cannot be told but by waiting.
		quick bool
	}{
		"a chain":           {address: endpointTLS(t, good, nil).address(), serials: []int64{3, 2}},
		"expired":           {address: endpointTLS(t, endpointExpired(t, root, 30, "a.example"), nil).address(), serials: []int64{30}},
		"TLS 1.2":           {address: endpointTLS(t, good, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }).address(), serials: []int64{3, 2}},
		"TLS 1.1":           {address: endpointTLS(t, good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }).address(), reason: ReasonTLS},
		"wants ours":        {address: endpointTLS(t, good, clientCA).address(), serials: []int64{3, 2}},
		"wants ours at 1.2": {address: endpointTLS(t, good, func(c *tls.Config) { clientCA(c); c.MaxVersion = tls.VersionTLS12 }).address(), serials: []int64{3, 2}},
		"a long chain":      {address: endpointTLS(t, endpointLeaf(t, long, 40, "a.example"), nil).address(), serials: []int64{40, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10}, reason: ReasonTooMany},
		"silent":            {address: endpointListen(t, endpointSilent).address(), reason: ReasonTimeout, quick: true},
		"closes":            {address: endpointListen(t, endpointClosing).address(), reason: ReasonTLS},
		"garbage":           {address: endpointListen(t, endpointGarbage).address(), reason: ReasonTLS},
		"nobody":            {address: endpointRefused(t), reason: ReasonUnreachable},
		"no address":        {address: "256.0.0.1:443", reason: ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := endpointProber()
			if c.quick {
				p.Timeout = 100 * time.Millisecond
			}
			a := endpointAddress{c.address, "a.example"}
			answers, err := p.ask(t.Context(), []endpointAddress{a})
			if err != nil {
				t.Fatal(err)
			}
			var serials []int64
			for _, c := range answers[a].chain {
				serials = append(serials, c.SerialNumber.Int64())
			}
			if !slices.Equal(serials, c.serials) || answers[a].reason != c.reason {
				t.Errorf("%v, %q", serials, answers[a].reason)
			}
		})
	}
}

// TestEndpointGetsNothing: no data and no certificate, but the name of whom we want.
func TestEndpointGetsNothing(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	pair := endpointLeaf(t, endpointCA(t, nil, 1, "root"), 2, "a.example")
	config := &tls.Config{Certificates: []tls.Certificate{pair.tls()}, ClientAuth: tls.RequestClientCert}
	var rest []byte
	var state tls.ConnectionState
	s := endpointListen(t, func(_ *endpointServer, conn net.Conn) {
		defer close(done)
		server := tls.Server(conn, config)
		rest, _ = io.ReadAll(server)
		state = server.ConnectionState()
	})
	a := endpointAddress{s.address(), "a.example"}
	if _, err := endpointProber().ask(t.Context(), []endpointAddress{a}); err != nil {
		t.Fatal(err)
	}
	<-done
	if !state.HandshakeComplete || state.ServerName != "a.example" || len(state.PeerCertificates) != 0 || len(rest) != 0 {
		t.Errorf("handshake complete %t, name %q, %d certificates, data %q", state.HandshakeComplete, state.ServerName, len(state.PeerCertificates), rest)
	}
}

func TestEndpointsBesideASilentOne(t *testing.T) {
	t.Parallel()
	good := endpointTLS(t, endpointLeaf(t, endpointCA(t, nil, 1, "root"), 2, "a.example"), nil)
	silent := endpointListen(t, endpointSilent)
	p := EndpointProber{Timeout: 200 * time.Millisecond, Concurrency: 2}
	addresses := []endpointAddress{{silent.address(), "a.example"}}
	for i := range 50 {
		addresses = append(addresses, endpointAddress{good.address(), strings.Repeat("a", i+1) + ".example"})
	}
	answers, err := p.ask(t.Context(), addresses)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range addresses {
		if answered := len(answers[a].chain) == 1; answered != (i > 0) {
			t.Errorf("%v: %v", a, answers[a])
		}
	}
}

// TestEndpointWithoutTime: a server is never blamed for our lack of time.
func TestEndpointWithoutTime(t *testing.T) {
	t.Parallel()
	s := endpointListen(t, endpointSilent)
	a := endpointAddress{s.address(), "a.example"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	answers, err := endpointProber().ask(ctx, []endpointAddress{a})
	if len(answers) != 0 || collector.ReasonOf(err) != collector.ReasonTimeout || s.connections.Load() != 0 {
		t.Errorf("%v, %v, %d connections", answers, err, s.connections.Load())
	}
	stopped, stop := context.WithCancel(t.Context())
	p := endpointProber()
	p.Dial = func(context.Context, string, string) (net.Conn, error) {
		stop()
		return nil, errors.New("cut")
	}
	if answers, err = p.ask(stopped, []endpointAddress{a}); len(answers) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", answers, err)
	}
	p.Dial = func(context.Context, string, string) (net.Conn, error) { panic("broken") }
	if answers, err = p.ask(t.Context(), []endpointAddress{a}); len(answers) != 0 || err == nil || !strings.Contains(err.Error(), "panic: broken") {
		t.Errorf("%v, %v", answers, err)
	}
}

func TestEndpointTrust(t *testing.T) {
	t.Parallel()
	root, other := endpointCA(t, nil, 1, "root"), endpointCA(t, nil, 1, "root")
	middle := endpointCA(t, root, 2, "middle")
	leaf := endpointLeaf(t, middle, 3, "a.example")
	self := endpointIssue(t, nil, 4, "self", func(*x509.Certificate) {})
	client := endpointIssue(t, root, 5, "client", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	old := endpointIssue(t, nil, 6, "old", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.NotAfter = true, true, x509.KeyUsageCertSign, endpointDate(2021)
	})
	for name, c := range map[string]struct {
		roots []*x509.Certificate
		chain []*x509.Certificate
		want  bool
	}{
		"by an intermediate":         {[]*x509.Certificate{root.Certificate}, []*x509.Certificate{leaf.Certificate, middle.Certificate}, true},
		"without the intermediate":   {[]*x509.Certificate{root.Certificate}, []*x509.Certificate{leaf.Certificate}, false},
		"the intermediate is a root": {[]*x509.Certificate{middle.Certificate}, []*x509.Certificate{leaf.Certificate}, true},
		"another root of that name":  {[]*x509.Certificate{other.Certificate}, []*x509.Certificate{leaf.Certificate, middle.Certificate}, false},
		"old and new root":           {[]*x509.Certificate{other.Certificate, root.Certificate}, []*x509.Certificate{leaf.Certificate, middle.Certificate}, true},
		"expired leaf":               {[]*x509.Certificate{root.Certificate}, []*x509.Certificate{endpointExpired(t, root, 7).Certificate}, true},
		"expired root":               {[]*x509.Certificate{old.Certificate}, []*x509.Certificate{endpointLeaf(t, old, 8).Certificate}, true},
		"expired, by another one":    {[]*x509.Certificate{other.Certificate}, []*x509.Certificate{endpointExpired(t, root, 9).Certificate}, false},
		"signed by itself":           {[]*x509.Certificate{self.Certificate}, []*x509.Certificate{self.Certificate}, true},
		"for clients":                {[]*x509.Certificate{root.Certificate}, []*x509.Certificate{client.Certificate}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := newEndpointTrust(c.roots).holds(c.chain); got != c.want || err != nil {
				t.Errorf("%t, %v", got, err)
			}
			if c.chain[0].NotAfter.Year() == 9999 {
				t.Error("it was changed")
			}
		})
	}
}

func TestEndpointProberRefuses(t *testing.T) {
	t.Parallel()
	for _, p := range []EndpointProber{{}, {Timeout: time.Second}, {Timeout: -1, Concurrency: 1}} {
		if _, err := NewBundles(BundlesConfig{Prober: p}); err == nil {
			t.Errorf("%v is accepted", p)
		}
	}
}
