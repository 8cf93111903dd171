package certificate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/kube"
)

// The paths of the four kinds.
const (
	bundleValidating = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
	bundleMutating   = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	bundleAPI        = "/apis/apiregistration.k8s.io/v1/apiservices"
	bundleCRD        = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
)

// bundleServer answers lists page by page as an API server does. An object is JSON.
type bundleServer struct {
	objects map[string][]string
	// answer takes over the answer to a request of this number for a path, from 1,
	// unless it returns false.
	answer func(w http.ResponseWriter, path string, number int) bool

	mu       sync.Mutex
	requests map[string][]*http.Request
}

func (s *bundleServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	s.mu.Lock()
	if s.requests == nil {
		s.requests = make(map[string][]*http.Request)
	}
	s.requests[path] = append(s.requests[path], r)
	number := len(s.requests[path])
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if s.answer != nil && s.answer(w, path, number) {
		return
	}
	objects, known := s.objects[path]
	if !known {
		bundleRefuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	first, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	last, next := min(first+limit, len(objects)), ""
	if last < len(objects) {
		next = strconv.Itoa(last)
	}
	_, _ = io.WriteString(w, bundleList(next, objects[first:last]...))
}

func bundleList(next string, objects ...string) string {
	return fmt.Sprintf(`{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`,
		next, strings.Join(objects, ","))
}

func bundleRefuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code),
	})
}

// newBundleServer has an API with nothing in it.
func newBundleServer() *bundleServer {
	return &bundleServer{objects: map[string][]string{bundleValidating: nil, bundleMutating: nil, bundleAPI: nil, bundleCRD: nil}}
}

// client is that of the exporter.
func (s *bundleServer) client(t testing.TB) rest.Interface {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	clients, err := kube.NewClients(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return clients.Core
}

// listed is a Lister of what does not change.
type listed[T any] struct {
	objects []T
	err     error
}

func (l listed[T]) List() ([]T, error) { return l.objects, l.err }

func bundleServiceObject(namespace, name, address string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: address, ClusterIPs: []string{address}},
	}
}

// bundleTo leads each address to where it is on loopback. Others refuse.
func bundleTo(servers map[string]*endpointServer) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		s := servers[address]
		if s == nil {
			return nil, fmt.Errorf("%s: connection refused", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, s.address())
	}
}

func newBundles(t testing.TB, s *bundleServer, services []*corev1.Service, servers map[string]*endpointServer) *Bundles {
	t.Helper()
	prober := endpointProber()
	prober.Dial = bundleTo(servers)
	b, err := NewBundles(BundlesConfig{Client: s.client(t), Services: listed[*corev1.Service]{objects: services}, Prober: prober})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bundleOf(pairs ...*endpointPair) string {
	var bundle []byte
	for _, p := range pairs {
		bundle = append(bundle, p.pem()...)
	}
	return base64.StdEncoding.EncodeToString(bundle)
}

// bundleService is a reference to webhook in the namespace system.
const bundleReference = `{"namespace":"system","name":"webhook"}`

// bundleConfig is a clientConfig.
func bundleConfig(bundle, service string) string {
	if service == "" {
		return fmt.Sprintf(`{"caBundle":%q}`, bundle)
	}
	return fmt.Sprintf(`{"caBundle":%q,"service":%s}`, bundle, service)
}

// bundleHook is a webhook configuration with one webhook of the name hook.example.
func bundleHook(name, config string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"webhooks":[{"name":"hook.example","clientConfig":%s}]}`, name, config)
}

func bundleAPIService(name, spec string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"spec":%s}`, name, spec)
}

