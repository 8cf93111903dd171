package netstat

import (
	"bytes"
	"fmt"
	"maps"
	"strconv"

	"ack-exporter/collector"
	"ack-exporter/internal/wrap"
)

// cpu is what one CPU has counted: 32 bits wide, and they wrap. On a busy node
// that takes an hour.
type cpu struct{ processed, dropped, squeezed uint32 }

// Columns of /proc/net/softnet_stat (net/core/net-procfs.c, softnet_seq_show).
// The first three have never moved. Since Linux 5.14 there are at least 13, and
// the 13th is the number of the CPU. Before, nothing tells which CPU a line is of.
const (
	columnProcessed = 0
	columnDropped   = 1
	columnSqueezed  = 2
	columnCPU       = 12
)

// maxCPUs bounds what a file may make us hold; NR_CPUS is at most 8192.
const maxCPUs = 8192

// softnet is the content of the file: the CPUs that are online. Their keys are
// their numbers where numbered, else the lines that they stand in.
type softnet struct {
	cpus     map[uint32]cpu
	numbered bool
}

// parseSoftnet reads the table: no header, and a line of hexadecimal columns for
// each CPU that is online.
func parseSoftnet(content []byte) (softnet, error) {
	s := softnet{cpus: map[uint32]cpu{}}
	for line := range bytes.Lines(content) {
		number := len(s.cpus)
		fields := bytes.Fields(line)
		if number == maxCPUs {
			return s, fmt.Errorf("more than %d lines: %w", maxCPUs, collector.ErrDecode)
		}
		if len(fields) <= columnSqueezed {
			return s, fmt.Errorf("line %d has %d columns: %w", number+1, len(fields), collector.ErrDecode)
		}
		numbered := len(fields) > columnCPU
		if number > 0 && numbered != s.numbered {
			return s, fmt.Errorf("line %d has %d columns, unlike those before: %w", number+1, len(fields), collector.ErrDecode)
		}
		s.numbered = numbered
		c, key, err := parseCPU(fields, uint32(number))
		if err != nil {
			return s, fmt.Errorf("line %d, %w", number+1, err)
		}
		if _, twice := s.cpus[key]; twice {
			return s, fmt.Errorf("line %d is a second one of CPU %d: %w", number+1, key, collector.ErrDecode)
		}
		s.cpus[key] = c
	}
	if len(s.cpus) == 0 {
		return s, fmt.Errorf("no line for any CPU: %w", collector.ErrDecode)
	}
	return s, nil
}

// totals are counts of all CPUs, in 64 bits.
type totals struct{ processed, dropped, squeezed uint64 }

// parseCPU reads one line, and which CPU it is of: the one that is given, unless
// the line tells.
func parseCPU(fields [][]byte, key uint32) (c cpu, number uint32, err error) {
	parse := func(column int, value *uint32) {
		if err != nil || column >= len(fields) {
			return
		}
		v, errParse := strconv.ParseUint(string(fields[column]), 16, 32)
		if errParse != nil {
			err = fmt.Errorf("column %d: %.20q is no 32-bit hexadecimal number: %w", column+1, fields[column], collector.ErrDecode)
		}
		*value = uint32(v)
	}
	parse(columnProcessed, &c.processed)
	parse(columnDropped, &c.dropped)
	parse(columnSqueezed, &c.squeezed)
	parse(columnCPU, &key)
	if err == nil && key >= maxCPUs {
		err = fmt.Errorf("column %d: there is no CPU %d: %w", columnCPU+1, key, collector.ErrDecode)
	}
	return c, key, err
}

// sums turns the counters of the CPUs into totals that do not fall when one of
// them wraps, or when a CPU goes offline.
type sums struct {
	last  softnet
	total totals
}

// add takes one reading and returns the totals so far. The first reading counts
// from zero, so that a restart of the exporter does not show as new packets. Where
// lines have no number and their count changes, nobody knows which CPU came or
// went: the reading is only where the next one begins.
func (a *sums) add(now softnet) totals {
	began := a.last.cpus != nil
	if began && (now.numbered != a.last.numbered || !now.numbered && len(now.cpus) != len(a.last.cpus)) {
		a.last = now
		return a.total
	}
	known := softnet{cpus: map[uint32]cpu{}, numbered: now.numbered}
	// A CPU that is offline goes on where it stopped when it comes back.
	maps.Copy(known.cpus, a.last.cpus)
	for key, c := range now.cpus {
		last := known.cpus[key]
		a.total.processed += uint64(wrap.Increase32(last.processed, c.processed))
		a.total.dropped += uint64(wrap.Increase32(last.dropped, c.dropped))
		a.total.squeezed += uint64(wrap.Increase32(last.squeezed, c.squeezed))
		known.cpus[key] = c
	}
	a.last = known
	return a.total
}
