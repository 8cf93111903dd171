package kube

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// leases is the resource.
const leases = "leases"

// lease is one Lease as one replica sees it, in the protocol of client-go's leader
// election: who holds it must renew it, and whoever has not seen it change for its
// duration, by his own clock, may take it.
type lease struct {
	client          rest.Interface
	namespace, name string
	identity        string

	seen   coordinationv1.LeaseSpec
	seenAt time.Time
}

// try takes or renews the lease where that is allowed. holder is who has it now;
// it is empty after an error.
func (l *lease) try(ctx context.Context) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewDeadline/2)
	defer cancel()
	var current coordinationv1.Lease
	err = l.client.Get().Namespace(l.namespace).Resource(leases).Name(l.name).Do(ctx).Into(&current)
	if apierrors.IsNotFound(err) {
		return l.create(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("read the lease: %w", err)
	}
	l.look(current.Spec)
	if other := holderOf(current.Spec); other != "" && other != l.identity && time.Since(l.seenAt) < l.duration() {
		return other, nil
	}
	current.Spec = l.next(current.Spec)
	// The version of what was read goes with it: of two replicas one is refused.
	err = l.client.Put().Namespace(l.namespace).Resource(leases).Name(l.name).Body(&current).Do(ctx).Into(&current)
	if err != nil {
		return "", fmt.Errorf("write the lease: %w", err)
	}
	l.look(current.Spec)
	return l.identity, nil
}

func (l *lease) create(ctx context.Context) (holder string, err error) {
	made := coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: l.name},
		Spec:       l.next(coordinationv1.LeaseSpec{}),
	}
	err = l.client.Post().Namespace(l.namespace).Resource(leases).Body(&made).Do(ctx).Into(&made)
	if err != nil {
		return "", fmt.Errorf("make the lease: %w", err)
	}
	l.look(made.Spec)
	return l.identity, nil
}

// release gives the lease back, so that nobody has to wait until it is over.
func (l *lease) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retryPeriod)
	defer cancel()
	var current coordinationv1.Lease
	err := l.client.Get().Namespace(l.namespace).Resource(leases).Name(l.name).Do(ctx).Into(&current)
	if err != nil || holderOf(current.Spec) != l.identity {
		return err
	}
	current.Spec.HolderIdentity = new("")
	current.Spec.LeaseDurationSeconds = new(int32(1))
	current.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	return l.client.Put().Namespace(l.namespace).Resource(leases).Name(l.name).Body(&current).Do(ctx).Error()
}

// look notes when the lease changed. The clocks of others count for nothing.
func (l *lease) look(spec coordinationv1.LeaseSpec) {
	if holderOf(spec) != holderOf(l.seen) || !spec.RenewTime.Equal(l.seen.RenewTime) || l.seenAt.IsZero() {
		l.seen, l.seenAt = spec, time.Now()
	}
}

// duration is how long the lease holds for whoever has it.
func (l *lease) duration() time.Duration {
	if l.seen.LeaseDurationSeconds == nil {
		return leaseDuration
	}
	return time.Duration(*l.seen.LeaseDurationSeconds) * time.Second
}

// next is the lease with this replica as its holder.
func (l *lease) next(spec coordinationv1.LeaseSpec) coordinationv1.LeaseSpec {
	now := &metav1.MicroTime{Time: time.Now()}
	if holderOf(spec) != l.identity {
		transitions := int32(0)
		if spec.LeaseTransitions != nil {
			transitions = *spec.LeaseTransitions + 1
		}
		spec.LeaseTransitions, spec.AcquireTime = &transitions, now
	}
	spec.HolderIdentity = &l.identity
	spec.LeaseDurationSeconds = new(int32(leaseDuration / time.Second))
	spec.RenewTime = now
	return spec
}

func holderOf(spec coordinationv1.LeaseSpec) string {
	if spec.HolderIdentity == nil {
		return ""
	}
	return *spec.HolderIdentity
}
