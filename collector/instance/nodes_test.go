package instance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/instance"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

// The calls of the three listings.
const (
	listInstances = "DescribeInstances"
	listRenewals  = "DescribeInstanceAutoRenewAttribute"
	listEvents    = "DescribeInstancesFullStatus"
)

// account is an API of the cloud that answers as ECS does, from rows by the id of
// their instance. An instance without a row is one that it says nothing of.
type account struct {
	instances, renewals, statuses map[string]string
	// page is how many rows a page has at most, whatever is asked for; 0: as asked.
	page int
	// before is called with the number of each call, beginning with 1, and its name.
	before func(ctx context.Context, n int, name string) error
	calls  []string
}

func (a *account) Call(ctx context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	a.calls = append(a.calls, action.Name)
	if a.before != nil {
		if err := a.before(ctx, len(a.calls), action.Name); err != nil {
			return err
		}
	}
	body, err := a.answer(action.Name, parameters)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(body), out)
}

func (a *account) answer(name string, parameters map[string]any) (string, error) {
	switch name {
	case listInstances:
		var ids []string
		if err := json.Unmarshal([]byte(parameters["InstanceIds"].(string)), &ids); err != nil {
			return "", err
		}
		from := 0
		if token, ok := parameters["NextToken"].(string); ok {
			if _, err := fmt.Sscan(token, &from); err != nil {
				return "", err
			}
		}
		rows, next := a.rows(a.instances, ids, from, 100)
		return fmt.Sprintf(`{"RequestId":"r","NextToken":%q,"TotalCount":0,"Instances":{"Instance":[%s]}}`, next, strings.Join(rows, ",")), nil
	case listRenewals:
		return a.numbered(a.renewals, strings.Split(parameters["InstanceId"].(string), ","), parameters,
			`"InstanceRenewAttributes":{"InstanceRenewAttribute":[%s]}`), nil
	case listEvents:
		return a.numbered(a.statuses, parameters["InstanceId"].([]string), parameters,
			`"InstanceFullStatusSet":{"InstanceFullStatusType":[%s]}`), nil
	default:
		return "", fmt.Errorf("%s: no such call", name)
	}
}

// rows are those of ids from one on, and where the next page begins.
func (a *account) rows(all map[string]string, ids []string, from, size int) (rows []string, next string) {
	for _, id := range ids {
		if row, ok := all[id]; ok {
			rows = append(rows, row)
		}
	}
	if a.page > 0 {
		size = a.page
	}
	end := min(from+size, len(rows))
	if end < len(rows) {
		next = fmt.Sprint(end)
	}
	return rows[from:end], next
}

func (a *account) numbered(all map[string]string, ids []string, parameters map[string]any, list string) string {
	size := parameters["PageSize"].(int)
	if a.page > 0 {
		size = a.page
	}
	whole, _ := (&account{}).rows(all, ids, 0, len(ids))
	rows, _ := a.rows(all, ids, (parameters["PageNumber"].(int)-1)*size, size)
	return fmt.Sprintf(`{"RequestId":"r","TotalCount":%d,`+list+`}`, len(whole), strings.Join(rows, ","))
}

// ecs is the row of an instance, with fields in place of, or besides, those of one that
// is paid by use and well.
func ecs(id, fields string) string {
	return row(`{"InstanceId":"`+id+`","InstanceName":"n","InstanceType":"ecs.g6.large","RegionId":"cn-test","ZoneId":"cn-test-a","Status":"Running",
		"InstanceChargeType":"PostPaid","SpotStrategy":"NoSpot","SpotPriceLimit":0.0,"ExpiredTime":"2099-12-31T15:59Z","AutoReleaseTime":"",
		"CreationTime":"2030-01-01T00:00Z","StoppedMode":"Not-applicable","OperationLocks":{"LockReason":[]},
		"MetadataOptions":{"HttpTokens":"optional"},"Tags":{"Tag":[{"TagKey":"ack.aliyun.com","TagValue":"c1"}]}}`, fields)
}

