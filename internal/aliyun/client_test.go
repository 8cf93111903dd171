package aliyun

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

const (
	testID     = "LTAItestkeyid"
	testSecret = "testkeysecret"
	testToken  = "testsecuritytoken"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func sessionKeys() map[string]string {
	return map[string]string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID": testID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": testSecret, "ALIBABA_CLOUD_SECURITY_TOKEN": testToken,
	}
}

// newTestClient makes a Client whose products are all at host, with plenty of requests.
func newTestClient(t testing.TB, host string, change func(*Config)) *Client {
	t.Helper()
	usage := NewUsage()
	credentials, err := NewCredentials(CredentialsConfig{Mode: Environment, Getenv: environment(sessionKeys())}, usage)
	if err != nil {
		t.Fatal(err)
	}
	config := Config{
		Region: "cn-test", Network: PublicNetwork, Insecure: true, Rate: 1e6, Budget: 1e5,
		Endpoints: map[Product]string{ECS: host, SLB: host, VPC: host, Quotas: host}, UserAgent: "ack-exporter/test",
	}
	if change != nil {
		change(&config)
	}
	c, err := NewClient(config, credentials, usage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve answers on loopback.
func serve(t testing.TB, handler http.HandlerFunc) (host string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// answers is a transport without a network, so that the time of a test can be made up.
type answers func(*http.Request) (int, http.Header, string)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	status, header, body := a(r)
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func inMemory(t testing.TB, change func(*Config), a answers) *Client {
	t.Helper()
	c := newTestClient(t, "cloud.test", change)
	c.http = &http.Client{Transport: a}
	c.random = func() float64 { return 1 }
	return c
}

func ping(ctx context.Context, c *Client) error {
	var out struct{ TotalCount Integer }
	return c.Call(ctx, describeLoadBalancers, nil, &out)
}

const (
	fine      = `{"RequestId":"r","TotalCount":0}`
	throttled = `{"RequestId":"r-1","HostId":"h","Code":"Throttling.User","Message":"denied"}`
)

// authorization computes ACS3-HMAC-SHA256 from the documentation of the signature.
func authorization(r *http.Request, body []byte) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	var query []string
	for name, values := range r.URL.Query() {
		query = append(query, escape(name)+"="+escape(values[0]))
	}
	slices.Sort(query)
	headers := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-acs-") || lower == "content-type" {
			headers[lower] = strings.TrimSpace(values[0])
		}
	}
	var names, lines []string
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		lines = append(lines, name+":"+headers[name]+"\n")
	}
	hash := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	signed := strings.Join(names, ";")
	canonical := strings.Join([]string{r.Method, r.URL.Path, strings.Join(query, "&"), strings.Join(lines, ""), signed, hash(body)}, "\n")
	mac := hmac.New(sha256.New, []byte(testSecret))
	fmt.Fprint(mac, "ACS3-HMAC-SHA256\n"+hash([]byte(canonical)))
	return "ACS3-HMAC-SHA256 Credential=" + testID + ",SignedHeaders=" + signed + ",Signature=" + hex.EncodeToString(mac.Sum(nil))
}

