//go:build e2e

package cloud

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/e2e/internal/cloudcluster"
	"ack-exporter/e2e/internal/exporter"
)

// told are the families that tell of the cloud, by how they begin.
var told = []string{"ack_instance_", "ack_node_", "ack_slb_", "ack_vpc_", "ack_certificate_"}

// running are families about the scan, whose values depend on when it ran.
var running = []string{
	"ack_slb_scan_oldest_timestamp_seconds", "ack_slb_scan_calls", "ack_slb_scan_stopped_total", "ack_slb_drift_changes_total",
}

// ofCloud are the series that tell of the cloud, and depend on nothing but what is there.
func ofCloud(m exporter.Metrics) exporter.Metrics {
	kept := make(exporter.Metrics)
	for key, value := range m {
		name, _, _ := strings.Cut(key, "{")
		tells := slices.ContainsFunc(told, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if tells && !slices.Contains(running, name) && name != "ack_slb_scan_calls_limit" {
			kept[key] = value
		}
	}
	return kept
}

// truth computes what there is to tell, from the account and the API of the cluster.
type truth struct {
	t        testing.TB
	c        *cloudcluster.Cluster
	nodes    []*corev1.Node
	services []*corev1.Service
	m        exporter.Metrics
}

// truthOf is all that the exporter should tell of the cloud. What is said in events and what
// differs from what it ought to be, which nothing here computes, is besides.
func truthOf(t testing.TB, c *cloudcluster.Cluster, besides exporter.Metrics) exporter.Metrics {
	t.Helper()
	u := truth{t: t, c: c, m: maps.Clone(besides)}
	if u.m == nil {
		u.m = make(exporter.Metrics)
	}
	var err error
	if u.services, err = c.Services(t.Context()); err == nil {
		u.nodes, err = c.NodeObjects(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	u.conditions()
	u.instances()
	u.network()
	u.loadBalancers()
	u.certificates()
	u.set(0, "ack_slb_events_left_out")
	return u.m
}

func (u truth) set(value float64, name string, labels ...string) {
	u.m[exporter.Key(name, labels...)] = value
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func instanceIDOf(n *corev1.Node) string {
	_, id, _ := strings.Cut(n.Spec.ProviderID, ".")
	return id
}

func conditionOf(n *corev1.Node, name corev1.NodeConditionType) corev1.ConditionStatus {
	for _, condition := range n.Status.Conditions {
		if condition.Type == name {
			return condition.Status
		}
	}
	return ""
}

func (u truth) conditions() {
	for _, n := range u.nodes {
		for _, status := range []corev1.ConditionStatus{"True", "False", "Unknown"} {
			u.set(one(conditionOf(n, "InstanceExpired") == status), "ack_node_condition_instance_expired", "node", n.Name, "status", string(status))
		}
		u.set(one(conditionOf(n, corev1.NodeReady) == corev1.ConditionTrue), "ack_node_ready", "node", n.Name)
	}
}

func (u truth) instances() {
	for _, n := range u.nodes {
		id := instanceIDOf(n)
		i, known := u.c.Cloud.Instances.Get(id)
		of := func(value float64, name string, labels ...string) {
			u.set(value, "ack_instance_"+name, append([]string{"node", n.Name, "instance_id", id}, labels...)...)
		}
		of(one(known), "known")
		if !known {
			continue
		}
		of(1, "info", "instance_type", i.Type, "zone", i.ZoneID, "charge_type", i.ChargeType, "spot_strategy", i.SpotStrategy, "role", "worker")
		of(one(i.Status == "Running"), "running")
		if i.Status != "Running" {
			of(0, "parked")
		}
		end := i.AutoRelease
		if i.ChargeType == "PrePaid" {
			end = i.Expiry
			of(one(i.Renewal == "AutoRenewal"), "auto_renew")
		}
		if !end.IsZero() {
			of(float64(end.Unix()), "expiry_timestamp_seconds")
		}
		reclaimed := false
		for _, lock := range i.Locks {
			reclaimed = reclaimed || lock == "Recycling"
			of(1, "locked", "reason", strings.ToLower(lock))
		}
		of(one(reclaimed), "reclaiming")
		for _, event := range i.Events {
			if event.Status != "Scheduled" {
				continue
			}
			of(float64(event.NotBefore.Unix()), "system_event_timestamp_seconds", "type", event.Type)
		}
	}
}

func (u truth) quota(product, code string) cloud.Quota {
	q, ok := u.c.Cloud.Quotas.Get(cloud.QuotaKey(product, code))
	if !ok {
		u.t.Fatalf("there is no quota %s", code)
	}
	return q
}

// network is about routes and vSwitches.
func (u truth) network() {
	isNode, unknown, used := make(map[string]bool), 0, make(map[string]bool)
	for _, n := range u.nodes {
		isNode[instanceIDOf(n)] = true
		i, known := u.c.Cloud.Instances.Get(instanceIDOf(n))
		if !known {
			unknown++
			continue
		}
		used[i.VSwitchID] = true
	}
	limit := u.quota("vpc", cloudcluster.QuotaRoutes).Total
	u.set(float64(unknown), "ack_vpc_instances_unknown")
	u.set(limit, "ack_vpc_route_entries_limit", "source", "quota_center")
	for _, table := range u.c.Cloud.RouteTables.All() {
		entries, leadsHere := 0.0, false
		for _, e := range u.c.Cloud.RouteEntries.All() {
			if e.TableID == table.ID && e.Type == "Custom" {
				entries++
				leadsHere = leadsHere || isNode[e.NextHopID]
			}
		}
		u.set(entries, "ack_vpc_route_entries", "route_table_id", table.ID)
		if leadsHere {
			u.set(max(0, limit-entries), "ack_vpc_headroom_nodes", "route_table_id", table.ID)
		}
	}
	u.vSwitches("node", used)
	u.vSwitches("pod", map[string]bool{cloudcluster.PodVSwitch: true})
}

func (u truth) vSwitches(use string, ids map[string]bool) {
	unknown := 0
	for id := range ids {
		s, known := u.c.Cloud.VSwitches.Get(id)
		if !known {
			unknown++
			continue
		}
		block, err := netip.ParsePrefix(s.CIDR)
		if err != nil {
			u.t.Fatal(err)
		}
		labels := []string{"vswitch_id", id, "zone", s.ZoneID, "use", use}
		u.set(float64(s.Available), "ack_vpc_vswitch_available_addresses", labels...)
		u.set(math.Exp2(float64(32-block.Bits()))-4, "ack_vpc_vswitch_addresses", labels...)
	}
	u.set(float64(unknown), "ack_vpc_vswitches_unknown", "use", use)
}

// balancerOf is the load balancer that a Service has.
func balancerOf(s *corev1.Service) string {
	if id := s.Annotations[cloudcluster.Annotation("id")]; id != "" {
		return id
	}
	return s.Labels[cloud.LabelLoadBalancer]
}

// ofCluster are the load balancers of the cluster.
func (u truth) ofCluster() map[string]cloud.LoadBalancer {
	all := make(map[string]cloud.LoadBalancer)
	for _, b := range u.c.Cloud.LoadBalancers.All() {
		isService := slices.ContainsFunc(u.services, func(s *corev1.Service) bool { return balancerOf(s) == b.ID })
		if b.Tags[cloud.TagCluster] == cloudcluster.ID || isService {
			all[b.ID] = b
		}
	}
	return all
}

// uses is how often servers are backends.
type uses struct {
	servers     map[string]bool
	attachments int
}

func (u *uses) add(g cloud.ServerGroup) {
	for _, b := range g.Backends {
		u.attachments++
		u.servers[b.ServerID] = true
	}
}

// usesOf counts the backends of each load balancer of an account.
func usesOf(c *cloud.Cloud) map[string]*uses {
	all := make(map[string]*uses)
	for _, b := range c.LoadBalancers.All() {
		all[b.ID] = &uses{servers: make(map[string]bool)}
	}
	for _, g := range c.ServerGroups.All() {
		if all[g.LoadBalancerID] != nil {
			all[g.LoadBalancerID].add(g)
		}
	}
	return all
}

func (u truth) loadBalancers() {
	balancers, have, want := u.ofCluster(), usesOf(u.c.Cloud), usesOf(u.wanted())
	quota := map[string]float64{
		"instances": u.quota("slb", cloudcluster.QuotaInstances).Total, "listeners": u.quota("slb", cloudcluster.QuotaListeners).Total,
		"backend_servers": u.quota("slb", cloudcluster.QuotaBackends).Total, "backend_attachments": u.quota("slb", cloudcluster.QuotaAttachments).Total,
	}
	for name, total := range quota {
		u.set(total, "ack_slb_"+name+"_limit", "source", "quota_center")
	}
	inRegion, counted := float64(len(u.c.Cloud.LoadBalancers.All())), u.quota("slb", cloudcluster.QuotaInstances).Usage
	for reading, n := range map[string]float64{"region": inRegion, "quota_center": counted} {
		u.set(n, "ack_slb_instances", "reading", reading)
		u.set(max(0, quota["instances"]-n), "ack_slb_headroom_load_balancers", "reading", reading)
	}
	groups := 0
	for id := range balancers {
		u.set(float64(u.listeners(id)), "ack_slb_listeners", "load_balancer_id", id)
		u.set(float64(len(have[id].servers)), "ack_slb_backend_servers", "load_balancer_id", id, "reading", "servers")
		u.set(float64(have[id].attachments), "ack_slb_backend_servers", "load_balancer_id", id, "reading", "attachments")
		groups += u.groups(id)
	}
	u.ofServices(balancers, have, want, quota)
	u.attachments(balancers, quota["backend_attachments"])
	u.set(float64(len(balancers)), "ack_slb_scan_load_balancers")
	u.set(float64(groups), "ack_slb_scan_groups")
	u.set(0, "ack_slb_scan_pending_load_balancers")
	u.set(0, "ack_slb_scan_pending_groups")
}

// wanted is an account in which the controller has just done its work.
func (u truth) wanted() *cloud.Cloud {
	policy, err := os.ReadFile(cloudtest.PolicyFile)
	if err != nil {
		u.t.Fatal(err)
	}
	account, err := cloud.New(cloud.Config{Policy: policy})
	if err != nil {
		u.t.Fatal(err)
	}
	// Those that users make it does not.
	account.LoadBalancers.Set(u.c.Cloud.LoadBalancers.All()...)
	account.LoadBalancers.Set(cloud.LoadBalancer{ID: cloudcluster.Reused})
	controller := u.c.Controller
	controller.Cloud = account
	for _, s := range u.services {
		endpoints, err := u.c.Endpoints(u.t.Context(), s)
		if err == nil {
			_, err = controller.Ensure(s, u.nodes, endpoints...)
		}
		if err != nil {
			u.t.Fatal(err)
		}
	}
	return account
}

func (u truth) listeners(id string) int {
	return len(slices.DeleteFunc(u.c.Cloud.Listeners.All(), func(l cloud.Listener) bool { return l.LoadBalancerID != id }))
}

func (u truth) groups(id string) int {
	return len(slices.DeleteFunc(u.c.Cloud.ServerGroups.All(), func(g cloud.ServerGroup) bool { return g.LoadBalancerID != id }))
}

// ofServices is about the load balancers that Services have, each of them another.
func (u truth) ofServices(balancers map[string]cloud.LoadBalancer, have, want map[string]*uses, quota map[string]float64) {
	nodesLeft := map[string]float64{"servers": math.Inf(1), "attachments": math.Inf(1)}
	listenersLeft := math.Inf(1)
	info := func(b cloud.LoadBalancer, namespace, service string) {
		u.set(1, "ack_slb_info", "load_balancer_id", b.ID, "name", b.Name, "namespace", namespace, "service", service, "address_type", b.AddressType, "spec", b.Spec)
	}
	ofNobody := maps.Clone(balancers)
	for _, s := range u.services {
		b, exists := balancers[balancerOf(s)]
		if !exists {
			continue
		}
		delete(ofNobody, b.ID)
		info(b, s.Namespace, s.Name)
		ports := map[string]int{"nodes": len(s.Spec.Ports), "pods": 0}
		if s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
			ports = map[string]int{"nodes": 0, "pods": len(s.Spec.Ports)}
		}
		for follow, n := range ports {
			u.set(float64(n), "ack_slb_service_ports", "load_balancer_id", b.ID, "backends", follow)
		}
		u.set(float64(len(want[b.ID].servers)), "ack_slb_predicted_backends", "load_balancer_id", b.ID, "reading", "servers")
		u.set(float64(want[b.ID].attachments), "ack_slb_predicted_backends", "load_balancer_id", b.ID, "reading", "attachments")
		listenersLeft = min(listenersLeft, max(0, quota["listeners"]-float64(u.listeners(b.ID))))
		if ports["nodes"] > 0 {
			servers, attachments := quota["backend_servers"]-float64(len(have[b.ID].servers)), quota["backend_servers"]-float64(have[b.ID].attachments)
			nodesLeft["servers"] = min(nodesLeft["servers"], max(0, servers))
			nodesLeft["attachments"] = min(nodesLeft["attachments"], math.Floor(max(0, attachments)/float64(ports["nodes"])))
		}
	}
	for _, b := range ofNobody {
		info(b, "", "")
	}
	for reading, n := range nodesLeft {
		u.set(n, "ack_slb_headroom_nodes", "quota", "backend_servers", "reading", reading)
	}
	u.set(listenersLeft, "ack_slb_headroom_service_ports", "quota", "listeners", "reading", "listeners")
}

// attachments are those of each instance, which has one port in a group.
func (u truth) attachments(balancers map[string]cloud.LoadBalancer, limit float64) {
	on, in := make(map[string]map[string]bool), make(map[string]int)
	for _, g := range u.c.Cloud.ServerGroups.All() {
		for _, b := range g.Backends {
			if _, ours := balancers[g.LoadBalancerID]; !ours || b.Type != "ecs" {
				continue
			}
			if on[b.ServerID] == nil {
				on[b.ServerID] = make(map[string]bool)
			}
			on[b.ServerID][g.LoadBalancerID] = true
			in[b.ServerID]++
		}
	}
	most := make(map[string]int)
	for id, n := range in {
		for reading, n := range map[string]int{"load_balancers": len(on[id]), "groups": n, "ports": n} {
			most[reading] = max(most[reading], n)
			u.set(float64(n), "ack_slb_backend_attachments", "instance_id", id, "reading", reading)
		}
	}
	for reading, n := range most {
		u.set(max(0, limit-float64(n)), "ack_slb_headroom_service_ports", "quota", "backend_attachments", "reading", reading)
	}
}

func (u truth) certificates() {
	balancers, locations := u.ofCluster(), 0
	for _, l := range u.c.Cloud.Listeners.All() {
		if _, ours := balancers[l.LoadBalancerID]; !ours || l.Protocol != "https" {
			continue
		}
		location := net.JoinHostPort(l.LoadBalancerID, strconv.Itoa(l.Port))
		certificate, known := u.c.Cloud.Certificates.Get(l.CertificateID)
		if !known {
			u.set(1, "ack_certificate_errors", "source", "slb", "location", location, "key", l.CertificateID, "reason", "vanished")
			continue
		}
		locations++
		labels := []string{"source", "slb", "location", location, "key", certificate.ID, "serial", "", "subject", certificate.CommonName}
		u.set(float64(certificate.Expiry.Unix()), "ack_certificate_not_after_timestamp_seconds", labels...)
		u.set(1, "ack_certificate_info", append(labels, "issuer", "", "role", "leaf", "class", "manual")...)
	}
	u.set(float64(locations), "ack_certificate_locations", "source", "slb")
}

// sameAs is nil where the exporter tells the truth, and nothing else.
func sameAs(m, truth exporter.Metrics) error {
	if diff := ofCloud(m).Difference(truth); len(diff) > 0 {
		return fmt.Errorf("%d differences:\n%s", len(diff), strings.Join(diff[:min(len(diff), 20)], "\n"))
	}
	return nil
}
