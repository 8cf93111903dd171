// Package metadatatest stands in for the metadata service of an ECS instance.
package metadatatest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Service answers for one instance. Its fields are set before it serves; what
// changes later has methods.
type Service struct {
	// Hardened refuses with this status what has no token that is valid; 0: it does not.
	Hardened int
	// NoTokens answers with this status who asks for a token; 0: it gives one.
	NoTokens int

	mu       sync.Mutex
	paths    map[string]func() string
	tokens   map[string]time.Time // until when
	requests []string
}

// New is the service of a spot instance that nobody reclaims.
func New() *Service {
	s := &Service{paths: map[string]func() string{}, tokens: map[string]time.Time{}}
	s.Set("instance-id", "i-bp1aaaa")
	s.Set("instance/instance-type", "ecs.g6e.large")
	s.Set("region-id", "cn-hangzhou")
	s.Set("zone-id", "cn-hangzhou-i")
	return s
}

// Notice is the path of the notice, as for Set.
const Notice = "instance/spot/termination-time"

// Set changes the answer of a path below meta-data.
func (s *Service) Set(path, answer string) { s.set(path, func() string { return answer }) }

func (s *Service) set(path string, answer func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths[path] = answer
}

const rolePath = "ram/security-credentials/"

// SetRole gives the instance a RAM role. credentials is called for each answer, and
// returns the JSON that describes them.
func (s *Service) SetRole(name string, credentials func() string) {
	s.Set(rolePath, name)
	s.set(rolePath+name, credentials)
}

// RemoveRole takes the role away.
func (s *Service) RemoveRole(name string) {
	s.Remove(rolePath)
	s.Remove(rolePath + name)
}

// Remove makes a path below meta-data answer 404.
func (s *Service) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.paths, path)
}

// Revoke makes the tokens invalid that were given out.
func (s *Service) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Requests are the requests since the last call: method, last part of the path, and
// whether they had a token.
func (s *Service) Requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.requests, " ")
	s.requests = nil
	return all
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := r.Header.Get("X-aliyun-ecs-metadata-token")
	line := r.Method + ":" + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if token != "" {
		line += "+token"
	}
	s.requests = append(s.requests, line)
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
		s.give(w, r)
		return
	}
	answer, ok := s.paths[strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")]
	switch {
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case s.Hardened != 0 && !time.Now().Before(s.tokens[token]):
		w.WriteHeader(s.Hardened)
	case !ok:
		http.NotFound(w, r)
	default:
		_, _ = io.WriteString(w, answer())
	}
}

func (s *Service) give(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get("X-aliyun-ecs-metadata-token-ttl-seconds"))
	switch {
	case s.NoTokens != 0:
		w.WriteHeader(s.NoTokens)
	case err != nil || ttl < 1 || ttl > 21600:
		w.WriteHeader(http.StatusBadRequest)
	case r.Header.Get("X-Forwarded-For") != "":
		w.WriteHeader(http.StatusForbidden)
	default:
		token := fmt.Sprintf("secret-%d==", len(s.tokens)+1)
		s.tokens[token] = time.Now().Add(time.Duration(ttl) * time.Second)
		_, _ = io.WriteString(w, token)
	}
}

// Dial serves handler to whoever dials any address, over pipes in memory: nothing
// touches the network, and it works with the clock of testing/synctest.
func Dial(t testing.TB, handler http.Handler) func(ctx context.Context, network, address string) (net.Conn, error) {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return l.dial
}

// listener hands over the other ends of the pipes that dial makes.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return pipe{} }

type pipe struct{}

func (pipe) Network() string { return "pipe" }
func (pipe) String() string  { return "pipe" }
