package slb

import (
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

// typeECS is the kind of backends that are instances; empty is the same.
const typeECS = "ecs"

// usage is what quotas count, in every way that the documentation allows.
type usage struct {
	// balancers are those that are complete, by id.
	balancers map[string]balancerUsage
	// instances are those that are backends, by id; nil unless every load balancer is
	// complete.
	instances map[string]instanceUsage
}

// balancerUsage counts the backends of a load balancer: how many servers there are, and
// each of them in each of its groups.
type balancerUsage struct{ servers, attachments int }

// instanceUsage counts where an instance is a backend: on how many load balancers, in how
// many groups, at how many ports of groups.
type instanceUsage struct{ loadBalancers, groups, ports int }

func usageOf(i *inventory.Inventory) usage {
	u := usage{balancers: make(map[string]balancerUsage, len(i.Cluster))}
	if i.Complete() {
		u.instances = make(map[string]instanceUsage)
	}
	for id, l := range i.Cluster {
		if l.Complete() {
			u.balancers[id] = u.add(l)
		}
	}
	return u
}

// add counts one load balancer.
func (u usage) add(l *inventory.LoadBalancer) balancerUsage {
	var b balancerUsage
	here := make(map[string]instanceUsage)
	for _, g := range l.Groups {
		inGroup := make(map[string]bool, g.Backends.Len())
		for backend := range g.Backends.All() {
			b.attachments++
			name := serverName(backend)
			n := here[name]
			n.ports++
			if !inGroup[name] {
				inGroup[name] = true
				n.groups++
			}
			here[name] = n
		}
	}
	b.servers = len(here)
	if u.instances == nil {
		return b
	}
	for name, n := range here {
		if name[0] == addressMark {
			continue
		}
		all := u.instances[name]
		u.instances[name] = instanceUsage{all.loadBalancers + 1, all.groups + n.groups, all.ports + n.ports}
	}
	return b
}

// addressMark begins the name of a server that is told by its address.
const addressMark = '@'

// serverName tells servers apart. One network interface can have several addresses.
func serverName(b aliyun.Backend) string {
	if b.ServerID != "" && (b.Type == typeECS || b.Type == "") {
		return b.ServerID
	}
	return string(addressMark) + b.ServerIP
}

// ports counts the ports of Services on a load balancer by what their backends follow.
type ports struct{ nodes, pods int }

// prediction is what the cloud controller manager makes of Services on one load balancer.
type prediction struct {
	ports ports
	balancerUsage
	// known: the backends of every group are.
	known bool
}

// predictor predicts from one Service after the other, by the id of the load balancer. A
// group that several of them name counts once.
type predictor struct {
	balancers map[string]*prediction
	groups    map[[2]string]bool
	servers   map[string]map[string]bool
}

func newPredictor() *predictor {
	return &predictor{make(map[string]*prediction), make(map[[2]string]bool), make(map[string]map[string]bool)}
}

func (f *predictor) add(s ccm.Service) {
	id := s.LoadBalancerID
	if id == "" {
		return
	}
	p := f.balancers[id]
	if p == nil {
		p = &prediction{known: true}
		f.balancers[id], f.servers[id] = p, make(map[string]bool)
	}
	for _, l := range s.Listeners {
		key := [2]string{id, l.Group.ID + "/" + l.Group.Name}
		if key[1] != "/" && f.groups[key] {
			continue
		}
		f.groups[key] = true
		p.add(l.Group, f.servers[id])
	}
	p.servers = len(f.servers[id])
}

func (p *prediction) add(g ccm.Group, servers map[string]bool) {
	if g.PerNode {
		p.ports.nodes++
	} else {
		p.ports.pods++
	}
	p.known = p.known && g.Known
	p.attachments += len(g.Backends)
	for _, b := range g.Backends {
		if b.ServerID != "" {
			servers[b.ServerID] = true
		} else {
			servers[string(addressMark)+b.ServerIP] = true
		}
	}
}
