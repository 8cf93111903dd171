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

	"ack-exporter/e2e/internal/sandbox"
)

const (
	// linkInterface is the interface of a sandbox that has joined.
	linkInterface = "eth0"
	// gateway is the cluster's end of every link.
	gateway = "169.254.1.1"
)

// Link is the cable between a sandbox and the cluster's network.
type Link struct {
	sandbox *sandbox.Sandbox
	// cluster is at the other end, with the interface peer.
	cluster       *sandbox.Sandbox
	peer, address string
}

// Join connects a sandbox to the network of the cluster, under an IPv4 address that
// a node or a pod could have. All that has joined reaches each other, and the API,
// through the sandbox of the cluster.
func (c *Cluster) Join(ctx context.Context, s *sandbox.Sandbox, address string) (*Link, error) {
	link := &Link{sandbox: s, cluster: c.sandbox, address: address}
	if err := c.join(ctx, link, address); err != nil {
		return nil, fmt.Errorf("join %s: %w", address, err)
	}
	return link, nil
}

func (c *Cluster) join(ctx context.Context, link *Link, address string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	if !ip.Is4() {
		return errNotIPv4
	}
	if err := c.sandbox.SetSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	// Unique and short enough for the name of an interface.
	bytes := ip.As4()
	peer := fmt.Sprintf("v%x", bytes[:])
	link.peer = peer
	if _, err := c.sandbox.Output(ctx, "", "ip", "link", "add", peer, "type", "veth",
		"peer", "name", linkInterface, "netns", strconv.Itoa(link.sandbox.PID())); err != nil {
		return err
	}
	_, err = c.sandbox.Output(ctx, fmt.Sprintf(`address add %s/32 dev %s
link set %s up
route add %s/32 dev %s
`, gateway, peer, peer, ip, peer), "ip", "-batch", "-")
	if err != nil {
		return err
	}
	if _, err := link.sandbox.Output(ctx, "", "ip", "address", "add", address+"/32", "dev", linkInterface); err != nil {
		return err
	}
	return link.up(ctx)
}

var errNotIPv4 = errors.New("it is no IPv4 address")

func (l *Link) up(ctx context.Context) error {
	// Routes go away with the interface.
	_, err := l.sandbox.Output(ctx, fmt.Sprintf(`link set %s up
route add %s dev %s
route add default via %s
`, linkInterface, gateway, linkInterface, gateway), "ip", "-batch", "-")
	return err
}

// Cut is what happens when a node loses its network: what is sent to the sandbox
// is lost.
func (l *Link) Cut(ctx context.Context) error {
	_, err := l.sandbox.Output(ctx, "", "ip", "link", "set", linkInterface, "down")
	return err
}

// Route has the cluster's network look for a range of addresses, those of the pods of
// a node, behind the link.
func (l *Link) Route(ctx context.Context, prefix string) error {
	_, err := l.cluster.Output(ctx, "", "ip", "route", "add", prefix, "via", l.address, "dev", l.peer, "onlink")
	return err
}

// Restore is the end of Cut.
func (l *Link) Restore(ctx context.Context) error { return l.up(ctx) }

// Balance has a sandbox that has joined spread connections to a cluster IP over the
// backends, as kube-proxy does on a node, until it is called again. Unlike
// kube-proxy it does not clear entries of connection tracking that lead to a
// backend which is gone: there are proxies that do not, and clients suffer.
func Balance(ctx context.Context, s *sandbox.Sandbox, clusterIP string, backends ...string) error {
	_, err := s.Output(ctx, balanceRules(clusterIP, backends), "nft", "-f", "-")
	return err
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
// sandbox. Names should end in a dot: otherwise it appends search domains of this
// machine.
func Resolver(s *sandbox.Sandbox, network, server string) *net.Resolver {
	address := net.JoinHostPort(server, "53")
	return &net.Resolver{
		PreferGo:     true,
		StrictErrors: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Dial(ctx, network, address)
		},
	}
}
