package coredns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// up lists the checks that the reply passes, and counts all.
func up(r Reply) (passed string, asked int) {
	var names []string
	for _, check := range slices.Sorted(maps.Keys(r.Up)) {
		if r.Up[check] {
			names = append(names, string(check))
		}
	}
	return strings.Join(names, " "), len(r.Up)
}

func TestAsk(t *testing.T) {
	t.Parallel()
	const everything = "dns_tcp dns_udp health metrics ready"
	metrics := metricsOf("1.12.1", "sha512", "abc")
	healthy := func(t *testing.T, n *network) { n.serveHealthy(t, "10.0.0.1", metrics) }
	tests := map[string]struct {
		serve func(t *testing.T, n *network)
		want  string
	}{
		"healthy": {healthy, everything},
		"not ready": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", readyPort, say(http.StatusServiceUnavailable, "kubernetes"))
		}, "dns_tcp dns_udp health metrics"},
		"redirects": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", healthPort, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://10.0.0.1:8181/ready", http.StatusFound)
			})
		}, "dns_tcp dns_udp metrics ready"},
		"refuses everything": {func(*testing.T, *network) {}, ""},
		"refuses TCP": {func(t *testing.T, n *network) {
			healthy(t, n)
			delete(n.servers, "tcp 10.0.0.1:53")
		}, "dns_udp health metrics ready"},
		"no such name": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveDNS(t, "10.0.0.1", withRcode(dns.RcodeNameError))
		}, everything},
		"server failure": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveDNS(t, "10.0.0.1", withRcode(dns.RcodeServerFailure))
		}, "health metrics ready"},
		"refuses to answer": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveDNS(t, "10.0.0.1", withRcode(dns.RcodeRefused))
		}, "health metrics ready"},
		"answers another question": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveDNS(t, "10.0.0.1", func(w dns.ResponseWriter, q *dns.Msg) {
				m := new(dns.Msg).SetReply(q)
				m.Question[0].Name = "example.org."
				_ = w.WriteMsg(m)
			})
		}, "health metrics ready"},
		"sends the question back": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveDNS(t, "10.0.0.1", func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(q) })
		}, "health metrics ready"},
		"garbage": {func(t *testing.T, n *network) {
			n.serveRaw(t, "10.0.0.1", []byte("\x00\x05garbage and more garbage\x00\xff"))
		}, ""},
		"garbage for metrics": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", metricsPort, say(http.StatusOK, "coredns_build_info{ 1\n"))
		}, "dns_tcp dns_udp health ready"},
		"metrics of something else": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", metricsPort, say(http.StatusOK, "up 1\n"))
		}, "dns_tcp dns_udp health ready"},
		"large metrics": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", metricsPort, say(http.StatusOK, metrics+strings.Repeat("coredns_cache_entries 1\n", 400_000)))
		}, everything},
		"huge metrics": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", metricsPort, say(http.StatusOK, metrics+strings.Repeat("coredns_cache_entries 1\n", maxMetrics/20)))
		}, "dns_tcp dns_udp health ready"},
		"huge line of metrics": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", metricsPort, say(http.StatusOK, metrics+strings.Repeat("x", maxLine+1)))
		}, "dns_tcp dns_udp health ready"},
		"too many metrics that are used": {func(t *testing.T, n *network) {
			healthy(t, n)
			n.serveHTTP(t, "10.0.0.1", metricsPort, say(http.StatusOK, metrics+strings.Repeat("coredns_panics_total 1\n", maxKept/20)))
		}, "dns_tcp dns_udp health ready"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork()
			test.serve(t, n)
			timeout := patience
			if name == "garbage" {
				timeout = quick // over UDP it is not taken for an answer
			}
			replicas := []Replica{{Pod: "a", Address: "10.0.0.1"}}
			if err := newTestProber(t, n, timeout).Ask(t.Context(), replicas); err != nil {
				t.Fatal(err)
			}
			got, asked := up(replicas[0].Asked)
			if got != test.want || asked != len(checks()) {
				t.Errorf("passed %q of %d checks, want %q", got, asked, test.want)
			}
			if known := replicas[0].Asked.Facts != nil; known != strings.Contains(test.want, "metrics") {
				t.Errorf("facts are known: %t", known)
			}
		})
	}
}

