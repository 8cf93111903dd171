//go:build e2e

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"ack-exporter/e2e/internal/world"
)

const (
	// linkInterface is the interface of a world that has joined.
	linkInterface = "eth0"
	// gateway is the cluster's end of every link.
	gateway = "169.254.1.1"
)

// Link is the cable between a world and the cluster's network.
type Link struct {
	world *world.World
}

// Join connects a world to the network of the cluster, under an IPv4 address that
// a node or a pod could have. All that has joined reaches each other, and the API,
// through the world of the cluster.
func (c *Cluster) Join(t testing.TB, w *world.World, address string) *Link {
	t.Helper()
	link := &Link{w}
	if err := c.join(t.Context(), link, address); err != nil {
		t.Fatalf("join %s: %v", address, err)
	}
	return link
}

func (c *Cluster) join(ctx context.Context, link *Link, address string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	if !ip.Is4() {
		return errNotIPv4
	}
	if err := c.world.Sandbox.SetSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	// Unique and short enough for the name of an interface.
	bytes := ip.As4()
	peer := fmt.Sprintf("v%x", bytes[:])
	if _, err := c.world.Output(ctx, "", "ip", "link", "add", peer, "type", "veth",
		"peer", "name", linkInterface, "netns", strconv.Itoa(link.world.PID())); err != nil {
		return err
	}
	_, err = c.world.Output(ctx, fmt.Sprintf(`address add %s/32 dev %s
link set %s up
route add %s/32 dev %s
`, gateway, peer, peer, ip, peer), "ip", "-batch", "-")
	if err != nil {
		return err
	}
	if _, err := link.world.Output(ctx, "", "ip", "address", "add", address+"/32", "dev", linkInterface); err != nil {
		return err
	}
	return link.up(ctx)
}

var errNotIPv4 = errors.New("it is no IPv4 address")

func (l *Link) up(ctx context.Context) error {
	// Routes go away with the interface.
	_, err := l.world.Output(ctx, fmt.Sprintf(`link set %s up
route add %s dev %s
route add default via %s
`, linkInterface, gateway, linkInterface, gateway), "ip", "-batch", "-")
	return err
}

// Cut is what happens when a node loses its network: what is sent to the world is
// lost.
func (l *Link) Cut(t testing.TB) {
	t.Helper()
	l.world.Run(t, "ip", "link", "set", linkInterface, "down")
}

// Restore is the end of Cut.
func (l *Link) Restore(t testing.TB) {
	t.Helper()
	if err := l.up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Balance has a world that has joined spread connections to a cluster IP over the
// backends, as kube-proxy does on a node, until it is called again. Unlike
// kube-proxy it does not clear entries of connection tracking that lead to a
// backend which is gone: there are proxies that do not, and clients suffer.
func Balance(t testing.TB, w *world.World, clusterIP string, backends ...string) {
	t.Helper()
	w.RunInput(t, balanceRules(clusterIP, backends), "nft", "-f", "-")
}

// balanceRules replace those for the same cluster IP.
func balanceRules(clusterIP string, backends []string) string {
	table := "ip balance_" + strings.ReplaceAll(clusterIP, ".", "_")
	rules := fmt.Sprintf("table %s\ndelete table %s\n", table, table)
	if len(backends) == 0 {
		return rules
	}
	elements := make([]string, 0, len(backends))
	for i, backend := range backends {
		elements = append(elements, fmt.Sprintf("%d : %s", i, backend))
	}
	translate := fmt.Sprintf("ip daddr %s dnat to numgen inc mod %d map { %s }",
		clusterIP, len(backends), strings.Join(elements, ", "))
	return rules + fmt.Sprintf(`table %s {
	chain output { type nat hook output priority -100; %s; }
	chain prerouting { type nat hook prerouting priority -100; %s; }
}
`, table, translate, translate)
}

// Resolver asks one DNS server, over "udp" or "tcp", from within the network of a
// world. Names should end in a dot: otherwise it appends search domains of this
// machine.
func Resolver(w *world.World, network, server string) *net.Resolver {
	address := net.JoinHostPort(server, "53")
	return &net.Resolver{
		PreferGo:     true,
		StrictErrors: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return w.Dial(ctx, network, address)
		},
	}
}
