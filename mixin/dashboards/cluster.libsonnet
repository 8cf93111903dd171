local dashboard = import '../lib/dashboard.libsonnet';
local coreDNSSection = import 'cluster-coredns.libsonnet';

// What the cluster role sees, of whole clusters.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(byNode=false),
  local cluster = '{{%s}}' % config.clusterLabel,
  local yesNo = { '0': ['no', 'red'], '1': ['yes', 'green'] },
  local unseen = d.noValue('no cluster role, or not installed'),

  local coreDNS = coreDNSSection(d, q),

  // As written in each ConfigMap.
  local written(metric, matchers='', extra=[]) = q.ofCluster('ack_kubeproxy_config_' + metric, matchers, ['configmap'] + extra),
  local writtenTimeout(protocol) = written('timeout_seconds', 'protocol="%s"' % protocol),
  local inForce = q.gauge('ack_ipvs_timeout_seconds', 'protocol="udp"'),
  local byCluster = [config.clusterLabel],
  local configMapColumn = d.column('configmap', 'ConfigMap'),

  local kubeProxy = [
    d.row('kube-proxy: as it is written, and what nodes make of it'),
    d.table(
      'Configuration of kube-proxy',
      'What the ConfigMaps of kube-proxy say. Not valid: pods of kube-proxy that start will fail. Ignored: fields that it does not know. A timeout, or a number of connection tracking entries, that is missing is not written; ACK recommends at least %d entries for each CPU, and 0 leaves the limit as it is.' % config.alerts.ACKConntrackLimitLow.warning.below,
      [
        written('valid'),
        written('strict_errors'),
        writtenTimeout('udp'),
        writtenTimeout('tcp'),
        writtenTimeout('tcp_fin'),
        written('conntrack_max_per_core'),
        written('conntrack_min'),
      ],
      [
        d.clusterColumn,
        configMapColumn,
        d.value('A', 'Valid') + d.words(yesNo),
        d.value('B', 'Ignored', 'none') + d.colored(d.any('yellow')),
        d.value('C', 'UDP timeout', 's'),
        d.value('D', 'TCP', 's'),
        d.value('E', 'TCP FIN', 's'),
        d.value('F', 'Entries by CPU', 'none'),
        d.value('G', 'Entries at least', 'none'),
      ],
      [['Valid', false]],
    ) + unseen + {
      alerts:: ['ACKKubeProxyConfigInvalid', 'ACKKubeProxyConfigIgnored', 'ACKIPVSUDPTimeoutShort', 'ACKConntrackLimitLow'],
      w:: 24,
      h:: 7,
    },
    d.timeseries(
      'UDP timeout of IPVS: written and in force',
      'The longest and the shortest UDP timeout of IPVS that ConfigMaps write, and that nodes run with. Where the lines of the nodes leave those of the ConfigMaps, nodes do not apply them: their kube-proxy was not recreated, or is too old to do it.',
      's',
      [
        d.range(q.max(writtenTimeout('udp'), byCluster), 'written, longest ' + cluster),
        d.range(q.min(writtenTimeout('udp'), byCluster), 'written, shortest ' + cluster),
        d.range(q.max(inForce, byCluster), 'in force, longest ' + cluster),
        d.range(q.min(inForce, byCluster), 'in force, shortest ' + cluster),
      ]
    ) + d.noValue('no IPVS') + { alerts:: ['ACKIPVSTimeoutNotApplied', 'ACKIPVSTimeoutLostAtRestart', 'ACKIPVSUDPTimeoutShort', 'ACKIPVSUDPTimeoutLong'] },
    d.table(
      'Services and old nodes',
      'What decides whether the configuration is a good one: Services with a cluster IP, those of them with UDP ports besides cluster DNS, whose sessions a short UDP timeout cuts, and nodes older than Kubernetes 1.18, whose kube-proxy cannot set the timeouts of IPVS.',
      [
        q.ofCluster('ack_kubeproxy_services'),
        q.ofCluster('ack_kubeproxy_udp_services'),
        q.ofCluster('ack_kubeproxy_nodes_without_ipvs_timeouts'),
      ],
      [
        d.clusterColumn,
        d.value('A', 'Services', 'none'),
        d.value('B', 'With UDP ports', 'none'),
        d.value('C', 'Old nodes', 'none') + d.colored(d.any('yellow')),
      ],
      [['Services', true]],
    ) + unseen + { alerts:: ['ACKIPVSUDPTimeoutShort', 'ACKIPVSTimeoutLostAtRestart'], h:: 9 },
    d.table(
      'Mode and scheduler',
      'How kube-proxy is told to send packets to backends, and how it is told to choose one with IPVS. Empty leaves it to kube-proxy: iptables, and rr. Only ConfigMaps that it can read.',
      [written('info', extra=['mode', 'scheduler'])],
      [
        d.clusterColumn,
        configMapColumn,
        d.column('mode', 'Mode'),
        d.column('scheduler', 'Scheduler'),
        d.value('A', 'Valid') + d.words(yesNo),
      ],
      [['ConfigMap', true]],
    ) + unseen,
    d.table(
      'Timeouts of connection tracking as written',
      'How long kube-proxy is told that connection tracking keeps an entry, by protocol and state. What is not listed is left to kube-proxy and the kernel.',
      [written('conntrack_timeout_seconds', extra=['protocol', 'state'])],
      [
        d.clusterColumn,
        configMapColumn,
        d.column('protocol', 'Protocol'),
        d.column('state', 'State'),
        d.value('A', 'Written', 's'),
      ],
      [['ConfigMap', true], ['Protocol', false]],
    ) + unseen,
  ],

  local cache(metric, matchers='', extra=[]) = q.ofCluster('ack_nodelocaldns_' + metric, matchers, extra),
  local withoutBackup = cache('pods_without_backup', extra=['namespace']),

  local nodeLocal = [
    d.row('NodeLocal DNSCache: missing where it is not installed'),
    d.table(
      'Set-up',
      'Whether the DaemonSet is there, whether the webhook that has new pods use the cache is configured and has replicas, and how many namespaces ask for it with the label node-local-dns-injection=enabled.',
      [
        cache('daemonset_present'),
        cache('webhook_configured'),
        cache('webhook_replicas', 'state="desired"'),
        cache('webhook_replicas', 'state="available"'),
        cache('namespaces'),
        cache('orphaned_pods'),
        cache('namespaces_complete'),
      ],
      [
        d.clusterColumn,
        d.value('A', 'DaemonSet') + d.words(yesNo),
        d.value('B', 'Webhook') + d.words(yesNo),
        d.value('C', 'Replicas wanted', 'none'),
        d.value('D', 'Replicas available', 'none'),
        d.value('E', 'Namespaces', 'none'),
        d.value('F', 'Orphaned pods', 'none') + d.colored(d.any('red')),
        d.value('G', 'All listed') + d.words({ '0': ['the first 200', 'text'], '1': ['yes', 'text'] }),
      ],
      [['Orphaned pods', true]],
    ) + unseen + { alerts:: ['ACKNodeLocalDNSWebhookDown', 'ACKNodeLocalDNSOrphanedPods'], w:: 24, h:: 7 },
    d.timeseries(
      'Nodes with the cache',
      'Nodes that should run NodeLocal DNSCache, on which it is ready, and on which it is of the newest template. Nodes that are down are among those that should.',
      'short',
      [d.range(cache('replicas', extra=['state']), '{{state}} ' + cluster)]
    ) + unseen + { alerts:: ['ACKNodeLocalDNSNotReady'] },
    d.timeseries(
      'Pods of labelled namespaces',
      'Pods of namespaces with the label node-local-dns-injection=enabled that use the cache (injected), and that do not although the webhook would have them do so (missing): recreate these. Elastic container instances, and pods that opted out, are in neither. Listed every ten minutes.',
      'short',
      [d.range(q.sum(cache('pods', extra=['namespace', 'state']), byCluster + ['state']), '{{state}} ' + cluster)]
    ) + d.stacked + unseen + { alerts:: ['ACKNodeLocalDNSPodsMissing', 'ACKNodeLocalDNSUnused'] },
    d.table(
      'Pods by namespace',
      'The same by namespace, with the pods whose only name server is the cache: they have no DNS while it is down. _other stands for all namespaces after the first 200.',
      [
        cache('pods', 'state="missing"', ['namespace']),
        cache('pods', 'state="injected"', ['namespace']),
        withoutBackup,
      ],
      [
        d.clusterColumn,
        d.column('namespace', 'Namespace'),
        d.value('A', 'Missing', 'none'),
        d.value('B', 'Injected', 'none'),
        d.value('C', 'Without backup', 'none') + d.colored(d.any('yellow')),
      ],
      [['Missing', true]],
    ) + unseen + { alerts:: ['ACKNodeLocalDNSPodsMissing', 'ACKNodeLocalDNSNoBackup'], h:: 10 },
    d.table(
      'Does Terway fit',
      'Whether Terway meets what the cache needs. host_stack_cidrs: in IPvlan mode pods reach 169.254.20.10. version: v1.0.10.301 or newer. What is not listed does not apply, or could not be told.',
      [cache('terway_check', extra=['check'])],
      [
        d.clusterColumn,
        d.column('check', 'Check'),
        d.value('A', 'Fits') + d.words(yesNo),
      ],
      [['Fits', false]],
    ) + unseen + { alerts:: ['ACKNodeLocalDNSTerwayUnfit'], w:: 6, h:: 10 },
    d.table(
      'Versions',
      'Versions of NodeLocal DNSCache and of Terway, by the tags of their images.',
      [cache('info', extra=['version']), cache('terway_info', extra=['version'])],
      local here = { '1': ['this', 'text'] };
      [
        d.clusterColumn,
        d.column('version', 'Version'),
        d.value('A', 'Cache') + d.words(here),
        d.value('B', 'Terway') + d.words(here),
      ],
      [['Version', false]],
    ) + unseen + { w:: 6, h:: 10 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-cluster.json': d.dashboard(
      'ack-exporter-cluster',
      'Cluster: CoreDNS, NodeLocal DNSCache, kube-proxy',
      'Cluster DNS and kube-proxy as the API server has them: what is set up, what is written, and what does not follow it.',
      coreDNS + nodeLocal + kubeProxy,
      byNode=false,
    ),
  },
}
