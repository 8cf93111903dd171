local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// Whether the exporter gets answers from the API of the cloud.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,

  // Each replica counts its own.
  local requests(step, by, matchers='') = 'sum by (%s) (increase(%s[%s]))' % [
    std.join(', ', [cluster] + by),
    q.select('ack_exporter_cloud_requests_total', matchers),
    step.window,
  ],

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-cloud',
      rules:
        a.steps(
          'ACKExporterCloudForbidden',
          ['EX-07', 'LB-27'],
          function(step) requests(step, ['product'], 'result="forbidden"') + ' > 0',
          function(step) 'The API of {{ $labels.product }} has refused the credentials of the exporter within the last %s.' % step.window,
        ) +
        a.steps(
          'ACKExporterCloudLimited',
          ['EX-08'],
          function(step) |||
            %s
            / on (%s) group_left () %s
            > %g
          ||| % [requests(step, ['result'], 'result=~"budget|throttled"'), cluster, requests(step, []), step.above],
          function(step) '{{ $value | humanizePercentage }} of the requests to the API of the cloud were {{ if eq $labels.result "budget" }}not sent, because the budget of the exporter was used up{{ else }}throttled{{ end }} within the last %s.' % step.window,
        ),
    }],
  },
}
