package instance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/kube"
)

const (
	// askShare is the part of the time of a refresh that the three listings have
	// together: one that hangs must not take the others with it.
	askShare = 0.95
	// releasing is the taint of a node that cluster-autoscaler takes out of service.
	releasing = "ToBeDeletedByClusterAutoscaler"
)

// instanceForm is the form of the id of an instance.
var instanceForm = regexp.MustCompile(`^i-[A-Za-z0-9_-]{1,62}$`)

// NodesConfig says whose instances are looked up, and where.
type NodesConfig struct {
	Nodes kube.Lister[*corev1.Node]
	// API is nil where the cloud is not to be asked.
	API aliyun.API
	// Region is the one that API answers for.
	Region string
}

// Nodes looks up the instances of the nodes of the cluster.
type Nodes struct {
	config NodesConfig
	// prepaid are the ids that were on subscription when instances were last told of;
	// Collect's alone.
	prepaid map[string]bool
}

// NewNodes makes a Nodes.
func NewNodes(config NodesConfig) *Nodes { return &Nodes{config: config} }

// Families implements collector.Collector.
func (*Nodes) Families() []*collector.Family {
	return []*collector.Family{
		familyKnown, familyInfo, familyRunning, familyParked, familyExpiry, familyAutoRenew,
		familyLocked, familyReclaiming, familyEvent,
	}
}

// Collect implements collector.Collector. It is not applicable where the cloud is not to
// be asked, and where no node is an ECS instance. Of the three listings that it reads,
// one that fails leaves what the others say as a partial result.
func (c *Nodes) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	if c.config.API == nil {
		return nil, aliyun.ErrNoCredentials
	}
	nodes, err := c.config.Nodes.List()
	if err != nil {
		return nil, err
	}
	members := membersOf(nodes, c.config.Region)
	if len(members) == 0 {
		return nil, fmt.Errorf("no node is an ECS instance: %w", collector.ErrNotApplicable)
	}
	ids := askedOf(members)
	if len(ids) == 0 {
		err := fmt.Errorf("none of the %d instances is in the region %s", len(members), c.config.Region)
		return answers{instances: map[string]aliyun.Instance{}}.metrics(members), err
	}
	a, err := c.ask(ctx, ids)
	return a.metrics(members), err
}

// member is a node that is an ECS instance.
type member struct {
	node, id string
	// elsewhere: it is in a region that is not asked.
	elsewhere bool
	// leaving: pods are kept away from the node.
	leaving bool
	master  bool
}

// membersOf are the nodes that are instances. An id of another form is none.
func membersOf(nodes []*corev1.Node, region string) []member {
	var members []member
	for _, n := range nodes {
		i, ok := kube.InstanceOf(n)
		if !ok || !instanceForm.MatchString(i.ID) {
			continue
		}
		members = append(members, member{
			node: n.Name, id: i.ID, elsewhere: i.Region != region, leaving: isLeaving(n), master: kube.IsControlPlane(n),
		})
	}
	return members
}

func isLeaving(n *corev1.Node) bool {
	isReleasing := func(t corev1.Taint) bool { return t.Key == releasing }
	return n.Spec.Unschedulable || slices.ContainsFunc(n.Spec.Taints, isReleasing)
}

