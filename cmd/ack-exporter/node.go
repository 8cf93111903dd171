package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"ack-exporter/collector"
	"ack-exporter/collector/certificate"
	"ack-exporter/collector/conntrack"
	"ack-exporter/collector/dnsprobe"
	"ack-exporter/collector/hostnet"
	"ack-exporter/collector/instance"
	"ack-exporter/collector/ipvs"
	"ack-exporter/collector/kmsg"
	"ack-exporter/collector/netstat"
	"ack-exporter/collector/sysctl"
	"ack-exporter/internal/hostfs"
	"ack-exporter/internal/metadata"
)

// nodeCommand is the role that runs on every node.
type nodeCommand struct {
	scrapeTimeout time.Duration

	procfs, sysfs, rootfs string

	hostnet, conntrack, conntrackTable, ipvs, ipvsTable, netstat, sysctl, kmsg, dnsprobe, certificateFiles, instance *collectorFlags

	tableMaxEntries    uint64
	ipvsMaxConnections uint64
	nodePorts          string
	kmsgPath           string
	dns                dnsFlags
	certificatePaths   []string
	kubeconfigs        []string
	metadataEndpoint   string
}

// dnsFlags are the flags of the DNS probes.
type dnsFlags struct {
	targetsFile               string
	clusterDNS, vpcResolvers  []string
	nodes, maxPods            int
	clusterName, externalName string
	timeout                   time.Duration
	maxRate                   float64
}

func (f *dnsFlags) add(cmd *kingpin.CmdClause) {
	flag := func(name, help string) *kingpin.FlagClause { return cmd.Flag("collector.dnsprobe."+name, help) }
	flag("targets-file", "File with the DNS servers of the cluster, as the cluster role keeps it in a ConfigMap.").StringVar(&f.targetsFile)
	flag("cluster-dns", "Cluster IP of the Service kube-dns, where there is no targets file; may be repeated.").StringsVar(&f.clusterDNS)
	flag("vpc-resolver", "Resolver of the VPC; may be repeated. Default: 100.100.2.136 and 100.100.2.138 on an ECS instance, none elsewhere.").StringsVar(&f.vpcResolvers)
	flag("nodes", "Nodes assumed where no targets file tells how many there are.").Default("5000").IntVar(&f.nodes)
	flag("cluster-name", "Name inside the cluster that has an IPv4 address.").Default("kubernetes.default.svc.cluster.local.").StringVar(&f.clusterName)
	flag("external-name", "Name outside the cluster that has an IPv4 address.").Default("aliyun.com.").StringVar(&f.externalName)
	flag("timeout", "Longest wait for an answer.").Default("2s").DurationVar(&f.timeout)
	flag("max-pods", "CoreDNS pods that this node probes at most.").Default("32").IntVar(&f.maxPods)
	flag("max-rate", "Questions per second that one CoreDNS pod gets at most from all nodes together.").Default("100").Float64Var(&f.maxRate)
}

