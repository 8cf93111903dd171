//go:build e2e

package monitoringtest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ack-exporter/e2e/internal/world"
)

const clusterInfoAddress = "127.0.0.1:8080"

// Nodes is what kube-state-metrics, which is another exporter, says of the nodes
// of a cluster, and of the Jobs that renew their certificates.
type Nodes struct {
	nodes, jobs atomic.Pointer[string]
}

// ServeNodes serves what kube-state-metrics would, in a world.
func ServeNodes(t testing.TB, w *world.World, nodes ...string) *Nodes {
	t.Helper()
	n := &Nodes{}
	n.Set(nodes...)
	n.SetRenewalJobs()
	listener, err := w.Listen(t.Context(), clusterInfoAddress)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprint(w, *n.nodes.Load(), *n.jobs.Load())
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return n
}

// Set replaces the nodes. All of them are ready and take pods.
func (n *Nodes) Set(nodes ...string) {
	var b strings.Builder
	fmt.Fprintln(&b, "# TYPE kube_node_info gauge")
	for _, node := range nodes {
		fmt.Fprintf(&b, "kube_node_info{node=%q,kernel_version=\"6.1\",os_image=\"Linux\"} 1\n", node)
	}
	fmt.Fprintln(&b, "# TYPE kube_node_spec_unschedulable gauge")
	for _, node := range nodes {
		fmt.Fprintf(&b, "kube_node_spec_unschedulable{node=%q} 0\n", node)
	}
	fmt.Fprintln(&b, "# TYPE kube_node_status_condition gauge")
	for _, node := range nodes {
		fmt.Fprintf(&b, "kube_node_status_condition{node=%q,condition=\"Ready\",status=\"true\"} 1\n", node)
	}
	text := b.String()
	n.nodes.Store(&text)
}

// RenewalJob is a Job in kube-system. One that has neither completed nor failed runs.
type RenewalJob struct {
	Name              string
	Started           time.Time
	Completed, Failed bool
}

// SetRenewalJobs replaces the Jobs, of which there are none at first. A condition that
// a Job does not have has no series.
func (n *Nodes) SetRenewalJobs(jobs ...RenewalJob) {
	var b strings.Builder
	family := func(name, labels string, value func(RenewalJob) (v int64, ok bool)) {
		fmt.Fprintf(&b, "# TYPE %s gauge\n", name)
		for _, job := range jobs {
			if v, ok := value(job); ok {
				fmt.Fprintf(&b, "%s{namespace=\"kube-system\",job_name=%q%s} %d\n", name, job.Name, labels, v)
			}
		}
	}
	const isTrue = `,condition="true"`
	family("kube_job_status_start_time", "", func(j RenewalJob) (int64, bool) { return j.Started.Unix(), true })
	family("kube_job_complete", isTrue, func(j RenewalJob) (int64, bool) { return 1, j.Completed })
	family("kube_job_failed", isTrue, func(j RenewalJob) (int64, bool) { return 1, j.Failed })
	text := b.String()
	n.jobs.Store(&text)
}

// Target is where it is scraped. Its own labels win over those that Prometheus
// has for the target, as a cluster's configuration must see to.
func (n *Nodes) Target() Endpoint {
	return Endpoint{Address: clusterInfoAddress, Labels: map[string]string{"cluster": Cluster}}
}
