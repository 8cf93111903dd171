package eniconfig_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/collector"
	"ack-exporter/internal/eniconfig"
)

func config(daemon string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: eniconfig.Namespace, Name: eniconfig.Name, Labels: map[string]string{"a": "b"}},
		Data:       map[string]string{"eni_conf": daemon, "10-terway.conf": `{"type":"terway"}`, "other": "x"},
	}
}

const real = `{"version":"1","max_pool_size":5,"access_key":"hidden","access_secret":"hidden too",
 "vswitches":{"cn-x-a":["vsw-a","vsw-b"],"cn-x-b":["vsw-c"],"cn-x-c":null},"security_group":"sg-a"}`

func TestPodVSwitches(t *testing.T) {
	t.Parallel()
	m := config(real)
	eniconfig.Trim(m)
	got, err := eniconfig.PodVSwitches(m)
	want := map[string]string{"vsw-a": "cn-x-a", "vsw-b": "cn-x-a", "vsw-c": "cn-x-b"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
}

func TestTrimKeepsNoAccessKey(t *testing.T) {
	t.Parallel()
	// The second is cut off: no part of it may stay either.
	for _, daemon := range []string{real, real[:len(real)-1]} {
		m := config(daemon)
		eniconfig.Trim(m)
		if s := fmt.Sprint(m); strings.Contains(s, "hidden") || strings.Contains(s, "other") {
			t.Errorf("kept: %s", s)
		}
		if m.Data["10-terway.conf"] != `{"type":"terway"}` {
			t.Errorf("lost: %v", m.Data)
		}
	}
}

func TestNoPodVSwitches(t *testing.T) {
	t.Parallel()
	without := config("")
	delete(without.Data, "eni_conf")
	for name, m := range map[string]*corev1.ConfigMap{"no key": without, "no field": config(`{"version":"1"}`)} {
		eniconfig.Trim(m)
		if got, err := eniconfig.PodVSwitches(m); err != nil || len(got) > 0 {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprintf(`"vsw-%d"`, i)
	}
	for name, c := range map[string]struct{ daemon, says string }{
		"empty":         {"", "not a JSON object"},
		"cut off":       {real[:40], "not a JSON object"},
		"a list":        {`[]`, "not a JSON object"},
		"another shape": {`{"vswitches":["vsw-a"]}`, "not a JSON object"},
		"too large":     {`{"a":"` + strings.Repeat("x", eniconfig.MaxSize) + `"}`, "not a JSON object"},
		"empty id":      {`{"vswitches":{"a":[""]}}`, "empty or too long"},
		"long id":       {`{"vswitches":{"a":["` + strings.Repeat("x", 65) + `"]}}`, "empty or too long"},
		"too many":      {`{"vswitches":{"a":[` + strings.Join(many, ",") + `]}}`, "more than 500"},
	} {
		m := config(c.daemon)
		eniconfig.Trim(m)
		got, err := eniconfig.PodVSwitches(m)
		if !errors.Is(err, collector.ErrDecode) || got != nil {
			t.Errorf("%s: %v %v", name, got, err)
			continue
		}
		if s := err.Error(); !strings.Contains(s, "kube-system/eni-config: key eni_conf") || !strings.Contains(s, c.says) {
			t.Errorf("%s: %s", name, s)
		}
	}
}

func FuzzPodVSwitches(f *testing.F) {
	for _, seed := range []string{real, "", "{}", `{"vswitches":{"":[]}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, daemon string) {
		whole, trimmed := config(daemon), config(daemon)
		eniconfig.Trim(trimmed)
		a, errA := eniconfig.PodVSwitches(whole)
		b, errB := eniconfig.PodVSwitches(trimmed)
		if (errA == nil) != (errB == nil) || !maps.Equal(a, b) {
			t.Errorf("trimming changed it: %v %v, %v %v", a, errA, b, errB)
		}
	})
}
