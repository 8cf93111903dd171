//go:build e2e

package pki_test

import (
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cluster/pki"
)

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	root, err := pki.NewAuthority(pki.Template{CommonName: "root"})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestVerify has the standard library judge the certificates.
func TestVerify(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	intermediate, err := root.Authority(pki.Template{CommonName: "intermediate"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := intermediate.Server(pki.Template{CommonName: "server", Hosts: []string{"a.example", "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := root.Client(pki.Template{CommonName: "client", Organizations: []string{"group"}})
	if err != nil {
		t.Fatal(err)
	}
	serverUse, clientUse := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for name, c := range map[string]struct {
		pair    *pki.Pair
		options x509.VerifyOptions
		valid   bool
	}{
		"server by name":        {server, x509.VerifyOptions{DNSName: "a.example", KeyUsages: serverUse}, true},
		"server by address":     {server, x509.VerifyOptions{DNSName: "192.0.2.1", KeyUsages: serverUse}, true},
		"server by other name":  {server, x509.VerifyOptions{DNSName: "b.example", KeyUsages: serverUse}, false},
		"server as client":      {server, x509.VerifyOptions{KeyUsages: clientUse}, false},
		"client":                {client, x509.VerifyOptions{KeyUsages: clientUse}, true},
		"client as server":      {client, x509.VerifyOptions{KeyUsages: serverUse}, false},
		"client after its time": {client, x509.VerifyOptions{KeyUsages: clientUse, CurrentTime: time.Now().Add(11 * 24 * time.Hour)}, false},
	} {
		c.options.Roots, c.options.Intermediates = x509.NewCertPool(), x509.NewCertPool()
		c.options.Roots.AddCert(root.Certificate)
		_, above := pem.Decode(c.pair.Chain)
		c.options.Intermediates.AppendCertsFromPEM(above)
		if _, err := c.pair.Certificate.Verify(c.options); (err == nil) != c.valid {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.pair.TLS(); err != nil {
			t.Errorf("%s: certificate and key: %v", name, err)
		}
	}
	if got := client.Certificate.Subject.Organization; len(got) != 1 || got[0] != "group" {
		t.Errorf("the client's groups are %q", got)
	}
}

func TestValidity(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	now := time.Now().Truncate(time.Second)
	expired, err := root.Server(pki.Template{CommonName: "old", NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got := expired.Certificate.NotAfter; !got.Equal(now.Add(-time.Hour)) {
		t.Errorf("the certificate expires at %s", got)
	}
	_, err = root.Server(pki.Template{CommonName: "never", NotBefore: now, NotAfter: now})
	if err == nil {
		t.Error("a certificate that is never valid was issued")
	}
}
