//go:build e2e

package cloud

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LoadBalancer is a CLB instance.
type LoadBalancer struct {
	ID, Name string
	// Status is active, inactive or locked; empty: active.
	Status string
	// AddressType is internet or intranet; empty: internet.
	Address, AddressType string
	VPCID, VSwitchID     string
	// Spec is slb.s1.small if empty.
	Spec string
	// PayType is PayOnDemand or PrePay; empty: PayOnDemand. ChargeType is how the
	// instance is paid: PayBySpec or PayByCLCU; empty: PayBySpec. InternetChargeType is
	// paybytraffic or paybybandwidth; empty: paybytraffic.
	PayType, ChargeType, InternetChargeType string
	// Bandwidth is in Mbit/s; 0: -1, for as much as there is.
	Bandwidth int
	// DeleteProtection is on or off; empty: off. ModificationProtection is
	// ConsoleProtection or NonProtection; empty: NonProtection.
	DeleteProtection, ModificationProtection, ModificationReason string
	MasterZone, SlaveZone                                        string
	Created                                                      time.Time
	Tags                                                         map[string]string
	// Backends are those of the default group.
	Backends []Backend
}

// Backend is a server behind a load balancer.
type Backend struct {
	ServerID, ServerIP string
	// Type is ecs, eni or eci; empty: ecs. Port is 0 in the default group.
	Type         string
	Port, Weight int
	Description  string
}

// Listener is a listener of a load balancer.
type Listener struct {
	LoadBalancerID string
	// Protocol is tcp, udp, http or https; empty: tcp.
	Protocol string
	Port     int
	// Status is running or stopped; empty: running.
	Status, Description, ServerGroupID string
	// Scheduler is rr, wrr, sch and so on; empty: rr.
	Scheduler string
	// ForwardPort is where http is redirected to; 0: it is not.
	ForwardPort int
	// CertificateID is that of https.
	CertificateID string
	// ACLStatus is on or off; empty: off. ACLType is white or black.
	ACLStatus, ACLType, ACLID string
	// HealthCheck is on or off; empty: on.
	HealthCheck string
	// Bandwidth is in Mbit/s; 0: -1, for as much as there is.
	Bandwidth int
	Tags      map[string]string
}

// ServerGroup is a VServer group with its backends.
type ServerGroup struct {
	ID, Name, LoadBalancerID string
	Backends                 []Backend
}

// Certificate is a server certificate that listeners can use.
type Certificate struct {
	ID, Name, CommonName string
	Names                []string
	Expiry               time.Time
	Fingerprint          string
	// NoText and NoNumber leave out one of the two ways to tell the expiry.
	NoText, NoNumber bool
}

// AccessList is an access control list.
type AccessList struct {
	ID, Name string
	Entries  []AccessEntry
}

// AccessEntry is an address or a CIDR block.
type AccessEntry struct{ IP, Comment string }

func (b LoadBalancer) key() string { return b.ID }
func (l Listener) key() string     { return ListenerKey(l.LoadBalancerID, l.Protocol, l.Port) }
func (g ServerGroup) key() string  { return g.ID }
func (c Certificate) key() string  { return c.ID }
func (a AccessList) key() string   { return a.ID }

// ListenerKey is the key of a listener in its table.
func ListenerKey(loadBalancer, protocol string, port int) string {
	return loadBalancer + "/" + strconv.Itoa(port) + "/" + protocol
}

func (b LoadBalancer) copied() LoadBalancer {
	b.Tags, b.Backends = maps.Clone(b.Tags), slices.Clone(b.Backends)
	return b
}

func (l Listener) copied() Listener {
	l.Tags = maps.Clone(l.Tags)
	return l
}

func (g ServerGroup) copied() ServerGroup {
	g.Backends = slices.Clone(g.Backends)
	return g
}

func (c Certificate) copied() Certificate {
	c.Names = slices.Clone(c.Names)
	return c
}

func (a AccessList) copied() AccessList {
	a.Entries = slices.Clone(a.Entries)
	return a
}

func (b LoadBalancer) complete() LoadBalancer {
	or(&b.Status, "active")
	or(&b.AddressType, "internet")
	or(&b.Spec, "slb.s1.small")
	or(&b.PayType, "PayOnDemand")
	or(&b.ChargeType, "PayBySpec")
	or(&b.InternetChargeType, "paybytraffic")
	or(&b.Bandwidth, -1)
	or(&b.DeleteProtection, "off")
	or(&b.ModificationProtection, "NonProtection")
	or(&b.Created, time.Now().UTC().Truncate(time.Second))
	b.Backends = completeBackends(b.Backends)
	return b
}

