package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"ack-exporter/collector"
)

// Pauses between two attempts to list or watch: from firstRetry, doubled up to
// maxRetry.
const (
	firstRetry    = 500 * time.Millisecond
	maxRetry      = 5 * time.Second
	maxRetrySteps = 5
	retryJitter   = 0.2
)

// Query selects objects on the server's side. Empty fields select all.
type Query struct {
	Namespace string
	Labels    string
	Fields    string
}

// Lister lists the objects of one kind, all of them, or says why they cannot be
// trusted now. The objects are shared: the caller must not change them.
type Lister[T any] interface {
	List() ([]T, error)
}

// Store keeps the objects of one kind that a query selects, trimmed to the
// fields that are used. A watch keeps it up to date while it runs.
type Store[T runtime.Object] struct {
	client   rest.Interface
	resource string
	example  T
	query    Query
	trim     func(T)

	mu      sync.Mutex
	objects cache.Store // nil while it does not run
	synced  func() bool
	err     error // why the last list or watch failed; nil while it works
}

// NewStore makes a Store that is empty until it runs. resource is the plural, as
// in "configmaps"; example is any object of the kind. trim drops fields that are
// not used, before anything is kept.
func NewStore[T runtime.Object](client rest.Interface, resource string, example T, query Query, trim func(T)) *Store[T] {
	return &Store[T]{client: client, resource: resource, example: example, query: query, trim: trim}
}

// Run watches until ctx ends. Afterwards the Store is empty, and can run again.
func (s *Store[T]) Run(ctx context.Context) {
	// Where the API server refuses connections, client-go waits minutes between two
	// attempts: we would be blind for longer than it was away.
	pause := retry()
	objects := trimmingStore{cache.NewStore(cache.MetaNamespaceKeyFunc, cache.WithTransformer(s.transform)), s.transform}
	reflector := cache.NewReflectorWithOptions(s.listWatch(), s.example, objects, cache.ReflectorOptions{Backoff: &pause})
	s.set(objects, func() bool { return reflector.LastSyncResourceVersion() != "" })
	defer s.set(nil, nil)
	// It can sleep through the end of ctx, for maxRetry or so. Nobody waits for that.
	go reflector.RunWithContext(ctx)
	<-ctx.Done()
}

// trimmingStore has a first list trimmed object by object, while it arrives.
type trimmingStore struct {
	cache.Store
	transform cache.TransformFunc
}

// Transformer implements cache.TransformingStore.
func (s trimmingStore) Transformer() cache.TransformFunc { return s.transform }

func (s *Store[T]) set(objects cache.Store, synced func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects, s.synced, s.err = objects, synced, nil
}

// listWatch notes how each request ended: that a watch cannot be resumed is the
// first sign that what is kept grows old.
func (s *Store[T]) listWatch() *cache.ListWatch {
	lw := cache.NewFilteredListWatchFromClient(s.client, s.resource, s.query.Namespace, func(o *metav1.ListOptions) {
		o.LabelSelector, o.FieldSelector = s.query.Labels, s.query.Fields
	})
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := lw.ListWithContext(ctx, o)
			s.note(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchWithContext(ctx, o)
			s.note(ctx, err)
			return w, err
		},
	}
}

func (s *Store[T]) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// transform trims what arrives. The API server's record of who set which field
// is never used, and is often larger than the rest.
func (s *Store[T]) transform(object any) (any, error) {
	kept, ok := object.(T)
	if !ok {
		return object, nil
	}
	if accessor, ok := object.(metav1.ObjectMetaAccessor); ok {
		meta := accessor.GetObjectMeta()
		meta.SetManagedFields(nil)
	}
	s.trim(kept)
	return kept, nil
}

// Synced tells whether the first list is complete.
func (s *Store[T]) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects != nil && s.synced()
}

// Refused implements Watch.
func (s *Store[T]) Refused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Is(Classify(s.err), collector.ErrForbidden)
}

// List implements Lister. It fails until the first list is complete, and while the
// API server does not let the watch go on.
func (s *Store[T]) List() ([]T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, fmt.Errorf("watch %s: %w", s.resource, Classify(s.err))
	}
	if s.objects == nil || !s.synced() {
		return nil, fmt.Errorf("watch %s: %w: not complete yet", s.resource, collector.ErrUnavailable)
	}
	kept := s.objects.List()
	objects := make([]T, len(kept))
	for i, object := range kept {
		objects[i] = object.(T)
	}
	return objects, nil
}
