//go:build e2e

package clustertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/world"
)

const (
	podAddress       = "10.244.1.2"
	nodeAddress      = "192.168.0.2"
	otherNodeAddress = "192.168.0.3"
	upstreamAddress  = "100.100.2.136"

	serviceName  = "served.default.svc.cluster.local."
	externalName = "www.example.com."
	externalIP   = "203.0.113.5"
)

// TestCoreDNS asks one CoreDNS, which another one stands above.
func TestCoreDNS(t *testing.T) {
	w := world.New(t)
	c := clustertest.Start(t, w, cluster.Options{})
	upstream := c.CoreDNS(t, cluster.CoreDNSOptions{
		Address:  upstreamAddress,
		Corefile: ".:53 {\n  hosts {\n    " + externalIP + " www.example.com\n  }\n}\n",
	})
	d := c.CoreDNS(t, cluster.CoreDNSOptions{Address: podAddress, Corefile: cluster.DefaultCorefile, Nameservers: []string{upstream.Address}})
	pod := cluster.Pod("default", "pod", map[string]string{"app": "y"}, "node", "10.244.7.2")
	service := cluster.Service("default", "served", map[string]string{"app": "y"}, corev1.ServicePort{Name: "http", Port: 80})
	service.Spec.ClusterIP = "10.96.7.7"
	c.Put(t, pod, service, cluster.EndpointSlice(service, pod))

	t.Run("Answers", func(t *testing.T) { testAnswers(t, w) })
	t.Run("Endpoints", func(t *testing.T) { testEndpoints(t, c, w) })
	t.Run("Balance", func(t *testing.T) { testBalance(t, c, d) })
	t.Run("Rights", func(t *testing.T) { testRights(t, c) })
	t.Run("Reload", func(t *testing.T) { testReload(t, w, d) })
	t.Run("Failures", func(t *testing.T) { testFailures(t, w, d) })
	t.Run("Upstream", func(t *testing.T) { testUpstream(t, w, upstream) })
	t.Run("Stop", func(t *testing.T) { testStop(t, w, d) })
}

// lookup is nil where CoreDNS answers with this one address.
func lookup(t *testing.T, w *world.World, network, name, want string) error {
	t.Helper()
	return lookupAt(t, w, podAddress, network, name, want)
}

func lookupAt(t *testing.T, w *world.World, server, network, name, want string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	addresses, err := cluster.Resolver(w.Sandbox, network, server).LookupHost(ctx, name)
	if err != nil {
		return err
	}
	if len(addresses) != 1 || addresses[0] != want {
		return fmt.Errorf("over %s %s is %q, not %s", network, name, addresses, want)
	}
	return nil
}

func testAnswers(t *testing.T, w *world.World) {
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{
			serviceName:                             "10.96.7.7",
			"kubernetes.default.svc.cluster.local.": cluster.APIAddress,
			externalName:                            externalIP,
		} {
			world.Eventually(t, within, func() error { return lookup(t, w, network, name, want) })
		}
		resolver := cluster.Resolver(w.Sandbox, network, podAddress)
		_, records, err := resolver.LookupSRV(t.Context(), "http", "tcp", serviceName)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) != 1 || records[0].Port != 80 || records[0].Target != serviceName {
			t.Errorf("over %s the SRV records are %v", network, records)
		}
		var dnsError *net.DNSError
		if _, err := resolver.LookupHost(t.Context(), "absent."+serviceName); !errors.As(err, &dnsError) || !dnsError.IsNotFound {
			t.Errorf("over %s a name that does not exist: %v", network, err)
		}
	}
}

