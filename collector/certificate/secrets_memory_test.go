package certificate

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"ack-exporter/internal/kube"
	"ack-exporter/internal/kube/kubetest"
	"ack-exporter/internal/server/servertest"
)

// What a helper process is told by its environment: where the API server is and what
// it is signed by, and that it is to hold on to what it sees.
const (
	secretHelperHost = "SECRET_HELPER_HOST"
	secretHelperCA   = "SECRET_HELPER_CA"
	secretHelperKeep = "SECRET_HELPER_KEEP"
)

// secretHelper is this test in a process of its own, which follows Secrets and does
// what it is told line by line.
type secretHelper struct {
	t       testing.TB
	api     *kubetest.API
	in      io.WriteCloser
	answers *bufio.Scanner
}

func newSecretHelper(t testing.TB, api *kubetest.API, environment ...string) *secretHelper {
	t.Helper()
	config := secretServer(t, api)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSecretsHelper$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), append(environment,
		secretHelperHost+"="+config.Host, secretHelperCA+"="+string(config.CAData))...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &secretHelper{t, api, in, bufio.NewScanner(out)}
}

// tell gives a command.
func (h *secretHelper) tell(command ...string) {
	h.t.Helper()
	if _, err := fmt.Fprintln(h.in, strings.Join(command, " ")); err != nil {
		h.t.Fatal(err)
	}
}

// answer is the next one.
func (h *secretHelper) answer() string {
	h.t.Helper()
	if !h.answers.Scan() {
		h.t.Fatalf("there is no answer: %v", h.answers.Err())
	}
	return h.answers.Text()
}

// number is for answers that are one.
func (h *secretHelper) number() float64 {
	h.t.Helper()
	n, err := strconv.ParseFloat(h.answer(), 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// ask is for commands that are answered at once.
func (h *secretHelper) ask(command string) float64 {
	h.t.Helper()
	h.tell(command)
	return h.number()
}

// dump is all memory of the helper.
func (h *secretHelper) dump() []byte {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), "heap")
	h.tell("dump", path)
	h.answer()
	dump, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return dump
}

// awaitWatch waits until so many watches have begun.
func (h *secretHelper) awaitWatch(n int) {
	h.t.Helper()
	servertest.Await(h.t, func() bool { return h.watches() >= n }, func() string {
		return fmt.Sprintf("%d watches of %d", h.watches(), n)
	})
}

func (h *secretHelper) watches() (n int) {
	for _, r := range h.api.Requests() {
		if r.Watch {
			n++
		}
	}
	return n
}

// TestSecretsHelper is the helper process.
func TestSecretsHelper(t *testing.T) {
	host := os.Getenv(secretHelperHost)
	if host == "" {
		t.Skip("not a helper")
	}
	var kept [][]byte
	digest := DigestSecret
	if os.Getenv(secretHelperKeep) != "" {
		digest = func(o kube.Object) (*Secret, error) {
			kept = append(kept, bytes.Clone(o.Bytes))
			return DigestSecret(o)
		}
	}
	before := secretHeap()
	config := &rest.Config{Host: host, QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(os.Getenv(secretHelperCA))}}
	feed := secretFeed(t, config, digest)
	collector := NewSecrets(feed, secretIngressList{})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		var answer any
		switch command {
		case "locations":
			secrets, err := feed.List()
			answer = len(secrets)
			if err != nil {
				answer = -1
			}
		case "dump":
			answer = secretDump(t, argument)
		case "kept":
			answer = secretHeap() - before
		case "peak":
			answer = secretPeak(t, feed, argument)
		case "collect":
			answer = secretCollect(t, collector)
		}
		b, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.Write(append(b, '\n'))
	}
	runtime.KeepAlive(kept)
}

// secretHeap is what is in use once there is no garbage.
func secretHeap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// secretDump writes all memory that is in use into a file.
func secretDump(t *testing.T, path string) string {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runtime.GC()
	runtime.GC()
	debug.WriteHeapDump(f.Fd())
	return "done"
}

// secretPeak is the largest heap, garbage and all, until the Feed has so many Secrets
// of which it did not know before.
func secretPeak(t *testing.T, feed *kube.Feed[*Secret], begun string) uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	_ = os.WriteFile(begun, nil, 0o600)
	var peak uint64
	failed := false
	servertest.Await(t, func() bool {
		metrics.Read(sample)
		peak = max(peak, sample[0].Value.Uint64())
		_, err := feed.List()
		failed = failed || err != nil
		return failed && err == nil
	}, func() string { return "no list" })
	return peak
}

func secretCollect(t *testing.T, c *Secrets) float64 {
	const times = 20
	began := time.Now()
	for range times {
		if _, err := c.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began).Seconds() / times
}

