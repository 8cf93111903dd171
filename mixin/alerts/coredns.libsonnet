local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// CoreDNS as the API server has it, as each replica answers, and by its own
// metrics. All of it is about the cluster: replicas come and go.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,
  local on = 'on (%s)' % cluster,
  local by(labels=[]) = std.join(', ', [cluster] + labels),

  local notReady = 'ack_coredns_pod_not_ready',
  local ended = 'ack_coredns_pod_last_termination_timestamp_seconds',
  local up = 'ack_coredns_endpoint_up',
  local replicas(state) = q.ofCluster('ack_coredns_replicas', 'state="%s"' % state),

  // A selector of the metrics of CoreDNS itself.
  local own(metric, matchers='') = '%s{%s}' % [metric, std.join(', ', [config.corednsSelector] + (if matchers == '' then [] else [matchers]))],
  local ownRate(metric, window, matchers='', extra=[]) = 'sum by (%s) (rate(%s[%s]))' % [by(extra), own(metric, matchers), window],
  local ownIncrease(metric, window, matchers='', extra=[]) = 'sum by (%s) (increase(%s[%s]))' % [by(extra), own(metric, matchers), window],

  local responses = 'coredns_dns_responses_total',

  // Failed health checks of each upstream, under the name of today and that before CoreDNS 1.11.
  local failedHealthChecks(step, matchers='') =
    local of(metric, more) = 'sum by (%s) (rate(%s[%s]))' % [
      if matchers == '' then by(['to']) else 'to',
      own(metric, std.join(', ', std.filter(function(m) m != '', [more, matchers]))),
      step.window,
    ];
    [of('coredns_proxy_healthcheck_failures_total', 'proxy_name="forward"'), of('coredns_forward_healthcheck_failures_total', '')],

  // Texts that ask Prometheus: which replicas are concerned changes while the alert stays.
  local here(matchers='') = std.join(', ', (if matchers == '' then [] else [matchers]) + ['%s=%%[1]q' % cluster]),
  local asked(expr) = '{{ with printf `%s` .Labels.%s | query }}' % [expr, cluster],
  local number(expr) = asked(expr) + '{{ . | first | value | printf "%.0f" }}{{ else }}no{{ end }}',
  // Some of what the query finds, sorted by a label.
  local list(label, item) = '{{ range $i, $found := sortByLabel "%s" . }}{{ if $i }}, {{ end }}%s{{ end }}' % [label, item],
  local some(expr) = 'topk(10, %s)' % expr,
  // `node` is a label of the replica here, and not the one of _config: without blanks it is told from that.
  local pod = '{{.Labels.pod}}{{with .Labels.node}} on node {{.}}{{end}}',
  local pods(expr, item=pod) = asked(some(expr)) + list('pod', item) + '{{ end }}',
  local podsOf(metric, matchers='', extra=[]) = 'max by (%s) (%s)' % [std.join(',', ['pod', 'node'] + extra), q.select(metric, here(matchers))],

  // What each check of the Corefile that failed says.
  local checks = {
    parse: 'CoreDNS cannot read it, and would not start again',
    root: 'no server block answers for all names',
    health: 'the plugin health is missing',
    lameduck: 'health has less than 15 s of lameduck',
    ready: 'the plugin ready is missing, or there where this version of CoreDNS does not know it',
    no_autopath: 'it has the plugin autopath',
    prefer_udp: 'forward has no prefer_udp, and NodeLocal DNSCache asks over TCP',
    hosts_fallthrough: 'the plugin hosts has no fallthrough',
    kubernetes: 'the plugin kubernetes is missing, so that names of Services do not resolve',
    forward: 'a server block does not forward names outside of the cluster',
    reload: 'the plugin reload is missing, so that changes wait for a restart',
    errors: 'the plugin errors is missing, so that failures are not in the log',
    cache: 'the plugin cache is missing',
    loop: 'the plugin loop is missing, which guards against forwarding in circles',
    loadbalance: 'the plugin loadbalance is missing',
    prometheus: 'the plugin prometheus is missing, or listens on the loopback address only',
  },
  local meaning = '{{ if eq $labels.check "parse" }}' + checks.parse + std.join('', [
    '{{ else if eq $labels.check "%s" }}%s' % [check, checks[check]]
    for check in std.objectFields(checks)
    if check != 'parse'
  ]) + '{{ end }}',

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'ack-exporter-coredns',
        rules:
          a.steps(
            'ACKCoreDNSReplicasTooFew',
            ['DN-02', 'DN-01'],
            // Never fewer than 2 are recommended.
            function(step) '%s < %s' % [replicas('desired'), q.ofCluster('ack_coredns_replicas_recommended')],
            function(step) 'Replicas that CoreDNS is set to have: {{ $value | printf "%.0f" }}. ACK recommends ' + number(q.select('ack_coredns_replicas_recommended', here())) + ' for the nodes and cores of the cluster.',
          ) +
          a.steps(
            'ACKCoreDNSNotSpread',
            ['DN-03'],
            function(step) |||
              %(hostingNodes)s < %(ready)s
              and %(on)s %(hostingNodes)s < %(nodes)s
              or
              %(hostingZones)s == 1
              and %(on)s %(zones)s > 1
              and %(on)s %(ready)s > 1
            ||| % {
              on: on,
              hostingNodes: q.ofCluster('ack_coredns_hosting_nodes'),
              hostingZones: q.ofCluster('ack_coredns_hosting_zones'),
              nodes: q.ofCluster('ack_coredns_cluster_nodes'),
              zones: q.ofCluster('ack_coredns_cluster_zones'),
              ready: replicas('ready'),
            },
            local count(metric, matchers='') = number('max(%s)' % q.select('ack_coredns_' + metric, here(matchers)));
            function(step) 'Ready replicas of CoreDNS: ' + count('replicas', 'state="ready"') +
                           '. Nodes that run one: ' + count('hosting_nodes') + '; the cluster has ' + count('cluster_nodes') +
                           '. Zones that run one: ' + count('hosting_zones') + '; the cluster has ' + count('cluster_zones') + '.',
          ) +
          a.steps(
            'ACKCoreDNSReplicaNotReady',
            ['DN-04'],
            function(step) |||
              count by (%(cluster)s) (
                max by (%(pod)s) (%(series)s)
                and on (%(pod)s) max by (%(pod)s) (%(series)s offset %(since)s)
              )
            ||| % { cluster: by(), pod: by(['pod']), series: q.select(notReady), since: step.since },
            function(step)
              'Replicas of CoreDNS that have not been ready for minutes: ' + pods(
                '%s and on (pod) max by (pod) (%s offset %s)' % [podsOf(notReady, extra=['reason']), q.select(notReady, here()), step.since],
                pod + ' ({{ .Labels.reason }})'
              ) + '.',
            summary='A CoreDNS replica is not ready',
          ) +
          a.steps(
            'ACKCoreDNSRestarting',
            ['DN-04'],
            function(step) 'max by (%s) (increase(%s[%s])) >= %d' % [by(), q.select('ack_coredns_pod_restarts_total'), step.window, step.atLeast],
            function(step)
              'Replicas of CoreDNS that restarted within the last %s: ' % step.window + pods(
                'max by (pod,node) (increase(%s[%s])) > 0' % [q.select('ack_coredns_pod_restarts_total', here()), step.window],
                pod + ' ({{ .Value | printf "%.0f" }} times)'
              ) + '.',
            summary='A CoreDNS replica restarts again and again',
            impact='Each time lookups that it was asked are lost, and its cache is empty.',
            action='Read the log of the container before its restart, and why it ended.',
          ) +
          a.steps(
            'ACKCoreDNSEndpointsMissing',
            ['DN-24'],
            local endpoints(state) = q.ofCluster('ack_coredns_service_endpoints', 'state="%s"' % state);
            function(step)
              '%s < %d' % [endpoints('ready'), step.below] +
              // Where one replica is all that is wanted, that has an alert of its own.
              if step.below > 1 then '\nand %s %s >= %d' % [on, replicas('desired'), step.below] else '',
            function(step) 'The Service kube-dns has {{ $value | printf "%.0f" }} ready endpoints, and ' +
                           number('max(%s)' % q.select('ack_coredns_service_endpoints', here('state="not_ready"'))) + ' that are not ready.',
          ) +
          a.steps(
            'ACKCoreDNSMemoryLimitLow',
            ['DN-06'],
            function(step) '%s < %d' % [q.ofCluster('ack_coredns_memory_limit_bytes'), step.below],
            function(step) 'The memory limit of CoreDNS is {{ $value | humanize1024 }}B.',
            summary='The memory limit of CoreDNS is below 2 GB',
          ) +
          a.steps(
            'ACKCoreDNSMemoryShort',
            ['DN-06'],
            function(step) |||
              time() - %s < %d
              or
              max by (%s) (min_over_time(%s[%s])) / %s > %g
            ||| % [
              q.ofCluster(ended, 'reason="oom_killed"'),
              step.within,
              by(),
              own('process_resident_memory_bytes'),
              step.usedFor,
              q.ofCluster('ack_coredns_memory_limit_bytes'),
              step.above,
            ],
            function(step)
              asked(some('time() - %s < %d' % [podsOf(ended, 'reason="oom_killed"'), step.within])) +
              'Replicas of CoreDNS that were killed for want of memory lately: ' + list('pod', pod) +
              '{{ else }}A replica of CoreDNS uses {{ $value | humanizePercentage }} of the memory limit{{ end }}.',
            summary='CoreDNS is short of memory',
          ) +
          a.steps(
            'ACKCoreDNSSessionAffinity',
            ['DN-08'],
            function(step) '%s == 1' % q.ofCluster('ack_coredns_session_affinity'),
            function(step) 'The Service kube-dns has the session affinity ClientIP.',
          ) +
          a.steps(
            'ACKCoreDNSCorefileCheckFailed',
            ['DN-13', 'DN-09', 'DN-10', 'DN-11', 'DN-12', 'DN-14'],
            local failed(matcher) = '%s == 0' % q.ofCluster('ack_coredns_corefile_check', matcher, ['check']);
            function(step)
              if std.objectHas(step, 'checks') then failed('check=~"%s"' % step.checks)
              // NodeLocal DNSCache asks over TCP, and forward does as it is asked.
              else |||
                %s
                or
                %s
                and %s %s == 1
              ||| % [
                failed('check!~"prefer_udp|%s"' % step.except),
                failed('check="prefer_udp"'),
                on,
                q.ofCluster('ack_nodelocaldns_daemonset_present'),
              ],
            function(step) 'The Corefile in the ConfigMap coredns does not pass the check {{ $labels.check }}: ' + meaning + '.',
            summary='The Corefile is not as ACK recommends',
            impact='It depends on the check: lookups fail at once, at the next upgrade, or at the next restart of CoreDNS.',
            action='Correct the Corefile in the ConfigMap coredns; the runbook has the lines for each check.',
          ) +
          a.steps(
            'ACKCoreDNSCorefileNotLoaded',
            ['DN-23'],
            function(step) |||
              count by (%s) (%s == 0)
              or
              %s > 1
            ||| % [by(), q.ofCluster('ack_coredns_corefile_loaded', extra=['pod']), q.ofCluster('ack_coredns_corefile_versions')],
            function(step)
              asked(some('%s == 0' % podsOf('ack_coredns_corefile_loaded'))) +
              'Replicas of CoreDNS that run another Corefile than the one in the ConfigMap: ' + list('pod', pod) +
              '{{ else }}The replicas of CoreDNS run {{ $value | printf "%.0f" }} different Corefiles{{ end }}.',
          ) +
          a.steps(
            'ACKCoreDNSReloadFailed',
            ['DN-23'],
            function(step) 'count by (%s) (max by (%s) (increase(%s[%s])) > 0)' % [by(), by(['pod']), q.select('ack_coredns_reload_failures_total'), step.window],
            function(step)
              'Replicas of CoreDNS that refused a changed Corefile within the last %s: ' % step.window +
              pods('max by (pod,node) (increase(%s[%s])) > 0' % [q.select('ack_coredns_reload_failures_total', here()), step.window]) + '.',
            summary='CoreDNS has refused a change of the Corefile',
            impact='The old configuration is still in force. The next pod of CoreDNS that starts has the new one, and does not come up.',
            action='Read the log of CoreDNS for "reload failed", and correct the Corefile or take the change back.',
          ) +
          a.steps(
            'ACKCoreDNSReplicaSilent',
            ['DN-25', 'DN-04'],
            // Those that are not ready have an alert of their own; a plugin that is not set up serves nothing.
            function(step) |||
              count by (%(check)s) (
                max by (%(pod)s) (%(series)s) == 0
                and on (%(pod)s) max by (%(pod)s) (%(series)s offset %(since)s) == 0
                unless on (%(notReady)s) %(replicas)s
                unless on (%(check)s) %(corefile)s == 0
              )
            ||| % {
              check: by(['check']),
              pod: by(['pod', 'check']),
              notReady: by(['pod']),
              series: q.select(up, 'check=~"%s"' % step.checks),
              since: step.since,
              replicas: q.ofCluster(notReady, extra=['pod']),
              corefile: q.ofCluster('ack_coredns_corefile_check', extra=['check']),
            },
            function(step)
              'Replicas of CoreDNS that, asked directly, fail the check {{ $labels.check }}: ' +
              ('{{ with printf `topk(10, max by (pod,node) (%s) == 0)` .Labels.%s .Labels.check | query }}' % [
                 q.select(up, here() + ', check=%[2]q'),
                 cluster,
               ]) + list('pod', pod) + '{{ end }}.',
            summary='A CoreDNS replica that counts as ready does not answer when it is asked directly',
            impact='Lookups that the Service kube-dns sends to this replica fail or take long.',
            action='Check the pod, its node and the way to it; delete the pod where it hangs.',
          ) +
          a.steps(
            'ACKCoreDNSAPIUnreachable',
            ['DN-20'],
            local requests(matchers, step) = 'sum by (%s) (max by (%s) (rate(%s[%s])))' % [
              by(['pod']),
              by(['pod', 'result']),
              q.select('ack_coredns_api_requests_total', matchers),
              step.window,
            ];
            function(step) |||
              max by (%s) (
                %s
                /
                (%s > 0)
              ) > %g
            ||| % [by(), requests('result=~"%s"' % step.results, step), requests('', step), step.above],
            function(step)
              '{{ $value | humanizePercentage }} of the requests of a replica of CoreDNS to the API server failed. Replicas with failures: ' + pods(
                'max by (pod,node,result) (rate(%s[%s])) > 0' % [
                  q.select('ack_coredns_api_requests_total', here('result=~"%s"' % step.results)),
                  step.window,
                ],
                pod + ' ({{ .Labels.result }})'
              ) + '.',
          ) +
          a.steps(
            'ACKCoreDNSOld',
            ['DN-21'],
            function(step) 'count by (%s) (%s)' % [by(), q.ofCluster('ack_coredns_info', 'version=~"%s"' % step.versions, ['pod'])],
            function(step)
              'Replicas of CoreDNS with an old release: {{ $value | printf "%.0f" }}, with ' +
              asked(some('count by (version) (%s)' % q.select('ack_coredns_info', here('version=~"%s"' % step.versions)))) + list('version', '{{ .Labels.version }}') + '{{ end }}.',
          ),
      },
      {
        name: 'ack-exporter-coredns-metrics',
        rules:
          a.steps(
            'ACKCoreDNSServerFailures',
            ['DN-16'],
            function(step) |||
              %(long)s > %(level)g
              and %(on)s %(short)s > %(level)g
              and %(on)s %(failures)s >= %(least)d
            ||| % {
              on: on,
              level: step.factor * (1 - config.coredns.objective),
              long: $._rules.corednsServerFailures(step.longWindow),
              short: $._rules.corednsServerFailures(step.shortWindow),
              failures: ownIncrease(responses, step.shortWindow, 'rcode="SERVFAIL"'),
              least: step.failures,
            },
            function(step)
              '{{ $value | humanizePercentage }} of the answers of CoreDNS within the last %s were SERVFAIL' % step.longWindow +
              asked('topk(1, sum by (plugin) (increase(%s[%s])) > 0)' % [own(responses, here('rcode="SERVFAIL"')), step.shortWindow]) +
              '{{ with (first .).Labels.plugin }}, most from the plugin {{ . }}{{ end }}{{ end }}.',
          ) +
          a.steps(
            'ACKCoreDNSUpstreamFailing',
            ['DN-15'],
            function(step) |||
              max by (%s) (
                %s
                or
                %s
              ) > %g
            ||| % ([by()] + failedHealthChecks(step) + [step.above]),
            function(step)
              'Upstream resolvers that fail the health checks of CoreDNS: ' +
              asked(some('(%s or %s) > %g' % (failedHealthChecks(step, here()) + [step.above]))) + list('to', '{{ .Labels.to }}') + '{{ end }}' +
              asked('sum(rate(%s[%s])) > 0' % [own('coredns_forward_healthcheck_broken_total', here()), step.window]) +
              '. At times all upstreams of a zone fail{{ end }}.',
            summary='An upstream resolver of CoreDNS fails',
            impact='Names outside of the cluster, or of the zones that this resolver serves, resolve slowly or fail.',
            action='Check the resolver, the way to it, and whether the Corefile should name it.',
          ) +
          a.steps(
            'ACKCoreDNSRefuses',
            ['DN-17'],
            local refused = 'rcode="REFUSED"';
            function(step) |||
              %s
              /
              (%s > 0)
              > %g
              and %s %s >= %d
            ||| % [
              ownRate(responses, step.window, refused),
              ownRate(responses, step.window),
              step.above,
              on,
              ownIncrease(responses, step.window, refused),
              step.refusals,
            ],
            function(step) '{{ $value | humanizePercentage }} of the answers of CoreDNS within the last %s were REFUSED.' % step.window,
          ) +
          a.steps(
            'ACKCoreDNSSlow',
            ['DN-19'],
            function(step) |||
              histogram_quantile(%g, %s) > %g
              and %s %s >= %d
            ||| % [
              step.quantile,
              ownRate('coredns_dns_request_duration_seconds_bucket', step.window, extra=['le']),
              step.above,
              on,
              ownIncrease('coredns_dns_request_duration_seconds_count', step.window),
              step.answers,
            ],
            function(step) 'One in %g answers of CoreDNS took longer than {{ $value | humanizeDuration }} within the last %s.' % [std.round(1 / (1 - step.quantile)), step.window],
            summary='CoreDNS answers slowly',
          ) +
          a.steps(
            'ACKCoreDNSLoadUneven',
            ['DN-07'],
            // By instance, which every target has. A roll-out renames them, but not the alert.
            local requests(step) = ownRate('coredns_dns_requests_total', step.window, extra=['instance']);
            function(step) |||
              max by (%(cluster)s) (%(requests)s)
              /
              min by (%(cluster)s) (%(requests)s)
              > %(above)g
              and %(on)s avg by (%(cluster)s) (%(requests)s) > %(least)d
            ||| % { cluster: by(), on: on, requests: requests(step), above: step.above, least: step.requests },
            function(step)
              '{{ if gt $value 1000.0 }}A replica of CoreDNS gets hardly any requests' +
              '{{ else }}The busiest replica of CoreDNS gets {{ $value | printf "%.1f" }} times as many requests as the least busy one{{ end }}.',
          ) +
          a.steps(
            'ACKCoreDNSThrottled',
            ['DN-05'],
            local periods(name, step) = 'max by (%s) (rate(container_cpu_cfs_%s_total{%s}[%s]))' % [by(['pod']), name, config.corednsContainerSelector, step.window];
            function(step) |||
              max by (%s) (
                %s
                /
                (%s > 0)
              ) > %g
            ||| % [by(), periods('throttled_periods', step), periods('periods', step), step.above],
            function(step) 'The kernel held a replica of CoreDNS back in {{ $value | humanizePercentage }} of the periods of its CPU limit within the last %s.' % step.window,
          ),
      },
    ],
  },
}
