// Package coredns tells whether the cluster's DNS server is large enough, spread
// well, configured as ACK recommends, and whether each of its replicas answers.
package coredns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
)

var (
	familyReplicas = collector.NewGauge("ack_coredns_replicas",
		"Replicas of CoreDNS: desired by its Deployment, and ready.",
		"state")
	familyRecommended = collector.NewGauge("ack_coredns_replicas_recommended",
		"Replicas that ACK recommends for this cluster: one for 8 nodes and one for 64 cores, whichever needs more, and from 2 to 100. Virtual nodes and those that take no pods are left out.")
	familyHostingNodes = collector.NewGauge("ack_coredns_hosting_nodes",
		"Nodes that run a ready replica. On a virtual node every replica has a machine of its own, and counts as a node.")
	familyHostingZones = collector.NewGauge("ack_coredns_hosting_zones",
		"Zones that run a ready replica.")
	familyClusterNodes = collector.NewGauge("ack_coredns_cluster_nodes",
		"Nodes that could run a replica: all but virtual ones and those that take no pods.")
	familyClusterZones = collector.NewGauge("ack_coredns_cluster_zones",
		"Zones of the nodes that could run a replica.")
	familyInfo = collector.NewGauge("ack_coredns_info",
		"A replica: where it runs, its image and its release. The release is what the replica says itself, or else in the tag of the image, and empty where neither tells.",
		"pod", "node", "zone", "image", "version")
	familyRestarts = collector.NewCounter("ack_coredns_pod_restarts_total",
		"Restarts of the containers of this replica, as Kubernetes counts them.",
		"pod", "node")
	familyEnded = collector.NewGauge("ack_coredns_pod_last_termination_timestamp_seconds",
		"When a container of this replica ended the last time, and how. Absent where none has.",
		"pod", "node", "reason")
	familyNotReady = collector.NewGauge("ack_coredns_pod_not_ready",
		"1 for a replica that is not ready, with the reason. Replicas that are ready or being deleted are absent.",
		"pod", "node", "reason")
	familyMemoryLimit = collector.NewGauge("ack_coredns_memory_limit_bytes",
		"Smallest memory limit of the replicas. Absent where none has a limit.")

	familyAffinity = collector.NewGauge("ack_coredns_session_affinity",
		"Whether the Service kube-dns sends a client to the same replica again (sessionAffinity ClientIP).")
	familyEndpoints = collector.NewGauge("ack_coredns_service_endpoints",
		"Endpoints of the Service kube-dns.",
		"state")

	familyUp = collector.NewGauge("ack_coredns_endpoint_up",
		"Whether this replica, asked directly by its address, answers: to its health and readiness checks, to a DNS question over UDP and TCP, and with its metrics. Only replicas that run are asked.",
		"pod", "node", "check")
	familyAPIRequests = collector.NewCounter("ack_coredns_api_requests_total",
		"Requests of this replica to the API server by how they ended, as it counts them itself.",
		"pod", "node", "result")
	familyPanics = collector.NewCounter("ack_coredns_panics_total",
		"Panics of this replica, as it counts them itself.",
		"pod", "node")
	familyReloadFailures = collector.NewCounter("ack_coredns_reload_failures_total",
		"Changed Corefiles that this replica could not use, as it counts them itself. It goes on with the one before.",
		"pod", "node")
	familyLoaded = collector.NewGauge("ack_coredns_corefile_loaded",
		"Whether this replica has loaded the Corefile in the ConfigMap. Absent for a replica that has seen no change since its start or could not use one, and where the Corefile has placeholders or includes files.",
		"pod", "node")
	familyVersions = collector.NewGauge("ack_coredns_corefile_versions",
		"Different Corefiles that the replicas took up last, among those that have seen a change since their start. Absent where none has.")

	familyCheck = collector.NewGauge("ack_coredns_corefile_check",
		"Whether the Corefile in the ConfigMap passes this check. Absent where that depends on a file that it includes or on the environment of CoreDNS.",
		"check")
	familyLameduck = collector.NewGauge("ack_coredns_lameduck_seconds",
		"How long CoreDNS goes on answering after it was told to stop, by the Corefile in the ConfigMap. Absent without the plugin health.")
)

// Config says what a Collector reads, and how it asks.
type Config struct {
	Sources Sources
	Prober  *Prober
}

// Collector reads what the API server has about CoreDNS, and asks its replicas.
type Collector struct {
	sources Sources
	prober  *Prober
	last    *reading // of the Corefile; nil before the first
}