// collector makes the collector. An error names the flag.
func (f *dnsFlags) collector(log *slog.Logger, interval time.Duration, procfs hostfs.Procfs, sysfs hostfs.Sysfs) (*dnsprobe.Collector, error) {
	clusterDNS, err := dnsprobe.ParseServers(f.clusterDNS)
	if err != nil {
		return nil, fmt.Errorf("--collector.dnsprobe.cluster-dns: %w", err)
	}
	vpcResolvers, err := dnsprobe.ParseServers(f.vpcResolvers)
	if err != nil {
		return nil, fmt.Errorf("--collector.dnsprobe.vpc-resolver: %w", err)
	}
	var source dnsprobe.Source = dnsprobe.Static(clusterDNS)
	if f.targetsFile != "" {
		if len(clusterDNS) > 0 {
			return nil, errors.New("--collector.dnsprobe.targets-file and --collector.dnsprobe.cluster-dns exclude each other")
		}
		source = dnsprobe.File(f.targetsFile)
	}
	c, err := dnsprobe.New(dnsprobe.Config{
		Source: source, VPCResolvers: vpcResolvers, Nodes: f.nodes,
		Procfs: procfs, Sysfs: sysfs,
		ClusterName: f.clusterName, ExternalName: f.externalName,
		Interval: interval, Timeout: f.timeout, MaxPods: f.maxPods, MaxRate: f.maxRate,
		Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.dnsprobe: %w", err)
	}
	return c, nil
}

// collectorFlags are the flags that collectors of one kind share.
type collectorFlags struct {
	name       string
	enabled    bool
	background bool
	interval   time.Duration // where background
	// isSlow: a refresh may take as long as the interval.
	isSlow bool
	// isExternal: the exporter is ready without it.
	isExternal bool
}

func addCollector(cmd *kingpin.CmdClause, name, help string) *collectorFlags {
	f := &collectorFlags{name: name}
	cmd.Flag("collector."+name, "Collector "+name+": "+help+".").Default("true").BoolVar(&f.enabled)
	return f
}

func addBackgroundCollector(cmd *kingpin.CmdClause, name, help, interval string) *collectorFlags {
	f := addCollector(cmd, name, help)
	f.background = true
	cmd.Flag("collector."+name+".interval", "Pause between two refreshes of the collector "+name+".").
		Default(interval).DurationVar(&f.interval)
	return f
}

// slow says that a refresh may take as long as the interval.
func (f *collectorFlags) slow() *collectorFlags {
	f.isSlow = true
	return f
}

// external marks a collector that asks something outside of the cluster.
func (f *collectorFlags) external() *collectorFlags {
	f.isExternal = true
	return f
}

func addNodeCommand(app *kingpin.Application) *nodeCommand {
	cmd := app.Command("node", "Expose the state of this node: connection tracking, IPVS, dropped packets, kernel parameters, kernel log, DNS, certificates, spot notices.")
	n := &nodeCommand{}
	cmd.Flag("collector.scrape-timeout", "Longest time that a scrape waits for a collector that reads in the scrape.").
		Default("5s").DurationVar(&n.scrapeTimeout)
	cmd.Flag("path.procfs", "Mount point of the host's proc file system.").Default("/proc").StringVar(&n.procfs)
	cmd.Flag("path.sysfs", "Mount point of the host's sysfs.").Default("/sys").StringVar(&n.sysfs)
	cmd.Flag("path.rootfs", "Where the host's root file system is.").Default("/").StringVar(&n.rootfs)

	n.hostnet = addCollector(cmd, "hostnet", "whether the exporter is in the host's network namespace")
	n.conntrack = addCollector(cmd, "conntrack", "usage, limit, timeouts and counters of connection tracking")
	n.conntrackTable = addBackgroundCollector(cmd, "conntrack_table", "the connection tracking table by protocol and state", "1m")
	cmd.Flag("collector.conntrack_table.max-entries", "Entries after which a pass stops and estimates the rest; 0: never, every pass is exact.").
		Default("250000").Uint64Var(&n.tableMaxEntries)
	n.ipvs = addCollector(cmd, "ipvs", "timeouts and kernel parameters of IPVS")
	n.ipvsTable = addBackgroundCollector(cmd, "ipvs_table", "services, destinations and connections of IPVS, and UDP connections that lead nowhere", "15s")
	cmd.Flag("collector.ipvs_table.max-connections", "Connections after which a pass stops; 0: never.").
		Default("100000").Uint64Var(&n.ipvsMaxConnections)
	n.netstat = addCollector(cmd, "netstat", "UDP datagrams and packets that the host's network stack dropped")
	n.sysctl = addCollector(cmd, "sysctl", "kernel parameters that break ACK nodes when changed")
	cmd.Flag("collector.sysctl.nodeport-range", "The cluster's range of NodePorts.").Default("30000-32767").StringVar(&n.nodePorts)
	n.kmsg = addCollector(cmd, "kmsg", "events in the kernel log")
	cmd.Flag("collector.kmsg.path", "Device of the kernel log.").Default("/dev/kmsg").StringVar(&n.kmsgPath)
	n.dnsprobe = addBackgroundCollector(cmd, "dnsprobe", "DNS servers that the pods of this node depend on", "15s")
	n.dns.add(cmd)
	n.certificateFiles = addBackgroundCollector(cmd, "certificate_files", "certificates in files of the node and in kubeconfigs", "1m")
	cmd.Flag("collector.certificate_files.path", "File or folder of the host with certificates, with wildcards; folders are read with all folders below; may be repeated. Default: "+strings.Join(certificate.DefaultPaths(), ", ")+".").
		StringsVar(&n.certificatePaths)
	cmd.Flag("collector.certificate_files.kubeconfig", "Kubeconfig of the host, with wildcards; may be repeated. Default: "+strings.Join(certificate.DefaultKubeconfigs(), ", ")+".").
		StringsVar(&n.kubeconfigs)
	n.instance = addBackgroundCollector(cmd, "instance", "which ECS instance the node is, and when a spot instance will be reclaimed", "10s")
	cmd.Flag("collector.instance.metadata-endpoint", "Metadata service, as http://host:port. Default: "+metadata.DefaultEndpoint+" on an ECS instance, none elsewhere.").
		StringVar(&n.metadataEndpoint)
	return n
}

// newInstance makes the collector of the metadata service. Only a service that
// somebody names is asked outside ECS.
func newInstance(endpoint string, sysfs hostfs.Sysfs) (*instance.Metadata, error) {
	named := endpoint != ""
	if !named {
		endpoint = metadata.DefaultEndpoint
	}
	client, err := metadata.New(metadata.Config{Endpoint: endpoint})
	if err != nil {
		return nil, err
	}
	return instance.NewMetadata(instance.MetadataConfig{Client: client, Sysfs: sysfs, Anywhere: named})
}

// specs makes the collectors that are switched on.
func (n *nodeCommand) specs(log *slog.Logger) ([]collector.Spec, error) {
	nodePorts, err := sysctl.ParsePortRange(n.nodePorts)
	if err != nil {
		return nil, fmt.Errorf("--collector.sysctl.nodeport-range: %w", err)
	}
	procfs, sysfs := hostfs.Procfs(n.procfs), hostfs.Sysfs(n.sysfs)
	dns, err := n.dns.collector(log, n.dnsprobe.interval, procfs, sysfs)
	if err != nil {
		return nil, err
	}
	certificates, err := certificate.NewFiles(certificate.FilesConfig{
		Rootfs: n.rootfs, Paths: n.certificatePaths, Kubeconfigs: n.kubeconfigs, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--collector.certificate_files: %w", err)
	}
	ecs, err := newInstance(n.metadataEndpoint, sysfs)
	if err != nil {
		return nil, fmt.Errorf("--collector.instance.metadata-endpoint: %w", err)
	}
	var specs []collector.Spec
	for _, choice := range []struct {
		flags     *collectorFlags
		collector collector.Collector
	}{
		{n.hostnet, hostnet.New(procfs)},
		{n.conntrack, conntrack.New(procfs, sysfs)},
		{n.conntrackTable, conntrack.NewTable(procfs, n.tableMaxEntries)},
		{n.ipvs, ipvs.New(procfs)},
		{n.ipvsTable, ipvs.NewTable(procfs, n.ipvsMaxConnections)},
		{n.netstat, netstat.New(procfs)},
		{n.sysctl, sysctl.New(sysctl.Config{Procfs: procfs, NodePorts: nodePorts})},
		{n.kmsg, kmsg.New(kmsg.Config{Path: n.kmsgPath})},
		{n.dnsprobe, dns},
		{n.certificateFiles, certificates},
		{n.instance, ecs},
	} {
		if !choice.flags.enabled {
			continue
		}
		spec, err := choice.flags.spec(choice.collector, n.scrapeTimeout)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// backgroundTimeout is the longest time that a refresh in the background takes, unless
// it is a slow one.
const backgroundTimeout = time.Minute

func (f *collectorFlags) spec(c collector.Collector, scrapeTimeout time.Duration) (collector.Spec, error) {
	if !f.background {
		return collector.Spec{Name: f.name, Collector: c, Timeout: scrapeTimeout}, nil
	}
	if f.interval < time.Second {
		return collector.Spec{}, fmt.Errorf("--collector.%s.interval: %s is shorter than 1s", f.name, f.interval)
	}
	timeout := f.interval
	if !f.isSlow {
		timeout = min(timeout, backgroundTimeout)
	}
	return collector.Spec{
		Name: f.name, Collector: c, Interval: f.interval, Timeout: timeout, Spread: time.Second, External: f.isExternal,
	}, nil
}

// run serves until ctx ends.
func (n *nodeCommand) run(ctx context.Context, log *slog.Logger, web *webFlags) error {
	if n.scrapeTimeout <= 0 {
		return fmt.Errorf("--collector.scrape-timeout: %s is not positive", n.scrapeTimeout)
	}
	for _, path := range []struct{ flag, dir string }{
		{"--path.procfs", n.procfs}, {"--path.sysfs", n.sysfs}, {"--path.rootfs", n.rootfs},
	} {
		if _, err := os.ReadDir(path.dir); err != nil {
			return fmt.Errorf("%s: %w", path.flag, err)
		}
	}
	specs, err := n.specs(log)
	if err != nil {
		return err
	}
	set, err := collector.NewSet(log, specs...)
	if err != nil {
		return err
	}
	warnOutsideHost(log, hostfs.Procfs(n.procfs))
	return web.serve(ctx, log, set)
}

// warnOutsideHost says loudly what otherwise shows as numbers that are wrong.
func warnOutsideHost(log *slog.Logger, procfs hostfs.Procfs) {
	host, err := procfs.InHostNetwork()
	switch {
	case err != nil:
		log.Error("host network namespace not found", "err", err)
	case !host:
		log.Error("not in the host's network namespace: kernel parameters, timeouts and the connection tracking table by class cannot be seen; set hostNetwork: true")
	}
}
