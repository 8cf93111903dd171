package vpc

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
)

const (
	quotaProduct = "vpc"
	quotaCode    = "vpc_quota_route_entrys_num" // spelt like that
	quotaRegion  = "regionId"
	// defaultRouteEntries is documented. It was 48 until 2022, which old accounts can have.
	defaultRouteEntries = 200
	hopInstance         = "Instance"
)

// limit is how many custom entries a route table can have; 0 is unknown.
type limit struct {
	entries float64
	source  string
}

func (l limit) metrics() []prometheus.Metric {
	if l.entries == 0 {
		return nil
	}
	return []prometheus.Metric{familyRouteLimit.Metric(l.entries, l.source)}
}

// limit asks Quota Center. Where that fails for now, what it said before still holds:
// another number would be wrong. The default takes the place of an answer only where
// none is to be had.
func (c *Collector) limit(ctx context.Context) (limit, error) {
	quotas, err := aliyun.ProductQuotas(ctx, c.config.API, quotaProduct, c.config.Region)
	if err == nil {
		c.quota = routeQuota(quotas, c.config.Region)
	}
	switch {
	case c.quota > 0 && !errors.Is(err, collector.ErrForbidden):
		return limit{c.quota, "quota_center"}, err
	case c.config.RouteEntries > 0:
		return limit{float64(c.config.RouteEntries), "flag"}, err
	case err != nil && !errors.Is(err, collector.ErrForbidden):
		return limit{}, err
	default:
		return limit{defaultRouteEntries, "default"}, err
	}
}

// routeQuota is the quota of custom entries, the least where there are several of the
// region, and 0 where there is none.
func routeQuota(quotas []aliyun.Quota, region string) float64 {
	least := 0.0
	for _, q := range quotas {
		if where := q.Dimensions[quotaRegion]; q.Code != quotaCode || q.Total == nil || where != "" && where != region {
			continue
		}
		total := float64(*q.Total)
		if total > 0 && !math.IsInf(total, 0) && (least == 0 || total < least) {
			least = total
		}
	}
	return least
}

// routes tells of each route table whose entries can be listed.
func (c *Collector) routes(ctx context.Context, f fleet, l limit) ([]prometheus.Metric, error) {
	var metrics []prometheus.Metric
	var errs []error
	told := make(map[string]bool)
	for _, vpc := range f.vpcs {
		tables, err := aliyun.RouteTables(ctx, c.config.API, vpc)
		if err == nil && len(tables) == 0 {
			// Each VPC has one.
			err = fmt.Errorf("the API lists no route table of %s: %w", vpc, collector.ErrForbidden)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, table := range tables {
			if told[table.ID] {
				continue
			}
			told[table.ID] = true
			entries, err := aliyun.CustomRoutes(ctx, c.config.API, table.ID)
			if err != nil {
				errs = append(errs, fmt.Errorf("route table %s: %w", table.ID, err))
				continue
			}
			metrics = append(metrics, f.tell(table.ID, entries, l)...)
		}
	}
	return metrics, errors.Join(errs...)
}

func (f fleet) tell(table string, entries []aliyun.RouteEntry, l limit) []prometheus.Metric {
	count := float64(len(entries))
	metrics := []prometheus.Metric{familyRouteEntries.Metric(count, table)}
	if l.entries > 0 && f.hasRouteIn(entries) {
		metrics = append(metrics, familyHeadroom.Metric(max(0, l.entries-count), table))
	}
	return metrics
}

// hasRouteIn tells whether an entry leads to a node of the cluster.
func (f fleet) hasRouteIn(entries []aliyun.RouteEntry) bool {
	for _, e := range entries {
		for _, hop := range e.NextHops.NextHop {
			if hop.Type == hopInstance && f.instances[hop.ID] {
				return true
			}
		}
	}
	return false
}
