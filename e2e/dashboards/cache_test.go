//go:build e2e

package dashboards

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ack-exporter/e2e/internal/npm"
)

const buildTimeout = 5 * time.Minute

// pageFiles are what the page depends on besides packages.
var pageFiles = []string{"index.html", "tsconfig.json", "vite.config.ts", "src", "types"}

func TestLockFile(t *testing.T) {
	t.Parallel()
	npm.CheckLockFile(t, "app")
}

// nodeModules returns a folder with node_modules as the lock file says.
func nodeModules(t testing.TB) string {
	t.Helper()
	return npm.Install(t, "dashboards-packages", "app")
}

// page returns the folder of the built page.
func page(t testing.TB) string {
	t.Helper()
	packages := nodeModules(t)
	folder := npm.Cached(t, "dashboards-page", "app", slices.Concat(npm.PackageFiles(), pageFiles), func(folder string) error {
		if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(folder, "node_modules")); err != nil {
			return err
		}
		return npm.Run(t, buildTimeout, folder, "npm", "run", "build")
	})
	return filepath.Join(folder, "dist")
}
