package certificate

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// subjects says in one line what decode returned.
func subjects(certificates []*x509.Certificate, reasons []Reason) string {
	var said []string
	for _, c := range certificates {
		said = append(said, c.Subject.CommonName)
	}
	for _, r := range reasons {
		said = append(said, "!"+string(r))
	}
	return strings.Join(said, " ")
}

func TestDecode(t *testing.T) {
	t.Parallel()
	a, b := certify(t, "a", ecKey(t), nil), certify(t, "b", edKey(t), nil)
	r := certify(t, "r", rsaKey(t), nil)
	sm2 := onSM2(t, certify(t, "sm2", ecKey(t), nil, isCA))
	lines := func(text []byte, old, replacement string) []byte {
		return bytes.ReplaceAll(text, []byte(old), []byte(replacement))
	}
	begin := []byte("-----BEGIN CERTIFICATE-----\n")
	broken := lines(a.pem(), "MII", "!!!")
	for name, c := range map[string]struct {
		bundle []byte
		want   string
	}{
		"one":                     {a.pem(), "a"},
		"of each kind of key":     {join(a.pem(), b.pem(), r.pem(), pemBlock("CERTIFICATE", sm2)), "a b r sm2"},
		"DER":                     {a.Raw, "a"},
		"DER of several":          {join(a.Raw, b.Raw, sm2), "a b sm2"},
		"DER, garbage behind":     {join(a.Raw, []byte("\n")), "a !der"},
		"DER, truncated":          {join(a.Raw, b.Raw[:len(b.Raw)-1]), "a !der"},
		"DER, not a certificate":  {pkcs8(t, a.key), "!der"},
		"nothing":                 {nil, "!empty"},
		"white space":             {[]byte(" \r\n\t"), "!empty"},
		"a BOM and nothing":       {[]byte("\xef\xbb\xbf"), "!empty"},
		"BOM":                     {join([]byte("\xef\xbb\xbf"), a.pem()), "a"},
		"CRLF":                    {lines(join(a.pem(), b.pem()), "\n", "\r\n"), "a b"},
		"text between":            {join([]byte("subject=a\n"), a.pem(), []byte("\nthen\n"), b.pem(), []byte("end")), "a b"},
		"twice":                   {join(a.pem(), a.pem()), "a a"},
		"PKCS#8 key before":       {join(a.keyPEM(t), a.pem()), "a"},
		"PKCS#8 key between":      {join(a.pem(), a.keyPEM(t), b.pem()), "a b"},
		"a key only":              {a.keyPEM(t), "!no_certificate"},
		"headers":                 {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"Name": "x"}, Bytes: a.Raw}), "a"},
		"old name of OpenSSL":     {pemBlock("X509 CERTIFICATE", a.Raw), "a"},
		"trusted, of OpenSSL":     {pemBlock("TRUSTED CERTIFICATE", join(a.Raw, []byte{0x30, 0})), "a"},
		"trusted and broken":      {pemBlock("TRUSTED CERTIFICATE", a.Raw[:9]), "!der"},
		"request":                 {pemBlock("CERTIFICATE REQUEST", a.Raw), "!no_certificate"},
		"truncated":               {a.pem()[:len(a.pem())/2], "!pem"},
		"the last truncated":      {join(a.pem(), b.pem()[:len(b.pem())-5]), "a !pem"},
		"broken, and a good one":  {join(broken, b.pem()), "b !pem"},
		"no end before the next":  {join(begin, a.pem()), "a !pem"},
		"indented":                {lines(a.pem(), "-----B", "  -----B"), "!pem"},
		"not a certificate, good": {join(pemBlock("CERTIFICATE", []byte("x")), pemBlock("CERTIFICATE", []byte("y")), b.pem()), "b !der"},
		"garbage behind the DER":  {pemBlock("CERTIFICATE", join(a.Raw, []byte{0})), "!der"},
		"not a block":             {[]byte("see -----BEGIN CERTIFICATE----- in the manual"), "!no_certificate"},
		"text":                    {[]byte("hello"), "!der"},
		"zeros":                   {make([]byte, 100), "!der"},
		"almost too large":        {join(a.pem(), bytes.Repeat([]byte("\n"), maxBundle-len(a.pem()))), "a"},
		"too large":               {join(a.pem(), bytes.Repeat([]byte("\n"), maxBundle-len(a.pem())+1)), "!too_large"},
		"large and empty":         {bytes.Repeat([]byte("\n"), maxBundle+1), "!too_large"},
		"many":                    {bytes.Repeat(b.pem(), maxCertificates), strings.TrimSpace(strings.Repeat("b ", maxCertificates))},
		"too many":                {bytes.Repeat(b.pem(), maxCertificates+1), strings.Repeat("b ", maxCertificates) + "!too_many"},
		"many in DER":             {bytes.Repeat(b.Raw, maxCertificates), strings.TrimSpace(strings.Repeat("b ", maxCertificates))},
		"too many in DER":         {bytes.Repeat(b.Raw, maxCertificates+1), strings.Repeat("b ", maxCertificates) + "!too_many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := subjects(decode(c.bundle)); got != c.want {
				t.Errorf("%.100s\nwant %.100s", got, c.want)
			}
		})
	}
}

