package certificate

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

const (
	// listenerProtocol is that of listeners that have a certificate.
	listenerProtocol = "https"
	// listenerTag is the tag by which ACK marks the load balancers of a cluster.
	listenerTag = "ack.aliyun.com"
	// listenerCLB begins the ids of CLB instances; those of others have other APIs.
	listenerCLB = "lb-"
	// listenersMaxTold bounds how many certificates of listeners have series.
	listenersMaxTold = 5000
)

// listenerAnnotations name the load balancer that a Service reuses: the newer and the
// older annotation, of which the newer one counts.
func listenerAnnotations() []string {
	return []string{
		"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id",
		"service.beta.kubernetes.io/alicloud-loadbalancer-id",
	}
}

// LoadBalancersConfig says what is asked, and about which cluster.
type LoadBalancersConfig struct {
	// API is nil where the cloud is not to be asked.
	API aliyun.API
	// ClusterID is empty where the labels of nodes say it.
	ClusterID string
	// Nodes are all nodes with their labels, Services all Services with labels and
	// annotations of their load balancers.
	Nodes    kube.Lister[*corev1.Node]
	Services kube.Lister[*corev1.Service]
}

// LoadBalancers tells of the certificates that HTTPS listeners of CLB instances have:
// those of Services, and those with the tag of the cluster. The API tells the end of a
// certificate and its names, and nothing else of it; certificates for further domains
// of a listener are not told.
type LoadBalancers struct{ config LoadBalancersConfig }

// NewLoadBalancers makes LoadBalancers. Nothing is asked yet.
func NewLoadBalancers(config LoadBalancersConfig) *LoadBalancers { return &LoadBalancers{config} }

// Families implements collector.Collector.
func (*LoadBalancers) Families() []*collector.Family { return families() }

// Collect implements collector.Collector. All listings belong together: where one
// fails, nothing is told.
func (l *LoadBalancers) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	if l.config.API == nil {
		return nil, aliyun.ErrNoCredentials
	}
	ids, err := l.loadBalancers(ctx)
	if err != nil {
		return nil, err
	}
	listeners, err := l.listeners(ctx, ids)
	if err != nil {
		return nil, err
	}
	if len(listeners) == 0 {
		return exposition(nil, SourceLoadBalancer), nil
	}
	list, err := aliyun.ServerCertificates(ctx, l.config.API)
	if err != nil {
		return nil, err
	}
	certificates := make(map[string]aliyun.ServerCertificate, len(list))
	for _, c := range list {
		certificates[c.ID] = c
	}
	return exposition(listenerEntries(listeners, certificates), SourceLoadBalancer), nil
}

// loadBalancers are the ids of those of the cluster, sorted.
func (l *LoadBalancers) loadBalancers(ctx context.Context) ([]string, error) {
	named, err := l.named()
	if err != nil {
		return nil, err
	}
	cluster, err := l.clusterID()
	if err != nil {
		return nil, err
	}
	list, err := aliyun.LoadBalancers(ctx, l.config.API)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool)
	for _, lb := range list {
		ours := cluster != "" && slices.ContainsFunc(lb.Tags.Tag, func(t aliyun.Tag) bool {
			return t.Key == listenerTag && t.Value == cluster
		})
		if ours || named[lb.ID] {
			ids[lb.ID] = true
		}
	}
	// Some can be gone. The API also tells of none where a right is missing.
	if len(named) > 0 && len(ids) == 0 {
		return nil, fmt.Errorf("the API lists none of the %d load balancers of Services: %w", len(named), collector.ErrForbidden)
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// named are the CLB instances that Services have or name.
func (l *LoadBalancers) named() (map[string]bool, error) {
	services, err := l.config.Services.List()
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool)
	for _, s := range services {
		id := s.Labels[kube.LoadBalancerIDLabel]
		for _, name := range listenerAnnotations() {
			if id == "" && s.Spec.Type == corev1.ServiceTypeLoadBalancer {
				id = s.Annotations[name]
			}
		}
		if strings.HasPrefix(id, listenerCLB) {
			ids[id] = true
		}
	}
	return ids, nil
}

func (l *LoadBalancers) clusterID() (string, error) {
	if l.config.ClusterID != "" {
		return l.config.ClusterID, nil
	}
	nodes, err := l.config.Nodes.List()
	if err != nil {
		return "", err
	}
	return kube.ClusterID(nodes), nil
}

// listeners are those that have a certificate, in the order of their locations.
func (l *LoadBalancers) listeners(ctx context.Context, ids []string) ([]aliyun.Listener, error) {
	all, err := aliyun.Listeners(ctx, l.config.API, ids)
	if err != nil {
		return nil, err
	}
	var https []aliyun.Listener
	for _, listener := range all {
		if strings.EqualFold(listener.Protocol, listenerProtocol) {
			https = append(https, listener)
		}
	}
	slices.SortFunc(https, func(a, b aliyun.Listener) int { return strings.Compare(listenerLocation(a), listenerLocation(b)) })
	// Pages can have moved, and told one twice.
	return slices.CompactFunc(https, func(a, b aliyun.Listener) bool { return listenerLocation(a) == listenerLocation(b) }), nil
}

func listenerLocation(l aliyun.Listener) string {
	return net.JoinHostPort(l.LoadBalancerID, strconv.FormatInt(int64(l.Port), 10))
}

// listenerEntries says which certificate each listener has. What a listener names and
// the API does not list is not fine.
func listenerEntries(listeners []aliyun.Listener, certificates map[string]aliyun.ServerCertificate) []Entry {
	entries := make([]Entry, 0, len(listeners))
	for i, l := range listeners {
		id := l.HTTPS.ServerCertificateID
		e := Entry{Source: SourceLoadBalancer, Location: listenerLocation(l)}
		c, known := certificates[id]
		end, dated := c.Expiry()
		switch {
		case i >= listenersMaxTold:
			e.fail("", ReasonTooMany)
			return append(entries, e)
		case id == "":
			e.fail("", ReasonEmpty)
		case !known:
			e.fail(label(id), ReasonVanished)
		case !dated:
			e.fail(label(id), ReasonUndated)
		default:
			e.Certificates = []Certificate{{
				Key: label(id), Subject: listenerSubject(c), NotAfter: end, Role: RoleLeaf, Class: ClassManual,
			}}
		}
		entries = append(entries, e)
	}
	return entries
}

// listenerSubject is the common name, else the first other name, as of certificates
// that are read.
func listenerSubject(c aliyun.ServerCertificate) string {
	if names := c.SubjectAlternativeNames.SubjectAlternativeName; c.CommonName == "" && len(names) > 0 {
		return label(names[0])
	}
	return label(c.CommonName)
}
