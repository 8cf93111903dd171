(import 'overview.libsonnet') +
(import 'conntrack-ipvs.libsonnet') +
(import 'dns.libsonnet') +
(import 'cluster.libsonnet') +
(import 'certificates.libsonnet') +
(import 'load-balancers.libsonnet') +
(import 'node.libsonnet') +
(import 'health.libsonnet')