// row is the JSON of an object with other fields.
func row(object, fields string) string {
	all := map[string]any{}
	for _, text := range []string{object, "{" + fields + "}"} {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			panic(err)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func renewal(id string, on bool) string {
	return fmt.Sprintf(`{"InstanceId":%q,"AutoRenewEnabled":%t,"Duration":1,"PeriodUnit":"Week","RenewalStatus":"AutoRenewal"}`, id, on)
}

// status is the row of an instance with events, each as "type time".
func status(id string, events ...string) string {
	var list []string
	for _, e := range events {
		kind, at, _ := strings.Cut(e, " ")
		list = append(list, fmt.Sprintf(`{"EventId":"e-a","EventPublishTime":"2030-01-01T00:00:00Z","NotBefore":%q,
			"EventCycleStatus":{"Code":24,"Name":"Scheduled"},"EventType":{"Code":1,"Name":%q},"ExtendedAttribute":{}}`, at, kind))
	}
	return fmt.Sprintf(`{"InstanceId":%q,"Status":{"Code":1,"Name":"Running"},"HealthStatus":{"Code":0,"Name":"Ok"},
		"ScheduledSystemEventSet":{"ScheduledSystemEventType":[%s]}}`, id, strings.Join(list, ","))
}

// listed is a lister of given nodes, or of an error.
type listed struct {
	nodes []*corev1.Node
	err   error
}

func (l listed) List() ([]*corev1.Node, error) { return l.nodes, l.err }

// node is one as the store keeps it.
func node(name, providerID string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}, Spec: corev1.NodeSpec{ProviderID: providerID}}
	for _, f := range change {
		f(n)
	}
	kube.TrimNode(n)
	return n
}

func master(label string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels["node-role.kubernetes.io/"+label] = "" }
}

func virtual(n *corev1.Node) { n.Labels["type"] = "virtual-kubelet" }

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }

func releasing(n *corev1.Node) {
	n.Spec.Taints = []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule}}
}

func newNodes(api aliyun.API, nodes ...*corev1.Node) *instance.Nodes {
	return instance.NewNodes(instance.NodesConfig{Nodes: listed{nodes: nodes}, API: api, Region: "cn-test"})
}

// mixed is a cluster with something of everything, and the account that it is in.
func mixed() (*account, []*corev1.Node) {
	a := &account{
		instances: map[string]string{
			"i-ends":      ecs("i-ends", `"InstanceChargeType":"PrePaid","ExpiredTime":"2030-02-01T16:00Z"`),
			"i-seconds":   ecs("i-seconds", `"InstanceChargeType":"PrePaid","ExpiredTime":"2030-02-01T16:00:30Z"`),
			"i-never":     ecs("i-never", `"InstanceChargeType":"PrePaid","ExpiredTime":"2099-12-31T15:59Z"`),
			"i-untold":    ecs("i-untold", `"InstanceChargeType":"PrePaid","ExpiredTime":"2030-02-01T16:00Z"`),
			"i-last":      ecs("i-last", `"InstanceChargeType":"PrePaid","ExpiredTime":"2098-12-31T15:59Z"`),
			"i-use":       ecs("i-use", `"ExpiredTime":"2030-02-01T16:00Z"`),
			"i-released":  ecs("i-released", `"AutoReleaseTime":"2030-01-02T03:04Z"`),
			"i-spot":      ecs("i-spot", `"SpotStrategy":"SpotAsPriceGo","OperationLocks":{"LockReason":[{"LockReason":"Recycling","LockMsg":""}]}`),
			"i-recycling": ecs("i-recycling", `"SpotStrategy":"SpotWithPriceLimit","OperationLocks":{"LockReason":[{"LockReason":"recycling"},{"LockReason":"Recycling"}]}`),
			"i-locked": ecs("i-locked", `"Status":"Stopped","StoppedMode":"KeepCharging",
				"OperationLocks":{"LockReason":[{"LockReason":"financial"},{"LockReason":"security"},{"LockReason":"of tomorrow"},{"LockReason":"another"}]}`),
			"i-parked":   ecs("i-parked", `"Status":"Stopped","StoppedMode":"StopCharging"`),
			"i-stopping": ecs("i-stopping", `"Status":"Stopping"`),
			"i-drained":  ecs("i-drained", `"Status":"Stopped","StoppedMode":"KeepCharging"`),
			"i-scaledin": ecs("i-scaledin", `"Status":"Stopped","StoppedMode":"KeepCharging"`),
			"i-strange":  ecs("i-strange", `"InstanceType":"a type","ZoneId":"`+strings.Repeat("z", 65)+`","InstanceChargeType":"Barter","SpotStrategy":"Lottery"`),
			"i-bare":     `{"InstanceId":"i-bare","InstanceType":"ecs.g6.large","ZoneId":"cn-test-a","Status":"Running","InstanceChargeType":"PostPaid"}`,
			"i-master":   ecs("i-master", `"InstanceChargeType":"PrePaid","ExpiredTime":"2030-02-01T16:00Z"`),
			"i-old":      ecs("i-old", ``),
			// Nobody asks for it.
			"i-elsewhere": ecs("i-elsewhere", ``),
		},
		renewals: map[string]string{
			"i-ends": renewal("i-ends", true), "i-seconds": renewal("i-seconds", false), "i-never": renewal("i-never", true),
			"i-last": renewal("i-last", false), "i-master": renewal("i-master", false), "i-use": renewal("i-use", false),
		},
		statuses: map[string]string{
			"i-ends":   status("i-ends"),
			"i-use":    status("i-use", "SystemMaintenance.Reboot 2030-01-03T00:00:00Z", "SystemMaintenance.Reboot 2030-01-02T00:00:00Z", "InstanceExpiration.Stop 2030-01-04T00:00Z"),
			"i-spot":   status("i-spot", "SystemMaintenance.Dance 2030-01-03T00:00:00Z", "Whatever 2030-01-05T00:00:00Z"),
			"i-locked": status("i-locked", "SystemFailure.Delete "),
		},
	}
	nodes := []*corev1.Node{
		node("cn-test.10.0.0.1", "cn-test.i-ends"),
		node("seconds", "alicloud://cn-test.i-seconds"),
		node("never", "cn-test.i-never"),
		node("untold", "cn-test.i-untold"),
		node("last", "cn-test.i-last"),
		node("use", "cn-test.i-use"),
		node("released", "cn-test.i-released"),
		node("spot", "cn-test.i-spot"),
		node("recycling", "cn-test.i-recycling"),
		node("locked", "cn-test.i-locked"),
		node("parked", "cn-test.i-parked"),
		node("stopping", "cn-test.i-stopping"),
		node("drained", "cn-test.i-drained", cordoned),
		node("scaledin", "cn-test.i-scaledin", releasing),
		node("strange", "cn-test.i-strange"),
		node("bare", "cn-test.i-bare"),
		node("master", "cn-test.i-master", master("control-plane")),
		node("cn-test.i-old", "alicloud://cn-test.i-old", master("master")),
		node("gone", "cn-test.i-gone"),
		node("elsewhere", "cn-other.i-elsewhere"),
		// None of these is an instance.
		node("hybrid", "ack-hybrid://c1/10.0.0.9"),
		node("lingjun", "lingjun.e01-cn-a"),
		node("new", ""),
		node("virtual", "cn-test.i-use", virtual),
		node("odd", "cn-test.i-a,i-b"),
		node("long", "cn-test.i-"+strings.Repeat("a", 100)),
	}
	return a, nodes
}

