package drift

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/slb/ccm"
	"ack-exporter/collector/slb/inventory"
	"ack-exporter/internal/aliyun"
)

// world is an Input that tests change, with access to what it is made of.
type world struct {
	t *testing.T
	Input
	api, web, shop *inventory.LoadBalancer
}

func tags(pairs ...string) []aliyun.Tag {
	var all []aliyun.Tag
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, aliyun.Tag{Key: pairs[i], Value: pairs[i+1]})
	}
	return all
}

func (w *world) group(id, name string, backends ...aliyun.Backend) inventory.Group {
	w.t.Helper()
	list, err := inventory.NewBackends(backends)
	if err != nil {
		w.t.Fatal(err)
	}
	return inventory.Group{ServerGroup: aliyun.ServerGroup{ID: id, Name: name}, Backends: list, Read: time.Unix(1, 0)}
}

func ecs(id string, port int) aliyun.Backend {
	return aliyun.Backend{ServerID: id, ServerIP: "10.0.0.1", Type: "ecs", Port: aliyun.Integer(port), Weight: 100}
}

func eni(ip string, port int) aliyun.Backend {
	return aliyun.Backend{ServerID: "eni-a", ServerIP: ip, Type: "eni", Port: aliyun.Integer(port), Weight: 100}
}

// newWorld is a cluster in which everything is as it should be: the API server, the Service
// web with a load balancer that the controller made, and the Service shop, which re-uses one
// that has a listener of the user and whose pods are backends.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.api = &inventory.LoadBalancer{
		LoadBalancer: aliyun.LoadBalancer{ID: "lb-api", Name: "api", Status: "active", AddressType: "intranet", VPCID: "vpc-a"},
		Listeners:    []aliyun.Listener{{LoadBalancerID: "lb-api", Port: 6443, Protocol: "tcp", Status: "running", ServerGroupID: "rsp-api", ACLStatus: "on", ACLType: "white", ACLID: "acl-a"}},
		Groups:       []inventory.Group{w.group("rsp-api", "masters", eni("10.0.1.1", 6443))},
		Listed:       time.Unix(1, 0),
	}
	w.api.Tags.Tag = tags(clusterTag, "c1")
	w.web = &inventory.LoadBalancer{
		LoadBalancer: aliyun.LoadBalancer{
			ID: "lb-web", Name: "a1", Status: "active", Address: "192.0.2.1", AddressType: "internet", Spec: "slb.s1.small",
			InstanceChargeType: "PayBySpec", ChargeType: "paybytraffic", Bandwidth: 50, DeleteProtection: "on", ModificationProtection: "ConsoleProtection",
		},
		Listeners: []aliyun.Listener{
			{LoadBalancerID: "lb-web", Port: 80, Protocol: "http", Status: "running", Description: "k8s/80/web/ns/c1"},
			{LoadBalancerID: "lb-web", Port: 443, Protocol: "https", Status: "running", Description: "k8s/443/web/ns/c1", ServerGroupID: "rsp-443"},
		},
		Groups: []inventory.Group{
			w.group("rsp-80", "k8s/30080/web/ns/c1", ecs("i-a", 30080), ecs("i-b", 30080)),
			w.group("rsp-443", "k8s/30443/web/ns/c1", ecs("i-b", 30443), ecs("i-a", 30443)),
		},
		Listed: time.Unix(1, 0),
	}
	w.web.Tags.Tag = tags(madeTag, "a1", clusterTag, "c1")
	w.shop = &inventory.LoadBalancer{
		LoadBalancer: aliyun.LoadBalancer{ID: "lb-shop", Name: "mine", Status: "active", AddressType: "intranet", VPCID: "vpc-a", Spec: "slb.s3.large", DeleteProtection: "off"},
		Listeners:    []aliyun.Listener{{LoadBalancerID: "lb-shop", Port: 8443, Protocol: "tcp", Status: "stopped", Description: "by hand", ServerGroupID: "rsp-own"}},
		Groups: []inventory.Group{
			w.group("rsp-shop", "k8s/8080/shop/ns/c1", eni("10.0.0.1", 8080), eni("10.0.0.2", 8080)),
			w.group("rsp-own", "mine", ecs("i-x", 1)),
		},
		Listed: time.Unix(1, 0),
	}
	w.shop.Tags.Tag = tags(reusedTag, "true")
	node := func(port int32) []ccm.Backend {
		return []ccm.Backend{{ServerID: "i-a", Port: port}, {ServerID: "i-b", Port: port}}
	}
	w.Input = Input{
		ClusterID: "c1", VPC: "vpc-a",
		Services: []ccm.Service{
			{
				NamespacedName: types.NamespacedName{Namespace: "ns", Name: "web"}, UID: "1", LoadBalancerID: "lb-web", OwnListeners: true, Name: "a1",
				AddressType: "internet", Settled: true, Addresses: []string{"192.0.2.1"},
				Settings: ccm.Settings{DeleteProtection: "on", ModificationProtection: "ConsoleProtection"},
				Listeners: []ccm.Listener{
					{Port: 80, Protocol: "http", Name: "k8s/80/web/ns/c1", Forwards: true, Group: ccm.Group{Name: "k8s/30080/web/ns/c1", OtherName: "k8s/8080/web/ns/c1", Known: true, Backends: node(30080)}},
					{Port: 443, Protocol: "https", Name: "k8s/443/web/ns/c1", Group: ccm.Group{Name: "k8s/30443/web/ns/c1", OtherName: "k8s/8443/web/ns/c1", Known: true, Backends: node(30443)}},
				},
			},
			{
				NamespacedName: types.NamespacedName{Namespace: "ns", Name: "shop"}, UID: "2", LoadBalancerID: "lb-shop", Reused: true, Name: "a2", Settled: true,
				Listeners: []ccm.Listener{{Port: 8443, Protocol: "tcp", Name: "k8s/8443/shop/ns/c1", Group: ccm.Group{
					Name: "k8s/8080/shop/ns/c1", Known: true, Backends: []ccm.Backend{{ServerIP: "10.0.0.1", Port: 8080}}, Optional: []ccm.Backend{{ServerIP: "10.0.0.2", Port: 8080}, {ServerIP: "10.0.0.3", Port: 8080}},
				}}},
			},
		},
		Inventory: &inventory.Inventory{Region: map[string]aliyun.LoadBalancer{}, Cluster: map[string]*inventory.LoadBalancer{
			"lb-api": w.api, "lb-web": w.web, "lb-shop": w.shop,
		}},
		APIServers: []APIServer{{
			ID: "lb-api", Baseline: FingerprintOf(w.api), Entries: map[string][]string{"acl-a": {"100.104.0.0/16", "10.0.0.0/24"}},
			Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
		}},
	}
	return w
}

