//go:build e2e

// Package cloud simulates the OpenAPI of Alibaba Cloud as far as the exporter asks
// it: ECS, SLB, VPC, Quota Center and STS of one account in one region, behind one
// handler. It shares no code with the exporter or with the libraries of the vendor,
// so that a misunderstanding is not made twice: the signature, the parameters, the
// pages and the shapes of the answers are written from the documentation of the API.
//
// What the documentation leaves open, the simulation answers in the stricter way. A
// parameter that an action does not have is an error, so that misspellings show.
//
// The account is empty at first. Its tables are filled and changed while it serves,
// by hand or as the cloud controller manager would do it for a Service; Fail makes
// calls fail; Calls tells what was asked.
package cloud

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxBody bounds a request.
const maxBody = 1 << 20

// DefaultRegion is the region of a Config that names none.
const DefaultRegion = "cn-test"

// Config is what an account is from the beginning.
type Config struct {
	// Region is where everything is; empty: DefaultRegion.
	Region string
	// Policy is the JSON of the RAM policy that all keys and sessions have. Nothing
	// else is allowed.
	Policy []byte
	// Keys are access keys without an end.
	Keys []Key
	// Role is what can be assumed with a token of a service account.
	Role Role
	// Refuse answers DescribeInstances without the right to it with 403 as all other
	// actions do. Otherwise the answer is an empty list: both are documented.
	Refuse bool
}

// Cloud is an account. It is an http.Handler, and safe for concurrent use.
type Cloud struct {
	Instances     *Table[Instance]
	LoadBalancers *Table[LoadBalancer]
	Listeners     *Table[Listener]
	ServerGroups  *Table[ServerGroup]
	Certificates  *Table[Certificate]
	AccessLists   *Table[AccessList]
	RouteTables   *Table[RouteTable]
	RouteEntries  *Table[RouteEntry]
	VSwitches     *Table[VSwitch]
	Quotas        *Table[Quota]

	region  string
	role    Role
	refuse  bool
	actions map[string]action
	// secret makes tokens of pages and of sessions that nobody can make up.
	secret []byte

	// mu guards what is below, and the tables.
	mu         sync.Mutex
	policy     policy
	forbidden  map[string]bool
	keys       map[string]Key
	tokens     map[string]bool
	lifetime   time.Duration
	nonces     map[string]time.Time
	dimensions map[string]bool
	faults     []*planned
	calls      []Call
	addresses  int
}

// New makes a Cloud. A policy that cannot be read, or says what is not simulated, is
// an error.
func New(config Config) (*Cloud, error) {
	allowed, err := parsePolicy(config.Policy)
	if err != nil {
		return nil, fmt.Errorf("RAM policy: %w", err)
	}
	c := &Cloud{
		region: config.Region, role: config.Role, refuse: config.Refuse, policy: allowed,
		actions: make(map[string]action), secret: make([]byte, 32),
		forbidden: make(map[string]bool), keys: make(map[string]Key), tokens: make(map[string]bool),
		nonces: make(map[string]time.Time), dimensions: make(map[string]bool),
	}
	_, _ = rand.Read(c.secret) // never fails
	if c.region == "" {
		c.region = DefaultRegion
	}
	for _, key := range config.Keys {
		c.keys[key.ID] = key
	}
	for _, token := range config.Role.Tokens {
		c.tokens[token] = true
	}
	c.Instances, c.LoadBalancers, c.Listeners = newTable[Instance](&c.mu), newTable[LoadBalancer](&c.mu), newTable[Listener](&c.mu)
	c.ServerGroups, c.Certificates, c.AccessLists = newTable[ServerGroup](&c.mu), newTable[Certificate](&c.mu), newTable[AccessList](&c.mu)
	c.RouteTables, c.RouteEntries, c.VSwitches = newTable[RouteTable](&c.mu), newTable[RouteEntry](&c.mu), newTable[VSwitch](&c.mu)
	c.Quotas = newTable[Quota](&c.mu)
	for _, all := range [][]action{c.ecs(), c.slb(), c.vpc(), c.quotas()} {
		for _, a := range all {
			c.actions[a.String()] = a
		}
	}
	return c, nil
}

// Region is the region of the account.
func (c *Cloud) Region() string { return c.region }

// Actions lists the actions that are simulated and need a right, as RAM writes them:
// ecs:DescribeInstances.
func (c *Cloud) Actions() []string { return sortedKeys(c.actions) }

// Flags are the flags of the exporter that have it ask a simulation at host:port.
// They name neither credentials nor the metadata service.
func (c *Cloud) Flags(host string) []string {
	flags := []string{"--cloud.region=" + c.region, "--cloud.insecure"}
	for _, product := range []string{ecs, slb, vpc, quotas} {
		flags = append(flags, "--cloud.endpoint="+product+"="+host)
	}
	return flags
}

// Serve serves a handler until stop is called, which also ends what hangs.
func Serve(listener net.Listener, handler http.Handler) (stop func() error) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return func() error {
		err := server.Close()
		<-done
		return err
	}
}

// The products, as RAM writes them.
const (
	ecs    = "ecs"
	slb    = "slb"
	vpc    = "vpc"
	quotas = "quotas"
)

