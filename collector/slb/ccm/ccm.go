// Package ccm computes what the cloud controller manager of ACK makes of Services of type
// LoadBalancer: which classic load balancer (CLB) they have, its listeners, its VServer
// groups and their backends.
package ccm

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is what the controller sees.
type Cluster struct {
	// ID is that of the cluster; empty where it is not known.
	ID       string
	Services []*corev1.Service
	Nodes    []*corev1.Node
	// Endpoints are the slices of the Services whose backends follow their pods. A
	// Service that is not in it: they are not known.
	Endpoints map[types.NamespacedName][]*discoveryv1.EndpointSlice
}

// Service is what is wanted for a Service that has a CLB instance.
type Service struct {
	types.NamespacedName
	UID types.UID
	// LoadBalancerID names the load balancer; empty where none is known yet.
	LoadBalancerID string
	// Reused: an annotation names the load balancer, the controller did not make it.
	Reused bool
	// OwnListeners: the listeners are kept by the controller. Those of a re-used load
	// balancer are the user's, unless an annotation says otherwise.
	OwnListeners bool
	// Name is the name that the controller gives to its load balancers, which is also the
	// value of the tag kubernetes.do.not.delete.
	Name string
	// AddressType is internet or intranet.
	AddressType string
	Listeners   []Listener
	Settings    Settings
}

// Settings are those of a load balancer that the controller made. Empty: not set by an
// annotation, and without a default that the controller would restore.
type Settings struct {
	DisplayName, Spec                        string
	DeleteProtection, ModificationProtection string
}

// Listener is one port of a Service.
type Listener struct {
	Port int32
	// Protocol is tcp, udp, http or https.
	Protocol string
	// Name is the description that the listener has; empty where the id of the cluster is
	// not known.
	Name  string
	Group Group
}

// Group is the VServer group of a port.
type Group struct {
	// ID is set where an annotation names the group, Name where the controller makes it
	// and the id of the cluster is known.
	ID, Name string
	// Known: Backends is what there should be. Otherwise endpoints are not known.
	Known    bool
	Backends []Backend
	// PerNode: one more node that takes part would be one more backend.
	PerNode bool
}

// Backend is a server that belongs into a group.
type Backend struct {
	// ServerID is the id of an ECS instance; empty for pods, which ServerIP tells.
	ServerID, ServerIP string
	Port               int32
}