func (w *world) service(n int) *ccm.Service { return &w.Services[n] }

// lost deletes a load balancer.
func (w *world) lost(id string) { delete(w.Inventory.Cluster, id) }

// found is what there is, a line each.
func (w *world) found() string {
	region := map[string]aliyun.LoadBalancer{"lb-other": {ID: "lb-other", Address: "198.51.100.1", AddressType: "internet"}}
	maps.Copy(region, w.Inventory.Region)
	for id, l := range w.Inventory.Cluster {
		region[id] = l.LoadBalancer
	}
	w.Inventory.Region = region
	var all []string
	for _, f := range Find(w.Input) {
		if f.Count < 1 || len(f.Details) != min(f.Count, maxDetails) {
			w.t.Errorf("%+v", f)
		}
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s %d", f.Kind, f.LoadBalancerID, strings.Trim(f.Service.String(), "/"), f.Count)))
	}
	return strings.ReplaceAll(strings.Join(all, "; "), "  ", " ")
}

// second adds a Service that re-uses the load balancer of shop.
func (w *world) second(change func(*ccm.Service)) {
	s := w.Services[1]
	s.NamespacedName.Name, s.Name, s.Listeners = "cart", "a3", []ccm.Listener{{Port: 8443, Protocol: "tcp", Name: "k8s/8443/cart/ns/c1"}}
	change(&s)
	w.Services = append(w.Services, s)
}

// overridden lets the controller keep the listeners of shop.
func (w *world) overridden() {
	w.service(1).OwnListeners = true
	w.shop.Listeners[0].Description, w.shop.Listeners[0].Status, w.shop.Listeners[0].ServerGroupID = "k8s/8443/shop/ns/c1", "running", "rsp-shop"
}

type example struct {
	kind   Kind
	name   string
	change func(*world)
	want   string
}

