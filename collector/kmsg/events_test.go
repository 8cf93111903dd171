package kmsg

import (
	"strings"
	"testing"
)

// eventLines are lines as real kernels write them. Of near, none must count.
var eventLines = map[string]struct{ lines, near []string }{
	"conntrack_table_full": {
		lines: []string{
			"nf_conntrack: table full, dropping packet.", // 3.10
			"nf_conntrack: table full, dropping packet",  // 4.19
			"nf_conntrack: nf_conntrack: table full, dropping packet",
			"nf_conntrack: nf_conntrack: table full in netns 4026532177, dropping packet", // 6.18
		},
		near: []string{
			"nf_conntrack: expectation table full",
			"nf_conntrack: nf_conntrack: table full in netns x, dropping packet",
			"nf_conntrack: default automatic helper assignment has been turned off",
			`audit: type=1400 audit(1700000000.1:7): comm="nf_conntrack: table full, dropping packet"`,
			"table full, dropping packet",
		},
	},
	"neighbour_table_overflow": {
		lines: []string{
			"Neighbour table overflow.",       // 2.6
			"IPv6: Neighbour table overflow",  // 3.10, ndisc
			"ipv4: Neighbour table overflow.", // 3.x
			"neighbour: arp_cache: neighbor table overflow!",
			"neighbour: ndisc_cache: neighbor table overflow!",
		},
		near: []string{
			"neighbour: arp_cache: neighbor table has 900 entries",
			"app: neighbour: arp_cache: neighbor table overflow!",
		},
	},
	"oom_kill": {
		lines: []string{
			"Out of memory: Kill process 2592 (java) score 850 or sacrifice child", // 3.10, 4.19
			"Out of memory (oom_kill_allocating_task): Kill process 31 (a) score 0 or sacrifice child",
			"Out of memory: Killed process 1234 (java) total-vm:8361452kB, anon-rss:7340032kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:14604kB oom_score_adj:0", // 5.10, 6.18
			"Out of memory (oom_kill_allocating_task): Killed process 7 (a) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1kB oom_score_adj:0",
		},
		near: []string{
			"Killed process 2592 (java) total-vm:8361452kB, anon-rss:7340032kB, file-rss:0kB, shmem-rss:0kB", // 4.19, the second line
			"Out of memory: OOM victim 1234 (java) is already exiting. Skip killing the task",
			"Out of memory and no killable processes...",
			"java invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0",
			"Out of memory:  invoked oom-killer: gfp_mask=0x201da, order=0, oom_score_adj=0", // a process name
			"oom_reaper: reaped process 1234 (java), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
			"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=java,pid=1234,uid=0",
			"Kill process 2593 (java) sharing same memory",
		},
	},
	"cgroup_oom_kill": {
		lines: []string{
			"Memory cgroup out of memory: Kill process 4083583 (nginx) score 1000 or sacrifice child", // 3.10, 4.19
			"Memory cgroup out of memory: Killed process 4083583 (nginx) total-vm:156kB, anon-rss:100kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:60kB oom_score_adj:994",
		},
		near: []string{
			"Memory cgroup out of memory: OOM victim 4083583 (nginx) is already exiting. Skip killing the task",
			"Memory cgroup stats for /kubepods/burstable/pod1: cache:0KB rss:1KB",
			"memory: usage 102400kB, limit 102400kB, failcnt 53",
		},
	},
	"hung_task": {
		lines: []string{
			"INFO: task jbd2/vda1-8:312 blocked for more than 120 seconds.",
			"INFO: task kworker/u8:2+ev:88 blocked for more than 122 seconds.",
			"INFO: task a\nb: 7:41:99 blocked for more than 122 seconds.", // a process may be named so
			"INFO: task (udev-worker):374 blocked in I/O wait for more than 122 seconds.",
		},
		near: []string{
			"INFO: task (udev-worker):374 is blocked on a mutex likely owned by task virtme-ng-init:1.",
			`"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.`,
			"INFO: task with a name longer than any:1 blocked for more than 120 seconds.",
			"Future hung task reports are suppressed, see sysctl kernel.hung_task_warnings",
		},
	},
	"soft_lockup": {
		lines: []string{
			"BUG: soft lockup - CPU#3 stuck for 67s! [migration/3:21]",             // 3.10
			"NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [runc:1034]",    // 4.4
			"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [kworker/0:1:4711]", // 4.19 to 6.18
		},
		near: []string{
			"watchdog: CPU0 self-detected a soft lockup",
			"Kernel panic - not syncing: softlockup: hung tasks",
			"BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 31s!",
		},
	},
	"hard_lockup": {
		lines: []string{
			"Watchdog detected hard LOCKUP on cpu 0",                     // 3.10
			"NMI watchdog: Watchdog detected hard LOCKUP on cpu 2",       // 4.19, 5.10
			"watchdog: Watchdog detected hard LOCKUP on cpu 2",           // 6.6
			"watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 2",     // newer
			"NMI watchdog: Watchdog detected hard LOCKUP on cpu 2dModul", // without a line break
		},
		near: []string{
			"NMI watchdog: enabled on all CPUs, permanently consumes one hw-PMU counter.",
			"user: Watchdog detected hard LOCKUP on cpu 0",
		},
	},
	"rcu_stall": {
		lines: []string{
			"INFO: rcu_sched self-detected stall on CPU { 0}  (t=60000 jiffies g=1 c=0 q=9)", // 3.10
			"INFO: rcu_sched detected stalls on CPUs/tasks: { 1} (detected by 0, t=60002 jiffies, g=1, c=0, q=9)",
			"INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... } 5696 jiffies s: 81 root: 0x2/.",
			"rcu: INFO: rcu_preempt self-detected stall on CPU", // 4.19 to 6.18
			"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
			"rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { P4122 } 2641 jiffies s: 2877 root: 0x0/T",
		},
		near: []string{
			"rcu: \t2-....: (5249 ticks this GP) idle=e3e/1/0x4000000000000002",
			"rcu: INFO: Stall ended before state dump start",
			"rcu: rcu_preempt kthread starved for 2000 jiffies! g9 f0x0 RCU_GP_WAIT_FQS(5)",
			"INFO: stall on CPU",
		},
	},
	"kernel_oops": {
		lines: []string{
			"Oops: 0000 [#1] ", // 3.10, the beginning of a line in pieces
			"Oops: 0000 [#1] SMP ",
			"Oops: 0002 [#1] PREEMPT SMP NOPTI", // 5.10
			"Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI",
			"Oops: Oops: 0002 [#2] SMP NOPTI", // 6.18
			"general protection fault: 0000 [#1] SMP PTI",
			"general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] SMP NOPTI",
			"Oops: general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] SMP NOPTI",
			"invalid opcode: 0000 [#1] SMP KASAN NOPTI",
			"Internal error: Oops: 96000045 [#1] SMP", // arm64
			"Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP",
			"Internal error: Oops: 0000000096000004 [#1]  SMP",
		},
		near: []string{
			// These come with a header of their own.
			"BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
			"BUG: unable to handle page fault for address: ffffffffc0a0b0c0",
			"BUG: kernel NULL pointer dereference, address: 0000000000000008",
			"kernel BUG at mm/slub.c:305!",
			"traps: nginx[123] general protection fault ip:7f2e sp:7ffc error:0 in libc.so.6[7f2e+1000]",
			// Processes that have chosen their names well.
			"Oops: 0002 [#1] invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
			"Oops: 0002 [#1][4711]: segfault at 0 ip 0 sp 0 error 4 in a.out[400000+1000]",
			"Oops: 0 [#1] SM invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
			"---[ end trace 0000000000000000 ]---",
		},
	},
	"unregister_netdevice_waiting": {
		lines: []string{
			"unregister_netdevice: waiting for lo to become free. Usage count = 1", // 3.10 to 6.18
			"unregister_netdevice: waiting for eth0.100 to become free. Usage count = -1",
		},
		near: []string{
			"unregister_netdevice: device veth1/ffff8800 never was registered",
			"docker: unregister_netdevice: waiting for lo to become free. Usage count = 1",
		},
	},
	"filesystem_error": {
		lines: []string{
			"EXT4-fs error (device vdb1): ext4_find_entry:1455: inode #2: comm bash: reading directory lblock 0",
			"EXT4-fs error (device vda1) in ext4_reserve_inode_write:5784: IO failure",
			"EXT3-fs error (device sda1): ext3_get_inode_loc: unable to read inode block",
			"XFS (vdb): Internal error XFS_WANT_CORRUPTED_GOTO at line 1590 of file fs/xfs/xfs_alloc.c.  Caller 0xffffffffa0",
			"XFS (sdb1): Metadata corruption detected at xfs_inode_buf_verify+0x1/0x2 [xfs], xfs_inode block 0x40 xfs_inode_buf_verify",
			"XFS (dm-3): Metadata CRC error detected at xfs_agf_read_verify+0x9/0x90 [xfs], xfs_agf block 0x1",
			"XFS (sdb1): Corruption of in-memory data detected.  Shutting down filesystem",
			"XFS (vdc): Log I/O Error Detected.  Shutting down filesystem",
			"XFS (vdc): I/O Error Detected. Shutting down filesystem",
			"XFS (vdc): All device paths lost.  Shutting down filesystem",
			"XFS (vdc): Corruption of in-memory data (0x8) detected at xfs_defer_finish_noroll+0x1/0x2 [xfs] (fs/xfs/libxfs/xfs_defer.c:573).  Shutting down filesystem.",
		},
		near: []string{
			"EXT4-fs (vda1): mounted filesystem with ordered data mode. Opts: (null)",
			"EXT4-fs warning (device vda1): ext4_end_bio:323: I/O error 10 writing to inode 1",
			"XFS (vdb): User initiated shutdown received. Shutting down filesystem",
			"XFS (vdb): User initiated shutdown (0x1) received. Shutting down filesystem",
			"XFS (vdb): Mounting V5 Filesystem",
			"XFS (vdb): Please unmount the filesystem and rectify the problem(s)",
			"EXT4-fs error ([9]: segfault at 0 ip 0 sp 0 error 4 in a.out[400000+1000]",
		},
	},
	"filesystem_remounted_readonly": {
		lines: []string{
			"EXT3-fs (sda1): error: remounting filesystem read-only",
			"EXT4-fs (vda1): Remounting filesystem read-only", // 3.10 to 6.18
		},
		near: []string{
			"EXT4-fs (vda1): re-mounted. Opts: (null)",
			"EXT4-fs (vda1): re-mounted 3f0 ro. Quota mode: none.",
			"Remounting filesystem read-only",
		},
	},
	"io_error": {
		lines: []string{
			"end_request: I/O error, dev vdb, sector 2048",        // 3.10
			"blk_update_request: I/O error, dev vdb, sector 2048", // 4.4
			"print_req_error: I/O error, dev vdb, sector 2048 flags 0",
			"blk_update_request: critical medium error, dev sda, sector 9 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 0", // 5.10
			"I/O error, dev vdb, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2",                               // 6.18
			"device offline error, dev sdb, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 0",
		},
		near: []string{
			"Buffer I/O error on dev vdb1, logical block 0, async page read", // follows an I/O error
			"critical target error, dev sda, sector 1 op 0x3:(DISCARD) flags 0x800 phys_seg 1 prio class 0",
			"blk_update_request: operation not supported error, dev loop0, sector 1 op 0x9:(WRITE_ZEROES) flags 0x800",
			"I/O error, dev [9]: segfault at 0 ip 0 sp 0 error 4 in a.out[400000+1000]",
			"I/O error, dev  invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
		},
	},
	"hardware_error": {
		lines: []string{
			"[Hardware Error]: Machine check events logged",
			"mce: [Hardware Error]: Machine check events logged", // 3.10 to 6.18
			"{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0",
			"[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 1",
		},
		near: []string{
			"{1}[Hardware Error]: event severity: corrected",
			"mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 5: bea0000000000108",
			"mce: CPU supports 32 MCE banks",
			"[Firmware Warn]: GHES: Unhandled processor error type 0x02: cache error",
		},
	},
	"gpu_xid": {
		lines: []string{
			"NVRM: Xid (0000:03:00): 13, 0001 00000000 0000a0c0 00000368 00000000 00000080", // older drivers
			"NVRM: Xid (PCI:0000:00:08): 79, pid=1582259, name=nvc:[driver], GPU has fallen off the bus.",
			"NVRM: Xid (PCI:0000:3b:00 GPU-I:01): 31, pid=7, name=python3, Ch 00000010",
		},
		near: []string{
			"NVRM: GPU at PCI:0000:01:00: GPU-c4a80165-86e4-bfbb-ecfa-1d81a70b138a",
			"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.104.05",
			"nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 12028, Non-fatal",
		},
	},
	"nfs_server_not_responding": {
		lines: []string{
			"nfs: server 1a2b-cn-hangzhou.nas.aliyuncs.com not responding, still trying", // 3.10 to 6.18
			"nfs: server 10.0.0.1 not responding, timed out",
			"lockd: server 10.0.0.1 not responding, still trying",
		},
		near: []string{
			"nfs: server 10.0.0.1 OK",
			"nfs: server 10.0.0.1 not responding to me",
			"app: nfs: server 10.0.0.1 not responding, timed out",
		},
	},
	"page_allocation_failure": {
		lines: []string{
			"swapper/0: page allocation failure: order:1, mode:0x20", // 3.10
			"kworker/0:1H: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null),cpuset=/,mems_allowed=0",
			"a: b: page allocation failure: order:0, mode:0x20",
		},
		near: []string{
			"warn_alloc_show_mem: page allocation failure: order:0, mode:0x20", // no process name
			"vmalloc: allocation failure: 1048576 bytes",
			"nginx: vmalloc error: size 1048576, failed to allocate pages, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
			`audit: type=1701 audit(1700000000.1:7): comm="x: page allocation failure: order:1, mode:0x20"`,
		},
	},
	"tcp_memory_exhausted": {
		lines: []string{
			"TCP: out of memory -- consider tuning tcp_mem", // 3.10 to 6.18
			"TCP: out of memory -- consider tuning tcp_mem\n",
		},
		near: []string{
			"TCP: too many orphaned sockets",
			"out of memory -- consider tuning tcp_mem",
		},
	},
	"ipvs_no_destination": {
		lines: []string{
			"IPVS: rr: TCP 10.0.0.1:80 - no destination available",
			"IPVS: wrr: UDP [fd00::a]:53 - no destination available: no destinations present",
			"IPVS: none: FWM 7 0x00000007 - no destination available",
		},
		near: []string{
			"IPVS: rr: TCP 10.0.0.1:80 - all destinations with weight zero",
			"IPVS: Registered protocols (TCP, UDP)",
			"app: IPVS: rr: TCP 10.0.0.1:80 - no destination available",
		},
	},
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for _, e := range events {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			lines := eventLines[e.name]
			if len(lines.lines) < 2 || len(lines.near) < 1 {
				t.Fatalf("%d lines and %d near misses; want at least 2 and 1", len(lines.lines), len(lines.near))
			}
			for _, line := range lines.lines {
				if got := eventOf(t, "4", "-", line); got != e.name {
					t.Errorf("%q: event %q", line, got)
				}
				if got := eventOf(t, "12", "-", line); got != "" {
					t.Errorf("%q from user space: event %q", line, got)
				}
				if got := eventOf(t, "4", "+", line); got != "" {
					t.Errorf("%q in the middle of a line: event %q", line, got)
				}
				for _, prefix := range []string{"audit: type=1327 msg=", " ", "a\n"} {
					if got := eventOf(t, "4", "-", prefix+line); got == e.name && !ownPrefix(e.name) {
						t.Errorf("%q: event %q", prefix+line, got)
					}
				}
			}
			for _, line := range lines.near {
				if got := eventOf(t, "4", "-", line); got != "" {
					t.Errorf("near miss %q: event %q", line, got)
				}
			}
		})
	}
	if len(eventLines) != len(events) {
		t.Errorf("lines for %d events, but there are %d", len(eventLines), len(events))
	}
}

