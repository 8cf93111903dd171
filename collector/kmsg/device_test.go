package kmsg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ack-exporter/collector"
)

const device = "/dev/kmsg"

// watched tells when a Read has returned a text.
type watched struct {
	source
	text []byte
	seen chan struct{}
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.source.Read(b)
	if w.seen != nil && bytes.Contains(b[:max(n, 0)], w.text) {
		close(w.seen)
		w.seen = nil
	}
	return n, err
}

// The real device: the follower hears what user space writes, does not believe
// it, and stops when it should.
func TestDevice(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	out := writeDevice(t)
	token := "ack-exporter test " + rand.Text()
	heard := make(chan struct{})
	c := New(Config{Path: device})
	open := c.open
	c.open = func() (source, error) {
		src, err := open()
		return &watched{source: src, text: []byte(token), seen: heard}, err
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	up := make(chan struct{})
	go func() { done <- c.Follow(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}

	before := c.snapshot()
	// <4> asks for the facility 0, the kernel's.
	for _, line := range []string{"<4>" + forged, "<4>" + token} {
		if _, err := out.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-heard:
	case err := <-done:
		t.Fatalf("the line was not heard: %v", err)
	}
	awaitPoller(t)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	after := c.snapshot()
	for i, e := range events {
		if e.name == "gpu_xid" && after.events[i] != before.events[i] {
			t.Errorf("%q from user space counts", forged)
		}
	}
	if after.malformed != 0 || !c.position.known {
		t.Errorf("%d malformed records, position %+v", after.malformed, c.position)
	}
}

// forged would be an event, were it the kernel's. No test machine writes it.
const forged = "NVRM: Xid (PCI:0000:00:08): 79, this is a test of ack-exporter"

// Every record that is in the log of this machine can be read.
func TestDeviceHistory(t *testing.T) {
	writeDevice(t)
	src, err := openDevice(device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = src.Close() }()
	// The log is read until a line of our own, so that no read has to wait.
	token := "ack-exporter test " + rand.Text()
	if err := os.WriteFile(device, []byte(token+"\n"), 0); err != nil {
		t.Fatal(err)
	}
	if err := src.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := New(Config{})
	buffer := make([]byte, bufferSize)
	for {
		n, err := src.Read(buffer)
		if errors.Is(err, syscall.EPIPE) {
			continue // the kernel has just overwritten the oldest records; the next read goes on behind them
		}
		if err != nil {
			t.Fatal(err)
		}
		last := bytes.Contains(buffer[:n], []byte(token))
		c.record(buffer[:n])
		if last {
			break
		}
	}
	counted := c.snapshot()
	if counted.malformed != 0 {
		t.Errorf("%d malformed records", counted.malformed)
	}
	t.Logf("records up to number %d; events %v, lost %d", c.position.last, counted.events, counted.lost)
}

// An ordinary user is told what is missing.
func TestDevicePermission(t *testing.T) {
	src, err := openDevice(device)
	if err == nil {
		_ = src.Close()
		return // this user may read the log
	}
	if errors.Is(err, collector.ErrNotApplicable) {
		return // there is none
	}
	if collector.ReasonOf(err) != collector.ReasonPermission || !strings.Contains(err.Error(), "CAP_SYSLOG") {
		t.Errorf("error %v of the reason %s", err, collector.ReasonOf(err))
	}
}

// writeDevice opens the log for writing, or skips the test where that is not
// allowed; E2E_REQUIRED=1 makes that a failure.
func writeDevice(t *testing.T) *os.File {
	t.Helper()
	out, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err == nil {
		t.Cleanup(func() { out.Close() })
		return out
	}
	if os.Getenv("E2E_REQUIRED") == "1" {
		t.Fatalf("E2E_REQUIRED=1: %v", err)
	}
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	t.Skipf("the kernel log is not ours to write: %v", err)
	return nil
}
