//go:build e2e

package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cluster/pki"
)

const (
	loadTimeout = 10 * time.Minute
	// loadWriters is how many requests are under way at a time.
	loadWriters = 32
	// loadNamespaces is over how many namespaces objects are spread.
	loadNamespaces = 20
)

// Scale is the size of a cluster.
type Scale struct {
	// Nodes are Node(0) and so on.
	Nodes int
	// Services are of type LoadBalancer and have an address.
	Services int
	// Secrets have a certificate, that of its intermediate authority, and its key.
	Secrets int
	// Releases are Secrets as Helm makes them: 200 KiB that nobody can compress.
	Releases int
}

// Load fills a cluster in which Load has not been called before.
func (c *Cluster) Load(ctx context.Context, scale Scale) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	var err error
	if c.issuer, err = c.authority.Authority(pki.Template{CommonName: "load"}); err != nil {
		return err
	}
	for _, step := range []struct {
		n      int
		create func(ctx context.Context, number int) error
	}{
		{loadNamespaces, c.loadNamespace},
		{scale.Nodes, c.loadNode},
		{scale.Services, c.loadService},
		{scale.Secrets, c.loadSecret},
		{scale.Releases, c.loadRelease},
	} {
		if err := forEach(ctx, step.n, step.create); err != nil {
			return err
		}
	}
	return nil
}

// forEach calls f for all numbers below n, several at a time, and returns the
// first error, after which no new call is made.
func forEach(ctx context.Context, n int, f func(ctx context.Context, number int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var writers sync.WaitGroup
	for range min(n, loadWriters) {
		writers.Go(func() {
			for ctx.Err() == nil {
				number := int(next.Add(1)) - 1
				if number >= n {
					return
				}
				if err := f(ctx, number); err != nil {
					cancel(err)
				}
			}
		})
	}
	writers.Wait()
	return context.Cause(ctx)
}

// LoadNamespace is the namespace of the Service and of the Secret with that number.
func LoadNamespace(number int) string { return fmt.Sprintf("load-%d", number%loadNamespaces) }

func (c *Cluster) loadNamespace(ctx context.Context, number int) error {
	_, err := c.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: LoadNamespace(number)}}, metav1.CreateOptions{})
	return err
}

func (c *Cluster) loadNode(ctx context.Context, number int) error {
	// The API keeps the status of a new node.
	_, err := c.client.CoreV1().Nodes().Create(ctx, Node(number), metav1.CreateOptions{})
	return err
}

func (c *Cluster) loadService(ctx context.Context, number int) error {
	services := c.client.CoreV1().Services(LoadNamespace(number))
	service := Service(LoadNamespace(number), fmt.Sprintf("lb-%d", number), map[string]string{"app": fmt.Sprintf("app-%d", number)},
		corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "https", Port: 443})
	service.Spec.Type = corev1.ServiceTypeLoadBalancer
	// The range of node ports would be used up by 1,400 of them.
	allocate := false
	service.Spec.AllocateLoadBalancerNodePorts = &allocate
	service.Annotations = map[string]string{
		"service.beta.kubernetes.io/alibaba-cloud-loadbalancer-id": fmt.Sprintf("lb-bp1%017d", number),
	}
	created, err := services.Create(ctx, service, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	created.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("10.200.%d.%d", number/250, 1+number%250)}}
	_, err = services.UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

// RotateSecrets gives so many of the Secrets that Load made new certificates and keys.
func (c *Cluster) RotateSecrets(ctx context.Context, n int) error {
	return forEach(ctx, n, func(ctx context.Context, number int) error {
		secret, err := c.newSecret(number)
		if err != nil {
			return err
		}
		_, err = c.client.CoreV1().Secrets(secret.Namespace).Update(ctx, secret, metav1.UpdateOptions{})
		return err
	})
}

func (c *Cluster) loadSecret(ctx context.Context, number int) error {
	secret, err := c.newSecret(number)
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
	return err
}

func (c *Cluster) newSecret(number int) (*corev1.Secret, error) {
	name := fmt.Sprintf("tls-%d", number)
	pair, err := c.issuer.Server(pki.Template{CommonName: name, Hosts: []string{name + ".example"}})
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: LoadNamespace(number), Name: name},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: pair.Chain, corev1.TLSPrivateKeyKey: pair.Key},
	}, nil
}

// releaseSize is that of a chart with its templates and values.
const releaseSize = 200 << 10

func (c *Cluster) loadRelease(ctx context.Context, number int) error {
	content := make([]byte, releaseSize)
	if _, err := rand.Read(content); err != nil {
		return err
	}
	_, err := c.client.CoreV1().Secrets(LoadNamespace(number)).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("sh.helm.release.v1.app-%d.v1", number)},
		Type:       "helm.sh/release.v1",
		Data:       map[string][]byte{"release": content},
	}, metav1.CreateOptions{})
	return err
}
