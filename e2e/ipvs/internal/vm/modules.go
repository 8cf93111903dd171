//go:build e2e

package vm

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Kernel is a kernel in a folder of unpacked packages.
type Kernel struct {
	// Image is what the machine boots.
	Image string
	// Release is its version, as uname -r prints it.
	Release string

	files   map[string]string // of the modules, by name
	builtin map[string]bool
}

// FindKernel finds the only kernel in folder.
func FindKernel(folder string) (*Kernel, error) {
	images, err := filepath.Glob(filepath.Join(folder, "boot", "vmlinuz-*"))
	if err != nil {
		return nil, err
	}
	if len(images) != 1 {
		return nil, fmt.Errorf("%d kernels below %s", len(images), folder)
	}
	k := &Kernel{
		Image:   images[0],
		Release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-"),
		files:   make(map[string]string),
		builtin: make(map[string]bool),
	}
	for _, lib := range []string{"lib", "usr/lib"} { // Debian 12; from 13 on
		modules := filepath.Join(folder, lib, "modules", k.Release)
		if _, err := os.Stat(modules); err == nil {
			return k, k.index(modules)
		}
	}
	return nil, fmt.Errorf("no modules of %s below %s", k.Release, folder)
}

func (k *Kernel) index(folder string) error {
	builtin, err := os.ReadFile(filepath.Join(folder, "modules.builtin"))
	if err != nil {
		return err
	}
	for file := range strings.FieldsSeq(string(builtin)) {
		k.builtin[moduleName(file)] = true
	}
	return filepath.WalkDir(filepath.Join(folder, "kernel"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			k.files[moduleName(path)] = path
		}
		return err
	})
}

// moduleName is the name by which modules refer to the one in this file.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// Module is a kernel module as the kernel takes it.
type Module struct {
	Name string
	Data []byte
}

// Modules returns the modules of these names and those that they need, in the
// order in which they can be loaded. An unpacked package has no modules.dep, so
// the modules themselves are asked.
func (k *Kernel) Modules(ctx context.Context, names ...string) ([]Module, error) {
	var ordered []Module
	seen := make(map[string]bool)
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		if seen[name] || k.builtin[name] {
			return nil
		}
		seen[name] = true
		m, needs, err := k.read(ctx, name)
		if err != nil {
			return err
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		ordered = append(ordered, m)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// read reads one module, and the names of those that it needs.
func (k *Kernel) read(ctx context.Context, name string) (Module, []string, error) {
	path, ok := k.files[name]
	if !ok {
		return Module{}, nil, fmt.Errorf("kernel %s has no module %s", k.Release, name)
	}
	data, err := readModule(ctx, path)
	if err != nil {
		return Module{}, nil, err
	}
	needs, err := dependencies(data)
	if err != nil {
		return Module{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return Module{name, data}, needs, nil
}

func readModule(ctx context.Context, path string) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".ko":
		return os.ReadFile(path)
	case ".xz": // from Debian 13 on
		out, err := run(ctx, "", "xz", "-dc", path)
		return []byte(out), err
	default:
		return nil, fmt.Errorf("%s: compressed in an unknown way", path)
	}
}

// dependencies reads the line depends= of a module.
func dependencies(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
