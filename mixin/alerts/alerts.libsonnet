(import 'conntrack.libsonnet') +
(import 'ipvs.libsonnet') +
(import 'sysctl.libsonnet') +
(import 'kernel.libsonnet') +
(import 'exporter.libsonnet')
