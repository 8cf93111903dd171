//go:build e2e

package ipvs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/exporter"
)

// record is what the machine wrote, by section.
type record map[string]string

func (r record) section(t *testing.T, name string) string {
	t.Helper()
	body, ok := r[name]
	if !ok {
		t.Fatalf("the record has no section %s", name)
	}
	return body
}

// moments lists the moments with one of the sections, in no order of time.
func (r record) moments(section string) []string {
	var names []string
	for name := range r {
		if moment, ok := strings.CutSuffix(name, "/"+section); ok {
			names = append(names, moment)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// exporters lists those that were scraped in a moment.
func (r record) exporters(moment string) []string {
	var names []string
	for name := range r {
		if who, ok := strings.CutPrefix(name, moment+"/scrape/"); ok {
			names = append(names, who)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// scrape returns the metrics of one exporter in one moment.
func (r record) scrape(t *testing.T, moment, who string) exporter.Metrics {
	t.Helper()
	metrics, err := exporter.Parse(strings.NewReader(r.section(t, moment+"/scrape/"+who)))
	if err != nil {
		t.Fatalf("%s, exporter %s: %v", moment, who, err)
	}
	return metrics
}

// truth is what ipvsadm says in a moment, as the exporter would say it.
type truth struct {
	timeouts   exporter.Metrics
	table      exporter.Metrics
	schedulers exporter.Metrics
	rows       []row
}

// row is a connection.
type row struct{ protocol, client, virtual, destination string }

// template tells whether it only remembers where a client of a persistent
// service belongs.
func (r row) template() bool { return strings.HasSuffix(r.client, ":0") }

func (r record) truth(t *testing.T, moment string) truth {
	t.Helper()
	timeouts, err := parseTimeouts(r.section(t, moment+"/timeouts"))
	if err != nil {
		t.Fatalf("%s: %v", moment, err)
	}
	table, schedulers, err := parseServices(r.section(t, moment+"/services"))
	if err != nil {
		t.Fatalf("%s: %v", moment, err)
	}
	rows, err := parseConnections(r.section(t, moment+"/connections"))
	if err != nil {
		t.Fatalf("%s: %v", moment, err)
	}
	return truth{timeouts, table, schedulers, rows}
}

// parseTimeouts reads what ipvsadm -L --timeout prints.
func parseTimeouts(out string) (exporter.Metrics, error) {
	var tcp, tcpFin, udp float64
	if _, err := fmt.Sscanf(out, "Timeout (tcp tcpfin udp): %g %g %g\n", &tcp, &tcpFin, &udp); err != nil {
		return nil, fmt.Errorf("%q are no timeouts: %w", out, err)
	}
	return timeouts(tcp, tcpFin, udp), nil
}

func timeouts(tcp, tcpFin, udp float64) exporter.Metrics {
	const family = "ack_ipvs_timeout_seconds"
	return exporter.Metrics{
		exporter.Key(family, "protocol", "tcp"):     tcp,
		exporter.Key(family, "protocol", "tcp_fin"): tcpFin,
		exporter.Key(family, "protocol", "udp"):     udp,
	}
}

var protocols = map[string]string{"TCP": "tcp", "UDP": "udp", "SCTP": "sctp", "FWM": "fwmark"}

// parseServices reads what ipvsadm -L -n prints.
func parseServices(out string) (table, schedulers exporter.Metrics, err error) {
	table, schedulers = emptyTable(), make(exporter.Metrics)
	protocol := ""
	for _, line := range dataLines(out, 3) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 3:
			return nil, nil, fmt.Errorf("%q is neither a service nor a destination", line)
		case fields[0] == "->":
			if err := addDestination(table, protocol, fields); err != nil {
				return nil, nil, fmt.Errorf("%q: %w", line, err)
			}
		default:
			var known bool
			if protocol, known = protocols[fields[0]]; !known {
				return nil, nil, fmt.Errorf("%q is of an unknown protocol", line)
			}
			table[exporter.Key("ack_ipvs_services", "protocol", protocol)]++
			scheduler := fields[2]
			if scheduler == "IPv6" { // of a firewall mark, which has no address to tell by
				scheduler = fields[3]
			}
			schedulers[exporter.Key("ack_ipvs_scheduler_services", "scheduler", scheduler)]++
		}
	}
	return table, schedulers, nil
}

// emptyTable has the series that are always there.
func emptyTable() exporter.Metrics {
	table := make(exporter.Metrics)
	for _, protocol := range protocols {
		table[exporter.Key("ack_ipvs_services", "protocol", protocol)] = 0
		table[exporter.Key("ack_ipvs_destinations", "protocol", protocol)] = 0
		table[connectionsKey(protocol, "active")] = 0
		table[connectionsKey(protocol, "inactive")] = 0
	}
	return table
}

func connectionsKey(protocol, state string) string {
	return exporter.Key("ack_ipvs_connections", "protocol", protocol, "state", state)
}

// addDestination reads "-> 10.244.1.1:8080 Masq 1 0 2".
func addDestination(table exporter.Metrics, protocol string, fields []string) error {
	if len(fields) != 6 {
		return fmt.Errorf("%d fields instead of 6", len(fields))
	}
	table[exporter.Key("ack_ipvs_destinations", "protocol", protocol)]++
	for i, state := range []string{"active", "inactive"} {
		number, err := strconv.ParseFloat(fields[4+i], 64)
		if err != nil {
			return err
		}
		table[connectionsKey(protocol, state)] += number
	}
	return nil
}

// parseConnections reads what ipvsadm -L -n -c prints.
func parseConnections(out string) ([]row, error) {
	var rows []row
	for _, line := range dataLines(out, 2) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			return nil, fmt.Errorf("%q is no connection", line)
		}
		rows = append(rows, row{fields[0], fields[3], fields[4], fields[5]})
	}
	return rows, nil
}

// dataLines are those below the header.
func dataLines(out string, header int) []string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[min(header, len(lines)):]
}

// parameters are the kernel parameters of a moment that are single numbers.
func (r record) parameters(t *testing.T, moment string) exporter.Metrics {
	t.Helper()
	numbers := make(exporter.Metrics)
	for line := range strings.Lines(r.section(t, moment+"/parameters")) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if number, err := strconv.ParseFloat(text, 64); err == nil {
			numbers[exporter.Key("ack_ipvs_sysctl", "name", name)] = number
		}
	}
	return numbers
}

// clients is what became of the clients of a group, by their ports.
type clients map[string]string

// clients reads lines "group port outcome".
func (r record) clients(t *testing.T, moment, group string) clients {
	t.Helper()
	outcomes := make(clients)
	for line := range strings.Lines(r.section(t, moment+"/clients")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		port, outcome, _ := strings.Cut(rest, " ")
		if name == group {
			outcomes[port] = outcome
		}
	}
	if len(outcomes) == 0 {
		t.Fatalf("%s: the record has no clients %s", moment, group)
	}
	return outcomes
}

// of is how many clients a server has answered.
func (c clients) of(server string) int {
	n := 0
	for _, outcome := range c {
		if outcome == answered(server) {
			n++
		}
	}
	return n
}

// without is c where what a server had answered ended in another way.
func (c clients) without(server, outcome string) clients {
	changed := maps.Clone(c)
	for port, o := range c {
		if o == answered(server) {
			changed[port] = outcome
		}
	}
	return changed
}

func answered(server string) string { return "answered " + server }

// udpTo is how many UDP connections lead to a destination.
func (t truth) udpTo(destination string) int {
	n := 0
	for _, row := range t.rows {
		if row.protocol == "UDP" && !row.template() && row.destination == destination {
			n++
		}
	}
	return n
}
