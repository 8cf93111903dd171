package aliyun

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ack-exporter/collector"
)

// ErrBudget tells that a request was not sent, because there were as many in the last
// minute as there may be. It is a kind of collector.ErrThrottled.
var ErrBudget = fmt.Errorf("the requests of this minute are used up: %w", collector.ErrThrottled)

// errRefused is a refusal that has to do with neither rate nor rights, such as a
// parameter that is not accepted.
var errRefused = errors.New("refused")

// Error is why one request failed. It says nothing that the other side put into a
// free text, and nothing of the credentials.
type Error struct {
	Action Action
	// Status is that of HTTP; 0 where there was no answer.
	Status int
	// Code, RequestID and Missing are what the API says of the failure. Missing is
	// the right that a policy would have to grant.
	Code, RequestID, Missing string

	kind   error
	detail string
	retry  bool
	// badKeys tells that the API does not know the credentials, or not any more.
	badKeys bool
	// after is how long the API asked to wait.
	after time.Duration
}

// Refusal is the error of an answer with this status and code, for simulations of the API.
func Refusal(action Action, status int, code string) *Error {
	e := &Error{Action: action, Status: status, Code: code, badKeys: unknownCredentials(code)}
	e.retry, e.kind = class(status, code)
	return e
}

// Error names the action, what went wrong, and the class.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Action.Product, e.Action.Name)
	for _, part := range []struct{ name, value string }{
		{"", e.detail}, {"code ", e.Code}, {"status ", number(e.Status)}, {"without the right to ", e.Missing}, {"request ", e.RequestID},
	} {
		if part.value != "" {
			b.WriteString(part.name + part.value + ", ")
		}
	}
	return strings.TrimSuffix(b.String(), ", ") + ": " + e.kind.Error()
}

// Unwrap is the class: an error of the package collector, or of a context.
func (e *Error) Unwrap() error { return e.kind }

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// refusal is the body of an answer that is an error. Some products write the names
// in lower case, which is all the same to encoding/json.
type refusal struct {
	Code               string
	RequestID          string `json:"RequestId"`
	AccessDeniedDetail json.RawMessage
}

// failure is the error that an answer stands for, nil for an answer that is none.
// secrets never get into it, even if the other side repeats them.
func failure(action Action, a *answer, secrets []string) *Error {
	e := &Error{Action: action, Status: a.status}
	if bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("<")) || strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html") {
		e.kind, e.detail = collector.ErrUnavailable, "a page in place of an answer of the API"
		e.retry = a.status >= http.StatusInternalServerError
		return e
	}
	if a.status >= 200 && a.status < 300 {
		return nil
	}
	var r refusal
	if err := json.Unmarshal(a.body, &r); err != nil {
		r = refusal{}
	}
	code := word(r.Code, nil)
	e.retry, e.kind = class(a.status, code)
	e.badKeys = unknownCredentials(code)
	e.Code = word(code, secrets)
	e.RequestID = word(r.RequestID, secrets)
	e.Missing = missingRight(r.AccessDeniedDetail, secrets)
	if code == "" {
		e.detail = "an answer that is not one of the API"
	}
	if e.retry {
		e.after = retryAfter(a.header)
	}
	return e
}

// missingRight reads the one field of the details that matters. They are an object,
// or there are none that can be understood.
func missingRight(raw json.RawMessage, secrets []string) string {
	var detail struct{ AuthAction string }
	if len(raw) == 0 || json.Unmarshal(raw, &detail) != nil {
		return ""
	}
	return word(detail.AuthAction, secrets)
}

// class tells whether to try again, and maps what the API said to an error of the
// package collector. The code comes before the status, which is not the same for
// one code in each product.
func class(status int, code string) (retry bool, kind error) {
	switch {
	case strings.HasPrefix(code, "Throttling") || status == http.StatusTooManyRequests:
		return true, collector.ErrThrottled
	case status >= http.StatusInternalServerError:
		return true, collector.ErrUnavailable
	case code == "ServiceUnavailable" || code == "" && status != http.StatusUnauthorized:
		return false, collector.ErrUnavailable
	case unknownCredentials(code):
		return false, collector.ErrForbidden
	case strings.HasPrefix(code, "Missing") || strings.HasPrefix(code, "Invalid"):
		return false, errRefused
	case strings.HasPrefix(code, "Forbidden") || strings.HasPrefix(code, "NoPermission"),
		status == http.StatusForbidden, status == http.StatusUnauthorized:
		return false, collector.ErrForbidden
	default:
		return false, errRefused
	}
}

// unknownCredentials tells whether a code means that the credentials themselves are
// not, or not any more, what the API knows.
func unknownCredentials(code string) bool {
	return slices.ContainsFunc([]string{"InvalidAccessKeyId", "InvalidSecurityToken", "SignatureDoesNotMatch", "IncompleteSignature"},
		func(prefix string) bool { return strings.HasPrefix(code, prefix) })
}

var wordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:*_-]{0,99}$`)

// word is s if it is a plain short identifier without any of the secrets, or "".
func word(s string, secrets []string) string {
	if !wordForm.MatchString(s) {
		return ""
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(s, secret) {
			return ""
		}
	}
	return s
}

// retryAfter is how long the API asked to wait: by headers of its own in
// milliseconds, of which X-Acs-Retry-After is the newer one, or by that of HTTP in seconds.
func retryAfter(header http.Header) time.Duration {
	longest := duration(header.Get("X-Acs-Retry-After"), time.Millisecond)
	for _, name := range []string{"X-Ratelimit-User-Api", "X-Ratelimit-User"} {
		for part := range strings.SplitSeq(header.Get(name), ",") {
			if left, ok := strings.CutPrefix(strings.TrimSpace(part), "TimeLeft:"); ok {
				longest = max(longest, duration(left, time.Millisecond))
			}
		}
	}
	return max(longest, duration(header.Get("Retry-After"), time.Second))
}

func duration(s string, unit time.Duration) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * unit
}

// unsent is the error of a request without an answer. Its text is our own but for
// errors that are known to name hosts and addresses only: others can hold the URL of
// a proxy with its password, or what the other side sent.
func unsent(ctx context.Context, action Action, err error) *Error {
	e := &Error{Action: action, kind: collector.ErrUnavailable, detail: "no answer", retry: true}
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		e.kind, e.detail, e.retry = ctx.Err(), "", false
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.kind, e.detail = context.DeadlineExceeded, "no answer in time"
	case errors.Is(err, errTooLarge):
		e.kind, e.detail, e.retry = collector.ErrDecode, errTooLarge.Error(), false
	default:
		e.detail = reachability(err)
	}
	return e
}

func reachability(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && hostForm.MatchString(dns.Name) {
		return "the name " + dns.Name + " cannot be looked up"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the certificate of the endpoint is not trusted"
	}
	if code, ok := errors.AsType[syscall.Errno](err); ok {
		return code.Error()
	}
	return "no answer"
}

// decodeError is the error of an answer whose content is not what it should be.
func decodeError(action Action, format string, arguments ...any) *Error {
	return &Error{Action: action, kind: collector.ErrDecode, detail: fmt.Sprintf(format, arguments...)}
}
