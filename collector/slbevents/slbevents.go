// Package slbevents tells what the cloud controller manager says of the load balancers
// of Services, in events: which of them it cannot set up, and why.
package slbevents

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
	"unique"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/kube"
)

// maxTold bounds how many events have series.
const maxTold = 2000

var (
	familyTime = collector.NewGauge("ack_slb_event_timestamp_seconds",
		"When the cloud controller manager last said so of the Service, in Unix time, as long as the API server keeps the event, which is an hour by default. cause: what the message of a failure is about, other where it is none of the known ones. EnsuredLoadBalancer and CleanLoadBalancer are successes, of which only those are told whose Service has another event too.",
		"namespace", "service", "reason", "cause")
	familyLeftOut = collector.NewGauge("ack_slb_events_left_out",
		"Events of the cloud controller manager that are not told, because there are more than the exporter tells: the oldest.")
)

// Query selects events of Services on the server's side. It cannot select by who
// reports them: the name of that has changed between versions.
func Query() kube.Query { return kube.Query{Fields: "involvedObject.kind=Service"} }

// Event is what is kept of an event.
type Event struct {
	namespace, service string
	reason             string
	cause              Cause
	at                 time.Time
}

// Digest reads an event. It is nil where it is none of the cloud controller manager, or
// one that says nothing of a load balancer. Nothing of o is kept.
func Digest(o kube.Object) (*Event, error) {
	if o.Bytes == nil {
		return nil, nil // larger than any event
	}
	var e corev1.Event
	if err := e.Unmarshal(o.Bytes); err != nil {
		return nil, fmt.Errorf("event %s/%s: %w: not an Event", o.Namespace, o.Name, collector.ErrDecode)
	}
	return newEvent(&e), nil
}

func newEvent(e *corev1.Event) *Event {
	cause, ok := meaning(e.Reason, e.Message)
	if !ok || e.InvolvedObject.Kind != "Service" || e.InvolvedObject.Name == "" {
		return nil
	}
	namespace := cmp.Or(e.InvolvedObject.Namespace, e.Namespace)
	return &Event{
		namespace: namespace, service: e.InvolvedObject.Name,
		// There are few, and many events.
		reason: unique.Make(e.Reason).Value(), cause: cause, at: lastTime(e),
	}
}

// lastTime is when the event was last seen. Which fields say so depends on the version
// of the client that wrote it.
func lastTime(e *corev1.Event) time.Time {
	last := e.FirstTimestamp.Time
	times := []time.Time{e.LastTimestamp.Time, e.EventTime.Time}
	if e.Series != nil {
		times = append(times, e.Series.LastObservedTime.Time)
	}
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	if last.IsZero() {
		return e.CreationTimestamp.Time
	}
	return last
}

// Collector tells of the events that there are now.
type Collector struct {
	events   kube.Lister[*Event]
	services kube.Lister[*corev1.Service]
}

// New makes a Collector. events are those that Query selects, made by Digest; services
// are all of the cluster, with their names.
func New(events kube.Lister[*Event], services kube.Lister[*corev1.Service]) *Collector {
	return &Collector{events, services}
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{familyTime, familyLeftOut}
}

// service is the name of a Service, identity that of a series.
type (
	service  struct{ namespace, name string }
	identity struct {
		service
		reason string
		cause  Cause
	}
	told struct {
		identity
		at time.Time
	}
)

// Collect implements collector.Collector. What is said of Services that are gone is
// left out: nobody can do anything about it.
func (c *Collector) Collect(context.Context) ([]prometheus.Metric, error) {
	events, err := c.events.List()
	if err != nil {
		return nil, err
	}
	services, err := c.services.List()
	if err != nil {
		return nil, err
	}
	latest := latest(events, services)
	leftOut := max(0, len(latest)-maxTold)
	metrics := []prometheus.Metric{familyLeftOut.Metric(float64(leftOut))}
	for _, e := range latest[:len(latest)-leftOut] {
		seconds := float64(e.at.UnixMilli()) / 1000
		metrics = append(metrics, familyTime.Metric(seconds, e.namespace, e.name, e.reason, string(e.cause)))
	}
	return metrics, nil
}

// latest are the events by Service, reason and cause, each with the last time, the
// Services with the latest failure first: so no failure is told without the success
// that has ended it.
func latest(events []*Event, services []*corev1.Service) []told {
	times := make(map[identity]time.Time)
	failed := make(map[service]time.Time)
	for _, s := range services {
		failed[service{s.Namespace, s.Name}] = time.Time{}
	}
	for _, e := range events {
		if e == nil {
			continue
		}
		of := service{e.namespace, e.service}
		before, exists := failed[of]
		if !exists {
			continue
		}
		id := identity{of, e.reason, e.cause}
		if at, ok := times[id]; !ok || e.at.After(at) {
			times[id] = e.at
		}
		if e.cause != CauseNone && e.at.After(before) {
			failed[of] = e.at
		}
	}
	var all []told
	for id, at := range times {
		if !failed[id.service].IsZero() {
			all = append(all, told{id, at})
		}
	}
	slices.SortFunc(all, func(a, b told) int {
		return cmp.Or(
			failed[b.service].Compare(failed[a.service]),
			cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name),
			// The success first: without it a failure that is over would look like one that is not.
			cmp.Compare(rank(a.cause), rank(b.cause)),
			cmp.Compare(a.reason, b.reason), cmp.Compare(a.cause, b.cause),
		)
	})
	return all
}

func rank(c Cause) int {
	if c == CauseNone {
		return 0
	}
	return 1
}