// versions tell products apart: requests do not name them.
var versions = map[string]string{"2014-05-26": ecs, "2014-05-15": slb, "2016-04-28": vpc, "2020-05-10": quotas}

// object is an object of an answer.
type object = map[string]any

// action is one call that a product has.
type action struct {
	product, name string
	parameters    []parameter
	// answer is called with the lock held.
	answer func(query) (object, error)
}

// String is the name of the action for RAM.
func (a action) String() string { return a.product + ":" + a.name }

// refusal is an answer that is an error.
type refusal struct {
	status        int
	code, message string
	detail        object
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

func refuse(status int, code, format string, arguments ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, arguments...)}
}

// request is what a handler gets, with its body read.
type request struct {
	*http.Request
	body []byte
}

// reply is an answer before a fault changes how it is sent.
type reply struct {
	status int
	code   string
	body   object
}

// ServeHTTP implements http.Handler.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	in := request{r, body}
	name := nameOf(r)
	begin := time.Now()
	fault := c.take(name)
	answer := c.handle(in, name, fault)
	if unanswered := fault.Kind == Hang || fault.Kind == Close; unanswered {
		answer = reply{}
	}
	c.note(Call{Action: name, Time: begin, Status: answer.status, Code: answer.code, Parameters: parametersOf(in)})
	fault.send(w, r, answer)
}

// nameOf is the action that a request is about, also where there is none like it.
func nameOf(r *http.Request) string {
	if name := r.URL.Query().Get("Action"); name != "" && r.Header.Get("X-Acs-Action") == "" {
		return stsName(r.URL.Query().Get("Version"), name)
	}
	return versions[r.Header.Get("X-Acs-Version")] + ":" + r.Header.Get("X-Acs-Action")
}

// parametersOf are the parameters of a request, wherever they are.
func parametersOf(r request) url.Values {
	all := r.URL.Query()
	form, err := url.ParseQuery(string(r.body))
	if err != nil {
		return all
	}
	for name, values := range form {
		if !strings.Contains(name, "Token") || name == "NextToken" {
			all[name] = append(all[name], values...)
		}
	}
	return all
}

// handle is the answer to a request.
func (c *Cloud) handle(r request, name string, fault Fault) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer, err := c.answer(r, name, fault)
	id := requestID()
	if refused, ok := errors.AsType[*refusal](err); ok {
		body := object{"RequestId": id, "HostId": r.Host, "Code": refused.code, "Message": refused.message, "Recommend": ""}
		if refused.detail != nil {
			body["AccessDeniedDetail"] = refused.detail
		}
		return reply{status: refused.status, code: refused.code, body: body}
	}
	answer["RequestId"] = id
	return reply{status: http.StatusOK, body: answer}
}

func (c *Cloud) answer(r request, name string, fault Fault) (object, error) {
	if refused := fault.refusal(); refused != nil {
		return nil, refused
	}
	if name == assumeRole {
		return c.assume(r, fault)
	}
	a, ok := c.actions[name]
	if !ok || r.Method != http.MethodPost || r.URL.Path != "/" {
		return nil, refuse(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.")
	}
	if err := c.authenticate(r, time.Now().Add(fault.skew())); err != nil {
		return nil, err
	}
	q, err := c.parse(r, a)
	if err != nil {
		return nil, err
	}
	if fault.Kind == Deny || !c.allowed(name) {
		return c.deny(a, q)
	}
	if q.text("DryRun") == "true" {
		return nil, refuse(http.StatusBadRequest, "DryRunOperation", "Request validation has been passed with DryRun flag set.")
	}
	if region := q.text("RegionId"); region != "" && region != c.region {
		return nil, refuse(http.StatusNotFound, "InvalidRegionId.NotFound", "The specified RegionId does not exist.")
	}
	return a.answer(q)
}

// deny is the answer to who has no right to an action.
func (c *Cloud) deny(a action, q query) (object, error) {
	if a.String() == describeInstances && !c.refuse && q.text("DryRun") != "true" {
		return instancesPage(nil, object{"NextToken": "", "TotalCount": 0, "PageNumber": 0, "PageSize": 0}), nil
	}
	code := "Forbidden.RAM"
	if a.product == quotas {
		code = "NoPermission"
	}
	refused := refuse(http.StatusForbidden, code, "User not authorized to operate on the specified resource, or this API doesn't support RAM.")
	refused.detail = object{
		"AuthAction": a.String(), "AuthPrincipalType": "AssumedRoleUser", "AuthPrincipalOwnerId": account,
		"AuthPrincipalDisplayName": "ack-exporter:ack-exporter", "NoPermissionType": "ImplicitDeny",
		"PolicyType": "AccountLevelIdentityBasedPolicy", "EncodedDiagnosticMessage": "AQFDaW11bGF0ZWQ=",
	}
	return nil, refused
}

// account is the id of the account.
const account = "1000000000000000"

// requestID is an id in the form of the API.
func requestID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	s := strings.ToUpper(hex.EncodeToString(b))
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// encode is an answer as bytes.
func encode(body object) []byte {
	b, err := json.Marshal(body)
	if err != nil {
		// Answers are made of texts, numbers, booleans, lists and objects.
		panic(err)
	}
	return b
}
