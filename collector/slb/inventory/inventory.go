// Package inventory knows the classic load balancers (CLB) of a region, and of those of
// the cluster also their listeners, VServer groups and backends.
package inventory

import (
	"time"

	"ack-exporter/internal/aliyun"
)

// Inventory is what the API says, as far as it was asked.
type Inventory struct {
	// Region has every load balancer of the region by its id. It is whole.
	Region map[string]aliyun.LoadBalancer
	// Cluster has those of the cluster that exist, by id.
	Cluster map[string]*LoadBalancer
}

// LoadBalancer is one load balancer of the cluster. Its listeners and the list of its
// groups are whole.
type LoadBalancer struct {
	aliyun.LoadBalancer
	Listeners []aliyun.Listener
	Groups    []Group
}

// Group is a VServer group.
type Group struct {
	aliyun.ServerGroup
	// Backends are as they were at Read. A zero Read: they were not asked for yet.
	Backends []aliyun.Backend
	Read     time.Time
}

// Complete tells whether the backends of every group are known.
func (l *LoadBalancer) Complete() bool {
	for _, g := range l.Groups {
		if g.Read.IsZero() {
			return false
		}
	}
	return true
}
