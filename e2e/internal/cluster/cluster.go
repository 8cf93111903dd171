//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/poll"
	"ack-exporter/e2e/internal/process"
	"ack-exporter/e2e/internal/sandbox"
)

const (
	// Domain is the cluster's DNS domain.
	Domain = "cluster.local"
	// ServiceRange is where the API server takes cluster IPs from.
	ServiceRange = "10.96.0.0/16"
	// DNSAddress is the cluster IP that a Service kube-dns should ask for.
	DNSAddress = "10.96.0.10"
	// APIAddress is where the API server listens: the cluster IP of the Service
	// kubernetes, which is there without a kube-proxy.
	APIAddress = "10.96.0.1"
	apiPort    = "443"
	apiServer  = "https://" + APIAddress + ":" + apiPort

	// controlPlaneAddress is the endpoint of the Service kubernetes.
	controlPlaneAddress = "192.168.255.254"

	etcdURL     = "http://127.0.0.1:2379"
	etcdPeerURL = "http://127.0.0.1:2380"
	issuer      = "https://kubernetes.default.svc." + Domain

	// startTimeout is many times what the API server takes on a quiet machine.
	startTimeout = 90 * time.Second
	stopTimeout  = 30 * time.Second
	// requestTimeout bounds one request of the harness.
	requestTimeout = 30 * time.Second

	tailBytes = 4 << 10
)

// Options change how the API server runs.
type Options struct {
	// APIServerArgs are further flags. They win over those of the harness.
	APIServerArgs []string
	// Controllers adds kube-controller-manager and kube-scheduler, as a cluster with
	// kubelets needs them, and the admission of pods that goes with them.
	Controllers bool
}

// Cluster is a running Kubernetes API.
type Cluster struct {
	sandbox *sandbox.Sandbox
	// folder has certificates, configurations and the audit log.
	folder    string
	authority *pki.Authority
	serving   *pki.Pair
	// issuer is an authority below it, which signs what Load makes.
	issuer   *pki.Authority
	binaries Binaries
	options  Options

	etcd, api *process.Process
	// controllers are those of Options.Controllers.
	controllers []*process.Process

	admin   *rest.Config
	client  *kubernetes.Clientset
	dynamic dynamic.Interface
	mapper  meta.ResettableRESTMapper
}

// Start starts a cluster in a sandbox and waits until its API is ready. Its files
// are in a new folder below the one that is given, until Close.
func Start(ctx context.Context, s *sandbox.Sandbox, b Binaries, below string, options Options) (*Cluster, error) {
	folder, err := os.MkdirTemp(below, "cluster-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{sandbox: s, folder: folder, binaries: b, options: options}
	if err := c.start(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, c.Close()), c.Logs())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.prepare(ctx); err != nil {
		return err
	}
	var err error
	if c.etcd, err = startEtcd(ctx, c.sandbox, c.binaries.Etcd, c.path("etcd")); err != nil {
		return err
	}
	// The API server waits for etcd by itself.
	if err := c.StartAPI(ctx); err != nil || !c.options.Controllers {
		return err
	}
	return c.startControllers(ctx)
}

func (c *Cluster) path(name string) string { return filepath.Join(c.folder, name) }

// Logs is what the servers said last.
func (c *Cluster) Logs() string {
	var logs []string
	for _, p := range append([]*process.Process{c.etcd, c.api}, c.controllers...) {
		if p != nil {
			logs = append(logs, lastWords(p))
		}
	}
	return strings.Join(logs, "\n")
}

func lastWords(p *process.Process) string {
	output := p.Output()
	return fmt.Sprintf("the end of what %s printed:\n%s", p.Name(), output[max(0, len(output)-tailBytes):])
}

// Close ends the servers and removes their files.
func (c *Cluster) Close() error {
	var errs []error
	for _, p := range append(slices.Clone(c.controllers), c.api, c.etcd) {
		if p != nil {
			errs = append(errs, kill(p))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.folder))...)
}

// kill is for processes that have nothing to lose. It is an error where one has
// ended before, and not because it was killed.
func kill(p *process.Process) error {
	if ended, err := p.Ended(); ended {
		return err
	}
	return p.Kill()
}

// prepare makes all that the servers need.
func (c *Cluster) prepare(ctx context.Context) error {
	// Programs that run as another user must get at what is in it.
	if err := os.Chmod(c.folder, 0o755); err != nil {
		return err
	}
	if err := c.addAddresses(ctx); err != nil {
		return err
	}
	// Memory of the sandbox: it goes away with it, also where the caller is killed.
	if err := os.Mkdir(c.path("etcd"), 0o700); err != nil {
		return err
	}
	if err := mountMemory(ctx, c.sandbox, c.path("etcd"), "size=4g,mode=700"); err != nil {
		return err
	}
	if err := c.writeCertificates(); err != nil {
		return err
	}
	if err := os.WriteFile(c.path("audit.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	return c.newClients()
}

// addAddresses gives the sandbox the addresses of the API server.
func (c *Cluster) addAddresses(ctx context.Context) error {
	for _, address := range []string{APIAddress, controlPlaneAddress} {
		if _, err := c.sandbox.Output(ctx, "", "ip", "address", "add", address+"/32", "dev", "lo"); err != nil {
			return err
		}
	}
	return nil
}

// mountMemory mounts a tmpfs that only programs of the sandbox see.
func mountMemory(ctx context.Context, s *sandbox.Sandbox, path, options string) error {
	cmd := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := s.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, stderr.String())
	}
	return nil
}

