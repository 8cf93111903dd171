// Package aliyun asks the OpenAPI of Alibaba Cloud: load balancers, instances, routes
// and quotas of one region, read-only.
//
// A Client signs, paces, bounds and counts requests; the functions of the products
// know the parameters, the pages and the shapes of the answers. What a function
// returns is complete, or it is an error.
package aliyun

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"ack-exporter/collector"
)

// API is what the functions of the products need of a Client.
type API interface {
	// Call makes one call and decodes the answer into out. A slice among the
	// parameters becomes Name.1, Name.2 and so on, and a map in it Name.1.Key.
	// The region is added where the product wants it.
	Call(ctx context.Context, action Action, parameters map[string]any, out any) error
}

// ErrNoCredentials is of a collector that has no API to ask, since there are no
// credentials for it. It is a kind of collector.ErrNotApplicable.
var ErrNoCredentials = fmt.Errorf("there are no credentials for the API of the cloud: %w", collector.ErrNotApplicable)

// Product is one of the products whose API is asked.
type Product string

// The products.
const (
	ECS    Product = "ecs"
	SLB    Product = "slb"
	VPC    Product = "vpc"
	Quotas Product = "quotas"
	// sts and metadata are where credentials come from.
	sts      Product = "sts"
	metadata Product = "metadata"
)

// Action is one call that a product has.
type Action struct {
	Product Product
	Name    string
}

// The calls that the exporter can make; there are no others.
var (
	describeInstances          = Action{ECS, "DescribeInstances"}
	describeAutoRenew          = Action{ECS, "DescribeInstanceAutoRenewAttribute"}
	describeFullStatus         = Action{ECS, "DescribeInstancesFullStatus"}
	describeLoadBalancers      = Action{SLB, "DescribeLoadBalancers"}
	describeListeners          = Action{SLB, "DescribeLoadBalancerListeners"}
	describeServerGroups       = Action{SLB, "DescribeVServerGroups"}
	describeServerGroup        = Action{SLB, "DescribeVServerGroupAttribute"}
	describeServerCertificates = Action{SLB, "DescribeServerCertificates"}
	describeAccessControlList  = Action{SLB, "DescribeAccessControlListAttribute"}
	describeRouteTables        = Action{VPC, "DescribeRouteTableList"}
	describeRouteEntries       = Action{VPC, "DescribeRouteEntryList"}
	describeVSwitches          = Action{VPC, "DescribeVSwitches"}
	listProductQuotas          = Action{Quotas, "ListProductQuotas"}
	assumeRole                 = Action{sts, "AssumeRoleWithOIDC"}
	roleCredentials            = Action{metadata, "RAMRoleCredentials"}
)

// Network is where endpoints are reached from.
type Network string

// The networks. The endpoints of VPCNetwork need no way to the Internet.
const (
	PublicNetwork Network = "public"
	VPCNetwork    Network = "vpc"
)

// product is what there is to know of a Product.
type product struct {
	version string
	// form tells that parameters go into the body in place of the query.
	form bool
	// regional products get RegionId with each call.
	regional bool
	// central is the endpoint of the regions in centralIn, or of all regions where
	// that is empty. There is no central endpoint in VPCs, but for the latter kind.
	central   string
	centralIn []string
}

func (p Product) facts() (product, bool) {
	switch p {
	case ECS:
		return product{version: "2014-05-26", regional: true, central: "ecs-cn-hangzhou.aliyuncs.com", centralIn: []string{"cn-hangzhou"}}, true
	case SLB:
		return product{version: "2014-05-15", regional: true, central: "slb.aliyuncs.com", centralIn: []string{
			"cn-qingdao", "cn-beijing", "cn-hangzhou", "cn-shanghai", "cn-shenzhen", "cn-hongkong", "ap-southeast-1", "us-east-1", "us-west-1",
		}}, true
	case VPC:
		return product{version: "2016-04-28", regional: true, central: "vpc.aliyuncs.com", centralIn: []string{
			"cn-hangzhou", "cn-shanghai-finance-1", "cn-shenzhen-finance-1", "cn-north-2-gov-1",
		}}, true
	case Quotas:
		return product{version: "2020-05-10", form: true, central: "quotas.aliyuncs.com"}, true
	case sts:
		return product{version: "2015-04-01"}, true
	default:
		return product{}, false
	}
}

// endpoint is the host of the product's API.
func (p Product) endpoint(region string, network Network) string {
	facts, _ := p.facts()
	switch {
	case facts.central != "" && len(facts.centralIn) == 0:
		return facts.central
	case network == VPCNetwork:
		return fmt.Sprintf("%s-vpc.%s.aliyuncs.com", p, region)
	case slices.Contains(facts.centralIn, region):
		return facts.central
	default:
		return fmt.Sprintf("%s.%s.aliyuncs.com", p, region)
	}
}

var (
	regionForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
	hostForm   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$`)

	errRegion  = errors.New("not the id of a region")
	errHost    = errors.New("not a host name with or without a port")
	errNetwork = errors.New(`neither "public" nor "vpc"`)
	errProduct = errors.New("no such product")
)
