// Package runbooks holds the runbooks as files of the program: a page for each
// alert, named after it, and README.md, which introduces them.
package runbooks

import (
	"embed"
	"io/fs"
)

//go:embed *.md
var pages embed.FS

// Pages has one Markdown file for each alert, and README.md.
func Pages() fs.FS { return pages }
