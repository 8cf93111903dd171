package drift

import (
	"slices"

	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

// names looks for listeners and groups of other clusters. Where a Service names the groups
// of all of its ports, it is meant to be.
func (f *finder) names(s *ccm.Service, l *inventory.LoadBalancer) {
	if f.ClusterID == "" || !slices.ContainsFunc(s.Listeners, func(l ccm.Listener) bool { return l.Group.ID == "" }) {
		return
	}
	for _, have := range l.Listeners {
		if f.isForeign(have.Description) {
			f.add(SharedByClusters, l.ID, s, "listener %d: %s", have.Port, have.Description)
		}
	}
	for _, have := range l.Groups {
		if f.isForeign(have.Name) {
			f.add(SharedByClusters, l.ID, s, "group %s: %s", have.ID, have.Name)
		}
	}
}

// isForeign tells whether a name is one that the controller of another cluster gave.
func (f *finder) isForeign(name string) bool {
	n, ok := ccm.ParseName(name)
	return ok && n.ClusterID != f.ClusterID
}

// isOf tells whether a name is one that the controller gave to something of this Service.
func (f *finder) isOf(s *ccm.Service, name string) bool {
	n, ok := ccm.ParseName(name)
	return ok && n.ClusterID == f.ClusterID && n.Service == s.NamespacedName.Name && n.Namespace == s.Namespace
}

// listeners compares those of a load balancer whose listeners the controller keeps.
func (f *finder) listeners(s *ccm.Service, l *inventory.LoadBalancer) {
	if !s.OwnListeners {
		return
	}
	for _, want := range s.Listeners {
		f.listener(s, l, want)
	}
	for _, have := range l.Listeners {
		if !f.isWanted(l, have) && f.isExtra(s, l.ID, have) {
			f.add(ListenerExtra, l.ID, s, "%s %d: %s", have.Protocol, have.Port, have.Description)
		}
	}
}

func (f *finder) listener(s *ccm.Service, l *inventory.LoadBalancer, want ccm.Listener) {
	have, ok := listenerOf(l, want)
	if !ok {
		// One of another protocol that no Service has a port for stands in its place.
		if other, ok := f.inPlaceOf(l, want); ok {
			f.add(ListenerProtocol, l.ID, s, "%d is %s, not %s", want.Port, other.Protocol, want.Protocol)
		} else {
			f.add(ListenerMissing, l.ID, s, "%s %d", want.Protocol, want.Port)
		}
		return
	}
	if have.Status == stopped {
		f.add(ListenerStopped, l.ID, s, "%s %d", have.Protocol, have.Port)
	}
	_, conflict := f.found[(&Finding{Kind: PortConflict, LoadBalancerID: l.ID, Service: s.NamespacedName}).key()]
	if want.Name != "" && have.Description != want.Name && !conflict && !f.isForeign(have.Description) {
		f.add(Renamed, l.ID, s, "listener %d: %q, not %q", have.Port, have.Description, want.Name)
	}
	group, ok := groupOf(l, want.Group)
	if ok && !want.Forwards && !conflict && have.ServerGroupID != "" && have.ServerGroupID != group.ID {
		f.add(ListenerGroup, l.ID, s, "%s %d: group %s, not %s", have.Protocol, have.Port, have.ServerGroupID, group.ID)
	}
}

// listenerOf is the listener of a port.
func listenerOf(l *inventory.LoadBalancer, want ccm.Listener) (aliyun.Listener, bool) {
	return find(l.Listeners, func(l aliyun.Listener) bool {
		return l.Port == aliyun.Integer(want.Port) && (want.Protocol == "" || l.Protocol == want.Protocol)
	})
}

// inPlaceOf is the listener with the port, and another protocol, of what is missing.
func (f *finder) inPlaceOf(l *inventory.LoadBalancer, want ccm.Listener) (aliyun.Listener, bool) {
	return find(l.Listeners, func(have aliyun.Listener) bool {
		return have.Port == aliyun.Integer(want.Port) && !slices.ContainsFunc(f.users[l.ID], func(s *ccm.Service) bool {
			return slices.ContainsFunc(s.Listeners, func(w ccm.Listener) bool {
				return w.Port == want.Port && w.Protocol == have.Protocol
			})
		})
	})
}

// isWanted tells whether a Service has a port for a listener, or it stands in the place of
// one.
func (f *finder) isWanted(l *inventory.LoadBalancer, have aliyun.Listener) bool {
	return slices.ContainsFunc(f.users[l.ID], func(s *ccm.Service) bool {
		return slices.ContainsFunc(s.Listeners, func(want ccm.Listener) bool {
			if aliyun.Integer(want.Port) != have.Port {
				return false
			}
			_, exact := listenerOf(l, want)
			return !exact || want.Protocol == "" || want.Protocol == have.Protocol
		})
	})
}

// isExtra tells whether a listener that no Service has a port for should not be there. On
// a re-used load balancer that is so for those alone that the controller made for this
// Service: the others are the user's own.
func (f *finder) isExtra(s *ccm.Service, id string, have aliyun.Listener) bool {
	if f.isReused(id) {
		return f.isOf(s, have.Description)
	}
	return !f.isForeign(have.Description)
}

// isReused tells whether a Service re-uses a load balancer.
func (f *finder) isReused(id string) bool {
	return slices.ContainsFunc(f.users[id], func(s *ccm.Service) bool { return s.Reused })
}

// groups compares the groups of a Service. The controller keeps them on re-used load
// balancers as well.
func (f *finder) groups(s *ccm.Service, l *inventory.LoadBalancer) {
	if l.Listed.IsZero() {
		return
	}
	for _, want := range s.Listeners {
		if want.Group.ID == "" && want.Group.Name == "" {
			continue
		}
		if have, ok := groupOf(l, want.Group); ok {
			f.backends(s, l.ID, want, have)
		} else {
			f.noGroup(s, l, want)
		}
	}
}

// groupOf is the group that is wanted, and false where there is none of its name.
func groupOf(l *inventory.LoadBalancer, want ccm.Group) (inventory.Group, bool) {
	return find(l.Groups, func(g inventory.Group) bool {
		if want.ID != "" {
			return g.ID == want.ID
		}
		return want.Name != "" && g.Name == want.Name
	})
}

// noGroup tells why a group is not there: the listener knows one by another name.
func (f *finder) noGroup(s *ccm.Service, l *inventory.LoadBalancer, want ccm.Listener) {
	if _, ok := find(l.Groups, func(g inventory.Group) bool { return want.Group.OtherName != "" && g.Name == want.Group.OtherName }); ok {
		return
	}
	if want.Group.ID == "" && s.OwnListeners {
		at, _ := listenerOf(l, want)
		group, ok := find(l.Groups, func(g inventory.Group) bool { return at.ServerGroupID != "" && g.ID == at.ServerGroupID })
		if _, named := ccm.ParseName(group.Name); ok && !named {
			f.add(Renamed, l.ID, s, "group %s: %q, not %q", group.ID, group.Name, want.Group.Name)
			return
		}
	}
	f.add(GroupMissing, l.ID, s, "%s%s of port %d", want.Group.ID, want.Group.Name, want.Port)
}

// server is a backend as it is compared.
type server struct {
	id, ip string
	port   int64
}

// backends compares those of a group. In a group that an annotation names others may have
// theirs.
func (f *finder) backends(s *ccm.Service, id string, want ccm.Listener, have inventory.Group) {
	if !want.Group.Known || have.Read.IsZero() || have.Outdated {
		return
	}
	left := make(map[server]bool, have.Backends.Len())
	for b := range have.Backends.All() {
		left[serverOf(b)] = true
	}
	for _, b := range want.Group.Backends {
		at := server{b.ServerID, b.ServerIP, int64(b.Port)}
		if !left[at] {
			f.add(BackendMissing, id, s, "%s%s:%d in %s", b.ServerID, b.ServerIP, b.Port, have.ID)
		}
		delete(left, at)
	}
	for _, b := range want.Group.Optional {
		delete(left, server{b.ServerID, b.ServerIP, int64(b.Port)})
	}
	if want.Group.ID != "" {
		return
	}
	for b := range have.Backends.All() {
		if at := serverOf(b); left[at] {
			delete(left, at)
			f.add(BackendExtra, id, s, "%s%s:%d in %s", at.id, at.ip, at.port, have.ID)
		}
	}
}

// serverOf is a backend of the API: nodes are known by their id, pods by their address.
func serverOf(b aliyun.Backend) server {
	if b.Type == "ecs" || b.Type == "" {
		return server{id: b.ServerID, port: int64(b.Port)}
	}
	return server{ip: b.ServerIP, port: int64(b.Port)}
}

// find is the first item that is so.
func find[T any](all []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	var none T
	return none, false
}
