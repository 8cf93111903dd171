//go:build e2e

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// record is what the test outside reads. Its format is told in ../internal/vm.
type record struct {
	port     *os.File
	sections int
}

func openRecord(path string) (*record, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	settings, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	settings.Oflag &^= unix.OPOST // else a line feed becomes two bytes
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, settings); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &record{port: f}, nil
}

// section writes a section. Where the port breaks, the record has no end.
func (r *record) section(name, body string) {
	r.sections++
	fmt.Fprintf(r.port, "@@BEGIN %s %d\n%s\n@@END\n", name, len(body), body)
}

// end writes the last line, and waits until it has left the machine.
func (r *record) end(err error) {
	if err != nil {
		fmt.Fprintf(r.port, "@@FAIL %v\n", err)
	} else {
		fmt.Fprintf(r.port, "@@PASS %d\n", r.sections)
	}
	if err := unix.IoctlSetInt(int(r.port.Fd()), unix.TCSBRK, 1); err != nil { // tcdrain(3)
		fmt.Fprintf(os.Stderr, "guest: drain the record: %v\n", err)
	}
}
