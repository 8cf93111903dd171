package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"

	"ack-exporter/collector"
	"ack-exporter/internal/server"
	"ack-exporter/internal/server/servertest"
)

var quiet = slog.New(slog.DiscardHandler)

func handler(t *testing.T, change func(*server.Options)) http.Handler {
	t.Helper()
	o := server.Options{
		MetricsPath: "/metrics",
		Registry:    prometheus.NewRegistry(),
		Pending:     func() []collector.Pending { return nil },
		Log:         quiet,
	}
	change(&o)
	h, err := server.NewHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t *testing.T, h http.Handler, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w.Code, w.Body.String()
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	var pending []collector.Pending
	h := handler(t, func(o *server.Options) { o.Pending = func() []collector.Pending { return pending } })
	if status, body := get(t, h, "/readyz"); status != http.StatusOK || body != "ready\n" {
		t.Errorf("%d %s", status, body)
	}
	pending = []collector.Pending{{Name: "table"}, {Name: "log", Err: fmt.Errorf("open: %w", syscall.EPERM)}}
	if status, body := get(t, h, "/readyz"); status != http.StatusServiceUnavailable || body != "table: no refresh has ended yet\nlog: permission\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get(t, h, "/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
}

func TestLandingPageLinksToEverything(t *testing.T) {
	t.Parallel()
	h := handler(t, func(o *server.Options) { o.MetricsPath = "/deep/metrics" })
	status, body := get(t, h, "/")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	for _, link := range []string{"deep/metrics", "readyz", "healthz"} {
		if !strings.Contains(body, `href="/`+link+`"`) {
			t.Errorf("no link to %s in %s", link, body)
		}
		if status, _ := get(t, h, "/"+link); status != http.StatusOK {
			t.Errorf("%s answers %d", link, status)
		}
	}
	if status, _ := get(t, h, "/nothing"); status != http.StatusNotFound {
		t.Errorf("a path that is not there answers %d", status)
	}
}

func TestMetricsAtTheRoot(t *testing.T) {
	t.Parallel()
	h := handler(t, func(o *server.Options) { o.MetricsPath = "/" })
	if _, body := get(t, h, "/"); !strings.Contains(body, "promhttp_metric_handler_errors_total") {
		t.Errorf("got %s", body)
	}
}

func TestPathsThatCannotBe(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"metrics":  `the telemetry path "metrics" does not begin with a slash`,
		"":         `the telemetry path "" does not begin with a slash`,
		"/healthz": "the telemetry path /healthz is taken",
		"/readyz":  "the telemetry path /readyz is taken",
		"/{x}/y":   `the telemetry path "/{x}/y" has a brace or a space`,
		"/a b":     `the telemetry path "/a b" has a brace or a space`,
	} {
		_, err := server.NewHandler(server.Options{MetricsPath: path, Log: quiet})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// gate is a prometheus.Collector that is as slow as the test wants.
type gate struct {
	begun   chan struct{}
	release chan struct{}
	gathers atomic.Int64
}

func newGate() *gate {
	return &gate{begun: make(chan struct{}, 100), release: make(chan struct{})}
}

var descGate = prometheus.NewDesc("ack_test_gate", "A gate.", nil, nil)

func (*gate) Describe(ch chan<- *prometheus.Desc) { ch <- descGate }

func (g *gate) Collect(ch chan<- prometheus.Metric) {
	g.gathers.Add(1)
	g.begun <- struct{}{}
	<-g.release
	ch <- prometheus.MustNewConstMetric(descGate, prometheus.GaugeValue, 1)
}

func TestOverlappingScrapesShareOneGatherAndAreLimited(t *testing.T) {
	t.Parallel()
	g := newGate()
	h := handler(t, func(o *server.Options) {
		o.MaxRequests = 3
		o.Registry.MustRegister(g)
	})
	var wg sync.WaitGroup
	answers := make(chan string, 3)
	for range 3 {
		wg.Go(func() {
			_, body := get(t, h, "/metrics")
			answers <- body
		})
	}
	<-g.begun
	// Once three are in flight a fourth is refused; until then it joins them.
	await(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		refused := make(chan int, 1)
		go func() {
			status, _ := get(t, h, "/metrics")
			refused <- status
		}()
		select {
		case status := <-refused:
			return status == http.StatusServiceUnavailable
		case <-ctx.Done():
			return false
		}
	})
	close(g.release)
	wg.Wait()
	for range 3 {
		select {
		case body := <-answers:
			if strings.Contains(body, "ack_test_gate 1\n") {
				continue
			}
			if !strings.Contains(body, "Limit of concurrent requests reached") {
				t.Errorf("got %s", body)
			}
		default:
			t.Error("an answer is missing")
		}
	}
	if n := g.gathers.Load(); n != 1 {
		t.Errorf("%d gathers", n)
	}
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	servertest.Await(t, condition, func() string { return "nothing came" })
}

// twice sends one series two times, which a registry refuses.
type twice struct{}

func (twice) Describe(ch chan<- *prometheus.Desc) { ch <- descGate }

func (twice) Collect(ch chan<- prometheus.Metric) {
	for range 2 {
		ch <- prometheus.MustNewConstMetric(descGate, prometheus.GaugeValue, 1)
	}
}

