package slb

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/drift"
	"ack-exporter/collector/slb/inventory"
)

// The ways to count. The documentation is not clear, so that each has series of its own.
const (
	readingRegion        = "region"
	readingQuotaCenter   = "quota_center"
	readingServers       = "servers"
	readingAttachments   = "attachments"
	readingLoadBalancers = "load_balancers"
	readingGroups        = "groups"
	readingPorts         = "ports"
	readingListeners     = "listeners"
)

const limitHelp = " source: Quota Center (quota_center), else --collector.slb.quota (flag), else what the documentation says (default)."

var (
	familyInfo = collector.NewGauge("ack_slb_info",
		"The load balancers of the cluster, and the Service that has each; one that several Services share has several series, one without a Service, such as that of the API server, has empty namespace and service.",
		"load_balancer_id", "name", "namespace", "service", "address_type", "spec")
	familyInstances = collector.NewGauge("ack_slb_instances",
		"CLB instances, which count towards slb_quota_instances_num: those that the region has (region), and what Quota Center counts (quota_center), where it does.",
		"reading")
	familyInstancesLimit = collector.NewGauge("ack_slb_instances_limit",
		"How many CLB instances there may be, slb_quota_instances_num."+limitHelp, "source")
	familyListeners = collector.NewGauge("ack_slb_listeners",
		"Listeners of a load balancer of the cluster, which count towards slb_quota_listeners_num.", "load_balancer_id")
	familyListenersLimit = collector.NewGauge("ack_slb_listeners_limit",
		"How many listeners a load balancer may have, slb_quota_listeners_num."+limitHelp, "source")
	familyBackendServers = collector.NewGauge("ack_slb_backend_servers",
		"Backends of a load balancer of the cluster, which count towards slb_quota_backendservers_num; how, the documentation does not say: each server once (servers), or once in each of its VServer groups and ports (attachments). Servers outside of VServer groups are not seen. Absent until all its groups were read.",
		"load_balancer_id", "reading")
	familyBackendServersLimit = collector.NewGauge("ack_slb_backend_servers_limit",
		"How many backends a load balancer may have, slb_quota_backendservers_num."+limitHelp, "source")
	familyAttachments = collector.NewGauge("ack_slb_backend_attachments",
		"How often an ECS instance is a backend on the load balancers of the cluster, which counts towards slb_quota_backendserver_attached_num; the documentation says it in three ways: on how many load balancers, in how many VServer groups, at how many ports of groups. On load balancers of others it may be a backend as well. Absent until all groups were read; instances that are in none have no series.",
		"instance_id", "reading")
	familyAttachmentsLimit = collector.NewGauge("ack_slb_backend_attachments_limit",
		"How often an ECS instance may be a backend, slb_quota_backendserver_attached_num."+limitHelp, "source")
	familyQuotaUsage = collector.NewGauge("ack_slb_quota_center_usage",
		"What Quota Center itself counts towards this quota of CLB. Absent where it does not count.", "quota")
	familyServicePorts = collector.NewGauge("ack_slb_service_ports",
		"Ports of the Services of a load balancer by what their backends follow: the nodes (one node more is one backend more for each), or the pods (externalTrafficPolicy Local, or pods as backends).",
		"load_balancer_id", "backends")
	familyPredicted = collector.NewGauge("ack_slb_predicted_backends",
		"Backends that the cloud controller manager makes of the Services, nodes and pods of now, as ack_slb_backend_servers counts them. Absent where endpoints are not known.",
		"load_balancer_id", "reading")
	familyHeadroomNodes = collector.NewGauge("ack_slb_headroom_nodes",
		"How many nodes can be added, with the Services of now, before a load balancer has as many backends as the quota allows; the least of all load balancers. Absent where no backends follow the nodes, and until all groups were read.",
		"quota", "reading")
	familyHeadroomPorts = collector.NewGauge("ack_slb_headroom_service_ports",
		"How many ports more Services can have whose backends are the nodes, before an instance is a backend as often as the quota allows (in each reading), or before the load balancer of a Service with the most listeners has as many as it may.",
		"quota", "reading")
	familyHeadroomBalancers = collector.NewGauge("ack_slb_headroom_load_balancers",
		"How many CLB instances more there can be.", "reading")
	familyScanBalancers = collector.NewGauge("ack_slb_scan_load_balancers",
		"Load balancers of the cluster.")
	familyScanGroups = collector.NewGauge("ack_slb_scan_groups",
		"VServer groups of the load balancers of the cluster, as far as they were listed.")
	familyScanPendingBalancers = collector.NewGauge("ack_slb_scan_pending_load_balancers",
		"Load balancers of the cluster whose groups were never listed yet. They wait for a later refresh.")
	familyScanPendingGroups = collector.NewGauge("ack_slb_scan_pending_groups",
		"VServer groups whose backends were never read yet. They wait for a later refresh.")
	familyScanOldest = collector.NewGauge("ack_slb_scan_oldest_timestamp_seconds",
		"When the list of groups, or the group, that was not read again for the longest time was read. Absent where nothing was read.")
	familyScanCalls = collector.NewGauge("ack_slb_scan_calls",
		"Calls of the last refresh about load balancers, listeners and groups, without what was tried again.")
	familyScanCallsLimit = collector.NewGauge("ack_slb_scan_calls_limit",
		"How many calls a refresh may make.")
	familyScanStopped = collector.NewCounter("ack_slb_scan_stopped_total",
		"How often the reading of groups ended early: the exporter had made as many requests as it may (budget), the API asked for fewer (throttled), the time was over (time), or it failed otherwise (error). What was read counts all the same.",
		"reason")
)

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return append([]*collector.Family{
		familyInfo, familyInstances, familyInstancesLimit, familyListeners, familyListenersLimit,
		familyBackendServers, familyBackendServersLimit, familyAttachments, familyAttachmentsLimit, familyQuotaUsage,
		familyServicePorts, familyPredicted, familyHeadroomNodes, familyHeadroomPorts, familyHeadroomBalancers,
		familyScanBalancers, familyScanGroups, familyScanPendingBalancers, familyScanPendingGroups,
		familyScanOldest, familyScanCalls, familyScanCallsLimit, familyScanStopped,
	}, drift.Families()...)
}

