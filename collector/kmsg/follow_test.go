package kmsg

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

// Lines of two events and of none.
const (
	full     = "nf_conntrack: nf_conntrack: table full, dropping packet"
	oom      = "Out of memory: Killed process 1 (a) total-vm:1kB"
	ordinary = "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: link becomes ready"
)

// follower runs Follow of one Collector, within a bubble of synctest.
type follower struct {
	*Collector
	log    *fakeLog
	reader *fakeReader // the one that was opened last
}

func newFollower(log *fakeLog) *follower {
	f := &follower{Collector: New(Config{}), log: log}
	f.open = func() (source, error) {
		src, err := log.open()
		f.reader = src.(*fakeReader)
		return src, err
	}
	return f
}

// start follows until stop is called, which returns the error of Follow.
func (f *follower) start(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	up := make(chan struct{})
	go func() { done <- f.Follow(ctx, func() { close(up) }) }()
	<-up
	return func() error {
		cancel()
		return <-done
	}
}

// expect waits until everything is read, and compares.
func (f *follower) expect(t *testing.T, want map[string]uint64, lost, malformed uint64) {
	t.Helper()
	synctest.Wait()
	c := f.snapshot()
	for i, n := range c.events {
		if name := events[i].name; n != want[name] {
			t.Errorf("%s: %d instead of %d", name, n, want[name])
		}
	}
	if c.lost != lost || c.malformed != malformed {
		t.Errorf("%d lost, %d malformed instead of %d, %d", c.lost, c.malformed, lost, malformed)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(100)
		log.print(full, oom, oom) // older than the start
		f := newFollower(log)
		stop := f.start(t)
		f.expect(t, nil, 0, 0)

		log.print(ordinary, full, ordinary, oom, full)
		f.expect(t, map[string]uint64{"conntrack_table_full": 2, "oom_kill": 1}, 0, 0)

		log.write(12, full) // user space
		log.write(30, oom)
		f.expect(t, map[string]uint64{"conntrack_table_full": 2, "oom_kill": 1}, 0, 0)

		got, err := collectortest.Collect(t, f)
		if err != nil {
			t.Error(err)
		}
		collectortest.Golden(t, "follow.prom", got)
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if !f.reader.closed {
			t.Error("the log is still open")
		}
	})
}

func TestNothingHeard(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, New(Config{Path: "/dev/kmsg"}))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "nothing.prom", got)
}

// The kernel overwrites records that were not read yet.
func TestOverrun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(3)
		f := newFollower(log)
		stop := f.start(t)
		log.print(ordinary)
		f.expect(t, nil, 0, 0)

		log.write(4, strings.Split(strings.Repeat(full+"|", 9)+full, "|")...) // 10 records, 3 remain
		f.expect(t, map[string]uint64{"conntrack_table_full": 3}, 7, 0)

		log.print(oom)
		f.expect(t, map[string]uint64{"conntrack_table_full": 3, "oom_kill": 1}, 7, 0)
		_ = stop()
	})
}

// Before the first record was read, nobody knows how many are gone.
func TestOverrunAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(2)
		f := newFollower(log)
		stop := f.start(t)
		synctest.Wait() // it waits for the first record
		log.write(4, strings.Split(strings.Repeat(full+"|", 4)+full, "|")...)
		f.expect(t, map[string]uint64{"conntrack_table_full": 2}, 1, 0)
		_ = stop()
	})
}

// A gap without EPIPE counts too.
func TestSequenceGap(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	for _, record := range []string{"4,10,0,-;a\n", "4,11,0,-;b\n", "4,15,0,-;" + full + "\n", "4,16,0,-;c\n"} {
		c.record([]byte(record))
	}
	if got := c.snapshot().lost; got != 3 {
		t.Errorf("%d lost instead of 3", got)
	}
}

