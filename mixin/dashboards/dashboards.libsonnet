(import 'overview.libsonnet') +
(import 'conntrack-ipvs.libsonnet') +
(import 'dns.libsonnet') +
(import 'cluster.libsonnet') +
(import 'certificates.libsonnet') +
(import 'cloud-network.libsonnet') +
(import 'node.libsonnet') +
(import 'health.libsonnet')
