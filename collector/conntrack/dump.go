package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ack-exporter/collector"
	"ack-exporter/internal/cputime"
)

// The dump is made by hand on a raw socket. The netlink libraries allocate for
// every datagram, read it twice, or keep every entry; docs/performance.md says
// what that costs on a million entries.
const (
	// After so many reads the pass pauses, for the packets of the host's pods.
	pauseEvery = 8
	pause      = time.Millisecond
	// receiveTimeout bounds a read from a kernel that does not answer.
	receiveTimeout = 5 * time.Second
	// maxDumps is how often a pass is tried where the kernel ran out of buffer, or
	// said that the table changed under the dump.
	maxDumps = 3
)

const (
	subsystemConntrack = 1 // NFNL_SUBSYS_CTNETLINK
	messageNew         = 0 // IPCTNL_MSG_CT_NEW
	messageGet         = 1 // IPCTNL_MSG_CT_GET
)

// readSize is the size of one read, and so of one step of the dump: the kernel
// keeps softirqs off while it fills a buffer, about 22 µs for 4 KiB and 175 µs for
// the 32 KiB that it fills at most. It fills no more than the reader offers, but
// always a page, or 8 KiB where pages are larger (NLMSG_GOODSIZE).
func readSize() int { return min(os.Getpagesize(), 8<<10) }

var errInterrupted = fmt.Errorf("the table changed under the dump: %w", collector.ErrUnavailable)

// pass is the result of one pass over the table.
type pass struct {
	classes

	// complete: every entry was visited. Otherwise the classes are those of a
	// uniform sample, since the kernel walks buckets in the order of a keyed hash.
	complete bool
	// cpu is what the pass cost this process, in user space and in the kernel.
	cpu time.Duration
}

// dumpTable asks the kernel for all entries of the network namespace and counts
// them as they come. It stops early, which costs the kernel nothing, once it
// has seen maxEntries (0 sets no bound), or when three quarters of its time are
// over. It needs CAP_NET_ADMIN.
//
// It never asks the kernel to filter: a filter that matches little keeps
// softirqs off for as long as the walk takes, 285 ms for a million entries. For
// the same reason the caller must not call it outside the namespace that holds
// the entries.
func dumpTable(ctx context.Context, maxEntries uint64) (pass, error) {
	var p pass
	var err error
	cost := cputime.Of(func() {
		p, err = restarting(func() (pass, error) { return dumpOnce(ctx, maxEntries) })
	})
	p.cpu = cost
	return p, err
}

// restarting calls dump again where it failed for a reason that may not be there
// the next time.
func restarting(dump func() (pass, error)) (p pass, err error) {
	for range maxDumps {
		p, err = dump()
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, errInterrupted) {
			break
		}
	}
	return p, err
}

func dumpOnce(ctx context.Context, maxEntries uint64) (p pass, err error) {
	fd, err := requestDump()
	if err != nil {
		return p, err
	}
	// Closing the socket ends the dump in the kernel.
	defer unix.Close(fd)

	stopAt := softDeadline(ctx)
	buf := make([]byte, readSize())
	for reads := 1; ; reads++ {
		n, err := receive(fd, buf)
		if err != nil {
			return p, err
		}
		done, err := p.addDatagram(buf[:n])
		if err != nil {
			return p, err
		}
		if done {
			p.complete = true
			return p, nil
		}
		if maxEntries > 0 && p.entries >= maxEntries {
			return p, nil
		}
		if reads%pauseEvery != 0 {
			continue
		}
		rest()
		if ctx.Err() != nil {
			return p, ctx.Err()
		}
		if !stopAt.IsZero() && time.Now().After(stopAt) {
			return p, nil
		}
	}
}

// rest sleeps on the thread: to give it up for a timer of the runtime costs more
// CPU than the reads in between, and lets the next reads come in bursts. A signal
// that ends it early does no harm.
func rest() {
	t := unix.NsecToTimespec(pause.Nanoseconds())
	_ = unix.Nanosleep(&t, nil)
}

// softDeadline is when a pass over a table that is too large for the time left
// stops, to be a sample instead of a failure; the zero time sets no bound.
func softDeadline(ctx context.Context) time.Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Time{}
	}
	return time.Now().Add(time.Until(deadline) * 3 / 4)
}

// requestDump opens a socket and asks for all entries of both IP versions.
func requestDump() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, fmt.Errorf("netlink socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	timeout := unix.NsecToTimeval(receiveTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return -1, fmt.Errorf("netlink receive timeout: %w", err)
	}
	const length = netlinkHeader + netfilterHeader
	request := make([]byte, 0, length)
	request = binary.NativeEndian.AppendUint32(request, length)
	request = binary.NativeEndian.AppendUint16(request, subsystemConntrack<<8|messageGet)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = binary.NativeEndian.AppendUint32(request, 1) // sequence
	request = binary.NativeEndian.AppendUint32(request, 0) // to the kernel
	request = append(request, unix.AF_UNSPEC, 0, 0, 0)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, fmt.Errorf("conntrack dump request: %w", err)
	}
	return fd, nil
}

// receive is recvfrom(2) without the sender's address: unix.Recvfrom allocates
// one for each datagram.
func receive(fd int, buf []byte) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), unix.MSG_TRUNC, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, fmt.Errorf("conntrack dump: %w", errno)
		case int(n) > len(buf):
			return 0, fmt.Errorf("conntrack dump: datagram of %d bytes: %w", n, collector.ErrDecode)
		default:
			return int(n), nil
		}
	}
}

// addDatagram counts the messages of one datagram. done: the dump has ended.
func (p *pass) addDatagram(b []byte) (done bool, err error) {
	for len(b) >= netlinkHeader {
		length := int(binary.NativeEndian.Uint32(b))
		if length < netlinkHeader || length > len(b) {
			return false, fmt.Errorf("conntrack dump: message of %d bytes in %d: %w", length, len(b), collector.ErrDecode)
		}
		message := b[:length]
		b = b[min(align(length), len(b)):]
		if binary.NativeEndian.Uint16(message[6:])&unix.NLM_F_DUMP_INTR != 0 {
			return false, errInterrupted
		}
		switch binary.NativeEndian.Uint16(message[4:]) {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			return true, statusOf(message)
		case subsystemConntrack<<8 | messageNew:
			p.add(message[netlinkHeader:])
		}
	}
	if len(b) != 0 {
		return false, fmt.Errorf("conntrack dump: %d bytes after the last message: %w", len(b), collector.ErrDecode)
	}
	return false, nil
}

// statusOf is the error that a message which ends a dump carries, if any.
func statusOf(message []byte) error {
	if len(message) < netlinkHeader+4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(message[netlinkHeader:])); code < 0 {
		return fmt.Errorf("conntrack dump: %w", unix.Errno(-code))
	}
	return nil
}
