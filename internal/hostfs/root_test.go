package hostfs_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ack-exporter/internal/hostfs"
)

// openRoot makes a root directory, with something beside it that it must not reach.
func openRoot(t *testing.T) (root *hostfs.Root, dir string) {
	t.Helper()
	outside := t.TempDir()
	dir = filepath.Join(outside, "root")
	write(t, filepath.Join(outside, "secret"), "outside")
	write(t, filepath.Join(dir, "etc/pki/ca.crt"), "ca")
	write(t, filepath.Join(dir, "data/moved/x.crt"), "moved")
	root, err := hostfs.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func TestRootFollowsLinksAsOnTheHost(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	write(t, filepath.Join(dir, filepath.Dir(dir), "secret"), "inside")
	for name, target := range map[string]string{
		"absolute":        "/etc/pki/ca.crt",
		"relative":        "etc/pki/ca.crt",
		"etc/up":          "../data/moved/x.crt",
		"etc/far-up":      "../../../../../../../../data/moved/x.crt",
		"folder":          "/data/moved",
		"etc/over-folder": "/folder/../moved/x.crt", // .. of what the link leads to
		"outside":         filepath.Join(filepath.Dir(dir), "secret"),
		"first":           "second",
		"second":          "/absolute",
		"itself":          "itself",
		"there":           "back",
		"back":            "/there",
		"dangling":        "/no/such/file",
		"up-and-out":      "../secret",
	} {
		link(t, target, filepath.Join(dir, name))
	}
	for name, want := range map[string]any{
		"/etc/pki/ca.crt":              "ca",
		"/etc//./pki/../pki/":          hostfs.ErrNotRegular,
		"/absolute":                    "ca",
		"/relative":                    "ca",
		"/etc/up":                      "moved",
		"/etc/far-up":                  "moved",
		"/folder/x.crt":                "moved",
		"/etc/over-folder":             "moved",
		"/outside":                     "inside",
		"/first":                       "ca",
		"/itself":                      hostfs.ErrLoop,
		"/there":                       hostfs.ErrLoop,
		"/dangling":                    hostfs.ErrDangling,
		"/up-and-out":                  hostfs.ErrDangling,
		"/../secret":                   fs.ErrNotExist,
		"/folder/no":                   fs.ErrNotExist,
		"/etc/pki/ca.crt/no":           syscall.ENOTDIR,
		"/etc":                         hostfs.ErrNotRegular,
		"/etc/pki/ca.crt\x00":          syscall.EINVAL,
		"/" + strings.Repeat("a", 256): syscall.ENAMETOOLONG,
	} {
		content, err := root.ReadFile(name, 100)
		if wantErr, ok := want.(error); ok {
			if !errors.Is(err, wantErr) {
				t.Errorf("%.40q: %q, %v, want %v", name, content, err, wantErr)
			}
			continue
		}
		if err != nil || string(content) != want {
			t.Errorf("%.40q: %q, %v, want %q", name, content, err, want)
		}
	}
	// What is behind a link is missing, but no link leads nowhere.
	if _, err := root.Stat("/folder/no"); errors.Is(err, hostfs.ErrDangling) {
		t.Error(err)
	}
	_, err := root.Stat("/folder/no")
	if pathError, ok := errors.AsType[*fs.PathError](err); !ok || pathError.Path != "/folder/no" {
		t.Errorf("%v does not name the path on the host", err)
	}
}

func TestRootBounds(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	for _, name := range []string{"c", "a", "b"} {
		write(t, filepath.Join(dir, "many", name), "123")
	}
	if content, err := root.ReadFile("/many/a", 3); err != nil || string(content) != "123" {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := root.ReadFile("/many/a", 2); !errors.Is(err, hostfs.ErrTooLarge) {
		t.Error(err)
	}
	for limit, want := range map[int]error{4: nil, 3: nil, 2: hostfs.ErrTooLarge, 0: hostfs.ErrTooLarge} {
		entries, err := root.ReadDir("/many", limit)
		if !errors.Is(err, want) || len(entries) != min(limit, 3) {
			t.Errorf("limit %d: %v, %v", limit, entries, err)
		}
		if !slices.IsSortedFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
			t.Errorf("limit %d: %v", limit, entries)
		}
	}
	if _, err := root.ReadDir("/many/a", 10); !errors.Is(err, hostfs.ErrNotRegular) {
		t.Error(err)
	}
}

func TestRootNeverHangs(t *testing.T) {
	t.Parallel()
	root, dir := openRoot(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	link(t, "/fifo", filepath.Join(dir, "to-fifo"))
	for _, name := range []string{"/fifo", "/to-fifo"} {
		if _, err := root.ReadFile(name, 10); !errors.Is(err, hostfs.ErrNotRegular) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenRoot(t *testing.T) {
	t.Parallel()
	if _, err := hostfs.OpenRoot(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
