//go:build e2e

package dashboards

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/world"
)

const (
	installTimeout = 10 * time.Minute
	buildTimeout   = 5 * time.Minute
)

// What the installed packages depend on, and what the page depends on besides.
var (
	packageFiles = []string{"package.json", "package-lock.json"}
	pageFiles    = []string{"index.html", "tsconfig.json", "vite.config.ts", "src", "types"}
)

// TestLockFile keeps the addresses of registries out of the lock file: everyone has
// another one.
func TestLockFile(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("app/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(`"resolved"`)) {
		t.Error("app/package-lock.json says where packages come from: run `npm run lock` in app")
	}
}

// nodeModules returns a folder with node_modules as the lock file says.
func nodeModules(t testing.TB) string {
	t.Helper()
	requireTools(t, "node", "npm")
	return cached(t, "packages", packageFiles, func(folder string) error {
		// Scripts of packages would run as this user; none is needed.
		return run(t, installTimeout, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	})
}

// page returns the folder of the built page.
func page(t testing.TB) string {
	t.Helper()
	packages := nodeModules(t)
	folder := cached(t, "page", slices.Concat(packageFiles, pageFiles), func(folder string) error {
		if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(folder, "node_modules")); err != nil {
			return err
		}
		return run(t, buildTimeout, folder, "npm", "run", "build")
	})
	return filepath.Join(folder, "dist")
}

// requireTools skips the test where a program is missing.
func requireTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		world.Require(t, err == nil, fmt.Sprintf("%s is not installed", name))
	}
}

// cached returns a folder in the user's cache, which has the files of app and
// what fill added to them. Its name contains their hash, and it appears when it is
// complete: it is filled once, also where several ask at a time.
func cached(t testing.TB, kind string, files []string, fill func(folder string) error) string {
	t.Helper()
	folder, err := func() (string, error) {
		hash, err := hashOf("app", files)
		if err != nil {
			return "", err
		}
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(cache, "ack-exporter")
		if err := os.MkdirAll(cache, 0o755); err != nil {
			return "", err
		}
		unlock, err := lock(filepath.Join(cache, "dashboards-"+kind+".lock"))
		if err != nil {
			return "", err
		}
		defer unlock()
		folder := filepath.Join(cache, "dashboards-"+kind+"-"+hash)
		if _, err := os.Stat(folder); err == nil {
			return folder, nil
		}
		return folder, fillNew(folder, files, fill)
	}()
	if err != nil {
		t.Fatalf("make the %s of the page: %v", kind, err)
	}
	return folder
}

func fillNew(folder string, files []string, fill func(folder string) error) error {
	partial := folder + ".partial"
	// What an interrupted run has left behind; the lock says that none is under way.
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := copyFiles(partial, "app", files); err != nil {
		return err
	}
	if err := fill(partial); err != nil {
		return err
	}
	return os.Rename(partial, folder)
}

// eachFile calls do for every regular file, in an order that does not change.
func eachFile(root string, files []string, do func(name string, content []byte) error) error {
	for _, file := range files {
		err := filepath.WalkDir(filepath.Join(root, file), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			return do(name, content)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func hashOf(root string, files []string) (string, error) {
	hash := sha256.New()
	err := eachFile(root, files, func(name string, content []byte) error {
		_, err := fmt.Fprintf(hash, "%s %d\n%s", name, len(content), content)
		return err
	})
	return fmt.Sprintf("%x", hash.Sum(nil)[:8]), err
}

func copyFiles(to, root string, files []string) error {
	return eachFile(root, files, func(name string, content []byte) error {
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, content, 0o644)
	})
}

// lock waits for other processes that hold the lock.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil
}

func run(t testing.TB, timeout time.Duration, folder, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, errors.Join(err, ctx.Err()), output.Bytes())
	}
	return nil
}
