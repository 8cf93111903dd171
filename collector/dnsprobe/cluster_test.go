package dnsprobe

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func pod(ip string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{Status: corev1.PodStatus{
		PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
	}}
}

func service(namespace, name string, ips ...string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{ClusterIPs: ips},
	}
}

func TestFromClusterIsWhatNodesRead(t *testing.T) {
	t.Parallel()
	virtual := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"type": "virtual-kubelet"}}}
	got := FromCluster(
		[]*corev1.Node{{}, {}, virtual},
		[]*corev1.Service{
			service("kube-system", "kube-dns", "172.21.0.10"),
			service("default", "kube-dns", "172.21.0.66"),
			service("kube-system", "headless", "None"),
		},
		[]*corev1.Pod{
			pod("10.0.0.6", corev1.ConditionTrue), pod("10.0.0.5", corev1.ConditionTrue),
			pod("10.0.0.7", corev1.ConditionFalse), pod("", corev1.ConditionTrue),
		},
	)
	text, err := got.Encode()
	if want := `{"version":1,"nodes":2,"cluster_dns":["172.21.0.10"],"coredns_pods":["10.0.0.5","10.0.0.6"]}`; err != nil || text != want {
		t.Fatalf("%v\n got %s\nwant %s", err, text, want)
	}
	path := filepath.Join(t.TempDir(), "targets.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := File(path).Targets(context.Background())
	want := Targets{
		Nodes: 2, ClusterDNS: []netip.Addr{netip.MustParseAddr("172.21.0.10")},
		Pods: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")},
	}
	if err != nil || !reflect.DeepEqual(read, want) {
		t.Errorf("%v %+v", err, read)
	}
}

func TestNumberOfNodesIsRoundedUp(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{0: 0, 1: 1, 99: 99, 100: 100, 101: 110, 1000: 1000, 1001: 1100, 4999: 5000} {
		if got := roundUp(n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

func TestEncodeRefusesWhatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	if text, err := (Targets{Nodes: 1, Pods: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}).Encode(); err == nil {
		t.Errorf("encoded %s", text)
	}
}
