local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// What the cloud controller manager says of the load balancers of Services. A failure is over when a success is later.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,

  // When it was last said of each Service, whose name is one label: namespace and service are also those of a pod.
  local last(matchers) = 'max by (%s, location) (label_join(%s, "location", "/", "namespace", "service"))' % [
    cluster,
    q.select('ack_slb_event_timestamp_seconds', matchers),
  ],
  // Said lately, and not since when it was well.
  local unless(matchers, well, step) = |||
    %(last)s > time() - %(within)d
    unless %(well)s >= %(last)s
  ||| % { last: last(matchers), well: well, within: step.within },
  local failing(causes, step) = unless('cause=~"%s"' % causes, last('cause="none"'), step),
  local services(causes, step) = 'count by (%s) (\n%s\n) >= %d' % [cluster, std.join('\n', ['  ' + line for line in std.split(std.rstripChars(failing(causes, step), '\n'), '\n')]), step.services],
  local at = '{{ $value | humanizeTimestamp }}',
  local service = 'the Service {{ $labels.location }}',

  // The cause is no label of the alert, which would begin anew where it changes. Names of namespaces have no slash.
  local causes = '{{ $parts := reReplaceAll "/.*" "" .Labels.location }}{{ $name := reReplaceAll ".*/" "" .Labels.location }}' +
                 '{{ with printf `max by (cause) (%s)` .Labels.%s $parts $name | query }}' % [
                   q.select('ack_slb_event_timestamp_seconds', '%s=%%q, namespace=%%q, service=%%q, cause=~"%s"' % [cluster, others]),
                   cluster,
                 ] +
                 ' ({{ range $i, $found := sortByLabel "cause" . }}{{ if $i }}, {{ end }}{{ .Labels.cause }}{{ end }}){{ end }}',
  local others = 'throttled|quota|network_conflict|no_addresses|eni_unsupported|port|group_in_use|not_sold|other',

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-slb-events',
      rules:
        a.steps(
          'ACKCloudAccountInArrears',
          ['SP-11'],
          function(step) services('arrears', step),
          function(_) 'Services whose load balancers cannot be set up, because the account is in arrears or its balance is too low: {{ $value }}.',
        ) +
        a.steps(
          'ACKCloudRoleForbidden',
          ['LB-27'],
          function(step) services('forbidden', step),
          function(_) 'Services whose load balancers cannot be set up, because the role of the cluster lacks a right: {{ $value }}.',
        ) +
        a.steps(
          'ACKServiceLoadBalancerNotFound',
          ['LB-17', 'EV-04'],
          function(step) failing('reuse_removed|load_balancer_missing', step),
          function(_) 'The cloud controller manager last said at %s that it does not find the load balancer of %s: it was deleted, or the annotation or the tag by which it is found is gone.' % [at, service],
          summary='The load balancer of a Service is not found',
          impact='Nothing keeps it up to date with the Service any more, if it still exists; else the Service gets no traffic.',
          action='Put the annotation or the tag back. Where the SLB instance was deleted, clear the status of the Service, so that another is made.',
        ) +
        a.steps(
          'ACKServiceTypeChanged',
          ['LB-24'],
          function(step) unless('cause="type_changed"', last('reason="EnsuredLoadBalancer"'), step),
          function(_) 'At %s the type of %s was changed from LoadBalancer to another.' % [at, service],
        ) +
        a.steps(
          'ACKServiceWithoutBackends',
          ['LB-26'],
          // It comes together with a success, so that only one that comes without it says that it is well again.
          function(step) |||
            %(last)s > time() - %(within)d
            unless %(ensured)s - %(last)s >= %(later)d
          ||| % { last: last('cause="no_backends"'), ensured: last('reason="EnsuredLoadBalancer"'), within: step.within, later: step.later },
          function(_) 'At %s the cloud controller manager found no backend for the load balancer of %s.' % [at, service],
        ) +
        a.steps(
          'ACKServiceSyncFailing',
          ['AC-29', 'AC-30', 'LB-46', 'EV-01', 'EV-02', 'EV-03', 'EV-08', 'EV-11', 'EV-12'],
          function(step) failing(others, step),
          function(_) 'The cloud controller manager last failed at %s to synchronise or to delete the load balancer of %s%s.' % [at, service, causes],
          summary='The load balancer of a Service cannot be synchronised or deleted',
        ),
    }],
  },
}
