package cputime_test

import (
	"testing"
	"time"

	"ack-exporter/internal/cputime"
)

func TestOfCountsWorkAndNotWaiting(t *testing.T) {
	t.Parallel()
	idle := cputime.Of(func() {
		timer := time.NewTimer(200 * time.Millisecond)
		<-timer.C
	})
	if idle > 100*time.Millisecond {
		t.Errorf("waiting cost %s", idle)
	}
	// Work until the clock of the thread itself says that it was enough.
	var inner time.Duration
	outer := cputime.Of(func() {
		for inner < 20*time.Millisecond {
			inner += cputime.Of(func() {
				for range 1_000_000 {
				}
			})
		}
	})
	if outer < inner {
		t.Errorf("the whole cost %s, a part of it %s", outer, inner)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var m cputime.Meter
	if m.Rest() != 0 || m.Total() != 0 {
		t.Error("a meter that has measured nothing asks for a rest")
	}
	m.Add(2 * time.Second)
	m.Add(time.Second)
	if m.Total() != 3*time.Second || m.Rest() != 125*time.Second {
		t.Errorf("total %s, rest %s", m.Total(), m.Rest())
	}
	m.Add(0)
	if m.Total() != 3*time.Second || m.Rest() != 0 {
		t.Errorf("after work that cost nothing: total %s, rest %s", m.Total(), m.Rest())
	}
}
