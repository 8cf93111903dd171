package slbevents_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/slbevents"
	"ack-exporter/internal/kube"
)

type listed[T any] struct {
	objects []T
	err     error
}

func (l listed[T]) List() ([]T, error) { return l.objects, l.err }

// start is when everything began.
var start = time.Unix(1893456000, 0).UTC()

func event(service, reason, message string, after time.Duration) *corev1.Event {
	namespace, name, _ := strings.Cut(service, "/")
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: name + ".1", CreationTimestamp: metav1.NewTime(start.Add(-time.Hour))},
		InvolvedObject: corev1.ObjectReference{Kind: "Service", Namespace: namespace, Name: name},
		Reason:         reason, Message: message, Count: 3,
		FirstTimestamp: metav1.NewTime(start), LastTimestamp: metav1.NewTime(start.Add(after)),
	}
}

// digest sends the event the way that it takes from the API server.
func digest(t testing.TB, e *corev1.Event) *slbevents.Event {
	t.Helper()
	raw, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := slbevents.Digest(kube.Object{Namespace: e.Namespace, Name: e.Name, Bytes: raw})
	if err != nil {
		t.Fatal(err)
	}
	clear(raw) // as the feed does
	return got
}

func services(names ...string) listed[*corev1.Service] {
	var l listed[*corev1.Service]
	for _, name := range names {
		namespace, name, _ := strings.Cut(name, "/")
		l.objects = append(l.objects, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}})
	}
	return l
}

