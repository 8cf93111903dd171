package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"golang.org/x/time/rate"
)

// Defaults of Config.
const (
	DefaultRate    = 2
	DefaultBudget  = 240
	DefaultTimeout = 10 * time.Second
)

const (
	// attempts is how often one call is sent at most.
	attempts = 4
	// Pauses between attempts double from firstPause on. One that the API asks for
	// counts up to maxPause: whoever waits longer holds up a whole refresh.
	firstPause = 500 * time.Millisecond
	maxPause   = 20 * time.Second
)

// Config says how a Client asks.
type Config struct {
	Region  string
	Network Network
	// Endpoints take the place of the endpoints that follow from region and network.
	Endpoints map[Product]string
	// Rate is how many requests a second each product gets, Budget how many all of
	// them get in any minute. Timeout bounds one request. 0 is the default.
	Rate    float64
	Budget  int
	Timeout time.Duration
	// Insecure speaks HTTP in place of HTTPS.
	Insecure bool
	// UserAgent is appended to that of the library.
	UserAgent string
}

// Client asks the API. It is safe for concurrent use.
//
// The library of the vendor builds and signs requests, and that is all: it never
// sees an answer, so that neither its parsers nor its retries have to be trusted.
type Client struct {
	config      Config
	credentials *Credentials
	usage       *Usage
	http        *http.Client
	budget      *budget
	limits      map[Product]*rate.Limiter
	endpoints   map[Product]string
	random      func() float64
}

// NewClient makes a Client. Nothing is asked yet.
func NewClient(config Config, credentials *Credentials, usage *Usage) (*Client, error) {
	if !regionForm.MatchString(config.Region) {
		return nil, fmt.Errorf("region %q: %w", config.Region, errRegion)
	}
	if config.Network != PublicNetwork && config.Network != VPCNetwork {
		return nil, fmt.Errorf("network %q: %w", config.Network, errNetwork)
	}
	if config.Rate < 0 || config.Budget < 0 || config.Timeout < 0 {
		return nil, fmt.Errorf("rate %v, budget %d, timeout %s: %w", config.Rate, config.Budget, config.Timeout, errNegative)
	}
	if config.Rate == 0 {
		config.Rate = DefaultRate
	}
	if config.Budget == 0 {
		config.Budget = DefaultBudget
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultTimeout
	}
	c := &Client{
		config: config, credentials: credentials, usage: usage,
		http:      newHTTPClient(http.ProxyFromEnvironment),
		budget:    newBudget(config.Budget),
		limits:    map[Product]*rate.Limiter{},
		endpoints: map[Product]string{},
		random:    rand.Float64,
	}
	for _, p := range []Product{ECS, SLB, VPC, Quotas} {
		c.limits[p] = rate.NewLimiter(rate.Limit(config.Rate), 1)
		c.endpoints[p] = p.endpoint(config.Region, config.Network)
	}
	for p, host := range config.Endpoints {
		if _, ok := c.endpoints[p]; !ok {
			return nil, fmt.Errorf("endpoint of %q: %w", p, errProduct)
		}
		if !hostForm.MatchString(host) {
			return nil, fmt.Errorf("endpoint of %q: %q is %w", p, host, errHost)
		}
		c.endpoints[p] = host
	}
	return c, nil
}

var errNegative = errors.New("must not be negative")

// Close closes the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call implements API. It tries again, with longer and longer pauses, where that can
// help, as long as ctx leaves time for it. An error of a request is an *Error.
func (c *Client) Call(ctx context.Context, action Action, parameters map[string]any, out any) error {
	if c.limits[action.Product] == nil {
		return fmt.Errorf("%q: %w", action.Product, errProduct)
	}
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, action, parameters, out)
		if err == nil {
			return nil
		}
		failed, ok := errors.AsType[*Error](err)
		if !ok || !failed.retry || attempt == attempts || !c.pause(ctx, attempt, failed.after) {
			return err
		}
	}
}

