//go:build e2e

package cloud

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Instance is an ECS instance.
type Instance struct {
	ID, Name string
	// Type is ecs.g7.xlarge if empty, ZoneID the first one of the region.
	Type, ZoneID string
	// Status is Pending, Running, Starting, Stopping or Stopped; empty: Running.
	Status string
	// ChargeType is PostPaid or PrePaid; empty: PostPaid.
	ChargeType string
	// SpotStrategy is NoSpot, SpotWithPriceLimit or SpotAsPriceGo; empty: NoSpot.
	SpotStrategy string
	// Expiry is the end of a subscription.
	Expiry time.Time
	// AutoRelease is when an instance that is paid by use is released; zero: never.
	AutoRelease time.Time
	// Renewal is AutoRenewal, Normal or NotRenewal for a subscription; empty: Normal.
	Renewal string
	// Locks are reasons such as financial, security or Recycling.
	Locks []string
	// Health is the name of the health status; empty: Ok.
	Health string
	// Events are the scheduled system events.
	Events []SystemEvent
	// VPCID, VSwitchID and IP say where it is.
	VPCID, VSwitchID, IP string
	Tags                 map[string]string
	DeletionProtection   bool
}

// SystemEvent is a system event of an instance.
type SystemEvent struct {
	ID string
	// Type is such as SystemMaintenance.Reboot or InstanceExpiration.Stop.
	Type string
	// Status is Scheduled, Executing, Executed, Avoided, Failed or Canceled; empty:
	// Scheduled. Only the scheduled ones are told.
	Status    string
	NotBefore time.Time
}

func (i Instance) key() string { return i.ID }

func (i Instance) copied() Instance {
	i.Locks, i.Events, i.Tags = slices.Clone(i.Locks), slices.Clone(i.Events), maps.Clone(i.Tags)
	return i
}

func (i Instance) complete() Instance {
	or(&i.Name, i.ID)
	or(&i.Type, "ecs.g7.xlarge")
	or(&i.Status, "Running")
	or(&i.ChargeType, postPaid)
	or(&i.SpotStrategy, "NoSpot")
	or(&i.Renewal, "Normal")
	or(&i.Health, "Ok")
	for n := range i.Events {
		or(&i.Events[n].Status, scheduled)
	}
	return i
}

const (
	prePaid, postPaid = "PrePaid", "PostPaid"
	scheduled         = "Scheduled"

	describeInstances = "ecs:DescribeInstances"

	// maxInstances is how many ids a call takes.
	maxInstances = 100
	// maxTagged is how many instances a filter by tags may find.
	maxTagged = 1000

	// minutes is how ECS writes times, though its documentation shows seconds too.
	minutes = "2006-01-02T15:04Z"
	seconds = "2006-01-02T15:04:05Z"
)

// never is the end of what is paid by use.
var never = time.Date(2099, 12, 31, 15, 59, 0, 0, time.UTC)

// stamp writes a time, and none as an empty text.
func stamp(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(layout)
}

func (c *Cloud) ecs() []action {
	region := text("RegionId").need()
	return []action{
		{ecs, "DescribeInstances", []parameter{
			region, text("InstanceIds"), number("MaxResults", 10, 100, 10).clamped(), text("NextToken"),
			pageNumber(), number("PageSize", 1, 100, 10), text("LockReason"), text("Status"), text("InstanceChargeType"), text("VpcId"),
			pairs("Tag", 20), flag("DryRun"),
		}, c.describeInstances},
		{ecs, "DescribeInstanceAutoRenewAttribute", []parameter{
			region, text("InstanceId"), text("RenewalStatus", "AutoRenewal", "Normal", "NotRenewal"), pageNumber(), number("PageSize", 1, 100, 10),
		}, c.describeAutoRenew},
		{ecs, "DescribeInstancesFullStatus", []parameter{
			region, list("InstanceId", maxInstances), pageNumber(), number("PageSize", 1, 100, 10),
			text("Status", "Pending", "Running", "Starting", "Stopping", "Stopped"),
		}, c.describeFullStatus},
	}
}

func (c *Cloud) describeInstances(q query) (object, error) {
	keep, err := q.instanceFilter()
	if err != nil {
		return nil, err
	}
	rows := c.Instances.sorted(keep)
	if len(q.pairs["Tag"]) > 0 && len(rows) > maxTagged {
		return nil, invalid("Tag", "matches too many resources")
	}
	if !q.has("MaxResults") && !q.has("NextToken") {
		head := q.pageOf(len(rows))
		head["NextToken"] = ""
		return instancesPage(numbered(q, rows), head), nil
	}
	page, next, err := byToken(q, rows, "MaxResults")
	if err != nil {
		return nil, err
	}
	return instancesPage(page, object{"NextToken": next, "TotalCount": 0, "PageNumber": 0, "PageSize": q.numbers["MaxResults"]}), nil
}

