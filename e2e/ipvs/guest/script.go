//go:build e2e

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/moby/ipvs"
	"golang.org/x/sys/unix"
)

// How long clients ask where an answer must come, and where none may.
const (
	answerWithin = 20 * time.Second
	silentFor    = 1500 * time.Millisecond
	// expireWithin bounds the wait for entries with a timeout of briefTimeout.
	expireWithin = 90 * time.Second
)

// briefTimeout, in seconds, is long enough for one moment to fit into it.
const briefTimeout = "20"

const (
	client4 = "10.0.0.9"
	client6 = "fd00:9::9"
)

// addresses are those of clients, services and destinations.
var addresses = []string{
	client4, client6,
	"10.96.0.10", "10.96.0.11", "10.96.0.12", "10.96.0.13", "10.96.0.14", "10.96.0.20", "10.96.0.21", "10.96.0.22",
	"10.96.7.7", "10.96.7.8", "fd00:96::10", "fd00:96::9",
	"10.244.1.1", "10.244.1.2", "10.244.2.1", "10.244.2.2", "10.244.3.1", "10.244.3.2", "10.244.4.1", "10.244.4.2",
	"10.244.7.1", "10.244.7.2", "10.244.7.3", "fd00:244::1", "fd00:244::2", "fd00:244::7",
}

// services are made with ipvsadm, in this order.
const services = `
-A -t 10.96.0.10:80 -s wrr
-a -t 10.96.0.10:80 -r 10.244.1.1:8080 -m -w 1
-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -m -w 3
-A -u 10.96.0.10:53 -s rr
-a -u 10.96.0.10:53 -r 10.244.1.1:5353 -m
-a -u 10.96.0.10:53 -r 10.244.1.2:5353 -m
-A -t [fd00:96::10]:80 -s sh
-a -t [fd00:96::10]:80 -r [fd00:244::1]:8080 -m
-A -u [fd00:96::10]:53 -s wlc
-a -u [fd00:96::10]:53 -r [fd00:244::1]:5353 -m
-a -u [fd00:96::10]:53 -r [fd00:244::2]:5353 -m
-A -t 10.96.0.11:443 -s sh -p 10800
-a -t 10.96.0.11:443 -r 10.244.1.1:8443 -m
-A -u 10.96.0.11:53 -s rr -p 600
-a -u 10.96.0.11:53 -r 10.244.3.1:5353 -m
-A -u 10.96.0.12:0 -s rr -p 300
-a -u 10.96.0.12:0 -r 10.244.3.2:0 -m
-A -u 10.96.0.13:53 -s rr -o
-a -u 10.96.0.13:53 -r 10.244.1.1:5353 -m
-A -u 10.96.0.20:53 -s lc
-a -u 10.96.0.20:53 -r 10.244.2.1:5353 -m
-A -u 10.96.0.21:53 -s rr
-a -u 10.96.0.21:53 -r 10.244.2.2:5353 -m
-A -u 10.96.0.22:53 -s rr
-a -u 10.96.0.22:53 -r 10.244.4.1:5353 -m
-a -u 10.96.0.22:53 -r 10.244.4.2:5353 -m
-A -u 10.96.0.14:53 -s mh
-A --sctp-service 10.96.0.10:132 -s rr
-a --sctp-service 10.96.0.10:132 -r 10.244.1.1:132 -m
-A -f 7 -s rr
-a -f 7 -r 10.244.7.1:0 -m
-a -f 7 -r 10.244.7.2:5353 -m
-A -f 8 -s rr -p 400
-a -f 8 -r 10.244.7.3:0 -m
-A -f 9 -6 -s rr
-a -f 9 -6 -r [fd00:244::7]:0 -m`

// udpServers are the destinations that answer.
var udpServers = []string{
	"10.244.1.1:5353", "10.244.1.2:5353", "10.244.2.1:5353", "10.244.2.2:5353", "10.244.3.1:5353", "10.244.3.2:7000",
	"10.244.4.1:5353", "10.244.4.2:5353", "10.244.7.1:5353", "10.244.7.2:5353", "10.244.7.3:7000",
	"[fd00:244::1]:5353", "[fd00:244::2]:5353", "[fd00:244::7]:7000",
}

var tcpServers = []string{"10.244.1.1:8080", "10.244.1.2:8080", "10.244.1.1:8443", "[fd00:244::1]:8080"}

