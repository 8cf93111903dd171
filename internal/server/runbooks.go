package server

import (
	"bytes"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

const (
	runbooksPath = "/runbooks/"
	// introduction is the file that the index begins with; it is no page.
	introduction = "README.md"

	runbookStyle = `
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.5em 0 .5em; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; background: rgba(127, 127, 127, .15); border-radius: 3px; }
code { padding: .1em .3em; overflow-wrap: anywhere; }
pre { padding: .8em; overflow-x: auto; }
pre code { padding: 0; background: none; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid rgba(127, 127, 127, .5); padding: .3em .6em; text-align: left; vertical-align: top; }
`
)

// runbooks serves Markdown files as HTML pages. A page is rendered when it is
// asked for: that is rare, and pages that are kept would take memory all the time.
type runbooks struct {
	files fs.FS
}

func (rb runbooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, runbooksPath)
	if name == "" {
		rb.serveIndex(w)
		return
	}
	file := strings.TrimSuffix(name, ".md") + ".md"
	source, err := fs.ReadFile(rb.files, file)
	if err != nil || file == introduction {
		http.NotFound(w, r)
		return
	}
	if name == file {
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = w.Write(source) // An error means that the client has gone.
		return
	}
	rb.serveHTML(w, source, `<p><a href="./">All runbooks</a></p>`)
}

// serveIndex lists all pages with their headings, behind the introduction.
func (rb runbooks) serveIndex(w http.ResponseWriter) {
	files, err := fs.Glob(rb.files, "*.md")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var index bytes.Buffer
	var list strings.Builder
	for _, file := range files {
		source, err := fs.ReadFile(rb.files, file)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if file == introduction {
			index.Write(source)
			continue
		}
		name := strings.TrimSuffix(file, ".md")
		fmt.Fprintf(&list, "- [%s](%s)", name, url.PathEscape(file))
		if h := heading(source); h != name {
			fmt.Fprintf(&list, ": %s", h)
		}
		list.WriteByte('\n')
	}
	fmt.Fprintf(&index, "\n\n## Pages\n\n%s", &list)
	rb.serveHTML(w, index.Bytes(), "")
}

// heading is the first heading of a page, as Markdown.
func heading(source []byte) string {
	for line := range strings.Lines(string(source)) {
		if h, ok := strings.CutPrefix(line, "# "); ok {
			return strings.TrimSpace(h)
		}
	}
	return ""
}

// serveHTML renders source; foot is HTML that stands below it.
func (rb runbooks) serveHTML(w http.ResponseWriter, source []byte, foot string) {
	// Raw HTML is left out where nothing is said about it.
	markdown := goldmark.New(
		goldmark.WithExtensions(extension.GFM),
		goldmark.WithParserOptions(
			parser.WithAutoHeadingID(),
			parser.WithASTTransformers(util.Prioritized(rb, 0)),
		),
	)
	var body bytes.Buffer
	if err := markdown.Convert(source, &body); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	title := html.EscapeString(strings.ReplaceAll(heading(source), "`", ""))
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<style>%s</style>\n</head>\n"+
		"<body>\n%s%s</body>\n</html>\n", title, runbookStyle, &body, foot)
}

// Transform implements parser.ASTTransformer: links between the files become
// links between the pages.
func (rb runbooks) Transform(document *ast.Document, _ text.Reader, _ parser.Context) {
	var links []*ast.Link
	// A walk fails only where its function does.
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering {
			links = append(links, link)
		}
		return ast.WalkContinue, nil
	})
	for _, link := range links {
		if destination, ok := rb.destination(string(link.Destination)); ok {
			link.Destination = []byte(destination)
			continue
		}
		unlink(link)
	}
}

// destination is where a link leads when it is served; ok is false for files that
// are not.
func (rb runbooks) destination(link string) (served string, ok bool) {
	u, err := url.Parse(link)
	if err != nil {
		return "", false
	}
	if u.IsAbs() || u.Host != "" || u.Path == "" {
		return link, true
	}
	file := path.Clean(u.Path)
	if _, err := fs.Stat(rb.files, file); err != nil || path.Ext(file) != ".md" {
		return "", false
	}
	u.Path = strings.TrimSuffix(file, ".md")
	if file == introduction {
		u.Path = "./"
	}
	return u.String(), true
}

// unlink leaves of a link what is shown of it.
func unlink(link *ast.Link) {
	parent := link.Parent()
	for link.FirstChild() != nil {
		parent.InsertBefore(parent, link, link.FirstChild())
	}
	parent.RemoveChild(parent, link)
}
