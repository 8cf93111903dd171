// Package test renders the chart with Helm's own library and compares what comes
// out with the rest of the project: the binary's flags, the rights, the rules, the
// dashboards, the plain manifests. It is a module of its own, because Helm is
// heavier than the exporter.
//
//	go test .            # or make chart
//	go test . -update    # or make manifests: writes deploy/manifests and the chart's README.md
package test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

const (
	repository = "../../.."
	chartDir   = "../ack-exporter"
	rbacFile   = repository + "/deploy/rbac/cluster.yaml"
	rulesFile  = repository + "/alerts/ack-exporter.rules.yaml"
	namespace  = "ack-exporter"
)

var (
	update = flag.Bool("update", false, "write deploy/manifests and the chart's README.md instead of comparing with them")
	// binary is the exporter, which TestMain builds.
	binary string
)

func TestMain(m *testing.M) {
	flag.Parse()
	log.SetOutput(quiet{})
	dir, err := os.MkdirTemp("", "ack-exporter-chart-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is in the folder for temporary files
	if binary, err = build(dir); err != nil {
		log.Panic(err)
	}
	m.Run()
}

// quiet drops what Helm logs about each symbolic link that it follows.
type quiet struct{}

func (quiet) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("found symbolic link in path")) {
		return len(p), nil
	}
	return os.Stderr.Write(p)
}

// object is what all objects of Kubernetes are.
type object interface {
	runtime.Object
	metav1.Object
}

// loadChart reads the chart as `helm install` does from a folder.
func loadChart(t testing.TB) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// renderFiles is what `helm template` prints, by template.
func renderFiles(c *chart.Chart, namespace, values string) (map[string]string, error) {
	v, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{
		Name: "ack-exporter", Namespace: namespace, Revision: 1, IsInstall: true,
	}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(c, all)
}

// render renders the chart and decodes what comes out.
func render(t testing.TB, namespace, values string) []object {
	t.Helper()
	files, err := renderFiles(loadChart(t), namespace, values)
	if err != nil {
		t.Fatal(err)
	}
	var objects []object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			objects = append(objects, decode(t, name, files[name])...)
		}
	}
	return objects
}

var documentSeparator = regexp.MustCompile(`(?m)^---$`)

// decode refuses fields that the types do not have, and fields that stand twice.
func decode(t testing.TB, name, content string) []object {
	t.Helper()
	decoder := codecs(t).UniversalDeserializer()
	var objects []object
	for _, document := range documentSeparator.Split(content, -1) {
		if isEmpty(document) {
			continue
		}
		decoded, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, document)
		}
		o, ok := decoded.(object)
		if !ok {
			t.Fatalf("%s: %T is no object", name, decoded)
		}
		objects = append(objects, o)
	}
	return objects
}

// isEmpty tells whether a document is nothing but comments.
func isEmpty(document string) bool {
	for line := range strings.Lines(document) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

func codecs(t testing.TB) serializer.CodecFactory {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme,
		monitoringv1.AddToScheme, coordinationv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict)
}

// only is the one object of its type with that name.
func only[T object](t testing.TB, objects []object, name string) T {
	t.Helper()
	var found []T
	for _, o := range objects {
		if typed, ok := o.(T); ok && o.GetName() == name {
			found = append(found, typed)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T with the name %s, want 1", len(found), *new(T), name)
	}
	return found[0]
}

// all lists the objects of a type.
func all[T object](objects []object) []T {
	var found []T
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// build builds the exporter into dir.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "ack-exporter")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-o", path, "./cmd/ack-exporter")
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return path, nil
}

// exporter runs the binary to its end.
func exporter(t testing.TB, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	return string(out), err
}

// read reads a file of the repository.
func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// golden compares a file with what it must be, or writes it.
func golden(t testing.TB, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b, err := os.ReadFile(path); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	} else if string(b) != want {
		t.Errorf("%s is not what the chart renders to; run make manifests", path)
	}
}

// valuesFiles are the test values of one kind, by name.
func valuesFiles(t testing.TB, kind string) map[string]string {
	t.Helper()
	dir := os.DirFS("testdata/values/" + kind)
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no values in testdata/values/%s: %v", kind, err)
	}
	files := make(map[string]string)
	for _, name := range names {
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(name, ".yaml")] = string(b)
	}
	return files
}