func (l Listener) complete() Listener {
	or(&l.Protocol, "tcp")
	or(&l.Status, "running")
	or(&l.Scheduler, "rr")
	or(&l.ACLStatus, "off")
	or(&l.HealthCheck, "on")
	or(&l.Bandwidth, -1)
	return l
}

func (g ServerGroup) complete() ServerGroup {
	g.Backends = completeBackends(g.Backends)
	return g
}

func completeBackends(backends []Backend) []Backend {
	for n := range backends {
		or(&backends[n].Type, "ecs")
	}
	return backends
}

func (c Certificate) complete() Certificate {
	or(&c.Name, c.ID)
	return c
}

func (a AccessList) complete() AccessList {
	or(&a.Name, a.ID)
	return a
}

const (
	// maxLoadBalancers is how many ids, or names, a call takes.
	maxLoadBalancers = 10
	onDemand         = "PayOnDemand"
)

func (c *Cloud) slb() []action {
	region := text("RegionId").need()
	return []action{
		{slb, "DescribeLoadBalancers", []parameter{
			region, text("LoadBalancerId"), text("LoadBalancerName"), text("Tags"), pairs("Tag", 20), text("VpcId"), text("VSwitchId"), text("ServerId"),
			text("AddressType", "internet", "intranet"), text("LoadBalancerStatus", "active", "inactive", "locked"), text("PayType", onDemand, "PrePay"),
			pageNumber(), number("PageSize", 1, 100, 50),
		}, c.describeLoadBalancers},
		{slb, "DescribeLoadBalancerListeners", []parameter{
			region, list("LoadBalancerId", maxLoadBalancers), text("ListenerProtocol", "tcp", "udp", "http", "https"), number("ListenerPort", 1, 65535, 0),
			pairs("Tag", 20), text("NextToken"), number("MaxResults", 1, 100, 20),
		}, c.describeListeners},
		{slb, "DescribeVServerGroups", []parameter{region, text("LoadBalancerId").need(), flag("IncludeListener"), flag("IncludeRule")}, c.describeServerGroups},
		{slb, "DescribeVServerGroupAttribute", []parameter{region, text("VServerGroupId").need()}, c.describeServerGroup},
		{slb, "DescribeServerCertificates", []parameter{region, text("ServerCertificateId"), pairs("Tag", 20)}, c.describeCertificates},
		// The page has another name here than anywhere.
		{slb, "DescribeAccessControlListAttribute", []parameter{
			region, text("AclId").need(), text("AclEntryComment"), number("Page", 1, 1<<30, 1), number("PageSize", 1, 50, 10),
		}, c.describeAccessList},
	}
}

func (c *Cloud) describeLoadBalancers(q query) (object, error) {
	if q.has("PageNumber") != q.has("PageSize") {
		return nil, invalid("PageNumber", "goes with PageSize only")
	}
	keep, err := c.loadBalancerFilter(q)
	if err != nil {
		return nil, err
	}
	rows := c.LoadBalancers.sorted(keep)
	all := []object{}
	for _, b := range numbered(q, rows) {
		all = append(all, b.object(c.region))
	}
	answer := q.pageOf(len(rows))
	answer["LoadBalancers"] = object{"LoadBalancer": all}
	return answer, nil
}

func (c *Cloud) loadBalancerFilter(q query) (func(LoadBalancer) bool, error) {
	ids, names := q.split("LoadBalancerId"), q.split("LoadBalancerName")
	if len(ids) > maxLoadBalancers || len(names) > maxLoadBalancers {
		return nil, invalid("LoadBalancerId", "or LoadBalancerName has more than 10 values")
	}
	var either []struct{ TagKey, TagValue string }
	if q.has("Tags") {
		if err := json.Unmarshal([]byte(q.text("Tags")), &either); err != nil || len(either) > 10 {
			return nil, invalid("Tags", "is not a list of 10 tags at most in JSON")
		}
	}
	return func(b LoadBalancer) bool {
		// Of the tags of this parameter one is enough.
		hit := len(either) == 0
		for _, tag := range either {
			hit = hit || tagged(b.Tags, []pair{{tag.TagKey, tag.TagValue}})
		}
		return hit && (len(ids) == 0 || slices.Contains(ids, b.ID)) && (len(names) == 0 || slices.Contains(names, b.Name)) &&
			tagged(b.Tags, q.pairs["Tag"]) && q.equal("VpcId", b.VPCID) && q.equal("VSwitchId", b.VSwitchID) && q.equal("AddressType", b.AddressType) &&
			q.equal("LoadBalancerStatus", b.Status) && q.equal("PayType", b.PayType) && (q.text("ServerId") == "" || c.serves(b, q.text("ServerId")))
	}, nil
}

