(import 'conntrack.libsonnet') +
(import 'ipvs.libsonnet') +
(import 'netstat.libsonnet') +
(import 'sysctl.libsonnet') +
(import 'kernel.libsonnet') +
(import 'dnsprobe.libsonnet') +
(import 'coredns.libsonnet') +
(import 'kubeproxy.libsonnet') +
(import 'nodelocaldns.libsonnet') +
(import 'certificate.libsonnet') +
(import 'instance.libsonnet') +
(import 'slbdrift.libsonnet') +
(import 'slb.libsonnet') +
(import 'exporter.libsonnet')