// examples are cases of each kind. Where nothing is wanted, it is a near miss.
func examples() []example {
	listener := func(port aliyun.Integer, protocol, description string) aliyun.Listener {
		return aliyun.Listener{LoadBalancerID: "lb-web", Port: port, Protocol: protocol, Status: "running", Description: description}
	}
	return []example{
		{"", "as it should be", func(*world) {}, ""},
		{"", "all deleted", func(w *world) { clear(w.Inventory.Cluster); w.Inventory.Region = nil }, "apiserver_gone lb-api 1; gone lb-shop ns/shop 1; gone lb-web ns/web 1"},
		{"", "no load balancer of the cluster known", func(w *world) {
			w.Services, w.APIServers = nil, nil
			clear(w.Inventory.Cluster)
		}, ""},

		{APIServerGone, "deleted", func(w *world) { w.lost("lb-api") }, "apiserver_gone lb-api 1"},
		{APIServerGone, "not known", func(w *world) { w.lost("lb-api"); w.APIServers = nil }, ""},
		{APIServerInactive, "stopped", func(w *world) { w.api.Status = "inactive" }, "apiserver_inactive lb-api 1"},
		{APIServerInactive, "locked", func(w *world) { w.api.Status = "locked" }, "apiserver_inactive lb-api 1"},
		{APIServerInactive, "not told", func(w *world) { w.api.Status = "" }, ""},
		{APIServerListener, "missing", func(w *world) { w.api.Listeners = nil; w.APIServers[0].Baseline = nil }, "apiserver_listener lb-api 1"},
		{APIServerListener, "stopped", func(w *world) { w.api.Listeners[0].Status = "stopped" }, "apiserver_listener lb-api 1"},
		{APIServerListener, "being set up", func(w *world) { w.api.Listeners[0].Status = "configuring" }, ""},
		{APIServerListener, "another port is meant", func(w *world) {
			w.APIServers[0].Ports, w.api.Listeners[0].Port = []int32{443}, 443
			w.APIServers[0].Baseline = nil
		}, ""},
		{APIServerBackends, "none", func(w *world) { w.api.Groups[0] = w.group("rsp-api", "masters") }, "apiserver_backends lb-api 1"},
		{APIServerBackends, "not read", func(w *world) { w.api.Groups[0] = w.group("rsp-api", "masters"); w.api.Groups[0].Read = time.Time{} }, ""},
		{APIServerReused, "by annotation", func(w *world) { w.service(1).LoadBalancerID = "lb-api" }, "apiserver_reused lb-api ns/shop 1"},
		{APIServerReused, "before it has an address", func(w *world) { w.service(1).LoadBalancerID = "lb-api"; w.service(1).Settled = false }, "apiserver_reused lb-api ns/shop 1"},
		{APIServerReused, "by label", func(w *world) { w.service(0).LoadBalancerID = "lb-api" }, "apiserver_reused lb-api ns/web 1"},
		{APIServerReused, "by a Service that goes", func(w *world) {
			w.service(1).LoadBalancerID, w.service(1).Deleting, w.service(1).Settled = "lb-api", true, false
		}, ""},
		{APIServerExtraListener, "two", func(w *world) {
			w.api.Listeners = append(w.api.Listeners, aliyun.Listener{Port: 80, Protocol: "tcp"}, aliyun.Listener{Port: 22, Protocol: "tcp"})
			w.APIServers[0].Baseline = nil
		}, "apiserver_extra_listener lb-api 2"},
		{APIServerExtraListener, "one that may be there", func(w *world) {
			w.api.Listeners = append(w.api.Listeners, aliyun.Listener{Port: 22, Protocol: "tcp"})
			w.APIServers[0].Baseline, w.APIServers[0].Ports = nil, []int32{6443, 22}
		}, ""},
		{APIServerTag, "removed", func(w *world) { w.api.Tags.Tag = nil; w.APIServers[0].Baseline = nil }, "apiserver_tag lb-api 1"},
		{APIServerTag, "another cluster", func(w *world) { w.api.Tags.Tag[0].Value = "c2"; w.APIServers[0].Baseline = nil }, "apiserver_tag lb-api 1"},
		{APIServerTag, "cluster not known", func(w *world) { w.api.Tags.Tag = nil; w.APIServers[0].Baseline = nil; w.ClusterID = "" }, ""},
		{APIServerChanged, "group and tag", func(w *world) {
			w.api.Listeners[0].ServerGroupID = "rsp-x"
			w.api.Tags.Tag = append(w.api.Tags.Tag, tags("a", "b")...)
		}, "apiserver_changed lb-api 2"},
		{APIServerChanged, "backends come and go", func(w *world) {
			w.api.Groups[0] = w.group("rsp-api", "masters", eni("10.0.1.2", 6443))
		}, ""},
		{APIServerChanged, "groups not listed", func(w *world) { w.api.Listed, w.api.Groups, w.api.Name = time.Time{}, nil, "x" }, ""},
		{APIServerACL, "ACK is not in the white list", func(w *world) { w.APIServers[0].Entries["acl-a"] = []string{"10.0.0.0/8", "100.104.0.0/17"} }, "apiserver_acl lb-api 1"},
		{APIServerACL, "neither are nodes", func(w *world) { w.APIServers[0].Entries["acl-a"] = []string{"192.0.2.1"} }, "apiserver_acl lb-api 2"},
		{APIServerACL, "nodes are in the black list", func(w *world) {
			w.api.Listeners[0].ACLType, w.APIServers[0].Baseline, w.APIServers[0].Entries["acl-a"] = "black", nil, []string{"10.0.0.7"}
		}, "apiserver_acl lb-api 1"},
		{APIServerACL, "others are", func(w *world) {
			w.api.Listeners[0].ACLType, w.APIServers[0].Baseline, w.APIServers[0].Entries["acl-a"] = "black", nil, []string{"192.0.2.0/24"}
		}, ""},
		{APIServerACL, "in halves", func(w *world) {
			w.APIServers[0].Entries["acl-a"] = []string{"100.104.0.0/17", "100.104.128.0/17", "10.0.0.0/25", "10.0.0.128/26", "10.0.0.192/26"}
		}, ""},
		{APIServerACL, "off", func(w *world) {
			w.api.Listeners[0].ACLStatus, w.APIServers[0].Baseline, w.APIServers[0].Entries["acl-a"] = "off", nil, []string{"192.0.2.1"}
		}, ""},
		{APIServerACL, "an empty white list", func(w *world) { w.APIServers[0].Entries["acl-a"] = nil }, ""},
		{APIServerACL, "not known", func(w *world) { clear(w.APIServers[0].Entries) }, ""},
		{APIServerACL, "not understood", func(w *world) { w.APIServers[0].Entries["acl-a"] = []string{"x"} }, ""},

		{Gone, "deleted", func(w *world) { w.lost("lb-web") }, "gone lb-web ns/web 1"},
		{Gone, "re-used", func(w *world) { w.lost("lb-shop") }, "gone lb-shop ns/shop 1"},
		{Gone, "being created", func(w *world) { w.lost("lb-web"); w.service(0).Settled = false }, ""},
		{Gone, "being deleted", func(w *world) {
			w.lost("lb-web")
			w.service(0).Settled, w.service(0).Deleting = false, true
		}, ""},
		{Gone, "not known which", func(w *world) { w.lost("lb-web"); w.service(0).LoadBalancerID = "" }, ""},
		{Gone, "found by its tag", func(w *world) { w.service(0).LoadBalancerID = "" }, ""},
		{Inactive, "stopped", func(w *world) { w.web.Status = "inactive" }, "inactive lb-web ns/web 1"},
		{Inactive, "re-used and locked", func(w *world) { w.shop.Status = "locked" }, "inactive lb-shop ns/shop 1"},
		{Inactive, "not told", func(w *world) { w.web.Status = "" }, ""},
		{Tag, "both removed", func(w *world) { w.web.Tags.Tag = nil }, "tag lb-web ns/web 2"},
		{Tag, "changed", func(w *world) { w.web.Tags.Tag[0].Value = "a9" }, "tag lb-web ns/web 1"},
		{Tag, "found by its address", func(w *world) { w.web.Tags.Tag = w.web.Tags.Tag[1:]; w.service(0).LoadBalancerID = "" }, "tag lb-web ns/web 1"},
		{Tag, "a private address", func(w *world) {
			w.web.Tags.Tag, w.web.AddressType, w.service(0).LoadBalancerID = nil, "intranet", ""
		}, ""},
		{Tag, "cluster not known", func(w *world) { w.web.Tags.Tag = w.web.Tags.Tag[:1]; w.ClusterID = "" }, ""},
		{Tag, "re-used ones have none", func(w *world) { w.shop.Tags.Tag = nil }, ""},
		{Setting, "all", func(w *world) {
			w.service(0).Settings = ccm.Settings{
				DisplayName: "n", Spec: "slb.s2.small", DeleteProtection: "off", ModificationProtection: "NonProtection", AddressType: "intranet",
				ChargeType: "paybybandwidth", InstanceChargeType: "PayBySpec", Bandwidth: 10,
			}
		}, "setting lb-web ns/web 7"},
		{Setting, "re-used, as annotated", func(w *world) { w.service(1).Settings = ccm.Settings{DisplayName: "n"} }, "setting lb-shop ns/shop 1"},
		{Setting, "paid by use", func(w *world) {
			w.service(0).Settings.Spec, w.web.Spec, w.web.InstanceChargeType = "slb.s2.small", "slb.lcu.elastic", "PayByCLCU"
		}, ""},
		{Setting, "not told by the API", func(w *world) {
			w.service(0).Settings.InstanceChargeType, w.web.InstanceChargeType, w.web.DeleteProtection = "PayBySpec", "", ""
		}, ""},
		{Setting, "bandwidth of traffic", func(w *world) { w.service(0).Settings.Bandwidth = 10 }, ""},
		{Setting, "no annotation", func(w *world) { w.web.Name, w.web.Spec = "x", "slb.s3.large" }, ""},
		{Unprotected, "both", func(w *world) { w.web.DeleteProtection, w.web.ModificationProtection = "off", "NonProtection" }, "unprotected lb-web ns/web 2"},
		{Unprotected, "as annotated", func(w *world) {
			w.service(0).Settings.DeleteProtection, w.web.DeleteProtection = "off", "off"
		}, ""},

		{ListenerMissing, "both", func(w *world) { w.web.Listeners = nil }, "listener_missing lb-web ns/web 2"},
		{ListenerMissing, "another port", func(w *world) { w.web.Listeners[0].Port = 81 }, "listener_extra lb-web ns/web 1; listener_missing lb-web ns/web 1"},
		{ListenerMissing, "re-used, overridden", func(w *world) { w.overridden(); w.shop.Listeners = nil }, "listener_missing lb-shop ns/shop 1"},
		{ListenerMissing, "re-used: the user's own", func(w *world) { w.shop.Listeners = nil }, ""},
		{ListenerMissing, "not settled", func(w *world) { w.web.Listeners = nil; w.service(0).Settled = false }, ""},
		{ListenerMissing, "not scanned", func(w *world) { w.Inventory.Region["lb-web"] = w.web.LoadBalancer; w.lost("lb-web") }, ""},
		{ListenerStopped, "one", func(w *world) { w.web.Listeners[1].Status = "stopped" }, "listener_stopped lb-web ns/web 1"},
		{ListenerStopped, "starting", func(w *world) { w.web.Listeners[1].Status = "starting" }, ""},
		{ListenerStopped, "re-used: the user's own", func(*world) {}, ""},
		{ListenerProtocol, "one", func(w *world) { w.web.Listeners[0].Protocol = "tcp" }, "listener_protocol lb-web ns/web 1"},
		{ListenerProtocol, "not understood", func(w *world) { w.service(0).Listeners[0].Protocol = "" }, ""},
		{ListenerProtocol, "the same port for tcp and udp", func(w *world) {
			w.web.Listeners = append(w.web.Listeners, listener(53, "tcp", "k8s/53/web/ns/c1"), listener(53, "udp", "k8s/53/web/ns/c1"))
			for _, protocol := range []string{"tcp", "udp"} {
				w.service(0).Listeners = append(w.service(0).Listeners, ccm.Listener{Port: 53, Protocol: protocol, Name: "k8s/53/web/ns/c1"})
			}
		}, ""},
		{ListenerGroup, "another", func(w *world) { w.web.Listeners[1].ServerGroupID = "rsp-80" }, "listener_group lb-web ns/web 1"},
		{ListenerGroup, "it forwards", func(w *world) { w.web.Listeners[0].ServerGroupID = "rsp-443" }, ""},
		{ListenerGroup, "not told", func(w *world) { w.web.Listeners[1].ServerGroupID = "" }, ""},
		{ListenerExtra, "by hand", func(w *world) { w.web.Listeners = append(w.web.Listeners, listener(81, "tcp", "by hand")) }, "listener_extra lb-web ns/web 1"},
		{ListenerExtra, "beside another protocol", func(w *world) { w.web.Listeners = append(w.web.Listeners, listener(443, "udp", "")) }, "listener_extra lb-web ns/web 1"},
		{ListenerExtra, "left over on a re-used one", func(w *world) {
			w.overridden()
			w.shop.Listeners = append(w.shop.Listeners, listener(81, "tcp", "k8s/81/shop/ns/c1"))
		}, "listener_extra lb-shop ns/shop 1"},
		{ListenerExtra, "the user's own on an overridden one", func(w *world) {
			w.overridden()
			w.shop.Listeners = append(w.shop.Listeners, listener(81, "tcp", "by hand"))
		}, ""},
		{ListenerExtra, "of another Service", func(w *world) {
			w.overridden()
			w.shop.Listeners = append(w.shop.Listeners, listener(82, "tcp", "k8s/82/cart/ns/c1"))
			w.second(func(s *ccm.Service) { s.Listeners[0].Port, s.Settled = 82, false })
		}, ""},

		{GroupMissing, "one", func(w *world) { w.web.Groups = w.web.Groups[1:] }, "group_missing lb-web ns/web 1"},
		{GroupMissing, "named", func(w *world) { w.service(1).Listeners[0].Group = ccm.Group{ID: "rsp-x"} }, "group_missing lb-shop ns/shop 1"},
		{GroupMissing, "not listed", func(w *world) { w.web.Groups, w.web.Listed = nil, time.Time{} }, ""},
		{GroupMissing, "cluster not known", func(w *world) {
			w.ClusterID = ""
			w.service(0).Listeners[0].Group.Name, w.service(0).Listeners[0].Group.OtherName = "", ""
		}, ""},
		{GroupMissing, "pods by default", func(w *world) { w.web.Groups[0].Name = "k8s/8080/web/ns/c1" }, ""},
		{BackendMissing, "of both groups", func(w *world) {
			for n := range w.service(0).Listeners {
				group := &w.service(0).Listeners[n].Group
				group.Backends = append(group.Backends, ccm.Backend{ServerID: "i-c", Port: 1})
			}
		}, "backend_missing lb-web ns/web 2"},
		{BackendMissing, "a pod", func(w *world) { w.service(1).Listeners[0].Group.Backends[0].ServerIP = "10.0.0.9" }, "backend_extra lb-shop ns/shop 1; backend_missing lb-shop ns/shop 1"},
		{BackendMissing, "another port", func(w *world) { w.service(0).Listeners[0].Group.Backends[0].Port = 1 }, "backend_extra lb-web ns/web 1; backend_missing lb-web ns/web 1"},
		{BackendMissing, "endpoints not known", func(w *world) {
			w.service(1).Listeners[0].Group.Known, w.service(1).Listeners[0].Group.Optional = false, nil
		}, ""},
		{BackendMissing, "not read", func(w *world) {
			w.web.Groups[0] = w.group("rsp-80", "k8s/30080/web/ns/c1")
			w.web.Groups[0].Read = time.Time{}
		}, ""},
		{BackendMissing, "outdated", func(w *world) {
			w.web.Groups[0] = w.group("rsp-80", "k8s/30080/web/ns/c1")
			w.web.Groups[0].Outdated = true
		}, ""},
		{BackendExtra, "a node", func(w *world) {
			w.service(0).Listeners[0].Group.Backends = w.service(0).Listeners[0].Group.Backends[:1]
		}, "backend_extra lb-web ns/web 1"},
		{BackendExtra, "no pod left", func(w *world) {
			w.service(1).Listeners[0].Group.Backends, w.service(1).Listeners[0].Group.Optional = nil, nil
		}, "backend_extra lb-shop ns/shop 2"},
		{BackendExtra, "a pod that is not ready", func(*world) {}, ""},
		{BackendExtra, "a group of the user", func(w *world) {
			w.service(1).Listeners[0].Group = ccm.Group{ID: "rsp-own", Known: true}
		}, ""},
		{Renamed, "listeners and group", func(w *world) {
			w.web.Listeners[0].Description, w.web.Listeners[1].Description, w.web.Groups[1].Name = "", "https", "x"
		}, "renamed lb-web ns/web 3"},
		{Renamed, "cluster not known", func(w *world) {
			w.ClusterID = ""
			for n := range w.service(0).Listeners {
				w.service(0).Listeners[n].Name, w.web.Listeners[n].Description = "", "x"
			}
		}, ""},
		{Renamed, "the user's own", func(w *world) { w.shop.Listeners[0].Description = "x" }, ""},

		{ReuseRemoved, "annotation", func(w *world) {
			s := w.service(1)
			s.Reused, s.OwnListeners, s.Settings.DeleteProtection = false, true, "on"
		}, "reuse_removed lb-shop ns/shop 1"},
		{ReuseRemoved, "re-used by another", func(w *world) { w.web.Tags.Tag = append(w.web.Tags.Tag, tags(reusedTag, "true")...) }, ""},
		{ReuseOfManaged, "of another Service", func(w *world) {
			w.service(1).LoadBalancerID = "lb-web"
		}, "reuse_of_managed lb-web ns/shop 1"},
		{ReuseOfManaged, "before it has an address", func(w *world) {
			w.service(1).LoadBalancerID, w.service(1).Settled = "lb-web", false
		}, "reuse_of_managed lb-web ns/shop 1"},
		{ReuseOfManaged, "by one that goes", func(w *world) {
			w.service(1).LoadBalancerID, w.service(1).Settled, w.service(1).Deleting = "lb-web", false, true
		}, ""},
		{PortConflict, "two", func(w *world) {
			w.overridden()
			w.second(func(s *ccm.Service) { s.Listeners[0].Group.ID = "rsp-own" })
		}, "port_conflict lb-shop ns/cart 1; port_conflict lb-shop ns/shop 1"},
		{PortConflict, "the listeners are the user's", func(w *world) { w.second(func(*ccm.Service) {}) }, ""},
		{PortConflict, "another port", func(w *world) {
			w.overridden()
			w.second(func(s *ccm.Service) { s.Listeners[0].Port, s.OwnListeners = 8444, false })
		}, ""},
		{PortConflict, "another protocol", func(w *world) {
			w.overridden()
			w.second(func(s *ccm.Service) { s.Listeners[0].Protocol, s.OwnListeners = "udp", false })
		}, ""},
		{PortConflict, "one group", func(w *world) {
			w.overridden()
			w.shop.Listeners[0].ServerGroupID = "rsp-own"
			w.service(1).Listeners[0].Group = ccm.Group{ID: "rsp-own"}
			w.second(func(s *ccm.Service) { s.Listeners[0].Group.ID, s.OwnListeners = "rsp-own", false })
		}, ""},
		{PortConflict, "with one that goes", func(w *world) {
			w.overridden()
			w.second(func(s *ccm.Service) { s.Deleting, s.Settled = true, false })
		}, ""},
		{OtherVPC, "another", func(w *world) { w.shop.VPCID = "vpc-b" }, "other_vpc lb-shop ns/shop 1"},
		{OtherVPC, "public", func(w *world) { w.shop.VPCID, w.shop.AddressType = "vpc-b", "internet" }, ""},
		{OtherVPC, "not known", func(w *world) { w.shop.VPCID, w.VPC = "vpc-b", "" }, ""},
		{OtherVPC, "classic network", func(w *world) { w.shop.VPCID = "" }, ""},
		{AddressType, "another", func(w *world) { w.service(1).Settings.AddressType = "internet" }, "address_type lb-shop ns/shop 1"},
		{AddressType, "the same", func(w *world) { w.service(1).Settings.AddressType = "intranet" }, ""},
		{AddressType, "not asked for", func(w *world) { w.shop.AddressType = "internet" }, ""},
		{SharedByClusters, "listener and group", func(w *world) {
			w.shop.Listeners = append(w.shop.Listeners, listener(82, "tcp", "k8s/82/cart/ns/c2"))
			w.shop.Groups = append(w.shop.Groups, w.group("rsp-x", "k8s/30082/cart/ns/c2"))
		}, "shared_by_clusters lb-shop ns/shop 2"},
		{SharedByClusters, "groups of the user", func(w *world) {
			w.shop.Groups = append(w.shop.Groups, w.group("rsp-x", "k8s/30082/cart/ns/c2"))
			w.service(1).Listeners[0].Group = ccm.Group{ID: "rsp-own"}
		}, ""},
		{SharedByClusters, "of this cluster", func(w *world) { w.shop.Groups = append(w.shop.Groups, w.group("rsp-x", "k8s/30082/cart/ns/c1")) }, ""},
		{SharedByClusters, "cluster not known", func(w *world) {
			w.ClusterID = ""
			w.shop.Groups = append(w.shop.Groups, w.group("rsp-x", "k8s/30082/cart/ns/c2"))
		}, ""},
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for _, e := range examples() {
		t.Run(string(e.kind)+" "+e.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e.change(w)
			if got := w.found(); got != e.want {
				t.Errorf("got  %s\nwant %s", got, e.want)
			}
		})
	}
}

