//go:build e2e

package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// policy is a RAM policy, as far as it is simulated: statements about all resources,
// without conditions.
type policy struct{ allow, deny []string }

// texts is a text or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

var (
	errVersion   = errors.New(`the version is not "1"`)
	errStatement = errors.New("a statement that is not simulated")
)

func parsePolicy(document []byte) (p policy, err error) {
	var read struct {
		Version   string
		Statement []struct {
			Effect           string
			Action, Resource texts
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		return p, err
	}
	if read.Version != "1" {
		return p, errVersion
	}
	for i, s := range read.Statement {
		if len(s.Action) == 0 || len(s.Resource) != 1 || s.Resource[0] != "*" {
			return p, fmt.Errorf("statement %d: %w", i+1, errStatement)
		}
		switch s.Effect {
		case "Allow":
			p.allow = append(p.allow, s.Action...)
		case "Deny":
			p.deny = append(p.deny, s.Action...)
		default:
			return p, fmt.Errorf("statement %d: effect %q: %w", i+1, s.Effect, errStatement)
		}
	}
	return p, nil
}

func (p policy) allows(action string) bool {
	return matches(p.allow, action) && !matches(p.deny, action)
}

// matches tells whether a pattern is about the action. RAM ignores the case.
func matches(patterns []string, action string) bool {
	for _, pattern := range patterns {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if strings.EqualFold(pattern, action) || wild && len(action) >= len(prefix) && strings.EqualFold(prefix, action[:len(prefix)]) {
			return true
		}
	}
	return false
}

// allowed is called with the lock held.
func (c *Cloud) allowed(action string) bool { return c.policy.allows(action) && !c.forbidden[action] }

// SetPolicy replaces the RAM policy.
func (c *Cloud) SetPolicy(document []byte) error {
	p, err := parsePolicy(document)
	if err != nil {
		return fmt.Errorf("RAM policy: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy = p
	return nil
}

// Forbid takes the right to actions away, whatever the policy says.
func (c *Cloud) Forbid(actions ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, action := range actions {
		c.forbidden[action] = true
	}
}

// Permit gives back what Forbid took away.
func (c *Cloud) Permit(actions ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, action := range actions {
		delete(c.forbidden, action)
	}
}
