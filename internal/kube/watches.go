package kube

import (
	"context"
	"sync"
	"time"
)

// Watch is a Store of any kind.
type Watch interface {
	Run(ctx context.Context)
	Synced() bool
}

// RunWatches runs all watches until ctx ends, and calls up once each of them is
// complete, or after patience: then the collectors tell which are not.
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
	for !synced(watches) {
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

func synced(watches []Watch) bool {
	for _, w := range watches {
		if !w.Synced() {
			return false
		}
	}
	return true
}
