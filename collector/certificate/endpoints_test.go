package certificate

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/kube"
)

// endpointNode is a node as it is kept.
func endpointNode(labels ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: make(map[string]string)}}
	for _, l := range labels {
		n.Labels[l] = ""
	}
	kube.TrimNode(n)
	return n
}

// endpointsOf is a configuration in which the API server is at a name, on loopback.
func endpointsOf(t testing.TB, server *endpointServer, ca *endpointPair) EndpointsConfig {
	t.Helper()
	prober := endpointProber()
	prober.Dial = bundleTo(map[string]*endpointServer{"api.example:6443": server})
	return EndpointsConfig{
		API:      &rest.Config{Host: "https://api.example:6443", TLSClientConfig: rest.TLSClientConfig{CAData: ca.pem()}},
		Nodes:    listed[*corev1.Node]{objects: []*corev1.Node{endpointNode()}},
		Services: listed[*corev1.Service]{objects: []*corev1.Service{bundleServiceObject("system", "kubernetes", "10.0.0.9"), bundleServiceObject("default", "kubernetes", "10.0.0.1")}},
		Prober:   prober,
	}
}

func apiHosts() []string {
	return []string{"api.example", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.0.0.1"}
}

func newEndpoints(t testing.TB, config EndpointsConfig) *Endpoints {
	t.Helper()
	e, err := NewEndpoints(config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestEndpoints shows all there is in one cluster.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	root := endpointCA(t, nil, 0xca, "kubernetes")
	short := endpointIssue(t, root, 0xcb, "short-lived", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.NotAfter = true, true, x509.KeyUsageCertSign, endpointDate(2040)
	})
	api := endpointTLS(t, endpointLeaf(t, root, 1, apiHosts()...), nil)
	config := endpointsOf(t, api, root)
	config.Names = []string{"203.0.113.9", "api.example", "custom.example"}
	var err error
	if config.Targets, err = ParseTargets([]string{
		"10.0.1.1:443#registry.example", "10.0.1.1:443#other.example", "expired.example:443", "10.0.1.2:443", "10.0.1.3:22", "10.0.1.4:443", "10.0.1.5:443", "[fd00::1]:443",
	}); err != nil {
		t.Fatal(err)
	}
	config.Prober.Timeout = 500 * time.Millisecond
	config.Prober.Dial = bundleTo(map[string]*endpointServer{
		"api.example:6443":    api,
		"10.0.1.1:443":        endpointTLS(t, endpointLeaf(t, short, 2, "registry.example"), nil),
		"expired.example:443": endpointTLS(t, endpointExpired(t, root, 3, "expired.example"), nil),
		"10.0.1.2:443":        endpointListen(t, endpointSilent),
		"10.0.1.3:22":         endpointListen(t, endpointGarbage),
		"10.0.1.4:443":        endpointListen(t, endpointClosing),
		"[fd00::1]:443":       endpointTLS(t, endpointLeaf(t, root, 4, "fd00::1"), nil),
	})
	got, err := collectortest.Collect(t, newEndpoints(t, config))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "endpoints.txt", got)
}

const apiProblem = `ack_certificate_problem{key="%KEY",location="api.example:6443",problem="%PROBLEM",source="endpoint"} 1`

func apiFlaw(key string, problem Problem) string {
	return strings.NewReplacer("%KEY", key, "%PROBLEM", string(problem)).Replace(apiProblem)
}

