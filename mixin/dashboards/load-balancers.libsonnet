local dashboard = import '../lib/dashboard.libsonnet';

// Classic load balancers: quotas, room for more, drift, and how far the exporter has read.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(byNode=false),
  local cluster = q.clusterLabel,
  local legend = '{{%s}}' % cluster,
  local levels = config.alerts,
  local slb(metric, matchers='', extra=[]) = q.ofCluster('ack_slb_' + metric, matchers, extra),
  local unseen = d.noValue('the API of the cloud is not asked'),
  local unread = d.noValue('not read yet, or the API of the cloud is not asked'),
  local none = d.noValue('none'),

  local limit(of) = q.max(slb('%s_limit' % of, extra=['source']), [cluster]),
  // The share of a quota that is used.
  local share(of, labels) = '%s / on (%s) group_left %s' % [slb(of, extra=labels), cluster, limit(of)],
  local used(title, meaning, of, by, alerts) =
    d.bargauge(title, meaning, 'percentunit', [d.instant(q.max(share(of, by + ['reading']), [cluster, 'reading']), '{{reading}} ' + legend)]) +
    d.above(alerts[0]) + unread + { fieldConfig+: { defaults+: { max: 1 } }, alerts:: alerts, w:: 6, h:: 6 },

  local quotas = [
    d.row('Quotas: how much is used, in each way to count'),
    used(
      'SLB instances',
      'Share of the SLB instances that the account may have: those in the region, and what Quota Center counts.',
      'instances',
      [],
      ['ACKSLBInstancesNearQuota']
    ),
    used(
      'The fullest load balancer',
      'Share of the backends that the load balancer with the most of them has: each server once, or once in each of its groups.',
      'backend_servers',
      ['load_balancer_id'],
      ['ACKSLBBackendServersNearQuota', 'ACKSLBBackendsExceedQuota']
    ),
    used(
      'The busiest instance',
      'Share of how often an ECS instance may be a backend that the busiest one uses: counted by load balancers, by groups or by ports.',
      'backend_attachments',
      ['instance_id'],
      ['ACKSLBBackendAttachmentsNearQuota']
    ),
    d.bargauge(
      'Listeners',
      'Share of the listeners that the load balancer with the most of them has.',
      'percentunit',
      [d.instant(q.max(share('listeners', ['load_balancer_id']), [cluster]), legend)]
    ) + d.above('ACKSLBListenersNearQuota') + unseen + { fieldConfig+: { defaults+: { max: 1 } }, alerts:: ['ACKSLBListenersNearQuota'], w:: 6, h:: 6 },
    d.table(
      'Limits',
      'The limits of quotas, and who told them: Quota Center, a flag of the exporter, or the documentation, which is wrong where the account has asked for more.',
      [slb('%s_limit' % of, extra=['source']) for of in ['instances', 'listeners', 'backend_servers', 'backend_attachments']],
      [
        d.clusterColumn,
        d.column('source', 'Source'),
        d.value('A', 'SLB instances', 'none'),
        d.value('B', 'Listeners of one', 'none'),
        d.value('C', 'Backends of one', 'none'),
        d.value('D', 'Times an instance is a backend', 'none'),
      ],
      [['Source', false]],
    ) + unseen + { w:: 16, h:: 6 },
    d.table(
      'Counted by Quota Center',
      'What Quota Center itself counts towards quotas other than that of SLB instances. It seldom does.',
      [slb('quota_center_usage', extra=['quota'])],
      [d.clusterColumn, d.column('quota', 'Quota'), d.value('A', 'Used', 'none')],
      [['Quota', false]],
    ) + none + { w:: 8, h:: 6 },
    d.table(
      'Fullest load balancers',
      'The %d load balancers with the most backends, each backend counted in each of its groups. Wanted: what the Services and nodes of now make of it. Ports: those of Services whose backends are the nodes, so many backends does one node more add.' % config.dashboardTop,
      local top = q.top(slb('backend_servers', 'reading="attachments"', ['load_balancer_id']));
      local those(expr) = '%s and on (%s, load_balancer_id) %s' % [expr, cluster, top];
      local by = ['load_balancer_id'];
      [
        top,
        those(slb('backend_servers', 'reading="servers"', by)),
        those(slb('predicted_backends', 'reading="attachments"', by)),
        those(slb('service_ports', 'backends="nodes"', by)),
        those(slb('listeners', extra=by)),
      ],
      [
        d.clusterColumn,
        d.column('load_balancer_id', 'Load balancer'),
        d.value('A', 'Backends', 'none'),
        d.value('B', 'Servers', 'none'),
        d.value('C', 'Wanted', 'none'),
        d.value('D', 'Ports', 'none'),
        d.value('E', 'Listeners', 'none'),
      ],
      [['Backends', true]],
    ) + unread + { alerts:: ['ACKSLBBackendServersNearQuota', 'ACKSLBBackendsExceedQuota', 'ACKSLBListenersNearQuota'], h:: 9 },
    d.table(
      'Busiest instances',
      'The %d ECS instances that are backends at the most ports of groups, with their groups and load balancers.' % config.dashboardTop,
      local by = ['instance_id'];
      local top = q.top(slb('backend_attachments', 'reading="ports"', by));
      local those(reading) = '%s and on (%s, instance_id) %s' % [slb('backend_attachments', 'reading="%s"' % reading, by), cluster, top];
      [top, those('groups'), those('load_balancers')],
      [
        d.clusterColumn,
        d.column('instance_id', 'Instance'),
        d.value('A', 'Ports', 'none'),
        d.value('B', 'Groups', 'none'),
        d.value('C', 'Load balancers', 'none'),
      ],
      [['Ports', true]],
    ) + unread + { alerts:: ['ACKSLBBackendAttachmentsNearQuota'], h:: 9 },
  ],

  local room = [
    d.row('Room for more'),
    d.timeseries(
      'Nodes that fit',
      'How many nodes can be added before a load balancer has as many backends as it may, with the Services of now. Missing where no backends are nodes.',
      'short',
      [d.range(slb('headroom_nodes', extra=['quota', 'reading']), '{{quota}} {{reading}} ' + legend)]
    ) + unread + { alerts:: ['ACKSLBHeadroomLow'], w:: 8 },
    d.timeseries(
      'Ports that fit',
      'How many ports more Services can have whose backends are the nodes: before an instance is a backend as often as it may be, or before a load balancer has as many listeners as it may.',
      'short',
      [d.range(slb('headroom_service_ports', extra=['quota', 'reading']), '{{quota}} {{reading}} ' + legend)]
    ) + unread + { alerts:: ['ACKSLBBackendAttachmentsNearQuota', 'ACKSLBListenersNearQuota'], w:: 8 },
    d.timeseries(
      'Load balancers that fit',
      'How many SLB instances more the account may have.',
      'short',
      [d.range(slb('headroom_load_balancers', extra=['reading']), '{{reading}} ' + legend)]
    ) + unseen + { alerts:: ['ACKSLBInstancesNearQuota'], w:: 8 },
  ],

  local drift = [
    d.row('Drift: what is not as Services want it'),
    d.table(
      'Drift',
      'Load balancers that are not as they should be: what is wrong, of which Service, and how many items. The metrics page of the exporter says what each kind is. In the list of alerts, a click opens the runbook.',
      [slb('drift', extra=['load_balancer_id', 'namespace', 'service', 'kind'])],
      [
        d.clusterColumn,
        d.column('load_balancer_id', 'Load balancer'),
        d.column('namespace', 'Namespace'),
        d.column('service', 'Service'),
        d.column('kind', 'Kind'),
        d.value('A', 'Items', 'none') + d.colored(d.any('yellow')),
      ],
      [['Kind', false], ['Load balancer', false]],
    ) + none + { alerts:: d.alertsOf('ack-exporter-slb-drift'), w:: 14, h:: 9 },
    d.timeseries(
      'Changes in the last hour',
      'How often something came to be wrong within the hour before. The cloud controller manager overwrites what others change: it can be gone again before anybody looks.',
      'short',
      [d.range('%s > 0' % q.hourOfCluster('ack_slb_drift_changes_total', extra=['kind']), '{{kind}} ' + legend)]
    ) + none + { w:: 10 },
    d.table(
      'Load balancers and Services',
      'The load balancers of the cluster, and which Services have them. One without a Service is that of the API server, or left over.',
      [slb('info', extra=['load_balancer_id', 'name', 'namespace', 'service', 'address_type', 'spec'])],
      [
        d.clusterColumn,
        d.column('load_balancer_id', 'Load balancer'),
        d.column('name', 'Name'),
        d.column('namespace', 'Namespace'),
        d.column('service', 'Service'),
        d.column('address_type', 'Address'),
        d.column('spec', 'Specification'),
        d.value('A', 'Load balancers', 'none'),
      ],
      [['Namespace', false], ['Service', false]],
    ) + unseen + { w:: 24, h:: 9 },
  ],

  local scan = [
    d.row('What the exporter has read'),
    d.timeseries(
      'Load balancers and groups',
      'Load balancers of the cluster and their server groups, and those that were never read and wait for a later refresh.',
      'short',
      [
        d.range(slb('scan_load_balancers'), 'load balancers ' + legend),
        d.range(slb('scan_groups'), 'groups ' + legend),
        d.range(slb('scan_pending_groups'), 'waiting ' + legend),
        d.range(slb('scan_pending_load_balancers'), 'load balancers waiting ' + legend),
      ]
    ) + unseen + { alerts:: ['ACKSLBScanBehind'], w:: 8 },
    d.timeseries(
      'Age of the oldest reading',
      'How long ago the group was read that has waited longest to be read again. What happened since then is not seen.',
      's',
      [d.range('time() - %s' % slb('scan_oldest_timestamp_seconds'), legend)]
    ) + unseen + { alerts:: ['ACKSLBScanBehind'], w:: 8 },
    d.timeseries(
      'Calls of a refresh',
      'Calls about load balancers that the last refresh made, and how many it may make.',
      'short',
      [
        d.range(slb('scan_calls'), 'calls ' + legend),
        d.range(slb('scan_calls_limit'), 'limit ' + legend),
      ]
    ) + unseen + { alerts:: ['ACKSLBScanBehind'], w:: 8 },
    d.timeseries(
      'Reading that ended early, in the last hour',
      'How often a refresh stopped reading groups before its calls were used up. budget: the exporter made as many requests as it may in a minute. throttled: the API asked for fewer. time: the interval was over. error: it failed.',
      'short',
      [d.range('%s > 0' % q.hourOfCluster('ack_slb_scan_stopped_total', extra=['reason']), '{{reason}} ' + legend)]
    ) + none + { alerts:: ['ACKSLBScanBehind'], w:: 24, h:: 7 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-load-balancers.json': d.dashboard(
      'ack-exporter-load-balancers',
      'Load balancers',
      'Quotas of classic load balancers, how much more fits, and how they differ from what Services want.',
      quotas + room + drift + scan,
      byNode=false,
    ),
  },
}