// ownPrefix: the message begins with a process name, so a short prefix may count.
func ownPrefix(event string) bool { return event == "page_allocation_failure" }

// eventOf is the name of the event that a record tells of, or "".
func eventOf(t *testing.T, priority, flags, message string) string {
	t.Helper()
	r, err := parseRecord([]byte(priority + ",7,12345678," + flags + ";" + escape(message) + "\n SUBSYSTEM=net\n"))
	if err != nil {
		t.Fatalf("%q: %v", message, err)
	}
	i, known := r.event()
	if !known {
		return ""
	}
	return events[i].name
}

// What a kernel writes about one incident counts once.
func TestIncidents(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		event string
		log   string
	}{
		"OOM kill of a container, 4.19": {"cgroup_oom_kill", `stress invoked oom-killer: gfp_mask=0x6000c0(GFP_KERNEL), nodemask=(null), order=0, oom_score_adj=999
CPU: 1 PID: 4711 Comm: stress Not tainted 4.19.91-26.al7.x86_64 #1
Task in /kubepods/burstable/pod1/c1 killed as a result of limit of /kubepods/burstable/pod1
memory: usage 102400kB, limit 102400kB, failcnt 53
[ pid ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[ 4711]     0  4711    26514    25611   253952        0           999 stress
Memory cgroup out of memory: Kill process 4711 (stress) score 1992 or sacrifice child
Killed process 4711 (stress) total-vm:106056kB, anon-rss:102220kB, file-rss:224kB, shmem-rss:0kB
oom_reaper: reaped process 4711 (stress), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB`},
		"OOM kill of a container, 5.10": {"cgroup_oom_kill", `stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=999
memory: usage 102400kB, limit 102400kB, failcnt 53
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c1,mems_allowed=0,oom_memcg=/kubepods/pod1,task_memcg=/kubepods/pod1/c1,task=stress,pid=4711,uid=0
Memory cgroup out of memory: Killed process 4711 (stress) total-vm:106056kB, anon-rss:102220kB, file-rss:224kB, shmem-rss:0kB, UID:0 pgtables:248kB oom_score_adj:999
oom_reaper: reaped process 4711 (stress), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB`},
		"NULL pointer, 3.10": {"kernel_oops", `BUG: unable to handle kernel NULL pointer dereference at 0000000000000008
IP: [<ffffffffa0123456>] foo+0x16/0x20 [bar]
PGD 0 
Oops: 0000 [#1] SMP 
Modules linked in: bar(OE) xt_conntrack
Call Trace:
Code: 00 00 55 48 89
RIP  [<ffffffffa0123456>] foo+0x16/0x20 [bar]
---[ end trace 1234567890abcdef ]---`},
		"NULL pointer, 6.18": {"kernel_oops", `BUG: kernel NULL pointer dereference, address: 0000000000000008
#PF: supervisor read access in kernel mode
#PF: error_code(0x0000) - not-present page
PGD 0 P4D 0 
Oops: Oops: 0000 [#1] SMP NOPTI
CPU: 1 UID: 0 PID: 1 Comm: bash Tainted: G           OE       6.18.0 #1 PREEMPT(voluntary)
---[ end trace 0000000000000000 ]---`},
		"BUG(), 5.10": {"kernel_oops", `------------[ cut here ]------------
kernel BUG at mm/slub.c:305!
invalid opcode: 0000 [#1] SMP NOPTI
CPU: 1 PID: 1 Comm: bash Not tainted 5.10.134-16.al8.x86_64 #1
---[ end trace 1234567890abcdef ]---`},
		"BUG(), arm64": {"kernel_oops", `------------[ cut here ]------------
kernel BUG at mm/slub.c:305!
Internal error: Oops - BUG: 00000000f2000800 [#1] SMP
Modules linked in: bar(OE)
---[ end trace 0000000000000000 ]---`},
		"hung task": {"hung_task", `INFO: task dd:456 blocked for more than 122 seconds.
      Not tainted 6.18.0 #1
"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
task:dd              state:D stack:0     pid:456   tgid:456   ppid:1      task_flags:0x400000 flags:0x00004000
INFO: task dd:456 is blocked on a mutex likely owned by task sync:455.`},
		"hardware error": {"hardware_error", `{2}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 2
{2}[Hardware Error]: It has been corrected by h/w and requires no further action
{2}[Hardware Error]: event severity: corrected
{2}[Hardware Error]:  Error 0, type: corrected`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for line := range strings.Lines(test.log) {
				if e := eventOf(t, "4", "-", strings.TrimSuffix(line, "\n")); e != "" {
					got = append(got, e)
				}
			}
			if len(got) != 1 || got[0] != test.event {
				t.Errorf("events %v instead of one %s", got, test.event)
			}
		})
	}
}

