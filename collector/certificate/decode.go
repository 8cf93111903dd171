package certificate

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// maxBundle bounds what is read from one place, in bytes. The root certificates of
	// a Linux distribution take a quarter of it.
	maxBundle = 1 << 20
	// maxCertificates bounds how many certificates one place can have.
	maxCertificates = 500
	// maxName bounds a name that becomes a label value, in bytes. X.509 itself bounds a
	// common name to 64 characters, and a serial number to 20 bytes.
	maxName = 256
	// maxIssuers bounds how many certificates are tried as the issuer of another: those
	// of the right name, as after a CA was renewed.
	maxIssuers = 8
	// maxChain bounds how many issuers one above the other are looked for.
	maxChain = 8
	// maxRSA is the longest RSA key with which signatures are checked, in bits, as in
	// TLS. The time that it takes grows with the cube: a key of 1 Mbit takes a minute.
	maxRSA = 8192
)

const (
	pemBegin       = "-----BEGIN "
	pemCertificate = "CERTIFICATE"
	// pemTrusted is OpenSSL's: what OpenSSL alone understands follows the certificate.
	pemTrusted = "TRUSTED " + pemCertificate
)

// decode reads all certificates of a bundle, PEM or DER. Text between PEM blocks
// and blocks of other types are allowed; what is broken is a reason, and the others
// are read. What is in a PEM block of another type is never looked at. No reason is
// there twice.
func decode(bundle []byte) ([]*x509.Certificate, []Reason) {
	bundle = bytes.TrimPrefix(bundle, []byte("\xef\xbb\xbf"))
	switch {
	case len(bundle) > maxBundle:
		return nil, []Reason{ReasonTooLarge}
	case len(bytes.TrimSpace(bundle)) == 0:
		return nil, []Reason{ReasonEmpty}
	case bytes.Contains(bundle, []byte(pemBegin)):
		return decodePEM(bundle)
	}
	return decodeDER(bundle)
}

// decodeDER reads certificates that follow each other.
func decodeDER(bundle []byte) (certificates []*x509.Certificate, reasons []Reason) {
	for len(bundle) > 0 {
		if len(certificates) == maxCertificates {
			return certificates, []Reason{ReasonTooMany}
		}
		var der []byte
		if der, bundle = firstElement(bundle); der == nil {
			return certificates, []Reason{ReasonDER}
		}
		certificate, err := parseCertificate(der)
		if err != nil {
			return certificates, []Reason{ReasonDER}
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

func decodePEM(bundle []byte) (certificates []*x509.Certificate, reasons []Reason) {
	// The decoder skips what is broken without a word.
	begun := countBegun(bundle)
	blocks, broken := 0, false
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
			reasons = append(reasons, ReasonTooMany)
			blocks = begun // nobody knows about the rest
			break
		}
		der := block.Bytes
		if block.Type == pemTrusted {
			der, _ = firstElement(der)
		}
		certificate, err := parseCertificate(der)
		if err != nil {
			broken = true
			continue
		}
		certificates = append(certificates, certificate)
	}
	if broken {
		reasons = append(reasons, ReasonDER)
	}
	if blocks < begun {
		reasons = append(reasons, ReasonPEM)
	}
	if len(certificates) == 0 && len(reasons) == 0 {
		reasons = append(reasons, ReasonNoCertificate)
	}
	return certificates, reasons
}

// countBegun counts the lines that begin a PEM block. One that is indented is none to
// the decoder, but was meant to be one.
func countBegun(text []byte) int {
	begun := 0
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte(pemBegin)) {
			begun++
		}
	}
	return begun
}

// isCertificate knows the names of RFC 7468 and of OpenSSL.
func isCertificate(blockType string) bool {
	return blockType == pemCertificate || blockType == "X509 "+pemCertificate || blockType == pemTrusted
}

// firstElement cuts the first ASN.1 element off; nil: there is none.
func firstElement(der []byte) (element, rest []byte) {
	s := cryptobyte.String(der)
	var first cryptobyte.String
	if !s.ReadASN1Element(&first, cryptobyteasn1.SEQUENCE) {
		return nil, nil
	}
	return first, s
}

// The beginning of a public key on the curve SM2 (GB/T 32918, RFC 8998), and the same
// with a kind of key that does not exist.
const (
	algorithmSM2     = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d"
	algorithmUnknown = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x00\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d"
)

// parseCertificate reads one certificate. The standard library reads one with a kind of
// key that it does not know, but refuses one on a curve that it does not know, which is
// what SM2 is. Its names and dates are told all the same; it has no PublicKey.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil && bytes.Contains(der, []byte(algorithmSM2)) {
		return x509.ParseCertificate(bytes.Replace(der, []byte(algorithmSM2), []byte(algorithmUnknown), 1))
	}
	return certificate, err
}

// describe keeps of c what is told, and nothing of its memory.
func describe(c *x509.Certificate, key string, class Class) Certificate {
	role := RoleLeaf
	if c.IsCA {
		role = RoleCA
	}
	return Certificate{
		Key: key, Subject: subject(c), Issuer: name(c.Issuer), Serial: label(c.SerialNumber.Text(16)),
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
	return newIssuers(others).expireFirst(leaf)
}

// issuers are the certificates that can issue others.
type issuers struct {
	byName map[string][]*x509.Certificate
	known  map[*x509.Certificate]*x509.Certificate // answers of of
}

func newIssuers(certificates []*x509.Certificate) issuers {
	byName := make(map[string][]*x509.Certificate)
	for _, c := range certificates {
		subject := string(c.RawSubject)
		if c.IsCA && isVerifiable(c) && len(byName[subject]) < maxIssuers &&
			!slices.ContainsFunc(byName[subject], c.Equal) {
			byName[subject] = append(byName[subject], c)
		}
	}
	return issuers{byName, make(map[*x509.Certificate]*x509.Certificate)}
}

// isVerifiable tells whether to check a signature by the key of c takes little time.
func isVerifiable(c *x509.Certificate) bool {
	key, isRSA := c.PublicKey.(*rsa.PublicKey)
	return !isRSA || key.N.BitLen() <= maxRSA
}

// expireFirst tells whether leaf outlives one that issued it, or issued one that did.
func (i issuers) expireFirst(leaf *x509.Certificate) bool {
	current := leaf
	for range maxChain {
		issuer := i.of(current)
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

// of finds the one that issued c. Of several, as after a CA was renewed with the same
// key, it is the one that lives longest.
func (i issuers) of(c *x509.Certificate) *x509.Certificate {
	found, ok := i.known[c]
	if ok {
		return found
	}
	for _, o := range i.byName[string(c.RawIssuer)] {
		if (found == nil || o.NotAfter.After(found.NotAfter)) && c.CheckSignatureFrom(o) == nil {
			found = o
		}
	}
	i.known[c] = found
	return found
}
