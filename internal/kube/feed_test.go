package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/internal/kube/kubetest"
)

// pipes is a network without a kernel, so that a test can make time pass.
type pipes struct {
	dialled chan net.Conn
	closed  chan struct{}
	once    sync.Once
	number  atomic.Int64
}

// pipe is a connection that has an address of its own.
type pipe struct {
	net.Conn
	number int64
}

func (p pipe) RemoteAddr() net.Addr { return &net.TCPAddr{Port: int(p.number)} }

func newPipes() *pipes { return &pipes{dialled: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialled:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.dialled <- pipe{theirs, p.number.Add(1)}:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// followed is a Feed of an API server, in a bubble of synctest.
type followed struct {
	*Feed[string]
	*kubetest.API
	t        *testing.T
	digested *atomic.Int64
	open     *atomic.Int64 // connections
	stop     func()
}

const tlsSecrets = "type=kubernetes.io/tls"

// describe is a digest that tells everything.
func describe(o Object) (string, error) {
	if o.Bytes == nil {
		return o.Namespace + "/" + o.Name + " too large", nil
	}
	var s corev1.Secret
	if err := s.Unmarshal(o.Bytes); err != nil {
		return "", errWire
	}
	return fmt.Sprintf("%s/%s %s %t", s.Namespace, s.Name, s.Data["value"], o.HasAnnotation("noted")), nil
}

// follow starts a Feed. It stops with the test.
func follow(t *testing.T, api *kubetest.API) *followed {
	t.Helper()
	network := newPipes()
	server := httptest.NewUnstartedServer(api)
	_ = server.Listener.Close()
	server.Listener = network
	f := &followed{API: api, t: t, digested: &atomic.Int64{}, open: &atomic.Int64{}}
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			f.open.Add(1)
		case http.StateClosed:
			f.open.Add(-1)
		}
	}
	server.StartTLS()
	clients, err := NewClients(&rest.Config{
		Host: "https://127.0.0.1", Dial: network.dial, QPS: -1, UserAgent: "test",
		TLSClientConfig: rest.TLSClientConfig{Insecure: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Feed = NewFeed(clients.CoreLine, "secrets", Query{Fields: tlsSecrets}, func(o Object) (string, error) {
		f.digested.Add(1)
		return describe(o)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	f.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(func() {
		f.stop()
		server.Close()
	})
	return f
}

// has fails the test unless the Feed holds just these.
func (f *followed) has(want ...string) {
	f.t.Helper()
	synctest.Wait()
	got, err := f.List()
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		f.t.Fatalf("got %q, want %q", got, want)
	}
}

// fails fails the test unless the Feed does, for this reason.
func (f *followed) fails(want collector.Reason) {
	f.t.Helper()
	synctest.Wait()
	if got, err := f.List(); err == nil || collector.ReasonOf(err) != want {
		f.t.Fatalf("%v and %v: %s is not %s", got, err, collector.ReasonOf(err), want)
	}
}

// pass lets time pass.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
	synctest.Wait()
}

func secret(namespace, name, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"a": "b"}},
		Data:       map[string][]byte{"value": []byte(value)}, Type: corev1.SecretTypeTLS,
	}
}

// many are the Secrets a/s000 and so on, and how they are described.
func many(n int) (secrets []*corev1.Secret, described []string) {
	for i := range n {
		name := fmt.Sprintf("s%03d", i)
		secrets = append(secrets, secret("a", name, "v"))
		described = append(described, "a/"+name+" v false")
	}
	return secrets, described
}

func TestFeedListsPagesAndWatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := kubetest.New()
		secrets, described := many(2*pageSize + 1)
		api.Put(secrets...)
		f := follow(t, api)
		f.has(described...)
		if !f.Synced() {
			t.Error("not complete")
		}
		requests := api.Requests()
		if len(requests) != 4 {
			t.Fatalf("%d requests: %+v", len(requests), requests)
		}
		for i, r := range requests {
			if r.Path != "/api/v1/secrets" || r.FieldSelector != tlsSecrets || r.Accept != "application/vnd.kubernetes.protobuf" {
				t.Errorf("request %d: %+v", i, r)
			}
			if r.Watch != (i == 3) || !r.Watch && (r.Limit != strconv.Itoa(pageSize) || r.Version != "" || (r.Continue != "") != (i > 0)) {
				t.Errorf("request %d: %+v", i, r)
			}
			if (r.Remote == requests[0].Remote) != !r.Watch {
				t.Errorf("request %d has another connection: %+v", i, r)
			}
		}
		if w := requests[3]; w.Version != strconv.Itoa(len(secrets)+1) || w.Bookmarks != "true" || w.Timeout == "" {
			t.Errorf("watch: %+v", w)
		}
	})
}

func TestFeedFollowsChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, kubetest.New())
		f.has()
		noted := secret("a", "one", "1")
		noted.Annotations = map[string]string{"other": "x", "noted": ""}
		f.Put(noted, secret("b", "two", "2"))
		f.has("a/one 1 true", "b/two 2 false")
		f.Put(secret("b", "two", "3"))
		f.has("a/one 1 true", "b/two 3 false")
		f.Delete("a", "one")
		f.has("b/two 3 false")
		f.Bookmark()
		f.has("b/two 3 false")

		f.stop()
		if f.Synced() {
			t.Error("complete after its end")
		}
		f.fails(collector.ReasonUnavailable)
		if n := f.open.Load(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// TestFeedDropsConnections proves that no connection stays through which an object
// came, and that a watch goes on from where it was.
func TestFeedDropsConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, kubetest.New())
		f.Put(secret("a", "one", "1"))
		f.has("a/one 1 false")
		pass(t, dropAfter/2)
		f.Put(secret("a", "one", "2"))
		pass(t, dropAfter-time.Millisecond)
		before := f.Requests()
		if len(before) != 2 {
			t.Fatalf("%d requests in the midst of events", len(before))
		}
		pass(t, 2*time.Millisecond)
		after := f.Requests()
		if len(after) != 3 || after[2].Remote == after[1].Remote || after[2].Version != "3" {
			t.Fatalf("after events: %+v", after)
		}
		if n := f.open.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		f.has("a/one 2 false")
		// Bookmarks carry nothing.
		for range 5 {
			f.Bookmark()
			pass(t, time.Minute)
		}
		if n := len(f.Requests()); n != 3 {
			t.Errorf("%d requests", n)
		}
		pass(t, silence+time.Second)
		if n := len(f.Requests()); n != 4 {
			t.Errorf("%d requests after silence", n)
		}
		f.has("a/one 2 false")
	})
}

// TestFeedListsAnew has the API server forget where a watch was.
func TestFeedListsAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, kubetest.New())
		f.Put(secret("a", "one", "1"), secret("a", "two", "2"), secret("a", "three", "3"))
		f.has("a/one 1 false", "a/three 3 false", "a/two 2 false")
		pass(t, 2*dropAfter)
		before := f.digested.Load()
		f.Drop()
		f.Delete("a", "one")
		f.Put(secret("a", "two", "changed"))
		f.Forget()
		pass(t, maxRetry)
		f.has("a/three 3 false", "a/two changed false")
		if n := f.digested.Load() - before; n != 1 {
			t.Errorf("%d objects were digested; one has changed", n)
		}

		// The same, said by an event.
		f.Tell(watch.Error, kubetest.Status(http.StatusGone, metav1.StatusReasonExpired))
		pass(t, maxRetry)
		f.has("a/three 3 false", "a/two changed false")
	})
}

// TestFeedNeverPublishesAPart has each page fail in each way.
func TestFeedNeverPublishesAPart(t *testing.T) {
	t.Parallel()
	cut := func(at int) kubetest.Answer {
		whole := kubetest.Encode(&corev1.SecretList{
			ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "on"},
			Items:    []corev1.Secret{*secret("x", "part", "1"), *secret("x", "part-2", "2")},
		})
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:len(whole)*at/10]) }
	}
	slow := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, magic)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	for name, c := range map[string]struct {
		answer kubetest.Answer
		reason collector.Reason
	}{
		"expired":       {kubetest.Refuse(http.StatusGone, metav1.StatusReasonExpired), collector.ReasonUnavailable},
		"forbidden":     {kubetest.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden), collector.ReasonForbidden},
		"throttled":     {kubetest.Refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests), collector.ReasonThrottled},
		"internal":      {kubetest.Refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError), collector.ReasonUnavailable},
		"nothing":       {cut(0), collector.ReasonUnavailable},
		"one tenth":     {cut(1), collector.ReasonUnavailable},
		"half":          {cut(5), collector.ReasonUnavailable},
		"nine tenths":   {cut(9), collector.ReasonUnavailable},
		"slow":          {slow, collector.ReasonTimeout},
		"something":     {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, collector.ReasonDecode},
		"another magic": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, magic+"\x12\x03\x0bxx") }, collector.ReasonDecode},
	} {
		for number := range 3 {
			t.Run(fmt.Sprintf("%s, page %d", name, number), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { failPage(t, c.answer, number, c.reason) })
			})
		}
	}
}

