//go:build e2e

// Package npm installs packages from a registry of npm, and keeps what they make in
// the user's cache.
package npm

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
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/world"
)

const installTimeout = 10 * time.Minute

// PackageFiles are what the installed packages depend on.
func PackageFiles() []string { return []string{"package.json", "package-lock.json"} }

// Install returns a folder with node_modules as the lock file in root says. name is
// the beginning of the folder's name in the cache.
func Install(t testing.TB, name, root string) string {
	t.Helper()
	world.RequireTools(t, "node", "npm")
	return Cached(t, name, root, PackageFiles(), func(folder string) error {
		// Scripts of packages would run as this user; none is needed.
		return Run(t, installTimeout, folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	})
}

// CheckLockFile fails where the lock file in root has the addresses of a registry:
// everyone has another one.
func CheckLockFile(t testing.TB, root string) {
	t.Helper()
	path := filepath.Join(root, "package-lock.json")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(`"resolved"`)) {
		t.Errorf("%s says where packages come from: run `npm run lock` in %s", path, root)
	}
}

// Cached returns a folder in the user's cache, which has the files of root and what
// fill added to them. Its name contains their hash, and it appears when it is
// complete: it is filled once, also where several ask at a time.
func Cached(t testing.TB, name, root string, files []string, fill func(folder string) error) string {
	t.Helper()
	folder, err := func() (string, error) {
		hash, err := hashOf(root, files)
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
		unlock, err := lock(filepath.Join(cache, name+".lock"))
		if err != nil {
			return "", err
		}
		defer unlock()
		folder := filepath.Join(cache, name+"-"+hash)
		if _, err := os.Stat(folder); err == nil {
			return folder, nil
		}
		return folder, fillNew(folder, root, files, fill)
	}()
	if err != nil {
		t.Fatalf("make %s: %v", name, err)
	}
	return folder
}

func fillNew(folder, root string, files []string, fill func(folder string) error) error {
	partial := folder + ".partial"
	// What an interrupted run has left behind; the lock says that none is under way.
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := CopyFiles(partial, root, files); err != nil {
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

// CopyFiles copies files, and folders with what is in them, from one folder to another.
func CopyFiles(to, root string, files []string) error {
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

// Run runs a program in a folder. The error has what it said.
func Run(t testing.TB, timeout time.Duration, folder, name string, args ...string) error {
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
