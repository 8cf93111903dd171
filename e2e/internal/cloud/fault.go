//go:build e2e

package cloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Kind is how a call fails.
type Kind int

// The kinds. Of those after Deny the action is carried out as usual, and what fails is
// how its answer is sent.
const (
	// Throttle answers 400 Throttling.User, and asks to wait for Fault.For.
	Throttle Kind = iota + 1
	// InternalError answers 500, Unavailable 503.
	InternalError
	Unavailable
	// Skew has the clock of the cloud go wrong by Fault.For; 0: by 16 minutes.
	Skew
	// Deny has the caller have no right to the action.
	Deny
	// Page answers 502 with HTML, as a proxy does.
	Page
	// Close closes the connection without an answer.
	Close
	// Hang never answers, until the caller goes away.
	Hang
	// Trickle sends one byte each Fault.For; 0: each 100 ms.
	Trickle
	// Truncate closes the connection in the middle of the body.
	Truncate
	// Nonsense answers 200 with Fault.Body; "": JSON that is about something else.
	Nonsense
	// Strings sends all numbers of the answer as strings. That is no failure.
	Strings
)

// String names the kind.
func (k Kind) String() string {
	names := [...]string{
		"none", "Throttle", "InternalError", "Unavailable", "Skew", "Deny", "Page", "Close", "Hang", "Trickle", "Truncate", "Nonsense", "Strings",
	}
	if k < 0 || int(k) >= len(names) {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return names[k]
}

// Fault makes calls fail. The zero Fault does nothing.
type Fault struct {
	Kind Kind
	// Skip calls are answered as usual first. Times fail then; 0: all, until Heal.
	Skip, Times int
	For         time.Duration
	Body        string
}

// Any stands for all actions, those of STS too.
const Any = "*"

const (
	defaultSkew    = 16 * time.Minute
	defaultTrickle = 100 * time.Millisecond
)

// planned is a fault and the calls that it is about.
type planned struct {
	Fault
	action   string
	failures int
}

// Fail makes calls of an action fail, as ecs:DescribeInstances, or those of Any. Of
// several faults for one call the one that was planned first decides.
func (c *Cloud) Fail(action string, fault Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &planned{Fault: fault, action: action})
}

// Heal ends all faults.
func (c *Cloud) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// take is the fault of the call that has just arrived.
func (c *Cloud) take(name string) Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.faults {
		switch {
		case p.action != Any && p.action != name:
		case p.Skip > 0:
			p.Skip--
		case p.Times == 0 || p.failures < p.Times:
			p.failures++
			return p.Fault
		}
	}
	return Fault{}
}

func (f Fault) skew() time.Duration {
	if f.Kind != Skew {
		return 0
	}
	or(&f.For, defaultSkew)
	return f.For
}

// refusal is what the cloud says in place of carrying the action out.
func (f Fault) refusal() *refusal {
	switch f.Kind {
	case Throttle:
		return refuse(http.StatusBadRequest, "Throttling.User", "Request was denied due to user flow control.")
	case InternalError:
		return refuse(http.StatusInternalServerError, "InternalError", "The request processing has failed due to some unknown error.")
	case Unavailable:
		return refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
	default:
		return nil
	}
}

const htmlPage = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\n"

// send sends the answer as the fault has it.
func (f Fault) send(w http.ResponseWriter, r *http.Request, answer reply) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	switch f.Kind {
	case Close:
		panic(http.ErrAbortHandler)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Page:
		w.Header().Set("Content-Type", "text/html")
		write(w, http.StatusBadGateway, []byte(htmlPage))
		return
	case Nonsense:
		or(&f.Body, `{"status":"ok","data":[]}`)
		write(w, http.StatusOK, []byte(f.Body))
		return
	case Throttle:
		w.Header().Set("X-Ratelimit-User-Api", fmt.Sprintf("Limit:100,Remain:0,TimeLeft:%d", f.For.Milliseconds()))
	case Strings:
		write(w, answer.status, withStrings(encode(answer.body)))
		return
	}
	body := encode(answer.body)
	switch f.Kind {
	case Trickle:
		or(&f.For, defaultTrickle)
		trickle(w, r, answer.status, body, f.For)
	case Truncate:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		write(w, answer.status, body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		write(w, answer.status, body)
	}
}

// write ignores that the caller has gone.
func write(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func trickle(w http.ResponseWriter, r *http.Request, status int, body []byte, pause time.Duration) {
	w.WriteHeader(status)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := range body {
		_, _ = w.Write(body[i : i+1])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// withStrings is JSON whose numbers are strings.
func withStrings(body []byte) []byte {
	var decoded any
	if err := json.Unmarshal(body, &decoded); err != nil {
		return body
	}
	read, ok := stringly(decoded).(object)
	if !ok {
		return body
	}
	return encode(read)
}

func stringly(value any) any {
	switch v := value.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case object:
		for name := range v {
			v[name] = stringly(v[name])
		}
	case []any:
		for i := range v {
			v[i] = stringly(v[i])
		}
	}
	return value
}
