package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

const (
	// secretCA is the key of the certificates of the issuer, where there are any.
	secretCA = "ca.crt"
	// secretManaged is the annotation by which cert-manager marks what it renews.
	secretManaged = "cert-manager.io/certificate-name"
	// secretData is the field of core.v1.Secret that has the values.
	secretData = 2
	// maxSecretNames bounds the names that are kept of one certificate, in bytes. A
	// public CA signs 100 names, of which none is longer than 253.
	maxSecretNames = 64 << 10
)

// SecretQuery selects Secrets with certificates on the server's side: others are
// never asked for.
func SecretQuery() kube.Query {
	return kube.Query{Fields: "type=" + string(corev1.SecretTypeTLS)}
}

// Secret is what is kept of a Secret.
type Secret struct {
	location string
	metrics  []prometheus.Metric
	read     bool // has a certificate that could be read
	names    secretNames
}

// DigestSecret reads the certificates of a Secret, and whether its private key is that
// of the first. Nothing of the key is kept, nor of o.
func DigestSecret(o kube.Object) (*Secret, error) {
	e := Entry{Source: SourceSecret, Location: o.Namespace + "/" + o.Name}
	if o.Bytes == nil {
		e.Failures = []Failure{{Reason: ReasonTooLarge}}
		return newSecret(e, nil), nil
	}
	values, err := secretValues(o.Bytes)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", e.Location, err)
	}
	defer clear(values.key)
	class := ClassManual
	if o.HasAnnotation(secretManaged) {
		class = ClassAutomatic
	}
	chain := e.add(corev1.TLSCertKey, class, values.certificate)
	var issuers []*x509.Certificate
	if len(values.ca) > 0 {
		issuers = e.add(secretCA, class, values.ca)
	}
	if len(chain) == 0 {
		return newSecret(e, nil), nil
	}
	e.judge(chain[0], append(chain[1:], issuers...), values.key)
	return newSecret(e, chain[0]), nil
}

// judge looks for what is wrong with the certificate that servers show.
func (e *Entry) judge(leaf *x509.Certificate, issuers []*x509.Certificate, key []byte) {
	if len(key) == 0 {
		e.fail(corev1.TLSPrivateKeyKey, ReasonEmpty)
	} else {
		e.judgeKey(corev1.TLSCertKey, leaf, corev1.TLSPrivateKeyKey, key)
	}
	if issuersExpireFirst(leaf, issuers) {
		e.Flaws = append(e.Flaws, Flaw{corev1.TLSCertKey, ProblemIssuerExpiresFirst})
	}
}

func newSecret(e Entry, leaf *x509.Certificate) *Secret {
	s := &Secret{location: e.Location, metrics: e.metrics(), read: len(e.Certificates) > 0}
	if leaf != nil {
		s.names = newSecretNames(leaf)
	}
	return s
}

// secretBytes are parts of the message of a Secret.
type secretBytes struct{ certificate, ca, key []byte }

// secretValues finds the values that are used, without a copy of any.
func secretValues(message []byte) (secretBytes, error) {
	var found secretBytes
	var broken error
	err := kube.Fields(message, func(number int, entry []byte) {
		if number != secretData {
			return
		}
		key, value, err := kube.MapEntry(entry)
		broken = errors.Join(broken, err)
		switch key {
		case corev1.TLSCertKey:
			found.certificate = value
		case secretCA:
			found.ca = value
		case corev1.TLSPrivateKeyKey:
			found.key = value
		}
	})
	if errors.Join(err, broken) != nil {
		return secretBytes{}, fmt.Errorf("%w: not a Secret", collector.ErrDecode)
	}
	return found, nil
}

// secretNames are the names and addresses that a certificate covers.
type secretNames struct {
	dns       []string
	addresses []net.IP
	// known: there is a certificate, and these are all its names.
	known bool
}

func newSecretNames(leaf *x509.Certificate) secretNames {
	n := secretNames{known: true}
	size := 0
	for _, name := range leaf.DNSNames {
		size += len(name)
		n.dns = append(n.dns, strings.Clone(name))
	}
	for _, address := range leaf.IPAddresses {
		size += len(address)
		n.addresses = append(n.addresses, bytes.Clone(address))
	}
	if size > maxSecretNames {
		return secretNames{}
	}
	return n
}

// cover tells whether clients that call host take the certificate for that of host.
func (n secretNames) cover(host string) bool {
	c := x509.Certificate{DNSNames: n.dns, IPAddresses: n.addresses}
	return c.VerifyHostname(host) == nil
}

// TrimIngress keeps which certificate an Ingress has for which hosts.
func TrimIngress(i *networkingv1.Ingress) {
	var entries []networkingv1.IngressTLS
	for _, t := range i.Spec.TLS {
		if t.SecretName != "" {
			entries = append(entries, t)
		}
	}
	*i = networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.Namespace, Name: i.Name, ResourceVersion: i.ResourceVersion},
		Spec:       networkingv1.IngressSpec{TLS: entries},
	}
}

// Secrets tells of the certificates in Secrets, and which hosts of Ingresses they do
// not cover.
type Secrets struct {
	secrets   kube.Lister[*Secret]
	ingresses kube.Lister[*networkingv1.Ingress]
}

// NewSecrets makes the collector.
func NewSecrets(secrets kube.Lister[*Secret], ingresses kube.Lister[*networkingv1.Ingress]) *Secrets {
	return &Secrets{secrets, ingresses}
}

// Families implements collector.Collector.
func (*Secrets) Families() []*collector.Family { return families() }

// Collect implements collector.Collector. Where only the Ingresses are unknown, it
// tells of the Secrets all the same.
func (s *Secrets) Collect(context.Context) ([]prometheus.Metric, error) {
	secrets, err := s.secrets.List()
	if err != nil {
		return nil, err
	}
	total, read := 1, 0
	for _, secret := range secrets {
		total += len(secret.metrics)
		if secret.read {
			read++
		}
	}
	metrics := make([]prometheus.Metric, 0, total)
	for _, secret := range secrets {
		metrics = append(metrics, secret.metrics...)
	}
	metrics = append(metrics, familyLocations.Metric(float64(read), string(SourceSecret)))
	ingresses, err := s.ingresses.List()
	if err != nil {
		return metrics, err
	}
	return append(metrics, secretIngresses(ingresses, secrets)...), nil
}

// secretIngresses tells which Ingresses show their clients a certificate of other
// names, or have none to show.
func secretIngresses(ingresses []*networkingv1.Ingress, secrets []*Secret) []prometheus.Metric {
	named := make(map[string]*Secret, len(secrets))
	for _, secret := range secrets {
		named[secret.location] = secret
	}
	var metrics []prometheus.Metric
	for _, i := range ingresses {
		e := Entry{Source: SourceIngress, Location: i.Namespace + "/" + i.Name}
		for _, t := range i.Spec.TLS {
			secret, found := named[i.Namespace+"/"+t.SecretName]
			switch {
			case !found:
				e.Failures = append(e.Failures, Failure{t.SecretName, ReasonVanished})
			case secret.names.known:
				e.Flaws = append(e.Flaws, secret.names.missing(t.Hosts)...)
			}
		}
		metrics = append(metrics, e.metrics()...)
	}
	return metrics
}

// missing are the hosts that the certificate does not cover.
func (n secretNames) missing(hosts []string) (flaws []Flaw) {
	for _, host := range hosts {
		if !n.cover(host) {
			flaws = append(flaws, Flaw{host, ProblemNameMissing})
		}
	}
	return flaws
}
