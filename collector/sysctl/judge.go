package sysctl

import "strings"

// defaultLocalPorts is what the kernel starts with, and the only range that ACK
// supports (net/ipv4/af_inet.c: inet_init_net).
var defaultLocalPorts = PortRange{First: 32768, Last: 60999}

// report is what the parameters mean.
type report struct {
	values   []value
	verdicts []verdict
	// overlap is a number of ports; nil where it is not known.
	overlap *int
}

type value struct {
	name, field string
	value       uint64
}

type verdict struct {
	name      string
	compliant bool
}

// judge compares s with what ACK supports. It says nothing about what s does not
// know.
func judge(s settings, nodePorts PortRange) report {
	var r report
	// CIS 3.1.1 asks for 0. On a node of Kubernetes that cuts off every pod.
	r.single(ipForward, s.ipForward, func(v uint64) bool { return v == 1 })
	r.single(rpFilterAll, s.rpFilterAll, func(v uint64) bool { return v == 0 })
	for _, i := range s.interfaces {
		r.rpFilter(i, s.rpFilterAll)
	}
	// Kernels from 4.19 on start with 2, which is loopback only and harmless.
	r.single(twReuse, s.twReuse, func(v uint64) bool { return v != 1 })
	r.single(twRecycle, s.twRecycle, func(v uint64) bool { return v != 1 })
	if s.twRecycleGone {
		r.verdict(twRecycle, true)
	}
	if s.localPorts != nil {
		r.localPorts(*s.localPorts)
	}
	if s.localPorts != nil && s.reservedKnown {
		r.overlap = new(unreserved(s.localPorts.intersect(nodePorts), s.reserved))
	}
	return r
}

// single reports a parameter with one value; nil is a value that is not known.
func (r *report) single(file string, v *uint64, supported func(uint64) bool) {
	if v == nil {
		return
	}
	r.values = append(r.values, value{name: dotted(file), value: *v})
	r.verdict(file, supported(*v))
}

func (r *report) verdict(file string, compliant bool) {
	r.verdicts = append(r.verdicts, verdict{name: dotted(file), compliant: compliant})
}

// rpFilter reports the reverse path filter of one interface. The kernel uses the
// larger of its value and that of all (Documentation/networking/ip-sysctl.rst),
// so there is no verdict without the latter.
func (r *report) rpFilter(i interfaceFilter, all *uint64) {
	r.values = append(r.values, value{name: dotted(i.file), value: i.value})
	if all != nil {
		r.verdict(i.file, max(*all, i.value) == 0)
	}
}

func (r *report) localPorts(p PortRange) {
	name := dotted(localPorts)
	r.values = append(r.values,
		value{name: name, field: "min", value: uint64(p.First)},
		value{name: name, field: "max", value: uint64(p.Last)})
	r.verdict(localPorts, p == defaultLocalPorts)
}

// dotted is the name of a parameter as sysctl(8) writes it: dots between the
// levels, and a slash for a dot within one, as in net.ipv4.conf.eth0/100.rp_filter.
func dotted(file string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, file)
}
