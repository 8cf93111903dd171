package aliyun

import (
	"context"
	"fmt"
	"maps"
	"regexp"

	"ack-exporter/collector"
)

const (
	// maxPages and maxRows bound one listing. Limits of the products are far below.
	maxPages = 1000
	maxRows  = 100_000
	// restarts is how often a listing begins anew because it changed meanwhile.
	restarts = 2
)

// idForm is the form of an id of the cloud, such as i-bp1a or 1_x.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// page is one answer of a listing.
type page[T any] interface {
	// rows are the rows of the page, and false where the answer has no list at all.
	rows() ([]T, bool)
}

// tokenPage is a page that names the next one; the last names none.
type tokenPage[T any] interface {
	page[T]
	next() string
}

// numberPage is a page that tells how many rows all pages have.
type numberPage[T any] interface {
	page[T]
	total() int
}

// byToken reads a listing whose pages name the next one.
func byToken[T any, P any, PP interface {
	*P
	tokenPage[T]
}](ctx context.Context, api API, action Action, parameters map[string]any) ([]T, error) {
	var all []T
	seen := map[string]bool{"": true}
	token := ""
	for n := 1; ; n++ {
		got, err := onePage[T, P, PP](ctx, api, action, n, with(parameters, "NextToken", token))
		if err != nil {
			return nil, err
		}
		rows, _ := got.rows()
		if all = append(all, rows...); len(all) > maxRows {
			return nil, decodeError(action, "page %d: more than %d rows", n, maxRows)
		}
		if token = got.next(); token == "" {
			return all, nil
		}
		if seen[token] || n == maxPages {
			return nil, decodeError(action, "page %d: the pages do not end", n)
		}
		seen[token] = true
	}
}

// byNumber reads a listing whose pages are numbered. A number of rows that changes
// meanwhile has moved rows from page to page, so that some can have been missed.
func byNumber[T any, P any, PP interface {
	*P
	numberPage[T]
}](ctx context.Context, api API, action Action, size int, parameters map[string]any) ([]T, error) {
	for range restarts + 1 {
		all, whole, err := numbered[T, P, PP](ctx, api, action, with(parameters, "PageSize", size))
		if err != nil || whole {
			return all, err
		}
	}
	return nil, &Error{Action: action, kind: collector.ErrUnavailable, detail: fmt.Sprintf("the listing changed while it was read, %d times", restarts+1)}
}

func numbered[T any, P any, PP interface {
	*P
	numberPage[T]
}](ctx context.Context, api API, action Action, parameters map[string]any) (all []T, whole bool, err error) {
	total := 0
	for n := 1; n <= maxPages; n++ {
		got, err := onePage[T, P, PP](ctx, api, action, n, with(parameters, "PageNumber", n))
		if err != nil {
			return nil, false, err
		}
		if n > 1 && got.total() != total {
			return nil, false, nil
		}
		total = got.total()
		rows, _ := got.rows()
		if all = append(all, rows...); len(all) > maxRows || total > maxRows {
			return nil, false, decodeError(action, "page %d: more than %d rows", n, maxRows)
		}
		switch {
		case len(all) == total:
			return all, true, nil
		case len(all) > total, len(rows) == 0:
			return nil, false, decodeError(action, "page %d: %d rows of %d", n, len(all), total)
		}
	}
	return nil, false, decodeError(action, "the pages do not end")
}

// onePage asks for one page. An answer without a list is not an empty list.
func onePage[T any, P any, PP interface {
	*P
	page[T]
}](ctx context.Context, api API, action Action, n int, parameters map[string]any) (PP, error) {
	got := PP(new(P))
	if err := api.Call(ctx, action, parameters, got); err != nil {
		return nil, fmt.Errorf("page %d: %w", n, err)
	}
	if _, ok := got.rows(); !ok {
		return nil, fmt.Errorf("page %d: %w", n, decodeError(action, "the answer has no list"))
	}
	return got, nil
}

// with is parameters and one more, unless that is the empty text.
func with(parameters map[string]any, name string, value any) map[string]any {
	all := maps.Clone(parameters)
	if all == nil {
		all = map[string]any{}
	}
	if value != "" {
		all[name] = value
	}
	return all
}
