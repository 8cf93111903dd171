package certificate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

// DefaultPaths are where ACK's manual has the certificates of masters and workers,
// and where etcd's usually are.
func DefaultPaths() []string {
	return []string{
		"/etc/kubernetes/pki", "/var/lib/kubelet/pki", "/etc/kubeadm",
		"/var/lib/etcd/cert", "/etc/etcd/pki",
	}
}

// DefaultKubeconfigs are the kubeconfigs that ACK's manual renews.
func DefaultKubeconfigs() []string {
	return []string{
		"/etc/kubernetes/admin.conf", "/etc/kubernetes/kube.conf", "/etc/kubernetes/kubelet.conf",
		"/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf", "/root/.kube/config",
	}
}

// certificateNames are the files of a folder that should hold certificates.
func certificateNames() []string { return []string{"*.crt", "*.pem", "*.cer"} }

// keyNames are files that hold a private key and nothing else. They are never opened.
func keyNames() []string {
	return []string{"*.key", "key.pem", "*-key.pem", "*_key.pem", "*.key.pem"}
}

// generationNames are the files among which the kubelet's link kubelet-*-current.pem
// chooses. Only the one that it leads to is in use, and is read by way of the link.
func generationNames() []string {
	return []string{"kubelet-client-[0-9]*.pem", "kubelet-server-[0-9]*.pem"}
}

// fileClass tells who renews the certificates in a file, by the end of its path. The
// kubelet renews its own; of its first serving certificate the manual says that
// nothing depends on it. What a kubeconfig refers to is of the class of that file.
func fileClass(location string) Class {
	for _, c := range []struct {
		end   string
		class Class
	}{
		{"/kubelet-client-current.pem", ClassAutomatic},
		{"/kubelet-server-current.pem", ClassAutomatic},
		{"/kubelet-client.crt", ClassAutomatic},
		{"/kubelet/pki/kubelet.crt", ClassHarmless},
	} {
		if strings.HasSuffix(location, c.end) {
			return c.class
		}
	}
	return ClassManual
}

// FilesConfig says which files are read.
type FilesConfig struct {
	// Rootfs is where the host's root file system is.
	Rootfs string
	// Paths are absolute paths on the host of files and folders, with the wildcards of
	// path.Match. Folders are read with all folders below them. None: DefaultPaths.
	Paths []string
	// Kubeconfigs are such paths of kubeconfigs. None: DefaultKubeconfigs.
	Kubeconfigs []string
	Log         *slog.Logger
}

// Files reads the certificates in files of the node, and those in kubeconfigs or named
// by them.
//
// What is wrong with one file is told of that file, and is no failure of the collector.
type Files struct {
	rootfs   string
	patterns []filePattern
	log      *slog.Logger
	missed   map[string]bool // patterns without a match, which the log has already
}

// filePattern is one path to look at.
type filePattern struct {
	source Source
	path   string
	// given by the user, who will want to know that nothing is there.
	given bool
}

// NewFiles makes the collector. An error names the path that makes no sense.
func NewFiles(config FilesConfig) (*Files, error) {
	f := &Files{rootfs: config.Rootfs, log: config.Log, missed: make(map[string]bool)}
	for _, list := range []struct {
		what            string
		source          Source
		given, defaults []string
	}{
		{"path", SourceFile, config.Paths, DefaultPaths()},
		{"kubeconfig", SourceKubeconfig, config.Kubeconfigs, DefaultKubeconfigs()},
	} {
		patterns := list.given
		if len(patterns) == 0 {
			patterns = list.defaults
		}
		for _, pattern := range patterns {
			if err := checkPattern(pattern); err != nil {
				return nil, fmt.Errorf("%s %q: %w", list.what, pattern, err)
			}
			f.patterns = append(f.patterns, filePattern{list.source, path.Clean(pattern), len(list.given) > 0})
		}
	}
	return f, nil
}

func checkPattern(pattern string) error {
	if !path.IsAbs(pattern) {
		return errors.New("not an absolute path")
	}
	if strings.Contains(pattern, "**") {
		return errors.New("** is not known; a folder is read with all folders below it")
	}
	if matchesAny(keyNames(), path.Base(pattern)) {
		return errors.New("private keys are never opened")
	}
	_, err := path.Match(pattern, "")
	return err
}

// Families implements collector.Collector.
func (f *Files) Families() []*collector.Family { return families() }

// Collect implements collector.Collector.
func (f *Files) Collect(ctx context.Context) ([]prometheus.Metric, error) {
	entries, err := f.read(ctx)
	if err != nil {
		return nil, err
	}
	return exposition(entries, SourceFile, SourceKubeconfig), nil
}

// read reads everything once.
func (f *Files) read(ctx context.Context) ([]Entry, error) {
	root, err := hostfs.OpenRoot(f.rootfs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", collector.ErrUnavailable, err)
	}
	defer root.Close()
	p := newFilePass(root)
	for _, pattern := range f.patterns {
		f.look(ctx, p, pattern)
	}
	if err := p.judgeIssuers(ctx); err != nil {
		return nil, err
	}
	if len(p.entries) == 0 {
		return nil, fmt.Errorf("none of the paths exists: %w", collector.ErrNotApplicable)
	}
	return p.list(), nil
}

// look reads what is at one pattern. A path that the user has written out must exist;
// wildcards may match nothing, as on nodes of another kind, and the log has it once.
func (f *Files) look(ctx context.Context, p *filePass, pattern filePattern) {
	found := p.expand(ctx, pattern.source, "/", strings.Split(pattern.path[1:], "/"))
	wild := hasWildcard(pattern.path)
	switch {
	case found || !pattern.given:
		delete(f.missed, pattern.path)
	case !wild:
		p.entry(pattern.source, pattern.path).fail("", ReasonVanished)
	case !f.missed[pattern.path]:
		f.missed[pattern.path] = true
		f.log.Warn("no file for certificates", "source", string(pattern.source), "pattern", pattern.path)
	}
}

func hasWildcard(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		matched, err := path.Match(pattern, name)
		return err == nil && matched
	})
}