func TestEveryKindIsShownWithANearMiss(t *testing.T) {
	t.Parallel()
	hits, misses := map[Kind]bool{}, map[Kind]bool{}
	for _, e := range examples() {
		hits[e.kind] = hits[e.kind] || strings.Contains("; "+e.want, "; "+string(e.kind)+" ")
		misses[e.kind] = misses[e.kind] || e.want == ""
	}
	for _, kind := range Kinds() {
		if !hits[kind] || !misses[kind] {
			t.Errorf("%s: found %v, near miss %v", kind, hits[kind], misses[kind])
		}
	}
	if all := slices.Compact(slices.Sorted(slices.Values(Kinds()))); len(all) != len(Kinds()) {
		t.Error("a kind is listed twice")
	}
}

// What the controller makes of a Service, as ccm computes it, is no drift.
func TestWhatIsComputedIsWhatIsCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	node := func(name string) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{ProviderID: "cn-x.i-" + name},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		}
	}
	web := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: "web", UID: "1", Labels: map[string]string{"service.k8s.alibaba/loadbalancer-id": "lb-web"},
			Annotations: map[string]string{
				"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-protocol-port": "http:80,https:443",
				"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-forward-port":  "80:443",
			},
		},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, NodePort: 30080, Protocol: corev1.ProtocolTCP}, {Name: "https", Port: 443, NodePort: 30443, Protocol: corev1.ProtocolTCP},
		}},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
	}
	computed := func(nodes ...*corev1.Node) []ccm.Service {
		return ccm.Compute(ccm.Cluster{ID: "c1", Services: []*corev1.Service{web}, Nodes: nodes})
	}
	w.Services = computed(node("a"), node("b"))
	if got := w.found(); got != "" {
		t.Errorf("got %s", got)
	}
	w.Services = computed(node("a"), node("c"))
	if got := w.found(); got != "backend_extra lb-web ns/web 2; backend_missing lb-web ns/web 2" {
		t.Errorf("got %s", got)
	}
}

