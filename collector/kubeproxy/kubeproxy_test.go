package kubeproxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/collector/kubeproxy"
	"ack-exporter/internal/kube"
)

// listed is a lister of given objects, or of an error.
type listed[T any] struct {
	objects []T
	err     error
}

func (l listed[T]) List() ([]T, error) { return l.objects, l.err }

func configMap(name, config string) *corev1.ConfigMap {
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name, ResourceVersion: "7", Labels: map[string]string{"a": "b"}},
		Data:       map[string]string{"config.conf": config, "kubeconfig.conf": "secret"},
	}
	kubeproxy.TrimConfigMap(m)
	return m
}

func service(namespace, name, clusterIP string, protocols ...corev1.Protocol) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	s.Spec.ClusterIP = clusterIP
	for _, p := range protocols {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Protocol: p})
	}
	return s
}

func node(version string, labels map[string]string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: labels}}
	n.Status.NodeInfo.KubeletVersion = version
	return n
}

// sources is a cluster with these ConfigMaps, each by a lister of its own.
func sources(configMaps ...*corev1.ConfigMap) kubeproxy.Sources {
	s := kubeproxy.Sources{
		Services: listed[*corev1.Service]{objects: []*corev1.Service{
			service("kube-system", "kube-dns", "172.21.0.10", corev1.ProtocolUDP, corev1.ProtocolTCP),
			service("kube-system", "kube-dns-upstream", "172.21.9.1", corev1.ProtocolUDP, corev1.ProtocolTCP),
			service("default", "kubernetes", "172.21.0.1", corev1.ProtocolTCP),
		}},
		Nodes: listed[*corev1.Node]{objects: []*corev1.Node{node("v1.30.7-aliyun.1", nil)}},
	}
	for _, m := range configMaps {
		s.ConfigMaps = append(s.ConfigMaps, listed[*corev1.ConfigMap]{objects: []*corev1.ConfigMap{m}})
	}
	return s
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func collect(t *testing.T, s kubeproxy.Sources) (string, error) {
	t.Helper()
	return collectortest.Collect(t, kubeproxy.New(slog.New(slog.DiscardHandler), s))
}

func TestCollectGolden(t *testing.T) {
	t.Parallel()
	got, err := collect(t, sources(configMap("kube-proxy-worker", fixture(t, "worker.yaml")), configMap("kube-proxy-master", fixture(t, "master.yaml"))))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "dedicated.prom", got)
}

