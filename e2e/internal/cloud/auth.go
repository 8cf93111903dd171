//go:build e2e

package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Key is an access key, or the credentials of a session, which have a token and an end.
type Key struct {
	ID, Secret, Token string
	End               time.Time
}

// Environment is the key as variables of the environment, which the exporter reads
// with --cloud.credentials=environment.
func (k Key) Environment() []string {
	return []string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID=" + k.ID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" + k.Secret, "ALIBABA_CLOUD_SECURITY_TOKEN=" + k.Token,
	}
}

const (
	algorithm = "ACS3-HMAC-SHA256"
	// tolerance is how far the clock of a caller may be off.
	tolerance = 15 * time.Minute
)

// SetKey adds an access key or a session, or replaces the one with its id.
func (c *Cloud) SetKey(key Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys[key.ID] = key
}

// RemoveKey has the cloud know nothing of a key any more.
func (c *Cloud) RemoveKey(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keys, id)
}

// authorization is the header of a signed request.
type authorization struct {
	id, signature string
	signed        []string
}

func parseAuthorization(header string) (a authorization, ok bool) {
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return a, false
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	a = authorization{id: fields["Credential"], signature: fields["Signature"], signed: strings.Split(fields["SignedHeaders"], ";")}
	return a, len(fields) == 3 && a.id != "" && a.signature != "" && fields["SignedHeaders"] != ""
}

// authenticate tells who signed a request, or why nobody did. It is called with the
// lock held.
func (c *Cloud) authenticate(r request, now time.Time) error {
	a, ok := parseAuthorization(r.Header.Get("Authorization"))
	if !ok {
		return refuse(http.StatusBadRequest, "IncompleteSignature", "The request signature does not conform to Aliyun standards.")
	}
	date, err := time.Parse("2006-01-02T15:04:05Z", r.Header.Get("X-Acs-Date"))
	switch {
	case err != nil:
		return refuse(http.StatusBadRequest, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	case now.Sub(date).Abs() > tolerance:
		return refuse(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	key, ok := c.keys[a.id]
	if !ok {
		return refuse(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	}
	if unsigned := unsignedHeader(r, a.signed); unsigned != "" {
		return refuse(http.StatusBadRequest, "IncompleteSignature", "The header %s is not signed.", unsigned)
	}
	expected, canonical := sign(r, a.signed, key.Secret)
	if r.Header.Get("X-Acs-Content-Sha256") != digest(r.body) || !hmac.Equal([]byte(expected), []byte(a.signature)) {
		return refuse(http.StatusBadRequest, "SignatureDoesNotMatch",
			"Specified signature does not match our calculation. The server's canonical request is %q.", canonical)
	}
	if err := checkSession(r, key, now); err != nil {
		return err
	}
	return c.useNonce(r.Header.Get("X-Acs-Signature-Nonce"), now)
}

func checkSession(r request, key Key, now time.Time) error {
	token := r.Header.Get("X-Acs-Security-Token")
	switch {
	case key.Token == "" && token == "":
		return nil
	case token == "":
		return refuse(http.StatusBadRequest, "MissingSecurityToken", "SecurityToken is mandatory for this action.")
	case token != key.Token:
		return refuse(http.StatusBadRequest, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
	case !key.End.IsZero() && !now.Before(key.End):
		return refuse(http.StatusBadRequest, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
	default:
		return nil
	}
}

// useNonce takes each nonce once, for as long as a request with it is not too old.
func (c *Cloud) useNonce(nonce string, now time.Time) error {
	if nonce == "" {
		return refuse(http.StatusBadRequest, "MissingParameter", "The header x-acs-signature-nonce is not supplied.")
	}
	for old, used := range c.nonces {
		if now.Sub(used).Abs() > 2*tolerance {
			delete(c.nonces, old)
		}
	}
	if _, used := c.nonces[nonce]; used {
		return refuse(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	c.nonces[nonce] = now
	return nil
}

// unsignedHeader is a header that ought to be signed and is not.
func unsignedHeader(r request, signed []string) string {
	needed := []string{"host"}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-acs-") || lower == "content-type" {
			needed = append(needed, lower)
		}
	}
	for _, name := range needed {
		if !slices.Contains(signed, name) {
			return name
		}
	}
	return ""
}

// sign computes the signature, and what it is computed of.
func sign(r request, signed []string, secret string) (signature, canonical string) {
	var headers strings.Builder
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	canonical = strings.Join([]string{
		r.Method, r.URL.EscapedPath(), canonicalQuery(r.URL.Query()), headers.String(), strings.Join(signed, ";"), digest(r.body),
	}, "\n")
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(algorithm + "\n" + digest([]byte(canonical)))) // never fails
	return hex.EncodeToString(mac.Sum(nil)), canonical
}

// canonicalQuery is the query sorted by name, with the escapes of RFC 3986.
func canonicalQuery(query url.Values) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[name])) {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	return strings.Join(pairs, "&")
}

// escape leaves letters, digits and -_.~ as they are.
func escape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		ch := s[i]
		if ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9' || strings.IndexByte("-_.~", ch) >= 0 {
			b.WriteByte(ch)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[ch>>4])
		b.WriteByte(hexDigits[ch&15])
	}
	return b.String()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
