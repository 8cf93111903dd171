local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// Quotas of classic load balancers. The documentation counts some of them in several ways: a warning takes the worst of
// them. What is certain is so in all of them, and by a limit that somebody told, not by the documented default.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,
  local by(labels) = std.join(', ', [cluster] + labels),

  local certain(step) = std.objectHas(step, 'certain'),
  // The share of a quota that is used, a series for each value of labels.
  local share(step, metric, of, labels=[]) = |||
    %(operator)s by (%(by)s) (
      %(used)s
      / on (%(cluster)s) group_left
      %(limit)s
    )
  ||| % {
    operator: if certain(step) then 'min' else 'max',
    by: by(labels),
    used: q.ofCluster(metric, extra=labels + ['reading']),
    cluster: cluster,
    limit: q.ofCluster('ack_slb_%s_limit' % of, if certain(step) then 'source!="default"' else ''),
  },
  local used(step, of, labels=[]) = '%s>= %g' % [share(step, 'ack_slb_' + of, of, labels), step.above],

  // Texts.
  local percent = '{{ $value | humanizePercentage }}',
  local balancer = 'SLB instance {{ $labels.load_balancer_id }}',
  // The answer of Prometheus. The first %q in expr is the cluster of the alert, others are labels.
  local asked(expr, text, labels='') = '{{ with printf `%s` .Labels.%s%s | query }}%s{{ end }}' % [expr, cluster, labels, text],
  local services = asked(
    'max by (namespace, service) (%s)' % q.select('ack_slb_info', cluster + '=%q, load_balancer_id=%q, service!=""'),
    ' Services:{{ range $i, $s := sortByLabel "service" . }}{{ if lt $i 5 }}{{ if $i }},{{ end }} {{ $s.Labels.namespace }}/{{ $s.Labels.service }}{{ end }}{{ end }}.',
    ' .Labels.load_balancer_id'
  ),
  local assumed(of) = asked(
    q.select('ack_slb_%s_limit' % of, cluster + '=%q, source="default"'),
    ' Quota Center did not tell the limit; it is the documented default.'
  ),

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-slb',
      rules:
        a.steps(
          'ACKSLBInstancesNearQuota',
          ['LB-01', 'LB-06'],
          function(step) used(step, 'instances'),
          function(step) 'The region has %s of the SLB instances that the account may have.' % percent + assumed('instances'),
        ) +
        a.steps(
          'ACKSLBBackendAttachmentsNearQuota',
          ['LB-02', 'LB-06'],
          // A Service adds all nodes at once: one alert for all of them.
          function(step) 'max by (%s) (\n%s)\n>= %g' % [
            cluster,
            std.join('', ['  ' + line + '\n' for line in std.split(std.rstripChars(share(step, 'ack_slb_backend_attachments', 'backend_attachments', ['instance_id']), '\n'), '\n')]),
            step.above,
          ],
          function(step) 'An ECS instance is a backend of SLB %s as often as it may be. The most:%s.' % [percent, asked(
            'topk(3, max by (instance_id) (%s))' % q.select('ack_slb_backend_attachments', cluster + '=%q'),
            '{{ range $i, $s := sortByLabel "instance_id" . }}{{ if $i }},{{ end }} {{ $s.Labels.instance_id }} ({{ $s.Value | humanize }}){{ end }}'
          )] + assumed('backend_attachments'),
        ) +
        a.steps(
          'ACKSLBBackendServersNearQuota',
          ['LB-03'],
          function(step) used(step, 'backend_servers', ['load_balancer_id']),
          function(step) '%s has %s of the backends that it may have.' % [balancer, percent] + services + assumed('backend_servers'),
        ) +
        a.steps(
          'ACKSLBListenersNearQuota',
          ['LB-04'],
          function(step) |||
            %(used)s
            / on (%(cluster)s) group_left
            %(limit)s
            >= %(above)g
          ||| % {
            used: q.ofCluster('ack_slb_listeners', extra=['load_balancer_id']),
            cluster: cluster,
            limit: q.ofCluster('ack_slb_listeners_limit'),
            above: step.above,
          },
          function(step) '%s has %s of the listeners that it may have.' % [balancer, percent] + services + assumed('listeners'),
        ) +
        a.steps(
          'ACKSLBBackendsExceedQuota',
          ['LB-05'],
          function(step) |||
            %(share)s> %(above)g
            and on (%(by)s) %(nodes)s > 0
          ||| % {
            share: share(step, 'ack_slb_predicted_backends', 'backend_servers', ['load_balancer_id']),
            above: step.above,
            by: by(['load_balancer_id']),
            nodes: q.ofCluster('ack_slb_service_ports', 'backends="nodes"', ['load_balancer_id']),
          },
          function(step) 'The Services of %s want %s of the backends that it may have, since nodes are backends of them.' % [balancer, percent] + services + assumed('backend_servers'),
          summary='Services whose backends are all nodes want more backends than an SLB instance may have',
          impact='The backends that do not fit are missing: new nodes get no traffic, and Services are not reconciled any more.',
        ) +
        a.steps(
          'ACKSLBHeadroomLow',
          ['LB-06', 'LB-05'],
          function(step) 'min by (%s) (%s) < %d' % [
            by(['quota']),
            q.ofCluster('ack_slb_headroom_nodes', extra=['quota', 'reading']),
            step.below,
          ],
          function(step) 'After {{ $value | humanize }} more nodes an SLB instance has as many backends as it may have.' + assumed('backend_servers'),
        ) +
        a.steps(
          'ACKSLBScanBehind',
          ['EX-09'],
          // The best of several replicas: one that has just begun to lead has read little, one that has ceased shows what is old.
          function(step) |||
            time() - %(oldest)s > %(age)d
            or
            %(groups)s > 0
            or
            %(balancers)s > 0
          ||| % {
            oldest: q.ofCluster('ack_slb_scan_oldest_timestamp_seconds'),
            age: step.age,
            groups: q.ofCluster('ack_slb_scan_pending_groups'),
            balancers: q.ofCluster('ack_slb_scan_pending_load_balancers'),
          },
          function(step) 'Of some server groups of SLB the exporter knows nothing, or only what they were more than %d minutes ago.' % (step.age / 60),
        ),
    }],
  },
}
