package kube

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// leaseAPI keeps one Lease as an API server does: a write that does not know the
// last version is refused.
type leaseAPI struct {
	mu    sync.Mutex
	lease *coordinationv1.Lease
	down  bool
}

func (a *leaseAPI) setDown(down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = down
}

func (a *leaseAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case a.down:
		refuse(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	case r.Method == http.MethodGet && a.lease == nil:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodGet:
		_ = json.NewEncoder(w).Encode(a.lease)
	default:
		a.write(w, r)
	}
}

func (a *leaseAPI) write(w http.ResponseWriter, r *http.Request) {
	var lease coordinationv1.Lease
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, &lease)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	version := ""
	if a.lease != nil {
		version = a.lease.ResourceVersion
	}
	if lease.ResourceVersion != version {
		refuse(w, http.StatusConflict, metav1.StatusReasonConflict)
		return
	}
	n, _ := strconv.Atoi(version)
	lease.ResourceVersion = strconv.Itoa(n + 1)
	a.lease = &lease
	_ = json.NewEncoder(w).Encode(a.lease)
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason,
	})
}

// leaseClient is a client of an API server that keeps one Lease.
func leaseClient(t *testing.T) (*leaseAPI, rest.Interface) {
	t.Helper()
	api := &leaseAPI{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	clients, err := NewClients(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return api, clients.Coordination
}

func TestLeaseIsTakenOnlyByOne(t *testing.T) {
	t.Parallel()
	api, client := leaseClient(t)
	first := &lease{client: client, namespace: "monitoring", name: "ack-exporter", identity: "first"}
	second := &lease{client: client, namespace: "monitoring", name: "ack-exporter", identity: "second"}
	expect := func(l *lease, want string) {
		t.Helper()
		if holder, err := l.try(t.Context()); err != nil || holder != want {
			t.Errorf("%s: %q, %v; want %s", l.identity, holder, err, want)
		}
	}
	expect(first, "first")
	expect(second, "first")
	expect(first, "first")
	if n := *api.lease.Spec.LeaseTransitions; n != 0 {
		t.Errorf("%d transitions", n)
	}

	// The clock of the holder counts for nothing: second has only just seen it.
	first.identity, second.identity = "first", "second"
	expect(second, "first")
	// Once it has not changed for its duration, it may be taken.
	second.seenAt = second.seenAt.Add(-leaseDuration)
	expect(second, "second")
	expect(first, "second")
	if n := *api.lease.Spec.LeaseTransitions; n != 1 {
		t.Errorf("%d transitions", n)
	}

	// Given back it is free, but only by the one who has it.
	if err := first.release(t.Context()); err != nil {
		t.Error(err)
	}
	expect(first, "second")
	if err := second.release(t.Context()); err != nil {
		t.Error(err)
	}
	expect(first, "first")
}

func TestLeaseThatCannotBeReadIsNobodys(t *testing.T) {
	t.Parallel()
	api, client := leaseClient(t)
	api.setDown(true)
	l := &lease{client: client, namespace: "monitoring", name: "ack-exporter", identity: "first"}
	if holder, err := l.try(t.Context()); err == nil || holder != "" {
		t.Errorf("%q, %v", holder, err)
	}
}
