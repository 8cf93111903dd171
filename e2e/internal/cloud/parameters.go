//go:build e2e

package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// shape is how a parameter is written.
type shape int

const (
	shapeText   shape = iota
	shapeNumber       // a whole number
	shapeFlag         // true or false
	shapeList         // Name.1, Name.2 and so on
	shapePairs        // Name.1.Key, Name.1.Value and so on
)

// parameter is one that an action has.
type parameter struct {
	name  string
	shape shape
	// low and high bound a number, or how long a list is. Without clamp it is an
	// error to be beyond.
	low, high int
	clamp     bool
	// fallback is a number that is not there.
	fallback int
	// values are those that a text can have; nil: any.
	values []string
	// missing is the code, and status, of a parameter that must be there and is not.
	missing string
	status  int
}

func text(name string, values ...string) parameter { return parameter{name: name, values: values} }

func flag(name string) parameter { return parameter{name: name, shape: shapeFlag} }

func number(name string, low, high, fallback int) parameter {
	return parameter{name: name, shape: shapeNumber, low: low, high: high, fallback: fallback}
}

func list(name string, most int) parameter {
	return parameter{name: name, shape: shapeList, low: 1, high: most}
}

func pairs(name string, most int) parameter {
	return parameter{name: name, shape: shapePairs, low: 1, high: most}
}

// need makes the parameter one that must be there.
func (p parameter) need() parameter { return p.needs(http.StatusBadRequest, "MissingParameter") }

func (p parameter) needs(status int, code string) parameter {
	p.missing, p.status = code, status
	return p
}

func (p parameter) clamped() parameter {
	p.clamp = true
	return p
}

// pageNumber is the parameter of all listings with numbered pages.
func pageNumber() parameter { return number("PageNumber", 1, 1<<30, 1) }

// pair is Name.N.Key and Name.N.Value.
type pair struct{ key, value string }

// query are the parameters of one call, checked.
type query struct {
	c       *Cloud
	action  action
	texts   map[string]string
	numbers map[string]int
	lists   map[string][]string
	pairs   map[string][]pair
}

func (q query) text(name string) string { return q.texts[name] }

// has tells whether a parameter is there at all.
func (q query) has(name string) bool {
	_, text := q.texts[name]
	_, list := q.lists[name]
	_, pairs := q.pairs[name]
	return text || list || pairs
}

// split is a text with commas.
func (q query) split(name string) []string {
	if q.texts[name] == "" {
		return nil
	}
	return strings.Split(q.texts[name], ",")
}

// equal tells whether a text is not there, or is this one.
func (q query) equal(name, value string) bool { return q.texts[name] == "" || q.texts[name] == value }

// parse reads the parameters of an action from where they belong: in Quota Center that
// is the body, elsewhere the query.
func (c *Cloud) parse(r request, a action) (query, error) {
	q := query{c: c, action: a, texts: map[string]string{}, numbers: map[string]int{}, lists: map[string][]string{}, pairs: map[string][]pair{}}
	values, elsewhere := r.URL.Query(), r.body
	if a.product == quotas {
		form, err := url.ParseQuery(string(r.body))
		if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			return q, invalid("the body", "is not a form")
		}
		values, elsewhere = form, []byte(r.URL.RawQuery)
	}
	if len(elsewhere) > 0 {
		return q, invalid("a parameter", "is not where the action expects it")
	}
	for _, name := range sortedKeys(values) {
		if len(values[name]) != 1 {
			return q, invalid(name, "is there several times")
		}
		base, rest, _ := strings.Cut(name, ".")
		i := slices.IndexFunc(a.parameters, func(p parameter) bool { return p.name == base })
		if i < 0 {
			return q, invalid(name, "does not exist in "+a.name)
		}
		if err := q.add(a.parameters[i], name, rest, values[name][0]); err != nil {
			return q, err
		}
	}
	return q, q.complete()
}

// invalid is a refusal that is about a parameter.
func invalid(name, why string) *refusal {
	return refuse(http.StatusBadRequest, "InvalidParameter", "The specified parameter is not valid: %s %s.", name, why)
}

// add adds one that was sent. rest is what follows the name of the parameter.
func (q query) add(p parameter, name, rest, value string) error {
	if p.shape != shapeList && p.shape != shapePairs {
		if rest != "" {
			return invalid(name, "is not a list")
		}
		q.texts[p.name] = value
		return q.check(p, value)
	}
	index, part, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(index)
	if err != nil || n < 1 || n > p.high || strconv.Itoa(n) != index {
		return invalid(name, "is not one of "+strconv.Itoa(p.high)+" at most")
	}
	if p.shape == shapeList && part == "" {
		q.lists[p.name] = append(q.lists[p.name], value)
		return nil
	}
	if p.shape == shapeList || part != "Key" && part != "Value" {
		return invalid(name, "has another form")
	}
	all := q.pairs[p.name]
	for len(all) < n {
		all = append(all, pair{})
	}
	if part == "Key" {
		all[n-1].key = value
	} else {
		all[n-1].value = value
	}
	q.pairs[p.name] = all
	return nil
}

