package certificate

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxKey bounds a private key in DER form, in bytes. That of an RSA key of 16,384
// bits, twice what TLS accepts, is smaller.
const maxKey = 10 << 10

// keyMatches tells whether the first private key in a PEM text is that of c. The text
// may hold the certificate as well. An error says why the question has no answer:
// there is no key, it is encrypted, or its kind is unknown here, as SM2 is. No error
// contains anything of the key.
func keyMatches(c *x509.Certificate, keyPEM []byte) (bool, error) {
	public, ok := c.PublicKey.(interface {
		Equal(key crypto.PublicKey) bool
	})
	if !ok {
		return false, fmt.Errorf("a public key of the kind %s cannot be compared", c.PublicKeyAlgorithm)
	}
	block, err := firstKey(keyPEM)
	if err != nil {
		return false, err
	}
	key, err := parseKey(block)
	if err != nil {
		return false, err
	}
	return public.Equal(key.Public()), nil
}

// firstKey finds the first block with a private key in a text with other blocks.
func firstKey(text []byte) (*pem.Block, error) {
	if len(text) > maxBundle {
		return nil, fmt.Errorf("more than %d bytes", maxBundle)
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("no private key in PEM form")
		}
		if block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY") {
			return block, nil
		}
	}
}

// privateKey is what all private keys of the standard library have.
type privateKey interface{ Public() crypto.PublicKey }

// parseKey tries every form whatever the type of the block says, as TLS does.
func parseKey(block *pem.Block) (privateKey, error) {
	switch {
	case len(block.Bytes) > maxKey:
		return nil, fmt.Errorf("a private key of more than %d bytes", maxKey)
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("an encrypted private key")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("a private key of an unknown form or kind")
	}
	key, ok := parsed.(privateKey)
	if !ok {
		return nil, fmt.Errorf("a private key of the kind %T", parsed)
	}
	return key, nil
}
