package ipvs

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"ack-exporter/collector"
)

// servicesFile is the list of services below the proc file system, of the network
// namespace of process 1. Its format is that of ip_vs_info_seq_show in
// net/netfilter/ipvs/ip_vs_ctl.c.
var servicesFile = []string{"1", "net", "ip_vs"}

type protocol int

const (
	tcp protocol = iota
	udp
	sctp
	fwmark
	numProtocols
)

var protocolNames = [numProtocols]string{"tcp", "udp", "sctp", "fwmark"}

// protocolOf knows the words that begin the lines of services.
func protocolOf(word []byte) (protocol, bool) {
	switch string(word) {
	case "TCP":
		return tcp, true
	case "UDP":
		return udp, true
	case "SCTP":
		return sctp, true
	case "FWM":
		return fwmark, true
	}
	return 0, false
}

// Bounds on what the files may make us hold.
const (
	maxSchedulers   = 32
	maxLiveBackends = 1 << 20
)

// otherScheduler stands for schedulers above the bound.
const otherScheduler = "other"

// services is what the list of services says.
type services struct {
	services, destinations [numProtocols]uint64
	active, inactive       [numProtocols]uint64
	schedulers             map[string]*uint64

	// virtual holds the addresses of the UDP services, and backends their
	// destinations with a weight above 0.
	virtual  map[endpoint]struct{}
	backends map[backend]struct{}
	// marked holds the destinations with a weight above 0 of the services that
	// take packets by their mark, whatever the addresses.
	marked map[endpoint]struct{}
}

// backend is a destination of one service.
type backend struct{ service, destination endpoint }

// serviceLine is the line that begins a service.
type serviceLine struct {
	protocol  protocol
	virtual   endpoint // not with fwmark
	scheduler []byte
}

// destinationLine is the line of a destination of the service above it.
type destinationLine struct {
	destination      endpoint
	weight           uint64
	active, inactive uint64
}

// readServices reads the list of services.
func readServices(ctx context.Context, r io.Reader) (services, error) {
	s := services{
		schedulers: make(map[string]*uint64),
		virtual:    make(map[endpoint]struct{}),
		backends:   make(map[backend]struct{}),
		marked:     make(map[endpoint]struct{}),
	}
	var current serviceLine
	var begun bool
	n := 0
	err := eachLine(ctx, r, func(line []byte) (bool, error) {
		n++
		switch {
		case n == 1:
			if !bytes.HasPrefix(line, []byte("IP Virtual Server")) {
				return false, fmt.Errorf("%.40q is not the list of services: %w", line, collector.ErrDecode)
			}
			return true, nil
		case n <= 3: // the names of the columns
			return true, nil
		case bytes.HasPrefix(line, []byte("  -> ")):
			if !begun {
				return false, fmt.Errorf("a destination before any service: %w", collector.ErrDecode)
			}
			return true, s.addDestination(current, line)
		}
		var err error
		if current, err = parseService(line); err != nil {
			return false, err
		}
		begun = true
		s.addService(current)
		return true, nil
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("the file is empty: %w", collector.ErrDecode)
	}
	return s, err
}

// parseService reads, for example, "UDP  0A60000A:0035 rr" or "FWM  00000007 rr".
func parseService(line []byte) (serviceLine, error) {
	var s serviceLine
	word, rest := nextField(line)
	where, rest := nextField(rest)
	s.scheduler, _ = nextField(rest)
	var ok bool
	if s.protocol, ok = protocolOf(word); !ok {
		return s, fmt.Errorf("%.40q begins no service: %w", line, collector.ErrDecode)
	}
	if s.protocol == fwmark {
		_, ok = parseHex(where)
	} else {
		s.virtual, ok = parseEndpoint(where)
	}
	if !ok || len(s.scheduler) == 0 {
		return s, fmt.Errorf("%.60q is no service: %w", line, collector.ErrDecode)
	}
	return s, nil
}

// parseDestination reads, for example,
// "  -> 0AF40102:14E9      Masq    1      0          2".
func parseDestination(line []byte) (destinationLine, error) {
	var d destinationLine
	_, rest := nextField(line) // the arrow
	where, rest := nextField(rest)
	_, rest = nextField(rest) // how packets are forwarded
	weight, rest := nextField(rest)
	active, rest := nextField(rest)
	inactive, _ := nextField(rest)
	var ok [4]bool
	d.destination, ok[0] = parseEndpoint(where)
	d.weight, ok[1] = parseDecimal(weight)
	d.active, ok[2] = parseDecimal(active)
	d.inactive, ok[3] = parseDecimal(inactive)
	if ok != [4]bool{true, true, true, true} {
		return d, fmt.Errorf("%.80q is no destination: %w", line, collector.ErrDecode)
	}
	return d, nil
}

func (s *services) addService(line serviceLine) {
	s.services[line.protocol]++
	s.countScheduler(line.scheduler)
	if line.protocol == udp {
		s.virtual[line.virtual] = struct{}{}
	}
}

// countScheduler copies the name only where it is new.
func (s *services) countScheduler(name []byte) {
	if n, known := s.schedulers[string(name)]; known {
		*n++
		return
	}
	if len(s.schedulers) >= maxSchedulers {
		name = []byte(otherScheduler)
	}
	n, known := s.schedulers[string(name)]
	if !known {
		n = new(uint64)
		s.schedulers[string(name)] = n
	}
	*n++
}

func (s *services) addDestination(current serviceLine, line []byte) error {
	d, err := parseDestination(line)
	if err != nil {
		return err
	}
	s.destinations[current.protocol]++
	s.active[current.protocol] += d.active
	s.inactive[current.protocol] += d.inactive
	if d.weight == 0 {
		return nil
	}
	switch current.protocol {
	case udp:
		s.backends[backend{current.virtual, d.destination}] = struct{}{}
	case fwmark:
		s.marked[d.destination] = struct{}{}
	}
	if len(s.virtual)+len(s.backends)+len(s.marked) > maxLiveBackends {
		return fmt.Errorf("more than %d UDP services and destinations: %w", maxLiveBackends, collector.ErrDecode)
	}
	return nil
}

// live tells whether a UDP connection to virtual that goes to destination goes to
// a destination that its service still has, with a weight above 0.
//
// The kernel looks for a service with the mark of the packet first, then for one
// with its address and port, then for one with its address and all ports
// (ip_vs_service_find). The mark of a connection is nowhere to be read, so one
// that goes to a destination of any marked service is taken for live.
func (s *services) live(virtual, destination endpoint) bool {
	marked := func(e endpoint) bool {
		_, ok := s.marked[e]
		return ok
	}
	if matches(marked, virtual, destination) {
		return true
	}
	for _, port := range []uint16{virtual.port, 0} {
		service := endpoint{virtual.addr, port}
		if _, ok := s.virtual[service]; !ok {
			continue
		}
		return matches(func(e endpoint) bool {
			_, ok := s.backends[backend{service, e}]
			return ok
		}, virtual, destination)
	}
	return false
}

// matches looks for destination in a set, or for its address with all ports: then
// the kernel keeps the port that the packet has.
func matches(has func(endpoint) bool, virtual, destination endpoint) bool {
	if has(destination) {
		return true
	}
	return destination.port == virtual.port && has(endpoint{destination.addr, 0})
}
