//go:build e2e

package world

import (
	"testing"
	"time"
)

// Eventually calls condition again and again until it returns nil; after the
// deadline it ends the test with the last error.
func Eventually(t testing.TB, within time.Duration, condition func() error) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s: %v", within, err)
		case <-t.Context().Done():
			t.Fatalf("the test ended: %v", err)
		}
	}
}
