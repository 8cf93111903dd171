//go:build e2e

package ipvs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/exporter"
)

const staleFamily = "ack_ipvs_stale_udp_connections"

// needsCapability are families that the exporter cannot fill without CAP_NET_ADMIN.
const needsCapability = "ack_ipvs_timeout_seconds"

// unprivileged is the exporter that runs without it.
const unprivileged = "nobody"

// absent are the moments in which IPVS is not loaded.
var absent = []string{"absent-1", "absent-2", "absent-3", "unloaded-1", "unloaded-2"}

// ipvsModule is a line of /proc/modules.
var ipvsModule = regexp.MustCompile(`(?m)^ip_vs\b`)

// Without IPVS there is nothing to tell, that is no failure, and the exporter does
// not make the kernel load it.
func (r record) testNotLoaded(t *testing.T) {
	// Only if calls are seen, that there is none says something.
	if trap := r.section(t, "trap"); !strings.Contains(trap, "family-IPVS, called by the kernel") {
		t.Errorf("the look-up of IPVS by name made nobody call modprobe: %q", trap)
	}
	for _, moment := range absent {
		if loaded := ipvsModule.FindAllString(r.section(t, moment+"/modules"), -1); loaded != nil {
			t.Errorf("%s: modules of IPVS are loaded: %q", moment, loaded)
		}
		for call := range strings.Lines(r.section(t, moment+"/modprobe")) {
			if strings.Contains(strings.ToLower(strings.ReplaceAll(call, "_", "")), "ipvs") {
				t.Errorf("%s: modprobe was called: %s", moment, call)
			}
		}
		for _, who := range r.exporters(moment) {
			metrics := r.scrape(t, moment, who)
			for key := range metrics {
				if strings.HasPrefix(key, "ack_ipvs_") {
					t.Errorf("%s, %s: %s must not be there", moment, who, key)
				}
			}
			requireState(t, metrics, moment+", "+who, "ipvs", 0, 1)
			requireState(t, metrics, moment+", "+who, "ipvs_table", 0, 1)
		}
	}
}

