//go:build e2e

// Package cloudcluster makes clusters in a simulated cloud in which nothing is wrong:
// instances, load balancers, routes, vSwitches, quotas and a certificate in the account,
// and in the API of the cluster the nodes and Services that they belong to. It gives the
// cluster role the rights that the project ships, and the flags with which it looks at all
// that. What goes wrong is up to the caller.
//
// The network is that of Flannel, with a route for each node, and that of Terway, with
// vSwitches for pods, at once: no cluster has both, but the exporter looks at either.
package cloudcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ack-exporter/e2e/internal/cloud"
	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/sandbox"
)

const (
	// address is where the API of the cloud listens in the sandbox.
	address = "127.0.0.1:9780"

	// rolesNamespace and account are those of the shipped rights.
	rolesNamespace = "ack-exporter"
	account        = "ack-exporter-cluster"

	// region is that of the nodes of package cluster.
	region = "cn-hangzhou"
	// ID is the id of the cluster.
	ID = "c0123456789abcdef0123456789abcdef"
	// vpcID is where everything is.
	vpcID = "vpc-bp1test"
)

// key signs the requests of the exporter.
var key = cloud.Key{ID: "LTAI5tCloudCluster", Secret: "secret-of-the-cloud-cluster"}

// Config says where to put it.
type Config struct {
	// API is the cluster. What is in it already is left alone.
	API *cluster.Cluster
	// Sandbox is that of the API.
	Sandbox *sandbox.Sandbox
}

// Cluster is such a cluster.
type Cluster struct {
	*cluster.Cluster
	Cloud *cloud.Cloud
	// Controller does what the cloud controller manager does.
	Controller cloud.Controller
	// Key is the access key of the exporter.
	Key cloud.Key

	sandbox *sandbox.Sandbox
	unplug  func() error
}

// Start makes it, and serves the API of the cloud until Close.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	c := &Cluster{Cluster: config.API, Key: key, sandbox: config.Sandbox, unplug: func() error { return nil }}
	for _, step := range []func(context.Context) error{c.open, c.Plug, c.GrantShipped, c.register, c.Ensure} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("cluster in a simulated cloud: %w", err), c.Close())
		}
	}
	return c, nil
}

// open opens an account with the least rights that the project names.
func (c *Cluster) open(ctx context.Context) error {
	repository, err := cluster.Repository(ctx)
	if err != nil {
		return err
	}
	policy, err := os.ReadFile(filepath.Join(repository, "docs", "ram-policy.json"))
	if err != nil {
		return err
	}
	if c.Cloud, err = cloud.New(cloud.Config{Region: region, Policy: policy, Keys: []cloud.Key{key}}); err != nil {
		return err
	}
	c.Controller = cloud.Controller{Cloud: c.Cloud, ClusterID: ID, VPCID: vpcID, VSwitchID: nodeVSwitch(0)}
	c.fill()
	return nil
}

// Plug has the API of the cloud listen.
func (c *Cluster) Plug(ctx context.Context) error {
	listener, err := c.sandbox.Listen(context.WithoutCancel(ctx), address)
	if err != nil {
		return err
	}
	c.unplug = cloud.Serve(listener, c.Cloud)
	return nil
}

// Unplug has nobody listen there any more, until Plug.
func (c *Cluster) Unplug() error {
	unplug := c.unplug
	c.unplug = func() error { return nil }
	return unplug()
}

// Close ends what Start has started. The cluster stays the caller's.
func (c *Cluster) Close() error { return c.Unplug() }

// register writes what kubelets, controllers and people would.
func (c *Cluster) register(ctx context.Context) error {
	for number := range Nodes {
		if err := c.Put(ctx, NewNode(number)); err != nil {
			return err
		}
	}
	return c.Put(ctx, shopNamespace(), eniConfig(), webService(), cartService(), cartEndpoints(), reusingService())
}

// Ensure has the cloud controller manager bring the load balancers of all Services to where
// they should be, and tell so in the API of the cluster.
func (c *Cluster) Ensure(ctx context.Context) error {
	services, err := c.Services(ctx)
	if err != nil {
		return err
	}
	for _, service := range services {
		if err := c.ensure(ctx, service); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) ensure(ctx context.Context, service *corev1.Service) error {
	nodes, err := c.NodeObjects(ctx)
	if err != nil {
		return err
	}
	endpoints, err := c.Endpoints(ctx, service)
	if err != nil {
		return err
	}
	done, err := c.Controller.Ensure(service, nodes, endpoints...)
	if err != nil {
		return err
	}
	return c.Put(ctx, done)
}

// AddPorts gives a Service of the namespace Shop more ports, below 2768, and its load
// balancer what belongs to them.
func (c *Cluster) AddPorts(ctx context.Context, service string, ports ...int32) error {
	s, err := c.Client().CoreV1().Services(Shop).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, port := range ports {
		s.Spec.Ports = append(s.Spec.Ports, newPort(port))
	}
	return c.ensure(ctx, s)
}

// Services are those of type LoadBalancer.
func (c *Cluster) Services(ctx context.Context) ([]*corev1.Service, error) {
	list, err := c.Client().CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pointers(list.Items), func(s *corev1.Service) bool { return s.Spec.Type != corev1.ServiceTypeLoadBalancer }), nil
}

