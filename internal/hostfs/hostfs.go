// Package hostfs reads small files of the host, and tells whether the process
// shares the host's network namespace, which decides what those files say.
package hostfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"ack-exporter/collector"
)

// maxFile bounds every file that is read whole. The largest of them has a line of
// 155 bytes for each CPU, and Linux knows at most 8,192 of these.
const maxFile = 2 << 20

// ReadFile reads a small file whole. A file above the bound is an error of the
// kind collector.ErrDecode, never a part of the file.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes: %w", path, maxFile, collector.ErrDecode)
	}
	return b, nil
}

// ReadFields reads a file that holds whitespace-separated unsigned integers, as
// most files under /proc/sys do, and returns exactly n of them.
func ReadFields(path string, n int) ([]uint64, error) {
	b, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	fields := bytes.Fields(b)
	if len(fields) != n {
		return nil, fmt.Errorf("%s: %d values instead of %d: %w", path, len(fields), n, collector.ErrDecode)
	}
	values := make([]uint64, n)
	for i, field := range fields {
		values[i], err = strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: value %d is no unsigned integer: %w", path, i+1, collector.ErrDecode)
		}
	}
	return values, nil
}

// ReadUint reads a file that holds one unsigned integer.
func ReadUint(path string) (uint64, error) {
	values, err := ReadFields(path, 1)
	if err != nil {
		return 0, err
	}
	return values[0], nil
}

// Procfs is the mount point of a proc file system: the host's own, or the host's
// as seen through a mount in a container.
type Procfs string

// Path joins elements to the mount point.
func (p Procfs) Path(elements ...string) string {
	return filepath.Join(append([]string{string(p)}, elements...)...)
}

// Sysctl is the file of a kernel parameter named in slashes, as in
// "net/ipv4/ip_forward". Under net/ it shows the value of the reader's network
// namespace, whichever proc file system it is read through.
func (p Procfs) Sysctl(name string) string { return p.Path("sys", name) }

// ErrHostUnknown says that the process cannot tell whether it is in the host's network
// namespace.
var ErrHostUnknown = fmt.Errorf("cannot tell whether this is the host's network namespace: %w", collector.ErrUnavailable)

// InHostNetwork reports whether this process is in the network namespace of
// process 1 of this proc file system.
//
// It compares the inode of one file that the kernel makes anew for every network
// namespace (fs/proc/proc_net.c, fs/proc/generic.c: proc_alloc_inum), reached by
// way of both processes. Unlike reading the link /proc/1/ns/net, that needs no
// privilege.
//
// Where process 1 is this process itself, as in a container that sees only its
// own processes, the question has no answer: ErrHostUnknown.
func (p Procfs) InHostNetwork() (bool, error) {
	self, err := os.Readlink(p.Path("self"))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrHostUnknown, err)
	}
	if strings.TrimSpace(self) == "1" {
		return false, fmt.Errorf("%w: process 1 of %s is this process; mount the host's /proc and name it by --path.procfs", ErrHostUnknown, string(p))
	}
	own, err := inode(p.Path("self", "net", "dev"))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrHostUnknown, err)
	}
	host, err := inode(p.Path("1", "net", "dev"))
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrHostUnknown, err)
	}
	return own == host, nil
}

type fileID struct{ device, inode uint64 }

func inode(path string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return fileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return fileID{device: st.Dev, inode: st.Ino}, nil
}

// Sysfs is the mount point of the host's sysfs.
type Sysfs string

// OnlineCPUs is the number of CPUs that are online
// (Documentation/ABI/testing/sysfs-devices-system-cpu: cpu/online).
func (s Sysfs) OnlineCPUs() (int, error) {
	path := filepath.Join(string(s), "devices/system/cpu/online")
	b, err := ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := countCPUs(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// IsECS reports whether the host is an ECS instance, by what its firmware says of
// the machine (Documentation/ABI/testing/sysfs-class-dmi: sys_vendor,
// product_name). A machine that says nothing is none.
func (s Sysfs) IsECS() (bool, error) {
	for _, field := range []struct{ name, want string }{
		{"sys_vendor", "Alibaba Cloud"},
		{"product_name", "Alibaba Cloud ECS"},
	} {
		b, err := ReadFile(filepath.Join(string(s), "class/dmi/id", field.name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if strings.TrimSpace(string(b)) != field.want {
			return false, nil
		}
	}
	return true, nil
}

// countCPUs counts the members of a list such as "0-3,5".
func countCPUs(list string) (int, error) {
	n := 0
	for item := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if errA != nil || errB != nil || a > b {
			return 0, fmt.Errorf("%.40q in the list of CPUs is no range: %w", item, collector.ErrDecode)
		}
		n += int(b-a) + 1
	}
	return n, nil
}
