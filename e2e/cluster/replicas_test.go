//go:build e2e

package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
)

const (
	// A lease is over so long after it was renewed, and a replica looks so often.
	leaseDuration = 15 * time.Second
	leaseRetry    = 2 * time.Second
	// slack is for a machine that is busy with something else.
	slack = 8 * time.Second

	replicaInterval = 2 * time.Second
	// maxAge is how long a snapshot is shown while no refresh succeeds.
	maxAge = 3 * replicaInterval
)

// TestReplicas has one of two replicas lead, in turns.
func TestReplicas(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	putNodes(t, c, 2)
	c.Put(t, dnsDeployment(2), corefileMap(cluster.DefaultCorefile), proxyMap(proxyConfig("300s")))
	flags := every(replicaInterval)
	a := run(t, c, "replica-a", firstAddress, flags...)
	awaitLeader(t, a)
	b := run(t, c, "replica-b", secondAddress, flags...)
	awaitStandby(t, b)
	requireIdle(t, c, b)

	t.Log("the leader is killed")
	killed := time.Now()
	a.Kill(t)
	awaitLeader(t, b)
	// It knew of the last renewal, which was retry before the end at the most.
	requireTook(t, killed, leaseDuration-2*leaseRetry, leaseDuration+leaseRetry+slack)
	a.start(t, flags...)
	awaitStandby(t, a)
	requireLeaseOf(t, c, b)

	t.Log("the leader is told to stop")
	stopped := time.Now()
	b.stop(t)
	requireLeaseOf(t, c, nil)
	awaitLeader(t, a)
	requireTook(t, stopped, 0, 2*leaseRetry+slack/2)
	b.start(t, flags...)
	awaitStandby(t, b)

	t.Log("the leader is cut off from the API server")
	cut := time.Now()
	a.link.Cut(t)
	twice := watchBoth(t, a, b, cut)
	if bound := maxAge + slack/2; twice > bound {
		t.Errorf("both replicas exported the series of the cluster for %s; more than %s", twice, bound)
	}
	a.link.Restore(t)
	awaitStandby(t, a)
	requireLeaseOf(t, c, b)
	requireRights(t, c, false)
}

func awaitLeader(t testing.TB, r *replica) {
	t.Helper()
	r.Await(t, patience, func(m exporter.Metrics) error {
		return errors.Join(m.Expect(1, "ack_exporter_leader"), exportsCluster(m))
	})
}

// awaitStandby waits until the replica knows that another one leads.
func awaitStandby(t testing.TB, r *replica) {
	t.Helper()
	r.AwaitReady(t, patience)
	r.Await(t, patience, func(m exporter.Metrics) error {
		errs := []error{m.Expect(0, "ack_exporter_leader"), absent(m, "ack_coredns_replicas", "ack_kubeproxy_services")}
		for _, name := range collectors() {
			errs = append(errs, notApplicable(m, name))
		}
		return errors.Join(errs...)
	})
}

// exportsCluster is nil where there are series of the cluster.
func exportsCluster(m exporter.Metrics) error {
	return errors.Join(m.Expect(2, "ack_coredns_replicas", "state", "desired"), m.Expect(1, "ack_kubeproxy_services"))
}

func requireTook(t testing.TB, since time.Time, from, to time.Duration) {
	t.Helper()
	took := time.Since(since)
	t.Logf("the other one took over after %s", took.Round(time.Millisecond))
	if took < from || took > to {
		t.Errorf("that is not between %s and %s", from, to)
	}
}

// requireIdle fails where a standby has asked for anything but the lease.
func requireIdle(t testing.TB, c *clustertest.Cluster, r *replica) {
	t.Helper()
	asked := 0
	for _, q := range c.Requests(t, exporterUser) {
		if q.From != r.address {
			continue
		}
		asked++
		if q.Resource != "leases" || q.Verb != "get" {
			t.Errorf("a standby asks for %s", q)
		}
	}
	if asked == 0 {
		t.Errorf("nothing of %s is in the audit log", r.address)
	}
}

// requireLeaseOf fails where somebody else holds the lease; nil is nobody.
func requireLeaseOf(t testing.TB, c *clustertest.Cluster, r *replica) {
	t.Helper()
	want := ""
	if r != nil {
		want = r.name
	}
	lease, err := c.Client().CoordinationV1().Leases(namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if holder := lease.Spec.HolderIdentity; holder == nil || *holder != want {
		t.Errorf("the lease is of %v, not of %q", holder, want)
	}
}

// watchBoth scrapes both replicas until only the second one exports the cluster, and
// says for how long both did. Meanwhile they must not both say that they lead.
func watchBoth(t testing.TB, a, b *replica, since time.Time) (twice time.Duration) {
	t.Helper()
	const pace = 100 * time.Millisecond
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var began time.Time
	for time.Since(since) < patience {
		<-tick.C
		ma, mb := scrape(t, a), scrape(t, b)
		if ma.Expect(1, "ack_exporter_leader") == nil && mb.Expect(1, "ack_exporter_leader") == nil {
			t.Fatalf("both lead, %s after the cut", time.Since(since))
		}
		first, second := exportsCluster(ma) == nil, exportsCluster(mb) == nil
		if first && second && began.IsZero() {
			began = time.Now()
		}
		if first || !second {
			continue
		}
		if !began.IsZero() {
			twice = time.Since(began)
		}
		t.Logf("after %s only the new leader exports the cluster; both did for %s", time.Since(since).Round(time.Millisecond), twice.Round(pace))
		requireFailing(t, ma)
		return twice
	}
	t.Fatalf("nobody took over within %s", patience)
	return 0
}

// requireFailing fails where a replica that is cut off does not say so.
func requireFailing(t testing.TB, m exporter.Metrics) {
	t.Helper()
	var errs []error
	for _, name := range []string{"coredns", "kubeproxy"} {
		if err := fails(m, name); err != nil {
			errs = append(errs, err)
		}
		if failures(m, name, "unavailable")+failures(m, name, "timeout") == 0 {
			errs = append(errs, fmt.Errorf("collector %s has not failed for lack of an API server", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Error(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

func scrape(t testing.TB, r *replica) exporter.Metrics {
	t.Helper()
	m, err := r.Scrape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}
