//go:build e2e

package cloud

import (
	"net/url"
	"slices"
	"time"
)

// Call is one request that arrived.
type Call struct {
	// Action is as RAM writes it, also where there is none such.
	Action string
	Time   time.Time
	// Status and Code are of the answer, before a fault of the transport; 0 where
	// there was none. Code is empty where the answer was no error.
	Status int
	Code   string
	// Parameters are those of query and body, without tokens of service accounts.
	Parameters url.Values
}

func (c *Cloud) note(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

// Calls are the requests since the beginning, or since ResetCalls. A request is there
// before it is answered.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Count is how many requests there were for an action.
func (c *Cloud) Count(action string) int {
	n := 0
	for _, call := range c.Calls() {
		if call.Action == action {
			n++
		}
	}
	return n
}

// Counts is how many requests there were for each action.
func (c *Cloud) Counts() map[string]int {
	counts := make(map[string]int)
	for _, call := range c.Calls() {
		counts[call.Action]++
	}
	return counts
}

// ResetCalls forgets the requests.
func (c *Cloud) ResetCalls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = nil
}