// TestSM2 proves that everything but the key of a certificate on SM2 is told.
func TestSM2(t *testing.T) {
	t.Parallel()
	p := certify(t, "根", ecKey(t), nil, isCA, serial(0xbeef))
	if _, err := x509.ParseCertificate(onSM2(t, p)); err == nil {
		t.Error("the standard library knows SM2 now")
	}
	certificates, reasons := decode(onSM2(t, p))
	if len(certificates) != 1 || reasons != nil {
		t.Fatal(certificates, reasons)
	}
	want := Certificate{
		Subject: "根", Issuer: "根", Serial: "beef", NotBefore: day(0), NotAfter: day(365),
		Role: RoleCA, Class: ClassManual,
	}
	if got := describe(certificates[0], "", ClassManual); got != want {
		t.Errorf("%+v", got)
	}
	if issuersExpireFirst(certificates[0], certificates) {
		t.Error("it is its own issuer")
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	key := edKey(t)
	for want, change := range map[string]with{
		"name":      func(c *x509.Certificate) { c.DNSNames = []string{"not.this"} },
		"a.example": func(c *x509.Certificate) { c.Subject = pkix.Name{}; c.DNSNames = []string{"a.example", "b.example"} },
		"192.0.2.1": func(c *x509.Certificate) { c.Subject = pkix.Name{}; c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} },
		"spiffe://a/b": func(c *x509.Certificate) {
			c.Subject = pkix.Name{}
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "a", Path: "/b"}}
		},
		"O=org":                      func(c *x509.Certificate) { c.Subject = pkix.Name{Organization: []string{"org"}} },
		"":                           func(c *x509.Certificate) { c.Subject = pkix.Name{} },
		strings.Repeat("x", maxName): func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("x", 2*maxName) },
		"x" + strings.Repeat("ä", 127) + "\uFFFD": func(c *x509.Certificate) { c.Subject.CommonName = "x" + strings.Repeat("ä", 200) },
	} {
		c := certify(t, "name", key, nil, change, serial(255))
		got := describe(c.Certificate, "k", ClassHarmless)
		if got.Subject != want || got.Serial != "ff" || got.Key != "k" || got.Role != RoleLeaf || got.Class != ClassHarmless {
			t.Errorf("%+v, want %q", got, want)
		}
	}
	long := certify(t, "", key, nil, func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158) })
	if got := describe(long.Certificate, "", ClassManual).Serial; len(got) != 40 {
		t.Errorf("serial %s", got)
	}
}

