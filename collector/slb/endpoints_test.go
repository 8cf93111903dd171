package slb

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

// sliceServer is an API server that has EndpointSlices of one namespace.
type sliceServer struct {
	slices  []discoveryv1.EndpointSlice
	queries []url.Values
	// fail is the number of the request, from 1, that is refused.
	fail int
}

func (s *sliceServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	s.queries = append(s.queries, query)
	if len(s.queries) == s.fail || r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden,
		})
		return
	}
	first, _ := strconv.Atoi(query.Get("continue"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	last := min(first+limit, len(s.slices))
	page := discoveryv1.EndpointSliceList{
		TypeMeta: metav1.TypeMeta{Kind: "EndpointSliceList", APIVersion: "discovery.k8s.io/v1"}, Items: s.slices[first:last],
	}
	if last < len(s.slices) {
		page.Continue = strconv.Itoa(last)
	}
	_ = json.NewEncoder(w).Encode(page)
}

func newSliceServer(t *testing.T, names ...string) (*sliceServer, EndpointLister) {
	t.Helper()
	s := &sliceServer{}
	for i, name := range names {
		s.slices = append(s.slices, discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprint(name, "-", i), Labels: map[string]string{discoveryv1.LabelServiceName: name},
		}})
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	clients, err := kube.NewClients(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return s, NewEndpointLister(clients.Discovery)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	names := make([]string, 250)
	for i := range names {
		names[i] = "big"
	}
	server, lister := newSliceServer(t, append(names, "small")...)
	got, err := endpointsOf(t.Context(), lister, []types.NamespacedName{
		{Namespace: "shop", Name: "big"}, {Namespace: "shop", Name: "small"}, {Namespace: "shop", Name: "none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || len(got[types.NamespacedName{Namespace: "shop", Name: "big"}]) != 250 || len(got[types.NamespacedName{Namespace: "shop", Name: "small"}]) != 1 {
		t.Errorf("%d Services", len(got))
	}
	if len(server.queries) != 3 || server.queries[0].Get("labelSelector") != "kubernetes.io/service-name in (big,none,small)" {
		t.Errorf("%v", server.queries)
	}
}

// TestEndpointsFail proves that a listing that breaks off leaves its Services unknown, and
// no others.
func TestEndpointsFail(t *testing.T) {
	t.Parallel()
	var names []string
	var services []types.NamespacedName
	for i := range 120 {
		names = append(names, fmt.Sprintf("s%03d", i))
		services = append(services, types.NamespacedName{Namespace: "shop", Name: names[i]})
	}
	server, lister := newSliceServer(t, names...)
	server.fail = 2 // the second page of the first 50 Services
	got, err := endpointsOf(t.Context(), lister, append(services, types.NamespacedName{Namespace: "other", Name: "x"}))
	if !errors.Is(err, collector.ErrForbidden) || !strings.Contains(err.Error(), "namespace shop") {
		t.Errorf("%v", err)
	}
	if len(got) != 70 {
		t.Errorf("%d Services", len(got))
	}
	if _, known := got[services[0]]; known {
		t.Error("a part is known")
	}
}

func TestEndpointsOfNothing(t *testing.T) {
	t.Parallel()
	server, lister := newSliceServer(t)
	if got, err := endpointsOf(t.Context(), lister, nil); err != nil || len(got) != 0 || len(server.queries) != 0 {
		t.Errorf("%v, %v, %d requests", got, err, len(server.queries))
	}
}
