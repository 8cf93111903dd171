// Package wrap reads counters of the kernel that wrap.
package wrap

// Increase32 is how far a counter of 32 bits has moved since it was last read. A
// step back by less than half its range is no wrap but a counter that began again
// at zero, as after its module was reloaded.
func Increase32(last, now uint32) uint32 {
	const half = 1 << 31
	if moved := now - last; moved < half {
		return moved
	}
	return now
}
