package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/internal/server/servertest"
)

// api answers lists of ConfigMaps and holds watches open, as long as status is 200.
type api struct {
	mu      sync.Mutex
	status  int
	queries []string
	drop    chan struct{} // closed to end the watches
}

func (a *api) set(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = status
	close(a.drop)
	a.drop = make(chan struct{})
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	status, drop := a.status, a.drop
	a.queries = append(a.queries, r.URL.RequestURI())
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if status != http.StatusOK {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   metav1.StatusFailure, Code: int32(status), Reason: reasons[status],
		})
		return
	}
	query := r.URL.Query()
	switch {
	case query.Get("sendInitialEvents") == "true":
		// An API server that cannot stream lists.
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status:   metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		})
	case query.Get("watch") != "":
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case <-drop:
		case <-r.Context().Done():
		}
	default:
		_ = json.NewEncoder(w).Encode(corev1.ConfigMapList{
			TypeMeta: metav1.TypeMeta{Kind: "ConfigMapList", APIVersion: "v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: "1"},
			Items: []corev1.ConfigMap{{
				ObjectMeta: metav1.ObjectMeta{
					Name: "one", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "somebody"}},
				},
				Data: map[string]string{"kept": "x", "dropped": "y"},
			}},
		})
	}
}

var reasons = map[int]metav1.StatusReason{
	http.StatusForbidden:           metav1.StatusReasonForbidden,
	http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
	http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
}

func newStore(t *testing.T, server *httptest.Server) *Store[*corev1.ConfigMap] {
	t.Helper()
	clients, err := NewClients(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	query := Query{Namespace: "kube-system", Fields: "metadata.name=one", Labels: "a=b"}
	return NewStore(clients.Core, "configmaps", &corev1.ConfigMap{}, query, func(c *corev1.ConfigMap) {
		delete(c.Data, "dropped")
	})
}

func run(t *testing.T, s *Store[*corev1.ConfigMap]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func TestStoreKeepsWhatIsSelectedAndTrimmed(t *testing.T) {
	t.Parallel()
	a := &api{status: http.StatusOK, drop: make(chan struct{})}
	server := httptest.NewServer(a)
	defer server.Close()
	s := newStore(t, server)
	if _, err := s.List(); !errors.Is(err, collector.ErrUnavailable) {
		t.Errorf("before it runs: %v", err)
	}
	stop := run(t, s)
	servertest.Await(t, s.Synced, func() string { return "never complete" })
	objects, err := s.List()
	if err != nil || len(objects) != 1 || objects[0].Name != "one" {
		t.Fatalf("%v %v", objects, err)
	}
	if len(objects[0].Data) != 1 || objects[0].ManagedFields != nil {
		t.Errorf("not trimmed: %+v", objects[0])
	}
	a.mu.Lock()
	queries := slices.Clone(a.queries)
	a.mu.Unlock()
	for _, query := range queries {
		if want := "/api/v1/namespaces/kube-system/configmaps?"; len(query) < len(want) || query[:len(want)] != want {
			t.Errorf("asked for %s", query)
		}
	}
	stop()
	if _, err := s.List(); !errors.Is(err, collector.ErrUnavailable) || s.Synced() {
		t.Errorf("after it ran: %v", err)
	}
}

// TestStoreTellsWhyItGrowsOld ends the watch and lets the API server refuse.
func TestStoreTellsWhyItGrowsOld(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{
		http.StatusForbidden:           collector.ErrForbidden,
		http.StatusTooManyRequests:     collector.ErrThrottled,
		http.StatusServiceUnavailable:  collector.ErrUnavailable,
		http.StatusInternalServerError: collector.ErrUnavailable,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			a := &api{status: http.StatusOK, drop: make(chan struct{})}
			server := httptest.NewServer(a)
			defer server.Close()
			s := newStore(t, server)
			defer run(t, s)()
			servertest.Await(t, s.Synced, func() string { return "never complete" })

			a.set(status)
			servertest.Await(t, func() bool {
				_, err := s.List()
				return errors.Is(err, want)
			}, func() string {
				_, err := s.List()
				return "the store says: " + errorText(err)
			})
			a.set(http.StatusOK)
			servertest.Await(t, func() bool {
				_, err := s.List()
				return err == nil
			}, func() string { return "the store does not recover" })
		})
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	if _, err := Config("testdata/none", "test"); err == nil {
		t.Error("no error for a kubeconfig that is not there")
	}
}
