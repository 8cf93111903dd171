package certificate

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// day is the first day of the tests' time, plus n.
func day(n int) time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

// pair is a certificate with its key.
type pair struct {
	*x509.Certificate
	key crypto.Signer
}

func (p pair) pem() []byte { return pemBlock("CERTIFICATE", p.Raw) }

func (p pair) keyPEM(t testing.TB) []byte {
	t.Helper()
	return pemBlock("PRIVATE KEY", pkcs8(t, p.key))
}

// with is a change to a certificate before it is signed.
type with func(*x509.Certificate)

func serial(n int64) with { return func(c *x509.Certificate) { c.SerialNumber = big.NewInt(n) } }

func valid(from, to int) with {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(from), day(to) }
}

func isCA(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }

// certify makes a certificate for key, signed by issuer, or by itself.
func certify(t testing.TB, name string, key crypto.Signer, issuer *pair, changes ...with) pair {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(1),
		NotBefore: day(0), NotAfter: day(365),
	}
	for _, change := range changes {
		change(template)
	}
	if issuer == nil {
		issuer = &pair{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{c, key}
}

// onSM2 is a certificate in DER form that says that its key, of P-256, is on SM2.
func onSM2(t testing.TB, p pair) []byte {
	t.Helper()
	p256 := []byte("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")
	if bytes.Count(p.Raw, p256) != 1 {
		t.Fatal("not a certificate of P-256")
	}
	return bytes.Replace(p.Raw, p256, []byte(algorithmSM2), 1)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
