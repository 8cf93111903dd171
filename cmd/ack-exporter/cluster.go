package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"ack-exporter/collector"
	"ack-exporter/collector/certificate"
	"ack-exporter/collector/coredns"
	"ack-exporter/collector/dnsprobe"
	"ack-exporter/collector/instance"
	"ack-exporter/collector/kubeproxy"
	"ack-exporter/collector/nodelocaldns"
	"ack-exporter/collector/slb"
	"ack-exporter/collector/slbevents"
	"ack-exporter/collector/vpc"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/eniconfig"
	"ack-exporter/internal/kube"
)

const (
	// serviceAccountNamespace is where Kubernetes tells a pod its namespace.
	serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	// syncPatience is how long a new leader waits for its first lists.
	syncPatience = 15 * time.Second
	// maxLate is how long after the next one was due a snapshot is shown at most, where
	// collector.MaxAgeIntervals are longer: another replica may lead by then.
	maxLate = 2 * time.Minute
	// publishEvery is the least time between two writes of the targets of the DNS probes.
	publishEvery = time.Minute
	// targetsKey is the file that nodes see where the ConfigMap is mounted.
	targetsKey = "targets.json"
	// askedAtOnce is how many questions to CoreDNS are under way at once.
	askedAtOnce = 64
	// handshakesAtOnce is how many TLS handshakes are under way at once.
	handshakesAtOnce = 8
)

// clusterCommand is the role that watches the cluster, once.
type clusterCommand struct {
	kubeconfig     string
	namespace      string
	leaderElection bool
	leaseName      string
	targetsName    string

	coredns, kubeproxy, nodelocaldns, nodelocaldnsPods, certificateSecrets *collectorFlags

	corednsTimeout time.Duration
	corednsName    string

	bundles   bundlesFlags
	endpoints endpointsFlags

	instances, instanceConditions *collectorFlags

	cloud     cloudFlags
	slb       slbFlags
	network   networkFlags
	slbEvents *collectorFlags
}

// networkFlags are the flags of the collectors of what the cloud's network has for the
// cluster.
type networkFlags struct {
	vpc, certificates *collectorFlags
	routeEntries      int
}

func (f *networkFlags) add(cmd *kingpin.CmdClause) {
	f.vpc = addBackgroundCollector(cmd, "vpc", "custom entries of route tables and free addresses of vSwitches, from the API of the cloud", "10m").external()
	cmd.Flag("collector.vpc.route-entries-quota", "Custom entries that a route table can have, where Quota Center does not tell; 0: the documented default.").
		Default("0").IntVar(&f.routeEntries)
	f.certificates = addBackgroundCollector(cmd, "certificate_load_balancers", "certificates of HTTPS listeners of CLB instances, from the API of the cloud", "10m").external()
}

