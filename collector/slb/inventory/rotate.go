package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
)

// task is one thing to read: the list of groups of a load balancer, or where group is set
// its backends.
type task struct {
	balancer *balancer
	group    *group
	// at is when it was read last.
	at time.Time
}

// queue is what to read of one kind, the first at the end.
type queue struct{ tasks []task }

// rotation is the reading of groups in one refresh.
type rotation struct {
	*Scanner
	api   *counter
	limit int // of calls, with those of the listings

	fresh, changed, old queue
	// now is the one that is read from. Groups that a list has new are read next.
	now      *queue
	failures []error
}

// rotate reads groups within the allowance and the time of ctx.
func (s *Scanner) rotate(ctx context.Context, api *counter) (Stop, error) {
	within, cancel := s.within(ctx)
	defer cancel()
	r := &rotation{Scanner: s, api: api, limit: max(s.config.Calls, api.calls+max(s.config.Calls/leastShare, 1))}
	r.plan()
	err := r.run(within)
	switch {
	case err == nil:
		return NotStopped, errors.Join(r.failures...)
	case ctx.Err() != nil:
		return ByTime, ctx.Err()
	case within.Err() != nil:
		return ByTime, errors.Join(r.failures...)
	case errors.Is(err, aliyun.ErrBudget):
		return ByBudget, errors.Join(r.failures...)
	case errors.Is(err, collector.ErrThrottled):
		return ByThrottle, errors.Join(r.failures...)
	default:
		return ByError, errors.Join(append(r.failures, err)...)
	}
}

// within leaves whoever gets the inventory some of the time.
func (s *Scanner) within(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	reserved := min(time.Until(deadline)/reservedTime, mostReserved)
	return context.WithDeadline(ctx, deadline.Add(-reserved))
}

// plan sorts everything that there is to read.
func (r *rotation) plan() {
	for _, b := range r.balancers {
		t := task{balancer: b, at: b.listed}
		switch {
		case b.listed.IsZero():
			r.fresh.push(t)
		case b.about != b.aboutListed || r.order.missing(b):
			r.changed.push(t)
		default:
			r.old.push(t)
		}
		for _, g := range b.groups {
			r.planGroup(g)
		}
	}
	r.fresh.sort()
	r.changed.sort()
	r.old.sort()
}

func (r *rotation) planGroup(g *group) {
	t := task{balancer: g.of, group: g, at: g.read}
	switch wanted := g.of.wantedOf(g); {
	case g.read.IsZero():
		r.fresh.push(t)
	case wanted.known && (wanted != g.wantedRead || !wanted.is(g.content)):
		r.changed.push(t)
	default:
		r.old.push(t)
	}
}

func (q *queue) push(t task) { q.tasks = append(q.tasks, t) }

// sort puts groups that were never read first, so that load balancers become complete one
// after the other, then what is oldest.
func (q *queue) sort() {
	slices.SortFunc(q.tasks, func(a, b task) int {
		if a.at.IsZero() && b.at.IsZero() && (a.group == nil) != (b.group == nil) {
			if a.group == nil {
				return -1
			}
			return 1
		}
		return -compareTasks(a, b)
	})
}

func compareTasks(a, b task) int {
	if c := a.at.Compare(b.at); c != 0 {
		return c
	}
	if c := strings.Compare(a.balancer.id, b.balancer.id); c != 0 {
		return c
	}
	return strings.Compare(a.groupID(), b.groupID())
}

func (t task) groupID() string {
	if t.group == nil {
		return ""
	}
	return t.group.ID
}

// run reads: each kind leaves a quarter to the next one, and what that does not need
// comes back.
func (r *rotation) run(ctx context.Context) error {
	queues := []*queue{&r.fresh, &r.changed, &r.old}
	for _, generous := range []bool{true, false} {
		for i, q := range queues {
			limit := r.limit
			if generous && i+1 < len(queues) {
				limit -= min(len(queues[i+1].tasks), (r.limit-r.api.calls)/4)
			}
			if err := r.drain(ctx, q, limit); err != nil {
				return err
			}
		}
	}
	return nil
}

// drain reads until so many calls were made.
func (r *rotation) drain(ctx context.Context, q *queue, limit int) error {
	r.now = q
	for len(q.tasks) > 0 && r.api.calls < limit {
		last := len(q.tasks) - 1
		t := q.tasks[last]
		q.tasks = q.tasks[:last]
		if err := r.settle(r.read(ctx, t)); err != nil {
			return err
		}
	}
	return nil
}

// settle tells whether the reading must end. One answer that cannot be used is no reason.
func (r *rotation) settle(err error) error {
	if err == nil || !refused(err) && !errors.Is(err, collector.ErrDecode) {
		return err
	}
	if len(r.failures) == maxFailures {
		return err
	}
	r.failures = append(r.failures, err)
	return nil
}

func (r *rotation) read(ctx context.Context, t task) error {
	switch {
	case t.balancer.gone || t.group != nil && t.group.gone:
		return nil
	case t.group == nil:
		return r.list(ctx, t.balancer)
	}
	err := r.readGroup(ctx, t.group)
	if !refused(err) {
		return err
	}
	// The API says of a group that was deleted only that the parameter is invalid.
	if listErr := r.list(ctx, t.balancer); listErr != nil {
		return listErr
	}
	if t.balancer.gone || t.group.gone {
		return nil
	}
	return err
}

// list reads which groups a load balancer has. Those that were there stay as they are.
func (r *rotation) list(ctx context.Context, b *balancer) error {
	found, err := aliyun.ServerGroups(ctx, r.api, b.id)
	if deleted(err) {
		b.gone = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("groups of load balancer %s: %w", b.id, err)
	}
	before := make(map[string]*group, len(b.groups))
	for _, g := range b.groups {
		before[g.ID] = g
	}
	groups := make([]*group, 0, len(found))
	var added []*group
	seen := make(map[string]bool, len(found))
	for _, one := range found {
		if seen[one.ID] {
			return fmt.Errorf("groups of load balancer %s: one is told twice: %w", b.id, collector.ErrDecode)
		}
		seen[one.ID] = true
		g := before[one.ID]
		if g == nil {
			g = &group{of: b}
			added = append(added, g)
		}
		g.ServerGroup = one
		groups = append(groups, g)
	}
	for _, g := range b.groups {
		g.gone = !seen[g.ID]
	}
	for _, g := range added {
		r.now.push(task{balancer: b, group: g})
	}
	b.groups, b.listed, b.aboutListed = groups, r.config.Now(), b.about
	return nil
}

func (r *rotation) readGroup(ctx context.Context, g *group) error {
	list, err := aliyun.ServerGroupBackends(ctx, r.api, g.ID)
	if err != nil {
		return fmt.Errorf("group %s of load balancer %s: %w", g.ID, g.of.id, err)
	}
	backends, err := NewBackends(list)
	if err != nil {
		return fmt.Errorf("group %s of load balancer %s: %w", g.ID, g.of.id, err)
	}
	g.backends, g.content, g.read = backends, r.order.content(backends), r.config.Now()
	g.wantedRead = g.of.wantedOf(g)
	return nil
}
