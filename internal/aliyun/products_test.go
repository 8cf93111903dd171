package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ack-exporter/collector"
)

// stored is an API that decodes stored answers as a Client does.
type stored struct {
	t     testing.TB
	calls []string
	// answer gets the number of the call, beginning with 1.
	answer func(n int, action Action, parameters map[string]any) (string, error)
}

func (s *stored) Call(_ context.Context, action Action, parameters map[string]any, out any) error {
	text, err := json.Marshal(parameters)
	if err != nil {
		s.t.Error(err)
	}
	s.calls = append(s.calls, action.Name+" "+string(text))
	body, err := s.answer(len(s.calls), action, parameters)
	if err != nil {
		return err
	}
	return decode(action, []byte(body), out)
}

func always(t testing.TB, body string) *stored {
	return &stored{t: t, answer: func(int, Action, map[string]any) (string, error) { return body, nil }}
}

const (
	instancesBody = `{"RequestId":"r","NextToken":"","PageNumber":0,"PageSize":100,"TotalCount":0,
 "Instances":{"Instance":[{
  "InstanceId":"i-a","InstanceName":"n","InstanceType":"ecs.g6.large","RegionId":"cn-x","ZoneId":"cn-x-a","Status":"Running",
  "InstanceChargeType":"PostPaid","SpotStrategy":"SpotAsPriceGo","SpotDuration":1,"SpotPriceLimit":0.0,
  "SpotInterruptionBehavior":"Terminate","ExpiredTime":"2099-12-31T15:59Z","AutoReleaseTime":"","CreationTime":"2030-01-01T00:00Z",
  "StartTime":"2030-01-01T00:01Z","DeletionProtection":false,"StoppedMode":"Not-applicable",
  "OperationLocks":{"LockReason":[{"LockReason":"Recycling","LockMsg":""},{"LockReason":"financial"},{"LockReason":"recycling"}]},
  "MetadataOptions":{"HttpEndpoint":"enabled","HttpTokens":"optional"},
  "VpcAttributes":{"VpcId":"vpc-a","VSwitchId":"vsw-a","PrivateIpAddress":{"IpAddress":["10.0.0.1"]}},
  "Tags":{"Tag":[{"TagKey":"ack.aliyun.com","TagValue":"c1"}]}}]}}`
	autoRenewBody = `{"RequestId":"r","PageNumber":1,"PageSize":100,"TotalCount":1,"InstanceRenewAttributes":{"InstanceRenewAttribute":[
 {"InstanceId":"i-a","AutoRenewEnabled":true,"Duration":1,"PeriodUnit":"Week","RenewalStatus":"AutoRenewal"}]}}`
	fullStatusBody = `{"TotalCount":1,"PageNumber":1,"PageSize":100,"RequestId":"r","InstanceFullStatusSet":{"InstanceFullStatusType":[
 {"InstanceId":"i-a","Status":{"Code":1,"Name":"Running"},"HealthStatus":{"Code":0,"Name":"Ok"},
  "ScheduledSystemEventSet":{"ScheduledSystemEventType":[{"EventId":"e-a","EventPublishTime":"2030-01-01T00:00:00Z",
   "NotBefore":"2030-01-03T00:00:00Z","EventCycleStatus":{"Code":24,"Name":"Scheduled"},
   "EventType":{"Code":1,"Name":"SystemMaintenance.Reboot"},"Reason":"x","ImpactLevel":"100","ExtendedAttribute":{}}]}}]}}`
	loadBalancersBody = `{"RequestId":"r","PageNumber":1,"PageSize":100,"TotalCount":"1","LoadBalancers":{"LoadBalancer":[
 {"LoadBalancerId":"lb-a","LoadBalancerName":"a0","LoadBalancerStatus":"active","Address":"192.0.2.4","AddressType":"internet",
  "AddressIPVersion":"ipv4","NetworkType":"vpc","VpcId":"vpc-a","VSwitchId":"vsw-a","LoadBalancerSpec":"slb.s1.small",
  "InstanceChargeType":"PayBySpec","PayType":"PayOnDemand","InternetChargeType":"4","InternetChargeTypeAlias":"paybytraffic",
  "Bandwidth":-1,"DeleteProtection":"on","ModificationProtectionStatus":"ConsoleProtection","ModificationProtectionReason":"managed.by.ack",
  "CreateTime":"2030-01-01T00:00Z","CreateTimeStamp":1893456000000,"Tags":{"Tag":[{"TagKey":"ack.aliyun.com","TagValue":"c1"}]}}]}}`
	listenersBody = `{"RequestId":"r","TotalCount":1,"MaxResults":100,"NextToken":"","Listeners":[
 {"LoadBalancerId":"lb-a","ListenerPort":443,"ListenerProtocol":"https","Status":"running","Description":"k8s/443/s/ns/c1","VServerGroupId":"rsp-a",
  "Scheduler":"rr","Bandwidth":-1,"AclStatus":"on","AclType":"white","AclId":"acl-a","AclIds":["acl-b","acl-a"],"Tags":[{"TagKey":"k","TagValue":"v"}],
  "HTTPSListenerConfig":{"ServerCertificateId":"1_x","CACertificateId":"","HealthCheck":"on"}}]}`
	serverGroupsBody = `{"RequestId":"r","VServerGroups":{"VServerGroup":[{"VServerGroupId":"rsp-a","VServerGroupName":"k8s/30080/s/ns/c1","CreateTime":"..",
  "AssociatedObjects":{"Listeners":{"Listener":[{"Protocol":"tcp","Port":80}]},"Rules":{"Rule":[]}},"Tags":{"Tag":[]}}]}}`
	serverGroupBody = `{"RequestId":"r","VServerGroupId":"rsp-a","VServerGroupName":"k8s/30080/s/ns/c1","LoadBalancerId":"lb-a",
  "BackendServers":{"BackendServer":[{"ServerId":"i-a","Port":"30080","Weight":100,"Type":"ecs","ServerIp":"","Description":"k8s/30080/s/ns/c1"}]}}`
	aclBody = `{"RequestId":"r","AclId":"acl-a","AclName":"n","AddressIPVersion":"ipv4","TotalAclEntry":2,"AclEntrys":{"AclEntry":[
 {"AclEntryIP":"100.104.0.0/16","AclEntryComment":"x"},{"AclEntryIP":"192.0.2.1"}]},
 "RelatedListeners":{"RelatedListener":[{"LoadBalancerId":"lb-a","ListenerPort":6443,"Protocol":"tcp","AclType":"white"}]},"Tags":{"Tag":[]}}`
	certificatesBody = `{"RequestId":"r","ServerCertificates":{"ServerCertificate":[{"ServerCertificateId":"1_x","ServerCertificateName":"n","CommonName":"a.example",
  "SubjectAlternativeNames":{"SubjectAlternativeName":["a.example"]},"ExpireTime":"2031-01-26T23:59:59Z","ExpireTimeStamp":1927324799000,
  "Fingerprint":"00:11","IsAliCloudCertificate":0,"RegionId":"cn-x","Tags":{"Tag":[]}}]}}`
	routeTablesBody = `{"RequestId":"r","TotalCount":1,"PageNumber":1,"PageSize":50,"RouterTableList":{"RouterTableListType":[
 {"RouteTableId":"vtb-a","RouteTableType":"System","VpcId":"vpc-a","Status":"Available","VSwitchIds":{"VSwitchId":["vsw-a"]},"RoutePropagationEnable":true}]}}`
	routesBody = `{"RequestId":"r","NextToken":"","RouteEntrys":{"RouteEntry":[{"RouteEntryId":"rte-a","RouteTableId":"vtb-a","DestinationCidrBlock":"10.0.0.0/26",
 "Type":"Custom","Status":"Available","NextHops":{"NextHop":[{"NextHopType":"Instance","NextHopId":"i-a","Enabled":1,"Weight":0}]}}]}}`
	vSwitchesBody = `{"RequestId":"r","TotalCount":1,"VSwitches":{"VSwitch":[{"VSwitchId":"vsw-a","VpcId":"vpc-a","ZoneId":"cn-x-a","CidrBlock":"10.0.0.0/24",
 "AvailableIpAddressCount":200,"Status":"Available"}]}}`
	quotaObject = `{"ProductCode":"slb","QuotaActionCode":"slb_quota_instances_num","QuotaName":"n","QuotaCategory":"CommonQuota","QuotaType":"normal",
  "QuotaUnit":"Count","TotalQuota":60,"TotalUsage":12.0,"Consumable":true,"Adjustable":true,"GlobalQuota":false,
  "Dimensions":{"regionId":"cn-x"},"Period":{"PeriodUnit":"day","PeriodValue":1},"ApplicableRange":[60,100],
  "QuotaItems":[{"Quota":"60","QuotaUnit":"Count","Type":"BaseQuota","Usage":"12"}]}`
	quotasBody = `{"RequestId":"r","TotalCount":1,"MaxResults":100,"NextToken":"","Quotas":[` + quotaObject + `]}`
)