// newVPC makes the collector vpc.
func (f *networkFlags) newVPC(api aliyun.API, region string, stores *clusterStores) (*vpc.Collector, error) {
	c, err := vpc.New(vpc.Config{
		API: api, Region: region, RouteEntries: f.routeEntries, Nodes: stores.nodes, ENIConfig: stores.nodeLocalCache.ENIConfig,
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.vpc.route-entries-quota: %w", err)
	}
	return c, nil
}

// bundlesFlags are the flags of the collector certificate_bundles.
type bundlesFlags struct {
	*collectorFlags
	timeout   time.Duration
	probeURLs bool
}

func (f *bundlesFlags) add(cmd *kingpin.CmdClause) {
	const name = "certificate_bundles"
	f.collectorFlags = addBackgroundCollector(cmd, name, "caBundles of webhooks, API services and CRDs, and the certificates that these verify", "5m")
	cmd.Flag("collector."+name+".timeout", "Longest wait for a TLS handshake.").Default("2s").DurationVar(&f.timeout)
	cmd.Flag("collector."+name+".probe-urls", "Call webhooks that are named by a URL too. They can be outside the cluster.").BoolVar(&f.probeURLs)
}

func (f *bundlesFlags) collector(clients *kube.Clients, stores *clusterStores) (collector.Collector, error) {
	c, err := certificate.NewBundles(certificate.BundlesConfig{
		Client: clients.Core, Services: stores.services, ProbeURLs: f.probeURLs,
		Prober: certificate.EndpointProber{Timeout: f.timeout, Concurrency: handshakesAtOnce},
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.%s: %w", f.name, err)
	}
	return c, nil
}

// endpointsFlags are the flags of the collector certificate_endpoints.
type endpointsFlags struct {
	*collectorFlags
	timeout        time.Duration
	names, targets []string
}

func (f *endpointsFlags) add(cmd *kingpin.CmdClause) {
	const name = "certificate_endpoints"
	f.collectorFlags = addBackgroundCollector(cmd, name, "certificates that the API server and other TLS servers present", "1m")
	cmd.Flag("collector."+name+".timeout", "Longest wait for a TLS handshake.").Default("2s").DurationVar(&f.timeout)
	cmd.Flag("collector."+name+".api-server-name", "Further name or IP address by which clients call the API server; may be repeated.").StringsVar(&f.names)
	cmd.Flag("collector."+name+".target", "Further TLS server, as host:port or host:port#servername; may be repeated.").StringsVar(&f.targets)
}

func (f *endpointsFlags) collector(config *rest.Config, stores *clusterStores) (collector.Collector, error) {
	targets, err := certificate.ParseTargets(f.targets)
	if err != nil {
		return nil, fmt.Errorf("--collector.%s.target: %w", f.name, err)
	}
	if err := certificate.CheckNames(f.names); err != nil {
		return nil, fmt.Errorf("--collector.%s.api-server-name: %w", f.name, err)
	}
	c, err := certificate.NewEndpoints(certificate.EndpointsConfig{
		API: config, Names: f.names, Targets: targets, Nodes: stores.nodes, Services: stores.services,
		Prober: certificate.EndpointProber{Timeout: f.timeout, Concurrency: handshakesAtOnce},
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.%s: %w", f.name, err)
	}
	return c, nil
}

// slbFlags are the flags of the collector slb.
type slbFlags struct {
	*collectorFlags
	calls     int
	quotas    map[string]string
	apiServer []string
	apiPorts  []int32
}

func (f *slbFlags) add(cmd *kingpin.CmdClause) {
	const name = "slb"
	f.quotas = make(map[string]string)
	f.collectorFlags = addBackgroundCollector(cmd, name, "classic load balancers of the cluster: quotas, headroom and drift", "5m").slow().external()
	cmd.Flag("collector."+name+".calls", "Calls about load balancers that one refresh may make; what does not fit waits for the next.").
		Default("400").IntVar(&f.calls)
	cmd.Flag("collector."+name+".quota", "Limit of a quota where Quota Center does not tell, as slb_quota_backendservers_num=400; may be repeated.").
		StringMapVar(&f.quotas)
	cmd.Flag("collector."+name+".api-server", "Id of the load balancer of the API server, where it has no tag of the cluster; may be repeated.").
		StringsVar(&f.apiServer)
	cmd.Flag("collector."+name+".api-server-port", "Port that a listener of the load balancer of the API server may have; may be repeated, and the first must be there.").
		Default("6443").Int32ListVar(&f.apiPorts)
}

func (f *slbFlags) collector(log *slog.Logger, cloud cloud, flags *cloudFlags, stores *clusterStores, clients *kube.Clients) (collector.Collector, error) {
	quotas, err := slb.ParseLimits(f.quotas)
	if err != nil {
		return nil, fmt.Errorf("--collector.%s.quota: %w", f.name, err)
	}
	c, err := slb.New(slb.Config{
		API: cloud.api, Region: cloud.region, ClusterID: flags.clusterID, APIServer: f.apiServer, APIServerPorts: f.apiPorts,
		Calls: f.calls, Interval: f.interval, Quotas: quotas,
		Services: stores.services, Nodes: stores.nodes, Endpoints: slb.NewEndpointLister(clients.Discovery), Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.%s: %w", f.name, err)
	}
	return c, nil
}

func addClusterCommand(app *kingpin.Application) *clusterCommand {
	cmd := app.Command("cluster", "Expose the state of the cluster as its API server and the API of the cloud have it: CoreDNS, NodeLocal DNSCache, kube-proxy, certificates, load balancers, instances.")
	c := &clusterCommand{}
	cmd.Flag("kubeconfig", "How to reach the API server; default: the service account of the pod.").StringVar(&c.kubeconfig)
	cmd.Flag("namespace", "Namespace of the lease and of the ConfigMap for the DNS probes; default: that of the pod.").StringVar(&c.namespace)
	cmd.Flag("leader-election", "Let one of several replicas act. Off: there is only one.").Default("true").BoolVar(&c.leaderElection)
	cmd.Flag("leader-election.name", "Name of the lease.").Default(programName).StringVar(&c.leaseName)
	cmd.Flag("dnsprobe-targets.name", "ConfigMap in which the nodes find the DNS servers to probe; empty: none is written.").
		Default(programName + "-dns").StringVar(&c.targetsName)
	c.coredns = addBackgroundCollector(cmd, "coredns", "size, spread, configuration and replicas of CoreDNS", "30s")
	cmd.Flag("collector.coredns.timeout", "Longest wait for one answer of a replica.").Default("2s").DurationVar(&c.corednsTimeout)
	cmd.Flag("collector.coredns.name", "Name that every replica is asked for.").Default("kubernetes.default.svc.cluster.local.").StringVar(&c.corednsName)
	c.kubeproxy = addBackgroundCollector(cmd, "kubeproxy", "configuration of kube-proxy as written", "15s")
	c.nodelocaldns = addBackgroundCollector(cmd, "nodelocaldns", "coverage and set-up of NodeLocal DNSCache", "15s")
	c.nodelocaldnsPods = addBackgroundCollector(cmd, "nodelocaldns_pods", "pods that use NodeLocal DNSCache, in namespaces that ask for it", "10m")
	c.certificateSecrets = addBackgroundCollector(cmd, "certificate_secrets", "certificates in Secrets, and the hosts of Ingresses that they cover", "30s")
	c.bundles.add(cmd)
	c.endpoints.add(cmd)
	c.instances = addBackgroundCollector(cmd, "instances", "instances of the nodes, as the API of the cloud has them; needs --cloud.credentials", "5m").slow().external()
	c.instanceConditions = addBackgroundCollector(cmd, "instance_conditions", "nodes whose instance is about to be released, as the node problem detector has it", "15s")
	c.cloud.add(cmd)
	c.slb.add(cmd)
	c.network.add(cmd)
	c.slbEvents = addBackgroundCollector(cmd, "slb_events", "events in which the cloud controller manager tells of load balancers", "30s")
	return c
}

// clusterStores are the objects that the collectors of the cluster use.
type clusterStores struct {
	all []kube.Watch

	nodes          *kube.Store[*corev1.Node]
	services       *kube.Store[*corev1.Service]
	coreDNSPods    *kube.Store[*corev1.Pod]
	coreDNS        coredns.Sources
	kubeProxy      kubeproxy.Sources
	nodeLocalCache nodelocaldns.Sources
	secrets        *kube.Feed[*certificate.Secret]
	ingresses      *kube.Store[*networkingv1.Ingress]
	slbEvents      *kube.Feed[*slbevents.Event]
}

// watch makes a store and lists it among those to run.
func watch[T runtime.Object](s *clusterStores, client rest.Interface, resource string, example T, query kube.Query, trim func(T)) *kube.Store[T] {
	store := kube.NewStore(client, resource, example, query, trim)
	s.all = append(s.all, store)
	return store
}

func (c *clusterCommand) newStores(clients *kube.Clients) *clusterStores {
	core, apps := clients.Core, clients.Apps
	s := &clusterStores{}
	s.nodes = watch(s, core, "nodes", &corev1.Node{}, kube.Query{}, kube.TrimNode)
	s.services = watch(s, core, "services", &corev1.Service{}, kube.Query{}, kube.TrimService)
	s.coreDNSPods = watch(s, core, "pods", &corev1.Pod{}, coredns.PodQuery(), coredns.TrimPod)
	s.coreDNS = coredns.Sources{
		Deployments: watch(s, apps, "deployments", &appsv1.Deployment{}, coredns.DeploymentQuery(), coredns.TrimDeployment),
		Pods:        s.coreDNSPods,
		Services:    s.services,
		EndpointSlices: watch(s, clients.Discovery, "endpointslices", &discoveryv1.EndpointSlice{},
			coredns.EndpointSliceQuery(), coredns.TrimEndpointSlice),
		ConfigMaps: watch(s, core, "configmaps", &corev1.ConfigMap{}, coredns.ConfigMapQuery(), coredns.TrimConfigMap),
		Nodes:      s.nodes,
	}
	s.kubeProxy = kubeproxy.Sources{Services: s.services, Nodes: s.nodes}
	for _, fields := range kubeproxy.ConfigMapFields() {
		query := kube.Query{Namespace: kubeproxy.Namespace, Fields: fields}
		s.kubeProxy.ConfigMaps = append(s.kubeProxy.ConfigMaps,
			watch(s, core, "configmaps", &corev1.ConfigMap{}, query, kubeproxy.TrimConfigMap))
	}
	local := func(fields string) kube.Query { return kube.Query{Namespace: nodelocaldns.Namespace, Fields: fields} }
	s.nodeLocalCache = nodelocaldns.Sources{
		Cache:      watch(s, apps, "daemonsets", &appsv1.DaemonSet{}, local(nodelocaldns.CacheFields), nodelocaldns.TrimDaemonSet),
		Terway:     watch(s, apps, "daemonsets", &appsv1.DaemonSet{}, local(nodelocaldns.TerwayFields), nodelocaldns.TrimDaemonSet),
		Controller: watch(s, apps, "deployments", &appsv1.Deployment{}, local(nodelocaldns.ControllerFields), nodelocaldns.TrimDeployment),
		Webhook: watch(s, clients.Admission, "mutatingwebhookconfigurations",
			&admissionv1.MutatingWebhookConfiguration{}, kube.Query{Fields: nodelocaldns.WebhookFields}, nodelocaldns.TrimWebhook),
		ENIConfig:  watch(s, core, "configmaps", &corev1.ConfigMap{}, local(eniconfig.Fields), eniconfig.Trim),
		Namespaces: watch(s, core, "namespaces", &corev1.Namespace{}, kube.Query{Labels: nodelocaldns.NamespaceLabels}, nodelocaldns.TrimNamespace),
		Nodes:      s.nodes,
	}
	s.secrets = kube.NewFeed(clients.CoreLine, "secrets", certificate.SecretQuery(), certificate.DigestSecret)
	s.ingresses = kube.NewStore(clients.Networking, "ingresses", &networkingv1.Ingress{}, kube.Query{}, certificate.TrimIngress)
	// Who does not want Secrets to be read does not want them to be asked for either.
	if c.certificateSecrets.enabled {
		s.all = append(s.all, s.secrets, s.ingresses)
	}
	s.slbEvents = kube.NewFeed(clients.EventLine, "events", slbevents.Query(), slbevents.Digest)
	if c.slbEvents.enabled {
		s.all = append(s.all, s.slbEvents)
	}
	return s
}

// dnsTargets is what the ConfigMap for the DNS probes holds.
func (s *clusterStores) dnsTargets() (string, error) {
	nodes, err := s.nodes.List()
	if err != nil {
		return "", err
	}
	services, err := s.services.List()
	if err != nil {
		return "", err
	}
	pods, err := s.coreDNSPods.List()
	if err != nil {
		return "", err
	}
	return dnsprobe.FromCluster(nodes, services, pods).Encode()
}

// specs makes the collectors that are switched on. Each acts on the leader only.
func (c *clusterCommand) specs(
	log *slog.Logger, election *kube.Election, config *rest.Config, stores *clusterStores, clients *kube.Clients, cloud cloud,
) ([]collector.Spec, error) {
	prober, err := coredns.NewProber(coredns.ProberConfig{
		Timeout: c.corednsTimeout, Concurrency: askedAtOnce, Name: c.corednsName, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.coredns: %w", err)
	}
	bundles, err := c.bundles.collector(clients, stores)
	if err != nil {
		return nil, err
	}
	endpoints, err := c.endpoints.collector(config, stores)
	if err != nil {
		return nil, err
	}
	balancers, err := c.slb.collector(log, cloud, &c.cloud, stores, clients)
	if err != nil {
		return nil, err
	}
	network, err := c.network.newVPC(cloud.api, cloud.region, stores)
	if err != nil {
		return nil, err
	}
	specs := []collector.Spec{
		{Name: "leader", Collector: leader{election}, Timeout: time.Second},
		{Name: "cloud", Collector: cloud.usage, Timeout: time.Second},
	}
	for _, choice := range []struct {
		flags     *collectorFlags
		collector collector.Collector
	}{
		{c.coredns, election.Gate(coredns.New(coredns.Config{Sources: stores.coreDNS, Prober: prober}))},
		{c.kubeproxy, election.Gate(kubeproxy.New(log, stores.kubeProxy))},
		{c.nodelocaldns, election.Gate(nodelocaldns.New(stores.nodeLocalCache))},
		{c.nodelocaldnsPods, election.Gate(nodelocaldns.NewPods(stores.nodeLocalCache, nodelocaldns.NewPodLister(clients.Core)))},
		{c.certificateSecrets, election.Gate(certificate.NewSecrets(stores.secrets, stores.ingresses))},
		{c.bundles.collectorFlags, election.Gate(bundles)},
		// Its certificate can be why the API server says nothing of the leader.
		{c.endpoints.collectorFlags, election.GateLeaderless(endpoints)},
		{c.slb.collectorFlags, election.Gate(balancers)},
		{c.network.vpc, election.Gate(network)},
		{c.network.certificates, election.Gate(certificate.NewLoadBalancers(certificate.LoadBalancersConfig{
			API: cloud.api, ClusterID: c.cloud.clusterID, Nodes: stores.nodes, Services: stores.services,
		}))},
		{c.slbEvents, election.Gate(slbevents.New(stores.slbEvents, stores.services))},
		{c.instances, election.Gate(instance.NewNodes(instance.NodesConfig{Nodes: stores.nodes, API: cloud.api, Region: cloud.region}))},
		{c.instanceConditions, election.Gate(instance.NewConditions(stores.nodes))},
	} {
		if !choice.flags.enabled {
			continue
		}
		spec, err := choice.flags.spec(choice.collector, 0)
		if err != nil {
			return nil, err
		}
		spec.MaxAge = min(collector.MaxAgeIntervals*spec.Interval, spec.Interval+maxLate)
		if choice.flags.isSlow {
			// The next one is due after an interval, and done up to another one later.
			spec.MaxAge += spec.Interval
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// offlineSpecs are the collectors without an API server, for what they could expose.
func (c *clusterCommand) offlineSpecs(log *slog.Logger) ([]collector.Spec, error) {
	config := &rest.Config{}
	clients, err := kube.NewClients(config)
	if err != nil {
		return nil, err
	}
	cloud, err := c.cloud.open(os.Getenv)
	if err != nil {
		return nil, err
	}
	return c.specs(log, kube.NewSole(log), config, c.newStores(clients), clients, cloud)
}

// run serves until ctx ends.
func (c *clusterCommand) run(ctx context.Context, log *slog.Logger, web *webFlags) error {
	config, err := kube.Config(c.kubeconfig, programName+"/"+version.Version)
	if err != nil {
		return err
	}
	clients, err := kube.NewClients(config)
	if err != nil {
		return err
	}
	namespace, err := c.ownNamespace()
	if err != nil {
		return err
	}
	election := kube.NewSole(log)
	if c.leaderElection {
		identity, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("name of this replica: %w", err)
		}
		election = kube.NewElection(clients.Coordination, log, namespace, c.leaseName, identity)
	}
	cloud, err := c.cloud.open(os.Getenv)
	if err != nil {
		return err
	}
	defer cloud.close()
	stores := c.newStores(clients)
	specs, err := c.specs(log, election, config, stores, clients, cloud)
	if err != nil {
		return err
	}
	set, err := collector.NewSet(log, specs...)
	if err != nil {
		return err
	}
	publisher := &kube.Publisher{
		Client: clients.Core, Namespace: namespace, Name: c.targetsName, Key: targetsKey,
		Content: stores.dnsTargets, Every: publishEvery, Log: log,
	}

	klog.SetSlogLogger(log) // client-go knows no other way
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		election.Run(ctx, func(term context.Context, up func()) { c.lead(term, up, stores, publisher) })
	})
	return web.serve(ctx, log, set)
}

// lead is what the leader does besides collecting.
func (c *clusterCommand) lead(term context.Context, up func(), stores *clusterStores, publisher *kube.Publisher) {
	var running sync.WaitGroup
	defer running.Wait()
	kube.RunWatches(term, stores.all, syncPatience, func() {
		up()
		if c.targetsName != "" {
			running.Go(func() { publisher.Run(term) })
		}
	})
}

// ownNamespace is where the exporter may write.
func (c *clusterCommand) ownNamespace() (string, error) {
	if c.namespace != "" {
		return c.namespace, nil
	}
	b, err := os.ReadFile(serviceAccountNamespace)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("--namespace: needed outside a pod")
	}
	return strings.TrimSpace(string(b)), err
}

// leader tells whether this replica acts.
type leader struct{ election *kube.Election }

var familyLeader = collector.NewGauge("ack_exporter_leader",
	"Whether this replica of the cluster role is the one that acts: it holds the lease, and has listed what it watches. The others have no metrics about the cluster.")

// Families implements collector.Collector.
func (leader) Families() []*collector.Family { return []*collector.Family{familyLeader} }

// Collect implements collector.Collector.
func (l leader) Collect(context.Context) ([]prometheus.Metric, error) {
	return []prometheus.Metric{familyLeader.Metric(collector.Bool(l.election.Leading()))}, nil
}