func bundleConversion(name, config string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"group":"x","conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":%s}}}}`, name, config)
}

func has(t testing.TB, got string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
}

func lacks(t testing.TB, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(got, text) {
			t.Errorf("%s is in\n%s", text, got)
		}
	}
}

const bundleServerName = "webhook.system.svc"

// TestBundles shows all there is in one cluster.
func TestBundles(t *testing.T) {
	t.Parallel()
	ca, other := endpointCA(t, nil, 0xca, "webhook-ca"), endpointCA(t, nil, 0xcb, "other-ca")
	good := endpointTLS(t, endpointLeaf(t, ca, 1, bundleServerName), nil)
	metrics := endpointTLS(t, endpointExpired(t, ca, 2, "metrics.system.svc"), nil)
	wrong := endpointTLS(t, endpointLeaf(t, ca, 3, "elsewhere.system.svc"), nil)
	silent := endpointListen(t, endpointSilent)

	s := newBundleServer()
	s.objects[bundleValidating] = []string{
		bundleHook("good", bundleConfig(bundleOf(ca), bundleReference)),
		bundleHook("mixed-up", bundleConfig(bundleOf(other), bundleReference)),
		bundleHook("old-and-new", bundleConfig(bundleOf(other, ca), bundleReference)),
		bundleHook("broken", bundleConfig(base64.StdEncoding.EncodeToString([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n")), bundleReference)),
		bundleHook("empty", bundleConfig("", bundleReference)),
		bundleHook("by-url", fmt.Sprintf(`{"caBundle":%q,"url":"https://hooks.example.com/v1"}`, bundleOf(ca))),
	}
	s.objects[bundleMutating] = []string{
		fmt.Sprintf(`{"metadata":{"name":"kept","annotations":{"cert-manager.io/inject-ca-from":"system/webhook"}},"webhooks":[
			{"name":"one.example","clientConfig":%s},{"name":"two.example","clientConfig":%s}]}`,
			bundleConfig(bundleOf(ca), bundleReference), bundleConfig(bundleOf(ca), `{"namespace":"system","name":"wrong","port":8443}`)),
		bundleHook("lost", bundleConfig(bundleOf(ca), `{"namespace":"system","name":"gone"}`)),
		bundleHook("no-address", bundleConfig(bundleOf(ca), `{"namespace":"system","name":"headless"}`)),
	}
	s.objects[bundleAPI] = []string{
		bundleAPIService("v1.apps", `{"service":null,"group":"apps","caBundle":null}`),
		bundleAPIService("v1beta1.metrics.k8s.io", fmt.Sprintf(`{"service":{"namespace":"system","name":"metrics","port":443},"caBundle":%q}`, bundleOf(ca))),
		bundleAPIService("v1.insecure.example", fmt.Sprintf(`{"service":%s,"insecureSkipTLSVerify":true,"caBundle":%q}`, bundleReference, bundleOf(other))),
	}
	s.objects[bundleCRD] = []string{
		`{"metadata":{"name":"plain.example"},"spec":{"conversion":{"strategy":"None"}}}`,
		bundleConversion("things.example", bundleConfig(bundleOf(ca), `{"namespace":"system","name":"silent"}`)),
	}
	services := []*corev1.Service{
		bundleServiceObject("system", "webhook", "10.0.0.1"), bundleServiceObject("system", "metrics", "10.0.0.2"),
		bundleServiceObject("system", "wrong", "10.0.0.3"), bundleServiceObject("system", "silent", "10.0.0.4"),
		bundleServiceObject("system", "headless", "None"), bundleServiceObject("elsewhere", "gone", "10.0.0.5"),
	}
	b := newBundles(t, s, services, map[string]*endpointServer{
		"10.0.0.1:443": good, "10.0.0.2:443": metrics, "10.0.0.3:8443": wrong, "10.0.0.4:443": silent,
	})
	b.config.Prober.Timeout = 500 * time.Millisecond
	got, err := collectortest.Collect(t, b)
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "bundles.txt", got)
	if n := good.connections.Load(); n != 1 {
		t.Errorf("one Service was called %d times", n)
	}
	for path, requests := range s.requests {
		q := requests[0].URL.Query()
		limit := map[bool]string{true: "10", false: "50"}[path == bundleCRD]
		if q.Get("limit") != limit || q.Has("resourceVersion") || q.Has("watch") || requests[0].Header.Get("Accept") != "application/json" {
			t.Errorf("%s: %v, %v", path, q, requests[0].Header)
		}
	}
}

func TestBundlesOfNothing(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*bundleServer{"no objects": newBundleServer(), "no APIs": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := collectortest.Collect(t, newBundles(t, s, nil, nil))
			if err != nil {
				t.Fatal(err)
			}
			has(t, got, `ack_certificate_locations{source="webhook"} 0`, `ack_certificate_locations{source="apiservice"} 0`,
				`ack_certificate_locations{source="crd"} 0`, `ack_certificate_locations{source="backend"} 0`)
			lacks(t, got, "ack_certificate_info", "ack_certificate_errors")
		})
	}
}

func TestBundleURLs(t *testing.T) {
	t.Parallel()
	ca := endpointCA(t, nil, 1, "ca")
	server := endpointTLS(t, endpointLeaf(t, ca, 2, "hooks.example.com"), nil)
	s := newBundleServer()
	for i, u := range []string{"https://hooks.example.com/a", "https://hooks.example.com:8443/b", "https://hooks.example.com:0/", "http://hooks.example.com/", "://", "https:///path", "https://hooks.example.com:99999/"} {
		s.objects[bundleMutating] = append(s.objects[bundleMutating], bundleHook(strconv.Itoa(i), fmt.Sprintf(`{"caBundle":%q,"url":%q}`, bundleOf(ca), u)))
	}
	b := newBundles(t, s, nil, map[string]*endpointServer{"hooks.example.com:443": server, "hooks.example.com:8443": server})
	got, err := collectortest.Collect(t, b)
	if err != nil {
		t.Fatal(err)
	}
	has(t, got, `ack_certificate_locations{source="webhook"} 7`, `ack_certificate_locations{source="backend"} 0`)
	if n := server.connections.Load(); n != 0 {
		t.Errorf("a URL was called %d times without the flag", n)
	}
	b.config.ProbeURLs = true
	if got, err = collectortest.Collect(t, b); err != nil {
		t.Fatal(err)
	}
	has(t, got, `ack_certificate_locations{source="backend"} 2`,
		`ack_certificate_info{class="manual",issuer="ca",key="",location="hooks.example.com:8443",role="leaf",serial="2",source="backend",subject="server"} 1`)
	lacks(t, got, "ack_certificate_problem", "ack_certificate_errors")
}

// TestBundlesFail has one of the kinds fail in every way there is. It publishes
// nothing, and the others everything.
func TestBundlesFail(t *testing.T) {
	t.Parallel()
	ca := endpointCA(t, nil, 1, "ca")
	item := func(path, name string) string {
		config := bundleConfig(bundleOf(ca), "")
		switch path {
		case bundleAPI:
			return bundleAPIService(name, fmt.Sprintf(`{"service":%s,"caBundle":%q}`, bundleReference, bundleOf(ca)))
		case bundleCRD:
			return bundleConversion(name, config)
		default:
			return bundleHook(name, config)
		}
	}
	status := func(code int, reason metav1.StatusReason) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { bundleRefuse(w, code, reason) }
	}
	text := func(body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, body) }
	}
	cut := func(w http.ResponseWriter) {
		_, _ = io.WriteString(w, `{"metadata":{},"items":[`+item(bundleCRD, "first")+`,{"metadata":`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	kinds := map[string]string{bundleValidating: "validating/n-", bundleMutating: "mutating/n-", bundleAPI: "n-", bundleCRD: "n-"}
	for name, c := range map[string]struct {
		page   int
		answer func(http.ResponseWriter)
		reason collector.Reason
	}{
		"forbidden":             {1, status(http.StatusForbidden, metav1.StatusReasonForbidden), collector.ReasonForbidden},
		"unauthorized later":    {2, status(http.StatusUnauthorized, metav1.StatusReasonUnauthorized), collector.ReasonForbidden},
		"expired":               {2, status(http.StatusGone, metav1.StatusReasonExpired), collector.ReasonUnavailable},
		"not found later":       {2, status(http.StatusNotFound, metav1.StatusReasonNotFound), collector.ReasonUnavailable},
		"error of the server":   {3, status(http.StatusInternalServerError, metav1.StatusReasonInternalError), collector.ReasonUnavailable},
		"cut off":               {3, cut, collector.ReasonUnavailable},
		"ends early":            {2, text(`{"metadata":{"continue":""},"items":[`), collector.ReasonUnavailable},
		"nothing":               {2, text(""), collector.ReasonUnavailable},
		"broken":                {2, text(`{"items":[{]}`), collector.ReasonDecode},
		"no list":               {2, text(`{"kind":"Status"}`), collector.ReasonDecode},
		"a list":                {2, text(`[]`), collector.ReasonDecode},
		"items of another kind": {2, text(`{"items":{"a":1}}`), collector.ReasonDecode},
		"an item is a number":   {2, text(`{"items":[7]}`), collector.ReasonDecode},
		"a name is a number":    {2, text(`{"items":[{"metadata":{"name":7}}]}`), collector.ReasonDecode},
		"no name":               {2, text(`{"items":[{"metadata":{}}]}`), collector.ReasonDecode},
		"a long name":           {2, text(`{"items":[{"metadata":{"name":"` + strings.Repeat("n", 600) + `"}}]}`), collector.ReasonDecode},
		"a list and more":       {2, text(bundleList("") + `{}`), collector.ReasonDecode},
		"deep":                  {2, text(strings.Repeat(`{"a":`, 20_000)), collector.ReasonDecode},
		"HTML":                  {2, text(`<html>`), collector.ReasonDecode},
	} {
		for bad := range kinds {
			t.Run(name+bad, func(t *testing.T) {
				t.Parallel()
				s := newBundleServer()
				for path := range kinds {
					for i := range map[bool]int{true: 120, false: 3}[path == bad] {
						s.objects[path] = append(s.objects[path], item(path, fmt.Sprintf("n-%d", i)))
					}
				}
				s.answer = func(w http.ResponseWriter, path string, number int) bool {
					if path != bad || number != c.page {
						return false
					}
					c.answer(w)
					return true
				}
				b := newBundles(t, s, nil, nil)
				got, err := collectortest.Collect(t, b)
				if err == nil || collector.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), bad) {
					t.Errorf("%v", err)
				}
				for path, location := range kinds {
					source := map[string]string{bundleAPI: "apiservice", bundleCRD: "crd"}[path]
					if source == "" {
						source = "webhook"
					}
					shown := 0
					for line := range strings.Lines(got) {
						if strings.HasPrefix(line, "ack_certificate_info{") && strings.Contains(line, `location="`+location) && strings.Contains(line, fmt.Sprintf("source=%q", source)) {
							shown++
						}
					}
					if want := map[bool]int{true: 0, false: 3}[path == bad]; shown != want {
						t.Errorf("%s has %d of %d locations", path, shown, want)
					}
					badSource := bad == path || source == "webhook" && (bad == bundleValidating || bad == bundleMutating)
					if strings.Contains(got, fmt.Sprintf("ack_certificate_locations{source=%q}", source)) == badSource {
						t.Errorf("locations of %s: %t", source, badSource)
					}
				}
				lacks(t, got, `ack_certificate_locations{source="backend"}`)
			})
		}
	}
}

