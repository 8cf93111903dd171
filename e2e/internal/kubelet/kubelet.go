//go:build e2e

// Package kubelet makes nodes of a cluster of package cluster: each is a machine of its
// own on which containerd, runc and a kubelet run, as on any node. Pods get addresses
// of a bridge, and reach the API and each other through the cluster's network; there is
// no kube-proxy. Images are imported from files, as nothing is pulled.
//
// containerd, runc and the plugins of the network are Debian's; the kubelet is built by
// package cluster.
package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/poll"
	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/sandbox"
)

const (
	// PauseImage is the name that the image of the first process of each pod must have.
	PauseImage = "e2e.invalid/pause:1"

	socket = "/run/containerd/containerd.sock"
	// criNamespace is where containerd keeps what belongs to Kubernetes.
	criNamespace = "k8s.io"
	// pluginFolder is where Debian puts the plugins of the network.
	pluginFolder = "/usr/lib/cni"

	// startTimeout is many times what a node takes on a quiet machine.
	startTimeout = 90 * time.Second
	stopTimeout  = 30 * time.Second
	tailBytes    = 16 << 10
)

// Folders of a node that are its own.
const (
	kubeletFolder    = "/var/lib/kubelet"
	containerdFolder = "/var/lib/containerd"
	networkFolder    = "/var/lib/cni"
	logFolder        = "/var/log"
	kubernetesFolder = "/etc/kubernetes"
)

func ownFolders() []string {
	return []string{kubeletFolder, containerdFolder, networkFolder, logFolder, kubernetesFolder}
}

// Config says what the node is.
type Config struct {
	Name string
	// Kubelet is the program.
	Kubelet string
	// Address is the node's, and PodRange, such as 10.244.1.0/24, that of its pods.
	Address, PodRange string
	// Images are archives, by the name of the image in it without a tag.
	Images map[string]string
	Labels map[string]string
}

// Node is a running node.
type Node struct {
	*sandbox.Sandbox
	config Config
	// folder has its files, by their path on the node.
	folder              string
	containerd, kubelet *process.Process
}

// Programs is nil where everything that a node needs is installed.
func Programs() error {
	var errs []error
	for _, program := range []string{"containerd", "ctr", "containerd-shim-runc-v2", "runc", "iptables"} {
		_, err := exec.LookPath(program)
		errs = append(errs, err)
	}
	for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap"} {
		_, err := os.Stat(filepath.Join(pluginFolder, plugin))
		errs = append(errs, err)
	}
	return errors.Join(append(errs, sandbox.Machines())...)
}

// Start makes a node of a cluster that has controllers, and waits until it is ready. Its
// files are in a new folder below the one that is given, until Close.
func Start(ctx context.Context, c *cluster.Cluster, below string, config Config) (*Node, error) {
	folder, err := os.MkdirTemp(below, "node-")
	if err != nil {
		return nil, err
	}
	n := &Node{config: config, folder: folder}
	if err := n.start(ctx, c); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(fmt.Errorf("node %s: %w", config.Name, err), n.Close()), n.Logs())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, c *cluster.Cluster) error {
	if err := n.makeMachine(ctx); err != nil {
		return err
	}
	if err := n.connect(ctx, c); err != nil {
		return err
	}
	if err := n.startContainerd(ctx); err != nil {
		return err
	}
	for name, archive := range n.config.Images {
		if _, err := n.Ctr(ctx, "images", "import", "--base-name", name, archive); err != nil {
			return err
		}
	}
	if err := n.startKubelet(ctx, c); err != nil {
		return err
	}
	return n.await(ctx, func() error { return ready(ctx, c, n.config.Name) })
}

func (n *Node) makeMachine(ctx context.Context) error {
	m := sandbox.Machine{
		Hostname: n.config.Name,
		Folders:  make(map[string]string),
		// A kubelet writes these, and they are the whole machine's, unless they are so.
		Shown: map[string]string{
			"vm/overcommit_memory": "1", "vm/panic_on_oom": "0",
			"kernel/panic": "10", "kernel/panic_on_oops": "1",
			"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
		},
	}
	for _, path := range ownFolders() {
		m.Folders[path] = n.path(path)
		if err := os.MkdirAll(n.path(path), 0o755); err != nil {
			return err
		}
	}
	// Where a node of ACK has its client certificates.
	if err := os.Mkdir(n.path(kubeletFolder, "pki"), 0o755); err != nil {
		return err
	}
	var err error
	n.Sandbox, err = sandbox.NewMachine(ctx, m)
	return err
}

// Folder is where one of the node's own folders is for the caller.
func (n *Node) Folder(path string) string { return n.path(path) }

// path is where a file in one of the node's own folders is for the caller.
func (n *Node) path(elements ...string) string {
	return filepath.Join(append([]string{n.folder}, elements...)...)
}

