//go:build e2e

package install

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	repository = "../.."
	version    = "1.2.3"
	// epoch is the SOURCE_DATE_EPOCH of the tests.
	epoch = "1700000000"
	// maxSize of the image, compressed as it is pulled.
	maxSize = 16 << 20
)

// compile builds the binary as people do, but without the state of the work tree.
func compile(t *testing.T, arch, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ack-exporter")
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	make, err := exec.LookPath("make")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), make, "-C", repository, "build", "BIN="+path, "VERSION="+version, "GOARCH="+arch)
	// Where there is no git, Go stamps no revision.
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(goTool))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return path
}

// buildPrebuilt builds an image from a binary, with everything in folders of its own.
func buildPrebuilt(t *testing.T, binary []byte) image {
	t.Helper()
	_, i := buildVersion(t, binary, version)
	return i
}

// buildVersion is buildPrebuilt for another version, and returns where the image is, too.
func buildVersion(t *testing.T, binary []byte, version string) (store, image) {
	t.Helper()
	folder := t.TempDir()
	for name, content := range map[string][]byte{"Dockerfile": dockerfile(t), "bin/ack-exporter": binary} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t)
	return s, s.build(t, folder, "--target", "prebuilt", "--timestamp", epoch, "--build-arg", "VERSION="+version, "--build-arg", "REVISION=abc")
}

func dockerfile(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repository, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrebuiltImage(t *testing.T) {
	newStore(t) // is there a buildah at all?
	binary, err := os.ReadFile(compile(t, runtime.GOARCH, version))
	if err != nil {
		t.Fatal(err)
	}
	first := buildPrebuilt(t, binary)
	checkImage(t, first, runtime.GOARCH)
	if !bytes.Equal(first.binary, binary) {
		t.Error("the binary in the image is another one")
	}
	labels := first.config.Config.Labels
	if labels["org.opencontainers.image.version"] != version || labels["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("labels: %v", labels)
	}
	if second := buildPrebuilt(t, binary); second.digest != first.digest {
		t.Errorf("built again, the image is %s and not %s", second.digest, first.digest)
	}
	binary[len(binary)-1]++
	if other := buildPrebuilt(t, binary); other.digest == first.digest {
		t.Error("another binary makes the same image")
	}
}

// checkImage checks what every image of the exporter is.
func checkImage(t *testing.T, i image, arch string) {
	t.Helper()
	c := i.config
	if c.OS != "linux" || c.Architecture != arch {
		t.Errorf("for %s/%s, want linux/%s", c.OS, c.Architecture, arch)
	}
	if c.Config.User != "65534:65534" {
		t.Errorf("user %q: not an ordinary one", c.Config.User)
	}
	if !slices.Equal(c.Config.Entrypoint, []string{"/ack-exporter"}) || !slices.Equal(c.Config.Cmd, []string{"--help"}) {
		t.Errorf("entrypoint %q, command %q", c.Config.Entrypoint, c.Config.Cmd)
	}
	if _, ok := c.Config.ExposedPorts["9777/tcp"]; !ok || len(c.Config.ExposedPorts) != 1 {
		t.Errorf("ports: %v", c.Config.ExposedPorts)
	}
	for _, label := range []string{"title", "description", "licenses", "version", "revision"} {
		if c.Config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("no label %s: %v", label, c.Config.Labels)
		}
	}
	modified := time.Unix(1700000000, 0).UTC()
	if want := []file{{"ack-exporter", 0o755, 0, 0, modified}}; !reflect.DeepEqual(i.files, want) {
		t.Errorf("files: %v, want %v", i.files, want)
	}
	if !c.Created.Equal(modified) {
		t.Errorf("created %v", c.Created)
	}
	t.Logf("%s: %.1f MB, %.1f MB compressed", arch, float64(len(i.binary))/1e6, float64(i.size)/1e6)
	if i.size > maxSize {
		t.Errorf("%d bytes compressed, more than %d", i.size, maxSize)
	}
	checkStatic(t, i.binary, arch)
}

// checkStatic makes sure that the binary needs nothing of the image that it is in.
func checkStatic(t *testing.T, binary []byte, arch string) {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		t.Errorf("the binary is for %s, want %s", f.Machine, want)
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("libraries %v, %v", libraries, err)
	}
}

// The stage that compiles must make the binary that `make build` makes here, in
// another folder and for both architectures.
func TestBuiltImage(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			s := newStore(t)
			image := s.build(t, repository, append(s.compiler(t),
				"--platform", "linux/"+arch, "--timestamp", epoch, "--build-arg", "VERSION="+version)...)
			checkImage(t, image, arch)
			want, err := os.ReadFile(compile(t, arch, version))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(image.binary, want) {
				t.Error("not the binary that make build makes")
			}
		})
	}
}

// compiler stands in for the image with Go: this machine's programs and modules are
// mounted into an empty one. It returns the options for the build.
func (s store) compiler(t *testing.T) []string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", "mod", "download").CombinedOutput(); err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	paths := strings.Fields(string(out))
	root, modules, cache := paths[0], paths[1], paths[2]

	const name = "localhost/go"
	folder := t.TempDir()
	environment := "FROM scratch\nENV PATH=" + root + "/bin:/usr/bin:/bin GOPROXY=off GOTOOLCHAIN=local HOME=/tmp" +
		" GOMODCACHE=" + modules + " GOCACHE=" + cache + "\n"
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(environment), 0o644); err != nil {
		t.Fatal(err)
	}
	s.run(t, "bud", "--isolation", "chroot", "-t", name, folder)
	options := []string{
		"--build-arg", "GO_IMAGE=" + name,
		// Debian's buildah does not set it.
		"--build-arg", "BUILDPLATFORM=linux/" + runtime.GOARCH,
		"-v", t.TempDir() + ":/tmp", "-v", cache + ":" + cache,
	}
	for _, path := range []string{"/usr", "/bin", "/lib", "/lib64", root, modules} {
		if _, err := os.Stat(path); err == nil {
			options = append(options, "-v", path+":"+path+":ro")
		}
	}
	return options
}
