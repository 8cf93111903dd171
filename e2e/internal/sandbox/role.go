//go:build e2e

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// roleVariable names the role of a re-executed program.
const roleVariable = "ACK_E2E_ROLE"

// A Role is what a re-executed program does in place of its own work.
type Role func(args []string) error

// Roles of the package itself.
const (
	roleHold    = "hold"
	roleSysctl  = "sysctl"
	roleMachine = "machine"
	roleCgroups = "cgroups"
)

func init() {
	// The first thread stands for the whole process in /proc/self, and does not
	// end with its goroutine. Pinning it here keeps it from being the one that
	// enters a sandbox.
	runtime.LockOSThread()
}

// Play plays the role that a parent asked for, if there is one.
func Play(roles map[string]Role) (played bool, err error) {
	name := os.Getenv(roleVariable)
	if name == "" {
		return false, nil
	}
	role, ok := map[string]Role{
		roleHold: hold, roleSysctl: holdSysctl, roleMachine: holdMachine, roleCgroups: holdCgroups,
	}[name]
	if !ok {
		role, ok = roles[name]
	}
	if !ok {
		return true, fmt.Errorf("%s: no such role", name)
	}
	if err := role(os.Args[1:]); err != nil {
		return true, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

// RoleCommand is a command that plays a role of this program.
func RoleCommand(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	return cmd, nil
}

// Keeper is a child that keeps something up until its standard input ends: that
// happens in an orderly stop, and also where this process is killed.
type Keeper struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	close  func() error
}

const (
	keeperReady   = "ready\n"
	keeperTimeout = 30 * time.Second
)

// startKeeper starts a keeper and waits for the line by which it says that all is up.
func startKeeper(ctx context.Context, attr *syscall.SysProcAttr, role string, args ...string) (*Keeper, error) {
	// It is Stop that ends a keeper, not the context.
	cmd, err := RoleCommand(context.WithoutCancel(ctx), role, args...)
	if err != nil {
		return nil, err
	}
	k := &Keeper{cmd: cmd}
	cmd.Stderr = &k.stderr
	// A session of its own, so that an interrupt from the terminal ends the
	// program, and the end of the program ends the keeper, in this order.
	attr.Setsid = true
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	k.close = stdin.Close
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	line := make([]byte, len(keeperReady))
	if n, err := stdout.Read(line); err != nil || string(line[:n]) != keeperReady {
		return nil, fmt.Errorf("%s did not start: %w", role, errors.Join(err, k.Stop()))
	}
	return k, nil
}

// Stop ends the keeper and what it kept up.
func (k *Keeper) Stop() error {
	kill := time.AfterFunc(keeperTimeout, func() { _ = k.cmd.Process.Kill() })
	defer kill.Stop()
	_ = k.close()
	if err := k.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, k.stderr.String())
	}
	return nil
}
