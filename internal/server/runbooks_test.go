package server_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/docs/runbooks"
	"ack-exporter/internal/server"
)

// pages are runbooks made for the test.
func pages() fstest.MapFS {
	files := make(fstest.MapFS)
	for name, content := range map[string]string{
		"README.md": "# The runbooks\n\nBegin with [full](ACKFull.md).\n",
		"ACKFull.md": `# The table is ` + "`full`" + ` & more

## What to look at

| metric | meaning |
|---|---|
| a | b |

See [slow](ACKSlow.md), [its cause](./ACKSlow.md#the-cause), [here](#what-to-look-at), [the index](README.md),
[its tools](README.md#tools), [metrics](../metrics.md), [**no** page](ACKGone.md), [a tool](/metrics.md), [the kernel](https://docs.kernel.org/x.md).

<script>alert(1)</script> [x](javascript:alert(1))
`,
		"ACKSlow.md": "# ACKSlow\n\n## The cause\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return files
}

func runbookHandler(t *testing.T) http.Handler {
	t.Helper()
	return handler(t, func(o *server.Options) { o.Runbooks = pages() })
}

func response(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
	return w
}

func TestRunbookPage(t *testing.T) {
	t.Parallel()
	w := response(t, runbookHandler(t), "/runbooks/ACKFull")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if csp := w.Header().Get("Content-Security-Policy"); csp != "default-src 'none'; style-src 'unsafe-inline'" {
		t.Errorf("policy %q", csp)
	}
	body := w.Body.String()
	for _, part := range []string{
		"<title>The table is full &amp; more</title>",
		`<h2 id="what-to-look-at">What to look at</h2>`,
		"<td>a</td>",
		`<a href="ACKSlow">slow</a>`,
		`<a href="ACKSlow#the-cause">its cause</a>`,
		`<a href="#what-to-look-at">here</a>`,
		`<a href="./">the index</a>`,
		`<a href="./#tools">its tools</a>`,
		`<a href="https://docs.kernel.org/x.md">the kernel</a>`,
		// Files that are not served are no links.
		"</a>, metrics, <strong>no</strong> page, a tool, <a",
	} {
		if !strings.Contains(body, part) {
			t.Errorf("%s is missing from %s", part, body)
		}
	}
	for _, part := range []string{"<script", "javascript:"} {
		if strings.Contains(body, part) {
			t.Errorf("%s is in %s", part, body)
		}
	}
}

func TestRunbookSource(t *testing.T) {
	t.Parallel()
	w := response(t, runbookHandler(t), "/runbooks/ACKSlow.md")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/markdown; charset=utf-8" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w.Body.String() != "# ACKSlow\n\n## The cause\n" {
		t.Errorf("got %q", w.Body)
	}
}

func TestRunbookIndex(t *testing.T) {
	t.Parallel()
	h := runbookHandler(t)
	status, body := get(t, h, "/runbooks/")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	for _, part := range []string{
		"<title>The runbooks</title>",
		`Begin with <a href="ACKFull">full</a>`,
		`<li><a href="ACKFull">ACKFull</a>: The table is <code>full</code> &amp; more</li>`,
		`<li><a href="ACKSlow">ACKSlow</a></li>`,
	} {
		if !strings.Contains(body, part) {
			t.Errorf("%s is missing from %s", part, body)
		}
	}
	if w := response(t, h, "/runbooks"); w.Header().Get("Location") != "/runbooks/" {
		t.Errorf("without the slash: %d %v", w.Code, w.Header())
	}
}

func TestRunbooksThatAreNotThere(t *testing.T) {
	t.Parallel()
	h := runbookHandler(t)
	for _, path := range []string{
		"README", "README.md", "ACKGone", "ACKGone.md", "ackfull", "ACKFull/", "ACKFull.md.md", ".md", "..", "%2e%2e/server.go", "a/b", "ACKFull%00",
	} {
		w := response(t, h, "/runbooks/"+path)
		if w.Code != http.StatusNotFound && w.Header().Get("Location") == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestRunbooksAreLinkedOrOff(t *testing.T) {
	t.Parallel()
	const link = `href="/runbooks/"`
	if _, body := get(t, runbookHandler(t), "/"); !strings.Contains(body, link) {
		t.Errorf("no link in %s", body)
	}
	off := handler(t, func(*server.Options) {})
	if _, body := get(t, off, "/"); strings.Contains(body, link) {
		t.Errorf("a link to nothing in %s", body)
	}
	if status, _ := get(t, off, "/runbooks/"); status != http.StatusNotFound {
		t.Errorf("switched off, and answers %d", status)
	}
}

func TestRunbooksTakeTheirPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{"/runbooks": true, "/runbooks/": true, "/runbooks/metrics": true, "/runbooksx": false, "/": false} {
		_, err := server.NewHandler(server.Options{
			MetricsPath: path, Runbooks: pages(), Registry: prometheus.NewRegistry(), Log: quiet,
		})
		if taken := err != nil && strings.Contains(err.Error(), "is taken"); taken != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	handler(t, func(o *server.Options) { o.MetricsPath = "/runbooks/" })
}

// TestEmbeddedRunbooks follows every link of the runbooks that are served.
func TestEmbeddedRunbooks(t *testing.T) {
	t.Parallel()
	h := handler(t, func(o *server.Options) { o.Runbooks = runbooks.Pages() })
	href := regexp.MustCompile(`href="([^":#]*)(?:#([^"]*))?"`)
	seen := map[string]bool{"": true}
	for queue := []string{""}; len(queue) > 0; queue = queue[1:] {
		status, body := get(t, h, "/runbooks/"+queue[0])
		if status != http.StatusOK {
			t.Errorf("%q answers %d", queue[0], status)
		}
		for _, m := range href.FindAllStringSubmatch(body, -1) {
			page := strings.TrimPrefix(m[1], "./")
			if m[1] != "" && !seen[page] {
				seen[page] = true
				queue = append(queue, page)
			}
			if m[2] == "" {
				continue
			}
			target := body
			if m[1] != "" {
				_, target = get(t, h, "/runbooks/"+page)
			}
			if !strings.Contains(target, `id="`+m[2]+`"`) {
				t.Errorf("%q links to %s, which is not there", queue[0], m[0])
			}
		}
	}
}