// testEndpoints asks the other ports of the pod, from another node.
func testEndpoints(t *testing.T, c *clustertest.Cluster, w *world.World) {
	node := world.New(t)
	c.Join(t, node, nodeAddress)
	for _, from := range []*world.World{w, node} {
		client := http.Client{Transport: &http.Transport{DialContext: from.Dial, DisableKeepAlives: true}}
		for url, want := range map[string]string{
			"http://" + podAddress + ":8080/health":  "OK",
			"http://" + podAddress + ":8181/ready":   "OK",
			"http://" + podAddress + ":9153/metrics": `coredns_build_info{goversion="go`,
		} {
			world.Eventually(t, within, func() error {
				body, err := get(t.Context(), &client, url)
				if err == nil && !strings.Contains(body, want) {
					err = fmt.Errorf("%s: no %q in %.200q", url, want, body)
				}
				return err
			})
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return string(body), err
}

// testBalance asks the cluster IP of DNS from a node.
func testBalance(t *testing.T, c *clustertest.Cluster, d *clustertest.CoreDNS) {
	for _, tool := range []string{"nft", "conntrack"} {
		_, err := exec.LookPath(tool)
		world.Require(t, err == nil, fmt.Sprintf("%s is missing: %v", tool, err))
	}
	node := world.New(t)
	c.Join(t, node, otherNodeAddress)
	ask := func(network string) error {
		return lookupAt(t, node, cluster.DNSAddress, network, serviceName, "10.96.7.7")
	}
	if err := ask("udp"); err == nil {
		t.Error("the cluster IP answers before it is balanced")
	}
	other := c.CoreDNS(t, cluster.CoreDNSOptions{Address: "10.244.1.3", Corefile: cluster.DefaultCorefile, Nameservers: []string{upstreamAddress}})
	world.Eventually(t, within, func() error {
		return lookupAt(t, node, other.Address, "udp", serviceName, "10.96.7.7")
	})
	clustertest.Balance(t, node, cluster.DNSAddress, d.Address, other.Address)
	for range 4 {
		for _, network := range []string{"udp", "tcp"} {
			if err := ask(network); err != nil {
				t.Error(err)
			}
		}
	}
	for _, backend := range []*clustertest.CoreDNS{d, other} {
		entries := node.Run(t, "conntrack", "-L", "-p", "udp", "-d", cluster.DNSAddress, "--reply-src", backend.Address)
		if strings.Count(entries, "dport=53") == 0 {
			t.Errorf("%s was not asked", backend.Address)
		}
	}
	other.Kill(t)
	clustertest.Balance(t, node, cluster.DNSAddress, d.Address)
	for range 4 {
		if err := ask("udp"); err != nil {
			t.Error(err)
		}
	}
	clustertest.Balance(t, node, cluster.DNSAddress)
	if err := ask("tcp"); err == nil {
		t.Error("the cluster IP answers without backends")
	}
}

// testRights shows that CoreDNS may do what it asks for.
func testRights(t *testing.T, c *clustertest.Cluster) {
	world.Eventually(t, within, func() error {
		var watched []string
		for _, r := range c.Requests(t, cluster.ServiceAccountUser("kube-system", "coredns")) {
			if r.Code == http.StatusForbidden {
				t.Fatalf("forbidden: %s", r)
			}
			if r.Verb == "watch" {
				watched = append(watched, r.Resource)
			}
		}
		for _, resource := range []string{"endpointslices", "namespaces", "pods", "services"} {
			if !slices.Contains(watched, resource) {
				return fmt.Errorf("no watch of %s, only of %q", resource, watched)
			}
		}
		return nil
	})
}

func testReload(t *testing.T, w *world.World, d *clustertest.CoreDNS) {
	const added = "added.example."
	pid := d.PID()
	d.Reload(t, cluster.DefaultCorefile+"example:53 {\n  hosts {\n    192.0.2.1 added.example\n  }\n}\n")
	world.Eventually(t, within, func() error { return lookup(t, w, "udp", added, "192.0.2.1") })
	d.Reload(t, "broken {")
	world.Eventually(t, within, func() error {
		if !strings.Contains(d.Output(), "Syntax error") {
			return errors.New("CoreDNS says nothing of the broken Corefile")
		}
		return lookup(t, w, "udp", added, "192.0.2.1")
	})
	if d.PID() != pid {
		t.Errorf("CoreDNS was process %d and is %d", pid, d.PID())
	}
	d.Reload(t, cluster.DefaultCorefile)
	world.Eventually(t, within, func() error {
		if lookup(t, w, "udp", added, "192.0.2.1") == nil {
			return errors.New("CoreDNS still has the old Corefile")
		}
		return lookup(t, w, "udp", serviceName, "10.96.7.7")
	})
}

// testFailures has CoreDNS fail in several ways, which clients see differently.
func testFailures(t *testing.T, w *world.World, d *clustertest.CoreDNS) {
	for name, failure := range map[string]struct {
		begin, end func()
		refused    bool
	}{
		"killed": {func() { d.Kill(t) }, func() { d.Start(t) }, true},
		"paused": {func() { d.Pause(t) }, func() { d.Resume(t) }, false},
		"cut":    {func() { d.Link.Cut(t) }, func() { d.Link.Restore(t) }, false},
	} {
		failure.begin()
		for _, network := range []string{"udp", "tcp"} {
			err := lookup(t, w, network, serviceName, "10.96.7.7")
			if err == nil || strings.Contains(err.Error(), "connection refused") != failure.refused {
				t.Errorf("%s: over %s: %v", name, network, err)
			}
		}
		failure.end()
		world.Eventually(t, within, func() error { return lookup(t, w, "udp", serviceName, "10.96.7.7") })
	}
}

// testUpstream takes the upstream away, which only external names need.
func testUpstream(t *testing.T, w *world.World, upstream *clustertest.CoreDNS) {
	const fresh = "fresh.example.com." // in no cache
	upstream.Kill(t)
	if err := lookup(t, w, "udp", fresh, externalIP); err == nil {
		t.Error("an external name is answered without the upstream")
	}
	if err := lookup(t, w, "udp", serviceName, "10.96.7.7"); err != nil {
		t.Error(err)
	}
	upstream.Start(t)
	upstream.Reload(t, ".:53 {\n  hosts {\n    "+externalIP+" fresh.example.com\n  }\n}\n")
	world.Eventually(t, within, func() error { return lookup(t, w, "udp", fresh, externalIP) })
}

// testStop shows that CoreDNS still answers in its lameduck.
func testStop(t *testing.T, w *world.World, d *clustertest.CoreDNS) {
	d.Kill(t)
	d.SetCorefile(t, strings.Replace(cluster.DefaultCorefile, "lameduck 15s", "lameduck 3s", 1))
	d.Start(t)
	world.Eventually(t, within, func() error { return lookup(t, w, "udp", serviceName, "10.96.7.7") })
	began := time.Now()
	d.Terminate(t)
	if err := lookup(t, w, "udp", serviceName, "10.96.7.7"); err != nil {
		t.Errorf("%s after it was asked to stop: %v", time.Since(began), err)
	}
	d.Stop(t)
	if took := time.Since(began); took < 3*time.Second || took > within {
		t.Errorf("it stopped after %s", took)
	}
	if err := lookup(t, w, "tcp", serviceName, "10.96.7.7"); err == nil {
		t.Error("CoreDNS answers after it has stopped")
	}
}