// TestAskHanging shows that replicas which hang cost their own time only.
func TestAskHanging(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	var replicas []Replica
	for i := range 6 {
		address := fmt.Sprintf("10.0.0.%d", i)
		if i < 5 {
			n.serveHanging(t, address)
		} else {
			n.serveHealthy(t, address, metricsOf("1.12.1", "", ""))
		}
		replicas = append(replicas, Replica{Address: address})
	}
	if err := newTestProber(t, n, quick).Ask(t.Context(), replicas); err != nil {
		t.Fatal(err)
	}
	for i, r := range replicas {
		want := ""
		if i == 5 {
			want = "dns_tcp dns_udp health metrics ready"
		}
		if got, asked := up(r.Asked); got != want || asked != len(checks()) {
			t.Errorf("replica %d passed %q of %d", i, got, asked)
		}
	}
}

// TestAskNoTime shows that no question is put without the time to wait for its answer.
func TestAskNoTime(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	n.serveHealthy(t, "10.0.0.1", metricsOf("1.12.1", "", ""))
	ctx, cancel := context.WithTimeout(t.Context(), patience-time.Second)
	defer cancel()
	replicas := []Replica{{Address: "10.0.0.1"}}
	err := newTestProber(t, n, patience).Ask(ctx, replicas)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 of 5") {
		t.Errorf("got %v", err)
	}
	if len(replicas[0].Asked.Up) > 0 {
		t.Errorf("got %v", replicas[0].Asked.Up)
	}
}

// TestAskCancelled shows that Ask ends at once with its context, and that what it was
// waiting for then tells nothing.
func TestAskCancelled(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	n.serveHanging(t, "10.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n.serveHTTP(t, "10.0.0.1", readyPort, func(http.ResponseWriter, *http.Request) { cancel() })
	replicas := []Replica{{Address: "10.0.0.1"}}
	err := newTestProber(t, n, time.Hour).Ask(ctx, replicas)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for check, up := range replicas[0].Asked.Up {
		if check != CheckReady || !up {
			t.Errorf("%s is %t", check, up)
		}
	}
}

func TestAskSome(t *testing.T) {
	t.Parallel()
	replicas := []Replica{{Pod: "without address"}}
	for range maxAsked + 1 {
		replicas = append(replicas, Replica{Address: "10.0.0.1"})
	}
	if err := newTestProber(t, newNetwork(), patience).Ask(t.Context(), replicas); err != nil {
		t.Fatal(err)
	}
	for i, r := range replicas {
		want := len(checks())
		if i == 0 || i == len(replicas)-1 {
			want = 0
		}
		if _, asked := up(r.Asked); asked != want {
			t.Errorf("replica %d was asked %d times, want %d", i, asked, want)
		}
	}
}

func TestAskPanic(t *testing.T) {
	t.Parallel()
	p, err := NewProber(ProberConfig{
		Dial:    func(context.Context, string, string) (net.Conn, error) { panic("boom") },
		Timeout: patience, Concurrency: 1, Name: testName, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.contained(t.Context(), CheckDNSUDP, "10.0.0.1"); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
}

func TestNewProber(t *testing.T) {
	t.Parallel()
	good := ProberConfig{Timeout: time.Second, Concurrency: 1, Name: testName, Log: slog.New(slog.DiscardHandler)}
	if _, err := NewProber(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*ProberConfig){
		"timeout":   func(c *ProberConfig) { c.Timeout = 0 },
		"less than": func(c *ProberConfig) { c.Concurrency = 0 },
		"not a name": func(c *ProberConfig) {
			c.Name = strings.Repeat("a", 64) + ".example"
		},
		`"" is not`: func(c *ProberConfig) { c.Name = "" },
		"logger":    func(c *ProberConfig) { c.Log = nil },
	} {
		c := good
		change(&c)
		if _, err := NewProber(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func FuzzFacts(f *testing.F) {
	f.Add(metricsOf("1.12.1", "sha512", "abc"))
	f.Add("coredns_build_info 1\ncoredns_panics_total NaN\n")
	f.Add("# TYPE coredns_build_info histogram\ncoredns_build_info 1\n")
	f.Add("coredns_build_info{version=\"\xff\"} 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		facts, err := readFacts(strings.NewReader(text))
		if (facts == nil) != (err != nil) {
			t.Fatalf("%v, %v", facts, err)
		}
	})
}
