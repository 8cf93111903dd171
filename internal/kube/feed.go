package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/framer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"ack-exporter/collector"
)

const (
	// pageSize is how many objects the API server reads at once for us. We hold one at
	// a time whatever it is, and 10,000 are to arrive within seconds at our rate.
	pageSize = 200
	// pageTimeout bounds one page, and listTimeout all of them: about as long as the
	// API server remembers what a token stands for.
	pageTimeout = 30 * time.Second
	listTimeout = 10 * time.Minute
	// openTimeout bounds how long a watch takes to begin.
	openTimeout = 30 * time.Second
	// silence is how long a watch may tell nothing. The API server sends a bookmark
	// each minute.
	silence = 150 * time.Second
	// dropAfter is how long a connection stays after the last event that came through it.
	dropAfter = time.Second
	// watchLeast is how long a watch is to last. Up to as much is added by chance, so
	// that not all begin anew at the same time.
	watchLeast = 5 * time.Minute
	// tooShort is a watch that has told nothing and is over: one that does not work.
	tooShort = time.Second
	// maxDelay bounds how long the API server can ask us to wait.
	maxDelay = 30 * time.Second
)

var (
	errIdle     = errors.New("nothing comes any more")
	errNoAnswer = fmt.Errorf("no answer within %s: %w", openTimeout, context.DeadlineExceeded)
	errTooShort = fmt.Errorf("%w: the watch ended at once", collector.ErrUnavailable)
	errEnded    = errors.New("the watch ended")
)

// Feed follows the objects of one kind that a query selects, and keeps of each only
// what digest makes of it: it lists them page by page and then watches, and reads one
// object at a time into a buffer that is cleared afterwards. What a list has not
// changed is not digested again.
//
// Objects have secrets. The buffers of a connection hold what came through it last, so
// the connection is dropped when all is read.
type Feed[T any] struct {
	line     *Line
	resource string
	query    Query
	digest   func(Object) (T, error)

	// Only Run changes objects.
	mu      sync.Mutex
	objects map[string]digested[T] // by namespace and name; nil until a list is complete
	err     error                  // why the last list or watch failed; nil while it works
}

type digested[T any] struct {
	state string
	value T
}

// NewFeed makes a Feed that is empty until it runs. resource is the plural, as in
// "secrets". An error of digest fails the list, as one of the API server does.
func NewFeed[T any](line *Line, resource string, query Query, digest func(Object) (T, error)) *Feed[T] {
	return &Feed[T]{line: line, resource: resource, query: query, digest: digest}
}

// Synced tells whether the first list is complete.
func (f *Feed[T]) Synced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects != nil
}

// Refused implements Watch.
func (f *Feed[T]) Refused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Is(Classify(f.err), collector.ErrForbidden)
}

// List implements Lister, for what digest has made. It fails until the first list is
// complete, and while the API server does not let the watch go on.
func (f *Feed[T]) List() ([]T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, fmt.Errorf("watch %s: %w", f.resource, Classify(f.err))
	}
	if f.objects == nil {
		return nil, fmt.Errorf("watch %s: %w: not complete yet", f.resource, collector.ErrUnavailable)
	}
	values := make([]T, 0, len(f.objects))
	for _, o := range f.objects {
		values = append(values, o.value)
	}
	return values, nil
}

// Run lists and watches until ctx ends. Afterwards the Feed is empty, and can run
// again.
func (f *Feed[T]) Run(ctx context.Context) {
	defer f.replace(nil)
	defer f.line.drop()
	pause := retry()
	version := ""
	for ctx.Err() == nil {
		if version == "" {
			var err error
			if version, err = f.list(ctx); err != nil {
				f.note(ctx, err)
				pauseAfter(ctx, err, &pause)
				continue
			}
		}
		began := time.Now()
		last, err := f.watch(ctx, version)
		if err == nil || time.Since(began) > maxRetry {
			pause = retry()
		}
		switch {
		case err == nil:
			version = last
		case expired(err), errors.Is(err, collector.ErrDecode):
			// What is kept may be wrong from now on.
			f.note(ctx, err)
			version = ""
			if !expired(err) {
				pauseAfter(ctx, err, &pause)
			}
		case errors.Is(err, errEnded):
			version = last
			pauseAfter(ctx, err, &pause)
		default:
			f.note(ctx, err)
			version = last
			pauseAfter(ctx, err, &pause)
		}
	}
}

// retry are the pauses between attempts.
func retry() wait.Backoff {
	return wait.Backoff{Duration: firstRetry, Factor: 2, Cap: maxRetry, Steps: maxRetrySteps, Jitter: retryJitter}
}

