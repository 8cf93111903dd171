// Package slb exposes the classic load balancers (CLB, in ACK's words SLB) of a cluster: what
// counts towards their quotas, how much more fits, and how far they are from what
// Services want.
package slb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ack-exporter/collector"
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/drift"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

// maxLogged bounds how much one refresh logs of what differs.
const maxLogged = 20

// Config says what a Collector reads.
type Config struct {
	// API is nil where the cloud is not to be asked.
	API    aliyun.API
	Region string
	// ClusterID is the id of the cluster; empty: what the labels of its nodes say.
	ClusterID string
	// APIServer are the ids of the load balancers of the API server, and APIServerPorts what
	// drift.Config says of them. None: the one with the tag of the cluster.
	APIServer      []string
	APIServerPorts []int32
	// Calls are how many calls about load balancers one refresh may make, and Interval is
	// in how much time.
	Calls    int
	Interval time.Duration
	// Quotas are limits that count where Quota Center does not tell.
	Quotas Limits

	// Services has those of type LoadBalancer as kube.TrimService keeps them, Nodes all
	// nodes as kube.TrimNode does.
	Services  kube.Lister[*corev1.Service]
	Nodes     kube.Lister[*corev1.Node]
	Endpoints EndpointLister
	// Log names what begins to differ from what Services want.
	Log *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Collector knows the load balancers of the cluster.
type Collector struct {
	config  Config
	scanner *inventory.Scanner
	quotas  *quotaReader
	watch   *drift.Watch
	stopped map[inventory.Stop]float64
	// last is when the last refresh ended.
	last time.Time
	// calls are those of the last refresh; Rest can read it while another one runs.
	calls atomic.Int64
}

// New makes a Collector. Nothing is asked yet.
func New(config Config) (*Collector, error) {
	if config.Calls <= 0 || config.Interval <= 0 {
		return nil, fmt.Errorf("%d calls in %s: not positive", config.Calls, config.Interval)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	c := &Collector{
		config: config,
		quotas: &quotaReader{api: config.API, region: config.Region, flags: config.Quotas, now: config.Now},
		watch: drift.NewWatch(drift.Config{
			API: config.API, APIServers: config.APIServer, Ports: config.APIServerPorts, Now: config.Now,
		}),
		stopped: make(map[inventory.Stop]float64),
	}
	c.forget()
	return c, nil
}

// forget begins anew.
func (c *Collector) forget() {
	c.scanner = inventory.NewScanner(inventory.Config{API: c.config.API, Calls: c.config.Calls, Now: c.config.Now})
}

// Rest implements collector.Rester: the calls of a refresh are spread over the time that
// they are meant for, also where it failed and another one could follow at once.
func (c *Collector) Rest() time.Duration {
	share := float64(c.calls.Load()) / float64(c.config.Calls)
	return time.Duration(share * float64(c.config.Interval))
}

// Collect implements collector.Collector. It is collector.ErrNotApplicable where the cloud
// is not to be asked. A listing of load balancers or listeners that breaks off fails the whole;
// quotas, endpoints and single groups that cannot be read are errors next to the rest.
func (c *Collector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	if c.config.API == nil {
		return nil, aliyun.ErrNoCredentials
	}
	cluster, endpointsErr, err := c.cluster(ctx)
	if err != nil {
		return nil, err
	}
	// Another replica may have led meanwhile; what was read then is too old.
	if c.config.Now().Sub(c.last) > collector.MaxAgeIntervals*c.config.Interval {
		c.forget()
	}
	predicted := newPredictor()
	found, progress, scanErr := c.scanner.Refresh(ctx, inventory.Wanted{
		ClusterID: cluster.ID, Services: servicesOf(cluster, predicted.add), LoadBalancers: c.config.APIServer,
	})
	c.calls.Store(int64(progress.Calls))
	c.stopped[progress.Stopped]++
	if found == nil {
		return nil, scanErr
	}
	c.last = c.config.Now()
	limits, counted, quotaErr := c.quotas.read(ctx)
	services := toCompare(cluster, found)
	m := metrics{found: found, services: services, wanted: predicted.balancers, limits: limits, counted: counted}
	m.add()
	m.addScan(progress, c.config.Calls, c.stopped)
	drifted, driftErr := c.drift(ctx, cluster, services, found)
	return append(m.list, drifted...), errors.Join(scanErr, quotaErr, endpointsErr, driftErr)
}

// servicesOf are the Services that have a load balancer, some at a time: the backends of
// all of them at once can be millions. each sees them first.
func servicesOf(cluster ccm.Cluster, each func(ccm.Service)) iter.Seq[ccm.Service] {
	return func(yield func(ccm.Service) bool) {
		for batch := range slices.Chunk(cluster.Services, servicesAtOnce) {
			some := cluster
			some.Services = batch
			for _, s := range ccm.Compute(some) {
				each(s)
				if !yield(s) {
					return
				}
			}
		}
	}
}

// toCompare are the Services without the backends of groups that are as wanted, so that of
// most there is nothing left.
func toCompare(cluster ccm.Cluster, found *inventory.Inventory) []ccm.Service {
	asWanted := make(map[[2]string]bool)
	for id, l := range found.Cluster {
		for _, g := range l.Groups {
			if g.AsWanted {
				asWanted[[2]string{id, g.ID}], asWanted[[2]string{id, g.Name}] = true, true
			}
		}
	}
	return slices.Collect(servicesOf(cluster, func(s ccm.Service) {
		for i := range s.Listeners {
			g := &s.Listeners[i].Group
			for _, key := range []string{g.ID, g.Name, g.OtherName} {
				if key != "" && asWanted[[2]string{s.LoadBalancerID, key}] {
					g.Known, g.Backends, g.Optional = false, nil, nil
				}
			}
		}
	}))
}

// drift is how load balancers differ from what is wanted. What is new is logged.
func (c *Collector) drift(ctx context.Context, cluster ccm.Cluster, services []ccm.Service, found *inventory.Inventory) ([]prometheus.Metric, error) {
	look := drift.Look{ClusterID: cluster.ID, Services: services, Inventory: found}
	for _, n := range cluster.Nodes {
		if i, ok := kube.InstanceOf(n); ok {
			look.Instances = append(look.Instances, i.ID)
		}
	}
	metrics, findings, err := c.watch.Metrics(ctx, look)
	c.logNew(findings)
	return metrics, err
}

// logNew names what was not found the last time, and how many there are beyond maxLogged.
func (c *Collector) logNew(findings []drift.Finding) {
	added := 0
	for _, f := range findings {
		if !f.New {
			continue
		}
		if added++; added <= maxLogged {
			c.config.Log.Info("a load balancer is not as it should be", "kind", string(f.Kind), "load_balancer_id", f.LoadBalancerID,
				"service", f.Service.String(), "count", f.Count, "details", strings.Join(f.Details, ", "))
		}
	}
	if added > maxLogged {
		c.config.Log.Info("more load balancers are not as they should be", "count", added-maxLogged)
	}
}

// cluster is what the cloud controller manager sees. endpointsErr is why endpoints of some
// Services are missing.
func (c *Collector) cluster(ctx context.Context) (cluster ccm.Cluster, endpointsErr, err error) {
	services, err := c.config.Services.List()
	if err != nil {
		return ccm.Cluster{}, nil, err
	}
	nodes, err := c.config.Nodes.List()
	if err != nil {
		return ccm.Cluster{}, nil, err
	}
	cluster = ccm.Cluster{ID: c.config.ClusterID, Services: services, Nodes: nodes}
	if cluster.ID == "" {
		cluster.ID = kube.ClusterID(nodes)
	}
	// Pods on virtual nodes are backends of any Service.
	virtual := slices.ContainsFunc(nodes, kube.IsVirtual)
	var names []types.NamespacedName
	for _, s := range services {
		if ccm.NeedsEndpoints(s) || virtual && s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			names = append(names, types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
		}
	}
	cluster.Endpoints, endpointsErr = endpointsOf(ctx, c.config.Endpoints, names)
	return cluster, endpointsErr, nil
}
