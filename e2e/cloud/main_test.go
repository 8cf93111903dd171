//go:build e2e

// Package cloud tests the client of the cloud's API, package internal/aliyun, against
// the simulated cloud of e2e/internal/cloud: what it returns, with which rights, and
// what becomes of it when calls fail in every way. And it tests the simulation: with
// requests that were tampered with, and with the vendor's own SDK for Node.js. Last, it
// has the cluster role of the whole program look at a cluster, of a real API server, in
// such a cloud.
//
//	go test -tags e2e ./e2e/cloud
//
// It needs node, npm and its registry, and root for tests with namespaces. Nothing but npm
// leaves the machine.
package cloud

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cloud/cloudtest"
	"ack-exporter/e2e/internal/world"
	"ack-exporter/internal/aliyun"
)

func TestMain(m *testing.M) { world.Main(m, nil) }

const (
	// patience is how long a test waits for what takes seconds on an idle machine.
	patience = time.Minute

	vpcID     = "vpc-a"
	tableID   = "vtb-000"
	crowded   = "lb-000"
	groupID   = "rsp-000"
	quotaCode = "slb_quota_instances_num"
	aclID     = "acl-a"
	longACLID = "acl-b"

	// rows is how many there are of what has pages of 100, few of what has pages of 50.
	rows, few = 250, 120
)

// asking says how a client asks.
type asking struct {
	mode        aliyun.Mode
	environment []string
	metadata    string
	timeout     time.Duration
}

// withKey asks with the key of cloudtest.
func withKey() asking {
	return asking{mode: aliyun.Environment, environment: cloudtest.Key().Environment(), timeout: patience}
}

