// Package ipvs exposes the host's IPVS: the timeouts that really apply and the
// kernel parameters (Collector), and how many services, destinations and
// connections there are, with the UDP connections that lead nowhere
// (TableCollector).
package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

var (
	familyTimeout = collector.NewGauge("ack_ipvs_timeout_seconds",
		"How long the kernel keeps an idle IPVS connection of this protocol. Packets to a backend that is gone are lost for as long as the udp one; ACK recommends 10 s for it where no Service of the user has UDP ports, and 900 s and 120 s for the others.",
		"protocol")
	familySysctl = collector.NewGauge("ack_ipvs_sysctl",
		"Value of a kernel parameter under net/ipv4/vs in the host's network namespace.",
		"name")
)

// parameters lists the kernel parameters that decide what becomes of connections,
// and what IPVS costs (Documentation/networking/ipvs-sysctl.rst). A kernel that
// lacks one, or gives it another form than one number, has no series for it.
var parameters = []string{
	"cache_bypass", "conn_reuse_mode", "conntrack", "drop_entry", "drop_packet",
	"expire_nodest_conn", "expire_quiescent_template", "nat_icmp_send",
	"run_estimation", "schedule_icmp", "secure_tcp", "sloppy_sctp", "sloppy_tcp",
	"snat_reroute",
}

// Collector reads the timeouts, by one generic netlink request, and the kernel
// parameters. Both belong to the network namespace.
type Collector struct {
	procfs   hostfs.Procfs
	timeouts func(context.Context) (timeouts, error)
}

// New makes a Collector that reads the host's proc file system and asks the
// kernel for the timeouts.
func New(procfs hostfs.Procfs) *Collector {
	return &Collector{procfs: procfs, timeouts: readTimeouts}
}

// Families implements collector.Collector.
func (*Collector) Families() []*collector.Family {
	return []*collector.Family{familyTimeout, familySysctl}
}

// Collect implements collector.Collector. Without CAP_NET_ADMIN the result is
// partial: the kernel tells the timeouts to nobody else. Outside the host's
// network namespace it is collector.ErrUnavailable: the values of a pod, which
// look as plausible, would be a lie about the node.
func (c *Collector) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	host, err := c.procfs.InHostNetwork()
	if err != nil {
		return nil, err
	}
	if err := loaded(c.procfs); err != nil {
		return nil, err
	}
	if !host {
		return nil, fmt.Errorf("the timeouts and parameters of IPVS are those of this pod's network namespace; run the pod with hostNetwork: true: %w", collector.ErrUnavailable)
	}
	metrics, errSysctl := c.sysctls()
	t, errTimeouts := c.timeouts(ctx)
	for _, protocol := range timeoutProtocols {
		if seconds, ok := t[protocol]; ok {
			metrics = append(metrics, familyTimeout.Metric(float64(seconds), string(protocol)))
		}
	}
	return metrics, errors.Join(errTimeouts, errSysctl)
}

// loaded returns collector.ErrNotApplicable where the kernel does not have IPVS,
// or has not loaded it.
func loaded(procfs hostfs.Procfs) error {
	_, err := os.Stat(procfs.Path(servicesFile...))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("IPVS is not loaded: %w", collector.ErrNotApplicable)
	}
	return err
}

func (c *Collector) sysctls() ([]prometheus.Metric, error) {
	var metrics []prometheus.Metric
	var failed []error
	for _, name := range parameters {
		value, err := hostfs.ReadUint(c.procfs.Sysctl("net/ipv4/vs/" + name))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, collector.ErrDecode):
		case err != nil:
			failed = append(failed, err)
		default:
			metrics = append(metrics, familySysctl.Metric(float64(value), name))
		}
	}
	return metrics, errors.Join(failed...)
}
