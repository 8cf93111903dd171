local dashboard = import '../lib/dashboard.libsonnet';

// DNS: what lookups from the nodes meet on their way.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(),
  local worst = 'The %d with the most.' % config.dashboardTop,
  local nodeLink = d.linkFromSeries('Open this node', 'ack-exporter-node'),

  local labels = ['target_kind', 'server', 'protocol', 'socket', 'name_kind'],
  local node = [config.clusterLabel, config.nodeLabel],

  // The share of questions that failed; count makes the growth of a counter.
  local failed(count, matchers, by=[]) = '1 - %s / (%s > 0)' % [
    q.sum(count('ack_dns_probe_successes_total', matchers, labels), by),
    q.sum(count('ack_dns_probe_attempts_total', matchers, labels), by),
  ],
  local failing(matchers, by=[]) = failed(q.rate, matchers, by),
  local throughService(names) = 'target_kind="cluster_dns", socket="fresh", name_kind="%s"' % names,

  local quantile(of, by, matchers='') = 'histogram_quantile(%g, %s)' % [
    of,
    q.sum(q.rate('ack_dns_probe_duration_seconds_bucket', matchers, ['target_kind', 'protocol', 'name_kind', 'le']), by + ['le']),
  ],

  local interval = q.gauge('ack_dns_probe_interval_seconds', extra=['target_kind']),
  local targets = q.gauge('ack_dns_probe_targets', extra=['target_kind']),
  local address = q.gauge('ack_dns_probe_node_local_address'),

  local now = [
    d.stat(
      'In-cluster names, last hour',
      'Share of the lookups of an in-cluster name through the DNS address of the cluster that failed within the last hour, on all chosen nodes. 0 is healthy.',
      'percentunit',
      failed(q.lastHour, throughService('cluster'))
    ) + d.neutral + d.decimals(2) + d.unknown('no probes') + { alerts:: ['ACKDNSFailing'] },
    d.stat(
      'External names, last hour',
      'Share of the lookups of a name outside the cluster through the DNS address of the cluster that failed within the last hour, on all chosen nodes. 0 is healthy.',
      'percentunit',
      failed(q.lastHour, throughService('external'))
    ) + d.neutral + d.decimals(2) + d.unknown('no probes') + { alerts:: ['ACKDNSExternalFailing'] },
    d.stat(
      'Resolvers of the VPC',
      'Share of the questions to the resolvers of the VPC over UDP that fail, on the node where it is highest. "not probed": the nodes are no ECS instances, and no flag names resolvers.',
      'percentunit',
      q.max(failing('target_kind="vpc", protocol="udp", socket="fresh"', node))
    ) + d.above('ACKVPCResolverFailing') + d.decimals(1) + d.unknown('not probed') + { alerts:: ['ACKVPCResolverFailing'] },
    d.stat(
      'Nodes without the local address',
      'Nodes without 169.254.20.10, where NodeLocal DNSCache listens. Where none has it, NodeLocal DNSCache is not installed. "unknown": the exporter is not in the network of the host.',
      'none',
      q.no(address)
    ) + d.neutral + d.unknown('unknown') + { alerts:: ['ACKNodeLocalDNSListenerMissing'] },
    d.stat(
      'Longest interval',
      'Time between two turns of a server, on the node where it is longest. It grows with the number of nodes for each CoreDNS pod, so that the probes are no load.',
      's',
      q.max(interval)
    ) + d.neutral + d.unknown('no probes'),
    d.stat(
      'CoreDNS pods left out',
      'CoreDNS pods that a node does not probe since there are more than it may, on the node with most. Each node chooses others.',
      'none',
      q.max(q.gauge('ack_dns_probe_left_out_targets'))
    ) + d.neutral + d.unknown('no probes'),
  ],

  local probes = [
    d.row('Probes: each question is asked once, so that what is lost is seen'),
    d.timeseries(
      'Failed by hop',
      'Share of the questions over fresh sockets that fail, by who is asked, for in-cluster names and for external ones. cluster_dns is the address of the Service kube-dns: where it fails and coredns_pod does not, the way through kube-proxy is broken.',
      'percentunit',
      [d.range(failing('socket="fresh"', ['target_kind', 'name_kind']), '{{target_kind}} {{name_kind}}')]
    ) + d.decimals(1) + { alerts:: ['ACKDNSFailing', 'ACKDNSExternalFailing', 'ACKVPCResolverFailing', 'ACKNodeLocalDNSFailing', 'ACKCoreDNSReplicaUnreachable'] },
    d.timeseries(
      'Failures by reason',
      'Questions that fail, by who is asked and why, on all chosen nodes. timeout: no answer. network: the operating system said so. Others are answers of the server. The names that are asked for exist: nxdomain is a fault too.',
      'cps',
      [d.range(
        q.sum(q.rate('ack_dns_probe_failures_total', extra=['target_kind', 'protocol', 'socket', 'name_kind', 'reason']), ['target_kind', 'reason']) + ' > 0',
        '{{target_kind}} {{reason}}'
      )]
    ) + d.noValue('none') + { alerts:: ['ACKDNSFailing', 'ACKDNSFailsWithFullTable'] },
    d.timeseries(
      'Nodes where in-cluster names fail',
      'Share of the lookups of an in-cluster name through the DNS address of the cluster that fail. ' + worst + ' All nodes at once: CoreDNS. Some: their way to it.',
      'percentunit',
      [d.range(q.top(failing(throughService('cluster'), node)), d.nodeLegend)]
    ) + d.decimals(1) + nodeLink + { alerts:: ['ACKDNSFailing', 'ACKDNSFailsWithFullTable'] },
    d.timeseries(
      'Nodes where external names fail',
      'Share of the lookups of a name outside the cluster through the DNS address of the cluster that fail. ' + worst,
      'percentunit',
      [d.range(q.top(failing(throughService('external'), node)), d.nodeLegend)]
    ) + d.decimals(1) + nodeLink + { alerts:: ['ACKDNSExternalFailing'] },
    d.timeseries(
      'Servers that fail',
      'Share of the questions over fresh sockets that a server does not answer, all chosen nodes together. ' + worst,
      'percentunit',
      [d.range(q.top(failing('socket="fresh"', [config.clusterLabel, 'target_kind', 'server'])), '{{target_kind}} {{server}} {{%s}}' % config.clusterLabel)]
    ) + d.decimals(1) + { alerts:: ['ACKCoreDNSReplicaUnreachable', 'ACKVPCResolverFailing'] },
    d.timeseries(
      'Nodes that reach no CoreDNS pod',
      'Share of the questions to CoreDNS pods, for an in-cluster name, that fail, by protocol. ' + worst + ' All of them, on some nodes only: port 53 is blocked.',
      'percentunit',
      [d.range(
        q.top(failing('target_kind="coredns_pod", socket="fresh", name_kind="cluster"', node + ['protocol'])),
        '{{protocol}} ' + d.nodeLegend
      )]
    ) + d.decimals(1) + nodeLink + { alerts:: ['ACKDNSPortBlocked'] },
    d.timeseries(
      'Fresh sockets against one that is kept',
      'Share of the UDP questions to the DNS address of the cluster that fail, over sockets of their own and over one that stays open. Where only the kept one fails, IPVS or connection tracking still sends its packets to a pod that is gone.',
      'percentunit',
      [d.range(failing('target_kind="cluster_dns", protocol="udp", name_kind="cluster"', ['socket']), '{{socket}}')]
    ) + d.decimals(1) + { alerts:: ['ACKDNSKeptSocketFailing'] },
    d.timeseries(
      'Nodes whose kept socket fails',
      'Share of the questions to the DNS address of the cluster over a UDP socket that stays open that fail. ' + worst,
      'percentunit',
      [d.range(q.top(failing('target_kind="cluster_dns", socket="kept"', node)), d.nodeLegend)]
    ) + d.above('ACKDNSKeptSocketFailing') + d.thresholdLines + d.decimals(1) + nodeLink + { alerts:: ['ACKDNSKeptSocketFailing'] },
    d.timeseries(
      'Nodes whose NodeLocal DNSCache fails',
      'Share of the questions to 169.254.20.10, for an in-cluster name, that fail. ' + worst + ' Pods then wait before they ask the DNS address of the cluster.',
      'percentunit',
      [d.range(q.top(failing('target_kind="node_local", socket="fresh", name_kind="cluster"', node)), d.nodeLegend)]
    ) + d.above('ACKNodeLocalDNSFailing') + d.thresholdLines + d.decimals(1) + d.noValue('no cache') + nodeLink + { alerts:: ['ACKNodeLocalDNSFailing'] },
    d.table(
      'Nodes without the address of NodeLocal DNSCache',
      'Nodes of the chosen clusters where no interface has 169.254.20.10. Where all are here, NodeLocal DNSCache is not installed.',
      [address + ' == 0'],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.value('A', 'Address', 'none') + d.words({ '0': ['missing', 'text'] }),
      ],
      [['Node', false]],
    ) + d.noValue('none') + { alerts:: ['ACKNodeLocalDNSListenerMissing'], h:: 9 },
    d.timeseries(
      'Time of answers by hop',
      'How long the questions take that succeed: the middle one, and one in a hundred takes longer than p99. Between the bounds of the buckets these are estimates.',
      's',
      [
        d.range(quantile(0.99, ['target_kind']), 'p99 {{target_kind}}'),
        d.range(quantile(0.5, ['target_kind']), 'p50 {{target_kind}}'),
      ]
    ) + { alerts:: ['ACKDNSSlow'] },
    d.timeseries(
      'Nodes with slow answers',
      'One in a hundred lookups of an in-cluster name through the DNS address of the cluster takes longer than this. ' + worst,
      's',
      [d.range(q.top(quantile(0.99, node, 'target_kind="cluster_dns", name_kind="cluster"')), d.nodeLegend)]
    ) + d.above('ACKDNSSlow') + d.thresholdLines + nodeLink + { alerts:: ['ACKDNSSlow'] },
    d.table(
      'What is probed',
      'Servers that a node probes, by who they are, where they are least and most, and the longest time between two turns of one. Where least and most differ for long, nodes have different lists of servers.',
      [
        q.min(targets, ['target_kind']),
        q.max(targets, ['target_kind']),
        q.max(interval, ['target_kind']),
      ],
      [
        d.column('target_kind', 'Servers'),
        d.value('A', 'Least', 'none'),
        d.value('B', 'Most', 'none'),
        d.value('C', 'Interval', 's'),
      ],
      [['Servers', false]],
    ) + d.noValue('no probes') + { w:: 24, h:: 7 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-dns.json': d.dashboard(
      'ack-exporter-dns',
      'DNS',
      'Whether lookups from the nodes succeed, how long they take, and on which hop they fail.',
      now + probes,
    ),
  },
}
