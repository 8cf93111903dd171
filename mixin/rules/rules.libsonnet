local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local q = query.new(config),
  local level = '%s_%s' % [config.clusterLabel, config.nodeLabel],

  // Names of recording rules, for alerts and dashboards.
  _rules+:: {
    conntrackUsage: level + ':ack_conntrack_usage:ratio',
  },

  prometheusRules+:: {
    groups+: [
      {
        name: 'ack-exporter-recording',
        rules: [
          {
            record: $._rules.conntrackUsage,
            expr: |||
              %s
              /
              (%s > 0)
            ||| % [q.gauge('ack_conntrack_entries'), q.gauge('ack_conntrack_entries_limit')],
          },
        ],
      },
    ],
  },
}