func requireState(t *testing.T, m exporter.Metrics, where, collector string, applicable, success float64) {
	t.Helper()
	for family, want := range map[string]float64{
		"ack_exporter_collector_applicable": applicable,
		"ack_exporter_collector_success":    success,
	} {
		if err := m.Expect(want, family, "collector", collector); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// In every moment, every exporter says what ipvsadm and the kernel's files say.
func (r record) testAgreement(t *testing.T) {
	moments := r.moments("services")
	if len(moments) < 20 {
		t.Errorf("there are only %d moments: %q", len(moments), moments)
	}
	for _, moment := range moments {
		truth, parameters := r.truth(t, moment), r.parameters(t, moment)
		who := r.exporters(moment)
		if !slices.Contains(who, "root") || !slices.Contains(who, "netadmin") || !slices.Contains(who, unprivileged) {
			t.Errorf("%s: only the exporters %q were scraped", moment, who)
		}
		for _, who := range who {
			t.Run(moment+"/"+who, func(t *testing.T) {
				metrics := r.scrape(t, moment, who)
				compareTimeouts(t, metrics, truth, who != unprivileged)
				compareParameters(t, metrics, parameters)
				compareTable(t, metrics, truth)
			})
		}
	}
}

func compareTimeouts(t *testing.T, m exporter.Metrics, truth truth, privileged bool) {
	t.Helper()
	if privileged {
		requireState(t, m, "privileged", "ipvs", 1, 1)
		exporter.RequireSame(t, m.Family(needsCapability), truth.timeouts)
		return
	}
	requireState(t, m, "unprivileged", "ipvs", 1, 0)
	exporter.RequireSame(t, m.Family(needsCapability), nil)
}

// parametersOfContract must be there where the kernel has them.
var parametersOfContract = []string{
	"cache_bypass", "conn_reuse_mode", "conntrack", "drop_entry", "drop_packet", "expire_nodest_conn",
	"expire_quiescent_template", "run_estimation", "sloppy_tcp",
}

func compareParameters(t *testing.T, m, files exporter.Metrics) {
	t.Helper()
	want := make(exporter.Metrics)
	got := m.Family("ack_ipvs_sysctl")
	for key, number := range files {
		if _, ok := got[key]; ok {
			want[key] = number
		}
	}
	for _, name := range parametersOfContract {
		key := exporter.Key("ack_ipvs_sysctl", "name", name)
		if number, ok := files[key]; ok {
			want[key] = number
		} else {
			t.Errorf("the kernel has no %s", name)
		}
	}
	exporter.RequireSame(t, got, want)
}

func compareTable(t *testing.T, m exporter.Metrics, truth truth) {
	t.Helper()
	requireState(t, m, "table", "ipvs_table", 1, 1)
	got := make(exporter.Metrics)
	for _, family := range []string{"ack_ipvs_services", "ack_ipvs_destinations", "ack_ipvs_connections"} {
		maps.Copy(got, m.Family(family))
	}
	exporter.RequireSame(t, got, truth.table)
	exporter.RequireSame(t, m.Family("ack_ipvs_scheduler_services"), truth.schedulers)
	for family, want := range map[string]float64{
		"ack_ipvs_table_complete":            1,
		"ack_ipvs_table_visited_connections": float64(len(truth.rows)),
	} {
		if err := m.Expect(want, family); err != nil {
			t.Error(err)
		}
	}
}

// The settings that were made are the ones that ipvsadm says, so that the
// agreement with it means something.
func (r record) testTimeouts(t *testing.T) {
	for moment, want := range map[string]exporter.Metrics{
		"loaded":           timeouts(900, 120, 300),
		"timeouts-ipvsadm": timeouts(900, 120, 10),
		"timeouts-netlink": timeouts(600, 60, 30),
		"timeouts-keep":    timeouts(600, 60, 77),
		"services":         timeouts(900, 120, 300),
		"brief-gone":       timeouts(900, 120, 20),
		"loaded-again":     timeouts(901, 121, 11),
	} {
		t.Run(moment, func(t *testing.T) {
			exporter.RequireSame(t, r.truth(t, moment).timeouts, want)
			exporter.RequireSame(t, r.scrape(t, moment, "root").Family(needsCapability), want)
		})
	}
}

// As testTimeouts: services of all kinds were there.
func (r record) testServices(t *testing.T) {
	for _, moment := range []string{"services", "loaded-again"} {
		truth := r.truth(t, moment)
		for protocol, n := range map[string][2]float64{"tcp": {3, 4}, "udp": {9, 11}, "sctp": {1, 1}, "fwmark": {3, 4}} {
			for i, family := range []string{"ack_ipvs_services", "ack_ipvs_destinations"} {
				if err := truth.table.Expect(n[i], family, "protocol", protocol); err != nil {
					t.Errorf("%s: %v", moment, err)
				}
			}
		}
		for _, scheduler := range []string{"rr", "wrr", "lc", "wlc", "sh", "mh"} {
			if _, ok := truth.schedulers[exporter.Key("ack_ipvs_scheduler_services", "scheduler", scheduler)]; !ok {
				t.Errorf("%s: no service has the scheduler %s", moment, scheduler)
			}
		}
	}
}

// Connections that lead somewhere are not stale, whatever their service is like.
func (r record) testTraffic(t *testing.T) {
	truth := r.truth(t, "traffic")
	for _, c := range []struct {
		protocol, state string
		atLeast         float64
	}{
		{"tcp", "active", 6}, {"tcp", "inactive", 4}, {"udp", "inactive", 26}, {"fwmark", "inactive", 10},
	} {
		if got := truth.table[connectionsKey(c.protocol, c.state)]; got < c.atLeast {
			t.Errorf("%s connections of %s: %v, want at least %v", c.state, c.protocol, got, c.atLeast)
		}
	}
	templates := 0
	for _, row := range truth.rows {
		if row.template() {
			templates++
		}
	}
	if templates < 3 {
		t.Errorf("only %d persistence templates", templates)
	}
	r.requireStale(t, "services", 0)
	r.requireStale(t, "traffic", 0)
	r.requireStale(t, "tcp-destination-gone", 0)
}

// A packet for a service without destinations is told by the kernel in its log,
// and counted from there.
func (r record) testNoDestination(t *testing.T) {
	const family, event = "ack_kernel_log_events_total", "ipvs_no_destination"
	for port, outcome := range r.clients(t, "traffic", "nowhere") {
		if strings.HasPrefix(outcome, answered("")) {
			t.Errorf("the client at port %s was %s", port, outcome)
		}
	}
	if err := r.scrape(t, "services", "root").Expect(0, family, "event", event); err != nil {
		t.Error(err)
	}
	if n := r.scrape(t, "traffic", "root").Value(t, family, "event", event); n == 0 {
		t.Errorf("no event %s was counted", event)
	}
}

// requireStale demands the same of every exporter.
func (r record) requireStale(t *testing.T, moment string, want int) {
	t.Helper()
	for _, who := range r.exporters(moment) {
		if err := r.scrape(t, moment, who).Expect(float64(want), staleFamily); err != nil {
			t.Errorf("%s, exporter %s: %v", moment, who, err)
		}
	}
}

// Destinations were taken away one after the other. Their clients get no answer
// any more, and the exporter counts exactly their connections; the clients of
// others notice nothing.
func (r record) testStale(t *testing.T) {
	stale := 0
	var gone []string
	for _, step := range []struct{ moment, group, server, outcome string }{
		{"destination-gone", "dns", "10.244.1.2:5353", "silent"},
		// The kernel still forwards to it, as long as the pod answers.
		{"weight-zero", "drained", "10.244.2.1:5353", answered("10.244.2.1:5353")},
		{"service-gone", "deleted", "10.244.2.2:5353", "silent"},
		{"destination-gone-ipv6", "dns6", "[fd00:244::2]:5353", "silent"},
		{"destination-gone-fwmark", "marked", "10.244.7.2:5353", "silent"},
		{"destination-gone-fwmark-ipv6", "marked6", "[fd00:244::7]:7000", "silent"},
		{"destination-gone-persistent", "sticky", "10.244.3.1:5353", "silent"},
		{"destination-gone-all-ports", "anyport", "10.244.3.2:7000", "silent"},
	} {
		before := r.clients(t, "traffic", step.group)
		n := before.of(step.server)
		if n == 0 {
			t.Errorf("%s: nobody was served by %s", step.moment, step.server)
		}
		requireClients(t, step.moment, r.clients(t, step.moment, step.group), before.without(step.server, step.outcome))
		stale += n
		gone = append(gone, step.server)
		if rows := r.udpTo(t, step.moment, gone); rows != stale {
			t.Errorf("%s: ipvsadm lists %d connections to what is gone, not %d", step.moment, rows, stale)
		}
		r.requireStale(t, step.moment, stale)
	}
	drained := r.clients(t, "weight-zero", "drained")
	requireClients(t, "weight-zero-pod-gone", r.clients(t, "weight-zero-pod-gone", "drained"),
		drained.without("10.244.2.1:5353", "refused"))
}

func (r record) udpTo(t *testing.T, moment string, destinations []string) int {
	t.Helper()
	n, truth := 0, r.truth(t, moment)
	for _, destination := range destinations {
		n += truth.udpTo(destination)
	}
	return n
}

func requireClients(t *testing.T, moment string, got, want clients) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: clients, by port: %q, not %q", moment, got, want)
	}
}

