package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestInstanceOf(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]Instance{
		"cn-hangzhou.i-bp1a":            {"cn-hangzhou", "i-bp1a"},
		"alicloud://cn-hangzhou.i-bp1a": {"cn-hangzhou", "i-bp1a"},
		"":                              {},
		"ack-hybrid://pool.i-machine":   {},
		"cn-hangzhou":                   {},
		"cn-hangzhou.e01-lingjun":       {},
	} {
		n := &corev1.Node{Spec: corev1.NodeSpec{ProviderID: id}}
		got, ok := InstanceOf(n)
		if ok != (want != Instance{}) || ok && got != want {
			t.Errorf("%q: %v, %t", id, got, ok)
		}
		n.Labels = map[string]string{nodeTypeLabel: nodeTypeVirtual}
		if _, ok := InstanceOf(n); ok {
			t.Errorf("%q: a virtual node has an instance", id)
		}
	}
}

func TestClusterID(t *testing.T) {
	t.Parallel()
	nodes := func(ids ...string) (list []*corev1.Node) {
		for _, id := range ids {
			list = append(list, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{clusterIDLabel: id}}})
		}
		return list
	}
	for _, c := range []struct {
		nodes []*corev1.Node
		want  string
	}{
		{nil, ""},
		{nodes("", "c1", "c1"), "c1"},
		{nodes("c1", "c2"), ""},
	} {
		if got := ClusterID(c.nodes); got != c.want {
			t.Errorf("%q in place of %q", got, c.want)
		}
	}
}
