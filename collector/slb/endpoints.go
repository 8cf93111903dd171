package slb

import (
	"context"
	"fmt"
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

const (
	// slicePage is how many EndpointSlices are asked for at once. One has 100 endpoints.
	slicePage = 100
	// servicesAtOnce bounds the names in one request.
	servicesAtOnce = 50
)

// EndpointLister lists the EndpointSlices of Services.
type EndpointLister interface {
	// ListEndpoints returns those of Services of one namespace by the name of the Service,
	// all of them or none.
	ListEndpoints(ctx context.Context, namespace string, services []string) (map[string][]*discoveryv1.EndpointSlice, error)
}

// NewEndpointLister makes an EndpointLister that asks the API server. client is that of the
// group discovery.k8s.io.
func NewEndpointLister(client rest.Interface) EndpointLister { return apiEndpoints{client} }

type apiEndpoints struct{ client rest.Interface }

// ListEndpoints implements EndpointLister.
func (l apiEndpoints) ListEndpoints(ctx context.Context, namespace string, services []string) (map[string][]*discoveryv1.EndpointSlice, error) {
	found := make(map[string][]*discoveryv1.EndpointSlice)
	of, err := labels.NewRequirement(discoveryv1.LabelServiceName, selection.In, services)
	if err != nil {
		return nil, fmt.Errorf("names of Services: %w", err)
	}
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		var page discoveryv1.EndpointSliceList
		err := l.client.Get().Namespace(namespace).Resource("endpointslices").VersionedParams(&o, metav1.ParameterCodec).Do(ctx).Into(&page)
		return &page, err
	})
	p.PageSize, p.PageBufferSize, p.FullListIfExpired = slicePage, 0, false
	err = p.EachListItem(ctx, metav1.ListOptions{LabelSelector: of.String()}, func(object runtime.Object) error {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			return fmt.Errorf("%T in a list of EndpointSlices: %w", object, collector.ErrDecode)
		}
		name := slice.Labels[discoveryv1.LabelServiceName]
		slice.ManagedFields, slice.Annotations = nil, nil
		found[name] = append(found[name], slice)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list EndpointSlices of namespace %s: %w", namespace, kube.Classify(err))
	}
	return found, nil
}

// endpointsOf lists the EndpointSlices of these Services. Those of which it could not are
// missing, and the error says why.
func endpointsOf(ctx context.Context, lister EndpointLister, services []types.NamespacedName) (map[types.NamespacedName][]*discoveryv1.EndpointSlice, error) {
	names := make(map[string][]string)
	for _, s := range services {
		names[s.Namespace] = append(names[s.Namespace], s.Name)
	}
	all := make(map[types.NamespacedName][]*discoveryv1.EndpointSlice)
	var failed error
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		for batch := range slices.Chunk(names[namespace], servicesAtOnce) {
			found, err := lister.ListEndpoints(ctx, namespace, batch)
			if err != nil {
				failed = err
				continue
			}
			for _, name := range batch {
				all[types.NamespacedName{Namespace: namespace, Name: name}] = found[name]
			}
		}
	}
	return all, failed
}
