// Package vpc tells how much room the network of the cloud has left for a cluster:
// entries of the route tables of its VPC, of which Flannel needs one for each node,
// and addresses of the vSwitches of its nodes and pods.
package vpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

var (
	familyRouteEntries = collector.NewGauge("ack_vpc_route_entries",
		"Custom entries of a route table of the VPC, which are those that its quota counts.",
		"route_table_id")
	familyRouteLimit = collector.NewGauge("ack_vpc_route_entries_limit",
		"Custom entries that a route table can have, and who says so. quota_center: Quota Center. flag: --collector.vpc.route-entries-quota. default: the documented default, where neither does. Absent where Quota Center has not answered yet.",
		"source")
	familyHeadroom = collector.NewGauge("ack_vpc_headroom_nodes",
		"Nodes that can be added before the route table has as many custom entries as it can have. Only of tables with routes to nodes of the cluster, as Flannel has them, one for each node.",
		"route_table_id")
	familyAvailable = collector.NewGauge("ack_vpc_vswitch_available_addresses",
		"Free addresses of a vSwitch of the cluster. use: node where instances of nodes are in it, pod where Terway gives its addresses to pods by the ConfigMap eni-config.",
		"vswitch_id", "zone", "use")
	familyAddresses = collector.NewGauge("ack_vpc_vswitch_addresses",
		"Addresses that a vSwitch of the cluster can give away. Approximate: those of its CIDR block less 4 that the cloud keeps.",
		"vswitch_id", "zone", "use")
	familyUnknownVSwitches = collector.NewGauge("ack_vpc_vswitches_unknown",
		"vSwitches that nodes are in, or that eni-config names, and of which the API does not tell how many addresses are free: they are gone, misspelt, in another VPC, or there is no right to see them.",
		"use")
	familyUnknownInstances = collector.NewGauge("ack_vpc_instances_unknown",
		"Nodes of whose instances the API says nothing. Their vSwitches are not among those that are told.")
)

// What a vSwitch is used for.
const (
	useNode = "node"
	usePod  = "pod"
)

// Config says what a Collector asks, and about what.
type Config struct {
	// API is nil where the cloud is not to be asked.
	API    aliyun.API
	Region string
	// RouteEntries is how many custom entries a route table can have, where Quota
	// Center does not tell; 0 is the documented default.
	RouteEntries int
	// Nodes holds all nodes with spec.providerID.
	Nodes kube.Lister[*corev1.Node]
	// ENIConfig holds the ConfigMap that eniconfig.Fields selects, trimmed by
	// eniconfig.Trim.
	ENIConfig kube.Lister[*corev1.ConfigMap]
}

// Collector tells of the VPC of the cluster.
type Collector struct {
	config Config
	// quota is what Quota Center said last; 0 is nothing.
	quota float64
}

// New makes a Collector. Nothing is asked yet.
func New(config Config) (*Collector, error) {
	if config.RouteEntries < 0 {
		return nil, fmt.Errorf("quota of route entries: %d is negative", config.RouteEntries)
	}
	return &Collector{config: config}, nil
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{
		familyRouteEntries, familyRouteLimit, familyHeadroom,
		familyAvailable, familyAddresses, familyUnknownVSwitches, familyUnknownInstances,
	}
}

// Collect implements collector.Collector. What one listing says is told as a whole or
// not at all; that one fails leaves the others.
func (c *Collector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	if c.config.API == nil {
		return nil, aliyun.ErrNoCredentials
	}
	f, err := c.fleet(ctx)
	if err != nil {
		return nil, err
	}
	metrics := []prometheus.Metric{familyUnknownInstances.Metric(float64(f.unknown))}
	limit, limitErr := c.limit(ctx)
	metrics = append(metrics, limit.metrics()...)
	routes, routesErr := c.routes(ctx, f, limit)
	vSwitches, vSwitchesErr := c.vSwitches(ctx, f)
	metrics = slices.Concat(metrics, routes, vSwitches)
	return metrics, errors.Join(limitErr, routesErr, vSwitchesErr)
}

// fleet is where the nodes of the cluster are.
type fleet struct {
	instances map[string]bool // ids
	unknown   int             // instances of which the API says nothing
	vpcs      []string        // nearly always one
	vSwitches map[string]bool
}

func (c *Collector) fleet(ctx context.Context) (fleet, error) {
	nodes, err := c.config.Nodes.List()
	if err != nil {
		return fleet{}, err
	}
	f := fleet{instances: make(map[string]bool), vSwitches: make(map[string]bool)}
	for _, n := range nodes {
		if instance, ok := kube.InstanceOf(n); ok {
			f.instances[instance.ID] = true
		}
	}
	if len(f.instances) == 0 {
		return fleet{}, fmt.Errorf("no node is an instance: %w", collector.ErrNotApplicable)
	}
	found, unknown, err := aliyun.Instances(ctx, c.config.API, slices.Sorted(maps.Keys(f.instances)))
	if err != nil {
		return fleet{}, err
	}
	if len(found) == 0 {
		return fleet{}, fmt.Errorf("the API says nothing of any of the %d instances of nodes: %w", len(unknown), collector.ErrForbidden)
	}
	f.unknown = len(unknown)
	vpcs := make(map[string]bool)
	for _, i := range found {
		if i.VPC.ID == "" || i.VPC.VSwitchID == "" {
			continue // an instance of the classic network
		}
		vpcs[i.VPC.ID] = true
		f.vSwitches[i.VPC.VSwitchID] = true
	}
	if len(vpcs) == 0 {
		return fleet{}, fmt.Errorf("no node is in a VPC: %w", collector.ErrNotApplicable)
	}
	f.vpcs = slices.Sorted(maps.Keys(vpcs))
	return f, nil
}