func TestRequestsAreSigned(t *testing.T) {
	t.Parallel()
	var got []string
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sum := sha256.Sum256(body)
		switch {
		case r.Header.Get("Authorization") != authorization(r, body):
			t.Errorf("%s: got\n%s\nwant\n%s", r.Header.Get("X-Acs-Action"), r.Header.Get("Authorization"), authorization(r, body))
		case r.Header.Get("X-Acs-Content-Sha256") != hex.EncodeToString(sum[:]):
			t.Error("the hash of the body is wrong")
		case r.Header.Get("X-Acs-Security-Token") != testToken, r.Header.Get("X-Acs-Signature-Nonce") == "":
			t.Errorf("token or nonce is missing: %v", r.Header)
		}
		query := r.URL.Query().Encode()
		got = append(got, fmt.Sprintf("%s %s %s %s ? %s | %s", r.Method, r.URL.Path, r.Header.Get("X-Acs-Version"), r.Header.Get("X-Acs-Action"), query, body))
		fmt.Fprint(w, fine)
	})
	c := newTestClient(t, host, nil)
	parameters := map[string]any{"Name": "a b*~/ü+&", "Id": []string{"x", "y"}, "Tag": []map[string]any{{"Key": "k", "Value": ""}}, "Size": 50}
	for _, action := range []Action{describeInstances, listProductQuotas} {
		var out struct{}
		if err := c.Call(t.Context(), action, parameters, &out); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"POST / 2014-05-26 DescribeInstances ? Id.1=x&Id.2=y&Name=a+b%2A~%2F%C3%BC%2B%26&RegionId=cn-test&Size=50&Tag.1.Key=k&Tag.1.Value= | ",
		"POST / 2020-05-10 ListProductQuotas ?  | Id.1=x&Id.2=y&Name=a+b%2A~%2F%C3%BC%2B%26&Size=50&Tag.1.Key=k&Tag.1.Value=",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each way of failing has its class, and says nothing of the credentials or the URL,
// though the server repeats everything that it was sent.
func TestErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		kind   string // content type
		body   string
		want   error
		says   string
	}{
		"throttled":            {400, "", throttled, collector.ErrThrottled, "code Throttling.User"},
		"throttled, other":     {400, "", `{"RequestId":"r","Code":"Throttling.Resource"}`, collector.ErrThrottled, "Throttling.Resource"},
		"429":                  {429, "", `{"RequestId":"r","Code":"X"}`, collector.ErrThrottled, "429"},
		"no right":             {403, "", `{"RequestId":"r","Code":"NoPermission","AccessDeniedDetail":{"AuthAction":"slb:DescribeLoadBalancers"}}`, collector.ErrForbidden, "right to slb:DescribeLoadBalancers"},
		"no right, text":       {403, "", `{"RequestId":"r","Code":"Forbidden.RAM","AccessDeniedDetail":"none"}`, collector.ErrForbidden, "Forbidden.RAM"},
		"unknown key":          {404, "", `{"RequestId":"r","Code":"InvalidAccessKeyId.NotFound","Message":"ECHO"}`, collector.ErrForbidden, "InvalidAccessKeyId.NotFound"},
		"wrong signature":      {400, "", `{"RequestId":"r","Code":"SignatureDoesNotMatch","Message":"ECHO"}`, collector.ErrForbidden, "SignatureDoesNotMatch"},
		"old token":            {400, "", `{"RequestId":"r","Code":"InvalidSecurityToken.Expired"}`, collector.ErrForbidden, "InvalidSecurityToken"},
		"lower case":           {403, "", `{"requestId":"r","code":"Forbidden"}`, collector.ErrForbidden, "code Forbidden, status 403, request r"},
		"missing parameter":    {403, "", `{"RequestId":"r","Code":"MissingParameter.InstanceId"}`, errRefused, "MissingParameter"},
		"clock":                {400, "", `{"RequestId":"r","Code":"InvalidTimeStamp.Expired"}`, errRefused, "InvalidTimeStamp"},
		"server":               {503, "", `{"RequestId":"r","Code":"ServiceUnavailable"}`, collector.ErrUnavailable, "503"},
		"server, 400":          {400, "", `{"RequestId":"r","Code":"ServiceUnavailable"}`, collector.ErrUnavailable, "400"},
		"page of a proxy":      {502, "text/html", "<html>ECHO</html>", collector.ErrUnavailable, "502"},
		"page with 200":        {200, "text/html; charset=utf-8", "<!doctype html>ECHO", collector.ErrUnavailable, "a page"},
		"page without type":    {200, "application/json", " \n<html>ECHO", collector.ErrUnavailable, "a page"},
		"text of a proxy":      {403, "text/plain", "ECHO", collector.ErrUnavailable, "not one of the API"},
		"XML":                  {403, "text/xml;charset=utf-8", "<Error><Code>ECHO</Code></Error>", collector.ErrUnavailable, "403"},
		"redirect":             {302, "", `{}`, collector.ErrUnavailable, "302"},
		"no RequestId":         {200, "", `{"LoadBalancers":{"LoadBalancer":[]}}`, collector.ErrDecode, "no RequestId"},
		"not JSON":             {200, "", `ECHO`, collector.ErrDecode, "not the JSON"},
		"nothing":              {200, "", ``, collector.ErrDecode, "not the JSON"},
		"list":                 {200, "", `[1]`, collector.ErrDecode, "not the JSON"},
		"cut off":              {200, "", `{"RequestId":"r","TotalCount":`, collector.ErrDecode, "not the JSON"},
		"other type":           {200, "", `{"RequestId":"r","TotalCount":"ECHO"}`, collector.ErrDecode, "not a number"},
		"echo in the code":     {403, "", `{"RequestId":"ECHO","Code":"ECHO","AccessDeniedDetail":{"AuthAction":"ECHO"}}`, collector.ErrForbidden, "403"},
		"lines in the code":    {400, "", `{"RequestId":"a\nb","Code":"a\nb"}`, collector.ErrUnavailable, "400"},
		"far too long a code":  {400, "", `{"Code":"` + strings.Repeat("x", 5000) + `"}`, collector.ErrUnavailable, "400"},
		"answer without limit": {200, "", strings.Repeat(" ", maxAnswer+1), collector.ErrDecode, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []string{testID, testSecret, testToken, "signature"} {
				var signature string
				host := serve(t, func(w http.ResponseWriter, r *http.Request) {
					signature = signatureOf(r)
					echo := piece
					if piece == "signature" {
						echo = signature
					}
					w.Header().Set("Location", "http://127.0.0.1:1/")
					w.Header().Set("Content-Type", "application/json")
					if test.kind != "" {
						w.Header().Set("Content-Type", test.kind)
					}
					w.WriteHeader(test.status)
					fmt.Fprint(w, strings.ReplaceAll(test.body, "ECHO", echo))
				})
				c := newTestClient(t, host, nil)
				// Only the first attempt: whether there is another is tested elsewhere.
				var out struct{ TotalCount Integer }
				err := c.attempt(t.Context(), describeLoadBalancers, nil, &out)
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				if !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "slb DescribeLoadBalancers: ") {
					t.Errorf("it says %q without %q", err, test.says)
				}
				checkClean(t, err, signature, host)
			}
		})
	}
}

