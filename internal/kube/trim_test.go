package kube

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTrimService(t *testing.T) {
	t.Parallel()
	for given, kept := range map[corev1.ServiceAffinity]corev1.ServiceAffinity{
		corev1.ServiceAffinityClientIP: corev1.ServiceAffinityClientIP,
		corev1.ServiceAffinityNone:     "",
		"":                             "",
	} {
		got := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", ResourceVersion: "7", Labels: map[string]string{"c": "d"}},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeNodePort, ClusterIP: "172.21.0.10", ClusterIPs: []string{"172.21.0.10"},
				Ports:           []corev1.ServicePort{{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}},
				Selector:        map[string]string{"e": "f"},
				SessionAffinity: given,
			},
			Status: corev1.ServiceStatus{Conditions: []metav1.Condition{{Type: "g"}}},
		}
		want := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", ResourceVersion: "7"},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeNodePort, ClusterIP: "172.21.0.10", ClusterIPs: []string{"172.21.0.10"},
				Ports:           []corev1.ServicePort{{Protocol: corev1.ProtocolUDP}},
				SessionAffinity: kept,
			},
		}
		if TrimService(got); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v", given, got)
		}
	}
}
