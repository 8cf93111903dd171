//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"ack-exporter/e2e/internal/cluster"
	"ack-exporter/e2e/internal/cluster/clustertest"
	"ack-exporter/e2e/internal/exporter"
	"ack-exporter/e2e/internal/world"
)

// right is one thing that may be done. An empty namespace or name stands for all.
type right struct{ verb, group, resource, namespace, name string }

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s/%s in namespace %q", r.verb, r.resource, r.group, r.name, r.namespace)
}

// covers tells whether the right is enough for a request.
func (r right) covers(q cluster.Request) bool {
	return r.verb == q.Verb && r.group == q.Group && r.resource == q.Resource && q.Sub == "" &&
		(r.namespace == "" || r.namespace == q.Namespace) && (r.name == "" || r.name == q.Name)
}

// role is what ClusterRoles and Roles have in common.
type role struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Rules             []rbacv1.PolicyRule `json:"rules"`
}

// shippedRights takes the manifest apart.
func shippedRights(t testing.TB) []right {
	t.Helper()
	manifest, err := os.ReadFile(rbacFile)
	if err != nil {
		t.Fatal(err)
	}
	var rights []right
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), len(manifest)); ; {
		var r role
		err := decoder.Decode(&r)
		if errors.Is(err, io.EOF) {
			return rights
		}
		if err != nil {
			t.Fatalf("%s: %v", rbacFile, err)
		}
		for _, rule := range r.Rules {
			rights = append(rights, atoms(rule, r.Namespace)...)
		}
	}
}

func atoms(rule rbacv1.PolicyRule, namespace string) []right {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var rights []right
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					rights = append(rights, right{verb, group, resource, namespace, name})
				}
			}
		}
	}
	return rights
}

// requireRights compares what the exporter asked for with what it may. all: each
// right has been of use.
func requireRights(t testing.TB, c *clustertest.Cluster, all bool) {
	t.Helper()
	rights := shippedRights(t)
	// A request is logged a moment after its answer.
	world.Eventually(t, patience, func() error {
		used := make(map[right]bool)
		for _, q := range c.Requests(t, exporterUser) {
			if err := judge(q, rights, used); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range rights {
			if all && !used[r] {
				return fmt.Errorf("it may %s, but never does", r)
			}
		}
		return nil
	})
}

// judge notes which rights a request needed.
func judge(q cluster.Request, rights []right, used map[right]bool) error {
	if q.Code == http.StatusForbidden || q.Code == http.StatusUnauthorized {
		return fmt.Errorf("refused: %s", q)
	}
	found := false
	for _, r := range rights {
		if r.covers(q) {
			used[r], found = true, true
		}
	}
	if !found {
		return fmt.Errorf("no right covers %s", q)
	}
	return nil
}

// tlsSecrets selects the Secrets that may be asked for.
const tlsSecrets = "type=kubernetes.io/tls"

// watches is what is watched, and by which selectors.
func watches() []string {
	in := func(resource, selector string) string { return system + " " + resource + " " + selector }
	named := func(resource, name string) string { return in(resource, "metadata.name="+name) }
	list := []string{
		" nodes ", " services ", " ingresses ", " secrets " + tlsSecrets, " events involvedObject.kind=Service",
		" namespaces node-local-dns-injection=enabled",
		" mutatingwebhookconfigurations metadata.name=" + controllerName,
		in("pods", "k8s-app=kube-dns"),
		in("endpointslices", "kubernetes.io/service-name=kube-dns"),
		named("deployments", "coredns"), named("deployments", controllerName),
		named("daemonsets", "node-local-dns"), named("daemonsets", "terway-eniip"),
	}
	for _, name := range []string{"coredns", "kube-proxy", "kube-proxy-worker", "kube-proxy-master", "eni-config"} {
		list = append(list, named("configmaps", name))
	}
	slices.Sort(list)
	return list
}

// requireSelectors fails where more is watched than is needed, or listed at once.
func requireSelectors(t testing.TB, c *clustertest.Cluster) {
	t.Helper()
	watched := make(map[string]bool)
	for _, q := range c.Requests(t, exporterUser) {
		switch {
		case q.Verb == "watch":
			watched[strings.Join([]string{q.Namespace, q.Resource, q.LabelSelector + q.FieldSelector}, " ")] = true
		case q.Resource == "secrets" && (q.FieldSelector != tlsSecrets || q.Query.Get("limit") == ""):
			t.Errorf("Secrets are asked for by %s", q)
		case q.Verb == "list" && q.Resource == "pods" && q.LabelSelector == "":
			if q.Query.Get("limit") == "" || !strings.Contains(q.FieldSelector, "status.phase!=") {
				t.Errorf("pods are listed at once: %s", q)
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(watched)), watches(); !slices.Equal(got, want) {
		t.Errorf("watched is %q, not %q", got, want)
	}
}

// requireUserAgent fails where a request does not tell who makes it.
func requireUserAgent(t testing.TB, c *clustertest.Cluster, r *replica) {
	t.Helper()
	m, err := r.ScrapeOnce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range c.Requests(t, exporterUser) {
		version, found := strings.CutPrefix(q.UserAgent, "ack-exporter/")
		if !found || !isBuild(m, version) {
			t.Fatalf("the user agent of %s is %q", q, q.UserAgent)
		}
	}
}

// isBuild tells whether this is the version of the exporter.
func isBuild(m exporter.Metrics, version string) bool {
	for key := range m.Family("ack_exporter_build_info") {
		if strings.Contains(key, fmt.Sprintf("version=%q", version)) {
			return true
		}
	}
	return false
}

// targets is what the ConfigMap for the DNS probes holds.
func targets(ctx context.Context, c *clustertest.Cluster) (string, error) {
	m, err := c.Client().CoreV1().ConfigMaps(namespace).Get(ctx, targetsMap, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return m.Data["targets.json"], nil
}

// awaitTargets waits until the ConfigMap has these addresses, and returns it.
func awaitTargets(t testing.TB, c *clustertest.Cluster, addresses ...string) (content string) {
	t.Helper()
	world.Eventually(t, patience, func() (err error) {
		if content, err = targets(t.Context(), c); err != nil {
			return err
		}
		for _, address := range addresses {
			if !strings.Contains(content, `"`+address+`"`) {
				return fmt.Errorf("there is no %s in %s", address, content)
			}
		}
		return nil
	})
	return content
}
