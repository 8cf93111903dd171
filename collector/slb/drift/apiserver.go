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

// APIServer is the load balancer of the API server.
type APIServer struct {
	// ID is empty where it is not known.
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
	if a.ID == "" || l == nil {
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

func (f *finder) apiServer() {
	a := f.APIServer
	if a.ID == "" {
		return
	}
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
	f.apiServerListeners(l)
	if a.Baseline != nil {
		for _, name := range a.Baseline.changes(FingerprintOf(l)) {
			f.add(APIServerChanged, a.ID, nil, "%s", name)
		}
	}
}

func (f *finder) apiServerListeners(l *inventory.LoadBalancer) {
	for _, have := range l.Listeners {
		if !slices.Contains(f.APIServer.ports(), int32(have.Port)) {
			f.add(APIServerExtraListener, l.ID, nil, "%s %d: %s", have.Protocol, have.Port, have.Description)
		}
	}
	listener, ok := f.APIServer.listener(l)
	switch {
	case !ok:
		f.add(APIServerListener, l.ID, nil, "no listener %d", f.APIServer.ports()[0])
		return
	case listener.Status == stopped:
		f.add(APIServerListener, l.ID, nil, "listener %d is stopped", listener.Port)
	}
	group, ok := find(l.Groups, func(g inventory.Group) bool { return listener.ServerGroupID != "" && g.ID == listener.ServerGroupID })
	if ok && !group.Read.IsZero() && group.Backends.Len() == 0 {
		f.add(APIServerBackends, l.ID, nil, "group %s", group.ID)
	}
	blocked, _ := blocks(listener, f.APIServer.Entries, append([]netip.Prefix{ackNetwork()}, f.APIServer.Networks...))
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

// Memory knows the load balancer of the API server from one look to the next.
type Memory struct {
	// named is the id that the user gave.
	named   string
	cluster string
	id      string
	// baseline is what it was; latest what it has been since.
	baseline, latest Fingerprint
	since            time.Time
}

// NewMemory makes a Memory that has seen nothing. id is that of the load balancer, empty
// to find it by its tags.
func NewMemory(id string) *Memory { return &Memory{named: id} }

// APIServer looks at the load balancer of the API server, and tells its id and what it was
// before. One that was found once and is not any more is still told.
func (m *Memory) APIServer(now time.Time, clusterID string, services []ccm.Service, i *inventory.Inventory) APIServer {
	id := m.named
	if id == "" {
		id = FindAPIServer(clusterID, services, i)
		if known := clusterID == "" || clusterID == m.cluster; id == "" && known {
			id = m.id
		}
	}
	if id != m.id {
		*m = Memory{named: m.named, id: id, cluster: m.cluster}
	}
	if clusterID != "" {
		m.cluster = clusterID
	}
	if l := i.Cluster[id]; l != nil {
		m.look(now, FingerprintOf(l))
	}
	return APIServer{ID: id, Baseline: maps.Clone(m.baseline)}
}

// look takes over what has been the same for long enough.
func (m *Memory) look(now time.Time, f Fingerprint) {
	switch {
	case f == nil:
	case m.baseline == nil:
		m.baseline, m.latest, m.since = f, f, now
	case !maps.Equal(f, m.latest):
		m.latest, m.since = f, now
	case now.Sub(m.since) >= Acceptance:
		m.baseline = f
	}
}