// New makes a Collector.
func New(config Config) *Collector {
	return &Collector{sources: config.Sources, prober: config.Prober}
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{
		familyReplicas, familyRecommended, familyHostingNodes, familyHostingZones, familyClusterNodes, familyClusterZones,
		familyInfo, familyRestarts, familyEnded, familyNotReady, familyMemoryLimit,
		familyAffinity, familyEndpoints,
		familyUp, familyAPIRequests, familyPanics, familyReloadFailures, familyLoaded, familyVersions,
		familyCheck, familyLameduck,
	}
}

// Collect implements collector.Collector. It is not applicable where the cluster has
// no CoreDNS to be seen, as where ACK runs it. A ConfigMap that cannot be used, and
// replicas that could not be asked in time, do not hide the rest.
func (c *Collector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	o, err := c.sources.read()
	if err != nil {
		return nil, err
	}
	if len(o.deployments) == 0 && len(o.pods) == 0 {
		return nil, fmt.Errorf("no Deployment and no pods of CoreDNS: %w", collector.ErrNotApplicable)
	}
	s := assess(o)
	errAsk := c.prober.Ask(ctx, s.Replicas)
	s.identify()
	file, errFile := c.readCorefile(o.configMaps)
	s.assessCorefile(file, errFile)
	return s.metrics(), errors.Join(errFile, errAsk)
}

func (s Snapshot) metrics() []prometheus.Metric {
	m := []prometheus.Metric{
		familyReplicas.Metric(float64(s.Ready), "ready"),
		familyRecommended.Metric(float64(s.Recommended)),
		familyHostingNodes.Metric(float64(s.HostingNodes)),
		familyHostingZones.Metric(float64(s.HostingZones)),
		familyClusterNodes.Metric(float64(s.ClusterNodes)),
		familyClusterZones.Metric(float64(s.ClusterZones)),
		familyEndpoints.Metric(float64(s.ReadyEndpoints), "ready"),
		familyEndpoints.Metric(float64(s.NotReadyEndpoints), "not_ready"),
	}
	if s.Desired != nil {
		m = append(m, familyReplicas.Metric(float64(*s.Desired), "desired"))
	}
	if s.ClientIP != nil {
		m = append(m, familyAffinity.Metric(collector.Bool(*s.ClientIP)))
	}
	if s.MemoryLimit != nil {
		m = append(m, familyMemoryLimit.Metric(*s.MemoryLimit))
	}
	if s.Versions != nil {
		m = append(m, familyVersions.Metric(float64(*s.Versions)))
	}
	if s.Lameduck != nil {
		m = append(m, familyLameduck.Metric(s.Lameduck.Seconds()))
	}
	for check, passed := range s.Checks {
		m = append(m, familyCheck.Metric(collector.Bool(passed), check))
	}
	for _, r := range s.Replicas {
		m = append(m, r.metrics()...)
	}
	return m
}

func (r Replica) metrics() []prometheus.Metric {
	m := []prometheus.Metric{
		familyInfo.Metric(1, r.Pod, r.Node, r.Zone, r.Image, r.Version),
		familyRestarts.Metric(float64(r.Restarts), r.Pod, r.Node),
	}
	if r.Ended != nil {
		at := float64(r.Ended.At.UnixNano()) / float64(time.Second)
		m = append(m, familyEnded.Metric(at, r.Pod, r.Node, r.Ended.Reason))
	}
	if r.NotReady != "" {
		m = append(m, familyNotReady.Metric(1, r.Pod, r.Node, r.NotReady))
	}
	for check, up := range r.Asked.Up {
		m = append(m, familyUp.Metric(collector.Bool(up), r.Pod, r.Node, string(check)))
	}
	if r.Loaded != nil {
		m = append(m, familyLoaded.Metric(collector.Bool(*r.Loaded), r.Pod, r.Node))
	}
	if r.Asked.Facts != nil {
		m = append(m, r.Asked.Facts.metrics(r.Pod, r.Node)...)
	}
	return m
}

func (f Facts) metrics(pod, node string) []prometheus.Metric {
	var m []prometheus.Metric
	if f.APIRequests != nil {
		for _, result := range apiResults() {
			m = append(m, familyAPIRequests.Metric(f.APIRequests[result], pod, node, result))
		}
	}
	if f.Panics != nil {
		m = append(m, familyPanics.Metric(*f.Panics, pod, node))
	}
	if f.ReloadFailures != nil {
		m = append(m, familyReloadFailures.Metric(*f.ReloadFailures, pod, node))
	}
	return m
}
