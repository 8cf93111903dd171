//go:build e2e

package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/internal/aliyun"
)

// everything is a policy that allows all actions.
const everything = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// parameters are those of one call.
type parameters = map[string]any

func action(product aliyun.Product, name string) aliyun.Action {
	return aliyun.Action{Product: product, Name: name}
}

// TestParameters asks questions that the API refuses, and some at their limits.
func TestParameters(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{Policy: []byte(everything)})
	fill(c)
	c.Instances.Set(cloud.Instance{ID: "i-postpaid"})
	client := newClient(t, c, host, withKey())
	ids := func(n int) string {
		b, err := json.Marshal(names("i-%03d", n))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const (
		invalid = "InvalidParameter"
		missing = "MissingParameter"
	)
	for _, test := range []struct {
		action     aliyun.Action
		parameters parameters
		want       string
	}{
		{action(aliyun.ECS, "DescribeInstances"), parameters{"InstanceIds": ids(100), "MaxResults": 100}, ""},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"InstanceIds": ids(101)}, invalid},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"InstanceIds": "i-000,i-001"}, "InvalidInstanceIds.Malformed"},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"InstanceId": "i-000"}, invalid},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"MaxResults": "many"}, invalid},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"RegionId": ""}, missing},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"RegionId": "cn-other"}, "InvalidRegionId.NotFound"},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"DryRun": "true"}, "DryRunOperation"},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"NextToken": "t"}, "InvalidParameter.NextToken"},
		{action(aliyun.ECS, "DescribeInstanceAutoRenewAttribute"), parameters{}, "MissingParameter.InstanceId"},
		{action(aliyun.ECS, "DescribeInstanceAutoRenewAttribute"), parameters{"InstanceId": strings.Join(names("i-%03d", 101), ",")}, invalid},
		{action(aliyun.ECS, "DescribeInstanceAutoRenewAttribute"), parameters{"InstanceId": "i-postpaid"}, "ChargeTypeViolation"},
		{action(aliyun.ECS, "DescribeInstanceAutoRenewAttribute"), parameters{"InstanceId": "i-gone"}, "InvalidInstanceId.NotFound"},
		{action(aliyun.ECS, "DescribeInstancesFullStatus"), parameters{"InstanceId": names("i-%03d", 100), "PageSize": 100}, ""},
		{action(aliyun.ECS, "DescribeInstancesFullStatus"), parameters{"InstanceId": names("i-%03d", 101)}, invalid},
		{action(aliyun.ECS, "DescribeInstancesFullStatus"), parameters{"PageSize": 101}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancers"), parameters{"PageNumber": 1, "PageSize": 100}, ""},
		{action(aliyun.SLB, "DescribeLoadBalancers"), parameters{"PageNumber": 1}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancers"), parameters{"PageSize": 100}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancers"), parameters{"PageNumber": 1, "PageSize": 101}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancers"), parameters{"LoadBalancerId": strings.Join(names("lb-%03d", 11), ",")}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancerListeners"), parameters{"LoadBalancerId": names("lb-%03d", 10), "MaxResults": 100}, ""},
		{action(aliyun.SLB, "DescribeLoadBalancerListeners"), parameters{"LoadBalancerId": names("lb-%03d", 11)}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancerListeners"), parameters{"LoadBalancerId": "lb-000,lb-001"}, invalid},
		{action(aliyun.SLB, "DescribeLoadBalancerListeners"), parameters{"MaxResults": 101}, invalid},
		{action(aliyun.SLB, "DescribeVServerGroups"), parameters{}, missing},
		{action(aliyun.SLB, "DescribeVServerGroups"), parameters{"LoadBalancerId": crowded, "PageSize": 10}, invalid},
		{action(aliyun.SLB, "DescribeVServerGroupAttribute"), parameters{"VServerGroupId": "rsp-gone"}, invalid},
		{action(aliyun.SLB, "DescribeAccessControlListAttribute"), parameters{"AclId": "acl-gone"}, "AclNotExist"},
		{action(aliyun.SLB, "DescribeAccessControlListAttribute"), parameters{"AclId": longACLID, "Page": 3, "PageSize": 50}, ""},
		{action(aliyun.SLB, "DescribeAccessControlListAttribute"), parameters{"AclId": longACLID, "PageNumber": 3}, invalid},
		{action(aliyun.SLB, "DescribeAccessControlListAttribute"), parameters{"AclId": longACLID, "PageSize": 51}, invalid},
		{action(aliyun.VPC, "DescribeRouteTableList"), parameters{"PageSize": 51}, invalid},
		{action(aliyun.VPC, "DescribeVSwitches"), parameters{"PageSize": 50}, ""},
		{action(aliyun.VPC, "DescribeVSwitches"), parameters{"PageSize": 51}, invalid},
		{action(aliyun.VPC, "DescribeRouteEntryList"), parameters{"RouteTableId": tableID, "MaxResult": 100}, ""},
		{action(aliyun.VPC, "DescribeRouteEntryList"), parameters{"RouteTableId": tableID, "MaxResults": 100}, invalid},
		{action(aliyun.VPC, "DescribeRouteEntryList"), parameters{"MaxResult": 100}, missing},
		{action(aliyun.Quotas, "ListProductQuotas"), parameters{"MaxResults": 100}, missing},
		{action(aliyun.Quotas, "ListProductQuotas"), parameters{"ProductCode": "slb", "MaxResults": 200}, invalid},
		{action(aliyun.Quotas, "ListProductQuotas"), parameters{"ProductCode": "slb", "RegionId": c.Region()}, invalid},
		{action(aliyun.SLB, "DescribeSlbQuotas"), parameters{}, "InvalidAction.NotFound"},
	} {
		var answer struct{}
		err := client.Call(t.Context(), test.action, test.parameters, &answer)
		failed, ok := errors.AsType[*aliyun.Error](err)
		if test.want == "" && err != nil || test.want != "" && (!ok || failed.Code != test.want) {
			t.Errorf("%s %v: %v, not code %q", test.action.Name, test.parameters, err, test.want)
		}
	}
}

