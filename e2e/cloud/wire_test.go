//go:build e2e

package cloud

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/internal/aliyun"
)

// recorded is a request as it arrived.
type recorded struct {
	header http.Header
	host   string
	query  string
	body   []byte
}

// record returns requests that the client has signed, one for each call of do.
func record(t *testing.T, c *cloud.Cloud, do func(*aliyun.Client)) recorded {
	t.Helper()
	arrived := make(chan recorded, 1)
	host := cloudtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		arrived <- recorded{r.Header.Clone(), r.Host, r.URL.RawQuery, body}
		w.WriteHeader(http.StatusBadRequest)
	}))
	do(newClient(t, c, host, withKey()))
	return <-arrived
}

// send sends a request, perhaps a changed one, and returns the code of the answer, ""
// where that is no error.
func (r recorded) send(t *testing.T, host string, change func(*http.Request)) string {
	t.Helper()
	return r.sendBy(t, http.DefaultClient, host, change)
}

func (r recorded) sendBy(t *testing.T, client *http.Client, host string, change func(*http.Request)) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/?"+r.query, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header, request.Host = r.header.Clone(), r.host
	request.Header.Del("Content-Length")
	if change != nil {
		change(request)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		RequestID string `json:"RequestId"`
		Code      string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.RequestID == "" {
		t.Errorf("the answer is none of the API: %v", err)
	}
	if (answer.Code == "") != (response.StatusCode == http.StatusOK) {
		t.Errorf("code %q with status %d", answer.Code, response.StatusCode)
	}
	return answer.Code
}

// TestSignature tampers with a request that was signed by the client.
func TestSignature(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	authorization := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
		}
	}
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	query := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.URL.RawQuery = text }
	}
	for name, test := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"as it was":          {nil, ""},
		"query sorted again": {func(r *http.Request) { r.URL.RawQuery = r.URL.Query().Encode() }, ""},
		"another query":      {query("PageNumber=2&PageSize=100&RegionId=cn-test"), "SignatureDoesNotMatch"},
		"another body":       {body("a=b"), "SignatureDoesNotMatch"},
		"another version":    {set("x-acs-version", "2016-04-28"), "InvalidAction.NotFound"},
		"another action":     {set("x-acs-action", "DescribeServerCertificates"), "SignatureDoesNotMatch"},
		"another nonce":      {set("x-acs-signature-nonce", "1"), "SignatureDoesNotMatch"},
		"another host":       {func(r *http.Request) { r.Host = "slb.example.com" }, "SignatureDoesNotMatch"},
		"no action":          {func(r *http.Request) { r.Header.Del("x-acs-action") }, "InvalidAction.NotFound"},
		"one more header":    {set("x-acs-other", "1"), "IncompleteSignature"},
		"unsigned host":      {authorization("SignedHeaders=host;", "SignedHeaders="), "IncompleteSignature"},
		"another key":        {authorization(cloudtest.Key().ID, "LTAIother"), "InvalidAccessKeyId.NotFound"},
		"no signature":       {func(r *http.Request) { r.Header.Del("Authorization") }, "IncompleteSignature"},
		"another algorithm":  {authorization("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3"), "IncompleteSignature"},
		"older":              {set("x-acs-date", time.Now().Add(-16*time.Minute).UTC().Format("2006-01-02T15:04:05Z")), "InvalidTimeStamp.Expired"},
		"from the future":    {set("x-acs-date", time.Now().Add(16*time.Minute).UTC().Format("2006-01-02T15:04:05Z")), "InvalidTimeStamp.Expired"},
		"no date":            {set("x-acs-date", "yesterday"), "InvalidTimeStamp.Format"},
		"a token":            {set("x-acs-security-token", "t"), "IncompleteSignature"},
	} {
		r := record(t, c, func(client *aliyun.Client) { _, _ = aliyun.LoadBalancers(t.Context(), client) })
		if got := r.send(t, host, test.change); got != test.want {
			t.Errorf("%s: code %q, not %q", name, got, test.want)
		}
	}
}

// TestReplay sends the same request twice.
func TestReplay(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	for range 2 {
		r := record(t, c, func(client *aliyun.Client) { _, _ = aliyun.ProductQuotas(t.Context(), client, "slb", c.Region()) })
		if first, again := r.send(t, host, nil), r.send(t, host, nil); first != "" || again != "SignatureNonceUsed" {
			t.Errorf("codes %q and %q", first, again)
		}
	}
}

// TestInAWorld serves a cloud inside a network namespace, as scenes with the whole
// exporter do.
func TestInAWorld(t *testing.T) {
	t.Parallel()
	const address = "127.0.0.1:9780"
	w := world.New(t)
	c := cloudtest.StartIn(t, w, address, cloud.Config{})
	r := record(t, c, func(client *aliyun.Client) { _, _ = aliyun.LoadBalancers(t.Context(), client) })
	client := &http.Client{Transport: &http.Transport{DialContext: w.Dial}}
	defer client.CloseIdleConnections()
	if code := r.sendBy(t, client, address, nil); code != "" || c.Count("slb:DescribeLoadBalancers") != 1 {
		t.Errorf("code %q, calls %v", code, c.Counts())
	}
}
