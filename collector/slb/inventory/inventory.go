// Package inventory knows the classic load balancers (CLB) of a region, and of those of
// the cluster also their listeners, VServer groups and backends.
package inventory

import (
	"fmt"
	"iter"
	"math"
	"time"
	"unique"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
)

// Inventory is what the API says, as far as it was asked. Nobody changes it.
type Inventory struct {
	// Region has every load balancer of the region by its id. It is whole.
	Region map[string]aliyun.LoadBalancer
	// Cluster has those of the cluster that exist, by id.
	Cluster map[string]*LoadBalancer
}

// LoadBalancer is one load balancer of the cluster. Its listeners are whole.
type LoadBalancer struct {
	aliyun.LoadBalancer
	Listeners []aliyun.Listener
	// Groups are as they were at Listed, and whole. A zero Listed: they were not asked
	// for yet, and there are none here.
	Groups []Group
	Listed time.Time
}

// Group is a VServer group.
type Group struct {
	aliyun.ServerGroup
	// Backends are as they were at Read. A zero Read: they were not asked for yet.
	Backends Backends
	Read     time.Time
	// Outdated: what is wanted of the group has changed since Read, so that a difference
	// says nothing.
	Outdated bool
	// AsWanted: the backends are just those that Services want, as far as they were read.
	AsWanted bool
}

// Complete tells whether the groups and the backends of each of them are known.
func (l *LoadBalancer) Complete() bool {
	if l.Listed.IsZero() {
		return false
	}
	for _, g := range l.Groups {
		if g.Read.IsZero() {
			return false
		}
	}
	return true
}

// Complete tells whether every load balancer of the cluster is.
func (i *Inventory) Complete() bool {
	for _, l := range i.Cluster {
		if !l.Complete() {
			return false
		}
	}
	return true
}

// maxPort is the largest port that there is.
const maxPort = math.MaxUint16

// Backends are servers of a group. A cluster can have millions of them, and some
// thousands of servers, so that each server is held once.
type Backends struct{ rows []backend }

type backend struct {
	server       unique.Handle[server]
	port, weight int32
}

type server struct{ id, ip, kind string }

// NewBackends holds what the API told. A port or a weight that there cannot be is a
// decode error.
func NewBackends(list []aliyun.Backend) (Backends, error) {
	rows := make([]backend, len(list))
	for i, b := range list {
		if b.Port < 0 || b.Port > maxPort || b.Weight < 0 || b.Weight > math.MaxInt32 {
			return Backends{}, fmt.Errorf("backend %d: port %d, weight %d: %w", i, b.Port, b.Weight, collector.ErrDecode)
		}
		rows[i] = backend{
			server: unique.Make(server{b.ServerID, b.ServerIP, b.Type}),
			port:   int32(b.Port), weight: int32(b.Weight),
		}
	}
	return Backends{rows}, nil
}

// Len is how many there are.
func (b Backends) Len() int { return len(b.rows) }

// All goes through them.
func (b Backends) All() iter.Seq[aliyun.Backend] {
	return func(yield func(aliyun.Backend) bool) {
		for _, row := range b.rows {
			s := row.server.Value()
			if !yield(aliyun.Backend{
				ServerID: s.id, ServerIP: s.ip, Type: s.kind,
				Port: aliyun.Integer(row.port), Weight: aliyun.Integer(row.weight),
			}) {
				return
			}
		}
	}
}
