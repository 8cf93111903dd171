local query = import 'query.libsonnet';

// A small library of Grafana dashboards: six types of panels, laid out from left
// to right, each with its data source, unit, description and identity.
{
  new(mixin):: {
    local config = mixin._config,
    local q = query.new(config),
    local join(parts, separator=', ') = std.join(separator, std.filter(function(part) part != '', parts)),
    local datasource = { type: 'prometheus', uid: '${datasource}' },

    // ---- Queries ----

    // Queries for what the variables of the dashboard choose: the clusters, and
    // the nodes where byNode is set.
    queries(byNode=true):: {
      local selected = join([
        '%s=~"$cluster"' % config.clusterLabel,
        if byNode then '%s=~"$node"' % config.nodeLabel else '',
      ]),
      local selectedAnd(matchers) = join([selected, matchers]),

      // Labels of a node, as in "cluster, node".
      labels:: q.labels,
      gauge(metric, matchers='', extra=[]):: q.gauge(metric, selectedAnd(matchers), extra),
      exporters():: q.exporters(selected),
      // Of what the cluster role says of nodes, for dashboards that do not choose nodes.
      ofNode(metric, matchers='', extra=[]):: q.ofNode(metric, selectedAnd(matchers), extra),
      ofCluster(metric, matchers='', extra=[]):: q.ofCluster(metric, selectedAnd(matchers), extra),
      rate(metric, matchers='', extra=[]):: q.rate(metric, '$__rate_interval', selectedAnd(matchers), extra),
      // Growth within the resolution of a graph.
      increase(metric, matchers='', extra=[]):: q.increase(metric, '$__rate_interval', selectedAnd(matchers), extra),
      lastHour(metric, matchers='', extra=[]):: q.increase(metric, '1h', selectedAnd(matchers), extra),

      clusterLabel:: config.clusterLabel,
      // Counters of the cluster role: growth a second, and within an hour.
      rateOfCluster(metric, matchers='', extra=[]):: grown('rate', metric, '$__rate_interval', matchers, extra),
      hourOfCluster(metric, matchers='', extra=[]):: grown('increase', metric, '1h', matchers, extra),
      local grown(growth, metric, window, matchers, extra) =
        'max by (%s) (%s(%s[%s]))' % [join([config.clusterLabel] + extra), growth, q.select(metric, selectedAnd(matchers)), window],

      // What is told of certificates, of a node where they lie on one and else of the cluster, by these labels.
      // all: those that the metric has besides source, location and key.
      certificates(metric, all, matchers='', by=[])::
        local told(place) = self.gauge(metric, join([place, matchers]), ['source', 'location', 'key'] + all);
        local labels = ['source', 'location', 'key'] + by;
        '(max by (%s) (%s) or max by (%s) (%s))' % [
          q.labels(labels),
          told(q.ofNodes),
          join([config.clusterLabel] + labels),
          told(q.ofNoNode),
        ],

      // Counters of CoreDNS itself, and of its containers: growth a second.
      coredns(metric, matchers='', by=[])::
        'sum by (%s) (rate(%s{%s}[$__rate_interval]))' % [
          join([config.clusterLabel] + by),
          metric,
          join([config.corednsSelector, selectedAnd(matchers)]),
        ],
      corednsContainer(counted)::
        'max by (%s) (rate(container_cpu_cfs_%s_total{%s}[$__rate_interval]))' % [
          join([config.clusterLabel, 'pod']),
          counted,
          join([config.corednsContainerSelector, selected]),
        ],

      // The share of the connection tracking table that each node uses; not the
      // recorded one, so that it is seen without the rules too.
      conntrackUsage:: '%s / (%s > 0)' % [self.gauge('ack_conntrack_entries'), self.gauge('ack_conntrack_entries_limit')],

      // Real nodes that Kubernetes has, by our name of the label.
      nodes:: q.state('kube_node_info', join([config.realNodeSelector, '%s=~"$cluster"' % config.clusterLabel])),

      local firing = 'alertname=~"ACK.+", alertstate="firing"',

      // How many alerts fire. 0 is shown only where Prometheus evaluates the
      // rules, as what they record tells: without them nothing fires either.
      alerts(matchers=''):: 'count(ALERTS{%s}) or 0 * count(%s{%s})' % [
        join([firing, matchers, selected]),
        mixin._rules.conntrackUsage,
        selected,
      ],

      // Since when each alert is active, in milliseconds. What tells alerts of one name and node apart is the label
      // about, whatever label of the alert has it: none has two of them, but for the place and the name of a certificate, and an SLB instance
      // and what is wrong with it.
      alertsSince::
        local since = 'ALERTS_FOR_STATE{%s} and ignoring (alertstate) ALERTS{%s}' % [
          join(['alertname=~"ACK.+"', selected]),
          join([firing, selected]),
        ];
        '1000 * max by (severity, alertname, %s, about) (label_replace(label_join(%s, "about", " ", %s), "about", "$1", "about", " *(.*?) *"))' % [
          q.labels(),
          since,
          join(['"%s"' % label for label in ['check', 'collector', 'configmap', 'event', 'job_name', 'product', 'protocol', 'reason', 'result', 'route_table_id', 'server', 'type', 'use', 'zone', 'source', 'location', 'key', 'subject', 'load_balancer_id', 'kind', 'quota']]),
        ],

      // How many of the series are 0, which stands for no.
      no(expr):: 'sum(%s == bool 0)' % expr,
      local aggregate(operator, expr, by) = '%s%s (%s)' % [operator, if by == [] then '' else ' by (%s)' % join(by), expr],
      sum(expr, by=[]):: aggregate('sum', expr, by),
      min(expr, by=[]):: aggregate('min', expr, by),
      max(expr, by=[]):: aggregate('max', expr, by),
      top(expr):: 'topk(%d, %s)' % [config.dashboardTop, expr],
      // For lists of one point in time.
      sortedTop(expr):: 'sort_desc(%s)' % self.top(expr),
    },

    // Names a series of a node.
    nodeLegend:: '{{%s}} {{%s}}' % [config.nodeLabel, config.clusterLabel],

    local target(expr, legend) = {
      datasource: datasource,
      expr: expr,
      legendFormat: legend,
    },
    // A query over the time range.
    range(expr, legend):: target(expr, legend) { format: 'time_series', instant: false, range: true },
    // A query at its end: one series a value.
    instant(expr, legend=''):: target(expr, legend) { format: 'time_series', instant: true, range: false },
    local rows(expr) = target(expr, '') { format: 'table', instant: true, range: false },

    // Names of the alerts of a group of rules.
    alertsOf(group):: std.set([
      rule.alert
      for rules in mixin.prometheusAlerts.groups
      if rules.name == group
      for rule in rules.rules
    ]),

    // ---- Thresholds ----

    local steps(base, others) = {
      fieldConfig+: { defaults+: { thresholds: { mode: 'absolute', steps: [{ color: base, value: null }] + others } } },
    },
    local severityColors = { warning: 'yellow', critical: 'red' },

    // Yellow and red where the alert, which says so in _config, warns and calls.
    // whole is for whole numbers: more than 10 begins at 11. Where both have the
    // same level, duration tells them apart, which no threshold can show.
    above(alert, whole=false)::
      local levels = config.alerts[alert];
      local level(severity) = if std.objectHas(levels, severity) then levels[severity].above + (if whole then 1 else 0) else null;
      steps('green', [
        { color: severityColors[severity], value: level(severity) }
        for severity in ['warning', 'critical']
        if level(severity) != null && !(severity == 'critical' && level('warning') == level('critical'))
      ]),
    below(alert):: steps('yellow', [{ color: 'green', value: config.alerts[alert].warning.below }]),
    // One is bad.
    any(color):: steps('green', [{ color: color, value: 1 }]),
    // Lines in a graph at the thresholds.
    thresholdLines:: { fieldConfig+: { defaults+: { custom+: { thresholdsStyle: { mode: 'dashed' } } } } },
    // A number that is neither good nor bad.
    neutral:: { fieldConfig+: { defaults+: { color: { mode: 'fixed', fixedColor: 'text' } } } },

    // ---- Links ----

    local link(title, uid, node) = {
      title: title,
      url: '/d/%s?var-node=%s&${cluster:queryparam}&${datasource:queryparam}&${__url_time_range}' % [uid, node],
      targetBlank: false,
    },
    // From a cell of a table whose row is about a node, to a dashboard about it.
    linkFromRow(title, uid):: link(title, uid, '${__data.fields.%s}' % config.nodeLabel),
    openNode:: self.linkFromRow('Open this node', 'ack-exporter-node'),
    openConntrack:: self.linkFromRow('Open its connection tracking', 'ack-exporter-conntrack-ipvs'),
    openDNS:: self.linkFromRow('Open its DNS', 'ack-exporter-dns'),
    openCertificates:: self.linkFromRow('Open the certificates', 'ack-exporter-certificates'),
    // From a bar or a line that is about a node.
    linkFromSeries(title, uid):: { fieldConfig+: { defaults+: { links: [link(title, uid, '${__field.labels.%s}' % config.nodeLabel)] } } },

    // ---- Panels ----

    // meaning: what is shown, and what is bad
    // alerts:: the alerts that watch it; null where the panel is about alerts
    local panel(type, title, meaning) = {
      local this = self,
      alerts:: [],
      w:: 12,
      h:: 8,
      type: type,
      title: title,
      description: join([
        meaning,
        if this.alerts == null then ''
        else if this.alerts == [] then 'No alert watches it.'
        else 'Watched by %s.' % join(this.alerts),
      ], ' '),
      // The version whose options these are: Grafana migrates them to its own.
      pluginVersion: '12.0.0',
    },

    local dataPanel(type, title, meaning, unit, targets) = panel(type, title, meaning) {
      datasource: datasource,
      targets: [targets[i] { refId: std.char(std.codepoint('A') + i) } for i in std.range(0, std.length(targets) - 1)],
      fieldConfig: {
        defaults: {
          color: { mode: 'thresholds' },
          mappings: [],
          unit: unit,
          custom: {},
        },
        overrides: [],
      } + steps('green', []).fieldConfig,
    },

    timeseries(title, meaning, unit, targets):: dataPanel('timeseries', title, meaning, unit, targets) {
      h:: 9,
      fieldConfig+: { defaults+: {
        color: { mode: 'palette-classic' },
        // Everything that is shown counts something: a graph begins at 0.
        min: 0,
        custom: {
          axisBorderShow: false,
          axisCenteredZero: false,
          axisColorMode: 'text',
          axisLabel: '',
          axisPlacement: 'auto',
          barAlignment: 0,
          drawStyle: 'line',
          fillOpacity: 10,
          gradientMode: 'none',
          hideFrom: { legend: false, tooltip: false, viz: false },
          insertNulls: false,
          lineInterpolation: 'linear',
          lineWidth: 1,
          pointSize: 5,
          scaleDistribution: { type: 'linear' },
          showPoints: 'never',
          spanNulls: false,
          stacking: { group: 'A', mode: 'none' },
          thresholdsStyle: { mode: 'off' },
        },
      } },
      options: {
        legend: { calcs: ['lastNotNull', 'max'], displayMode: 'table', placement: 'bottom', showLegend: true, sortBy: 'Last *', sortDesc: true },
        tooltip: { hideZeros: false, mode: 'multi', sort: 'desc' },
      },
    },
    stacked:: { fieldConfig+: { defaults+: { custom+: { fillOpacity: 60, stacking: { group: 'A', mode: 'normal' } } } } },
    bars:: { fieldConfig+: { defaults+: { custom+: { drawStyle: 'bars', fillOpacity: 100 } } } },

    local reduceOptions = { calcs: ['lastNotNull'], fields: '', values: false },

    stat(title, meaning, unit, expr):: dataPanel('stat', title, meaning, unit, [self.instant(expr)]) + self.unknown('no data') + {
      w:: 4,
      h:: 4,
      options: {
        colorMode: 'value',
        graphMode: 'none',
        justifyMode: 'auto',
        orientation: 'auto',
        percentChangeColorMode: 'standard',
        reduceOptions: reduceOptions,
        showPercentChange: false,
        textMode: 'value',
        wideLayout: true,
      },
    },

    bargauge(title, meaning, unit, targets):: dataPanel('bargauge', title, meaning, unit, targets) {
      fieldConfig+: { defaults+: { min: 0 } },
      options: {
        displayMode: 'basic',
        legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: false },
        maxVizHeight: 32,
        minVizHeight: 16,
        minVizWidth: 8,
        namePlacement: 'auto',
        orientation: 'horizontal',
        reduceOptions: reduceOptions,
        showUnfilled: true,
        sizing: 'auto',
        valueMode: 'color',
      },
    },

    // A table of what the queries, which end in the same labels, say of each row.
    //
    //   columns: one for each label, made by column, and one for the value of
    //     each query, made by value, in the order of the table
    //   sortBy: [[name of a column, whether it descends]]
    table(title, meaning, exprs, columns, sortBy)::
      local single = std.length(exprs) == 1;
      local field(column) = if single && std.startsWith(column.field, 'Value #') then 'Value' else column.field;
      local indices = std.range(0, std.length(columns) - 1);
      dataPanel('table', title, meaning, 'short', [rows(expr) for expr in exprs]) {
        fieldConfig+: {
          defaults+: { custom: { align: 'auto', cellOptions: { type: 'auto' }, filterable: false, inspect: false, minWidth: 70 } },
          // An empty cell says nothing: noValue is what the whole table says.
          overrides: [{ matcher: { id: 'byRegexp', options: '.*' }, properties: [{ id: 'noValue', value: '' }] }] + [
            { matcher: { id: 'byName', options: column.name }, properties: column.properties }
            for column in columns
            if column.properties != []
          ],
        },
        transformations:
          (if single then [] else [{ id: 'merge', options: {} }]) +
          [{
            id: 'organize',
            options: {
              excludeByName: { Time: true },
              includeByName: {},
              indexByName: { [field(columns[i])]: i for i in indices },
              renameByName: { [field(column)]: column.name for column in columns },
            },
          }],
        options: {
          cellHeight: 'sm',
          frameIndex: 0,
          showHeader: true,
          sortBy: [{ displayName: by[0], desc: by[1] } for by in sortBy],
        },
      },

    // Columns of a table, with functions that say more of one.
    column(field, name):: { field: field, name: name, properties: [] },
    value(refId, name, unit='short', decimals=null)::
      self.column('Value #' + refId, name) +
      self.property('unit', unit) +
      (if decimals == null then {} else self.property('decimals', decimals)),
    clusterColumn:: self.column(config.clusterLabel, 'Cluster'),
    nodeColumn(links=[self.openNode]):: self.column(config.nodeLabel, 'Node') + self.property('links', links),
    property(id, value):: { properties+: [{ id: id, value: value }] },
    // Pixels, of which the columns without a width share what is left.
    width(pixels):: self.property('custom.width', pixels),
    // Colours a cell by the thresholds that one of the functions above makes.
    colored(thresholds)::
      self.property('thresholds', thresholds.fieldConfig.defaults.thresholds) +
      self.property('color', { mode: 'thresholds' }) +
      self.property('custom.cellOptions', { type: 'color-text' }),
    // Shows words in colours for values: { '0': ['no', 'red'] }.
    words(texts)::
      local values = std.objectFields(texts);
      local word(i) = { text: texts[values[i]][0], color: texts[values[i]][1], index: i };
      local mapping = { [values[i]]: word(i) for i in std.range(0, std.length(values) - 1) };
      self.property('mappings', [{ type: 'value', options: mapping }]) +
      self.property('custom.cellOptions', { type: 'color-text' }),

    // The table of the alerts that fire.
    alertTable(title, meaning, query, nodeLinks):: self.table(
      title,
      meaning + ' The critical ones come first. "About" names the collector, event, check, ConfigMap, Job, protocol, server, Service, zone, route table, load balancer or certificate where that tells alerts apart. "Active" counts from when the condition was first true. A click on an alert opens its runbook.',
      [query],
      [
        self.column('severity', 'Severity') + self.words({ critical: ['critical', 'red'], warning: ['warning', 'yellow'] }) + self.width(90),
        self.column('alertname', 'Alert') + self.property('links', [{
          title: 'Open the runbook',
          url: config.runbookURLPrefix + '/${__value.raw}',
          targetBlank: true,
        }]) + self.width(260),
        self.clusterColumn + self.width(120),
        self.nodeColumn(nodeLinks) + self.width(190),
        // Of many alerts a node or a cluster has one only, and nothing to tell it by.
        self.column('about', 'About'),
        self.value('A', 'Active', 'dateTimeFromNow') + self.width(150),
      ],
      [['Severity', false], ['Active', false]],
    ) + self.noValue('none') + { alerts:: null },

    // What it says instead of "No data".
    noValue(text):: { fieldConfig+: { defaults+: { noValue: text } } },
    // The same where a number is missing, which must not look good.
    unknown(text):: self.noValue(text) + { fieldConfig+: { defaults+: {
      mappings: [{ type: 'special', options: { match: 'null', result: { text: text, color: 'text', index: 0 } } }],
    } } },
    // Where the axis ends as long as no value is above.
    softMax(number):: { fieldConfig+: { defaults+: { custom+: { axisSoftMax: number } } } },
    decimals(number):: { fieldConfig+: { defaults+: { decimals: number } } },

    text(title, content):: panel('text', title, '') {
      alerts:: null,
      options: {
        code: { language: 'plaintext', showLineNumbers: false, showMiniMap: false },
        content: content,
        mode: 'markdown',
      },
    },

    row(title):: {
      w:: 24,
      h:: 1,
      type: 'row',
      title: title,
      collapsed: false,
      panels: [],
    },

    // ---- Dashboards ----

    // Lines panels up from left to right, in lines as high as their highest.
    local place(panels) = std.foldl(
      function(done, panel)
        local wraps = done.x + panel.w > 24;
        local x = if wraps then 0 else done.x;
        local y = if wraps then done.y + done.height else done.y;
        {
          x: x + panel.w,
          y: y,
          height: if wraps then panel.h else std.max(done.height, panel.h),
          panels: done.panels + [panel { id: std.length(done.panels) + 1, gridPos: { x: x, y: y, w: panel.w, h: panel.h } }],
        },
      panels,
      { x: 0, y: 0, height: 0, panels: [] },
    ).panels,

    local variable(name, label, expr, multi) = {
      type: 'query',
      name: name,
      label: label,
      datasource: datasource,
      query: { query: expr, refId: 'StandardVariableQuery' },
      // On each change of the time range: nodes come and go.
      refresh: 2,
      regex: '',
      sort: 1,
      hide: 0,
      multi: multi,
      includeAll: true,
      // Matches a missing label too: where there is one cluster, none may name it.
      allValue: '.*',
      current: if multi then { text: ['All'], value: ['$__all'] } else { text: 'All', value: '$__all' },
      options: [],
      skipUrlSync: false,
    },

    local anyOf(matchers='') = q.select('ack_exporter_collector_success', matchers),

    dashboard(uid, title, description, panels, byNode=true):: {
      uid: uid,
      title: config.dashboardTitlePrefix + title,
      description: description,
      tags: config.dashboardTags,
      editable: false,
      schemaVersion: 42,
      refresh: config.dashboardRefresh,
      timezone: config.dashboardTimezone,
      time: { from: 'now-6h', to: 'now' },
      // One cross-hair in all graphs.
      graphTooltip: 1,
      annotations: { list: [] },
      links: [{
        type: 'dashboards',
        title: 'ack-exporter',
        tags: config.dashboardTags,
        asDropdown: true,
        includeVars: true,
        keepTime: true,
        targetBlank: false,
        icon: 'external link',
        tooltip: '',
        url: '',
      }],
      templating: {
        list: [{
          type: 'datasource',
          name: 'datasource',
          label: 'Data source',
          query: 'prometheus',
          refresh: 1,
          regex: '',
          hide: 0,
          multi: false,
          includeAll: false,
          current: {},
          options: [],
          skipUrlSync: false,
        }, variable('cluster', 'Cluster', 'label_values(%s, %s)' % [anyOf(), config.clusterLabel], false)] + (
          if byNode then [
            variable('node', 'Node', 'label_values(%s, %s)' % [anyOf('%s=~"$cluster"' % config.clusterLabel), config.nodeLabel], true),
          ] else []
        ),
      },
      panels: place(panels),
    },
  },
}