// connect gives the node its addresses in the cluster's network.
func (n *Node) connect(ctx context.Context, c *cluster.Cluster) error {
	link, err := c.Join(ctx, n.Sandbox, n.config.Address)
	if err != nil {
		return err
	}
	if err := link.Route(ctx, n.config.PodRange); err != nil {
		return err
	}
	return n.SetSysctl("net/ipv4/ip_forward", "1")
}

// await waits for a condition, but not when one of the daemons has ended.
func (n *Node) await(ctx context.Context, condition func() error) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	return poll.Until(ctx, startTimeout, func() error {
		for _, p := range []*process.Process{n.containerd, n.kubelet} {
			if p == nil {
				continue
			}
			if ended, err := p.Ended(); ended {
				giveUp(errors.Join(fmt.Errorf("%s has ended", p.Name()), err))
			}
		}
		return condition()
	})
}

func (n *Node) startContainerd(ctx context.Context) error {
	runc, err := exec.LookPath("runc")
	if err != nil {
		return err
	}
	config := n.path(kubernetesFolder, "containerd.toml")
	networks := n.path(kubernetesFolder, "net.d")
	if err := os.Mkdir(networks, 0o755); err != nil {
		return err
	}
	for path, content := range map[string]string{
		config:                                  fmt.Sprintf(containerdConfig, socket, PauseImage, runc, pluginFolder, filepath.Join(kubernetesFolder, "net.d")),
		filepath.Join(networks, "e2e.conflist"): fmt.Sprintf(networkConfig, filepath.Join(networkFolder, "networks"), n.config.PodRange),
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	// It is Close that ends it, not the context.
	n.containerd, err = process.Start(n.Sandbox, exec.CommandContext(context.WithoutCancel(ctx), "containerd",
		"--config", filepath.Join(kubernetesFolder, "containerd.toml")))
	if err != nil {
		return err
	}
	return n.await(ctx, func() error {
		_, err := n.Ctr(ctx, "version")
		return err
	})
}

func (n *Node) startKubelet(ctx context.Context, c *cluster.Cluster) error {
	kubeconfig, err := c.Kubeconfig("system:node:"+n.config.Name, "system:nodes")
	if err != nil {
		return err
	}
	for path, content := range map[string]string{
		"kubelet.yaml": fmt.Sprintf(kubeletConfig, socket, cluster.DNSAddress, cluster.Domain, filepath.Join(kubernetesFolder, "resolv.conf")),
		"resolv.conf":  "nameserver " + cluster.DNSAddress + "\n",
	} {
		if err := os.WriteFile(n.path(kubernetesFolder, path), []byte(content), 0o644); err != nil {
			return err
		}
	}
	labels := make([]string, 0, len(n.config.Labels))
	for name, value := range n.config.Labels {
		labels = append(labels, name+"="+value)
	}
	n.kubelet, err = process.Start(n.Sandbox, exec.CommandContext(context.WithoutCancel(ctx), n.config.Kubelet,
		"--config="+filepath.Join(kubernetesFolder, "kubelet.yaml"), "--kubeconfig="+kubeconfig,
		"--hostname-override="+n.config.Name, "--node-ip="+n.config.Address, "--node-labels="+strings.Join(labels, ",")))
	return err
}

// ready is nil where the API says that the node is.
func ready(ctx context.Context, c *cluster.Cluster, name string) error {
	node, err := c.Client().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return errors.New("the kubelet has not made its node")
	}
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the node is not ready: %v", node.Status.Conditions)
}

// Ctr runs containerd's own client, and returns what it printed.
func (n *Node) Ctr(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"--address", socket, "--namespace", criNamespace}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, stderr.String())
	}
	return stdout.String(), nil
}

// Logs is what the daemons and the containers said last.
func (n *Node) Logs() string {
	var logs []string
	for _, p := range []*process.Process{n.containerd, n.kubelet} {
		if p != nil {
			logs = append(logs, fmt.Sprintf("the end of what %s of %s printed:\n%s", p.Name(), n.config.Name, tail(p.Output())))
		}
	}
	files, err := filepath.Glob(n.path(logFolder, "pods", "*", "*", "*.log"))
	if err != nil {
		logs = append(logs, err.Error())
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			logs = append(logs, err.Error())
		}
		logs = append(logs, "the end of "+strings.TrimPrefix(file, n.folder)+":\n"+tail(string(b)))
	}
	return strings.Join(logs, "\n")
}

func tail(output string) string { return output[max(0, len(output)-tailBytes):] }

// Close ends everything on the node, also pods that are still there, and removes its
// files.
func (n *Node) Close() error {
	var errs []error
	for _, p := range []*process.Process{n.kubelet, n.containerd} {
		if p != nil {
			_, err := p.Stop(stopTimeout)
			errs = append(errs, err)
		}
	}
	if n.Sandbox != nil {
		errs = append(errs, n.Sandbox.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(n.folder))...)
}
