package nodelocaldns

import (
	"errors"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
	"ack-exporter/internal/kube"
)

func TestCollectGolden(t *testing.T) {
	t.Parallel()
	got, err := collectortest.Collect(t, New(healthy()))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "healthy.prom", got)
}

func TestNothingIsNotApplicable(t *testing.T) {
	t.Parallel()
	s := nothing()
	// Terway alone, a namespace that cannot be served, and strangers do not count.
	s.Terway = healthy().Terway
	s.Cache = of(daemonSet("other", cacheContainer, "x:v1"))
	s.Namespaces = of(
		labelled("kube-system"), labelled("kube-public"),
		namespace("off", map[string]string{injectionLabel: "disabled"}),
		namespace("eci", map[string]string{injectionLabel: injectionEnabled, "eci": "true"}),
		namespace("ask", map[string]string{injectionLabel: injectionEnabled, "alibabacloud.com/eci": "true"}),
		namespace("virtual", map[string]string{injectionLabel: injectionEnabled, "virtual-node-affinity-injection": "enabled"}),
	)
	list := &podList{}
	for _, c := range []collector.Collector{New(s), NewPods(s, list)} {
		got, err := collectortest.Collect(t, c)
		if !errors.Is(err, collector.ErrNotApplicable) || got != "" {
			t.Errorf("%v\n%s", err, got)
		}
	}
	if len(list.asked) != 0 {
		t.Errorf("pods of %q were listed", list.asked)
	}
}

func TestAnyPartMakesItApplicable(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(*Sources){
		"cache":      func(s *Sources) { s.Cache = healthy().Cache },
		"controller": func(s *Sources) { s.Controller = healthy().Controller },
		"webhook":    func(s *Sources) { s.Webhook = healthy().Webhook },
		"namespace":  func(s *Sources) { s.Namespaces = healthy().Namespaces },
	} {
		s := nothing()
		add(&s)
		for _, c := range []collector.Collector{New(s), NewPods(s, &podList{})} {
			if got, err := collectortest.Collect(t, c); err != nil || got == "" {
				t.Errorf("%s: %v\n%s", name, err, got)
			}
		}
	}
}

func TestRemovedCacheIsShownAsGone(t *testing.T) {
	t.Parallel()
	s := nothing()
	s.Namespaces = of(labelled("shop"))
	got, err := collectortest.Collect(t, New(s))
	if err != nil {
		t.Fatal(err)
	}
	collectortest.Golden(t, "removed.prom", got)
}

func TestALostListingFailsTheWholeRefresh(t *testing.T) {
	t.Parallel()
	lost := collector.ErrForbidden
	for name, c := range map[string]struct {
		lose             func(*Sources)
		ofSetup, ofCount bool
	}{
		"cache":      {func(s *Sources) { s.Cache = listed[*appsv1.DaemonSet]{err: lost} }, true, true},
		"controller": {func(s *Sources) { s.Controller = listed[*appsv1.Deployment]{err: lost} }, true, true},
		"webhook":    {func(s *Sources) { s.Webhook = listed[*admissionv1.MutatingWebhookConfiguration]{err: lost} }, true, true},
		"namespaces": {func(s *Sources) { s.Namespaces = listed[*corev1.Namespace]{err: lost} }, true, true},
		"terway":     {func(s *Sources) { s.Terway = listed[*appsv1.DaemonSet]{err: lost} }, true, false},
		"eni-config": {func(s *Sources) { s.ENIConfig = listed[*corev1.ConfigMap]{err: lost} }, true, false},
		"nodes":      {func(s *Sources) { s.Nodes = listed[*corev1.Node]{err: lost} }, false, true},
	} {
		s := healthy()
		c.lose(&s)
		for _, want := range []struct {
			collector collector.Collector
			fails     bool
		}{{New(s), c.ofSetup}, {NewPods(s, &podList{}), c.ofCount}} {
			got, err := collectortest.Collect(t, want.collector)
			if errors.Is(err, lost) != want.fails || (got == "") != want.fails {
				t.Errorf("%s: %T: %v\n%s", name, want.collector, err, got)
			}
		}
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		webhook kube.Lister[*admissionv1.MutatingWebhookConfiguration]
		want    string
	}{
		"gone":              {of[*admissionv1.MutatingWebhookConfiguration](), "0"},
		"no webhook in it":  {of(webhook()), "0"},
		"no CA":             {of(webhook("")), "0"},
		"no CA in one":      {of(webhook("CERTIFICATE", "")), "0"},
		"two with their CA": {of(webhook("CERTIFICATE", "CERTIFICATE")), "1"},
	} {
		s := healthy()
		s.Webhook = c.webhook
		got, err := collectortest.Collect(t, New(s))
		if err != nil || !strings.Contains(got, "ack_nodelocaldns_webhook_configured "+c.want+"\n") {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	s := healthy()
	s.Controller = of(deployment(nil, 0))
	got, err := collectortest.Collect(t, New(s))
	if err != nil {
		t.Error(err)
	}
	contains(t, got, `ack_nodelocaldns_webhook_replicas{state="desired"} 1`, `ack_nodelocaldns_webhook_replicas{state="available"} 0`)
}

func TestTrimsKeepNoMoreThanIsUsed(t *testing.T) {
	t.Parallel()
	s := healthy()
	for name, annotations := range map[string]map[string]string{
		"DaemonSet":  first(t, s.Cache).Annotations,
		"Deployment": first(t, s.Controller).Annotations,
		"webhook":    first(t, s.Webhook).Annotations,
		"ConfigMap":  first(t, s.ENIConfig).Annotations,
		"Namespace":  first(t, s.Namespaces).Annotations,
	} {
		if annotations != nil {
			t.Errorf("%s keeps its annotations", name)
		}
	}
	if c := first(t, s.Cache).Spec.Template.Spec.Containers[1]; c.Args != nil {
		t.Errorf("container %v", c)
	}
	if ca := first(t, s.Webhook).Webhooks[0].ClientConfig.CABundle; len(ca) != 1 {
		t.Errorf("%d bytes of CA", len(ca))
	}
	if labels := first(t, s.Namespaces).Labels; len(labels) != 1 {
		t.Errorf("labels %v", labels)
	}
	large := eniConfig(map[string]string{"10-terway.conf": strings.Repeat("x", 1<<21), "eni_conf": "{}"})
	if len(large.Data) != 2 || len(large.Data["10-terway.conf"]) != 1<<20+1 {
		t.Errorf("%d keys, %d bytes", len(large.Data), len(large.Data["10-terway.conf"]))
	}
}

func first[T any](t *testing.T, l kube.Lister[T]) T {
	t.Helper()
	objects, err := l.List()
	if err != nil || len(objects) == 0 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	return objects[0]
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	got := []string{CacheFields, TerwayFields, ControllerFields, WebhookFields, NamespaceLabels}
	want := []string{
		"metadata.name=node-local-dns", "metadata.name=terway-eniip",
		"metadata.name=ack-node-local-dns-admission-controller", "metadata.name=ack-node-local-dns-admission-controller",
		"node-local-dns-injection=enabled",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
