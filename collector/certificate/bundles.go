package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

const (
	// bundleMaxTold bounds how many certificates of caBundles have series.
	bundleMaxTold = 5000
	httpsPort     = 443
)

// BundlesConfig says where caBundles are looked for.
type BundlesConfig struct {
	// Client asks the API server; the group that it is made for does not matter.
	Client rest.Interface
	// Services are all of the cluster.
	Services kube.Lister[*corev1.Service]
	Prober   EndpointProber
	// ProbeURLs: webhooks that are named by a URL are called too. They can be anywhere.
	ProbeURLs bool
}

// Bundles tells of the caBundles by which the API server verifies webhooks and
// aggregated APIs, and of the certificates that these present.
type Bundles struct{ config BundlesConfig }

// NewBundles makes Bundles.
func NewBundles(config BundlesConfig) (*Bundles, error) {
	if err := config.Prober.validate(); err != nil {
		return nil, err
	}
	return &Bundles{config}, nil
}

// Families implements collector.Collector.
func (*Bundles) Families() []*collector.Family { return families() }

// Collect implements collector.Collector. The kinds of objects are independent of
// each other: those that can be listed are shown without the others.
func (b *Bundles) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	var clients []bundleClient
	var errs []error
	complete := map[Source]bool{SourceBackend: true}
	for _, kind := range bundleKinds() {
		found, err := kind.list(ctx, b.config.Client)
		if err != nil {
			errs = append(errs, err)
			complete[kind.source], complete[SourceBackend] = false, false
			continue
		}
		if _, failed := complete[kind.source]; !failed {
			complete[kind.source] = true
		}
		clients = append(clients, found...)
	}
	backends, err := b.backends(ctx, clients)
	if err != nil {
		errs = append(errs, err)
		complete[SourceBackend] = false
	}
	var sources []Source
	for source, all := range complete {
		if all {
			sources = append(sources, source)
		}
	}
	slices.Sort(sources)
	return exposition(bundleEntries(clients, backends), sources...), errors.Join(errs...)
}

// bundleBackend is a server that the API server calls.
type bundleBackend struct {
	location string
	address  endpointAddress
	class    Class
	// answer is nil where there is none.
	answer *endpointAnswer
}

// bundleBackends are servers by their locations.
type bundleBackends map[string]*bundleBackend

// of is the server of a client, nil where it was not asked.
func (b bundleBackends) of(c bundleClient) *bundleBackend {
	found := b[c.backend().location]
	if found == nil || found.answer == nil {
		return nil
	}
	return found
}

// backends asks the servers of all clients, each once.
func (b *Bundles) backends(ctx context.Context, clients []bundleClient) (bundleBackends, error) {
	services, err := b.services()
	if err != nil {
		return nil, err
	}
	backends := make(bundleBackends)
	var addresses []endpointAddress
	for _, c := range clients {
		found := c.backend()
		if known := backends[found.location]; known != nil {
			if c.class == ClassAutomatic {
				known.class = ClassAutomatic
			}
			continue
		}
		if found.location == "" || (c.service == nil && !b.config.ProbeURLs) {
			continue
		}
		backends[found.location] = &found
		if c.service != nil {
			found.resolve(services[[2]string{c.service.Namespace, c.service.Name}])
		}
		if found.address.dial != "" && found.answer == nil {
			addresses = append(addresses, found.address)
		}
	}
	answers, err := b.config.Prober.ask(ctx, addresses)
	for _, backend := range backends {
		if answer, ok := answers[backend.address]; ok && backend.answer == nil {
			backend.answer = &answer
		}
	}
	return backends, err
}

func (b *Bundles) services() (map[[2]string]*corev1.Service, error) {
	list, err := b.config.Services.List()
	if err != nil {
		return nil, err
	}
	services := make(map[[2]string]*corev1.Service, len(list))
	for _, s := range list {
		services[[2]string{s.Namespace, s.Name}] = s
	}
	return services, nil
}

