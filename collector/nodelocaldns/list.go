package nodelocaldns

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

const (
	// pageSize is how many pods are asked for, and held, at once.
	pageSize = 500
	// unfinished leaves out, on the server's side, pods that will not ask again.
	unfinished = "status.phase!=Succeeded,status.phase!=Failed"
)

// PodLister lists pods.
type PodLister interface {
	// ListPods calls each for every pod of a namespace that has not finished, or
	// of all namespaces where it is empty. What each gets is not kept. After an
	// error the pods that each got so far are not all of them.
	ListPods(ctx context.Context, namespace string, each func(*corev1.Pod) error) error
}

// apiPods lists pods page by page from the API server.
type apiPods struct{ client rest.Interface }

// NewPodLister makes a PodLister that asks the API server for one page after
// another, and holds two of them at most. client is that of the core group.
func NewPodLister(client rest.Interface) PodLister { return apiPods{client} }

// ListPods implements PodLister. No resource version is asked for: version 0 lets
// an API server answer from memory with all pods at once, whatever the limit.
func (l apiPods) ListPods(ctx context.Context, namespace string, each func(*corev1.Pod) error) error {
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		var page corev1.PodList
		err := l.client.Get().Namespace(namespace).Resource("pods").VersionedParams(&o, metav1.ParameterCodec).Do(ctx).Into(&page)
		return &page, err
	})
	p.PageSize = pageSize
	p.PageBufferSize = 0
	// One answer with all pods is what pages are to avoid.
	p.FullListIfExpired = false
	return p.EachListItem(ctx, metav1.ListOptions{FieldSelector: unfinished}, func(object runtime.Object) error {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("%T in a list of pods: %w", object, collector.ErrDecode)
		}
		return each(pod)
	})
}

// isExpired tells that the next page is of a list that the API server has forgotten.
func isExpired(err error) bool {
	return err != nil && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err))
}

// listError says of which listing err is, and marks it with the reason by which it
// is counted.
func listError(namespace string, err error) error {
	if namespace == metav1.NamespaceAll {
		namespace = "all namespaces"
	} else {
		namespace = "namespace " + namespace
	}
	return fmt.Errorf("list pods of %s: %w", namespace, kube.Classify(err))
}