// groups of clients that are there from the first traffic on. Their numbers
// differ, so that no sum is right by chance.
func groups() []*group {
	return []*group{
		{name: "dns", source: client4, target: "10.96.0.10:53", number: 6},
		{name: "dns6", source: client6, target: "[fd00:96::10]:53", number: 4},
		{name: "sticky", source: client4, target: "10.96.0.11:53", number: 2},
		{name: "anyport", source: client4, target: "10.96.0.12:7000", number: 2},
		{name: "drained", source: client4, target: "10.96.0.20:53", number: 5},
		{name: "deleted", source: client4, target: "10.96.0.21:53", number: 7},
		{name: "marked", source: client4, target: "10.96.7.7:5353", number: 4, mark: 7},
		{name: "markedsticky", source: client4, target: "10.96.7.8:7000", number: 3, mark: 8},
		{name: "marked6", source: client6, target: "[fd00:96::9]:7000", number: 3, mark: 9},
		// Its service has no destination.
		{name: "nowhere", source: client4, target: "10.96.0.14:53", number: 2},
	}
}

// scene is the state of the script.
type scene struct {
	record    *record
	exporters []*exporter
	needed    modules
	ipvs      modules
	servers   servers
	groups    map[string]*group
	kept      []net.Conn
}

// script runs all of it. Each step leaves behind what the next one builds upon.
func script(ctx context.Context, r *record) error {
	s := &scene{record: r, servers: servers{make(map[string]io.Closer)}, groups: make(map[string]*group)}
	var took strings.Builder
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"prepare", s.prepare},
		{"not loaded", s.notLoaded},
		{"loaded", s.loaded},
		{"timeouts", s.timeouts},
		{"services", s.services},
		{"traffic", s.traffic},
		{"stale", s.stale},
		{"restored", s.restored},
		{"expiry", s.expiry},
		{"parameters", s.parameters},
		{"late", s.late},
		{"unloaded", s.unloaded},
		{"loaded again", s.loadedAgain},
		{"end", s.end},
	} {
		start := time.Now()
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("step %s: %w", step.name, err)
		}
		fmt.Fprintf(&took, "%s: %s\n", step.name, time.Since(start).Round(time.Millisecond))
	}
	r.section("took", took.String())
	return nil
}

func (s *scene) prepare(ctx context.Context) error {
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return err
	}
	s.record.section("uptime", string(uptime))
	if s.needed, s.ipvs, err = findModules(); err != nil {
		return err
	}
	if err := s.needed.load(); err != nil {
		return err
	}
	if err := bringUp(addresses); err != nil {
		return err
	}
	if err := s.serve(ctx); err != nil {
		return err
	}
	if err := forgetModprobe(); err != nil {
		return err
	}
	for _, i := range identities() {
		e, err := i.start(ctx)
		if err != nil {
			return err
		}
		s.exporters = append(s.exporters, e)
	}
	return nil
}

// serve starts the servers. IPv6 addresses of a new interface become usable
// after a moment.
func (s *scene) serve(ctx context.Context) error {
	for _, address := range udpServers {
		if err := eventually(ctx, 10*time.Second, func() error { return s.servers.serveUDP(ctx, address) }); err != nil {
			return err
		}
	}
	for _, address := range tcpServers {
		if err := s.servers.serveTCP(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

// notLoaded shows that the exporter does not load the module, and then that it
// would have been seen to try: a mere look-up by name makes the kernel ask for it.
func (s *scene) notLoaded(ctx context.Context) error {
	for _, name := range []string{"absent-1", "absent-2", "absent-3"} {
		if err := s.moment(ctx, name); err != nil {
			return err
		}
	}
	if err := lookUpFamily(); err != nil {
		return err
	}
	calls, err := os.ReadFile(modprobeLog)
	if err != nil {
		return err
	}
	s.record.section("trap", string(calls))
	return forgetModprobe()
}

// lookUpFamily asks for the generic netlink family of IPVS. What the answer is
// does not matter.
func lookUpFamily() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return fmt.Errorf("generic netlink: %w", err)
	}
	defer unix.Close(fd)
	request := make([]byte, unix.NLMSG_HDRLEN+unix.GENL_HDRLEN, 64)
	request[4], request[6] = unix.GENL_ID_CTRL, unix.NLM_F_REQUEST
	request[unix.NLMSG_HDRLEN] = unix.CTRL_CMD_GETFAMILY
	request = append(request, 9, 0, unix.CTRL_ATTR_FAMILY_NAME, 0, 'I', 'P', 'V', 'S', 0, 0, 0, 0)
	request[0] = byte(len(request))
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("generic netlink: %w", err)
	}
	return nil
}

func (s *scene) loaded(ctx context.Context) error {
	if err := s.ipvs.load(); err != nil {
		return err
	}
	return s.moment(ctx, "loaded")
}

