package dnsprobe

import (
	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
)

// tally is what was counted since the servers were first probed. What vanishes
// from the plan vanishes from it.
type tally struct {
	servers map[server]*serverTally
	kinds   map[kind]*kindTally
}

// serverTally is about one server.
type serverTally struct {
	kept keptSocket
	// asked is the last pass in which it was asked.
	asked               int
	attempts, successes [numTransports][numNames]uint64
}

// kindTally is about all servers of a kind together: reasons and durations for each
// of 32 pods would be thousands of series on every node.
type kindTally struct {
	failures  map[failure]uint64
	durations map[timing]*collector.Histogram
}

type failure struct {
	question
	reason reason
}

type timing struct {
	protocol string
	name     nameKind
}

func newTally() *tally {
	return &tally{servers: make(map[server]*serverTally), kinds: make(map[kind]*kindTally)}
}

func newKindTally(k kind) *kindTally {
	t := &kindTally{failures: make(map[failure]uint64), durations: make(map[timing]*collector.Histogram)}
	for _, q := range questions(k) {
		for _, r := range reasons() {
			t.failures[failure{q, r}] = 0
		}
		protocol := protocolNames[q.transport]
		key := timing{protocol, q.name}
		if t.durations[key] == nil {
			t.durations[key] = familyDuration.Histogram(kindNames[k], protocol, nameKindNames[q.name])
		}
	}
	return t
}

// follow makes the tally one of exactly the servers of p, and closes the sockets
// of those that are gone. A server that is new gets its first turn in one of the
// next passes, by chance, so that the nodes do not ask it all at once.
func (t *tally) follow(p plan, pass int, random func(n int) int) {
	planned := make(map[server]bool)
	kinds := make(map[kind]bool)
	for _, s := range p.servers {
		planned[s], kinds[s.kind] = true, true
		if t.servers[s] == nil {
			stride := p.strideOf(s.kind)
			t.servers[s] = &serverTally{asked: pass - stride + random(stride)}
		}
		if t.kinds[s.kind] == nil {
			t.kinds[s.kind] = newKindTally(s.kind)
		}
	}
	for s, st := range t.servers {
		if !planned[s] {
			st.kept.close()
			delete(t.servers, s)
		}
	}
	for k := range t.kinds {
		if !kinds[k] {
			delete(t.kinds, k)
		}
	}
}

// due lists the questions of this pass.
func (t *tally) due(p plan, pass int) []probe {
	var probes []probe
	for _, s := range p.servers {
		st := t.servers[s]
		if pass-st.asked < p.strideOf(s.kind) {
			continue
		}
		st.asked = pass
		for _, q := range questions(s.kind) {
			probes = append(probes, probe{server: s, question: q, kept: &st.kept})
		}
	}
	return probes
}

// count adds how a probe ended.
func (t *tally) count(p probe, o outcome) {
	st, kt := t.servers[p.server], t.kinds[p.kind]
	st.attempts[p.transport][p.name]++
	if o.err != nil {
		kt.failures[failure{p.question, reasonOf(o.err)}]++
		return
	}
	st.successes[p.transport][p.name]++
	kt.durations[timing{protocolNames[p.transport], p.name}].Observe(o.took.Seconds())
}

// metrics are the counts as constant metrics.
func (t *tally) metrics() []prometheus.Metric {
	var metrics []prometheus.Metric
	for s, st := range t.servers {
		for _, q := range questions(s.kind) {
			labels := append([]string{kindNames[s.kind], s.addr.String()}, q.labels()...)
			metrics = append(metrics,
				familyAttempts.Metric(float64(st.attempts[q.transport][q.name]), labels...),
				familySuccesses.Metric(float64(st.successes[q.transport][q.name]), labels...))
		}
	}
	for k, kt := range t.kinds {
		for f, n := range kt.failures {
			labels := append(append([]string{kindNames[k]}, f.labels()...), string(f.reason))
			metrics = append(metrics, familyFailures.Metric(float64(n), labels...))
		}
		for _, h := range kt.durations {
			metrics = append(metrics, h.Metric())
		}
	}
	return metrics
}

// labels are the values of the labels protocol, socket and name_kind.
func (q question) labels() []string {
	return []string{protocolNames[q.transport], socketNames[q.transport], nameKindNames[q.name]}
}
