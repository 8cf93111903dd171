package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

// The parameters as files below /proc/sys. They are described in
// Documentation/networking/ip-sysctl.rst of the kernel.
const (
	ipForward     = "net/ipv4/ip_forward"
	interfaceDir  = "net/ipv4/conf"
	rpFilterAll   = interfaceDir + "/all/rp_filter"
	twReuse       = "net/ipv4/tcp_tw_reuse"
	twRecycle     = "net/ipv4/tcp_tw_recycle"
	localPorts    = "net/ipv4/ip_local_port_range"
	reservedPorts = "net/ipv4/ip_local_reserved_ports"
)

// ethernet matches the names of the node's own interfaces, the ENIs, and of VLANs
// on them. Those of pods (cali…, veth…, cni0) set rp_filter as their network
// plug-in needs it.
var ethernet = regexp.MustCompile(`^eth[0-9]+(?:\.[0-9]+)?$`)

// settings is the parameters as they were read. nil stands for one that could not
// be read.
type settings struct {
	ipForward   *uint64
	rpFilterAll *uint64
	interfaces  []interfaceFilter
	twReuse     *uint64
	twRecycle   *uint64
	// twRecycleGone: Linux 4.12 removed the parameter (commit 4396e46187ca).
	twRecycleGone bool
	localPorts    *PortRange
	reserved      []PortRange
	reservedKnown bool
}

// interfaceFilter is the parameter rp_filter of one interface.
type interfaceFilter struct {
	file  string
	value uint64
}

// read reads all parameters. Where some fail, their errors come joined, next to
// what could be read.
func read(proc hostfs.Procfs) (settings, error) {
	r := reader{proc: proc}
	s := settings{
		ipForward:   r.number(ipForward),
		rpFilterAll: r.number(rpFilterAll),
		interfaces:  r.interfaces(),
		twReuse:     r.number(twReuse),
		localPorts:  r.localPorts(),
	}
	s.twRecycle, s.twRecycleGone = r.optional(twRecycle)
	s.reserved, s.reservedKnown = r.reservedPorts()
	return s, errors.Join(r.errs...)
}

// reader reads parameters and remembers what went wrong.
type reader struct {
	proc hostfs.Procfs
	errs []error
}

func (r *reader) fail(err error) { r.errs = append(r.errs, err) }

func (r *reader) number(name string) *uint64 {
	n, err := hostfs.ReadUint(r.proc.Sysctl(name))
	if err != nil {
		r.fail(err)
		return nil
	}
	return &n
}

// optional reads a parameter that not every kernel has.
func (r *reader) optional(name string) (n *uint64, gone bool) {
	v, err := hostfs.ReadUint(r.proc.Sysctl(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, true
	case err != nil:
		r.fail(err)
		return nil, false
	}
	return &v, false
}

// interfaces reads rp_filter of every Ethernet interface that there is now: an
// ENI that is attached later comes with a value of its own.
func (r *reader) interfaces() []interfaceFilter {
	entries, err := os.ReadDir(r.proc.Sysctl(interfaceDir))
	if err != nil {
		r.fail(err)
		return nil
	}
	var list []interfaceFilter
	for _, entry := range entries {
		if !ethernet.MatchString(entry.Name()) {
			continue
		}
		file := interfaceDir + "/" + entry.Name() + "/rp_filter"
		// gone: the interface vanished since it was listed.
		if n, _ := r.optional(file); n != nil {
			list = append(list, interfaceFilter{file: file, value: *n})
		}
	}
	return list
}

func (r *reader) localPorts() *PortRange {
	path := r.proc.Sysctl(localPorts)
	ports, err := hostfs.ReadFields(path, 2)
	if err != nil {
		r.fail(err)
		return nil
	}
	if ports[0] > ports[1] || ports[1] > math.MaxUint16 {
		r.fail(fmt.Errorf("%s: %d to %d is no range of ports: %w", path, ports[0], ports[1], collector.ErrDecode))
		return nil
	}
	return &PortRange{First: uint16(ports[0]), Last: uint16(ports[1])}
}

// reservedPorts reads the ports that the kernel never picks by itself. A kernel
// without the parameter reserves none.
func (r *reader) reservedPorts() (list []PortRange, known bool) {
	path := r.proc.Sysctl(reservedPorts)
	b, err := hostfs.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true
	}
	if err != nil {
		r.fail(err)
		return nil, false
	}
	list, err = parsePortList(string(b))
	if err != nil {
		r.fail(fmt.Errorf("%s: %w: %w", path, err, collector.ErrDecode))
		return nil, false
	}
	return list, true
}
