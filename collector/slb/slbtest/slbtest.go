// Package slbtest is an API of load balancers in memory, for tests.
package slbtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"ack-exporter/internal/aliyun"
)

// The tags on load balancers of a cluster: which cluster it is, and which Service.
const (
	ClusterTag = "ack.aliyun.com"
	OwnerTag   = "kubernetes.do.not.delete"
)

// Cloud answers as the API does. It is not safe for concurrent use.
type Cloud struct {
	LoadBalancers map[string]*LoadBalancer
	Quotas        []Quota
	// Before is called before each call, and may make it fail.
	Before func(action aliyun.Action, parameters map[string]any) error
	// PageSize takes the place of what callers ask for, where it is not 0.
	PageSize int
	// Calls counts them by the name of the action.
	Calls map[string]int
}

// LoadBalancer is a load balancer.
type LoadBalancer struct {
	ID, Name, Spec, AddressType, ClusterID string
	// Owner is the name by which the cloud controller manager tags what it made.
	Owner     string
	Listeners []Listener
	Groups    []*Group
}

// Listener is a listener.
type Listener struct {
	Port        int
	Protocol    string
	Description string
	Group       string
}

// Group is a VServer group.
type Group struct {
	ID, Name string
	Backends []Backend
}

// Backend is a server of a group.
type Backend struct {
	ServerID, ServerIP, Type string
	Port                     int
}

// Quota is what Quota Center says.
type Quota struct {
	Code         string
	Total, Usage float64
	Consumable   bool
	Region       string
}

// New makes a Cloud without anything.
func New() *Cloud {
	return &Cloud{LoadBalancers: make(map[string]*LoadBalancer), Calls: make(map[string]int)}
}

// Add adds load balancers.
func (c *Cloud) Add(list ...*LoadBalancer) {
	for _, l := range list {
		c.LoadBalancers[l.ID] = l
	}
}

// Total is how many calls there were.
func (c *Cloud) Total() int {
	n := 0
	for _, calls := range c.Calls {
		n += calls
	}
	return n
}

// Call implements aliyun.API.
func (c *Cloud) Call(ctx context.Context, action aliyun.Action, parameters map[string]any, out any) error {
	c.Calls[action.Name]++
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Before != nil {
		if err := c.Before(action, parameters); err != nil {
			return err
		}
	}
	body, err := c.answer(action, parameters)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, out)
}

type object = map[string]any

func (c *Cloud) answer(action aliyun.Action, parameters map[string]any) ([]byte, error) {
	switch action.Name {
	case "DescribeLoadBalancers":
		return c.loadBalancers(parameters)
	case "DescribeLoadBalancerListeners":
		return c.listeners(action, parameters)
	case "DescribeVServerGroups":
		return c.groups(action, parameters)
	case "DescribeVServerGroupAttribute":
		return c.group(action, parameters)
	case "ListProductQuotas":
		return c.quotas()
	}
	return nil, fmt.Errorf("%s is not simulated", action.Name)
}

func (c *Cloud) loadBalancers(parameters map[string]any) ([]byte, error) {
	ids := slices.Sorted(maps.Keys(c.LoadBalancers))
	number, size := parameters["PageNumber"].(int), parameters["PageSize"].(int)
	if c.PageSize > 0 {
		size = c.PageSize
	}
	first := min((number-1)*size, len(ids))
	rows := []object{}
	for _, id := range ids[first:min(first+size, len(ids))] {
		l := c.LoadBalancers[id]
		var tags []object
		if l.ClusterID != "" {
			tags = append(tags, object{"TagKey": ClusterTag, "TagValue": l.ClusterID})
		}
		if l.Owner != "" {
			tags = append(tags, object{"TagKey": OwnerTag, "TagValue": l.Owner})
		}
		rows = append(rows, object{
			"DeleteProtection": "on", "ModificationProtectionStatus": "ConsoleProtection", "LoadBalancerId": id, "LoadBalancerName": l.Name, "LoadBalancerStatus": "active", "AddressType": l.AddressType,
			"LoadBalancerSpec": l.Spec, "Tags": object{"Tag": tags},
		})
	}
	return json.Marshal(object{"TotalCount": len(ids), "LoadBalancers": object{"LoadBalancer": rows}})
}

func (c *Cloud) listeners(action aliyun.Action, parameters map[string]any) ([]byte, error) {
	rows := []object{}
	for _, id := range parameters["LoadBalancerId"].([]string) {
		l := c.LoadBalancers[id]
		if l == nil {
			return nil, aliyun.Refusal(action, 404, "InvalidLoadBalancerId.NotFound")
		}
		for _, one := range l.Listeners {
			rows = append(rows, object{
				"LoadBalancerId": id, "ListenerPort": one.Port, "ListenerProtocol": one.Protocol, "Status": "running",
				"Description": one.Description, "VServerGroupId": one.Group,
			})
		}
	}
	size, first := parameters["MaxResults"].(int), 0
	if c.PageSize > 0 {
		size = c.PageSize
	}
	if token, _ := parameters["NextToken"].(string); token != "" {
		if _, err := fmt.Sscan(token, &first); err != nil {
			return nil, err
		}
	}
	next, last := "", min(first+size, len(rows))
	if last < len(rows) {
		next = fmt.Sprint(last)
	}
	return json.Marshal(object{"TotalCount": len(rows), "NextToken": next, "Listeners": rows[first:last]})
}

func (c *Cloud) groups(action aliyun.Action, parameters map[string]any) ([]byte, error) {
	l := c.LoadBalancers[parameters["LoadBalancerId"].(string)]
	if l == nil {
		return nil, aliyun.Refusal(action, 404, "InvalidLoadBalancerId.NotFound")
	}
	rows := []object{}
	for _, g := range l.Groups {
		rows = append(rows, object{"VServerGroupId": g.ID, "VServerGroupName": g.Name})
	}
	return json.Marshal(object{"VServerGroups": object{"VServerGroup": rows}})
}

func (c *Cloud) group(action aliyun.Action, parameters map[string]any) ([]byte, error) {
	id := parameters["VServerGroupId"].(string)
	for _, l := range c.LoadBalancers {
		for _, g := range l.Groups {
			if g.ID == id {
				return g.answer()
			}
		}
	}
	return nil, aliyun.Refusal(action, 400, "InvalidParameter")
}

func (g *Group) answer() ([]byte, error) {
	rows := []object{}
	for _, b := range g.Backends {
		rows = append(rows, object{"ServerId": b.ServerID, "ServerIp": b.ServerIP, "Type": b.Type, "Port": b.Port, "Weight": 100})
	}
	return json.Marshal(object{"VServerGroupId": g.ID, "BackendServers": object{"BackendServer": rows}})
}

func (c *Cloud) quotas() ([]byte, error) {
	rows := []object{}
	for _, q := range c.Quotas {
		dimensions := map[string]string{}
		if q.Region != "" {
			dimensions["regionId"] = q.Region
		}
		rows = append(rows, object{
			"ProductCode": "slb", "QuotaActionCode": q.Code, "TotalQuota": q.Total, "TotalUsage": q.Usage,
			"Consumable": q.Consumable, "Dimensions": dimensions,
		})
	}
	return json.Marshal(object{"TotalCount": len(rows), "Quotas": rows})
}

// ECS are backends of these instances at one port.
func ECS(port int, instances ...string) []Backend {
	var list []Backend
	for _, id := range instances {
		list = append(list, Backend{ServerID: id, Type: "ecs", Port: port})
	}
	return list
}
