package kubeproxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/kube-proxy/config/v1alpha1"

	"ack-exporter/collector"
)

const (
	// maxConfig bounds the configuration, also with its aliases written out. An
	// ordinary one has 2 KiB, and to decode one costs 300 times its size.
	maxConfig = 128 << 10
	// maxMessage bounds what is quoted of a configuration.
	maxMessage = 300
	// other stands for a scheduler that the kernel does not have.
	other = "other"
)

// errNotExamined: kube-proxy could perhaps use it.
var errNotExamined = errors.New("not examined")

// settings is what a configuration says.
type settings struct {
	mode, scheduler string
	ipvs            []timeout
	maxPerCore, min *int32 // nil: not written
	conntrack       []timeout
	strictErrors    []string
}

// timeout is one that is written; state is empty with IPVS.
type timeout struct {
	protocol, state string
	duration        time.Duration
}

// configKeys lists the keys that the configuration has in a ConfigMap. The first one
// that is there counts.
func configKeys() []string { return []string{"config.conf", "config"} }

// configOf finds the configuration in m.
func configOf(m *corev1.ConfigMap) (key, text string, found bool) {
	for _, key := range configKeys() {
		if text, ok := m.Data[key]; ok {
			return key, text, true
		}
	}
	return "", "", false
}

// modes lists the values of mode that a kube-proxy has had.
func modes() []v1alpha1.ProxyMode {
	return []v1alpha1.ProxyMode{"", "iptables", "ipvs", "nftables", "kernelspace", "userspace"}
}

// schedulers lists those of the kernel (net/netfilter/ipvs/Kconfig).
func schedulers() []string {
	return []string{
		"", "dh", "fo", "lblc", "lblcr", "lc", "mh", "nq", "ovf", "rr", "sed", "sh", "twos", "wlc", "wrr",
	}
}

// retired lists fields that older kube-proxies know and the type of today does
// not have. They are in the ConfigMaps of clusters that grew up with them.
func retired() []string {
	return []string{"udpIdleTimeout", "resourceContainer", "conntrack.max"}
}

// reading is what came of a text.
type reading struct {
	text     string
	settings settings
	err      error
}

// read reads the configuration in m, unless it is the same as before. Its errors
// name ConfigMap, key and reason.
func (c *Collector) read(m *corev1.ConfigMap) (settings, error) {
	key, text, found := configOf(m)
	if !found {
		return settings{}, fmt.Errorf("ConfigMap %s/%s: there is no key %s: %w: %w", m.Namespace, m.Name,
			strings.Join(configKeys(), " or "), errNotExamined, collector.ErrDecode)
	}
	last, ok := c.last[m.Name]
	if !ok || last.text != text {
		last = reading{text: text}
		last.settings, last.err = parse(text)
		c.last[m.Name] = last
	}
	if last.err != nil {
		return settings{}, fmt.Errorf("ConfigMap %s/%s: key %s: %w: %w", m.Namespace, m.Name, key, clipped{last.err}, collector.ErrDecode)
	}
	return last.settings, nil
}

func parse(text string) (settings, error) {
	if len(text) > maxConfig {
		return settings{}, fmt.Errorf("more than %d bytes: %w", maxConfig, errNotExamined)
	}
	if strings.TrimSpace(text) == "" {
		return settings{}, errors.New("it is empty")
	}
	if err := checkAliases(text); err != nil {
		return settings{}, err
	}
	config, strictErrors, err := decode([]byte(text))
	if err != nil {
		return settings{}, err
	}
	if err := validate(config); err != nil {
		return settings{}, err
	}
	s := settings{
		mode:         string(config.Mode),
		scheduler:    config.IPVS.Scheduler,
		ipvs:         ipvsTimeouts(config.IPVS),
		maxPerCore:   config.Conntrack.MaxPerCore,
		min:          config.Conntrack.Min,
		conntrack:    conntrackTimeouts(config.Conntrack),
		strictErrors: strictErrors,
	}
	if !slices.Contains(schedulers(), s.scheduler) {
		s.scheduler = other
	}
	return s, nil
}

// decode reads the configuration in the way of kube-proxy, which ignores what it
// does not know, and returns what a strict reader would not accept.
func decode(text []byte) (*v1alpha1.KubeProxyConfiguration, []string, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, nil, err
	}
	serializer := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	object, _, err := serializer.Decode(text, nil, nil)
	config, ok := object.(*v1alpha1.KubeProxyConfiguration)
	if strict, isStrict := runtime.AsStrictDecodingError(err); isStrict && ok {
		return config, unexpected(strict.Errors()), nil
	}
	switch {
	case runtime.IsMissingKind(err):
		return nil, nil, errors.New("there is no kind")
	case runtime.IsMissingVersion(err):
		return nil, nil, errors.New("there is no apiVersion")
	case err != nil:
		return nil, nil, err
	case !ok:
		return nil, nil, errors.New("it is not of kind KubeProxyConfiguration")
	}
	return config, nil, nil
}

