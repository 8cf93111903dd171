local dashboard = import '../lib/dashboard.libsonnet';

// What is known of a node besides its connections: alerts, dropped packets, kernel parameters, kernel log, its instance.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(),
  local sysctlAlerts = d.alertsOf('ack-exporter-sysctl'),
  local kernelAlerts = d.alertsOf('ack-exporter-kernel'),
  local compliant = q.gauge('ack_sysctl_compliant', extra=['name']),
  local events = q.lastHour('ack_kernel_log_events_total', extra=['event']),
  local overlap = q.gauge('ack_sysctl_local_port_range_nodeport_overlap_ports'),

  local now = [
    d.stat(
      'Alerts',
      'Alerts of ack-exporter that fire on the chosen nodes. "no rules": Prometheus does not evaluate the rules of ack-exporter, and nothing can fire.',
      'none',
      q.alerts()
    ) + d.any('yellow') + d.unknown('no rules') + { alerts:: null },
    d.stat(
      'Fullest table',
      'Share of its connection tracking table that a node uses, where it is highest.',
      'percentunit',
      q.max(q.conntrackUsage)
    ) + d.above('ACKConntrackTableNearlyFull') + d.decimals(1) + { alerts:: ['ACKConntrackTableNearlyFull', 'ACKConntrackTableFillingUp'] },
    d.stat(
      'Stale UDP connections',
      'UDP connections of IPVS whose destination is gone, on the node that has most: the packets on them are lost.',
      'none',
      q.max(q.gauge('ack_ipvs_stale_udp_connections'))
    ) + d.above('ACKIPVSStaleUDPConnections', whole=true) + d.unknown('no IPVS') + { alerts:: ['ACKIPVSStaleUDPConnections'] },
    d.stat(
      'Unsupported values',
      'Kernel parameters of the chosen nodes that have a value which ACK does not support.',
      'none',
      q.no(compliant)
    ) + d.any('yellow') + { alerts:: sysctlAlerts },
    d.stat(
      'Shared NodePorts',
      'Ports of the NodePort range that the kernel may also pick for outgoing connections, on the node that has most: either takes them from the other. 0 is healthy.',
      'none',
      q.max(overlap)
    ) + d.any('yellow') + { alerts:: ['ACKLocalPortRangeUnsupported'] },
    d.stat(
      'Kernel log, last hour',
      'Lines of the kernel log within the last hour that tell of trouble, on all chosen nodes. The kernel limits the rate of many of them: one is enough to look.',
      'none',
      q.sum(events)
    ) + d.any('yellow') + d.decimals(0) + { alerts:: kernelAlerts },
    d.alertTable('Alerts that fire on these nodes', 'Alerts of ack-exporter that fire on the chosen nodes.', q.alertsSince, [d.openConntrack]) + { w:: 24, h:: 7 },
  ],

  local parameters = [
    d.row('Kernel parameters'),
    d.table(
      'Kernel parameters',
      'Parameters that break ACK nodes when changed, with unsupported ones first. A range of ports has two values. rp_filter of an interface counts together with that of all: the kernel takes the larger. A parameter that the kernel does not have has no value.',
      [
        compliant,
        q.gauge('ack_sysctl_value', 'field!="max"', ['name']),
        q.gauge('ack_sysctl_value', 'field="max"', ['name']),
      ],
      [
        d.clusterColumn,
        d.nodeColumn([d.openConntrack]),
        d.column('name', 'Parameter') + d.property('custom.width', 240),
        d.value('B', 'Value', 'none'),
        d.value('C', 'To', 'none'),
        d.value('A', 'Supported') + d.words({ '0': ['no', 'red'], '1': ['yes', 'green'] }),
      ],
      [['Supported', false], ['Parameter', false]],
    ) + { alerts:: sysctlAlerts, w:: 16, h:: 11 },
    d.timeseries(
      'Ports shared with NodePorts',
      'Ports of the NodePort range that the kernel may also pick for outgoing connections. The %d nodes with the most. 0 is healthy.' % config.dashboardTop,
      'none',
      [d.range(q.top(overlap), d.nodeLegend)]
    ) + d.any('yellow') + { alerts:: ['ACKLocalPortRangeUnsupported'], w:: 8, h:: 11 },
  ],

  local share(lost, taken) = '%(lost)s / (%(lost)s + %(taken)s > 0)' % { lost: lost, taken: taken },
  local byNode = [config.clusterLabel, config.nodeLabel],
  local udp(metric, matchers='', extra=[]) = q.sum(q.rate('ack_network_udp_' + metric, matchers, ['family'] + extra), byNode),
  local softnet(metric) = q.rate('ack_network_softnet_' + metric),
  local worst = 'The %d nodes with the most.' % config.dashboardTop,

  local drops = [
    d.row('Dropped packets'),
    d.timeseries(
      'Share of UDP datagrams dropped',
      'Share of the UDP datagrams for sockets of the node, and of pods with hostNetwork such as node-local-dns, for which there was no room. Sockets of other pods are not counted. %s' % worst,
      'percentunit',
      [d.range(
        q.top(share(udp('dropped_datagrams_total', 'reason!="checksum"', ['reason']), udp('received_datagrams_total'))),
        d.nodeLegend
      )]
    ) + d.above('ACKNodeUDPDatagramsDropped') + d.thresholdLines + d.softMax(0.02) + d.noValue('no UDP') + { alerts:: ['ACKNodeUDPDatagramsDropped'] },
    d.timeseries(
      'UDP datagrams lost by reason',
      'UDP datagrams of the chosen nodes that were lost. receive_buffer: the program reads too slowly, or its socket has too little room. memory: that of UDP as a whole is used up. checksum: they came in broken. all: of these and other reasons. not sent: no room on the way out.',
      'pps',
      [
        d.range(q.sum(q.rate('ack_network_udp_dropped_datagrams_total', extra=['family', 'reason']), ['reason']), '{{reason}}'),
        d.range(q.sum(q.rate('ack_network_udp_receive_errors_total', extra=['family'])), 'all'),
        d.range(q.sum(q.rate('ack_network_udp_send_buffer_errors_total', extra=['family'])), 'not sent'),
      ]
    ) + { alerts:: ['ACKNodeUDPDatagramsDropped'] },
    d.timeseries(
      'Share of packets dropped',
      'Share of the packets from devices, for all pods, that a CPU dropped because its backlog was full. %s' % worst,
      'percentunit',
      [d.range(q.top(share(softnet('dropped_packets_total'), softnet('processed_packets_total'))), d.nodeLegend)]
    ) + d.above('ACKNodePacketsDropped') + d.thresholdLines + d.softMax(0.002) + d.noValue('no packets') + { alerts:: ['ACKNodePacketsDropped'] },
    d.timeseries(
      'CPUs that ran out of time for packets',
      'How often a CPU stopped taking in packets with some left. That is no loss yet, and rises before packets are dropped. %s' % worst,
      'cps',
      [d.range(q.top(softnet('squeezed_total')), d.nodeLegend)]
    ) + { alerts:: ['ACKNodePacketsDropped'] },
  ],

  local log = [
    d.row('Kernel log'),
    d.timeseries(
      'Events',
      'Troubles that the kernels of the chosen nodes wrote to their log, each counted at some points of the graph. The kernel limits the rate of many lines: this shows that something happened, not how often.',
      'short',
      [d.range(q.sum(q.increase('ack_kernel_log_events_total', extra=['event']), ['event']) + ' > 0', '{{event}}')]
    ) + d.bars + d.decimals(0) + d.noValue('none') + { alerts:: kernelAlerts, h:: 9 },
    d.table(
      'Events within the last hour',
      'What the kernel of each node wrote to its log within the last hour. Look into the log of the node for the line itself.',
      [events + ' > 0'],
      [
        d.column('event', 'Event'),
        d.clusterColumn,
        d.nodeColumn([d.openConntrack]),
        d.value('A', 'Lines', 'none', 0),
      ],
      [['Lines', true]],
    ) + d.noValue('none') + { alerts:: kernelAlerts, h:: 9 },
    d.timeseries(
      'Records of the kernel log that were not understood',
      'Records that were overwritten before the exporter could read them, and those that are in no known format, on all chosen nodes: events in them are not counted. 0 is healthy.',
      'cps',
      [
        d.range(q.sum(q.rate('ack_kernel_log_lost_records_total')), 'lost'),
        d.range(q.sum(q.rate('ack_kernel_log_malformed_records_total')), 'malformed'),
      ]
    ) + { w:: 24, h:: 7 },
  ],

  // Milliseconds, as Grafana wants times.
  local instances = [
    d.row('Instances'),
    d.table(
      'Spot instances that will be reclaimed',
      'Nodes whose instance the cloud has announced to take back, the first one first. The notice comes about 5 minutes before.',
      ['1000 * %s and on (%s) %s == 1' % [
        q.gauge('ack_spot_termination_timestamp_seconds'),
        q.labels(),
        q.gauge('ack_spot_interruption_notice'),
      ]],
      [
        d.clusterColumn,
        d.nodeColumn([d.openConntrack]),
        d.value('A', 'Reclaimed', 'dateTimeFromNow'),
      ],
      [['Reclaimed', false]],
    ) + d.noValue('none') + { alerts:: ['ACKSpotInterruptionNotice'], w:: 10 },
    d.table(
      'Instances',
      'The ECS instance that each node is, as it is told by its own metadata.',
      [q.gauge('ack_instance_metadata_info', extra=['instance_id', 'instance_type', 'region', 'zone'])],
      [
        d.clusterColumn,
        d.nodeColumn([d.openConntrack]),
        d.column('instance_id', 'Instance'),
        d.column('instance_type', 'Type'),
        d.column('region', 'Region'),
        d.column('zone', 'Zone'),
        d.value('A', 'Known', 'none') + d.words({ '1': ['yes', 'text'] }),
      ],
      [['Node', false]],
    ) + d.noValue('not on ECS') + { w:: 14 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-node.json': d.dashboard(
      'ack-exporter-node',
      'Nodes',
      'What fires on a node, the packets that it drops, its kernel parameters, what its kernel wrote to its log, and when a spot instance will be reclaimed.',
      now + drops + parameters + log + instances,
    ),
  },
}
