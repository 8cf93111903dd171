package slb

import "ack-exporter/collector/slb/inventory"

// headroom is how much more fits into a quota in one of the ways to count it.
type headroom struct {
	quota, reading string
	value          float64
}

// left is how often something of this cost still fits.
func left(limit float64, used, cost int) float64 {
	return float64(max(int(limit)-used, 0) / cost)
}

// least keeps the smallest of several, by quota and reading.
type least struct{ found []headroom }

func (l *least) add(quota, reading string, value float64) {
	for i, h := range l.found {
		if h.quota == quota && h.reading == reading {
			l.found[i].value = min(h.value, value)
			return
		}
	}
	l.found = append(l.found, headroom{quota, reading, value})
}

// headroomNodes is how many nodes can be added, with the Services of today, before the
// backends of one load balancer are as many as the quota lets it have. One more node is one
// more server on each load balancer that has a port whose backends are the nodes, and
// one more backend for each such port. There is none where nothing would grow, and none
// as long as one of these load balancers is not complete.
func headroomNodes(i *inventory.Inventory, wanted map[string]*prediction, used usage, limit float64) []headroom {
	var l least
	for id, p := range wanted {
		if i.Cluster[id] == nil || p.ports.nodes == 0 {
			continue
		}
		u, complete := used.balancers[id]
		if !complete {
			return nil
		}
		l.add(quotaBackendServers, readingServers, left(limit, u.servers, 1))
		l.add(quotaBackendServers, readingAttachments, left(limit, u.attachments, p.ports.nodes))
	}
	return l.found
}

// headroomPorts is how many more ports Services can have whose backends are the nodes: before
// an instance is a backend as often as the quota lets it be, and before the load balancer of a
// Service with the most listeners has as many as it may.
func headroomPorts(i *inventory.Inventory, wanted map[string]*prediction, used usage, attachments, listeners float64) []headroom {
	var l least
	for id := range wanted {
		if lb := i.Cluster[id]; lb != nil {
			l.add(quotaListeners, readingListeners, left(listeners, len(lb.Listeners), 1))
		}
	}
	if used.instances == nil {
		return l.found
	}
	var most instanceUsage
	for _, u := range used.instances {
		most.loadBalancers = max(most.loadBalancers, u.loadBalancers)
		most.groups = max(most.groups, u.groups)
		most.ports = max(most.ports, u.ports)
	}
	l.add(quotaBackendAttachments, readingLoadBalancers, left(attachments, most.loadBalancers, 1))
	l.add(quotaBackendAttachments, readingGroups, left(attachments, most.groups, 1))
	l.add(quotaBackendAttachments, readingPorts, left(attachments, most.ports, 1))
	return l.found
}
