//go:build e2e

package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"ack-exporter/e2e/internal/cluster/pki"
	"ack-exporter/e2e/internal/sandbox"
)

const (
	adminUser  = "e2e-admin"
	adminGroup = "system:masters"

	tokenValidity = 12 * time.Hour

	certificateAuthority = "ca.crt"
	accountsPrivateKey   = "accounts.key"

	// accountFolder is where a kubelet puts what a pod needs to reach the API.
	accountFolder = "/run/secrets/kubernetes.io/serviceaccount"
)

// writeCertificates writes the files of the API server, and keeps the authority.
func (c *Cluster) writeCertificates() error {
	var err error
	if c.authority, err = pki.NewAuthority(pki.Template{CommonName: "kubernetes"}); err != nil {
		return err
	}
	api, err := c.authority.Server(pki.Template{
		CommonName: "kube-apiserver",
		Hosts: []string{
			APIAddress, controlPlaneAddress, "127.0.0.1", "localhost",
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + Domain,
		},
	})
	if err != nil {
		return err
	}
	c.serving = api
	accountsKey, accountsPublic, err := pki.NewKey()
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		certificateAuthority: c.authority.Chain,
		"api.crt":            api.Chain,
		"api.key":            api.Key,
		accountsPrivateKey:   accountsKey,
		"accounts.pub":       accountsPublic,
	} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// APICertificate is what the API server presents.
func (c *Cluster) APICertificate() *x509.Certificate { return c.serving.Certificate }

// SetAPICertificate has the API server present another certificate, within seconds.
// Connections that are open stay so.
func (c *Cluster) SetAPICertificate(pair *pki.Pair) error {
	// Until both files fit each other, the API server keeps what it has.
	for name, data := range map[string][]byte{"api.crt": pair.Chain, "api.key": pair.Key} {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return err
		}
	}
	c.serving = pair
	return nil
}

// Kubeconfig writes a kubeconfig for a user, with a client certificate, and
// returns its path. Programs in the cluster's sandbox and in those that
// have joined it can use it.
func (c *Cluster) Kubeconfig(user string, groups ...string) (path string, err error) {
	pair, err := c.authority.Client(pki.Template{CommonName: user, Organizations: groups})
	if err != nil {
		return "", err
	}
	return c.writeKubeconfig(clientcmdapi.AuthInfo{ClientCertificateData: pair.Chain, ClientKeyData: pair.Key})
}

// ServiceAccountUser is the name by which the API knows a ServiceAccount.
func ServiceAccountUser(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

// ServiceAccountKubeconfig writes a kubeconfig with a token of a ServiceAccount,
// which is made where it does not exist, and returns its path. The account may do
// only what the roles that are bound to it allow.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (path string, err error) {
	token, err := c.token(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	return c.writeKubeconfig(clientcmdapi.AuthInfo{Token: token})
}

// InCluster gives the programs of a sandbox that has joined the cluster, or of the
// cluster's own, what a kubelet gives those of a pod with the ServiceAccount. It
// returns what their environment must have besides. /run of the sandbox is then
// empty otherwise; the machine's is not touched.
func (c *Cluster) InCluster(ctx context.Context, s *sandbox.Sandbox, namespace, account string) (environment []string, err error) {
	if err := c.mountAccount(ctx, s, namespace, account); err != nil {
		return nil, err
	}
	return []string{"KUBERNETES_SERVICE_HOST=" + APIAddress, "KUBERNETES_SERVICE_PORT=" + apiPort}, nil
}

func (c *Cluster) mountAccount(ctx context.Context, s *sandbox.Sandbox, namespace, account string) error {
	token, err := c.token(ctx, namespace, account)
	if err != nil {
		return err
	}
	if err := mountMemory(ctx, s, "/run", "mode=755"); err != nil {
		return err
	}
	folder := s.Path(accountFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, data := range map[string]string{
		"token": token, certificateAuthority: string(c.authority.Chain), "namespace": namespace,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// token asks for a token of a ServiceAccount.
func (c *Cluster) token(ctx context.Context, namespace, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, errNamespace := c.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	_, errAccount := c.client.CoreV1().ServiceAccounts(namespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err := errors.Join(unlessExists(errNamespace), unlessExists(errAccount)); err != nil {
		return "", err
	}
	seconds := int64(tokenValidity.Seconds())
	request, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of %s/%s: %w", namespace, name, err)
	}
	return request.Status.Token, nil
}

func unlessExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (c *Cluster) writeKubeconfig(user clientcmdapi.AuthInfo) (path string, err error) {
	const name = "e2e"
	content, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: apiServer, CertificateAuthorityData: c.authority.Chain}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: &user},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(c.folder, "kubeconfig-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	// For programs that run as another user.
	return f.Name(), errors.Join(err, f.Chmod(0o644), f.Close())
}
