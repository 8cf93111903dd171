// Pieces of PromQL. Each of them ends in one series a node, or one series a
// cluster where ofCluster makes it, whatever number of pods of the exporter, or
// replicas of Prometheus targets, show it: so a roll-out neither changes the
// identity of an alert nor breaks a join.
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

    // Whether the exporters of nodes answer. Replicas of the cluster role have the label of the node that they are on as
    // well, and would stand in for one that is down or missing.
    exporters(matchers='')::
      local target = ['instance'];
      'max by (%s) (%s unless on (%s) %s)' % [
        self.labels(),
        self.gauge('up', matchers, target),
        self.labels(target),
        self.gauge('ack_exporter_leader', matchers, target),
      ],

    // A gauge of what is about the cluster as a whole: a series for each cluster and value of the labels in extra.
    ofCluster(metric, matchers='', extra=[])::
      'max by (%s) (%s)' % [join([config.clusterLabel] + extra), self.select(metric, matchers)],

    // A gauge of the cluster role about nodes, under our name of the label: a series for each node and value of the labels
    // in extra. Where two replicas tell for a while, the largest.
    ofNode(metric, matchers='', extra=[])::
      local series = self.select(metric, matchers);
      'max by (%s) (%s)' % [
        self.labels(extra),
        if config.nodeLabel == 'node' then series
        else 'label_replace(%s, "%s", "$1", "node", "(.+)")' % [series, config.nodeLabel],
      ],

    // Certificates lie on nodes, where these are the sources, or belong to the cluster: matchers of both.
    nodeSources:: 'file|kubeconfig',
    ofNodes:: 'source=~"%s"' % self.nodeSources,
    ofNoNode:: 'source!~"%s"' % self.nodeSources,

    // Clusters whose pods reach Services past IPVS and connection tracking of the
    // nodes: Terway in IPvlan mode, where that can be seen.
    pastIPVS:: self.ofCluster('ack_nodelocaldns_terway_check', 'check="host_stack_cidrs"'),

    // Growth a second of a counter.
    rate(metric, window, matchers='', extra=[])::
      'max by (%s) (rate(%s[%s]))' % [self.labels(extra), self.select(metric, matchers), window],

    // Growth of a counter within the window.
    increase(metric, window, matchers='', extra=[])::
      'max by (%s) (increase(%s[%s]))' % [self.labels(extra), self.select(metric, matchers), window],

    // The same of a counter of what the exporter itself has done. Each pod does work of its own: their counts add up.
    work(metric, window, matchers='', extra=[])::
      'sum by (%s) (increase(%s[%s]))' % [self.labels(extra), self.select(metric, matchers), window],
  },
}
