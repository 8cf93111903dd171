(import 'overview.libsonnet') +
(import 'conntrack-ipvs.libsonnet') +
(import 'node.libsonnet') +
(import 'health.libsonnet')