func TestNodesGolden(t *testing.T) {
	t.Parallel()
	a, nodes := mixed()
	got, err := collectortest.Collect(t, newNodes(a, nodes...))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "nodes.txt", got)
	if want := []string{listInstances, listRenewals, listEvents}; !slices.Equal(a.calls, want) {
		t.Errorf("calls %v; want %v", a.calls, want)
	}
	if strings.Contains(got, `"elsewhere",instance_id="i-elsewhere"} 1`) {
		t.Error("an instance of another region is known")
	}
}

// families are those of each listing, as their lines begin.
var families = map[string][]string{
	listInstances: {"ack_instance_known{", "ack_instance_info{", "ack_instance_running{", "ack_instance_reclaiming{", "ack_instance_expiry_timestamp_seconds{"},
	listRenewals:  {"ack_instance_auto_renew{"},
	listEvents:    {"ack_instance_system_event_timestamp_seconds{"},
}

// fleet is a cluster of so many nodes on subscription, each with an event.
func fleet(size int) (*account, []*corev1.Node) {
	a := &account{instances: map[string]string{}, renewals: map[string]string{}, statuses: map[string]string{}}
	var nodes []*corev1.Node
	for n := range size {
		id := fmt.Sprintf("i-%04d", n)
		nodes = append(nodes, node("node-"+id, "cn-test."+id))
		a.instances[id] = ecs(id, `"InstanceChargeType":"PrePaid","ExpiredTime":"2030-02-01T16:00Z"`)
		a.renewals[id] = renewal(id, true)
		a.statuses[id] = status(id, "SystemMaintenance.Reboot 2030-01-03T00:00:00Z")
	}
	return a, nodes
}

// count is how many series a text has of each family of a listing, or -1 where their
// numbers differ.
func count(text, listing string) int {
	var counts []int
	for _, family := range families[listing] {
		counts = append(counts, strings.Count(text, "\n"+family))
	}
	if slices.Min(counts) != slices.Max(counts) {
		return -1
	}
	return counts[0]
}

