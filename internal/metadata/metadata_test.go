package metadata_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ack-exporter/collector"
	"ack-exporter/internal/metadata"
	"ack-exporter/internal/metadata/metadatatest"
)

// proxy is in the environment of all tests. The standard library reads that once.
const proxy = "http://127.0.0.1:9"

func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		if err := os.Setenv(name, proxy); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

var (
	self = metadata.Instance{ID: "i-bp1aaaa", Type: "ecs.g6e.large", Region: "cn-hangzhou", Zone: "cn-hangzhou-i"}
	soon = time.Date(2030, 1, 5, 18, 2, 0, 0, time.UTC)
)

// client asks handler, which listens on loopback.
func client(t *testing.T, handler http.Handler) *metadata.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newClient(t, metadata.Config{Endpoint: server.URL})
}

func newClient(t *testing.T, config metadata.Config) *metadata.Client {
	t.Helper()
	c, err := metadata.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// expect polls once and compares.
func expect(t *testing.T, c *metadata.Client, want metadata.Snapshot) {
	t.Helper()
	got, err := c.Poll(t.Context())
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
}

func expectRequests(t *testing.T, s *metadatatest.Service, want string) {
	t.Helper()
	if got := s.Requests(); got != want {
		t.Fatalf("requests:\n%s\nwant:\n%s", got, want)
	}
}

const (
	firstPoll = "PUT:token GET:termination-time+token GET:instance-id+token GET:instance-type+token GET:region-id+token GET:zone-id+token"
	laterPoll = "GET:termination-time+token GET:instance-id+token"
)

func TestPoll(t *testing.T) {
	t.Parallel()
	for name, hardened := range map[string]int{"tokens optional": 0, "hardened only, 401": 401, "hardened only, 403": 403} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := metadatatest.New()
			s.Hardened = hardened
			c := client(t, s)
			expect(t, c, metadata.Snapshot{Instance: self, Known: true})
			expectRequests(t, s, firstPoll)
			expect(t, c, metadata.Snapshot{Instance: self, Known: true})
			expectRequests(t, s, laterPoll)
			s.Set(metadatatest.Notice, "2030-01-05T18:02:00Z")
			expect(t, c, metadata.Snapshot{Instance: self, Known: true, Termination: soon})
			s.Set(metadatatest.Notice, " \n") // older documents say so
			expect(t, c, metadata.Snapshot{Instance: self, Known: true})
		})
	}
}

// TestTokenExpires: one token serves until shortly before its end.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := metadatatest.New()
		s.Hardened = 401
		c := newClient(t, metadata.Config{Endpoint: metadata.DefaultEndpoint, Dial: metadatatest.Dial(t, s)})
		known := metadata.Snapshot{Instance: self, Known: true}
		expect(t, c, known)
		s.Requests()
		wait(t, 5*time.Hour+54*time.Minute)
		expect(t, c, known)
		expectRequests(t, s, laterPoll)
		wait(t, 2*time.Minute)
		expect(t, c, known)
		expectRequests(t, s, "PUT:token "+laterPoll)
	})
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// TestRefusedToken: it is replaced once in a poll, and never more often.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	s := metadatatest.New()
	s.Hardened = 403
	c := client(t, s)
	known := metadata.Snapshot{Instance: self, Known: true}
	expect(t, c, known)
	s.Requests()
	s.Revoke()
	expect(t, c, known)
	expectRequests(t, s, "GET:termination-time+token PUT:token "+laterPoll)

	always := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = io.WriteString(w, "secret-token")
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	got, err := always.Poll(t.Context())
	if got != (metadata.Snapshot{}) || collector.ReasonOf(err) != collector.ReasonForbidden {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestTokenless: a service without tokens is asked without, and one that gives none
// but wants one is an error that says both.
func TestTokenless(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 405, 403, 500, 302} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := metadatatest.New()
			s.NoTokens = status
			c := client(t, s)
			expect(t, c, metadata.Snapshot{Instance: self, Known: true})
			expectRequests(t, s, strings.ReplaceAll(firstPoll, "+token", ""))
			s.Set(metadatatest.Notice, "2030-01-05T18:02:00Z")
			expect(t, c, metadata.Snapshot{Instance: self, Known: true, Termination: soon})
		})
	}
	s := metadatatest.New()
	s.NoTokens, s.Hardened = 500, 403
	c := client(t, s)
	got, err := c.Poll(t.Context())
	if got.Known || collector.ReasonOf(err) != collector.ReasonForbidden || !strings.Contains(err.Error(), "token: status 500") {
		t.Errorf("got %+v, %v", got, err)
	}
	expectRequests(t, s, "PUT:token GET:termination-time PUT:token GET:termination-time GET:instance-id")
}