// metrics makes the list of one refresh.
type metrics struct {
	found    *inventory.Inventory
	services []ccm.Service
	wanted   map[string]*prediction
	limits   map[string]limit
	counted  map[string]float64

	list []prometheus.Metric
}

func (m *metrics) put(f *collector.Family, value float64, labels ...string) {
	m.list = append(m.list, f.Metric(value, labels...))
}

func (m *metrics) add() {
	used, wanted := usageOf(m.found), m.wanted
	m.addInfo()
	m.addLimits()
	m.addInstances()
	for _, id := range slices.Sorted(maps.Keys(m.found.Cluster)) {
		m.addBalancer(id, used, wanted)
	}
	for _, id := range slices.Sorted(maps.Keys(used.instances)) {
		u := used.instances[id]
		m.put(familyAttachments, float64(u.loadBalancers), id, readingLoadBalancers)
		m.put(familyAttachments, float64(u.groups), id, readingGroups)
		m.put(familyAttachments, float64(u.ports), id, readingPorts)
	}
	for _, h := range headroomNodes(m.found, wanted, used, m.limits[quotaBackendServers].value) {
		m.put(familyHeadroomNodes, h.value, h.quota, h.reading)
	}
	for _, h := range headroomPorts(m.found, wanted, used, m.limits[quotaBackendAttachments].value, m.limits[quotaListeners].value) {
		m.put(familyHeadroomPorts, h.value, h.quota, h.reading)
	}
}

func (m *metrics) addInfo() {
	shown := make(map[string]bool)
	show := func(id, namespace, service string) {
		if l := m.found.Cluster[id]; l != nil {
			shown[id] = true
			m.put(familyInfo, 1, id, l.Name, namespace, service, l.AddressType, l.Spec)
		}
	}
	for _, s := range m.services {
		show(s.LoadBalancerID, s.Namespace, s.NamespacedName.Name)
	}
	for _, id := range slices.Sorted(maps.Keys(m.found.Cluster)) {
		if !shown[id] {
			show(id, "", "")
		}
	}
}

func (m *metrics) addLimits() {
	for _, l := range []struct {
		family *collector.Family
		quota  string
	}{
		{familyInstancesLimit, quotaInstances},
		{familyListenersLimit, quotaListeners},
		{familyBackendServersLimit, quotaBackendServers},
		{familyAttachmentsLimit, quotaBackendAttachments},
	} {
		m.put(l.family, m.limits[l.quota].value, m.limits[l.quota].source)
		if counted, ok := m.counted[l.quota]; ok && l.quota != quotaInstances {
			m.put(familyQuotaUsage, counted, l.quota)
		}
	}
}

func (m *metrics) addInstances() {
	used := map[string]int{readingRegion: len(m.found.Region)}
	if counted, ok := m.counted[quotaInstances]; ok {
		used[readingQuotaCenter] = int(counted)
	}
	for _, reading := range slices.Sorted(maps.Keys(used)) {
		m.put(familyInstances, float64(used[reading]), reading)
		m.put(familyHeadroomBalancers, left(m.limits[quotaInstances].value, used[reading], 1), reading)
	}
}

func (m *metrics) addBalancer(id string, used usage, wanted map[string]*prediction) {
	m.put(familyListeners, float64(len(m.found.Cluster[id].Listeners)), id)
	if u, complete := used.balancers[id]; complete {
		m.put(familyBackendServers, float64(u.servers), id, readingServers)
		m.put(familyBackendServers, float64(u.attachments), id, readingAttachments)
	}
	p := wanted[id]
	if p == nil {
		return
	}
	m.put(familyServicePorts, float64(p.ports.nodes), id, "nodes")
	m.put(familyServicePorts, float64(p.ports.pods), id, "pods")
	if p.known {
		m.put(familyPredicted, float64(p.servers), id, readingServers)
		m.put(familyPredicted, float64(p.attachments), id, readingAttachments)
	}
}

func (m *metrics) addScan(p inventory.Progress, calls int, stopped map[inventory.Stop]float64) {
	m.put(familyScanBalancers, float64(p.LoadBalancers))
	m.put(familyScanGroups, float64(p.Groups))
	m.put(familyScanPendingBalancers, float64(p.Unlisted))
	m.put(familyScanPendingGroups, float64(p.Unread))
	if !p.Oldest.IsZero() {
		m.put(familyScanOldest, float64(p.Oldest.Unix()))
	}
	m.put(familyScanCalls, float64(p.Calls))
	m.put(familyScanCallsLimit, float64(calls))
	for _, reason := range inventory.Stops() {
		m.put(familyScanStopped, stopped[reason], string(reason))
	}
}
