package nodelocaldns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

func TestPodsGolden(t *testing.T) {
	t.Parallel()
	list := &podList{pods: []*corev1.Pod{
		pod("shop", injected), pod("shop", injected), pod("shop", alone), pod("shop"),
		pod("elsewhere", injected),
	}}
	got, err := collectortest.Collect(t, NewPods(healthy(), list))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "pods.prom", got)
	if !slices.Equal(list.asked, []string{"bank", "shop"}) {
		t.Errorf("pods of %q were listed", list.asked)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	hostNetwork := func(policy corev1.DNSPolicy) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.HostNetwork, p.Spec.DNSPolicy = true, policy }
	}
	var (
		none    = tally{}
		in      = tally{injected: 1}
		missing = tally{missing: 1}
		noAlter = tally{injected: 1, withoutBackup: 1}
	)
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   tally
	}{
		"plain":                      {func(*corev1.Pod) {}, missing},
		"injected":                   {injected, in},
		"the cache comes second":     {nameservers(corev1.DNSNone, "172.21.0.10", "169.254.20.10"), in},
		"no backup":                  {alone, noAlter},
		"the same address twice":     {nameservers(corev1.DNSNone, "169.254.20.10", "169.254.20.10"), noAlter},
		"mapped into IPv6":           {nameservers(corev1.DNSNone, "::ffff:169.254.20.10"), noAlter},
		"next to those of the node":  {nameservers(corev1.DNSDefault, "169.254.20.10"), in},
		"next to kube-dns":           {nameservers(corev1.DNSClusterFirst, "169.254.20.10"), in},
		"the next address":           {nameservers(corev1.DNSNone, "169.254.20.11"), none},
		"own name servers":           {nameservers(corev1.DNSNone, "8.8.8.8"), none},
		"options only":               {nameservers(corev1.DNSClusterFirst), missing},
		"no address":                 {nameservers(corev1.DNSClusterFirst, "cache"), missing},
		"policy Default":             {nameservers(corev1.DNSDefault), none},
		"opted out":                  {label("node-local-dns-injection", "disabled"), none},
		"enabled on the pod":         {label("node-local-dns-injection", "enabled"), missing},
		"host network":               {hostNetwork(corev1.DNSClusterFirst), none},
		"host network, cluster DNS":  {hostNetwork(corev1.DNSClusterFirstWithHostNet), missing},
		"cluster DNS w/o host's net": {nameservers(corev1.DNSClusterFirstWithHostNet), none},
	} {
		if got := judge(pod("shop", c.change)); got != c.want {
			t.Errorf("%s: %+v instead of %+v", name, got, c.want)
		}
	}
}

func TestVirtualPodsAreLeftOut(t *testing.T) {
	t.Parallel()
	on := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	s := healthy()
	s.Namespaces = of(labelled("shop"))
	list := &podList{pods: []*corev1.Pod{
		pod("shop", on("virtual-kubelet-a")),
		pod("shop", injected, on("virtual-kubelet-a")),
		pod("shop", label("eci", "true")),
		pod("shop", label("alibabacloud.com/eci", "true")),
		pod("shop", on("virtual-kubelet-unknown")),
		pod("shop", on("")),
	}}
	got, err := collectortest.Collect(t, NewPods(s, list))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, got, `ack_nodelocaldns_pods{namespace="shop",state="injected"} 0`, `ack_nodelocaldns_pods{namespace="shop",state="missing"} 2`)
}

func TestManyNamespacesAreSummed(t *testing.T) {
	t.Parallel()
	for _, n := range []int{200, 203} {
		s := healthy()
		var namespaces []*corev1.Namespace
		list := &podList{}
		for i := range n {
			name := fmt.Sprintf("team-%03d", n-1-i)
			namespaces = append(namespaces, labelled(name))
			list.pods = append(list.pods, pod(name), pod(name, injected), pod(name, alone))
		}
		s.Namespaces = of(namespaces...)
		got, err := collectortest.Collect(t, NewPods(s, list))
		if err != nil {
			t.Fatal(err)
		}
		series := strings.Count(got, "\nack_nodelocaldns_pods{")
		if n == 200 {
			contains(t, got, "ack_nodelocaldns_namespaces_complete 1", `ack_nodelocaldns_pods{namespace="team-199",state="missing"} 1`)
			if series != 400 || strings.Contains(got, `"_other"`) {
				t.Errorf("%d series for %d namespaces", series, n)
			}
			continue
		}
		contains(t, got, "ack_nodelocaldns_namespaces_complete 0",
			`ack_nodelocaldns_pods{namespace="_other",state="missing"} 3`,
			`ack_nodelocaldns_pods{namespace="_other",state="injected"} 6`,
			`ack_nodelocaldns_pods_without_backup{namespace="_other"} 3`)
		if series != 402 || strings.Contains(got, "team-200") {
			t.Errorf("%d series for %d namespaces", series, n)
		}
	}
}

