local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// SLB instances that are not what ACK or the cloud controller manager made of them. There is one alert for an instance and
// what is wrong with it, whichever Services that is about: the text names them.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,

  local drift(step) = q.ofCluster('ack_slb_drift', 'kind=~"%s"' % step.kinds, ['load_balancer_id', 'kind']) + ' > 0',

  // What each kind says of an SLB instance, by alert.
  local meanings = {
    ACKAPIServerSLBDown: {
      apiserver_gone: 'does not exist any more',
      apiserver_inactive: 'is not active',
      apiserver_listener: 'has no listener for the API server that runs',
      apiserver_backends: 'has no backends for the API server',
    },
    ACKAPIServerSLBChanged: {
      apiserver_reused: 'is used by a Service',
      apiserver_acl: 'keeps out ACK or nodes by its access control (networks: {{ $value }})',
      apiserver_extra_listener: 'has other listeners than that of the API server ({{ $value }})',
      apiserver_tag: 'has not the tag ack.aliyun.com with the id of the cluster',
      apiserver_changed: 'was changed: its listeners, server groups, access control, name or tags ({{ $value }})',
    },
    ACKSLBGone: {
      gone: 'does not exist any more',
      inactive: 'is not active',
    },
    ACKSLBListenersDiffer: {
      listener_missing: 'has no listener for ports of a Service ({{ $value }})',
      listener_stopped: 'has listeners that are stopped ({{ $value }})',
      listener_protocol: 'has listeners with another protocol than a Service wants ({{ $value }})',
      listener_group: 'has listeners with another server group than that of their port ({{ $value }})',
      listener_extra: 'has listeners that no Service has a port for ({{ $value }})',
    },
    ACKSLBBackendsDiffer: {
      group_missing: 'has no server group for ports of a Service ({{ $value }})',
      backend_missing: 'lacks backends ({{ $value }})',
      backend_extra: 'has backends that do not belong there ({{ $value }})',
    },
    ACKSLBEdited: {
      tag: 'has tags that are missing or changed ({{ $value }})',
      setting: 'has settings that are not those of the annotations ({{ $value }})',
      renamed: 'has listeners or server groups with another name ({{ $value }})',
      unprotected: 'is not protected against deletion or changes',
    },
    ACKSLBReuseWrong: {
      reuse_removed: 'was re-used by a Service, whose annotation for that is gone',
      reuse_of_managed: 'is re-used by a Service, but was made for one',
      port_conflict: 'is used with the same port by two Services ({{ $value }})',
      other_vpc: 'is in another VPC than the cluster',
      address_type: 'is not of the address type that a Service asks for',
      shared_by_clusters: 'has listeners or server groups of another cluster ({{ $value }})',
    },
  },
  local meaning(name) =
    local of = meanings[name], kinds = std.objectFields(of);
    std.join('', [
      '{{ %s eq $labels.kind "%s" }}%s' % [if i == 0 then 'if' else 'else if', kinds[i], of[kinds[i]]]
      for i in std.range(0, std.length(kinds) - 1)
    ]) + '{{ else }}is not as it should be: {{ $labels.kind }}{{ end }}',
  local services =
    '{{ with printf `max by (namespace, service) (%s)` .Labels.%s .Labels.load_balancer_id .Labels.kind | query }}' % [
      q.select('ack_slb_drift', cluster + '=%q, load_balancer_id=%q, kind=%q, service!=""'),
      cluster,
    ] +
    ' Services:{{ range $i, $s := sortByLabel "service" . }}{{ if lt $i 5 }}{{ if $i }},{{ end }} {{ $s.Labels.namespace }}/{{ $s.Labels.service }}{{ end }}{{ end }}.{{ end }}',
  // An alert on the kinds that its step names.
  local steps(name, risks, of='', summary=null, impact=null, action=null) = a.steps(
    name,
    risks,
    drift,
    function(_) 'SLB instance {{ $labels.load_balancer_id }}%s %s.' % [of, meaning(name)] + services,
    summary,
    impact,
    action,
  ),

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-slb-drift',
      rules:
        steps(
          'ACKAPIServerSLBDown',
          ['LB-07', 'LB-09'],
          ' of the API server',
          summary='The SLB instance of the API server is gone, or does not reach it',
          impact='Nodes and clients do not reach the API server. An instance that was deleted cannot be recovered.',
          action='Start the instance or its listener again, or restore the backends. Open a ticket at once where it was deleted.',
        ) +
        steps(
          'ACKAPIServerSLBChanged',
          ['LB-08', 'LB-09', 'LB-10'],
          ' of the API server',
          summary='The SLB instance of the API server is used otherwise, closed to some, or changed',
          impact='The console, nodes or clients may lose the API server, and the cluster becomes unavailable.',
          action='Restore what was changed. Give the Service that uses it an SLB instance of its own; let 100.104.0.0/16 and the vSwitches of the nodes in.',
        ) +
        steps(
          'ACKSLBGone',
          ['LB-11'],
          summary='The SLB instance of a Service was deleted, or is not active',
          impact='The Service gets no traffic.',
          action='Where it was deleted, clear the status of the Service, so that the cloud controller manager makes another. Where it is not active, start it, or pay for it.',
        ) +
        steps('ACKSLBListenersDiffer', ['LB-14']) +
        steps('ACKSLBBackendsDiffer', ['LB-15']) +
        steps(
          'ACKSLBEdited',
          ['LB-13', 'LB-12', 'LB-16', 'LB-23'],
          summary='The tags, names, settings or protection of an SLB instance are not those that ACK gave it',
          impact='The cloud controller manager does not find what it made, or overwrites what was changed.',
          action='Restore tags and names as they were. Change settings and protection through the annotations of the Service only.',
        ) +
        steps(
          'ACKSLBReuseWrong',
          ['LB-18', 'LB-17', 'LB-19', 'LB-20', 'LB-21', 'LB-22'],
          summary='A Service re-uses an SLB instance in a way that does not work',
          impact='The Service is not synchronised, shares a port with another, or loses its SLB instance together with another Service.',
          action='Correct the annotations of the Service, or give it an SLB instance of its own.',
        ) +
        a.steps(
          'ACKSLBDriftRecurs',
          ['LB-13', 'LB-14', 'LB-16'],
          function(step) 'max by (%s, kind) (increase(%s[%s])) >= %g' % [
            cluster,
            q.select('ack_slb_drift_changes_total', 'kind=~"%s"' % step.kinds),
            step.window,
            step.times,
          ],
          function(step) 'SLB instances of cluster {{ $labels.%s }} came to differ from what their Services say {{ $value | printf "%%.0f" }} times within %s: {{ $labels.kind }}.' % [cluster, step.window],
          summary='SLB instances are changed again and again',
          impact='Somebody and the cloud controller manager overwrite each other, and each time connections may break.',
          action='Find out who changes them, such as a second tool that manages the same SLB instances, and stop it.',
        ),
    }],
  },
}
