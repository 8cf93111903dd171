//go:build e2e

package cluster

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

const (
	// backendAddress is the pod behind the Service of the webhooks.
	backendAddress = "10.244.9.20"
	backendCluster = "10.96.7.7"
	backendName    = "webhook.shop.svc"
	backendPlace   = backendName + ":443"

	hookName = "hook.shop.example"
)

// backend is a TLS server in a pod of its own. What it presents can be changed.
type backend struct {
	presented   atomic.Pointer[tls.Certificate]
	connections atomic.Int32
	// said is how many bytes clients sent after the handshake.
	said atomic.Int64
}

func (b *backend) present(t testing.TB, pair *pki.Pair) {
	t.Helper()
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	b.presented.Store(&certificate)
}

// newBackend serves until the test ends.
func newBackend(t testing.TB, c *clustertest.Cluster, pair *pki.Pair) *backend {
	t.Helper()
	b := &backend{}
	b.present(t, pair)
	w := world.New(t)
	c.Join(t, w, backendAddress)
	listener, err := w.Listen(t.Context(), backendAddress+":443")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return b.presented.Load(), nil }}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.connections.Add(1)
			go b.serve(conn, config)
		}
	}()
	return b
}

func (b *backend) serve(conn net.Conn, config *tls.Config) {
	defer conn.Close()
	n, _ := io.Copy(io.Discard, tls.Server(conn, config))
	b.said.Add(n)
}

func newAuthority(t testing.TB, name string) *pki.Authority {
	t.Helper()
	ca, err := pki.NewAuthority(pki.Template{CommonName: name})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newServer(t testing.TB, ca *pki.Authority, template pki.Template) *pki.Pair {
	t.Helper()
	pair, err := ca.Server(template)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func backendClient(bundle []byte) admissionv1.WebhookClientConfig {
	return admissionv1.WebhookClientConfig{
		CABundle: bundle, Service: &admissionv1.ServiceReference{Namespace: cacheNamespace, Name: "webhook"},
	}
}

// ruleOfNothing is about what nobody asks for: the API server never calls.
func ruleOfNothing() []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule:       admissionv1.Rule{APIGroups: []string{"nothing.example"}, APIVersions: []string{"v1"}, Resources: []string{"things"}},
	}}
}

func validatingHook(bundle []byte) *admissionv1.ValidatingWebhookConfiguration {
	none := admissionv1.SideEffectClassNone
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: hookName, ClientConfig: backendClient(bundle), SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, Rules: ruleOfNothing(),
		}},
	}
}

func mutatingHook(bundle []byte) *admissionv1.MutatingWebhookConfiguration {
	none := admissionv1.SideEffectClassNone
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{"cert-manager.io/inject-ca-from": "shop/webhook"}},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: hookName, ClientConfig: backendClient(bundle), SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"}, Rules: ruleOfNothing(),
		}},
	}
}

// conversion is a CustomResourceDefinition with a conversion webhook.
func conversion(bundle []byte) []byte {
	return fmt.Appendf(nil, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.shop.example}
spec:
  group: shop.example
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing, listKind: ThingList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig:
        caBundle: %s
        service: {namespace: shop, name: webhook, port: 443}
`, base64.StdEncoding.EncodeToString(bundle))
}

// aggregated is an APIService.
func aggregated(bundle []byte) []byte {
	return fmt.Appendf(nil, `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.aggregated.example}
spec:
  group: aggregated.example
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 10
  caBundle: %s
  service: {namespace: shop, name: webhook, port: 443}
