(import 'overview.libsonnet') +
(import 'conntrack-ipvs.libsonnet') +
(import 'dns.libsonnet') +
(import 'cluster.libsonnet') +
(import 'certificates.libsonnet') +
(import 'instances.libsonnet') +
(import 'load-balancers.libsonnet') +
(import 'cloud-network.libsonnet') +
(import 'node.libsonnet') +
(import 'health.libsonnet')
