local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,

  // Collectors that are switched on and have something to do.
  local collector(metric) = q.gauge('ack_exporter_collector_' + metric, extra=['collector']),
  local onCollector = 'on (%s)' % q.labels(['collector']),

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-self',
      rules:
        a.steps(
          'ACKExporterDown',
          ['EX-01'],
          // A node that is down, or leaves, is not the exporter's fault: others tell of it.
          function(step) |||
            %s == 0
            unless on (%s) %s == 1
            unless on (%s) %s == 0
          ||| % [
            q.exporters(),
            q.labels(),
            q.state('kube_node_spec_unschedulable'),
            q.labels(),
            q.state('kube_node_status_condition', 'condition="Ready", status="true"'),
          ],
          function(step) 'Prometheus has had no answer from the exporter on node %s for %s.' % [node, step['for']],
        ) +
        a.steps(
          'ACKExporterMissing',
          ['EX-02'],
          // Anchored on the list of nodes, so that it also tells when no exporter is left anywhere. A node that is down,
          // such as one that is parked to be started again, needs none.
          function(step) |||
            %(nodes)s == 1
            unless on (%(labels)s) %(exporters)s
            unless on (%(labels)s) %(ready)s == 0
          ||| % {
            labels: q.labels(),
            nodes: q.state('kube_node_info', config.realNodeSelector),
            exporters: q.exporters(),
            ready: q.state('kube_node_status_condition', 'condition="Ready", status="true"'),
          },
          function(step) 'Prometheus knows of no exporter on node %s.' % node,
        ) +
        a.steps(
          'ACKExporterCollectorFailing',
          ['EX-03'],
          function(step) '%s == 0' % collector('success'),
          function(step) 'The collector {{ $labels.collector }} on node %s has failed for %s.' % [node, step['for']],
        ) +
        a.steps(
          'ACKExporterCollectorStale',
          ['EX-04'],
          // Without an interval a collector reads in the scrape, and cannot be stale. One that fails has its own alert.
          // The age counts up to the scrape, not to now: where Prometheus scrapes seldom, it would be that of the scrape.
          local last = 'ack_exporter_collector_last_success_timestamp_seconds';
          function(step) |||
            %(scraped)s
            - %(on)s %(last)s
            > %(on)s %(intervals)d * (%(interval)s > 0)
            and %(on)s %(success)s == 1
            and %(on)s %(applicable)s == 1
          ||| % {
            scraped: 'max by (%s) (timestamp(%s))' % [q.labels(['collector']), q.select(last)],
            last: q.gauge(last, extra=['collector']),
            interval: collector('refresh_interval_seconds'),
            success: collector('success'),
            applicable: collector('applicable'),
            intervals: step.intervals,
            on: onCollector,
          },
          function(step) 'The collector {{ $labels.collector }} on node %s last succeeded {{ $value | humanizeDuration }} ago.' % node,
        ) +
        a.steps(
          'ACKExporterWrongNetworkNamespace',
          ['EX-05'],
          function(step) '%s == 0' % q.gauge('ack_exporter_host_network_namespace'),
          function(step) 'The exporter on node %s runs in a network namespace of its own.' % node,
        ) +
        a.steps(
          'ACKExporterNoLeader',
          ['EX-06'],
          // Where there never was a replica, the role is not in use.
          function(step) |||
            %(leader)s == 0
            or on (%(cluster)s)
            max by (%(cluster)s) (last_over_time(%(series)s[%(window)s])) * 0
            unless on (%(cluster)s) %(leader)s
          ||| % {
            leader: q.ofCluster('ack_exporter_leader'),
            series: q.select('ack_exporter_leader'),
            cluster: config.clusterLabel,
            window: step.window,
          },
          function(step) 'No replica of the cluster role of the exporter has acted for %s.' % step['for'],
        ),
    }],
  },
}