// TestBundlesFailOnAnyPage: whichever page fails, nothing of the kind is returned.
func TestBundlesFailOnAnyPage(t *testing.T) {
	t.Parallel()
	for _, kind := range bundleKinds() {
		for pages := 1; pages <= 4; pages++ {
			for failing := 1; failing <= pages+1; failing++ {
				s := newBundleServer()
				for i := range pages * kind.limit {
					object := bundleHook(strconv.Itoa(i), `{"url":"https://a"}`)
					switch kind.source {
					case SourceAPIService:
						object = bundleAPIService(strconv.Itoa(i), `{"service":`+bundleReference+`}`)
					case SourceCRD:
						object = bundleConversion(strconv.Itoa(i), `{"url":"https://a"}`)
					}
					s.objects[kind.path] = append(s.objects[kind.path], object)
				}
				s.answer = func(w http.ResponseWriter, _ string, number int) bool {
					if number == failing {
						bundleRefuse(w, http.StatusGone, metav1.StatusReasonExpired)
					}
					return number == failing
				}
				clients, err := kind.list(t.Context(), s.client(t))
				if want := map[bool]int{true: 0, false: pages * kind.limit}[failing <= pages]; len(clients) != want || (err == nil) != (failing > pages) {
					t.Errorf("%s, page %d of %d: %d clients, %v", kind.path, failing, pages, len(clients), err)
				}
			}
		}
	}
}

