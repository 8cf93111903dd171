package test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const manifestsDir = repository + "/deploy/manifests"

// plainImage stands for the image in the plain manifests. Nobody can own that name,
// so that nothing is pulled that somebody else has put there.
const plainImage = "image: {repository: ack-exporter.invalid/ack-exporter}\n"

// manifests are the plain manifests: from which values each is rendered.
func manifests() map[string]string {
	return map[string]string{
		"node-full.yaml":         plainImage,
		"node-unprivileged.yaml": plainImage + "node: {profile: unprivileged}\n",
		"cluster.yaml":           plainImage + "node: {enabled: false}\n",
		"podmonitors.yaml":       plainImage + "node: {scrape: podMonitor}\ncluster: {scrape: podMonitor}\n",
	}
}

// templates are what of the chart goes into a manifest.
func templates(manifest string) []string {
	switch manifest {
	case "cluster.yaml":
		return []string{"cluster.yaml"} // its rights are those of deploy/rbac
	case "podmonitors.yaml":
		return []string{"monitors.yaml"}
	default:
		return []string{"node.yaml"}
	}
}

// helmLabels say that Helm keeps an object, which is not so here.
var helmLabels = regexp.MustCompile(`(?m)^ +(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n`)

func TestManifests(t *testing.T) {
	t.Parallel()
	for name, values := range manifests() {
		files, err := renderFiles(loadChart(t), namespace, values)
		if err != nil {
			t.Fatal(err)
		}
		manifest := "# Rendered from deploy/helm/ack-exporter by `make manifests`. Edit the chart.\n"
		for _, template := range templates(name) {
			content := helmLabels.ReplaceAllString(files["ack-exporter/templates/"+template], "")
			manifest += "---\n" + strings.TrimPrefix(strings.TrimSpace(content), "---\n") + "\n"
		}
		golden(t, filepath.Join(manifestsDir, name), manifest)
	}
}

// The files that are written by hand, and all of them together as kustomize reads
// them.
func TestKustomization(t *testing.T) {
	t.Parallel()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), manifestsDir)
	if err != nil {
		t.Fatal(err)
	}
	content, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	objects := decode(t, "kustomization", string(content))
	for _, w := range workloads(objects) {
		if image := w.container().Image; image != "registry.example.com/ops/ack-exporter:0.1.0" {
			t.Errorf("%s: the image is %s, not that of kustomization.yaml", w.GetName(), image)
		}
		checkArgs(t, w)
	}
	only[*appsv1.DaemonSet](t, objects, "ack-exporter-node")
	only[*appsv1.Deployment](t, objects, "ack-exporter-cluster")
	only[*rbacv1.ClusterRole](t, objects, "ack-exporter-cluster")
	// Paths of the host and its network are refused at every other level.
	if level := only[*corev1.Namespace](t, objects, namespace).Labels["pod-security.kubernetes.io/enforce"]; level != "privileged" {
		t.Errorf("pod security %q", level)
	}
	for _, o := range objects {
		if ns := o.GetNamespace(); ns != "" && ns != namespace && ns != "kube-system" {
			t.Errorf("%s is in the namespace %s", o.GetName(), ns)
		}
	}
}

// Each file of deploy/manifests is decoded, and none is left from earlier times.
func TestManifestFiles(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(manifestsDir)
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Collect(maps.Keys(manifests())), "namespace.yaml", "kustomization.yaml")
	for _, entry := range entries {
		if !slices.Contains(want, entry.Name()) {
			t.Errorf("%s is rendered by nothing", entry.Name())
		}
		if entry.Name() != "kustomization.yaml" {
			decode(t, entry.Name(), read(t, filepath.Join(manifestsDir, entry.Name())))
		}
	}
	monitors := all[*monitoringv1.PodMonitor](decode(t, "podmonitors.yaml", read(t, manifestsDir+"/podmonitors.yaml")))
	if len(entries) != len(want) || len(monitors) != 2 {
		t.Errorf("%d files, want %d; %d PodMonitors, want 2", len(entries), len(want), len(monitors))
	}
}

const (
	tableBegin = "<!-- values: begin -->\n"
	tableEnd   = "<!-- values: end -->\n"
)

// The table of values in the chart's README.md is made from values.yaml.
func TestReadme(t *testing.T) {
	t.Parallel()
	path := chartDir + "/README.md"
	readme := read(t, path)
	before, rest, ok := strings.Cut(readme, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("%s has no place for the table", path)
	}
	golden(t, path, before+tableBegin+valuesTable(t)+tableEnd+after)
}

// valuesTable makes a row of each value that has a comment in front of it. What has none
// is a group of values with comments of their own.
func valuesTable(t *testing.T) string {
	t.Helper()
	path := make([]string, 3) // the names down to the line that is read
	var comment []string
	table := "| value | default | |\n|---|---|---|\n"
	documented := make(map[string]bool)
	value := regexp.MustCompile(`^( {2}| {4})?(\w+):`)
	for line := range strings.Lines(read(t, chartDir+"/values.yaml")) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok {
			comment = append(comment, text)
			continue
		}
		match := value.FindStringSubmatch(line)
		if match == nil {
			comment = nil
			continue
		}
		depth := len(match[1]) / 2
		path[depth] = match[2]
		if depth > 0 && len(comment) > 0 {
			name := strings.Join(path[:depth+1], ".")
			documented[name] = true
			table += "| `" + name + "` | `" + defaultOf(t, path[:depth+1]) + "` | " + strings.Join(comment, " ") + " |\n"
		}
		comment = nil
	}
	checkDocumented(t, "", loadChart(t).Values, documented)
	return table
}

// checkDocumented makes sure that each value, or else each value in it, is in the table.
func checkDocumented(t *testing.T, name string, value any, documented map[string]bool) {
	t.Helper()
	group, isGroup := value.(map[string]any)
	switch {
	case documented[name]:
	case isGroup && len(group) > 0:
		for inner, value := range group {
			checkDocumented(t, strings.TrimPrefix(name+"."+inner, "."), value, documented)
		}
	default:
		t.Errorf("%s is not in the table: no comment in values.yaml says what it is", name)
	}
}

// defaultOf is the default of a value, on one line.
func defaultOf(t *testing.T, path []string) string {
	t.Helper()
	var value any = loadChart(t).Values
	for _, name := range path {
		group, ok := value.(map[string]any)
		if !ok {
			t.Fatalf("%v is in values.yaml, and %v is no group", path, value)
		}
		value = group[name]
	}
	b, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = yaml.YAMLToJSON(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
