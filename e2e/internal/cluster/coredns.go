//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/sandbox"
)

const (
	coreDNSAccount = "coredns"
	// corefilePath is where the ConfigMap is in a pod of CoreDNS. The path is part
	// of the hash by which CoreDNS tells Corefiles apart.
	corefilePath = "/etc/coredns/Corefile"

	coreDNSStartTimeout = 30 * time.Second
	// coreDNSStopTimeout is longer than the lameduck of any Corefile.
	coreDNSStopTimeout = 60 * time.Second
)

// DefaultCorefile has the plugins that ACK sets up.
const DefaultCorefile = `.:53 {
    errors
    health {
        lameduck 15s
    }
    ready
    kubernetes ` + Domain + ` in-addr.arpa ip6.arpa {
        pods verified
        ttl 30
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf {
        prefer_udp
    }
    cache 30
    loop
    reload
    loadbalance
}
`

// coreDNSRoles are what CoreDNS may do, as its own manifests say.
const coreDNSRoles = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:coredns"}
rules:
- {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:coredns"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns"}
subjects: [{kind: ServiceAccount, name: ` + coreDNSAccount + `, namespace: kube-system}]
`

// CoreDNSOptions say how to run CoreDNS.
type CoreDNSOptions struct {
	// Address is the pod's IP.
	Address string
	// Corefile is what the ConfigMap would have. It must serve port 53.
	Corefile string
	// Nameservers are those of the pod's /etc/resolv.conf.
	Nameservers []string
}

// CoreDNS is a CoreDNS in a sandbox of its own, as in a pod: it finds its Corefile
// and the API where it does there, so that a Corefile needs no change to be run.
type CoreDNS struct {
	Address string
	// Sandbox is the pod, Link its connection.
	Sandbox *sandbox.Sandbox
	Link    *Link

	program     string
	environment []string
	process     *process.Process
}

// CoreDNS starts a CoreDNS in a sandbox that has nothing else, and waits until it
// listens. The API knows of no pod: that is for the caller to write.
func (c *Cluster) CoreDNS(ctx context.Context, s *sandbox.Sandbox, options CoreDNSOptions) (*CoreDNS, error) {
	d := &CoreDNS{Address: options.Address, Sandbox: s, program: c.binaries.CoreDNS}
	var err error
	if d.Link, err = c.Join(ctx, s, options.Address); err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, []byte(coreDNSRoles)); err != nil {
		return nil, err
	}
	if d.environment, err = c.InCluster(ctx, s, metav1.NamespaceSystem, coreDNSAccount); err != nil {
		return nil, err
	}
	if err := d.prepare(ctx, options); err != nil {
		return nil, err
	}
	if err := d.Start(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close ends CoreDNS, where it runs.
func (d *CoreDNS) Close() error {
	if d.process == nil {
		return nil
	}
	if err := kill(d.process); err != nil {
		return fmt.Errorf("CoreDNS at %s: %w", d.Address, err)
	}
	return nil
}

// Logs is what it said last.
func (d *CoreDNS) Logs() string { return d.Address + ": " + lastWords(d.process) }

// prepare makes the pod's /etc.
func (d *CoreDNS) prepare(ctx context.Context, options CoreDNSOptions) error {
	if err := mountMemory(ctx, d.Sandbox, "/etc", "mode=755"); err != nil {
		return err
	}
	var resolvers strings.Builder
	for _, nameserver := range options.Nameservers {
		fmt.Fprintf(&resolvers, "nameserver %s\n", nameserver)
	}
	return errors.Join(
		os.WriteFile(d.Sandbox.Path("/etc/resolv.conf"), []byte(resolvers.String()), 0o644),
		os.Mkdir(d.Sandbox.Path(filepath.Dir(corefilePath)), 0o755),
		d.SetCorefile(options.Corefile),
	)
}

// Start starts CoreDNS again, after Stop or Kill, and waits until it listens.
func (d *CoreDNS) Start(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), d.program, "-conf", corefilePath)
	cmd.Dir, cmd.Env = "/", d.environment
	var err error
	if d.process, err = process.Start(d.Sandbox, cmd); err != nil {
		return err
	}
	err = await(ctx, coreDNSStartTimeout, func(ctx context.Context) error {
		conn, err := d.Sandbox.Dial(ctx, "tcp", net.JoinHostPort(d.Address, "53"))
		if err != nil {
			return fmt.Errorf("CoreDNS does not listen: %w", err)
		}
		return conn.Close()
	}, d.process)
	if err != nil {
		return fmt.Errorf("CoreDNS at %s: %w\n%s", d.Address, err, lastWords(d.process))
	}
	return nil
}

// PID is the process id, as the caller sees it.
func (d *CoreDNS) PID() int { return d.process.PID() }

// Output is what the running or the last process has printed.
func (d *CoreDNS) Output() string { return d.process.Output() }

// Stop asks CoreDNS to stop, as a kubelet does, and waits until it has: that
// includes the lameduck of its Corefile.
func (d *CoreDNS) Stop() error {
	_, err := d.process.Stop(coreDNSStopTimeout)
	return err
}

// Terminate only asks: CoreDNS goes through its lameduck in the meantime.
func (d *CoreDNS) Terminate() error { return signal(d.process, syscall.SIGTERM) }

// Kill ends CoreDNS as a crash would.
func (d *CoreDNS) Kill() error { return kill(d.process) }

// Pause keeps CoreDNS from answering; what is sent to it is neither refused nor
// lost.
func (d *CoreDNS) Pause() error { return signal(d.process, syscall.SIGSTOP) }

// Resume is the end of Pause.
func (d *CoreDNS) Resume() error { return signal(d.process, syscall.SIGCONT) }

// SetCorefile changes the Corefile in one moment. CoreDNS sees it when its plugin
// reload looks next, if it has that.
func (d *CoreDNS) SetCorefile(corefile string) error {
	path := d.Sandbox.Path(corefilePath)
	return errors.Join(os.WriteFile(path+".new", []byte(corefile), 0o644), os.Rename(path+".new", path))
}

// Reload changes the Corefile and has CoreDNS load it now. It does not wait for
// that; a Corefile that is wrong leaves the old one in force.
func (d *CoreDNS) Reload(corefile string) error {
	if err := d.SetCorefile(corefile); err != nil {
		return err
	}
	return signal(d.process, syscall.SIGUSR1)
}
