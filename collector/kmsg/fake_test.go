package kmsg

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// fakeLog is a kernel log that holds at most size records.
type fakeLog struct {
	mu      sync.Mutex
	size    int
	first   uint64 // sequence number of records[0]
	records []string
	grown   chan struct{} // closed, and made anew, when something happens
}

func newFakeLog(size int) *fakeLog {
	return &fakeLog{size: size, grown: make(chan struct{})}
}

// print logs a message of the kernel.
func (l *fakeLog) print(messages ...string) { l.write(4, messages...) }

// write logs a message with a priority.
func (l *fakeLog) write(priority int, messages ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range messages {
		seq := l.first + uint64(len(l.records))
		l.raw(fmt.Sprintf("%d,%d,%d,-;%s\n SUBSYSTEM=fake\n", priority, seq, 1000*seq, escape(m)))
	}
}

// corrupt logs a record that is in no known format.
func (l *fakeLog) corrupt(record string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw(record)
}

func (l *fakeLog) raw(record string) {
	l.records = append(l.records, record)
	if over := len(l.records) - l.size; over > 0 {
		l.records, l.first = l.records[over:], l.first+uint64(over)
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *fakeLog) open() (source, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &fakeReader{log: l, next: l.first, expired: make(chan struct{})}, nil
}

// fakeReader is one open file of the log; its errors are those of devkmsg_read.
type fakeReader struct {
	log  *fakeLog
	next uint64
	// fail, where it is not nil, makes every read after the given one fail.
	fail error

	expired chan struct{}
	once    sync.Once
	closed  bool
}

func (r *fakeReader) Read(b []byte) (int, error) {
	for {
		n, err, wait := r.tryRead(b)
		if wait == nil {
			return n, err
		}
		select {
		case <-wait:
		case <-r.expired:
			return 0, pathError(os.ErrDeadlineExceeded)
		}
	}
}

func (r *fakeReader) tryRead(b []byte) (n int, err error, wait <-chan struct{}) { //nolint:revive,staticcheck // wait says that the other two mean nothing
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.closed {
		return 0, pathError(fs.ErrClosed), nil
	}
	if r.fail != nil {
		return 0, pathError(r.fail), nil
	}
	if r.next < r.log.first {
		r.next = r.log.first
		return 0, pathError(syscall.EPIPE), nil
	}
	i := int(r.next - r.log.first)
	if i >= len(r.log.records) {
		return 0, nil, r.log.grown
	}
	r.next++
	if len(r.log.records[i]) > len(b) {
		return 0, pathError(syscall.EINVAL), nil
	}
	return copy(b, r.log.records[i]), nil, nil
}

// breakDown makes the read that waits, and every later one, fail.
func (r *fakeReader) breakDown(err error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.fail = err
	close(r.log.grown)
	r.log.grown = make(chan struct{})
}

func (r *fakeReader) Seek(offset int64, whence int) (int64, error) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	switch {
	case offset != 0:
		return 0, pathError(syscall.ESPIPE)
	case whence == io.SeekStart:
		r.next = r.log.first
	case whence == io.SeekEnd:
		r.next = r.log.first + uint64(len(r.log.records))
	default:
		return 0, pathError(syscall.EINVAL)
	}
	return 0, nil
}

func (r *fakeReader) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		r.once.Do(func() { close(r.expired) })
	}
	return nil
}

func (r *fakeReader) Close() error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.closed = true
	return nil
}

func pathError(err error) error {
	return &os.PathError{Op: "read", Path: "/dev/kmsg", Err: err}
}
