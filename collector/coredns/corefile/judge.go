package corefile

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Checks that a Corefile passes or not.
const (
	// Parse: CoreDNS can read it.
	CheckParse = "parse"
	// CheckRoot: some server block answers for all names.
	CheckRoot = "root"

	// Plugins that serve the whole process. One use in any server block is enough.

	CheckHealth     = "health"
	CheckLameduck   = "lameduck"
	CheckReady      = "ready"
	CheckReload     = "reload"
	CheckKubernetes = "kubernetes"
	// CheckNoAutopath: no server block uses autopath.
	CheckNoAutopath = "no_autopath"

	// Plugins that every server block for the root zone needs.

	CheckErrors      = "errors"
	CheckPrometheus  = "prometheus"
	CheckCache       = "cache"
	CheckLoop        = "loop"
	CheckLoadbalance = "loadbalance"
	CheckForward     = "forward"
	// CheckPreferUDP: what is forwarded goes over UDP even where the question came
	// over TCP.
	CheckPreferUDP = "prefer_udp"
	// CheckHostsFallthrough: names that the plugin hosts does not know are passed on.
	CheckHostsFallthrough = "hosts_fallthrough"
)

// MinLameduck is how long CoreDNS should go on answering after it was told to stop,
// so that all nodes have taken it out of the Service by then.
const MinLameduck = 15 * time.Second

// answer is what can be said about a Corefile that is partly unknown.
type answer int

const (
	unknown answer = iota
	no
	yes
)

// Checks tells which checks the Corefile passes. One that depends on something
// unknown is missing. legacy is for CoreDNS before 1.5.0, which has no plugin ready,
// and the plugin proxy where later versions have forward.
//
// The checks of the root zone are about the server blocks for "." on port 53, or
// where there is none, about those for "." on any other port.
func (f *File) Checks(legacy bool) map[string]bool {
	checks := map[string]bool{CheckParse: true}
	set := func(name string, a answer) {
		if a != unknown {
			checks[name] = a == yes
		}
	}
	set(CheckHealth, f.anywhere("health"))
	set(CheckLameduck, f.lameduck().long)
	set(CheckReady, f.ready(legacy))
	set(CheckReload, f.anywhere("reload"))
	set(CheckKubernetes, f.anywhere("kubernetes"))
	set(CheckNoAutopath, not(f.anywhere("autopath")))

	roots, answered := f.roots()
	set(CheckRoot, answered)
	for _, name := range []string{CheckErrors, CheckCache, CheckLoop, CheckLoadbalance} {
		set(name, inAll(roots, func(b block) answer { return b.has(name) }))
	}
	forwarders := []string{"forward"}
	if legacy {
		forwarders = append(forwarders, "proxy")
	}
	set(CheckForward, inAll(roots, func(b block) answer { return b.forwards(forwarders) }))
	set(CheckPreferUDP, inAll(roots, block.prefersUDP))
	set(CheckPrometheus, inAll(roots, block.exposesMetrics))
	set(CheckHostsFallthrough, inAll(roots, block.hostsFallThrough))
	return checks
}

// Lameduck is how long CoreDNS goes on answering after it was told to stop. It is
// not known without the plugin health, or where the value cannot be told.
func (f *File) Lameduck() (d time.Duration, known bool) {
	if f.anywhere("health") != yes {
		return 0, false
	}
	l := f.lameduck()
	return l.time, l.readable && l.long != unknown
}

func not(a answer) answer {
	switch a {
	case yes:
		return no
	case no:
		return yes
	default:
		return unknown
	}
}

// inAll is yes where is says so of every block, and no where it does of one.
func inAll(blocks []block, is func(block) answer) answer {
	if len(blocks) == 0 {
		return unknown
	}
	all := yes
	for _, b := range blocks {
		switch is(b) {
		case no:
			return no
		case unknown:
			all = unknown
		}
	}
	return all
}

// has tells whether a directive is in the block.
func (b block) has(directive string) answer {
	switch {
	case len(b.directives[directive]) > 0:
		return yes
	case b.more:
		return unknown
	default:
		return no
	}
}

// anywhere tells whether a directive is in any server block.
func (f *File) anywhere(directive string) answer {
	found := no
	if f.more {
		found = unknown
	}
	for _, b := range f.blocks {
		switch b.has(directive) {
		case yes:
			return yes
		case unknown:
			found = unknown
		}
	}
	return found
}

// roots are the server blocks for all names that the checks are about.
func (f *File) roots() ([]block, answer) {
	var onDNSPort, elsewhere []block
	answered := no
	if f.more {
		answered = unknown
	}
	for _, b := range f.blocks {
		switch {
		case slices.Contains(b.zones, zone{root: true, port: dnsPort, known: true}):
			onDNSPort = append(onDNSPort, b)
		case slices.ContainsFunc(b.zones, func(z zone) bool { return z.root }):
			elsewhere = append(elsewhere, b)
		case slices.ContainsFunc(b.zones, func(z zone) bool { return !z.known }):
			answered = unknown
		}
	}
	switch {
	case len(onDNSPort) > 0:
		return onDNSPort, yes
	case answered == unknown:
		return nil, unknown
	case len(elsewhere) > 0:
		return elsewhere, yes
	default:
		return nil, no
	}
}

