package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead over, as in the kernel.
const maxLinks = 40

// Errors of a Root, besides those of the file system.
var (
	// ErrNotRegular: a FIFO, a socket, a device or a directory where a file should be.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge: more than the caller wants to read.
	ErrTooLarge = errors.New("too large")
	// ErrLoop: symbolic links in a circle.
	ErrLoop = errors.New("too many symbolic links")
	// ErrDangling: a symbolic link that leads nowhere.
	ErrDangling = errors.New("symbolic link that leads nowhere")
)

// Root is the root directory of the host, seen from wherever it is mounted. Names in
// it are absolute paths on the host. Symbolic links lead where they lead on the host,
// also absolute ones, and never out of the root.
//
// The links are followed here, one by one, because openat2(2), which can do the same,
// needs Linux 5.6. That nothing leaves the root, also where somebody exchanges a
// directory for a link in between, is what os.Root ensures.
type Root struct{ root *os.Root }

// OpenRoot opens the directory where the host's root is mounted.
func OpenRoot(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Root{root}, nil
}

// Close closes the directory.
func (r *Root) Close() error { return r.root.Close() }

// Stat describes what is at name, behind all links. A name that is not there is
// fs.ErrNotExist, a link that leads nowhere ErrDangling.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	resolved, err := r.resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := r.root.Lstat(resolved)
	return info, named(name, err)
}

// ReadFile reads a regular file of at most limit bytes. It never waits for the other
// end of a FIFO, and opens no device.
func (r *Root) ReadFile(name string, limit int) ([]byte, error) {
	f, err := r.open(name, fs.FileMode.IsRegular)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, named(name, err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLarge, limit)
	}
	return b, nil
}

// ReadDir lists at most limit entries of a directory, by name. Where there are more
// it is ErrTooLarge as well.
func (r *Root) ReadDir(name string, limit int) ([]fs.DirEntry, error) {
	f, err := r.open(name, fs.FileMode.IsDir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var entries []fs.DirEntry
	for len(entries) <= limit {
		more, err := f.ReadDir(limit + 1 - len(entries))
		entries = append(entries, more...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, named(name, err)
		}
	}
	if len(entries) > limit {
		entries = entries[:limit]
		err = fmt.Errorf("%s: %w: more than %d entries", name, ErrTooLarge, limit)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// open opens what is at name if it is of the kind. It asks before, since opening a
// device can do something, and again afterwards, since it can be another file by then.
func (r *Root) open(name string, kind func(fs.FileMode) bool) (*os.File, error) {
	resolved, err := r.resolve(name)
	if err != nil {
		return nil, err
	}
	info, err := r.root.Lstat(resolved)
	if err != nil {
		return nil, named(name, err)
	}
	if !kind(info.Mode()) {
		return nil, fmt.Errorf("%s: %w: %s", name, ErrNotRegular, info.Mode())
	}
	f, err := r.root.OpenFile(resolved, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, named(name, err)
	}
	if info, err = f.Stat(); err != nil || !kind(info.Mode()) {
		return nil, errors.Join(named(name, err), fmt.Errorf("%s: %w", name, ErrNotRegular), f.Close())
	}
	return f, nil
}

// resolve finds the name, relative to the root, that name has without links.
func (r *Root) resolve(name string) (string, error) {
	rest := strings.Split(name, "/")
	own := len(rest) // how many of rest, at its end, are not from a link
	links := 0
	resolved := "."
	for len(rest) > 0 {
		part := rest[0]
		fromLink := len(rest) > own
		rest = rest[1:]
		own = min(own, len(rest))
		if part == ".." {
			resolved = path.Dir(resolved)
			continue
		}
		next := path.Join(resolved, part)
		target, err := r.root.Readlink(next)
		switch {
		case errors.Is(err, syscall.EINVAL): // not a link
			resolved = next
			continue
		case errors.Is(err, fs.ErrNotExist) && fromLink:
			return "", fmt.Errorf("%s: %w: %s", name, ErrDangling, next)
		case err != nil:
			return "", named(name, err)
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: %w", name, ErrLoop)
		}
		if path.IsAbs(target) {
			resolved = "."
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return resolved, nil
}

// named puts the name on the host into an error, in the place of that below the root.
func named(name string, err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: pathError.Op, Path: name, Err: pathError.Err}
	}
	return err
}
