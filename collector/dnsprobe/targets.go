package dnsprobe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"ack-exporter/collector"
	"ack-exporter/internal/hostfs"
)

const (
	// fileVersion is the only version of the targets file that there is.
	fileVersion = 1
	// Bounds of a targets file. ACK has clusters of at most 5,000 nodes, and one
	// CoreDNS pod for eight nodes is the most that it recommends.
	maxFileSize   = 256 << 10
	maxNodes      = 100_000
	maxClusterDNS = 8
	maxPods       = 4096
)

// Targets is what a Source knows of the cluster.
type Targets struct {
	// Nodes is how many nodes send probes; 0: not known.
	Nodes int
	// ClusterDNS are the cluster IPs of the Service kube-dns.
	ClusterDNS []netip.Addr
	// Pods are the addresses of the CoreDNS pods.
	Pods []netip.Addr
}

// Source tells what there is to probe. It is asked once a pass.
type Source interface {
	Targets(ctx context.Context) (Targets, error)
}

// Static is a Source that knows only these cluster IPs of the Service kube-dns.
type Static []netip.Addr

// Targets implements Source.
func (s Static) Targets(context.Context) (Targets, error) {
	return Targets{ClusterDNS: s}, nil
}

// File is a Source that reads the file of this path anew each time, as a mounted
// ConfigMap changes underneath:
//
//	{"version": 1, "nodes": 120, "cluster_dns": ["172.21.0.10"], "coredns_pods": ["10.0.0.5"]}
//
// What else is in it is an error, so that a newer format is never half understood.
type File string

// Targets implements Source.
func (f File) Targets(context.Context) (Targets, error) {
	b, err := hostfs.ReadFile(string(f))
	if err != nil {
		return Targets{}, fmt.Errorf("targets file: %w", err)
	}
	t, err := parseTargets(b)
	if err != nil {
		return Targets{}, fmt.Errorf("targets file %s: %w: %w", string(f), collector.ErrDecode, err)
	}
	return t, nil
}

// targetsFile is the format of a targets file.
type targetsFile struct {
	Version    int      `json:"version"`
	Nodes      int      `json:"nodes"`
	ClusterDNS []string `json:"cluster_dns"`
	Pods       []string `json:"coredns_pods"`
}

// Encode writes what File reads. It fails for what File would refuse.
func (t Targets) Encode() (string, error) {
	file := targetsFile{Version: fileVersion, Nodes: t.Nodes, ClusterDNS: texts(t.ClusterDNS), Pods: texts(t.Pods)}
	b, err := json.Marshal(file)
	if err != nil {
		return "", err
	}
	if _, err := parseTargets(b); err != nil {
		return "", fmt.Errorf("targets: %w", err)
	}
	return string(b), nil
}

// texts are the addresses in order, so that the same ones are written the same way.
func texts(addrs []netip.Addr) []string {
	list := make([]string, 0, len(addrs))
	for _, a := range slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare) {
		list = append(list, a.String())
	}
	return list
}

func parseTargets(b []byte) (Targets, error) {
	if len(b) > maxFileSize {
		return Targets{}, fmt.Errorf("larger than %d bytes", maxFileSize)
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	var file targetsFile
	if err := decoder.Decode(&file); err != nil {
		return Targets{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Targets{}, errors.New("something follows the object")
	}
	return file.targets()
}

func (f targetsFile) targets() (Targets, error) {
	if f.Version != fileVersion {
		return Targets{}, fmt.Errorf("version: %d is not %d", f.Version, fileVersion)
	}
	if f.Nodes < 1 || f.Nodes > maxNodes {
		return Targets{}, fmt.Errorf("nodes: %d is not between 1 and %d", f.Nodes, maxNodes)
	}
	clusterDNS, err := parseList("cluster_dns", f.ClusterDNS, maxClusterDNS)
	if err != nil {
		return Targets{}, err
	}
	pods, err := parseList("coredns_pods", f.Pods, maxPods)
	if err != nil {
		return Targets{}, err
	}
	return Targets{Nodes: f.Nodes, ClusterDNS: clusterDNS, Pods: pods}, nil
}

// parseList reads one list of addresses of a targets file.
func parseList(field string, list []string, limit int) ([]netip.Addr, error) {
	if len(list) > limit {
		return nil, fmt.Errorf("%s: %d addresses are more than %d", field, len(list), limit)
	}
	addrs, err := ParseServers(list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	for _, a := range addrs {
		if why := notInCluster(a); why != "" {
			return nil, fmt.Errorf("%s: %s is %s", field, a, why)
		}
	}
	return addrs, nil
}

// ParseServers reads the addresses of servers, and drops repeated ones.
func ParseServers(list []string) ([]netip.Addr, error) {
	addrs := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("%.60q is not an IP address", s)
		}
		a = a.Unmap()
		if a.IsMulticast() || a.IsUnspecified() || a == broadcast {
			return nil, fmt.Errorf("%s is not the address of one server", a)
		}
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs), nil
}

var (
	broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	// nodeLocalAddr is where NodeLocal DNSCache listens on every node of ACK.
	nodeLocalAddr = netip.AddrFrom4([4]byte{169, 254, 20, 10})
	// cloudServices is what Alibaba Cloud keeps for services of its own, such as
	// the resolvers of a VPC and the metadata service. No pod can be in it.
	cloudServices = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
)

// notInCluster says why a is no address that a pod or a Service can have. Whoever
// writes the targets file must not be able to aim at anything else.
func notInCluster(a netip.Addr) string {
	switch {
	case a == nodeLocalAddr:
		return ""
	case a.IsLoopback():
		return "a loopback address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case cloudServices.Contains(a):
		return "in " + cloudServices.String() + ", which belongs to the cloud"
	}
	return ""
}
