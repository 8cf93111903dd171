local catalogue = import 'lib/catalogue.libsonnet';

{
  _config+:: {
    // Selectors, without braces: they are inserted between {}.
    ackExporterSelector: 'job="ack-exporter"',
    kubeStateMetricsSelector: 'job="kube-state-metrics"',
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

    local threshold = catalogue.threshold,

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
      // Longer than a node takes to restart.
      ACKExporterDown: { warning: { 'for': '10m' } },
      // Longer than a node takes to join and to pull the image.
      ACKExporterMissing: { warning: { 'for': '30m' } },
      ACKExporterCollectorFailing: { warning: { 'for': '15m' } },
      ACKExporterCollectorStale: { warning: { intervals: threshold('EX-04', 'warning'), 'for': '15m' } },
      ACKExporterWrongNetworkNamespace: { warning: { 'for': '15m' } },
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