func collect(t testing.TB, existing listed[*corev1.Service], events ...*corev1.Event) string {
	t.Helper()
	var l listed[*slbevents.Event]
	for _, e := range events {
		l.objects = append(l.objects, digest(t, e))
	}
	got, err := collectortest.Collect(t, slbevents.New(l, existing))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestGolden(t *testing.T) {
	t.Parallel()
	got := collect(t, services("a/broken", "a/mended", "a/fine", "b/changed"),
		event("a/broken", "SyncLoadBalancerFailed", "Message: The account is arrearage.", time.Minute),
		event("a/broken", "SyncLoadBalancerFailed", "Message: Request was denied due to user flow control.", 2*time.Minute),
		event("a/broken", "EnsuredLoadBalancer", "Ensured load balancer [lb-a]", 30*time.Second),
		event("a/mended", "SyncLoadBalancerFailed", "something else", time.Minute),
		// The same again by another event: the last one counts, in whatever order they come.
		event("a/mended", "SyncLoadBalancerFailed", "something else, too", 3*time.Minute),
		event("a/mended", "SyncLoadBalancerFailed", "something else still", 2*time.Minute),
		event("a/mended", "EnsuredLoadBalancer", "Ensured load balancer [lb-b]", 4*time.Minute),
		event("a/fine", "EnsuredLoadBalancer", "Ensured load balancer [lb-c]", time.Minute),
		event("a/fine", "AnnotationChanged", "The service will be updated", time.Minute),
		event("b/changed", "TypeChanged", "type change LoadBalancer - ClusterIP", time.Minute),
		event("b/changed", "UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer", time.Minute),
		event("b/gone", "CleanLoadBalancerFailed", "You are not authorized to do this action", time.Minute),
	)
	collectortest.Golden(t, "events.prom", got)
}

func TestCauses(t *testing.T) {
	t.Parallel()
	const sync = "SyncLoadBalancerFailed"
	long := strings.Repeat("x", 1<<20)
	for _, c := range []struct{ reason, message, cause string }{
		{sync, "Aliyun API Error: RequestId: R Status Code: 400 Code: ORDER.ARREARAGE Message: The account is arrearage.", "arrears"},
		{sync, "Message: The account is arrearage.", "arrears"},
		{sync, "Code: PAY.INSUFFICIENT_BALANCE Message: Your account does not have enough balance.", "arrears"},
		{sync, "Code: Throttling.User Message: Request was denied due to user flow control.", "throttled"},
		{sync, "Message: Request was denied due to api flow control.", "throttled"},
		{sync, "Error syncing load balancer: Code: Forbidden.RAM Message: User not authorized to operate on the specified resource", "forbidden"},
		{sync, "Message: You are not authorized to do this action. You should be authorized by RAM.", "forbidden"},
		{"CleanLoadBalancerFailed", "Code: NoPermission", "forbidden"},
		{sync, "The backend server number has reached to the quota limit of this load balancers", "quota"},
		{sync, "Message: There is backend server has reached to the quota limit number of load balancers that it could be related to..", "quota"},
		{sync, "alicloud: not able to find loadbalancer named [s] in openapi, but it's defined in service.loaderbalancer.ingress. this may happen when you removed loadbalancerid annotation", "reuse_removed"},
		{sync, "alicloud: not able to find loadbalancer named [s] in openapi", "load_balancer_missing"},
		{sync, "alicloud: can not find loadbalancer, but it's defined in service", "load_balancer_missing"},
		{sync, "Code: NetworkConflict", "network_conflict"},
		{sync, "Code: VSwitchAvailableIpNotExist", "no_addresses"},
		{sync, "The loadbalancer does not support backend servers of eni type", "eni_unsupported"},
		{sync, "The specified Port must be between 1 and 65535", "port"},
		{sync, "Code: RspoolVipExist Message: there are vips associating with this vServer group", "group_in_use"},
		{sync, "Code: ShareSlbHaltSales", "not_sold"},
		{"DeleteLoadBalancerFailed", "", "other"},
		{sync, long, "other"},
		// What is far behind is not read.
		{sync, long + "Throttling", "other"},
		{sync, "\xff\xfe", "other"},
		// The rights in Kubernetes are not those of the RAM role.
		{"FailedUpdateStatus", "not authorized to update services/status", "other"},
		{sync, `services "s" is forbidden: User "system:serviceaccount:kube-system:cloud-controller-manager" cannot update`, "other"},
		{"UnAvailableLoadBalancer", "There are no available nodes for NetworkLoadBalancer", "no_backends"},
		{"TypeChanged", "type change LoadBalancer - NodePort", "type_changed"},
		{"TypeChanged", "LoadBalancer->ClusterIP", "type_changed"},
		// To a load balancer, or to one of another class, nothing is lost.
		{"TypeChanged", "type change ClusterIP - LoadBalancer", ""},
		{"TypeChanged", "type change LoadBalancer - LoadBalancer", ""},
		{"TypeChanged", "ClusterIP->LoadBalancer", ""},
		{"TypeChanged", "", ""},
		{"ServiceSpecChanged", "Code: Forbidden", ""},
		{"FailedToUpdateEndpointSlices", "Code: Forbidden", ""},
		{"", "", ""},
	} {
		e := event("a/s", c.reason, "", time.Minute)
		e.Message = c.message
		got := collect(t, services("a/s"), e)
		want := fmt.Sprintf(`ack_slb_event_timestamp_seconds{cause=%q,namespace="a",reason=%q,service="s"} 1.89345606e+09`, c.cause, c.reason)
		if told := strings.Contains(got, "ack_slb_event_timestamp_seconds{"); told != (c.cause != "") || told && !strings.Contains(got, want) {
			t.Errorf("%s %.80q:\n%s", c.reason, c.message, got)
		}
	}
}

// Which field has the time depends on who wrote the event.
func TestTimes(t *testing.T) {
	t.Parallel()
	at := func(seconds int) metav1.Time { return metav1.NewTime(start.Add(time.Duration(seconds) * time.Second)) }
	micro := func(seconds int) metav1.MicroTime {
		return metav1.NewMicroTime(at(seconds).Add(500 * time.Millisecond))
	}
	for name, c := range map[string]struct {
		set  func(*corev1.Event)
		want string
	}{
		"last":       {func(e *corev1.Event) { e.LastTimestamp = at(9) }, "1.893456009e+09"},
		"first only": {func(e *corev1.Event) { e.FirstTimestamp = at(8) }, "1.893456008e+09"},
		"event time": {func(e *corev1.Event) { e.EventTime = micro(7) }, "1.8934560075e+09"},
		"series": {func(e *corev1.Event) {
			e.EventTime, e.Series = micro(7), &corev1.EventSeries{Count: 4, LastObservedTime: micro(60)}
		}, "1.8934560605e+09"},
		"series without a time": {func(e *corev1.Event) { e.EventTime, e.Series = micro(7), &corev1.EventSeries{} }, "1.8934560075e+09"},
		"none":                  {func(*corev1.Event) {}, "1.8934524e+09"},
	} {
		e := event("a/s", "SyncLoadBalancerFailed", "x", 0)
		e.FirstTimestamp, e.LastTimestamp = metav1.Time{}, metav1.Time{}
		c.set(e)
		if got := collect(t, services("a/s"), e); !strings.Contains(got, `service="s"} `+c.want+"\n") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

func TestForeignEvents(t *testing.T) {
	t.Parallel()
	pod := event("a/s", "SyncLoadBalancerFailed", "x", 0)
	pod.InvolvedObject.Kind = "Pod"
	nameless := event("a/", "SyncLoadBalancerFailed", "x", 0)
	for _, e := range []*corev1.Event{pod, nameless} {
		if digest(t, e) != nil {
			t.Errorf("kept: %v", e.InvolvedObject)
		}
	}
	large, err := slbevents.Digest(kube.Object{Namespace: "a", Name: "e"})
	if large != nil || err != nil {
		t.Errorf("too large: %v %v", large, err)
	}
	if _, err := slbevents.Digest(kube.Object{Namespace: "a", Name: "e", Bytes: []byte{0xff}}); !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), "a/e") {
		t.Errorf("broken: %v", err)
	}
	// Its namespace is that of the event where the object says none.
	e := event("a/s", "SyncLoadBalancerFailed", "x", 0)
	e.InvolvedObject.Namespace = ""
	if got := collect(t, services("a/s"), e); !strings.Contains(got, `namespace="a"`) {
		t.Error(got)
	}
}

// A cluster that is in a bad way has many events: the newest failures are told, and no
// failure without the success that ended it.
func TestBound(t *testing.T) {
	t.Parallel()
	var events []*corev1.Event
	var names []string
	for i := range 1500 {
		name := fmt.Sprintf("a/s%04d", i)
		names = append(names, name)
		events = append(events,
			event(name, "SyncLoadBalancerFailed", "x", time.Duration(i)*time.Second),
			event(name, "EnsuredLoadBalancer", "x", time.Duration(i+1)*time.Second))
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	got := collect(t, services(names...), events...)
	if n := strings.Count(got, "ack_slb_event_timestamp_seconds{"); n != 2000 || !strings.Contains(got, "ack_slb_events_left_out 1000\n") {
		t.Errorf("%d told", n)
	}
	for _, service := range []string{"s1499", "s0500"} {
		if strings.Count(got, fmt.Sprintf("service=%q", service)) != 2 {
			t.Errorf("%s is missing", service)
		}
	}
	if strings.Contains(got, `service="s0499"`) {
		t.Error("the oldest are told")
	}
}

func TestALostListingFailsTheWholeRefresh(t *testing.T) {
	t.Parallel()
	events := listed[*slbevents.Event]{objects: []*slbevents.Event{digest(t, event("a/s", "SyncLoadBalancerFailed", "x", 0))}}
	for name, c := range map[string]*slbevents.Collector{
		"events":   slbevents.New(listed[*slbevents.Event]{err: collector.ErrForbidden}, services("a/s")),
		"services": slbevents.New(events, listed[*corev1.Service]{err: collector.ErrForbidden}),
	} {
		if got, err := collectortest.Collect(t, c); !errors.Is(err, collector.ErrForbidden) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// What is kept of an event is small, whatever its message is.
func TestMemory(t *testing.T) {
	const count = 20_000
	e := event("a/s", "SyncLoadBalancerFailed", strings.Repeat("x", 1000), 0)
	kept := make([]*slbevents.Event, count)
	digest(t, e) // what is made once
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = digest(t, e)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / count; each > 200 {
		t.Errorf("%d bytes of each event are kept", each)
	}
	runtime.KeepAlive(kept)
}

func FuzzDigest(f *testing.F) {
	e := event("a/s", "SyncLoadBalancerFailed", "Message: The account is arrearage.", time.Minute)
	raw, err := e.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := slbevents.Digest(kube.Object{Namespace: "a", Name: "e", Bytes: raw})
		if err != nil && (got != nil || !errors.Is(err, collector.ErrDecode)) {
			t.Errorf("%v %v", got, err)
		}
	})
}
