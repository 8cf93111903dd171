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
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/world"
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

// CoreDNS is a CoreDNS in a world of its own, as in a pod: it finds its Corefile
// and the API where it does there, so that a Corefile needs no change to be run.
type CoreDNS struct {
	Address string
	// World is the pod, Link its connection.
	World *world.World
	Link  *Link

	program     string
	environment []string
	process     *process.Process
}

// CoreDNS starts a CoreDNS and waits until it listens. It ends with the test. The
// API knows of no pod: that is for the test to write.
func (c *Cluster) CoreDNS(t testing.TB, options CoreDNSOptions) *CoreDNS {
	t.Helper()
	d := &CoreDNS{Address: options.Address, World: world.New(t), program: Binary(t, programCoreDNS)}
	d.Link = c.Join(t, d.World, options.Address)
	c.Apply(t, []byte(coreDNSRoles))
	d.environment = c.InCluster(t, d.World, metav1.NamespaceSystem, coreDNSAccount)
	if err := d.prepare(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.process == nil {
			return
		}
		if t.Failed() {
			t.Logf("the end of what CoreDNS at %s printed:\n%s", d.Address, tail(d.process.Output()))
		}
		if err := kill(d.process); err != nil {
			t.Errorf("CoreDNS at %s: %v", d.Address, err)
		}
	})
	d.Start(t)
	return d
}

// prepare makes the pod's /etc.
func (d *CoreDNS) prepare(ctx context.Context, options CoreDNSOptions) error {
	if err := mountMemory(ctx, d.World.Sandbox, "/etc", "mode=755"); err != nil {
		return err
	}
	var resolvers strings.Builder
	for _, nameserver := range options.Nameservers {
		fmt.Fprintf(&resolvers, "nameserver %s\n", nameserver)
	}
	return errors.Join(
		os.WriteFile(d.World.Path("/etc/resolv.conf"), []byte(resolvers.String()), 0o644),
		os.Mkdir(d.World.Path(filepath.Dir(corefilePath)), 0o755),
		d.writeCorefile(options.Corefile),
	)
}

// writeCorefile changes the file in one moment.
func (d *CoreDNS) writeCorefile(corefile string) error {
	path := d.World.Path(corefilePath)
	return errors.Join(os.WriteFile(path+".new", []byte(corefile), 0o644), os.Rename(path+".new", path))
}

// Start starts CoreDNS again, after Stop or Kill, and waits until it listens.
func (d *CoreDNS) Start(t testing.TB) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), d.program, "-conf", corefilePath)
	cmd.Dir, cmd.Env = "/", d.environment
	var err error
	if d.process, err = process.Start(d.World.Sandbox, cmd); err != nil {
		t.Fatal(err)
	}
	world.Eventually(t, coreDNSStartTimeout, func() error {
		if ended, err := d.process.Ended(); ended {
			t.Fatalf("CoreDNS at %s has ended: %v\n%s", d.Address, err, tail(d.process.Output()))
		}
		conn, err := d.World.Dial(t.Context(), "tcp", net.JoinHostPort(d.Address, "53"))
		if err != nil {
			return fmt.Errorf("CoreDNS does not listen: %w", err)
		}
		return conn.Close()
	})
}

// PID is the process id, as the tests see it.
func (d *CoreDNS) PID() int { return d.process.PID() }

// Output is what the running or the last process has printed.
func (d *CoreDNS) Output() string { return d.process.Output() }

// Stop asks CoreDNS to stop, as a kubelet does, and waits until it has: that
// includes the lameduck of its Corefile.
func (d *CoreDNS) Stop(t testing.TB) {
	t.Helper()
	if _, err := d.process.Stop(coreDNSStopTimeout); err != nil {
		t.Fatal(err)
	}
}

// Terminate only asks: CoreDNS goes through its lameduck in the meantime.
func (d *CoreDNS) Terminate(t testing.TB) {
	t.Helper()
	signal(t, d.process, syscall.SIGTERM)
}

// Kill ends CoreDNS as a crash would.
func (d *CoreDNS) Kill(t testing.TB) {
	t.Helper()
	if err := kill(d.process); err != nil {
		t.Fatal(err)
	}
}

// Pause keeps CoreDNS from answering; what is sent to it is neither refused nor
// lost.
func (d *CoreDNS) Pause(t testing.TB) {
	t.Helper()
	signal(t, d.process, syscall.SIGSTOP)
}

// Resume is the end of Pause.
func (d *CoreDNS) Resume(t testing.TB) {
	t.Helper()
	signal(t, d.process, syscall.SIGCONT)
}

// SetCorefile changes the Corefile. CoreDNS sees it when its plugin reload looks
// next, if it has that.
func (d *CoreDNS) SetCorefile(t testing.TB, corefile string) {
	t.Helper()
	if err := d.writeCorefile(corefile); err != nil {
		t.Fatal(err)
	}
}

// Reload changes the Corefile and has CoreDNS load it now. It does not wait for
// that; a Corefile that is wrong leaves the old one in force.
func (d *CoreDNS) Reload(t testing.TB, corefile string) {
	t.Helper()
	d.SetCorefile(t, corefile)
	signal(t, d.process, syscall.SIGUSR1)
}
