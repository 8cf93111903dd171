package inventory

import (
	"hash/maphash"
	"iter"

	"ack-exporter/collector/slb/ccm"
)

// typeENI and typeECI are kinds of backends that are told by their address.
const (
	typeENI = "eni"
	typeECI = "eci"
)

// wantedGroup is what Services want of a group.
type wantedGroup struct {
	// known: content is what there should be.
	known bool
	// content is a fingerprint of its backends in any order, optional of those that it may
	// have besides.
	content, optional uint64
	// other is the id or name under which it may be found instead.
	other string
}

// is tells whether a group has what is wanted of it.
func (w wantedGroup) is(content uint64) bool {
	return content == w.content || content == w.content+w.optional
}

// fingerprints are short stand-ins for sets, to see whether these have changed.
type fingerprints struct{ seed maphash.Seed }

func newFingerprints() fingerprints { return fingerprints{maphash.MakeSeed()} }

// member is one backend of a set.
type member struct {
	server string
	port   int32
}

// content is the fingerprint of what a group has.
func (f fingerprints) content(backends Backends) uint64 {
	var sum uint64
	for _, row := range backends.rows {
		s := row.server.Value()
		name := s.id
		if s.kind == typeENI || s.kind == typeECI {
			name = s.ip
		}
		sum += maphash.Comparable(f.seed, member{name, row.port})
	}
	return sum
}

func (f fingerprints) contentWanted(backends []ccm.Backend) uint64 {
	var sum uint64
	for _, b := range backends {
		name := b.ServerID
		if name == "" {
			name = b.ServerIP
		}
		sum += maphash.Comparable(f.seed, member{name, b.Port})
	}
	return sum
}

// wanted is what Services want of the groups of each load balancer, by their ids and names.
func (f fingerprints) wanted(services iter.Seq[ccm.Service]) map[string]map[string]wantedGroup {
	all := make(map[string]map[string]wantedGroup)
	if services == nil {
		return all
	}
	for service := range services {
		groups := all[service.LoadBalancerID]
		if groups == nil {
			groups = make(map[string]wantedGroup)
			all[service.LoadBalancerID] = groups
		}
		for _, l := range service.Listeners {
			key := groupKey(l.Group)
			if key == "" {
				continue
			}
			now := wantedGroup{
				known: l.Group.Known, content: f.contentWanted(l.Group.Backends), optional: f.contentWanted(l.Group.Optional),
				other: l.Group.OtherName,
			}
			if before, shared := groups[key]; shared {
				now.known = now.known && before.known
				now.content += before.content
				now.optional += before.optional
			}
			groups[key] = now
			if now.other != "" {
				other := now.other
				now.other = key
				groups[other] = now
			}
		}
	}
	return all
}

// groupKey is by what a group is found; empty where that is not known.
func groupKey(g ccm.Group) string {
	if g.ID != "" {
		return g.ID
	}
	return g.Name
}

// wantedOf is what is wanted of a group of b now. Nothing is wanted of others' groups.
func (b *balancer) wantedOf(g *group) wantedGroup {
	if w, ok := b.wanted[g.ID]; ok {
		return w
	}
	return b.wanted[g.Name]
}

// about is the fingerprint of which groups there should be.
func (f fingerprints) about(b *balancer) uint64 {
	var sum uint64
	for key := range b.wanted {
		sum += maphash.Comparable(f.seed, key)
	}
	for _, l := range b.listeners {
		sum += maphash.Comparable(f.seed, member{l.ServerGroupID, int32(l.Port)})
	}
	return sum
}

// missing tells whether b should have a group that it had not when its groups were listed.
func (f fingerprints) missing(b *balancer) bool {
	known := make(map[string]bool, 2*len(b.groups))
	for _, g := range b.groups {
		known[g.ID], known[g.Name] = true, true
	}
	known[""] = false
	for key, w := range b.wanted {
		if !known[key] && !known[w.other] {
			return true
		}
	}
	for _, l := range b.listeners {
		if l.ServerGroupID != "" && !known[l.ServerGroupID] {
			return true
		}
	}
	return false
}