// timeouts sets them in all ways there are.
func (s *scene) timeouts(ctx context.Context) error {
	if _, err := ipvsadm(ctx, "--set 900 120 10"); err != nil {
		return err
	}
	if err := s.moment(ctx, "timeouts-ipvsadm"); err != nil {
		return err
	}
	if err := setTimeouts(600*time.Second, 60*time.Second, 30*time.Second); err != nil {
		return err
	}
	if err := s.moment(ctx, "timeouts-netlink"); err != nil {
		return err
	}
	if _, err := ipvsadm(ctx, "--set 0 0 77"); err != nil {
		return err
	}
	if err := s.moment(ctx, "timeouts-keep"); err != nil {
		return err
	}
	_, err := ipvsadm(ctx, "--set 900 120 300")
	return err
}

// setTimeouts sets them by generic netlink, as kube-proxy does.
func setTimeouts(tcp, tcpFin, udp time.Duration) error {
	handle, err := ipvs.New("")
	if err != nil {
		return fmt.Errorf("IPVS by netlink: %w", err)
	}
	defer handle.Close()
	err = handle.SetConfig(&ipvs.Config{TimeoutTCP: tcp, TimeoutTCPFin: tcpFin, TimeoutUDP: udp})
	if err != nil {
		return fmt.Errorf("set timeouts by netlink: %w", err)
	}
	return nil
}

func (s *scene) services(ctx context.Context) error {
	if err := s.change(ctx, services); err != nil {
		return err
	}
	return s.moment(ctx, "services")
}