func TestNoConfigMapIsNotApplicable(t *testing.T) {
	t.Parallel()
	s := sources()
	s.ConfigMaps = []kube.Lister[*corev1.ConfigMap]{listed[*corev1.ConfigMap]{}}
	got, err := collect(t, s)
	if !errors.Is(err, collector.ErrNotApplicable) || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestALostListingFailsTheWholeRefresh(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*kubeproxy.Sources){
		"ConfigMaps": func(s *kubeproxy.Sources) {
			s.ConfigMaps = append(s.ConfigMaps, listed[*corev1.ConfigMap]{err: collector.ErrForbidden})
		},
		"Services": func(s *kubeproxy.Sources) { s.Services = listed[*corev1.Service]{err: collector.ErrForbidden} },
		"Nodes":    func(s *kubeproxy.Sources) { s.Nodes = listed[*corev1.Node]{err: collector.ErrForbidden} },
	} {
		s := sources(configMap("kube-proxy-worker", fixture(t, "worker.yaml")))
		lose(&s)
		got, err := collect(t, s)
		if !errors.Is(err, collector.ErrForbidden) || got != "" {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

const (
	// bound is the size of the largest configuration that is read.
	bound = 128 << 10
	head  = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
	// laughs is the alias bomb with a hundred million words.
	laughs = head + `
featureGates: &a {a: &x "lol lol lol lol lol"}
b: &b [*x,*x,*x,*x,*x,*x,*x,*x,*x,*x]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]
g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]
h: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g,*g]
`
)

// longString has few nodes, which the YAML parser counts, but many bytes.
func longString() string {
	return head + "a: &a " + strings.Repeat("x", 50_000) + "\nb: [" + strings.Repeat("*a,", 10_000) + "*a]\n"
}

func TestBadConfigurationHarmsNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, says string }{
		"empty":              {"", "key config.conf: it is empty"},
		"blank":              {" \n\n", "it is empty"},
		"no YAML":            {head + "ipvs:\n  udpTimeout:10s\n  scheduler: rr\n", "yaml: line"},
		"tab":                {head + "ipvs:\n\tudpTimeout: 10s\n", "yaml: line"},
		"unbalanced":         {head + "ipvs: {udpTimeout: 10s\n", "yaml: line"},
		"a list":             {"- a\n- b\n", "cannot unmarshal array"},
		"binary":             {"\x00\x01\xff\xfe", "yaml: "},
		"no kind":            {"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: ipvs\n", "there is no kind"},
		"no apiVersion":      {"kind: KubeProxyConfiguration\n", "there is no apiVersion"},
		"another kind":       {"apiVersion: v1\nkind: ConfigMap\n", `no kind "ConfigMap"`},
		"another version":    {"apiVersion: kubeproxy.config.k8s.io/v9\nkind: KubeProxyConfiguration\n", `"kubeproxy.config.k8s.io/v9"`},
		"wrong type":         {head + "conntrack:\n  maxPerCore: many\n", "maxPerCore"},
		"number for a time":  {head + "ipvs:\n  udpTimeout: 10\n", "cannot unmarshal number"},
		"time without unit":  {head + "ipvs:\n  udpTimeout: \"10\"\n", "missing unit"},
		"time of null":       {head + "ipvs:\n  udpTimeout: null\n", `invalid duration ""`},
		"too large a number": {head + "conntrack:\n  maxPerCore: 99999999999\n", "maxPerCore"},
		"unknown mode":       {head + "mode: IPVS\n", `field mode: there is no mode "IPVS"`},
		"negative timeout":   {head + "ipvs:\n  udpTimeout: -10s\n", "field ipvs.udpTimeout: it is negative"},
		"negative max":       {head + "conntrack:\n  maxPerCore: -1\n", "field conntrack.maxPerCore: it is negative"},
		"negative pointer":   {head + "conntrack:\n  tcpCloseWaitTimeout: -1h\n", "field conntrack.tcpCloseWaitTimeout: it is negative"},
		"deep":               {head + "a: " + strings.Repeat("[", 100_000), "depth"},
		"deep JSON":          {strings.Repeat(`{"a":`, 20_000), "depth"},
		"unknown anchor":     {head + "a: & b\nb: *c\n", "yaml: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := requireDecodeError(t, configMap("kube-proxy-master", c.config), "key config.conf: ", c.says)
			if !strings.Contains(got, `ack_kubeproxy_config_valid{configmap="kube-proxy-master"} 0`+"\n") ||
				strings.Count(got, `configmap="kube-proxy-master"`) != 1 {
				t.Errorf("not just valid is shown of it:\n%s", got)
			}
		})
	}
}

// TestConfigurationThatIsNotExamined: kube-proxy could perhaps use it, so that nothing
// is said about it.
func TestConfigurationThatIsNotExamined(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, says string }{
		"huge":                 {head + "# " + strings.Repeat("x", bound), "more than 131072 bytes"},
		"alias bomb":           {laughs, "aliases written out"},
		"alias of long string": {longString(), "aliases written out"},
		"alias within itself":  {head + "a: &a [*a]\n", "aliases written out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := requireDecodeError(t, configMap("kube-proxy-master", c.config), "key config.conf: ", c.says)
			if strings.Contains(got, `configmap="kube-proxy-master"`) {
				t.Errorf("something is shown of it:\n%s", got)
			}
		})
	}
}

