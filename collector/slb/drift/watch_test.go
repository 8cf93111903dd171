package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
)

// cloud answers the calls that a Watch makes.
type cloud struct {
	calls   []string
	entries string
	failing string
}

func (c *cloud) Call(_ context.Context, action aliyun.Action, _ map[string]any, out any) error {
	c.calls = append(c.calls, action.Name)
	if action.Name == c.failing {
		return fmt.Errorf("%s: %w", action.Name, collector.ErrThrottled)
	}
	body := map[string]string{
		"DescribeAccessControlListAttribute": `{"AclId":"acl-a","AclEntrys":{"AclEntry":[` + c.entries + `]}}`,
		"DescribeInstances": `{"Instances":{"Instance":[
			{"InstanceId":"i-a","VpcAttributes":{"VpcId":"vpc-a","VSwitchId":"vsw-a"}},{"InstanceId":"i-b","VpcAttributes":{"VpcId":"vpc-a","VSwitchId":"vsw-a"}}]}}`,
		"DescribeVSwitches": `{"TotalCount":2,"VSwitches":{"VSwitch":[{"VSwitchId":"vsw-a","CidrBlock":"10.0.0.0/24"},{"VSwitchId":"vsw-x","CidrBlock":"10.9.0.0/24"}]}}`,
	}[action.Name]
	return json.Unmarshal([]byte(body), out)
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.found() // fills the region
	api := &cloud{entries: `{"AclEntryIP":"100.104.0.0/16"},{"AclEntryIP":"10.0.0.0/24"}`}
	at := time.Unix(10000, 0)
	watch := NewWatch(Config{API: api, Now: func() time.Time { return at }})
	look := func(after time.Duration) (found, calls string) {
		at, api.calls = at.Add(after), nil
		metrics, all, err := watch.Metrics(t.Context(), Look{ClusterID: "c1", Services: w.Services, Inventory: w.Inventory, Instances: []string{"i-a", "i-b"}})
		if (err != nil) != slices.Contains(api.calls, api.failing) || len(metrics) != len(all)+len(Kinds()) {
			t.Errorf("%d metrics of %d, %v", len(metrics), len(all), err)
		}
		var kinds []string
		for _, f := range all {
			kinds = append(kinds, fmt.Sprintf("%s %d", f.Kind, f.Count))
		}
		return strings.Join(kinds, ", "), strings.Join(api.calls, " ")
	}
	const entries, networks = "DescribeAccessControlListAttribute", " DescribeInstances DescribeVSwitches"
	for _, step := range []struct {
		name         string
		change       func()
		after        time.Duration
		found, calls string
	}{
		{"fine", func() {}, 0, "", entries + networks},
		{"networks are known", func() {}, time.Minute, "", entries},
		{"blocked", func() { api.entries = `{"AclEntryIP":"192.0.2.1"}` }, time.Minute, "apiserver_acl 2", entries},
		{"not answered", func() { api.failing = entries }, time.Minute, "apiserver_acl 2", entries},
		{"networks again", func() { api.failing = "DescribeInstances" }, time.Hour, "apiserver_acl 2", entries + " DescribeInstances"},
		{"networks again, later", func() { api.failing = "DescribeVSwitches" }, time.Minute, "apiserver_acl 2", entries + networks},
		{"no access control", func() { w.api.Listeners[0].ACLStatus = "off" }, time.Minute, "apiserver_changed 1", ""},
		{"not answered, and not known", func() {
			w.api.Listeners[0].ACLStatus, api.failing = "on", entries
		}, time.Minute, "", entries},
		{"another port", func() { watch.config.Ports = []int32{443, 6443} }, time.Minute, "apiserver_listener 1", ""},
		{"gone", func() { delete(w.Inventory.Region, "lb-api"); w.lost("lb-api") }, time.Minute, "apiserver_gone 1", ""},
	} {
		step.change()
		if found, calls := look(step.after); found != step.found || calls != step.calls {
			t.Fatalf("%s: got %q with the calls %q", step.name, found, calls)
		}
	}
}
