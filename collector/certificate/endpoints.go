package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

// endpointMaxName bounds a name of the DNS.
const endpointMaxName = 253

// apiServerService is the Service by which pods call the API server.
const apiServerService = "kubernetes"

// Target is a TLS server besides the API server.
type Target struct {
	// Address is host:port.
	Address string
	// Name is whom clients want; empty is the host of the address.
	Name string
}

// ParseTargets reads targets that are written as host:port or host:port#name.
func ParseTargets(written []string) ([]Target, error) {
	var targets []Target
	for _, w := range written {
		t, err := parseTarget(w)
		if err != nil {
			return nil, fmt.Errorf("%.300q: %w", w, err)
		}
		if slices.Contains(targets, t) {
			return nil, fmt.Errorf("%.300q is there twice", w)
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func parseTarget(written string) (Target, error) {
	address, name, named := strings.Cut(written, "#")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Target{}, err
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return Target{}, errors.New("the port is not a number from 1 to 65535")
	}
	if err := checkEndpointName(host); err != nil {
		return Target{}, fmt.Errorf("the host %w", err)
	}
	if named {
		if err := checkEndpointName(name); err != nil {
			return Target{}, fmt.Errorf("the name of the server %w", err)
		}
	}
	return Target{Address: address, Name: name}, nil
}

// CheckNames tells whether these can be names or addresses of a server.
func CheckNames(names []string) error {
	for _, name := range names {
		if err := checkEndpointName(name); err != nil {
			return fmt.Errorf("%.300q %w", name, err)
		}
	}
	return nil
}

func checkEndpointName(name string) error {
	switch {
	case net.ParseIP(name) != nil:
		return nil
	case name == "" || len(name) > endpointMaxName:
		return fmt.Errorf("has %d bytes, not 1 to %d", len(name), endpointMaxName)
	case strings.ContainsFunc(name, notInEndpointName):
		return errors.New("is neither an IP address nor a name of the DNS")
	}
	return nil
}

func notInEndpointName(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

// EndpointsConfig says which TLS servers are asked.
type EndpointsConfig struct {
	// API is how the exporter reaches the API server.
	API *rest.Config
	// Names are further names and addresses by which clients call the API server.
	Names []string
	// Targets are further servers.
	Targets []Target
	// Nodes and Services are all of the cluster.
	Nodes    kube.Lister[*corev1.Node]
	Services kube.Lister[*corev1.Service]
	Prober   EndpointProber
}

// Endpoints tells of the certificates that the API server and other TLS servers
// present.
type Endpoints struct {
	config EndpointsConfig
	api    *url.URL
}

// NewEndpoints makes Endpoints.
func NewEndpoints(config EndpointsConfig) (*Endpoints, error) {
	if err := errors.Join(config.Prober.validate(), CheckNames(config.Names)); err != nil {
		return nil, err
	}
	api, _, err := rest.DefaultServerUrlFor(config.API)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	return &Endpoints{config, api}, nil
}

// Families implements collector.Collector.
func (*Endpoints) Families() []*collector.Family { return families() }

// endpoint is a server, and what its clients expect of it.
type endpoint struct {
	location string
	key      string
	address  endpointAddress
	class    Class
	names    []string
	// trust is nil where it is not known whom its clients trust.
	trust *endpointTrust
}

// Collect implements collector.Collector. A server that does not answer hides no
// other one, and is no failure of the exporter.
func (e *Endpoints) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	var errs []error
	var endpoints []endpoint
	if e.api.Scheme == "https" {
		api, err := e.apiServer()
		errs = append(errs, err)
		endpoints = append(endpoints, api)
	}
	for _, t := range e.config.Targets {
		endpoints = append(endpoints, t.endpoint())
	}
	if len(endpoints) == 0 {
		return nil, fmt.Errorf("no TLS server to ask: %w", collector.ErrNotApplicable)
	}
	addresses := make([]endpointAddress, 0, len(endpoints))
	for _, one := range endpoints {
		if !slices.Contains(addresses, one.address) {
			addresses = append(addresses, one.address)
		}
	}
	answers, err := e.config.Prober.ask(ctx, addresses)
	errs = append(errs, err)
	entries, err := endpointEntries(endpoints, answers)
	errs = append(errs, err)
	var complete []Source
	if len(answers) == len(addresses) {
		complete = []Source{SourceEndpoint}
	}
	return exposition(entries, complete...), errors.Join(errs...)
}

func (t Target) endpoint() endpoint {
	name := t.Name
	if name == "" {
		name, _, _ = net.SplitHostPort(t.Address)
	}
	return endpoint{
		location: t.Address, key: t.Name, class: ClassManual, names: []string{name},
		address: endpointAddress{dial: t.Address, name: name},
	}
}

// apiServer is complete where it does not fail. Where it does, what is not known of
// the API server is neither expected nor excused.
func (e *Endpoints) apiServer() (endpoint, error) {
	host, port := e.api.Hostname(), e.api.Port()
	if port == "" {
		port = strconv.Itoa(httpsPort)
	}
	name := host
	if e.config.API.ServerName != "" {
		name = e.config.API.ServerName
	}
	location := net.JoinHostPort(host, port)
	addresses, errServices := e.clusterAddresses()
	class, errNodes := e.class()
	trust, errTrust := endpointTrustOf(e.config.API)
	names := slices.Concat(
		[]string{name, apiServerService, apiServerService + ".default", apiServerService + ".default.svc"},
		addresses, e.config.Names)
	return endpoint{
		location: location, class: class, names: names, trust: trust,
		address: endpointAddress{dial: location, name: name},
	}, errors.Join(errServices, errNodes, errTrust)
}

// clusterAddresses are the cluster IPs of the Service of the API server.
func (e *Endpoints) clusterAddresses() ([]string, error) {
	services, err := e.config.Services.List()
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		if s.Namespace == metav1.NamespaceDefault && s.Name == apiServerService {
			return s.Spec.ClusterIPs, nil
		}
	}
	return nil, nil
}

// class is automatic in a managed cluster, which has no node for the control plane:
// there the certificates are renewed out of sight.
func (e *Endpoints) class() (Class, error) {
	nodes, err := e.config.Nodes.List()
	if err != nil {
		return ClassManual, err
	}
	if slices.ContainsFunc(nodes, kube.IsControlPlane) {
		return ClassManual, nil
	}
	return ClassAutomatic, nil
}

// endpointTrustOf is whom the exporter itself trusts as the API server; nil where
// it trusts anybody.
func endpointTrustOf(config *rest.Config) (*endpointTrust, error) {
	if config.Insecure {
		return nil, nil
	}
	bundle := config.CAData
	if len(bundle) == 0 {
		if config.CAFile == "" {
			return &endpointTrust{}, nil
		}
		var err error
		if bundle, err = readEndpointCA(config.CAFile); err != nil {
			return nil, fmt.Errorf("CA of the API server: %w", err)
		}
	}
	certificates, reasons := decode(bundle)
	if len(certificates) == 0 {
		return nil, fmt.Errorf("CA of the API server: %v: %w", reasons, collector.ErrDecode)
	}
	trust := newEndpointTrust(certificates)
	return &trust, nil
}

func readEndpointCA(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBundle+1))
}

