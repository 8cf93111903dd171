package aliyun

import (
	"context"
	"errors"
	"strings"
)

const quotaPage = 100

// Quota is one quota of a product.
type Quota struct {
	ProductCode string
	// Code is the name that documents use, such as slb_quota_instances_num.
	Code string `json:"QuotaActionCode"`
	Name string `json:"QuotaName"`
	Unit string `json:"QuotaUnit"`
	// Total is nil where the API does not tell.
	Total      *Number `json:"TotalQuota"`
	TotalUsage *Number
	Consumable Flag
	// Dimensions say what the quota is about, such as regionId.
	Dimensions map[string]string
}

// Usage is how much of the quota is used, and false where nobody counts it: the API
// shows a number there all the same.
func (q Quota) Usage() (float64, bool) {
	if !q.Consumable || q.TotalUsage == nil {
		return 0, false
	}
	return float64(*q.TotalUsage), true
}

type quotasPage struct {
	NextToken  string
	TotalCount *Integer
	Quotas     []Quota
}

func (p *quotasPage) next() string { return p.NextToken }

func (p *quotasPage) rows() ([]Quota, bool) {
	return p.Quotas, p.Quotas != nil || p.TotalCount != nil && *p.TotalCount == 0
}

// ProductQuotas lists the quotas of a product, such as slb, vpc, ecs or csk, 100 in a
// call. region is named only where the product asks for it.
func ProductQuotas(ctx context.Context, api API, productCode, region string) ([]Quota, error) {
	parameters := map[string]any{"ProductCode": productCode, "MaxResults": quotaPage}
	list, err := byToken[Quota, quotasPage](ctx, api, listProductQuotas, parameters)
	if wantsDimensions(err) {
		return byToken[Quota, quotasPage](ctx, api, listProductQuotas, with(parameters, "Dimensions", inRegion(region)))
	}
	return list, err
}

func wantsDimensions(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	return ok && strings.HasPrefix(refused.Code, "MissingParameter")
}

func inRegion(region string) []map[string]any {
	return []map[string]any{{"Key": "regionId", "Value": region}}
}