// newClient makes a client of the cloud at host, with plenty of requests.
func newClient(t testing.TB, c *cloud.Cloud, host string, a asking) *aliyun.Client {
	t.Helper()
	usage := aliyun.NewUsage()
	getenv := func(name string) string {
		for _, variable := range a.environment {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	}
	credentials, err := aliyun.NewCredentials(aliyun.CredentialsConfig{
		Mode: a.mode, Getenv: getenv, Region: c.Region(), Network: aliyun.VPCNetwork, MetadataURL: a.metadata, Insecure: true,
	}, usage)
	if err != nil {
		t.Fatal(err)
	}
	client, err := aliyun.NewClient(aliyun.Config{
		Region: c.Region(), Network: aliyun.VPCNetwork, Insecure: true, Rate: 1e6, Budget: 1e6, Timeout: a.timeout, UserAgent: "ack-exporter/e2e",
		Endpoints: map[aliyun.Product]string{aliyun.ECS: host, aliyun.SLB: host, aliyun.VPC: host, aliyun.Quotas: host},
	}, credentials, usage)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// instanceIDs are the ids of all instances.
func instanceIDs() []string { return names("i-%03d", rows) }

func names(format string, n int) []string {
	all := make([]string, 0, n)
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// fill fills an account so that every listing has several pages.
func fill(c *cloud.Cloud) {
	end := time.Date(2031, 2, 3, 4, 5, 0, 0, time.UTC)
	for i, id := range instanceIDs() {
		c.Instances.Set(cloud.Instance{
			ID: id, ChargeType: "PrePaid", Expiry: end, VPCID: vpcID, VSwitchID: "vsw-000",
			Events: []cloud.SystemEvent{{ID: "e-" + id, Type: "SystemMaintenance.Reboot", NotBefore: end}},
		})
		c.LoadBalancers.Set(cloud.LoadBalancer{ID: fmt.Sprintf("lb-%03d", i), VPCID: vpcID, Tags: map[string]string{"k": "v"}})
		c.Listeners.Set(cloud.Listener{LoadBalancerID: crowded, Port: 1000 + i, ServerGroupID: groupID, ACLStatus: "on", ACLType: "white", ACLID: aclID})
		c.RouteEntries.Set(cloud.RouteEntry{ID: fmt.Sprintf("rte-%03d", i), TableID: tableID, Destination: fmt.Sprintf("10.%d.0.0/24", i), NextHopID: id})
		c.Quotas.Set(cloud.Quota{ProductCode: "slb", Code: fmt.Sprintf("slb_quota_%03d", i), Total: 60, Usage: 12})
		c.Certificates.Set(cloud.Certificate{ID: fmt.Sprintf("1_%03d", i), CommonName: "a.example", Names: []string{"a.example"}, Expiry: end})
		c.ServerGroups.Set(cloud.ServerGroup{ID: fmt.Sprintf("rsp-%03d", i), Name: "g", LoadBalancerID: crowded, Backends: []cloud.Backend{
			{ServerID: id, Port: 30080, Weight: 100},
		}})
	}
	for i := range few {
		c.RouteTables.Set(cloud.RouteTable{ID: fmt.Sprintf("vtb-%03d", i), VPCID: vpcID})
		c.VSwitches.Set(cloud.VSwitch{ID: fmt.Sprintf("vsw-%03d", i), VPCID: vpcID, CIDR: "10.0.0.0/24", Available: 200})
	}
	c.Quotas.Set(cloud.Quota{ProductCode: "slb", Code: quotaCode, Total: 60, Usage: 12, Dimensions: map[string]string{"regionId": c.Region()}})
	c.AccessLists.Set(cloud.AccessList{ID: aclID, Entries: []cloud.AccessEntry{{IP: "192.0.2.0/24", Comment: "office"}}})
	long := cloud.AccessList{ID: longACLID}
	for i := range few {
		long.Entries = append(long.Entries, cloud.AccessEntry{IP: fmt.Sprintf("10.%d.0.0/16", i)})
	}
	c.AccessLists.Set(long)
}

// function is one function of internal/aliyun.
type function struct {
	action string
	// calls is how many calls it makes for the account that fill makes, rows how many
	// rows it returns then.
	calls, rows int
	// do calls it. got is nil where the function returned nothing.
	do func(context.Context, aliyun.API) (got any, rows int, err error)
}

// functions are all that ask for something.
func functions(region string) map[string]function {
	return map[string]function{
		"Instances": {"ecs:DescribeInstances", 3, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			found, unknown, err := aliyun.Instances(ctx, api, instanceIDs())
			if len(unknown) > 0 {
				return found, -len(unknown), err
			}
			return something(found, found == nil), len(found), err
		}},
		"AutoRenewals": {"ecs:DescribeInstanceAutoRenewAttribute", 3, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.AutoRenewals(ctx, api, instanceIDs()))
		}},
		"FullStatuses": {"ecs:DescribeInstancesFullStatus", 3, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.FullStatuses(ctx, api, instanceIDs()))
		}},
		"LoadBalancers": {"slb:DescribeLoadBalancers", 3, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.LoadBalancers(ctx, api))
		}},
		"Listeners of one": {"slb:DescribeLoadBalancerListeners", 3, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.Listeners(ctx, api, []string{crowded}))
		}},
		"Listeners of many": {"slb:DescribeLoadBalancerListeners", 5, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.Listeners(ctx, api, names("lb-%03d", 30)))
		}},
		"ServerGroups": {"slb:DescribeVServerGroups", 1, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.ServerGroups(ctx, api, crowded))
		}},
		"ServerGroupBackends": {"slb:DescribeVServerGroupAttribute", 1, 1, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.ServerGroupBackends(ctx, api, groupID))
		}},
		"AccessControlEntries": {"slb:DescribeAccessControlListAttribute", 3, few, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.AccessControlEntries(ctx, api, longACLID))
		}},
		"ServerCertificates": {"slb:DescribeServerCertificates", 1, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.ServerCertificates(ctx, api))
		}},
		"RouteTables": {"vpc:DescribeRouteTableList", 3, few, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.RouteTables(ctx, api, vpcID))
		}},
		"CustomRoutes": {"vpc:DescribeRouteEntryList", 3, rows, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.CustomRoutes(ctx, api, tableID))
		}},
		"VSwitches": {"vpc:DescribeVSwitches", 3, few, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.VSwitches(ctx, api, vpcID))
		}},
		"ProductQuotas": {"quotas:ListProductQuotas", 3, rows + 1, func(ctx context.Context, api aliyun.API) (any, int, error) {
			return list(aliyun.ProductQuotas(ctx, api, "slb", region))
		}},
	}
}

func something(got any, nothing bool) any {
	if nothing {
		return nil
	}
	return got
}

func list[T any](got []T, err error) (any, int, error) {
	return something(got, got == nil), len(got), err
}
