//go:build e2e

package dashboards

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/world"
)

// rootfs is a made root file system of a node. A test never reads the certificates
// of the machine that it runs on.
type rootfs struct {
	t      testing.TB
	folder string
}

// newRootfs makes an empty one, which an exporter without privileges may enter too.
func newRootfs(t testing.TB) rootfs {
	t.Helper()
	folder, err := os.MkdirTemp(world.Scratch(), "rootfs-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return rootfs{t, folder}
}

func (r rootfs) flag() string { return "--path.rootfs=" + r.folder }

// add writes a file, for everyone or, as those with private keys, for root alone.
func (r rootfs) add(path string, content []byte, mode os.FileMode) {
	r.t.Helper()
	path = filepath.Join(r.folder, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r rootfs) public(path string, content []byte) {
	r.t.Helper()
	r.add(path, content, 0o644)
}

func (r rootfs) private(path string, content []byte) {
	r.t.Helper()
	r.add(path, content, 0o600)
}

const day = 24 * time.Hour

// lasting is a certificate of a name that is valid from so long ago until then.
func lasting(name string, before, after time.Duration) pki.Template {
	now := time.Now()
	return pki.Template{CommonName: name, NotBefore: now.Add(-before), NotAfter: now.Add(after)}
}

// issuer issues certificates, and fails the test where it cannot.
type issuer struct {
	t testing.TB
	*pki.Authority
}

func newIssuer(t testing.TB, name string, before, after time.Duration) issuer {
	t.Helper()
	authority, err := pki.NewAuthority(lasting(name, before, after))
	if err != nil {
		t.Fatal(err)
	}
	return issuer{t, authority}
}

func (i issuer) server(name string, before, after time.Duration) *pki.Pair {
	i.t.Helper()
	return i.must(i.Server(lasting(name, before, after)))
}

func (i issuer) client(name string, before, after time.Duration) *pki.Pair {
	i.t.Helper()
	return i.must(i.Client(lasting(name, before, after)))
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

func join(parts ...[]byte) []byte {
	var all []byte
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

// masterFiles are those of a master on which a certificate is wrong in each of the
// ways in which one can be.
func masterFiles(t testing.TB, kubernetes issuer) rootfs {
	t.Helper()
	r := newRootfs(t)
	frontProxy := newIssuer(t, "front-proxy-ca", 350*day, 15*day)
	etcd := newIssuer(t, "etcd", 700*day, 18*365*day)

	r.public("/etc/kubernetes/pki/ca.crt", kubernetes.Chain)
	r.public("/etc/kubernetes/pki/apiserver.crt", kubernetes.server("kube-apiserver", 353*day, 12*day).Chain)
	r.public("/etc/kubernetes/pki/apiserver-kubelet-client.crt", kubernetes.client("kube-apiserver-kubelet-client", 65*day, 300*day).Chain)
	r.public("/etc/kubernetes/pki/front-proxy-ca.crt", frontProxy.Chain)
	r.public("/etc/kubernetes/pki/front-proxy-client.crt", frontProxy.client("front-proxy-client", 65*day, 300*day).Chain) // outlives its issuer
	r.public("/etc/kubernetes/pki/dashboard/dashboard.crt", kubernetes.server("dashboard", 370*day, -5*day).Chain)
	r.public("/etc/kubernetes/pki/dashboard/next.crt", kubernetes.server("dashboard", -6*time.Hour, 365*day).Chain)
	r.public("/var/lib/etcd/cert/ca.pem", etcd.Chain)
	r.public("/var/lib/etcd/cert/etcd-server.pem", etcd.server("etcd-server", 700*day, 25*day).Chain)
	r.public("/var/lib/etcd/cert/peer.pem", etcd.Chain[:len(etcd.Chain)/2]) // a broken block
	r.fifo("/var/lib/etcd/cert/etcd-client.pem")

	kubelet := kubernetes.client("system:node:"+firstNode, 300*day, 65*day)
	r.private("/var/lib/kubelet/pki/kubelet-client-current.pem", join(kubelet.Chain, kubelet.Key))
	late := kubernetes.server("system:node:"+firstNode, 360*day, 5*day)
	r.private("/var/lib/kubelet/pki/kubelet-server-current.pem", join(late.Chain, late.Key))
	r.public("/var/lib/kubelet/pki/kubelet.crt", kubernetes.server(firstNode+"-ca@1700000000", 400*day, -35*day).Chain)

	admin, scheduler := kubernetes.client("kubernetes-admin", 65*day, 300*day), kubernetes.client("system:kube-scheduler", 65*day, 300*day)
	r.private("/etc/kubernetes/admin.conf", kubernetes.kubeconfig("kubernetes-admin", admin.Chain, admin.Key))
	r.private("/etc/kubernetes/scheduler.conf", kubernetes.kubeconfig("system:kube-scheduler", scheduler.Chain, admin.Key)) // the key of another
	return r
}

// workerFiles are those of a worker. Not everybody may read all of them.
func workerFiles(t testing.TB, kubernetes issuer) rootfs {
	t.Helper()
	r := newRootfs(t)
	r.public("/etc/kubernetes/pki/ca.crt", kubernetes.Chain)
	kubelet := kubernetes.client("system:node:"+secondNode, 30*day, 335*day)
	r.private("/var/lib/kubelet/pki/kubelet-client-current.pem", join(kubelet.Chain, kubelet.Key))
	return r
}

// fifo makes what would keep a reader waiting for ever.
func (r rootfs) fifo(path string) {
	r.t.Helper()
	path = filepath.Join(r.folder, path)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		r.t.Fatalf("make the FIFO %s: %v", path, err)
	}
}
