//go:build e2e

package install

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/world"
)

// store is where buildah keeps images, of its own so that no build finds what
// another one has left.
type store struct{ dir string }

func newStore(t *testing.T) store {
	t.Helper()
	_, err := exec.LookPath("buildah")
	world.Require(t, err == nil, "buildah is missing: apt-get install --no-install-recommends buildah")
	world.Require(t, os.Geteuid() == 0, "needs root")
	return store{t.TempDir()}
}

// run runs buildah.
func (s store) run(t *testing.T, command string, args ...string) {
	t.Helper()
	all := append([]string{
		"--root", filepath.Join(s.dir, "root"), "--runroot", filepath.Join(s.dir, "run"), "--storage-driver", "vfs", command,
	}, args...)
	if out, err := exec.CommandContext(t.Context(), "buildah", all...).CombinedOutput(); err != nil {
		t.Fatalf("buildah %s: %v\n%s", strings.Join(all, " "), err, out)
	}
}

// imageName is what a store calls the image that it has built last.
const imageName = "localhost/image"

// build builds an image from a folder.
func (s store) build(t *testing.T, folder string, args ...string) image {
	t.Helper()
	s.run(t, "bud", append(append([]string{"--isolation", "chroot", "-t", imageName}, args...), folder)...)
	layout := t.TempDir()
	s.run(t, "push", imageName, "oci:"+layout)
	return readImage(t, layout)
}

// archive writes the image that has been built last into a file, under a tag.
func (s store) archive(t *testing.T, tag string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image.tar")
	s.run(t, "push", imageName, "oci-archive:"+path+":"+tag)
	return path
}

// image is what is in the layout of an OCI image.
type image struct {
	digest string // of the manifest
	config imageConfig
	size   int64 // of the layers, compressed
	files  []file
	binary []byte // the file ack-exporter
}

type imageConfig struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Created      time.Time `json:"created"`
	Config       struct {
		User         string
		Entrypoint   []string
		Cmd          []string
		ExposedPorts map[string]struct{}
		Labels       map[string]string
	} `json:"config"`
}

type file struct {
	name     string
	mode     int64
	uid, gid int
	modified time.Time
}

type descriptor struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

func readImage(t *testing.T, layout string) image {
	t.Helper()
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	readJSON(t, filepath.Join(layout, "index.json"), &index)
	if len(index.Manifests) != 1 {
		t.Fatalf("%d manifests, want 1", len(index.Manifests))
	}
	i := image{digest: index.Manifests[0].Digest}
	var manifest struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	readJSON(t, blob(layout, i.digest), &manifest)
	readJSON(t, blob(layout, manifest.Config.Digest), &i.config)
	for _, layer := range manifest.Layers {
		i.size += layer.Size
		i.readLayer(t, blob(layout, layer.Digest))
	}
	return i
}

func blob(layout, digest string) string {
	return filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", path, err))
	}
}

// readLayer notes the files of a layer.
func (i *image) readLayer(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", path, err))
	}
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if err == io.EOF { //nolint:errorlint // tar.Reader says it never wraps it
			return
		}
		if err != nil {
			t.Fatal(fmt.Errorf("%s: %w", path, err))
		}
		i.files = append(i.files, file{header.Name, header.Mode & 0o777, header.Uid, header.Gid, header.ModTime.UTC()})
		if header.Name != "ack-exporter" {
			continue
		}
		if i.binary, err = io.ReadAll(r); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", path, err))
		}
	}
}
