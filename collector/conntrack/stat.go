package conntrack

import (
	"bytes"
	"fmt"
	"strconv"

	"ack-exporter/collector"
	"ack-exporter/internal/wrap"
)

// counter is one of the kernel's per-CPU counters.
type counter int

const (
	insertFailed counter = iota
	drops
	earlyDrops
	invalid
	searchRestarts
	clashResolved
	chainTooLong
	numCounters
)

// columns names the counters as the header of /proc/net/stat/nf_conntrack does
// (net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show). Columns go by
// name because the header has changed: in older kernels the second column is
// "searched" and the eighth "delete_list", which count something else, and the
// oldest have no "search_restart".
var columns = map[string]counter{
	"insert_failed":  insertFailed,
	"drop":           drops,
	"early_drop":     earlyDrops,
	"invalid":        invalid,
	"search_restart": searchRestarts,
	"clashres":       clashResolved,
	"chainlength":    chainTooLong,
}

// counts holds the value of every counter. One that the kernel does not have
// is not in present.
type counts struct {
	value   [numCounters]uint64
	present [numCounters]bool
}

// stat is the content of /proc/net/stat/nf_conntrack: entries of the network
// namespace, and the counters of each CPU, which are 32 bits wide and wrap.
type stat struct {
	entries uint64
	present [numCounters]bool
	cpus    [][numCounters]uint32
}

// maxCPUs bounds what a file may make us hold; NR_CPUS is at most 8192.
const maxCPUs = 8192

// parseStat reads the table: a header, then a line of hexadecimal columns for
// each possible CPU. The column "entries" is the same in every line.
func parseStat(content []byte) (stat, error) {
	var s stat
	header, rest, _ := bytes.Cut(content, []byte("\n"))
	names := bytes.Fields(header)
	if len(names) == 0 || string(names[0]) != "entries" {
		return s, fmt.Errorf("header %.40q does not begin with entries: %w", header, collector.ErrDecode)
	}
	// at[i] is the counter in column i, or -1.
	at := make([]counter, len(names))
	for i, name := range names {
		at[i] = -1
		if c, ok := columns[string(name)]; ok {
			at[i] = c
			s.present[c] = true
		}
	}
	for line := range bytes.Lines(rest) {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != len(names) {
			return s, fmt.Errorf("line %d has %d columns, the header %d: %w", len(s.cpus)+2, len(fields), len(names), collector.ErrDecode)
		}
		if len(s.cpus) == maxCPUs {
			return s, fmt.Errorf("more than %d lines: %w", maxCPUs, collector.ErrDecode)
		}
		var cpu [numCounters]uint32
		for i, field := range fields {
			if i > 0 && at[i] < 0 {
				continue
			}
			v, err := strconv.ParseUint(string(field), 16, 32)
			if err != nil {
				return s, fmt.Errorf("line %d, column %s: %.20q is no 32-bit hexadecimal number: %w", len(s.cpus)+2, names[i], field, collector.ErrDecode)
			}
			if i == 0 {
				s.entries = v
				continue
			}
			cpu[at[i]] = uint32(v)
		}
		s.cpus = append(s.cpus, cpu)
	}
	if len(s.cpus) == 0 {
		return s, fmt.Errorf("no line for any CPU: %w", collector.ErrDecode)
	}
	return s, nil
}

// accumulator turns per-CPU counters of 32 bits into sums of 64 bits that do
// not fall when one of them wraps.
type accumulator struct {
	last  [][numCounters]uint32
	total counts
}

// add takes one reading and returns the sums so far. The first reading counts
// from zero, so that a restart of the exporter does not show as new events.
func (a *accumulator) add(s stat) counts {
	if len(s.cpus) > len(a.last) {
		a.last = append(a.last, make([][numCounters]uint32, len(s.cpus)-len(a.last))...)
	}
	for cpu, now := range s.cpus {
		for c := range numCounters {
			a.total.value[c] += uint64(wrap.Increase32(a.last[cpu][c], now[c]))
		}
		a.last[cpu] = now
	}
	a.total.present = s.present
	return a.total
}
