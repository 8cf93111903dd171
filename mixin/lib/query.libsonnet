// Pieces of PromQL. Each of them ends in one series a node, whatever number of
// pods of the exporter, or replicas of Prometheus targets, show it: so a
// roll-out neither changes the identity of an alert nor breaks a join.
{
  new(config):: {
    local join(parts) = std.join(', ', std.filter(function(part) part != '', parts)),

    // Labels that name a node, as in "cluster, node".
    labels(extra=[]):: join([config.clusterLabel, config.nodeLabel] + extra),

    // A selector of metrics of the exporter.
    select(metric, matchers=''):: '%s{%s}' % [metric, join([config.ackExporterSelector, matchers])],

    // A gauge of kube-state-metrics about nodes, under our name of the label.
    state(metric, matchers='')::
      local series = '%s{%s}' % [metric, join([config.kubeStateMetricsSelector, matchers])];
      'max by (%s) (%s)' % [
        self.labels(),
        if config.nodeLabel == 'node' then series
        else 'label_replace(%s, "%s", "$1", "node", "(.+)")' % [series, config.nodeLabel],
      ],

    // A gauge, a series for each node and value of the labels in extra.
    gauge(metric, matchers='', extra=[])::
      'max by (%s) (%s)' % [self.labels(extra), self.select(metric, matchers)],

    // Growth a second of a counter.
    rate(metric, window, matchers='', extra=[])::
      'max by (%s) (rate(%s[%s]))' % [self.labels(extra), self.select(metric, matchers), window],

    // Growth of a counter within the window.
    increase(metric, window, matchers='', extra=[])::
      'max by (%s) (increase(%s[%s]))' % [self.labels(extra), self.select(metric, matchers), window],
  },
}
