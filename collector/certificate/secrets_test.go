package certificate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/kube"
	"ack-exporter/internal/kube/kubetest"
	"ack-exporter/internal/server/servertest"
)

// secretPair is a certificate with its key.
type secretPair struct {
	certificate *x509.Certificate
	signer      crypto.Signer
	chain, key  []byte // PEM
}

// secretDay is the day of that number, on which certificates of tests begin and end.
func secretDay(n int) time.Time { return time.Date(2030, 1, 1+n, 0, 0, 0, 0, time.UTC) }

// secretIssue makes a certificate that is valid until a day; the parent is nil where
// it signs itself. Authorities have no hosts.
func secretIssue(t testing.TB, parent *secretPair, signer crypto.Signer, name string, serial int64, until int, hosts ...string) *secretPair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: secretDay(0), NotAfter: secretDay(until),
		IsCA: len(hosts) == 0, BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	issuer, by := template, signer
	if parent != nil {
		issuer, by = parent.certificate, parent.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, signer.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	p := &secretPair{signer: signer, chain: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})}
	if p.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	p.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return p
}

func secretECKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func secretRSAKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// secretTLS is a Secret with these values.
func secretTLS(namespace, name string, certificate, key, ca []byte) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{"tls.crt": certificate, "tls.key": key},
	}
	if ca != nil {
		s.Data["ca.crt"] = ca
	}
	return s
}

// secretServer is the stand-in of the API server, over TLS.
func secretServer(t testing.TB, api *kubetest.API) *rest.Config {
	t.Helper()
	server := httptest.NewTLSServer(api)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: server.Certificate().Raw})
	return &rest.Config{Host: server.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

// secretFeed follows an API server until the test ends.
func secretFeed(t testing.TB, config *rest.Config, digest func(kube.Object) (*Secret, error)) *kube.Feed[*Secret] {
	t.Helper()
	clients, err := kube.NewClients(config)
	if err != nil {
		t.Fatal(err)
	}
	feed := kube.NewFeed(clients.CoreLine, "secrets", SecretQuery(), digest)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { feed.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	servertest.Await(t, feed.Synced, func() string {
		_, err := feed.List()
		return fmt.Sprint(err)
	})
	return feed
}

// secretIngressList lists Ingresses that do not change.
type secretIngressList []*networkingv1.Ingress

func (l secretIngressList) List() ([]*networkingv1.Ingress, error) { return l, nil }

type secretIngressFailure struct{}

func (secretIngressFailure) List() ([]*networkingv1.Ingress, error) {
	return nil, collector.ErrForbidden
}

// secretIngress is one with this certificate for these hosts.
func secretIngress(namespace, name string, entries ...networkingv1.IngressTLS) *networkingv1.Ingress {
	i := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{"a": "b"}},
		Spec: networkingv1.IngressSpec{
			TLS: entries, Rules: []networkingv1.IngressRule{{Host: "rule.example"}},
		},
	}
	TrimIngress(i)
	return i
}

