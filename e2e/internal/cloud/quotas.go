//go:build e2e

package cloud

import (
	"maps"
	"net/http"
	"strconv"
)

// Quota is a quota of a product.
type Quota struct {
	// ProductCode is such as slb, vpc or csk, Code such as slb_quota_instances_num.
	ProductCode, Code, Name string
	// Unit is Count if empty.
	Unit string
	// Category is CommonQuota, FlowControl or WhiteListLabel; empty: CommonQuota.
	Category     string
	Total, Usage float64
	// Unmeasured is a quota whose usage nobody counts: what the API shows is no usage.
	Unmeasured bool
	// Dimensions are such as regionId.
	Dimensions map[string]string
}

func (q Quota) key() string { return QuotaKey(q.ProductCode, q.Code) }

// QuotaKey is the key of a quota in its table.
func QuotaKey(product, code string) string { return product + "/" + code }

func (q Quota) copied() Quota {
	q.Dimensions = maps.Clone(q.Dimensions)
	return q
}

func (q Quota) complete() Quota {
	or(&q.Name, q.Code)
	or(&q.Unit, "Count")
	or(&q.Category, "CommonQuota")
	return q
}

// RequireDimensions has Quota Center refuse questions about a product that name no
// dimension, as it does for some products.
func (c *Cloud) RequireDimensions(product string, require bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dimensions[product] = require
}

func (c *Cloud) quotas() []action {
	product := text("ProductCode").need()
	return []action{
		{quotas, "ListProductQuotas", []parameter{
			product, text("QuotaCategory", "CommonQuota", "FlowControl", "WhiteListLabel"), text("QuotaActionCode"), pairs("Dimensions", 10),
			text("NextToken"), number("MaxResults", 1, 100, 30),
		}, c.listQuotas},
	}
}

// checkDimensions refuses a question that names no dimension where it must.
func (c *Cloud) checkDimensions(q query) error {
	if c.dimensions[q.text("ProductCode")] && len(q.pairs["Dimensions"]) == 0 {
		return refuse(http.StatusBadRequest, "MissingParameter.Dimensions", "The input parameter Dimensions that is mandatory for processing this request is not supplied.")
	}
	return nil
}

func (c *Cloud) listQuotas(q query) (object, error) {
	if err := c.checkDimensions(q); err != nil {
		return nil, err
	}
	category := q.text("QuotaCategory")
	or(&category, "CommonQuota")
	rows := c.Quotas.sorted(func(r Quota) bool {
		return r.ProductCode == q.text("ProductCode") && r.Category == category && q.equal("QuotaActionCode", r.Code) && tagged(r.Dimensions, q.pairs["Dimensions"])
	})
	page, next, err := byToken(q, rows, "MaxResults")
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, r := range page {
		all = append(all, r.object())
	}
	return object{"Quotas": all, "NextToken": next, "MaxResults": q.numbers["MaxResults"], "TotalCount": len(rows)}, nil
}

func (q Quota) object() object {
	usage := q.Usage
	if q.Unmeasured {
		usage = 0
	}
	dimensions := object{}
	for name, value := range q.Dimensions {
		dimensions[name] = value
	}
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	return object{
		"ProductCode": q.ProductCode, "QuotaActionCode": q.Code, "QuotaName": q.Name, "QuotaDescription": q.Name, "QuotaCategory": q.Category,
		"QuotaType": "normal", "QuotaUnit": q.Unit, "TotalQuota": q.Total, "TotalUsage": usage, "Consumable": !q.Unmeasured, "Adjustable": true,
		"GlobalQuota": false, "Dimensions": dimensions, "SupportedRange": []float64{},
		"QuotaItems": []object{{"Quota": text(q.Total), "QuotaUnit": q.Unit, "Type": "BaseQuota", "Usage": text(usage)}},
	}
}
