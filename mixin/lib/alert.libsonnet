local catalogue = import 'catalogue.libsonnet';

{
  new(config):: {
    // An alert on a risk of the catalogue, which gives it its summary, impact and action.
    //
    //   risks: ids in the catalogue; the first is the one whose words are used
    //   step: {severity, 'for', ...} from _config
    //   summary, impact, action: other words than the catalogue's, where one risk has several alerts
    alert(name, risks, severity, expr, description, summary=null, impact=null, action=null):: {
      local step = config.alerts[name][severity],
      local risk = catalogue.risk(risks[0]),
      local or(word, other) = if word == null then other else word,

      alert: name,
      expr: std.rstripChars(expr, '\n'),
      'for': step['for'],
      keep_firing_for: config.keepFiringFor,
      labels: { severity: severity } + config.alertLabels,
      annotations: {
        summary: or(summary, risk.title) + '.',
        description: std.rstripChars(description, '\n'),
        impact: or(impact, risk.impact),
        action: or(action, risk.action),
        risks: std.join(', ', risks),
        runbook_url: '%s/%s' % [config.runbookURLPrefix, name],
      },
    },

    // The same alert at each severity that _config gives it.
    steps(name, risks, expr, description, summary=null, impact=null, action=null):: [
      self.alert(name, risks, severity, expr(config.alerts[name][severity]), description(config.alerts[name][severity]), summary, impact, action)
      for severity in ['warning', 'critical']
      if std.objectHas(config.alerts[name], severity)
    ],
  },
}
