package conntrack

// timeoutFile is a kernel timeout: its file under /proc/sys/net/netfilter, and
// the labels it is exposed with.
type timeoutFile struct {
	file, protocol, state string
}

// timeoutFiles lists the timeouts of the protocols that occur in a cluster, in
// seconds (Documentation/networking/nf_conntrack-sysctl.rst). A UDP entry is
// under "unreplied" until packets have gone both ways for more than two
// seconds, then under "stream". A kernel without one of them has no series.
var timeoutFiles = []timeoutFile{
	{"nf_conntrack_generic_timeout", "other", ""},
	{"nf_conntrack_gre_timeout", "gre", "unreplied"},
	{"nf_conntrack_gre_timeout_stream", "gre", "stream"},
	{"nf_conntrack_icmp_timeout", "icmp", ""},
	{"nf_conntrack_icmpv6_timeout", "icmpv6", ""},
	{"nf_conntrack_sctp_timeout_closed", "sctp", "closed"},
	{"nf_conntrack_sctp_timeout_cookie_echoed", "sctp", "cookie_echoed"},
	{"nf_conntrack_sctp_timeout_cookie_wait", "sctp", "cookie_wait"},
	{"nf_conntrack_sctp_timeout_established", "sctp", "established"},
	{"nf_conntrack_sctp_timeout_heartbeat_sent", "sctp", "heartbeat_sent"},
	{"nf_conntrack_sctp_timeout_shutdown_ack_sent", "sctp", "shutdown_ack_sent"},
	{"nf_conntrack_sctp_timeout_shutdown_recd", "sctp", "shutdown_recd"},
	{"nf_conntrack_sctp_timeout_shutdown_sent", "sctp", "shutdown_sent"},
	{"nf_conntrack_tcp_timeout_close", "tcp", "close"},
	{"nf_conntrack_tcp_timeout_close_wait", "tcp", "close_wait"},
	{"nf_conntrack_tcp_timeout_established", "tcp", "established"},
	{"nf_conntrack_tcp_timeout_fin_wait", "tcp", "fin_wait"},
	{"nf_conntrack_tcp_timeout_last_ack", "tcp", "last_ack"},
	{"nf_conntrack_tcp_timeout_max_retrans", "tcp", "max_retrans"},
	{"nf_conntrack_tcp_timeout_syn_recv", "tcp", "syn_recv"},
	{"nf_conntrack_tcp_timeout_syn_sent", "tcp", "syn_sent"},
	{"nf_conntrack_tcp_timeout_time_wait", "tcp", "time_wait"},
	{"nf_conntrack_tcp_timeout_unacknowledged", "tcp", "unacknowledged"},
	{"nf_conntrack_udp_timeout", "udp", "unreplied"},
	{"nf_conntrack_udp_timeout_stream", "udp", "stream"},
}
