package a2a

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// guard says which addresses a URL that no one vouches for may lead to. The dialer
// asks it about each address right before it connects, so that neither an earlier
// answer for a name nor the spelling of an address matters.
type guard struct {
	never    []netip.Prefix // not even if they are in networks
	special  []netip.Prefix // reachable, but not public
	networks []netip.Prefix // allowed although they are special
}

func newGuard(networks []netip.Prefix) guard {
	return guard{
		// The addresses where clouds give credentials to anyone who asks, and those
		// that name no single machine. An allowed network may contain them.
		never: prefixes(
			"0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
			"100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
			"::/128", "fe80::/10", "fec0::/10", "ff00::/8",
			"fd00:ec2::254/128", "fd20:ce::254/128",
		),
		// The registries of special-purpose addresses (RFC 6890, as updated). Of IPv6
		// only 2000::/3 is public, so the rest need not be listed.
		special: prefixes(
			"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
			"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
			"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
		),
		networks: networks,
	}
}

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// allows reports whether an address may be dialled.
func (g guard) allows(addr netip.Addr) bool {
	addr = embedded(addr.Unmap())
	in := func(all []netip.Prefix) bool {
		return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	switch {
	case addr.Zone() != "": // which no prefix contains
		return false
	case in(g.never):
		return false
	case in(g.networks):
		return true
	case addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr):
		return false
	}
	return !in(g.special)
}

// embedded returns the IPv4 address that a NAT64 gateway would turn addr into, or
// addr. Other addresses that contain one (compatible, 6to4, Teredo) are obsolete and
// count as special.
func embedded(addr netip.Addr) netip.Addr {
	if !netip.MustParsePrefix("64:ff9b::/96").Contains(addr) {
		return addr
	}
	bytes := addr.As16()
	return netip.AddrFrom4([4]byte(bytes[12:]))
}

// control has the type of net.Dialer's ControlContext.
func (g guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" || to.Port() == 0 || !g.allows(to.Addr()) {
		return denied{network, address}
	}
	return nil
}

// denied is the error for an address that the guard does not allow.
type denied struct{ network, address string }

func (d denied) Error() string {
	return fmt.Sprintf("%s over %s is neither public nor in AGENT_NETWORKS", d.address, d.network)
}