// numberAt is a pointer to a Number.
func numberAt(f float64) *Number { n := Number(f); return &n }

// listing is one function with an answer of one row.
type listing struct {
	name string
	body string
	// list calls the function and returns what it returned.
	list func(context.Context, API) (any, error)
	want any
	call string
}

func listings() []listing {
	i := Instance{
		ID: "i-a", Name: "n", Type: "ecs.g6.large", ZoneID: "cn-x-a", Status: "Running", StoppedMode: "Not-applicable", ChargeType: "PostPaid", SpotStrategy: "SpotAsPriceGo",
		ExpiredTime: Time{time.Date(2099, 12, 31, 15, 59, 0, 0, time.UTC)},
		Tags:        tags{[]Tag{{"ack.aliyun.com", "c1"}}},
	}
	i.VPC.ID, i.VPC.VSwitchID = "vpc-a", "vsw-a"
	for _, reason := range []string{"Recycling", "financial", "recycling"} {
		i.OperationLocks.LockReason = append(i.OperationLocks.LockReason, struct{ LockReason string }{reason})
	}
	status := FullStatus{InstanceID: "i-a"}
	status.Status.Name, status.HealthStatus.Name = "Running", "Ok"
	event := SystemEvent{ID: "e-a", NotBefore: Time{time.Date(2030, 1, 3, 0, 0, 0, 0, time.UTC)}}
	event.Type.Name = "SystemMaintenance.Reboot"
	status.Events.Event = []SystemEvent{event}
	listener := Listener{LoadBalancerID: "lb-a", Port: 443, Protocol: "https", Status: "running", Description: "k8s/443/s/ns/c1", ServerGroupID: "rsp-a"}
	listener.ACLStatus, listener.ACLType, listener.ACLID, listener.ACLIDs = "on", "white", "acl-a", ids{"acl-b", "acl-a"}
	listener.HTTPS.ServerCertificateID = "1_x"
	certificate := ServerCertificate{
		ID: "1_x", Name: "n", CommonName: "a.example", Fingerprint: "00:11", ExpireTime: "2031-01-26T23:59:59Z", ExpireTimeStamp: 1927324799000,
	}
	certificate.SubjectAlternativeNames.SubjectAlternativeName = []string{"a.example"}
	route := RouteEntry{ID: "rte-a", Type: "Custom", Status: "Available", Destination: "10.0.0.0/26"}
	route.NextHops.NextHop = append(route.NextHops.NextHop, struct {
		Type string `json:"NextHopType"`
		ID   string `json:"NextHopId"`
	}{"Instance", "i-a"})
	available := Integer(200)
	quota := Quota{
		ProductCode: "slb", Code: "slb_quota_instances_num", Name: "n", Unit: "Count", Total: numberAt(60), TotalUsage: numberAt(12), Consumable: true,
		Dimensions: map[string]string{"regionId": "cn-x"},
	}
	return []listing{
		{"Instances", instancesBody, func(ctx context.Context, api API) (any, error) {
			found, unknown, err := Instances(ctx, api, []string{"i-b", "i-a", "i-b"})
			if err != nil {
				return anyOf(found, unknown), err
			}
			if !slices.Equal(unknown, []string{"i-b"}) {
				return unknown, nil
			}
			return found, nil
		}, map[string]Instance{"i-a": i}, `DescribeInstances {"InstanceIds":"[\"i-a\",\"i-b\"]","MaxResults":100}`},
		{"AutoRenewals", autoRenewBody, func(ctx context.Context, api API) (any, error) {
			return AutoRenewals(ctx, api, []string{"i-a", "i-a,i-b", "i-b"})
		}, []AutoRenewal{{"i-a", true, "AutoRenewal"}}, `DescribeInstanceAutoRenewAttribute {"InstanceId":"i-a,i-b","PageNumber":1,"PageSize":100}`},
		{"FullStatuses", fullStatusBody, func(ctx context.Context, api API) (any, error) {
			return FullStatuses(ctx, api, []string{"i-a"})
		}, []FullStatus{status}, `DescribeInstancesFullStatus {"InstanceId":["i-a"],"PageNumber":1,"PageSize":100}`},
		{"LoadBalancers", loadBalancersBody, func(ctx context.Context, api API) (any, error) {
			return LoadBalancers(ctx, api)
		}, []LoadBalancer{{
			ID: "lb-a", Name: "a0", Status: "active", Address: "192.0.2.4", AddressType: "internet", VPCID: "vpc-a", VSwitchID: "vsw-a",
			Spec: "slb.s1.small", PayType: "PayOnDemand", DeleteProtection: "on", ModificationProtection: "ConsoleProtection",
			ModificationReason: "managed.by.ack", Tags: tags{[]Tag{{"ack.aliyun.com", "c1"}}},
			InstanceChargeType: "PayBySpec", ChargeType: "paybytraffic", Bandwidth: -1,
		}}, `DescribeLoadBalancers {"PageNumber":1,"PageSize":100}`},
		{"Listeners", listenersBody, func(ctx context.Context, api API) (any, error) {
			return Listeners(ctx, api, []string{"lb-a"})
		}, []Listener{listener}, `DescribeLoadBalancerListeners {"LoadBalancerId":["lb-a"],"MaxResults":100}`},
		{"ServerGroups", serverGroupsBody, func(ctx context.Context, api API) (any, error) {
			return ServerGroups(ctx, api, "lb-a")
		}, []ServerGroup{{"rsp-a", "k8s/30080/s/ns/c1"}}, `DescribeVServerGroups {"LoadBalancerId":"lb-a"}`},
		{"AccessControlEntries", aclBody, func(ctx context.Context, api API) (any, error) {
			return AccessControlEntries(ctx, api, "acl-a")
		}, []string{"100.104.0.0/16", "192.0.2.1"}, `DescribeAccessControlListAttribute {"AclId":"acl-a","Page":1,"PageSize":50}`},
		{"ServerGroupBackends", serverGroupBody, func(ctx context.Context, api API) (any, error) {
			return ServerGroupBackends(ctx, api, "rsp-a")
		}, []Backend{{ServerID: "i-a", Port: 30080, Weight: 100, Type: "ecs"}}, `DescribeVServerGroupAttribute {"VServerGroupId":"rsp-a"}`},
		{"ServerCertificates", certificatesBody, func(ctx context.Context, api API) (any, error) {
			return ServerCertificates(ctx, api)
		}, []ServerCertificate{certificate}, `DescribeServerCertificates null`},
		{"RouteTables", routeTablesBody, func(ctx context.Context, api API) (any, error) {
			return RouteTables(ctx, api, "vpc-a")
		}, []RouteTable{{"vtb-a", "System", "vpc-a"}}, `DescribeRouteTableList {"PageNumber":1,"PageSize":50,"VpcId":"vpc-a"}`},
		{"CustomRoutes", routesBody, func(ctx context.Context, api API) (any, error) {
			return CustomRoutes(ctx, api, "vtb-a")
		}, []RouteEntry{route}, `DescribeRouteEntryList {"MaxResult":100,"RouteEntryType":"Custom","RouteTableId":"vtb-a"}`},
		{"VSwitches", vSwitchesBody, func(ctx context.Context, api API) (any, error) {
			return VSwitches(ctx, api, "vpc-a")
		}, []VSwitch{{"vsw-a", "vpc-a", "cn-x-a", "10.0.0.0/24", "Available", &available}}, `DescribeVSwitches {"PageNumber":1,"PageSize":50,"VpcId":"vpc-a"}`},
		{"ProductQuotas", quotasBody, func(ctx context.Context, api API) (any, error) {
			return ProductQuotas(ctx, api, "slb", "cn-x")
		}, []Quota{quota}, `ListProductQuotas {"MaxResults":100,"ProductCode":"slb"}`},
	}
}

