//go:build e2e

package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/exporter"
)

// The series that are looked at.
const (
	notAfter = "ack_certificate_not_after_timestamp_seconds"
	flawed   = "ack_certificate_problem"
	broken   = "ack_certificate_errors"
	located  = "ack_certificate_locations"
)

// vault issues certificates and remembers the keys.
type vault struct {
	t         testing.TB
	authority *pki.Authority
	keys      [][]byte
}

func newVault(t testing.TB) *vault {
	t.Helper()
	root, err := pki.NewAuthority(pki.Template{CommonName: "e2e root", NotAfter: time.Now().Add(1000 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := root.Authority(pki.Template{CommonName: "e2e intermediate", NotAfter: time.Now().Add(900 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return &vault{t: t, authority: authority}
}

func (v *vault) issue(validity time.Duration, hosts ...string) *pki.Pair {
	v.t.Helper()
	pair, err := v.authority.Server(pki.Template{CommonName: hosts[0], Hosts: hosts, NotAfter: time.Now().Add(validity)})
	if err != nil {
		v.t.Fatal(err)
	}
	v.keys = append(v.keys, pair.Key)
	return pair
}

// requireSecrecy fails where a line of a private key is in text.
func (v *vault) requireSecrecy(what, text string) {
	v.t.Helper()
	for _, key := range v.keys {
		lines := strings.Split(strings.TrimSpace(string(key)), "\n")
		for _, line := range lines[1 : len(lines)-1] {
			if strings.Contains(text, line) {
				v.t.Errorf("%s has a private key", what)
			}
		}
	}
}

func tlsSecret(name string, certificate, key []byte) *corev1.Secret {
	return cluster.TLSSecret(cacheNamespace, name, certificate, key)
}

func tlsIngress(name, secret string, hosts ...string) *networkingv1.Ingress {
	return cluster.TLSIngress(cacheNamespace, name, secret, hosts...)
}

// shown is for the expiry of a certificate.
func shown(secret string, pair *pki.Pair) func(exporter.Metrics) error {
	c := pair.Certificate
	return has(float64(c.NotAfter.Unix()), notAfter, "source", "secret", "location", cacheNamespace+"/"+secret,
		"key", "tls.crt", "subject", c.Subject.CommonName, "serial", c.SerialNumber.Text(16))
}

// at is for the other families.
func at(value float64, family, source, name, key string, last ...string) func(exporter.Metrics) error {
	return has(value, family, append([]string{"source", source, "location", cacheNamespace + "/" + name, "key", key}, last...)...)
}

// lacksText is for series with a part.
func lacksText(part string) func(exporter.Metrics) error {
	return func(m exporter.Metrics) error {
		for key := range m {
			if strings.Contains(key, part) {
				return fmt.Errorf("there is %s", key)
			}
		}
		return nil
	}
}

// TestCertificates has the metrics follow Secrets and Ingresses, and the right to them.
func TestCertificates(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	v := newVault(t)
	old := v.issue(48*time.Hour, "www.shop.example")
	c.Apply(t, []byte(`{apiVersion: v1, kind: Namespace, metadata: {name: `+cacheNamespace+`}}`))
	c.Put(t, tlsSecret("www", old.Chain, old.Key))
	r := run(t, c, "replica-a", firstAddress, every(time.Second)...)
	without := run(t, c, "without", secondAddress, append(every(time.Second),
		"--no-leader-election", "--dnsprobe-targets.name=", "--no-collector."+certificates)...)
	s := &scene{t, c, r}
	s.shows(is(succeeds, certificates), has(1, located, "source", "secret"), shown("www", old), lacks(flawed, broken),
		at(float64(v.authority.Certificate.NotAfter.Unix()), notAfter, "secret", "www", "tls.crt",
			"subject", "e2e intermediate", "serial", v.authority.Certificate.SerialNumber.Text(16)))

	s.secretsChange(v, old)
	s.ingresses(v)
	requireRights(t, c, false)
	s.rightComesAndGoes(v)

	without.AwaitReady(t, patience)
	for _, q := range c.Requests(t, exporterUser) {
		if strings.HasPrefix(q.From, secondAddress) && slices.Contains([]string{"secrets", "ingresses"}, q.Resource) {
			t.Errorf("switched off, it asks for %s", q)
		}
		if q.Resource == "secrets" && q.FieldSelector != tlsSecrets {
			t.Errorf("it asks for other Secrets: %s", q)
		}
	}
	_, metrics, err := r.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	v.requireSecrecy("what it exposes", metrics)
	v.requireSecrecy("its log", r.output(t))
}

// secretsChange has Secrets made, renewed, broken and deleted.
func (s *scene) secretsChange(v *vault, old *pki.Pair) {
	s.t.Helper()
	renewed, other := v.issue(240*time.Hour, "www.shop.example"), v.issue(240*time.Hour, "other.shop.example")
	opaque := tlsSecret("opaque", other.Chain, other.Key)
	opaque.Type = corev1.SecretTypeOpaque
	s.c.Put(s.t, tlsSecret("www", renewed.Chain, renewed.Key), opaque)
	s.shows(shown("www", renewed), lacksText(old.Certificate.SerialNumber.Text(16)), has(1, located, "source", "secret"))

	managed := tlsSecret("managed", other.Chain, renewed.Key)
	managed.Annotations = map[string]string{"cert-manager.io/certificate-name": "managed"}
	s.c.Put(s.t, managed, tlsSecret("garbage", []byte("none"), other.Key))
	s.shows(has(2, located, "source", "secret"), at(1, flawed, "secret", "managed", "tls.crt", "problem", "key_mismatch"),
		at(1, broken, "secret", "garbage", "tls.crt", "reason", "der"),
		at(1, "ack_certificate_info", "secret", "managed", "tls.crt", "subject", "other.shop.example", "serial",
			other.Certificate.SerialNumber.Text(16), "issuer", "e2e intermediate", "role", "leaf", "class", "automatic"))
	managed.Data[corev1.TLSPrivateKeyKey] = other.Key
	s.c.Put(s.t, managed)
	s.c.Delete(s.t, tlsSecret("garbage", nil, nil))
	s.shows(lacks(flawed, broken), shown("managed", other), lacksText("opaque"))
	s.c.Delete(s.t, managed)
	s.shows(has(1, located, "source", "secret"), lacksText("managed"))
}

// ingresses has an Ingress name hosts that its certificate covers, or does not.
func (s *scene) ingresses(v *vault) {
	s.t.Helper()
	wide := v.issue(240*time.Hour, "shop.example", "*.shop.example")
	s.c.Put(s.t, tlsIngress("front", "www", "www.shop.example", "shop.example"), tlsIngress("gone", "opaque", "x.example"))
	s.shows(at(1, flawed, "ingress", "front", "shop.example", "problem", "name_missing"),
		lacksText(`key="www.shop.example"`), at(1, broken, "ingress", "gone", "opaque", "reason", "vanished"))
	s.c.Put(s.t, tlsSecret("www", wide.Chain, wide.Key))
	s.c.Delete(s.t, tlsIngress("gone", "opaque", "x.example"))
	s.shows(shown("www", wide), lacks(flawed, broken))
	s.c.Put(s.t, tlsIngress("front", "www", "a.b.shop.example"))
	s.shows(at(1, flawed, "ingress", "front", "a.b.shop.example", "problem", "name_missing"))
	s.c.Delete(s.t, tlsIngress("front", "www", "a.b.shop.example"))
	s.shows(lacks(flawed, broken))
}

// rightComesAndGoes takes the right to Secrets away, from a replica that runs and from
// one that begins, and gives it back.
func (s *scene) rightComesAndGoes(v *vault) {
	s.t.Helper()
	roles := s.c.Client().RbacV1().ClusterRoles()
	role, err := roles.Get(s.t.Context(), account, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	if _, err := roles.Update(s.t.Context(), role, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	// The API server lets a watch go on; the exporter ends it after an event.
	next := v.issue(300*time.Hour, "next.shop.example")
	s.c.Put(s.t, tlsSecret("next", next.Chain, next.Key))
	forbidden := func(m exporter.Metrics) error {
		if failures(m, certificates, "forbidden") == 0 {
			return errors.New("not forbidden")
		}
		return errors.Join(fails(m, certificates), lacksText(`source="secret"`)(m))
	}
	well := []func(exporter.Metrics) error{has(1, "ack_exporter_leader")}
	for _, name := range collectors() {
		well = append(well, is(notApplicable, name))
	}
	s.shows(append(well, forbidden)...)

	s.r.stop(s.t)
	began := time.Now()
	s.r.start(s.t, every(time.Second)...)
	s.shows(append(well, forbidden)...)
	if took := time.Since(began); took > leaseDuration+slack {
		s.t.Errorf("it leads after %s only", took)
	}
	s.c.ApplyFile(s.t, rbacFile)
	s.shows(append(well, is(succeeds, certificates), shown("next", next), has(2, located, "source", "secret"))...)
}
