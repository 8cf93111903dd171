// An example configuration of Alertmanager for these alerts: routes by severity,
// one notification for each alert of a cluster however many nodes it concerns,
// and inhibition of what only repeats something worse. It is used sparingly: of an
// alert that ends while it is inhibited, Alertmanager does not tell that it ended.
{
  local config = $._config,
  local c = config.alertmanager,
  local node = [config.clusterLabel, config.nodeLabel],
  local inhibit(source, target, equal=node) = { source_matchers: source, target_matchers: target, equal: equal },

  alertmanagerConfig:: {
    route: {
      receiver: 'tickets',
      group_by: [config.clusterLabel, 'alertname'],
      group_wait: c.groupWait,
      group_interval: c.groupInterval,
      repeat_interval: c.warningRepeatInterval,
      routes: [{
        receiver: 'pager',
        matchers: ['severity="critical"'],
        repeat_interval: c.criticalRepeatInterval,
      }],
    },
    inhibit_rules: [
      // The two steps of one alert.
      inhibit(['severity="critical"'], ['severity="warning"'], node + ['alertname']),
      // These collectors fail because of where the exporter runs.
      inhibit(['alertname="ACKExporterWrongNetworkNamespace"'], ['alertname="ACKExporterCollectorFailing"', 'collector=~"conntrack_table|ipvs|sysctl"']),
    ],
    receivers: [
      { name: 'pager', webhook_configs: [{ url: c.criticalURL }] },
      { name: 'tickets', webhook_configs: [{ url: c.warningURL }] },
    ],
  },
}
