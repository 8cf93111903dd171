// Shares of the answers of CoreDNS, by its own metrics.
{
  local config = $._config,
  local step = config.alerts.ACKCoreDNSServerFailures,
  local answers(matchers, window) = 'sum by (%s) (rate(coredns_dns_responses_total{%s}[%s]))' % [
    config.clusterLabel,
    std.join(', ', [config.corednsSelector] + matchers),
    window,
  ],

  local windows = std.set([
    window
    for severity in std.objectFields(step)
    for window in [step[severity].longWindow, step[severity].shortWindow]
  ]),

  _rules+:: {
    // Of the answers of all replicas those that are SERVFAIL.
    corednsServerFailures(window):: '%s:coredns_server_failures:ratio%s' % [config.clusterLabel, window],
  },

  prometheusRules+:: {
    groups+: [{
      name: 'ack-exporter-recording-coredns',
      rules: [
        {
          record: $._rules.corednsServerFailures(window),
          // NXDOMAIN is a good answer: search domains make it normal. Before the first SERVFAIL there is no such series.
          expr: |||
            (%(failures)s or 0 * %(all)s)
            /
            (%(all)s > 0)
          ||| % { failures: answers(['rcode="SERVFAIL"'], window), all: answers([], window) },
        }
        for window in windows
      ],
    }],
  },
}