func startEtcd(ctx context.Context, s *sandbox.Sandbox, program, data string) (*process.Process, error) {
	return process.Start(s, exec.CommandContext(context.WithoutCancel(ctx), program,
		"--name=e2e", "--data-dir="+data, "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+etcdPeerURL, "--initial-advertise-peer-urls="+etcdPeerURL,
		"--initial-cluster=e2e="+etcdPeerURL, "--quota-backend-bytes=3221225472"))
}

// apiCommand is the API server's. It is Close that ends it, not the context.
func (c *Cluster) apiCommand(ctx context.Context) *exec.Cmd {
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=0.0.0.0", "--advertise-address=" + controlPlaneAddress, "--secure-port=" + apiPort,
		"--service-cluster-ip-range=" + ServiceRange,
		"--tls-cert-file=" + c.path("api.crt"), "--tls-private-key-file=" + c.path("api.key"),
		"--cert-dir=" + c.path("api"), "--client-ca-file=" + c.path(certificateAuthority),
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + c.path("accounts.pub"),
		"--service-account-signing-key-file=" + c.path(accountsPrivateKey),
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true", "--profiling=false",
		"--audit-policy-file=" + c.path("audit.yaml"), "--audit-log-path=" + c.path(auditLog), "--audit-log-maxsize=1024",
	}
	if !c.options.Controllers {
		// What these add needs controllers to be of use: a ServiceAccount for each
		// pod, and a taint that goes away when a node becomes ready.
		args = append(args, "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
	}
	args = append(args, c.options.APIServerArgs...)
	return exec.CommandContext(context.WithoutCancel(ctx), c.binaries.APIServer, args...)
}

// StartAPI starts the API server, after StopAPI again with the same data, and
// waits until it is ready.
func (c *Cluster) StartAPI(ctx context.Context) error {
	var err error
	if c.api, err = process.Start(c.sandbox, c.apiCommand(ctx)); err != nil {
		return err
	}
	return await(ctx, startTimeout, c.ready, c.etcd, c.api)
}

// await waits for a condition, but not when one of the processes has ended.
func await(ctx context.Context, within time.Duration, condition func(context.Context) error, processes ...*process.Process) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	return poll.Until(ctx, within, func() error {
		for _, p := range processes {
			if ended, err := p.Ended(); ended {
				giveUp(errors.Join(fmt.Errorf("%s has ended", p.Name()), err))
			}
		}
		return condition(ctx)
	})
}

// ready is nil when the API server is, and has made what it makes by itself.
func (c *Cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return fmt.Errorf("the API server is not ready: %w", err)
	}
	for _, namespace := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem} {
		if _, err := c.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{}); err != nil {
			return err
		}
	}
	_, err := c.client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	return err
}

// StopAPI ends the API server as a crash would. The data stay.
func (c *Cluster) StopAPI() error { return kill(c.api) }

// PauseAPI keeps the API server from answering: connections to it stay open.
func (c *Cluster) PauseAPI() error { return signal(c.api, syscall.SIGSTOP) }

// ResumeAPI is the end of PauseAPI.
func (c *Cluster) ResumeAPI() error { return signal(c.api, syscall.SIGCONT) }

// PIDs are the processes of etcd and of the API server, as the caller sees them.
func (c *Cluster) PIDs() []int { return []int{c.etcd.PID(), c.api.PID()} }

func signal(p *process.Process, s syscall.Signal) error {
	if err := syscall.Kill(p.PID(), s); err != nil {
		return fmt.Errorf("signal %s to %s: %w", s, p.Name(), err)
	}
	return nil
}

// newClients makes the clients of the harness.
func (c *Cluster) newClients() error {
	admin, err := c.authority.Client(pki.Template{CommonName: adminUser, Organizations: []string{adminGroup}})
	if err != nil {
		return err
	}
	c.admin = &rest.Config{
		Host: apiServer,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.authority.Chain, CertData: admin.Chain, KeyData: admin.Key,
		},
		Dial: c.sandbox.Dial,
		QPS:  -1, // no limit
	}
	typed := rest.CopyConfig(c.admin)
	typed.ContentType = runtime.ContentTypeProtobuf
	typed.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if c.client, err = kubernetes.NewForConfig(typed); err != nil {
		return err
	}
	if c.dynamic, err = dynamic.NewForConfig(c.admin); err != nil {
		return err
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	return nil
}

// Admin is the configuration of a client that may do everything, from outside
// of the sandbox. Its requests are not in the audit log.
func (c *Cluster) Admin() *rest.Config { return rest.CopyConfig(c.admin) }

// Client is such a client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }
