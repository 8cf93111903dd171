package aliyun

import (
	"context"
	"slices"
	"time"
)

const (
	slbPage       = 100
	listenerBatch = 10
)

// LoadBalancer is a CLB instance.
type LoadBalancer struct {
	ID   string `json:"LoadBalancerId"`
	Name string `json:"LoadBalancerName"`
	// Status is active, inactive or locked.
	Status string `json:"LoadBalancerStatus"`
	// AddressType is internet or intranet.
	Address, AddressType string
	VPCID                string `json:"VpcId"`
	VSwitchID            string `json:"VSwitchId"`
	Spec                 string `json:"LoadBalancerSpec"`
	// PayType is PayOnDemand or PrePay.
	PayType string
	// InstanceChargeType is PayBySpec or PayByCLCU, ChargeType paybytraffic or paybybandwidth.
	InstanceChargeType string
	ChargeType         string `json:"InternetChargeTypeAlias"`
	// Bandwidth is in Mbit/s, -1 where it is not limited, and 0 where the API does not tell.
	Bandwidth Integer
	// DeleteProtection is on or off, ModificationProtection ConsoleProtection or NonProtection.
	DeleteProtection       string
	ModificationProtection string `json:"ModificationProtectionStatus"`
	ModificationReason     string `json:"ModificationProtectionReason"`
	Tags                   tags
}

type loadBalancersPage struct {
	TotalCount    Integer
	LoadBalancers *struct{ LoadBalancer []LoadBalancer }
}

func (p *loadBalancersPage) total() int { return int(p.TotalCount) }

func (p *loadBalancersPage) rows() ([]LoadBalancer, bool) {
	if p.LoadBalancers == nil {
		return nil, false
	}
	return p.LoadBalancers.LoadBalancer, true
}

// LoadBalancers lists all CLB instances of the region, 100 in a call. The filter of
// the API for several tags finds what has any of them, so there is none here.
func LoadBalancers(ctx context.Context, api API) ([]LoadBalancer, error) {
	return byNumber[LoadBalancer, loadBalancersPage](ctx, api, describeLoadBalancers, slbPage, nil)
}

// Backend is a server behind a load balancer.
type Backend struct {
	ServerID string `json:"ServerId"`
	ServerIP string `json:"ServerIp"`
	// Type is ecs, eni or eci.
	Type         string
	Port, Weight Integer
}

type backends struct{ BackendServer []Backend }

// Listener is a listener of a CLB instance.
type Listener struct {
	LoadBalancerID string  `json:"LoadBalancerId"`
	Port           Integer `json:"ListenerPort"`
	Protocol       string  `json:"ListenerProtocol"`
	// Status is running or stopped.
	Status        string
	Description   string
	ServerGroupID string `json:"VServerGroupId"`
	// ACLStatus is on or off, ACLType white or black.
	ACLStatus string `json:"AclStatus"`
	ACLType   string `json:"AclType"`
	// ACLID is the only ACL of older listeners, ACLIDs are all; ACLs knows both.
	ACLID  string `json:"AclId"`
	ACLIDs ids    `json:"AclIds"`
	HTTPS  struct {
		ServerCertificateID string `json:"ServerCertificateId"`
	} `json:"HTTPSListenerConfig"`
}