func TestOneBadSeriesDoesNotHideTheOthers(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := handler(t, func(o *server.Options) {
		o.Registry.MustRegister(twice{})
		good := prometheus.NewGauge(prometheus.GaugeOpts{Name: "ack_test_good", Help: "Good."})
		o.Registry.MustRegister(good)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	status, body := get(t, h, "/metrics")
	if status != http.StatusOK || !strings.Contains(body, "ack_test_good 0\n") {
		t.Errorf("%d %s", status, body)
	}
	if !strings.Contains(log.String(), "ack_test_gate") {
		t.Errorf("the log does not name the series: %s", &log)
	}
	if _, body := get(t, h, "/metrics"); !strings.Contains(body, `promhttp_metric_handler_errors_total{cause="gathering"} 1`) {
		t.Errorf("the error is not counted: %s", body)
	}
}

func flags(address, configFile string) *web.FlagConfig {
	return &web.FlagConfig{WebListenAddresses: &[]string{address}, WebSystemdSocket: new(bool), WebConfigFile: &configFile}
}

// serving serves h until the returned stop is called, which returns what Serve did.
func serving(t *testing.T, h http.Handler, f *web.FlagConfig) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, h, f, quiet) }()
	await(t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", (*f.WebListenAddresses)[0])
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return func() error {
		cancel()
		return <-ended
	}
}

func TestStopFinishesTheAnswersThatHaveBegun(t *testing.T) {
	t.Parallel()
	g := newGate()
	address := servertest.FreeAddress(t)
	stop := serving(t, handler(t, func(o *server.Options) { o.Registry.MustRegister(g) }), flags(address, ""))

	type answer struct {
		body string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		body, err := servertest.Fetch(t.Context(), http.DefaultClient, "http://"+address+"/metrics")
		answers <- answer{body, err}
	}()
	<-g.begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	// The listener closes at once: no new connection is taken.
	await(t, func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with an answer open: %v", err)
	default:
	}
	close(g.release)
	if a := <-answers; a.err != nil || !strings.Contains(a.body, "ack_test_gate 1\n") {
		t.Errorf("the answer was cut: %v %s", a.err, a.body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	g := newGate()
	defer close(g.release)
	address := servertest.FreeAddress(t)
	stop := serving(t, handler(t, func(o *server.Options) { o.Registry.MustRegister(g) }), flags(address, ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _, _ = servertest.Fetch(ctx, http.DefaultClient, "http://"+address+"/metrics") }()
	<-g.begun
	start := time.Now()
	err := stop()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took < 4*time.Second || took > 15*time.Second {
		t.Errorf("the stop took %s instead of about 5s", took)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	address := servertest.FreeAddress(t)
	stop := serving(t, http.NotFoundHandler(), flags(address, ""))
	err := server.Serve(t.Context(), http.NotFoundHandler(), flags(address, ""), quiet)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// authority is a certificate authority made for one test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	return a
}

// issue writes name.crt and name.key.
func (a *authority) issue(name string, c *x509.Certificate, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, parentKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name string, content []byte) string {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return a.path(name)
}

func (a *authority) client(withCertificate bool) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if withCertificate {
		pair, err := tls.LoadX509KeyPair(a.path("client.crt"), a.path("client.key"))
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

func TestTLSClientCertificatesAndBasicAuth(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, a.cert, a.key)
	a.issue("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := a.write("web.yml", fmt.Appendf(nil, `tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
basic_auth_users:
  prometheus: %s
`, hash))
	address := servertest.FreeAddress(t)
	stop := serving(t, handler(t, func(*server.Options) {}), flags(address, config))

	if _, err := servertest.Fetch(t.Context(), http.DefaultClient, "http://"+address+"/metrics"); err == nil {
		t.Error("plain HTTP was answered")
	}
	if _, err := servertest.Fetch(t.Context(), a.client(false), "https://prometheus:secret@"+address+"/metrics"); err == nil {
		t.Error("no client certificate, and answered")
	}
	if _, err := servertest.Fetch(t.Context(), a.client(true), "https://"+address+"/metrics"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("no password: %v", err)
	}
	if _, err := servertest.Fetch(t.Context(), a.client(true), "https://prometheus:guess@"+address+"/metrics"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("wrong password: %v", err)
	}
	body, err := servertest.Fetch(t.Context(), a.client(true), "https://prometheus:secret@"+address+"/metrics")
	if err != nil || !strings.Contains(body, "promhttp_metric_handler_errors_total") {
		t.Errorf("%v %s", err, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestBadWebConfig(t *testing.T) {
	t.Parallel()
	a := &authority{t: t, dir: t.TempDir()}
	for name, content := range map[string]string{
		"unknown field":  "tls_server_confik: {}\n",
		"no certificate": "tls_server_config:\n  key_file: x\n",
		"bad hash":       "basic_auth_users:\n  x: plain\n",
	} {
		config := a.write("web.yml", []byte(content))
		if err := server.Serve(t.Context(), http.NotFoundHandler(), flags(servertest.FreeAddress(t), config), quiet); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
