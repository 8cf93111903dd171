package wrap

import (
	"math"
	"testing"
)

func TestIncrease32(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ last, now, want uint32 }{
		{0, 0, 0},
		{0, 7, 7},
		{7, 9, 2},
		{math.MaxUint32, 0, 1},
		{math.MaxUint32 - 1, 3, 5},
		{1000, 4, 4},
	} {
		if got := Increase32(c.last, c.now); got != c.want {
			t.Errorf("from %d to %d: %d, want %d", c.last, c.now, got, c.want)
		}
	}
}
