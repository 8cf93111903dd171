package slbevents

import (
	"slices"
	"strings"
)

// Cause is what the message of an event is about.
type Cause string

// The causes.
const (
	// CauseNone: a success.
	CauseNone Cause = "none"
	// CauseArrears: the account is in arrears, or its balance is too low.
	CauseArrears Cause = "arrears"
	// CauseForbidden: the role of the cluster lacks a right.
	CauseForbidden Cause = "forbidden"
	// CauseThrottled: the API asked for fewer requests.
	CauseThrottled Cause = "throttled"
	// CauseQuota: a quota of load balancers is used up.
	CauseQuota Cause = "quota"
	// CauseReuseRemoved: the load balancer is not found, and the annotation that named it may have been removed.
	CauseReuseRemoved Cause = "reuse_removed"
	// CauseMissing: the load balancer is not found.
	CauseMissing Cause = "load_balancer_missing"
	// CauseNetworkConflict: the load balancer is in another VPC.
	CauseNetworkConflict Cause = "network_conflict"
	// CauseNoAddresses: the vSwitch of the load balancer has no free address.
	CauseNoAddresses Cause = "no_addresses"
	// CauseENI: the load balancer does not take network interfaces of pods as backends.
	CauseENI Cause = "eni_unsupported"
	// CausePort: a target port is a name where it must be a number.
	CausePort Cause = "port"
	// CauseGroupInUse: a server group cannot be deleted, because a listener uses it.
	CauseGroupInUse Cause = "group_in_use"
	// CauseNotSold: the specification cannot be bought any more.
	CauseNotSold Cause = "not_sold"
	// CauseTypeChanged: the type of the Service is not LoadBalancer any more.
	CauseTypeChanged Cause = "type_changed"
	// CauseNoBackends: no node or pod can be a backend.
	CauseNoBackends Cause = "no_backends"
	// CauseOther: a failure whose message is none of the known ones.
	CauseOther Cause = "other"
)

const (
	// maxMessage bounds what is read of a message. The API server takes 1 KiB of a new one.
	maxMessage = 4 << 10
	// typeLoadBalancer is the type of a Service, in lower case.
	typeLoadBalancer = "loadbalancer"
)

// meaning is what an event means, and false where it is none of the cloud controller
// manager, or says nothing of a load balancer.
func meaning(reason, message string) (Cause, bool) {
	message = strings.ToLower(message[:min(len(message), maxMessage)])
	switch reason {
	case "EnsuredLoadBalancer", "CleanLoadBalancer":
		return CauseNone, true
	// The third is what older versions call the second.
	case "SyncLoadBalancerFailed", "CleanLoadBalancerFailed", "DeleteLoadBalancerFailed", "CreatingLoadBalancerFailed":
		return causeOf(message), true
	// Calls of Kubernetes, not of the cloud.
	case "FailedAddFinalizer", "FailedRemoveFinalizer", "FailedAddHash", "FailedRemoveHash", "FailedUpdateStatus":
		return CauseOther, true
	case "UnAvailableLoadBalancer":
		return CauseNoBackends, true
	case "TypeChanged":
		return CauseTypeChanged, isTypeLost(message)
	default:
		return "", false
	}
}

// causeOf looks for what is known of the messages of failed calls. Some versions cut
// the code of an error off, and tell only its text.
func causeOf(message string) Cause {
	for _, c := range []struct {
		cause Cause
		texts []string
	}{
		{CauseArrears, []string{"order.arrear", "is arrearage", "in arrears", "overdue payment", "insufficient_balance", "insufficient balance", "not have enough balance"}},
		{CauseThrottled, []string{"throttling", "flow control"}},
		// Kubernetes says "is forbidden: user" of its own rights.
		{CauseForbidden, []string{"code: forbidden", "forbidden.ram", "nopermission", "no permission", "not authorized", "be authorized by ram"}},
		{CauseReuseRemoved, []string{"removed loadbalancerid annotation"}},
		{CauseMissing, []string{"not able to find loadbalancer", "can not find loadbalancer", "invalidloadbalancerid.notfound", "specified loadbalancerid does not exist"}},
		{CauseQuota, []string{"quota limit", "quotaexceed", "overlimit", "overquota", "exceeds the quota"}},
		{CauseNetworkConflict, []string{"networkconflict", "network conflict"}},
		{CauseNoAddresses, []string{"vswitchavailableipnotexist", "no available ip"}},
		{CauseENI, []string{"not support backend servers of eni type"}},
		{CausePort, []string{"specified port must be between"}},
		{CauseGroupInUse, []string{"rspoolvipexist", "vips associating with this vserver group"}},
		{CauseNotSold, []string{"shareslbhaltsales"}},
	} {
		if slices.ContainsFunc(c.texts, func(text string) bool { return strings.Contains(message, text) }) {
			return c.cause
		}
	}
	return CauseOther
}

// isTypeLost tells whether a Service that was of the type LoadBalancer is so no more.
// The message has both types, with an arrow or a dash between them.
func isTypeLost(message string) bool {
	from, to, ok := strings.Cut(message, "->")
	if !ok {
		from, to, ok = strings.Cut(message, " - ")
	}
	return ok && strings.HasSuffix(strings.TrimSpace(from), typeLoadBalancer) && strings.TrimSpace(to) != typeLoadBalancer
}
