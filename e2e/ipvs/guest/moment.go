//go:build e2e

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	tablesFolder     = "/proc/1/net"
	parametersFolder = "/proc/sys/net/ipv4/vs"
	commandTimeout   = 30 * time.Second
	// attempts to find a moment in which nothing changes by itself.
	attempts = 5
)

func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", cmd, err, stderr.String())
	}
	return stdout.String(), nil
}

// ipvsadm runs one line of arguments.
func ipvsadm(ctx context.Context, line string) (string, error) {
	return run(ctx, "ipvsadm", strings.Fields(line)...)
}

// truth is what there is to be seen without the exporter, by the name of the
// section in which it is recorded.
type truth map[string]string

// readTruth leaves ipvsadm out where IPVS is not loaded: it would ask for the
// module.
func readTruth(ctx context.Context) (truth, error) {
	t := make(truth)
	for section, file := range map[string]string{"modules": "/proc/modules", "modprobe": modprobeLog} {
		if err := t.readFile(section, file); err != nil {
			return nil, err
		}
	}
	_, err := os.Stat(tablesFolder + "/ip_vs")
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	for section, arguments := range map[string]string{
		"services": "-L -n", "connections": "-L -n -c", "timeouts": "-L --timeout",
	} {
		if t[section], err = ipvsadm(ctx, arguments); err != nil {
			return nil, err
		}
	}
	for _, file := range []string{"ip_vs", "ip_vs_conn"} {
		if err := t.readFile("proc/"+file, filepath.Join(tablesFolder, file)); err != nil {
			return nil, err
		}
	}
	t["parameters"], err = readParameters()
	return t, err
}

func (t truth) readFile(section, path string) error {
	content, err := os.ReadFile(path)
	t[section] = string(content)
	return err
}

// readParameters returns a line "name: value" for each file.
func readParameters() (string, error) {
	entries, err := os.ReadDir(parametersFolder)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, entry := range entries {
		value, err := os.ReadFile(filepath.Join(parametersFolder, entry.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s: %s\n", entry.Name(), strings.TrimSpace(string(value)))
	}
	return b.String(), nil
}

// expires is the column of a connection that counts down.
var expires = regexp.MustCompile(`^(\w+ +)\d+:\d+ `)

// same tells whether t and u differ only in what always changes.
func (t truth) same(u truth) bool {
	for _, section := range []string{"modules", "services", "timeouts", "parameters"} {
		if t[section] != u[section] {
			return false
		}
	}
	return slices.Equal(sortedConnections(t), sortedConnections(u))
}

func sortedConnections(t truth) []string {
	lines := strings.Split(t["connections"], "\n")
	for i, line := range lines {
		lines[i] = expires.ReplaceAllString(line, "$1")
	}
	slices.Sort(lines)
	return lines
}

// moment records what the kernel says and what the exporters say, in a moment in
// which the kernel said the same before and after.
func (s *scene) moment(ctx context.Context, name string) error {
	var before, after truth
	var scrapes map[string]string
	for range attempts {
		var err error
		if before, err = readTruth(ctx); err != nil {
			return err
		}
		if scrapes, err = s.scrapes(ctx); err != nil {
			return err
		}
		if after, err = readTruth(ctx); err != nil {
			return err
		}
		if before.same(after) {
			break
		}
	}
	for section, body := range after {
		s.record.section(name+"/"+section, body)
	}
	for exporter, body := range scrapes {
		s.record.section(name+"/scrape/"+exporter, relevant(body))
	}
	if !before.same(after) {
		return fmt.Errorf("moment %s: the kernel does not come to rest", name)
	}
	return nil
}

func (s *scene) scrapes(ctx context.Context) (map[string]string, error) {
	since := time.Now()
	bodies := make(map[string]string)
	for _, e := range s.exporters {
		body, err := e.scrapeAfter(ctx, since)
		if err != nil {
			return nil, fmt.Errorf("scrape the exporter %s: %w", e.name, err)
		}
		bodies[e.name] = body
	}
	return bodies, nil
}
