package aliyun

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
)

var (
	familyRequests = collector.NewCounter("ack_exporter_cloud_requests_total",
		"Requests to the API of the cloud, retries included, by how they ended. Those with the result budget were not sent.",
		"product", "action", "result")
	familyDuration = collector.NewHistogram("ack_exporter_cloud_request_duration_seconds",
		"How long requests to the API of the cloud took, whatever came of them.",
		[]float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, "product")
)

const (
	resultOK     = "ok"
	resultBudget = "budget"
)

// results lists the values of the label result.
func results() []string {
	all := []string{resultOK, resultBudget}
	for _, reason := range collector.Reasons() {
		// The API of the cloud says "forbidden"; files are no part of a request.
		if reason != collector.ReasonPermission {
			all = append(all, string(reason))
		}
	}
	return all
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return resultOK
	case errors.Is(err, ErrBudget):
		return resultBudget
	default:
		return string(collector.ReasonOf(err))
	}
}

// Usage counts and times requests. It is a collector.Collector, and safe for
// concurrent use.
type Usage struct {
	mu        sync.Mutex
	requests  map[Action]map[string]float64
	durations map[Product]*collector.Histogram
}

// NewUsage makes a Usage that has seen nothing.
func NewUsage() *Usage {
	return &Usage{requests: map[Action]map[string]float64{}, durations: map[Product]*collector.Histogram{}}
}

// Families lists what Collect returns.
func (u *Usage) Families() []*collector.Family {
	return []*collector.Family{familyRequests, familyDuration}
}

// Collect says what was seen so far. An action has series from its first request on.
func (u *Usage) Collect(context.Context) ([]prometheus.Metric, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var metrics []prometheus.Metric
	actions := slices.SortedFunc(maps.Keys(u.requests), func(a, b Action) int {
		return cmp.Or(cmp.Compare(a.Product, b.Product), cmp.Compare(a.Name, b.Name))
	})
	for _, action := range actions {
		for _, result := range results() {
			metrics = append(metrics, familyRequests.Metric(u.requests[action][result], string(action.Product), action.Name, result))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(u.durations)) {
		metrics = append(metrics, u.durations[p].Metric())
	}
	return metrics, nil
}

// sent notes one request that took so long.
func (u *Usage) sent(action Action, took time.Duration, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count(action, err)
	h, ok := u.durations[action.Product]
	if !ok {
		h = familyDuration.Histogram(string(action.Product))
		u.durations[action.Product] = h
	}
	h.Observe(took.Seconds())
}

// unsent notes one request that was never sent.
func (u *Usage) unsent(action Action, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count(action, err)
}

func (u *Usage) count(action Action, err error) {
	if u.requests[action] == nil {
		u.requests[action] = map[string]float64{}
	}
	u.requests[action][resultOf(err)]++
}

// budget allows a number of requests in any minute, and no more.
type budget struct {
	mu   sync.Mutex
	last []time.Time // when the last requests were allowed; a ring
	next int
}

func newBudget(perMinute int) *budget { return &budget{last: make([]time.Time, perMinute)} }

func (b *budget) take() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if oldest := b.last[b.next]; !oldest.IsZero() && now.Sub(oldest) < time.Minute {
		return ErrBudget
	}
	b.last[b.next] = now
	b.next = (b.next + 1) % len(b.last)
	return nil
}
