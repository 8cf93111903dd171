package kube

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// Clients ask one API server, within one rate, for the groups that are used.
//
// client-go's clientset would bring the types of every group there is. The linker
// cannot drop them, and the node role, which is the same program, would hold more
// memory for them than for everything that it does.
type Clients struct {
	Core, Apps, Discovery, Admission, Coordination, Networking rest.Interface
	// CoreLine asks for what should not stay in the buffers that the others share.
	// EventLine is one beside it, which never carries such.
	CoreLine, EventLine *Line
}

// Line asks one group of the API over a connection of its own, which can be dropped.
type Line struct {
	client      rest.Interface
	connections *http.Transport
}

// drop closes the connection once nothing is under way. Nothing holds its buffers
// any more.
func (l *Line) drop() { l.connections.CloseIdleConnections() }

// NewClients makes Clients. Nothing is asked yet.
func NewClients(config *rest.Config) (*Clients, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, admissionv1.AddToScheme, coordinationv1.AddToScheme,
		networkingv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("types of the API: %w", err)
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})

	shared := rest.CopyConfig(config)
	shared.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if config.QPS > 0 {
		shared.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(config.QPS, config.Burst)
	}
	client, err := rest.HTTPClientFor(shared)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	clients := &Clients{}
	for _, group := range []struct {
		client  *rest.Interface
		version schema.GroupVersion
		path    string
	}{
		{&clients.Core, corev1.SchemeGroupVersion, "/api"},
		{&clients.Apps, appsv1.SchemeGroupVersion, "/apis"},
		{&clients.Discovery, discoveryv1.SchemeGroupVersion, "/apis"},
		{&clients.Admission, admissionv1.SchemeGroupVersion, "/apis"},
		{&clients.Coordination, coordinationv1.SchemeGroupVersion, "/apis"},
		{&clients.Networking, networkingv1.SchemeGroupVersion, "/apis"},
	} {
		c := rest.CopyConfig(shared)
		c.GroupVersion, c.APIPath = &group.version, group.path
		if *group.client, err = rest.RESTClientForConfigAndClient(c, client); err != nil {
			return nil, fmt.Errorf("client of the API server: %w", err)
		}
	}
	for _, line := range []**Line{&clients.CoreLine, &clients.EventLine} {
		if *line, err = newLine(shared, corev1.SchemeGroupVersion, "/api"); err != nil {
			return nil, fmt.Errorf("client of the API server: %w", err)
		}
	}
	return clients, nil
}

const (
	dialTimeout = 30 * time.Second
	keepAlive   = 30 * time.Second
	// lineIdle is how long a connection stays that drop has missed.
	lineIdle = 10 * time.Second
)

// newLine makes a Line that speaks HTTP/1.1: there a response that is given up closes
// its connection, whereas one of HTTP/2 stays for others. Answers are not compressed,
// since that would be one more buffer.
func newLine(shared *rest.Config, version schema.GroupVersion, path string) (*Line, error) {
	config := rest.CopyConfig(shared)
	config.GroupVersion, config.APIPath, config.DisableCompression = &version, path, true
	security, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: config.Dial,
		TLSClientConfig: security, TLSHandshakeTimeout: dialTimeout,
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
		DisableCompression: true, MaxIdleConns: 1, IdleConnTimeout: lineIdle,
	}
	if config.Proxy != nil {
		transport.Proxy = config.Proxy
	}
	if transport.DialContext == nil {
		transport.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext
	}
	if security != nil {
		security.NextProtos = []string{"http/1.1"}
	}
	wrapped, err := rest.HTTPWrappersForConfig(config, transport)
	if err != nil {
		return nil, err
	}
	client, err := rest.RESTClientForConfigAndClient(config, &http.Client{Transport: wrapped})
	if err != nil {
		return nil, err
	}
	return &Line{client: client, connections: transport}, nil
}
