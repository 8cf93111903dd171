local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// DNS as the nodes see it.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,
  local on = 'on (%s)' % q.labels(),
  local usage = $._rules.conntrackUsage,

  // The share that failed lately, the worst of what the matchers choose.
  local lately(matchers, extra=[]) = 'max by (%s) (%s{%s})' % [q.labels(extra), $._rules.dnsFailedLately, matchers],
  local inCluster(kind) = 'target_kind="%s", socket="fresh", name_kind="cluster"' % kind,

  // Names of one kind fail in the long and in the short window, and not because
  // of single packets, on a node that has been probed for some time.
  local burning(names, step, pair) =
    local matchers = 'target_kind="cluster_dns", socket="fresh", name_kind="%s"' % names;
    |||
      %(long)s > %(level)g
      and %(on)s %(short)s > %(level)g
      and %(on)s %(attempts)s - %(successes)s >= %(failures)d
      and %(on)s %(probed)s > 0
    ||| % {
      on: on,
      level: step.factor * (1 - config.dnsProbes.objective),
      long: $._rules.dnsFailed(names, step.longWindow),
      short: $._rules.dnsFailed(names, pair.shortWindow),
      attempts: q.work('ack_dns_probe_attempts_total', pair.shortWindow, matchers),
      successes: q.work('ack_dns_probe_successes_total', pair.shortWindow, matchers),
      failures: step.failures,
      probed: 'max by (%s) (%s offset %s)' % [q.labels(), q.select('ack_dns_probe_targets', 'target_kind="cluster_dns"'), pair.age],
    },

  // Where the short window holds too few questions, another one decides.
  local burningFastOrSlow(names, step) =
    burning(names, step, step) +
    if !std.objectHas(step, 'slow') then '' else |||
      or
      %s
      and %s %s > %d
    ||| % [
      std.rstripChars(burning(names, step, step.slow), '\n'),
      on,
      q.gauge('ack_dns_probe_interval_seconds', 'target_kind="cluster_dns"'),
      step.slow.above,
    ],

  // Texts that ask Prometheus: the reasons, and which hops fail, change while the alert stays.
  local nodeMatchers = '%s=%%q, %s=%%q' % [config.clusterLabel, config.nodeLabel],
  local asked(expr) = '{{ with printf `%s` .Labels.%s .Labels.%s | query }}' % [expr, config.clusterLabel, config.nodeLabel],
  local mostly(matchers, window) =
    asked('topk(1, sum by (reason) (increase(%s[%s])) > 0)' % [q.select('ack_dns_probe_failures_total', matchers + ', ' + nodeMatchers), window]) +
    '{{ with first . }}, most with the reason {{ .Labels.reason }}{{ end }}{{ end }}',
  local otherProbes =
    ' Of its other probes ' +
    asked('max by (target_kind) (%s{target_kind!="cluster_dns", socket="fresh", %s}) > 0.01' % [$._rules.dnsFailedLately, nodeMatchers]) +
    'these fail:{{ range sortByLabel "target_kind" . }} {{ .Labels.target_kind }} ({{ .Value | humanizePercentage }}){{ end }}' +
    '{{ else }}none fails{{ end }}.',

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-dns',
      rules:
        a.steps(
          'ACKDNSFailing',
          ['DN-25'],
          function(step) burningFastOrSlow('cluster', step),
          function(step)
            '{{ $value | humanizePercentage }} of the lookups of an in-cluster name through the DNS address of the cluster failed on node %s within the last %s%s.%s' % [
              node,
              step.longWindow,
              mostly(inCluster('cluster_dns'), step.shortWindow),
              otherProbes,
            ],
          summary='Names of the cluster do not resolve on a node',
          impact='Pods on the node do not find the Services that they call.',
        ) +
        a.steps(
          'ACKDNSExternalFailing',
          ['DN-15', 'DN-25'],
          // Where names of the cluster fail as well, that has an alert of its own.
          function(step) |||
            (
              %s
            )
            unless %s %s > %s / 2
          ||| % [
            std.strReplace(std.rstripChars(burningFastOrSlow('external', step), '\n'), '\n', '\n  '),
            on,
            $._rules.dnsFailed('cluster', step.longWindow),
            $._rules.dnsFailed('external', step.longWindow),
          ],
          function(step)
            '{{ $value | humanizePercentage }} of the lookups of a name outside the cluster through the DNS address of the cluster failed on node %s within the last %s%s. Names of the cluster resolve.%s' % [
              node,
              step.longWindow,
              mostly('target_kind="cluster_dns", socket="fresh", name_kind="external"', step.shortWindow),
              otherProbes,
            ],
          summary='Names outside the cluster do not resolve on a node, those of the cluster do',
          impact='Pods on the node do not find what is outside the cluster: databases, object storage, other APIs.',
        ) +
        a.steps(
          'ACKVPCResolverFailing',
          ['DN-15'],
          // Over UDP only: that is what clients use, and not all names are served over TCP.
          function(step) '%s > %g' % [lately('target_kind="vpc", protocol="udp", socket="fresh"'), step.above],
          function(step)
            '{{ $value | humanizePercentage }} of the questions of node %s to the resolvers of the VPC failed lately%s.' % [
              node,
              mostly('target_kind="vpc", protocol="udp", socket="fresh"', config.dnsProbes.window),
            ],
          summary='The resolvers of the VPC do not answer a node',
          impact='External names fail for CoreDNS on the node, for pods with the DNS policy Default, and for the node itself, which then pulls no images.',
          action='Check the security group of the node, the ACL of its vSwitch and the load of the node; where all nodes are concerned, the resolvers.',
        ) +
        a.steps(
          'ACKCoreDNSReplicaUnreachable',
          ['DN-25'],
          // Not recorded: that would be a series for each node and each replica.
          function(step)
            local matchers = inCluster('coredns_pod');
            local asked(window) = |||
              1 - %s
              /
              (%s >= %d)
            ||| % [
              q.work('ack_dns_probe_successes_total', window, matchers, ['server']),
              q.work('ack_dns_probe_attempts_total', window, matchers, ['server']),
              config.dnsProbes.questions,
            ];
            local now = q.gauge('ack_dns_probe_attempts_total', matchers, ['server']);
            local indent(text) = '    ' + std.strReplace(std.rstripChars(text, '\n'), '\n', '\n    ');
            |||
              avg by (%(replica)s) (
                (
              %(short)s
                  or
              %(long)s
                ) > bool %(failed)g
                and %(now)s
              )
              > %(above)g
              and on (%(replica)s) count by (%(replica)s) (%(now)s) >= %(atLeast)d
            ||| % {
              replica: std.join(', ', [config.clusterLabel, 'server']),
              short: indent(asked(config.dnsProbes.window)),
              long: indent(asked(config.dnsProbes.longWindow)),
              now: now,
              failed: step.failed,
              above: step.above,
              atLeast: step.atLeast,
            },
          function(step) 'The CoreDNS pod {{ $labels.server }} fails to answer {{ $value | humanizePercentage }} of the nodes that ask it directly.',
          summary='A CoreDNS pod does not answer most of the nodes that ask it',
          impact='Lookups that the Service kube-dns sends to this pod time out, as long as it is among the endpoints.',
          action='Check the pod, its node and the way to it; delete the pod where it hangs.',
        ) +
        a.steps(
          'ACKDNSPortBlocked',
          ['DN-26'],
          function(step)
            local pods = lately(inCluster('coredns_pod'), ['protocol']);
            local group = std.join(', ', [config.clusterLabel, 'protocol']);
            |||
              %(pods)s == 1
              and on (%(group)s) min by (%(group)s) (%(pods)s) < %(others)g
            ||| % { pods: pods, group: group, others: step.others },
          function(step) 'No CoreDNS pod answers node %s over {{ $labels.protocol }}; other nodes get answers.' % node,
          summary='A node reaches no CoreDNS pod over UDP or over TCP, though other nodes do',
        ) +
        a.steps(
          'ACKDNSKeptSocketFailing',
          ['KP-06'],
          function(step) |||
            %s > %g
            and %s %s < %g
          ||| % [
            lately('target_kind="cluster_dns", socket="kept"'),
            step.above,
            on,
            lately(inCluster('cluster_dns') + ', protocol="udp"'),
            step.fresh,
          ],
          function(step) '{{ $value | humanizePercentage }} of the lookups that node %s makes over one UDP socket that stays open failed lately; those over fresh sockets succeed.' % node,
          summary='Lookups over UDP sockets that stay open fail on a node',
          impact='Clients that keep their socket, or always send from one port, get no answers; all others do.',
          action='Shorten the UDP timeout of IPVS; restart clients that keep their socket.',
        ) +
        a.steps(
          'ACKNodeLocalDNSFailing',
          ['NL-02'],
          // Where the DNS address of the cluster fails as well, that has an alert of its own.
          function(step) |||
            %(nodeLocal)s > %(above)g
            unless %(on)s %(cluster)s > %(above)g
          ||| % {
            nodeLocal: lately(inCluster('node_local')),
            cluster: lately(inCluster('cluster_dns')),
            on: on,
            above: step.above,
          },
          function(step)
            '{{ $value | humanizePercentage }} of the lookups through NodeLocal DNSCache failed on node %s lately%s. The DNS address of the cluster answers.' % [
              node,
              mostly(inCluster('node_local'), config.dnsProbes.window),
            ],
        ) +
        a.steps(
          'ACKNodeLocalDNSListenerMissing',
          ['NL-02'],
          local address = q.gauge('ack_dns_probe_node_local_address');
          function(step) |||
            %(address)s == 0
            and on (%(cluster)s) max by (%(cluster)s) (%(address)s) == 1
          ||| % { address: address, cluster: config.clusterLabel },
          function(step) 'No interface of node %s has the address 169.254.20.10; other nodes of the cluster have it.' % node,
          summary='A node lacks the address of NodeLocal DNSCache, though other nodes have it',
          action='Bring the pod of node-local-dns back on the node.',
        ) +
        a.steps(
          'ACKDNSFailsWithFullTable',
          ['CT-08'],
          // What a full table does to packets; other failures have other causes. A pod of CoreDNS can be gone.
          function(step) |||
            %s >= %d
            and %s %s > %g
          ||| % [
            q.work('ack_dns_probe_failures_total', step.window, 'target_kind!="coredns_pod", reason=~"timeout|network"'),
            step.atLeast,
            on,
            usage,
            step.usage,
          ],
          function(step)
            '{{ $value | printf "%%.0f" }} lookups of node %s were lost within the last %s%s' % [
              node,
              step.window,
              asked('%s{%s}' % [usage, nodeMatchers]) + '{{ with first . }}, while {{ .Value | humanizePercentage }} of its connection tracking table was in use{{ end }}{{ end }}.',
            ],
        ) +
        a.steps(
          'ACKDNSSlow',
          ['DN-19'],
          local matchers = 'target_kind="cluster_dns", name_kind="cluster"';
          function(step) |||
            histogram_quantile(%g, %s) > %g
            and %s %s >= %d
          ||| % [
            step.quantile,
            q.work('ack_dns_probe_duration_seconds_bucket', step.window, matchers, ['le']),
            step.above,
            on,
            q.work('ack_dns_probe_duration_seconds_count', step.window, matchers),
            step.answers,
          ],
          function(step) 'One in %g lookups of an in-cluster name took longer than {{ $value | humanizeDuration }} on node %s within the last %s.' % [
            std.round(1 / (1 - step.quantile)),
            node,
            step.window,
          ],
        ),
    }],
  },
}