func TestIssuersExpireFirst(t *testing.T) {
	t.Parallel()
	key, otherKey := ecKey(t), edKey(t)
	root := certify(t, "root", key, nil, isCA, valid(0, 100), serial(1))
	renewed := certify(t, "root", key, nil, isCA, valid(90, 500), serial(2))
	impostor := certify(t, "root", otherKey, nil, isCA, valid(0, 10), serial(3))
	notCA := certify(t, "root", key, nil, valid(0, 10), serial(4))
	middle := certify(t, "middle", otherKey, &root, isCA, valid(0, 300))
	leaf := func(issuer pair, until int) pair {
		return certify(t, "leaf", ecKey(t), &issuer, valid(0, until), serial(9))
	}
	for name, c := range map[string]struct {
		leaf   pair
		others []pair
		want   bool
	}{
		"outlives":                   {leaf(root, 101), []pair{root}, true},
		"same end":                   {leaf(root, 100), []pair{root}, false},
		"issuer unknown":             {leaf(root, 101), nil, false},
		"another of this name":       {leaf(root, 100), []pair{root, impostor}, false},
		"only another of this name":  {leaf(root, 100), []pair{impostor}, false},
		"not a CA":                   {leaf(root, 100), []pair{notCA}, false},
		"CA renewed":                 {leaf(root, 101), []pair{root, renewed}, false},
		"CA renewed, first":          {leaf(root, 101), []pair{renewed, root}, false},
		"outlives the renewed":       {leaf(root, 501), []pair{root, renewed}, true},
		"the CA itself":              {root, []pair{root, renewed}, false},
		"the renewed itself":         {renewed, []pair{root, renewed}, false},
		"over two":                   {leaf(middle, 200), []pair{middle, root}, true},
		"over two, and not so long":  {leaf(middle, 99), []pair{middle, root}, false},
		"a CA that outlives its own": {middle, []pair{middle, root}, true},
	} {
		var others []*x509.Certificate
		for _, o := range c.others {
			others = append(others, o.Certificate)
		}
		if got := issuersExpireFirst(c.leaf.Certificate, others); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestIssuersAreBounded makes what would take minutes without bounds.
func TestIssuersAreBounded(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	modulus := new(big.Int).Lsh(big.NewInt(1), 1<<20)
	slow := &x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, RawSubject: []byte("slow"), PublicKeyAlgorithm: x509.RSA,
		PublicKey: &rsa.PublicKey{N: modulus.Sub(modulus, big.NewInt(1)), E: 1<<31 - 1},
	}
	if found := newIssuers([]*x509.Certificate{slow}); len(found.byName) != 0 {
		t.Error("a key of 1 Mbit would be used")
	}
	var namesakes []*x509.Certificate
	for n := range 2 * maxIssuers {
		namesakes = append(namesakes, certify(t, "name", key, nil, isCA, serial(int64(n+1))).Certificate)
	}
	if tried := newIssuers(slices.Concat(namesakes, namesakes)).byName[string(namesakes[0].RawSubject)]; len(tried) != maxIssuers {
		t.Errorf("%d of one name", len(tried))
	}
	// A chain that is longer than what is followed.
	issuer := certify(t, "0", key, nil, isCA, valid(0, 1))
	chain := []*x509.Certificate{issuer.Certificate}
	for n := range maxChain + 1 {
		issuer = certify(t, fmt.Sprint(n+1), key, &issuer, isCA, valid(0, 10))
		chain = append(chain, issuer.Certificate)
	}
	if issuersExpireFirst(chain[len(chain)-1], chain) {
		t.Error("followed to its end")
	}
	if !issuersExpireFirst(chain[len(chain)-2], chain) {
		t.Error("not followed")
	}
}

// FuzzDecode proves for whatever comes in: something is told of it, within the bounds;
// and what is behind a good certificate does not take that away.
func FuzzDecode(f *testing.F) {
	good := certify(f, "good", edKey(f), nil)
	ec := certify(f, "ec", ecKey(f), nil, isCA)
	for _, seed := range [][]byte{
		good.pem(), good.Raw, join(good.Raw, good.Raw), ec.pem(), onSM2(f, ec), pemBlock("CERTIFICATE", onSM2(f, ec)),
		ec.keyPEM(f), []byte("\xef\xbb\xbf"), []byte("-----BEGIN CERTIFICATE-----\r\n"),
		pemBlock("TRUSTED CERTIFICATE", join(good.Raw, []byte{0x30, 0})), bytes.Repeat([]byte(pemBegin), 5),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, bundle []byte) {
		certificates, reasons := decode(bundle)
		if len(certificates) == 0 && len(reasons) == 0 || len(certificates) > maxCertificates {
			t.Errorf("%d certificates, %v", len(certificates), reasons)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(reasons)))) != len(reasons) {
			t.Errorf("twice the same reason: %v", reasons)
		}
		issued := newIssuers(certificates)
		for _, c := range certificates {
			issued.expireFirst(c)
			told := describe(c, "", ClassManual)
			for _, value := range []string{told.Subject, told.Issuer, told.Serial} {
				// A cut within a rune makes a replacement character of up to 3 bytes.
				if !utf8.ValidString(value) || strings.Count(value, "")-1 > maxName {
					t.Errorf("label value %q", value)
				}
			}
		}
		if len(bundle) > maxBundle/2 || len(certificates) == maxCertificates {
			return
		}
		first, _ := decode(join(good.pem(), []byte("\n"), bundle))
		if len(first) == 0 || !first[0].Equal(good.Certificate) {
			t.Error("what follows a certificate takes it away")
		}
	})
}
