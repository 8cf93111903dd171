local dashboard = import '../lib/dashboard.libsonnet';

// What is wrong now, the worst first.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(byNode=false),
  local exporters = q.exporters(),
  local worst = 'The %d nodes with the most.' % config.dashboardTop,

  local now = [
    d.stat(
      'Critical alerts',
      'Critical alerts of ack-exporter that fire. A person acts now. "no rules": Prometheus does not evaluate the rules of ack-exporter, and nothing can fire.',
      'none',
      q.alerts('severity="critical"')
    ) + d.any('red') + d.unknown('no rules') + { alerts:: null },
    d.stat(
      'Warning alerts',
      'Warnings of ack-exporter that fire. Somebody looks at them this working day. "no rules": Prometheus does not evaluate the rules of ack-exporter, and nothing can fire.',
      'none',
      q.alerts('severity="warning"')
    ) + d.any('yellow') + d.unknown('no rules') + { alerts:: null },
    d.stat(
      'Nodes watched',
      'Nodes whose exporter answers Prometheus.',
      'none',
      'count(%s == 1)' % exporters
    ) + d.neutral + d.unknown('none'),
    d.stat(
      'Nodes without an exporter',
      'Nodes of Kubernetes, virtual ones aside, that Prometheus knows no exporter of: what goes wrong there goes unseen. "unknown": Prometheus does not scrape kube-state-metrics.',
      'none',
      'count(%(nodes)s unless on (%(labels)s) %(exporters)s) or 0 * count(%(nodes)s)' % { nodes: q.nodes, labels: q.labels(), exporters: exporters }
    ) + d.any('yellow') + d.unknown('unknown') + { alerts:: ['ACKExporterMissing'] },
    d.stat(
      'Exporters down',
      'Nodes whose exporter does not answer Prometheus: what goes wrong there goes unseen.',
      'none',
      q.no(exporters)
    ) + d.any('yellow') + d.unknown('no exporter') + { alerts:: ['ACKExporterDown'] },
    d.stat(
      'Collectors failing',
      'Collectors of all nodes whose last refresh failed: what they would have measured goes unseen. The dashboard about the exporter itself names them.',
      'none',
      q.no(q.gauge('ack_exporter_collector_success', extra=['collector']))
    ) + d.any('yellow') + d.unknown('no exporter') + { alerts:: ['ACKExporterCollectorFailing'] },
    d.alertTable('Alerts that fire', 'Alerts of ack-exporter that fire.', q.alertsSince, [d.openNode]) + { w:: 18, h:: 10 },
    d.text('How to read this', |||
      **Red**: a person acts now. **Yellow**: this working day. Colours and lines are the levels of the alerts.

      An empty list says *none*, which is good news where nodes are watched. *No data* is not: nobody measures. A number
      is missing where it could not be measured; there is no zero for what was not seen.

      From a node in a list you get to what is known of it. The name of an alert opens its runbook: what it means, what
      it breaks, how to find the cause and how to put it right. Every exporter serves the runbooks, here expected at
      [%(runbooks)s](%(runbooks)s).

      Rates need the true scrape interval in the settings of the data source.
    ||| % { runbooks: config.runbookURLPrefix }) + { w:: 6, h:: 10 },
  ],

  local conntrack = [
    d.row('Connection tracking and IPVS'),
    d.bargauge(
      'Fullest connection tracking tables',
      'Share of its connection tracking table that a node uses. ' + worst + ' New connections are dropped, and DNS fails, when a table is full.',
      'percentunit',
      [d.instant(q.sortedTop(q.conntrackUsage), d.nodeLegend)]
    ) + d.above('ACKConntrackTableNearlyFull') + d.decimals(1) + d.unknown('no data') +
    d.linkFromSeries('Open its connection tracking', 'ack-exporter-conntrack-ipvs') +
    { fieldConfig+: { defaults+: { max: 1 } }, alerts:: ['ACKConntrackTableNearlyFull', 'ACKConntrackTableFillingUp'], w:: 12, h:: 9 },
    d.table(
      'Lost to a full table within the last hour',
      'Packets dropped and entries evicted because the connection tracking table was full. ' + worst,
      [q.sortedTop('%s + %s > 0' % [q.lastHour('ack_conntrack_drops_total'), q.lastHour('ack_conntrack_early_drops_total')])],
      [
        d.clusterColumn,
        d.nodeColumn([d.openConntrack]),
        d.value('A', 'Lost', 'none', 0) + d.colored(d.any('yellow')),
      ],
      [['Lost', true]],
    ) + d.noValue('none') + { alerts:: ['ACKConntrackDropping'], w:: 6, h:: 9 },
    d.table(
      'Stale UDP connections of IPVS',
      'UDP connections of IPVS whose destination is gone: the packets on them, DNS above all, are lost. ' + worst,
      [q.sortedTop(q.gauge('ack_ipvs_stale_udp_connections') + ' > 0')],
      [
        d.clusterColumn,
        d.nodeColumn([d.openConntrack]),
        d.value('A', 'Connections', 'none', 0) + d.colored(d.above('ACKIPVSStaleUDPConnections', whole=true)),
      ],
      [['Connections', true]],
    ) + d.noValue('none') + { alerts:: ['ACKIPVSStaleUDPConnections'], w:: 6, h:: 9 },
  ],

  local dns = [
    d.row('DNS'),
    d.table(
      'Nodes where lookups failed within the last hour',
      'Share of the lookups through the DNS address of the cluster that failed, of in-cluster names and of external ones together. ' + worst + ' Single lost packets are normal.',
      local lookups(metric) = q.sum(
        q.lastHour(metric, 'target_kind="cluster_dns", socket="fresh"', ['server', 'protocol', 'name_kind']),
        [config.clusterLabel, config.nodeLabel],
      );
      [q.sortedTop('1 - %s / (%s > 0) > 0' % [lookups('ack_dns_probe_successes_total'), lookups('ack_dns_probe_attempts_total')])],
      [
        d.clusterColumn,
        d.nodeColumn([d.openDNS]),
        d.value('A', 'Failed', 'percentunit', 2),
      ],
      [['Failed', true]],
    ) + d.noValue('none') + { alerts:: ['ACKDNSFailing', 'ACKDNSExternalFailing'], h:: 9 },
    d.table(
      'Failures of DNS probes within the last hour',
      'Lookups that failed, by who was asked and why, on all nodes. cluster_dns is the Service kube-dns, vpc the resolvers of the VPC.',
      [q.sum(
        q.lastHour('ack_dns_probe_failures_total', extra=['target_kind', 'protocol', 'socket', 'name_kind', 'reason']),
        ['target_kind', 'reason'],
      ) + ' > 0'],
      [
        d.column('target_kind', 'Asked'),
        d.column('reason', 'Reason'),
        d.value('A', 'Failed', 'none', 0),
      ],
      [['Failed', true]],
    ) + d.noValue('none') + { alerts:: ['ACKVPCResolverFailing', 'ACKCoreDNSReplicaUnreachable', 'ACKNodeLocalDNSFailing'], h:: 9 },
  ],

  local nodes = [
    d.row('Nodes'),
    d.table(
      'Nodes with unsupported kernel parameters',
      'How many kernel parameters of a node have a value that ACK does not support. ' + worst + ' The dashboard of the node names them.',
      [q.sortedTop('count by (%s) (%s == 0)' % [q.labels(), q.gauge('ack_sysctl_compliant', extra=['name'])])],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.value('A', 'Parameters', 'none') + d.colored(d.any('yellow')),
      ],
      [['Parameters', true]],
    ) + d.noValue('none') + {
      alerts:: d.alertsOf('ack-exporter-sysctl'),
      h:: 9,
    },
    d.table(
      'Events in the kernel log within the last hour',
      'Troubles that kernels wrote to their log. The kernel limits the rate of many lines, so that their number means little: one is enough to look.',
      local events = q.lastHour('ack_kernel_log_events_total', extra=['event']);
      [
        q.sum(events, ['event']) + ' > 0',
        'count by (event) (%s > 0)' % events,
      ],
      [
        d.column('event', 'Event'),
        d.value('A', 'Lines', 'none', 0),
        d.value('B', 'Nodes', 'none'),
      ],
      [['Lines', true]],
    ) + d.noValue('none') + { alerts:: d.alertsOf('ack-exporter-kernel'), h:: 9 },
  ],

  local certificates = [
    d.row('Certificates'),
    d.stat(
      'Certificates expired',
      'Certificates that have expired, those aside of which the manual says that nothing depends on them.',
      'none',
      $._certificates.expired
    ) + d.any('red') + d.unknown('no data') + { alerts:: ['ACKCertificateExpired'], w:: 12, h:: 4 },
    d.stat(
      'Expire within %d days' % $._certificates.days,
      'Certificates that somebody has to renew, and that expire within %d days.' % $._certificates.days,
      'none',
      $._certificates.soon
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKCertificateExpiresSoon'], w:: 12, h:: 4 },
    d.table(
      'Certificates that expire next',
      'The %d certificates that expire next among those that somebody has to renew.' % $._certificates.rows,
      [$._certificates.next],
      [
        if column.field == 'location' then column + d.property('links', [d.openCertificates]) else column
        for column in $._certificates.columns
      ],
      [['Expires', false]],
    ) + d.noValue('no certificate is watched') + { alerts:: ['ACKCertificateExpiresSoon', 'ACKCertificateExpired'], w:: 24, h:: 9 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-overview.json': d.dashboard(
      'ack-exporter-overview',
      'Overview',
      'What is wrong in the clusters now, the worst first.',
      now + conntrack + dns + nodes + certificates,
      byNode=false,
    ),
  },
}
