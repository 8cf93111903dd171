package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/aliyun/credentials-go/credentials"

	"ack-exporter/collector"
)

// Mode is where credentials come from. There is no fall-through from one to another:
// a mistake in one would otherwise act with the rights of the next.
type Mode string

// The modes.
const (
	// OIDC exchanges the token of the service account for the rights of a role (RRSA).
	OIDC Mode = "oidc"
	// Environment takes an access key, with or without a session token.
	Environment Mode = "environment"
	// ECSRole takes the role of the instance from the metadata service.
	ECSRole Mode = "ecs-role"
)

const (
	metadataURL = "http://100.100.100.200"
	// metadataTokenTTL is long enough for the few requests that follow.
	metadataTokenTTL = "60"
	// maxToken bounds the token file, maxCredentials an answer with credentials.
	maxToken       = 64 << 10
	sessionName    = "ack-exporter"
	sessionSeconds = "3600"
	// fetchTimeout bounds fetching credentials.
	fetchTimeout = 10 * time.Second
	// refreshBefore is how long before their end credentials are replaced. Those of
	// an instance are there 30 minutes before.
	refreshBefore = 10 * time.Minute
	// fetchPause is the least time between two fetches.
	fetchPause = 10 * time.Second
)

var (
	errMode     = errors.New(`not one of "oidc", "environment", "ecs-role"`)
	errUnset    = errors.New("not set")
	errDebug    = errors.New("DEBUG=dara would print credentials")
	errMetadata = errors.New("not a URL with http and a host")
)

// keys are what signs a request. Nothing prints them.
type keys struct {
	id, secret, token string
}

func (keys) String() string { return "[credentials]" }

// GoString is for %#v.
func (keys) GoString() string { return "[credentials]" }

func (k keys) secrets() []string { return []string{k.id, k.secret, k.token} }

func (k keys) credential() (credentials.Credential, error) {
	config := &credentials.Config{Type: new("access_key"), AccessKeyId: &k.id, AccessKeySecret: &k.secret}
	if k.token != "" {
		config.Type, config.SecurityToken = new("sts"), &k.token
	}
	return credentials.NewCredential(config)
}

// session are keys that end; end is zero for those that do not.
type session struct {
	keys keys
	end  time.Time
}

// Credentials keeps the credentials of one mode, and renews them before their end. It
// is safe for concurrent use.
type Credentials struct {
	mode  Mode
	fetch func(context.Context) (session, error)
	// busy holds one token while somebody reads or writes what is below.
	busy    chan struct{}
	current session
	fetched time.Time // when a fetch was begun last
	failed  error     // what came of it
}

// CredentialsConfig says how credentials are fetched.
type CredentialsConfig struct {
	Mode Mode
	// Getenv reads the environment, which is where all of these credentials begin.
	Getenv func(string) string
	// Region and Network say which endpoint of STS to use, unless the environment does.
	Region  string
	Network Network
	// MetadataURL takes the place of http://100.100.100.200.
	MetadataURL string
	// Insecure asks STS by HTTP in place of HTTPS.
	Insecure bool
}

// NewCredentials makes Credentials. Nothing is asked yet; a variable that the mode
// needs and that is not set is an error.
func NewCredentials(config CredentialsConfig, usage *Usage) (*Credentials, error) {
	for flag := range strings.SplitSeq(config.Getenv("DEBUG"), ",") {
		if flag == "dara" {
			return nil, errDebug
		}
	}
	c := &Credentials{mode: config.Mode, busy: make(chan struct{}, 1)}
	var err error
	switch config.Mode {
	case OIDC:
		c.fetch, err = fromOIDC(config, usage)
	case Environment:
		c.fetch, err = fromEnvironment(config)
	case ECSRole:
		c.fetch, err = fromMetadata(config, usage)
	default:
		err = errMode
	}
	if err != nil {
		return nil, fmt.Errorf("credentials %q: %w", config.Mode, err)
	}
	return c, nil
}

func required(getenv func(string) string, names ...string) ([]string, error) {
	values := make([]string, 0, len(names))
	for _, name := range names {
		value := getenv(name)
		if value == "" {
			return nil, fmt.Errorf("%s: %w", name, errUnset)
		}
		values = append(values, value)
	}
	return values, nil
}

