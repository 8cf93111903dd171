//go:build e2e

package conntrack

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/world"
)

// What runs as a process of its own: the bare dump, so that the operating system
// measures its CPU time; and the two ends of the round trips, so that the
// garbage collector and the scheduler of the tests do not disturb them.

// dumped is what the role dump reports.
type dumped struct {
	Bytes, Datagrams int
}

// dumpRole asks for the whole table and throws the bytes away: what nobody who
// uses ctnetlink can do for less. The kernel fills no more than 32 KiB at once.
func dumpRole([]string) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var request []byte
	request = binary.NativeEndian.AppendUint32(request, 20)
	request = binary.NativeEndian.AppendUint16(request, getEntry)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = append(request, make([]byte, 12)...) // sequence, port, all families
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	var got dumped
	last := 0
	for {
		// Each read makes the kernel prepare the next datagram before it returns.
		// Where there is none, the dump has ended.
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return err
		}
		got.Bytes += n
		got.Datagrams++
		last = n
	}
	// The dump ends with a header and a status, perhaps after other messages.
	const end = unix.NLMSG_HDRLEN + 4
	if last < end || binary.NativeEndian.Uint16(buf[last-end+4:]) != unix.NLMSG_DONE {
		return errors.New("the dump broke off")
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// realTime puts the process on one CPU, where its thread waits for no other.
func realTime(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := setAffinity(&set); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 50}, 0); err != nil {
		// Some control groups do not allow it. The figures are less steady then.
		fmt.Fprintln(os.Stderr, "no real-time scheduling:", err)
	}
	return nil
}

// setAffinity moves every thread of the process.
func setAffinity(set *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		var tid int
		if _, err := fmt.Sscan(thread.Name(), &tid); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, set); err != nil {
			return err
		}
	}
	return nil
}

// Both ends of the round trips run on one CPU. What the client receives the
// kernel handles on the other, on which the exporter runs.
const (
	roundTripCPU = 0
	loadedCPU    = 1
)

func udpSocket() (int, error) {
	return unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
}

func sockaddr(address string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
}

// echoRole sends datagrams back until it is killed.
func echoRole(args []string) error {
	if err := realTime(roundTripCPU); err != nil {
		return err
	}
	fd, err := udpSocket()
	if err != nil {
		return err
	}
	address, err := sockaddr(args[0])
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, address); err != nil {
		return err
	}
	buf := make([]byte, 64)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, buf[:n], 0, from); err != nil {
			return err
		}
	}
}

// roundTrips is what the role ping reports.
type roundTrips struct {
	N        int
	P50, P99 time.Duration
}

// pingRole measures round trips to an address for a time.
func pingRole(args []string) error {
	length, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	address, err := sockaddr(args[0])
	if err != nil {
		return err
	}
	if err := realTime(roundTripCPU); err != nil {
		return err
	}
	fd, err := udpSocket()
	if err != nil {
		return err
	}
	timeout := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	if err := unix.Connect(fd, address); err != nil {
		return err
	}
	times := make([]time.Duration, 0, 1<<20)
	buf := make([]byte, 64)
	for start := time.Now(); time.Since(start) < length; {
		sent := time.Now()
		if _, err := unix.Write(fd, buf[:1]); err != nil {
			return err
		}
		if _, err := unix.Read(fd, buf); err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		times = append(times, time.Since(sent))
	}
	slices.Sort(times)
	return json.NewEncoder(os.Stdout).Encode(roundTrips{len(times), quantile(times, 0.5), quantile(times, 0.99)})
}

// quantile of a sorted slice.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))]
}

// play runs a role inside a world to its end, reads its report into result, and
// returns the CPU time that it cost.
func play(b *testing.B, w *world.World, result any, role string, args ...string) time.Duration {
	b.Helper()
	cmd, err := world.RoleCommand(b.Context(), role, args...)
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	cpu := runInside(b, w, cmd)
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		b.Fatalf("the role %s reports %q: %v", role, out.String(), err)
	}
	return cpu
}