// change runs ipvsadm for each line.
func (s *scene) change(ctx context.Context, lines string) error {
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		if _, err := ipvsadm(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// traffic makes connections of all kinds, all of which lead somewhere.
func (s *scene) traffic(ctx context.Context) error {
	for _, to := range []struct {
		address      string
		number, keep int
	}{
		{"10.96.0.10:80", 5, 3}, {"[fd00:96::10]:80", 3, 2}, {"10.96.0.11:443", 2, 1},
	} {
		kept, err := connect(ctx, to.address, to.number, to.keep)
		s.kept = append(s.kept, kept...)
		if err != nil {
			return err
		}
	}
	var outcomes strings.Builder
	for _, g := range groups() {
		if err := g.open(ctx); err != nil {
			return err
		}
		s.groups[g.name] = g
		within := answerWithin
		if g.name == "nowhere" {
			within = silentFor
		}
		outcomes.WriteString(g.ask(within))
	}
	s.record.section("traffic/clients", outcomes.String())
	return s.moment(ctx, "traffic")
}

// ask records what becomes of the clients of some groups.
func (s *scene) ask(moment string, within time.Duration, names ...string) {
	var outcomes strings.Builder
	for _, name := range names {
		outcomes.WriteString(s.groups[name].ask(within))
	}
	s.record.section(moment+"/clients", outcomes.String())
}

// stale takes away one destination after the other.
func (s *scene) stale(ctx context.Context) error {
	for _, step := range []struct{ moment, change, group string }{
		// A TCP connection to a destination that is gone is none of this.
		{"tcp-destination-gone", "-d -t 10.96.0.10:80 -r 10.244.1.2:8080", ""},
		{"destination-gone", "-d -u 10.96.0.10:53 -r 10.244.1.2:5353", "dns"},
		{"weight-zero", "-e -u 10.96.0.20:53 -r 10.244.2.1:5353 -m -w 0", "drained"},
		{"service-gone", "-D -u 10.96.0.21:53", "deleted"},
		{"destination-gone-ipv6", "-d -u [fd00:96::10]:53 -r [fd00:244::2]:5353", "dns6"},
		{"destination-gone-fwmark", "-d -f 7 -r 10.244.7.2:5353", "marked"},
		{"destination-gone-fwmark-ipv6", "-d -f 9 -6 -r [fd00:244::7]:0", "marked6"},
		{"destination-gone-persistent", "-d -u 10.96.0.11:53 -r 10.244.3.1:5353", "sticky"},
		{"destination-gone-all-ports", "-d -u 10.96.0.12:0 -r 10.244.3.2:0", "anyport"},
	} {
		if err := s.change(ctx, step.change); err != nil {
			return err
		}
		if step.group != "" {
			s.ask(step.moment, silentFor, step.group)
		}
		if err := s.moment(ctx, step.moment); err != nil {
			return err
		}
	}
	// The kernel goes on to forward to a destination of weight 0: packets are lost
	// from the moment on at which the pod has ended.
	if err := s.servers.stopUDP("10.244.2.1:5353"); err != nil {
		return err
	}
	s.ask("weight-zero-pod-gone", silentFor, "drained")
	return s.servers.serveUDP(ctx, "10.244.2.1:5353")
}

// restored puts everything back.
func (s *scene) restored(ctx context.Context) error {
	err := s.change(ctx, `
-a -t 10.96.0.10:80 -r 10.244.1.2:8080 -m -w 3
-a -u 10.96.0.10:53 -r 10.244.1.2:5353 -m
-e -u 10.96.0.20:53 -r 10.244.2.1:5353 -m -w 1
-A -u 10.96.0.21:53 -s rr
-a -u 10.96.0.21:53 -r 10.244.2.2:5353 -m
-a -u [fd00:96::10]:53 -r [fd00:244::2]:5353 -m
-a -f 7 -r 10.244.7.2:5353 -m
-a -f 9 -6 -r [fd00:244::7]:0 -m
-a -u 10.96.0.11:53 -r 10.244.3.1:5353 -m
-a -u 10.96.0.12:0 -r 10.244.3.2:0 -m`)
	if err != nil {
		return err
	}
	if err := s.moment(ctx, "restored"); err != nil {
		return err
	}
	// Not before: a message would renew what the moment shows.
	s.ask("restored", answerWithin, "dns", "dns6", "sticky", "anyport", "drained", "deleted", "marked", "marked6", "markedsticky")
	return nil
}

// expiry lets entries of a destination that is gone run out while their clients
// go on to send.
func (s *scene) expiry(ctx context.Context) error {
	if _, err := ipvsadm(ctx, "--set 0 0 "+briefTimeout); err != nil {
		return err
	}
	brief := &group{name: "brief", source: client4, target: "10.96.0.22:53", number: 4}
	if err := brief.open(ctx); err != nil {
		return err
	}
	s.groups[brief.name] = brief
	s.ask("brief", answerWithin, brief.name)
	if err := s.change(ctx, "-d -u 10.96.0.22:53 -r 10.244.4.2:5353"); err != nil {
		return err
	}
	if err := s.moment(ctx, "brief-gone"); err != nil {
		return err
	}
	s.ask("brief-gone", silentFor, brief.name)
	s.ask("brief-expired", expireWithin, brief.name)
	// The entries of the clients that were answered would expire too.
	if _, err := ipvsadm(ctx, "--set 0 0 300"); err != nil {
		return err
	}
	s.ask("brief-renewed", answerWithin, brief.name)
	return s.moment(ctx, "brief-expired")
}

// parameters sets some, among them the one by which the kernel itself ends the
// entries of a destination that is removed.
func (s *scene) parameters(ctx context.Context) error {
	for name, value := range map[string]string{
		"conn_reuse_mode": "0", "expire_nodest_conn": "1", "expire_quiescent_template": "1",
		"conntrack": "1", "sloppy_tcp": "1", "drop_packet": "1", "sync_threshold": "4 60",
	} {
		if err := os.WriteFile(parametersFolder+"/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	if err := s.change(ctx, "-d -u [fd00:96::10]:53 -r [fd00:244::2]:5353"); err != nil {
		return err
	}
	s.ask("parameters", answerWithin, "dns6")
	return s.moment(ctx, "parameters")
}

// late shows an exporter that was started after the module was loaded.
func (s *scene) late(ctx context.Context) error {
	e, err := identity{name: "late", port: 9780}.start(ctx)
	if err != nil {
		return err
	}
	s.exporters = append(s.exporters, e)
	return s.moment(ctx, "late")
}

// unloaded shows that the exporters notice that IPVS is gone, and do not load it
// again.
func (s *scene) unloaded(ctx context.Context) error {
	for _, conn := range s.kept {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	if _, err := ipvsadm(ctx, "-C"); err != nil {
		return err
	}
	if err := s.ipvs.unload(ctx); err != nil {
		return err
	}
	if err := forgetModprobe(); err != nil {
		return err
	}
	for _, name := range []string{"unloaded-1", "unloaded-2"} {
		if err := s.moment(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// loadedAgain shows that a second life of the module, in which the number of the
// netlink family is another one, is seen as well.
func (s *scene) loadedAgain(ctx context.Context) error {
	if err := s.ipvs.load(); err != nil {
		return err
	}
	if _, err := ipvsadm(ctx, "--set 901 121 11"); err != nil {
		return err
	}
	if err := s.change(ctx, services); err != nil {
		return err
	}
	return s.moment(ctx, "loaded-again")
}

func (s *scene) end(context.Context) error {
	for _, e := range s.exporters {
		log, status, err := e.stop()
		if err != nil {
			return err
		}
		s.record.section("log/"+e.name, log)
		s.record.section("status/"+e.name, status)
	}
	return nil
}