// ACLs are the ids of the access control lists that are in force, sorted.
func (l Listener) ACLs() []string {
	if l.ACLStatus != "on" {
		return nil
	}
	var all []string
	for _, id := range append(slices.Clone(l.ACLIDs), l.ACLID) {
		if idForm.MatchString(id) {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

type listenersPage struct {
	NextToken  string
	TotalCount *Integer
	Listeners  []Listener
}

func (p *listenersPage) next() string { return p.NextToken }

func (p *listenersPage) rows() ([]Listener, bool) {
	return p.Listeners, p.Listeners != nil || p.TotalCount != nil && *p.TotalCount == 0
}

// Listeners lists the listeners of load balancers, of 10 in a call.
func Listeners(ctx context.Context, api API, loadBalancers []string) ([]Listener, error) {
	var all []Listener
	for _, batch := range batches(loadBalancers, listenerBatch) {
		rows, err := byToken[Listener, listenersPage](ctx, api, describeListeners, map[string]any{
			"LoadBalancerId": batch, "MaxResults": slbPage,
		})
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// ServerGroup is a VServer group. Its backends are told by ServerGroupBackends.
type ServerGroup struct {
	ID   string `json:"VServerGroupId"`
	Name string `json:"VServerGroupName"`
}

// ServerGroups lists the VServer groups of one load balancer. The API has no pages.
func ServerGroups(ctx context.Context, api API, loadBalancer string) ([]ServerGroup, error) {
	var out struct {
		Groups *struct {
			Rows []ServerGroup `json:"VServerGroup"`
		} `json:"VServerGroups"`
	}
	if err := api.Call(ctx, describeServerGroups, map[string]any{"LoadBalancerId": loadBalancer}, &out); err != nil {
		return nil, err
	}
	if out.Groups == nil {
		return nil, decodeError(describeServerGroups, "the answer has no list")
	}
	return out.Groups.Rows, nil
}

// ServerGroupBackends lists the servers of one VServer group. The API has no pages.
func ServerGroupBackends(ctx context.Context, api API, group string) ([]Backend, error) {
	var out struct {
		ID       string    `json:"VServerGroupId"`
		Backends *backends `json:"BackendServers"`
	}
	if err := api.Call(ctx, describeServerGroup, map[string]any{"VServerGroupId": group}, &out); err != nil {
		return nil, err
	}
	if out.ID != group || out.Backends == nil {
		return nil, decodeError(describeServerGroup, "the answer is not about the group asked for")
	}
	return out.Backends.BackendServer, nil
}

// aclPage is the number of entries in a call.
const aclPage = 50

type aclEntriesPage struct {
	ID      string   `json:"AclId"`
	Total   *Integer `json:"TotalAclEntry"`
	Entries *struct {
		Rows []struct {
			CIDR string `json:"AclEntryIP"`
		} `json:"AclEntry"`
	} `json:"AclEntrys"`
}

// total is the number of entries. Where the API does not tell, it has no pages either.
func (p *aclEntriesPage) total() int {
	rows, _ := p.rows()
	switch {
	case p.Total != nil:
		return int(*p.Total)
	case len(rows) == aclPage:
		return aclPage + 1 // There may be more.
	default:
		return len(rows)
	}
}

func (p *aclEntriesPage) rows() ([]string, bool) {
	if p.Entries == nil {
		return nil, false
	}
	all := make([]string, 0, len(p.Entries.Rows))
	for _, e := range p.Entries.Rows {
		all = append(all, e.CIDR)
	}
	return all, true
}

// aclAPI asks for the pages of one access control list, which have a number of another
// name than anywhere.
type aclAPI struct {
	API
	id string
}

func (a aclAPI) Call(ctx context.Context, action Action, parameters map[string]any, out any) error {
	renamed := with(parameters, "Page", parameters["PageNumber"])
	delete(renamed, "PageNumber")
	if err := a.API.Call(ctx, action, renamed, out); err != nil {
		return err
	}
	if got, ok := out.(*aclEntriesPage); !ok || got.ID != a.id {
		return decodeError(action, "the answer is not about the access control list asked for")
	}
	return nil
}

// AccessControlEntries lists the entries of one access control list, addresses or CIDRs,
// 50 in a call. A list without entries keeps nobody out.
func AccessControlEntries(ctx context.Context, api API, id string) ([]string, error) {
	return byNumber[string, aclEntriesPage](ctx, aclAPI{api, id}, describeAccessControlList, aclPage, map[string]any{"AclId": id})
}

// ServerCertificate is a certificate that listeners can use.
type ServerCertificate struct {
	ID                      string `json:"ServerCertificateId"`
	Name                    string `json:"ServerCertificateName"`
	CommonName              string
	SubjectAlternativeNames struct{ SubjectAlternativeName []string }
	Fingerprint             string
	ExpireTime              string
	ExpireTimeStamp         Integer
}

// Expiry is when the certificate ends, and false where the API does not tell. The
// text comes before the number, whose unit is not the same everywhere.
func (c ServerCertificate) Expiry() (time.Time, bool) {
	if t, ok := parseTime(c.ExpireTime); ok && !t.IsZero() {
		return t.Time, true
	}
	// Milliseconds between 2001 and 2286; whatever has fewer or more digits is no such.
	if ms := int64(c.ExpireTimeStamp); ms >= 1e12 && ms < 1e13 {
		return time.UnixMilli(ms).UTC(), true
	}
	return time.Time{}, false
}

// ServerCertificates lists the certificates of the region. The API has no pages.
func ServerCertificates(ctx context.Context, api API) ([]ServerCertificate, error) {
	var out struct {
		Certificates *struct {
			Rows []ServerCertificate `json:"ServerCertificate"`
		} `json:"ServerCertificates"`
	}
	if err := api.Call(ctx, describeServerCertificates, nil, &out); err != nil {
		return nil, err
	}
	if out.Certificates == nil {
		return nil, decodeError(describeServerCertificates, "the answer has no list")
	}
	return out.Certificates.Rows, nil
}