func unexpected(errs []error) []string {
	var found []string
	for _, err := range errs {
		isRetired := func(field string) bool { return err.Error() == fmt.Sprintf("unknown field %q", field) }
		if !slices.ContainsFunc(retired(), isRetired) {
			found = append(found, err.Error())
		}
	}
	return found
}

// validate makes the checks of kube-proxy's start that concern the fields used here.
func validate(c *v1alpha1.KubeProxyConfiguration) error {
	if !slices.Contains(modes(), c.Mode) {
		return fmt.Errorf("field mode: there is no mode %q", c.Mode)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"ipvs.tcpTimeout", int64(c.IPVS.TCPTimeout.Duration)},
		{"ipvs.tcpFinTimeout", int64(c.IPVS.TCPFinTimeout.Duration)},
		{"ipvs.udpTimeout", int64(c.IPVS.UDPTimeout.Duration)},
		{"conntrack.maxPerCore", int64(value(c.Conntrack.MaxPerCore))},
		{"conntrack.min", int64(value(c.Conntrack.Min))},
		{"conntrack.tcpEstablishedTimeout", int64(value(c.Conntrack.TCPEstablishedTimeout).Duration)},
		{"conntrack.tcpCloseWaitTimeout", int64(value(c.Conntrack.TCPCloseWaitTimeout).Duration)},
		{"conntrack.udpTimeout", int64(c.Conntrack.UDPTimeout.Duration)},
		{"conntrack.udpStreamTimeout", int64(c.Conntrack.UDPStreamTimeout.Duration)},
	} {
		if f.value < 0 {
			return fmt.Errorf("field %s: it is negative", f.name)
		}
	}
	return nil
}

func ipvsTimeouts(c v1alpha1.KubeProxyIPVSConfiguration) []timeout {
	return written(
		timeout{protocol: "tcp", duration: c.TCPTimeout.Duration},
		timeout{protocol: "tcp_fin", duration: c.TCPFinTimeout.Duration},
		timeout{protocol: "udp", duration: c.UDPTimeout.Duration},
	)
}

func conntrackTimeouts(c v1alpha1.KubeProxyConntrackConfiguration) []timeout {
	return written(
		timeout{"tcp", "established", value(c.TCPEstablishedTimeout).Duration},
		timeout{"tcp", "close_wait", value(c.TCPCloseWaitTimeout).Duration},
		timeout{"udp", "unreplied", c.UDPTimeout.Duration},
		timeout{"udp", "stream", c.UDPStreamTimeout.Duration},
	)
}

// written keeps the timeouts that kube-proxy sets: 0 means the same to it as
// nothing.
func written(timeouts ...timeout) []timeout {
	return slices.DeleteFunc(timeouts, func(t timeout) bool { return t.duration == 0 })
}

// value is what p points to, or zero.
func value[T int32 | metav1.Duration](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// checkAliases refuses a text that grows beyond maxConfig when its YAML aliases
// are replaced by what they stand for: an alias bomb.
func checkAliases(text string) error {
	if !strings.Contains(text, "&") {
		return nil // without an anchor there is no alias
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return err
	}
	if expanded(&document, make(map[*yaml.Node]int)) > maxConfig {
		return fmt.Errorf("more than %d bytes with its YAML aliases written out: %w", maxConfig, errNotExamined)
	}
	return nil
}

// expanded is about how many bytes n has with its aliases written out; it counts
// no further than one more than maxConfig. anchors holds what is known already.
func expanded(n *yaml.Node, anchors map[*yaml.Node]int) int {
	if size, ok := anchors[n]; ok {
		return size
	}
	if n.Anchor != "" {
		anchors[n] = maxConfig + 1 // for an alias within what it stands for
	}
	size := len(n.Value) + 1
	if n.Alias != nil {
		size += expanded(n.Alias, anchors)
	}
	for _, child := range n.Content {
		size = min(size+expanded(child, anchors), maxConfig+1)
	}
	if n.Anchor != "" {
		anchors[n] = size
	}
	return size
}

// clipped is an error whose text fits into a line of the log.
type clipped struct{ error }

func (c clipped) Error() string { return clip(c.error.Error()) }

func (c clipped) Unwrap() error { return c.error }

// clip cuts s to what fits into a line of the log.
func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "..."
}
