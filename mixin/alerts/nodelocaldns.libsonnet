local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// NodeLocal DNSCache, as the API server has it. What answers on a node is with the DNS probes.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local on = 'on (%s)' % config.clusterLabel,
  local installed = q.ofCluster('ack_nodelocaldns_daemonset_present') + ' == 1',
  // Longest list in a text.
  local most = 10,

  // The sum of what the namespaces of a cluster show.
  local allNamespaces(metric, matchers='', extra=[]) =
    'sum by (%s) (%s)' % [config.clusterLabel, q.ofCluster(metric, matchers, ['namespace'] + extra)],

  // Texts that ask Prometheus about the cluster of the alert. %[1]q in expr is its name.
  local asked(expr, text) = '{{ with printf `%s` .Labels.%s | query }}%s{{ end }}' % [expr, config.clusterLabel, text],
  local here(metric, matchers='') = q.select(metric, config.clusterLabel + '=%[1]q' + (if matchers == '' then '' else ', ' + matchers)),
  local list(before, expr, label, item) = asked(
    'topk(%d, max by (%s) (%s)%s)' % [most, label, expr[0], expr[1]],
    '%s{{ range $i, $s := sortByLabel "%s" . }}{{ if $i }},{{ end }} %s{{ end }}.' % [before, label, item]
  ),
  local listNamespaces(metric, matchers='') = list(
    ' Namespaces with the most:', [here(metric, matchers), ' > 0'], 'namespace', '{{ $s.Labels.namespace }} ({{ $s.Value | humanize }})'
  ),

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-nodelocaldns',
      rules:
        a.steps(
          'ACKNodeLocalDNSNotReady',
          ['NL-01'],
          // A node that is down, or parked until it is needed, is not the cache's fault: others tell of it.
          function(step) |||
            %(desired)s
            - %(ready)s
            - (
              count by (%(cluster)s) (%(nodes)s == 0)
              or %(desired)s * 0
            )
            > 0
          ||| % {
            cluster: config.clusterLabel,
            desired: q.ofCluster('ack_nodelocaldns_replicas', 'state="desired"'),
            ready: q.ofCluster('ack_nodelocaldns_replicas', 'state="ready"'),
            nodes: q.state('kube_node_status_condition', 'condition="Ready", status="true", ' + config.realNodeSelector),
          },
          function(step)
            'NodeLocal DNSCache is not ready on {{ $value | humanize }} of the nodes that should run it.' +
            list(
              ' Its address is missing on', [here('ack_dns_probe_node_local_address'), ' == 0'], config.nodeLabel, '{{ $s.Labels.%s }}' % config.nodeLabel
            ),
        ) +
        a.steps(
          'ACKNodeLocalDNSUnused',
          ['NL-03'],
          // The exporter's own probes are queries too. Where the metrics of node-local-dns are not scraped, there is nothing
          // to compare them with.
          local growth(series, step) = 'sum by (%s) (increase(%s[%s]))' % [config.clusterLabel, series, step.window];
          function(step) |||
            %(installed)s
            and %(on)s %(requests)s <= %(factor)g * (
              %(probes)s
              or %(requests)s * 0
            )
          ||| % {
            installed: installed,
            on: on,
            requests: growth('coredns_dns_requests_total{%s}' % config.nodeLocalDNSSelector, step),
            probes: growth(q.select('ack_dns_probe_attempts_total', 'target_kind="node_local"'), step),
            factor: step.factor,
          },
          function(step)
            'Nobody but the probes of the exporter asked NodeLocal DNSCache within the last %s.' % step.window +
            asked(
              'max(%s)' % here('ack_nodelocaldns_namespaces'),
              '{{ with first . }} Namespaces that ask for it: {{ .Value | humanize }}.{{ end }}'
            ),
        ) +
        a.steps(
          'ACKNodeLocalDNSPodsMissing',
          ['NL-04'],
          function(step) |||
            %(missing)s
            /
            (%(all)s > 0)
            > %(above)g
            and %(on)s %(installed)s
          ||| % {
            missing: allNamespaces('ack_nodelocaldns_pods', 'state="missing"'),
            all: allNamespaces('ack_nodelocaldns_pods', extra=['state']),
            above: step.above,
            on: on,
            installed: installed,
          },
          function(step)
            '{{ $value | humanizePercentage }} of the pods in namespaces with the label node-local-dns-injection=enabled do not use NodeLocal DNSCache.' +
            listNamespaces('ack_nodelocaldns_pods', 'state="missing"'),
        ) +
        a.steps(
          'ACKNodeLocalDNSWebhookDown',
          ['NL-05'],
          function(step) |||
            %(namespaces)s > 0
            and %(on)s (
              %(configured)s == 0
              or %(available)s == 0
            )
            and %(on)s %(installed)s
          ||| % {
            namespaces: q.ofCluster('ack_nodelocaldns_namespaces'),
            on: on,
            configured: q.ofCluster('ack_nodelocaldns_webhook_configured'),
            available: q.ofCluster('ack_nodelocaldns_webhook_replicas', 'state="available"'),
            installed: installed,
          },
          function(step)
            'Namespaces whose new pods are not set up for NodeLocal DNSCache: {{ $value | humanize }}.' +
            asked('max(%s) == 0' % here('ack_nodelocaldns_webhook_configured'), ' The MutatingWebhookConfiguration is missing or names no CA.{{ else }} No replica of the webhook is available.'),
        ) +
        a.steps(
          'ACKNodeLocalDNSTerwayUnfit',
          ['NL-06', 'NL-07'],
          function(step) |||
            %s == 0
            and %s %s
          ||| % [q.ofCluster('ack_nodelocaldns_terway_check', extra=['check']), on, installed],
          function(step)
            '{{ if eq $labels.check "host_stack_cidrs" }}Terway in IPvlan mode does not list 169.254.20.10/32 in host_stack_cidrs: pods cannot reach NodeLocal DNSCache.' +
            '{{ else }}Terway' +
            asked('max by (version) (%s)' % here('ack_nodelocaldns_terway_info'), '{{ with first . }} {{ .Labels.version }}{{ end }}') +
            ' is older than v1.0.10.301, the first that supports NodeLocal DNSCache.{{ end }}',
          summary='Terway does not fit NodeLocal DNSCache',
          impact='Pods cannot reach the cache, or reach it in a way that nobody supports.',
          action='Add 169.254.20.10/32 to host_stack_cidrs in the ConfigMap eni-config and recreate the Terway pods, or upgrade Terway.',
        ) +
        a.steps(
          'ACKNodeLocalDNSNoBackup',
          ['NL-08'],
          function(step) '%s > %d' % [allNamespaces('ack_nodelocaldns_pods_without_backup'), step.above],
          function(step)
            'Pods in namespaces with the label node-local-dns-injection=enabled without a name server besides NodeLocal DNSCache: {{ $value | humanize }}.' +
            listNamespaces('ack_nodelocaldns_pods_without_backup'),
        ) +
        a.steps(
          'ACKNodeLocalDNSOrphanedPods',
          ['NL-11'],
          // Pods are listed seldom, the DaemonSet is watched: so the alert ends as soon as it is back.
          function(step) |||
            %s > %d
            unless %s %s
          ||| % [q.ofCluster('ack_nodelocaldns_orphaned_pods'), step.above, on, installed],
          function(step)
            'Pods that name NodeLocal DNSCache as a name server, though its DaemonSet does not exist: {{ $value | humanize }}.' +
            asked(
              'sum(max by (namespace) (%s)) > 0' % here('ack_nodelocaldns_pods_without_backup'),
              '{{ with first . }} Of those in labelled namespaces without another name server: {{ .Value | humanize }}.{{ end }}'
            ),
        ),
    }],
  },
}
