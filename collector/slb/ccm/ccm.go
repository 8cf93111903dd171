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
	// PodsByDefault: pods are the backends of Services that do not say, in place of nodes.
	PodsByDefault bool
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
	// It is empty for a re-used load balancer whose Service does not ask for either.
	AddressType string
	Listeners   []Listener
	Settings    Settings
	// Deleting: the Service is being deleted, and the controller is taking its work back.
	Deleting bool
	// Settled: the Service has an address, and is not being deleted. Before that the
	// controller may not have done its work yet.
	Settled bool
	// Addresses are the IP addresses that the Service has.
	Addresses []string
}

// Settings are those of a load balancer that the controller made. Empty: not set by an
// annotation, and without a default.
type Settings struct {
	DisplayName, Spec                        string
	DeleteProtection, ModificationProtection string
	// AddressType is internet or intranet where an annotation says so.
	AddressType string
	// ChargeType is paybytraffic or paybybandwidth, InstanceChargeType PayBySpec or PayByCLCU.
	ChargeType, InstanceChargeType string
	// Bandwidth is in Mbit/s, 0 where it is not set.
	Bandwidth int64
}

// Listener is one port of a Service.
type Listener struct {
	Port int32
	// Protocol is tcp, udp, http or https; empty where the annotation cannot be understood.
	Protocol string
	// Forwards: the listener sends clients to another port, and not to the group.
	Forwards bool
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
	// OtherName is the name that the group has where the controller has the other kind of
	// backend, nodes or pods, as its default; empty where the Service says which kind.
	OtherName string
	// Known: Backends is what there should be. Otherwise they are not known, or not all.
	Known    bool
	Backends []Backend
	// Optional are backends that may be there or not: those of pods that are not ready,
	// which the controller takes where they wait for it to do so.
	Optional []Backend
	// PerNode: one more node that takes part would be one more backend.
	PerNode bool
}

// Backend is a server that belongs into a group.
type Backend struct {
	// ServerID is the id of an ECS instance; empty for pods, which ServerIP tells.
	ServerID, ServerIP string
	Port               int32
}
