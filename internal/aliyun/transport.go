package aliyun

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// maxAnswer bounds an answer: a page of 100 instances is about 300 kB.
	maxAnswer = 8 << 20
	// maxHeader bounds its header.
	maxHeader   = 64 << 10
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
	// connections is how many there are to one endpoint: calls are few.
	connections = 4
)

var errTooLarge = fmt.Errorf("an answer of more than %d bytes", maxAnswer)

// newHTTPClient makes a client that follows no redirect, since a signature is for one
// host. Where proxy is nil there is no proxy.
func newHTTPClient(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxConnsPerHost:        connections,
			MaxIdleConnsPerHost:    connections,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
}

// answer is what came back, whatever it is.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// exchange sends one request and reads the whole answer, of at most maxAnswer bytes. The
// text of its errors is not for people: it can hold more than they should see.
func exchange(client *http.Client, request *http.Request) (*answer, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, errTooLarge
	}
	return &answer{status: response.StatusCode, header: response.Header, body: body}, nil
}
