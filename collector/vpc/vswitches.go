package vpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
	"ack-exporter/internal/eniconfig"
)

// kept is how many addresses of each vSwitch the cloud keeps.
const kept = 4

// vSwitches tells of those of nodes and pods. The listing is of the whole VPC, whose
// other vSwitches are not the cluster's.
func (c *Collector) vSwitches(ctx context.Context, f fleet) ([]prometheus.Metric, error) {
	ofPods, podsErr := c.podVSwitches()
	known, err := c.listVSwitches(ctx, f.vpcs)
	if err != nil {
		return nil, errors.Join(podsErr, err)
	}
	nodes, lost := tell(known, f.vSwitches, useNode)
	if lost == len(f.vSwitches) {
		return nil, errors.Join(podsErr, fmt.Errorf("the API lists none of the %d vSwitches of nodes: %w", lost, collector.ErrForbidden))
	}
	metrics := []prometheus.Metric{familyUnknownVSwitches.Metric(float64(lost), useNode)}
	metrics = append(metrics, nodes...)
	if podsErr != nil {
		return metrics, podsErr
	}
	pods, lost := tell(known, ofPods, usePod)
	metrics = append(metrics, familyUnknownVSwitches.Metric(float64(lost), usePod))
	return append(metrics, pods...), nil
}

// podVSwitches are those of eni-config; without it, as with Flannel, there are none.
func (c *Collector) podVSwitches() (map[string]bool, error) {
	configMaps, err := c.config.ENIConfig.List()
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool)
	for _, m := range configMaps {
		if m.Namespace != eniconfig.Namespace || m.Name != eniconfig.Name {
			continue
		}
		zones, err := eniconfig.PodVSwitches(m)
		if err != nil {
			return nil, err
		}
		for id := range zones {
			ids[id] = true
		}
	}
	return ids, nil
}

// listVSwitches lists those of all VPCs, by id.
func (c *Collector) listVSwitches(ctx context.Context, vpcs []string) (map[string]aliyun.VSwitch, error) {
	known := make(map[string]aliyun.VSwitch)
	for _, vpc := range vpcs {
		list, err := aliyun.VSwitches(ctx, c.config.API, vpc)
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			known[v.ID] = v
		}
	}
	return known, nil
}

// tell says what is known of the vSwitches with these ids, and of how many it is not
// how many addresses are free.
func tell(known map[string]aliyun.VSwitch, ids map[string]bool, use string) (metrics []prometheus.Metric, unknown int) {
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		v, ok := known[id]
		if !ok || v.Available == nil || *v.Available < 0 {
			unknown++
			continue
		}
		metrics = append(metrics, familyAvailable.Metric(float64(*v.Available), id, v.ZoneID, use))
		if n := addresses(v.CIDR); n > 0 {
			metrics = append(metrics, familyAddresses.Metric(n, id, v.ZoneID, use))
		}
	}
	return metrics, unknown
}

// addresses is how many a vSwitch with this block can give away, and 0 where that
// cannot be told.
func addresses(cidr string) float64 {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil || !prefix.Addr().Is4() {
		return 0
	}
	return max(0, math.Exp2(float64(32-prefix.Bits()))-kept)
}
