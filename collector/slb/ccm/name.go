package ccm

import (
	"slices"
	"strings"
)

const namePrefix = "k8s"

// Name is the name of a listener or a VServer group that a controller made:
// k8s/PORT/SERVICE/NAMESPACE/CLUSTER.
type Name struct{ Port, Service, Namespace, ClusterID string }

// String is the name as the cloud has it.
func (n Name) String() string {
	return strings.Join([]string{namePrefix, n.Port, n.Service, n.Namespace, n.ClusterID}, "/")
}

// ParseName reads a name. What a user has named is no such.
func ParseName(s string) (Name, bool) {
	parts := strings.Split(s, "/")
	if len(parts) != 5 || parts[0] != namePrefix || slices.Contains(parts, "") {
		return Name{}, false
	}
	return Name{parts[1], parts[2], parts[3], parts[4]}, true
}
