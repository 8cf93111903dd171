package ccm

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	// Of two annotations the one with the newer prefix counts.
	newPrefix = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
	oldPrefix = "service.beta.kubernetes.io/alicloud-loadbalancer-"

	backendTypeAnnotation = "service.beta.kubernetes.io/backend-type"
	classAnnotation       = "service.beta.kubernetes.io/class"

	backendTypePods = "eni"
	typeNLB         = "nlb"
	on              = "on"
)

// idForm is the form of ids of the cloud.
var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// annotation is the value of an annotation of the controller, named without its prefix.
func annotation(s *corev1.Service, name string) string {
	if value, ok := s.Annotations[newPrefix+name]; ok {
		return value
	}
	return s.Annotations[oldPrefix+name]
}

// oneOf is value where it is one of those allowed, and else empty.
func oneOf(value string, allowed ...string) string {
	if slices.Contains(allowed, value) {
		return value
	}
	return ""
}

// anID is value where it can be an id, and else empty.
func anID(value string) string {
	if idForm.MatchString(value) {
		return value
	}
	return ""
}

// ofPort looks a port up in a list such as "https:443,http:80": what stands before it,
// which check has to accept. The first item that cannot be understood ends the search, for
// the controller stops there, but not behind the port.
func ofPort(list string, port int32, check func(string) bool) (value string, found, ok bool) {
	if list == "" {
		return "", false, true
	}
	for item := range strings.SplitSeq(list, ",") {
		before, rest, colon := strings.Cut(item, ":")
		if !colon || !check(before) {
			return "", false, false
		}
		after, _, _ := strings.Cut(rest, ":")
		if after == strconv.Itoa(int(port)) {
			return before, true, true
		}
	}
	return "", false, true
}

// protocolOf is the protocol of the listener of a port, and empty where it is not known.
func protocolOf(s *corev1.Service, p corev1.ServicePort) string {
	known := func(protocol string) bool { return oneOf(protocol, "tcp", "udp", "http", "https") != "" }
	protocol, found, ok := ofPort(annotation(s, "protocol-port"), p.Port, known)
	switch {
	case !ok:
		return ""
	case found:
		return protocol
	case p.Protocol == "":
		return "tcp"
	default:
		return oneOf(strings.ToLower(string(p.Protocol)), "tcp", "udp")
	}
}

// forwards tells whether the HTTP listener of a port sends clients to another port, as in
// "80:443".
func forwards(s *corev1.Service, port int32) bool {
	for item := range strings.SplitSeq(annotation(s, "forward-port"), ",") {
		from, to, _ := strings.Cut(item, ":")
		target, err := strconv.Atoi(to)
		if from == strconv.Itoa(int(port)) {
			return err == nil && target != 0
		}
	}
	return false
}

// groupOf is the id of the VServer group that an annotation names for a port, empty for
// none. ok is false where the annotation cannot be understood.
func groupOf(s *corev1.Service, port int32) (id string, ok bool) {
	id, found, ok := ofPort(annotation(s, "vgroup-port"), port, func(string) bool { return true })
	if found {
		return id, anID(id) != ""
	}
	return "", ok
}

// labelsOf are the labels that nodes need, such as "k1=v1,k2=v2". ok is false where the
// annotation cannot be understood.
func labelsOf(s *corev1.Service) (labels [][2]string, ok bool) {
	list := annotation(s, "backend-label")
	if list == "" {
		return nil, true
	}
	for item := range strings.SplitSeq(list, ",") {
		parts := strings.SplitN(item, "=", 3)
		if len(parts) < 2 {
			return nil, false
		}
		labels = append(labels, [2]string{parts[0], parts[1]})
	}
	return labels, true
}

// settingsOf are the settings that annotations ask for, and the defaults of load balancers
// that the controller makes.
func settingsOf(s *corev1.Service, reused bool) Settings {
	bandwidth, err := strconv.ParseInt(annotation(s, "bandwidth"), 10, 32)
	if err != nil || bandwidth < 0 {
		bandwidth = 0
	}
	wanted := Settings{
		DisplayName:            annotation(s, "name"),
		Spec:                   annotation(s, "spec"),
		DeleteProtection:       oneOf(annotation(s, "delete-protection"), on, "off"),
		ModificationProtection: oneOf(annotation(s, "modification-protection"), "ConsoleProtection", "NonProtection"),
		AddressType:            oneOf(annotation(s, "address-type"), "internet", "intranet"),
		ChargeType:             oneOf(annotation(s, "charge-type"), "paybytraffic", "paybybandwidth"),
		InstanceChargeType:     oneOf(annotation(s, "instance-charge-type"), "PayBySpec", "PayByCLCU"),
		Bandwidth:              bandwidth,
	}
	if !reused && annotation(s, "delete-protection") == "" {
		wanted.DeleteProtection = on
	}
	if !reused && annotation(s, "modification-protection") == "" {
		wanted.ModificationProtection = "ConsoleProtection"
	}
	return wanted
}