func anyOf(found map[string]Instance, unknown []string) any {
	if found == nil && unknown == nil {
		return nil
	}
	return []any{found, unknown}
}

func TestListings(t *testing.T) {
	t.Parallel()
	for _, l := range listings() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			api := always(t, l.body)
			got, err := l.list(t.Context(), api)
			if err != nil || !reflect.DeepEqual(got, l.want) {
				t.Errorf("%v: got\n%+v\nwant\n%+v", err, got, l.want)
			}
			if want := []string{l.call}; !slices.Equal(api.calls, want) {
				t.Errorf("it asked\n%s\nwant\n%s", api.calls, want)
			}
		})
	}
}

// What is no answer to the question is never an empty list.
func TestAnAnswerWithoutItsListIsNoEmptyList(t *testing.T) {
	t.Parallel()
	for _, l := range listings() {
		for _, body := range []string{`{"RequestId":"r"}`, `{"RequestId":"r","TotalCount":1}`, `{"RequestId":"r","Code":"200"}`} {
			got, err := l.list(t.Context(), always(t, body))
			if !errors.Is(err, collector.ErrDecode) {
				t.Errorf("%s of %s: got %+v, %v", l.name, body, got, err)
			}
		}
	}
}

func TestAnAnswerAboutSomethingElse(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"ACL":          second(AccessControlEntries(t.Context(), always(t, aclBody), "acl-b")),
		"server group": second(ServerGroupBackends(t.Context(), always(t, serverGroupBody), "rsp-b")),
	} {
		if !errors.Is(err, collector.ErrDecode) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// paged answers a paged listing with pages of one row each; the last is page last.
func paged(t testing.TB, body string, last, failing int) *stored {
	return &stored{t: t, answer: func(n int, _ Action, parameters map[string]any) (string, error) {
		if n == failing {
			return "", fmt.Errorf("page: %w", collector.ErrThrottled)
		}
		if token, ok := parameters["NextToken"]; ok != (n > 1) && parameters["PageNumber"] == nil {
			t.Errorf("call %d has the token %v", n, token)
		}
		if number, ok := parameters["PageNumber"]; ok && number != n {
			t.Errorf("call %d is for page %v", n, number)
		}
		next := ""
		if n < last {
			next = "t" + strconv.Itoa(n)
		}
		body := strings.Replace(body, `"NextToken":""`, `"NextToken":"`+next+`"`, 1)
		for _, total := range []string{`"TotalCount":"1"`, `"TotalCount":1`} {
			body = strings.Replace(body, total, `"TotalCount":`+strconv.Itoa(last), 1)
		}
		return body, nil
	}}
}

func isPaged(l listing) bool {
	return strings.Contains(l.call, "PageNumber") || strings.Contains(l.call, "MaxResult")
}

// Whichever page fails, nothing is returned; otherwise all pages are.
func TestAllPagesOrNothing(t *testing.T) {
	t.Parallel()
	for _, l := range listings() {
		if !isPaged(l) {
			continue
		}
		for last := 1; last <= 5; last++ {
			for failing := 1; failing <= last; failing++ {
				got, err := l.list(t.Context(), paged(t, l.body, last, failing))
				if !errors.Is(err, collector.ErrThrottled) || got != nil && !reflect.ValueOf(got).IsNil() {
					t.Errorf("%s, page %d of %d fails: got %+v, %v", l.name, failing, last, got, err)
				}
			}
			api := paged(t, l.body, last, 0)
			got, err := l.list(t.Context(), api)
			if err != nil || len(api.calls) != last {
				t.Errorf("%s: %d calls for %d pages, %v", l.name, len(api.calls), last, err)
			}
			if rows := reflect.ValueOf(got); rows.Kind() == reflect.Slice && rows.Len() != last {
				t.Errorf("%s: %d rows of %d", l.name, rows.Len(), last)
			}
		}
	}
}

func TestPagesThatDoNotEnd(t *testing.T) {
	t.Parallel()
	page := func(token string) string {
		return strings.Replace(routesBody, `"NextToken":""`, `"NextToken":"`+token+`"`, 1)
	}
	for name, test := range map[string]struct {
		token func(n int) string
		calls int
	}{
		"the same token":  {func(int) string { return "t" }, 2},
		"tokens in turns": {func(n int) string { return "t" + strconv.Itoa(n%3) }, 4},
		"ever new tokens": {func(n int) string { return "t" + strconv.Itoa(n) }, maxPages},
	} {
		api := &stored{t: t, answer: func(n int, _ Action, _ map[string]any) (string, error) { return page(test.token(n)), nil }}
		got, err := CustomRoutes(t.Context(), api, "vtb-a")
		if got != nil || !errors.Is(err, collector.ErrDecode) || len(api.calls) != test.calls {
			t.Errorf("%s: %d rows in %d calls, %v", name, len(got), len(api.calls), err)
		}
	}
}

func TestNumberedPages(t *testing.T) {
	t.Parallel()
	page := func(total, rows int) string {
		list := strings.TrimSuffix(strings.Repeat(`{"VSwitchId":"v"},`, rows), ",")
		return fmt.Sprintf(`{"RequestId":"r","TotalCount":%d,"VSwitches":{"VSwitch":[%s]}}`, total, list)
	}
	for name, test := range map[string]struct {
		pages []string
		rows  int
		want  error
	}{
		"none":                {[]string{page(0, 0)}, 0, nil},
		"list is left out":    {[]string{`{"RequestId":"r","TotalCount":0,"VSwitches":{}}`}, 0, nil},
		"two":                 {[]string{page(70, 50), page(70, 20)}, 70, nil},
		"changes once":        {[]string{page(70, 50), page(69, 19), page(69, 50), page(69, 19)}, 69, nil},
		"keeps changing":      {[]string{page(70, 50), page(69, 19), page(69, 50), page(70, 20), page(70, 50), page(69, 19)}, 0, collector.ErrUnavailable},
		"an empty page":       {[]string{page(70, 50), page(70, 0)}, 0, collector.ErrDecode},
		"more rows than told": {[]string{page(1, 2)}, 0, collector.ErrDecode},
		"too many":            {[]string{page(maxRows+1, 50)}, 0, collector.ErrDecode},
		"less than none":      {[]string{page(-1, 0)}, 0, collector.ErrDecode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := &stored{t: t, answer: func(n int, _ Action, _ map[string]any) (string, error) { return test.pages[n-1], nil }}
			got, err := VSwitches(t.Context(), api, "vpc-a")
			if len(got) != test.rows || !errors.Is(err, test.want) || len(api.calls) != len(test.pages) {
				t.Errorf("%d rows, %d calls, %v", len(got), len(api.calls), err)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	var ids []string
	for n := range 201 {
		ids = append(ids, fmt.Sprintf("i-%03d", n))
	}
	rows := map[string]bool{}
	api := &stored{t: t, answer: func(_ int, _ Action, parameters map[string]any) (string, error) {
		var asked []string
		list, _ := parameters["InstanceIds"].(string)
		if err := json.Unmarshal([]byte(list), &asked); err != nil || len(asked) > 100 || len(asked) == 0 {
			t.Errorf("%d ids, %v", len(asked), err)
		}
		var body []string
		for _, id := range asked {
			rows[id] = true
			if id != "i-100" {
				body = append(body, `{"InstanceId":"`+id+`"}`)
			}
		}
		// One that nobody asked for.
		body = append(body, `{"InstanceId":"i-other"}`)
		return `{"RequestId":"r","Instances":{"Instance":[` + strings.Join(body, ",") + `]}}`, nil
	}}
	found, unknown, err := Instances(t.Context(), api, append(ids, "i-000", "not an id"))
	if err != nil || len(api.calls) != 3 || len(rows) != 201 || len(found) != 200 {
		t.Errorf("%d calls, %d asked, %d found, %v", len(api.calls), len(rows), len(found), err)
	}
	if !slices.Equal(unknown, []string{"i-100", "not an id"}) {
		t.Errorf("unknown: %v", unknown)
	}
	if _, ok := found["i-other"]; ok {
		t.Error("it returned what nobody asked for")
	}
	// Without ids there is no call: the API would take none for all.
	none := always(t, instancesBody)
	if found, unknown, err = Instances(t.Context(), none, nil); err != nil || len(found)+len(unknown)+len(none.calls) != 0 {
		t.Errorf("%v, %v, %v", found, unknown, err)
	}
}

// Credentials without the right to instances got an empty list from the API.
func TestInstancesThatTheAPIDoesNotTellAreUnknown(t *testing.T) {
	t.Parallel()
	found, unknown, err := Instances(t.Context(), always(t, `{"RequestId":"r","Instances":{"Instance":[]}}`), []string{"i-b", "i-a"})
	if err != nil || len(found) != 0 || !slices.Equal(unknown, []string{"i-a", "i-b"}) {
		t.Errorf("%v, %v, %v", found, unknown, err)
	}
}

func TestInstanceMeaning(t *testing.T) {
	t.Parallel()
	found, _, err := Instances(t.Context(), always(t, instancesBody), []string{"i-a"})
	if err != nil {
		t.Fatal(err)
	}
	i := found["i-a"]
	if _, expires := i.ExpiredTime.Expiry(); expires || !i.Spot() || !slices.Equal(i.Locks(), []string{"financial", "recycling"}) {
		t.Errorf("expires %v, spot %v, locks %v", expires, i.Spot(), i.Locks())
	}
	if (Instance{SpotStrategy: "NoSpot"}).Spot() || (Instance{}).Spot() {
		t.Error("not a spot instance")
	}
	end := Time{time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}
	if got, ok := end.Expiry(); !ok || !got.Equal(end.Time) {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := (Time{}).Expiry(); ok {
		t.Error("no time is an expiry")
	}
}

func TestAccessControlEntries(t *testing.T) {
	t.Parallel()
	page := func(total string, rows int) string {
		list := strings.TrimSuffix(strings.Repeat(`{"AclEntryIP":"192.0.2.0/24"},`, rows), ",")
		return fmt.Sprintf(`{"RequestId":"r","AclId":"acl-a"%s,"AclEntrys":{"AclEntry":[%s]}}`, total, list)
	}
	for name, test := range map[string]struct {
		pages []string
		rows  int
		want  error
	}{
		"none":                   {[]string{page(`,"TotalAclEntry":0`, 0)}, 0, nil},
		"two pages":              {[]string{page(`,"TotalAclEntry":70`, 50), page(`,"TotalAclEntry":70`, 20)}, 70, nil},
		"changes":                {[]string{page(`,"TotalAclEntry":70`, 50), page(`,"TotalAclEntry":60`, 10), page(`,"TotalAclEntry":40`, 40)}, 40, nil},
		"an older API":           {[]string{page("", 120)}, 120, nil},
		"an older API, in doubt": {[]string{page("", 50), page("", 50)}, 0, collector.ErrDecode},
	} {
		api := &stored{t: t, answer: func(n int, _ Action, parameters map[string]any) (string, error) {
			if _, ok := parameters["PageNumber"]; ok || parameters["PageSize"] != 50 {
				t.Errorf("%s: %v", name, parameters)
			}
			return test.pages[n-1], nil
		}}
		got, err := AccessControlEntries(t.Context(), api, "acl-a")
		if len(got) != test.rows || !errors.Is(err, test.want) || len(api.calls) != len(test.pages) {
			t.Errorf("%s: %d entries in %d calls, %v", name, len(got), len(api.calls), err)
		}
	}
}

func TestACLsOfAListener(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"AclStatus":"on","AclId":"acl-a","AclIds":["acl-b","acl-a"]}`: "acl-a acl-b",
		`{"AclStatus":"on","AclIds":{"AclId":["acl-b"]}}`:               "acl-b",
		`{"AclStatus":"on","AclId":"acl-a"}`:                            "acl-a",
		`{"AclStatus":"on","AclId":"acl-a","AclIds":"acl-b,acl-c"}`:     "acl-a",
		`{"AclStatus":"on","AclId":"a b"}`:                              "",
		`{"AclStatus":"off","AclId":"acl-a","AclIds":["acl-a"]}`:        "",
		`{"AclIds":null}`: "",
	} {
		var l Listener
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(l.ACLs(), " "); got != want {
			t.Errorf("%s: got %q", body, got)
		}
	}
}

func TestCertificateExpiry(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		stamp Integer
		want  string
	}{
		{"2031-01-26T23:59:59Z", 0, "2031-01-26T23:59:59Z"},
		{"2031-01-26T23:59Z", 1, "2031-01-26T23:59:00Z"},
		{"soon", 1927324799000, "2031-01-27T23:59:59Z"},
		{"", 1927324799000, "2031-01-27T23:59:59Z"},
		{"", 15041477450, ""},
		{"", 0, ""},
		{"", -1927324799000, ""},
	} {
		got, ok := ServerCertificate{ExpireTime: test.text, ExpireTimeStamp: test.stamp}.Expiry()
		if ok != (test.want != "") || ok && got.Format(time.RFC3339) != test.want {
			t.Errorf("%+v: got %v, %v", test, got, ok)
		}
	}
}

func TestQuotaUsage(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"TotalUsage":12,"Consumable":true}`:    true,
		`{"TotalUsage":"0","Consumable":"true"}`: true,
		`{"TotalUsage":12,"Consumable":false}`:   false,
		`{"TotalUsage":null,"Consumable":true}`:  false,
		`{"Consumable":true}`:                    false,
	} {
		var q Quota
		if err := json.Unmarshal([]byte(body), &q); err != nil {
			t.Fatal(err)
		}
		if _, ok := q.Usage(); ok != want {
			t.Errorf("%s: got %v", body, ok)
		}
	}
}

func TestQuotasOfProductsThatWantARegion(t *testing.T) {
	t.Parallel()
	api := &stored{t: t, answer: func(n int, action Action, _ map[string]any) (string, error) {
		if n == 1 {
			return "", &Error{Action: action, Code: "MissingParameter.Dimensions", kind: errRefused}
		}
		return quotasBody, nil
	}}
	_, err := ProductQuotas(t.Context(), api, "ecs", "cn-x")
	if err != nil || len(api.calls) != 2 || !strings.Contains(api.calls[1], `"Dimensions":[{"Key":"regionId","Value":"cn-x"}]`) {
		t.Errorf("%v, %v", err, api.calls)
	}
}

func TestDecodedValues(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		`1`: 1.0, `"1"`: 1.0, `" 2 "`: 2.0, `-1.5e2`: -150.0, `""`: 0.0, `null`: 0.0,
		`"NaN"`: nil, `"Inf"`: nil, `"0x10"`: nil, `"1_000"`: nil, `1e999`: nil, `"a"`: nil, `{}`: nil, `[]`: nil, `true`: nil,
	} {
		var n Number
		err := json.Unmarshal([]byte(text), &n)
		if want == nil && err == nil || want != nil && (err != nil || float64(n) != want) {
			t.Errorf("%s: got %v, %v", text, n, err)
		}
	}
	for text, want := range map[string]any{`"3"`: 3, `3.0`: 3, `32493801600000`: 32493801600000, `1.5`: nil, `1e300`: nil, `9007199254740994`: nil} {
		var i Integer
		err := json.Unmarshal([]byte(text), &i)
		if want == nil && err == nil || want != nil && (err != nil || int(i) != want) {
			t.Errorf("%s: got %v, %v", text, i, err)
		}
	}
	for text, want := range map[string]any{`true`: true, `"True"`: true, `1`: true, `0`: false, `""`: false, `null`: false, `"yes"`: nil, `2`: nil} {
		var f Flag
		err := json.Unmarshal([]byte(text), &f)
		if want == nil && err == nil || want != nil && (err != nil || bool(f) != want) {
			t.Errorf("%s: got %v, %v", text, f, err)
		}
	}
	for text, want := range map[string]any{
		`"2017-12-10T04:04Z"`: "2017-12-10T04:04:00Z", `"2017-12-10T04:04:05Z"`: "2017-12-10T04:04:05Z",
		`"2017-12-10T04:04+08:00"`: "2017-12-09T20:04:00Z", `""`: "0001-01-01T00:00:00Z", `null`: "0001-01-01T00:00:00Z",
		`"tomorrow"`: nil, `"2017-12-10"`: nil, `1504147745000`: nil,
	} {
		var at Time
		err := json.Unmarshal([]byte(text), &at)
		if want == nil && err == nil || want != nil && (err != nil || at.Format(time.RFC3339) != want) {
			t.Errorf("%s: got %v, %v", text, at, err)
		}
	}
}

// Whatever an answer is, a function returns rows or an error, and nothing with an error.
func FuzzAnswers(f *testing.F) {
	for n, l := range listings() {
		f.Add(uint8(n), []byte(l.body))
	}
	f.Add(uint8(3), []byte(`{"RequestId":"r","TotalCount":"1e3","LoadBalancers":{"LoadBalancer":null}}`))
	all := listings()
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		l := all[int(which)%len(all)]
		api := &stored{t: t, answer: func(n int, _ Action, _ map[string]any) (string, error) {
			if n > 3 {
				return "", collector.ErrUnavailable
			}
			return string(body), nil
		}}
		got, err := l.list(t.Context(), api)
		value := reflect.ValueOf(got)
		if err != nil && value.IsValid() && !value.IsZero() {
			t.Errorf("%s: got %+v with %v", l.name, got, err)
		}
		if err != nil && !errors.Is(err, collector.ErrDecode) && !errors.Is(err, collector.ErrUnavailable) {
			t.Errorf("%s: of no class: %v", l.name, err)
		}
	})
}

