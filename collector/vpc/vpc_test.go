package vpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/vpc"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/eniconfig"
)

type listed[T any] struct {
	objects []T
	err     error
}

func (l listed[T]) List() ([]T, error) { return l.objects, l.err }

// account is what the API tells of: pages of rows for each action, and for entries of
// routes those of each table.
type account struct {
	instances                  []any
	tables, vSwitches, entries map[string][]any // of VPCs, and of tables
	quotas                     []any
	pageSize                   int
	// fail is asked before each call, which are numbered from 1.
	fail  func(call int, action string) error
	calls int
}

func (a *account) Call(_ context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	a.calls++
	if a.fail != nil {
		if err := a.fail(a.calls, action.Name); err != nil {
			return err
		}
	}
	text := func(name string) string { s, _ := parameters[name].(string); return s }
	number, _ := parameters["PageNumber"].(int)
	var body map[string]any
	switch action.Name {
	case "DescribeInstances":
		rows, next := a.page(a.instances, text("NextToken"))
		body = map[string]any{"Instances": map[string]any{"Instance": rows}, "NextToken": next}
	case "DescribeRouteTableList":
		body = a.numbered(a.tables[text("VpcId")], number, "RouterTableList", "RouterTableListType")
	case "DescribeVSwitches":
		body = a.numbered(a.vSwitches[text("VpcId")], number, "VSwitches", "VSwitch")
	case "DescribeRouteEntryList":
		rows, next := a.page(a.entries[text("RouteTableId")], text("NextToken"))
		body = map[string]any{"RouteEntrys": map[string]any{"RouteEntry": rows}, "NextToken": next}
	case "ListProductQuotas":
		rows, next := a.page(a.quotas, text("NextToken"))
		body = map[string]any{"Quotas": rows, "NextToken": next}
	default:
		return fmt.Errorf("unexpected %s", action.Name)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

// page cuts a page out, which begins where the token says.
func (a *account) page(rows []any, token string) (page []any, next string) {
	from := 0
	if token != "" {
		_, _ = fmt.Sscan(token, &from)
	}
	to := min(len(rows), from+a.pageSize)
	if to < len(rows) {
		next = fmt.Sprint(to)
	}
	return append([]any{}, rows[from:to]...), next
}

func (a *account) numbered(rows []any, number int, list, row string) map[string]any {
	from := min(len(rows), (number-1)*a.pageSize)
	page := append([]any{}, rows[from:min(len(rows), from+a.pageSize)]...)
	return map[string]any{"TotalCount": len(rows), list: map[string]any{row: page}}
}

func instance(id, network, vSwitch string) any {
	return map[string]any{"InstanceId": id, "VpcAttributes": map[string]any{"VpcId": network, "VSwitchId": vSwitch}}
}

func vSwitch(id, zone, cidr string, available any) any {
	return map[string]any{"VSwitchId": id, "ZoneId": zone, "CidrBlock": cidr, "AvailableIpAddressCount": available}
}

func table(id string) any { return map[string]any{"RouteTableId": id} }

func route(hop, id string) any {
	return map[string]any{"NextHops": map[string]any{"NextHop": []any{map[string]any{"NextHopType": hop, "NextHopId": id}}}}
}

func quota(code string, total any, region string) any {
	q := map[string]any{"QuotaActionCode": code, "TotalQuota": total}
	if region != "" {
		q["Dimensions"] = map[string]string{"regionId": region}
	}
	return q
}

// flannel is an account with a cluster of two nodes.
func flannel() *account {
	return &account{
		instances: []any{instance("i-a", "vpc-a", "vsw-a"), instance("i-b", "vpc-a", "vsw-b")},
		tables:    map[string][]any{"vpc-a": {table("vtb-a"), table("vtb-b")}},
		entries: map[string][]any{
			"vtb-a": {route("Instance", "i-a"), route("Instance", "i-b"), route("NatGateway", "ngw-a")},
			"vtb-b": {route("Instance", "i-of-another")},
		},
		vSwitches: map[string][]any{"vpc-a": {
			vSwitch("vsw-a", "cn-x-a", "10.0.0.0/24", 200), vSwitch("vsw-b", "cn-x-b", "10.0.1.0/24", "9"), vSwitch("vsw-other", "cn-x-b", "10.0.2.0/24", 0),
		}},
		quotas:   []any{quota("vpc_quota_vswitches_num", 150, ""), quota("vpc_quota_route_entrys_num", 400, "cn-x")},
		pageSize: 1,
	}
}

// terway is the same with pods that have addresses of the VPC.
func terway() *account {
	a := flannel()
	a.entries = map[string][]any{}
	a.vSwitches["vpc-a"] = append(a.vSwitches["vpc-a"], vSwitch("vsw-pods", "cn-x-a", "10.0.64.0/19", 8000))
	return a
}

func eniConfig(vSwitches string) listed[*corev1.ConfigMap] {
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: eniconfig.Namespace, Name: eniconfig.Name},
		Data:       map[string]string{"eni_conf": `{"vswitches":` + vSwitches + `}`},
	}
	eniconfig.Trim(m)
	return listed[*corev1.ConfigMap]{objects: []*corev1.ConfigMap{m}}
}