// pause waits before the next attempt, at least for as long as the API asked. It
// tells at once that there is no time for that.
func (c *Client) pause(ctx context.Context, attempt int, asked time.Duration) bool {
	wait := firstPause << (attempt - 1)
	wait = wait/2 + time.Duration(c.random()*float64(wait)/2)
	wait = max(wait, asked)
	if wait > maxPause {
		return false
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt makes one request, and decodes what comes back.
func (c *Client) attempt(ctx context.Context, action Action, parameters map[string]any, out any) error {
	keys, err := c.admit(ctx, action)
	if err != nil {
		c.usage.unsent(action, err)
		return err
	}
	begin := time.Now()
	err = c.ask(ctx, action, parameters, keys, out)
	c.usage.sent(action, time.Since(begin), err)
	return err
}

// admit waits until the request may be sent, and fetches what signs it.
func (c *Client) admit(ctx context.Context, action Action) (keys, error) {
	k, err := c.credentials.get(ctx)
	if err != nil {
		return keys{}, fmt.Errorf("%s %s: %w", action.Product, action.Name, err)
	}
	if err := c.limits[action.Product].Wait(ctx); err != nil {
		// It also refuses to wait for longer than there is time.
		e := &Error{Action: action, kind: context.DeadlineExceeded, detail: "no turn in time"}
		if ctx.Err() != nil {
			e.kind = ctx.Err()
		}
		return keys{}, e
	}
	if err := c.budget.take(); err != nil {
		return keys{}, &Error{Action: action, kind: err, detail: fmt.Sprintf("not sent, %d requests a minute", c.config.Budget)}
	}
	return k, nil
}

func (c *Client) ask(ctx context.Context, action Action, parameters map[string]any, k keys, out any) error {
	limited, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	got, signature, err := c.send(limited, action, parameters, k)
	if err != nil {
		return unsent(ctx, action, err)
	}
	if e := failure(action, got, append(k.secrets(), signature)); e != nil {
		if e.badKeys {
			c.credentials.forget(ctx, k)
		}
		return e
	}
	return decode(action, got.body, out)
}

// decode reads the answer of a successful call. Each of them has the id of the
// request; what has none is something else.
func decode(action Action, body []byte, out any) error {
	var envelope struct {
		RequestID string `json:"RequestId"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return decodeError(action, "the answer is not the JSON of the API")
	}
	if envelope.RequestID == "" {
		return decodeError(action, "the answer has no RequestId")
	}
	if err := json.Unmarshal(body, out); err != nil {
		return decodeError(action, "the answer has a field of another type%s", field(err))
	}
	return nil
}

// field names the field that an error of encoding/json is about, which is one of our
// own names. The error itself can hold the value.
func field(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return ": " + wrong.Field
	}
	if wrong, ok := errors.AsType[*valueError](err); ok {
		return ": not " + wrong.want
	}
	return ""
}

// send has the library build and sign a request, and sends it.
func (c *Client) send(ctx context.Context, action Action, parameters map[string]any, k keys) (*answer, string, error) {
	facts, _ := action.Product.facts()
	sender := &sender{client: c.http}
	protocol := "https"
	if c.config.Insecure {
		protocol = "http"
	}
	credential, err := k.credential()
	if err != nil {
		return nil, "", errCredential
	}
	library := openapi.Client{
		DisableSDKError: new(true),
		Endpoint:        new(c.endpoints[action.Product]),
		Protocol:        &protocol,
		UserAgent:       &c.config.UserAgent,
		Credential:      credential,
		HttpClient:      sender,
	}
	parameters = c.withRegion(facts, parameters)
	request := &openapiutil.OpenApiRequest{}
	if facts.form {
		request.Body = openapiutil.ParseToMap(parameters)
	} else {
		request.Query = openapiutil.Query(parameters)
	}
	_, err = library.CallApiWithCtx(ctx, &openapiutil.Params{
		Action: &action.Name, Version: &facts.version, Protocol: &protocol, Pathname: new("/"), Method: new(http.MethodPost),
		AuthType: new("AK"), Style: new("RPC"), ReqBodyType: new("formData"), BodyType: new("string"),
	}, request, &dara.RuntimeOptions{})
	switch {
	case sender.err != nil:
		return nil, "", sender.err
	case sender.answer != nil:
		return sender.answer, sender.signature, nil
	case err == nil:
		err = errNotSent
	}
	return nil, "", err
}

var (
	errCredential = errors.New("the credentials cannot sign")
	errNotSent    = errors.New("the request was not sent")
)

func (c *Client) withRegion(facts product, parameters map[string]any) map[string]any {
	all := make(map[string]any, len(parameters)+1)
	if facts.regional {
		all["RegionId"] = c.config.Region
	}
	maps.Copy(all, parameters)
	return all
}

// sender sends one request for the library, and keeps the answer from it.
type sender struct {
	client    *http.Client
	answer    *answer
	signature string
	err       error
}

// Call implements dara.HttpClient. The library gets an empty answer.
func (s *sender) Call(request *http.Request, _ *http.Transport) (*http.Response, error) {
	// The library would show the password of a proxy to the endpoint.
	request.Header.Del("Proxy-Authorization")
	s.signature = signatureOf(request)
	s.answer, s.err = exchange(s.client, request)
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, Body: http.NoBody}, nil
}

func signatureOf(request *http.Request) string {
	_, signature, _ := strings.Cut(request.Header.Get("Authorization"), "Signature=")
	return signature
}

// batches cuts ids into pieces of at most size, sorted and without repetition. Ids of
// another form than those of the cloud are left out: some parameters are lists with
// commas.
func batches(ids []string, size int) [][]string {
	sorted := slices.Sorted(slices.Values(ids))
	sorted = slices.DeleteFunc(slices.Compact(sorted), func(id string) bool { return !idForm.MatchString(id) })
	return slices.Collect(slices.Chunk(sorted, size))
}
