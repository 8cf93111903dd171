//go:build e2e

package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	auditLog = "audit.log"
	// maxAuditEvent is many times what an event at the level Metadata takes.
	maxAuditEvent = 1 << 20
)

// auditPolicy logs each request once it is answered, and a watch also when its
// answer begins.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [` + adminUser + `, "system:apiserver"]
- level: Metadata
`

// Request is something that a user asked the API for.
type Request struct {
	Time      time.Time
	Verb      string
	Group     string // empty for the core group
	Resource  string // empty where Path is not that of a resource
	Sub       string // the subresource
	Namespace string // empty for all namespaces
	Name      string

	LabelSelector, FieldSelector string
	// Path and Query are what was asked for as it was asked.
	Path  string
	Query url.Values
	// Code is the status of the answer. It is 403 where RBAC forbids.
	Code      int
	UserAgent string
	// From is the address of the client.
	From string
}

// String is for messages of tests.
func (r Request) String() string {
	return fmt.Sprintf("%s %s?%s: %d", r.Verb, r.Path, r.Query.Encode(), r.Code)
}

// auditEvent is what is used of an event (audit.k8s.io/v1).
type auditEvent struct {
	AuditID    string    `json:"auditID"`
	RequestURI string    `json:"requestURI"`
	Verb       string    `json:"verb"`
	UserAgent  string    `json:"userAgent"`
	SourceIPs  []string  `json:"sourceIPs"`
	Received   time.Time `json:"requestReceivedTimestamp"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// Requests returns what a user has asked for since the cluster was started, in
// the order of the answers. A request is logged after its answer: one that has
// just been answered may not be there yet.
func (c *Cluster) Requests(user string) ([]Request, error) {
	f, err := os.Open(c.path(auditLog))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	requests, err := parseAudit(f, user)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return requests, nil
}

func parseAudit(r io.Reader, user string) ([]Request, error) {
	var requests []Request
	seen := make(map[string]bool)
	lines := bufio.NewReaderSize(r, maxAuditEvent)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			// What there is of the last line is still being written.
			return requests, nil
		}
		if err != nil {
			return nil, err
		}
		var e auditEvent
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return nil, fmt.Errorf("%w in %.200q", err, line)
		}
		if e.User.Username != user || seen[e.AuditID] {
			continue
		}
		seen[e.AuditID] = true
		request, err := e.request()
		if err != nil {
			return nil, err
		}
		requests = append(requests, request)
	}
}

func (e *auditEvent) request() (Request, error) {
	uri, err := url.ParseRequestURI(e.RequestURI)
	if err != nil {
		return Request{}, err
	}
	query := uri.Query()
	return Request{
		Time: e.Received, Verb: e.Verb,
		Group: e.ObjectRef.APIGroup, Resource: e.ObjectRef.Resource, Sub: e.ObjectRef.Subresource,
		Namespace: e.ObjectRef.Namespace, Name: e.ObjectRef.Name,
		LabelSelector: query.Get("labelSelector"), FieldSelector: query.Get("fieldSelector"),
		Path: uri.Path, Query: query,
		Code: e.ResponseStatus.Code, UserAgent: e.UserAgent, From: strings.Join(e.SourceIPs, ","),
	}, nil
}
