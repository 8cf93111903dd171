package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"ack-exporter/collector"
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/internal/aliyun"
)

const (
	// clusterTag is on what belongs to an ACK cluster; its value is the id of the cluster.
	clusterTag = "ack.aliyun.com"
	// maxFailures of single groups end the reading of a refresh.
	maxFailures = 5
	// leastShare of the allowance is for groups, however many load balancers there are.
	leastShare = 10
	// reservedTime of what a refresh has is left for whoever uses the inventory, and
	// no more of it than mostReserved.
	reservedTime = 5
	mostReserved = 30 * time.Second
)

// Config says how a Scanner reads.
type Config struct {
	API aliyun.API
	// Calls are how many a refresh may make. The listings of load balancers and listeners
	// are made in any case; what is left, a tenth at least, is for groups.
	Calls int
	Now   func() time.Time
}

// Wanted says which load balancers belong to the cluster, and what is wanted of them.
type Wanted struct {
	// ClusterID is the value of their tag; empty where it is not known.
	ClusterID string
	// Services are gone through once, before anything is asked. Nothing of them is kept but
	// fingerprints: with the backends of all of them at once a large cluster would need
	// more memory than for everything else.
	Services iter.Seq[ccm.Service]
	// LoadBalancers are the ids of further ones.
	LoadBalancers []string
}

// Stop is why the reading of groups ended before all were read.
type Stop string

// Why it ended. NotStopped: all groups were read, or the allowance was used up as planned.
const (
	NotStopped Stop = ""
	ByBudget   Stop = "budget"    // the exporter made as many requests as it may in a minute
	ByThrottle Stop = "throttled" // the API asked for fewer requests
	ByTime     Stop = "time"      // the refresh has taken as long as it may
	ByError    Stop = "error"     // anything else, which the error tells
)

// Stops lists why it can end.
func Stops() []Stop { return []Stop{ByBudget, ByThrottle, ByTime, ByError} }

// Progress is how far the Scanner is.
type Progress struct {
	// Calls are those of this refresh, without what the client tried again.
	Calls int
	// LoadBalancers and Groups are how many the cluster has, as far as they are known.
	LoadBalancers, Groups int
	// Unlisted are load balancers whose groups were never asked for, Unread groups
	// whose backends never were.
	Unlisted, Unread int
	// Oldest is when what is oldest of everything that was read was read; zero where
	// nothing was.
	Oldest  time.Time
	Stopped Stop
}

// Scanner reads load balancers, and keeps what it read of groups, since one refresh
// seldom can read all.
type Scanner struct {
	config    Config
	balancers map[string]*balancer
	order     fingerprints
}

// NewScanner makes a Scanner that knows nothing yet.
func NewScanner(config Config) *Scanner {
	return &Scanner{config: config, balancers: make(map[string]*balancer), order: newFingerprints()}
}

// balancer is what the Scanner keeps of a load balancer of the cluster.
type balancer struct {
	id     string
	listed time.Time
	// groups are those of listed, in the order of the API. The slice is never changed.
	groups []*group
	// wanted is by the key of a group, and of this refresh; so is listeners.
	wanted    map[string]wantedGroup
	listeners []aliyun.Listener
	// about is what listeners and Services say of groups, now and at listed.
	about, aboutListed uint64
	// gone: it was deleted while this refresh went on.
	gone bool
}

// group is what the Scanner keeps of a group.
type group struct {
	aliyun.ServerGroup
	of       *balancer
	read     time.Time
	backends Backends
	// content is of backends; wantedRead what was wanted when they were read.
	content    uint64
	wantedRead wantedGroup
	gone       bool
}

// Refresh reads the load balancers of the region, the listeners of those of the cluster,
// and as many of their groups as the allowance lets it. It asks first for what was never
// read, then for what differs from what is wanted or of which something else is wanted
// since it was read, then for the oldest; each leaves a quarter of the allowance to the
// next, if that needs it.
//
// An error without an Inventory: one of the listings failed. An error with one: what was
// read of groups is there, and the rest is as it was.
func (s *Scanner) Refresh(ctx context.Context, wanted Wanted) (*Inventory, Progress, error) {
	api := &counter{api: s.config.API}
	region, err := s.region(ctx, api)
	if err != nil {
		return nil, Progress{Calls: api.calls}, err
	}
	groups := s.order.wanted(wanted.Services)
	ids := ofCluster(region, groups, wanted)
	listeners, gone, err := s.listeners(ctx, api, ids)
	if err != nil {
		return nil, Progress{Calls: api.calls}, err
	}
	for _, id := range gone {
		delete(region, id)
	}
	s.adopt(region, ids, listeners, groups)
	stopped, err := s.rotate(ctx, api)
	for id, b := range s.balancers {
		if b.gone {
			delete(region, id)
			delete(s.balancers, id)
		}
	}
	progress := s.progress()
	progress.Calls, progress.Stopped = api.calls, stopped
	return s.inventory(region), progress, err
}