// page is what the sizes of pages are told by.
type page struct {
	NextToken     string
	TotalCount    int
	Instances     struct{ Instance []struct{} }
	Listeners     []struct{}
	Quotas        []struct{}
	RouteEntrys   struct{ RouteEntry []struct{} }
	LoadBalancers struct{ LoadBalancer []struct{} }
}

func (p page) rows() int {
	return len(p.Instances.Instance) + len(p.Listeners) + len(p.Quotas) + len(p.RouteEntrys.RouteEntry) + len(p.LoadBalancers.LoadBalancer)
}

// TestPageSizes looks at pages of the sizes that are not asked for.
func TestPageSizes(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	fill(c)
	client := newClient(t, c, host, withKey())
	for _, test := range []struct {
		action      aliyun.Action
		parameters  parameters
		rows, total int
	}{
		{action(aliyun.ECS, "DescribeInstances"), parameters{"MaxResults": 1}, 10, 0},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"MaxResults": 1000}, 100, 0},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"PageSize": 50}, 50, rows},
		{action(aliyun.ECS, "DescribeInstances"), parameters{"InstanceIds": "[]"}, 0, 0},
		{action(aliyun.SLB, "DescribeLoadBalancerListeners"), parameters{}, 20, rows},
		{action(aliyun.VPC, "DescribeRouteEntryList"), parameters{"RouteTableId": tableID}, 10, 0},
		{action(aliyun.Quotas, "ListProductQuotas"), parameters{"ProductCode": "slb"}, 30, rows + 1},
	} {
		var got page
		if err := client.Call(t.Context(), test.action, test.parameters, &got); err != nil || got.rows() != test.rows || got.TotalCount != test.total {
			t.Errorf("%s %v: %d rows, in total %d, %v", test.action.Name, test.parameters, got.rows(), got.TotalCount, err)
		}
	}
}

