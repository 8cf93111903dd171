package drift

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

// apiServerPort is the port of the API server.
const apiServerPort = 6443

// APIServer is a load balancer of the API server.
type APIServer struct {
	ID string
	// Ports are those that its listeners may have; the first has to be there. None: 6443.
	Ports []int32
	// Baseline is what it was; nil where that is not known.
	Baseline Fingerprint
	// Entries are those of access control lists by their ids, as far as they are known.
	Entries map[string][]string
	// Networks are those of the nodes, as far as they are known.
	Networks []netip.Prefix
}

// ports are those that listeners may have.
func (a APIServer) ports() []int32 {
	if len(a.Ports) == 0 {
		return []int32{apiServerPort}
	}
	return a.Ports
}

// listener is that of the API server.
func (a APIServer) listener(l *inventory.LoadBalancer) (aliyun.Listener, bool) {
	return find(l.Listeners, func(l aliyun.Listener) bool { return l.Port == aliyun.Integer(a.ports()[0]) })
}

// ACLs are the ids of the access control lists of the listener of the API server, whose
// entries are of use.
func (a APIServer) ACLs(i *inventory.Inventory) []string {
	l := i.Cluster[a.ID]
	if l == nil {
		return nil
	}
	listener, _ := a.listener(l)
	return listener.ACLs()
}

// FindAPIServer is the id of the load balancer of the API server: the only one with the
// tag of the cluster, without the tag of those that the controller made, and with a
// listener on port 6443. It is empty where there is none, or more than one.
func FindAPIServer(clusterID string, services []ccm.Service, i *inventory.Inventory) string {
	if clusterID == "" {
		return ""
	}
	made := make(map[string]bool)
	for _, s := range services {
		made[s.LoadBalancerID] = made[s.LoadBalancerID] || !s.Reused
	}
	var id string
	for _, l := range i.Cluster {
		value, _ := tag(l.LoadBalancer, clusterTag)
		_, isMade := tag(l.LoadBalancer, madeTag)
		_, listens := APIServer{}.listener(l)
		switch {
		case value != clusterID, isMade, made[l.ID], !listens:
		case id != "":
			return ""
		default:
			id = l.ID
		}
	}
	return id
}

func (f *finder) apiServer(a APIServer) {
	lb, ok := f.Inventory.Region[a.ID]
	if !ok {
		f.add(APIServerGone, a.ID, nil, "load balancer")
		return
	}
	if lb.Status != "" && lb.Status != active {
		f.add(APIServerInactive, a.ID, nil, "status %s", lb.Status)
	}
	if value, _ := tag(lb, clusterTag); f.ClusterID != "" && value != f.ClusterID {
		f.add(APIServerTag, a.ID, nil, "%s is %q, not %q", clusterTag, value, f.ClusterID)
	}
	l := f.Inventory.Cluster[a.ID]
	if l == nil {
		return
	}
	f.apiServerListeners(a, l)
	if a.Baseline != nil {
		for _, name := range a.Baseline.changes(FingerprintOf(l)) {
			f.add(APIServerChanged, a.ID, nil, "%s", name)
		}
	}
}

func (f *finder) apiServerListeners(a APIServer, l *inventory.LoadBalancer) {
	for _, have := range l.Listeners {
		if !slices.Contains(a.ports(), int32(have.Port)) {
			f.add(APIServerExtraListener, l.ID, nil, "%s %d: %s", have.Protocol, have.Port, have.Description)
		}
	}
	listener, ok := a.listener(l)
	switch {
	case !ok:
		f.add(APIServerListener, l.ID, nil, "no listener %d", a.ports()[0])
		return
	case listener.Status == stopped:
		f.add(APIServerListener, l.ID, nil, "listener %d is stopped", listener.Port)
	}
	group, ok := find(l.Groups, func(g inventory.Group) bool { return listener.ServerGroupID != "" && g.ID == listener.ServerGroupID })
	if ok && !group.Read.IsZero() && group.Backends.Len() == 0 {
		f.add(APIServerBackends, l.ID, nil, "group %s", group.ID)
	}
	blocked, _ := blocks(listener, a.Entries, append([]netip.Prefix{ackNetwork()}, a.Networks...))
	for _, network := range blocked {
		f.add(APIServerACL, l.ID, nil, "%s", network)
	}
}

// Fingerprint is what of a load balancer nobody but ACK should change, by name.
type Fingerprint map[string]string

// FingerprintOf is that of a load balancer: the name and tags, its listeners with their
// groups and access control, and the names of its groups. It is nil while the groups are
// not known. Backends come and go, and are not in it.
func FingerprintOf(l *inventory.LoadBalancer) Fingerprint {
	if l.Listed.IsZero() {
		return nil
	}
	f := Fingerprint{"name": l.Name}
	for _, t := range l.Tags.Tag {
		f["tag "+t.Key] = t.Value
	}
	for _, have := range l.Listeners {
		f[fmt.Sprintf("listener %s %d", have.Protocol, have.Port)] = fmt.Sprintf(
			"group %s, access control %s %s %s", have.ServerGroupID, have.ACLStatus, have.ACLType, strings.Join(have.ACLs(), ","),
		)
	}
	for _, g := range l.Groups {
		f["group "+g.ID] = g.Name
	}
	return f
}

// changes are the names of what is not the same in now, which is nil where that is not
// known, sorted.
func (f Fingerprint) changes(now Fingerprint) []string {
	if now == nil {
		return nil
	}
	var all []string
	for name, value := range f {
		if other, ok := now[name]; !ok || other != value {
			all = append(all, name)
		}
	}
	for name := range now {
		if _, ok := f[name]; !ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// Acceptance is how long a change has to last until it counts as what should be.
const Acceptance = 24 * time.Hour

// memory knows the load balancers of the API server from one look to the next.
type memory struct {
	// named are the ids that the user gave; none: they are found by their tags.
	named   []string
	cluster string
	id      string
	known   map[string]*history
}

// history is what one of them was, and what it has been since.
type history struct {
	baseline, latest Fingerprint
	since            time.Time
}

// apiServers looks at the load balancers of the API server, and tells what they were. One
// that was found once and is not any more is still told.
func (m *memory) apiServers(now time.Time, in Input) []APIServer {
	ids := m.named
	if len(ids) == 0 {
		ids = m.find(in)
	}
	known := make(map[string]*history, len(ids))
	all := make([]APIServer, 0, len(ids))
	for _, id := range ids {
		h := m.known[id]
		if h == nil {
			h = &history{}
		}
		if l := in.Inventory.Cluster[id]; l != nil {
			h.look(now, FingerprintOf(l))
		}
		known[id] = h
		all = append(all, APIServer{ID: id, Baseline: h.baseline})
	}
	m.known = known
	return all
}

// find is the one that has the tags, or was the last that had them.
func (m *memory) find(in Input) []string {
	id := FindAPIServer(in.ClusterID, in.Services, in.Inventory)
	if id != "" || in.ClusterID != "" && in.ClusterID != m.cluster {
		m.id, m.cluster = id, in.ClusterID
	}
	if m.id == "" {
		return nil
	}
	return []string{m.id}
}

// look takes over what has been the same for long enough.
func (h *history) look(now time.Time, f Fingerprint) {
	switch {
	case f == nil:
	case h.baseline == nil:
		h.baseline, h.latest, h.since = f, f, now
	case !maps.Equal(f, h.latest):
		h.latest, h.since = f, now
	case now.Sub(h.since) >= Acceptance:
		h.baseline = f
	}
}