func checkClean(t *testing.T, err error, others ...string) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		for _, secret := range append([]string{testID, testSecret, testToken, "://"}, others...) {
			if secret != "" && strings.Contains(text, secret) {
				t.Errorf("%q holds %q", text, secret)
			}
		}
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	release := make(chan struct{})
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	t.Cleanup(func() { close(release) })
	garbage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(connection, "%s\r\n\r\n", r.Header.Get("Authorization"))
		connection.Close()
	})
	secret := "//user:" + testSecret + "@127.0.0.1:1"
	for name, test := range map[string]struct {
		host  string
		proxy string
		want  collector.Reason
	}{
		"refused":        {strings.TrimPrefix(closed.URL, "http://"), "", collector.ReasonUnavailable},
		"hangs":          {hanging, "", collector.ReasonTimeout},
		"garbage":        {garbage, "", collector.ReasonUnavailable},
		"proxy is away":  {"cloud.test", "http:" + secret, collector.ReasonUnavailable},
		"proxy is wrong": {"cloud.test", "foo:" + secret, collector.ReasonUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTestClient(t, test.host, func(config *Config) { config.Timeout = 100 * time.Millisecond })
			if test.proxy != "" {
				c.http = newHTTPClient(func(*http.Request) (*url.URL, error) { return url.Parse(test.proxy) })
			}
			var out struct{}
			err := c.attempt(t.Context(), describeLoadBalancers, nil, &out)
			if got := collector.ReasonOf(err); err == nil || got != test.want {
				t.Fatalf("got %s (%v), want %s", got, err, test.want)
			}
			checkClean(t, err, "user:")
		})
	}
}

func TestThrottledCallsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header  http.Header
		first   string
		status  int
		failing int
		limit   time.Duration
		want    error
		calls   int
		took    time.Duration
	}{
		"with longer and longer pauses": {nil, throttled, 400, 3, time.Minute, nil, 4, 3500 * time.Millisecond},
		"not without end":               {nil, throttled, 400, 99, time.Minute, collector.ErrThrottled, 4, 3500 * time.Millisecond},
		"as late as asked": {
			http.Header{"X-Ratelimit-User-Api": {"Limit:10,Remain:0,TimeLeft:7000,Reset:1"}}, throttled, 400, 1, time.Minute, nil, 2, 7 * time.Second,
		},
		"as late as the newer header asks": {
			http.Header{"X-Acs-Retry-After": {"8000"}}, throttled, 400, 1, time.Minute, nil, 2, 8 * time.Second,
		},
		"as late as HTTP asks":          {http.Header{"Retry-After": {"9"}}, `{}`, 503, 1, time.Minute, nil, 2, 9 * time.Second},
		"not later than makes sense":    {http.Header{"Retry-After": {"3600"}}, `{}`, 503, 1, 2 * time.Hour, collector.ErrUnavailable, 1, 0},
		"not when there is no time":     {nil, throttled, 400, 99, time.Second, collector.ErrThrottled, 2, 500 * time.Millisecond},
		"not what is forbidden":         {nil, `{"Code":"NoPermission"}`, 403, 9, time.Minute, collector.ErrForbidden, 1, 0},
		"not what is a page with 200":   {nil, `<html>`, 200, 9, time.Minute, collector.ErrUnavailable, 1, 0},
		"what a gateway says of itself": {nil, `<html>`, 502, 1, time.Minute, nil, 2, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c := inMemory(t, nil, func(*http.Request) (int, http.Header, string) {
					if calls++; calls <= test.failing {
						return test.status, test.header, test.first
					}
					return 200, nil, fine
				})
				ctx, cancel := context.WithTimeout(t.Context(), test.limit)
				defer cancel()
				begin := time.Now()
				err := ping(ctx, c)
				if !errors.Is(err, test.want) || test.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, test.want)
				}
				if took := time.Since(begin); calls != test.calls || took != test.took {
					t.Errorf("%d calls in %s, want %d in %s", calls, took, test.calls, test.took)
				}
			})
		})
	}
}

func TestACancelledCallEndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, nil, func(*http.Request) (int, http.Header, string) { return 400, nil, throttled })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		begin := time.Now()
		if err := ping(ctx, c); err == nil || time.Since(begin) != 100*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		if err := ping(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRateIsPerProduct(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, func(config *Config) { config.Rate = 0 }, func(*http.Request) (int, http.Header, string) { return 200, nil, fine })
		begin := time.Now()
		var out struct{}
		for range 5 {
			for _, action := range []Action{describeLoadBalancers, describeVSwitches} {
				if err := c.Call(t.Context(), action, nil, &out); err != nil {
					t.Error(err)
				}
			}
		}
		if took := time.Since(begin); took != 2*time.Second {
			t.Errorf("5 calls of each of two products took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.Call(ctx, describeVSwitches, nil, &out); collector.ReasonOf(err) != collector.ReasonTimeout {
			t.Errorf("got %v", err)
		}
	})
}

func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := inMemory(t, func(config *Config) { config.Budget = 3 }, func(*http.Request) (int, http.Header, string) {
			calls++
			return 200, nil, fine
		})
		for minute := range 2 {
			for range 3 {
				if err := ping(t.Context(), c); err != nil {
					t.Error(err)
				}
				<-time.After(time.Second)
			}
			err := ping(t.Context(), c)
			if !errors.Is(err, ErrBudget) || !errors.Is(err, collector.ErrThrottled) || calls != 3*(minute+1) {
				t.Errorf("got %v after %d calls", err, calls)
			}
			<-time.After(57 * time.Second)
		}
		metrics, err := c.usage.Collect(t.Context())
		if err != nil || len(metrics) == 0 {
			t.Fatal(err)
		}
		got, err := collectortest.Collect(t, c.usage)
		if err != nil || !strings.Contains(got, `{action="DescribeLoadBalancers",product="slb",result="budget"} 2`) {
			t.Errorf("%v\n%s", err, got)
		}
	})
}

func TestUsage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := inMemory(t, nil, func(*http.Request) (int, http.Header, string) {
			if calls++; calls == 1 {
				return 400, nil, throttled
			}
			return 200, nil, fine
		})
		if err := ping(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		var out struct{}
		if err := c.Call(t.Context(), listProductQuotas, nil, &out); err != nil {
			t.Fatal(err)
		}
		got, err := collectortest.Collect(t, c.usage)
		if err != nil {
			t.Fatal(err)
		}
		collectortest.Golden(t, "usage.prom", got)
	})
}

