local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// What the cloud has in store for the instances that nodes are.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-instance',
      rules: a.steps(
        'ACKSpotInterruptionNotice',
        ['SP-01'],
        // The value is the time, for the text.
        function(_) |||
          %s
          and on (%s) %s == 1
        ||| % [
          q.gauge('ack_spot_termination_timestamp_seconds'),
          q.labels(),
          q.gauge('ack_spot_interruption_notice'),
        ],
        function(_) 'The spot instance of node %s will be reclaimed at {{ $value | humanizeTimestamp }}.' % node,
      ),
    }],
  },
}