// TestNotFoundIsNotBelieved: not from a service that does not know for which
// instance it speaks. A notice is.
func TestNotFoundIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*metadatatest.Service){
		"everything is 404":       func(s *metadatatest.Service) { s.Remove("instance-id") },
		"a page in place of it":   func(s *metadatatest.Service) { s.Set("instance-id", "<html>Welcome</html>") },
		"an empty page":           func(s *metadatatest.Service) { s.Set("instance-id", "") },
		"an identifier too long":  func(s *metadatatest.Service) { s.Set("instance-id", strings.Repeat("i", 129)) },
		"a page that is too long": func(s *metadatatest.Service) { s.Set("instance-id", strings.Repeat("i", 257)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := metadatatest.New()
			breakIt(s)
			c := client(t, s)
			if got, err := c.Poll(t.Context()); err == nil || got != (metadata.Snapshot{}) {
				t.Errorf("got %+v, %v", got, err)
			}
			s.Set(metadatatest.Notice, "2030-01-05T18:02:00Z")
			if got, err := c.Poll(t.Context()); err == nil || got != (metadata.Snapshot{Known: true, Termination: soon}) {
				t.Errorf("with a notice: got %+v, %v", got, err)
			}
		})
	}
}

// TestIdentityInPart: the notice does not depend on it.
func TestIdentityInPart(t *testing.T) {
	t.Parallel()
	s := metadatatest.New()
	s.Remove("region-id")
	c := client(t, s)
	got, err := c.Poll(t.Context())
	want := metadata.Snapshot{Instance: metadata.Instance{ID: self.ID, Type: self.Type}, Known: true}
	if got != want || collector.ReasonOf(err) != collector.ReasonUnavailable || !strings.Contains(err.Error(), "region-id: status 404") {
		t.Errorf("got %+v, %v", got, err)
	}
	s.Set("region-id", "cn-hangzhou")
	expect(t, c, metadata.Snapshot{Instance: self, Known: true})
	s.Set("instance-id", "i-bp1bbbb")
	s.Set("zone-id", "cn-hangzhou-j")
	expect(t, c, metadata.Snapshot{
		Instance: metadata.Instance{ID: "i-bp1bbbb", Type: self.Type, Region: self.Region, Zone: "cn-hangzhou-j"},
		Known:    true,
	})
}

// TestBadNotice: what is no time is an error, never a notice and never none.
func TestBadNotice(t *testing.T) {
	t.Parallel()
	s := metadatatest.New()
	c := client(t, s)
	for _, body := range []string{
		"soon", "None", "2030-01-05", "2030-01-05T18:02Z", "2030-01-05 18:02:00", "2030-01-05T18:02:00", "2030-01-05T18:02:00+08:00",
		"2030-13-05T18:02:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "<html>", "2030-01-05T18:02:00Z\n2030-01-05T18:02:00Z",
		strings.Repeat("9", 300), strings.Repeat("x", 10<<20),
	} {
		s.Set(metadatatest.Notice, body)
		got, err := c.Poll(t.Context())
		if got != (metadata.Snapshot{Instance: self}) || collector.ReasonOf(err) != collector.ReasonDecode || len(err.Error()) > 300 {
			t.Errorf("%.40q: got %+v, %.400v", body, got, err)
		}
	}
}

// TestOtherAnswers: each has its reason.
func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]collector.Reason{
		302: collector.ReasonUnavailable, 403: collector.ReasonForbidden, 429: collector.ReasonThrottled,
		204: collector.ReasonUnavailable, 502: collector.ReasonUnavailable,
	} {
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		got, err := c.Poll(t.Context())
		if got != (metadata.Snapshot{}) || collector.ReasonOf(err) != want {
			t.Errorf("%d: got %+v, %v", status, got, err)
		}
	}
}

// TestRedirectIsNotFollowed: the token stays with the service.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("followed to %s", r.URL) }))
	t.Cleanup(other.Close)
	c := client(t, http.RedirectHandler(other.URL+"/latest/meta-data/instance-id", http.StatusTemporaryRedirect))
	if got, err := c.Poll(t.Context()); got != (metadata.Snapshot{}) || !strings.Contains(fmt.Sprint(err), "status 307") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestNoProxy: neither that of the environment nor traces of one.
