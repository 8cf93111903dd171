package slb

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ack-exporter/internal/aliyun"
)

// The quotas, by the names that their metrics have.
const (
	quotaInstances          = "instances"
	quotaListeners          = "listeners"
	quotaBackendServers     = "backend_servers"
	quotaBackendAttachments = "backend_attachments"
)

// Where a limit comes from.
const (
	sourceQuotaCenter = "quota_center"
	sourceFlag        = "flag"
	sourceDefault     = "default"
)

const (
	productSLB = "slb"
	// limitsMemory is how long limits are believed that Quota Center told: they change by
	// request only, and others in their place could raise or end an alert.
	limitsMemory = time.Hour
)

// quota is one quota: the code that the API and the documentation use, and what the
// documentation says it is unless somebody asked for more.
type quota struct {
	name, code string
	value      float64
}

// quotas lists them.
func quotas() []quota {
	return []quota{
		{quotaInstances, "slb_quota_instances_num", 60},
		{quotaListeners, "slb_quota_listeners_num", 50},
		{quotaBackendServers, "slb_quota_backendservers_num", 200},
		{quotaBackendAttachments, "slb_quota_backendserver_attached_num", 50},
	}
}

// Limits are limits of quotas by their codes.
type Limits map[string]float64

// ParseLimits reads what a flag says. An error names the code.
func ParseLimits(given map[string]string) (Limits, error) {
	limits := make(Limits)
	for code, text := range given {
		if !slices.Contains(codes(), code) {
			return nil, fmt.Errorf("%s: no such quota; there are %s", code, strings.Join(codes(), ", "))
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || !usable(value) {
			return nil, fmt.Errorf("%s=%s: not a limit", code, text)
		}
		limits[code] = value
	}
	return limits, nil
}

func codes() []string {
	var list []string
	for _, q := range quotas() {
		list = append(list, q.code)
	}
	return list
}

// usable tells whether a limit can be one.
func usable(limit float64) bool { return limit > 0 && limit <= math.MaxInt32 }

// limit is a limit and where it comes from.
type limit struct {
	value  float64
	source string
}

// quotaReader knows the limits.
type quotaReader struct {
	api    aliyun.API
	region string
	flags  Limits
	now    func() time.Time

	told   Limits
	toldAt time.Time
}

// read tells the limit of each quota by its name: what Quota Center says, else the flag,
// else what the documentation says. usage is what Quota Center counts, where it does.
//
// That Quota Center does not answer is an error only where the documentation had to do.
func (r *quotaReader) read(ctx context.Context) (limits map[string]limit, usage map[string]float64, err error) {
	usage = make(map[string]float64)
	list, err := aliyun.ProductQuotas(ctx, r.api, productSLB, r.region)
	if err == nil {
		r.told, r.toldAt = make(Limits), r.now()
		for _, q := range quotas() {
			r.note(q, list, usage)
		}
	} else if r.now().Sub(r.toldAt) > limitsMemory {
		r.told = nil
	}
	limits = make(map[string]limit)
	missing := false
	for _, q := range quotas() {
		limits[q.name] = r.limit(q)
		missing = missing || limits[q.name].source == sourceDefault
	}
	if err != nil && missing {
		return limits, usage, fmt.Errorf("quotas, in place of which the documented defaults count: %w", err)
	}
	return limits, usage, nil
}

// note finds a quota in what Quota Center told. Of several it is that of the region.
func (r *quotaReader) note(q quota, list []aliyun.Quota, usage map[string]float64) {
	for _, told := range list {
		region := told.Dimensions["regionId"]
		if told.Code != q.code || region != "" && region != r.region {
			continue
		}
		_, before := r.told[q.code]
		if told.Total == nil || !usable(float64(*told.Total)) || before && region == "" {
			continue
		}
		r.told[q.code] = float64(*told.Total)
		delete(usage, q.name)
		if used, ok := told.Usage(); ok {
			usage[q.name] = used
		}
	}
}

func (r *quotaReader) limit(q quota) limit {
	if value, ok := r.told[q.code]; ok {
		return limit{value, sourceQuotaCenter}
	}
	if value, ok := r.flags[q.code]; ok {
		return limit{value, sourceFlag}
	}
	return limit{q.value, sourceDefault}
}