// instanceFilter is what DescribeInstances is asked for. An empty list of ids finds
// nothing.
func (q query) instanceFilter() (func(Instance) bool, error) {
	var ids []string
	if q.has("InstanceIds") {
		if err := json.Unmarshal([]byte(q.text("InstanceIds")), &ids); err != nil {
			return nil, refuse(http.StatusBadRequest, "InvalidInstanceIds.Malformed", "The specified InstanceIds is not a list in JSON.")
		}
		if len(ids) > maxInstances {
			return nil, invalid("InstanceIds", "has more than 100 ids")
		}
	}
	return func(i Instance) bool {
		return (!q.has("InstanceIds") || slices.Contains(ids, i.ID)) &&
			(q.text("LockReason") == "" || slices.Contains(i.Locks, q.text("LockReason"))) &&
			q.equal("Status", i.Status) && q.equal("InstanceChargeType", i.ChargeType) && q.equal("VpcId", i.VPCID) &&
			tagged(i.Tags, q.pairs["Tag"])
	}, nil
}

// instancesPage adds instances to the head of a page.
func instancesPage(rows []Instance, head object) object {
	all := []object{}
	for _, i := range rows {
		all = append(all, i.object())
	}
	head["Instances"] = object{"Instance": all}
	return head
}

func (i Instance) object() object {
	expiry := i.Expiry
	if i.ChargeType == postPaid {
		expiry = never
	}
	locks := []object{}
	for _, reason := range i.Locks {
		locks = append(locks, object{"LockReason": reason, "LockMsg": ""})
	}
	return object{
		"InstanceId": i.ID, "InstanceName": i.Name, "InstanceType": i.Type, "ZoneId": i.ZoneID, "Status": i.Status,
		"InstanceChargeType": i.ChargeType, "SpotStrategy": i.SpotStrategy, "SpotPriceLimit": 0.0,
		"ExpiredTime": stamp(expiry, minutes), "AutoReleaseTime": stamp(i.AutoRelease, minutes), "DeletionProtection": i.DeletionProtection,
		"OperationLocks":  object{"LockReason": locks},
		"MetadataOptions": object{"HttpEndpoint": "enabled", "HttpTokens": "optional"},
		"VpcAttributes": object{
			"VpcId": i.VPCID, "VSwitchId": i.VSwitchID, "PrivateIpAddress": object{"IpAddress": []string{i.IP}},
		},
		"Tags": object{"Tag": tagList(i.Tags)},
	}
}

func (c *Cloud) describeAutoRenew(q query) (object, error) {
	ids := q.split("InstanceId")
	if len(ids) == 0 && q.text("RenewalStatus") == "" {
		return nil, refuse(http.StatusForbidden, "MissingParameter.InstanceId", "The input parameter InstanceId that is mandatory for processing this request is not supplied.")
	}
	if len(ids) > maxInstances {
		return nil, invalid("InstanceId", "has more than 100 ids")
	}
	for _, id := range ids {
		switch i, ok := c.Instances.rows[id]; {
		case !ok:
			return nil, refuse(http.StatusNotFound, "InvalidInstanceId.NotFound", "The specified InstanceId does not exist.")
		case i.ChargeType != prePaid:
			return nil, refuse(http.StatusForbidden, "ChargeTypeViolation", "The operation is not permitted due to charge type of the instance.")
		}
	}
	rows := c.Instances.sorted(func(i Instance) bool {
		return i.ChargeType == prePaid && (len(ids) == 0 || slices.Contains(ids, i.ID)) && q.equal("RenewalStatus", i.Renewal)
	})
	all := []object{}
	for _, i := range numbered(q, rows) {
		all = append(all, object{
			"InstanceId": i.ID, "AutoRenewEnabled": i.Renewal == "AutoRenewal", "RenewalStatus": i.Renewal, "Duration": 1, "PeriodUnit": "Month",
		})
	}
	answer := q.pageOf(len(rows))
	answer["InstanceRenewAttributes"] = object{"InstanceRenewAttribute": all}
	return answer, nil
}

func (c *Cloud) describeFullStatus(q query) (object, error) {
	rows := c.Instances.sorted(func(i Instance) bool {
		return (!q.has("InstanceId") || slices.Contains(q.lists["InstanceId"], i.ID)) && q.equal("Status", i.Status)
	})
	all := []object{}
	for _, i := range numbered(q, rows) {
		events := []object{}
		for _, e := range i.Events {
			if e.Status == scheduled {
				events = append(events, e.object())
			}
		}
		all = append(all, object{
			"InstanceId": i.ID, "Status": object{"Code": 1, "Name": i.Status}, "HealthStatus": object{"Code": 0, "Name": i.Health},
			"ScheduledSystemEventSet": object{"ScheduledSystemEventType": events},
		})
	}
	answer := q.pageOf(len(rows))
	answer["InstanceFullStatusSet"] = object{"InstanceFullStatusType": all}
	return answer, nil
}

func (e SystemEvent) object() object {
	return object{
		"EventId": e.ID, "EventType": object{"Code": 1, "Name": e.Type}, "EventCycleStatus": object{"Code": 24, "Name": e.Status},
		"NotBefore": stamp(e.NotBefore, seconds), "EventPublishTime": stamp(e.NotBefore.AddDate(0, 0, -7), seconds), "ImpactLevel": "100",
		"ExtendedAttribute": object{},
	}
}
