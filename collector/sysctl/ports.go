package sysctl

import (
	"fmt"
	"strconv"
	"strings"
)

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// ParsePortRange reads a range such as "30000-32767": two ports from 1 to 65535,
// the first not above the last.
func ParsePortRange(s string) (PortRange, error) {
	first, last, found := strings.Cut(s, "-")
	if !found {
		return PortRange{}, fmt.Errorf("port range %q: not two ports joined by a hyphen, as in 30000-32767", s)
	}
	r, err := newPortRange(first, last)
	if err != nil {
		return PortRange{}, fmt.Errorf("port range %q: %w", s, err)
	}
	return r, nil
}

// parsePortList reads a list such as "80,8000-8010", which may be empty, in the
// format of net/ipv4/ip_local_reserved_ports (kernel/sysctl.c:
// proc_do_large_bitmap).
func parsePortList(s string) ([]PortRange, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	var list []PortRange
	for item := range strings.SplitSeq(s, ",") {
		first, last, found := strings.Cut(item, "-")
		if !found {
			last = first
		}
		r, err := newPortRange(first, last)
		if err != nil {
			return nil, fmt.Errorf("item %q: %w", item, err)
		}
		list = append(list, r)
	}
	return list, nil
}

func newPortRange(first, last string) (PortRange, error) {
	a, err := parsePort(first)
	if err != nil {
		return PortRange{}, err
	}
	b, err := parsePort(last)
	if err != nil {
		return PortRange{}, err
	}
	if a > b {
		return PortRange{}, fmt.Errorf("the first port %d is above the last port %d", a, b)
	}
	return PortRange{First: a, Last: b}, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port from 1 to 65535", s)
	}
	return uint16(n), nil
}

// intersect is what both ranges hold; the result is empty where First is above
// Last.
func (r PortRange) intersect(o PortRange) PortRange {
	return PortRange{First: max(r.First, o.First), Last: min(r.Last, o.Last)}
}

func (r PortRange) size() int { return max(0, int(r.Last)-int(r.First)+1) }

// unreserved counts the ports of r that no range of reserved holds.
func unreserved(r PortRange, reserved []PortRange) int {
	taken := make([]bool, r.size())
	free := len(taken)
	for _, other := range reserved {
		common := r.intersect(other)
		for i := range common.size() {
			port := int(common.First-r.First) + i
			if !taken[port] {
				taken[port] = true
				free--
			}
		}
	}
	return free
}
