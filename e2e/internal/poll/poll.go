//go:build e2e

// Package poll waits for what nothing announces.
package poll

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const interval = 50 * time.Millisecond

// Until calls condition again and again until it returns nil. Where that is not
// within this time, or ctx ends before, the error says what condition said last.
func Until(ctx context.Context, within time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("after %s", within))
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
