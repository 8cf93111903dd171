package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// pemBlock is one PEM block.
func pemBlock(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

// selfSigned is a certificate for this key.
func selfSigned(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func sec1(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeyMatches(t *testing.T) {
	t.Parallel()
	rsaKey, ecKey, edKey := rsaKey(t), ecKey(t), edKey(t)
	rsaCertificate, ecCertificate, edCertificate := selfSigned(t, rsaKey), selfSigned(t, ecKey), selfSigned(t, edKey)
	pkcs1 := pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))
	ec := pemBlock("EC PRIVATE KEY", sec1(t, ecKey))
	parameters := pemBlock("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7})
	for name, c := range map[string]struct {
		certificate *x509.Certificate
		key         []byte
		want        bool
	}{
		"PKCS#1":                             {rsaCertificate, pkcs1, true},
		"PKCS#8 RSA":                         {rsaCertificate, pemBlock("PRIVATE KEY", pkcs8(t, rsaKey)), true},
		"PKCS#8 EC":                          {ecCertificate, pemBlock("PRIVATE KEY", pkcs8(t, ecKey)), true},
		"PKCS#8 Ed25519":                     {edCertificate, pemBlock("PRIVATE KEY", pkcs8(t, edKey)), true},
		"SEC1":                               {ecCertificate, ec, true},
		"after its parameters":               {ecCertificate, bytes.Join([][]byte{parameters, ec}, nil), true},
		"after its certificate":              {ecCertificate, bytes.Join([][]byte{pemBlock("CERTIFICATE", ecCertificate.Raw), ec}, nil), true},
		"wrong type of block":                {rsaCertificate, pemBlock("EC PRIVATE KEY", pkcs8(t, rsaKey)), true},
		"CRLF":                               {rsaCertificate, bytes.ReplaceAll(pkcs1, []byte("\n"), []byte("\r\n")), true},
		"another of the same kind":           {ecCertificate, pemBlock("EC PRIVATE KEY", sec1(t, otherEC(t))), false},
		"another kind":                       {rsaCertificate, ec, false},
		"the first counts":                   {rsaCertificate, bytes.Join([][]byte{ec, pkcs1}, nil), false},
		"another kind the other way around":  {edCertificate, pkcs1, false},
		"of an issuer, with the certificate": {ecCertificate, bytes.Join([][]byte{pemBlock("CERTIFICATE", edCertificate.Raw), pkcs1}, nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := keyMatches(c.certificate, c.key)
			if err != nil || got != c.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func otherEC(t testing.TB) *ecdsa.PrivateKey { return ecKey(t) }

func TestKeyThatCannotBeUnderstood(t *testing.T) {
	t.Parallel()
	key := ecKey(t)
	c := selfSigned(t, key)
	good := pemBlock("EC PRIVATE KEY", sec1(t, key))
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{1}})
	for name, text := range map[string]struct {
		key  []byte
		want string
	}{
		"nothing":            {nil, "no private key"},
		"a certificate only": {pemBlock("CERTIFICATE", c.Raw), "no private key"},
		"truncated":          {good[:len(good)/2], "no private key"},
		"DER":                {sec1(t, key), "no private key"},
		"encrypted PKCS#8":   {pemBlock("ENCRYPTED PRIVATE KEY", []byte{1}), "encrypted"},
		"encrypted SEC1":     {encrypted, "encrypted"},
		"not a key":          {pemBlock("PRIVATE KEY", []byte("secret")), "unknown form"},
		"SM2":                {pemBlock("PRIVATE KEY", sm2Key(t)), "unknown form"},
		"large":              {pemBlock("PRIVATE KEY", make([]byte, maxKey+1)), "more than"},
		"larger":             {make([]byte, maxBundle+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			matches, err := keyMatches(c, text.key)
			if matches || err == nil || !strings.Contains(err.Error(), text.want) {
				t.Errorf("%v, %v", matches, err)
			}
		})
	}
	if matches, err := keyMatches(&x509.Certificate{}, good); matches || err == nil {
		t.Errorf("certificate with an unknown public key: %v, %v", matches, err)
	}
}

// sm2Key is a PKCS#8 key on a curve that the standard library does not know.
func sm2Key(t testing.TB) []byte {
	t.Helper()
	type algorithm struct{ ID, Curve asn1.ObjectIdentifier }
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm algorithm
		Key       []byte
	}{0, algorithm{
		asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
		asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301},
	}, make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// FuzzKey proves that a key matches just the certificate that was made for it, and
// that no error tells what is in a key.
func FuzzKey(f *testing.F) {
	key, other := ecKey(f), edKey(f)
	c, otherCertificate := selfSigned(f, key), selfSigned(f, other)
	f.Add(pemBlock("EC PRIVATE KEY", sec1(f, key)))
	f.Add(pemBlock("PRIVATE KEY", pkcs8(f, key)))
	f.Add(pemBlock("PRIVATE KEY", pkcs8(f, other)))
	f.Add(pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(f))))
	f.Add(pemBlock("PRIVATE KEY", sm2Key(f)))
	f.Add(pemBlock("ENCRYPTED PRIVATE KEY", []byte("secret")))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		matches, err := keyMatches(c, text)
		matchesOther, errOther := keyMatches(otherCertificate, text)
		if matches && matchesOther {
			t.Error("one key for two certificates")
		}
		if (err == nil) != (errOther == nil) {
			t.Errorf("%v, but %v", err, errOther)
		}
		if err != nil && len(err.Error()) > 100 {
			t.Errorf("an error that tells too much: %v", err)
		}
	})
}
