package kmsg

import (
	"bytes"
	"regexp"
)

// event is one kind of trouble.
type event struct {
	name string
	// literal is in every line that pattern matches. Looking for it is much
	// cheaper than matching, and nearly every line fails it.
	literal []byte
	// pattern matches at the beginning of the message, so that text which a user
	// controls further on, such as a process name or an audit line, makes no
	// event. Where the kernel itself begins with a process name, it allows no
	// more than the 15 bytes that such a name can have (TASK_COMM_LEN).
	pattern *regexp.Regexp
}

// comm matches the name of a process, which may hold any byte but NUL.
const comm = `.{0,15}`

// define makes an event whose pattern is anchored. In it a dot also matches a
// line break: a process name may hold one.
func define(name, literal, pattern string) event {
	return event{name: name, literal: []byte(literal), pattern: regexp.MustCompile(`^(?s:` + pattern + `)`)}
}

// events is everything that is looked for: the value of the label event, and the
// texts of the kernels from 3.10 to 6.18. Where one incident makes several lines,
// the pattern takes the one that every kernel writes once.
var events = [...]event{
	// net/netfilter/nf_conntrack_core.c: __nf_conntrack_alloc. The name of the
	// module is doubled since it became a prefix of all its messages; the network
	// namespace is there since about 6.17.
	define("conntrack_table_full", "table full",
		`(?:nf_conntrack: )+table full(?: in netns \d+)?, dropping packet`),
	// net/core/neighbour.c: neigh_alloc; before that net/ipv4/route.c and
	// net/ipv6/route.c.
	define("neighbour_table_overflow", "table overflow",
		`(?:neighbour: )?(?:arp|ndisc)_cache: neighbor table overflow!|(?:[iI][pP]v[46]: )?Neighbour table overflow`),
	// mm/oom_kill.c: oom_kill_process. In 4.19 and before, the line announces the
	// kill ("Kill process"), and a second one without the words "out of memory"
	// reports it; newer kernels write the report alone ("Killed process").
	define("oom_kill", "Out of memory",
		`Out of memory(?: \(oom_kill_allocating_task\))?: Kill(?:ed)? process \d+ \(`),
	define("cgroup_oom_kill", "Memory cgroup out of memory",
		`Memory cgroup out of memory: Kill(?:ed)? process \d+ \(`),
	// kernel/hung_task.c: check_hung_task.
	define("hung_task", "INFO: task ",
		`INFO: task `+comm+`:\d+ blocked (?:in I/O wait )?for more than \d+ seconds`),
	// kernel/watchdog.c: watchdog_timer_fn.
	define("soft_lockup", "soft lockup",
		`(?:NMI watchdog: |watchdog: )?BUG: soft lockup - CPU#\d+ stuck for \d+s!`),
	// kernel/watchdog.c, kernel/watchdog_hld.c: watchdog_overflow_callback, in
	// newer kernels watchdog_hardlockup_check.
	define("hard_lockup", "hard LOCKUP",
		`(?:NMI watchdog: |watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu \d+`),
	// kernel/rcu/tree_stall.h, tree_exp.h; kernel/rcutree.c in 3.10.
	define("rcu_stall", "stall",
		`(?:rcu: )?INFO: rcu\w* (?:self-detected stall on CPU|detected (?:expedited )?stalls on CPUs/tasks)`),
	// arch/x86/kernel/dumpstack.c: __die_header, arch/arm64/kernel/traps.c: __die.
	// Every oops, whatever led to it, has one such header with its number. The
	// lines "BUG: unable to handle…" and "kernel BUG at…" come before it and
	// would count the same oops twice. The end is anchored too, because a process
	// can name itself "Oops: 0002 [#1]".
	define("kernel_oops", " [#",
		`(?:Oops|Internal error|general protection fault|invalid opcode|divide error|double fault|stack segment|segment not present|alignment check|int3)`+
			`\b[^\[]*: [0-9a-f]{1,16} \[#\d+\](?: +(?:PREEMPT|SMP|DEBUG_PAGEALLOC|KASAN|PTI|NOPTI)\S*)* *$`),
	// net/core/dev.c: netdev_wait_allrefs.
	define("unregister_netdevice_waiting", "unregister_netdevice",
		`unregister_netdevice: waiting for \S+ to become free\. Usage count = -?\d+`),
	// fs/ext4/super.c: __ext4_error and its kin; fs/xfs/xfs_error.c:
	// xfs_verifier_error, xfs_error_report; fs/xfs/xfs_fsops.c:
	// xfs_do_force_shutdown, but not where a user asked for the shutdown.
	define("filesystem_error", " (",
		`EXT[234]-fs error \(device [^)]+\)(?::| in )`+
			`|XFS \([^)]+\): (?:Metadata (?:corruption|CRC error) detected at |Internal error |.*(?:[Dd]etected|paths lost)\b.* Shutting down filesystem\.?$)`),
	// fs/ext4/super.c: ext4_handle_error; fs/ext2, fs/ext3 likewise.
	define("filesystem_remounted_readonly", "emounting filesystem read-only",
		`EXT[234]-fs \([^)]+\): (?:error: )?[Rr]emounting filesystem read-only`),
	// block/blk-core.c: blk_update_request, print_req_error; block/blk-mq.c:
	// blk_print_req_error. Not "critical target" and "operation not supported": a
	// disk refuses a discard with these.
	define("io_error", " error, dev ",
		`(?:(?:end_request|blk_update_request|print_req_error): )?(?:I/O|timeout|critical medium|recoverable transport|protection|device offline) error, dev \S+, sector \d+`),
	// arch/x86/kernel/cpu/mce: mce_log, mce_notify_irq; drivers/acpi/apei/ghes.c:
	// __ghes_print_estatus. The lines with details that follow are not counted.
	define("hardware_error", "[Hardware Error]: ",
		`(?:mce: )?(?:\{\d+\})?\[Hardware Error\]: (?:Machine check events logged|Hardware error from APEI Generic Hardware Error Source)`),
	// The NVIDIA driver; https://docs.nvidia.com/deploy/xid-errors.
	define("gpu_xid", "NVRM: Xid",
		`NVRM: Xid \([^)]+\): \d+`),
	// net/sunrpc/clnt.c: rpc_check_timeout (call_timeout before 5.1).
	define("nfs_server_not_responding", "not responding",
		`(?:nfs|lockd): server \S+ not responding, (?:still trying|timed out)`),
	// mm/page_alloc.c: warn_alloc (warn_alloc_failed before 4.9).
	define("page_allocation_failure", ": page allocation failure: ",
		comm+`: page allocation failure: order:\d+`),
	// net/ipv4/tcp.c: tcp_check_oom.
	define("tcp_memory_exhausted", "out of memory -- consider tuning tcp_mem",
		`TCP: out of memory -- consider tuning tcp_mem`),
	// net/netfilter/ipvs/ip_vs_sched.c: ip_vs_scheduler_err.
	define("ipvs_no_destination", "no destination available",
		`IPVS: \S+: (?:[A-Z]+ \S+:\d+|FWM \d+ 0x[0-9A-F]+) - no destination available`),
}

// event returns the index in events of the event that r tells of. Only the kernel
// itself is believed, and only the beginning of a line.
func (r record) event() (index int, known bool) {
	if r.facility != 0 || r.fragment {
		return 0, false
	}
	return match(r.message)
}

// match returns the index in events of the event that message tells of.
func match(message []byte) (index int, known bool) {
	for i := range events {
		e := &events[i]
		if bytes.Contains(message, e.literal) && e.pattern.Match(message) {
			return i, true
		}
	}
	return 0, false
}