// Without the right to see them the API may list none.
func TestAnEmptyRegionSaysNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Inventory.Cluster, w.Inventory.Region = nil, nil
	if found := Find(w.Input); found != nil {
		t.Errorf("got %+v", found)
	}
}

func TestDetailsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for port := range int32(30) {
		w.service(0).Listeners = append(w.service(0).Listeners, ccm.Listener{Port: 1000 + port, Protocol: "tcp"})
	}
	if got := w.found(); got != "listener_missing lb-web ns/web 30" {
		t.Errorf("got %s", got)
	}
}

func TestFindAPIServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*world)
		want   string
	}{
		"found":                {func(*world) {}, "lb-api"},
		"cluster not known":    {func(w *world) { w.ClusterID = "" }, ""},
		"another cluster":      {func(w *world) { w.ClusterID = "c2" }, ""},
		"no listener":          {func(w *world) { w.api.Listeners[0].Port = 443 }, ""},
		"made for a Service":   {func(w *world) { w.api.Tags.Tag = append(w.api.Tags.Tag, tags(madeTag, "a9")...) }, ""},
		"has lost that tag":    {func(w *world) { w.service(0).LoadBalancerID = "lb-api" }, ""},
		"re-used all the same": {func(w *world) { w.service(1).LoadBalancerID = "lb-api" }, "lb-api"},
		"two": {func(w *world) {
			w.shop.Tags.Tag, w.shop.Listeners[0].Port = tags(clusterTag, "c1"), 6443
		}, ""},
	} {
		w := newWorld(t)
		test.change(w)
		if got := FindAPIServer(w.ClusterID, w.Services, w.Inventory); got != test.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestVPC(t *testing.T) {
	t.Parallel()
	private := func(vpc string, tag ...string) aliyun.LoadBalancer {
		lb := aliyun.LoadBalancer{AddressType: "intranet", VPCID: vpc}
		lb.Tags.Tag = tags(tag...)
		return lb
	}
	public := private("vpc-b", clusterTag, "c1")
	public.AddressType = "internet"
	for name, test := range map[string]struct {
		region map[string]aliyun.LoadBalancer
		want   string
	}{
		"none":   {nil, ""},
		"one":    {map[string]aliyun.LoadBalancer{"a": private("vpc-a", clusterTag, "c1"), "b": public, "c": private("vpc-c"), "d": private("vpc-d", clusterTag, "c2")}, "vpc-a"},
		"two":    {map[string]aliyun.LoadBalancer{"a": private("vpc-a", clusterTag, "c1"), "b": private("vpc-b", clusterTag, "c1")}, ""},
		"public": {map[string]aliyun.LoadBalancer{"b": public}, ""},
	} {
		if got := VPC("c1", &inventory.Inventory{Region: test.region}); got != test.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := &memory{}
	at := time.Unix(0, 0)
	look := func(after time.Duration) string {
		at = at.Add(after)
		var all []string
		for _, a := range m.apiServers(at, w.Input) {
			changes := "-"
			if l := w.Inventory.Cluster[a.ID]; l != nil && a.Baseline != nil {
				changes = fmt.Sprint(len(a.Baseline.changes(FingerprintOf(l))))
			}
			all = append(all, a.ID+" "+changes)
		}
		return strings.Join(all, ", ")
	}
	for _, step := range []struct {
		name   string
		change func()
		after  time.Duration
		want   string
	}{
		{"first", func() {}, 0, "lb-api 0"},
		{"changed", func() { w.api.Name = "x" }, time.Hour, "lb-api 1"},
		{"changed again", func() { w.api.Name = "y" }, 23 * time.Hour, "lb-api 1"},
		{"almost accepted", func() {}, 23 * time.Hour, "lb-api 1"},
		{"accepted", func() {}, time.Hour, "lb-api 0"},
		{"not listed", func() { w.api.Listed, w.api.Name = time.Time{}, "z" }, time.Hour, "lb-api 0"},
		{"listed", func() { w.api.Listed = time.Unix(1, 0) }, time.Hour, "lb-api 1"},
		{"back", func() { w.api.Name = "y" }, time.Hour, "lb-api 0"},
		{"the listener is gone", func() { w.api.Listeners = nil }, time.Hour, "lb-api 1"},
		{"all of it is", func() { w.lost("lb-api") }, time.Hour, "lb-api -"},
		{"cluster not known for a while", func() { w.ClusterID = "" }, time.Hour, "lb-api -"},
		{"cluster known again", func() { w.ClusterID = "c1" }, time.Hour, "lb-api -"},
		{"another cluster", func() { w.ClusterID = "c2" }, time.Hour, ""},
		{"named", func() { m.named = []string{"lb-x", "lb-web"} }, time.Hour, "lb-x -, lb-web 0"},
	} {
		step.change()
		if got := look(step.after); got != step.want {
			t.Fatalf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

func TestACLs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.APIServers[0].ACLs(w.Inventory); !slices.Equal(got, []string{"acl-a"}) {
		t.Errorf("got %v", got)
	}
	if got := (APIServer{ID: "lb-x"}).ACLs(w.Inventory); got != nil {
		t.Errorf("got %v", got)
	}
	w.lost("lb-api")
	if got := w.APIServers[0].ACLs(w.Inventory); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestTracker(t *testing.T) {
	t.Parallel()
	tracker := NewTracker()
	web := Finding{Kind: Tag, LoadBalancerID: "lb-web", Service: types.NamespacedName{Namespace: "ns", Name: "web"}, Count: 2}
	api := Finding{Kind: APIServerGone, LoadBalancerID: "lb-api", Count: 1}
	look := func(found ...Finding) string {
		tracker.Metrics(found)
		return fmt.Sprint(tracker.changes[Tag], tracker.changes[APIServerGone])
	}
	for _, step := range []struct{ got, want string }{
		{look(web), "0 0"}, {look(web, api), "0 1"}, {look(api), "0 1"}, {look(web, api), "1 1"}, {look(), "1 1"}, {look(web, api), "2 2"},
	} {
		if step.got != step.want {
			t.Errorf("got %s, want %s", step.got, step.want)
		}
	}
	text, err := collectortest.Collect(t, published{tracker, []Finding{api, web}})
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "tracker.prom", text)
}

// published is a collector of what was found.
type published struct {
	tracker *Tracker
	found   []Finding
}

func (published) Families() []*collector.Family { return Families() }

func (p published) Collect(context.Context) ([]prometheus.Metric, error) {
	return p.tracker.Metrics(p.found), nil
}

// Whatever the entries are, what is told of them is what the addresses say one by one.
func FuzzACL(f *testing.F) {
	f.Add("100.104.0.0/17,100.104.128.0/17", true)
	f.Add("100.104.0.7", false)
	f.Add("::/0,x", true)
	f.Add("100.104.0.0/30,100.104.0.4/31,100.104.0.6,100.104.0.7", true)
	network := netip.MustParsePrefix("100.104.0.0/29")
	f.Fuzz(func(t *testing.T, text string, isWhite bool) {
		l := aliyun.Listener{ACLStatus: "on", ACLType: black, ACLID: "acl-a"}
		if isWhite {
			l.ACLType = white
		}
		entries := strings.Split(text, ",")
		blocked, ok := blocks(l, map[string][]string{"acl-a": entries}, []netip.Prefix{network})
		if !ok {
			return
		}
		want := false
		for address := network.Addr(); network.Contains(address); address = address.Next() {
			in := slices.ContainsFunc(entries, func(e string) bool {
				p, ok := prefix(e)
				return ok && p.Contains(address)
			})
			want = want || in != isWhite
		}
		if want != (len(blocked) > 0) {
			t.Errorf("%q, white %v: got %v", text, isWhite, blocked)
		}
	})
}
