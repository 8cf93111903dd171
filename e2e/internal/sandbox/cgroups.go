//go:build e2e

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/poll"
)

// hierarchy is one of control groups, version 1.
type hierarchy struct {
	// name is its controllers, or name=... where it has none.
	name string
	// folder is the control group of the caller.
	folder string
}

// ErrNoHierarchies says that machines cannot be made.
var ErrNoHierarchies = errors.New("machines need control groups of version 1 below /sys/fs/cgroup")

// cgroupHierarchies lists those that the caller is in.
func cgroupHierarchies() ([]hierarchy, error) {
	content, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for line := range strings.Lines(string(content)) {
		// The number of the hierarchy, its controllers, the path of the group.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("/proc/self/cgroup: %q", line)
		}
		if fields[1] == "" {
			continue // version 2
		}
		folder := filepath.Join("/sys/fs/cgroup", hierarchyFolder(fields[1]), fields[2])
		if _, err := os.Stat(folder); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoHierarchies, err)
		}
		found = append(found, hierarchy{fields[1], folder})
	}
	has := func(controller string) bool {
		return slices.ContainsFunc(found, func(h hierarchy) bool { return slices.Contains(strings.Split(h.name, ","), controller) })
	}
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "devices", "freezer"} {
		if !has(controller) {
			return nil, fmt.Errorf("%w: no controller %s", ErrNoHierarchies, controller)
		}
	}
	return found, nil
}

// Machines is nil where NewMachine works.
func Machines() error {
	_, err := cgroupHierarchies()
	return err
}

// hierarchyFolder is the name of the folder where a hierarchy is mounted.
func hierarchyFolder(name string) string { return strings.TrimPrefix(name, "name=") }

// joinCgroups moves the caller into control groups: the thread through the file tasks,
// the whole process through cgroup.procs.
func joinCgroups(folders []string, file string) error {
	for _, folder := range folders {
		if err := os.WriteFile(filepath.Join(folder, file), []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

// holdCgroups keeps a control group below the caller's, in each hierarchy, until standard
// input ends; then what was in it must end too.
func holdCgroups(args []string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	var made []string
	for _, h := range hierarchies {
		folder := filepath.Join(h.folder, args[0])
		if err := makeCgroup(folder); err != nil {
			return errors.Join(err, removeCgroups(made))
		}
		made = append(made, folder)
	}
	fmt.Fprint(os.Stdout, keeperReady)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, removeCgroups(made))
}

func makeCgroup(folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	// Without CPUs and memory nothing can be put into it.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		parents, err := os.ReadFile(filepath.Join(filepath.Dir(folder), file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // another hierarchy
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, file), parents, 0); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes control groups and those below them, once they are empty.
func removeCgroups(folders []string) error {
	return poll.Until(context.Background(), keeperTimeout/2, func() error {
		var errs []error
		for _, folder := range folders {
			errs = append(errs, removeCgroup(folder))
		}
		return errors.Join(errs...)
	})
}

func removeCgroup(folder string) error {
	var below []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a container runtime has removed it
		}
		if err == nil && entry.IsDir() {
			below = append(below, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	// The innermost first.
	for _, path := range slices.Backward(below) {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return nil
}