// secretMarkers are what a private key looks like in memory, in the orders of bytes in
// which numbers are kept.
func secretMarkers(t *testing.T, p *secretPair) map[string][]byte {
	t.Helper()
	block, _ := pem.Decode(p.key)
	lines := bytes.Split(bytes.TrimSpace(p.key), []byte("\n"))
	// The first lines of all keys of a kind are alike.
	markers := map[string][]byte{"PEM": lines[len(lines)-2], "DER": block.Bytes[len(block.Bytes)-80:][:32]}
	number := func(name string, b []byte) {
		markers[name] = b[:24]
		reversed := slices.Clone(b)
		slices.Reverse(reversed)
		markers[name+" reversed"] = reversed[:24]
	}
	switch key := p.signer.(type) {
	case *ecdsa.PrivateKey:
		private, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		number("d", private)
		delete(markers, "DER") // the public key is in its end
	case *rsa.PrivateKey:
		number("d", key.D.Bytes())
		number("p", key.Primes[0].Bytes())
		number("q", key.Primes[1].Bytes())
	default:
		t.Fatalf("a key of the kind %T", key)
	}
	return markers
}

// TestSecretsPrivateKeysAreNotKept proves by a dump of all memory that nothing is
// left of private keys, of a list and of events, in any form in which they were there.
// Another process, which keeps them, proves that they would be found.
func TestSecretsPrivateKeysAreNotKept(t *testing.T) {
	t.Parallel()
	for name, environment := range map[string][]string{"not kept": nil, "kept": {secretHelperKeep + "=1"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			markers := make(map[string][]byte)
			api := kubetest.New()
			secret := func(name string, serial int64, signer crypto.Signer) *corev1.Secret {
				p := secretIssue(t, nil, signer, "subject-of-"+name, serial, 90, name+".example")
				for kind, marker := range secretMarkers(t, p) {
					markers[name+" "+kind] = marker
				}
				return secretTLS("a", name, p.chain, p.key, nil)
			}
			api.Put(secret("listed-ec", 0x71a2b3c4d5e6f701, secretECKey(t)), secret("listed-rsa", 0x71a2b3c4d5e6f702, secretRSAKey(t)))
			h := newSecretHelper(t, api, environment...)
			h.awaitWatch(1)
			requireSecretMarkers(t, h.dump(), markers, environment != nil)
			// Both at once: the next watch begins after the last of them.
			api.Put(secret("watched-rsa", 0x71a2b3c4d5e6f703, secretRSAKey(t)), secret("watched-ec", 0x71a2b3c4d5e6f704, secretECKey(t)))
			h.awaitWatch(2)
			if n := h.ask("locations"); n != 4 {
				t.Fatalf("%v Secrets", n)
			}
			dump := h.dump()
			for _, public := range []string{"71a2b3c4d5e6f701", "71a2b3c4d5e6f704", "subject-of-listed-rsa", "a/watched-rsa"} {
				if !bytes.Contains(dump, []byte(public)) {
					t.Errorf("%q is not in the dump of %d bytes", public, len(dump))
				}
			}
			requireSecretMarkers(t, dump, markers, environment != nil)
		})
	}
}

func requireSecretMarkers(t *testing.T, dump []byte, markers map[string][]byte, kept bool) {
	t.Helper()
	for name, marker := range markers {
		found := bytes.Contains(dump, marker)
		switch {
		case found && !kept:
			t.Errorf("%s is in memory", name)
		case !found && kept && strings.HasSuffix(name, "PEM"):
			t.Errorf("%s is not found where it was kept", name)
		}
	}
}

const secretScale = 10_000

// BenchmarkSecrets measures a process that follows 10,000 Secrets, each with a leaf and
// its intermediate certificate.
func BenchmarkSecrets(b *testing.B) {
	api := kubetest.New()
	root := secretIssue(b, nil, secretECKey(b), "Root", 1, 1000)
	intermediate := secretIssue(b, root, secretECKey(b), "Intermediate", 2, 900)
	key := secretECKey(b)
	put := func(generation int64) {
		secrets := make([]*corev1.Secret, secretScale)
		for i := range secrets {
			name := fmt.Sprintf("service-%d.shop.example", i)
			p := secretIssue(b, intermediate, key, name, 1<<60|generation<<40|int64(i), 90, name, "www."+name)
			secrets[i] = secretTLS("shop", name, append(p.chain, intermediate.chain...), p.key, nil)
		}
		api.Put(secrets...)
	}
	put(1)
	h := newSecretHelper(b, api)
	h.awaitWatch(1)
	kept := h.ask("kept")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(kept/secretScale, "B/Secret")
	b.ReportMetric(1000*h.ask("collect"), "collect-ms")

	begun := filepath.Join(b.TempDir(), "begun")
	h.tell("peak", begun)
	servertest.Await(b, func() bool {
		_, err := os.Stat(begun)
		return err == nil
	}, func() string { return "the helper does not begin" })
	api.Forget()
	api.Drop()
	b.ReportMetric(h.number()/kept, "peak/kept")
	b.ReportMetric(h.ask("kept")/kept, "after/kept")
}
