package sysctl_test

import (
	"os"
	"path/filepath"
	"testing"
)

// healthyTree copies the fixture of a healthy node, symbolic links included, to
// where a test may change it.
func healthyTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "proc")
	if err := os.CopyFS(dir, os.DirFS("testdata/4.19/proc")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