// ready is about the plugin of that name, which old versions refuse.
func (f *File) ready(legacy bool) answer {
	used := f.anywhere("ready")
	if legacy {
		return not(used)
	}
	return used
}

// lameduck is what is known about how long CoreDNS goes on answering: the longest
// time of all uses of health, and whether that is long enough.
func (f *File) lameduck() lameduck {
	all := lameduck{long: f.anywhere("health"), readable: true}
	if all.long == yes {
		all.long = no
	}
	for _, b := range f.blocks {
		for _, use := range b.uses("health") {
			l := use.lameduck()
			switch {
			case !l.readable:
				return l
			case l.long == unknown && all.long == no, l.long == yes:
				all.long = l.long
			}
			all.time = max(all.time, l.time)
		}
	}
	return all
}

type lameduck struct {
	time time.Duration
	long answer
	// readable is false for a value that keeps CoreDNS from starting.
	readable bool
}

func (d directive) lameduck() lameduck {
	l := lameduck{long: no, readable: true}
	if d.more() {
		l.long = unknown
	}
	for _, line := range d.lines {
		if line.name != "lameduck" {
			continue
		}
		if len(line.args) != 1 {
			return lameduck{long: no}
		}
		if hasPlaceholder(line.args[0]) {
			l.long = unknown
			continue
		}
		value, err := time.ParseDuration(line.args[0])
		if err != nil {
			return lameduck{long: no}
		}
		l.time = value
	}
	if l.time >= MinLameduck {
		l.long = yes
	}
	return l
}

// isRoot tells whether a zone that stands behind a directive is the root.
func isRoot(argument string) answer {
	z := parseZone(argument)
	switch {
	case !z.known:
		return unknown
	case z.root:
		return yes
	default:
		return no
	}
}

// forwards tells whether the block forwards all names that it does not know itself.
func (b block) forwards(plugins []string) answer {
	found := no
	if b.more {
		found = unknown
	}
	var uses []directive
	for _, plugin := range plugins {
		uses = append(uses, b.uses(plugin)...)
	}
	for _, use := range uses {
		if len(use.args) < 2 {
			continue // CoreDNS refuses that
		}
		switch isRoot(use.args[0]) {
		case yes:
			return yes
		case unknown:
			found = unknown
		}
	}
	return found
}

// prefersUDP tells whether the block forwards all names over UDP.
func (b block) prefersUDP() answer {
	found := unknown
	for _, use := range b.uses("forward") {
		if len(use.args) == 0 || isRoot(use.args[0]) != yes {
			continue
		}
		switch {
		case use.has("force_tcp"):
			return no
		case use.has("prefer_udp"):
			found = yes
		case !use.more():
			return no
		default:
			return unknown
		}
	}
	return found
}

// exposesMetrics tells whether others can read the metrics: by default CoreDNS
// offers them on the loopback address only.
func (b block) exposesMetrics() answer {
	used := b.has("prometheus")
	if used != yes {
		return used
	}
	exposed := no
	for _, use := range b.uses("prometheus") {
		if len(use.args) == 0 {
			continue
		}
		host, _, err := net.SplitHostPort(use.args[0])
		switch {
		case hasPlaceholder(use.args[0]):
			exposed = unknown
		case err == nil && !isLoopback(host):
			return yes
		}
	}
	return exposed
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// hostsFallThrough tells whether the plugin hosts passes on the names that it does
// not know. Without that plugin they are.
func (b block) hostsFallThrough() answer {
	passed := yes
	if b.more {
		passed = unknown
	}
	for _, use := range b.uses("hosts") {
		switch use.fallsThrough() {
		case no:
			return no
		case unknown:
			passed = unknown
		}
	}
	return passed
}

func (d directive) fallsThrough() answer {
	// hosts [FILE [ZONES...]]: where there are zones, it leaves all other names alone.
	if len(d.args) > 1 && !slices.ContainsFunc(d.args[1:], func(z string) bool { return isRoot(z) != no }) {
		return yes
	}
	found := no
	if d.more() {
		found = unknown
	}
	for _, l := range d.lines {
		if l.name != "fallthrough" {
			continue
		}
		switch all := passesAll(l.args); all {
		case yes:
			return yes
		case unknown:
			found = unknown
		}
	}
	return found
}

// passesAll tells whether fallthrough with these zones is for all names.
func passesAll(zones []string) answer {
	if len(zones) == 0 {
		return yes
	}
	all := no
	for _, z := range zones {
		switch isRoot(z) {
		case yes:
			return yes
		case unknown:
			all = unknown
		}
	}
	return all
}
