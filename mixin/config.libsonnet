local catalogue = import 'lib/catalogue.libsonnet';

{
  _config+:: {
    // Selectors, without braces: they are inserted between {}.
    ackExporterSelector: 'job="ack-exporter"',
    kubeStateMetricsSelector: 'job="kube-state-metrics"',
    // The own metrics of node-local-dns, which are those of CoreDNS.
    nodeLocalDNSSelector: 'pod=~"node-local-dns-.+"',
    // CoreDNS where Prometheus scrapes it, and not NodeLocal DNSCache, which has metrics of the same names.
    corednsSelector: 'job=~"coredns|kube-dns"',
    // Its containers in the metrics that the kubelet has of all containers.
    corednsContainerSelector: 'namespace="kube-system", pod=~"coredns-.*", container="coredns"',
    // Certificates that nobody but ACK replaces: those of masters and of etcd.
    masterCertificateSelector: 'source="file", location=~"/etc/(kubernetes/pki|kubeadm|etcd)/.+|/var/lib/etcd/.+"',
    // Jobs that renew the certificates of a dedicated cluster, in kube-state-metrics.
    renewalJobSelector: 'namespace="kube-system", job_name=~"cert-.+"',
    // The metrics of cert-manager. No one else has metrics of these names.
    certManagerSelector: '',
    // Nodes that run no DaemonSet pods: virtual nodes of ECI are no machines.
    realNodeSelector: 'node!~"virtual-kubelet-.*|virtual-node-.*|eci-.*"',

    // The label that tells clusters from each other, and the one that tells
    // nodes from each other. Prometheus adds both; where there is one cluster
    // only, the first may be missing.
    clusterLabel: 'cluster',
    nodeLabel: 'node',

    // runbook_url is this, a slash and the name of the alert. The exporter
    // itself serves the pages under /runbooks; the default fits a
    // `kubectl port-forward` to any of its pods.
    runbookURLPrefix: 'http://localhost:9777/runbooks',

    // Labels that every alert gets besides its severity.
    alertLabels: {},

    // How long an alert stays after its condition has ended: longer than a
    // roll-out takes to replace a pod, so that it is not sent again after each.
    keepFiringFor: '5m',

    // Window of rates. At least four times the scrape interval.
    rateWindow: '5m',

    // DNS probes. objective is the share of lookups that should succeed; the
    // burn rates of alerts are multiples of what it leaves. Other alerts look
    // at the share that failed lately: within window, or within longWindow
    // where window holds fewer questions than this, because large clusters
    // probe seldom.
    dnsProbes: { objective: threshold('DN-25', 'objective'), window: '5m', longWindow: '1h', questions: 4 },

    // CoreDNS by its own metrics. objective is the share of answers that should not be SERVFAIL: clients ask for names of
    // zones that are broken elsewhere, too, and no one can mend those here.
    coredns: { objective: threshold('DN-16', 'objective') },

    local threshold = catalogue.threshold,

    // How often the alerts on certificates are evaluated; null: as often as the others. One evaluation takes Prometheus
    // about 0.15 ms a certificate, which counts from some thousands on. No longer than the durations of these alerts.
    certificateInterval: null,

    // Thresholds and durations of each alert, by severity. critical: a person
    // acts now. warning: this working day.
    alerts: {
      ACKConntrackTableNearlyFull: {
        // The margin is some minutes of peak traffic.
        warning: { above: threshold('CT-01', 'warning'), 'for': '10m' },
        critical: { above: threshold('CT-01', 'critical'), 'for': '5m' },
      },
      ACKConntrackTableFillingUp: {
        // A forecast alone would call on every new node and every morning: it
        // counts from this usage on, where a long and a short window agree.
        warning: { above: threshold('CT-09', 'warning'), window: '1h', shortWindow: '15m', horizon: '1h', 'for': '15m' },
      },
      ACKConntrackDropping: {
        // One burst is worth a look. critical takes more than one: its window is
        // shorter than the time that it waits.
        warning: { window: '10m', 'for': '1m' },
        critical: { window: '3m', 'for': '6m' },
      },
      ACKConntrackLimitLow: {
        // From this limit on kube-proxy sets no larger one, whatever the CPUs.
        warning: { below: threshold('CT-03', 'warning'), cap: threshold('CT-03', 'cap'), 'for': '30m' },
      },
      ACKConntrackDNSDominates: {
        warning: { above: threshold('CT-05', 'warning'), usage: threshold('CT-05', 'usage'), 'for': '15m' },
      },
      ACKConntrackUDPStreamTimeoutLong: {
        warning: { above: threshold('CT-06', 'warning'), 'for': '30m' },
      },
      ACKConntrackInsertRaces: {
        warning: { above: threshold('CT-07', 'warning'), 'for': '15m' },
      },
      ACKConntrackHashTableSmall: {
        warning: { 'for': '15m' },
      },
      ACKIPVSUDPTimeoutLong: {
        // The manual's 10 s is right only where no Service of the user has UDP
        // ports. kube-dns has one, that of NodeLocal DNSCache is another: where
        // a node has more UDP services, the alert keeps quiet.
        warning: { above: threshold('KP-01', 'warning'), systemUDPServices: 2, 'for': '30m' },
      },
      ACKIPVSStaleUDPConnections: {
        // With the recommended timeout entries are gone after 10 s, so that a
        // roll-out of CoreDNS does not call. critical is longer than the
        // default timeout of 300 s: then clients keep the entries alive.
        warning: { above: threshold('KP-06', 'warning'), 'for': '2m' },
        critical: { above: threshold('KP-06', 'critical'), 'for': '10m' },
      },
      // A full queue loses a few packets in each burst, which nobody feels: a share, and a rate, that last.
      ACKNodeUDPDatagramsDropped: {
        warning: { above: threshold('DN-27', 'datagrams'), rate: threshold('DN-27', 'rate'), 'for': '10m' },
      },
      ACKNodePacketsDropped: {
        warning: { above: threshold('DN-27', 'packets'), rate: threshold('DN-27', 'rate'), 'for': '10m' },
      },
      // Long enough for tools that set parameters when the node, or a new ENI, comes up.
      ACKIPForwardingOff: { critical: { 'for': '5m' } },
      ACKReversePathFilterOn: { warning: { 'for': '10m' } },
      ACKTCPTimeWaitReuseOn: { warning: { 'for': '10m' } },
      ACKTCPTimeWaitRecycleOn: { warning: { 'for': '10m' } },
      ACKLocalPortRangeUnsupported: { warning: { 'for': '10m' } },
      // Lines of the kernel log: what counts is that they came at all.
      ACKKernelStuck: {
        warning: { window: '10m', 'for': '0m' },
        critical: { window: '5m', 'for': '10m' },
      },
      ACKKernelOops: { warning: { window: '30m', 'for': '0m' } },
      // The kernel repeats this line every 10 s; some seconds of it are normal.
      ACKNetworkDeviceStuck: { warning: { window: '5m', 'for': '5m' } },
      ACKFilesystemErrors: {
        warning: { events: 'filesystem_error|io_error', window: '10m', 'for': '0m' },
        critical: { events: 'filesystem_remounted_readonly', window: '10m', 'for': '0m' },
      },
      ACKHardwareErrors: { warning: { window: '30m', 'for': '0m' } },
      ACKGPUXidErrors: { warning: { window: '30m', 'for': '0m' } },
      ACKNodeOutOfMemory: { warning: { window: '15m', 'for': '0m' } },
      ACKContainersOutOfMemory: { warning: { atLeast: threshold('ND-21', 'warning'), window: '1h', 'for': '0m' } },
      ACKNeighbourTableFull: { warning: { window: '5m', 'for': '5m' } },
      ACKNFSServerNotResponding: { warning: { window: '10m', 'for': '0m' } },
      ACKKernelMemoryShort: { warning: { window: '15m', 'for': '0m' } },
      // The notice comes 5 minutes ahead: there is no time to wait. It was part of the deal, so that it calls nobody at night.
      ACKSpotInterruptionNotice: { warning: { 'for': '0m' } },
      ACKInstanceReclaiming: { warning: { 'for': '0m' } },
      // Until a node that is cut off is not Ready any more: such a one has been seen to report the condition.
      ACKNodeInstanceExpired: { warning: { 'for': '1m' } },
      // Longer than the plug-in takes to come back after a restart.
      ACKNodeInstanceExpiredUnknown: { warning: { 'for': '1h' } },
      // Days. renewing: what renews itself counts too. for: longer than the API may refuse to tell what does.
      ACKInstanceExpiresSoon: {
        warning: { days: threshold('SP-04', 'warning'), 'for': '1h' },
        critical: { days: threshold('SP-04', 'critical'), renewing: true, 'for': '15m' },
      },
      // renewing: days of what renews itself.
      ACKMasterInstanceExpiresSoon: {
        critical: { days: threshold('SP-05', 'critical'), renewing: threshold('SP-05', 'renewing'), 'for': '1h' },
      },
      // From so many days before the end on, until ACKInstanceExpiresSoon tells.
      ACKInstanceAutoRenewalOff: { warning: { days: threshold('SP-06', 'warning'), 'for': '1h' } },
      // Somebody has set that time: it is no surprise, and calls nobody.
      ACKInstanceReleaseScheduled: { warning: { days: threshold('SP-04', 'critical'), 'for': '15m' } },
      // Longer than an instance takes to restart, or the autoscaler to remove a node, as the API tells every 5 minutes.
      ACKInstanceNotRunning: { warning: { 'for': '15m' } },
      ACKInstanceLocked: { warning: { 'for': '15m' } },
      // Nodes of instances that are gone are removed within minutes. It may be a right that is missing, which can wait.
      ACKInstanceUnknown: { warning: { 'for': '6h' } },
      ACKInstanceSystemEvent: { warning: { 'for': '5m' } },
      // Longer than an instance takes to restart, and a replica of the exporter to lead.
      ACKMastersTooFew: { warning: { below: threshold('SP-05', 'masters'), 'for': '30m' } },
      // Burn rates: factor times what dnsProbes.objective leaves, in a long and a
      // short window. So many failures in the short one, since a single lost
      // packet is not worth a call. A node is probed for age before it counts:
      // a new one may still be setting up its network. slow: the short window
      // where a server has its turn less often than every so many seconds.
      local burning = {
        warning: { factor: threshold('DN-25', 'warning'), longWindow: '6h', shortWindow: '30m', failures: 3, age: '45m', 'for': '15m' },
        critical: {
          factor: threshold('DN-25', 'critical'),
          longWindow: '1h',
          shortWindow: '5m',
          failures: 3,
          age: '15m',
          'for': '2m',
          slow: { above: 60, shortWindow: '30m', age: '45m' },
        },
      },
      ACKDNSFailing: burning,
      ACKDNSExternalFailing: burning,
      // Longer than a resolver needs to be replaced.
      ACKVPCResolverFailing: {
        warning: { above: threshold('DN-15', 'warning'), 'for': '10m' },
        critical: { above: threshold('DN-15', 'critical'), 'for': '5m' },
      },
      // Longer than the servers that are probed lag behind the pods.
      ACKCoreDNSReplicaUnreachable: {
        warning: { failed: threshold('DN-25', 'replica_failed'), above: threshold('DN-25', 'replica_nodes'), atLeast: 2, 'for': '5m' },
      },
      ACKDNSPortBlocked: { warning: { others: threshold('DN-26', 'others'), 'for': '10m' } },
      // With the default timeout of 300 s idle entries end by themselves before that.
      ACKDNSKeptSocketFailing: { warning: { above: threshold('KP-06', 'kept'), fresh: threshold('KP-06', 'fresh'), 'for': '5m' } },
      // Longer than a pod of the DaemonSet takes to restart.
      ACKNodeLocalDNSFailing: { warning: { above: threshold('NL-02', 'warning'), 'for': '5m' } },
      // Longer than a roll-out of the DaemonSet, or a new node, takes.
      ACKNodeLocalDNSListenerMissing: { warning: { 'for': '30m' } },
      ACKDNSFailsWithFullTable: {
        warning: { atLeast: threshold('CT-08', 'warning'), usage: threshold('CT-08', 'usage'), window: '15m', 'for': '2m' },
      },
      // A quantile of fewer answers is that of one slow lookup.
      ACKDNSSlow: { warning: { quantile: 0.99, above: threshold('DN-19', 'warning'), answers: 100, window: '1h', 'for': '30m' } },
      // Node pools grow within minutes, and what scales CoreDNS follows.
      ACKCoreDNSReplicasTooFew: { warning: { 'for': '30m' } },
      // Longer than a roll-out, which puts two replicas on a node for a while.
      ACKCoreDNSNotSpread: { warning: { 'for': '30m' } },
      // The same replica is not ready now and was not some minutes ago: a roll-out has others all the time.
      ACKCoreDNSReplicaNotReady: { warning: { since: '5m', 'for': '5m' } },
      ACKCoreDNSRestarting: { warning: { atLeast: threshold('DN-04', 'restarts'), window: '1h', 'for': '0m' } },
      // Longer than two replicas of the exporter show what they know after a change of leader, 45 s.
      ACKCoreDNSEndpointsMissing: {
        warning: { below: threshold('DN-24', 'warning'), 'for': '10m' },
        critical: { below: threshold('DN-24', 'critical'), 'for': '2m' },
      },
      ACKCoreDNSMemoryLimitLow: { warning: { below: threshold('DN-06', 'limit'), 'for': '30m' } },
      // A kill counts for as long as somebody may still look for its cause; memory in use, where it stays above.
      ACKCoreDNSMemoryShort: { warning: { above: threshold('DN-06', 'usage'), usedFor: '10m', within: 3600, 'for': '0m' } },
      ACKCoreDNSSessionAffinity: { warning: { 'for': '30m' } },
      // Long enough to finish an edit in several steps. critical: no replica would start again with such a file.
      ACKCoreDNSCorefileCheckFailed: {
        warning: { except: 'parse', 'for': '30m' },
        critical: { checks: 'parse', 'for': '5m' },
      },
      // The kubelet brings a change within two minutes, CoreDNS looks every 45 s.
      ACKCoreDNSCorefileNotLoaded: { warning: { 'for': '15m' } },
      // A change is refused once, and then no more: the window is how long the alert stays.
      ACKCoreDNSReloadFailed: { warning: { window: '30m', 'for': '0m' } },
      // What answers neither now nor some minutes ago. Where the metrics of a replica cannot be read, nobody has to act.
      ACKCoreDNSReplicaSilent: { warning: { checks: 'dns_udp|dns_tcp|health|ready', since: '5m', 'for': '2m' } },
      // Watches last for minutes: a shorter window has too few requests.
      ACKCoreDNSAPIUnreachable: {
        warning: { results: 'unreachable|failed|denied', above: threshold('DN-20', 'warning'), window: '10m', 'for': '10m' },
      },
      ACKCoreDNSOld: { warning: { versions: '0[.].*|1[.][0-6][.].*', 'for': '1h' } },
      // By the metrics of CoreDNS itself. Burn rates are multiples of what coredns.objective leaves, in a long and a short
      // window; so many answers in the short one, since a few names that somebody mistyped are not worth a call.
      ACKCoreDNSServerFailures: {
        warning: { factor: threshold('DN-16', 'warning'), longWindow: '6h', shortWindow: '30m', failures: 30, 'for': '15m' },
        critical: { factor: threshold('DN-16', 'critical'), longWindow: '1h', shortWindow: '5m', failures: 30, 'for': '2m' },
      },
      // CoreDNS asks an upstream that fails twice a second until it is back. Longer than a resolver needs to be replaced.
      ACKCoreDNSUpstreamFailing: { warning: { above: threshold('DN-15', 'health_checks'), window: '5m', 'for': '10m' } },
      ACKCoreDNSRefuses: { warning: { above: threshold('DN-17', 'warning'), window: '15m', refusals: 30, 'for': '15m' } },
      // A quantile of fewer answers is that of some slow upstream.
      ACKCoreDNSSlow: { warning: { quantile: 0.99, above: threshold('DN-19', 'server'), answers: 1000, window: '15m', 'for': '15m' } },
      // Long enough for clients to find new replicas. With few requests shares are chance.
      ACKCoreDNSLoadUneven: { warning: { above: threshold('DN-07', 'warning'), requests: 50, window: '10m', 'for': '30m' } },
      ACKCoreDNSThrottled: { warning: { above: threshold('DN-05', 'warning'), window: '10m', 'for': '15m' } },
      // Longer than it takes to recreate the pods of kube-proxy one by one.
      ACKIPVSTimeoutNotApplied: { warning: { 'for': '1h' } },
      // Longer than it takes to set it by hand on a new node.
      ACKIPVSTimeoutLostAtRestart: { warning: { 'for': '1h' } },
      ACKIPVSUDPTimeoutShort: { warning: { atMost: threshold('KP-05', 'warning'), 'for': '1h' } },
      // Longer than it takes to see and correct a typing error.
      ACKKubeProxyConfigInvalid: { critical: { 'for': '10m' } },
      ACKKubeProxyConfigIgnored: { warning: { 'for': '30m' } },
      // Longer than a roll-out of the DaemonSet, or a new node, takes.
      ACKNodeLocalDNSNotReady: { warning: { 'for': '30m' } },
      // Longer than it takes to label namespaces and to recreate their pods.
      ACKNodeLocalDNSUnused: { warning: { factor: threshold('NL-03', 'warning'), window: '1h', 'for': '6h' } },
      ACKNodeLocalDNSPodsMissing: { warning: { above: threshold('NL-04', 'warning'), 'for': '6h' } },
      // Longer than a roll-out of the Deployment takes.
      ACKNodeLocalDNSWebhookDown: { warning: { 'for': '15m' } },
      ACKNodeLocalDNSTerwayUnfit: { warning: { 'for': '30m' } },
      // Longer than three listings of the pods are apart.
      ACKNodeLocalDNSNoBackup: { warning: { above: threshold('NL-08', 'warning'), 'for': '1h' } },
      // Longer than the DaemonSet is gone when it is installed anew.
      ACKNodeLocalDNSOrphanedPods: { critical: { above: threshold('NL-11', 'critical'), 'for': '5m' } },
      // Nobody has to hurry, but where the API server refuses everybody. unused: Secrets that nobody may use.
      ACKCertificateExpired: {
        warning: { unused: true, 'for': '15m' },
        critical: { 'for': '5m' },
      },
      // Days, and the share of its life that no certificate may have left. trafficDays: those of Ingresses and listeners,
      // for which nobody plans months ahead. That a Secret expires calls nobody: whether it is used cannot be seen.
      ACKCertificateExpiresSoon: {
        warning: {
          days: threshold('CE-01', 'warning'),
          trafficDays: threshold('CE-10', 'warning'),
          share: threshold('CE-01', 'warning_share'),
          'for': '30m',
        },
        critical: { days: threshold('CE-01', 'critical'), share: threshold('CE-01', 'critical_share'), 'for': '15m' },
      },
      // Kubelets renew between 70 and 90 % of the life, cert-manager at two thirds, where nobody tells it otherwise. When
      // ACK renews the certificate of a managed API server is not written anywhere: managedDays before its end it is late.
      ACKCertificateNotRenewed: {
        warning: {
          days: threshold('CE-03', 'warning'),
          managedDays: 7,
          share: threshold('CE-03', 'warning_share'),
          certManagerShare: threshold('CE-22', 'warning_share'),
          'for': '30m',
        },
        critical: {
          local share = threshold('CE-03', 'critical_share'),
          days: threshold('CE-03', 'critical'),
          managedDays: self.days,
          share: share,
          certManagerShare: share,
          'for': '15m',
        },
      },
      // Clocks may differ by some minutes.
      ACKCertificateNotYetValid: { warning: { 'for': '15m' } },
      // It has happened, and does not go on: the window is how long the alert stays.
      ACKCertificateReplaced: { warning: { days: threshold('CE-07', 'warning'), window: '1d', 'for': '10m' } },
      // Longer than a roll-out of a webhook takes, and than cert-manager needs to write a new CA into caBundles.
      ACKCertificateUntrusted: { critical: { 'for': '10m' } },
      ACKCertificateNameMissing: { critical: { 'for': '10m' } },
      ACKIngressHostNotCovered: { warning: { 'for': '30m' } },
      // Longer than a Secret is gone when it is created anew, and than cert-manager needs to fill a new one.
      ACKTLSSecretUnusable: { warning: { 'for': '30m' } },
      // Longer than two files are written one after the other.
      ACKCertificateKeyMismatch: { warning: { 'for': '15m' } },
      ACKCertificateOutlivesIssuer: { warning: { 'for': '1h' } },
      // Longer than files are away while they are renewed, and a restart of what presents a certificate takes.
      ACKCertificateUnreadable: { warning: { 'for': '30m' } },
      ACKCertificateRenewalJobFailed: { warning: { seconds: threshold('CE-14', 'warning'), 'for': '5m' } },
      // Longer than a certificate takes to be issued.
      ACKCertManagerCertificateNotReady: { warning: { 'for': '1h' } },
      // kinds: a regular expression of the label kind, so that a kind can be moved to another severity. SLB instances are
      // looked at every 5 minutes. What the whole cluster hangs on waits for the second look, the others for one more.
      ACKAPIServerSLBDown: { critical: { kinds: 'apiserver_(gone|inactive|listener|backends)', 'for': '5m' } },
      // An extra listener or another tag breaks nothing by itself.
      ACKAPIServerSLBChanged: {
        warning: { kinds: 'apiserver_(extra_listener|tag|changed)', 'for': '15m' },
        critical: { kinds: 'apiserver_(reused|acl)', 'for': '10m' },
      },
      ACKSLBGone: { critical: { kinds: 'gone|inactive', 'for': '10m' } },
      // Longer than the cloud controller manager takes to follow a Service that was changed.
      ACKSLBListenersDiffer: {
        warning: { kinds: 'listener_(group|extra)', 'for': '30m' },
        critical: { kinds: 'listener_(missing|stopped|protocol)', 'for': '15m' },
      },
      // Nodes and pods come and go. Longer than a large cluster takes to scale out.
      ACKSLBBackendsDiffer: { warning: { kinds: 'group_missing|backend_(missing|extra)', 'for': '30m' } },
      ACKSLBEdited: { warning: { kinds: 'tag|setting|renamed|unprotected', 'for': '30m' } },
      ACKSLBReuseWrong: { warning: { kinds: 'reuse_removed|reuse_of_managed|port_conflict|other_vpc|address_type|shared_by_clusters', 'for': '15m' } },
      // What comes back by itself is told by no other alert. An upgrade of a Service changes an SLB instance once or twice.
      ACKSLBDriftRecurs: { warning: { kinds: 'tag|setting|renamed|unprotected|listener_.+', times: threshold('LB-13', 'warning'), window: '1d', 'for': '5m' } },
      // Quotas of SLB. certain: in every way to count, and not by a default limit. Longer than two refreshes take, and than a
      // replica that has ceased to lead shows what it knew.
      ACKSLBInstancesNearQuota: {
        warning: { above: threshold('LB-01', 'warning'), 'for': '30m' },
        critical: { above: threshold('LB-01', 'critical'), certain: true, 'for': '30m' },
      },
      ACKSLBBackendAttachmentsNearQuota: {
        warning: { above: threshold('LB-02', 'warning'), 'for': '30m' },
        critical: { above: threshold('LB-02', 'critical'), certain: true, 'for': '30m' },
      },
      ACKSLBBackendServersNearQuota: {
        warning: { above: threshold('LB-03', 'warning'), 'for': '30m' },
        critical: { above: threshold('LB-03', 'critical'), certain: true, 'for': '30m' },
      },
      ACKSLBListenersNearQuota: {
        warning: { above: threshold('LB-04', 'warning'), 'for': '30m' },
      },
      ACKSLBBackendsExceedQuota: {
        warning: { above: threshold('LB-05', 'warning'), 'for': '30m' },
        critical: { above: threshold('LB-05', 'critical'), certain: true, 'for': '30m' },
      },
      ACKSLBHeadroomLow: { warning: { below: threshold('LB-06', 'warning'), 'for': '30m' } },
      // Longer than a new leader takes to read some hundred groups.
      ACKSLBScanBehind: { warning: { age: threshold('EX-09', 'warning'), 'for': '1h' } },
      // The cloud's network is asked every 10 minutes; one answer suffices where it is late.
      ACKPodAddressesShort: {
        warning: { below: threshold('VP-01', 'warning'), 'for': '15m' },
        critical: { below: threshold('VP-01', 'critical'), 'for': '5m' },
      },
      ACKNodeAddressesShort: { warning: { below: threshold('VP-27', 'warning'), 'for': '30m' } },
      ACKVSwitchUnknown: { warning: { 'for': '1h' } },
      ACKRouteTableFillingUp: {
        warning: { above: threshold('VP-19', 'warning'), nodes: threshold('VP-19', 'warning_nodes'), 'for': '15m' },
        critical: { above: threshold('VP-19', 'critical'), nodes: threshold('VP-19', 'critical_nodes'), 'for': '5m' },
      },
      // Events stay for an hour after the last time that the cloud controller manager tried in vain.
      // What fails once and then succeeds within some minutes is nothing.
      ACKCloudAccountInArrears: { critical: { services: 1, within: 3600, 'for': '5m' } },
      // One Service can name what belongs to another account; several have their role in common.
      ACKCloudRoleForbidden: {
        warning: { services: 1, within: 3600, 'for': '10m' },
        critical: { services: threshold('LB-27', 'services'), within: 3600, 'for': '10m' },
      },
      ACKServiceLoadBalancerNotFound: { critical: { within: 3600, 'for': '10m' } },
      // It has happened, and does not go on.
      ACKServiceTypeChanged: { warning: { within: 3600, 'for': '0m' } },
      // Longer than a roll-out without a spare replica; later: seconds by which one synchronisation tells the next from itself.
      ACKServiceWithoutBackends: { warning: { within: 3600, later: 60, 'for': '30m' } },
      ACKServiceSyncFailing: { warning: { within: 3600, 'for': '15m' } },
      // The window holds three refreshes of what is asked every 10 minutes.
      ACKExporterCloudForbidden: { warning: { window: '30m', 'for': '15m' } },
      ACKExporterCloudLimited: { warning: { above: threshold('EX-08', 'warning'), window: '30m', 'for': '30m' } },
      // Longer than a node takes to restart.
      ACKExporterDown: { warning: { 'for': '10m' } },
      // Longer than a node takes to join and to pull the image.
      ACKExporterMissing: { warning: { 'for': '30m' } },
      ACKExporterCollectorFailing: { warning: { 'for': '15m' } },
      ACKExporterCollectorStale: { warning: { intervals: threshold('EX-04', 'warning'), 'for': '15m' } },
      ACKExporterWrongNetworkNamespace: { warning: { 'for': '15m' } },
      // Longer than a roll-out and the change of a leader; window: how long it tells of replicas that are all gone.
      ACKExporterNoLeader: { warning: { 'for': '10m', window: '6h' } },
    },

    // The example configuration of Alertmanager.
    alertmanager: {
      criticalURL: 'http://pager.example/hook',
      warningURL: 'http://tickets.example/hook',
      groupWait: '30s',
      groupInterval: '5m',
      criticalRepeatInterval: '4h',
      warningRepeatInterval: '24h',
    },

    // Dashboards.
    dashboardTitlePrefix: 'ACK / ',
    dashboardTags: ['ack-exporter'],
    dashboardRefresh: '1m',
    dashboardTimezone: 'browser',
    // Most nodes, or classes, that a graph or a list of the largest shows.
    dashboardTop: 10,
  },
}
