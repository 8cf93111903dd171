package slb

import (
	"maps"
	"strings"
	"testing"
	"time"

	"ack-exporter/collector"
	"ack-exporter/collector/slb/slbtest"
	"ack-exporter/internal/aliyun"
)

// TestQuotaOrder proves which limit counts: of Quota Center, else of a flag, else as documented.
func TestQuotaOrder(t *testing.T) {
	t.Parallel()
	const code = "slb_quota_backendservers_num"
	for _, test := range []struct {
		name  string
		told  []slbtest.Quota
		flags Limits
		want  limit
		used  map[string]float64
	}{
		{"told", []slbtest.Quota{{Code: code, Total: 500, Usage: 3}}, Limits{code: 400}, limit{500, "quota_center"}, nil},
		{
			"told with usage",
			[]slbtest.Quota{{Code: code, Total: 500, Usage: 3, Consumable: true}},
			nil,
			limit{500, "quota_center"},
			map[string]float64{"backend_servers": 3},
		},
		{"of the region", []slbtest.Quota{
			{Code: code, Total: 1}, {Code: code, Total: 500, Region: "cn-x"}, {Code: code, Total: 2}, {Code: code, Total: 3, Region: "cn-y", Consumable: true},
		}, nil, limit{500, "quota_center"}, nil},
		{"of another region", []slbtest.Quota{{Code: code, Total: 500, Usage: 3, Consumable: true, Region: "cn-y"}}, nil, limit{200, "default"}, nil},
		{"0 is none", []slbtest.Quota{{Code: code}}, Limits{code: 400}, limit{400, "flag"}, nil},
		{"flag", nil, Limits{code: 400}, limit{400, "flag"}, nil},
		{"default", nil, nil, limit{200, "default"}, nil},
	} {
		cloud := slbtest.New()
		cloud.Quotas = test.told
		r := &quotaReader{api: cloud, region: "cn-x", flags: test.flags, now: time.Now}
		limits, used, err := r.read(t.Context())
		if err != nil || limits[quotaBackendServers] != test.want || !maps.Equal(used, test.used) {
			t.Errorf("%s: %+v, %v, %v", test.name, limits[quotaBackendServers], used, err)
		}
		if limits[quotaInstances] != (limit{60, "default"}) || limits[quotaListeners].value != 50 || limits[quotaBackendAttachments].value != 50 {
			t.Errorf("%s: %v", test.name, limits)
		}
	}
}

// TestQuotaCenterFails proves that what Quota Center told stays for a while, and that its
// failure matters only where nobody else knows.
func TestQuotaCenterFails(t *testing.T) {
	t.Parallel()
	const code = "slb_quota_instances_num"
	cloud := slbtest.New()
	for _, c := range codes() {
		cloud.Quotas = append(cloud.Quotas, slbtest.Quota{Code: c, Total: 1000, Usage: 9, Consumable: true})
	}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &quotaReader{api: cloud, flags: Limits{code: 70}, now: func() time.Time { return now }}
	if _, used, err := r.read(t.Context()); err != nil || len(used) != 4 {
		t.Fatal(used, err)
	}
	cloud.Before = func(action aliyun.Action, _ map[string]any) error { return aliyun.Refusal(action, 403, "Forbidden") }
	now = now.Add(time.Hour)
	if limits, used, err := r.read(t.Context()); err != nil || limits[quotaInstances] != (limit{1000, "quota_center"}) || len(used) != 0 {
		t.Errorf("an hour later: %v, %v, %v", limits, used, err)
	}
	now = now.Add(time.Second)
	limits, _, err := r.read(t.Context())
	if collector.ReasonOf(err) != collector.ReasonForbidden || limits[quotaInstances] != (limit{70, "flag"}) || limits[quotaListeners] != (limit{50, "default"}) {
		t.Errorf("later: %v, %v", limits, err)
	}
	for _, c := range codes() {
		r.flags[c] = 80
	}
	if limits, _, err := r.read(t.Context()); err != nil || limits[quotaListeners] != (limit{80, "flag"}) {
		t.Errorf("with all flags: %v, %v", limits, err)
	}
}

func TestParseLimits(t *testing.T) {
	t.Parallel()
	got, err := ParseLimits(map[string]string{"slb_quota_instances_num": "100"})
	if err != nil || !maps.Equal(got, Limits{"slb_quota_instances_num": 100}) {
		t.Errorf("%v, %v", got, err)
	}
	for code, value := range map[string]string{
		"slb_quota_listeners_num": "many", "slb_quota_instances_num": "0", "slb_quota_backendservers_num": "-1",
		"slb_quota_backendserver_attached_num": "NaN", "slb_quota_acls_num": "5", "": "5",
	} {
		if _, err := ParseLimits(map[string]string{code: value}); err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%s=%s: %v", code, value, err)
		}
	}
}