func TestEndpointOfTheAPIServer(t *testing.T) {
	t.Parallel()
	root, other := endpointCA(t, nil, 0xca, "kubernetes"), endpointCA(t, nil, 0xcb, "kubernetes")
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, root.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	good := endpointLeaf(t, root, 1, apiHosts()...)
	unavailable := collector.ErrUnavailable
	for name, c := range map[string]struct {
		pair   *endpointPair
		change func(*EndpointsConfig)
		flaws  []string
		class  Class
		reason collector.Reason
	}{
		"as it should be":     {pair: good, class: ClassAutomatic},
		"another issuer":      {pair: endpointLeaf(t, other, 2, apiHosts()...), flaws: []string{apiFlaw("", ProblemUntrusted)}, class: ClassAutomatic},
		"expired":             {pair: endpointExpired(t, root, 3, apiHosts()...), class: ClassAutomatic},
		"an old one of other": {pair: endpointExpired(t, other, 4, apiHosts()...), flaws: []string{apiFlaw("", ProblemUntrusted)}, class: ClassAutomatic},
		"no names": {pair: endpointLeaf(t, root, 5), class: ClassAutomatic, flaws: []string{
			apiFlaw("api.example", ProblemNameMissing), apiFlaw("kubernetes", ProblemNameMissing), apiFlaw("kubernetes.default", ProblemNameMissing),
			apiFlaw("kubernetes.default.svc", ProblemNameMissing), apiFlaw("10.0.0.1", ProblemNameMissing),
		}},
		"a custom SAN is missing": {
			pair: good, change: func(c *EndpointsConfig) { c.Names = []string{"203.0.113.9", "kubernetes", "eip.example"} },
			flaws: []string{apiFlaw("203.0.113.9", ProblemNameMissing), apiFlaw("eip.example", ProblemNameMissing)}, class: ClassAutomatic,
		},
		"called by another name": {
			pair: good, change: func(c *EndpointsConfig) { c.API.ServerName = "tunnel.example" },
			flaws: []string{apiFlaw("tunnel.example", ProblemNameMissing)}, class: ClassAutomatic,
		},
		"dedicated": {
			pair: good, class: ClassManual,
			change: func(c *EndpointsConfig) {
				c.Nodes = listed[*corev1.Node]{objects: []*corev1.Node{endpointNode(), endpointNode("node-role.kubernetes.io/control-plane")}}
			},
		},
		"dedicated and old": {
			pair: good, class: ClassManual,
			change: func(c *EndpointsConfig) {
				c.Nodes = listed[*corev1.Node]{objects: []*corev1.Node{endpointNode("node-role.kubernetes.io/master")}}
			},
		},
		"nodes are not known": {
			pair: good, class: ClassManual, reason: collector.ReasonUnavailable,
			change: func(c *EndpointsConfig) { c.Nodes = listed[*corev1.Node]{err: unavailable} },
		},
		"services are not known": {
			pair: endpointLeaf(t, root, 6, apiHosts()[:4]...), class: ClassAutomatic, reason: collector.ReasonUnavailable,
			change: func(c *EndpointsConfig) { c.Services = listed[*corev1.Service]{err: unavailable} },
		},
		"a file has the CA": {
			pair: good, class: ClassAutomatic,
			change: func(c *EndpointsConfig) { c.API.CAData, c.API.CAFile = nil, file },
		},
		"the file is gone": {
			pair: endpointLeaf(t, other, 7, apiHosts()...), class: ClassAutomatic, reason: collector.ReasonUnavailable,
			change: func(c *EndpointsConfig) { c.API.CAData, c.API.CAFile = nil, file+".gone" },
		},
		"the CA is garbage": {
			pair: good, class: ClassAutomatic, reason: collector.ReasonDecode,
			change: func(c *EndpointsConfig) { c.API.CAData = []byte("garbage") },
		},
		"anybody is trusted": {
			pair: endpointLeaf(t, other, 8, apiHosts()...), class: ClassAutomatic,
			change: func(c *EndpointsConfig) { c.API.CAData, c.API.Insecure = nil, true },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := endpointsOf(t, endpointTLS(t, c.pair, nil), root)
			if c.change != nil {
				c.change(&config)
			}
			got, err := collectortest.Collect(t, newEndpoints(t, config))
			if (err == nil) != (c.reason == "") || err != nil && collector.ReasonOf(err) != c.reason {
				t.Errorf("%v", err)
			}
			var flaws []string
			for line := range strings.Lines(got) {
				if strings.HasPrefix(line, "ack_certificate_problem{") {
					flaws = append(flaws, strings.TrimSpace(line))
				}
			}
			slices.Sort(c.flaws)
			if !slices.Equal(flaws, c.flaws) {
				t.Errorf("%q in place of %q", flaws, c.flaws)
			}
			if !strings.Contains(got, `ack_certificate_info{class="`+string(c.class)+`"`) {
				t.Errorf("class is not %s:\n%s", c.class, got)
			}
		})
	}
}

// TestEndpointIsAlsoATarget: it is one location then.
func TestEndpointIsAlsoATarget(t *testing.T) {
	t.Parallel()
	root := endpointCA(t, nil, 0xca, "kubernetes")
	api := endpointTLS(t, endpointLeaf(t, root, 1, apiHosts()...), nil)
	config := endpointsOf(t, api, root)
	config.Targets = []Target{{Address: "api.example:6443"}, {Address: "api.example:6443", Name: "kubernetes"}}
	got, err := collectortest.Collect(t, newEndpoints(t, config))
	if err != nil {
		t.Fatal(err)
	}
	has(t, got, `ack_certificate_locations{source="endpoint"} 1`)
	if n := api.connections.Load(); n != 2 {
		t.Errorf("asked %d times for two names", n)
	}
}

func TestEndpointsWithoutTLS(t *testing.T) {
	t.Parallel()
	e := newEndpoints(t, EndpointsConfig{API: &rest.Config{Host: "http://127.0.0.1:8080"}, Prober: endpointProber()})
	if _, err := e.Collect(t.Context()); !errors.Is(err, collector.ErrNotApplicable) {
		t.Errorf("%v", err)
	}
}

func TestParseTargets(t *testing.T) {
	t.Parallel()
	got, err := ParseTargets([]string{"a.example:443", "a.example:443#b.example", "[fd00::1]:1", "10.0.0.1:65535#10.0.0.2"})
	want := []Target{{"a.example:443", ""}, {"a.example:443", "b.example"}, {"[fd00::1]:1", ""}, {"10.0.0.1:65535", "10.0.0.2"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"", "a", "a:", "a:0", "a:65536", "a:https", ":443", "a:443#", "a:443#b c", "https://a:443", "a:443/path", "a b:443", "fd00::1:443", strings.Repeat("a", 300) + ":443", "a:443#" + strings.Repeat("b", 300), "*.a:443",
	} {
		if got, err := ParseTargets([]string{bad}); err == nil {
			t.Errorf("%q is accepted: %v", bad, got)
		}
	}
	if _, err := ParseTargets([]string{"a:1", "a:1"}); err == nil {
		t.Error("twice is accepted")
	}
}

func TestNewEndpointsRefuses(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]EndpointsConfig{
		"no timeout":    {API: &rest.Config{}, Prober: EndpointProber{Concurrency: 1}},
		"a broken name": {API: &rest.Config{}, Prober: endpointProber(), Names: []string{"a b"}},
		"a broken host": {API: &rest.Config{Host: "https://["}, Prober: endpointProber()},
	} {
		if _, err := NewEndpoints(config); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