func failPage(t *testing.T, answer kubetest.Answer, number int, reason collector.Reason) {
	api := kubetest.New()
	secrets, described := many(2*pageSize + 10)
	api.Put(secrets...)
	var failing atomic.Bool
	failing.Store(true)
	pages := 0 // one request at a time
	api.Intercept = func(r kubetest.Request) kubetest.Answer {
		if r.Watch {
			return nil
		}
		if r.Continue == "" {
			pages = 0
		}
		if pages++; failing.Load() && pages == number+1 {
			return answer
		}
		return nil
	}
	f := follow(t, api)
	pass(t, pageTimeout+2*maxRetry)
	f.fails(reason)
	if f.Synced() {
		t.Error("a part is complete")
	}
	failing.Store(false)
	pass(t, pageTimeout+2*maxRetry)
	f.has(described...)

	// The old list stays until there is a new one.
	failing.Store(true)
	api.Drop()
	api.Delete("a", "s000")
	api.Put(secret("b", "new", "1"))
	api.Forget()
	pass(t, pageTimeout+2*maxRetry)
	f.fails(reason)
	f.mu.Lock()
	kept := len(f.objects)
	_, old := f.objects["a/s000"]
	f.mu.Unlock()
	if kept != len(secrets) || !old {
		t.Errorf("%d of %d are kept", kept, len(secrets))
	}
	failing.Store(false)
	pass(t, pageTimeout+2*maxRetry)
	f.has(append(described[1:], "b/new 1 false")...)
}

// TestFeedRefused has the API server refuse what it granted before.
func TestFeedRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := kubetest.New()
		api.Put(secret("a", "one", "1"))
		var refused atomic.Bool
		api.Intercept = func(kubetest.Request) kubetest.Answer {
			if refused.Load() {
				return kubetest.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden)
			}
			return nil
		}
		f := follow(t, api)
		f.has("a/one 1 false")
		refused.Store(true)
		api.Drop()
		pass(t, 10*time.Second)
		f.fails(collector.ReasonForbidden)
		if !f.Refused() {
			t.Error("not refused")
		}
		before := len(api.Requests())
		pass(t, time.Minute)
		if n := len(api.Requests()) - before; n < 8 || n > 15 {
			t.Errorf("%d requests in a minute", n)
		}
		refused.Store(false)
		pass(t, 2*maxRetry)
		f.has("a/one 1 false")
		if f.Refused() {
			t.Error("still refused")
		}
	})
}

// stub is a Watch that is as it is.
type stub struct{ synced, refused bool }

func (stub) Run(ctx context.Context) { <-ctx.Done() }
func (s stub) Synced() bool          { return s.synced }
func (s stub) Refused() bool         { return s.refused }

// TestRunWatchesWaits for what is allowed, and not for longer than its patience.
func TestRunWatchesWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		watches []Watch
		want    time.Duration
	}{
		"complete":     {[]Watch{stub{synced: true}, stub{synced: true}}, 0},
		"refused":      {[]Watch{stub{synced: true}, stub{refused: true}}, 0},
		"not complete": {[]Watch{stub{synced: true}, stub{}}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				RunWatches(ctx, c.watches, time.Minute, func() {
					if took := time.Since(began); took != c.want {
						t.Errorf("up after %s", took)
					}
					cancel()
				})
			})
		})
	}
}

