// Package instance tells what Alibaba Cloud has in store for the ECS instances that
// nodes are. On a node, Metadata asks the metadata service when a spot instance will be
// reclaimed. Of the whole cluster, Nodes asks the API of the cloud how each instance is
// and when it ends, and Conditions shows what the node problem detector has found.
package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
	"ack-exporter/internal/metadata"
)

var (
	familyNotice = collector.NewGauge("ack_spot_interruption_notice",
		"Whether the metadata service announces that this instance will be reclaimed. 1 stays until the time of termination where the service does not answer any more. Absent where it is not known.")
	familyTermination = collector.NewGauge("ack_spot_termination_timestamp_seconds",
		"When this instance will be reclaimed, in Unix time. Only with a notice, which comes about 5 minutes before.")
	familyMetadata = collector.NewGauge("ack_instance_metadata_info",
		"The instance that the node is, by its metadata. The value is 1.",
		"instance_id", "instance_type", "region", "zone")
)

const (
	// pollShare is the part of the time of a refresh in which the service has to
	// answer: what is known of a notice must be told in time.
	pollShare = 0.8
	// maxLate is how long after its time a notice is believed that the service still
	// has: clocks differ, and the release can be late. Later it is left over.
	maxLate = 15 * time.Minute
)

// MetadataConfig says whom a Metadata asks, and whether.
type MetadataConfig struct {
	Client *metadata.Client
	// Sysfs tells whether the host is an ECS instance. Elsewhere nothing is sent.
	Sysfs hostfs.Sysfs
	// Anywhere: the service is asked wherever the host is.
	Anywhere bool
}

// Metadata polls the metadata service.
type Metadata struct {
	config MetadataConfig
	last   metadata.Snapshot // the last one of which the notice was known; Collect's alone
}

// NewMetadata makes a Metadata.
func NewMetadata(config MetadataConfig) (*Metadata, error) {
	if config.Client == nil {
		return nil, errors.New("no client of the metadata service")
	}
	return &Metadata{config: config}, nil
}

// Families implements collector.Collector.
func (*Metadata) Families() []*collector.Family {
	return []*collector.Family{familyNotice, familyTermination, familyMetadata}
}

// Collect implements collector.Collector. It is not applicable outside ECS. Where
// the service does not answer, a notice that is not over yet is a partial result.
func (c *Metadata) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	if err := c.applicable(); err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(pollShare*float64(time.Until(deadline))))
		defer cancel()
	}
	s, err := c.config.Client.Poll(ctx)
	return metrics(c.judge(s, time.Now())), err
}

func (c *Metadata) applicable() error {
	if c.config.Anywhere {
		return nil
	}
	ecs, err := c.config.Sysfs.IsECS()
	if err == nil && !ecs {
		err = fmt.Errorf("not an ECS instance: %w", collector.ErrNotApplicable)
	}
	return err
}

// judge is what s says, and where it does not know of a notice, what was said before
// for as long as that is not over.
func (c *Metadata) judge(s metadata.Snapshot, now time.Time) metadata.Snapshot {
	if s.Known {
		if now.Sub(s.Termination) > maxLate {
			s.Termination = time.Time{}
		}
		c.last = s
		return s
	}
	if !now.Before(c.last.Termination) {
		return s
	}
	s.Known, s.Termination = true, c.last.Termination
	if !s.Instance.Complete() {
		s.Instance = c.last.Instance
	}
	return s
}

func metrics(s metadata.Snapshot) []prometheus.Metric {
	var list []prometheus.Metric
	if s.Known {
		list = append(list, familyNotice.Metric(collector.Bool(!s.Termination.IsZero())))
	}
	if !s.Termination.IsZero() {
		list = append(list, familyTermination.Metric(float64(s.Termination.Unix())))
	}
	if i := s.Instance; i.Complete() {
		list = append(list, familyMetadata.Metric(1, i.ID, i.Type, i.Region, i.Zone))
	}
	return list
}
