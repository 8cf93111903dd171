local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,
  local onCluster = 'on (%s)' % config.clusterLabel,

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-ipvs',
      rules:
        a.steps(
          'ACKIPVSUDPTimeoutLong',
          ['KP-01', 'KP-03'],
          // A node cannot tell whose its UDP services are; the cluster role can.
          function(step) |||
            %s > %d
            unless on (%s) %s > %d
            unless %s %s > 0
            unless %s %s
          ||| % [
            q.gauge('ack_ipvs_timeout_seconds', 'protocol="udp"'),
            step.above,
            q.labels(),
            q.gauge('ack_ipvs_services', 'protocol="udp"'),
            step.systemUDPServices,
            onCluster,
            q.ofCluster('ack_kubeproxy_udp_services'),
            onCluster,
            q.pastIPVS,
          ],
          function(step) 'Node %s keeps idle UDP connections of IPVS for {{ $value | humanizeDuration }}; ACK recommends %d s where no Service of yours has UDP ports.' % [node, step.above] +
                         $._texts.udpTimeoutWritten(step.above),
        ) +
        a.steps(
          'ACKIPVSStaleUDPConnections',
          ['KP-06'],
          function(step) '%s > %d' % [q.gauge('ack_ipvs_stale_udp_connections'), step.above],
          function(step) 'Node %s has {{ $value | humanize }} UDP connections to backends that are gone; their packets are lost.' % node,
        ),
    }],
  },
}