// TestFeedWatchAnswers has watches answer wrongly, and then rightly.
func TestFeedWatchAnswers(t *testing.T) {
	t.Parallel()
	begun := func(w http.ResponseWriter, content []byte) {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(content)
		_ = http.NewResponseController(w).Flush()
	}
	sends := func(content []byte) kubetest.Answer {
		return func(w http.ResponseWriter, r *http.Request) {
			begun(w, content)
			<-r.Context().Done()
		}
	}
	ends := func(content []byte) kubetest.Answer {
		return func(w http.ResponseWriter, _ *http.Request) { begun(w, content) }
	}
	one := secret("a", "one", "broken")
	one.ResourceVersion = "7"
	good := kubetest.Frame(watch.Modified, one)
	nameless := kubetest.Frame(watch.Modified, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7"}})
	for name, c := range map[string]struct {
		answer kubetest.Answer
		reason collector.Reason
	}{
		"no answer":        {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, collector.ReasonTimeout},
		"ends at once":     {ends(nil), collector.ReasonUnavailable},
		"half a frame":     {ends(good[:len(good)/2]), collector.ReasonUnavailable},
		"garbage":          {sends([]byte{0, 0, 0, 3, 1, 2, 3}), collector.ReasonDecode},
		"text":             {sends([]byte("{\"type\":")), ""},
		"without a name":   {sends(nameless), collector.ReasonDecode},
		"another kind":     {sends(kubetest.Frame("RENAMED", one)), collector.ReasonDecode},
		"an error":         {sends(kubetest.Frame(watch.Error, kubetest.Status(500, metav1.StatusReasonInternalError))), collector.ReasonUnavailable},
		"without an error": {sends(kubetest.Frame(watch.Error, one)[:8]), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := kubetest.New()
				api.Put(secret("a", "one", "1"))
				var failing atomic.Bool
				failing.Store(true)
				api.Intercept = func(r kubetest.Request) kubetest.Answer {
					if r.Watch && failing.Load() {
						return c.answer
					}
					return nil
				}
				f := follow(t, api)
				if c.reason != "" {
					pass(t, openTimeout+time.Millisecond)
					f.fails(c.reason)
				}
				pass(t, time.Minute)
				if n := len(api.Requests()); n > 60 {
					t.Errorf("%d requests", n)
				}
				failing.Store(false)
				pass(t, silence+openTimeout+maxRetry)
				f.has("a/one 1 false")
				f.Put(secret("a", "one", "2"))
				f.has("a/one 2 false")
			})
		})
	}
}

// TestFeedObjectTooLarge skips an object, in a list and in a watch, and tells of it.
func TestFeedObjectTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		api := kubetest.New()
		large := strings.Repeat("x", MaxObject)
		api.Put(secret("a", "one", "1"), secret("a", "two", large), secret("b", "three", "3"))
		f := follow(t, api)
		f.has("a/one 1 false", "a/two too large", "b/three 3 false")
		f.Put(secret("a", "one", large), secret("b", "three", large+large+large), secret("c", "four", "4"))
		f.has("a/one too large", "a/two too large", "b/three too large", "c/four 4 false")
		f.Put(secret("a", "one", "1"))
		f.has("a/one 1 false", "a/two too large", "b/three too large", "c/four 4 false")
	})
}

// TestFeedClearsTheBuffer looks into the buffer between two objects.
func TestFeedClearsTheBuffer(t *testing.T) {
	t.Parallel()
	list := &corev1.SecretList{ListMeta: metav1.ListMeta{ResourceVersion: "9"}}
	for i := range 5 {
		list.Items = append(list.Items, *secret("a", fmt.Sprint(i), strings.Repeat("x", 3*firstBuffer*(1+i%3))))
	}
	var s scratch
	empty := func() bool { return !slices.ContainsFunc(s.buffer, func(b byte) bool { return b != 0 }) }
	items := 0
	_, err := readList(strings.NewReader(string(kubetest.Encode(list))), &s, func(o Object) error {
		items++
		if tail := s.buffer[len(o.Bytes):]; slices.Contains(tail, 'x') {
			t.Error("something is left of another object")
		}
		return nil
	})
	if err != nil || items != 5 || !empty() {
		t.Errorf("%v, %d items; cleared: %t", err, items, empty())
	}
	frames := strings.NewReader(string(kubetest.Frame(watch.Added, secret("a", "b", strings.Repeat("x", 3*firstBuffer)))))
	if _, _, err := nextEvent(&oneFrame{frames}, &s, func(event) error { return errors.New("refused") }); err == nil || !empty() {
		t.Errorf("%v; cleared: %t", err, empty())
	}
}
