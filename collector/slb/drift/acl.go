package drift

import (
	"net/netip"
	"slices"

	"ack-exporter/internal/aliyun"
)

const (
	white = "white"
	black = "black"
)

// ackNetwork is where ACK itself comes from.
func ackNetwork() netip.Prefix { return netip.MustParsePrefix("100.104.0.0/16") }

// blocks are those of networks that the access control of a listener keeps out, the whole
// or a part of them. ok is false where that cannot be told. A white list without entries
// keeps nobody out.
func blocks(l aliyun.Listener, entries map[string][]string, networks []netip.Prefix) (blocked []netip.Prefix, ok bool) {
	listed, ok := prefixes(l.ACLs(), entries)
	if !ok {
		return nil, false
	}
	for _, n := range networks {
		switch {
		case l.ACLType == white && len(listed) > 0 && !covered(n, listed),
			l.ACLType == black && slices.ContainsFunc(listed, n.Overlaps):
			blocked = append(blocked, n)
		}
	}
	return blocked, true
}

// prefixes are the entries of all of the lists, and false where one of them is not known
// or is not a network.
func prefixes(ids []string, entries map[string][]string) ([]netip.Prefix, bool) {
	var all []netip.Prefix
	for _, id := range ids {
		list, known := entries[id]
		if !known {
			return nil, false
		}
		for _, text := range list {
			p, ok := prefix(text)
			if !ok {
				return nil, false
			}
			all = append(all, p)
		}
	}
	return all, true
}

// prefix is a network, or an address as a network.
func prefix(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), true
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address, address.BitLen()), true
}

// covered tells whether every address of a network is in one of those listed. Several
// together can cover it, half by half.
func covered(n netip.Prefix, listed []netip.Prefix) bool {
	var inside []netip.Prefix
	for _, p := range listed {
		if p.Bits() <= n.Bits() && p.Overlaps(n) {
			return true
		}
		if p.Overlaps(n) {
			inside = append(inside, p)
		}
	}
	if len(inside) == 0 {
		return false
	}
	low, high := halves(n)
	return covered(low, inside) && covered(high, inside)
}

// halves are the two networks of one bit more. n is not a single address: nothing inside
// of it could be smaller.
func halves(n netip.Prefix) (low, high netip.Prefix) {
	bits := n.Bits() + 1
	raw := n.Masked().Addr().AsSlice()
	low = netip.PrefixFrom(n.Masked().Addr(), bits)
	raw[(bits-1)/8] |= 0x80 >> ((bits - 1) % 8)
	address, _ := netip.AddrFromSlice(raw)
	return low, netip.PrefixFrom(address, bits)
}