// TestNodesWholeListings lets each call fail in turn: what is told of a listing is told
// of every node or of none, and the other listings stay.
func TestNodesWholeListings(t *testing.T) {
	t.Parallel()
	const size = 250
	for reason, failure := range map[collector.Reason]error{
		collector.ReasonForbidden: collector.ErrForbidden,
		collector.ReasonThrottled: collector.ErrThrottled,
	} {
		a, nodes := fleet(size)
		a.page = 40
		c := newNodes(a, nodes...)
		text, err := collectortest.Collect(t, c)
		if err != nil {
			t.Fatal(err)
		}
		for listing := range families {
			if got := count(text, listing); got != size {
				t.Fatalf("%s: %d series; want %d", listing, got, size)
			}
		}
		calls := a.calls
		if len(calls) < 3*size/a.page {
			t.Fatalf("only %d calls", len(calls))
		}
		for at, failing := range calls {
			a.calls = nil
			a.before = func(_ context.Context, n int, _ string) error {
				if n == at+1 {
					return failure
				}
				return nil
			}
			text, err := collectortest.Collect(t, c)
			if err == nil || collector.ReasonOf(err) != reason {
				t.Errorf("call %d fails: %v; want the reason %s", at, err, reason)
			}
			for listing := range families {
				want := size
				if listing == failing {
					want = 0
				}
				if got := count(text, listing); got != want {
					t.Errorf("call %d, %s, fails: %d series of %s; want %d", at, failing, got, listing, want)
				}
			}
		}
	}
}

// TestNodesRefusedFromTheStart: without the listing of instances nobody knows which are
// on subscription, and the API refuses to tell of others.
func TestNodesRefusedFromTheStart(t *testing.T) {
	t.Parallel()
	a, nodes := fleet(3)
	a.before = func(_ context.Context, _ int, name string) error {
		if name == listInstances {
			return fmt.Errorf("no right: %w", collector.ErrForbidden)
		}
		return nil
	}
	text, err := collectortest.Collect(t, newNodes(a, nodes...))
	if collector.ReasonOf(err) != collector.ReasonForbidden {
		t.Error(err)
	}
	if count(text, listInstances) != 0 || count(text, listRenewals) != 0 || count(text, listEvents) != 3 || slices.Contains(a.calls, listRenewals) {
		t.Errorf("calls %v\n%s", a.calls, text)
	}
}