func TestEndpointsAreThoseOfTheNetworkByHTTPS(t *testing.T) {
	t.Parallel()
	var got []string
	c := inMemory(t, func(config *Config) {
		config.Insecure, config.Network = false, VPCNetwork
		config.Endpoints = map[Product]string{VPC: "vpc.example:8443"}
	}, func(r *http.Request) (int, http.Header, string) {
		got = append(got, r.URL.Scheme+"://"+r.URL.Host)
		return 200, nil, fine
	})
	for _, action := range []Action{describeLoadBalancers, describeVSwitches} {
		var out struct{}
		if err := c.Call(t.Context(), action, nil, &out); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"https://slb-vpc.cn-test.aliyuncs.com", "https://vpc.example:8443"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// The password of a proxy is for the proxy; it is not parallel, since it changes the
// environment.
func TestThePasswordOfAProxyIsNotShownToTheEndpoint(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://user:"+testSecret+"@127.0.0.1:1")
	c := inMemory(t, nil, func(r *http.Request) (int, http.Header, string) {
		if got := r.Header.Get("Proxy-Authorization"); got != "" {
			t.Errorf("it sent %s", got)
		}
		return 200, nil, fine
	})
	if err := ping(t.Context(), c); err != nil {
		t.Error(err)
	}
	t.Setenv("HTTP_PROXY", "http://user:"+testSecret+"@%zz")
	var out struct{}
	err := c.attempt(t.Context(), describeLoadBalancers, nil, &out)
	if collector.ReasonOf(err) != collector.ReasonUnavailable {
		t.Fatalf("got %v", err)
	}
	checkClean(t, err, "user")
}

func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != authorization(r, body) {
			t.Error("a wrong signature")
		}
		// The answer tells which call it belongs to.
		fmt.Fprintf(w, `{"RequestId":"r","TotalCount":%s}`, r.URL.Query().Get("N"))
	})
	c := newTestClient(t, host, nil)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			for range 10 {
				var out struct{ TotalCount Integer }
				if err := c.Call(t.Context(), describeVSwitches, map[string]any{"N": n}, &out); err != nil || int(out.TotalCount) != n {
					t.Errorf("got %d for %d: %v", out.TotalCount, n, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			if _, err := c.usage.Collect(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"region":           func(c *Config) { c.Region = "cn-x/../y" },
		"no region":        func(c *Config) { c.Region = "" },
		"network":          func(c *Config) { c.Network = "lan" },
		"product":          func(c *Config) { c.Endpoints = map[Product]string{"oss": "h"} },
		"endpoint":         func(c *Config) { c.Endpoints = map[Product]string{SLB: "https://h/"} },
		"user in endpoint": func(c *Config) { c.Endpoints = map[Product]string{SLB: "a@h"} },
		"rate":             func(c *Config) { c.Rate = -1 },
		"budget":           func(c *Config) { c.Budget = -1 },
	} {
		config := Config{Region: "cn-x", Network: VPCNetwork}
		if _, err := NewClient(config, nil, nil); err != nil {
			t.Fatal(err)
		}
		change(&config)
		if _, err := NewClient(config, nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		product Product
		region  string
		network Network
		want    string
	}{
		{ECS, "cn-hangzhou", PublicNetwork, "ecs-cn-hangzhou.aliyuncs.com"},
		{ECS, "cn-zhangjiakou", PublicNetwork, "ecs.cn-zhangjiakou.aliyuncs.com"},
		{ECS, "cn-hangzhou", VPCNetwork, "ecs-vpc.cn-hangzhou.aliyuncs.com"},
		{SLB, "cn-shanghai", PublicNetwork, "slb.aliyuncs.com"},
		{SLB, "cn-shanghai", VPCNetwork, "slb-vpc.cn-shanghai.aliyuncs.com"},
		{SLB, "eu-central-1", PublicNetwork, "slb.eu-central-1.aliyuncs.com"},
		{VPC, "cn-hangzhou", PublicNetwork, "vpc.aliyuncs.com"},
		{VPC, "eu-central-1", PublicNetwork, "vpc.eu-central-1.aliyuncs.com"},
		{VPC, "eu-central-1", VPCNetwork, "vpc-vpc.eu-central-1.aliyuncs.com"},
		{Quotas, "eu-central-1", PublicNetwork, "quotas.aliyuncs.com"},
		{Quotas, "eu-central-1", VPCNetwork, "quotas.aliyuncs.com"},
		{sts, "eu-central-1", VPCNetwork, "sts-vpc.eu-central-1.aliyuncs.com"},
	} {
		if got := test.product.endpoint(test.region, test.network); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
