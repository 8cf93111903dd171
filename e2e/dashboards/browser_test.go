//go:build e2e

package dashboards

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ack-exporter/e2e/internal/world"
)

const (
	stopTimeout = 10 * time.Second
	// maxMessage bounds what the browser answers; pictures are the largest.
	maxMessage = 64 << 20
)

// browser is a headless Chromium that is commanded through a pair of pipes, by
// the Chrome DevTools Protocol: JSON that ends with a zero byte. It ends with them.
type browser struct {
	commands io.Writer
	messages *bufio.Scanner
	lastID   int
	kill     func()
	// problems are what pages complained about.
	problems []string
}

// startBrowser starts a browser that reaches this machine only.
func startBrowser(t testing.TB) *browser {
	t.Helper()
	world.RequireTools(t, "chromium")
	commandsIn, commands := pipe(t)
	messages, messagesOut := pipe(t)
	// Not the test's context: that ends before the functions of t.Cleanup run.
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--remote-debugging-pipe",
		"--user-data-dir="+t.TempDir(),
		"--no-sandbox", // it refuses to run as root with one; all it sees is made by the tests
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-extensions", "--no-first-run", "--no-default-browser-check", "--log-level=3",
		"--disable-breakpad", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1")
	cmd.ExtraFiles = []*os.File{commandsIn, messagesOut} // 3 and 4, as the browser expects
	cmd.WaitDelay = stopTimeout
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start the browser: %v", err)
	}
	commandsIn.Close()
	messagesOut.Close()
	t.Cleanup(func() {
		commands.Close()
		kill := time.AfterFunc(stopTimeout, cancel)
		err := cmd.Wait()
		kill.Stop()
		cancel()
		if t.Failed() {
			t.Logf("the browser ended with %v:\n%s", err, stderr.String())
		}
	})
	scanner := bufio.NewScanner(messages)
	scanner.Buffer(nil, maxMessage)
	scanner.Split(splitAtZero)
	return &browser{commands: commands, messages: scanner, kill: cancel}
}

func pipe(t testing.TB) (in, out *os.File) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	return in, out
}

func splitAtZero(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

type object map[string]any

// call gives the browser a command, in the tab of the session where there is
// one, and waits for its result.
func (b *browser) call(session, method string, params object, result any) error {
	b.lastID++
	command := object{"id": b.lastID, "method": method, "params": params}
	if session != "" {
		command["sessionId"] = session
	}
	text, err := json.Marshal(command)
	if err != nil {
		return err
	}
	if _, err := b.commands.Write(append(text, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	answer, err := b.answer(b.lastID)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(answer, result); err != nil {
		return fmt.Errorf("%s: decode the result: %w", method, err)
	}
	return nil
}

// answer reads up to the answer to the command. What the page complains about
// meanwhile is kept.
func (b *browser) answer(id int) (json.RawMessage, error) {
	for b.messages.Scan() {
		var m message
		if err := json.Unmarshal(b.messages.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("decode a message: %w", err)
		}
		switch {
		case m.ID == id && m.Error != nil:
			return nil, errors.New(m.Error.Message)
		case m.ID == id:
			return m.Result, nil
		case m.ID == 0:
			b.note(m)
		}
	}
	if err := b.messages.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// note keeps uncaught exceptions, and errors such as a file that is not there.
func (b *browser) note(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown":
		b.problems = append(b.problems, fmt.Sprintf("uncaught exception: %.1000s", m.Params))
	case "Log.entryAdded":
		var event struct {
			Entry struct{ Level, Text, URL string }
		}
		if err := json.Unmarshal(m.Params, &event); err != nil {
			b.problems = append(b.problems, fmt.Sprintf("decode an entry of the log: %v", err))
		} else if entry := event.Entry; entry.Level == "error" && !expected(entry.URL) {
			b.problems = append(b.problems, entry.Text+" "+entry.URL)
		}
	}
}

// expected says whether it is no news that a file cannot be had: what Prometheus
// refuses is in the report, and Grafana's font is in none of its packages, so that
// the system's is used.
func expected(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && (strings.HasPrefix(parsed.Path, "/prom/") || strings.HasPrefix(parsed.Path, "/fonts/"))
}