// endpointEntries says what was answered, one entry a location.
func endpointEntries(endpoints []endpoint, answers map[endpointAddress]endpointAnswer) ([]Entry, error) {
	var entries []Entry
	var errs []error
	for _, one := range endpoints {
		answer, ok := answers[one.address]
		if !ok {
			continue
		}
		i := slices.IndexFunc(entries, func(e Entry) bool { return e.Location == one.location })
		if i < 0 {
			i = len(entries)
			entries = append(entries, Entry{Source: SourceEndpoint, Location: one.location})
		}
		answer.tell(&entries[i], one.key, one.class)
		flaws, err := one.judge(answer.chain)
		entries[i].Flaws = append(entries[i].Flaws, flaws...)
		errs = append(errs, err)
	}
	return entries, errors.Join(errs...)
}

// judge tells what clients have against a chain, apart from its dates.
func (e endpoint) judge(chain []*x509.Certificate) ([]Flaw, error) {
	if len(chain) == 0 {
		return nil, nil
	}
	var flaws []Flaw
	for _, name := range e.names {
		if !endpointCovers(chain[0], name) {
			flaws = append(flaws, Flaw{name, ProblemNameMissing})
		}
	}
	if e.trust == nil {
		return flaws, nil
	}
	trusted, err := e.trust.holds(chain)
	if err == nil && !trusted {
		flaws = append(flaws, Flaw{e.key, ProblemUntrusted})
	}
	return flaws, err
}
