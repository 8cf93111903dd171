package certificate

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ack-exporter/collector"
	"ack-exporter/collector/collectortest"
)

// host is a root file system of a node.
type host struct {
	testing.TB
	root string
}

func newHost(t testing.TB) host {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for other users
		t.Fatal(err)
	}
	return host{t, filepath.Join(dir, "root")}
}

func (h host) path(name string) string { return filepath.Join(h.root, name) }

func (h host) write(name string, content ...[]byte) {
	h.Helper()
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(h.path(name)), 0o755),
		os.WriteFile(h.path(name), join(content...), 0o600),
	); err != nil {
		h.Fatal(err)
	}
}

func (h host) mkdir(name string) {
	h.Helper()
	if err := os.MkdirAll(h.path(name), 0o755); err != nil {
		h.Fatal(err)
	}
}

func (h host) link(target, name string) {
	h.Helper()
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(h.path(name)), 0o755),
		os.Symlink(target, h.path(name)),
	); err != nil {
		h.Fatal(err)
	}
}

// files is the collector of this host, with what differs from the default.
func (h host) files(config FilesConfig) *Files {
	h.Helper()
	config.Rootfs = h.root
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	f, err := NewFiles(config)
	if err != nil {
		h.Fatal(err)
	}
	return f
}

// collect is what f exposes; an error ends the test.
func collect(t testing.TB, f *Files) string {
	t.Helper()
	got, err := collectortest.Collect(t, f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wrong are the series about errors and problems, without what they share.
func wrong(exposition string) []string {
	var found []string
	for line := range strings.Lines(exposition) {
		for _, family := range []string{"ack_certificate_errors{", "ack_certificate_problem{"} {
			if rest, ok := strings.CutPrefix(line, family); ok {
				found = append(found, strings.TrimSuffix(rest, "} 1\n"))
			}
		}
	}
	return found
}

// located are the locations at which certificates were read.
func located(exposition string) []string {
	found := make(map[string]bool)
	for line := range strings.Lines(exposition) {
		if rest, ok := strings.CutPrefix(line, "ack_certificate_info{"); ok {
			_, rest, _ = strings.Cut(rest, `location="`)
			location, _, _ := strings.Cut(rest, `"`)
			found[location] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func expect(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestFilesOfAMaster has all that ACK's manual names, and what can be wrong with it.
func TestFilesOfAMaster(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const pki, kubelet, etcd = "/etc/kubernetes/pki/", "/var/lib/kubelet/pki/", "/var/lib/etcd/cert/"
	ca := certify(t, "kubernetes", ecKey(t), nil, isCA, serial(1), valid(0, 3650))
	front := certify(t, "front-proxy-ca", edKey(t), nil, isCA, serial(2), valid(0, 3650))
	etcdCA := certify(t, "etcd", rsaKey(t), nil, isCA, serial(3), valid(0, 7300))
	apiserver := certify(t, "kube-apiserver", rsaKey(t), &ca, serial(16), valid(0, 5475))
	client := certify(t, "kube-apiserver-kubelet-client", edKey(t), &ca, serial(17), valid(0, 1825))
	current := certify(t, "system:node:a", ecKey(t), &ca, serial(18), valid(300, 665))
	old := certify(t, "system:node:a", ecKey(t), &ca, serial(19))
	admin := certify(t, "kubernetes-admin", ecKey(t), &ca, serial(20))

	h.write(pki+"ca.crt", ca.pem())
	h.write(pki+"ca.key", ca.keyPEM(t))
	h.write(pki+"sa.pub", []byte("-----BEGIN PUBLIC KEY-----\n"))
	h.write(pki+"front-proxy-ca.crt", bytes.ReplaceAll(front.pem(), []byte("\n"), []byte("\r\n")))
	h.write(pki+"front-proxy-client.crt", []byte("\xef\xbb\xbf"), certify(t, "front-proxy-client", edKey(t), &front, serial(21)).pem())
	h.write(pki+"apiserver.crt", apiserver.pem(), ca.pem())
	h.write(pki+"apiserver-kubelet-client.crt", client.keyPEM(t), client.pem())
	h.write(pki+"dashboard/dashboard.crt", onSM2(t, certify(t, "dashboard", ecKey(t), &ca, serial(22))))
	h.write(pki+"dashboard/expired.crt", certify(t, "expired", edKey(t), &ca, serial(23), valid(0, 1)).pem())
	h.write(pki+"dashboard/future.cer", certify(t, "future", edKey(t), &ca, serial(24), valid(30000, 30001)).pem())
	h.write(pki + "dashboard/empty.crt")
	h.write(pki+"dashboard/truncated.crt", ca.pem()[:200])
	h.write(pki+"etcd/notes.txt", []byte("hello"))
	h.write(etcd+"ca.pem", etcdCA.pem())
	h.write(etcd+"etcd-server.pem", certify(t, "etcd-server", rsaKey(t), &etcdCA, serial(32)).pem())
	h.write(etcd+"etcd-server-key.pem", etcdCA.keyPEM(t))
	h.write(kubelet+"kubelet.crt", certify(t, "node@1", rsaKey(t), nil, serial(33)).pem())
	h.write(kubelet+"kubelet-client-2020-10-27-00-00-00.pem", current.pem(), current.keyPEM(t))
	h.write(kubelet+"kubelet-client-2020-01-01-00-00-00.pem", old.pem(), old.keyPEM(t))
	h.link(kubelet+"kubelet-client-2020-10-27-00-00-00.pem", kubelet+"kubelet-client-current.pem")
	h.mkdir("/etc/kubeadm")
	h.write("/etc/kubernetes/admin.conf", kubeconfigOf("admin", ca, admin, admin.keyPEM(t)))
	h.write("/etc/kubernetes/scheduler.conf", kubeconfigOf("scheduler", ca, admin, client.keyPEM(t)))
	h.write("/etc/kubernetes/kubelet.conf", []byte(`
apiVersion: v1
kind: Config
clusters:
- {name: default-cluster, cluster: {certificate-authority: pki/ca.crt, server: "https://192.0.2.1:6443"}}
users:
- name: default-auth
  user: {client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem, client-key: /var/lib/kubelet/pki/kubelet-client-current.pem}
`))
	h.write("/root/.kube/config", []byte("apiVersion: v1\nkind: Config\nusers: [{name: a, user: {token: secret}}]\n"))

	collectortest.Golden(t, "master.prom", collect(t, h.files(FilesConfig{})))
}

// kubeconfigOf is a kubeconfig with everything in it.
func kubeconfigOf(user string, ca, client pair, key []byte) []byte {
	base64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: kubernetes, user: %[1]s}}]
clusters:
- name: kubernetes
  cluster:
    server: https://192.0.2.1:6443
    certificate-authority-data: %[2]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[3]s
    client-key-data: %[4]s
`, user, base64(ca.pem()), base64(client.pem()), base64(key))
}

func TestFilesOfAWorker(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.write("/etc/kubernetes/pki/ca.crt", certify(t, "ca", edKey(t), nil, isCA).pem())
	h.mkdir("/var/lib/kubelet/pki")
	got := collect(t, h.files(FilesConfig{}))
	expect(t, "wrong", wrong(got))
	expect(t, "located", located(got), "/etc/kubernetes/pki/ca.crt")
	if !strings.Contains(got, `ack_certificate_locations{source="kubeconfig"} 0`) {
		t.Error(got)
	}
}

func TestFilesNotApplicable(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mkdir("/etc/kubernetes/manifests")
	if _, err := collectortest.Collect(t, h.files(FilesConfig{})); !errors.Is(err, collector.ErrNotApplicable) {
		t.Error(err)
	}
	h.root = filepath.Join(h.root, "no")
	if _, err := collectortest.Collect(t, h.files(FilesConfig{})); !errors.Is(err, collector.ErrUnavailable) {
		t.Error(err)
	}
}

// TestFilesAfterRenewal proves that the series of what was replaced are gone.
func TestFilesAfterRenewal(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	f := h.files(FilesConfig{})
	key := edKey(t)
	const file, other = "/etc/kubernetes/pki/a.crt", "/etc/kubernetes/pki/b.crt"
	h.write(file, certify(t, "a", key, nil, serial(1)).pem())
	h.write(other)
	if before := collect(t, f); !strings.Contains(before, `serial="1"`) || len(wrong(before)) != 1 {
		t.Error(before)
	}
	h.write(file, certify(t, "a", key, nil, serial(2), valid(1, 2)).pem())
	if err := os.Remove(h.path(other)); err != nil {
		t.Fatal(err)
	}
	after := collect(t, f)
	if strings.Contains(after, `serial="1"`) || !strings.Contains(after, `serial="2"`) || len(wrong(after)) != 0 {
		t.Error(after)
	}
}

// TestHostileFiles has in one folder what should not be there. Nothing hangs, and
// nothing takes away what is good.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	good := certify(t, "good", edKey(t), nil).pem()
	const pki = "/etc/kubernetes/pki/"
	h.write(pki+"good.crt", good)
	h.write(pki+"UPPER.CRT", good)
	h.write(pki+"\xff.crt", good)
	h.write(pki+"directory.crt/inside.crt", good)
	h.write(pki+"key.crt", certify(t, "key", ecKey(t), nil).keyPEM(t))
	h.write(pki+"garbage.crt", []byte("garbage"))
	h.write(pki+"partly.pem", good, []byte("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"))
	h.write(pki+"large.crt", good, bytes.Repeat([]byte{'\n'}, maxBundle))
	h.write(pki+"private.key", []byte("never opened"))
	h.write(pki+"a-key.pem", []byte("never opened"))
	h.write(pki+"request.csr", []byte("never opened"))
	h.write(pki+".hidden/x.crt", good)
	h.write(pki+"..2020_01_01/volume.crt", good)
	h.link("..2020_01_01", pki+"..data")
	h.link("..data/volume.crt", pki+"volume.crt")
	h.link("itself.crt", pki+"itself.crt")
	h.link(".", pki+"here")
	h.link("../..", pki+"directory.crt/up")
	h.link("/no/such/file", pki+"dangling.crt")
	h.link("/no/such/folder", pki+"dangling")
	h.link("/no/such/file", pki+"dangling.conf")
	h.link("/no/such/file", pki+"dangling.key")
	h.link("/etc/kubernetes/pki/private.key", pki+"disguised.crt")
	h.write("/elsewhere/linked.crt", good)
	h.link("/elsewhere", pki+"folder")
	if err := errors.Join(
		syscall.Mkfifo(h.path(pki+"fifo.crt"), 0o600),
		listen(t, h.path(pki+"socket.crt")),
		os.WriteFile(filepath.Join(filepath.Dir(h.root), "outside.crt"), good, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	h.link("/dev/null", pki+"no-device.crt") // of this root, which has none
	h.link("../../../../outside.crt", pki+"outside.crt")
	h.link(filepath.Join(filepath.Dir(h.root), "outside.crt"), pki+"absolutely-outside.crt")

	got := collect(t, h.files(FilesConfig{}))
	told := func(location, reason string) string {
		return `key="",location="/etc/kubernetes/pki/` + location + `",reason="` + reason + `",source="file"`
	}
	expect(t, "wrong", wrong(got),
		told("absolutely-outside.crt", "vanished"),
		told("dangling", "vanished"),
		told("dangling.crt", "vanished"),
		told("directory.crt/up/pki", "loop"),
		told("disguised.crt", "der"),
		told("fifo.crt", "not_regular"),
		told("garbage.crt", "der"),
		told("here", "loop"),
		told("itself.crt", "loop"),
		told("key.crt", "no_certificate"),
		told("large.crt", "too_large"),
		told("no-device.crt", "vanished"),
		told("outside.crt", "vanished"),
		told("partly.pem", "pem"),
		told("socket.crt", "not_regular"),
	)
	var want []string
	for _, name := range []string{
		".hidden/x.crt", "UPPER.CRT", "directory.crt/inside.crt", "folder/linked.crt", "good.crt", "partly.pem", "volume.crt", "\uFFFD.crt",
	} {
		want = append(want, "/etc/kubernetes/pki/"+name)
	}
	expect(t, "located", located(got), want...)
}

// listen makes a socket that is there until the end of the test.
func listen(t testing.TB, path string) error {
	// The path of a socket is short; that of the folder is not.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
	if err == nil {
		t.Cleanup(func() { l.Close() })
	}
	return err
}

// TestDevices is for whoever may make one.
func TestDevices(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.write("/etc/kubernetes/pki/good.crt", certify(t, "good", edKey(t), nil).pem())
	// The device of the kernel log would wait for ever for its next line.
	err := unix.Mknod(h.path("/etc/kubernetes/pki/kmsg.crt"), syscall.S_IFCHR|0o600, int(unix.Mkdev(1, 11)))
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("making a device needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "wrong", wrong(collect(t, h.files(FilesConfig{}))),
		`key="",location="/etc/kubernetes/pki/kmsg.crt",reason="not_regular",source="file"`)
}

// TestPermission looks at the files as another user.
func TestPermission(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	good := certify(t, "good", edKey(t), nil).pem()
	h.write("/etc/kubernetes/pki/ca.crt", good)
	h.write("/etc/kubernetes/pki/secret.crt", good)
	h.write("/etc/kubernetes/pki/closed/x.crt", good)
	h.write("/etc/kubernetes/admin.conf", good)
	h.write("/var/lib/kubelet/pki/kubelet.crt", good)
	h.write("/root/.kube/config", good)
	h.mkdir("/opt/closed")
	if err := errors.Join(
		os.Chmod(h.path("/etc/kubernetes/pki/ca.crt"), 0o644),
		os.Chmod(h.path("/etc/kubernetes/pki/secret.crt"), 0),
		os.Chmod(h.path("/etc/kubernetes/pki/closed"), 0),
		os.Chmod(h.path("/etc/kubernetes/admin.conf"), 0),
		os.Chmod(h.path("/var/lib/kubelet"), 0),
		os.Chmod(h.path("/root"), 0),
		os.Chmod(h.path("/opt/closed"), 0),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // so that whoever cleans up can go in
		for _, dir := range []string{"/etc/kubernetes/pki/closed", "/var/lib/kubelet", "/root", "/opt/closed"} {
			if err := os.Chmod(h.path(dir), 0o755); err != nil {
				t.Error(err)
			}
		}
	})
	f := h.files(FilesConfig{Paths: append(DefaultPaths()[:2:2], "/opt/closed/*.crt")})
	var got string
	asNobody(t, func() {
		var err error
		if got, err = collectortest.Collect(t, f); err != nil {
			t.Error(err)
		}
	})
	told := func(source, location string) string {
		return `key="",location="` + location + `",reason="permission",source="` + source + `"`
	}
	expect(t, "wrong", wrong(got),
		told("kubeconfig", "/etc/kubernetes/admin.conf"),
		told("file", "/etc/kubernetes/pki/closed"),
		told("file", "/etc/kubernetes/pki/secret.crt"),
		told("file", "/opt/closed"),
		told("kubeconfig", "/root/.kube/config"),
		told("file", "/var/lib/kubelet/pki"),
	)
	expect(t, "located", located(got), "/etc/kubernetes/pki/ca.crt")
}

// asNobody runs do without the right to read every file.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread that has become another user ends with this goroutine.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if err := unix.Setfsuid(65534); err != nil {
				t.Error(err)
				return
			}
		}
		do()
	}()
	<-done
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	good := certify(t, "good", edKey(t), nil).pem()
	for _, name := range []string{
		"/a/1/x.crt", "/a/1/y.conf", "/a/1/z.key", "/a/1/z-key.pem", "/a/2/x.crt", "/a/2/deep/er/y.pem", "/a/3", "/b/kubelet-client-2020-01-01.pem",
		"/b/kubelet-client-current.pem", "/b/monkey.pem",
	} {
		h.write(name, good)
	}
	for pattern, want := range map[string][]string{
		"/a":                               {"/a/1/x.crt", "/a/2/deep/er/y.pem", "/a/2/x.crt"},
		"/a/":                              {"/a/1/x.crt", "/a/2/deep/er/y.pem", "/a/2/x.crt"},
		"/a/1/x.crt":                       {"/a/1/x.crt"},
		"/a/1/y.conf":                      {"/a/1/y.conf"},
		"/a/1/*":                           {"/a/1/x.crt", "/a/1/y.conf"},
		"/a/[13]/x.???":                    {"/a/1/x.crt"},
		"/*/?/x.crt":                       {"/a/1/x.crt", "/a/2/x.crt"},
		"/a/*":                             {"/a/1/x.crt", "/a/2/deep/er/y.pem", "/a/2/x.crt", "/a/3"},
		`/a/\1/x.crt`:                      {"/a/1/x.crt"},
		"/b":                               {"/b/kubelet-client-current.pem", "/b/monkey.pem"},
		"/b/*.pem":                         {"/b/kubelet-client-current.pem", "/b/monkey.pem"},
		"/b/kubelet-client-2020-01-01.pem": {"/b/kubelet-client-2020-01-01.pem"},
	} {
		got := collect(t, h.files(FilesConfig{Paths: []string{pattern, pattern}}))
		expect(t, pattern, located(got), want...)
		expect(t, pattern, wrong(got))
	}
}

// TestGivenPathsMustExist: one that is written out is an error where it is missing, and
// wildcards that match nothing are a line in the log, once.
func TestGivenPathsMustExist(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.mkdir("/empty")
	var log bytes.Buffer
	f := h.files(FilesConfig{
		Paths:       []string{"/no/file.crt", "/empty/*.crt", "/no/*.crt", "/empty"},
		Kubeconfigs: []string{"/no/config", "/home/*/.kube/config"},
		Log:         slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 2 {
		expect(t, "wrong", wrong(collect(t, f)),
			`key="",location="/no/config",reason="vanished",source="kubeconfig"`,
			`key="",location="/no/file.crt",reason="vanished",source="file"`)
	}
	for _, pattern := range []string{"/empty/*.crt", "/no/*.crt", "/home/*/.kube/config"} {
		if strings.Count(log.String(), "pattern="+pattern+"\n") != 1 {
			t.Errorf("%s: %s", pattern, &log)
		}
	}
	h.write("/empty/x.crt", certify(t, "x", edKey(t), nil).pem())
	expect(t, "located", located(collect(t, f)), "/empty/x.crt")
	if err := os.Remove(h.path("/empty/x.crt")); err != nil {
		t.Fatal(err)
	}
	collect(t, f)
	if strings.Count(log.String(), "pattern=/empty/*.crt\n") != 2 {
		t.Errorf("gone again, and not said: %s", &log)
	}
}

// TestKeyInTheFile has the kubelet's file, with the key of another certificate too.
func TestKeyInTheFile(t *testing.T) {
	t.Parallel()
	c, other := certify(t, "system:node:a", ecKey(t), nil), certify(t, "other", ecKey(t), nil)
	const location = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	for name, file := range map[string]struct {
		content []byte
		want    []string
	}{
		"its own":   {join(c.pem(), c.keyPEM(t)), nil},
		"before it": {join(c.keyPEM(t), c.pem()), nil},
		"another":   {join(c.pem(), other.keyPEM(t)), []string{`problem="key_mismatch"`}},
		"encrypted": {join(c.pem(), pemBlock("ENCRYPTED PRIVATE KEY", []byte{1})), []string{`reason="key"`}},
		"truncated": {join(c.pem(), c.keyPEM(t)[:80]), []string{`reason="key"`, `reason="pem"`}},
	} {
		h := newHost(t)
		h.write("/data/generation.pem", file.content)
		h.link("/data/generation.pem", location)
		var want []string
		for _, label := range file.want {
			want = append(want, `key="",location="`+location+`",`+label+`,source="file"`)
		}
		got := collect(t, h.files(FilesConfig{}))
		expect(t, name, wrong(got), want...)
		expect(t, name, located(got), location)
	}
}

func TestFileClass(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]Class{
		"/var/lib/kubelet/pki/kubelet-client-current.pem":     ClassAutomatic,
		"/data/kubelet/pki/kubelet-client-current.pem":        ClassAutomatic,
		"/var/lib/kubelet/pki/kubelet-server-current.pem":     ClassAutomatic,
		"/var/lib/kubelet/pki/kubelet-client.crt":             ClassAutomatic,
		"/var/lib/kubelet/pki/kubelet.crt":                    ClassHarmless,
		"/etc/kubernetes/pki/kubelet.crt":                     ClassManual,
		"/var/lib/kubelet/pki/kubelet.crt.pem":                ClassManual,
		"/etc/kubernetes/pki/apiserver-kubelet-client.crt":    ClassManual,
		"/var/lib/kubelet/pki/kubelet-client-current.pem.old": ClassManual,
		"/etc/kubernetes/kubelet.conf":                        ClassManual,
	} {
		if got := fileClass(location); got != want {
			t.Errorf("%s: %s", location, got)
		}
	}
}

func TestNewFilesRefuses(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"relative.crt": `path "relative.crt": not an absolute path`,
		"":             "not an absolute path",
		"/a/**/b":      "read with all folders below",
		"/a/ca.key":    "private keys are never opened",
		"/a/*-key.pem": "private keys are never opened",
		"/a/[":         "syntax error in pattern",
	} {
		if _, err := NewFiles(FilesConfig{Paths: []string{pattern}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	if _, err := NewFiles(FilesConfig{Kubeconfigs: []string{"~/.kube/config"}}); err == nil || !strings.Contains(err.Error(), `kubeconfig "~/.kube/config"`) {
		t.Error(err)
	}
}

// TestFilesAreBounded: what is not read any more is told of the folder, and there are
// not more errors than folders.
func TestFilesAreBounded(t *testing.T) {
	t.Parallel()
	small := certify(t, "x", edKey(t), nil).pem()
	for name, c := range map[string]struct {
		make    func(host)
		want    []string
		located int
	}{
		"files": {func(h host) {
			for n := range maxFiles + 1 {
				h.write(fmt.Sprintf("/pki/a/%d.crt", n))
			}
			h.write("/pki/b.crt", small)
		}, []string{"/pki", "/pki/a"}, 0},
		"names": {func(h host) {
			h.mkdir("/pki/a")
			for n := range maxFileNames {
				h.link("x", fmt.Sprintf("/pki/a/%d.key", n))
			}
			h.write("/pki/b.crt", small)
		}, []string{"/pki/a"}, 1},
		"certificates": {func(h host) {
			bundle := bytes.Repeat(small, maxCertificates)
			for n := range maxFileCertificates/maxCertificates + 1 {
				h.write(fmt.Sprintf("/pki/%d.crt", n), bundle)
			}
		}, []string{"/pki"}, maxFileCertificates / maxCertificates},
		"bytes": {func(h host) {
			h.write("/x.crt", small, make([]byte, maxBundle-len(small)))
			for n := range maxFileBytes/maxBundle + 1 {
				h.link("/x.crt", fmt.Sprintf("/pki/%d.crt", n))
			}
		}, []string{"/pki"}, maxFileBytes / maxBundle},
		"depth": {func(h host) {
			h.write("/pki/"+strings.Repeat("d/", maxFileDepth)+"x.crt", small)
			h.write("/pki/"+strings.Repeat("d/", maxFileDepth+1)+"x.crt", small)
		}, []string{"/pki" + strings.Repeat("/d", maxFileDepth+1)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c.make(h)
			entries, err := h.files(FilesConfig{Paths: []string{"/pki"}}).read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var tooMany []string
			located := 0
			for _, e := range entries {
				if slices.Contains(e.Failures, Failure{Reason: ReasonTooMany}) {
					tooMany = append(tooMany, e.Location)
				}
				if len(e.Certificates) > 0 {
					located++
				}
			}
			expect(t, "too many", tooMany, c.want...)
			if located != c.located {
				t.Errorf("%d located", located)
			}
		})
	}
}

func TestFilesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.write("/etc/kubernetes/pki/ca.crt", certify(t, "ca", edKey(t), nil).pem())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if metrics, err := h.files(FilesConfig{}).Collect(ctx); !errors.Is(err, context.Canceled) || metrics != nil {
		t.Errorf("%v, %v", metrics, err)
	}
}

// TestVanishing lists a folder whose files come and go.
func TestVanishing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	stays := certify(t, "stays", edKey(t), nil).pem()
	h.write("/etc/kubernetes/pki/stays.crt", stays)
	for n := range 20 {
		h.write(fmt.Sprintf("/etc/kubernetes/pki/%d.crt", n), stays)
	}
	f := h.files(FilesConfig{})
	stop := make(chan struct{})
	done := make(chan error)
	go func() {
		for n := 0; ; n = (n + 1) % 20 {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			name := h.path(fmt.Sprintf("/etc/kubernetes/pki/%d.crt", n))
			if err := errors.Join(os.Remove(name), os.WriteFile(name+".new", stays, 0o600), os.Rename(name+".new", name)); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 50 {
		got := collect(t, f)
		if !slices.Contains(located(got), "/etc/kubernetes/pki/stays.crt") {
			t.Error("what stayed is missing")
		}
		for _, series := range wrong(got) {
			if !strings.Contains(series, `reason="vanished"`) {
				t.Error(series)
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// BenchmarkFiles is one refresh of a master with 50 files.
func BenchmarkFiles(b *testing.B) {
	h := newHost(b)
	ca := certify(b, "ca", rsaKey(b), nil, isCA)
	key := rsaKey(b)
	h.write("/etc/kubernetes/pki/ca.crt", ca.pem())
	for n := range 43 {
		h.write(fmt.Sprintf("/etc/kubernetes/pki/%d/x.crt", n), certify(b, fmt.Sprint(n), key, &ca).pem())
	}
	client := certify(b, "client", key, &ca)
	for _, location := range DefaultKubeconfigs() {
		h.write(location, kubeconfigOf("x", ca, client, client.keyPEM(b)))
	}
	f := h.files(FilesConfig{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Collect(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