func TestSecretsGolden(t *testing.T) {
	t.Parallel()
	root := secretIssue(t, nil, secretECKey(t), "Root", 1, 1000)
	short := secretIssue(t, root, secretECKey(t), "Short", 2, 50)
	own := secretIssue(t, root, secretRSAKey(t), "own.example", 3, 90, "own.example", "*.own.example", "10.0.0.1", "*.exact.example")
	chained := secretIssue(t, short, secretECKey(t), "", 4, 90, "chained.example")
	other := secretIssue(t, root, secretECKey(t), "other.example", 5, 90, "other.example")
	chain := append(append([]byte{}, chained.chain...), short.chain...)
	managed := secretTLS("shop", "managed", own.chain, own.key, root.chain)
	managed.Annotations = map[string]string{"cert-manager.io/certificate-name": "managed"}
	sameTwice := append(append([]byte{}, own.chain...), own.chain...)

	api := kubetest.New()
	api.Put(managed,
		secretTLS("shop", "chained", chain, chained.key, nil),
		secretTLS("shop", "chained-by-ca", chained.chain, chained.key, short.chain),
		secretTLS("shop", "no-ca", other.chain, other.key, []byte{}),
		secretTLS("shop", "mismatch", other.chain, own.key, nil),
		secretTLS("shop", "twice", sameTwice, own.key, nil),
		secretTLS("bad", "empty", nil, nil, nil),
		secretTLS("bad", "no-key", other.chain, nil, nil),
		secretTLS("bad", "key", other.chain, []byte("not a key"), nil),
		secretTLS("bad", "cut", chain[:len(chain)-100], chained.key, nil),
		secretTLS("bad", "der", pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("x")}), own.key, nil),
		secretTLS("bad", "ca", other.chain, other.key, []byte("-----BEGIN CERTIFICATE-----\n%%%")),
		secretTLS("bad", "key-in-its-place", own.key, own.key, nil),
		secretTLS("bad", "large", []byte(strings.Repeat("x", kube.MaxObject)), own.key, nil),
	)
	entry := func(secret string, hosts ...string) networkingv1.IngressTLS {
		return networkingv1.IngressTLS{SecretName: secret, Hosts: hosts}
	}
	ingresses := secretIngressList{
		secretIngress("shop", "covered", entry("managed", "own.example", "OWN.example", "www.own.example", "10.0.0.1", "*.exact.example"), entry("no-ca", "other.example")),
		secretIngress("shop", "uncovered", entry("managed", "a.b.own.example", "other.example", "10.0.0.2", "own.example"), entry("no-ca", "other.example")),
		secretIngress("shop", "without", networkingv1.IngressTLS{Hosts: []string{"x.example"}}, entry("managed")),
		secretIngress("shop", "plain"),
		secretIngress("shop", "dangling", entry("none", "own.example")),
		secretIngress("other-namespace", "dangling", entry("managed", "own.example")),
		secretIngress("bad", "unreadable", entry("empty", "own.example")),
	}
	config := secretServer(t, api)
	got, err := collectortest.Collect(t, NewSecrets(secretFeed(t, config, DigestSecret), ingresses))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "secrets.prom", got)
	for _, r := range api.Requests() {
		if r.FieldSelector != "type=kubernetes.io/tls" {
			t.Errorf("asked for %+v", r)
		}
	}

	// Without the Ingresses there are the Secrets.
	partial, err := collectortest.Collect(t, NewSecrets(secretFeed(t, config, DigestSecret), secretIngressFailure{}))
	if !errors.Is(err, collector.ErrForbidden) || !strings.Contains(partial, `location="shop/managed"`) || strings.Contains(partial, "ingress") {
		t.Errorf("without Ingresses: %v %s", err, partial)
	}
}

// TestSecretsWithoutSecrets: none is no failure, and unknown is one.
func TestSecretsWithoutSecrets(t *testing.T) {
	t.Parallel()
	config := secretServer(t, kubetest.New())
	got, err := collectortest.Collect(t, NewSecrets(secretFeed(t, config, DigestSecret), secretIngressList{}))
	if err != nil || !strings.Contains(got, `ack_certificate_locations{source="secret"} 0`) {
		t.Errorf("%v %s", err, got)
	}
	clients, err := kube.NewClients(config)
	if err != nil {
		t.Fatal(err)
	}
	unknown := kube.NewFeed(clients.CoreLine, "secrets", SecretQuery(), DigestSecret)
	got, err = collectortest.Collect(t, NewSecrets(unknown, secretIngressList{}))
	if !errors.Is(err, collector.ErrUnavailable) || got != "" {
		t.Errorf("before it runs: %v %s", err, got)
	}
}

// FuzzDigestSecret takes any bytes for a Secret: what they say is bounded, and nothing
// in them is changed but the key.
func FuzzDigestSecret(f *testing.F) {
	own := secretIssue(f, nil, secretECKey(f), "own.example", 3, 90, "own.example", "10.0.0.1")
	good, err := secretTLS("a", "b", own.chain, own.key, own.chain).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, message []byte) {
		s, err := DigestSecret(kube.Object{Namespace: "a", Name: "b", Bytes: message})
		if err != nil {
			if !errors.Is(err, collector.ErrDecode) {
				t.Error(err)
			}
			return
		}
		if n := len(s.metrics); n == 0 || n > 2*(3*maxCertificates+8) {
			t.Errorf("%d series", n)
		}
		s.names.missing([]string{"own.example", "10.0.0.1"})
		values, err := secretValues(message)
		if err != nil || strings.Trim(string(values.key), "\x00") != "" {
			t.Errorf("the key is still there: %v", err)
		}
	})
}
