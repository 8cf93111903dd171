package nodelocaldns

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/eniconfig"
)

const (
	terwayName      = "terway-eniip"
	terwayContainer = "terway"
	// maxTag is the longest tag that an image can have.
	maxTag = 128
	// maxMessage bounds what is quoted of a configuration.
	maxMessage = 200
)

// minTerway is the first version of Terway that goes with NodeLocal DNSCache.
func minTerway() []uint64 { return []uint64{1, 0, 10, 301} }

// terway is what there is of Terway; nil is what there is not.
type terway struct {
	daemonSet *appsv1.DaemonSet
	config    *corev1.ConfigMap
}

func readTerway(s Sources) (terway, error) {
	var t terway
	var err error
	if t.daemonSet, err = find(s.Terway, terwayName); err != nil {
		return t, err
	}
	t.config, err = find(s.ENIConfig, eniconfig.Name)
	return t, err
}

// metrics is empty on a cluster without Terway.
func (t terway) metrics() ([]prometheus.Metric, error) {
	if t.daemonSet == nil {
		return nil, nil
	}
	tag := imageTag(t.daemonSet.Spec.Template.Spec.Containers, terwayContainer)
	metrics := []prometheus.Metric{familyTerwayInfo.Metric(1, tag)}
	if version, ok := parseVersion(tag); ok {
		good := slices.Compare(version, minTerway()) >= 0
		metrics = append(metrics, familyTerwayCheck.Metric(collector.Bool(good), "version"))
	}
	if t.config == nil {
		return metrics, nil
	}
	n, err := readNetwork(t.config)
	if err == nil && n.ipvlan {
		metrics = append(metrics, familyTerwayCheck.Metric(collector.Bool(n.reachable), "host_stack_cidrs"))
	}
	return metrics, err
}

// network is what the configuration of Terway means for the cache.
type network struct {
	ipvlan bool
	// reachable: traffic of pods to the cache goes through the host.
	reachable bool
}

// plugin is the configuration of one CNI plugin, or of a chain of them.
type plugin struct {
	Type           string   `json:"type"`
	VirtualType    string   `json:"eniip_virtual_type"`
	HostStackCIDRs []string `json:"host_stack_cidrs"`
	Plugins        []plugin `json:"plugins"`
}

// readNetwork reads the configuration in m. Its errors name ConfigMap, key and
// reason.
func readNetwork(m *corev1.ConfigMap) (network, error) {
	for _, key := range eniconfig.NetworkKeys() {
		text := m.Data[key]
		if strings.TrimSpace(text) == "" {
			continue
		}
		n, err := parseNetwork(text)
		if err != nil {
			return network{}, fmt.Errorf("ConfigMap %s/%s: key %s: %s: %w", m.Namespace, m.Name, key, clip(err.Error()), collector.ErrDecode)
		}
		return n, nil
	}
	return network{}, fmt.Errorf("ConfigMap %s/%s: there is nothing in the keys %s: %w", m.Namespace, m.Name, strings.Join(eniconfig.NetworkKeys(), ", "), collector.ErrDecode)
}

func parseNetwork(text string) (network, error) {
	if len(text) > eniconfig.MaxSize {
		return network{}, fmt.Errorf("more than %d bytes", eniconfig.MaxSize)
	}
	var whole plugin
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		return network{}, err
	}
	for _, p := range append([]plugin{whole}, whole.Plugins...) {
		if p.Type == "terway" {
			return p.network()
		}
	}
	return network{}, errors.New("there is no plug-in of type terway")
}

func (p plugin) network() (network, error) {
	n := network{ipvlan: strings.EqualFold(p.VirtualType, "ipvlan")}
	for _, cidr := range p.HostStackCIDRs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return network{}, fmt.Errorf("field host_stack_cidrs: %w", err)
		}
		n.reachable = n.reachable || prefix.Contains(cacheAddress())
	}
	return n, nil
}

// imageTag is the tag of the image of the container of that name, or empty.
func imageTag(containers []corev1.Container, name string) string {
	c := container(containers, name)
	if c == nil {
		return ""
	}
	image, _, _ := strings.Cut(c.Image, "@")
	// A registry can have a port.
	_, tag, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	if len(tag) > maxTag {
		return ""
	}
	return tag
}

// parseVersion reads the numbers of a tag such as v1.0.10.301-g0115576-aliyun, at
// least two of them, padded to the four that a version of Terway can have.
func parseVersion(tag string) ([]uint64, bool) {
	numbers, _, _ := strings.Cut(strings.TrimPrefix(tag, "v"), "-")
	parts := strings.Split(numbers, ".")
	if len(parts) < 2 || len(parts) > len(minTerway()) {
		return nil, false
	}
	version := make([]uint64, len(minTerway()))
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, false
		}
		version[i] = n
	}
	return version, true
}

// clip cuts s to what fits into a line of the log.
func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "..."
}