// With the destinations back, the same connections lead somewhere again.
func (r record) testRestored(t *testing.T) {
	r.requireStale(t, "restored", 0)
	for _, group := range []string{"dns", "dns6", "sticky", "anyport", "drained", "deleted", "marked", "marked6", "markedsticky"} {
		requireClients(t, "restored", r.clients(t, "restored", group), r.clients(t, "traffic", group))
	}
	var servers []string
	for _, group := range []string{"dns", "drained", "deleted", "dns6", "marked"} {
		for _, outcome := range r.clients(t, "traffic", group) {
			servers = append(servers, strings.TrimPrefix(outcome, answered("")))
		}
	}
	slices.Sort(servers)
	if r.udpTo(t, "restored", slices.Compact(servers)) == 0 {
		t.Error("no connection has survived, so that none could be stale")
	}
}

// A connection to a destination that is gone ends after the timeout for UDP, also
// where its client goes on to send; then the client is served by another one.
func (r record) testExpiry(t *testing.T) {
	const gone, left = "10.244.4.2:5353", "10.244.4.1:5353"
	before := r.clients(t, "brief", "brief")
	n := before.of(gone)
	if n == 0 {
		t.Fatalf("nobody was served by %s", gone)
	}
	requireClients(t, "brief-gone", r.clients(t, "brief-gone", "brief"), before.without(gone, "silent"))
	if rows := r.udpTo(t, "brief-gone", []string{gone}); rows != n {
		t.Errorf("ipvsadm lists %d connections to what is gone, not %d", rows, n)
	}
	r.requireStale(t, "brief-gone", n)

	requireClients(t, "brief-expired", r.clients(t, "brief-expired", "brief"), before.without(gone, answered(left)))
	if rows := r.udpTo(t, "brief-expired", []string{gone}); rows != 0 {
		t.Errorf("ipvsadm still lists %d connections to what is gone", rows)
	}
	r.requireStale(t, "brief-expired", 0)
}