`, base64.StdEncoding.EncodeToString(bundle))
}

// expires is for the only certificate of that place with this serial number.
func expires(source, location, key string, pair *pki.Pair) func(exporter.Metrics) error {
	c := pair.Certificate
	subject := c.Subject.CommonName
	return has(float64(c.NotAfter.Unix()), "ack_certificate_not_after_timestamp_seconds",
		"source", source, "location", location, "key", key, "subject", subject, "serial", c.SerialNumber.Text(16))
}

// problem is for what is wrong with a certificate.
func problem(source, location, key, name string) func(exporter.Metrics) error {
	return has(1, "ack_certificate_problem", "source", source, "location", location, "key", key, "problem", name)
}

// noProblem is for all places of the source.
func noProblem(location string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		for _, key := range []string{"", hookName} {
			for _, source := range []string{"webhook", "crd", "apiservice", "backend"} {
				for _, name := range []string{"untrusted", "name_missing", "issuer_expires_first"} {
					if problem(source, location, key, name)(m) == nil {
						return fmt.Errorf("%s of %s %s", name, source, location)
					}
				}
			}
		}
		return nil
	}
}

func locations(source string, n float64) func(exporter.Metrics) error {
	return has(n, "ack_certificate_locations", "source", source)
}

// TestBundles changes caBundles and the server that they are for.
func TestBundles(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	putNodes(t, c, 2)
	ca, other := newAuthority(t, "webhook-ca"), newAuthority(t, "other-ca")
	good := newServer(t, ca, pki.Template{CommonName: "webhook", Hosts: []string{backendName}})
	b := newBackend(t, c, good)
	c.Apply(t, []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: `+cacheNamespace+`}}`))
	service := cluster.Service(cacheNamespace, "webhook", nil, corev1.ServicePort{Port: 443})
	service.Spec.ClusterIP = backendCluster
	c.Put(t, service)
	r := newReplica(t, c, "replica-a", firstAddress)
	clustertest.Balance(t, r.world, backendCluster, backendAddress)
	r.start(t, every(time.Second)...)
	s := &scene{t, c, r}
	s.shows(is(succeeds, "certificate_bundles"), locations("webhook", 0), locations("crd", 0), locations("apiservice", 0), locations("backend", 0))

	const validating, mutating = "validating/shop", "mutating/shop"
	c.Put(t, validatingHook(ca.Chain))
	s.shows(expires("webhook", validating, hookName, &ca.Pair), expires("backend", backendPlace, "", good),
		locations("webhook", 1), locations("backend", 1), noProblem(validating))
	c.Put(t, mutatingHook(append(ca.Chain, other.Chain...)))
	c.Apply(t, conversion(ca.Chain))
	c.Apply(t, aggregated(other.Chain))
	s.shows(expires("webhook", mutating, hookName, &ca.Pair), expires("webhook", mutating, hookName, &other.Pair),
		expires("crd", "things.shop.example", "", &ca.Pair), expires("apiservice", "v1.aggregated.example", "", &other.Pair),
		problem("apiservice", "v1.aggregated.example", "", "untrusted"), noProblem(mutating), noProblem("things.shop.example"),
		locations("webhook", 2), locations("crd", 1), locations("apiservice", 1), locations("backend", 1),
		has(1, "ack_certificate_info", "source", "webhook", "location", mutating, "key", hookName, "subject", "webhook-ca",
			"serial", ca.Certificate.SerialNumber.Text(16), "issuer", "webhook-ca", "role", "ca", "class", "automatic"))

	t.Log("the caBundle is that of another CA")
	c.Put(t, validatingHook(other.Chain))
	s.shows(problem("webhook", validating, hookName, "untrusted"), expires("webhook", validating, hookName, &other.Pair), noProblem(mutating))
	c.Put(t, validatingHook(ca.Chain))
	s.shows(noProblem(validating))

	t.Log("the server presents what it should not")
	wrong := newServer(t, ca, pki.Template{CommonName: "wrong", Hosts: []string{"elsewhere.shop.svc"}})
	b.present(t, wrong)
	s.shows(problem("webhook", validating, hookName, "name_missing"), problem("crd", "things.shop.example", "", "name_missing"),
		expires("backend", backendPlace, "", wrong))
	old := newServer(t, ca, pki.Template{
		CommonName: "old", Hosts: []string{backendName}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
	})
	b.present(t, old)
	s.shows(expires("backend", backendPlace, "", old), noProblem(validating), noProblem(backendPlace), is(succeeds, "certificate_bundles"))
	b.present(t, good)
	s.shows(expires("backend", backendPlace, "", good))

	t.Log("the server cannot be reached, or has no Service")
	clustertest.Balance(t, r.world, backendCluster)
	unreachable := func(reason string) func(exporter.Metrics) error {
		return has(1, "ack_certificate_errors", "source", "backend", "location", backendPlace, "key", "", "reason", reason)
	}
	s.shows(unreachable("unreachable"), locations("backend", 0), is(succeeds, "certificate_bundles"), noProblem(validating))
	c.Delete(t, service)
	s.shows(unreachable("vanished"), is(succeeds, "certificate_bundles"))

	t.Log("all of it is deleted")
	c.Delete(t, validatingHook(nil), mutatingHook(nil))
	s.shows(locations("webhook", 0), locations("crd", 1), locations("apiservice", 1))
	if n := b.said.Load(); n != 0 {
		t.Errorf("%d bytes were sent to the webhook", n)
	}
	requireRights(t, c, false)
}

