local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// What the cloud has in store for the instances that nodes are.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,
  local at = '{{ $value | humanizeTimestamp }}',
  local on = 'on (%s)' % q.labels(),

  local subscribed(role) = q.ofNode('ack_instance_info', 'charge_type="PrePaid", role="%s"' % role),
  local renews = q.ofNode('ack_instance_auto_renew'),
  // The value is the time, so that the text of an alert does not change.
  local ends(days) = '%s < time() + %g * 86400' % [q.ofNode('ack_instance_expiry_timestamp_seconds'), days],
  local endsOf(role, days) = '%s\nand %s %s' % [ends(days), on, subscribed(role)],
  // Whether it renews itself can be unknown.
  local unlessRenewed(expr) = '%s\nunless %s %s == 1\n' % [expr, on, renews],

  local condition(status) = |||
    %s == 1
    and %s %s == 1
  ||| % [
    q.ofNode('ack_node_condition_instance_expired', 'status="%s"' % status),
    on,
    q.ofNode('ack_node_ready'),
  ],

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-instance',
      rules:
        a.steps(
          'ACKSpotInterruptionNotice',
          ['SP-01'],
          function(_) |||
            %s
            and %s %s == 1
          ||| % [
            q.gauge('ack_spot_termination_timestamp_seconds'),
            on,
            q.gauge('ack_spot_interruption_notice'),
          ],
          function(_) 'The spot instance of node %s will be reclaimed at %s.' % [node, at],
        ) +
        a.steps(
          'ACKInstanceReclaiming',
          ['SP-07', 'SP-01'],
          function(_) '%s == 1' % q.ofNode('ack_instance_reclaiming'),
          function(_) 'The instance of node %s is locked to be recycled.' % node,
          summary='The instance of a node is being reclaimed',
          impact='The node leaves within minutes, without being drained, which hits the services on it.',
          action='Cordon and drain the node, and replace it.',
        ) +
        a.steps(
          'ACKNodeInstanceExpired',
          ['SP-02'],
          function(_) condition('True'),
          function(_) 'Node %s is Ready, and its condition InstanceExpired is True: its instance is about to be released.' % node,
        ) +
        a.steps(
          'ACKNodeInstanceExpiredUnknown',
          ['SP-03'],
          // Of a node that is not Ready nobody knows anything.
          function(_) condition('Unknown'),
          function(step) 'The condition InstanceExpired of node %s has been Unknown for %s, although the node is Ready.' % [node, step['for']],
        ) +
        a.steps(
          'ACKInstanceExpiresSoon',
          ['SP-04'],
          // What renews itself has had its chance by the last tier only.
          function(step)
            local ends = endsOf('worker', step.days);
            if std.objectHas(step, 'renewing') then ends else unlessRenewed(ends),
          function(step)
            'The subscription of the instance of node %s ends at %s, and %s.' %
            [node, at, if std.objectHas(step, 'renewing') then 'has not been renewed yet' else 'is not known to renew itself'],
        ) +
        a.steps(
          'ACKMasterInstanceExpiresSoon',
          ['SP-05'],
          function(step) |||
            %sor
            %s
          ||| % [unlessRenewed(endsOf('master', step.days)), endsOf('master', step.renewing)],
          function(_) 'The subscription of the instance of master %s ends at %s.' % [node, at],
          summary='The subscription of a master node ends soon',
        ) +
        a.steps(
          'ACKInstanceAutoRenewalOff',
          ['SP-06'],
          function(step) |||
            %s
            >= time() + %g * 86400
            and %s %s == 0
            and %s %s
          ||| % [
            ends(step.days),
            config.alerts.ACKInstanceExpiresSoon.warning.days,
            on,
            renews,
            on,
            subscribed('worker'),
          ],
          function(_) 'The subscription of the instance of node %s ends at %s, and automatic renewal is off.' % [node, at],
        ) +
        a.steps(
          'ACKInstanceReleaseScheduled',
          ['SP-04'],
          function(step) |||
            %s
            and %s %s
          ||| % [ends(step.days), on, q.ofNode('ack_instance_info', 'charge_type!="PrePaid"')],
          function(_) 'The instance of node %s will be released at %s, as somebody has set.' % [node, at],
          summary='The pay-as-you-go instance of a node is to be released soon',
          action='Drain the node and remove it through its node pool, or take the time of release back.',
        ) +
        a.steps(
          'ACKInstanceNotRunning',
          ['SP-07'],
          // The fast mode of autoscaling parks nodes on purpose.
          function(_) |||
            %s == 0
            unless %s %s == 1
          ||| % [q.ofNode('ack_instance_running'), on, q.ofNode('ack_instance_parked')],
          function(step) 'The instance of node %s has not run for %s, and nothing says that this is on purpose.' % [node, step['for']],
          summary='The instance of a node does not run',
        ) +
        a.steps(
          'ACKInstanceLocked',
          ['SP-07'],
          function(_) '%s == 1' % q.ofNode('ack_instance_locked', 'reason!="recycling"', ['reason']),
          function(_) 'The instance of node %s is locked, with the reason {{ $labels.reason }}.' % node,
          summary='The instance of a node is locked',
          impact='It is stopped, or will be, and nobody can start it as long as the lock is there; later it is released.',
          action='Remove the reason of the lock: pay what is due, or answer the security notice. Else replace the node through its node pool.',
        ) +
        a.steps(
          'ACKInstanceUnknown',
          ['SP-07', 'SP-05'],
          function(_) '%s == 0' % q.ofNode('ack_instance_known'),
          function(step) 'The API of the cloud has said nothing of the instance of node %s for %s: it is gone, or the exporter has no right to see it.' % [node, step['for']],
          summary='The instance of a node is unknown to the cloud',
          impact='Where it is gone, the Node object stands for nothing, and pods that are bound to it never start. Where only a right is missing, nobody sees when the instance expires.',
          action='Look for the instance in the console. Remove a node without one through its node pool; else give the exporter the right to it.',
        ) +
        a.steps(
          'ACKInstanceSystemEvent',
          ['SP-08'],
          function(_) '%s >= 0' % q.ofNode('ack_instance_system_event_timestamp_seconds', extra=['type']),
          function(_) 'The event {{ $labels.type }} is scheduled for the instance of node %s{{ if $value }}, from %s on{{ end }}.' % [node, at],
        ) +
        a.steps(
          'ACKMastersTooFew',
          ['SP-05'],
          // Managed clusters have none that can be seen.
          function(step) 'count by (%s) (%s) < %d' % [config.clusterLabel, q.ofNode('ack_instance_info', 'role="master"'), step.below],
          function(_) 'The cloud has {{ $value }} instances of master nodes of the cluster.',
          summary='A dedicated cluster has lost a master',
          impact='A lost master cannot be added again, the cluster cannot be upgraded, and etcd bears the loss of no other one.',
          action='Find out what became of it. Renew the others, and back up etcd.',
        ),
    }],
  },
}