// Values of kernel parameters that are not their defaults are seen, and what
// expire_nodest_conn does is: the kernel ends connections with their destination.
func (r record) testParameters(t *testing.T) {
	const gone, left = "[fd00:244::2]:5353", "[fd00:244::1]:5353"
	before := r.clients(t, "restored", "dns6")
	if before.of(gone) == 0 {
		t.Errorf("nobody was served by %s", gone)
	}
	requireClients(t, "parameters", r.clients(t, "parameters", "dns6"), before.without(gone, answered(left)))
	if rows := r.udpTo(t, "parameters", []string{gone}); rows != 0 {
		t.Errorf("ipvsadm still lists %d connections to what is gone", rows)
	}
	r.requireStale(t, "parameters", 0)
	metrics := r.scrape(t, "parameters", unprivileged)
	for name, want := range map[string]float64{
		"conn_reuse_mode": 0, "expire_nodest_conn": 1, "expire_quiescent_template": 1,
		"conntrack": 1, "sloppy_tcp": 1, "drop_packet": 1,
	} {
		if err := metrics.Expect(want, "ack_ipvs_sysctl", "name", name); err != nil {
			t.Error(err)
		}
	}
}

// Nothing goes wrong but that the unprivileged exporter is refused the timeouts.
func (r record) testErrors(t *testing.T) {
	const moment, family = "loaded-again", "ack_exporter_collector_errors_total"
	refusal := exporter.Key(family, "collector", "ipvs", "reason", "permission")
	for _, who := range r.exporters(moment) {
		for key, n := range r.scrape(t, moment, who).Family(family) {
			if expected := who == unprivileged && key == refusal; expected != (n > 0) {
				t.Errorf("exporter %s: %s is %v", who, key, n)
			}
		}
	}
}

// All exporters ended as they should.
func (r record) testEnd(t *testing.T) {
	for _, who := range r.exporters("late") {
		if status := r.section(t, "status/"+who); status != "exit status 0" {
			t.Errorf("the exporter %s ended with %s", who, status)
		}
		if log := r.section(t, "log/"+who); strings.Contains(log, "panic") {
			t.Errorf("the exporter %s panicked:\n%s", who, log)
		}
	}
}