// TestBundlesAreForbidden: one kind that may not be listed hides no other.
func TestBundlesAreForbidden(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	ca := newAuthority(t, "webhook-ca")
	c.Put(t, validatingHook(ca.Chain))
	c.Apply(t, conversion(ca.Chain))
	r := run(t, c, "replica-a", firstAddress, every(time.Second)...)
	s := &scene{t, c, r}
	s.shows(locations("webhook", 1), locations("crd", 1), is(succeeds, "certificate_bundles"))
	// As the project ships it, without the right to list these.
	role, err := c.Client().RbacV1().ClusterRoles().Get(t.Context(), account, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range role.Rules {
		if rule.Resources[0] == "customresourcedefinitions" {
			role.Rules = append(role.Rules[:i], role.Rules[i+1:]...)
			break
		}
	}
	if _, err := c.Client().RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.shows(is(fails, "certificate_bundles"), locations("webhook", 1), func(m exporter.Metrics) error {
		if failures(m, "certificate_bundles", "forbidden") < 1 {
			return errors.New("it has not failed for being forbidden")
		}
		if locations("crd", 1)(m) == nil || locations("crd", 0)(m) == nil {
			return errors.New("there are still CustomResourceDefinitions")
		}
		return nil
	})
}

// TestEndpoints looks at the API server, and at another server.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	putNodes(t, c, 2)
	ca := newAuthority(t, "registry-ca")
	pair := newServer(t, ca, pki.Template{CommonName: "registry", Hosts: []string{"registry.example"}})
	b := newBackend(t, c, pair)
	const (
		api    = cluster.APIAddress + ":443"
		target = backendAddress + ":443"
		eip    = "203.0.113.9"
	)
	flags := append(every(time.Second),
		"--collector.certificate_endpoints.api-server-name="+eip,
		"--collector.certificate_endpoints.api-server-name=localhost",
		"--collector.certificate_endpoints.target="+target+"#registry.example",
		"--collector.certificate_endpoints.target="+target,
		"--collector.certificate_endpoints.target="+backendAddress+":444")
	r := run(t, c, "replica-a", firstAddress, flags...)
	s := &scene{t, c, r}
	notAfter := func() func(exporter.Metrics) error {
		served := c.APICertificate()
		return has(float64(served.NotAfter.Unix()), "ack_certificate_not_after_timestamp_seconds", "source", "endpoint",
			"location", api, "key", "", "subject", served.Subject.CommonName, "serial", served.SerialNumber.Text(16))
	}
	info := func(class string) func(exporter.Metrics) error {
		served := c.APICertificate()
		return has(1, "ack_certificate_info", "source", "endpoint", "location", api, "key", "", "subject", served.Subject.CommonName,
			"serial", served.SerialNumber.Text(16), "issuer", served.Issuer.CommonName, "role", "leaf", "class", class)
	}
	s.shows(is(succeeds, "certificate_endpoints"), notAfter(), info("automatic"), locations("endpoint", 2),
		problem("endpoint", api, eip, "name_missing"),
		expires("endpoint", target, "registry.example", pair), expires("endpoint", target, "", pair),
		problem("endpoint", target, backendAddress, "name_missing"),
		has(1, "ack_certificate_errors", "source", "endpoint", "location", backendAddress+":444", "key", "", "reason", "unreachable"),
		problems(2))
	dedicated := cluster.Node(1)
	dedicated.Labels["node-role.kubernetes.io/control-plane"] = ""
	c.Put(t, dedicated)
	s.shows(info("manual"))

	t.Log("the API server has a certificate of another CA")
	hosts := []string{cluster.APIAddress, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", eip}
	other := newAuthority(t, "other-ca")
	c.SetAPICertificate(t, newServer(t, other, pki.Template{CommonName: "kube-apiserver", Hosts: hosts}))
	s.shows(notAfter(), info("manual"), problem("endpoint", api, "", "untrusted"), problems(2))

	t.Log("the exporter cannot talk to it any more")
	r.stop(t)
	r.start(t, flags...)
	s.shows(is(fails, "certificate_endpoints"), notAfter(), problem("endpoint", api, "", "untrusted"), has(0, "ack_exporter_leader"))
	if n := b.said.Load(); n != 0 {
		t.Errorf("%d bytes were sent to the target", n)
	}
	for _, q := range c.Requests(t, "system:anonymous") {
		if q.From == r.address {
			t.Errorf("the handshake asked for %s", q)
		}
	}
	requireRights(t, c, false)
}

// problems is for the number of all problems.
func problems(n int) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		if found := m.Family("ack_certificate_problem"); len(found) != n {
			return fmt.Errorf("%d problems: %v", len(found), found)
		}
		return nil
	}
}
