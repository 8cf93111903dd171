//go:build e2e

package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Machine says what a sandbox has besides, so that container runtimes and kubelets
// work in it.
type Machine struct {
	Hostname string
	// Folders are the machine's own: where they are for the caller, by their path in
	// it below /etc, /opt or /var. What is written beside them in these three is lost
	// with the machine. /run and /dev/shm are its own too, and empty.
	Folders map[string]string
	// Shown are kernel parameters of the whole machine that programs in it write, named
	// in slashes: they read these values, and what they write goes nowhere.
	Shown map[string]string
}

// machineSpec is what process 1 of a machine is told.
type machineSpec struct {
	Machine
	Cgroups     []string // the folders that it joins
	Hierarchies []string // as cgroupHierarchies names them
}

// NewMachine makes a Sandbox with namespaces for control groups, host name and IPC too.
// Its control groups are below those of the caller; its /sys/fs/cgroup shows them as
// the root of each hierarchy.
func NewMachine(ctx context.Context, m Machine) (*Sandbox, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	name := "e2e-" + strconv.Itoa(os.Getpid()) + "-" + m.Hostname
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return nil, err
	}
	cgroups, err := startKeeper(ctx, &syscall.SysProcAttr{}, roleCgroups, name)
	if err != nil {
		return nil, err
	}
	spec := machineSpec{Machine: m}
	for _, h := range hierarchies {
		spec.Cgroups = append(spec.Cgroups, filepath.Join(h.folder, name))
		spec.Hierarchies = append(spec.Hierarchies, h.name)
	}
	s, err := startMachine(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, cgroups.Stop())
	}
	s.cgroups, s.cgroupKeeper = spec.Cgroups, cgroups
	if _, err := s.Output(ctx, "", "ip", "link", "set", "lo", "up"); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func startMachine(ctx context.Context, spec machineSpec) (*Sandbox, error) {
	encoded, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	keeper, err := startKeeper(ctx, &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}, roleMachine, string(encoded))
	if err != nil {
		return nil, err
	}
	return &Sandbox{keeper: keeper, namespaces: []string{"mnt", "net", "pid", "uts", "ipc", "cgroup"}}, nil
}

// holdMachine is process 1 of a machine.
func holdMachine(args []string) error {
	var spec machineSpec
	if err := json.Unmarshal([]byte(args[0]), &spec); err != nil {
		return err
	}
	if err := joinCgroups(spec.Cgroups, "cgroup.procs"); err != nil {
		return err
	}
	// The root of the namespace is the group that one is in.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare control groups: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return err
	}
	if err := spec.mount(); err != nil {
		return err
	}
	return beFirst()
}

// mount makes the file systems of a machine.
func (m *machineSpec) mount() error {
	// Away from the caller's, and then such that containers can take part in it.
	for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|propagation, ""); err != nil {
			return fmt.Errorf("propagation of mounts: %w", err)
		}
	}
	// Programs look for control groups in the list of mounts; the caller's must not be
	// in it, not even hidden.
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount /sys: %w", err)
	}
	for _, fs := range []struct{ kind, path, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"tmpfs", "/sys/fs/cgroup", "mode=755"},
		{"tmpfs", "/run", "mode=755"},
		{"tmpfs", "/dev/shm", "mode=1777"},
	} {
		if err := unix.Mount(fs.kind, fs.path, fs.kind, 0, fs.options); err != nil {
			return fmt.Errorf("mount %s: %w", fs.path, err)
		}
	}
	for _, name := range m.Hierarchies {
		if err := mountHierarchy(name); err != nil {
			return err
		}
	}
	if err := m.mountFolders(); err != nil {
		return err
	}
	return m.show()
}

// mountFolders has each of the machine's own folders at its path, which need not be there
// on the caller's machine.
func (m *machineSpec) mountFolders() error {
	// By descriptors, in case that they are in a place that is about to be covered.
	sources := make(map[string]*os.File)
	for path, folder := range m.Folders {
		f, err := os.Open(folder)
		if err != nil {
			return err
		}
		defer f.Close()
		sources[path] = f
	}
	for _, path := range []string{"/etc", "/opt", "/var"} {
		if err := cover(path); err != nil {
			return err
		}
	}
	for path, source := range sources {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", source.Fd()), path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
	}
	return nil
}

// cover keeps what is written in a folder in memory.
func cover(path string) error {
	upper := filepath.Join("/run/covers", path)
	work := upper + ".work"
	for _, folder := range []string{upper, work} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)
	if err := unix.Mount("overlay", path, "overlay", 0, options); err != nil {
		return fmt.Errorf("cover %s: %w", path, err)
	}
	return nil
}

func mountHierarchy(name string) error {
	path := filepath.Join("/sys/fs/cgroup", hierarchyFolder(name))
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	options := name
	if strings.HasPrefix(name, "name=") {
		options = "none," + name
	}
	if err := unix.Mount("cgroup", path, "cgroup", 0, options); err != nil {
		return fmt.Errorf("mount the hierarchy %s: %w", name, err)
	}
	return nil
}

// show hides kernel parameters behind files.
func (m *machineSpec) show() error {
	for name, value := range m.Shown {
		path := filepath.Join("/run", "shown", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(path, sysctlPath(name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", sysctlPath(name), err)
		}
	}
	return nil
}
