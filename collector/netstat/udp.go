package netstat

import (
	"bytes"
	"fmt"
	"strconv"

	"ack-exporter/collector"
)

// parseSNMP reads the counters of UDP from /proc/PID/net/snmp (net/ipv4/proc.c,
// snmp_seq_show): two lines for each protocol, which begin with its name and a
// colon, the first with the names of its counters and the second with their
// values. Names that nobody here knows, and other protocols, may hold anything.
func parseSNMP(content []byte) (udp, error) {
	const protocol = "Udp:"
	var names [][]byte
	for line := range bytes.Lines(content) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != protocol {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		if len(fields) != len(names) {
			return nil, fmt.Errorf("%s %d values for %d names: %w", protocol, len(fields)-1, len(names)-1, collector.ErrDecode)
		}
		counters := udp{}
		for i, name := range names[1:] {
			if err := counters.set(string(name), fields[i+1]); err != nil {
				return nil, err
			}
		}
		return counters.complete()
	}
	return nil, fmt.Errorf("no two lines of %s %w", protocol, collector.ErrDecode)
}

// parseSNMP6 reads them from /proc/PID/net/snmp6 (net/ipv6/proc.c): a line with
// name and value for each counter, and the protocol in front of the name.
func parseSNMP6(content []byte) (udp, error) {
	counters := udp{}
	for line := range bytes.Lines(content) {
		name, ok := bytes.CutPrefix(line, []byte("Udp6"))
		if !ok {
			continue
		}
		fields := bytes.Fields(name)
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %.40q is no name and value: %w", line, collector.ErrDecode)
		}
		if err := counters.set(string(fields[0]), fields[1]); err != nil {
			return nil, err
		}
	}
	return counters.complete()
}

// set keeps a counter that is shown.
func (u udp) set(name string, field []byte) error {
	_, isReason := reasons[name]
	_, isWhole := wholes[name]
	if !isReason && !isWhole {
		return nil
	}
	value, err := strconv.ParseUint(string(field), 10, 64)
	if err != nil {
		return fmt.Errorf("UDP counter %s: %.20q is no unsigned integer: %w", name, field, collector.ErrDecode)
	}
	if _, twice := u[name]; twice {
		return fmt.Errorf("UDP counter %s stands there twice: %w", name, collector.ErrDecode)
	}
	u[name] = value
	return nil
}

// complete wants the counters that every kernel has: a file without them is no
// such file.
func (u udp) complete() (udp, error) {
	for _, name := range []string{"InDatagrams", "InErrors", "RcvbufErrors"} {
		if _, ok := u[name]; !ok {
			return nil, fmt.Errorf("no UDP counter %s: %w", name, collector.ErrDecode)
		}
	}
	return u, nil
}