func TestNoProxy(t *testing.T) {
	t.Parallel()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, metadata.DefaultEndpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := http.ProxyFromEnvironment(req); err != nil || u == nil || u.String() != proxy {
		t.Fatalf("the environment names the proxy %v, %v: this test shows nothing", u, err)
	}
	s := metadatatest.New()
	dial := metadatatest.Dial(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Forwarded") || name == "Via" || name == "Forwarded" {
				t.Errorf("header %s", name)
			}
		}
		s.ServeHTTP(w, r)
	}))
	c := newClient(t, metadata.Config{
		Endpoint: metadata.DefaultEndpoint,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "100.100.100.200:80" {
				t.Errorf("dials %s", address)
			}
			return dial(ctx, network, address)
		},
	})
	expect(t, c, metadata.Snapshot{Instance: self, Known: true})
}

// TestOneConnection: a poll needs one, and leaves none.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	dial := metadatatest.Dial(t, metadatatest.New())
	var dialled, closed atomic.Int32
	c := newClient(t, metadata.Config{
		Endpoint: "http://metadata.test",
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled.Add(1)
			conn, err := dial(ctx, network, address)
			return counted{conn, &closed}, err
		},
	})
	for poll := range int32(3) {
		expect(t, c, metadata.Snapshot{Instance: self, Known: true})
		if got := [2]int32{dialled.Load(), closed.Load()}; got != [2]int32{poll + 1, poll + 1} {
			t.Errorf("after %d polls: dialled %d, closed %d", poll+1, got[0], got[1])
		}
	}
}

// counted is a connection whose end is counted.
type counted struct {
	net.Conn
	closed *atomic.Int32
}

func (c counted) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

// TestSlowService: neither a service that never answers nor one whose body never
// ends is waited for longer than two seconds a request, or than the caller waits.
func TestSlowService(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a body that does not end": func(w http.ResponseWriter, r *http.Request) {
			for ticker := time.NewTicker(100 * time.Millisecond); ; {
				_, _ = io.WriteString(w, "2")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					ticker.Stop()
					return
				case <-ticker.C:
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, metadata.Config{Endpoint: "http://metadata.test", Dial: metadatatest.Dial(t, handler)})
				start := time.Now()
				got, err := c.Poll(t.Context())
				if took := time.Since(start); got != (metadata.Snapshot{}) || collector.ReasonOf(err) != collector.ReasonTimeout || took > 6*time.Second {
					t.Errorf("got %+v, %v after %s", got, err, took)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start = time.Now()
				got, err = c.Poll(ctx)
				if took := time.Since(start); got != (metadata.Snapshot{}) || !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
					t.Errorf("got %+v, %v after %s", got, err, took)
				}
			})
		})
	}
}

// TestHugeAnswers: headers and tokens have bounds too, and no error shows a token.
func TestHugeAnswers(t *testing.T) {
	t.Parallel()
	s := metadatatest.New()
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("x", 64<<10))
		s.ServeHTTP(w, r)
	}))
	if got, err := c.Poll(t.Context()); err == nil || got != (metadata.Snapshot{}) {
		t.Errorf("headers: got %+v, %v", got, err)
	}
	for _, token := range []string{strings.Repeat("secret", 1<<20), "secret\r\nX-Injected: 1", "secret secret", ""} {
		c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				_, _ = io.WriteString(w, token)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		}))
		_, err := c.Poll(t.Context())
		if !errors.Is(err, collector.ErrDecode) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v", token, err)
		}
	}
}

func TestNoServiceThere(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := newClient(t, metadata.Config{Endpoint: server.URL})
	if got, err := c.Poll(t.Context()); got != (metadata.Snapshot{}) || collector.ReasonOf(err) != collector.ReasonUnavailable {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{metadata.DefaultEndpoint, "http://127.0.0.1:8080", "http://[::1]:80", "http://metadata"} {
		if _, err := metadata.New(metadata.Config{Endpoint: endpoint}); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	for _, endpoint := range []string{
		"", "100.100.100.200", "127.0.0.1:80", "https://127.0.0.1", "http://", "http://:80", "http://127.0.0.1/", "http://127.0.0.1/latest",
		"http://user:secret@127.0.0.1", "http://127.0.0.1?x", "http://127.0.0.1#x", "http://127.0.0.1:port", "http://a b", "http://%zz", strings.Repeat("x", 9999),
	} {
		if _, err := metadata.New(metadata.Config{Endpoint: endpoint}); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.40s: %v", endpoint, err)
		}
	}
}