// TestTokensAreBound uses the token of one query for another.
func TestTokensAreBound(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	fill(c)
	client := newClient(t, c, host, withKey())
	listeners := action(aliyun.SLB, "DescribeLoadBalancerListeners")
	var first, second page
	if err := client.Call(t.Context(), listeners, parameters{"LoadBalancerId": []string{crowded}}, &first); err != nil || first.NextToken == "" {
		t.Fatalf("token %q, %v", first.NextToken, err)
	}
	if err := client.Call(t.Context(), listeners, parameters{"LoadBalancerId": []string{crowded}, "NextToken": first.NextToken}, &second); err != nil {
		t.Error(err)
	}
	for _, other := range []parameters{
		{"LoadBalancerId": []string{"lb-001"}, "NextToken": first.NextToken},
		{"NextToken": first.NextToken},
		{"LoadBalancerId": []string{crowded}, "NextToken": first.NextToken + "A"},
	} {
		if err := client.Call(t.Context(), listeners, other, &second); err == nil {
			t.Errorf("the token is taken for %v", other)
		}
	}
}

// TestRegionOfQuotas has Quota Center ask for the region, which it does for some
// products.
func TestRegionOfQuotas(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{})
	c.Quotas.Set(cloud.Quota{ProductCode: "slb", Code: quotaCode, Total: 60, Usage: 12, Dimensions: map[string]string{"regionId": c.Region()}})
	c.Quotas.Set(cloud.Quota{ProductCode: "slb", Code: "unmeasured", Total: 50, Unmeasured: true, Dimensions: map[string]string{"regionId": c.Region()}})
	c.RequireDimensions("slb", true)
	client := newClient(t, c, host, withKey())
	all, err := aliyun.ProductQuotas(t.Context(), client, "slb", c.Region())
	if err != nil || len(all) != 2 {
		t.Fatalf("%d quotas, %v", len(all), err)
	}
	one := all[0]
	if usage, ok := one.Usage(); !ok || usage != 12 || one.Total == nil || *one.Total != 60 {
		t.Errorf("got %+v", one)
	}
	if _, ok := all[1].Usage(); ok || all[1].Code != "unmeasured" {
		t.Errorf("a usage that nobody counts: %+v", all[1])
	}
	if other, err := aliyun.ProductQuotas(t.Context(), client, "slb", "cn-other"); err != nil || len(other) != 0 {
		t.Errorf("of another region: %v, %v", other, err)
	}
	c.RequireDimensions("slb", false)
	before := c.Count("quotas:ListProductQuotas")
	if _, err := aliyun.ProductQuotas(t.Context(), client, "slb", c.Region()); err != nil || c.Count("quotas:ListProductQuotas") != before+1 {
		t.Error(fmt.Errorf("without: %w", err))
	}
}

// TestAccessList reads an access control list.
func TestAccessList(t *testing.T) {
	t.Parallel()
	c, host := cloudtest.Start(t, cloud.Config{Policy: []byte(everything)})
	fill(c)
	client := newClient(t, c, host, withKey())
	var got struct {
		ID      string `json:"AclId"`
		Entries struct {
			Entry []struct {
				IP string `json:"AclEntryIP"`
			} `json:"AclEntry"`
		} `json:"AclEntrys"`
		Related struct {
			Listener []struct {
				LoadBalancerID string `json:"LoadBalancerId"`
				ListenerPort   int
				Type           string `json:"AclType"`
			} `json:"RelatedListener"`
		} `json:"RelatedListeners"`
	}
	if err := client.Call(t.Context(), action(aliyun.SLB, "DescribeAccessControlListAttribute"), parameters{"AclId": aclID}, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != aclID || len(got.Entries.Entry) != 1 || got.Entries.Entry[0].IP != "192.0.2.0/24" || len(got.Related.Listener) != rows ||
		got.Related.Listener[0].Type != "white" {
		t.Errorf("got %+v", got)
	}
}
