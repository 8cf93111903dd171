// Package collector is the frame in which every subject of the exporter lives.
//
// A subject (connection tracking, kernel parameters, ...) implements Collector
// in a folder of its own. A Set decides when it runs, bounds it in time,
// contains its panics, keeps its last complete snapshot for as long as that is
// honest, and reports on it by the same metrics for every collector.
package collector

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector reads one subject and says what it found as constant metrics.
//
// A Set never runs two Collect calls of one Collector at the same time, so an
// implementation needs no lock for state that only Collect touches.
type Collector interface {
	// Families lists every metric family that Collect can return.
	Families() []*Family

	// Collect reads the whole subject once, within ctx.
	//
	// It returns ErrNotApplicable (wrapped or not) where the subject does not
	// exist on this machine. Metrics together with an error are a partial
	// result: the metrics are published, and the collector counts as failed.
	// A listing that broke off is never part of a result.
	Collect(ctx context.Context) ([]prometheus.Metric, error)
}

// Follower is a Collector that also listens all the time, as for a log or a
// watch; Collect then only reports what was heard so far.
type Follower interface {
	// Follow listens until ctx ends or listening breaks, and calls up once it
	// listens. The Set starts it again, after a back-off, when it returns.
	Follow(ctx context.Context, up func()) error
}

// Rester is a Collector whose refresh can cost much CPU time.
type Rester interface {
	// Rest is the least pause between the refresh that just ended and the next.
	// It can be called while a Collect call that timed out is still under way.
	Rest() time.Duration
}

// Waker is a Collector whose next refresh in the background sometimes should not
// wait for its time.
type Waker interface {
	// Wake returns the channel that asks for a refresh now.
	Wake() <-chan struct{}
}

// Errors by which a Collector tells why it failed. The reasons "timeout" and
// "permission" are also recognised in the errors of the standard library.
var (
	// ErrNotApplicable: the subject does not exist here. It is not a failure.
	ErrNotApplicable = errors.New("not applicable")
	// ErrThrottled: the other side asked for fewer requests.
	ErrThrottled = errors.New("throttled")
	// ErrForbidden: a remote API refused these credentials.
	ErrForbidden = errors.New("forbidden")
	// ErrUnavailable: the source is not there, or cannot be reached.
	ErrUnavailable = errors.New("unavailable")
	// ErrDecode: the source answered something that could not be understood.
	ErrDecode = errors.New("decode")
)

// Reason is the bounded value of the label reason of the error counter.
type Reason string

// Every reason that there is.
const (
	ReasonTimeout     Reason = "timeout"
	ReasonThrottled   Reason = "throttled"
	ReasonForbidden   Reason = "forbidden"
	ReasonUnavailable Reason = "unavailable"
	ReasonDecode      Reason = "decode"
	ReasonPermission  Reason = "permission"
	ReasonOther       Reason = "other"
)

// Reasons lists them in the order in which they are exposed.
func Reasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonThrottled, ReasonForbidden, ReasonUnavailable,
		ReasonDecode, ReasonPermission, ReasonOther,
	}
}

// ReasonOf classifies err. What a collector says by its own errors comes before
// what the standard library says.
func ReasonOf(err error) Reason {
	for _, c := range []struct {
		target error
		reason Reason
	}{
		{ErrThrottled, ReasonThrottled},
		{ErrForbidden, ReasonForbidden},
		{ErrDecode, ReasonDecode},
		{ErrUnavailable, ReasonUnavailable},
		{fs.ErrPermission, ReasonPermission},
		{context.DeadlineExceeded, ReasonTimeout},
		{os.ErrDeadlineExceeded, ReasonTimeout},
		{syscall.ETIMEDOUT, ReasonTimeout},
		{syscall.EAGAIN, ReasonTimeout},
		{fs.ErrNotExist, ReasonUnavailable},
		{syscall.ECONNREFUSED, ReasonUnavailable},
		{syscall.ECONNRESET, ReasonUnavailable},
		{syscall.EHOSTUNREACH, ReasonUnavailable},
		{syscall.ENETUNREACH, ReasonUnavailable},
	} {
		if errors.Is(err, c.target) {
			return c.reason
		}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return ReasonTimeout
	}
	return ReasonOther
}
