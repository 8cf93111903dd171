package nodelocaldns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

// server answers lists of pods page by page as an API server does.
type server struct {
	pods []*corev1.Pod
	// fail answers the request of this number, from 1, if it returns an error.
	fail func(request int) error

	mu      sync.Mutex
	queries []url.Values
	paths   []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.queries = append(s.queries, r.URL.Query())
	s.paths = append(s.paths, r.URL.Path)
	request := len(s.queries)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if s.fail != nil {
		if err := s.fail(request); err != nil {
			s.refuse(w, err)
			return
		}
	}
	if err := json.NewEncoder(w).Encode(s.page(r)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (s *server) refuse(w http.ResponseWriter, err error) {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		_, _ = w.Write([]byte(`{"kind":"PodList","apiVersion":"v1","items":[`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // the connection breaks off
	}
	body := status.Status()
	body.Kind, body.APIVersion = "Status", "v1"
	w.WriteHeader(int(body.Code))
	_ = json.NewEncoder(w).Encode(body)
}

// page takes the continue token as the index of the first pod.
func (s *server) page(r *http.Request) *corev1.PodList {
	var selected []*corev1.Pod
	for _, p := range s.pods {
		if strings.Contains(r.URL.Path, "/namespaces/"+p.Namespace+"/") || !strings.Contains(r.URL.Path, "/namespaces/") {
			selected = append(selected, p)
		}
	}
	first, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	last := min(first+limit, len(selected))
	list := &corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	for _, p := range selected[first:last] {
		list.Items = append(list.Items, *p)
	}
	if last < len(selected) {
		list.Continue = strconv.Itoa(last)
	}
	return list
}

// lister is a PodLister of an API server on this machine.
func lister(t *testing.T, s *server) PodLister {
	t.Helper()
	http := httptest.NewServer(s)
	t.Cleanup(http.Close)
	client, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: http.URL, QPS: -1}, http.Client())
	if err != nil {
		t.Fatal(err)
	}
	return NewPodLister(client.CoreV1().RESTClient())
}

// crowd is n pods of a namespace, every third of which is injected.
func crowd(namespace string, n int) []*corev1.Pod {
	var pods []*corev1.Pod
	for i := range n {
		p := pod(namespace)
		if i%3 == 0 {
			injected(p)
		}
		p.Name = fmt.Sprintf("p-%d", i)
		pods = append(pods, p)
	}
	return pods
}

func TestPagesOfARealClient(t *testing.T) {
	t.Parallel()
	s := &server{pods: append(crowd("shop", 1201), crowd("bank", 3)...)}
	got, err := collectortest.Collect(t, NewPods(healthy(), lister(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, got,
		`ack_nodelocaldns_pods{namespace="shop",state="injected"} 401`, `ack_nodelocaldns_pods{namespace="shop",state="missing"} 800`,
		`ack_nodelocaldns_pods{namespace="bank",state="injected"} 1`, `ack_nodelocaldns_pods{namespace="bank",state="missing"} 2`)
	want := []string{
		"/api/v1/namespaces/bank/pods", "/api/v1/namespaces/shop/pods",
		"/api/v1/namespaces/shop/pods", "/api/v1/namespaces/shop/pods",
	}
	if !slices.Equal(s.paths, want) {
		t.Errorf("requests %q", s.paths)
	}
	for i, continues := range []string{"", "", "500", "1000"} {
		q := s.queries[i]
		if q.Get("limit") != "500" || q.Get("continue") != continues || q.Has("resourceVersion") || q.Has("watch") ||
			q.Get("fieldSelector") != "status.phase!=Succeeded,status.phase!=Failed" {
			t.Errorf("request %d: %v", i+1, q)
		}
	}
}

func TestAllNamespacesInOneListing(t *testing.T) {
	t.Parallel()
	s := &server{pods: append(crowd("shop", 600), crowd("elsewhere", 3)...)}
	got, err := collectortest.Collect(t, NewPods(withWebhook(), lister(t, s)))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, got, "ack_nodelocaldns_orphaned_pods 201")
	if !slices.Equal(s.paths, []string{"/api/v1/pods", "/api/v1/pods"}) {
		t.Errorf("requests %q", s.paths)
	}
}

func TestHalfAListingIsNeverShown(t *testing.T) {
	t.Parallel()
	pods := schema.GroupResource{Resource: "pods"}
	at := func(request int, err error) func(int) error {
		return func(n int) error { return map[bool]error{true: err}[n == request] }
	}
	gone := &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonGone}}
	for name, c := range map[string]struct {
		fail     func(int) error
		reason   collector.Reason // "": it succeeds
		requests int
	}{
		"forbidden at once":     {at(1, apierrors.NewForbidden(pods, "", errors.New("no role"))), collector.ReasonForbidden, 1},
		"forbidden on page 2":   {at(2, apierrors.NewForbidden(pods, "", errors.New("no role"))), collector.ReasonForbidden, 2},
		"unauthorized":          {at(2, apierrors.NewUnauthorized("no token")), collector.ReasonForbidden, 2},
		"server error on 3":     {at(3, apierrors.NewInternalError(errors.New("etcd"))), collector.ReasonUnavailable, 3},
		"timeout on page 3":     {at(3, apierrors.NewTimeoutError("slow", 0)), collector.ReasonTimeout, 3},
		"too many requests":     {at(2, apierrors.NewTooManyRequestsError("slow down")), collector.ReasonThrottled, 2},
		"page 3 has expired":    {at(3, apierrors.NewResourceExpired("too old")), "", 6},
		"page 2 is gone":        {at(2, gone), "", 5},
		"it always expires":     {func(n int) error { return map[bool]error{true: apierrors.NewResourceExpired("x")}[n%2 == 0] }, collector.ReasonUnavailable, 4},
		"broken off on page 3":  {at(3, errors.New("cut")), collector.ReasonOther, 3},
		"nothing but forbidden": {func(int) error { return apierrors.NewForbidden(pods, "", errors.New("no role")) }, collector.ReasonForbidden, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sources := healthy()
			sources.Namespaces = of(labelled("shop"))
			s := &server{pods: crowd("shop", 1201), fail: c.fail}
			got, err := collectortest.Collect(t, NewPods(sources, lister(t, s)))
			if len(s.queries) != c.requests {
				t.Errorf("%d requests", len(s.queries))
			}
			if c.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				contains(t, got, `ack_nodelocaldns_pods{namespace="shop",state="injected"} 401`)
				return
			}
			if err == nil || collector.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), "list pods of namespace shop") {
				t.Errorf("%v", err)
			}
			if got != "" {
				t.Errorf("half a listing is shown:\n%s", got)
			}
		})
	}
}

func TestListingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{pods: crowd("shop", 5000)}
	s.fail = func(request int) error {
		if request == 2 {
			cancel()
		}
		return nil
	}
	metrics, err := NewPods(healthy(), lister(t, s)).Collect(ctx)
	if !errors.Is(err, context.Canceled) || len(metrics) != 0 {
		t.Errorf("%d metrics, %v", len(metrics), err)
	}
}