// Follow is called again after listening broke: nothing is lost or counted twice.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(5)
		log.print(oom) // older than the start
		f := newFollower(log)
		stop := f.start(t)
		log.print(full, oom)
		f.expect(t, map[string]uint64{"conntrack_table_full": 1, "oom_kill": 1}, 0, 0)

		f.reader.breakDown(syscall.EIO)
		synctest.Wait()
		if err := stop(); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "/dev/kmsg") {
			t.Errorf("error %v", err)
		}
		log.print(full, ordinary) // nobody listens

		stop = f.start(t)
		f.expect(t, map[string]uint64{"conntrack_table_full": 2, "oom_kill": 1}, 0, 0)
		log.print(full)
		f.expect(t, map[string]uint64{"conntrack_table_full": 3, "oom_kill": 1}, 0, 0)

		f.reader.breakDown(syscall.EIO)
		synctest.Wait()
		_ = stop()
		log.print(ordinary, ordinary, full, full, full, full, oom) // 7 records, 5 remain

		stop = f.start(t)
		f.expect(t, map[string]uint64{"conntrack_table_full": 7, "oom_kill": 2}, 2, 0)
		_ = stop()
	})
}

func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog(200)
		f := newFollower(log)
		stop := f.start(t)
		log.print(full)
		log.corrupt("no record\n")
		log.corrupt(strings.Repeat("x", bufferSize+1)) // EINVAL
		log.print(full)
		// The numbers 1 and 2 are missing, but not lost.
		f.expect(t, map[string]uint64{"conntrack_table_full": 2}, 0, 2)
		log.print(oom)
		f.expect(t, map[string]uint64{"conntrack_table_full": 2, "oom_kill": 1}, 0, 2)
		_ = stop()
	})
}

// A device that says nothing but EINVAL does not keep a CPU busy.
func TestOnlyTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFollower(newFakeLog(1))
		stop := f.start(t)
		f.reader.breakDown(syscall.EINVAL)
		synctest.Wait()
		if err := stop(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("error %v", err)
		}
		f.expect(t, nil, 0, maxTooLarge)
	})
}

func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := newFollower(newFakeLog(1)).Follow(ctx, func() {}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	regular := filepath.Join(t.TempDir(), "regular")
	if err := os.WriteFile(regular, []byte("6,1,2,-;a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path string
		want error
	}{
		"no file":      {filepath.Join(t.TempDir(), "kmsg"), collector.ErrNotApplicable},
		"no device":    {socketPath(t), collector.ErrNotApplicable}, // ENXIO
		"regular file": {regular, os.ErrNoDeadline},
		"no directory": {filepath.Join(regular, "kmsg"), syscall.ENOTDIR},
	}
	for name, test := range tests {
		err := New(Config{Path: test.path}).Follow(t.Context(), func() { t.Errorf("%s: up", name) })
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "kernel log") {
			t.Errorf("%s: error %v instead of %v", name, err, test.want)
		}
	}
}

// A socket in the file system cannot be opened: ENXIO.
func socketPath(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd) //nolint:errcheck // nothing was written
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSeekFails(t *testing.T) {
	t.Parallel()
	c := New(Config{})
	c.open = func() (source, error) {
		r, _, err := os.Pipe() // ESPIPE
		return r, err
	}
	if err := c.Follow(t.Context(), func() { t.Error("up") }); !errors.Is(err, syscall.ESPIPE) {
		t.Errorf("error %v", err)
	}
}

// pollable is a pipe that can be sought: a read waits in Go's poller, as that of
// the device does.
type pollable struct{ *os.File }

func (pollable) Seek(int64, int) (int64, error) { return 0, nil }

// awaitPoller returns when a follower waits in Go's poller.
func awaitPoller(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if strings.Contains(stack, "[IO wait") && strings.Contains(stack, "(*Collector).read(") {
				return
			}
		}
	}
	t.Fatal("no follower waits in the poller")
}

// The end of ctx wakes a read that waits in the poller, and leaves no goroutine.
func TestStopWakesReadInPoller(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c := New(Config{})
	c.open = func() (source, error) { return pollable{r}, nil }

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	up := make(chan struct{})
	go func() { done <- c.Follow(ctx, func() { close(up) }) }()
	<-up
	if _, err := w.WriteString("4,1,2,-;" + full + "\n"); err != nil {
		t.Fatal(err)
	}
	awaitPoller(t)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := r.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the log was still open; closing it: %v", err)
	}
}
