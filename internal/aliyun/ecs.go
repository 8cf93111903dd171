package aliyun

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// instanceBatch is how many ids one call about instances takes.
const instanceBatch = 100

// Instance is an ECS instance.
type Instance struct {
	ID     string `json:"InstanceId"`
	Name   string `json:"InstanceName"`
	Type   string `json:"InstanceType"`
	ZoneID string `json:"ZoneId"`
	// Status is Pending, Running, Starting, Stopping or Stopped.
	Status string
	// StoppedMode is KeepCharging or StopCharging (economical mode) where the instance is
	// stopped, and else Not-applicable.
	StoppedMode string
	// ChargeType is PostPaid (by use) or PrePaid (subscription).
	ChargeType string `json:"InstanceChargeType"`
	// SpotStrategy is NoSpot, SpotWithPriceLimit or SpotAsPriceGo.
	SpotStrategy string
	ExpiredTime  Time
	// AutoReleaseTime is when an instance that is paid by use is released; zero for never.
	AutoReleaseTime    Time
	DeletionProtection Flag
	OperationLocks     struct {
		LockReason []struct{ LockReason string }
	}
	VPC struct {
		ID        string `json:"VpcId"`
		VSwitchID string `json:"VSwitchId"`
	} `json:"VpcAttributes"`
	Tags tags
}

// Spot tells whether the instance can be reclaimed.
func (i Instance) Spot() bool { return i.SpotStrategy != "" && i.SpotStrategy != "NoSpot" }

// Locks are the reasons for which the instance is locked, in lower case, such as
// "financial", "security" or "recycling": the API is not consistent in that.
func (i Instance) Locks() []string {
	var reasons []string
	for _, lock := range i.OperationLocks.LockReason {
		reasons = append(reasons, strings.ToLower(lock.LockReason))
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

type instancesPage struct {
	NextToken string
	Instances *struct{ Instance []Instance }
}

func (p *instancesPage) next() string { return p.NextToken }

func (p *instancesPage) rows() ([]Instance, bool) {
	if p.Instances == nil {
		return nil, false
	}
	return p.Instances.Instance, true
}

// Instances looks up instances, 100 in a call. unknown are the ids of which the API
// says nothing, sorted: they can be gone, but the API says nothing either of instances
// that the credentials have no right to.
func Instances(ctx context.Context, api API, ids []string) (found map[string]Instance, unknown []string, err error) {
	found = map[string]Instance{}
	for _, batch := range batches(ids, instanceBatch) {
		list, err := json.Marshal(batch)
		if err != nil {
			return nil, nil, fmt.Errorf("ids of instances: %w", err)
		}
		rows, err := byToken[Instance, instancesPage](ctx, api, describeInstances, map[string]any{
			"InstanceIds": string(list), "MaxResults": instanceBatch,
		})
		if err != nil {
			return nil, nil, err
		}
		for _, row := range rows {
			if _, asked := slices.BinarySearch(batch, row.ID); asked {
				found[row.ID] = row
			}
		}
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if _, ok := found[id]; !ok {
			unknown = append(unknown, id)
		}
	}
	return found, unknown, nil
}

// AutoRenewal says what happens at the end of a subscription.
type AutoRenewal struct {
	InstanceID string `json:"InstanceId"`
	Enabled    Flag   `json:"AutoRenewEnabled"`
	// Status is AutoRenewal, Normal (renewed by hand) or NotRenewal.
	Status string `json:"RenewalStatus"`
}

type autoRenewalsPage struct {
	TotalCount Integer
	Attributes *struct {
		Rows []AutoRenewal `json:"InstanceRenewAttribute"`
	} `json:"InstanceRenewAttributes"`
}

func (p *autoRenewalsPage) total() int { return int(p.TotalCount) }

func (p *autoRenewalsPage) rows() ([]AutoRenewal, bool) {
	if p.Attributes == nil {
		return nil, false
	}
	return p.Attributes.Rows, true
}

// AutoRenewals looks up what is set for instances on subscription, 100 in a call. The
// API refuses the ids of other instances.
func AutoRenewals(ctx context.Context, api API, ids []string) ([]AutoRenewal, error) {
	var all []AutoRenewal
	for _, batch := range batches(ids, instanceBatch) {
		rows, err := byNumber[AutoRenewal, autoRenewalsPage](ctx, api, describeAutoRenew, instanceBatch, map[string]any{
			"InstanceId": strings.Join(batch, ","),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// FullStatus is the health of an instance, and what the cloud plans to do with it.
type FullStatus struct {
	InstanceID   string `json:"InstanceId"`
	Status       struct{ Name string }
	HealthStatus struct{ Name string }
	Events       struct {
		Event []SystemEvent `json:"ScheduledSystemEventType"`
	} `json:"ScheduledSystemEventSet"`
}

// SystemEvent is a scheduled event.
type SystemEvent struct {
	ID string `json:"EventId"`
	// Type has a Name such as SystemMaintenance.Reboot or InstanceExpiration.Stop.
	Type      struct{ Name string } `json:"EventType"`
	NotBefore Time
}

type fullStatusPage struct {
	TotalCount Integer
	Set        *struct {
		Rows []FullStatus `json:"InstanceFullStatusType"`
	} `json:"InstanceFullStatusSet"`
}

func (p *fullStatusPage) total() int { return int(p.TotalCount) }

func (p *fullStatusPage) rows() ([]FullStatus, bool) {
	if p.Set == nil {
		return nil, false
	}
	return p.Set.Rows, true
}

// FullStatuses looks up the status of instances, 100 in a call.
func FullStatuses(ctx context.Context, api API, ids []string) ([]FullStatus, error) {
	var all []FullStatus
	for _, batch := range batches(ids, instanceBatch) {
		rows, err := byNumber[FullStatus, fullStatusPage](ctx, api, describeFullStatus, instanceBatch, map[string]any{"InstanceId": batch})
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}
