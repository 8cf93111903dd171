local dashboard = import '../lib/dashboard.libsonnet';

// Whether the exporter itself does its work, and what it costs.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(),
  local worst = 'The %d nodes with the most.' % config.dashboardTop,
  local up = q.exporters(),
  local collector(metric) = q.gauge('ack_exporter_collector_' + metric, extra=['collector']),
  local nodeLink = d.linkFromSeries('Open this node', 'ack-exporter-node'),

  local now = [
    d.stat(
      'Exporters up',
      'Nodes whose exporter answers Prometheus.',
      'none',
      q.sum(up)
    ) + d.neutral + d.unknown('none'),
    d.stat(
      'Exporters down',
      'Nodes whose exporter does not answer Prometheus.',
      'none',
      q.no(up)
    ) + d.any('yellow') + d.unknown('no exporter') + { alerts:: ['ACKExporterDown', 'ACKExporterMissing'] },
    d.stat(
      'Collectors failing',
      'Collectors whose last refresh failed: what they would have measured goes unseen.',
      'none',
      q.no(collector('success'))
    ) + d.any('yellow') + d.unknown('no exporter') + { alerts:: ['ACKExporterCollectorFailing'] },
    d.stat(
      'Outside the host network',
      'Exporters in a network namespace of their own: kernel parameters, timeouts and classes of connections cannot be seen from there. "unknown": process 1 of the host cannot be seen either.',
      'none',
      q.no(q.gauge('ack_exporter_host_network_namespace'))
    ) + d.any('yellow') + d.unknown('unknown') + { alerts:: ['ACKExporterWrongNetworkNamespace'] },
    d.stat(
      'Slowest scrape',
      'Time that Prometheus needed for the slowest scrape. Normal are some milliseconds.',
      's',
      q.max(q.gauge('scrape_duration_seconds'))
    ) + d.neutral,
    d.stat(
      'Series of a node',
      'Series that one exporter exposes, where they are most. Managed services bill by them.',
      'none',
      q.max(q.gauge('scrape_samples_scraped'))
    ) + d.neutral,
  ],

  local collectors = [
    d.row('Collectors'),
    d.table(
      'Collectors',
      'State of each collector on each node, failing ones first. One that does not apply finds nothing to measure on its node, such as IPVS where kube-proxy does not use it; that is no fault. Without an interval it reads in the scrape.',
      [
        collector('success'),
        collector('applicable'),
        '1000 * (%s > 0)' % collector('last_success_timestamp_seconds'),
        collector('refresh_interval_seconds'),
        collector('duration_seconds'),
      ],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.column('collector', 'Collector'),
        d.value('A', 'Succeeds') + d.words({ '0': ['no', 'red'], '1': ['yes', 'green'] }),
        d.value('B', 'Applies') + d.words({ '0': ['no', 'text'], '1': ['yes', 'text'] }),
        d.value('C', 'Last success', 'dateTimeFromNow') + d.property('noValue', 'never'),
        d.value('D', 'Interval', 's'),
        d.value('E', 'Duration', 's'),
      ],
      [['Succeeds', false], ['Collector', false]],
    ) + d.noValue('no exporter') + { alerts:: ['ACKExporterCollectorFailing', 'ACKExporterCollectorStale'], w:: 24, h:: 11 },
    d.timeseries(
      'Errors by reason',
      'Refreshes that failed, or succeeded in part only, on all chosen nodes. permission: a capability is missing. unavailable: the source is out of sight. timeout: it hangs or is slow. The log of the exporter says more.',
      'cps',
      [d.range(q.sum(q.rate('ack_exporter_collector_errors_total', extra=['collector', 'reason']), ['collector', 'reason']) + ' > 0', '{{collector}} {{reason}}')]
    ) + d.noValue('none') + { alerts:: ['ACKExporterCollectorFailing'] },
    d.timeseries(
      'Duration of a refresh',
      'How long the last refresh of each collector took, on the node where it took longest. Passes over tables rest in between and may take seconds.',
      's',
      [d.range(q.max(collector('duration_seconds'), ['collector']), '{{collector}}')]
    ),
    d.timeseries(
      'CPU of passes over tables',
      'Share of one CPU that passes over the connection tracking table and the connections of IPVS take. ' + worst + ' The exporter keeps each below 0.8 % by resting longer.',
      'percentunit',
      [
        d.range(q.top(q.rate('ack_conntrack_table_cpu_seconds_total')), 'conntrack_table ' + d.nodeLegend),
        d.range(q.top(q.rate('ack_ipvs_table_cpu_seconds_total')), 'ipvs_table ' + d.nodeLegend),
      ]
    ) + d.decimals(2) + d.softMax(0.01) + nodeLink,
    d.timeseries(
      'Longest interval in force',
      'Pause between two refreshes in the background, on the node where it is longest. 0: the collector reads in the scrape. A pass that costs much makes it longer.',
      's',
      [d.range(q.max(collector('refresh_interval_seconds'), ['collector']), '{{collector}}')]
    ) + { alerts:: ['ACKExporterCollectorStale'] },
    d.timeseries(
      'Leaders of the cluster role',
      'Replicas of the cluster role that act, in each cluster. One is right, two are for less than a minute after a change. 0: nobody knows who leads, mostly because the API server does not answer.',
      'short',
      [d.range(q.sum(q.gauge('ack_exporter_leader'), [config.clusterLabel]), '{{%s}}' % config.clusterLabel)]
    ) + d.noValue('no cluster role') + { w:: 24, h:: 7, alerts:: ['ACKExporterNoLeader'] },
  ],

  local cost = [
    d.row('Scrapes and resources'),
    d.timeseries(
      'Duration of a scrape',
      'Time that Prometheus needed for a scrape. ' + worst + ' Normal are some milliseconds; seconds mean a collector that hangs, or a node without CPU to spare.',
      's',
      [d.range(q.top(q.gauge('scrape_duration_seconds')), d.nodeLegend)]
    ) + nodeLink,
    d.timeseries(
      'Series of an exporter',
      'Series in a scrape. ' + worst,
      'short',
      [d.range(q.top(q.gauge('scrape_samples_scraped')), d.nodeLegend)]
    ) + nodeLink,
    d.timeseries(
      'CPU',
      'Share of one CPU that the exporter takes. ' + worst + ' Normal is less than 1 %.',
      'percentunit',
      [d.range(q.top(q.rate('process_cpu_seconds_total')), d.nodeLegend)]
    ) + d.decimals(2) + nodeLink,
    d.timeseries(
      'Memory',
      'Resident memory of the exporter. ' + worst + ' Normal is less than 30 MiB, whatever the node does.',
      'bytes',
      [d.range(q.top(q.gauge('process_resident_memory_bytes')), d.nodeLegend)]
    ) + nodeLink,
    d.timeseries(
      'Goroutines',
      'Goroutines of the exporter. ' + worst + ' A number that only grows is a leak.',
      'short',
      [d.range(q.top(q.gauge('go_goroutines')), d.nodeLegend)]
    ) + nodeLink,
    d.table(
      'Versions',
      'Versions of the exporter in use. More than one outside a roll-out: some nodes were left behind.',
      ['count by (version, revision, goversion) (%s)' % q.gauge('ack_exporter_build_info', extra=['version', 'revision', 'goversion'])],
      [
        d.column('version', 'Version'),
        d.column('revision', 'Revision'),
        d.column('goversion', 'Go'),
        d.value('A', 'Nodes', 'none'),
      ],
      [['Nodes', true]],
    ) + d.noValue('no exporter') + { h:: 9 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-health.json': d.dashboard(
      'ack-exporter-health',
      'Exporter',
      'Whether ack-exporter itself does its work, and what it costs.',
      now + collectors + cost,
    ),
  },
}
