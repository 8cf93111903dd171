//go:build e2e

package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// smallModule is a module with a program that says under which name it was
// started, and the version that it was stamped with.
func smallModule(t *testing.T) (m module, source string) {
	t.Helper()
	source = t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module small\n\ngo 1.26.0\n\nrequire example.com/stamped v1.2.3\n\nreplace example.com/stamped => ./stamped\n",
		"main.go": `package main

import "os"

var gitVersion, gitMajor, gitMinor string

func main() { os.Stdout.WriteString(os.Args[0] + " " + gitVersion + " " + gitMajor + " " + gitMinor) }
`,
	} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return module{name: "small", programs: []string{"one", "two"}, stamped: "example.com/stamped", stamps: []string{"main"}}, source
}

func modified(t *testing.T, path string) time.Time {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// TestBuild builds a small module, by several at a time.
func TestBuild(t *testing.T) {
	t.Parallel()
	m, source := smallModule(t)
	cache := t.TempDir()
	if found, err := m.foundIn(t.Context(), cache, source); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before it was built there is %s, %v", found, err)
	}
	var folders [3]string
	var errs [3]error
	var builders sync.WaitGroup
	for i := range folders {
		builders.Go(func() { folders[i], errs[i] = m.builtIn(t.Context(), cache, source) })
	}
	builders.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if folders[0] != folders[1] || folders[0] != folders[2] {
		t.Errorf("the folders are %q", folders)
	}
	for _, program := range m.programs {
		path := filepath.Join(folders[0], program)
		out, err := exec.CommandContext(t.Context(), path).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := path + " v1.2.3 1 2"; string(out) != want {
			t.Errorf("%s says %q, want %q", program, out, want)
		}
	}

	before := modified(t, folders[0])
	if found, err := m.foundIn(t.Context(), cache, source); found != folders[0] || err != nil {
		t.Errorf("what was built is found as %q, %v", found, err)
	}
	again, err := m.builtIn(t.Context(), cache, source)
	if err != nil {
		t.Fatal(err)
	}
	if again != folders[0] || !modified(t, again).Equal(before) {
		t.Errorf("%s was built again, as %s", folders[0], again)
	}
	if err := os.WriteFile(filepath.Join(source, "more.go"), []byte("package main\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err = m.builtIn(t.Context(), cache, source); err != nil {
		t.Fatal(err)
	}
	if again == folders[0] {
		t.Error("a changed source gave the same folder")
	}
}

// TestBuildFails shows that a failure says why, and that nothing that is
// incomplete is taken for the result.
func TestBuildFails(t *testing.T) {
	t.Parallel()
	m, source := smallModule(t)
	cache := t.TempDir()
	broken := filepath.Join(source, "broken.go")
	if err := os.WriteFile(broken, []byte("package main\n\nfunc f() { undefined() }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := m.builtIn(t.Context(), cache, source); err == nil || !strings.Contains(err.Error(), "broken.go:3") {
			t.Fatalf("the error is %v", err)
		}
	}
	m.stamped = "example.com/other"
	if _, err := m.builtIn(t.Context(), cache, source); err == nil || !strings.Contains(err.Error(), "example.com/other") {
		t.Errorf("without the module whose version it is to tell: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.stamped = ""
	if _, err := m.builtIn(ctx, cache, source); !errors.Is(err, context.Canceled) {
		t.Errorf("with no time left: %v", err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestPrebuilt shows that a folder of programs takes the place of building them.
func TestPrebuilt(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(binVariable, folder)
	if _, err := Binary(t.Context(), programEtcd); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), binVariable) {
		t.Errorf("a folder without the program: %v", err)
	}
	want := filepath.Join(folder, programEtcd)
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Binary(t.Context(), programEtcd); got != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUnknownProgram(t *testing.T) {
	t.Setenv(binVariable, "")
	if _, err := Binary(t.Context(), "kube-proxy"); err == nil || !strings.Contains(err.Error(), "kube-proxy") {
		t.Errorf("the error is %v", err)
	}
}
