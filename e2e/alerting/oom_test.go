//go:build e2e

package alerting

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/monitoring/monitoringtest"
	"ack-exporter/e2e/internal/world"
)

const (
	// memoryLimit is less than a Go program needs that devours twice as much.
	memoryLimit = 32 << 20
	kills       = 3
)

// TestOutOfMemory lets the kernel kill processes that use up the memory of their
// control group, as a container does that reaches its limit. It does not run
// beside tests that read the kernel log as well, and with all collectors.
func TestOutOfMemory(t *testing.T) {
	w := healthyNode(t)
	folder := memoryGroup(t)
	ready(t, w, exporter.Config{})
	s := monitoringtest.New(t, w, monitoringtest.Options{
		Config:  fmt.Sprintf(`{ alerts+: { ACKContainersOutOfMemory: { warning: { atLeast: %d, window: '20s', 'for': '0s' } } } }`, kills-1),
		Targets: []monitoringtest.Endpoint{monitoringtest.Target(firstAddress, firstNode, "pod-1")},
	})
	for range kills {
		requireKilled(t, folder)
	}
	alert := monitoringtest.Alert{
		Name: "ACKContainersOutOfMemory", Severity: monitoringtest.Warning, Node: firstNode,
		Description: `The kernel of node node-a killed processes \d+ times within the last 20s because their containers had used up their memory\.`,
	}
	s.Fires(alert)
	s.Resolves(alert)
	s.Done()
}

// memoryGroup makes a control group below the one of the tests, in either of the
// two kinds of hierarchy.
func memoryGroup(t *testing.T) string {
	t.Helper()
	parent, limit, err := memoryHierarchy()
	world.Require(t, err == nil, fmt.Sprintf("there is no memory controller: %v", err))
	folder, err := os.MkdirTemp(parent, "ack-exporter-e2e-")
	world.Require(t, err == nil, fmt.Sprintf("no control group can be made: %v", err))
	t.Cleanup(func() {
		// Not RemoveAll: the files in it are the kernel's.
		if err := os.Remove(folder); err != nil {
			t.Error(err)
		}
	})
	err = os.WriteFile(filepath.Join(folder, limit), []byte(strconv.Itoa(memoryLimit)), 0)
	world.Require(t, err == nil, fmt.Sprintf("the memory of a control group cannot be limited: %v", err))
	return folder
}

// memoryHierarchy is the folder of our own control group, and the file that has
// its limit.
func memoryHierarchy() (folder, limit string, err error) {
	content, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", "", err
	}
	unified := ""
	for line := range strings.Lines(string(content)) {
		// 4:memory:/path, or 0::/path where there is one hierarchy for all.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[1] == "memory":
			return filepath.Join("/sys/fs/cgroup/memory", fields[2]), "memory.limit_in_bytes", nil
		case fields[0] == "0":
			unified = filepath.Join("/sys/fs/cgroup", fields[2])
		}
	}
	// Only a group without processes hands its controllers down; so not below our own.
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
	if err != nil || !bytes.Contains(controllers, []byte("memory")) {
		return "", "", errors.Join(fmt.Errorf("neither in %q nor for all", unified), err)
	}
	return "/sys/fs/cgroup", "memory.max", nil
}

// requireKilled runs a process that uses up the memory of a control group.
func requireKilled(t *testing.T, folder string) {
	t.Helper()
	cmd, err := world.RoleCommand(t.Context(), "devour", filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != unix.SIGKILL {
		t.Fatalf("the process was not killed: %v\n%s", err, out)
	}
}

// devour enters a control group and uses up its memory.
func devour(args []string) error {
	if err := os.WriteFile(args[0], []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	_ = bytes.Repeat([]byte{1}, 2*memoryLimit)
	return errors.New("there was memory enough")
}
