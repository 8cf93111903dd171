// Package eniconfig reads the ConfigMap of Terway, the network plug-in that gives
// pods addresses of the VPC.
package eniconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
)

// The ConfigMap that has the configuration, and what selects it.
const (
	Namespace = metav1.NamespaceSystem
	Name      = "eni-config"
	Fields    = "metadata.name=" + Name
)

const (
	// MaxSize bounds what is read of one key; a whole ConfigMap is not larger.
	MaxSize = 1 << 20

	// daemonKey has the configuration of the daemon.
	daemonKey = "eni_conf"
	// maxVSwitches bounds how many vSwitches can be named. A VPC has 150 by default.
	maxVSwitches = 500
	// maxID bounds the id of a vSwitch and of a zone.
	maxID = 64
	// unreadable takes the place of a configuration that is none.
	unreadable = "unreadable"
)

// NetworkKeys lists the keys of the configuration for the CNI, in the order in which
// Terway looks for them.
func NetworkKeys() []string { return []string{"10-terway.conflist", "10-terway.conf"} }

// daemon is what is used of the configuration of the daemon.
type daemon struct {
	// VSwitches lists those of pods, by zone.
	VSwitches map[string][]string `json:"vswitches,omitempty"`
}

// Trim keeps the configuration for the CNI, and of that of the daemon, which can
// have an access key in it, the vSwitches.
func Trim(m *corev1.ConfigMap) {
	data := make(map[string]string)
	for _, key := range NetworkKeys() {
		if config, ok := m.Data[key]; ok {
			// One byte more tells that it is too large.
			data[key] = strings.Clone(config[:min(len(config), MaxSize+1)])
		}
	}
	if config, ok := m.Data[daemonKey]; ok {
		data[daemonKey] = trimDaemon(config)
	}
	*m = corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, ResourceVersion: m.ResourceVersion},
		Data:       data,
	}
}

func trimDaemon(config string) string {
	var d daemon
	if len(config) > MaxSize || json.Unmarshal([]byte(config), &d) != nil {
		return unreadable
	}
	trimmed, err := json.Marshal(d)
	if err != nil {
		return unreadable
	}
	return string(trimmed)
}

// PodVSwitches tells the vSwitches that pods get addresses of, and the zone that each
// is named for. There are none where the configuration leaves them to those of the
// nodes. Its errors name ConfigMap, key and reason.
func PodVSwitches(m *corev1.ConfigMap) (zones map[string]string, err error) {
	config, ok := m.Data[daemonKey]
	if !ok {
		return nil, nil
	}
	fail := func(reason string) (map[string]string, error) {
		return nil, fmt.Errorf("ConfigMap %s/%s: key %s: %s: %w", m.Namespace, m.Name, daemonKey, reason, collector.ErrDecode)
	}
	var d daemon
	if len(config) > MaxSize || json.Unmarshal([]byte(config), &d) != nil {
		return fail("not a JSON object whose field vswitches lists ids by zone")
	}
	zones = make(map[string]string)
	for _, zone := range slices.Sorted(maps.Keys(d.VSwitches)) {
		for _, id := range d.VSwitches[zone] {
			if id == "" || len(id) > maxID || len(zone) > maxID {
				return fail("field vswitches: an id is empty or too long")
			}
			zones[id] = zone
		}
	}
	if len(zones) > maxVSwitches {
		return fail(fmt.Sprintf("field vswitches: more than %d", maxVSwitches))
	}
	return zones, nil
}
