//go:build e2e

package vm

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Initramfs writes an archive for the kernel to unpack at boot, in the format
// "newc" of cpio. The first error is kept until Close.
type Initramfs struct {
	file    *os.File
	w       *bufio.Writer
	folders map[string]bool
	inode   int
	err     error
}

// Modes of entries (cpio(5)).
const (
	modeFolder  = 0o040000
	modeDevice  = 0o020000 // with characters
	modeFile    = 0o100000
	modeSymlink = 0o120000
)

// NewInitramfs begins an archive that has /dev/console and /dev/null, without
// which process 1 has no standard input and output.
func NewInitramfs(path string) (*Initramfs, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	a := &Initramfs{file: f, w: bufio.NewWriter(f), folders: make(map[string]bool)}
	a.device("dev/console", 0o600, 5, 1)
	a.device("dev/null", 0o666, 1, 3)
	return a, nil
}

// Close ends the archive.
func (a *Initramfs) Close() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return errors.Join(a.err, a.w.Flush(), a.file.Close())
}

// Folder adds a folder, and those above it.
func (a *Initramfs) Folder(name string) {
	if name == "." || a.folders[name] {
		return
	}
	a.Folder(filepath.Dir(name))
	a.folders[name] = true
	a.entry(name, modeFolder|0o755, 0, 0, nil)
}

// File adds a file that anyone may read and execute.
func (a *Initramfs) File(name string, data []byte) {
	a.Folder(filepath.Dir(name))
	a.entry(name, modeFile|0o755, 0, 0, data)
}

// Copy adds a file of this machine.
func (a *Initramfs) Copy(name, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		a.fail(err)
		return
	}
	a.File(name, data)
}

// Symlink adds a symbolic link.
func (a *Initramfs) Symlink(name, target string) {
	a.Folder(filepath.Dir(name))
	a.entry(name, modeSymlink|0o777, 0, 0, []byte(target))
}

func (a *Initramfs) device(name string, permissions, major, minor int) {
	a.Folder(filepath.Dir(name))
	a.entry(name, modeDevice|permissions, major, minor, nil)
}

// Program adds a dynamically linked program of a folder of unpacked packages,
// with its loader and its libraries.
func (a *Initramfs) Program(folder, name string) {
	a.Copy(name, filepath.Join(folder, name))
	seen := make(map[string]bool)
	for pending := []string{filepath.Join(folder, name)}; len(pending) > 0; pending = pending[1:] {
		libraries, err := needed(pending[0])
		if err != nil {
			a.fail(err)
			return
		}
		for _, library := range libraries {
			if seen[library] {
				continue
			}
			seen[library] = true
			path, err := findLibrary(folder, library)
			if err != nil {
				a.fail(err)
				return
			}
			a.Copy("lib/"+library, path)
			pending = append(pending, path)
		}
	}
	// Where programs look for their loader.
	const loader = "ld-linux-x86-64.so.2"
	path, err := findLibrary(folder, loader)
	if err != nil {
		a.fail(err)
		return
	}
	a.Copy("lib64/"+loader, path)
}

func needed(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	libraries, err := f.ImportedLibraries()
	return libraries, errors.Join(err, f.Close())
}

func findLibrary(folder, name string) (string, error) {
	for _, lib := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"} {
		path := filepath.Join(folder, lib, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no library %s below %s", name, folder)
}

func (a *Initramfs) entry(name string, mode, major, minor int, data []byte) {
	a.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0, name)
	a.padded([]byte(header))
	a.padded(data)
}

// padded writes data up to a multiple of four bytes.
func (a *Initramfs) padded(data []byte) {
	padding := strings.Repeat("\x00", (4-len(data)%4)%4)
	if _, err := a.w.Write(append(data, padding...)); err != nil {
		a.fail(err)
	}
}

func (a *Initramfs) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}