func node(providerID string) *corev1.Node {
	return &corev1.Node{Spec: corev1.NodeSpec{ProviderID: providerID}}
}

func config(a *account) vpc.Config {
	return vpc.Config{
		API: a, Region: "cn-x", ENIConfig: listed[*corev1.ConfigMap]{},
		Nodes: listed[*corev1.Node]{objects: []*corev1.Node{node("cn-x.i-a"), node("alicloud://cn-x.i-b"), node("ack-hybrid://h"), node("")}},
	}
}

func newCollector(t testing.TB, c vpc.Config) *vpc.Collector {
	t.Helper()
	made, err := vpc.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func collect(t testing.TB, c vpc.Config) (string, error) {
	t.Helper()
	return collectortest.Collect(t, newCollector(t, c))
}

// values are the lines of an exposition that are no comments.
func values(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestGolden(t *testing.T) {
	t.Parallel()
	terwayConfig := config(terway())
	terwayConfig.ENIConfig = eniConfig(`{"cn-x-a":["vsw-pods","vsw-gone"],"cn-x-b":["vsw-b"]}`)
	for name, c := range map[string]vpc.Config{"flannel": config(flannel()), "terway": terwayConfig} {
		got, err := collect(t, c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		collectortest.Golden(t, name+".prom", got)
	}
}

func TestNotApplicable(t *testing.T) {
	t.Parallel()
	without := config(flannel())
	without.API = nil
	virtual := config(flannel())
	virtual.Nodes = listed[*corev1.Node]{objects: []*corev1.Node{node(""), node("ack-hybrid://h")}}
	classic := flannel()
	classic.instances = []any{instance("i-a", "", "")}
	for name, c := range map[string]vpc.Config{"no credentials": without, "no instances": virtual, "classic network": config(classic)} {
		if got, err := collect(t, c); !errors.Is(err, collector.ErrNotApplicable) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// The API tells nothing where a right is missing, as if there were nothing.
func TestEmptyListsAreMissingRights(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		empty func(*account)
		lost  []string
	}{
		"instances":    {func(a *account) { a.instances = nil }, []string{"ack_vpc"}},
		"route tables": {func(a *account) { a.tables = nil }, []string{"ack_vpc_route_entries{", "ack_vpc_headroom"}},
		"vSwitches":    {func(a *account) { a.vSwitches = nil }, []string{"ack_vpc_vswitch"}},
	} {
		a := flannel()
		c.empty(a)
		got, err := collect(t, config(a))
		if !errors.Is(err, collector.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
		for _, lost := range c.lost {
			if strings.Contains(strings.Join(values(got), "\n"), lost) {
				t.Errorf("%s: there is %s:\n%s", name, lost, got)
			}
		}
	}
}

func TestUnknownIsCounted(t *testing.T) {
	t.Parallel()
	a := flannel()
	a.instances = a.instances[:1]
	a.vSwitches["vpc-a"] = []any{vSwitch("vsw-a", "cn-x-a", "10.0.0.0/24", 200), vSwitch("vsw-null", "cn-x-b", "10.0.1.0/24", nil)}
	c := config(a)
	c.ENIConfig = eniConfig(`{"cn-x-b":["vsw-null","vsw-gone"]}`)
	got, err := collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ack_vpc_instances_unknown 1", `ack_vpc_vswitches_unknown{use="node"} 0`, `ack_vpc_vswitches_unknown{use="pod"} 2`} {
		if !slices.Contains(values(got), want) {
			t.Errorf("there is no %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "vsw-null") {
		t.Errorf("an unknown number is told:\n%s", got)
	}
}

func TestRouteLimit(t *testing.T) {
	t.Parallel()
	const code = "vpc_quota_route_entrys_num"
	refuse := func(err error) func(int, string) error {
		return func(_ int, action string) error {
			if action == "ListProductQuotas" {
				return err
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		quotas []any
		flag   int
		fail   error
		want   string
	}{
		"Quota Center before the flag": {[]any{quota(code, 400, "")}, 300, nil, `{source="quota_center"} 400`},
		"least of the region":          {[]any{quota(code, 400, "cn-x"), quota(code, 300, ""), quota(code, 100, "cn-y")}, 0, nil, `{source="quota_center"} 300`},
		"text":                         {[]any{quota(code, "400", "")}, 0, nil, `{source="quota_center"} 400`},
		"flag":                         {[]any{quota("vpc_quota_dynamic_route_entrys_num", 9, "")}, 300, nil, `{source="flag"} 300`},
		"default":                      {[]any{}, 0, nil, `{source="default"} 200`},
		"no number":                    {[]any{quota(code, nil, "")}, 0, nil, `{source="default"} 200`},
		"zero":                         {[]any{quota(code, 0, "")}, 0, nil, `{source="default"} 200`},
		"no right":                     {nil, 0, collector.ErrForbidden, `{source="default"} 200`},
		"no right, and the flag":       {nil, 300, collector.ErrForbidden, `{source="flag"} 300`},
		"throttled":                    {nil, 0, collector.ErrThrottled, ""},
		"throttled, and the flag":      {nil, 300, collector.ErrThrottled, `{source="flag"} 300`},
	} {
		a := flannel()
		a.quotas = c.quotas
		a.fail = refuse(c.fail)
		config := config(a)
		config.RouteEntries = c.flag
		got, err := collect(t, config)
		if !errors.Is(err, c.fail) {
			t.Errorf("%s: %v", name, err)
		}
		i := slices.IndexFunc(values(got), func(line string) bool { return strings.HasPrefix(line, "ack_vpc_route_entries_limit") })
		switch {
		case i < 0 && c.want != "", i >= 0 && values(got)[i] != "ack_vpc_route_entries_limit"+c.want:
			t.Errorf("%s:\n%s", name, got)
		case i < 0 && strings.Contains(got, "headroom"):
			t.Errorf("%s: headroom below an unknown limit:\n%s", name, got)
		}
	}
}

// A limit that was raised does not fall back to the default because Quota Center is
// busy: that would be a false alarm. It does once the right is gone.
func TestLimitIsRemembered(t *testing.T) {
	t.Parallel()
	a := flannel()
	var fails error
	a.fail = func(_ int, action string) error {
		if action == "ListProductQuotas" {
			return fails
		}
		return nil
	}
	c := newCollector(t, config(a))
	for _, step := range []struct {
		err  error
		want string
	}{
		{nil, `{source="quota_center"} 400`},
		{collector.ErrThrottled, `{source="quota_center"} 400`},
		{collector.ErrForbidden, `{source="default"} 200`},
	} {
		fails = step.err
		got, err := collectortest.Collect(t, c)
		if !errors.Is(err, step.err) || !strings.Contains(got, step.want) {
			t.Errorf("%v: %v\n%s", step.err, err, got)
		}
	}
}

func TestOvercrowdedTableHasNoRoom(t *testing.T) {
	t.Parallel()
	a := flannel()
	a.quotas = []any{quota("vpc_quota_route_entrys_num", 2, "")}
	got, err := collect(t, config(a))
	if err != nil || !strings.Contains(got, `ack_vpc_headroom_nodes{route_table_id="vtb-a"} 0`) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestConfigurationOfPodsFailsAlone(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]struct {
		listed[*corev1.ConfigMap]
		reason error
	}{
		"no JSON":  {eniConfig(`{`), collector.ErrDecode},
		"no right": {listed[*corev1.ConfigMap]{err: collector.ErrForbidden}, collector.ErrForbidden},
	} {
		c := config(terway())
		c.ENIConfig = broken.listed
		got, err := collect(t, c)
		if !errors.Is(err, broken.reason) || strings.Contains(got, `use="pod"`) || !strings.Contains(got, `use="node"`) || !strings.Contains(got, "ack_vpc_route_entries") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestOddCIDRs(t *testing.T) {
	t.Parallel()
	for cidr, want := range map[string]string{"10.0.0.0/29": "4", "10.0.0.0/30": "", "10.0.0.0/32": "", "x": "", "": "", "2001:db8::/64": "", "0.0.0.0/0": "4.294967292e+09"} {
		a := flannel()
		a.instances = a.instances[:1]
		a.vSwitches["vpc-a"] = []any{vSwitch("vsw-a", "cn-x-a", cidr, 3)}
		got, err := collect(t, config(a))
		if err != nil {
			t.Errorf("%s: %v", cidr, err)
		}
		const series = `ack_vpc_vswitch_addresses{use="node",vswitch_id="vsw-a",zone="cn-x-a"} `
		i := slices.IndexFunc(values(got), func(line string) bool { return strings.HasPrefix(line, series) })
		if told := i >= 0; told != (want != "") || told && values(got)[i] != series+want {
			t.Errorf("%s:\n%s", cidr, got)
		}
	}
}

// whatever call fails, what is told is what is told without a failure, and nothing is
// told of the listing that broke.
func TestWhateverPageFails(t *testing.T) {
	t.Parallel()
	configure := func(fail func(int, string) error) (vpc.Config, *account) {
		a := flannel()
		a.fail = fail
		c := config(a)
		c.ENIConfig = eniConfig(`{"cn-x-b":["vsw-b"]}`)
		return c, a
	}
	whole, a := configure(nil)
	text, err := collect(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for _, line := range values(text) {
		all[line] = true
	}
	// What must be missing, by the listing that breaks.
	lost := map[string]string{
		"DescribeInstances": "ack_", "DescribeRouteTableList": "ack_vpc_route_entries{", "DescribeVSwitches": "ack_vpc_vswitch",
		"ListProductQuotas": "ack_vpc_route_entries_limit", "DescribeRouteEntryList": "",
	}
	broken := make(map[string]bool)
	for n := 1; n <= a.calls; n++ {
		var at string
		c, _ := configure(func(call int, action string) error {
			if call == n {
				at = action
				return collector.ErrUnavailable
			}
			return nil
		})
		got, err := collect(t, c)
		if !errors.Is(err, collector.ErrUnavailable) {
			t.Errorf("call %d, %s: %v", n, at, err)
		}
		broken[at] = true
		lines := values(got)
		if len(lines) == len(all) {
			t.Errorf("call %d, %s: nothing is missing", n, at)
		}
		for _, line := range lines {
			if !all[line] || lost[at] != "" && strings.HasPrefix(line, lost[at]) {
				t.Errorf("call %d, %s: %s", n, at, line)
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(broken)), slices.Sorted(maps.Keys(lost)); !slices.Equal(got, want) {
		t.Errorf("failed: %v", got)
	}
}

func TestNegativeQuota(t *testing.T) {
	t.Parallel()
	if _, err := vpc.New(vpc.Config{RouteEntries: -1}); err == nil {
		t.Error("taken")
	}
}
