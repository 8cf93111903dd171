local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,
  local broken(name) = '%s == 0' % q.gauge('ack_sysctl_compliant', 'name%s' % name),

  // Names the parameters that are not as they should be.
  local parameters(name) =
    '{{ range printf `max by (name) (%s) == 0` .Labels.%s .Labels.%s | query | sortByLabel "name" }} {{ .Labels.name }}{{ end }}' % [
      q.select('ack_sysctl_compliant', 'name%s, %s=%%q, %s=%%q' % [name, config.clusterLabel, config.nodeLabel]),
      config.clusterLabel,
      config.nodeLabel,
    ],

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-sysctl',
      rules:
        a.steps(
          'ACKIPForwardingOff',
          ['KS-01'],
          function(step) broken('="net.ipv4.ip_forward"'),
          function(step) 'net.ipv4.ip_forward of node %s is not 1.' % node,
        ) +
        a.steps(
          'ACKReversePathFilterOn',
          ['KS-02', 'KS-03'],
          local names = '=~"net[.]ipv4[.]conf[.].+[.]rp_filter"';
          function(step) 'count by (%s) (%s == 0)' % [q.labels(), q.gauge('ack_sysctl_compliant', 'name' + names, ['name'])],
          function(step) 'On node %s these are not 0:%s.' % [node, parameters('=~"net[.]ipv4[.]conf[.].+[.]rp_filter"')],
        ) +
        a.steps(
          'ACKTCPTimeWaitReuseOn',
          ['KS-04'],
          function(step) broken('="net.ipv4.tcp_tw_reuse"'),
          function(step) 'net.ipv4.tcp_tw_reuse of node %s is 1.' % node,
        ) +
        a.steps(
          'ACKTCPTimeWaitRecycleOn',
          ['KS-05'],
          function(step) broken('="net.ipv4.tcp_tw_recycle"'),
          function(step) 'net.ipv4.tcp_tw_recycle of node %s is 1.' % node,
        ) +
        a.steps(
          'ACKLocalPortRangeUnsupported',
          ['KS-06'],
          function(step) |||
            %s
            or
            %s > 0
          ||| % [
            broken('="net.ipv4.ip_local_port_range"'),
            q.gauge('ack_sysctl_local_port_range_nodeport_overlap_ports'),
          ],
          function(step) 'net.ipv4.ip_local_port_range of node %s is not "32768 60999", or shares ports with the NodePorts of the cluster.' % node,
        ),
    }],
  },
}
