local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// How much room the cloud's network has left for the cluster.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,

  // What all vSwitches of this use have in a zone, whose pods and nodes get their addresses from any of them.
  local inZone(metric, use) = 'sum by (%s, zone) (%s)' % [cluster, q.ofCluster('ack_vpc_vswitch_' + metric, 'use="%s"' % use, ['zone', 'vswitch_id'])],
  local free(use) = function(step) |||
    %s
    / %s
    < %g
  ||| % [inZone('available_addresses', use), inZone('addresses', use), step.below],
  local text(of) = function(_) 'Of the addresses that the vSwitches of %s have in zone {{ $labels.zone }}, {{ $value | humanizePercentage }} are free.' % of,

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-vpc',
      rules:
        a.steps('ACKPodAddressesShort', ['VP-01'], free('pod'), text('pods'), summary='The vSwitches of pods run out of addresses in a zone') +
        a.steps('ACKNodeAddressesShort', ['VP-27'], free('node'), text('nodes')) +
        a.steps(
          'ACKVSwitchUnknown',
          ['VP-01', 'VP-27'],
          function(_) q.ofCluster('ack_vpc_vswitches_unknown', extra=['use']) + ' > 0',
          function(_) 'vSwitches of {{ $labels.use }}s of which the API of the cloud does not tell how many addresses are free: {{ $value }}.',
          summary='The API does not tell the free addresses of a vSwitch that the cluster uses',
          impact='Where the vSwitch is gone or misspelt in eni-config, pods get no addresses from it; else nobody is told when it runs out of them.',
          action='Compare eni-config with the vSwitches of the VPC; check that the exporter may describe them all.',
        ) +
        a.steps(
          'ACKRouteTableFillingUp',
          ['VP-19'],
          function(step) |||
            %(limit)s
            - on (%(cluster)s) group_right () %(entries)s
            and on (%(cluster)s, route_table_id) (
              %(entries)s / on (%(cluster)s) group_left () %(limit)s > %(above)g
              or on (%(cluster)s, route_table_id) %(headroom)s < %(nodes)d
            )
          ||| % {
            cluster: cluster,
            limit: q.ofCluster('ack_vpc_route_entries_limit'),
            entries: q.ofCluster('ack_vpc_route_entries', extra=['route_table_id']),
            headroom: q.ofCluster('ack_vpc_headroom_nodes', extra=['route_table_id']),
            above: step.above,
            nodes: step.nodes,
          },
          function(_) 'The route table {{ $labels.route_table_id }} has room for {{ $value }} more custom entries.',
        ),
    }],
  },
}
