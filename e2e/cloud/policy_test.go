//go:build e2e

package cloud

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"ack-exporter/collector"
	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/internal/aliyun"
)

// document is a RAM policy.
type document struct {
	Version   string
	Statement []statement
}

type statement struct {
	Effect   string
	Action   []string
	Resource string
}

func readPolicy(t *testing.T) document {
	t.Helper()
	content, err := os.ReadFile(cloudtest.PolicyFile)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// without is the policy less one action.
func (d document) without(t *testing.T, action string) []byte {
	t.Helper()
	d.Statement = slices.Clone(d.Statement)
	for i, s := range d.Statement {
		d.Statement[i].Action = slices.DeleteFunc(slices.Clone(s.Action), func(other string) bool { return other == action })
	}
	content, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestPolicy shows that the policy that the project ships is enough for every
// function, and that each line of it is needed: without it, one action is refused, and
// no other.
func TestPolicy(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{Refuse: true})
	fill(c)
	client := newClient(t, c, host, withKey())
	policy := readPolicy(t)
	refused := func(action string) {
		t.Helper()
		for name, f := range functions(c.Region()) {
			_, rows, err := f.do(t.Context(), client)
			switch {
			case f.action == action:
				failed, ok := errors.AsType[*aliyun.Error](err)
				if !errors.Is(err, collector.ErrForbidden) || !ok || failed.Missing != action {
					t.Errorf("without %s: %s returns %v", action, name, err)
				}
			case err != nil || rows != f.rows:
				t.Errorf("without %s: %s returns %d rows, %v", action, name, rows, err)
			}
		}
	}
	refused("nothing")
	used := map[string]bool{}
	for _, f := range functions(c.Region()) {
		used[f.action] = true
	}
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			if !used[action] {
				t.Errorf("no function here needs %s", action)
			}
			if err := c.SetPolicy(policy.without(t, action)); err != nil {
				t.Fatal(err)
			}
			refused(action)
		}
	}
}

// Without the right to instances the documented answer is a list without any.
func TestInstancesWithoutTheRight(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	fill(c)
	client := newClient(t, c, host, withKey())
	c.Forbid("ecs:DescribeInstances")
	found, unknown, err := aliyun.Instances(t.Context(), client, []string{"i-000", "i-001"})
	if err != nil || len(found) != 0 || !slices.Equal(unknown, []string{"i-000", "i-001"}) {
		t.Errorf("%v, %v, %v", found, unknown, err)
	}
	c.Permit("ecs:DescribeInstances")
	found, unknown, err = aliyun.Instances(t.Context(), client, []string{"i-000", "i-001"})
	if err != nil || len(found) != 2 || len(unknown) != 0 {
		t.Errorf("with the right: %v, %v, %v", found, unknown, err)
	}
}
