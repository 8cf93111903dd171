local dashboard = import '../lib/dashboard.libsonnet';

// When certificates expire, and what else is wrong with them.
{
  local config = $._config,
  local d = dashboard.new($),
  local q = d.queries(byNode=false),
  local levels = config.alerts,
  local rows = 2 * config.dashboardTop,

  // By name, whatever serial number it has: of several the one that counts longest.
  local dates(metric) = q.certificates('ack_certificate_%s_timestamp_seconds' % metric, ['subject', 'serial'], by=['subject']),
  local notAfter = dates('not_after'),
  local life = '(%s - %s)' % [notAfter, dates('not_before')],
  local classed(matcher) = q.certificates('ack_certificate_info', ['subject', 'serial', 'issuer', 'role', 'class'], 'class%s' % matcher, ['subject']),
  local manual = classed('="manual"'),
  local automatic = classed('="automatic"'),
  local failures = q.certificates('ack_certificate_errors', ['reason'], by=['reason']),
  local problems = q.certificates('ack_certificate_problem', ['problem'], by=['problem']),
  local locations = q.gauge('ack_certificate_locations', extra=['source']),

  // How many, and 0 only where something is watched.
  local count(expr) = 'count(%s) or 0 * count(%s)' % [expr, locations],
  local expired = count('time() - %s >= 0 and %s' % [notAfter, classed('!="harmless"')]),
  local soon = count('%s - time() > 0 < %d * 86400 and %s' % [notAfter, levels.ACKCertificateExpiresSoon.warning.trafficDays, manual]),

  local yes = d.value('A', 'Now') + d.words({ '1': ['yes', 'text'] }) + d.width(80),
  local none = d.noValue('none'),
  local unseen = d.noValue('no certificate is watched'),
  // Paths are long: what is short leaves them the room.
  local whereColumns = [
    d.clusterColumn + d.width(120),
    d.nodeColumn() + d.width(180),
    d.column('source', 'Source') + d.width(100),
    d.column('location', 'Location') + d.width(340),
    d.column('key', 'Key'),
  ],
  local whoColumns = whereColumns + [d.column('subject', 'Subject')],
  local date(refId, name) = d.value(refId, name, 'dateTimeAsIso') + d.width(170),
  local distance(refId, name) = d.value(refId, name, 'dateTimeFromNow') + d.width(130),
  // The ones that expire next, as points in time.
  local next(class) = '1000 * sort(bottomk(%d, %s and %s))' % [rows, notAfter, class],
  local kinds = 'Files and kubeconfigs lie on nodes; Secrets, webhooks and endpoints belong to the cluster.',

  local now = [
    d.stat(
      'Expired',
      'Certificates that have expired, those aside of which the manual says that nothing depends on them.',
      'none',
      expired
    ) + d.any('red') + d.unknown('no data') + { alerts:: ['ACKCertificateExpired'] },
    d.stat(
      'Expire soon',
      'Certificates that somebody has to renew, and that expire within %d days. Those of the control plane are told of earlier.' % levels.ACKCertificateExpiresSoon.warning.trafficDays,
      'none',
      soon
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKCertificateExpiresSoon'] },
    d.stat(
      'Not renewed',
      'Certificates that renew themselves, of kubelets and of cert-manager, and that have less than %g %% of their life left.' % (100 * levels.ACKCertificateNotRenewed.warning.share),
      'none',
      count('(%s - time()) / %s < %g and %s' % [notAfter, life, levels.ACKCertificateNotRenewed.warning.share, automatic])
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKCertificateNotRenewed'] },
    d.stat(
      'Not valid yet',
      'Certificates whose time has not come.',
      'none',
      count('%s - time() > 0' % dates('not_before'))
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKCertificateNotYetValid'] },
    d.stat(
      'Cannot be read',
      'Places that should hold a certificate, and where none can be read.',
      'none',
      count(failures)
    ) + d.any('yellow') + d.unknown('no data') + { alerts:: ['ACKCertificateUnreadable', 'ACKTLSSecretUnusable'] },
    d.stat(
      'Other problems',
      'Certificates that are wrong in another way than by their dates.',
      'none',
      count(problems)
    ) + d.any('yellow') + d.unknown('no data') + {
      alerts:: ['ACKCertificateUntrusted', 'ACKCertificateNameMissing', 'ACKIngressHostNotCovered', 'ACKCertificateKeyMismatch', 'ACKCertificateOutlivesIssuer'],
    },
    d.table(
      'Expire next: renewed by somebody',
      'The %d certificates that expire next among those that a person renews. %s' % [rows, kinds],
      [next(manual), next(manual)],
      whoColumns + [date('A', 'Expires'), distance('B', 'That is')],
      [['Expires', false]],
    ) + unseen + { alerts:: ['ACKCertificateExpiresSoon', 'ACKCertificateExpired'], w:: 24, h:: 10 },
    d.table(
      'Expire next: renewed by themselves',
      'The %d certificates that expire next among those that kubelets, cert-manager or ACK renew. A date that is near is normal; that it does not move is not.' % rows,
      [next(automatic), next(automatic)],
      whoColumns + [date('A', 'Expires'), distance('B', 'That is')],
      [['Expires', false]],
    ) + unseen + { alerts:: ['ACKCertificateNotRenewed', 'ACKCertificateExpired'], w:: 24, h:: 7 },
  ],

  local wrong = [
    d.row('What else is wrong'),
    d.table(
      'Cannot be read, and why',
      'permission: the exporter lacks the right. vanished: what is named is not there, such as the Secret of an Ingress. unreachable, timeout, tls: the endpoint does not answer as it should. The others: what is there is no certificate.',
      [failures],
      whereColumns + [d.column('reason', 'Reason'), yes],
      [['Location', false]],
    ) + none + { alerts:: ['ACKCertificateUnreadable', 'ACKTLSSecretUnusable'], w:: 24, h:: 7 },
    d.table(
      'Problems',
      'key_mismatch: the private key is that of another certificate. issuer_expires_first: it outlives one that it needs. untrusted: its clients are told to trust another issuer. name_missing: it does not cover the name of the key, by which clients call.',
      [problems],
      whereColumns + [d.column('problem', 'Problem'), yes],
      [['Location', false]],
    ) + none + {
      alerts:: ['ACKCertificateUntrusted', 'ACKCertificateNameMissing', 'ACKIngressHostNotCovered', 'ACKCertificateKeyMismatch', 'ACKTLSSecretUnusable', 'ACKCertificateOutlivesIssuer'],
      w:: 24,
      h:: 7,
    },
  ],

  local job(metric, matchers='') = 'max by (%s, job_name) (%s{%s})' % [
    config.clusterLabel,
    metric,
    std.join(', ', [config.kubeStateMetricsSelector, config.renewalJobSelector, '%s=~"$cluster"' % config.clusterLabel] + (if matchers == '' then [] else [matchers])),
  ],
  local ready = 'max by (%s, location) (label_replace(label_join(certmanager_certificate_ready_status{%s}, "location", "/", "exported_namespace", "namespace", "name"), "location", "$1/$2", "location", "/?([^/]+)/(?:.*/)?([^/]+)"))' % [
    config.clusterLabel,
    std.join(', ', (if config.certManagerSelector == '' then [] else [config.certManagerSelector]) + ['%s=~"$cluster"' % config.clusterLabel, 'condition="True"']),
  ],

  local renewals = [
    d.row('Renewals'),
    d.table(
      'Issued last',
      'The %d certificates that were issued last, with their serial numbers in hexadecimal. Those of masters and of etcd are replaced only when they are renewed.' % rows,
      ['1000 * sort_desc(topk(%d, %s))' % [rows, q.certificates('ack_certificate_not_before_timestamp_seconds', ['subject', 'serial'], by=['subject', 'serial'])]],
      whoColumns + [d.column('serial', 'Serial'), date('A', 'Issued')],
      [['Issued', true]],
    ) + unseen + { alerts:: ['ACKCertificateReplaced'], w:: 24, h:: 9 },
    d.timeseries(
      'Time left',
      'How long the certificates that expire next are still valid. A line that jumps up is a renewal; one that goes on falling is none.',
      's',
      [d.range('bottomk(%d, %s - time() > 0)' % [config.dashboardTop, notAfter], '{{%s}} {{source}} {{location}} {{key}} {{subject}} {{%s}}' % [config.nodeLabel, config.clusterLabel])]
    ) + unseen + {
      // The one that expires first comes first.
      options+: { legend+: { sortDesc: false } },
      alerts:: ['ACKCertificateExpiresSoon', 'ACKCertificateNotRenewed'],
      w:: 24,
      h:: 10,
    },
    d.table(
      'Jobs that renew certificates',
      'Jobs in kube-system that renew the certificates of a dedicated cluster, one for its masters and one for its workers.',
      [
        '1000 * %s' % job('kube_job_status_start_time'),
        job('kube_job_complete', 'condition="true"'),
        job('kube_job_failed', 'condition="true"'),
      ],
      [
        d.clusterColumn,
        d.column('job_name', 'Job'),
        d.value('A', 'Started', 'dateTimeFromNow'),
        d.value('B', 'Completed') + d.words({ '0': ['no', 'text'], '1': ['yes', 'green'] }),
        d.value('C', 'Failed') + d.words({ '0': ['no', 'text'], '1': ['yes', 'red'] }),
      ],
      [['Started', true]],
    ) + d.noValue('none, or kube-state-metrics is not scraped') + { alerts:: ['ACKCertificateRenewalJobFailed'], h:: 7 },
    d.table(
      'Certificates of cert-manager that are not ready',
      'Their names, as namespace/name. They were not issued, or not renewed.',
      [ready + ' == 0'],
      [
        d.clusterColumn,
        d.column('location', 'Certificate'),
        d.value('A', 'Ready') + d.words({ '0': ['no', 'red'] }),
      ],
      [['Certificate', false]],
    ) + d.noValue('none, or cert-manager is not scraped') + { alerts:: ['ACKCertManagerCertificateNotReady'], h:: 7 },
  ],

  local collector(metric) = q.gauge('ack_exporter_collector_' + metric, 'collector=~"certificate_.+"', ['collector']),

  local watched = [
    d.row('What is watched'),
    d.table(
      'Certificates by source',
      'How many there are of each source, role and class. manual: a person renews them. automatic: they renew themselves. harmless: the manual says that nothing depends on them.',
      ['count by (%s, source, role, class) (%s)' % [config.clusterLabel, q.certificates('ack_certificate_info', ['subject', 'serial', 'issuer', 'role', 'class'], by=['subject', 'serial', 'role', 'class'])]],
      [
        d.clusterColumn,
        d.column('source', 'Source'),
        d.column('role', 'Role'),
        d.column('class', 'Class'),
        d.value('A', 'Certificates', 'none'),
      ],
      [['Certificates', true]],
    ) + unseen + { h:: 9 },
    d.timeseries(
      'Locations by source',
      'Places at which at least one certificate was read, on all nodes and in the cluster. Where a line falls, certificates are gone, or are not seen any more.',
      'short',
      [d.range(q.sum(locations, ['source']), '{{source}}')]
    ) + { alerts:: ['ACKCertificateUnreadable'] },
    d.table(
      'Collectors',
      'The collectors of certificates, failing ones first. One that does not apply finds nothing to read where it runs; that is no fault.',
      [
        collector('success'),
        collector('applicable'),
        '1000 * (%s > 0)' % collector('last_success_timestamp_seconds'),
      ],
      [
        d.clusterColumn,
        d.nodeColumn(),
        d.column('collector', 'Collector'),
        d.value('A', 'Succeeds') + d.words({ '0': ['no', 'red'], '1': ['yes', 'green'] }),
        d.value('B', 'Applies') + d.words({ '0': ['no', 'text'], '1': ['yes', 'text'] }),
        d.value('C', 'Last success', 'dateTimeFromNow') + d.property('noValue', 'never'),
      ],
      [['Succeeds', false], ['Collector', false]],
    ) + d.noValue('no exporter') + { alerts:: ['ACKExporterCollectorFailing', 'ACKExporterCollectorStale'], w:: 24, h:: 7 },
  ],

  // For the overview.
  _certificates:: { soon: soon, expired: expired, next: next(manual), columns: whoColumns + [distance('A', 'Expires')], days: levels.ACKCertificateExpiresSoon.warning.trafficDays, rows: rows },

  grafanaDashboards+:: {
    'ack-exporter-certificates.json': d.dashboard(
      'ack-exporter-certificates',
      'Certificates',
      'When certificates expire, wherever they lie, who should have renewed them, and what else is wrong with them.',
      now + wrong + renewals + watched,
      byNode=false,
    ),
  },
}
