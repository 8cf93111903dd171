// Package metadata asks the metadata service of an ECS instance what it knows of
// that instance: who it is, and whether it is about to be reclaimed.
//
// Source of paths, headers and formats: the ECS user guide, "Instance metadata" and
// "Best practices for preemptible instances".
package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"ack-exporter/collector"
)

// DefaultEndpoint is where each ECS instance reaches its own metadata service.
const DefaultEndpoint = "http://100.100.100.200"

const (
	tokenPath        = "/latest/api/token"
	terminationPath  = "/latest/meta-data/instance/spot/termination-time"
	instanceIDPath   = "/latest/meta-data/instance-id"
	instanceTypePath = "/latest/meta-data/instance/instance-type"
	regionPath       = "/latest/meta-data/region-id"
	zonePath         = "/latest/meta-data/zone-id"

	ttlHeader   = "X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds"
	tokenHeader = "X-Aliyun-Ecs-Metadata-Token"
)

const (
	// requestTimeout bounds one request. The service is on the same machine.
	requestTimeout = 2 * time.Second
	// tokenTTL is the longest life of a token that the service gives, and
	// tokenMargin how long before its end another one is asked for.
	tokenTTL    = 6 * time.Hour
	tokenMargin = 5 * time.Minute
	// Bounds of what is read.
	maxHeader = 16 << 10
	maxToken  = 4 << 10
	maxValue  = 256
)

// errAbsent: the service has no such path.
var errAbsent = fmt.Errorf("absent: %w", collector.ErrUnavailable)