// TestBundlesGrow has a CustomResourceDefinition with all that the API server lets it
// have beside what is of use.
func TestBundlesGrow(t *testing.T) {
	t.Parallel()
	ca := endpointCA(t, nil, 1, "ca")
	s := newBundleServer()
	schema := `{"type":"object","description":"` + strings.Repeat("x", 1<<20) + `","a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`
	for i := range 25 {
		s.objects[bundleCRD] = append(s.objects[bundleCRD], fmt.Sprintf(
			`{"metadata":{"name":"n-%d","managedFields":[%s]},"spec":{"versions":[{"schema":%s}],"conversion":{"strategy":"Webhook","webhook":{"clientConfig":%s}}},"status":{"conditions":[]}}`,
			i, schema, schema, bundleConfig(bundleOf(ca), "")))
	}
	got, err := collectortest.Collect(t, newBundles(t, s, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	has(t, got, `ack_certificate_locations{source="crd"} 25`)
	if n := len(s.requests[bundleCRD]); n != 3 {
		t.Errorf("%d pages", n)
	}
}

// bundleEndless is a body that never ends.
type bundleEndless struct{ begun bool }

func (e *bundleEndless) Read(p []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(p, `{"items":["`), nil
	}
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestBundlePageIsBounded(t *testing.T) {
	t.Parallel()
	body := http.MaxBytesReader(nil, io.NopCloser(&bundleEndless{}), 1<<20)
	if _, err := bundleReadPage(body, func(*bundleObject) error { return nil }); !errors.Is(err, collector.ErrDecode) {
		t.Errorf("%v", err)
	}
	s := newBundleServer()
	s.answer = func(w http.ResponseWriter, path string, _ int) bool {
		if path == bundleCRD {
			_, _ = io.WriteString(w, bundleList("again"))
		}
		return path == bundleCRD
	}
	_, err := collectortest.Collect(t, newBundles(t, s, nil, nil))
	if !errors.Is(err, collector.ErrDecode) || len(s.requests[bundleCRD]) != bundleMaxPages {
		t.Errorf("%v after %d pages", err, len(s.requests[bundleCRD]))
	}
}

// TestHostileBundles has whatever a caBundle can be.
func TestHostileBundles(t *testing.T) {
	t.Parallel()
	ca := endpointCA(t, nil, 1, "ca")
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	garbage := "-----BEGIN CERTIFICATE-----\n" + encode(strings.Repeat("x", 200)) + "\n-----END CERTIFICATE-----\n"
	key := "-----BEGIN PRIVATE KEY-----\n" + encode("secret") + "\n-----END PRIVATE KEY-----\n"
	for name, c := range map[string]struct {
		bundle  string
		reasons []Reason
		n       int
	}{
		"good":            {bundleOf(ca), nil, 1},
		"nothing":         {"", nil, 0},
		"blanks":          {encode(" \n"), []Reason{ReasonEmpty}, 0},
		"no base64":       {"-----BEGIN CERTIFICATE-----", []Reason{ReasonPEM}, 0},
		"DER":             {base64.StdEncoding.EncodeToString(ca.Raw), []Reason{ReasonPEM}, 0},
		"not a PEM":       {encode("hello"), []Reason{ReasonPEM}, 0},
		"garbage inside":  {encode(garbage), []Reason{ReasonDER}, 0},
		"garbage and one": {encode(garbage + string(ca.pem())), []Reason{ReasonDER}, 1},
		"a private key":   {encode(key), []Reason{ReasonNoCertificate}, 0},
		"begins only":     {encode(string(ca.pem()) + "-----BEGIN CERTIFICATE-----\n"), []Reason{ReasonPEM}, 1},
		"huge":            {strings.Repeat("A", 4<<20), []Reason{ReasonTooLarge}, 0},
		"many":            {encode(strings.Repeat(string(ca.pem()), maxCertificates+1)), []Reason{ReasonTooMany}, maxCertificates},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := decodeBundle(c.bundle)
			if len(got.certificates) != c.n || !slices.Equal(got.reasons, c.reasons) {
				t.Errorf("%d certificates, %v", len(got.certificates), got.reasons)
			}
		})
	}
}

