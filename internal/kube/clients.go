package kube

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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
	Core, Apps, Discovery, Admission, Coordination rest.Interface
}

// NewClients makes Clients. Nothing is asked yet.
func NewClients(config *rest.Config) (*Clients, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, admissionv1.AddToScheme, coordinationv1.AddToScheme,
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
	} {
		c := rest.CopyConfig(shared)
		c.GroupVersion, c.APIPath = &group.version, group.path
		if *group.client, err = rest.RESTClientForConfigAndClient(c, client); err != nil {
			return nil, fmt.Errorf("client of the API server: %w", err)
		}
	}
	return clients, nil
}