// pauseAfter waits before the next attempt, and for as long as the API server asks.
func pauseAfter(ctx context.Context, err error, pause *wait.Backoff) {
	d := pause.Step()
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		d = min(max(d, time.Duration(seconds)*time.Second), maxDelay)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

func (f *Feed[T]) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// replace takes what a complete list has.
func (f *Feed[T]) replace(objects map[string]digested[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects, f.err = objects, nil
}

// request asks for what the query selects. The answer comes as it is.
func (f *Feed[T]) request(ctx context.Context, parameters map[string]string) (io.ReadCloser, error) {
	r := f.line.client.Get().Namespace(f.query.Namespace).Resource(f.resource).
		SetHeader("Accept", runtime.ContentTypeProtobuf).MaxRetries(0)
	for name, value := range map[string]string{"labelSelector": f.query.Labels, "fieldSelector": f.query.Fields} {
		if value != "" {
			r.Param(name, value)
		}
	}
	for name, value := range parameters {
		r.Param(name, value)
	}
	return r.Stream(ctx)
}

// list reads all pages, and returns from where to watch.
func (f *Feed[T]) list(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	defer f.line.drop()
	var s scratch
	objects := make(map[string]digested[T], len(f.objects))
	for token := ""; ; {
		p, err := f.page(ctx, token, &s, objects)
		if err != nil {
			return "", err
		}
		if version == "" {
			version = p.version
		}
		if token = p.next; token == "" {
			f.replace(objects)
			return version, nil
		}
	}
}

func (f *Feed[T]) page(ctx context.Context, token string, s *scratch, objects map[string]digested[T]) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	parameters := map[string]string{"limit": strconv.Itoa(pageSize)}
	if token != "" {
		parameters["continue"] = token
	}
	body, err := f.request(ctx, parameters)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = body.Close() }()
	p, err := readList(body, s, func(o Object) error { return f.take(o, objects) })
	switch {
	case err == nil, errors.Is(err, collector.ErrDecode):
		return p, err
	case ctx.Err() != nil:
		return p, fmt.Errorf("a page within %s: %w", pageTimeout, ctx.Err())
	default:
		return p, fmt.Errorf("%w: the answer broke off: %w", collector.ErrUnavailable, err)
	}
}

// take digests an object of a list, unless it is as it was.
func (f *Feed[T]) take(o Object, objects map[string]digested[T]) error {
	key, err := o.key()
	if err != nil {
		return err
	}
	if known, ok := f.objects[key]; ok && known.state == o.state {
		objects[key] = known
		return nil
	}
	value, err := f.digest(o)
	if err != nil {
		return err
	}
	objects[key] = digested[T]{o.state, value}
	return nil
}

// watch applies what changes after version, for a while. It returns what it knows of
// in the end, with no error where it is to be continued at once.
func (f *Feed[T]) watch(parent context.Context, version string) (last string, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	slow := time.AfterFunc(openTimeout, func() { cancel(errNoAnswer) })
	defer slow.Stop()
	lasts := watchLeast + rand.N(watchLeast)
	body, err := f.request(ctx, map[string]string{
		"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version,
		"timeoutSeconds": strconv.Itoa(int(lasts / time.Second)),
	})
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoAnswer) {
			err = errNoAnswer
		}
		return version, err
	}
	defer f.line.drop()
	defer func() { _ = body.Close() }()
	slow.Stop()
	f.note(parent, nil)
	return f.follow(ctx, body, version, func() { cancel(errIdle) })
}

// follow reads events until they end, or until idle has been called.
func (f *Feed[T]) follow(ctx context.Context, body io.ReadCloser, version string, idle func()) (last string, err error) {
	began := time.Now()
	timer := time.AfterFunc(silence, idle)
	defer timer.Stop()
	frames := framer.NewLengthDelimitedFrameReader(body)
	var s scratch
	last = version
	for told, carried := false, false; ; {
		kind, version, err := nextEvent(frames, &s, f.apply)
		switch {
		case errors.Is(context.Cause(ctx), errIdle):
			return last, nil
		case errors.Is(err, collector.ErrDecode), isStatus(err):
			return last, err
		case err != nil && !told && time.Since(began) < tooShort:
			return last, errTooShort
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return last, fmt.Errorf("%w: %w", errEnded, err)
		}
		last, told = version, true
		switch {
		case kind != watch.Bookmark:
			carried = true
			timer.Reset(dropAfter)
		case !carried:
			timer.Reset(silence)
		}
	}
}

// isStatus tells whether the API server itself has said what is wrong.
func isStatus(err error) bool {
	_, ok := errors.AsType[*apierrors.StatusError](err)
	return ok
}

// nextEvent reads one event, and has it applied before the buffer is cleared.
func nextEvent(frames io.Reader, s *scratch, apply func(event) error) (kind watch.EventType, version string, err error) {
	defer s.clear()
	frame, whole, err := s.frame(frames)
	if err != nil {
		return "", "", err
	}
	e, err := newEvent(frame, whole)
	if err != nil {
		return "", "", err
	}
	return e.kind, e.object.version, apply(e)
}

func (f *Feed[T]) apply(e event) error {
	if e.kind == watch.Error {
		return apierrors.FromObject(e.status)
	}
	if e.object.version == "" {
		return fmt.Errorf("%w: an event without a resource version", errWire)
	}
	if e.kind == watch.Bookmark {
		return nil
	}
	key, err := e.object.key()
	if err != nil {
		return err
	}
	switch e.kind {
	case watch.Added, watch.Modified:
		value, err := f.digest(e.object)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.objects[key] = digested[T]{e.object.state, value}
	case watch.Deleted:
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.objects, key)
	default:
		return fmt.Errorf("%w: an event of the kind %.20q", errWire, e.kind)
	}
	return nil
}
