package coredns

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	testName = "kubernetes.default.svc.cluster.local"
	// patience is long enough for a slow machine. quick is how long replicas that hang
	// are waited for.
	patience = 20 * time.Second
	quick    = 300 * time.Millisecond
)

// network leads from the addresses of pods to servers on the loopback address.
// Nothing listens at other addresses.
type network struct {
	mu      sync.Mutex
	servers map[string]string
}

func newNetwork() *network { return &network{servers: make(map[string]string)} }

func (n *network) Dial(ctx context.Context, proto, address string) (net.Conn, error) {
	n.mu.Lock()
	server, ok := n.servers[proto+" "+address]
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: %w", address, syscall.ECONNREFUSED)
	}
	return new(net.Dialer).DialContext(ctx, proto, server)
}

func (n *network) add(proto, address, server string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[proto+" "+address] = server
}

// serveHTTP answers at a port of a pod's address until the test ends.
func (n *network) serveHTTP(t testing.TB, address string, port int, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	n.add("tcp", fmt.Sprintf("%s:%d", address, port), server.Listener.Addr().String())
}

// serveDNS answers over UDP and TCP at a pod's address until the test ends.
func (n *network) serveDNS(t testing.TB, address string, handler dns.HandlerFunc) {
	t.Helper()
	var config net.ListenConfig
	pc, err := config.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
	n.add("udp", address+":53", pc.LocalAddr().String())
	n.add("tcp", address+":53", l.Addr().String())
}

// serveRaw answers the same bytes to whatever arrives over UDP and TCP.
func (n *network) serveRaw(t testing.TB, address string, answer []byte) {
	t.Helper()
	var config net.ListenConfig
	pc, err := config.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1500)
		for {
			_, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(answer, from)
		}
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(answer)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = pc.Close()
		l.Close()
		wg.Wait()
	})
	for _, port := range []int{healthPort, readyPort, metricsPort, dnsPort} {
		n.add("tcp", fmt.Sprintf("%s:%d", address, port), l.Addr().String())
	}
	n.add("udp", address+":53", pc.LocalAddr().String())
}

// serveHealthy is a replica with which nothing is wrong.
func (n *network) serveHealthy(t testing.TB, address, metrics string) {
	t.Helper()
	n.serveDNS(t, address, resolve)
	n.serveHTTP(t, address, healthPort, say(http.StatusOK, "OK"))
	n.serveHTTP(t, address, readyPort, say(http.StatusOK, "OK"))
	n.serveHTTP(t, address, metricsPort, say(http.StatusOK, metrics))
}

// serveHanging is a replica that takes every question and never answers.
func (n *network) serveHanging(t testing.TB, address string) {
	t.Helper()
	over := make(chan struct{})
	n.serveDNS(t, address, func(dns.ResponseWriter, *dns.Msg) {})
	for _, port := range []int{healthPort, readyPort, metricsPort} {
		n.serveHTTP(t, address, port, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-over:
			case <-r.Context().Done():
			}
		})
	}
	t.Cleanup(func() { close(over) })
}

func say(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func resolve(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Answer = append(m.Answer, &dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5},
		A:   net.IPv4(172, 21, 0, 1),
	})
	_ = w.WriteMsg(m)
}

func withRcode(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, rcode)) }
}

// metricsOf is the metrics of a replica: of this release, that has loaded a Corefile
// with this hash, if any, and has asked the API server.
func metricsOf(release, algorithm, sum string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# HELP coredns_build_info A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.
# TYPE coredns_build_info gauge
coredns_build_info{goversion="go1.24.1",revision="1a2b3c",version=%q} 1
# TYPE coredns_cache_entries gauge
coredns_cache_entries{server="dns://:53",type="success",zones="."} 17
# TYPE coredns_panics_total counter
coredns_panics_total 2
# TYPE coredns_reload_failed_total counter
coredns_reload_failed_total 0
# TYPE coredns_kubernetes_rest_client_requests_total counter
coredns_kubernetes_rest_client_requests_total{code="200",host="172.21.0.1:443",method="GET"} 40
coredns_kubernetes_rest_client_requests_total{code="201",host="172.21.0.1:443",method="POST"} 2
coredns_kubernetes_rest_client_requests_total{code="403",host="172.21.0.1:443",method="GET"} 3
coredns_kubernetes_rest_client_requests_total{code="429",host="172.21.0.1:443",method="GET"} 4
coredns_kubernetes_rest_client_requests_total{code="404",host="172.21.0.1:443",method="GET"} 5
coredns_kubernetes_rest_client_requests_total{code="503",host="172.21.0.1:443",method="GET"} 6
coredns_kubernetes_rest_client_requests_total{code="<error>",host="172.21.0.1:443",method="GET"} 7
`, release)
	if sum != "" {
		fmt.Fprintf(&b, "# TYPE coredns_reload_version_info gauge\ncoredns_reload_version_info{hash=%q,value=%q} 1\n", algorithm, sum)
	}
	return b.String()
}

func newTestProber(t testing.TB, n *network, timeout time.Duration) *Prober {
	t.Helper()
	p, err := NewProber(ProberConfig{
		Dial: n.Dial, Timeout: timeout, Concurrency: 8, Name: testName, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
