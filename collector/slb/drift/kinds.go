// Package drift compares the classic load balancers of a cluster with what the cloud
// controller manager wants of them, and the load balancer of the API server with what it
// should be and with what it was.
package drift

import "k8s.io/apimachinery/pkg/types"

// Kind is what is wrong.
type Kind string

// What can be wrong with the load balancer of the API server.
const (
	// APIServerGone: there is no load balancer of its id any more.
	APIServerGone Kind = "apiserver_gone"
	// APIServerInactive: it is not active, but stopped or locked.
	APIServerInactive Kind = "apiserver_inactive"
	// APIServerListener: the listener of the API server is missing or does not run.
	APIServerListener Kind = "apiserver_listener"
	// APIServerBackends: the group of that listener is empty.
	APIServerBackends Kind = "apiserver_backends"
	// APIServerReused: a Service uses it.
	APIServerReused Kind = "apiserver_reused"
	// APIServerExtraListener: it has listeners besides that of the API server.
	APIServerExtraListener Kind = "apiserver_extra_listener"
	// APIServerTag: the tag with the id of the cluster is missing or another.
	APIServerTag Kind = "apiserver_tag"
	// APIServerChanged: listeners, groups, access control or tags are not what they were.
	APIServerChanged Kind = "apiserver_changed"
	// APIServerACL: access control keeps ACK or nodes out.
	APIServerACL Kind = "apiserver_acl"
)

// What can be wrong with the load balancer of a Service.
const (
	// Gone: there is no load balancer of its id any more.
	Gone Kind = "gone"
	// Inactive: it is not active, but stopped or locked.
	Inactive Kind = "inactive"
	// Tag: a tag by which the controller finds it is missing or another.
	Tag Kind = "tag"
	// Setting: it is not as the annotations say.
	Setting Kind = "setting"
	// Unprotected: protection against deletion or changes is off, and should not be.
	Unprotected Kind = "unprotected"
	// ListenerMissing: a port of the Service has no listener.
	ListenerMissing Kind = "listener_missing"
	// ListenerStopped: the listener of a port does not run.
	ListenerStopped Kind = "listener_stopped"
	// ListenerProtocol: the listener of a port has another protocol.
	ListenerProtocol Kind = "listener_protocol"
	// ListenerGroup: the listener of a port sends clients to another group.
	ListenerGroup Kind = "listener_group"
	// ListenerExtra: there are listeners that no Service has a port for.
	ListenerExtra Kind = "listener_extra"
	// GroupMissing: a port has no VServer group.
	GroupMissing Kind = "group_missing"
	// BackendMissing: servers are not in a group that they belong to.
	BackendMissing Kind = "backend_missing"
	// BackendExtra: servers are in a group that they do not belong to.
	BackendExtra Kind = "backend_extra"
	// Renamed: a listener or a group has another name than the controller gave it.
	Renamed Kind = "renamed"
	// ReuseRemoved: the Service re-used it, and the annotation that said so is gone.
	ReuseRemoved Kind = "reuse_removed"
	// ReuseOfManaged: the Service re-uses one that the controller made.
	ReuseOfManaged Kind = "reuse_of_managed"
	// PortConflict: another Service has the same port of the same load balancer.
	PortConflict Kind = "port_conflict"
	// OtherVPC: the Service re-uses a private one of another VPC.
	OtherVPC Kind = "other_vpc"
	// AddressType: the Service re-uses a private one and wants a public one, or the other
	// way round.
	AddressType Kind = "address_type"
	// SharedByClusters: another cluster has listeners or groups on it.
	SharedByClusters Kind = "shared_by_clusters"
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{
		APIServerGone, APIServerInactive, APIServerListener, APIServerBackends, APIServerReused, APIServerExtraListener,
		APIServerTag, APIServerChanged, APIServerACL,
		Gone, Inactive, Tag, Setting, Unprotected,
		ListenerMissing, ListenerStopped, ListenerProtocol, ListenerGroup, ListenerExtra,
		GroupMissing, BackendMissing, BackendExtra, Renamed,
		ReuseRemoved, ReuseOfManaged, PortConflict, OtherVPC, AddressType, SharedByClusters,
	}
}

// Finding is one thing that is wrong. There is one of a kind for each load balancer and
// Service.
type Finding struct {
	Kind           Kind
	LoadBalancerID string
	// Service is empty where it is about none, as with the API server.
	Service types.NamespacedName
	// Count is how many items differ, such as listeners or backends.
	Count int
	// Details name some of the items, for a log.
	Details []string
	// New: it was not found the time before. A Tracker knows.
	New bool
}

// maxDetails is how many items a Finding names.
const maxDetails = 10

// add counts one more item.
func (f *Finding) add(detail string) {
	if f.Count++; len(f.Details) < maxDetails {
		f.Details = append(f.Details, detail)
	}
}
