local dashboard = import '../lib/dashboard.libsonnet';

// How much room the cloud's network has left for clusters, what the cloud controller manager says of load balancers, and
// whether the exporter gets answers from the API of the cloud.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(byNode=false),
  local cluster = config.clusterLabel,
  local here = '{{%s}}' % cluster,
  local within = config.alerts.ACKServiceSyncFailing.warning.within,
  local noCloud = d.noValue('no credentials for the cloud, or no such cluster'),

  local vSwitch = ['zone', 'use', 'vswitch_id'],
  local available(matchers='') = q.ofCluster('ack_vpc_vswitch_available_addresses', matchers, vSwitch),
  local addresses(matchers='') = q.ofCluster('ack_vpc_vswitch_addresses', matchers, vSwitch),
  local inZone(expr) = 'sum by (%s, zone) (%s)' % [cluster, expr],
  local share(use) = '%s / %s' % [inZone(available('use="%s"' % use)), inZone(addresses('use="%s"' % use))],
  local unknown = q.ofCluster('ack_vpc_vswitches_unknown', extra=['use']),

  local table = ['route_table_id'],
  local entries = q.ofCluster('ack_vpc_route_entries', extra=table),
  local limit = 'max by (%s) (%s)' % [cluster, q.ofCluster('ack_vpc_route_entries_limit', extra=['source'])],
  local used = '%s / on (%s) group_left () %s' % [entries, cluster, limit],

  local service = ['namespace', 'service'],
  local said(matchers, by) = 'max by (%s) (%s)' % [
    std.join(', ', [cluster] + service + by),
    q.ofCluster('ack_slb_event_timestamp_seconds', matchers, service + ['reason', 'cause']),
  ],
  local well = said('cause="none"', []),
  // Failures of Services that did not go well since.
  local failing(by) = '(%s > time() - %d unless on (%s, namespace, service) %s >= on (%s, namespace, service) %s)' % [
    said('cause!~"none|no_backends|type_changed"', by),
    within,
    cluster,
    well,
    cluster,
    said('cause!~"none|no_backends|type_changed"', []),
  ],
  local told = q.ofCluster('ack_slb_events_left_out'),

  // Only the replica that leads asks.
  local request = ['product', 'action', 'result'],
  local rate(by, matchers='') = q.sum(q.rateOfCluster('ack_exporter_cloud_requests_total', matchers, request), [cluster] + by),
  local quantile(share) = 'histogram_quantile(%g, %s)' % [share, q.rateOfCluster('ack_exporter_cloud_request_duration_seconds_bucket', extra=['product', 'le'])],

  local now = [
    d.stat(
      'Free for pods',
      'Share of the addresses of pods that are free, in the zone that has the least. Only with Terway.',
      'percentunit',
      q.min(share('pod'))
    ) + d.decimals(1) + d.neutral + d.unknown('no data') + { alerts:: ['ACKPodAddressesShort'] },
    d.stat(
      'Free for nodes',
      'Share of the addresses of nodes that are free, in the zone that has the least.',
      'percentunit',
      q.min(share('node'))
    ) + d.decimals(1) + d.neutral + d.unknown('no data') + { alerts:: ['ACKNodeAddressesShort'] },
    d.stat(
      'Unknown',
      'vSwitches of nodes and pods of which the API does not tell how many addresses are free, and nodes of whose instances it says nothing.',
      'none',
      '%s + %s' % [q.sum(unknown), q.sum(q.ofCluster('ack_vpc_instances_unknown'))]
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKVSwitchUnknown'] },
    d.stat(
      'Fullest route table',
      'Custom entries of the route table that has the most, of those that it can have.',
      'percentunit',
      q.max(used)
    ) + d.decimals(1) + d.above('ACKRouteTableFillingUp') + d.unknown('no data') + { alerts:: ['ACKRouteTableFillingUp'] },
    d.stat(
      'Services that fail',
      'Services whose load balancer could not be set up or deleted when the cloud controller manager last tried, within the last hour.',
      'none',
      'count(%s) or 0 * count(%s)' % ['max by (%s, namespace, service) (%s)' % [cluster, failing([])], told]
    ) + d.any('yellow') + d.unknown('no data') + {
      alerts:: ['ACKServiceSyncFailing', 'ACKServiceLoadBalancerNotFound', 'ACKCloudAccountInArrears', 'ACKCloudRoleForbidden'],
    },
    d.stat(
      'Refused in the last hour',
      'Requests of the exporter to the API of the cloud within an hour that were refused for want of a right.',
      'none',
      q.sum(q.hourOfCluster('ack_exporter_cloud_requests_total', 'result="forbidden"', request))
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKExporterCloudForbidden'] },
  ],

  local network = [
    d.row('Addresses and routes'),
    d.table(
      'vSwitches',
      'Addresses of the vSwitches that the nodes of the cluster are in, and that Terway has for pods. A vSwitch can be both. How many there are is approximate.',
      [available(), addresses(), '%s / %s' % [available(), addresses()]],
      [
        d.clusterColumn,
        d.column('zone', 'Zone'),
        d.column('use', 'Of'),
        d.column('vswitch_id', 'vSwitch'),
        d.value('A', 'Free', 'none'),
        d.value('B', 'Addresses', 'none'),
        d.value('C', 'Free share', 'percentunit', 1),
      ],
      [['Free share', false]],
    ) + noCloud + { alerts:: ['ACKPodAddressesShort', 'ACKNodeAddressesShort'], h:: 9 },
    d.timeseries(
      'Free addresses',
      'Free addresses of each vSwitch.',
      'short',
      [d.range(available(), '{{vswitch_id}} {{use}} {{zone}} ' + here)]
    ) + noCloud + { alerts:: ['ACKPodAddressesShort', 'ACKNodeAddressesShort'] },
    d.table(
      'Route tables',
      'Custom entries of the route tables of the VPC, and how many they can have. Headroom is in nodes, and only where the table has routes to nodes of the cluster, as with Flannel.',
      [
        entries,
        '%s * 0 + on (%s) group_left () %s' % [entries, cluster, limit],
        used,
        q.ofCluster('ack_vpc_headroom_nodes', extra=table),
      ],
      [
        d.clusterColumn,
        d.column('route_table_id', 'Route table'),
        d.value('A', 'Entries', 'none'),
        d.value('B', 'Limit', 'none'),
        d.value('C', 'Used', 'percentunit', 1) + d.colored(d.above('ACKRouteTableFillingUp')),
        d.value('D', 'Headroom', 'none'),
      ],
      [['Used', true]],
    ) + noCloud + { alerts:: ['ACKRouteTableFillingUp'], h:: 9 },
    d.timeseries(
      'Route entries',
      'Custom entries of each route table, and how many it can have.',
      'short',
      [d.range(entries, '{{route_table_id}} ' + here), d.range(limit, 'limit ' + here)]
    ) + noCloud + { alerts:: ['ACKRouteTableFillingUp'] },
  ],

  local events = [
    d.row('What the cloud controller manager says of load balancers'),
    d.table(
      'Events',
      'What was last said of each Service, as long as the API server keeps the event. With the cause none it is a success, which ends what failed before. The message is in the event itself: kubectl describe service.',
      ['1000 * %s' % said('', ['reason', 'cause'])],
      [
        d.clusterColumn,
        d.column('namespace', 'Namespace'),
        d.column('service', 'Service'),
        d.column('reason', 'Reason'),
        d.column('cause', 'Cause'),
        d.value('A', 'Last', 'dateTimeFromNow'),
      ],
      [['Last', true]],
    ) + d.noValue('none') + {
      alerts:: ['ACKServiceSyncFailing', 'ACKServiceLoadBalancerNotFound', 'ACKServiceTypeChanged', 'ACKServiceWithoutBackends'],
      h:: 9,
    },
    d.timeseries(
      'Services that fail, by cause',
      'Services whose load balancer could not be set up or deleted when the cloud controller manager last tried, within an hour. arrears, forbidden and throttled are about the account and its roles, and hit all Services; the others are about the Service.',
      'short',
      [d.range('count by (%s, cause) (%s)' % [cluster, failing(['cause'])], '{{cause}} ' + here)]
    ) + d.noValue('none') + {
      alerts:: ['ACKCloudAccountInArrears', 'ACKCloudRoleForbidden', 'ACKServiceLoadBalancerNotFound', 'ACKServiceSyncFailing'],
    },
  ],

  local api = [
    d.row('Access to the API of the cloud'),
    d.timeseries(
      'Requests by product and result',
      'Requests of the exporter, retries included, of all replicas. forbidden: a right is missing. throttled: limits of the account, shared with the cloud controller manager. budget: not sent, because the exporter may not ask more.',
      'cps',
      [d.range(rate(['product', 'result']) + ' > 0', '{{product}} {{result}} ' + here)]
    ) + d.noValue('none') + { alerts:: ['ACKExporterCloudForbidden', 'ACKExporterCloudLimited'] },
    d.timeseries(
      'How long requests take',
      'Median and 99th percentile of the requests to each product. Longer than --cloud.timeout, by default 10 s, none takes.',
      's',
      [d.range(quantile(0.5), 'median {{product}} ' + here), d.range(quantile(0.99), '99 % {{product}} ' + here)]
    ) + d.noValue('none'),
    d.timeseries(
      'Requests a minute, and the budget',
      'Requests that were sent in a minute to all products together, and those that were not, because of --cloud.budget, by default 240.',
      'short',
      [
        d.range('60 * ' + rate([], 'result!="budget"'), 'sent ' + here),
        d.range('60 * ' + rate([], 'result="budget"'), 'not sent ' + here),
      ]
    ) + d.noValue('none') + { alerts:: ['ACKExporterCloudLimited'], w:: 24, h:: 7 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-cloud-network.json': d.dashboard(
      'ack-exporter-cloud-network',
      'Cloud network',
      'How many addresses and routes the network of the cloud has left for clusters, what the cloud controller manager says of load balancers, and whether the API of the cloud answers.',
      now + network + events + api,
      byNode=false,
    ),
  },
}
