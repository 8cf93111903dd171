// Package kubetest stands in for the API server where a test needs one that answers
// wrongly, late or about ten thousand Secrets. It speaks the binary format, as
// Kubernetes itself encodes it.
package kubetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/framer"
	"k8s.io/apimachinery/pkg/watch"
)

// Request is what was asked for.
type Request struct {
	Path, FieldSelector, LabelSelector, Accept string
	Watch                                      bool
	Limit, Continue, Version                   string
	Bookmarks, Timeout                         string
	Remote                                     string
}

// Answer takes the place of that of the API server where it is not nil.
type Answer http.HandlerFunc

// API is an API server that has Secrets.
type API struct {
	// Intercept is asked first where it is not nil. It is called by several goroutines.
	Intercept func(Request) Answer

	mu       sync.Mutex
	revision int
	oldest   int // the first revision from which a watch can begin
	secrets  map[string]*corev1.Secret
	events   []event
	changed  chan struct{} // closed when there are more events
	pages    map[string]snapshot
	requests []Request
	drop     chan struct{} // closed to end all watches
}

type event struct {
	revision int
	kind     watch.EventType
	object   runtime.Object
}

type snapshot struct {
	revision int
	rest     []*corev1.Secret
}

// New makes an API server without Secrets.
func New() *API {
	return &API{
		revision: 1, secrets: make(map[string]*corev1.Secret), pages: make(map[string]snapshot),
		changed: make(chan struct{}), drop: make(chan struct{}),
	}
}

// Put creates or changes Secrets.
func (a *API) Put(secrets ...*corev1.Secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range secrets {
		key := s.Namespace + "/" + s.Name
		old, known := a.secrets[key]
		kept := *s
		a.revision++
		kept.ResourceVersion = strconv.Itoa(a.revision)
		kept.UID = types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", a.revision))
		kind := watch.Added
		if known {
			kept.UID, kind = old.UID, watch.Modified
		}
		a.secrets[key] = &kept
		a.tell(kind, &kept)
	}
}

// Delete deletes a Secret.
func (a *API) Delete(namespace, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := namespace + "/" + name
	gone := *a.secrets[key]
	a.revision++
	gone.ResourceVersion = strconv.Itoa(a.revision)
	delete(a.secrets, key)
	a.tell(watch.Deleted, &gone)
}

// Bookmark tells all watches the revision.
func (a *API) Bookmark() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tell(watch.Bookmark, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(a.revision)}})
}

// Tell sends all watches an event.
func (a *API) Tell(kind watch.EventType, object runtime.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tell(kind, object)
}

func (a *API) tell(kind watch.EventType, object runtime.Object) {
	a.events = append(a.events, event{a.revision, kind, object})
	close(a.changed)
	a.changed = make(chan struct{})
}

// Forget has no watch begin from now or earlier, and no page follow.
func (a *API) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revision++
	a.oldest = a.revision
	a.events = nil
	clear(a.pages)
}

// Drop ends all watches.
func (a *API) Drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.drop)
	a.drop = make(chan struct{})
}

// Requests are those so far.
func (a *API) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	request := Request{
		Path: r.URL.Path, FieldSelector: q.Get("fieldSelector"), LabelSelector: q.Get("labelSelector"),
		Accept: r.Header.Get("Accept"), Watch: q.Get("watch") == "true",
		Limit: q.Get("limit"), Continue: q.Get("continue"), Version: q.Get("resourceVersion"),
		Bookmarks: q.Get("allowWatchBookmarks"), Timeout: q.Get("timeoutSeconds"), Remote: r.RemoteAddr,
	}
	a.mu.Lock()
	a.requests = append(a.requests, request)
	a.mu.Unlock()
	if a.Intercept != nil {
		if answer := a.Intercept(request); answer != nil {
			answer(w, r)
			return
		}
	}
	if request.Watch {
		a.watch(w, r, request)
		return
	}
	a.list(w, request)
}

// Refuse is an answer with a status.
func Refuse(code int, reason metav1.StatusReason) Answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(Status(code, reason))
	}
}

// Status is what the API server says of a request that it refuses.
func Status(code int, reason metav1.StatusReason) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "so it is",
	}
}

// list answers one page of a list.
func (a *API) list(w http.ResponseWriter, request Request) {
	a.mu.Lock()
	s, known := a.pages[request.Continue]
	if request.Continue == "" {
		all := slices.SortedFunc(maps.Values(a.secrets), func(x, y *corev1.Secret) int {
			return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
		})
		s, known = snapshot{a.revision, all}, true
	}
	limit, err := strconv.Atoi(request.Limit)
	if err != nil || limit > len(s.rest) {
		limit = len(s.rest)
	}
	list := &corev1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.revision)}}
	if limit < len(s.rest) {
		list.Continue = fmt.Sprintf("%d-%d", s.revision, len(s.rest))
		a.pages[list.Continue] = snapshot{s.revision, s.rest[limit:]}
	}
	a.mu.Unlock()
	if !known {
		Refuse(http.StatusGone, metav1.StatusReasonExpired)(w, nil)
		return
	}
	for _, secret := range s.rest[:limit] {
		list.Items = append(list.Items, *secret)
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	_, _ = w.Write(Encode(list))
}

// watch answers events until the client goes away.
func (a *API) watch(w http.ResponseWriter, r *http.Request, request Request) {
	from, err := strconv.Atoi(request.Version)
	a.mu.Lock()
	oldest, drop := a.oldest, a.drop
	a.mu.Unlock()
	if err != nil || from < oldest {
		Refuse(http.StatusGone, metav1.StatusReasonExpired)(w, nil)
		return
	}
	seconds, _ := strconv.Atoi(request.Timeout)
	timeout := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timeout.Stop()
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for sent, fresh := 0, false; ; fresh = true {
		a.mu.Lock()
		sent = min(sent, len(a.events))
		news, changed := slices.Clone(a.events[sent:]), a.changed
		a.mu.Unlock()
		for _, e := range news {
			sent++
			// What has been told does not count; a bookmark repeats it.
			if fresh || e.revision > from {
				_, _ = w.Write(Frame(e.kind, e.object))
			}
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-changed:
		case <-drop:
			return
		case <-timeout.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// scheme knows the types that are sent.
var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	if err := corev1.AddToScheme(s); err != nil {
		panic(err)
	}
	return s
})

// Encode is an object as the API server answers it.
func Encode(object runtime.Object) []byte {
	s := scheme()
	kinds, _, err := s.ObjectKinds(object)
	if err != nil {
		panic(err)
	}
	named := object.DeepCopyObject()
	named.GetObjectKind().SetGroupVersionKind(kinds[0])
	var b bytes.Buffer
	if err := protobuf.NewSerializer(s, s).Encode(named, &b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Frame is an event of a watch as the API server sends it.
func Frame(kind watch.EventType, object runtime.Object) []byte {
	message := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: Encode(object)}}
	event, err := message.Marshal()
	if err != nil {
		panic(err)
	}
	var framed bytes.Buffer
	if _, err := framer.NewLengthDelimitedFrameWriter(&framed).Write(event); err != nil {
		panic(err)
	}
	return framed.Bytes()
}
