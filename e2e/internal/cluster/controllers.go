//go:build e2e

package cluster

import (
	"context"
	"os/exec"

	"ack-exporter/e2e/internal/process"
)

// startControllers starts what makes pods and binds them to nodes. It is Close that
// ends it, not the context.
func (c *Cluster) startControllers(ctx context.Context) error {
	for _, s := range []struct {
		program, user string
		args          []string
	}{
		{c.binaries.Controllers, "system:kube-controller-manager", []string{
			"--root-ca-file=" + c.path(certificateAuthority),
			"--service-account-private-key-file=" + c.path(accountsPrivateKey),
			"--use-service-account-credentials=true",
		}},
		{c.binaries.Scheduler, "system:kube-scheduler", nil},
	} {
		kubeconfig, err := c.Kubeconfig(s.user)
		if err != nil {
			return err
		}
		args := append([]string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=127.0.0.1", "--cert-dir=" + c.path("controllers"), "--leader-elect=false",
		}, s.args...)
		p, err := process.Start(c.sandbox, exec.CommandContext(context.WithoutCancel(ctx), s.program, args...))
		if err != nil {
			return err
		}
		c.controllers = append(c.controllers, p)
	}
	return nil
}
