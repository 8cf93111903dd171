//go:build e2e

package cluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Programs that the harness runs.
const (
	programEtcd        = "etcd"
	programAPIServer   = "kube-apiserver"
	programControllers = "kube-controller-manager"
	programScheduler   = "kube-scheduler"
	programKubelet     = "kubelet"
	programCoreDNS     = "coredns"

	programKubeStateMetrics = "kube-state-metrics"
	programHelm             = "helm"
)

// binVariable names a folder of prebuilt programs.
const binVariable = "E2E_CLUSTER_BIN"

const (
	// buildTimeout is several times what all modules take on two cores.
	buildTimeout = 40 * time.Minute
	// progressInterval is the pause between two words about a build.
	progressInterval = 30 * time.Second
	lockInterval     = time.Second
)

// module is a Go module in build/, which makes one binary.
type module struct {
	name string
	// main is the package of the binary; empty: that of the folder.
	main string
	// programs are the names under which the binary is run.
	programs []string
	// stamped is a Go module whose version the binary is to tell, and stamps are
	// the packages that tell it.
	stamped string
	stamps  []string
}

var modules = []module{
	{name: "etcd", programs: []string{programEtcd}},
	{
		name:     "kubernetes",
		programs: []string{programAPIServer, programControllers, programScheduler, programKubelet},
		stamped:  "k8s.io/kubernetes",
		stamps:   []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"},
	},
	{name: "coredns", programs: []string{programCoreDNS}},
	// Only benchmarks need it.
	{name: "kube-state-metrics", programs: []string{programKubeStateMetrics}},
	{name: "helm", main: "helm.sh/helm/v3/cmd/helm", programs: []string{programHelm}},
}

// Binaries are the programs of a cluster.
type Binaries struct {
	Etcd, APIServer, CoreDNS string
	// These are the same binary as APIServer.
	Controllers, Scheduler, Kubelet string
}

// Build returns the programs. The first call on a machine builds them, which takes
// minutes.
func Build(ctx context.Context) (Binaries, error) { return binaries(ctx, module.builtIn) }

// Find returns the programs where they have been built. Where they have not, the
// error is os.ErrNotExist.
func Find(ctx context.Context) (Binaries, error) { return binaries(ctx, module.foundIn) }

// Binary is Build for one program.
func Binary(ctx context.Context, program string) (path string, err error) {
	return binary(ctx, program, module.builtIn)
}

// provider returns the folder with the programs of a module in the cache.
type provider func(m module, ctx context.Context, cache, source string) (folder string, err error)

func binaries(ctx context.Context, provide provider) (b Binaries, err error) {
	var errs []error
	for program, path := range map[string]*string{
		programEtcd: &b.Etcd, programAPIServer: &b.APIServer, programCoreDNS: &b.CoreDNS,
		programControllers: &b.Controllers, programScheduler: &b.Scheduler, programKubelet: &b.Kubelet,
	} {
		var err error
		*path, err = binary(ctx, program, provide)
		errs = append(errs, err)
	}
	return b, errors.Join(errs...)
}

func binary(ctx context.Context, program string, provide provider) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	if folder := os.Getenv(binVariable); folder != "" {
		path, err := filepath.Abs(filepath.Join(folder, program))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", binVariable, err)
		}
		return path, nil
	}
	i := slices.IndexFunc(modules, func(m module) bool { return slices.Contains(m.programs, program) })
	if i < 0 {
		return "", fmt.Errorf("no module builds %s", program)
	}
	repository, err := Repository(ctx)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	source := filepath.Join(repository, "e2e", "internal", "cluster", "build", modules[i].name)
	folder, err := provide(modules[i], ctx, filepath.Join(cache, "ack-exporter"), source)
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return filepath.Join(folder, program), nil
}

