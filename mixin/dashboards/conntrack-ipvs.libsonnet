local dashboard = import '../lib/dashboard.libsonnet';

// Connection tracking and IPVS of nodes.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(),
  local worst = 'The %d nodes with the most.' % config.dashboardTop,
  local on = 'on (%s)' % q.labels(),
  local nodeLink = d.linkFromSeries('Open this node', 'ack-exporter-node'),

  // How one number compares on the chosen nodes.
  local spread(gauge, by) = [q.min(gauge, by), q.max(gauge, by)],

  local fill = [
    d.row('Connection tracking: how full, and of what'),
    d.timeseries(
      'Usage',
      'Share of its connection tracking table that a node uses. ' + worst + ' New connections are dropped, and DNS fails, when a table is full.',
      'percentunit',
      [d.range(q.top(q.conntrackUsage), d.nodeLegend)]
    ) + d.above('ACKConntrackTableNearlyFull') + d.thresholdLines + d.decimals(1) + nodeLink +
    d.softMax(1) + { alerts:: ['ACKConntrackTableNearlyFull', 'ACKConntrackTableFillingUp'] },
    d.timeseries(
      'Entries by protocol and state',
      'What fills the tables of the chosen nodes: the %d largest classes. Much of tcp time_wait: many short connections. tcp syn_sent: peers that do not answer. udp unreplied: lost, or one-way, packets. Missing where the exporter may not list the table.' % config.dashboardTop,
      'short',
      [d.range(q.top(q.sum(q.gauge('ack_conntrack_table_entries', extra=['protocol', 'state']), ['protocol', 'state']) + ' > 0'), '{{protocol}} {{state}}')]
    ) + d.stacked + d.noValue('no data') + { alerts:: ['ACKConntrackTableNearlyFull'] },
    d.timeseries(
      'Share of DNS',
      'Share of the entries that are DNS. ' + worst + ' Each lookup leaves an entry behind; many of them take the table from the applications. The alert waits until the table is also filled to some extent.',
      'percentunit',
      [d.range(q.top('%s / (%s > 0)' % [
        q.sum(q.gauge('ack_conntrack_dns_entries', extra=['protocol']), [config.clusterLabel, config.nodeLabel]),
        q.gauge('ack_conntrack_entries'),
      ]), d.nodeLegend)]
    ) + d.above('ACKConntrackDNSDominates') + d.thresholdLines + d.decimals(1) + d.softMax(1) + nodeLink + { alerts:: ['ACKConntrackDNSDominates'] },
    d.timeseries(
      'Lost to a full table',
      'Packets dropped because the table was full and nothing could be evicted, and entries evicted to make room. ' + worst + ' A full table evicts first, silently, and drops later. Anything above 0 is bad.',
      'cps',
      [
        d.range(q.top(q.rate('ack_conntrack_drops_total')), 'dropped ' + d.nodeLegend),
        d.range(q.top(q.rate('ack_conntrack_early_drops_total')), 'evicted ' + d.nodeLegend),
      ]
    ) + nodeLink + { alerts:: ['ACKConntrackDropping'] },
  ],

  local health = [
    d.row('Connection tracking: insertions, size and timeouts'),
    d.timeseries(
      'Insertions and look-ups that went wrong',
      'All chosen nodes together. Failed: the packet was dropped. Chain too long, which also counts as failed: the hash table has too few buckets. Race settled: two packets of one flow raced and none was lost. Look-up again: the table was being resized.',
      'cps',
      [
        d.range(q.sum(q.rate('ack_conntrack_insert_failed_total')), 'insertion failed'),
        d.range(q.sum(q.rate('ack_conntrack_chain_too_long_total')), 'chain too long'),
        d.range(q.sum(q.rate('ack_conntrack_clash_resolved_total')), 'race settled'),
        d.range(q.sum(q.rate('ack_conntrack_search_restarts_total')), 'look-up again'),
      ]
    ) + { alerts:: ['ACKConntrackInsertRaces', 'ACKConntrackHashTableSmall'] },
    d.timeseries(
      'Packets lost to races',
      'Insertions that failed for another reason than a long chain: two packets of one flow raced, and one was dropped. ' + worst + ' Typical are DNS clients that ask for A and AAAA at once: they wait 5 s.',
      'pps',
      local failed = q.rate('ack_conntrack_insert_failed_total');
      [d.range(q.top('%s - %s (%s or %s * 0)' % [failed, on, q.rate('ack_conntrack_chain_too_long_total'), failed]), d.nodeLegend)]
    ) + d.above('ACKConntrackInsertRaces') + d.thresholdLines + d.decimals(2) + nodeLink + { alerts:: ['ACKConntrackInsertRaces'] },
    d.timeseries(
      'Packets that could not be tracked',
      'Packets that fit no connection and are no beginning of one. ' + worst + ' Some are normal; many can be asymmetric routes or late answers.',
      'pps',
      [d.range(q.top(q.rate('ack_conntrack_invalid_total')), d.nodeLegend)]
    ) + nodeLink,
    d.timeseries(
      'Entries for each hash bucket',
      'Length of the average hash chain. ' + worst + ' Above 1 look-ups get slow, and insertions may be refused.',
      'none',
      [d.range(q.top('%s / (%s > 0)' % [q.gauge('ack_conntrack_entries'), q.gauge('ack_conntrack_buckets')]), d.nodeLegend)]
    ) + d.decimals(2) + nodeLink + { alerts:: ['ACKConntrackHashTableSmall'] },
    d.table(
      'Size of the table',
      'Limit and hash buckets of each node, the lowest limit for a CPU first. kube-proxy sets the limit to conntrack.maxPerCore times the CPUs; ACK recommends %d for each.' % config.alerts.ACKConntrackLimitLow.warning.below,
      local limit = q.gauge('ack_conntrack_entries_limit');
      [
        '%s / (%s > 0)' % [limit, q.gauge('ack_conntrack_cpus')],
        limit,
        q.gauge('ack_conntrack_cpus'),
        q.gauge('ack_conntrack_entries'),
        q.gauge('ack_conntrack_buckets'),
      ],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.value('A', 'Limit by CPU', 'none', 0) + d.colored(d.below('ACKConntrackLimitLow')),
        d.value('B', 'Limit', 'none'),
        d.value('C', 'CPUs', 'none'),
        d.value('D', 'Entries', 'none'),
        d.value('E', 'Buckets', 'none'),
      ],
      [['Limit by CPU', false]],
    ) + { alerts:: ['ACKConntrackLimitLow'], w:: 16, h:: 10 },
    d.table(
      'Timeouts',
      'How long an entry without a packet stays, by protocol and state, on the chosen nodes. Long ones keep dead entries in the table. Where shortest and longest differ, nodes are set up in different ways.',
      spread(q.gauge('ack_conntrack_timeout_seconds', extra=['protocol', 'state']), ['protocol', 'state']),
      [
        d.column('protocol', 'Protocol'),
        d.column('state', 'State'),
        d.value('A', 'Shortest', 's'),
        d.value('B', 'Longest', 's'),
      ],
      [['Protocol', false]],
    ) + { alerts:: ['ACKConntrackUDPStreamTimeoutLong'], w:: 8, h:: 10 },
    d.stat(
      'Longest UDP stream timeout',
      'How long the entry of a UDP flow that has ended stays, where it is longest. Above %d s the table holds more entries than it has to.' % config.alerts.ACKConntrackUDPStreamTimeoutLong.warning.above,
      's',
      q.max(q.gauge('ack_conntrack_timeout_seconds', 'protocol="udp", state="stream"'))
    ) + d.above('ACKConntrackUDPStreamTimeoutLong', whole=true) + { alerts:: ['ACKConntrackUDPStreamTimeoutLong'], w:: 6 },
    d.stat(
      'Tables that were sampled',
      'Nodes whose last pass over the connection tracking table stopped at its bound, so that the classes are estimates. That is no fault, and their error is small.',
      'none',
      q.no(q.gauge('ack_conntrack_table_complete'))
    ) + d.neutral + { w:: 6 },
    d.stat(
      'Entries that the passes visited',
      'Entries of all chosen nodes that the last pass over each table has seen.',
      'short',
      q.sum(q.gauge('ack_conntrack_table_visited_entries'))
    ) + d.neutral + { w:: 6 },
    d.stat(
      'Nodes without classes',
      'Nodes that show their usage, but not what fills the table: the collector conntrack_table is off there, or may not list it.',
      'none',
      local shown = q.gauge('ack_conntrack_entries');
      'count(%s unless %s %s) or 0 * count(%s)' % [shown, on, q.gauge('ack_conntrack_table_complete'), shown]
    ) + d.neutral + { w:: 6 },
  ],

  local timeout(protocol) = q.gauge('ack_ipvs_timeout_seconds', 'protocol="%s"' % protocol),
  local recommendedUDP = config.alerts.ACKIPVSUDPTimeoutLong.warning.above,

  local ipvs = [
    d.row('IPVS: missing where kube-proxy does not use it'),
    d.timeseries(
      'Stale UDP connections',
      'UDP connections whose destination is gone. ' + worst + ' Packets on them, DNS above all, are lost until they expire; a client that keeps sending from the same port keeps one alive for ever. 0 is healthy.',
      'short',
      [d.range(q.top(q.gauge('ack_ipvs_stale_udp_connections')), d.nodeLegend)]
    ) + d.above('ACKIPVSStaleUDPConnections', whole=true) + d.noValue('no IPVS') + nodeLink + { alerts:: ['ACKIPVSStaleUDPConnections'] },
    d.table(
      'Timeouts of IPVS',
      'How long the kernel keeps an idle connection, by protocol, with what ACK recommends. For as long as the UDP one, packets to a backend that is gone are lost; %d s are right where no Service of the user has UDP ports.' % recommendedUDP,
      [timeout('udp'), timeout('tcp'), timeout('tcp_fin')],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.value('A', 'UDP (%d s)' % recommendedUDP, 's') + d.colored(d.above('ACKIPVSUDPTimeoutLong', whole=true)),
        d.value('B', 'TCP (900 s)', 's'),
        d.value('C', 'TCP FIN (120 s)', 's'),
      ],
      [['UDP (%d s)' % recommendedUDP, true]],
    ) + d.noValue('no IPVS') + { alerts:: ['ACKIPVSUDPTimeoutLong'], h:: 9 },
    d.timeseries(
      'Connections by protocol and state',
      'Connections of the chosen nodes as their destinations count them. UDP ones are always inactive. Those of removed destinations are not among them.',
      'short',
      [d.range(q.sum(q.gauge('ack_ipvs_connections', extra=['protocol', 'state']), ['protocol', 'state']), '{{protocol}} {{state}}')]
    ) + d.stacked + d.noValue('no IPVS'),
    d.timeseries(
      'Services',
      'Virtual services on the node that has most, and on the one that has least. All nodes should have the same: where they differ for long, kube-proxy of a node is behind.',
      'short',
      local services = spread(q.gauge('ack_ipvs_services', extra=['protocol']), ['protocol']);
      [d.range(services[1], '{{protocol}} most'), d.range(services[0], '{{protocol}} least')]
    ) + d.noValue('no IPVS'),
    d.timeseries(
      'Destinations',
      'Backends of virtual services on the node that has most, and on the one that has least. Where they differ for long, kube-proxy of a node is behind, or Services keep their traffic on the node.',
      'short',
      local destinations = spread(q.gauge('ack_ipvs_destinations', extra=['protocol']), ['protocol']);
      [d.range(destinations[1], '{{protocol}} most'), d.range(destinations[0], '{{protocol}} least')]
    ) + d.noValue('no IPVS'),
    d.bargauge(
      'Services by scheduler',
      'Virtual services by scheduler, on the node that has most of them. kube-proxy gives all Services one scheduler.',
      'short',
      [d.instant(q.max(q.gauge('ack_ipvs_scheduler_services', extra=['scheduler']), ['scheduler']), '{{scheduler}}')]
    ) + d.neutral + d.unknown('no IPVS') + { h:: 9 },
    d.table(
      'Kernel parameters of IPVS',
      'Parameters under net/ipv4/vs on the chosen nodes. expire_nodest_conn 1 lets connections of removed destinations end at their next packet. Where lowest and highest differ, nodes are set up in different ways.',
      spread(q.gauge('ack_ipvs_sysctl', extra=['name']), ['name']),
      [
        d.column('name', 'Parameter'),
        d.value('A', 'Lowest', 'none'),
        d.value('B', 'Highest', 'none'),
      ],
      [['Parameter', false]],
    ) + d.noValue('no IPVS'),
    d.stat(
      'Lists that were cut short',
      'Nodes whose last pass over the connections of IPVS stopped at its bound: their stale connections are at least so many.',
      'none',
      q.no(q.gauge('ack_ipvs_table_complete'))
    ) + d.neutral + d.unknown('no IPVS') + { w:: 6, h:: 8 },
    d.stat(
      'Connections that the passes visited',
      'Connections of all protocols on the chosen nodes that the last pass over each list has seen.',
      'short',
      q.sum(q.gauge('ack_ipvs_table_visited_connections'))
    ) + d.neutral + d.unknown('no IPVS') + { w:: 6, h:: 8 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-conntrack-ipvs.json': d.dashboard(
      'ack-exporter-conntrack-ipvs',
      'Connection tracking and IPVS',
      'How full connection tracking is and of what, what it lost, and whether IPVS sends packets to backends that are gone.',
      fill + health + ipvs,
    ),
  },
}
