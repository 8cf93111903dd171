//go:build e2e

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	nobody        = 65534
	scrapeTimeout = 15 * time.Second
	stopTimeout   = 10 * time.Second
	// refreshTimeout is how long a background refresh may take to come.
	refreshTimeout = 90 * time.Second
)

// exporter is a running exporter.
type exporter struct {
	name, address string
	cmd           *exec.Cmd
	log           *os.File
}

// identity is as whom an exporter runs.
type identity struct {
	name         string
	host         string // to listen at; 127.0.0.1 where it is empty
	port         int
	uid          uint32
	capabilities []uintptr
}

// identities of the exporters that run from before IPVS is loaded.
func identities() []identity {
	return []identity{
		{name: "root", port: 9777},
		{name: "netadmin", port: 9778, uid: nobody, capabilities: []uintptr{unix.CAP_NET_ADMIN}},
		{name: "nobody", port: 9779, uid: nobody},
	}
}

func (i identity) start(ctx context.Context) (*exporter, error) {
	e := &exporter{name: i.name, address: net.JoinHostPort(cmp.Or(i.host, "127.0.0.1"), strconv.Itoa(i.port))}
	var err error
	if e.log, err = os.Create("/run/" + i.name + ".log"); err != nil {
		return nil, err
	}
	e.cmd = exec.CommandContext(ctx, "/ack-exporter", "node",
		"--web.listen-address="+e.address, "--collector.ipvs_table.interval=3s")
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: i.uid, Gid: i.uid},
		AmbientCaps: i.capabilities,
	}
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the exporter as %s: %w", i.name, err)
	}
	err = eventually(ctx, scrapeTimeout, func() error {
		_, err := e.scrape(ctx)
		return err
	})
	return e, err
}

func (e *exporter) scrape(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.address+"/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.500s", response.StatusCode, body)
	}
	return string(body), err
}

// scrapeAfter scrapes until the background collector has refreshed in a pass
// that began after since. Where that does not happen in time it returns the last
// scrape: what is wrong with it, the test outside can tell better.
func (e *exporter) scrapeAfter(ctx context.Context, since time.Time) (string, error) {
	var body string
	errStale := errors.New("no refresh")
	err := eventually(ctx, refreshTimeout, func() (err error) {
		if body, err = e.scrape(ctx); err == nil && !refreshBegan(body).After(since) {
			err = errStale
		}
		return err
	})
	if errors.Is(err, errStale) {
		err = nil
	}
	return body, err
}

// relevant leaves of a scrape what tells of IPVS and its collectors: all of it
// would take longer to write than everything else takes.
func relevant(body string) string {
	var b strings.Builder
	for line := range strings.Lines(body) {
		if strings.Contains(line, "ipvs") || strings.HasPrefix(line, "# TYPE ack_exporter_collector_") ||
			strings.HasPrefix(line, "# TYPE ack_kernel_log_events_total") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// refreshBegan is when the last successful refresh of ipvs_table began.
func refreshBegan(body string) time.Time {
	const collector = `{collector="ipvs_table"} `
	var ended, took float64
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), collector)
		if !ok {
			continue
		}
		// A value that is no number leaves 0, long ago.
		number, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "ack_exporter_collector_last_success_timestamp_seconds":
			ended = number
		case "ack_exporter_collector_duration_seconds":
			took = number
		}
	}
	return time.UnixMicro(int64((ended - took) * 1e6))
}

// stop ends the exporter and returns what it logged, and how it ended.
func (e *exporter) stop() (log, status string, err error) {
	kill := time.AfterFunc(stopTimeout, func() { _ = e.cmd.Process.Kill() })
	defer kill.Stop()
	if err := e.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return "", "", fmt.Errorf("stop the exporter %s: %w", e.name, err)
	}
	_ = e.cmd.Wait() // the state says it too
	content, err := os.ReadFile(e.log.Name())
	return string(content), e.cmd.ProcessState.String(), errors.Join(err, e.log.Close())
}