// Config says which service a Client asks.
type Config struct {
	// Endpoint is http://host or http://host:port.
	Endpoint string
	// Dial connects; nil is the network of this process. A proxy is never used: the
	// service refuses what came through one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client asks a metadata service. It is for one goroutine at a time.
type Client struct {
	endpoint string
	http     *http.Client

	token      string // empty: none
	tokenUntil time.Time
	known      Instance // what was told last
}

// Instance is who an instance is. What is not known is empty.
type Instance struct {
	ID, Type, Region, Zone string
}

// Complete reports whether all of it is known.
func (i Instance) Complete() bool {
	return i.ID != "" && i.Type != "" && i.Region != "" && i.Zone != ""
}

// Snapshot is what the service says at one time.
type Snapshot struct {
	Instance Instance
	// Known says that Termination can be believed.
	Known bool
	// Termination is when the instance will be reclaimed; zero: nothing is announced.
	Termination time.Time
}

// New makes a Client. It sends nothing.
func New(config Config) (*Client, error) {
	u, err := url.Parse(config.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("metadata service: %w", err)
	}
	bare := url.URL{Scheme: "http", Host: u.Host}
	if u.Hostname() == "" || config.Endpoint != bare.String() {
		return nil, fmt.Errorf("metadata service: %.200q is not of the form http://host:port", config.Endpoint)
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return &Client{
		endpoint: config.Endpoint,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:            dial,
				DisableCompression:     true,
				MaxResponseHeaderBytes: maxHeader,
			},
			// The token is for nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Poll asks the service once. What could be learned is in the Snapshot also where
// there is an error. A service that knows no notice is believed only where it says
// in the same poll which instance it speaks for: a node that takes hardened
// requests only, and a proxy in between, can answer 404 too.
func (c *Client) Poll(ctx context.Context) (Snapshot, error) {
	// The next poll is later than a server waits for it.
	defer c.http.CloseIdleConnections()
	p := poll{client: c}
	if c.token == "" || !time.Now().Before(c.tokenUntil) {
		p.errToken = c.renewToken(ctx)
	}
	termination, errTermination := p.termination(ctx)
	instance, errInstance := p.instance(ctx)
	return Snapshot{
		Instance:    instance,
		Known:       errTermination == nil && (instance.ID != "" || !termination.IsZero()),
		Termination: termination,
	}, errors.Join(errTermination, errInstance)
}

// renewToken gets a token in place of the one that there is. Without one, requests
// go without: a service that gives none may answer all the same.
func (c *Client) renewToken(ctx context.Context) error {
	c.token = ""
	asked := time.Now()
	ttl := strconv.Itoa(int(tokenTTL / time.Second))
	status, body, err := c.send(ctx, http.MethodPut, tokenPath, ttlHeader, ttl, maxToken)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return statusError(tokenPath, status)
	}
	if c.token, err = parseToken(body); err != nil {
		return fmt.Errorf("%s: %w", tokenPath, err)
	}
	c.tokenUntil = asked.Add(tokenTTL - tokenMargin)
	return nil
}

// send makes one request, with one header where its value is not empty. The body is
// that of an answer with status 200, complete and not longer than limit.
func (c *Client) send(ctx context.Context, method, path, header, value string, limit int64) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("User-Agent", "ack-exporter")
	if value != "" {
		req.Header.Set(header, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return resp.StatusCode, "", nil
	case err != nil:
		return 0, "", fmt.Errorf("%s: %w", path, err)
	case int64(len(b)) > limit:
		return 0, "", fmt.Errorf("%s: larger than %d bytes: %w", path, limit, collector.ErrDecode)
	}
	return resp.StatusCode, string(b), nil
}

// poll is one Poll under way.
type poll struct {
	client   *Client
	errToken error // why there is no token
	renewed  bool  // a token was refused, and another one asked for
}

// get asks for one path. A token that is refused is replaced, once in a poll.
func (p *poll) get(ctx context.Context, path string) (string, error) {
	status, body, err := p.ask(ctx, path)
	if err == nil && refused(status) && !p.renewed {
		p.renewed = true
		p.errToken = p.client.renewToken(ctx)
		status, body, err = p.ask(ctx, path)
	}
	switch {
	case err == nil && status == http.StatusOK:
		return body, nil
	case err == nil:
		err = statusError(path, status)
	}
	if p.errToken != nil && !errors.Is(err, errAbsent) {
		err = fmt.Errorf("%w (asked without a token: %w)", err, p.errToken)
	}
	return "", err
}

func (p *poll) ask(ctx context.Context, path string) (status int, body string, err error) {
	return p.client.send(ctx, http.MethodGet, path, tokenHeader, p.client.token, maxValue)
}

// termination is when the instance will be reclaimed. A path that is absent says,
// like an empty answer, that nothing is announced.
func (p *poll) termination(ctx context.Context) (time.Time, error) {
	body, err := p.get(ctx, terminationPath)
	if errors.Is(err, errAbsent) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	t, err := parseTermination(body)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", terminationPath, err)
	}
	return t, nil
}

// instance is who the instance is. Its ID is asked for each time, and the rest, which
// does not change while it runs, until it is known.
func (p *poll) instance(ctx context.Context) (Instance, error) {
	id, err := p.word(ctx, instanceIDPath)
	if err != nil {
		return Instance{}, err
	}
	if known := p.client.known; known.ID == id && known.Complete() {
		return known, nil
	}
	i := Instance{ID: id}
	for _, field := range []struct {
		path string
		to   *string
	}{
		{instanceTypePath, &i.Type}, {regionPath, &i.Region}, {zonePath, &i.Zone},
	} {
		if *field.to, err = p.word(ctx, field.path); err != nil {
			return i, err
		}
	}
	p.client.known = i
	return i, nil
}

func (p *poll) word(ctx context.Context, path string) (string, error) {
	body, err := p.get(ctx, path)
	if err != nil {
		return "", err
	}
	word, err := parseWord(body)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return word, nil
}

// refused: no token, one that is over, or one of somebody else. Which of the two it
// is that the service answers is not documented.
func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

func statusError(path string, status int) error {
	kind := collector.ErrUnavailable
	switch {
	case refused(status):
		kind = collector.ErrForbidden
	case status == http.StatusTooManyRequests:
		kind = collector.ErrThrottled
	case status == http.StatusNotFound:
		kind = errAbsent
	}
	return fmt.Errorf("%s: status %d: %w", path, status, kind)
}
