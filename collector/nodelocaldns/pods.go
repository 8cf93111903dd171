package nodelocaldns

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
)

var (
	familyPods = collector.NewGauge("ack_nodelocaldns_pods",
		"Pods of a namespace with the label node-local-dns-injection=enabled that name the cache as a name server (injected), and that do not although the webhook would have them do so (missing): they are older than the label or the webhook, or it was down. Pods on virtual nodes and elastic container instances, pods that opted out and pods whose DNS policy is their own are in neither.",
		"namespace", "state")
	familyWithoutBackup = collector.NewGauge("ack_nodelocaldns_pods_without_backup",
		"Pods of a namespace with the label node-local-dns-injection=enabled whose only name server is the cache: they have no DNS while it is down.",
		"namespace")
	familyComplete = collector.NewGauge("ack_nodelocaldns_namespaces_complete",
		"Whether each namespace has series of its own. 0: there are more than 200, and the last ones by name are summed as namespace _other.")
	familyOrphaned = collector.NewGauge("ack_nodelocaldns_orphaned_pods",
		"Pods that name the cache as a name server while the DaemonSet of the cache does not exist; 0 while it does. Among all pods of the cluster if the exporter saw the DaemonSet before or the webhook is still there, else among those of labelled namespaces.")
)

const (
	// maxNamespaces bounds how many namespaces have series of their own.
	maxNamespaces = 200
	// otherNamespaces stands for all others; no namespace can have this name.
	otherNamespaces = "_other"
)

// cacheAddress is where NodeLocal DNSCache listens on every node.
func cacheAddress() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 20, 10}) }

// PodsCollector counts the pods that use the cache. It lists pods, rather than
// watching them, and only where the cache is in use: a watch would cost memory
// and a steady stream of changes for every pod of the cluster.
type PodsCollector struct {
	sources Sources
	pods    PodLister
	// seen: the DaemonSet existed, and there may be pods in any namespace that
	// still count on it.
	seen bool
}

// NewPods makes a PodsCollector.
func NewPods(sources Sources, pods PodLister) *PodsCollector {
	return &PodsCollector{sources: sources, pods: pods}
}

// Families implements collector.Collector.
func (*PodsCollector) Families() []*collector.Family {
	return []*collector.Family{familyPods, familyWithoutBackup, familyComplete, familyOrphaned}
}

// Collect implements collector.Collector. A listing that breaks off fails the
// whole refresh. It is collector.ErrNotApplicable where NodeLocal DNSCache does not
// exist, did not exist before, and no namespace asks for it.
//
// While the DaemonSet is missing but was there, or the webhook still is, all pods
// of the cluster are listed. That ends when none of them names the cache.
func (c *PodsCollector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	i, err := readInstallation(c.sources)
	if err != nil {
		return nil, err
	}
	c.seen = c.seen || i.present()
	everywhere := !i.present() && (c.seen || i.remains())
	if !i.present() && !everywhere && len(i.namespaces) == 0 {
		return nil, notInstalled()
	}
	virtual, err := virtualNodes(c.sources.Nodes)
	if err != nil {
		return nil, err
	}
	where := i.namespaces
	if everywhere {
		where = []string{metav1.NamespaceAll}
	}
	counted, err := c.count(ctx, where, virtual)
	if err != nil {
		return nil, err
	}
	orphaned := 0
	if !i.present() {
		orphaned = counted.injected()
		c.seen = c.seen && orphaned > 0
	}
	return append(counted.metrics(i.namespaces), familyOrphaned.Metric(float64(orphaned))), nil
}

// tally counts the pods of one namespace.
type tally struct{ injected, missing, withoutBackup int }

func (t tally) plus(o tally) tally {
	return tally{t.injected + o.injected, t.missing + o.missing, t.withoutBackup + o.withoutBackup}
}

// tallies holds the namespaces by name.
type tallies map[string]tally

func (t tallies) injected() int {
	n := 0
	for _, namespace := range t {
		n += namespace.injected
	}
	return n
}

// count lists the pods of these namespaces.
func (c *PodsCollector) count(ctx context.Context, namespaces []string, virtual map[string]bool) (tallies, error) {
	all := make(tallies)
	for _, namespace := range namespaces {
		counted, err := c.countOne(ctx, namespace, virtual)
		if isExpired(err) {
			// What was counted is of another moment than the rest would be.
			counted, err = c.countOne(ctx, namespace, virtual)
		}
		if err != nil {
			return nil, listError(namespace, err)
		}
		maps.Copy(all, counted)
	}
	return all, nil
}

func (c *PodsCollector) countOne(ctx context.Context, namespace string, virtual map[string]bool) (tallies, error) {
	counted := make(tallies)
	err := c.pods.ListPods(ctx, namespace, func(p *corev1.Pod) error {
		if !hasECILabel(p.Labels) && !virtual[p.Spec.NodeName] {
			counted[p.Namespace] = counted[p.Namespace].plus(judge(p))
		}
		return nil
	})
	return counted, err
}

// judge tallies one pod.
func judge(p *corev1.Pod) tally {
	var servers []string
	if p.Spec.DNSConfig != nil {
		servers = p.Spec.DNSConfig.Nameservers
	}
	switch {
	case slices.ContainsFunc(servers, isCache):
		var t tally
		t.injected = 1
		// With any other policy there are name servers besides those of dnsConfig.
		if p.Spec.DNSPolicy == corev1.DNSNone && !slices.ContainsFunc(servers, isNotCache) {
			t.withoutBackup = 1
		}
		return t
	case injectable(p):
		return tally{missing: 1}
	default:
		return tally{}
	}
}

func isCache(server string) bool {
	address, err := netip.ParseAddr(server)
	return err == nil && address.Unmap() == cacheAddress()
}

func isNotCache(server string) bool { return !isCache(server) }

// injectable tells whether the webhook would set p up if it were created now.
func injectable(p *corev1.Pod) bool {
	if p.Labels[injectionLabel] == injectionDisabled {
		return false
	}
	if p.Spec.HostNetwork {
		return p.Spec.DNSPolicy == corev1.DNSClusterFirstWithHostNet
	}
	return p.Spec.DNSPolicy == corev1.DNSClusterFirst
}

// metrics shows the namespaces of these names, which are sorted.
func (t tallies) metrics(namespaces []string) []prometheus.Metric {
	complete := len(namespaces) <= maxNamespaces
	metrics := []prometheus.Metric{familyComplete.Metric(collector.Bool(complete))}
	for _, name := range namespaces[:min(len(namespaces), maxNamespaces)] {
		metrics = append(metrics, t[name].metrics(name)...)
	}
	if complete {
		return metrics
	}
	var others tally
	for _, name := range namespaces[maxNamespaces:] {
		others = others.plus(t[name])
	}
	return append(metrics, others.metrics(otherNamespaces)...)
}

func (t tally) metrics(namespace string) []prometheus.Metric {
	return []prometheus.Metric{
		familyPods.Metric(float64(t.injected), namespace, "injected"),
		familyPods.Metric(float64(t.missing), namespace, "missing"),
		familyWithoutBackup.Metric(float64(t.withoutBackup), namespace),
	}
}