// serves tells whether a server is behind a load balancer.
func (c *Cloud) serves(b LoadBalancer, server string) bool {
	is := func(b Backend) bool { return b.ServerID == server }
	if slices.ContainsFunc(b.Backends, is) {
		return true
	}
	return len(c.ServerGroups.sorted(func(g ServerGroup) bool { return g.LoadBalancerID == b.ID && slices.ContainsFunc(g.Backends, is) })) > 0
}

// object is a load balancer as in the list of all.
func (b LoadBalancer) object(region string) object {
	internet := map[string]string{"paybybandwidth": "3", "paybytraffic": "4"}
	return object{
		"LoadBalancerId": b.ID, "LoadBalancerName": b.Name, "LoadBalancerStatus": b.Status, "Address": b.Address, "AddressType": b.AddressType,
		"AddressIPVersion": "ipv4", "NetworkType": "vpc", "VpcId": b.VPCID, "VSwitchId": b.VSwitchID, "LoadBalancerSpec": b.Spec,
		"InstanceChargeType": b.ChargeType, "PayType": b.PayType, "InternetChargeType": internet[b.InternetChargeType],
		"InternetChargeTypeAlias": b.InternetChargeType, "Bandwidth": b.Bandwidth, "DeleteProtection": b.DeleteProtection,
		"ModificationProtectionStatus": b.ModificationProtection, "ModificationProtectionReason": b.ModificationReason,
		"CreateTime": stamp(b.Created, minutes), "CreateTimeStamp": b.Created.UnixMilli(), "MasterZoneId": b.MasterZone, "SlaveZoneId": b.SlaveZone,
		"RegionId": region, "RegionIdAlias": region, "Tags": object{"Tag": tagList(b.Tags)},
	}
}

// errNoLoadBalancer is a refusal.
func errNoLoadBalancer() *refusal {
	return refuse(http.StatusNotFound, "InvalidLoadBalancerId.NotFound", "The specified LoadBalancerId does not exist.")
}

func (c *Cloud) listenersOf(loadBalancer string) []Listener {
	return c.Listeners.sorted(func(l Listener) bool { return l.LoadBalancerID == loadBalancer })
}

func backendList(backends []Backend) []object {
	all := []object{}
	for _, b := range backends {
		all = append(all, object{
			"ServerId": b.ServerID, "ServerIp": b.ServerIP, "Port": b.Port, "Weight": b.Weight, "Type": b.Type, "Description": b.Description,
		})
	}
	return all
}

func (l Listener) forward() string {
	if l.ForwardPort != 0 {
		return "on"
	}
	return "off"
}

func (c *Cloud) describeListeners(q query) (object, error) {
	ids := q.lists["LoadBalancerId"]
	for _, id := range ids {
		if _, ok := c.LoadBalancers.rows[id]; !ok {
			return nil, errNoLoadBalancer()
		}
	}
	rows := c.Listeners.sorted(func(l Listener) bool {
		return (len(ids) == 0 || slices.Contains(ids, l.LoadBalancerID)) && q.equal("ListenerProtocol", l.Protocol) &&
			q.equal("ListenerPort", strconv.Itoa(l.Port)) && tagged(l.Tags, q.pairs["Tag"])
	})
	page, next, err := byToken(q, rows, "MaxResults")
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, l := range page {
		all = append(all, l.object())
	}
	return object{"Listeners": all, "NextToken": next, "MaxResults": q.numbers["MaxResults"], "TotalCount": len(rows)}, nil
}

func (l Listener) object() object {
	o := object{
		"LoadBalancerId": l.LoadBalancerID, "ListenerPort": l.Port, "ListenerProtocol": l.Protocol, "Status": l.Status, "Description": l.Description,
		"Scheduler": l.Scheduler, "Bandwidth": l.Bandwidth, "AclStatus": l.ACLStatus, "Tags": tagList(l.Tags),
	}
	if l.ServerGroupID != "" {
		o["VServerGroupId"] = l.ServerGroupID
	}
	if l.ACLID != "" {
		o["AclId"], o["AclIds"], o["AclType"] = l.ACLID, []string{l.ACLID}, l.ACLType
	}
	config := object{"HealthCheck": l.HealthCheck}
	switch l.Protocol {
	case "http":
		config["ListenerForward"] = l.forward()
		if l.ForwardPort != 0 {
			config["ForwardPort"] = l.ForwardPort
		}
	case "https":
		config["ServerCertificateId"], config["CACertificateId"] = l.CertificateID, ""
		config["TLSCipherPolicy"], config["EnableHttp2"] = "tls_cipher_policy_1_2", "on"
	}
	o[strings.ToUpper(l.Protocol)+"ListenerConfig"] = config
	return o
}

