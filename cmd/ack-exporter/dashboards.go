package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"ack-exporter/dashboards"
)

// dashboardsCommand writes the Grafana dashboards out.
type dashboardsCommand struct {
	name      string
	outputDir string
}

func addDashboardsCommand(app *kingpin.Application, tasks map[string]task) {
	c := &dashboardsCommand{}
	cmd := app.Command("dashboards", "Write out the Grafana dashboards: print their JSON documents one after another.")
	cmd.Arg("name", "The dashboard to print; by default, all.").StringVar(&c.name)
	cmd.Flag("output-dir", "Write a file for each into this directory instead.").PlaceHolder("DIR").StringVar(&c.outputDir)
	tasks[cmd.FullCommand()] = c.run
}

func (c *dashboardsCommand) run(_ context.Context, stdout io.Writer) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	var files []outputFile
	for _, name := range names {
		content, err := fs.ReadFile(dashboards.Files(), name+".json")
		if err != nil {
			return err
		}
		files = append(files, outputFile{name + ".json", strings.TrimRight(string(content), "\n") + "\n"})
	}
	if c.outputDir != "" {
		return writeFiles(stdout, c.outputDir, files)
	}
	for _, f := range files {
		if _, err := io.WriteString(stdout, f.content); err != nil {
			return err
		}
	}
	return nil
}

// names are those of the dashboards that were asked for, without the suffix.
func (c *dashboardsCommand) names() ([]string, error) {
	files, err := fs.Glob(dashboards.Files(), "*.json")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(file, ".json"))
	}
	if c.name == "" {
		return names, nil
	}
	name := strings.TrimSuffix(c.name, ".json")
	if !slices.Contains(names, name) {
		return nil, fmt.Errorf("no dashboard %q; there are: %s", c.name, strings.Join(names, ", "))
	}
	return []string{name}, nil
}
