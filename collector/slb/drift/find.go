package drift

import (
	"cmp"
	"fmt"
	"slices"

	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

// The tags of the controller, and of ACK.
const (
	// madeTag is on what the controller made; its value is the default name.
	madeTag = "kubernetes.do.not.delete"
	// reusedTag is on what a Service re-uses.
	reusedTag = "kubernetes.reused.by.user"
	// clusterTag is on what belongs to a cluster; its value is the id of the cluster.
	clusterTag = "ack.aliyun.com"
)

const (
	active   = "active"
	stopped  = "stopped"
	internet = "internet"
	intranet = "intranet"
	off      = "off"
	byCLCU   = "PayByCLCU"
)

// Input is what is compared. What is not known of it is not judged.
type Input struct {
	ClusterID string
	// VPC is that of the cluster; empty where it is not known.
	VPC       string
	Services  []ccm.Service
	Inventory *inventory.Inventory
	// APIServers are the load balancers of the API server, most often one.
	APIServers []APIServer
}

// VPC is the VPC of the cluster by its private load balancers, and empty where it has
// none, or in several.
func VPC(clusterID string, i *inventory.Inventory) string {
	var vpc string
	for _, lb := range i.Region {
		if value, ok := tag(lb, clusterTag); !ok || value != clusterID || lb.AddressType != intranet || lb.VPCID == "" {
			continue
		}
		if vpc != "" && vpc != lb.VPCID {
			return ""
		}
		vpc = lb.VPCID
	}
	return vpc
}

// Find compares. A Service that is being created or deleted is left out, but for what its
// annotations say wrongly. Of a region without any load balancer nothing is said: the
// credentials may have no right to see them.
func Find(in Input) []Finding {
	if len(in.Inventory.Region) == 0 {
		return nil
	}
	f := &finder{Input: in, found: make(map[key]*Finding), users: make(map[string][]*ccm.Service)}
	for i := range in.Services {
		s := &in.Services[i]
		if lb, ok := f.balancerOf(s); ok && !s.Deleting {
			f.users[lb.ID] = append(f.users[lb.ID], s)
		}
	}
	for _, a := range in.APIServers {
		f.apiServer(a)
	}
	for i := range in.Services {
		if s := &in.Services[i]; !s.Deleting {
			f.service(s)
		}
	}
	return f.findings()
}

// key is what there is one Finding of.
type key struct {
	kind                Kind
	id, namespace, name string
}

func (f *Finding) key() key {
	return key{f.Kind, f.LoadBalancerID, f.Service.Namespace, f.Service.Name}
}

// finder collects findings.
type finder struct {
	Input
	found map[key]*Finding
	// users are the Services of each load balancer.
	users map[string][]*ccm.Service
}

// add counts one more item of a kind. s is nil where it is about no Service.
func (f *finder) add(kind Kind, id string, s *ccm.Service, format string, args ...any) {
	one := Finding{Kind: kind, LoadBalancerID: id}
	if s != nil {
		one.Service = s.NamespacedName
	}
	known, ok := f.found[one.key()]
	if !ok {
		known = &one
		f.found[one.key()] = known
	}
	known.add(fmt.Sprintf(format, args...))
}

func (f *finder) findings() []Finding {
	all := make([]Finding, 0, len(f.found))
	for _, found := range f.found {
		all = append(all, *found)
	}
	slices.SortFunc(all, func(a, b Finding) int {
		x, y := a.key(), b.key()
		return cmp.Or(cmp.Compare(x.kind, y.kind), cmp.Compare(x.id, y.id), cmp.Compare(x.namespace, y.namespace), cmp.Compare(x.name, y.name))
	})
	return all
}

// balancerOf is the load balancer of a Service: the one of its id, or as the controller
// looks for it, the one with its tag. Where that is gone, its address tells.
func (f *finder) balancerOf(s *ccm.Service) (aliyun.LoadBalancer, bool) {
	if s.LoadBalancerID != "" || s.Reused {
		lb, ok := f.Inventory.Region[s.LoadBalancerID]
		return lb, ok
	}
	var byAddress []aliyun.LoadBalancer
	for _, lb := range f.Inventory.Region {
		if value, ok := tag(lb, madeTag); ok && value == s.Name {
			return lb, true
		}
		if lb.Address != "" && slices.Contains(s.Addresses, lb.Address) {
			byAddress = append(byAddress, lb)
		}
	}
	// Private addresses are those of some VPC, and another one may have the same.
	if len(byAddress) != 1 || byAddress[0].AddressType != internet {
		return aliyun.LoadBalancer{}, false
	}
	return byAddress[0], true
}

func (f *finder) service(s *ccm.Service) {
	lb, ok := f.balancerOf(s)
	switch {
	case !ok:
		if s.Settled && s.LoadBalancerID != "" {
			f.add(Gone, s.LoadBalancerID, s, "load balancer")
		}
		return
	case slices.ContainsFunc(f.APIServers, func(a APIServer) bool { return a.ID == lb.ID }):
		f.add(APIServerReused, lb.ID, s, "Service %s", s.NamespacedName)
		return
	case s.Reused && !f.reuse(s, lb), !s.Settled:
		return
	}
	if lb.Status != "" && lb.Status != active {
		f.add(Inactive, lb.ID, s, "status %s", lb.Status)
	}
	if !s.Reused && !f.made(s, lb) {
		return
	}
	f.settings(s, lb)
	if l := f.Inventory.Cluster[lb.ID]; l != nil {
		f.names(s, l)
		f.listeners(s, l)
		f.groups(s, l)
	}
}

// reuse compares what has to be true of a load balancer that a Service re-uses. It is
// false where the controller refuses to work with it.
func (f *finder) reuse(s *ccm.Service, lb aliyun.LoadBalancer) bool {
	if owner, ok := tag(lb, madeTag); ok {
		f.add(ReuseOfManaged, lb.ID, s, "made as %s", owner)
		return false
	}
	if f.VPC != "" && lb.AddressType == intranet && lb.VPCID != "" && lb.VPCID != f.VPC {
		f.add(OtherVPC, lb.ID, s, "VPC %s, not %s", lb.VPCID, f.VPC)
	}
	if differ(s.Settings.AddressType, lb.AddressType) {
		f.add(AddressType, lb.ID, s, "%s, not %s", lb.AddressType, s.Settings.AddressType)
	}
	f.conflicts(s, lb.ID)
	return true
}

// conflicts looks for other Services with the same port. Where all leave the listeners to
// the user, or name one group, that is meant to be.
func (f *finder) conflicts(s *ccm.Service, id string) {
	for _, l := range s.Listeners {
		for _, other := range f.users[id] {
			if other != s && (s.OwnListeners || other.OwnListeners) && slices.ContainsFunc(other.Listeners, func(o ccm.Listener) bool {
				return o.Port == l.Port && (o.Protocol == "udp") == (l.Protocol == "udp") && (o.Group.ID == "" || o.Group.ID != l.Group.ID)
			}) {
				f.add(PortConflict, id, s, "port %d, also of %s", l.Port, other.NamespacedName)
				break
			}
		}
	}
}

// made compares what has to be true of a load balancer that the controller made. It is
// false where the Service once re-used this one.
func (f *finder) made(s *ccm.Service, lb aliyun.LoadBalancer) bool {
	owner, isMade := tag(lb, madeTag)
	if _, reused := tag(lb, reusedTag); reused && owner != s.Name {
		f.add(ReuseRemoved, lb.ID, s, "tag %s", reusedTag)
		return false
	}
	if !isMade || owner != s.Name {
		f.add(Tag, lb.ID, s, "%s is %q, not %q", madeTag, owner, s.Name)
	}
	if cluster, _ := tag(lb, clusterTag); f.ClusterID != "" && cluster != f.ClusterID {
		f.add(Tag, lb.ID, s, "%s is %q, not %q", clusterTag, cluster, f.ClusterID)
	}
	f.conflicts(s, lb.ID)
	return true
}

func (f *finder) settings(s *ccm.Service, lb aliyun.LoadBalancer) {
	compare := func(name, want, have string) {
		if differ(want, have) {
			f.add(Setting, lb.ID, s, "%s is %q, not %q", name, have, want)
		}
	}
	want := s.Settings
	compare("name", want.DisplayName, lb.Name)
	compare("instance charge type", want.InstanceChargeType, lb.InstanceChargeType)
	// One that is paid by use has no specification to choose.
	if want.InstanceChargeType != byCLCU && lb.InstanceChargeType != byCLCU {
		compare("specification", want.Spec, lb.Spec)
	}
	if !s.Reused {
		compare("address type", want.AddressType, lb.AddressType)
	}
	if lb.AddressType == internet {
		compare("charge type", want.ChargeType, lb.ChargeType)
		if want.Bandwidth > 0 && lb.Bandwidth != 0 && want.ChargeType == "paybybandwidth" {
			compare("bandwidth", fmt.Sprint(want.Bandwidth), fmt.Sprint(lb.Bandwidth))
		}
	}
	f.protection(s, lb, "deletion", want.DeleteProtection, lb.DeleteProtection, off)
	f.protection(s, lb, "changes", want.ModificationProtection, lb.ModificationProtection, "NonProtection")
}

// protection compares one of the protections; none is its value where it is off.
func (f *finder) protection(s *ccm.Service, lb aliyun.LoadBalancer, against, want, have, none string) {
	switch {
	case !differ(want, have):
	case have == none:
		f.add(Unprotected, lb.ID, s, "against %s", against)
	default:
		f.add(Setting, lb.ID, s, "protection against %s is %q, not %q", against, have, want)
	}
}

// differ tells whether something is known to be other than wanted.
func differ(want, have string) bool { return want != "" && have != "" && want != have }

// tag is the value of a tag.
func tag(lb aliyun.LoadBalancer, name string) (string, bool) {
	for _, t := range lb.Tags.Tag {
		if t.Key == name {
			return t.Value, true
		}
	}
	return "", false
}
