package certificate

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
)

const (
	// maxBundle bounds what is read from one place, in bytes. The root certificates of
	// a Linux distribution take a quarter of it.
	maxBundle = 1 << 20
	// maxCertificates bounds how many certificates one place can have.
	maxCertificates = 500
	// maxName bounds a name that becomes a label value, in bytes. X.509 itself bounds a
	// common name to 64 characters.
	maxName = 256
)

const (
	pemBegin       = "-----BEGIN "
	pemCertificate = "CERTIFICATE"
)

// decode reads all certificates of a bundle, PEM or DER. Text between PEM blocks
// and blocks of other types are allowed; a block that is broken is a reason, and
// the others are read. What is in a PEM block of another type is never looked at.
func decode(bundle []byte) ([]*x509.Certificate, []Reason) {
	bundle = bytes.TrimPrefix(bundle, []byte("\xef\xbb\xbf"))
	switch {
	case len(bytes.TrimSpace(bundle)) == 0:
		return nil, []Reason{ReasonEmpty}
	case len(bundle) > maxBundle:
		return nil, []Reason{ReasonTooLarge}
	case bytes.Contains(bundle, []byte(pemBegin)):
		return decodePEM(bundle)
	}
	certificates, err := x509.ParseCertificates(bundle)
	switch {
	case err != nil:
		return nil, []Reason{ReasonDER}
	case len(certificates) > maxCertificates:
		return certificates[:maxCertificates], []Reason{ReasonTooMany}
	}
	return certificates, nil
}

func decodePEM(bundle []byte) (certificates []*x509.Certificate, reasons []Reason) {
	// The decoder skips what is broken without a word.
	begun := bytes.Count(bundle, []byte(pemBegin))
	blocks := 0
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			break
		}
		blocks++
		if !isCertificate(block.Type) {
			continue
		}
		if len(certificates) == maxCertificates {
			return certificates, append(reasons, ReasonTooMany)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			reasons = append(reasons, ReasonDER)
			continue
		}
		certificates = append(certificates, certificate)
	}
	if blocks < begun {
		reasons = append(reasons, ReasonPEM)
	}
	if len(certificates) == 0 && len(reasons) == 0 {
		reasons = append(reasons, ReasonNoCertificate)
	}
	return certificates, reasons
}

// isCertificate knows the names of RFC 7468 and of OpenSSL.
func isCertificate(blockType string) bool {
	return blockType == pemCertificate || blockType == "X509 "+pemCertificate
}

// describe keeps of c what is told, and nothing of its memory.
func describe(c *x509.Certificate, key string, class Class) Certificate {
	role := RoleLeaf
	if c.IsCA {
		role = RoleCA
	}
	return Certificate{
		Key: key, Subject: subject(c), Issuer: name(c.Issuer), Serial: c.SerialNumber.Text(16),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Role: role, Class: class,
	}
}

func subject(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return label(c.Subject.CommonName)
	case len(c.DNSNames) > 0:
		return label(c.DNSNames[0])
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	case len(c.URIs) > 0:
		return label(c.URIs[0].String())
	default:
		return label(c.Subject.String())
	}
}

func name(n pkix.Name) string {
	if n.CommonName != "" {
		return label(n.CommonName)
	}
	return label(n.String())
}

// label makes a label value of what somebody has written into a certificate.
func label(s string) string {
	s = s[:min(len(s), maxName)]
	return strings.Clone(strings.ToValidUTF8(s, "\uFFFD"))
}

// issuersExpireFirst tells whether leaf outlives a certificate among others that
// issued it, or issued one that did.
func issuersExpireFirst(leaf *x509.Certificate, others []*x509.Certificate) bool {
	// A loop of issuers ends, since each step uses one of the others.
	current := leaf
	for range others {
		issuer := issuerOf(current, others)
		if issuer == nil || issuer.Equal(current) {
			return false
		}
		if issuer.NotAfter.Before(leaf.NotAfter) {
			return true
		}
		current = issuer
	}
	return false
}

// issuerOf finds the one that issued c. Of several, as after a CA was renewed with
// the same key, it is the one that lives longest.
func issuerOf(c *x509.Certificate, others []*x509.Certificate) *x509.Certificate {
	var found *x509.Certificate
	for _, o := range others {
		if o.IsCA && bytes.Equal(o.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(o) == nil &&
			(found == nil || o.NotAfter.After(found.NotAfter)) {
			found = o
		}
	}
	return found
}
