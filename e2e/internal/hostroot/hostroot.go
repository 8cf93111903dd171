//go:build e2e

// Package hostroot makes folders that stand for the root file systems of hosts. What
// is in them is up to the caller: nothing there is of this machine.
package hostroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Root is such a folder.
type Root string

// New makes the folder, which everybody may read, where it is not there yet.
func New(folder string) (Root, error) {
	return Root(folder), os.MkdirAll(folder, 0o755)
}

// partial is the end of a name that nobody looks for.
const partial = ".partial"

// Write makes or replaces a file, at once for those who read it.
func (r Root) Write(path string, content []byte) error {
	return r.replace(path, func(name string) error { return os.WriteFile(name, content, 0o600) })
}

// Link makes or replaces a symbolic link to an absolute path of the host.
func (r Root) Link(path, to string) error {
	return r.replace(path, func(name string) error { return os.Symlink(to, name) })
}

func (r Root) replace(path string, create func(name string) error) error {
	path = filepath.Join(string(r), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	name := path + partial
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := create(name); err != nil {
		return err
	}
	return os.Rename(name, path)
}
