local query = import '../lib/query.libsonnet';

// Shares of the questions of the DNS probes that failed.
{
  local config = $._config,
  local q = query.new(config),
  local probes = config.dnsProbes,
  local level(labels) = std.join('_', [config.clusterLabel, config.nodeLabel] + labels),
  local asked = ['target_kind', 'protocol', 'socket', 'name_kind'],

  // Windows of the alerts on these names. The two alerts compare them with each other.
  local windows = std.set([
    window
    for name in ['ACKDNSFailing', 'ACKDNSExternalFailing']
    for severity in std.objectFields(config.alerts[name])
    for step in [config.alerts[name][severity]]
    for window in [step.longWindow, step.shortWindow] + (if std.objectHas(step, 'slow') then [step.slow.shortWindow] else [])
  ]),

  // least: a window with fewer questions says nothing
  local failed(matchers, window, least, extra=[]) = |||
    1 - %(successes)s
    /
    (%(attempts)s %(least)s)
  ||| % {
    attempts: q.work('ack_dns_probe_attempts_total', window, matchers, extra),
    successes: q.work('ack_dns_probe_successes_total', window, matchers, extra),
    least: least,
  },

  _rules+:: {
    // Of the questions for names inside ('cluster') or outside ('external') of the cluster that a node put to the DNS
    // address of the cluster, over both protocols.
    dnsFailed(names, window):: '%s:ack_dns_probe_%s_names_failed:ratio%s' % [level([]), names, window],
    // Of all questions of one kind, lately.
    dnsFailedLately: '%s:ack_dns_probe_failed:ratio' % level(asked),
  },

  prometheusRules+:: {
    groups+: [{
      name: 'ack-exporter-recording-dns',
      rules: [
        {
          record: $._rules.dnsFailed(names, window),
          expr: failed('target_kind="cluster_dns", socket="fresh", name_kind="%s"' % names, window, '> 0'),
        }
        for names in ['cluster', 'external']
        for window in windows
      ] + [{
        record: $._rules.dnsFailedLately,
        // Over the short window, or where large clusters probe too seldom for it, over the long one. What is no longer
        // probed would be in that for an hour: it counts only as long as it is exposed.
        expr: |||
          %(short)s
          or
          %(long)s
          and %(now)s
        ||| % {
          local least = '>= %d' % probes.questions,
          short: std.rstripChars(failed('', probes.window, least, asked), '\n'),
          long: std.rstripChars(failed('', probes.longWindow, least, asked), '\n'),
          now: q.gauge('ack_dns_probe_attempts_total', extra=asked),
        },
      }],
    }],
  },
}
