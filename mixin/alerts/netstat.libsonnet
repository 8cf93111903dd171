local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,
  local growth(metric, matchers='', extra=[]) = q.rate(metric, config.rateWindow, matchers, extra),
  local sum(expr) = 'sum by (%s) (%s)' % [q.labels(), expr],

  // The share that was lost, where it is large and not a handful.
  local lost(dropped, taken, step) = |||
    %(dropped)s
    /
    (%(dropped)s + %(taken)s)
    > %(above)g
    and on (%(labels)s) %(dropped)s > %(rate)g
  ||| % { dropped: dropped, taken: taken, labels: q.labels(), above: step.above, rate: step.rate },

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-netstat',
      rules:
        a.steps(
          'ACKNodeUDPDatagramsDropped',
          ['DN-27'],
          // A wrong checksum is no sign of a busy node.
          function(step) lost(
            sum(growth('ack_network_udp_dropped_datagrams_total', 'reason!="checksum"', ['family', 'reason'])),
            sum(growth('ack_network_udp_received_datagrams_total', extra=['family'])),
            step
          ),
          function(step) 'Node %s drops {{ $value | humanizePercentage }} of the UDP datagrams for its own sockets and those of pods with hostNetwork: there is no room for them.' % node,
        ) +
        a.steps(
          'ACKNodePacketsDropped',
          ['DN-27'],
          function(step) lost(
            growth('ack_network_softnet_dropped_packets_total'),
            growth('ack_network_softnet_processed_packets_total'),
            step
          ),
          function(step) 'Node %s drops {{ $value | humanizePercentage }} of the packets that arrive, for its pods too: the backlog of a CPU is full.' % node,
          summary='The CPUs of a node are too busy to take in its packets',
          impact='Lookups from the node fail now and then at the peak, connections stall and are slow.',
          action='Find what keeps the CPUs busy, spread the interrupts of the network cards, or use a bigger node.',
        ),
    }],
  },
}