// backend is the server of the client, as far as the client says where it is. The
// location is empty where it says nothing that can be used.
func (c bundleClient) backend() bundleBackend {
	backend := bundleBackend{class: c.class}
	host, port := "", httpsPort
	switch {
	case c.service != nil:
		host = c.service.Name + "." + c.service.Namespace + ".svc"
		if c.service.Port != 0 {
			port = c.service.Port
		}
	default:
		u, err := url.Parse(c.url)
		if err != nil || u.Scheme != "https" {
			return backend
		}
		host = u.Hostname()
		if u.Port() != "" {
			port, _ = strconv.Atoi(u.Port()) // 0 is refused below
		}
	}
	if checkEndpointName(host) != nil || port < 1 || port > 65535 {
		return backend
	}
	backend.location = net.JoinHostPort(host, strconv.Itoa(port))
	backend.address = endpointAddress{dial: backend.location, name: host}
	return backend
}

// resolve puts the cluster IP into the address, as the API server does. A Service
// without one is not asked: where the API server would go depends on its flags.
func (b *bundleBackend) resolve(s *corev1.Service) {
	if s == nil {
		b.answer = &endpointAnswer{reason: ReasonVanished}
		return
	}
	_, port, _ := net.SplitHostPort(b.address.dial)
	b.address.dial = ""
	if net.ParseIP(s.Spec.ClusterIP) != nil {
		b.address.dial = net.JoinHostPort(s.Spec.ClusterIP, port)
	}
}

// bundleEntries says what is known of all clients and their servers.
func bundleEntries(clients []bundleClient, backends bundleBackends) []Entry {
	var entries []*Entry
	at := make(map[[2]string]*Entry)
	decoded := make(map[string]bundleContent)
	told := 0
	for _, c := range clients {
		place := [2]string{string(c.source), c.location}
		entry := at[place]
		if entry == nil {
			entry = &Entry{Source: c.source, Location: c.location}
			at[place] = entry
			entries = append(entries, entry)
		}
		content, ok := decoded[c.bundle]
		if !ok {
			content = decodeBundle(c.bundle)
			decoded[c.bundle] = content
		}
		told = content.tell(entry, c, told)
		if backend := backends.of(c); backend != nil {
			entry.Flaws = append(entry.Flaws, content.judge(c, backend)...)
		}
	}
	all := make([]Entry, 0, len(entries)+len(backends))
	for _, e := range entries {
		all = append(all, *e)
	}
	for _, b := range backends {
		if b.answer != nil {
			e := Entry{Source: SourceBackend, Location: b.location}
			b.answer.tell(&e, "", b.class)
			all = append(all, e)
		}
	}
	return all
}

// bundleContent is what is in a caBundle.
type bundleContent struct {
	certificates []*x509.Certificate
	reasons      []Reason
	trust        endpointTrust
}

// decodeBundle reads a caBundle as it is written in JSON. An empty one has nothing
// in it, and no fault: then the API server trusts the roots of its system.
func decodeBundle(encoded string) bundleContent {
	if encoded == "" {
		return bundleContent{}
	}
	if len(encoded) > base64.StdEncoding.EncodedLen(maxBundle) {
		return bundleContent{reasons: []Reason{ReasonTooLarge}}
	}
	// The API server takes PEM only.
	bundle, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || (len(bytes.TrimSpace(bundle)) > 0 && !bytes.Contains(bundle, []byte(pemBegin))) {
		return bundleContent{reasons: []Reason{ReasonPEM}}
	}
	var content bundleContent
	content.certificates, content.reasons = decode(bundle)
	content.trust = newEndpointTrust(content.certificates)
	return content
}

// tell adds the certificates of a client to its entry. told is how many all clients
// have together.
func (b bundleContent) tell(e *Entry, c bundleClient, told int) int {
	e.fail(c.key, b.reasons...)
	if told+len(b.certificates) > bundleMaxTold {
		e.fail(c.key, ReasonTooMany)
		return told
	}
	e.tell(c.key, c.class, b.certificates)
	return told + len(b.certificates)
}

// judge tells what the API server has against the certificate of the server, apart
// from its dates. Without a caBundle that can be read, only the name is known.
func (b bundleContent) judge(c bundleClient, backend *bundleBackend) []Flaw {
	chain := backend.answer.chain
	if len(chain) == 0 {
		return nil
	}
	var flaws []Flaw
	if !endpointCovers(chain[0], backend.address.name) {
		flaws = append(flaws, Flaw{c.key, ProblemNameMissing})
	}
	if len(b.certificates) == 0 {
		return flaws
	}
	// These roots are not the system's, and so it does not fail.
	if trusted, _ := b.trust.holds(chain); !trusted {
		flaws = append(flaws, Flaw{c.key, ProblemUntrusted})
	}
	return flaws
}