func TestOrphanedPods(t *testing.T) {
	t.Parallel()
	list := &podList{pods: []*corev1.Pod{
		pod("shop", injected), pod("elsewhere", alone), pod("kube-system", injected), pod("elsewhere"),
		pod("elsewhere", injected, label("eci", "true")),
	}}
	steps := []struct {
		name       string
		sources    Sources
		pods       []*corev1.Pod
		asked      []string
		orphaned   string
		applicable bool
	}{
		{"removed before anybody looked", removed("shop"), list.pods, []string{"shop"}, "1", true},
		{"nobody knows of it", removed(), list.pods, nil, "", false},
		{"there", withCache("shop"), list.pods, []string{"shop"}, "0", true},
		{"removed", removed("shop"), list.pods, []string{""}, "3", true},
		{"labels removed too", removed(), list.pods, []string{""}, "3", true},
		{"pods recreated", removed(), nil, []string{""}, "0", true},
		{"over", removed(), list.pods, nil, "", false},
		{"webhook still there", withWebhook(), list.pods, []string{""}, "3", true},
		{"webhook still there, no pod", withWebhook(), nil, []string{""}, "0", true},
		{"webhook removed", removed(), list.pods, nil, "", false},
	}
	c := NewPods(Sources{}, list)
	for _, step := range steps {
		c.sources, list.pods, list.asked = step.sources, step.pods, nil
		got, err := collectortest.Collect(t, c)
		if errors.Is(err, collector.ErrNotApplicable) == step.applicable || (err != nil) == step.applicable {
			t.Errorf("%s: %v", step.name, err)
		}
		if !slices.Equal(list.asked, step.asked) {
			t.Errorf("%s: pods of %q were listed", step.name, list.asked)
		}
		if step.applicable {
			contains(t, got, "ack_nodelocaldns_orphaned_pods "+step.orphaned)
		}
	}
}

func removed(namespaces ...string) Sources {
	s := nothing()
	var labels []*corev1.Namespace
	for _, name := range namespaces {
		labels = append(labels, labelled(name))
	}
	s.Namespaces = of(labels...)
	return s
}

func withCache(namespaces ...string) Sources {
	s := removed(namespaces...)
	s.Cache = healthy().Cache
	return s
}

func withWebhook() Sources {
	s := removed()
	s.Webhook = healthy().Webhook
	return s
}

func TestAFailedListingForgetsNothing(t *testing.T) {
	t.Parallel()
	list := &podList{pods: []*corev1.Pod{pod("elsewhere", alone)}}
	c := NewPods(withCache(), list)
	if _, err := c.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.sources = removed()
	list.fail = func(int) error { return collector.ErrUnavailable }
	if got, err := collectortest.Collect(t, c); !errors.Is(err, collector.ErrUnavailable) || got != "" {
		t.Errorf("%v\n%s", err, got)
	}
	list.fail = nil
	got, err := collectortest.Collect(t, c)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, got, "ack_nodelocaldns_orphaned_pods 1")
}

func TestExpiredListingBeginsAgainOnce(t *testing.T) {
	t.Parallel()
	expired := apierrors.NewResourceExpired("too old")
	for name, c := range map[string]struct {
		fail  func(call int) error
		calls int
		err   error
	}{
		"once":    {func(call int) error { return map[bool]error{true: expired}[call == 1] }, 3, nil},
		"always":  {func(int) error { return expired }, 2, collector.ErrUnavailable},
		"in each": {func(call int) error { return map[bool]error{true: expired}[call%2 == 1] }, 4, nil},
		"other":   {func(int) error { return context.DeadlineExceeded }, 1, context.DeadlineExceeded},
	} {
		list := &podList{pods: []*corev1.Pod{pod("bank"), pod("shop", injected)}, fail: c.fail}
		got, err := collectortest.Collect(t, NewPods(healthy(), list))
		if !errors.Is(err, c.err) || len(list.asked) != c.calls {
			t.Errorf("%s: %v after %d listings", name, err, len(list.asked))
		}
		if c.err != nil {
			if got != "" {
				t.Errorf("%s: half a listing is shown:\n%s", name, got)
			}
			continue
		}
		contains(t, got, `ack_nodelocaldns_pods{namespace="shop",state="injected"} 1`, `ack_nodelocaldns_pods{namespace="bank",state="missing"} 1`)
	}
}
