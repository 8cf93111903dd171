package kube

import (
	"context"
	"sync"
	"time"
)

// Watch is a Store or a Feed of any kind.
type Watch interface {
	Run(ctx context.Context)
	// Synced tells whether the first list is complete.
	Synced() bool
	// Refused tells whether the exporter has no right to it.
	Refused() bool
}

// RunWatches runs all watches until ctx ends, and calls up once each of them is
// complete or refused, or after patience: then the collectors tell which are not.
func RunWatches(ctx context.Context, watches []Watch, patience time.Duration, up func()) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, w := range watches {
		running.Go(func() { w.Run(ctx) })
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(syncCheck)
	defer tick.Stop()
	for !settled(watches) {
		select {
		case <-ctx.Done():
			return
		case <-deadline.C:
			up()
			return
		case <-tick.C:
		}
	}
	up()
}

// syncCheck is how often RunWatches looks: an API server answers in tens of milliseconds.
const syncCheck = 20 * time.Millisecond

func settled(watches []Watch) bool {
	for _, w := range watches {
		if !w.Synced() && !w.Refused() {
			return false
		}
	}
	return true
}
