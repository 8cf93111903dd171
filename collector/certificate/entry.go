package certificate

import "crypto/x509"

// tell adds certificates that could be read.
func (e *Entry) tell(key string, class Class, certificates []*x509.Certificate) {
	for _, c := range certificates {
		e.Certificates = append(e.Certificates, describe(c, key, class))
	}
}

// fail adds why something could not be read.
func (e *Entry) fail(key string, reasons ...Reason) {
	for _, reason := range reasons {
		e.Failures = append(e.Failures, Failure{key, reason})
	}
}

// add reads a bundle, and returns its certificates.
func (e *Entry) add(key string, class Class, bundle []byte) []*x509.Certificate {
	certificates, reasons := decode(bundle)
	e.tell(key, class, certificates)
	e.fail(key, reasons...)
	return certificates
}

// judgeKey tells where the private key at keyKey is not that of c, which is at key, or
// cannot be understood.
func (e *Entry) judgeKey(key string, c *x509.Certificate, keyKey string, keyPEM []byte) {
	matches, err := keyMatches(c, keyPEM)
	switch {
	case err != nil:
		e.fail(keyKey, ReasonKey)
	case !matches:
		e.Flaws = append(e.Flaws, Flaw{key, ProblemKeyMismatch})
	}
}
