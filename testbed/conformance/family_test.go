package conformance

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

var familyRows = []Row{
	{Name: "delivery-ipv4", Source: "RFC 7637, 3.2", Level: Says, Test: outerAddresses,
		Says: "IPv4 is used as the delivery protocol"},
	{Name: "delivery-ipv6", Source: "RFC 7637, 3.2", Level: Says, On: Dual, Test: deliveryIPv6,
		Says: "IPv6 is used as the delivery protocol where two hosts have no IPv4 PA both: next header 47, the same GRE header, the same key"},
	{Name: "ca4-over-pa4", Source: "RFC 7637, 4.5", Level: Says, On: Dual, Test: mix(false, false),
		Says: "IPv4 over IPv4"},
	{Name: "ca6-over-pa4", Source: "RFC 7637, 4.5", Level: Says, On: Dual, Test: mix(true, false),
		Says: "the families of CA and PA need not match: IPv6 over IPv4"},
	{Name: "ca4-over-pa6", Source: "RFC 7637, 4.5", Level: Says, On: Dual, Test: mix(false, true),
		Says: "IPv4 over IPv6"},
	{Name: "ca6-over-pa6", Source: "RFC 7637, 4.5", Level: Says, On: Dual, Test: mix(true, true),
		Says: "IPv6 over IPv6"},
	{Name: "family-per-pair", Source: "HNV", Level: HNV, On: Dual, Test: familyPerPair,
		Says: "the outer family is chosen for each pair of hosts by the PAs that both have, and is the same both ways"},
	{Name: "four-mixes-all-to-all", Source: "HNV", Level: HNV, On: Dual, Test: allReachAll,
		Says: "with hosts and VMs of both families everybody reaches whom the policy lets them reach, and nobody else"},
}

// of returns a VM's customer address of a family.
func (n *Network) of(vm string, six bool) string {
	for _, a := range n.VM(vm).Addresses {
		if p := netip.MustParsePrefix(a); p.Addr().Is6() == six {
			return p.Addr().String()
		}
	}
	panic("conformance: " + vm + " has no address of that family")
}

// between returns what is on the wire of a packet from one VM to another of its
// subnet, and what arrives.
func (n *Network) between(t *testing.T, from, to string, six bool) (wire, got *Frame) {
	t.Helper()
	mark := Mark()
	frame := Bytes(UDPFrame(MAC(n.VM(from).MAC), MAC(n.VM(to).MAC), n.of(from, six), n.of(to, six), mark)...)
	carries := func(f *Frame) bool { return f.Carries(mark) }
	wire = n.See(t, "underlay", 1, carries, func() {
		got = n.See(t, to, 1, carries, func() { n.From(t, from, frame) })[0]
	})[0]
	return wire, got
}

func deliveryIPv6(t *testing.T, n *Network) {
	f, _ := n.between(t, "web1", "web3", false)
	if f.IP6 == nil || f.IP6.NextHeader != layers.IPProtocolGRE || f.Src().String() != "fd99::1" || f.Dst().String() != n.HostNamed("h3").PAs[0] {
		t.Fatalf("not IPv6 from h1 to h3: %s", f)
	}
	if g := f.GRE; fmt.Sprintf("%x", g.Contents[:4]) != "20006558" || g.Key != n.VM("web3").VSID<<8 {
		t.Errorf("GRE header % x", g.Contents)
	}
}

// mix returns the test of one mix of families: by IPv4 to h2, by IPv6 to h3.
func mix(ca6, pa6 bool) func(*testing.T, *Network) {
	return func(t *testing.T, n *Network) {
		peer := "web2"
		if pa6 {
			peer = "web3"
		}
		for _, way := range [][2]string{{"web1", peer}, {peer, "web1"}} {
			wire, got := n.between(t, way[0], way[1], ca6)
			if wire.Src().Is6() != pa6 || wire.Inner.Src().Is6() != ca6 || got.Src().String() != n.of(way[0], ca6) {
				t.Errorf("%s to %s: %s", way[0], way[1], wire)
			}
		}
	}
}

func familyPerPair(t *testing.T, n *Network) {
	for _, c := range []struct{ from, to, want string }{
		{"web1", "web2", "10.99.0.1 > 10.99.0.2"}, {"web2", "web1", "10.99.0.2 > 10.99.0.1"},
		{"web1", "web3", "fd99::1 > fd99:0:0:3::3"}, {"web3", "web1", "fd99:0:0:3::3 > fd99::1"},
		{"web2", "web3", "fd99::2 > fd99:0:0:3::3"}, {"web3", "web2", "fd99:0:0:3::3 > fd99::2"},
	} {
		f, _ := n.between(t, c.from, c.to, true)
		if got := fmt.Sprintf("%s > %s", f.Src(), f.Dst()); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}
