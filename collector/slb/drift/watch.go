package drift

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

// networksAge is how long the networks of the nodes are good for: new nodes seldom come with
// new networks.
const networksAge = time.Hour

// Config says what a Watch looks at.
type Config struct {
	API aliyun.API
	// APIServers are the ids of the load balancers of the API server. None: the one with
	// the tags is found.
	APIServers []string
	// Ports are those that their listeners may have; the first has to be there. None: 6443.
	Ports []int32
	Now   func() time.Time
}

// Look is what a Watch compares.
type Look struct {
	ClusterID string
	Services  []ccm.Service
	Inventory *inventory.Inventory
	// Instances are the ids of the instances of the nodes.
	Instances []string
}

// Watch compares again and again. It asks the API itself only where the listener of the API
// server has access control.
type Watch struct {
	config  Config
	memory  memory
	tracker *Tracker
	entries map[string][]string
	// networks are those of the nodes, read last at networksRead.
	networks     []netip.Prefix
	networksRead time.Time
}

// NewWatch makes a Watch that has seen nothing.
func NewWatch(config Config) *Watch {
	return &Watch{config: config, memory: memory{named: config.APIServers}, tracker: NewTracker()}
}

// Metrics compares, and makes metrics of what is found, which is returned as well. An
// error is about access control: the rest is there all the same.
func (w *Watch) Metrics(ctx context.Context, look Look) ([]prometheus.Metric, []Finding, error) {
	in := Input{ClusterID: look.ClusterID, VPC: VPC(look.ClusterID, look.Inventory), Services: look.Services, Inventory: look.Inventory}
	in.APIServers = w.memory.apiServers(w.config.Now(), in)
	err := w.accessControl(ctx, in, look.Instances)
	for n := range in.APIServers {
		a := &in.APIServers[n]
		a.Ports, a.Entries, a.Networks = w.config.Ports, w.entries, w.networks
	}
	found := Find(in)
	return w.tracker.Metrics(found), found, err
}

// accessControl reads what access control needs to be judged. Where that fails, what was
// read before is still good.
func (w *Watch) accessControl(ctx context.Context, in Input, instances []string) error {
	before := w.entries
	w.entries = make(map[string][]string)
	var failed []error
	for _, a := range in.APIServers {
		a.Ports = w.config.Ports
		for _, id := range a.ACLs(in.Inventory) {
			if _, done := w.entries[id]; done {
				continue
			}
			entries, err := aliyun.AccessControlEntries(ctx, w.config.API, id)
			if err != nil {
				failed = append(failed, fmt.Errorf("access control list %s: %w", id, err))
				var known bool
				if entries, known = before[id]; !known {
					continue
				}
			}
			w.entries[id] = entries
		}
	}
	if len(w.entries) > 0 && w.config.Now().Sub(w.networksRead) >= networksAge {
		networks, err := networksOf(ctx, w.config.API, instances)
		if err != nil {
			return errors.Join(append(failed, fmt.Errorf("networks of nodes: %w", err))...)
		}
		w.networks, w.networksRead = networks, w.config.Now()
	}
	return errors.Join(failed...)
}

// networksOf are the networks of the vSwitches that instances are in, sorted.
func networksOf(ctx context.Context, api aliyun.API, ids []string) ([]netip.Prefix, error) {
	found, _, err := aliyun.Instances(ctx, api, ids)
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	vpcs := make(map[string]bool)
	for _, i := range found {
		used[i.VPC.VSwitchID] = true
		vpcs[i.VPC.ID] = i.VPC.ID != ""
	}
	delete(vpcs, "")
	var all []netip.Prefix
	for _, vpc := range slices.Sorted(maps.Keys(vpcs)) {
		switches, err := aliyun.VSwitches(ctx, api, vpc)
		if err != nil {
			return nil, err
		}
		for _, s := range switches {
			if network, ok := prefix(s.CIDR); ok && used[s.ID] {
				all = append(all, network)
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all), nil
}
