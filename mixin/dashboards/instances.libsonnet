local dashboard = import '../lib/dashboard.libsonnet';

// What the cloud has in store for the instances that nodes are.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(byNode=false),
  local levels = config.alerts,
  local rows = 2 * config.dashboardTop,

  local id = ['instance_id'],
  local info(matchers='') = q.ofNode('ack_instance_info', matchers, ['instance_id', 'instance_type', 'zone', 'charge_type', 'spot_strategy', 'role']),
  local known = q.ofNode('ack_instance_known', extra=id),
  local expiry = q.ofNode('ack_instance_expiry_timestamp_seconds', extra=id),
  local renews = q.ofNode('ack_instance_auto_renew', extra=id),
  local runs = q.ofNode('ack_instance_running', extra=id),
  local parked = q.ofNode('ack_instance_parked', extra=id),
  local reclaiming = q.ofNode('ack_instance_reclaiming', extra=id),
  local locked = q.ofNode('ack_instance_locked', extra=id + ['reason']),
  local events = q.ofNode('ack_instance_system_event_timestamp_seconds', extra=id + ['type']),
  local expired(status) = q.ofNode('ack_node_condition_instance_expired', 'status="%s"' % status),
  local ready = q.ofNode('ack_node_ready'),
  local notice = q.gauge('ack_spot_interruption_notice'),
  local termination = q.gauge('ack_spot_termination_timestamp_seconds'),

  // How many, and 0 only where the API answers.
  local count(expr) = 'count(%s) or 0 * count(%s)' % [expr, known],
  local on = 'on (%s)' % q.labels(id),
  local next = 'bottomk(%d, %s)' % [rows, expiry],

  local columns = [
    d.clusterColumn,
    d.nodeColumn(),
    d.column('instance_id', 'Instance'),
  ],
  local date(refId, name) = d.value(refId, name, 'dateTimeAsIso'),
  local distance(refId, name) = d.value(refId, name, 'dateTimeFromNow'),
  local yes(refId, name, color='text') = d.value(refId, name) + d.words({ '0': ['no', 'text'], '1': ['yes', color] }),
  local unasked = d.noValue('none, or the API is not asked'),
  local unknown = d.unknown('unknown'),

  local paid(title, meaning, matchers) =
    d.stat(title, meaning + ' "unknown": the API of the cloud is not asked, or does not answer.', 'none', count(info(matchers))) +
    d.neutral + unknown,

  local now = [
    paid('Subscription', 'Nodes whose instance is paid for a period, and released at its end.', 'charge_type="PrePaid"'),
    paid('Spot', 'Nodes whose instance is a spot instance, which can be reclaimed.', 'charge_type!="PrePaid", spot_strategy!="NoSpot"'),
    paid('Pay-as-you-go', 'Nodes whose instance is paid by use, spot instances aside.', 'charge_type!="PrePaid", spot_strategy="NoSpot"'),
    d.stat(
      'Spot notices',
      'Nodes that heard from their metadata service that their spot instance will be reclaimed. "no data": no node asks.',
      'none',
      'sum(%s)' % notice
    ) + d.any('yellow') + { alerts:: ['ACKSpotInterruptionNotice'] },
    d.stat(
      'Reclaimed now',
      'Nodes whose instance is locked to be recycled.',
      'none',
      'sum(%s)' % reclaiming
    ) + d.any('yellow') + unknown + { alerts:: ['ACKInstanceReclaiming'] },
    d.stat(
      'Unknown',
      'Nodes of whose instance the API says nothing: it is gone, or the exporter has no right to see it.',
      'none',
      q.no(known)
    ) + d.any('yellow') + unknown + { alerts:: ['ACKInstanceUnknown'] },
    d.stat(
      'End within %d days' % levels.ACKInstanceAutoRenewalOff.warning.days,
      'Nodes whose subscription ends, or whose instance is released, so soon, those aside that renew themselves.',
      'none',
      count('%s < time() + %d * 86400 unless %s %s == 1' % [expiry, levels.ACKInstanceAutoRenewalOff.warning.days, on, renews])
    ) + d.any('yellow') + unknown + { alerts:: ['ACKInstanceAutoRenewalOff', 'ACKInstanceExpiresSoon', 'ACKMasterInstanceExpiresSoon', 'ACKInstanceReleaseScheduled'] },
    d.stat(
      'Not running',
      'Nodes whose instance does not run, those aside that look parked.',
      'none',
      count('%s == 0 unless %s %s == 1' % [runs, on, parked])
    ) + d.any('yellow') + unknown + { alerts:: ['ACKInstanceNotRunning'] },
    d.stat(
      'Parked',
      'Nodes whose instance is stopped, as it seems on purpose: in economical mode, or after pods were kept away.',
      'none',
      count(parked + ' == 1')
    ) + d.neutral + unknown,
    d.stat(
      'Locked',
      'Nodes whose instance is locked, whatever the reason.',
      'none',
      count('max by (%s) (%s)' % [q.labels(), locked])
    ) + d.any('yellow') + unknown + { alerts:: ['ACKInstanceLocked'] },
    d.stat(
      'System events',
      'Nodes for whose instance the cloud has scheduled an event.',
      'none',
      // No event is no series, and so is a listing that failed.
      'count(max by (%s) (%s)) or 0 * count(%s == 1 and on (%s) %s == 1)' % [
        q.labels(),
        events,
        q.gauge('ack_exporter_collector_success', 'collector="instances"'),
        q.labels(),
        q.gauge('ack_exporter_collector_applicable', 'collector="instances"'),
      ]
    ) + d.any('yellow') + unknown + { alerts:: ['ACKInstanceSystemEvent'] },
    d.stat(
      'Masters',
      'Master nodes of a dedicated cluster whose instances the API tells of, fewest in a cluster. "none": the cluster is managed, or the API is not asked.',
      'none',
      'min(count by (%s) (%s))' % [config.clusterLabel, info('role="master"')]
    ) + d.below('ACKMastersTooFew') + d.unknown('none') + { alerts:: ['ACKMastersTooFew'] },
  ],

  local ends = [
    d.row('Ends'),
    d.table(
      'End next',
      'The %d instances that end next. A subscription that renews itself gets another date.' % rows,
      [
        '1000 * sort(%s)' % next,
        '1000 * sort(%s)' % next,
        '%s and %s %s' % [renews, on, next],
      ],
      columns + [
        date('A', 'Ends'),
        distance('B', 'That is'),
        d.value('C', 'Renews itself') + d.words({ '0': ['no', 'yellow'], '1': ['yes', 'green'] }),
      ],
      [['Ends', false]],
    ) + d.noValue('none, or the API is not asked') + { alerts:: ['ACKInstanceExpiresSoon', 'ACKMasterInstanceExpiresSoon', 'ACKInstanceAutoRenewalOff', 'ACKInstanceReleaseScheduled'], w:: 24, h:: 10 },
    d.table(
      'System events that come next',
      'Events that the cloud has scheduled, and from when on each can happen; the first of each type.',
      ['1000 * %s' % events, '1000 * %s' % events],
      columns + [d.column('type', 'Event'), date('A', 'Not before'), distance('B', 'That is')],
      [['Not before', false]],
    ) + unasked + { alerts:: ['ACKInstanceSystemEvent'], w:: 24, h:: 7 },
  ],

  local wrong = [
    d.row('What is wrong'),
    d.table(
      'Locked instances',
      'Locked instances. financial: something is not paid. security: the instance was stopped for what it did. recycling: a spot instance is being reclaimed.',
      [locked],
      columns + [d.column('reason', 'Reason'), yes('A', 'Now')],
      [['Node', false]],
    ) + unasked + { alerts:: ['ACKInstanceLocked', 'ACKInstanceReclaiming'] },
    d.table(
      'Instances that do not run',
      'Instances that do not run. Those that look parked do so on purpose: autoscaling in fast mode keeps them.',
      ['%s == 0' % runs, '%s and %s %s == 0' % [parked, on, runs]],
      columns + [
        d.value('A', 'Runs') + d.words({ '0': ['no', 'yellow'] }),
        yes('B', 'Parked'),
      ],
      [['Parked', false], ['Node', false]],
    ) + unasked + { alerts:: ['ACKInstanceNotRunning'] },
    d.table(
      'Unknown to the API',
      'Nodes whose instance is gone, in another region, or out of the exporter\'s rights.',
      ['%s == 0' % known],
      columns + [d.value('A', 'Known') + d.words({ '0': ['no', 'yellow'] })],
      [['Node', false]],
    ) + unasked + { alerts:: ['ACKInstanceUnknown'] },
    d.table(
      'Condition InstanceExpired',
      'Nodes whose condition is not False. True is to be believed of a node that is Ready; Unknown there means that the plug-in fails.',
      [
        '%s and on (%s) %s == 0' % [expired('True'), q.labels(), expired('False')],
        '%s and on (%s) %s == 0' % [expired('Unknown'), q.labels(), expired('False')],
        '%s and on (%s) %s == 0' % [ready, q.labels(), expired('False')],
      ],
      [
        d.clusterColumn,
        d.nodeColumn(),
        yes('A', 'True', 'yellow'),
        yes('B', 'Unknown', 'yellow'),
        yes('C', 'Node Ready'),
      ],
      [['True', true], ['Node', false]],
    ) + d.noValue('none, or nothing reports it') + { alerts:: ['ACKNodeInstanceExpired', 'ACKNodeInstanceExpiredUnknown'] },
  ],

  local spot = [
    d.row('Spot instances'),
    d.table(
      'Nodes that will be reclaimed',
      'Nodes that will be reclaimed, by what their own metadata service says.',
      [
        '1000 * %s and on (%s) %s == 1' % [termination, q.labels(), notice],
        '1000 * %s and on (%s) %s == 1' % [termination, q.labels(), notice],
      ],
      [d.clusterColumn, d.nodeColumn(), date('A', 'Reclaimed at'), distance('B', 'That is')],
      [['Reclaimed at', false]],
    ) + d.noValue('none') + { alerts:: ['ACKSpotInterruptionNotice'] },
    d.timeseries(
      'Nodes by how they are paid',
      'Instances that the API tells of. Where the line of spot instances falls, they are reclaimed faster than they are replaced.',
      'short',
      [
        d.range('count(%s)' % info('charge_type="PrePaid"'), 'subscription'),
        d.range('count(%s)' % info('charge_type!="PrePaid", spot_strategy!="NoSpot"'), 'spot'),
        d.range('count(%s)' % info('charge_type!="PrePaid", spot_strategy="NoSpot"'), 'pay-as-you-go'),
      ]
    ) + { h:: 8 },
  ],

  local collector(metric) = q.gauge('ack_exporter_collector_' + metric, 'collector=~"instance|instances|instance_conditions"', ['collector']),

  local watched = [
    d.row('What is watched'),
    d.table(
      'Instances by type and zone',
      'How many nodes there are of each type, zone and way of paying.',
      ['count by (%s, instance_type, zone, charge_type, spot_strategy, role) (%s)' % [config.clusterLabel, info()]],
      [
        d.clusterColumn,
        d.column('role', 'Role'),
        d.column('instance_type', 'Type'),
        d.column('zone', 'Zone'),
        d.column('charge_type', 'Paid'),
        d.column('spot_strategy', 'Spot'),
        d.value('A', 'Nodes', 'none'),
      ],
      [['Nodes', true]],
    ) + unasked + { h:: 9 },
    d.table(
      'Collectors',
      'Those of the nodes (instance) and of the leading replica of the cluster role (instances, instance_conditions), failing ones first. One that does not apply finds nothing to read where it runs; that is no fault.',
      [
        collector('success'),
        collector('applicable'),
        '1000 * (%s > 0)' % collector('last_success_timestamp_seconds'),
      ],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.column('collector', 'Collector'),
        d.value('A', 'Succeeds') + d.words({ '0': ['no', 'red'], '1': ['yes', 'green'] }),
        d.value('B', 'Applies') + d.words({ '0': ['no', 'text'], '1': ['yes', 'text'] }),
        d.value('C', 'Last success', 'dateTimeFromNow') + d.property('noValue', 'never'),
      ],
      [['Succeeds', false], ['Collector', false]],
    ) + d.noValue('no exporter') + { alerts:: ['ACKExporterCollectorFailing', 'ACKExporterCollectorStale'], h:: 9 },
  ],

  grafanaDashboards+:: {
    'ack-exporter-instances.json': d.dashboard(
      'ack-exporter-instances',
      'Instances',
      'How the nodes are paid for, when their instances end, and what the cloud is about to do with them.',
      now + ends + wrong + spot + watched,
      byNode=false,
    ),
  },
}