func (q query) check(p parameter, value string) error {
	switch p.shape {
	case shapeFlag:
		if value != "true" && value != "false" {
			return invalid(p.name, "is not a boolean")
		}
	case shapeNumber:
		n, err := strconv.Atoi(value)
		if err == nil && p.clamp {
			n = min(max(n, p.low), p.high)
		}
		if err != nil || n < p.low || n > p.high {
			return invalid(p.name, "is not a number from "+strconv.Itoa(p.low)+" to "+strconv.Itoa(p.high))
		}
		q.numbers[p.name] = n
	default:
		if p.values != nil && !slices.Contains(p.values, value) {
			return invalid(p.name, "is not one of "+strings.Join(p.values, ", "))
		}
	}
	return nil
}

// complete looks for what must be there, and fills in the numbers that are not.
func (q query) complete() error {
	for _, p := range q.action.parameters {
		if p.missing != "" && (!q.has(p.name) || p.shape == shapeText && q.texts[p.name] == "") {
			return refuse(p.status, p.missing, "The input parameter %q that is mandatory for processing this request is not supplied.", p.name)
		}
		if _, sent := q.numbers[p.name]; p.shape == shapeNumber && !sent {
			q.numbers[p.name] = p.fallback
		}
	}
	return nil
}

// numbered is the page that is asked for by PageNumber and PageSize.
func numbered[T any](q query, rows []T) []T {
	first := min((q.numbers["PageNumber"]-1)*q.numbers["PageSize"], len(rows))
	return rows[first:min(first+q.numbers["PageSize"], len(rows))]
}

// pageOf describes that page.
func (q query) pageOf(total int) object {
	return object{"PageNumber": q.numbers["PageNumber"], "PageSize": q.numbers["PageSize"], "TotalCount": total}
}

// byToken is the page that is asked for by NextToken, and the token of the next one.
// size is the parameter that has the size of a page. A row that is added or removed
// meanwhile moves no other from one page to another.
func byToken[T row[T]](q query, rows []T, size string) (page []T, next string, err error) {
	if token := q.texts["NextToken"]; token != "" {
		after, err := q.openToken(token, size)
		if err != nil {
			return nil, "", err
		}
		i := 0
		for i < len(rows) && rows[i].key() <= after {
			i++
		}
		rows = rows[i:]
	}
	if n := q.numbers[size]; len(rows) > n {
		return rows[:n], q.token(rows[n-1].key(), size), nil
	}
	return rows, "", nil
}

// token names the page after a row, for this query only.
func (q query) token(after, size string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(q.c.mac("page", q.bound(size), after)[:16] + after))
}

func (q query) openToken(token, size string) (after string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil && len(raw) > 16 {
		after = string(raw[16:])
		if hmac.Equal([]byte(q.token(after, size)), []byte(token)) {
			return after, nil
		}
	}
	return "", refuse(http.StatusBadRequest, "InvalidParameter.NextToken", "The specified NextToken is not one of this query.")
}

// bound is what the token of a page is good for: the query but for size and token.
func (q query) bound(size string) string {
	var b strings.Builder
	b.WriteString(q.action.String())
	for _, p := range q.action.parameters {
		if p.name == size || p.name == "NextToken" {
			continue
		}
		b.WriteString("\n" + p.name + "=" + q.texts[p.name] + strings.Join(q.lists[p.name], "\t"))
		for _, pair := range q.pairs[p.name] {
			b.WriteString("\t" + pair.key + "\t" + pair.value)
		}
	}
	return b.String()
}

// mac is a code that only this Cloud can compute.
func (c *Cloud) mac(parts ...string) string {
	mac := hmac.New(sha256.New, c.secret)
	for _, part := range parts {
		_, _ = mac.Write([]byte(strconv.Itoa(len(part)) + ":" + part)) // never fails
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// tagged tells whether tags have all of the pairs.
func tagged(tags map[string]string, wanted []pair) bool {
	for _, p := range wanted {
		if value, ok := tags[p.key]; !ok || p.value != "" && value != p.value {
			return false
		}
	}
	return true
}

// tagList is how tags are written.
func tagList(tags map[string]string) []object {
	all := []object{}
	for _, key := range sortedKeys(tags) {
		all = append(all, object{"TagKey": key, "TagValue": tags[key]})
	}
	return all
}
