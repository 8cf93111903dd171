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
(import 'slb.libsonnet') +
(import 'slbdrift.libsonnet') +
(import 'slbevents.libsonnet') +
(import 'vpc.libsonnet') +
(import 'cloud.libsonnet') +
(import 'exporter.libsonnet')
