//go:build e2e

// Package node builds the exporter and starts it.
package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/sandbox"
)

// StopTimeout is how long the exporter may take to stop.
const StopTimeout = 5 * time.Second

const buildTimeout = 5 * time.Minute

// Build builds the exporter from this source.
func Build(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "ack-exporter/cmd/ack-exporter")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// Roles of the exporter.
const (
	RoleNode    = "node"
	RoleCluster = "cluster"
)

// Config says how to run the exporter.
type Config struct {
	// Binary is the path of the exporter.
	Binary string
	// Role is RoleNode where it is empty.
	Role string
	// Rootfs is where the root file system of the host is. The role node needs one; that
	// of this machine would show what is in its files.
	Rootfs string
	// Address is where it listens, in the network in which it runs.
	Address string
	// Listener, where it is not nil, is a socket on which it listens in place of
	// Address. That may be a socket of another network.
	Listener *net.TCPListener
	// Wrapper is a command that ends by executing the exporter, such as
	// setpriv with its options.
	Wrapper []string
	// Args are further flags.
	Args []string
}

// Healthy are kernel parameters of a node as ACK wants them, named in slashes. A
// new network namespace has the machine's, or the kernel's.
func Healthy() map[string]string {
	return map[string]string{
		"net/ipv4/ip_forward":             "1",
		"net/ipv4/conf/all/rp_filter":     "0",
		"net/ipv4/conf/default/rp_filter": "0",
		"net/ipv4/tcp_tw_reuse":           "2",
		"net/ipv4/ip_local_port_range":    "32768 60999",
	}
}

// passSocket says which process the socket is meant for: it is only then known
// when that runs.
var passSocket = []string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh"}

// Start starts the exporter in a sandbox.
func Start(ctx context.Context, s *sandbox.Sandbox, c Config) (*process.Process, error) {
	argv := append([]string{}, c.Wrapper...)
	listen := "--web.listen-address=" + c.Address
	if c.Listener != nil {
		argv = append(argv, passSocket...)
		listen = "--web.systemd-socket"
	}
	if c.Role == RoleCluster {
		argv = append(argv, c.Binary, RoleCluster, listen)
	} else {
		argv = append(argv, c.Binary, RoleNode, listen, "--path.procfs=/proc", "--path.rootfs="+c.Rootfs)
	}
	argv = append(argv, c.Args...)
	// It is Stop that ends the exporter, not the context.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	if c.Listener != nil {
		f, err := c.Listener.File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		cmd.ExtraFiles = []*os.File{f}
	}
	return process.Start(s, cmd)
}