// askedOf are the ids to ask for.
func askedOf(members []member) []string {
	var ids []string
	for _, m := range members {
		if !m.elsewhere {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// answers are what the API says, by the id of the instance. A listing that failed is nil.
type answers struct {
	instances map[string]aliyun.Instance
	// renews tells whether subscriptions renew themselves.
	renews map[string]bool
	// events are the times from which on events of each type can happen.
	events map[string]map[string]time.Time
}

// ask reads the three listings. The right to one says nothing of the right to another.
func (c *Nodes) ask(ctx context.Context, ids []string) (answers, error) {
	var a answers
	var failed []error
	part := func(waiting int, ask func(context.Context) error) {
		ctx, cancel := shareOf(ctx, waiting)
		defer cancel()
		if err := ask(ctx); err != nil {
			failed = append(failed, err)
		}
	}
	invisible := false
	part(3, func(ctx context.Context) (err error) {
		a.instances, invisible, err = c.instances(ctx, ids)
		return err
	})
	if invisible {
		return answers{}, errors.Join(failed...)
	}
	part(2, func(ctx context.Context) (err error) {
		a.renews, err = renewals(ctx, c.config.API, c.subscriptions(ids))
		return err
	})
	part(1, func(ctx context.Context) (err error) {
		a.events, err = events(ctx, c.config.API, ids)
		return err
	})
	return a, errors.Join(failed...)
}

// shareOf is ctx with the time that one of so many waiting listings may take.
func shareOf(ctx context.Context, waiting int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(askShare*float64(time.Until(deadline))/float64(waiting)))
}

// instances looks up ids. invisible: the API tells of none of them. Without the right to
// an instance it answers as if there were none, so that this must not look like news.
func (c *Nodes) instances(ctx context.Context, ids []string) (found map[string]aliyun.Instance, invisible bool, err error) {
	found, _, err = aliyun.Instances(ctx, c.config.API, ids)
	if err != nil {
		return nil, false, err
	}
	if len(found) == 0 {
		return nil, true, fmt.Errorf("ecs DescribeInstances: an empty answer for all %d instances, which is what a missing right to ecs:DescribeInstances looks like: %w",
			len(ids), collector.ErrForbidden)
	}
	c.prepaid = make(map[string]bool)
	for id, i := range found {
		if i.ChargeType == prePaid {
			c.prepaid[id] = true
		}
	}
	return found, false, nil
}

// subscriptions are those of ids that are on subscription, as far as that was told last.
func (c *Nodes) subscriptions(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !c.prepaid[id] })
}

func renewals(ctx context.Context, api aliyun.API, ids []string) (map[string]bool, error) {
	rows, err := aliyun.AutoRenewals(ctx, api, ids)
	if err != nil {
		return nil, err
	}
	renews := make(map[string]bool, len(rows))
	for _, row := range rows {
		renews[row.InstanceID] = bool(row.Enabled)
	}
	return renews, nil
}

// events are the first of each type of each instance.
func events(ctx context.Context, api aliyun.API, ids []string) (map[string]map[string]time.Time, error) {
	rows, err := aliyun.FullStatuses(ctx, api, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[string]map[string]time.Time)
	for _, row := range rows {
		for _, e := range row.Events.Event {
			kind, at := oneOf(e.Type.Name, eventTypes), e.NotBefore.Time
			if all[row.InstanceID] == nil {
				all[row.InstanceID] = make(map[string]time.Time)
			}
			if first, ok := all[row.InstanceID][kind]; !ok || at.Before(first) {
				all[row.InstanceID][kind] = at
			}
		}
	}
	return all, nil
}

// metrics are what a says of members.
func (a answers) metrics(members []member) []prometheus.Metric {
	var list []prometheus.Metric
	for _, m := range members {
		labels := collector.NewLabels(memberLabels, m.node, m.id)
		if a.instances != nil {
			list = append(list, a.instanceMetrics(m, labels)...)
		}
		if m.elsewhere {
			continue
		}
		if renews, ok := a.renews[m.id]; ok {
			list = append(list, familyAutoRenew.With(collector.Bool(renews), labels))
		}
		for _, kind := range slices.Sorted(maps.Keys(a.events[m.id])) {
			list = append(list, familyEvent.With(unix(a.events[m.id][kind]), labels.And(familyEvent.Labels, kind)))
		}
	}
	return list
}

// instanceMetrics are what the listing of instances says of m.
func (a answers) instanceMetrics(m member, labels *collector.Labels) []prometheus.Metric {
	i, known := a.instances[m.id]
	if !known || m.elsewhere {
		return []prometheus.Metric{familyKnown.With(0, labels)}
	}
	locks := locksOf(i)
	list := []prometheus.Metric{
		familyKnown.With(1, labels),
		familyInfo.With(1, labels.And(familyInfo.Labels, word(i.Type), word(i.ZoneID),
			oneOf(i.ChargeType, chargeTypes), spotStrategyOf(i), roleOf(m))),
		familyRunning.With(collector.Bool(i.Status == running), labels),
		familyReclaiming.With(collector.Bool(slices.Contains(locks, recycling)), labels),
	}
	if i.Status != running {
		list = append(list, familyParked.With(collector.Bool(isParked(m, i)), labels))
	}
	if end, ok := endOf(i); ok {
		list = append(list, familyExpiry.With(unix(end), labels))
	}
	for _, reason := range locks {
		list = append(list, familyLocked.With(1, labels.And(familyLocked.Labels, reason)))
	}
	return list
}
