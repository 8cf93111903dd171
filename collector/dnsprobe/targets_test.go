package dnsprobe

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"ack-exporter/collector"
)

func addrs(list ...string) []netip.Addr {
	a := make([]netip.Addr, len(list))
	for i, s := range list {
		a[i] = netip.MustParseAddr(s)
	}
	return a
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "targets.json")
	source := File(path)
	if _, err := source.Targets(t.Context()); !errors.Is(err, fs.ErrNotExist) || collector.ReasonOf(err) != collector.ReasonUnavailable {
		t.Errorf("no file: %v", err)
	}
	for content, want := range map[string]Targets{
		`{"version":1,"nodes":3,"cluster_dns":["172.21.0.10"],"coredns_pods":["10.0.0.6","10.0.0.5"]}`: {
			3, addrs("172.21.0.10"), addrs("10.0.0.5", "10.0.0.6"),
		},
		`{"version":1,"nodes":5000}`: {5000, addrs(), addrs()},
		`{"version":1,"nodes":1,"coredns_pods":["10.0.0.5","::ffff:10.0.0.5"]}`: {1, addrs(), addrs("10.0.0.5")},
		`{"version":1,"nodes":1,"cluster_dns":["169.254.20.10","fd00::a"]}` + "\n": {
			1, addrs("169.254.20.10", "fd00::a"), addrs(),
		},
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := source.Targets(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v", content, got, err)
		}
	}
}

func TestFileThatIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "targets.json")
	pods := func(list string) string { return `{"version":1,"nodes":1,"coredns_pods":[` + list + `]}` }
	many := make([]string, maxPods+1)
	for i := range many {
		many[i] = `"10.0.` + strconv.Itoa(i/256) + "." + strconv.Itoa(i%256) + `"`
	}
	for content, words := range map[string]string{
		"":                         "EOF",
		"[]":                       "cannot unmarshal array",
		`{"version":1,"nodes":1}{`: "something follows the object",
		`{"version":1,"nodes":1,"vpc_resolvers":["10.0.0.1"]}`: `unknown field "vpc_resolvers"`,
		`{"version":2,"nodes":1}`:                              "version: 2 is not 1",
		`{"nodes":1}`:                                          "version: 0 is not 1",
		`{"version":1}`:                                        "nodes: 0 is not between 1 and 100000",
		`{"version":1,"nodes":-1}`:                             "nodes: -1 is not",
		`{"version":1,"nodes":100001}`:                         "nodes: 100001 is not",
		`{"version":1,"nodes":1.5}`:                            "nodes",
		`{"version":1,"nodes":1,"cluster_dns":["kube-dns"]}`:   `cluster_dns: "kube-dns" is not an IP address`,
		pods(`"10.0.0.5:53"`):                                  `coredns_pods: "10.0.0.5:53" is not an IP address`,
		pods(`"fe80::1%eth0"`):                                 "is not an IP address",
		pods(`"127.0.0.1"`):                                    "coredns_pods: 127.0.0.1 is a loopback address",
		pods(`"::1"`):                                          "loopback",
		pods(`"::ffff:127.0.0.1"`):                             "loopback",
		pods(`"169.254.169.254"`):                              "169.254.169.254 is a link-local address",
		pods(`"fe80::1"`):                                      "link-local",
		pods(`"224.0.0.251"`):                                  "224.0.0.251 is not the address of one server",
		pods(`"ff02::fb"`):                                     "not the address of one server",
		pods(`"::ffff:255.255.255.255"`):                       "255.255.255.255 is not the address of one server",
		pods(`"0.0.0.0"`):                                      "not the address of one server",
		pods(`"::"`):                                           "not the address of one server",
		pods(`"100.100.2.136"`):                                "100.100.2.136 is in 100.64.0.0/10, which belongs to the cloud",
		pods(`"100.100.100.200"`):                              "belongs to the cloud",
		pods(strings.Join(many, ",")):                          "coredns_pods: 4097 addresses are more than 4096",
		pods(strings.Repeat(" ", maxFileSize)):                 "larger than 262144 bytes",
		pods(`"` + strings.Repeat("1", 300) + `"`):             `coredns_pods: "` + strings.Repeat("1", 60) + `" is not`,
		`{"version":1,"nodes":1,"cluster_dns":[` + strings.TrimSuffix(strings.Repeat(`"10.0.0.1",`, 9), ",") + `]}`: "cluster_dns: 9 addresses are more than 8",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := File(path).Targets(t.Context())
		if !errors.Is(err, collector.ErrDecode) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.100s: got %v", content, err)
		}
	}
}

func FuzzParseTargets(f *testing.F) {
	for _, seed := range []string{
		`{"version":1,"nodes":3,"cluster_dns":["172.21.0.10"],"coredns_pods":["10.0.0.6","fd00::5"]}`,
		`{"version":1,"nodes":1,"coredns_pods":["100.100.2.136"]}`,
		`{"version":1,"nodes":1,"coredns_pods":["::ffff:7f00:1"]}`,
		`{"version":1,"nodes":1e3}`, `[]`, ``, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseTargets(b)
		if err != nil {
			return
		}
		if got.Nodes < 1 || got.Nodes > maxNodes || len(got.ClusterDNS) > maxClusterDNS || len(got.Pods) > maxPods {
			t.Fatalf("out of bounds: %v", got)
		}
		for _, a := range append(got.ClusterDNS, got.Pods...) {
			linkLocal := a.IsLinkLocalUnicast() && a != nodeLocalAddr
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsLoopback() || linkLocal || a.IsMulticast() || a.IsUnspecified() || cloudServices.Contains(a) {
				t.Fatalf("%s", a)
			}
		}
	})
}

func TestStatic(t *testing.T) {
	t.Parallel()
	got, err := Static(addrs("172.21.0.10")).Targets(t.Context())
	if err != nil || !reflect.DeepEqual(got, Targets{ClusterDNS: addrs("172.21.0.10")}) {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestParseServers: flags may name any server, be it on this machine.
func TestParseServers(t *testing.T) {
	t.Parallel()
	got, err := ParseServers([]string{"127.0.0.1", "100.100.2.136", "10.0.0.1", "10.0.0.1"})
	if err != nil || !reflect.DeepEqual(got, addrs("10.0.0.1", "100.100.2.136", "127.0.0.1")) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, s := range []string{"", "dns.example", "10.0.0.1/32", "224.0.0.1", "0.0.0.0", "fe80::1%1"} {
		if got, err := ParseServers([]string{s}); err == nil {
			t.Errorf("%s: got %v", s, got)
		}
	}
}
