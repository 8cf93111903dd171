// CoreDNS, as the API server and its replicas have it, and by its own metrics.
// d and q: the library of dashboards, and its queries for what is chosen.
function(d, q)
  local cluster = q.clusterLabel;
  local legend = '{{%s}}' % cluster;
  local unseen = d.noValue('no cluster role, or run by ACK');
  local notScraped = d.noValue('CoreDNS is not scraped');
  local coredns(metric, matchers='', extra=[]) = q.ofCluster('ack_coredns_' + metric, matchers, extra);
  local ofPod = ['pod', 'node'];
  local podColumns = [d.clusterColumn, d.column('pod', 'Pod'), d.column('node', 'Node')];
  local yesNo = { '0': ['no', 'red'], '1': ['yes', 'green'] };
  local answers(check) = coredns('endpoint_up', 'check="%s"' % check, ofPod);
  local responses = 'coredns_dns_responses_total';
  local quantile(of, metric, by=[]) = 'histogram_quantile(%g, %s)' % [of, q.coredns(metric, by=by + ['le'])];

  local state = [
    d.row('CoreDNS: missing where ACK runs it out of sight'),
    d.table(
      'Size and spread',
      'What CoreDNS consists of, and what ACK recommends: as many replicas as the cluster needs, on as many nodes and in several zones, 2 GB of memory, 15 s of lameduck and no session affinity. Nodes and zones are those that run a ready replica, and those that could.',
      [
        coredns('replicas', 'state="desired"'),
        coredns('replicas_recommended'),
        coredns('replicas', 'state="ready"'),
        coredns('service_endpoints', 'state="ready"'),
        coredns('service_endpoints', 'state="not_ready"'),
        coredns('hosting_nodes'),
        coredns('cluster_nodes'),
        coredns('hosting_zones'),
        coredns('cluster_zones'),
        coredns('memory_limit_bytes'),
        coredns('lameduck_seconds'),
        coredns('session_affinity'),
        coredns('corefile_versions'),
      ],
      [
        d.clusterColumn,
        d.value('A', 'Desired', 'none'),
        d.value('B', 'Recommended', 'none'),
        d.value('C', 'Ready', 'none'),
        d.value('D', 'Endpoints', 'none'),
        d.value('E', 'Not ready', 'none'),
        d.value('F', 'Nodes', 'none'),
        d.value('G', 'Of', 'none'),
        d.value('H', 'Zones', 'none'),
        d.value('I', 'Of zones', 'none'),
        d.value('J', 'Memory limit', 'bytes') + d.colored(d.below('ACKCoreDNSMemoryLimitLow')),
        d.value('K', 'Lameduck', 's'),
        d.value('L', 'Affinity') + d.words({ '0': ['no', 'green'], '1': ['yes', 'yellow'] }),
        d.value('M', 'Corefiles', 'none'),
      ],
      [['Desired', true]],
    ) + unseen + {
      alerts:: [
        'ACKCoreDNSReplicasTooFew',
        'ACKCoreDNSNotSpread',
        'ACKCoreDNSEndpointsMissing',
        'ACKCoreDNSMemoryLimitLow',
        'ACKCoreDNSSessionAffinity',
        'ACKCoreDNSCorefileNotLoaded',
      ],
      w:: 24,
      h:: 7,
    },
    d.timeseries(
      'Replicas and endpoints',
      'Replicas that are wanted, recommended and ready, and ready endpoints of the Service kube-dns. Fewer endpoints than ready replicas: the Service does not find them all.',
      'short',
      [
        d.range(coredns('replicas', 'state="desired"'), 'desired ' + legend),
        d.range(coredns('replicas_recommended'), 'recommended ' + legend),
        d.range(coredns('replicas', 'state="ready"'), 'ready ' + legend),
        d.range(coredns('service_endpoints', 'state="ready"'), 'endpoints ' + legend),
      ]
    ) + unseen + { alerts:: ['ACKCoreDNSReplicasTooFew', 'ACKCoreDNSEndpointsMissing'] },
    d.table(
      'Replicas that are not ready',
      'Replicas that are not ready, with the reason. probe: the readiness check fails. In a roll-out some are for a minute.',
      [coredns('pod_not_ready', extra=ofPod + ['reason'])],
      podColumns + [d.column('reason', 'Reason'), d.value('A', 'Replicas', 'none')],
      [['Reason', false]],
    ) + d.noValue('none') + { alerts:: ['ACKCoreDNSReplicaNotReady'], h:: 9 },
    d.table(
      'Replicas',
      'Where each replica runs, its image and its release.',
      [coredns('info', extra=ofPod + ['zone', 'image', 'version'])],
      podColumns + [
        d.column('zone', 'Zone'),
        d.column('image', 'Image'),
        d.column('version', 'Release'),
        d.value('A', 'Replicas', 'none'),
      ],
      [['Release', false]],
    ) + unseen + { alerts:: ['ACKCoreDNSOld', 'ACKCoreDNSNotSpread'], w:: 24 },
    d.table(
      'Replicas asked directly',
      'Whether each replica, asked at the address of its pod, answers: a question over UDP and TCP, its health and readiness checks, and its metrics. What has no answer here gets lookups of the Service all the same, as long as it is ready. loaded: it runs the Corefile that is in the ConfigMap; empty as long as it has seen no change.',
      [answers(check) for check in ['dns_udp', 'dns_tcp', 'health', 'ready', 'metrics']] + [coredns('corefile_loaded', extra=ofPod)],
      podColumns + [
        d.value('A', 'UDP') + d.words(yesNo),
        d.value('B', 'TCP') + d.words(yesNo),
        d.value('C', 'Health') + d.words(yesNo),
        d.value('D', 'Readiness') + d.words(yesNo),
        d.value('E', 'Metrics') + d.words({ '0': ['no', 'yellow'], '1': ['yes', 'green'] }),
        d.value('F', 'Loaded') + d.words({ '0': ['no', 'yellow'], '1': ['yes', 'green'] }),
      ],
      [['UDP', false], ['TCP', false]],
    ) + unseen + { alerts:: ['ACKCoreDNSReplicaSilent', 'ACKCoreDNSCorefileNotLoaded'], w:: 16, h:: 9 },
    d.table(
      'Checks of the Corefile',
      'Whether the Corefile in the ConfigMap is as ACK recommends, failed checks first. parse: CoreDNS can read it; where it cannot, no other check is there. prefer_udp matters with NodeLocal DNSCache only. The runbook says what each is about.',
      [coredns('corefile_check', extra=['check'])],
      [
        d.clusterColumn,
        d.column('check', 'Check'),
        d.value('A', 'Passed') + d.words({ '0': ['no', 'yellow'], '1': ['yes', 'green'] }),
      ],
      [['Passed', false]],
    ) + unseen + { alerts:: ['ACKCoreDNSCorefileCheckFailed'], w:: 8, h:: 9 },
    d.table(
      'What happened to replicas in the last hour',
      'Restarts, panics and changes of the Corefile that a replica refused, within the last hour, and when a container ended the last time for each reason. A panic costs one answer; the log has its trace.',
      local hour(metric, by=ofPod) = q.hourOfCluster('ack_coredns_' + metric, extra=by);
      [
        hour('pod_restarts_total'),
        hour('panics_total'),
        hour('reload_failures_total'),
        '1000 * ' + coredns('pod_last_termination_timestamp_seconds', 'reason="oom_killed"', ofPod),
        '1000 * ' + coredns('pod_last_termination_timestamp_seconds', 'reason="error"', ofPod),
      ],
      podColumns + [
        d.value('A', 'Restarts', 'none', 0),
        d.value('B', 'Panics', 'none', 0) + d.colored(d.any('yellow')),
        d.value('C', 'Refused Corefiles', 'none', 0) + d.colored(d.any('yellow')),
        d.value('D', 'Killed for memory', 'dateTimeFromNow'),
        d.value('E', 'Failed', 'dateTimeFromNow'),
      ],
      [['Restarts', true]],
    ) + unseen + { alerts:: ['ACKCoreDNSRestarting', 'ACKCoreDNSReloadFailed', 'ACKCoreDNSMemoryShort'], h:: 9 },
    d.timeseries(
      'Requests of CoreDNS to the API server',
      'How the requests of all replicas to the API server ended, as they count them. unreachable: no answer. denied: its credentials are refused. Watches last for minutes: a low rate is normal, and so is ok alone.',
      'cps',
      [d.range(q.sum(q.rateOfCluster('ack_coredns_api_requests_total', extra=ofPod + ['result']), [cluster, 'result']), '{{result}} ' + legend)]
    ) + d.stacked + unseen + { alerts:: ['ACKCoreDNSAPIUnreachable'] },
  ];

  local own = [
    d.row('CoreDNS by its own metrics: missing where Prometheus does not scrape it'),
    d.timeseries(
      'Answers by response code',
      'Answers of all replicas. NXDOMAIN is normal: clients try their search domains; compare it with what is usual. REFUSED: no one serves the zone.',
      'cps',
      [d.range(q.coredns(responses, by=['rcode']), '{{rcode}} ' + legend)]
    ) + d.stacked + notScraped + { alerts:: ['ACKCoreDNSRefuses'] },
    d.timeseries(
      'Share of SERVFAIL',
      'Share of the answers that are SERVFAIL, of all replicas. The alert looks at longer windows, and at what the objective leaves.',
      'percentunit',
      [d.range('%s / (%s > 0)' % [q.coredns(responses, 'rcode="SERVFAIL"'), q.coredns(responses)], legend)]
    ) + d.decimals(2) + notScraped + { alerts:: ['ACKCoreDNSServerFailures'] },
    d.timeseries(
      'Time of answers',
      'Time that half of the answers took at most, and 99 in 100, with that of the upstreams.',
      's',
      local metric = 'coredns_dns_request_duration_seconds_bucket';
      [d.range(quantile(0.5, metric), '50 %% %s' % legend), d.range(quantile(0.99, metric), '99 %% %s' % legend)]
    ) + notScraped + { alerts:: ['ACKCoreDNSSlow'] },
    d.timeseries(
      'Time of upstreams',
      'Time that 99 in 100 answers of each upstream took at most. About 2 s: answers get lost, and CoreDNS asks again.',
      's',
      [d.range(quantile(0.99, 'coredns_proxy_request_duration_seconds_bucket', ['to']), '{{to}} ' + legend)]
    ) + notScraped + { alerts:: ['ACKCoreDNSSlow'] },
    d.timeseries(
      'Failed health checks of upstreams',
      'Checks of each upstream that failed. CoreDNS makes them only after a failure, twice a second until the upstream is back. broken: a lookup for which all upstreams had failed.',
      'cps',
      [
        d.range(
          '%s or %s' % [
            q.coredns('coredns_proxy_healthcheck_failures_total', 'proxy_name="forward"', ['to']),
            q.coredns('coredns_forward_healthcheck_failures_total', by=['to']),
          ],
          '{{to}} ' + legend
        ),
        d.range(q.coredns('coredns_forward_healthcheck_broken_total'), 'broken ' + legend),
      ]
    ) + notScraped + { alerts:: ['ACKCoreDNSUpstreamFailing'] },
    d.timeseries(
      'Requests by replica',
      'Requests of each replica. They should be about the same: else the load is uneven.',
      'cps',
      [d.range(q.coredns('coredns_dns_requests_total', by=['instance']), '{{instance}} ' + legend)]
    ) + notScraped + { alerts:: ['ACKCoreDNSLoadUneven'] },
    d.timeseries(
      'Held back by the CPU limit',
      'Share of the periods of 100 ms in which the kernel held a replica back because it had used up its CPU limit, by the metrics of the kubelet. Without a limit there is nothing to show.',
      'percentunit',
      [d.range('%s / (%s > 0)' % [q.corednsContainer('throttled_periods'), q.corednsContainer('periods')], '{{pod}} ' + legend)]
    ) + d.noValue('no CPU limit, or the kubelet is not scraped') + { alerts:: ['ACKCoreDNSThrottled'], w:: 24 },
  ];

  state + own