// get returns keys that are still good. Those that cannot be renewed are used to
// their end.
func (c *Credentials) get(ctx context.Context) (keys, error) {
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return keys{}, fmt.Errorf("waiting for credentials: %w", ctx.Err())
	}
	now := time.Now()
	known := c.current.keys != keys{}
	if known && (c.current.end.IsZero() || c.current.end.Sub(now) > refreshBefore) {
		return c.current.keys, nil
	}
	if c.fetched.IsZero() || now.Sub(c.fetched) >= fetchPause {
		c.renew(ctx, now)
	}
	if (c.current.keys != keys{}) && (c.current.end.IsZero() || time.Now().Before(c.current.end)) {
		return c.current.keys, nil
	}
	if c.failed != nil {
		return keys{}, c.failed
	}
	return keys{}, fmt.Errorf("credentials %q are not good any more: %w", c.mode, collector.ErrForbidden)
}

func (c *Credentials) renew(ctx context.Context, now time.Time) {
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	fresh, err := c.fetch(limited)
	if ctx.Err() != nil {
		// Who asked has gone; that says nothing to the next one.
		c.failed = fmt.Errorf("credentials %q: %w", c.mode, ctx.Err())
		return
	}
	c.fetched = now
	c.failed = nil
	if err != nil {
		c.failed = fmt.Errorf("credentials %q: %w", c.mode, err)
		return
	}
	c.current = fresh
}

// forget drops keys that the API does not know, so that others are fetched.
func (c *Credentials) forget(ctx context.Context, k keys) {
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return
	}
	if c.current.keys == k {
		c.current = session{}
	}
}

