package ipvs

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"ack-exporter/collector"
)

// connectionsFile is the list of connections below the proc file system, of the
// network namespace of process 1. Its format is that of ip_vs_conn_seq_show in
// net/netfilter/ipvs/ip_vs_conn.c.
var connectionsFile = []string{"1", "net", "ip_vs_conn"}

// maxSuspects bounds how many pairs of a virtual address and a destination are
// kept to be looked at again.
const maxSuspects = 10_000

// connections is what the list of connections says.
type connections struct {
	visited  uint64
	complete bool
	// suspects counts the UDP connections to each destination that was not live.
	suspects map[backend]uint64
	// more are those beyond the bound on suspects.
	more uint64
}

// readConnections reads the list of connections up to maxConnections, 0 for all,
// and picks out those that lead nowhere by what s says.
func readConnections(ctx context.Context, r io.Reader, s *services, maxConnections uint64) (connections, error) {
	c := connections{complete: true, suspects: make(map[backend]uint64)}
	header := true
	err := eachLine(ctx, r, func(line []byte) (bool, error) {
		if header {
			header = false
			if !bytes.HasPrefix(line, []byte("Pro FromIP")) {
				return false, fmt.Errorf("%.40q is not the list of connections: %w", line, collector.ErrDecode)
			}
			return true, nil
		}
		if maxConnections > 0 && c.visited == maxConnections {
			c.complete = false
			return false, nil
		}
		c.visited++
		conn, err := parseConnection(line)
		if err != nil {
			return false, err
		}
		if conn.udp && !conn.template && !s.live(conn.virtual, conn.destination) {
			c.suspect(backend{conn.virtual, conn.destination})
		}
		return true, nil
	})
	if err == nil && header {
		err = fmt.Errorf("the file is empty: %w", collector.ErrDecode)
	}
	return c, err
}

func (c *connections) suspect(b backend) {
	if _, known := c.suspects[b]; !known && len(c.suspects) == maxSuspects {
		c.more++
		return
	}
	c.suspects[b]++
}

// stale is how many connections lead nowhere also by what now says: one whose
// service was changed after the services had been read is no longer suspect.
func (c *connections) stale(now *services) uint64 {
	n := c.more
	for b, count := range c.suspects {
		if !now.live(b.service, b.destination) {
			n += count
		}
	}
	return n
}

// connection is one line, as far as it matters.
type connection struct {
	udp bool
	// template: not a connection but the memory of a persistent service of where
	// a client belongs. Its client has no port.
	template             bool
	virtual, destination endpoint
}

// parseConnection reads, for example,
// "UDP 0A60000A C472 0A60000A 0035 0AF40102 14E9 UDP               9". Of other
// protocols it reads only the name.
func parseConnection(line []byte) (connection, error) {
	var c connection
	word, rest := nextField(line)
	if len(word) == 0 || len(rest) == 0 {
		return c, fmt.Errorf("%.40q is no connection: %w", line, collector.ErrDecode)
	}
	if string(word) != "UDP" {
		return c, nil
	}
	c.udp = true
	var client endpoint
	for _, e := range []*endpoint{&client, &c.virtual, &c.destination} {
		addr, afterAddr := nextField(rest)
		port, afterPort := nextField(afterAddr)
		rest = afterPort
		var okAddr, okPort bool
		e.addr, okAddr = parseAddress(addr)
		e.port, okPort = parsePort(port)
		if !okAddr || !okPort {
			return c, fmt.Errorf("%.120q is no connection: %w", line, collector.ErrDecode)
		}
	}
	c.template = client.port == 0
	return c, nil
}