// TestOtherKeys: a ConfigMap without the configuration tells nothing about kube-proxy.
func TestOtherKeys(t *testing.T) {
	t.Parallel()
	under := func(data map[string]string) *corev1.ConfigMap {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-proxy-master"}, Data: data}
		kubeproxy.TrimConfigMap(m)
		return m
	}
	for name, data := range map[string]map[string]string{
		"none": nil, "another": {"config.yaml": head, "kubeconfig.conf": "secret"}, "alike": {"Config": head},
	} {
		got := requireDecodeError(t, under(data), "there is no key config.conf or config: ", "not examined")
		if strings.Contains(got, `configmap="kube-proxy-master"`) {
			t.Errorf("%s: something is shown of it:\n%s", name, got)
		}
	}
	requireDecodeError(t, under(map[string]string{"config": head + "mode: evil\n"}), "key config: ", "field mode")
	for _, data := range []map[string]string{
		{"config": head + "mode: nftables\n", "config.yaml": "{"},
		{"config.conf": head + "mode: nftables\n", "config": "{"},
	} {
		got, err := collect(t, sources(under(data)))
		if err != nil || !strings.Contains(got, `mode="nftables"`) {
			t.Errorf("%v:\n%s", err, got)
		}
	}
}

// requireDecodeError collects with a ConfigMap kube-proxy-master that cannot be used,
// and a good one beside it. Its error begins with begins and says says.
func requireDecodeError(t *testing.T, bad *corev1.ConfigMap, begins, says string) (got string) {
	t.Helper()
	got, err := collect(t, sources(bad, configMap("kube-proxy-worker", fixture(t, "worker.yaml"))))
	if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), says) {
		t.Fatalf("error %v instead of one that says %s", err, says)
	}
	if !strings.HasPrefix(err.Error(), "ConfigMap kube-system/kube-proxy-master: "+begins) || len(err.Error()) > 500 {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		`ack_kubeproxy_config_valid{configmap="kube-proxy-worker"} 1`,
		`ack_kubeproxy_config_timeout_seconds{configmap="kube-proxy-worker",protocol="udp"} 10`,
		`ack_kubeproxy_udp_services 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is missing from\n%s", want, got)
		}
	}
	return got
}

func TestTwoBadConfigurationsAreBothNamed(t *testing.T) {
	t.Parallel()
	absent := configMap("kube-proxy", "")
	absent.Data = nil
	_, err := collect(t, sources(configMap("kube-proxy-worker", "{"), absent))
	if err == nil || !strings.Contains(err.Error(), "ConfigMap kube-system/kube-proxy: there is no key config.conf or config: ") ||
		!strings.Contains(err.Error(), "ConfigMap kube-system/kube-proxy-worker: key config.conf") {
		t.Errorf("got %v", err)
	}
}

func TestNearMissesAreValid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, want string }{
		"JSON":                {`{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration","mode":"iptables"}`, `info{configmap="kube-proxy",mode="iptables",scheduler=""} 1`},
		"nothing but a head":  {head, `info{configmap="kube-proxy",mode="",scheduler=""} 1`},
		"a harmless alias":    {head + "ipvs:\n  udpTimeout: &t 10s\n  tcpTimeout: *t\n", `timeout_seconds{configmap="kube-proxy",protocol="tcp"} 10`},
		"an ampersand":        {head + "clusterCIDR: \"a & b\"\nmode: nftables\n", `mode="nftables"`},
		"0 is not written":    {head + "ipvs:\n  udpTimeout: 0s\n", `strict_errors{configmap="kube-proxy"} 0`},
		"a scheduler of none": {head + "ipvs:\n  scheduler: \"" + strings.Repeat("x", 1000) + "\"\n", `scheduler="other"`},
		"just small enough":   {head + "# " + strings.Repeat("x", bound-len(head)-2), `valid{configmap="kube-proxy"} 1`},
		"fields of the past":  {head + "udpIdleTimeout: 250ms\nconntrack:\n  max: 0\n", `strict_errors{configmap="kube-proxy"} 0`},
		"named alike":         {head + "ipvs:\n  udpIdleTimeout: 250ms\n", `strict_errors{configmap="kube-proxy"} 1`},
		"twice":               {head + "mode: ipvs\nmode: iptables\n", `strict_errors{configmap="kube-proxy"} 1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := collect(t, sources(configMap("kube-proxy", c.config)))
			if err != nil || !strings.Contains(got, c.want) {
				t.Errorf("%v: %s is missing from\n%s", err, c.want, got)
			}
			if strings.Contains(got, `protocol="udp"`) && name != "a harmless alias" {
				t.Errorf("a timeout is shown that is not written:\n%s", got)
			}
		})
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	external := service("default", "external", "", corev1.ProtocolUDP)
	external.Spec.Type = corev1.ServiceTypeExternalName
	for name, c := range map[string]struct {
		service *corev1.Service
		udp     int
	}{
		"UDP":                     {service("games", "lobby", "172.21.3.3", corev1.ProtocolTCP, corev1.ProtocolUDP), 1},
		"two UDP ports":           {service("games", "lobby", "172.21.3.3", corev1.ProtocolUDP, corev1.ProtocolUDP), 1},
		"TCP":                     {service("games", "lobby", "172.21.3.3", corev1.ProtocolTCP), 0},
		"headless":                {service("games", "lobby", "None", corev1.ProtocolUDP), 0},
		"kube-dns somewhere else": {service("games", "kube-dns", "172.21.3.3", corev1.ProtocolUDP), 1},
		"other DNS":               {service("kube-system", "external-dns", "172.21.3.3", corev1.ProtocolUDP), 1},
		"ExternalName":            {external, 0},
	} {
		s := sources(configMap("kube-proxy", head))
		s.Services = listed[*corev1.Service]{objects: []*corev1.Service{c.service}}
		got, err := collect(t, s)
		if err != nil || !strings.Contains(got, fmt.Sprintf("ack_kubeproxy_udp_services %d\n", c.udp)) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestNodesWithoutIPVSTimeouts(t *testing.T) {
	t.Parallel()
	s := sources(configMap("kube-proxy", head))
	s.Nodes = listed[*corev1.Node]{objects: []*corev1.Node{
		node("v1.16.9-aliyun.1", nil),
		node("v1.17.99", nil),
		node("v1.18.0-beta.1", nil),
		node("v1.18.8-aliyun.1", nil),
		node("v1.9.3", nil),
		node("v1.100.0", nil),
		node("v2.1.0", nil),
		node("", nil),
		node("unknown", nil),
		node("v1.16.9-aliyun.1", map[string]string{"type": "virtual-kubelet"}),
	}}
	got, err := collect(t, s)
	if err != nil || !strings.Contains(got, "ack_kubeproxy_nodes_without_ipvs_timeouts 3\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestIgnoredFieldsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	bad := configMap("kube-proxy-worker", head+"ipvs:\n  udptimeout: 10s\n")
	lister := listed[*corev1.ConfigMap]{objects: []*corev1.ConfigMap{bad}}
	s := sources()
	s.ConfigMaps = []kube.Lister[*corev1.ConfigMap]{lister}
	c := kubeproxy.New(slog.New(slog.NewTextHandler(&log, nil)), s)
	for _, config := range []string{"udptimeout", "udptimeout", "udpTimeout", "udptimeout"} {
		bad.Data["config.conf"] = head + "ipvs:\n  " + config + ": 10s\n"
		if _, err := c.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Count(log.String(), "\n")
	if lines != 2 || !strings.Contains(log.String(), `configmap=kube-system/kube-proxy-worker key=config.conf fields="unknown field \"ipvs.udptimeout\""`) {
		t.Errorf("%d lines:\n%s", lines, &log)
	}
}

func TestOneConfigMapInTwoListersIsShownOnce(t *testing.T) {
	t.Parallel()
	m := configMap("kube-proxy-worker", head)
	other := configMap("kube-proxy-worker", "{")
	other.Namespace = "default"
	stranger := configMap("coredns", "{")
	if got, err := collect(t, sources(m, m, other, stranger)); err != nil || strings.Count(got, "ack_kubeproxy_config_valid{") != 1 {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTrimKeepsNoMoreThanIsUsed(t *testing.T) {
	t.Parallel()
	m := configMap("kube-proxy", strings.Repeat("x", 2*bound))
	if m.Labels != nil || len(m.Data) != 1 || len(m.Data["config.conf"]) != bound+1 || m.ResourceVersion != "7" {
		t.Errorf("%v, %d keys, %d bytes", m.ObjectMeta, len(m.Data), len(m.Data["config.conf"]))
	}
	want := []string{"metadata.name=kube-proxy-worker", "metadata.name=kube-proxy-master", "metadata.name=kube-proxy"}
	if got := kubeproxy.ConfigMapFields(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(fixture(f, "worker.yaml"))
	f.Add(fixture(f, "master.yaml"))
	f.Add(laughs)
	f.Add(head + "a: &a [*a]\n")
	f.Add(head + "<<: &m {mode: ipvs}\nb: *m\n")
	f.Add(`{"apiVersion":"kubeproxy.config.k8s.io/v1alpha1","kind":"KubeProxyConfiguration","ipvs":{"udpTimeout":"10s"}}`)
	f.Fuzz(func(t *testing.T, config string) {
		s := sources(configMap("kube-proxy", config))
		got, err := collectortest.Collect(t, kubeproxy.New(slog.New(slog.DiscardHandler), s))
		if err != nil && !errors.Is(err, collector.ErrDecode) {
			t.Fatalf("not a decode error: %v", err)
		}
		if (err == nil) != strings.Contains(got, `ack_kubeproxy_config_valid{configmap="kube-proxy"} 1`) {
			t.Fatalf("%v\n%s", err, got)
		}
	})
}

// TestUnchangedConfigurationIsNotReadAgain counts allocations: to decode one takes
// thousands.
func TestUnchangedConfigurationIsNotReadAgain(t *testing.T) {
	for name, config := range map[string]string{"good": head + manyFields(1000), "bad": head + "a: " + strings.Repeat("[", 1000)} {
		s := sources(configMap("kube-proxy", config))
		collect := func(c *kubeproxy.Collector) {
			if _, err := c.Collect(t.Context()); err != nil && !errors.Is(err, collector.ErrDecode) {
				t.Fatal(err)
			}
		}
		c := kubeproxy.New(slog.New(slog.DiscardHandler), s)
		collect(c)
		again := testing.AllocsPerRun(10, func() { collect(c) })
		anew := testing.AllocsPerRun(10, func() { collect(kubeproxy.New(slog.New(slog.DiscardHandler), s)) })
		if again*5 > anew {
			t.Errorf("%s: %v allocations, and %v for the first time", name, again, anew)
		}
	}
}

// manyFields is a configuration of so many bytes that kube-proxy ignores.
func manyFields(size int) string {
	var b strings.Builder
	for i := 0; b.Len()+len("f000000: 1\n") <= size; i++ {
		fmt.Fprintf(&b, "f%06d: 1\n", i)
	}
	return b.String()
}

// BenchmarkCollect reads configurations that cost as much as the bound allows.
func BenchmarkCollect(b *testing.B) {
	for name, config := range map[string]string{
		"ordinary": fixture(b, "worker.yaml"),
		"list":     head + "nodePortAddresses: [" + strings.Repeat("x,", (bound-len(head)-30)/2) + "x]\n",
		"fields":   head + manyFields(bound-len(head)),
		"aliases":  head + "a: &a x\nb: [" + strings.Repeat("*a,", (bound-len(head)-30)/3) + "*a]\n",
	} {
		s := sources(configMap("kube-proxy", config))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = kubeproxy.New(slog.New(slog.DiscardHandler), s).Collect(b.Context())
			}
		})
		b.Run(name+" unchanged", func(b *testing.B) {
			c := kubeproxy.New(slog.New(slog.DiscardHandler), s)
			_, _ = c.Collect(b.Context())
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.Collect(b.Context())
			}
		})
	}
}
