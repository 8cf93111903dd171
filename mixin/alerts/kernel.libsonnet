local alert = import '../lib/alert.libsonnet';
local query = import '../lib/query.libsonnet';

{
  local config = $._config,
  local a = alert.new(config),
  local q = query.new(config),
  local node = '{{ $labels.%s }}' % config.nodeLabel,

  // An alert on lines of the kernel log. The kernel limits how often it writes
  // many of them, so that their number means little: one is enough.
  local seen(name, risks, events, description, summary=null, impact=null, action=null) = a.steps(
    name,
    risks,
    function(step) '%s > 0' % q.increase(
      'ack_kernel_log_events_total',
      step.window,
      'event=~"%s"' % (if events == null then step.events else events),
      ['event'],
    ),
    function(step) 'The kernel of node %s %s within the last %s ({{ $labels.event }}).' % [node, description, step.window],
    summary,
    impact,
    action,
  ),

  prometheusAlerts+:: {
    groups+: [{
      name: 'ack-exporter-kernel',
      rules:
        seen(
          'ACKKernelStuck',
          ['ND-13'],
          'hung_task|soft_lockup|hard_lockup|rcu_stall',
          'reported a task or a CPU that is stuck',
          summary='Tasks or CPUs of a node are stuck',
          impact='Processes of the node hang; pods on it do not answer, start or end.',
        ) +
        seen(
          'ACKKernelOops',
          ['ND-13'],
          'kernel_oops',
          'reported a fault of its own',
          summary='The kernel of a node has failed and goes on',
          impact='A thread of the kernel died with what it held; anything may hang from now on.',
          action='Drain the node and restart it; report the trace in the kernel log; update the kernel.',
        ) +
        seen(
          'ACKNetworkDeviceStuck',
          ['ND-13'],
          'unregister_netdevice_waiting',
          'could not free a network device',
          summary='A node cannot free a network device',
          impact='Pods hang while they are deleted, and new ones may not start.',
          action='Drain the node and restart it; update the kernel.',
        ) +
        seen(
          'ACKFilesystemErrors',
          ['ND-13'],
          null,
          'reported errors of a disk or a file system',
          summary='A disk or a file system of a node fails',
          impact='What is on it cannot be read or written; once it is read-only, pods and the kubelet fail.',
          action='Find the device in the kernel log; drain the node; check the disk in the ECS console, and replace the node or the disk.',
        ) +
        seen(
          'ACKHardwareErrors',
          ['ND-13'],
          'hardware_error',
          'was told of hardware errors',
          summary='The hardware of a node reports errors',
          impact='Memory or a CPU of the machine is failing; the node may crash.',
          action='Read the kernel log; drain the node and redeploy the instance, which moves it to another host.',
        ) +
        seen('ACKGPUXidErrors', ['ND-08'], 'gpu_xid', 'reported an Xid error of a GPU') +
        seen(
          'ACKNodeOutOfMemory',
          ['ND-21'],
          'oom_kill',
          'killed a process because the node ran out of memory',
          summary='A node ran out of memory and killed processes',
        ) +
        a.steps(
          'ACKContainersOutOfMemory',
          ['ND-21'],
          function(step) '%s >= %d' % [q.increase('ack_kernel_log_events_total', step.window, 'event="cgroup_oom_kill"'), step.atLeast],
          function(step) 'The kernel of node %s killed processes {{ $value | printf "%%.0f" }} times within the last %s because their containers had used up their memory.' % [node, step.window],
          summary='Containers on a node use up their memory again and again',
        ) +
        seen('ACKNeighbourTableFull', ['ND-31'], 'neighbour_table_overflow', 'had no room for more neighbours') +
        seen('ACKNFSServerNotResponding', ['ND-32'], 'nfs_server_not_responding', 'waited for a NAS server') +
        seen('ACKKernelMemoryShort', ['ND-33'], 'page_allocation_failure|tcp_memory_exhausted', 'could not allocate memory'),
    }],
  },
}
