//go:build e2e

// Package pki makes certificates for tests: authorities, servers and clients,
// valid when and for what a test says.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Template says what a certificate is to say.
type Template struct {
	CommonName string
	// Organizations are what Kubernetes takes for the groups of a client.
	Organizations []string
	// Hosts are the DNS names and IP addresses for which a server's certificate holds.
	Hosts []string
	// NotBefore and NotAfter are an hour ago and in ten days, where they are not set.
	NotBefore, NotAfter time.Time
}

// year is how long most certificates of a cluster are valid.
const year = 365 * 24 * time.Hour

// ExpiringIn is the same for a certificate that is valid for a year, of which this is
// left; less than nothing: it has expired.
func (t Template) ExpiringIn(left time.Duration) Template {
	t.NotAfter = time.Now().Add(left)
	t.NotBefore = t.NotAfter.Add(-year)
	return t
}

// Pair is a certificate with its private key.
type Pair struct {
	Certificate *x509.Certificate
	// Chain is the certificate and the intermediate ones above it, in PEM.
	Chain []byte
	// Key is the private key, in PEM.
	Key []byte

	signer *ecdsa.PrivateKey
}

// TLS is the pair in the form in which crypto/tls takes it.
func (p *Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.Chain, p.Key) }

// Authority is a pair that can sign others.
type Authority struct {
	Pair
	root bool
}

// NewAuthority makes an authority that has signed itself.
func NewAuthority(t Template) (*Authority, error) {
	pair, err := issue(nil, t, asAuthority)
	if err != nil {
		return nil, err
	}
	return &Authority{Pair: *pair, root: true}, nil
}

// Authority makes an intermediate authority.
func (a *Authority) Authority(t Template) (*Authority, error) {
	pair, err := issue(a, t, asAuthority)
	if err != nil {
		return nil, err
	}
	return &Authority{Pair: *pair}, nil
}

// Server makes a certificate for a server.
func (a *Authority) Server(t Template) (*Pair, error) { return issue(a, t, asServer) }

// Client makes a certificate for a client.
func (a *Authority) Client(t Template) (*Pair, error) { return issue(a, t, asClient) }

// NewKey makes a private key and returns both its halves in PEM.
func NewKey() (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if private, err = marshalKey(key); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return private, encode("PUBLIC KEY", der), err
}

func asAuthority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

func asServer(c *x509.Certificate) {
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

func asClient(c *x509.Certificate) {
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}

// issue makes a certificate that parent signs, or the certificate itself where
// there is no parent.
func issue(parent *Authority, t Template, as func(*x509.Certificate)) (*Pair, error) {
	template, err := t.certificate()
	if err != nil {
		return nil, err
	}
	as(template)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Certificate, parent.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", t.CommonName, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	private, err := marshalKey(key)
	if err != nil {
		return nil, err
	}
	chain := encode("CERTIFICATE", der)
	if parent != nil && !parent.root {
		chain = append(chain, parent.Chain...)
	}
	return &Pair{Certificate: certificate, Chain: chain, Key: private, signer: key}, nil
}

// Validity of a certificate of which nothing else is said. The machines of a
// test share one clock, but a test may set that of a program back.
const (
	defaultAge      = time.Hour
	defaultValidity = 10 * 24 * time.Hour
)

func (t Template) certificate() (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: t.CommonName, Organization: t.Organizations},
		NotBefore:    t.NotBefore,
		NotAfter:     t.NotAfter,
	}
	now := time.Now()
	if c.NotBefore.IsZero() {
		c.NotBefore = now.Add(-defaultAge)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = now.Add(defaultValidity)
	}
	if !c.NotBefore.Before(c.NotAfter) {
		return nil, fmt.Errorf("certificate %q: %w: from %s to %s", t.CommonName, errNeverValid, c.NotBefore, c.NotAfter)
	}
	for _, host := range t.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	return c, nil
}

var errNeverValid = errors.New("it would never be valid")

func marshalKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	return encode("EC PRIVATE KEY", der), err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
