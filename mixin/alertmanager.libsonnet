// An example configuration of Alertmanager for these alerts: routes by severity,
// one notification for each alert of a cluster however many nodes it concerns,
// and inhibition of what only repeats something worse. It is used sparingly: of an
// alert that ends while it is inhibited, Alertmanager does not tell that it ended.
{
  local config = $._config,
  local c = config.alertmanager,
  local node = [config.clusterLabel, config.nodeLabel],
  local named(alerts) = 'alertname=~"%s"' % std.join('|', alerts),
  local reclaims = ['ACKSpotInterruptionNotice', 'ACKInstanceReclaiming', 'ACKNodeInstanceExpired'],
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
      // A reclaim is part of the deal, and explains whatever falls silent on the node while it goes. Neither the alert that
      // tells how long is left nor what is wrong in the cluster is left out for it.
      inhibit([named(reclaims)], [named([
        'ACKExporterDown',
        'ACKExporterMissing',
        'ACKExporterCollectorFailing',
        'ACKExporterCollectorStale',
        'ACKDNSFailing',
        'ACKDNSExternalFailing',
        'ACKDNSSlow',
        'ACKVPCResolverFailing',
        'ACKDNSPortBlocked',
        'ACKDNSKeptSocketFailing',
        'ACKNodeLocalDNSFailing',
        'ACKNodeLocalDNSListenerMissing',
        'ACKInstanceNotRunning',
        'ACKInstanceUnknown',
      ])]),
      // The node itself says it first, and says when.
      inhibit(['alertname="ACKSpotInterruptionNotice"'], [named(['ACKInstanceReclaiming', 'ACKNodeInstanceExpired'])]),
      // A lock stops the instance.
      inhibit(['alertname="ACKInstanceLocked"'], ['alertname="ACKInstanceNotRunning"']),
    ],
    receivers: [
      { name: 'pager', webhook_configs: [{ url: c.criticalURL }] },
      { name: 'tickets', webhook_configs: [{ url: c.warningURL }] },
    ],
  },
}
