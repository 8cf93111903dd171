package instance

import (
	"regexp"
	"slices"
	"time"

	"ack-exporter/collector"
	"ack-exporter/internal/aliyun"
)

// memberLabels are those of everything that is told of an instance by its node.
var memberLabels = []string{"node", "instance_id"}

var (
	familyKnown = collector.NewGauge("ack_instance_known",
		"Whether the API tells of the instance of the node. 0: it is gone, or the exporter has no right to it, or it is in another region than the one that is asked. Absent where the API did not answer, or told of none at all.",
		memberLabels...)
	familyInfo = collector.NewGauge("ack_instance_info",
		"The instance that the node is. charge_type is PostPaid (pay-as-you-go), PrePaid (subscription) or other; spot_strategy is NoSpot for what is no spot instance; role is master on a node of the control plane of a dedicated cluster, else worker. The value is 1.",
		"node", "instance_id", "instance_type", "zone", "charge_type", "spot_strategy", "role")
	familyRunning = collector.NewGauge("ack_instance_running",
		"Whether the status of the instance is Running.",
		memberLabels...)
	familyParked = collector.NewGauge("ack_instance_parked",
		"Whether it looks as if the instance were stopped on purpose: in economical mode, or after pods were kept away from the node, by a cordon or by cluster-autoscaler. Only of instances that do not run.",
		memberLabels...)
	familyExpiry = collector.NewGauge("ack_instance_expiry_timestamp_seconds",
		"When the subscription of the instance ends, or when one that is paid by use is released by itself, in Unix time. Absent where there is no such time.",
		memberLabels...)
	familyAutoRenew = collector.NewGauge("ack_instance_auto_renew",
		"Whether the subscription of the instance renews itself. Only of subscriptions.",
		memberLabels...)
	familyLocked = collector.NewGauge("ack_instance_locked",
		"1 where the instance is locked, by reason: financial, security, recycling, dedicatedhostfinancial, refunded or other. Absent where it is not.",
		"node", "instance_id", "reason")
	familyReclaiming = collector.NewGauge("ack_instance_reclaiming",
		"Whether the instance is locked to be recycled, as spot instances are before they are reclaimed.",
		memberLabels...)
	familyEvent = collector.NewGauge("ack_instance_system_event_timestamp_seconds",
		"From when on a system event that is scheduled for the instance can happen, in Unix time; the first of each type. 0 where the API names no time.",
		"node", "instance_id", "type")
)

const (
	prePaid   = "PrePaid"
	running   = "Running"
	stopped   = "Stopped"
	recycling = "recycling"
	noSpot    = "NoSpot"
	// economical stops an instance and gives its CPUs back; it may find none when it
	// starts again. The fast mode of autoscaling parks nodes so.
	economical = "StopCharging"
	// other stands for a value that no document names.
	other = "other"
)

// The values that documents name.
var (
	chargeTypes    = []string{"PostPaid", prePaid}
	spotStrategies = []string{noSpot, "SpotWithPriceLimit", "SpotAsPriceGo"}
	lockReasons    = []string{"financial", "security", recycling, "dedicatedhostfinancial", "refunded"}
	eventTypes     = []string{
		"SystemMaintenance.Reboot", "SystemMaintenance.Redeploy", "SystemMaintenance.Stop",
		"SystemMaintenance.RebootAndIsolateErrorDisk", "SystemMaintenance.RebootAndReInitErrorDisk",
		"SystemFailure.Reboot", "SystemFailure.Redeploy", "SystemFailure.Delete", "SystemFailure.Stop",
		"InstanceFailure.Reboot",
		"InstanceExpiration.Stop", "InstanceExpiration.Delete",
		"AccountUnbalanced.Stop", "AccountUnbalanced.Delete",
	}
)

// oneOf is value if it is one of those that are known.
func oneOf(value string, known []string) string {
	if slices.Contains(known, value) {
		return value
	}
	return other
}

var wordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// word is s if it has the form of the name of a type or a zone, and else other.
func word(s string) string {
	if wordForm.MatchString(s) {
		return s
	}
	return other
}

func spotStrategyOf(i aliyun.Instance) string {
	if i.SpotStrategy == "" {
		return noSpot
	}
	return oneOf(i.SpotStrategy, spotStrategies)
}

func roleOf(m member) string {
	if m.master {
		return "master"
	}
	return "worker"
}

// locksOf are the reasons for which i is locked, each once.
func locksOf(i aliyun.Instance) []string {
	var reasons []string
	for _, reason := range i.Locks() {
		reasons = append(reasons, oneOf(reason, lockReasons))
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// isParked tells whether i, which does not run, was stopped on purpose.
func isParked(m member, i aliyun.Instance) bool {
	return m.leaving || i.Status == stopped && i.StoppedMode == economical
}

// endOf is when i is released, and false where that is not fixed. What is paid by use
// has an end of its subscription as well, which means nothing.
func endOf(i aliyun.Instance) (time.Time, bool) {
	if i.ChargeType == prePaid {
		return i.ExpiredTime.Expiry()
	}
	return i.AutoReleaseTime.Expiry()
}

// unix is t in Unix time, and 0 where there is none.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}