// NodeObjects are all nodes.
func (c *Cluster) NodeObjects(ctx context.Context) ([]*corev1.Node, error) {
	list, err := c.Client().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return pointers(list.Items), nil
}

func pointers[T any](all []T) []*T {
	list := make([]*T, 0, len(all))
	for i := range all {
		list = append(list, &all[i])
	}
	return list
}

// Endpoints are the slices of a Service.
func (c *Cluster) Endpoints(ctx context.Context, service *corev1.Service) ([]*discoveryv1.EndpointSlice, error) {
	list, err := c.Client().DiscoveryV1().EndpointSlices(service.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name,
	})
	if err != nil {
		return nil, err
	}
	return pointers(list.Items), nil
}

// LoadBalancer is the id of the load balancer of a Service of the namespace Shop.
func (c *Cluster) LoadBalancer(ctx context.Context, service string) (string, error) {
	s, err := c.Client().CoreV1().Services(Shop).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return s.Labels[cloud.LabelLoadBalancer], nil
}

// Collectors are those that look at the cloud, the first of them by its API.
func Collectors() []string { return append(Asking(), "instance_conditions", "slb_events") }

// Asking are the collectors that ask the API of the cloud.
func Asking() []string { return []string{"instances", "slb", "vpc", "certificate_load_balancers"} }

// Flags have the cluster role ask the cloud as the Environment says, and all collectors that
// look at it refresh in this interval. There are more requests than in any cluster.
func (c *Cluster) Flags(interval string) []string {
	flags := []string{"--cloud.credentials=environment", "--cloud.rate=500", "--cloud.budget=100000", "--cloud.timeout=1s"}
	for _, flag := range c.Cloud.Flags(address) {
		// The environment tells the region, as that of RRSA does.
		if !strings.HasPrefix(flag, "--cloud.region=") {
			flags = append(flags, flag)
		}
	}
	return append(flags, Every(interval)...)
}

// Every has all collectors that look at the cloud refresh in this interval.
func Every(interval string) []string {
	var flags []string
	for _, name := range Collectors() {
		flags = append(flags, "--collector."+name+".interval="+interval)
	}
	return flags
}

// ClusterRoleFlags are those with which the cluster role looks at the API of the cluster,
// from its sandbox, and at nothing but what is about the cloud.
func (c *Cluster) ClusterRoleFlags(ctx context.Context) ([]string, error) {
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, rolesNamespace, account)
	if err != nil {
		return nil, err
	}
	flags := []string{"--kubeconfig=" + kubeconfig, "--namespace=" + rolesNamespace, "--dnsprobe-targets.name="}
	for _, other := range []string{
		"coredns", "kubeproxy", "nodelocaldns", "nodelocaldns_pods", "certificate_secrets", "certificate_bundles", "certificate_endpoints",
	} {
		flags = append(flags, "--no-collector."+other)
	}
	return flags, nil
}

// Environment is what the environment of the cluster role must have.
func (c *Cluster) Environment() []string {
	return append(c.Key.Environment(), "ALIBABA_CLOUD_REGION_ID="+region)
}

// Wrapper is a command that ends by executing the exporter in that environment.
func (c *Cluster) Wrapper() []string { return append([]string{"env"}, c.Environment()...) }

// ShortAlerts is a _config of the mixin that shortens, on top of monitoring.Short, the
// alerts on the cloud.
const ShortAlerts = `{
	alerts+:
		// So that the first step of which people hear is the second.
		local second = { warning+: { 'for': '12s' } };
		// A refresh can come between a change of a Service and what the cloud controller manager does about it.
		local settled = { 'for': '6s' };
		{
			ACKSLBListenersDiffer+: { warning+: settled, critical+: settled },
			ACKSLBBackendsDiffer+: { warning+: settled },
			ACKInstanceExpiresSoon+: second,
			ACKPodAddressesShort+: second,
			// On a busy machine a refresh takes longer than it may.
			ACKExporterCollectorFailing+: { warning+: { 'for': '1m' } },
			ACKExporterCloudLimited+: { warning+: { 'for': '1m' } },
		},
}`