// TestBundlesInAll bounds the certificates that are told, but not the bundles.
func TestBundlesInAll(t *testing.T) {
	t.Parallel()
	var pairs []*endpointPair
	for i := range 500 {
		pairs = append(pairs, endpointCA(t, nil, int64(i+1), "ca"))
	}
	full, one := bundleOf(pairs...), bundleOf(pairs[0])
	var clients []bundleClient
	for i := range 12 {
		clients = append(clients, bundleClient{source: SourceCRD, location: strconv.Itoa(i), bundle: full})
	}
	clients = append(clients, bundleClient{source: SourceCRD, location: "last", bundle: one})
	told := 0
	for i, e := range bundleEntries(clients, nil) {
		told += len(e.Certificates)
		if left := i >= 10; left != slices.Contains(e.Failures, Failure{"", ReasonTooMany}) {
			t.Errorf("%s: %v", e.Location, e.Failures)
		}
	}
	if told != bundleMaxTold {
		t.Errorf("%d certificates are told", told)
	}
}

// TestBundlesWithoutServices: what the objects say is known without the Services.
func TestBundlesWithoutServices(t *testing.T) {
	t.Parallel()
	ca := endpointCA(t, nil, 1, "ca")
	s := newBundleServer()
	s.objects[bundleMutating] = []string{bundleHook("a", bundleConfig(bundleOf(ca), bundleReference))}
	b := newBundles(t, s, nil, nil)
	b.config.Services = listed[*corev1.Service]{err: collector.ErrUnavailable}
	got, err := collectortest.Collect(t, b)
	if collector.ReasonOf(err) != collector.ReasonUnavailable {
		t.Errorf("%v", err)
	}
	has(t, got, `ack_certificate_locations{source="webhook"} 1`)
	lacks(t, got, `source="backend"`)
}

func TestBundlesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := newBundleServer()
	s.answer = func(http.ResponseWriter, string, int) bool {
		cancel()
		return false
	}
	if _, err := newBundles(t, s, nil, nil).Collect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestBundleAddress: an API server behind a path, and cluster IPs of IPv6.
func TestBundleAddress(t *testing.T) {
	t.Parallel()
	b := bundleClient{service: &bundleService{"system", "webhook", 0}}.backend()
	b.resolve(bundleServiceObject("system", "webhook", "fd00::1"))
	if want := (endpointAddress{"[fd00::1]:443", bundleServerName}); b.address != want || b.location != bundleServerName+":443" {
		t.Errorf("%+v", b)
	}
	for _, service := range []bundleService{{"a", "b]", 0}, {"a", "b", -1}, {"a", "b", 65536}, {"a", strings.Repeat("b", 600), 0}} {
		if b := (bundleClient{service: &service}).backend(); b.location != "" {
			t.Errorf("%+v leads to %+v", service, b)
		}
	}
	s := newBundleServer()
	server := httptest.NewServer(http.StripPrefix("/clusters/c1", s))
	t.Cleanup(server.Close)
	clients, err := kube.NewClients(&rest.Config{Host: server.URL + "/clusters/c1", QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range bundleKinds() {
		if _, err := k.list(t.Context(), clients.Core); err != nil {
			t.Error(err)
		}
	}
	if paths := slices.Sorted(maps.Keys(s.requests)); len(paths) != 4 {
		t.Errorf("%q", paths)
	}
}

// FuzzBundlePage: every page is read or refused, and never takes more objects than it has.
func FuzzBundlePage(f *testing.F) {
	ca := endpointCA(f, nil, 1, "ca")
	f.Add([]byte(bundleList("next", bundleHook("a", bundleConfig(bundleOf(ca), bundleReference)))))
	f.Add([]byte(bundleList("", bundleAPIService("v1.a", `{"service":`+bundleReference+`,"caBundle":"`+bundleOf(ca)+`"}`))))
	f.Add([]byte(bundleList("", bundleConversion("a", bundleConfig(bundleOf(ca), bundleReference)))))
	f.Add([]byte(`{"items":null,"metadata":null}`))
	f.Add([]byte(`{"items":[{}],"items":[{"spec":{"conversion":null,"service":{}}}]}`))
	f.Fuzz(func(t *testing.T, page []byte) {
		for _, kind := range bundleKinds() {
			var clients []bundleClient
			_, err := bundleReadPage(strings.NewReader(string(page)), func(o *bundleObject) error {
				found, err := kind.clients(o)
				clients = append(clients, found...)
				return err
			})
			if err != nil && collector.ReasonOf(err) == collector.ReasonOther {
				t.Errorf("%v", err)
			}
			if err == nil && !json.Valid(page) {
				t.Errorf("accepted: %q", page)
			}
			for _, c := range clients {
				if b := c.backend(); b.location != "" {
					if _, _, err := net.SplitHostPort(b.location); err != nil {
						t.Errorf("%+v: %v", b, err)
					}
				}
			}
			if _, err := collectortest.Collect(t, bundleEntriesOnly(bundleEntries(clients, nil))); err != nil {
				t.Error(err)
			}
		}
	})
}

// bundleEntriesOnly is a collector of what is known.
type bundleEntriesOnly []Entry

func (bundleEntriesOnly) Families() []*collector.Family { return families() }

func (e bundleEntriesOnly) Collect(context.Context) ([]prometheus.Metric, error) {
	return exposition(e), nil
}

// BenchmarkBundleCRDs reads 200 CustomResourceDefinitions of 300 KiB, as a large
// cluster has them.
func BenchmarkBundleCRDs(b *testing.B) {
	properties := strings.Repeat(`"field":{"type":"string","description":"Tells what the field of this name is for."},`, 3600)
	var objects []string
	for i := range 10 {
		objects = append(objects, fmt.Sprintf(
			`{"metadata":{"name":"n-%d"},"spec":{"versions":[{"schema":{"properties":{%s"last":{}}}}],"conversion":{"strategy":"None"}}}`, i, properties))
	}
	page := bundleList("", objects...)
	b.SetBytes(int64(20 * len(page)))
	b.ReportAllocs()
	for b.Loop() {
		for range 20 {
			if _, err := bundleReadPage(strings.NewReader(page), func(*bundleObject) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	}
}