// TestNodesAllMissing: an empty answer is what a missing right looks like.
func TestNodesAllMissing(t *testing.T) {
	t.Parallel()
	a, nodes := fleet(3)
	c := newNodes(a, nodes...)
	if _, err := collectortest.Collect(t, c); err != nil {
		t.Fatal(err)
	}
	a.instances, a.calls = nil, nil
	text, err := collectortest.Collect(t, c)
	if collector.ReasonOf(err) != collector.ReasonForbidden || !strings.Contains(err.Error(), "ecs:DescribeInstances") || text != "" {
		t.Errorf("%v\n%s", err, text)
	}
	if !slices.Equal(a.calls, []string{listInstances}) {
		t.Errorf("calls %v", a.calls)
	}
	// One is enough to show that the right is there.
	a.instances = map[string]string{"i-0001": ecs("i-0001", "")}
	text, err = collectortest.Collect(t, c)
	if err != nil || strings.Count(text, "\nack_instance_known{") != 3 || strings.Count(text, "} 0\n") != 3 {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestNodesNothingToAsk shows when nothing is asked, and what is said then.
func TestNodesNothingToAsk(t *testing.T) {
	t.Parallel()
	never := &account{before: func(context.Context, int, string) error {
		t.Error("asks")
		return collector.ErrUnavailable
	}}
	one := node("n", "cn-test.i-a")
	c := instance.NewNodes(instance.NodesConfig{Nodes: listed{nodes: []*corev1.Node{one}}})
	if text, err := collectortest.Collect(t, c); !errors.Is(err, collector.ErrNotApplicable) || text != "" {
		t.Errorf("no credentials: %v\n%s", err, text)
	}
	if text, err := collectortest.Collect(t, newNodes(never, node("hybrid", ""))); !errors.Is(err, collector.ErrNotApplicable) || text != "" {
		t.Errorf("no instances: %v\n%s", err, text)
	}
	c = instance.NewNodes(instance.NodesConfig{Nodes: listed{err: collector.ErrUnavailable}, API: never, Region: "cn-test"})
	if text, err := collectortest.Collect(t, c); !errors.Is(err, collector.ErrUnavailable) || text != "" {
		t.Errorf("no list: %v\n%s", err, text)
	}
	text, err := collectortest.Collect(t, newNodes(never, node("n", "cn-other.i-a")))
	if err == nil || !strings.Contains(err.Error(), "cn-test") || errors.Is(err, collector.ErrNotApplicable) {
		t.Errorf("another region: %v", err)
	}
	if !strings.HasSuffix(text, "\nack_instance_known{instance_id=\"i-a\",node=\"n\"} 0\n") {
		t.Errorf("another region:\n%s", text)
	}
}

// TestNodesHangs: a listing without an end leaves the others their time.
func TestNodesHangs(t *testing.T) {
	t.Parallel()
	for hangs := range families {
		synctest.Test(t, func(t *testing.T) {
			a, nodes := fleet(3)
			c := newNodes(a, nodes...)
			if _, err := c.Collect(t.Context()); err != nil {
				t.Fatal(err)
			}
			a.before = func(ctx context.Context, _ int, name string) error {
				if name == hangs {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			metrics, err := c.Collect(ctx)
			if ctx.Err() != nil || collector.ReasonOf(err) != collector.ReasonTimeout {
				t.Errorf("%s hangs: %v, %v", hangs, err, ctx.Err())
			}
			text := collectortest.Exposition(t, told{c.Families(), metrics})
			for listing := range families {
				if got := count(text, listing); (got == 3) == (listing == hangs) {
					t.Errorf("%s hangs: %d series of %s", hangs, got, listing)
				}
			}
		})
	}
}

// TestNodesTwice: two Nodes of one instance, as one that was added again under another
// name, are both told of.
func TestNodesTwice(t *testing.T) {
	t.Parallel()
	a, nodes := fleet(1)
	again := node("cn-test.i-0000", "alicloud://cn-test.i-0000")
	text, err := collectortest.Collect(t, newNodes(a, append(nodes, again)...))
	if err != nil || count(text, listInstances) != 2 || count(text, listRenewals) != 2 || count(text, listEvents) != 2 {
		t.Errorf("%v\n%s", err, text)
	}
}

// FuzzNodes: whatever a row says, the series are those of a registry, and their labels
// are short and few.
func FuzzNodes(f *testing.F) {
	a, _ := mixed()
	for _, rows := range []map[string]string{a.instances, a.renewals, a.statuses} {
		for _, text := range rows {
			f.Add(text, text)
		}
	}
	f.Fuzz(func(t *testing.T, instanceRow, statusRow string) {
		a := &account{
			instances: map[string]string{"i-a": instanceRow, "i-b": ecs("i-b", "")},
			renewals:  map[string]string{"i-a": renewal("i-a", true)},
			statuses:  map[string]string{"i-a": statusRow},
		}
		text, err := collectortest.Collect(t, newNodes(a, node("n", "cn-test.i-a"), node("m", "cn-test.i-b")))
		if err == nil && !strings.Contains(text, `ack_instance_known{instance_id="i-b",node="m"} 1`) {
			t.Error(text)
		}
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "#") && len(line) > 400 {
				t.Errorf("a long line: %s", line)
			}
		}
	})
}

func condition(kind corev1.NodeConditionType, status corev1.ConditionStatus) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: kind, Status: status, Reason: "Because"})
	}
}

func TestConditionsGolden(t *testing.T) {
	t.Parallel()
	const expired, ready = kube.NodeInstanceExpired, corev1.NodeReady
	nodes := []*corev1.Node{
		node("fine", "cn-test.i-a", condition(ready, "True"), condition(expired, "False")),
		node("leaves", "cn-test.i-b", condition(ready, "True"), condition(expired, "True")),
		node("cut-off", "cn-test.i-c", condition(ready, "Unknown"), condition(expired, "True")),
		node("blind", "cn-test.i-d", condition(ready, "True"), condition(expired, "Unknown")),
		node("strange", "", condition(expired, "Maybe"), condition(expired, "True")),
		// Nothing reports it.
		node("without", "cn-test.i-e", condition(ready, "True"), condition("DiskPressure", "False")),
		node("virtual", "", virtual, condition(ready, "True"), condition(expired, "True")),
	}
	got, err := collectortest.Collect(t, instance.NewConditions(listed{nodes: nodes}))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "conditions.txt", got)

	for name, c := range map[string]struct {
		nodes listed
		want  error
	}{
		"without the condition": {listed{nodes: nodes[5:]}, collector.ErrNotApplicable},
		"without a list":        {listed{err: collector.ErrUnavailable}, collector.ErrUnavailable},
	} {
		if text, err := collectortest.Collect(t, instance.NewConditions(c.nodes)); !errors.Is(err, c.want) || text != "" {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}
