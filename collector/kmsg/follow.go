package kmsg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"ack-exporter/collector"
)

const (
	// bufferSize holds every record: the kernel makes none above 8 KiB
	// (kernel/printk: PRINTK_MESSAGE_MAX).
	bufferSize = 16 << 10
	// maxTooLarge is how many records in a row may be too large for the buffer,
	// against a device that only ever says so.
	maxTooLarge = 100
)

// source is the kernel's log. A Read returns one whole record, or waits for one
// until the deadline.
type source interface {
	io.ReadSeekCloser
	SetReadDeadline(t time.Time) error
}

// openDevice opens the log so that a read waits in Go's poller and can be woken.
func openDevice(path string) (source, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return nil, fmt.Errorf("no kernel log: %w: %w", collector.ErrNotApplicable, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("kernel log: the capability CAP_SYSLOG is needed where kernel.dmesg_restrict is 1, and leave to use the device: %w", err)
	case err != nil:
		return nil, fmt.Errorf("kernel log: %w", err)
	}
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		f.Close()
		return nil, fmt.Errorf("kernel log: not a device that can be waited for: %w", err)
	}
	return f, nil
}

// Follow implements collector.Follower. It counts what is logged from its first
// call on. A later call goes on after the last record that an earlier one read.
func (c *Collector) Follow(ctx context.Context, up func()) error {
	src, err := c.open()
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	if _, err := src.Seek(0, c.position.whence()); err != nil {
		return fmt.Errorf("kernel log: %w", err)
	}
	// It can only fail on a source that is closed, and then no read waits.
	stop := context.AfterFunc(ctx, func() { _ = src.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	up()
	return c.read(ctx, src)
}

// read counts records until ctx ends or src breaks.
func (c *Collector) read(ctx context.Context, src source) error {
	buffer := make([]byte, bufferSize)
	tooLarge := 0
	for ctx.Err() == nil {
		n, err := src.Read(buffer)
		switch {
		case err == nil:
			tooLarge = 0
			c.record(buffer[:n])
		case errors.Is(err, syscall.EPIPE):
			// Records were overwritten; the next read returns the oldest that is left.
			c.overrun()
		case errors.Is(err, syscall.EINVAL) && tooLarge < maxTooLarge:
			// A record larger than the buffer; the next read returns the one after it.
			tooLarge++
			c.unreadable()
		case ctx.Err() == nil:
			return fmt.Errorf("kernel log: %w", err)
		}
	}
	return ctx.Err()
}

// record counts one record as the device returned it.
func (c *Collector) record(b []byte) {
	r, err := parseRecord(b)
	if err != nil {
		c.unreadable()
		return
	}
	lost, fresh := c.position.advance(r.seq)
	if !fresh {
		return
	}
	event, known := r.event()
	c.count(func(counts *counts) {
		counts.lost += lost
		if known {
			counts.events[event]++
		}
	})
}

// unreadable counts a record of which not even the sequence number is known.
func (c *Collector) unreadable() {
	c.position.skip()
	c.count(func(counts *counts) { counts.malformed++ })
}

// overrun counts lost records where the gap in the sequence numbers, which tells
// how many, cannot be seen.
func (c *Collector) overrun() {
	if c.position.known {
		return
	}
	c.count(func(counts *counts) { counts.lost++ })
}

// position is the place in the log up to which everything is counted.
type position struct {
	known bool
	last  uint64 // sequence number of the last record that was read
	// skipped counts the records since then that had no readable number.
	skipped uint64
}

// whence is where to begin to read. Without a position that is the end: lines
// from before the start are not counted, lest a restart count them twice.
func (p *position) whence() int {
	if p.known {
		return io.SeekStart
	}
	return io.SeekEnd
}

// advance moves to the record seq. lost is the number of records between it and
// the one before; fresh is false where seq was counted before.
func (p *position) advance(seq uint64) (lost uint64, fresh bool) {
	skipped := p.skipped
	p.skipped = 0
	if !p.known {
		p.known, p.last = true, seq
		return 0, true
	}
	if seq <= p.last {
		return 0, false
	}
	gap := seq - p.last - 1
	p.last = seq
	return gap - min(gap, skipped), true
}

// skip moves over a record whose number is not known.
func (p *position) skip() { p.skipped++ }