func (c *Cloud) describeServerGroups(q query) (object, error) {
	b, ok := c.LoadBalancers.rows[q.text("LoadBalancerId")]
	if !ok {
		return nil, errNoLoadBalancer()
	}
	all := []object{}
	for _, g := range c.ServerGroups.sorted(func(g ServerGroup) bool { return g.LoadBalancerID == b.ID }) {
		o := object{"VServerGroupId": g.ID, "VServerGroupName": g.Name, "CreateTime": stamp(b.Created, minutes), "Tags": object{"Tag": []object{}}}
		if q.text("IncludeListener") == "true" {
			listeners := []object{}
			for _, l := range c.listenersOf(b.ID) {
				if l.ServerGroupID == g.ID {
					listeners = append(listeners, object{"Protocol": l.Protocol, "Port": l.Port})
				}
			}
			o["AssociatedObjects"] = object{"Listeners": object{"Listener": listeners}, "Rules": object{"Rule": []object{}}}
		}
		all = append(all, o)
	}
	return object{"VServerGroups": object{"VServerGroup": all}}, nil
}

func (c *Cloud) describeServerGroup(q query) (object, error) {
	g, ok := c.ServerGroups.rows[q.text("VServerGroupId")]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidParameter", "The specified VServerGroupId does not exist.")
	}
	return object{
		"VServerGroupId": g.ID, "VServerGroupName": g.Name, "LoadBalancerId": g.LoadBalancerID,
		"BackendServers": object{"BackendServer": backendList(g.Backends)},
	}, nil
}

func (c *Cloud) describeCertificates(q query) (object, error) {
	all := []object{}
	for _, r := range c.Certificates.sorted(func(r Certificate) bool { return q.equal("ServerCertificateId", r.ID) && len(q.pairs["Tag"]) == 0 }) {
		all = append(all, r.object(c.region))
	}
	return object{"ServerCertificates": object{"ServerCertificate": all}}, nil
}

func (c Certificate) object(region string) object {
	names := c.Names
	if names == nil {
		names = []string{}
	}
	o := object{
		"ServerCertificateId": c.ID, "ServerCertificateName": c.Name, "CommonName": c.CommonName, "Fingerprint": c.Fingerprint,
		"SubjectAlternativeNames": object{"SubjectAlternativeName": names}, "IsAliCloudCertificate": 0, "AliCloudCertificateId": "",
		"RegionId": region, "Tags": object{"Tag": []object{}},
	}
	if !c.NoText {
		o["ExpireTime"] = stamp(c.Expiry, seconds)
	}
	if !c.NoNumber {
		o["ExpireTimeStamp"] = c.Expiry.UnixMilli()
	}
	return o
}

func (c *Cloud) describeAccessList(q query) (object, error) {
	a, ok := c.AccessLists.rows[q.text("AclId")]
	if !ok {
		return nil, refuse(http.StatusNotFound, "AclNotExist", "The specified acl does not exist.")
	}
	entries, related := []object{}, []object{}
	for _, e := range a.Entries {
		if q.equal("AclEntryComment", e.Comment) {
			entries = append(entries, object{"AclEntryIP": e.IP, "AclEntryComment": e.Comment})
		}
	}
	total, size := len(entries), q.numbers["PageSize"]
	first := min((q.numbers["Page"]-1)*size, total)
	entries = entries[first:min(first+size, total)]
	for _, l := range c.Listeners.sorted(func(l Listener) bool { return l.ACLID == a.ID }) {
		related = append(related, object{"LoadBalancerId": l.LoadBalancerID, "ListenerPort": l.Port, "Protocol": l.Protocol, "AclType": l.ACLType})
	}
	return object{
		"AclId": a.ID, "AclName": a.Name, "AddressIPVersion": "ipv4", "AclEntrys": object{"AclEntry": entries},
		"RelatedListeners": object{"RelatedListener": related}, "TotalAclEntry": total, "Tags": object{"Tag": []object{}},
	}, nil
}