// foundIn returns the folder with the module's programs where they have been built.
func (m module) foundIn(_ context.Context, cache, source string) (string, error) {
	folder, _, err := m.folder(cache, source)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(folder); err != nil {
		return "", err
	}
	return folder, nil
}

// builtIn returns the folder with the module's programs, which are built where they
// are not there.
func (m module) builtIn(ctx context.Context, cache, source string) (string, error) {
	folder, flags, err := m.folder(cache, source)
	if err != nil {
		return "", err
	}
	if exists(folder) {
		return folder, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// One lock for all modules: a build alone keeps the machine busy.
	unlock, err := lock(ctx, filepath.Join(cache, "cluster-lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(folder) {
		return folder, nil // the one that we waited for has made it
	}
	return folder, m.build(ctx, source, flags, folder)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// folder is where the module's programs are when they are built, with these flags
// of the linker.
func (m module) folder(cache, source string) (folder, flags string, err error) {
	if flags, err = m.flags(source); err != nil {
		return "", "", err
	}
	key, err := cacheKey(source, flags)
	if err != nil {
		return "", "", err
	}
	return filepath.Join(cache, "cluster-"+m.name+"-"+key), flags, nil
}

// Repository is the folder of this source. It is found through the module in whose
// folders tests run, and go run.
func Repository(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "ack-exporter").Output()
	if err != nil {
		return "", fmt.Errorf("find the module ack-exporter: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// flags are those of the linker. They are the same for all modules, except for
// the version, so that what modules share is compiled once.
func (m module) flags(source string) (string, error) {
	flags := []string{"-s", "-w"}
	if m.stamped == "" {
		return strings.Join(flags, " "), nil
	}
	version, err := requiredVersion(filepath.Join(source, "go.mod"), m.stamped)
	if err != nil {
		return "", err
	}
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	for _, stamp := range m.stamps {
		flags = append(flags,
			"-X", stamp+".gitVersion="+version,
			"-X", stamp+".gitMajor="+major,
			"-X", stamp+".gitMinor="+minor)
	}
	return strings.Join(flags, " "), nil
}

// requiredVersion reads which version of a module a go.mod requires.
func requiredVersion(path, module string) (string, error) {
	goMod, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(goMod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s requires no %s", path, module)
}

// cacheKey stands for everything that the binary is made of.
func cacheKey(source, flags string) (string, error) {
	names, err := filepath.Glob(filepath.Join(source, "*"))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s\n", runtime.Version(), runtime.GOARCH, flags)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(name), len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// build fills folder, which appears when it is complete.
func (m module) build(ctx context.Context, source, flags, folder string) error {
	partial := folder + ".partial"
	// What an interrupted build has left behind; the lock says that none is under way.
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return err
	}
	stop := report("building " + m.name + ", once")
	defer stop()
	first := filepath.Join(partial, m.programs[0])
	cmd := exec.CommandContext(ctx, "nice", "go", "build", "-C", source, "-buildvcs=false", "-ldflags", flags, "-o", first,
		cmp.Or(m.main, "."))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	// The compiler's processes belong to the group. It ends with the caller,
	// even where that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, errors.Join(err, ctx.Err()), out.Bytes())
	}
	for _, program := range m.programs[1:] {
		if err := os.Link(first, filepath.Join(partial, program)); err != nil {
			return err
		}
	}
	return os.Rename(partial, folder)
}

// lock waits for other processes that hold the lock.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	stop := func() {}
	defer func() { stop() }()
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for waits := false; ; waits = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !waits {
			stop = report("waiting for another build")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ctx.Err()), f.Close())
		}
	}
}

// report says on standard error what goes on, now and again, until it is stopped.
func report(what string) (stop func()) {
	start := time.Now()
	fmt.Fprintf(os.Stderr, "%s\n", what)
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(os.Stderr, "%s: %s\n", what, time.Since(start).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		fmt.Fprintf(os.Stderr, "%s: ended after %s\n", what, time.Since(start).Round(time.Second))
	}
}
