(import 'config.libsonnet') +
(import 'rules/rules.libsonnet') +
(import 'rules/dnsprobe.libsonnet') +
(import 'rules/coredns.libsonnet') +
(import 'alerts/alerts.libsonnet') +
(import 'dashboards/dashboards.libsonnet') +
(import 'alertmanager.libsonnet')