func fromEnvironment(config CredentialsConfig) (func(context.Context) (session, error), error) {
	values, err := required(config.Getenv, "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
	if err != nil {
		return nil, err
	}
	s := session{keys: keys{id: values[0], secret: values[1], token: config.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN")}}
	return func(context.Context) (session, error) { return s, nil }, nil
}

// sessionAnswer is how STS and the metadata service write credentials.
type sessionAnswer struct {
	Code            string
	AccessKeyID     string `json:"AccessKeyId"`
	AccessKeySecret string
	SecurityToken   string
	Expiration      Time
}

func (a sessionAnswer) session(action Action) (session, error) {
	if a.AccessKeyID == "" || a.AccessKeySecret == "" || a.SecurityToken == "" || a.Expiration.IsZero() {
		return session{}, decodeError(action, "a part of the credentials is missing")
	}
	return session{keys: keys{a.AccessKeyID, a.AccessKeySecret, a.SecurityToken}, end: a.Expiration.Time}, nil
}

// fetcher asks where credentials come from.
type fetcher struct {
	action Action
	client *http.Client
	usage  *Usage
}

// do sends one request. Everything but an answer of 200 is an error.
func (f fetcher) do(request *http.Request, secrets ...string) (*answer, error) {
	begin := time.Now()
	got, err := f.judge(request, secrets)
	f.usage.sent(f.action, time.Since(begin), err)
	return got, err
}

func (f fetcher) judge(request *http.Request, secrets []string) (*answer, error) {
	got, err := exchange(f.client, request)
	if err != nil {
		return nil, unsent(request.Context(), f.action, err)
	}
	e := failure(f.action, got, secrets)
	if e == nil {
		return got, nil
	}
	if got.status >= 400 && got.status < 500 && !errors.Is(e.kind, collector.ErrThrottled) {
		// Whatever the reason, there are no rights.
		e.kind = collector.ErrForbidden
	}
	return nil, e
}

// fromOIDC exchanges the token of the service account. The file is read anew each
// time, since the kubelet replaces it.
func fromOIDC(config CredentialsConfig, usage *Usage) (func(context.Context) (session, error), error) {
	values, err := required(config.Getenv, "ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE")
	if err != nil {
		return nil, err
	}
	host := config.Getenv("ALIBABA_CLOUD_STS_ENDPOINT")
	if host == "" && !regionForm.MatchString(config.Region) {
		return nil, fmt.Errorf("region %q: %w", config.Region, errRegion)
	}
	if host == "" {
		host = sts.endpoint(config.Region, config.Network)
	}
	if !hostForm.MatchString(host) {
		return nil, fmt.Errorf("ALIBABA_CLOUD_STS_ENDPOINT: %w", errHost)
	}
	target := url.URL{Scheme: "https", Host: host, Path: "/"}
	if config.Insecure {
		target.Scheme = "http"
	}
	f := fetcher{assumeRole, newHTTPClient(http.ProxyFromEnvironment), usage}
	return func(ctx context.Context) (session, error) {
		return f.assume(ctx, target, values[0], values[1], values[2])
	}, nil
}

func (f fetcher) assume(ctx context.Context, target url.URL, role, provider, tokenFile string) (session, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return session{}, err
	}
	facts, _ := sts.facts()
	target.RawQuery = url.Values{
		"Action": {f.action.Name}, "Version": {facts.version}, "Format": {"JSON"},
		"Timestamp": {time.Now().UTC().Format(time.RFC3339)},
	}.Encode()
	form := url.Values{
		"RoleArn": {role}, "OIDCProviderArn": {provider}, "OIDCToken": {token},
		"RoleSessionName": {sessionName}, "DurationSeconds": {sessionSeconds},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return session{}, &Error{Action: f.action, kind: collector.ErrUnavailable, detail: "no request can be made"}
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := f.do(request, token)
	if err != nil {
		return session{}, err
	}
	var body struct{ Credentials sessionAnswer }
	if err := json.Unmarshal(got.body, &body); err != nil {
		return session{}, decodeError(f.action, "the answer is not the JSON of STS")
	}
	return body.Credentials.session(f.action)
}

// readToken reads the token of the service account. Without it there are no rights.
func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("token file %s: %s: %w", path, cause(err), collector.ErrForbidden)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("token file %s: %s: %w", path, cause(err), collector.ErrForbidden)
	}
	token := strings.TrimSpace(string(content))
	if token == "" || len(content) > maxToken {
		return "", fmt.Errorf("token file %s: empty or larger than %d bytes: %w", path, maxToken, collector.ErrForbidden)
	}
	return token, nil
}

// cause is an error of a file without its path.
func cause(err error) string {
	if wrapped, ok := errors.AsType[*os.PathError](err); ok {
		return wrapped.Err.Error()
	}
	return err.Error()
}

// fromMetadata asks the metadata service, never through a proxy: it is the instance's
// own, and refuses whoever it cannot see.
func fromMetadata(config CredentialsConfig, usage *Usage) (func(context.Context) (session, error), error) {
	base := config.MetadataURL
	if base == "" {
		base = metadataURL
	}
	parsed, err := url.Parse(base)
	if err != nil || parsed.Scheme != "http" || !hostForm.MatchString(parsed.Host) {
		return nil, fmt.Errorf("metadata service: %w", errMetadata)
	}
	m := metadataService{
		fetcher: fetcher{roleCredentials, newHTTPClient(nil), usage},
		base:    "http://" + parsed.Host, role: config.Getenv("ALIBABA_CLOUD_ECS_METADATA"),
	}
	return m.session, nil
}

type metadataService struct {
	fetcher
	base, role string
}

var roleForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

const rolePath = "/latest/meta-data/ram/security-credentials/"

func (m metadataService) session(ctx context.Context) (session, error) {
	token, err := m.token(ctx)
	if err != nil {
		return session{}, err
	}
	role := m.role
	if role == "" {
		body, err := m.get(ctx, rolePath, token)
		if err != nil {
			return session{}, err
		}
		role = strings.TrimSpace(string(body))
	}
	if !roleForm.MatchString(role) {
		return session{}, decodeError(m.action, "not the name of a role")
	}
	body, err := m.get(ctx, rolePath+role, token)
	if err != nil {
		return session{}, err
	}
	var a sessionAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return session{}, decodeError(m.action, "the answer is not the JSON of the metadata service")
	}
	if a.Code != "Success" {
		return session{}, &Error{Action: m.action, kind: collector.ErrForbidden, detail: "the instance has no credentials"}
	}
	return a.session(m.action)
}

// token asks for what the hardened mode needs. Where the service does not know that
// mode, it works without: the token is "" then.
func (m metadataService) token(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, m.base+"/latest/api/token", http.NoBody)
	if err != nil {
		return "", &Error{Action: m.action, kind: collector.ErrUnavailable, detail: "no request can be made"}
	}
	request.Header.Set("X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds", metadataTokenTTL)
	got, err := m.do(request)
	if failed, ok := errors.AsType[*Error](err); ok && failed.Status != 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(got.body)), nil
}

func (m metadataService) get(ctx context.Context, path, token string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.base+path, nil)
	if err != nil {
		return nil, &Error{Action: m.action, kind: collector.ErrUnavailable, detail: "no request can be made"}
	}
	if token != "" {
		request.Header.Set("X-Aliyun-Ecs-Metadata-Token", token)
	}
	got, err := m.do(request, token)
	if err != nil {
		return nil, err
	}
	return got.body, nil
}