// region lists all load balancers. One that is told twice has moved from one page to
// another, and then another one may have been missed.
func (s *Scanner) region(ctx context.Context, api aliyun.API) (map[string]aliyun.LoadBalancer, error) {
	list, err := aliyun.LoadBalancers(ctx, api)
	if err != nil {
		return nil, fmt.Errorf("load balancers: %w", err)
	}
	region := make(map[string]aliyun.LoadBalancer, len(list))
	for _, l := range list {
		region[l.ID] = l
	}
	if len(region) != len(list) {
		return nil, fmt.Errorf("load balancers: the listing changed while it was read: %w", collector.ErrUnavailable)
	}
	return region, nil
}

// ofCluster are the ids of the load balancers of the cluster that exist, sorted.
func ofCluster(region map[string]aliyun.LoadBalancer, groups map[string]map[string]wantedGroup, wanted Wanted) []string {
	var ids []string
	for id, l := range region {
		tagged := wanted.ClusterID != "" && slices.Contains(l.Tags.Tag, aliyun.Tag{Key: clusterTag, Value: wanted.ClusterID})
		if _, served := groups[id]; served || tagged || slices.Contains(wanted.LoadBalancers, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// listenerBatch is how many load balancers one call takes.
const listenerBatch = 10

// listeners lists the listeners of these load balancers, and which of them do not exist
// any more. Where one of a batch is gone, the API may refuse the batch; then each is asked
// for alone.
func (s *Scanner) listeners(ctx context.Context, api aliyun.API, ids []string) (found map[string][]aliyun.Listener, gone []string, err error) {
	found = make(map[string][]aliyun.Listener)
	for batch := range slices.Chunk(ids, listenerBatch) {
		list, err := aliyun.Listeners(ctx, api, batch)
		if deleted(err) {
			var missing []string
			list, missing, err = s.listenersOneByOne(ctx, api, batch)
			gone = append(gone, missing...)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("listeners: %w", err)
		}
		for _, l := range list {
			if !slices.Contains(batch, l.LoadBalancerID) {
				return nil, nil, fmt.Errorf("listeners: the answer is about a load balancer that was not asked for: %w", collector.ErrDecode)
			}
			found[l.LoadBalancerID] = append(found[l.LoadBalancerID], l)
		}
	}
	return found, gone, nil
}

func (s *Scanner) listenersOneByOne(ctx context.Context, api aliyun.API, ids []string) (list []aliyun.Listener, gone []string, err error) {
	for _, id := range ids {
		one, err := aliyun.Listeners(ctx, api, []string{id})
		switch {
		case deleted(err):
			gone = append(gone, id)
		case err != nil:
			return nil, nil, err
		}
		list = append(list, one...)
	}
	return list, gone, nil
}

// adopt forgets load balancers that are not of the cluster any more, and notes what is
// wanted of the others.
func (s *Scanner) adopt(region map[string]aliyun.LoadBalancer, ids []string, listeners map[string][]aliyun.Listener, groups map[string]map[string]wantedGroup) {
	kept := make(map[string]*balancer, len(ids))
	for _, id := range ids {
		if _, exists := region[id]; !exists {
			continue
		}
		b := s.balancers[id]
		if b == nil {
			b = &balancer{id: id}
		}
		b.wanted, b.listeners = groups[id], listeners[id]
		b.about = s.order.about(b)
		kept[id] = b
	}
	s.balancers = kept
}

// inventory is what is known now.
func (s *Scanner) inventory(region map[string]aliyun.LoadBalancer) *Inventory {
	i := &Inventory{Region: region, Cluster: make(map[string]*LoadBalancer, len(s.balancers))}
	for id, b := range s.balancers {
		l := &LoadBalancer{LoadBalancer: region[id], Listeners: b.listeners, Listed: b.listed, Groups: make([]Group, len(b.groups))}
		for n, g := range b.groups {
			wanted, read := b.wantedOf(g), !g.read.IsZero()
			l.Groups[n] = Group{
				ServerGroup: g.ServerGroup, Backends: g.backends, Read: g.read,
				Outdated: read && g.wantedRead != wanted,
				AsWanted: read && wanted.known && wanted.is(g.content),
			}
		}
		i.Cluster[id] = l
	}
	return i
}

func (s *Scanner) progress() Progress {
	p := Progress{LoadBalancers: len(s.balancers)}
	note := func(t time.Time, never *int) {
		switch {
		case t.IsZero():
			*never++
		case p.Oldest.IsZero() || t.Before(p.Oldest):
			p.Oldest = t
		}
	}
	for b := range maps.Values(s.balancers) {
		note(b.listed, &p.Unlisted)
		p.Groups += len(b.groups)
		for _, g := range b.groups {
			note(g.read, &p.Unread)
		}
	}
	return p
}

// counter counts the calls.
type counter struct {
	api   aliyun.API
	calls int
}

// Call implements aliyun.API.
func (c *counter) Call(ctx context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	c.calls++
	return c.api.Call(ctx, action, parameters, out)
}

// deleted tells whether the API says that there is no such load balancer.
func deleted(err error) bool {
	e, ok := errors.AsType[*aliyun.Error](err)
	return ok && (strings.HasSuffix(e.Code, "NotFound") || strings.HasSuffix(e.Code, "NotExist"))
}

// refused tells whether the API did not accept what it was asked, for another reason than
// rights, rate or its own state. That is how it says that there is no such group.
func refused(err error) bool {
	e, ok := errors.AsType[*aliyun.Error](err)
	return ok && e.Code != "" && collector.ReasonOf(err) == collector.ReasonOther
}
