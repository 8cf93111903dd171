package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"ack-exporter/alerts"
	"ack-exporter/collector"
	"ack-exporter/internal/rulelint"
)

// maxLintFiles bounds the files of one rules lint.
const maxLintFiles = 1000

// rulesCommand writes the rule pack out.
type rulesCommand struct {
	outputDir     string
	runbookPrefix string
	prefixGiven   bool
}

// lintCommand checks rule files against the metrics of the exporter.
type lintCommand struct {
	files        []string
	targetLabels []string
}

func addRulesCommands(app *kingpin.Application, tasks map[string]task) {
	rules := app.Command("rules", "Write out the recording rules and alerts, or check rules of your own.")

	write := &rulesCommand{}
	cmd := rules.Command("write", "Print the rule file for Prometheus.").Default()
	cmd.Flag("output-dir", "Write the rule file and an example for Alertmanager into this directory instead.").
		PlaceHolder("DIR").StringVar(&write.outputDir)
	cmd.Flag("runbook-url-prefix", "Where the runbooks are, as in https://example.com/runbooks; by default, at an exporter on the same machine.").
		PlaceHolder("URL").IsSetByUser(&write.prefixGiven).StringVar(&write.runbookPrefix)
	tasks[cmd.FullCommand()] = write.run

	lint := &lintCommand{}
	cmd = rules.Command("lint", "Check rule files, and manifests of the kind PrometheusRule, against the metrics that the exporter has.")
	cmd.Arg("file", "Files to check.").Required().StringsVar(&lint.files)
	cmd.Flag("target-label", "A label that Prometheus adds to all series of the exporter; may be repeated.").
		PlaceHolder("NAME").StringsVar(&lint.targetLabels)
	tasks[cmd.FullCommand()] = lint.run
}

func (c *rulesCommand) run(_ context.Context, stdout io.Writer) error {
	rules := alerts.Rules()
	if c.prefixGiven {
		var err error
		if rules, err = alerts.RulesWithRunbooksAt(c.runbookPrefix); err != nil {
			return fmt.Errorf("--runbook-url-prefix: %w", err)
		}
	}
	if c.outputDir == "" {
		_, err := io.WriteString(stdout, rules)
		return err
	}
	return writeFiles(stdout, c.outputDir, []outputFile{
		{alerts.RulesFile, rules},
		{alerts.AlertmanagerFile, alerts.AlertmanagerExample()},
	})
}

func (c *lintCommand) run(ctx context.Context, stdout io.Writer) error {
	if len(c.files) > maxLintFiles {
		return fmt.Errorf("more than %d files", maxLintFiles)
	}
	families, err := families()
	if err != nil {
		return err
	}
	linter := rulelint.New(rulelint.Options{
		Families:     families,
		Records:      rulelint.Parse(alerts.RulesFile, []byte(alerts.Rules())).Records(),
		TargetLabels: c.targetLabels,
	})
	var files []*rulelint.File
	rules, problems := 0, 0
	for _, name := range c.files {
		content, err := readRules(name)
		if err != nil {
			fmt.Fprintln(stdout, rulelint.Finding{File: name, Message: err.Error()})
			problems++
			continue
		}
		file := rulelint.Parse(name, content)
		files = append(files, file)
		rules += len(file.Rules)
	}
	findings, err := linter.Lint(ctx, files...)
	if err != nil {
		return err
	}
	for _, f := range findings {
		fmt.Fprintln(stdout, f)
	}
	if problems += len(findings); problems > 0 {
		return fmt.Errorf("%s in %s", count(problems, "problem"), count(len(c.files), "file"))
	}
	_, err = fmt.Fprintf(stdout, "%s in %s: no problems\n", count(rules, "rule"), count(len(files), "file"))
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// readRules reads a file up to the size that the linter takes. The error does not
// name the file.
func readRules(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, rulelint.MaxFileBytes+1))
	return content, reason(err)
}

// reason is err without the path that it is about.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// families lists what the exporter can expose under names of its own, whichever
// collectors are switched on.
func families() ([]rulelint.Family, error) {
	app := kingpin.New(programName, "")
	node, cluster := addNodeCommand(app), addClusterCommand(app)
	quiet := slog.New(slog.DiscardHandler)
	nodeSpecs, err := withAllCollectors(app, "node", func() ([]collector.Spec, error) { return node.specs(quiet) })
	if err != nil {
		return nil, err
	}
	clusterSpecs, err := withAllCollectors(app, "cluster", func() ([]collector.Spec, error) { return cluster.offlineSpecs(quiet) })
	if err != nil {
		return nil, err
	}
	set, err := collector.NewSet(quiet, slices.Concat(nodeSpecs, clusterSpecs)...)
	if err != nil {
		return nil, err
	}
	all, err := buildFamilies()
	if err != nil {
		return nil, err
	}
	for _, f := range set.Families() {
		all = append(all, rulelint.Family{Name: f.Name, Type: f.TypeName(), Labels: f.Labels})
	}
	return all, nil
}

// withAllCollectors makes the collectors of a role with each of them switched on.
func withAllCollectors(app *kingpin.Application, role string, specs func() ([]collector.Spec, error)) ([]collector.Spec, error) {
	args := []string{role}
	for _, flag := range app.GetCommand(role).Model().Flags {
		if flag.IsBoolFlag() && strings.HasPrefix(flag.Name, "collector.") {
			args = append(args, "--"+flag.Name)
		}
	}
	if _, err := app.Parse(args); err != nil {
		return nil, err
	}
	return specs()
}

// buildFamilies lists what tells the version of the exporter.
func buildFamilies() ([]rulelint.Family, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(versioncollector.NewCollector(metricsNamespace)); err != nil {
		return nil, err
	}
	gathered, err := registry.Gather()
	var all []rulelint.Family
	for _, f := range gathered {
		family := rulelint.Family{Name: f.GetName(), Type: strings.ToLower(f.GetType().String())}
		for _, label := range f.GetMetric()[0].GetLabel() {
			family.Labels = append(family.Labels, label.GetName())
		}
		all = append(all, family)
	}
	return all, err
}

// outputFile is a file that is written for the user.
type outputFile struct {
	name, content string
}

// writeFiles writes files into dir, which it makes, and lists them on stdout. A
// file is there as a whole or not at all.
func writeFiles(stdout io.Writer, dir string, files []outputFile) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--output-dir: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := writeFile(path, f.content); err != nil {
			return fmt.Errorf("--output-dir: %w", err)
		}
		fmt.Fprintln(stdout, path)
	}
	return nil
}

func writeFile(path, content string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = temporary.WriteString(content)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