func FuzzMatch(f *testing.F) {
	for _, e := range eventLines {
		for _, line := range append(e.lines, e.near...) {
			f.Add([]byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > 1<<13 {
			t.Skip("longer than the kernel makes it")
		}
		i, known := match(message)
		if !known {
			return
		}
		// What precedes an event by more than a process name hides it.
		hidden := append([]byte("audit: type=1400 audit(1.0:1): "), message...)
		if j, still := match(hidden); still {
			t.Errorf("%q is %s, but so is %q: %s", message, events[i].name, hidden, events[j].name)
		}
	})
}

func BenchmarkOrdinaryLine(b *testing.B) {
	line := []byte("6,301,424440,-;IPv6: ADDRCONF(NETDEV_CHANGE): calif2f6a1b9c0d: link becomes ready\n SUBSYSTEM=net\n DEVICE=n42\n")
	c := New(Config{})
	b.ReportAllocs()
	for b.Loop() {
		c.position.known = false // so that the same record is new again
		c.record(line)
	}
}

func TestOrdinaryLineAllocatesNothing(t *testing.T) {
	c := New(Config{})
	allocations := testing.AllocsPerRun(100, func() {
		c.position.known = false
		c.record([]byte("6,301,424440,-;IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready\n"))
	})
	if allocations > 1 { // the slice of the test
		t.Errorf("%g allocations", allocations)
	}
}
