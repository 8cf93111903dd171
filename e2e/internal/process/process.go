//go:build e2e

// Package process runs programs in a sandbox, and keeps what they print.
package process

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ack-exporter/e2e/internal/sandbox"
)

// Process is a running program.
type Process struct {
	cmd    *exec.Cmd
	output lockedBuffer
	ended  chan struct{} // closed when the process has ended
	err    error         // how it ended; valid from then on
	killed bool          // on purpose
}

// Start starts a program. It ends at the latest with the sandbox.
func Start(s *sandbox.Sandbox, cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	// An interrupt from the terminal is for us: we end the program when its turn
	// comes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.Start(cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID is the process id, as the caller sees it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Name is that of the program.
func (p *Process) Name() string { return filepath.Base(p.cmd.Path) }

// Output is what it has printed so far.
func (p *Process) Output() string { return p.output.String() }

// Ended tells, without waiting, whether the process has ended, and how.
func (p *Process) Ended() (ended bool, err error) {
	select {
	case <-p.ended:
		return true, p.exitError()
	default:
		return false, nil
	}
}

// Stop tells the process to stop and says how long it took. It is an error where
// that is longer than within, or the exit status is not 0. A second call is
// empty.
func (p *Process) Stop(within time.Duration) (time.Duration, error) {
	if ended, err := p.Ended(); ended {
		return 0, err
	}
	start := time.Now()
	// That it has just ended shows below.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return time.Since(start), p.exitError()
	case <-time.After(within):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return time.Since(start), fmt.Errorf("%s still ran %s after SIGTERM", p.Name(), within)
	}
}

// Kill ends the process as a crash would; for Stop that is no error.
func (p *Process) Kill() error {
	p.killed = true
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

func (p *Process) exitError() error {
	if p.err != nil && !p.killed {
		return fmt.Errorf("%s ended with %w", p.Name(), p.err)
	}
	return nil
}

// lockedBuffer can be read while a process still writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
