package aliyun

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

const serviceAccountToken = "header.payload.sign"

func roleVariables(tokenFile string) map[string]string {
	return map[string]string{
		"ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/r", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/p",
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE": tokenFile,
	}
}

func writeToken(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sessionJSON(id string, end time.Time) string {
	return fmt.Sprintf(`{"Code":"Success","AccessKeyId":%q,"AccessKeySecret":%q,"SecurityToken":%q,"Expiration":%q}`,
		id, testSecret, testToken, end.UTC().Format(time.RFC3339))
}

func newCredentials(t testing.TB, config CredentialsConfig) *Credentials {
	t.Helper()
	c, err := NewCredentials(config, NewUsage())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestModesDoNotFallThrough(t *testing.T) {
	t.Parallel()
	everything := roleVariables("/token")
	maps.Copy(everything, sessionKeys())
	for name, test := range map[string]struct {
		mode    Mode
		without string
	}{
		"oidc without role":          {OIDC, "ALIBABA_CLOUD_ROLE_ARN"},
		"oidc without provider":      {OIDC, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"},
		"oidc without token file":    {OIDC, "ALIBABA_CLOUD_OIDC_TOKEN_FILE"},
		"environment without key":    {Environment, "ALIBABA_CLOUD_ACCESS_KEY_ID"},
		"environment without secret": {Environment, "ALIBABA_CLOUD_ACCESS_KEY_SECRET"},
	} {
		_, err := NewCredentials(CredentialsConfig{Mode: test.mode, Region: "cn-x", Getenv: func(name string) string {
			if name == test.without {
				return ""
			}
			return everything[name]
		}}, NewUsage())
		if !errors.Is(err, errUnset) || !strings.Contains(err.Error(), test.without) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, config := range map[string]CredentialsConfig{
		"no mode":             {Getenv: environment(everything)},
		"unknown mode":        {Mode: "default", Getenv: environment(everything)},
		"no region":           {Mode: OIDC, Getenv: environment(everything)},
		"metadata by HTTPS":   {Mode: ECSRole, MetadataURL: "https://h", Getenv: environment(nil)},
		"metadata with user":  {Mode: ECSRole, MetadataURL: "http://u:p@/", Getenv: environment(nil)},
		"the library's debug": {Mode: Environment, Getenv: environment(map[string]string{"DEBUG": "x,dara"})},
	} {
		if _, err := NewCredentials(config, NewUsage()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEnvironmentCredentials(t *testing.T) {
	t.Parallel()
	c := newCredentials(t, CredentialsConfig{Mode: Environment, Getenv: environment(sessionKeys())})
	got, err := c.get(t.Context())
	if want := (keys{testID, testSecret, testToken}); err != nil || got != want {
		t.Errorf("got %v", err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, got); strings.Contains(text, "test") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestOIDC(t *testing.T) {
	t.Parallel()
	path := writeToken(t, serviceAccountToken+"\n")
	var refuse bool
	var asked []string
	host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		asked = append(asked, r.PostForm.Get("OIDCToken"))
		if r.Method != http.MethodPost || r.URL.Query().Get("Action") != "AssumeRoleWithOIDC" || r.URL.Query().Get("Version") != "2015-04-01" ||
			r.PostForm.Get("RoleArn") != "acs:ram::1:role/r" || r.PostForm.Get("OIDCProviderArn") != "acs:ram::1:oidc-provider/p" {
			t.Errorf("it asked %s with %v", r.URL, r.PostForm)
		}
		if refuse {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"RequestId":"r","Code":"AuthenticationFail.OIDCToken.Expired","Message":%q}`, serviceAccountToken)
			return
		}
		fmt.Fprintf(w, `{"RequestId":"r","Credentials":%s}`, sessionJSON("STS.1", time.Now().Add(time.Hour)))
	})
	variables := roleVariables(path)
	variables["ALIBABA_CLOUD_STS_ENDPOINT"] = host
	c := newCredentials(t, CredentialsConfig{Mode: OIDC, Getenv: environment(variables), Insecure: true})
	for range 3 {
		if got, err := c.get(t.Context()); err != nil || got != (keys{"STS.1", testSecret, testToken}) {
			t.Fatalf("got %v", err)
		}
	}
	// The file was replaced meanwhile, and what was fetched is not known any more.
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.forget(t.Context(), keys{"STS.1", testSecret, testToken})
	if _, err := c.get(t.Context()); !errors.Is(err, collector.ErrForbidden) {
		t.Errorf("a moment later: %v", err)
	}
	c.fetched = time.Time{}
	refuse = true
	_, err := c.get(t.Context())
	if !errors.Is(err, collector.ErrForbidden) || strings.Contains(err.Error(), serviceAccountToken) || !strings.Contains(err.Error(), "OIDCToken.Expired") {
		t.Errorf("refused: %v", err)
	}
	refuse = false
	c.fetched = time.Time{}
	if _, err := c.get(t.Context()); err != nil {
		t.Error(err)
	}
	if want := []string{serviceAccountToken, "another", "another"}; !slices.Equal(asked, want) {
		t.Errorf("it asked with %v", asked)
	}
}

func TestOIDCAnswers(t *testing.T) {
	t.Parallel()
	good := sessionJSON("STS.1", time.Now().Add(time.Hour))
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"good":        {200, `{"Credentials":` + good + `}`, nil},
		"no object":   {200, `{"Credentials":null}`, collector.ErrDecode},
		"no key":      {200, `{"Credentials":{"Expiration":"2040-01-01T00:00:00Z"}}`, collector.ErrDecode},
		"no end":      {200, `{"Credentials":{"AccessKeyId":"a","AccessKeySecret":"b","SecurityToken":"c"}}`, collector.ErrDecode},
		"wrong end":   {200, `{"Credentials":{"AccessKeyId":"a","AccessKeySecret":"b","SecurityToken":"c","Expiration":"x"}}`, collector.ErrDecode},
		"in the past": {200, `{"Credentials":` + sessionJSON("a", time.Unix(1, 0)) + `}`, collector.ErrForbidden},
		"no JSON":     {200, `x`, collector.ErrDecode},
		"page":        {200, `<html>`, collector.ErrUnavailable},
		"no role":     {404, `{"RequestId":"r","Code":"EntityNotExist.Role"}`, collector.ErrForbidden},
		"no right":    {403, `{"RequestId":"r","Code":"NoPermission"}`, collector.ErrForbidden},
		"throttled":   {400, throttled, collector.ErrThrottled},
		"server":      {500, `{"RequestId":"r","Code":"InternalError"}`, collector.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			variables := roleVariables(writeToken(t, serviceAccountToken))
			variables["ALIBABA_CLOUD_STS_ENDPOINT"] = serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			c := newCredentials(t, CredentialsConfig{Mode: OIDC, Getenv: environment(variables), Insecure: true})
			_, err := c.get(t.Context())
			if !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil {
				checkClean(t, err, serviceAccountToken)
			}
		})
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"missing":   filepath.Join(t.TempDir(), "none"),
		"empty":     writeToken(t, " \n"),
		"too large": writeToken(t, strings.Repeat("x", maxToken+1)),
		"a folder":  t.TempDir(),
	} {
		if _, err := readToken(path); !errors.Is(err, collector.ErrForbidden) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestECSRole(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		hardened   bool
		role       string // what the service names
		configured string
		status     int
		body       string
		want       error
	}{
		"hardened":              {true, "r", "", 200, sessionJSON("STS.2", end), nil},
		"not hardened":          {false, "r\n", "", 200, sessionJSON("STS.2", end), nil},
		"role given":            {true, "", "r", 200, sessionJSON("STS.2", end), nil},
		"no role":               {true, "", "", 200, "", collector.ErrForbidden},
		"a path for a role":     {true, "../../user-data", "", 200, "", collector.ErrDecode},
		"lines for a role":      {true, "r\ns", "", 200, "", collector.ErrDecode},
		"not successful":        {true, "r", "", 200, `{"Code":"Failed"}`, collector.ErrForbidden},
		"without a code or end": {true, "r", "", 200, `{"AccessKeyId":"a"}`, collector.ErrForbidden},
		"without an end":        {true, "r", "", 200, `{"Code":"Success","AccessKeyId":"a","AccessKeySecret":"b","SecurityToken":"c"}`, collector.ErrDecode},
		"no JSON":               {true, "r", "", 200, `x`, collector.ErrDecode},
		"broken":                {true, "r", "", 500, `x`, collector.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if test.hardened && r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds") != "" {
					fmt.Fprint(w, "metatoken")
					return
				}
				if r.Method != http.MethodGet || test.hardened && r.Header.Get("X-Aliyun-Ecs-Metadata-Token") != "metatoken" {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				switch {
				case r.URL.Path == rolePath && test.role != "":
					fmt.Fprint(w, test.role)
				case r.URL.Path == rolePath+"r":
					w.WriteHeader(test.status)
					fmt.Fprint(w, test.body)
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			})
			c := newCredentials(t, CredentialsConfig{
				Mode: ECSRole, MetadataURL: "http://" + host, Getenv: environment(map[string]string{"ALIBABA_CLOUD_ECS_METADATA": test.configured}),
			})
			got, err := c.get(t.Context())
			if !errors.Is(err, test.want) || test.want == nil && (err != nil || got.id != "STS.2") {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if err != nil {
				checkClean(t, err, "metatoken")
			}
		})
	}
}

// made is Credentials that the function makes, in a time that is made up.
func made(fetch func() (session, error)) *Credentials {
	return &Credentials{mode: OIDC, busy: make(chan struct{}, 1), fetch: func(context.Context) (session, error) { return fetch() }}
}

func TestCredentialsAreRenewedBeforeTheirEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		fetches, broken := 0, false
		c := made(func() (session, error) {
			if fetches++; broken {
				return session{}, collector.ErrUnavailable
			}
			return session{keys{fmt.Sprint("k", fetches), "s", "t"}, time.Now().Add(time.Hour)}, nil
		})
		at := func(since time.Duration) string {
			<-time.After(time.Until(begin.Add(since)))
			k, err := c.get(t.Context())
			if err != nil {
				return string(collector.ReasonOf(err))
			}
			return k.id
		}
		for _, step := range []struct {
			since   time.Duration
			broken  bool
			want    string
			fetches int
		}{
			{0, false, "k1", 1},
			{49 * time.Minute, false, "k1", 1},
			{51 * time.Minute, true, "k1", 2}, // the old ones are good still
			{51*time.Minute + time.Second, true, "k1", 2},
			{59 * time.Minute, true, "k1", 3},
			{61 * time.Minute, true, "unavailable", 4},
			{61*time.Minute + time.Second, false, "unavailable", 4}, // not asked so soon again
			{62 * time.Minute, false, "k5", 5},                      // it heals by itself
		} {
			broken = step.broken
			if got := at(step.since); got != step.want || fetches != step.fetches {
				t.Errorf("after %s: %s and %d fetches, want %s and %d", step.since, got, fetches, step.want, step.fetches)
			}
		}
	})
}

func TestWhoWaitsForCredentialsCanGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Credentials{busy: make(chan struct{}, 1), fetch: func(ctx context.Context) (session, error) {
			<-ctx.Done()
			return session{}, ctx.Err()
		}}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				if _, err := c.get(ctx); collector.ReasonOf(err) != collector.ReasonTimeout || time.Since(begin) != time.Second {
					t.Errorf("%v after %s", err, time.Since(begin))
				}
			})
		}
		wg.Wait()
		// That they gave up does not count against the next one.
		c.fetch = func(context.Context) (session, error) {
			return session{keys{"k", "s", "t"}, time.Now().Add(time.Hour)}, nil
		}
		if _, err := c.get(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A session that the API does not know any more is fetched anew, a static key cannot be.
func TestForgottenCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		known := "k1"
		c := inMemory(t, nil, func(r *http.Request) (int, http.Header, string) {
			if !strings.Contains(r.Header.Get("Authorization"), "Credential="+known+",") {
				return 400, nil, `{"RequestId":"r","Code":"InvalidSecurityToken.Expired"}`
			}
			return 200, nil, fine
		})
		c.credentials = made(func() (session, error) {
			fetches++
			return session{keys{fmt.Sprint("k", fetches), "s", "t"}, time.Now().Add(time.Hour)}, nil
		})
		if err := ping(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		known = "k2"
		if err := ping(t.Context(), c); !errors.Is(err, collector.ErrForbidden) {
			t.Errorf("got %v", err)
		}
		if err := ping(t.Context(), c); err != nil || fetches != 2 {
			t.Errorf("%v after %d fetches", err, fetches)
		}
	})
}

// Without credentials nothing is sent, which counts as forbidden.
func TestLostCredentialsAreCounted(t *testing.T) {
	t.Parallel()
	c := inMemory(t, nil, func(*http.Request) (int, http.Header, string) {
		t.Error("it asked")
		return 200, nil, fine
	})
	variables := roleVariables(filepath.Join(t.TempDir(), "none"))
	c.credentials = newCredentials(t, CredentialsConfig{Mode: OIDC, Region: "cn-x", Network: VPCNetwork, Getenv: environment(variables)})
	if err := ping(t.Context(), c); !errors.Is(err, collector.ErrForbidden) {
		t.Errorf("got %v", err)
	}
	got, err := collectortest.Collect(t, c.usage)
	if err != nil || !strings.Contains(got, `{action="DescribeLoadBalancers",product="slb",result="forbidden"} 1`) {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestConcurrentCredentials(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	fetches := 0
	c := made(func() (session, error) {
		mu.Lock()
		defer mu.Unlock()
		fetches++
		return session{keys{"k", "s", "t"}, time.Now().Add(time.Hour)}, nil
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.get(t.Context()); err != nil {
				t.Error(err)
			}
			c.forget(t.Context(), keys{"other", "s", "t"})
		})
	}
	wg.Wait()
	if fetches != 1 {
		t.Errorf("%d fetches", fetches)
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(sessionJSON("STS.1", time.Unix(4e9, 0))))
	f.Add([]byte(`{"Code":null,"Expiration":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		client := &http.Client{Transport: answers(func(*http.Request) (int, http.Header, string) {
			return 200, nil, string(body)
		})}
		m := metadataService{fetcher{roleCredentials, client, NewUsage()}, "http://metadata.test", "r"}
		got, err := m.session(t.Context())
		if (err == nil) == (got.keys == (keys{}) || got.end.IsZero()) {
			t.Errorf("got %v, %v", got.end, err)
		}
	})
}
