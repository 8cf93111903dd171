//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ack-exporter/e2e/internal/monitoring"
)

// patience is how long to wait for a notification.
const patience = 2 * time.Minute

// event is a notification about one alert that has changed.
type event struct{ status, severity, name string }

// notified prints what has changed. Alertmanager repeats the alerts of a group
// that have not.
func (d *demo) notified(n monitoring.Notification) {
	d.notifying.Lock()
	defer d.notifying.Unlock()
	for _, a := range n.Alerts {
		id := n.Receiver + " " + a.Fingerprint
		if d.states[id] == a.Status {
			continue
		}
		d.states[id] = a.Status
		e := event{a.Status, a.Labels["severity"], a.Labels["alertname"]}
		d.say("%-8s %-8s %s %s – %s %s", strings.ToUpper(e.status), e.severity, e.name, a.Labels["node"],
			a.Annotations["description"], a.Annotations["runbook_url"])
		d.events <- e
	}
}

// rest takes what arrives when nothing is waited for any more, until ctx ends.
func (d *demo) rest(ctx context.Context) {
	for {
		select {
		case <-d.events:
		case <-ctx.Done():
			return
		}
	}
}

// await waits until all of these have arrived.
func (d *demo) await(ctx context.Context, events ...event) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no notification"))
	defer cancel()
	waiting := make(map[event]bool)
	for _, e := range events {
		waiting[e] = true
	}
	for len(waiting) > 0 {
		select {
		case e := <-d.events:
			delete(waiting, e)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %v: %w", waiting, context.Cause(ctx))
		}
	}
	return nil
}
