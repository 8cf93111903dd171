//go:build e2e

// Package vm boots Debian's kernel in a virtual machine that has one program
// and an initramfs, and reads back what the program recorded.
package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// metaPackage depends on the kernel that Debian ships now.
const metaPackage = "linux-image-cloud-amd64"

// toolPackages are ipvsadm and the libraries that it needs. The C library is
// among them so that the machine's own need not be of the same release.
var toolPackages = []string{"ipvsadm", "libc6", "libnl-3-200", "libnl-genl-3-200", "libpopt0"}

// Packages returns a folder into which the kernel, ipvsadm and its libraries are
// unpacked. Nothing is installed. The folder is in the user's cache, named after
// the versions: they are downloaded once, also where several ask at a time.
func Packages(ctx context.Context) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	folder, errSystem := apt{}.unpacked(ctx, cache)
	if errSystem == nil {
		return folder, nil
	}
	// The machine's lists of packages are missing, or so old that what they name is
	// no longer offered. Lists of our own leave the machine's alone.
	own, err := newApt(filepath.Join(cache, "apt"))
	if err != nil {
		return "", err
	}
	if folder, err := own.unpacked(ctx, cache); err == nil {
		return folder, nil
	}
	if _, err := own.run(ctx, cache, "apt-get", "-qq", "update"); err != nil {
		return "", errors.Join(errSystem, err)
	}
	if folder, err = own.unpacked(ctx, cache); err != nil {
		return "", errors.Join(errSystem, err)
	}
	return folder, nil
}

func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "ack-exporter", "ipvs-vm")
	return cache, os.MkdirAll(cache, 0o755)
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

// apt runs the tools of Debian's package manager with some options.
type apt struct{ options []string }

// newApt makes an apt that keeps its lists of packages in folder.
func newApt(folder string) (apt, error) {
	lists, archives := filepath.Join(folder, "lists"), filepath.Join(folder, "cache")
	for _, dir := range []string{filepath.Join(lists, "partial"), filepath.Join(archives, "archives", "partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return apt{}, err
		}
	}
	return apt{options: []string{"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + archives}}, nil
}

func (a apt) run(ctx context.Context, folder, tool string, args ...string) (string, error) {
	// Without the sandbox, whose user cannot write to the cache of this one.
	args = slices.Concat(a.options, []string{"-o", "APT::Sandbox::User=root"}, args)
	return run(ctx, folder, tool, args...)
}

func run(ctx context.Context, folder, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func (a apt) unpacked(ctx context.Context, cache string) (string, error) {
	kernel, err := a.kernelPackage(ctx, cache)
	if err != nil {
		return "", err
	}
	packages := append([]string{kernel}, toolPackages...)
	key, err := a.key(ctx, cache, packages)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, key)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	return folder, a.unpack(ctx, folder, packages)
}

// kernelPackage resolves the meta package, as the name of the kernel's changes
// with its version.
func (a apt) kernelPackage(ctx context.Context, cache string) (string, error) {
	out, err := a.run(ctx, cache, "apt-cache", "depends", metaPackage)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, "linux-image-") {
			return name, nil
		}
	}
	return "", fmt.Errorf("the package %s depends on no kernel", metaPackage)
}

// key stands for the versions of the packages.
func (a apt) key(ctx context.Context, cache string, packages []string) (string, error) {
	out, err := a.run(ctx, cache, "apt-cache", append([]string{"show", "--no-all-versions"}, packages...)...)
	if err != nil {
		return "", err
	}
	var sums []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "SHA256: ") {
			sums = append(sums, line)
		}
	}
	if len(sums) != len(packages) {
		return "", fmt.Errorf("apt-cache knows %d of the packages %q", len(sums), packages)
	}
	slices.Sort(sums)
	sum := sha256.Sum256([]byte(strings.Join(sums, "")))
	return hex.EncodeToString(sum[:8]), nil
}

// unpack fills folder, which appears when it is complete.
func (a apt) unpack(ctx context.Context, folder string, packages []string) error {
	partial := folder + ".partial"
	// What an interrupted run has left behind; the lock says that none is under way.
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return err
	}
	if _, err := a.run(ctx, partial, "apt-get", append([]string{"-qq", "download"}, packages...)...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(partial, "*.deb"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if _, err := run(ctx, partial, "dpkg", "-x", archive, partial); err != nil {
			return err
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	return os.Rename(partial, folder)
}
