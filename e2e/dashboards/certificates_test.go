//go:build e2e

package dashboards

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/hostroot"
	"ack-exporter/e2e/internal/world"
)

// rootfs is a made root file system of a node.
type rootfs struct {
	t testing.TB
	hostroot.Root
}

func newRootfs(t testing.TB, node string) rootfs {
	t.Helper()
	root, err := hostroot.New(filepath.Join(world.Scratch(), node))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(string(root)) })
	return rootfs{t, root}
}

// private writes a file for root alone, as those with private keys are.
func (r rootfs) private(path string, content []byte) {
	r.t.Helper()
	if err := r.Write(path, content); err != nil {
		r.t.Fatal(err)
	}
}

// public writes a file that every user may read.
func (r rootfs) public(path string, content []byte) {
	r.t.Helper()
	r.private(path, content)
	if err := os.Chmod(r.on(path), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// fifo makes what would keep a reader waiting for ever. The folder must be there.
func (r rootfs) fifo(path string) {
	r.t.Helper()
	if err := syscall.Mkfifo(r.on(path), 0o600); err != nil {
		r.t.Fatalf("make the FIFO %s: %v", path, err)
	}
}

// on is a path of the node as the test sees it.
func (r rootfs) on(path string) string { return filepath.Join(string(r.Root), path) }

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// lasting are certificates of a name that have been valid for a year, and are for so long.
func lasting(name string, left time.Duration) pki.Template {
	now := time.Now()
	return pki.Template{CommonName: name, NotBefore: now.Add(-year), NotAfter: now.Add(left)}
}

// expiring is a certificate of a name that is valid for a year, of which this is left.
func expiring(name string, left time.Duration) pki.Template {
	return pki.Template{CommonName: name}.ExpiringIn(left)
}

// issuer issues certificates, and fails the test where it cannot.
type issuer struct {
	t testing.TB
	*pki.Authority
}

func newIssuer(t testing.TB, template pki.Template) issuer {
	t.Helper()
	authority, err := pki.NewAuthority(template)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{t, authority}
}

func (i issuer) server(name string, left time.Duration) *pki.Pair {
	i.t.Helper()
	return i.must(i.Server(expiring(name, left)))
}

func (i issuer) client(name string, left time.Duration) *pki.Pair {
	i.t.Helper()
	return i.must(i.Client(expiring(name, left)))
}

func (i issuer) must(pair *pki.Pair, err error) *pki.Pair {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
	return pair
}

// kubeconfig is that of a user with a certificate and a private key.
func (i issuer) kubeconfig(user string, certificate, key []byte) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {server: "https://192.0.2.1:6443", certificate-authority-data: %s}
users:
- name: %s
  user: {client-certificate-data: %s, client-key-data: %s}
`, encode(i.Chain), user, encode(certificate), encode(key))
}

// withKey is a file with a certificate and its private key, as the kubelet has them.
func withKey(pair *pki.Pair) []byte { return slices.Concat(pair.Chain, pair.Key) }

// masterFiles are those of a master on which something is wrong in many ways.
func masterFiles(t testing.TB, kubernetes issuer) hostroot.Root {
	t.Helper()
	r := newRootfs(t, firstNode)
	frontProxy := newIssuer(t, expiring("front-proxy-ca", 15*day))
	etcd := newIssuer(t, lasting("etcd", 18*year))
	admin, scheduler := kubernetes.client("kubernetes-admin", 300*day), kubernetes.client("system:kube-scheduler", 300*day)

	r.public("/etc/kubernetes/pki/ca.crt", kubernetes.Chain)
	r.public("/etc/kubernetes/pki/apiserver.crt", kubernetes.server("kube-apiserver", 12*day).Chain)
	r.public("/etc/kubernetes/pki/apiserver-kubelet-client.crt", kubernetes.client("kube-apiserver-kubelet-client", 300*day).Chain)
	r.public("/etc/kubernetes/pki/front-proxy-ca.crt", frontProxy.Chain)
	r.public("/etc/kubernetes/pki/front-proxy-client.crt", frontProxy.client("front-proxy-client", 300*day).Chain) // outlives its issuer
	r.public("/etc/kubernetes/pki/dashboard/dashboard.crt", kubernetes.server("dashboard", -5*day).Chain)
	r.public("/etc/kubernetes/pki/dashboard/next.crt", kubernetes.server("dashboard", year+6*time.Hour).Chain) // not valid yet
	r.public("/var/lib/etcd/cert/ca.pem", etcd.Chain)
	r.public("/var/lib/etcd/cert/etcd-server.pem", etcd.server("etcd-server", 25*day).Chain)
	r.public("/var/lib/etcd/cert/peer.pem", etcd.Chain[:len(etcd.Chain)/2])
	r.fifo("/var/lib/etcd/cert/etcd-client.pem")
	r.private("/var/lib/kubelet/pki/kubelet-client-current.pem", withKey(kubernetes.client("system:node:"+firstNode, 65*day)))
	r.private("/var/lib/kubelet/pki/kubelet-server-current.pem", withKey(kubernetes.server("system:node:"+firstNode, 5*day)))
	r.public("/var/lib/kubelet/pki/kubelet.crt", kubernetes.server(firstNode+"-ca", -35*day).Chain)
	r.private("/etc/kubernetes/admin.conf", kubernetes.kubeconfig("kubernetes-admin", admin.Chain, admin.Key))
	r.private("/etc/kubernetes/scheduler.conf", kubernetes.kubeconfig("system:kube-scheduler", scheduler.Chain, admin.Key))
	return r.Root
}

// workerFiles are those of a worker, of which an ordinary user may read one.
func workerFiles(t testing.TB, kubernetes issuer) hostroot.Root {
	t.Helper()
	r := newRootfs(t, secondNode)
	r.public("/etc/kubernetes/pki/ca.crt", kubernetes.Chain)
	r.private("/var/lib/kubelet/pki/kubelet-client-current.pem", withKey(kubernetes.client("system:node:"+secondNode, 335*day)))
	return r.Root
}
