local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// Load balancers that are not what ACK or the cloud controller manager made of them. What a Service is called stands in the
// labels namespace and service; they are empty for the load balancer of the API server.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),

  local who = ['load_balancer_id', 'namespace', 'service', 'kind'],
  local drift(step) = q.ofCluster('ack_slb_drift', 'kind=~"%s"' % step.kinds, who) + ' > 0',

  // What each kind says of a load balancer.
  local meanings = {
    apiserver_gone: 'does not exist any more',
    apiserver_inactive: 'is not active',
    apiserver_listener: 'has no listener for the API server that runs',
    apiserver_backends: 'has no backends for the API server',
    apiserver_reused: 'is used by the Service {{ $labels.namespace }}/{{ $labels.service }}',
    apiserver_acl: 'keeps out ACK or nodes by its access control (networks: {{ $value }})',
    apiserver_extra_listener: 'has other listeners than that of the API server ({{ $value }})',
    apiserver_tag: 'has not the tag ack.aliyun.com with the id of the cluster',
    apiserver_changed: 'was changed: its listeners, server groups, access control, name or tags ({{ $value }})',
    gone: 'does not exist any more',
    inactive: 'is not active',
    listener_missing: 'has no listener for ports of the Service ({{ $value }})',
    listener_stopped: 'has listeners that are stopped ({{ $value }})',
    listener_protocol: 'has listeners with another protocol than the Service wants ({{ $value }})',
    listener_group: 'has listeners with another server group than that of their port ({{ $value }})',
    listener_extra: 'has listeners that no Service has a port for ({{ $value }})',
    group_missing: 'has no server group for ports of the Service ({{ $value }})',
    backend_missing: 'lacks backends ({{ $value }})',
    backend_extra: 'has backends that do not belong there ({{ $value }})',
    tag: 'has tags that are missing or changed ({{ $value }})',
    setting: 'has settings that are not those of the annotations ({{ $value }})',
    renamed: 'has listeners or server groups with another name ({{ $value }})',
    unprotected: 'is not protected against deletion or changes',
    reuse_removed: 'was re-used by the Service, whose annotation for that is gone',
    reuse_of_managed: 'is re-used, but was made for a Service',
    port_conflict: 'is used with the same port by another Service (ports: {{ $value }})',
    other_vpc: 'is in another VPC than the cluster',
    address_type: 'is not of the address type that the Service asks for',
    shared_by_clusters: 'has listeners or server groups of another cluster ({{ $value }})',
  },
  local meaning = std.join('', [
    '{{ %s eq $labels.kind "%s" }}%s' % [if i == 0 then 'if' else 'else if', std.objectFields(meanings)[i], meanings[std.objectFields(meanings)[i]]]
    for i in std.range(0, std.length(meanings) - 1)
  ]) + '{{ else }}is not as it should be: {{ $labels.kind }}{{ end }}',
  local ofTheAPIServer(_) = 'The load balancer {{ $labels.load_balancer_id }} of the API server %s.' % meaning,
  local ofTheService(_) = 'The load balancer {{ $labels.load_balancer_id }} of the Service {{ $labels.namespace }}/{{ $labels.service }} %s.' % meaning,

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-slb-drift',
      rules:
        a.steps(
          'ACKAPIServerLoadBalancerDown',
          ['LB-07', 'LB-09'],
          drift,
          ofTheAPIServer,
          summary='The load balancer of the API server is gone, or does not reach it',
          impact='Nodes and clients do not reach the API server. A load balancer that was deleted cannot be recovered.',
          action='Start the instance or its listener again, or restore the backends. Open a ticket at once where it was deleted.',
        ) +
        a.steps(
          'ACKAPIServerLoadBalancerChanged',
          ['LB-08', 'LB-09', 'LB-10'],
          drift,
          ofTheAPIServer,
          summary='The load balancer of the API server is used otherwise, closed to some, or changed',
          impact='The console, nodes or clients may lose the API server, and the cluster becomes unavailable.',
          action='Restore what was changed. Give the Service that uses it a load balancer of its own; let 100.104.0.0/16 and the vSwitches of the nodes in.',
        ) +
        a.steps(
          'ACKLoadBalancerGone',
          ['LB-11'],
          drift,
          ofTheService,
          summary='The load balancer of a Service was deleted, or is not active',
          impact='The Service gets no traffic.',
          action='Where it was deleted, clear the status of the Service, so that the cloud controller manager makes another. Where it is not active, start it, or pay for it.',
        ) +
        a.steps('ACKLoadBalancerListenersDiffer', ['LB-14'], drift, ofTheService) +
        a.steps('ACKLoadBalancerBackendsDiffer', ['LB-15'], drift, ofTheService) +
        a.steps(
          'ACKLoadBalancerEdited',
          ['LB-13', 'LB-12', 'LB-16', 'LB-23'],
          drift,
          ofTheService,
          summary='The tags, names, settings or protection of a load balancer are not those that ACK gave it',
          impact='The cloud controller manager does not find what it made, or overwrites what was changed.',
          action='Restore tags and names as they were. Change settings and protection through the annotations of the Service only.',
        ) +
        a.steps(
          'ACKLoadBalancerReuseWrong',
          ['LB-18', 'LB-17', 'LB-19', 'LB-20', 'LB-21', 'LB-22'],
          drift,
          ofTheService,
          summary='A Service re-uses a load balancer in a way that does not work',
          impact='The Service is not synchronised, shares a port with another, or loses its load balancer together with another Service.',
          action='Correct the annotations of the Service, or give it a load balancer of its own.',
        ) +
        a.steps(
          'ACKLoadBalancerDriftRecurs',
          ['LB-13', 'LB-14', 'LB-16'],
          function(step) 'max by (%s, kind) (increase(%s[%s])) >= %g' % [
            config.clusterLabel,
            q.select('ack_slb_drift_changes_total', 'kind=~"%s"' % step.kinds),
            step.window,
            step.times,
          ],
          function(step) 'Load balancers of cluster {{ $labels.%s }} came to differ from what their Services say {{ $value | printf "%%.0f" }} times within %s: {{ $labels.kind }}.' % [config.clusterLabel, step.window],
          summary='Load balancers are changed again and again',
          impact='Somebody and the cloud controller manager overwrite each other, and each time connections may break.',
          action='Find out who changes them, such as a second tool that manages the same load balancers, and stop it.',
        ),
    }],
  },
}
