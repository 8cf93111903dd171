local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local usage = $._rules.conntrackUsage,
  local on = 'on (%s)' % q.labels(),
  local node = '{{ $labels.%s }}' % config.nodeLabel,

  // Names the class of entries that fills the table. It is a query of the text,
  // not a label: the largest class may change without that being another alert.
  local largestClass =
    '{{ with printf `topk(1, max by (protocol, state) (%s) > 0)` .Labels.%s .Labels.%s | query }}' % [
      q.select('ack_conntrack_table_entries', '%s=%%q, %s=%%q' % [config.clusterLabel, config.nodeLabel]),
      config.clusterLabel,
      config.nodeLabel,
    ] +
    '{{ with first . }}Most of its entries, {{ .Value | humanize }}, are {{ .Labels.protocol }} {{ .Labels.state }}.{{ end }}' +
    '{{ else }}What fills it is not known: the collector conntrack_table shows nothing here.{{ end }}',

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-conntrack',
      rules:
        a.steps(
          'ACKConntrackTableNearlyFull',
          ['CT-01', 'CT-04'],
          function(step) '%s > %g' % [usage, step.above],
          function(step) 'Node %s uses {{ $value | humanizePercentage }} of its connection tracking table. %s' % [node, largestClass],
        ) +
        a.steps(
          'ACKConntrackTableFillingUp',
          ['CT-09'],
          local full(window, step) = 'predict_linear(%s[%s], %d) > 1' % [usage, window, $._seconds(step.horizon)];
          function(step) |||
            %(usage)s > %(above)g
            and %(on)s %(long)s
            and %(on)s %(short)s
            and %(on)s %(usage)s offset %(window)s
          ||| % {
            usage: usage,
            above: step.above,
            on: on,
            long: full(step.window, step),
            short: full(step.shortWindow, step),
            window: step.window,
          },
          function(step) 'Node %s uses {{ $value | humanizePercentage }} of its connection tracking table, and all of it within %s if it goes on like this. %s' % [node, step.horizon, largestClass],
        ) +
        a.steps(
          'ACKConntrackDropping',
          ['CT-02'],
          function(step) |||
            %s + %s > 0
            or
            %s > 0
          ||| % [
            q.rate('ack_conntrack_drops_total', step.window),
            q.rate('ack_conntrack_early_drops_total', step.window),
            q.rate('ack_kernel_log_events_total', step.window, 'event="conntrack_table_full"'),
          ],
          function(step) 'Node %s lost connections within the last %s because a connection tracking table, its own or that of a pod, was full. %s' % [node, step.window, largestClass],
        ) +
        a.steps(
          'ACKConntrackLimitLow',
          ['CT-03'],
          function(step) |||
            (%s < %d)
            / %s
            (%s > 0)
            < %d
          ||| % [q.gauge('ack_conntrack_entries_limit'), step.cap, on, q.gauge('ack_conntrack_cpus'), step.below],
          function(step) 'Node %s has room for {{ $value | humanize }} entries for each CPU; ACK recommends %d.' % [node, step.below] +
                         $._texts.maxPerCoreWritten(step.below),
        ) +
        a.steps(
          'ACKConntrackDNSDominates',
          ['CT-05'],
          function(step) |||
            sum by (%(labels)s) (%(dns)s)
            /
            (%(all)s > 0)
            > %(above)g
            and %(on)s %(usage)s > %(level)g
          ||| % {
            labels: q.labels(),
            dns: q.gauge('ack_conntrack_dns_entries', extra=['protocol']),
            all: q.gauge('ack_conntrack_entries'),
            above: step.above,
            on: on,
            usage: usage,
            level: step.usage,
          },
          function(step) '{{ $value | humanizePercentage }} of the entries in the connection tracking table of node %s are DNS.' % node,
        ) +
        a.steps(
          'ACKConntrackUDPStreamTimeoutLong',
          ['CT-06'],
          function(step) '%s > %d' % [q.gauge('ack_conntrack_timeout_seconds', 'protocol="udp", state="stream"'), step.above],
          function(step) 'Node %s keeps UDP streams for {{ $value | humanizeDuration }}; %d s are enough.' % [node, step.above],
        ) +
        a.steps(
          'ACKConntrackInsertRaces',
          ['CT-07'],
          // Insertions that a full hash chain refused count as failed too, but are no races.
          function(step) |||
            %(failed)s
            - %(on)s (
              %(long)s
              or %(failed)s * 0
            )
            > %(above)g
          ||| % {
            failed: q.rate('ack_conntrack_insert_failed_total', config.rateWindow),
            long: q.rate('ack_conntrack_chain_too_long_total', config.rateWindow),
            on: on,
            above: step.above,
          },
          function(step) 'Node %s loses {{ $value | printf "%%.2f" }} packets a second because two of one flow raced.' % node,
        ) +
        a.steps(
          'ACKConntrackHashTableSmall',
          ['CT-11'],
          function(step) '%s > 0' % q.rate('ack_conntrack_chain_too_long_total', config.rateWindow),
          function(step) 'Node %s refuses {{ $value | printf "%%.2f" }} connections a second because a chain of its hash table is too long.' % node,
        ),
    }],
  },

  // Seconds of a duration such as 90s, 15m, 1h or 2d.
  _seconds(duration)::
    local units = { s: 1, m: 60, h: 3600, d: 86400 };
    std.parseInt(duration[:std.length(duration) - 1]) * units[duration[std.length(duration) - 1:]],
}
