local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

// Certificates, wherever they lie. An alert is about what stands at a place, by its name: never about a serial number, so
// that a renewal ends it, and about a node only where the place is one of that node.
{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local cluster = config.clusterLabel,

  local where = ['source', 'location', 'key'],
  local who = where + ['subject'],
  // Joins parts about different places.
  local orElse(parts, labels=who) = std.join('or on (%s)\n' % q.labels(labels), parts),

  // Places whose certificates are judged alike, those of nodes first.
  local place(matcher, by) = {
    local of(operator, metric, matchers) = '%s by (%s) (%s)' % [operator, by, q.select(metric, std.join(', ', [matcher] + matchers))],
    notAfter: of('max', 'ack_certificate_not_after_timestamp_seconds', []),
    notBefore: of('max', 'ack_certificate_not_before_timestamp_seconds', []),
    earliest: of('min', 'ack_certificate_not_before_timestamp_seconds', []),
    class(matchers):: of('max', 'ack_certificate_info', ['class' + matchers]),
  },
  local byCluster(labels) = std.join(', ', [cluster] + labels),
  local onNodes = place(q.ofNodes, q.labels(who)),
  // Of a caBundle one certificate suffices: the old one may stay after its successor has come.
  local bundles = place('source=~"webhook|apiservice|crd"', byCluster(where)),
  local secrets = place('source="secret"', byCluster(who)),
  local traffic = place('source=~"secret|ingress|slb"', byCluster(who)),
  local listeners = place('source="slb"', byCluster(who)),
  local others = place('source!~"%s|webhook|apiservice|crd|secret"' % q.nodeSources, byCluster(who)),
  local endpoints = place('source!~"%s|webhook|apiservice|crd|secret|ingress|slb"' % q.nodeSources, byCluster(who)),

  local expired(place, class) = |||
    time() - %s >= 0
    and %s
  ||| % [place.notAfter, place.class(class)],

  // Days do for those that live for years; of those that live for hours it takes a share of their life.
  local expiring(place, class, days, share) = |||
    %(notAfter)s - time() > 0 < %(days)g * 86400
    < %(share)g * (
      %(notAfter)s
      - %(notBefore)s
    )
    and %(class)s
  ||| % { notAfter: place.notAfter, notBefore: place.notBefore, class: place.class(class), days: days, share: share },

  // Of one whose beginning is not known only the days count, and its life cannot be short.
  local endless(place, class, days) = |||
    %s - time() > 0 < %g * 86400
    unless %s
    and %s
  ||| % [place.notAfter, days, place.notBefore, place.class(class)],

  // What is told with 1, wherever it is.
  local told(metric, matchers) = orElse([
    q.gauge(metric, std.join(', ', [q.ofNodes] + matchers), where) + ' == 1\n',
    q.ofCluster(metric, std.join(', ', [q.ofNoNode] + matchers), where) + ' == 1\n',
  ], where),
  local problem(name) = told('ack_certificate_problem', ['problem="%s"' % name]),

  // Texts.
  local onNode = '{{ with $labels.%s }} on node {{ . }}{{ end }}' % config.nodeLabel,
  local it = 'the {{ $labels.source }} {{ $labels.location }}{{ with $labels.key }} ({{ . }}){{ end }}',
  local the = 'The certificate{{ with $labels.subject }} {{ . }}{{ end }} of ' + it,
  local left = '{{ $value | humanizeDuration }}',

  // Why it cannot be read. The reason is no label of the alert, which would begin anew where it changes.
  local reasons = {
    empty: 'it is empty',
    too_large: 'it is larger than the exporter reads',
    too_many: 'it holds more certificates than the exporter reads',
    no_certificate: 'it holds no certificate',
    pem: 'a PEM block in it is broken',
    der: 'what it holds is no certificate',
    key: 'its private key cannot be understood',
    kubeconfig: 'it is no kubeconfig',
    permission: 'the exporter has no right to read it',
    vanished: 'it is not there',
    not_regular: 'it is no regular file',
    loop: 'its symbolic links go in a circle',
    read: 'the file system returns an error',
    unreachable: 'nothing answers there',
    timeout: 'it does not answer in time',
    tls: 'the TLS handshake fails',
    undated: 'nothing tells when it expires',
  },
  local meaning = std.join('', [
    '{{ %s eq .Labels.reason "%s" }}%s' % [if i == 0 then 'if' else 'else if', std.objectFields(reasons)[i], reasons[std.objectFields(reasons)[i]]]
    for i in std.range(0, std.length(reasons) - 1)
  ]) + '{{ else }}{{ .Labels.reason }}{{ end }}',
  // What belongs to the cluster may carry the label of the node on which the exporter was that told it.
  local why(otherwise='') =
    '{{ $node := "" }}{{ with .Labels.%s }}{{ $node = printf ", %s=%%q" . }}{{ end }}' % [config.nodeLabel, config.nodeLabel] +
    '{{ with printf `max by (reason) (%s)` .Labels.%s .Labels.source .Labels.location .Labels.key $node | query }}' % [
      q.select('ack_certificate_errors', '%s=%%q, source=%%q, location=%%q, key=%%q%%s' % cluster),
      cluster,
    ] +
    ': {{ range $i, $found := sortByLabel "reason" . }}{{ if $i }}, {{ end }}' + meaning + '{{ end }}' + otherwise + '{{ end }}',

  // Metrics of others.
  local job(metric, matchers='') = 'max by (%s) (%s{%s})' % [
    byCluster(['job_name']),
    metric,
    std.join(', ', std.filter(function(m) m != '', [config.kubeStateMetricsSelector, config.renewalJobSelector, matchers])),
  ],
  // As namespace/name, whether or not Prometheus keeps the label namespace that the metric has.
  local ready = 'max by (%s) (label_replace(label_join(certmanager_certificate_ready_status{%s}, %s), %s))' % [
    byCluster(['location']),
    std.join(', ', std.filter(function(m) m != '', [config.certManagerSelector, 'condition="True"'])),
    '"location", "/", "exported_namespace", "namespace", "name"',
    '"location", "$1/$2", "location", "/?([^/]+)/(?:.*/)?([^/]+)"',
  ],

  prometheusAlerts+:: {
    groups+: [
      (if config.certificateInterval == null then {} else { interval: config.certificateInterval }) + {
        name: 'ack-exporter-certificates',
        rules:
          a.steps(
            'ACKCertificateExpired',
            ['CE-06', 'CE-01', 'CE-02', 'CE-03', 'CE-05', 'CE-08', 'CE-10', 'CE-12', 'CE-13'],
            function(step)
              // Whether anybody uses a Secret cannot be seen. What cert-manager keeps, somebody has asked for.
              if std.objectHas(step, 'unused') then expired(secrets, '="manual"')
              else orElse([expired(p, '!="harmless"') for p in [onNodes, bundles, others]] + [expired(secrets, '="automatic"')]),
            function(step) '%s%s expired %s ago.' % [the, if std.objectHas(step, 'unused') then '' else onNode, left],
            summary='A certificate has expired',
            impact='Whoever is asked to trust it refuses: the API server its clients, clients the API server, browsers an Ingress.',
            action='Renew it. Where those of the control plane of a dedicated cluster have expired, run the container cert-rotate with docker run on each node; no Job can do it any more.',
          ) +
          a.steps(
            'ACKCertificateExpiresSoon',
            ['CE-01', 'CE-02', 'CE-05', 'CE-08', 'CE-10', 'CE-12', 'CE-13'],
            local manual = '="manual"';
            function(step)
              orElse(
                [expiring(p, manual, step.days, step.share) for p in [onNodes, bundles]] +
                if std.objectHas(step, 'trafficDays') then [
                  expiring(endpoints, manual, step.days, step.share),
                  expiring(traffic, manual, step.trafficDays, step.share),
                  endless(listeners, manual, step.trafficDays),
                ] else [expiring(others, manual, step.days, step.share), endless(listeners, manual, step.days)]
              ),
            function(step) '%s%s expires in %s, and does not renew itself.' % [the, onNode, left],
            summary='A certificate expires soon',
            impact='Once it has expired, whoever is asked to trust it refuses. Of the control plane that is every call to the API server, of an Ingress every browser.',
            action='Renew it: the control plane and kubeconfigs of a dedicated cluster in the console, with renew.sh, or with the Job cert-rotate; a Secret by replacing it.',
          ) +
          a.steps(
            'ACKCertificateNotRenewed',
            ['CE-03', 'CE-22'],
            local automatic = '="automatic"';
            function(step) orElse([
              expiring(onNodes, automatic, step.days, step.share),
              expiring(bundles, automatic, step.days, step.certManagerShare),
              expiring(secrets, automatic, step.days, step.certManagerShare),
              expiring(others, automatic, step.managedDays, step.share),
            ]),
            function(step) '%s%s expires in %s. It should have renewed itself by now.' % [the, onNode, left],
            summary='A certificate that renews itself has not done so',
            impact='When that of a kubelet expires, its node becomes NotReady; with that of an Ingress users get errors.',
            action='Of a kubelet: check its rotation and the approval of its certificate signing requests. Of a Secret: read the conditions of the Certificate of cert-manager.',
          ) +
          a.steps(
            'ACKCertificateNotYetValid',
            ['CE-06'],
            // Of several with one name one that is valid suffices: the next one may already be there.
            function(step) orElse([
              '%s - time() > 0\nand %s\n' % [p.earliest, p.class('!="harmless"')]
              for p in [onNodes, bundles, secrets, others]
            ]),
            function(step) '%s%s becomes valid in %s only.' % [the, onNode, left],
            summary='A certificate is not valid yet',
            impact='Until then it is refused as if it had expired.',
            action='Check the clock of the node that issued it and of those that use it; else issue it again.',
          ) +
          a.steps(
            'ACKCertificateReplaced',
            ['CE-07'],
            // A serial number that was there within the window is gone, long before its end, and another stands in its place.
            function(step) |||
              max by (%(who)s) (
                max by (%(who)s, serial) (max_over_time(%(masters)s[%(window)s])) - time() > %(days)g * 86400
                unless max by (%(who)s, serial) (%(masters)s)
              )
              and max by (%(who)s) (%(masters)s)
            ||| % {
              who: q.labels(who),
              masters: q.select('ack_certificate_not_after_timestamp_seconds', config.masterCertificateSelector),
              window: step.window,
              days: step.days,
            },
            function(step) '%s%s was replaced within the last %s. The one before could have been used for %s more.' % [the, onNode, step.window, left],
            summary='A certificate of a master or of etcd was replaced long before its end',
            action='Find out who did it, and why. Leave these certificates to the renewal of ACK; a backup of the files is the only way back.',
          ) +
          a.steps(
            'ACKCertificateUntrusted',
            ['CE-08', 'CE-13'],
            function(step) problem('untrusted'),
            function(step) 'The certificate of %s%s is not issued by whom its clients are told to trust.' % [it, onNode],
            summary='A certificate is not issued by whom its clients trust',
            impact='Clients refuse it with "certificate signed by unknown authority": those of the API server, or the API server as a client of a webhook, so that Ingresses or pods are rejected.',
            action='Of a webhook: deploy it again, so that caBundle and certificate fit, and do not let two controllers share its resources. Of the API server: renew it together with the certificates of the control plane.',
          ) +
          a.steps(
            'ACKCertificateNameMissing',
            ['CE-09', 'CE-13'],
            function(step) q.ofCluster('ack_certificate_problem', 'source!="ingress", problem="name_missing"', where) + ' == 1',
            function(step) 'The certificate of %s does not cover the name by which clients call.' % it,
            summary='A certificate lacks a name or an address that clients use',
            action='Of the API server: add the name or the address to the custom SANs, off-peak, because that restarts it. Of a webhook: issue its certificate for the name of its Service.',
          ) +
          a.steps(
            'ACKIngressHostNotCovered',
            ['CE-11'],
            function(step) q.ofCluster('ack_certificate_problem', 'source="ingress", problem="name_missing"', where) + ' == 1',
            function(step) 'The Ingress {{ $labels.location }} serves the host {{ $labels.key }} with a certificate that does not cover it.',
          ) +
          a.steps(
            'ACKTLSSecretUnusable',
            ['CE-10'],
            function(step) '%s == 1\nor\n%s == 1' % [
              q.ofCluster('ack_certificate_errors', 'source=~"secret|ingress"', where),
              q.ofCluster('ack_certificate_problem', 'source=~"secret|ingress", problem="key_mismatch"', where),
            ],
            function(step) 'TLS cannot be served with what %s has' % it + why('{{ else }}: its private key is that of another certificate') + '.',
            summary='The certificate of a Secret or an Ingress cannot be used',
            impact='Where an Ingress uses it, users get HTTPS errors, or a certificate that stands in for it and that no browser trusts.',
          ) +
          a.steps(
            'ACKCertificateKeyMismatch',
            ['CE-24'],
            function(step) orElse([
              q.gauge('ack_certificate_problem', q.ofNodes + ', problem="key_mismatch"', where) + ' == 1\n',
              q.ofCluster('ack_certificate_problem', 'source!~"%s|secret|ingress", problem="key_mismatch"' % q.nodeSources, where) + ' == 1\n',
            ], where),
            function(step) 'The private key of %s%s is not that of the certificate beside it.' % [it, onNode],
          ) +
          a.steps(
            'ACKCertificateOutlivesIssuer',
            ['CE-05'],
            function(step) problem('issuer_expires_first'),
            function(step) 'A certificate that issued the one of %s%s expires before it.' % [it, onNode],
            summary='A certificate outlives the one that issued it',
            impact='It is of no use any more when its issuer expires, which is earlier than its own date says.',
            action='Renew the issuer in time, and with it what it has issued.',
          ) +
          a.steps(
            'ACKCertificateUnreadable',
            ['CE-23', 'CE-12'],
            function(step) orElse([
              q.gauge('ack_certificate_errors', q.ofNodes, where) + ' == 1\n',
              q.ofCluster('ack_certificate_errors', 'source!~"%s|secret|ingress"' % q.nodeSources, where) + ' == 1\n',
            ], where),
            function(step) 'The certificate of %s%s cannot be read' % [it, onNode] + why() + '.',
          ),
      },
      {
        name: 'ack-exporter-certificates-of-others',
        rules:
          a.steps(
            'ACKCertificateRenewalJobFailed',
            ['CE-14'],
            function(step) |||
              %(failed)s == 1
              or
              time() - %(started)s > %(seconds)d
              unless %(complete)s == 1
            ||| % {
              failed: job('kube_job_failed', 'condition="true"'),
              started: job('kube_job_status_start_time'),
              complete: job('kube_job_complete', 'condition="true"'),
              seconds: step.seconds,
            },
            function(step) 'The Job {{ $labels.job_name }}, which renews certificates, {{ if gt $value 1.0 }}has not completed within %s{{ else }}has failed{{ end }}.' % left,
          ) +
          a.steps(
            'ACKCertManagerCertificateNotReady',
            ['CE-22'],
            function(step) ready + ' == 0',
            function(step) 'The Certificate {{ $labels.location }} of cert-manager is not ready.',
          ),
      },
    ],
  },
}