// Whatever an answer is, an error says nothing that it should not.
func FuzzFailures(f *testing.F) {
	f.Add(uint16(400), "application/json", "Limit:1,TimeLeft:700", []byte(throttled))
	f.Add(uint16(403), "", "", []byte(`{"Code":"`+testID+`","AccessDeniedDetail":{"AuthAction":"x`+testSecret+`"},"requestId":"`+testToken+`"}`))
	f.Add(uint16(200), "text/html", "", []byte(`<html>`))
	f.Add(uint16(200), "", "", []byte(fine))
	secrets := keys{testID, testSecret, testToken}.secrets()
	f.Fuzz(func(t *testing.T, status uint16, kind, limit string, body []byte) {
		a := &answer{status: int(status), header: map[string][]string{"Content-Type": {kind}, "X-Ratelimit-User": {limit}, "Retry-After": {limit}}, body: body}
		e := failure(describeVSwitches, a, secrets)
		if e == nil {
			return
		}
		checkClean(t, e)
		if e.after < 0 || len(e.Error()) > 1000 || strings.ContainsAny(e.Error(), "\n\r") {
			t.Errorf("%s, %q", e.after, e)
		}
	})
}

func TestEveryActionIsInFacts(t *testing.T) {
	t.Parallel()
	products := map[Product]bool{}
	for _, a := range []Action{describeInstances, describeLoadBalancers, describeVSwitches, listProductQuotas, assumeRole} {
		if facts, ok := a.Product.facts(); !ok || facts.version == "" {
			t.Errorf("%s is unknown", a.Product)
		}
		products[a.Product] = true
	}
	if len(slices.Collect(maps.Keys(products))) != 5 {
		t.Error("not all products")
	}
	var out struct{}
	if err := newTestClient(t, "cloud.test", nil).Call(t.Context(), assumeRole, nil, &out); !errors.Is(err, errProduct) {
		t.Errorf("a call of STS by a client: %v", err)
	}
}
