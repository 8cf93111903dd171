// Package dashboards holds the Grafana dashboards as files of the program.
package dashboards

import (
	"embed"
	"io/fs"
)

//go:embed *.json
var files embed.FS

// Files has one JSON document for each dashboard.
func Files() fs.FS { return files }
