local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// The configuration of kube-proxy as it is written, and what nodes make of it.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,
  local on = 'on (%s)' % config.clusterLabel,
  local onConfigMap = 'on (%s, configmap)' % config.clusterLabel,

  // The UDP timeout that each ConfigMap writes whose kube-proxy uses IPVS, and those ConfigMaps that write none.
  local timeout = q.ofCluster('ack_kubeproxy_config_timeout_seconds', 'protocol="udp"', ['configmap']),
  local ipvsMode = q.ofCluster('ack_kubeproxy_config_info', 'mode="ipvs"', ['configmap']),
  local written = '%s and %s %s' % [timeout, onConfigMap, ipvsMode],
  local unwritten = '%s unless %s %s' % [ipvsMode, onConfigMap, timeout],
  local inForce(aggregate) = '%s by (%s) (%s)' % [aggregate, config.clusterLabel, q.select('ack_ipvs_timeout_seconds', 'protocol="udp"')],
  local unread = 'max by (%s) (increase(%s[%s]))' % [
    config.clusterLabel,
    q.select('ack_exporter_collector_errors_total', 'collector="kubeproxy", reason="decode"'),
    config.rateWindow,
  ],
  local udpServices = q.ofCluster('ack_kubeproxy_udp_services'),
  local oldNodes = q.ofCluster('ack_kubeproxy_nodes_without_ipvs_timeouts'),

  // Texts that ask Prometheus about the cluster of the alert. %[1]q in expr is its name.
  local asked(expr, text) = '{{ with printf `%s` .Labels.%s | query }}%s{{ end }}' % [expr, config.clusterLabel, text],
  local here(metric, matchers='') = q.select(metric, config.clusterLabel + '=%[1]q' + (if matchers == '' then '' else ', ' + matchers)),
  local byConfigMap(metric, matchers='') = 'max by (configmap) (%s)' % here(metric, matchers),
  local eachConfigMap(expr, text) = asked(expr, '{{ range sortByLabel "configmap" . }} ConfigMap {{ .Labels.configmap }} %s.{{ end }}' % text),

  // What the ConfigMaps write of what an alert is about. They tell "configured, but not applied" from "not configured",
  // and nothing where the cluster role does not run or kube-proxy is managed out of sight.
  _texts+:: {
    udpTimeoutWritten(recommended):: eachConfigMap(
      // 0 stands for none.
      '%s or 0 * %s' % [
        byConfigMap('ack_kubeproxy_config_timeout_seconds', 'protocol="udp"'),
        byConfigMap('ack_kubeproxy_config_info', 'mode="ipvs"'),
      ],
      '{{ if eq .Value 0.0 }}sets none{{ else }}says {{ .Value | humanizeDuration }}{{ if le .Value %.1f }}, which is not applied here{{ end }}{{ end }}' % recommended,
    ),
    maxPerCoreWritten(recommended):: eachConfigMap(
      // 0 is a value of its own, so that -1 stands for none.
      '%s or -1 * %s' % [byConfigMap('ack_kubeproxy_config_conntrack_max_per_core'), byConfigMap('ack_kubeproxy_config_info')],
      '{{ if lt .Value 0.0 }}sets no maxPerCore, which means 32768{{ else if eq .Value 0.0 }}leaves the limit as it is (maxPerCore 0)' +
      '{{ else }}says maxPerCore {{ .Value }}{{ if ge .Value %.1f }}, which is not applied here{{ end }}{{ end }}' % recommended,
    ),
  },

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-kubeproxy',
      rules:
        a.steps(
          'ACKIPVSTimeoutNotApplied',
          ['KP-02'],
          // Which ConfigMap is a node's cannot be seen: a node is told of where it runs what none of them says. Where one
          // of them sets none or cannot be read, by kube-proxy or by the exporter, nobody knows what is right.
          function(step) |||
            (
              %(node)s > %(on)s group_left () max by (%(cluster)s) (%(written)s)
              or
              %(node)s < %(on)s group_left () min by (%(cluster)s) (%(written)s)
            )
            unless %(on)s (%(unwritten)s)
            unless %(on)s %(valid)s == 0
            unless %(on)s %(unread)s > 0
            unless %(on)s %(pastIPVS)s
          ||| % {
            cluster: config.clusterLabel,
            node: q.gauge('ack_ipvs_timeout_seconds', 'protocol="udp"'),
            on: on,
            written: written,
            unwritten: unwritten,
            valid: q.ofCluster('ack_kubeproxy_config_valid', extra=['configmap']),
            unread: unread,
            pastIPVS: q.pastIPVS,
          },
          function(step)
            'Node %s keeps idle UDP connections of IPVS for {{ $value | humanizeDuration }}.' % node +
            eachConfigMap(
              byConfigMap('ack_kubeproxy_config_timeout_seconds', 'protocol="udp"'),
              'says {{ .Value | humanizeDuration }}'
            ) +
            asked(
              'max(%s) > 0' % here('ack_kubeproxy_nodes_without_ipvs_timeouts'),
              '{{ with first . }} Nodes older than Kubernetes 1.18, whose kube-proxy ignores it: {{ .Value | humanize }}.{{ end }}'
            ),
        ) +
        a.steps(
          'ACKIPVSTimeoutLostAtRestart',
          ['KP-03'],
          // All alike: either nobody has set it, or it has not been lost yet.
          function(step) |||
            %(old)s > 0
            and %(on)s %(longest)s > %(on)s %(shortest)s
            unless %(on)s %(pastIPVS)s
          ||| % {
            old: oldNodes,
            on: on,
            longest: inForce('max'),
            shortest: inForce('min'),
            pastIPVS: q.pastIPVS,
          },
          function(step)
            local node = 'ack_ipvs_timeout_seconds';
            'Nodes older than Kubernetes 1.18, whose kube-proxy cannot set the IPVS timeouts: {{ $value | humanize }}.' +
            asked(
              'min(%s)' % here(node, 'protocol="udp"'),
              '{{ with first . }} Some nodes keep idle UDP connections for {{ .Value | humanizeDuration }}{{ end }}'
            ) +
            asked('max(%s)' % here(node, 'protocol="udp"'), '{{ with first . }}, others for {{ .Value | humanizeDuration }}.{{ end }}'),
        ) +
        a.steps(
          'ACKIPVSUDPTimeoutShort',
          ['KP-05'],
          function(step) |||
            min by (%(cluster)s) (%(written)s) <= %(atMost)d
            and %(on)s %(services)s > 0
            unless %(on)s %(pastIPVS)s
          ||| % {
            cluster: config.clusterLabel,
            written: written,
            atMost: step.atMost,
            on: on,
            services: udpServices,
            pastIPVS: q.pastIPVS,
          },
          function(step)
            'kube-proxy is told that IPVS forgets idle UDP connections after {{ $value | humanizeDuration }}' +
            asked(
              'max(%s)' % here('ack_kubeproxy_udp_services'),
              '{{ with first . }}; Services with UDP ports besides cluster DNS: {{ .Value | humanize }}{{ end }}'
            ) + '.',
        ) +
        a.steps(
          'ACKKubeProxyConfigInvalid',
          ['KP-10'],
          function(step) '%s == 0' % q.ofCluster('ack_kubeproxy_config_valid', extra=['configmap']),
          function(step) 'kube-proxy cannot read the configuration in the ConfigMap {{ $labels.configmap }}. Pods that run go on; those that start fail.',
          summary='kube-proxy cannot start with its configuration',
          impact='Nodes that restart or join have no kube-proxy: no Service, and no DNS, works from there.',
          action='Correct the key config.conf of the ConfigMap; the log of the exporter names the field, and that of kube-proxy too.',
        ) +
        a.steps(
          'ACKKubeProxyConfigIgnored',
          ['KP-10'],
          function(step) '%s > 0' % q.ofCluster('ack_kubeproxy_config_strict_errors', extra=['configmap']),
          function(step) 'Fields in the ConfigMap {{ $labels.configmap }} that kube-proxy ignores: {{ $value | humanize }}. They are misspelt, indented wrongly, or there twice.',
          summary='kube-proxy ignores a part of its configuration',
          impact='It does not do what somebody meant it to do, and does not say so.',
          action='Correct the fields that the log of the exporter names.',
        ),
    }],
  },
}
