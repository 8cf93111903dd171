//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// modprobeLog lists the calls of modprobe, one a line.
const modprobeLog = "/run/modprobe.log"

// recordModprobe is what runs where anyone, the kernel included, asks for a
// module. It loads nothing.
func recordModprobe() {
	caller, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", os.Getppid()))
	if err != nil {
		caller = "the kernel" // its threads have no program
	}
	f, err := os.OpenFile(modprobeLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintf(os.Stderr, "modprobe: %v\n", err)
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s, called by %s\n", strings.Join(os.Args, " "), caller)
}

// forgetModprobe empties the list of calls.
func forgetModprobe() error { return os.WriteFile(modprobeLog, nil, 0o644) }

// modules are the files of kernel modules, in the order in which they can be
// loaded: their names begin with a number.
type modules []string

// findModules tells the modules of IPVS from those that it needs.
func findModules() (needed, ipvs modules, err error) {
	files, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		if strings.HasPrefix(moduleName(file), "ip_vs") {
			ipvs = append(ipvs, file)
		} else {
			needed = append(needed, file)
		}
	}
	return needed, ipvs, nil
}

// moduleName is the name of a module in a file like /modules/07-ip_vs_rr.ko.
func moduleName(file string) string {
	_, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".ko"), "-")
	return name
}

func (m modules) load() error {
	for _, file := range m {
		if err := loadModule(file); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("load %s: %w", file, err)
	}
	return nil
}

// unload removes the modules, the last loaded first. One can be in use for a
// moment longer than its last user.
func (m modules) unload(ctx context.Context) error {
	for _, file := range slices.Backward(m) {
		name := moduleName(file)
		err := eventually(ctx, 20*time.Second, func() error { return unix.DeleteModule(name, unix.O_NONBLOCK) })
		if err != nil {
			return fmt.Errorf("unload %s: %w", name, err)
		}
	}
	return nil
}

// eventually calls f again and again until it returns nil, or returns its last
// error after the deadline.
func eventually(ctx context.Context, within time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}
