package conformance

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

const allNodes6, routerLinkLocal = "ff02::1", "fe80::1"

// solicitation makes a neighbour solicitation of a VM, from an address or, for
// duplicate address detection, from "::".
func (n *Network) solicitation(vm, from, target string) []byte {
	mac := MAC(n.VM(vm).MAC)
	t := IP(target)
	group := append(IP("ff02::1:ff00:0")[:13], t[13:]...)
	body := append(make([]byte, 4), t...)
	if from != "::" {
		body = append(append(body, 1, 1), mac...) // source link-layer address
	}
	return Bytes(Ethernet(mac, net.HardwareAddr{0x33, 0x33, 0xff, t[13], t[14], t[15]}, layers.EthernetTypeIPv6),
		&layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: IP(from), DstIP: group},
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(135, 0)}, gopacket.Payload(body))
}

// advertisement is what a neighbour advertisement says.
type advertisement struct {
	flags  byte // R, S and O as the upper bits
	target netip.Addr
	mac    net.HardwareAddr // nil: none
	to     netip.Addr
	hop    uint8
}

func readAdvertisement(f *Frame) (a advertisement, ok bool) {
	if f.ICMP6 == nil || f.ICMP6.TypeCode.Type() != 136 {
		return a, false
	}
	b := f.ICMP6.LayerPayload()
	if len(b) < 20 {
		return a, false
	}
	a.flags, a.to, a.hop = b[0], f.Dst(), f.IP6.HopLimit
	a.target = netip.AddrFrom16([16]byte(b[4:20]))
	if len(b) >= 28 && b[20] == 2 && b[21] == 1 {
		a.mac = b[22:28]
	}
	return a, true
}

// solicit has a VM send a solicitation and returns what it is told, if anything.
func (n *Network) solicit(t *testing.T, vm, from, target string) (a advertisement, ok bool) {
	t.Helper()
	for _, f := range n.See(t, vm, 0, func(f *Frame) bool { a, ok := readAdvertisement(f); return ok && a.target.String() == target },
		func() { n.From(t, vm, n.solicitation(vm, from, target)) }) {
		a, ok = readAdvertisement(f)
	}
	return a, ok
}

func ndRealMAC(t *testing.T, n *Network) {
	for _, f := range n.See(t, "underlay", 0, func(f *Frame) bool { return f.Inner != nil && f.Inner.ICMP6 != nil }, func() {
		for _, vm := range []string{"web2", "web3", "many"} {
			a, ok := n.solicit(t, "web1", n.of("web1", true), n.of(vm, true))
			if !ok || a.mac.String() != n.VM(vm).MAC || a.flags != 0x60 || a.to.String() != n.of("web1", true) || a.hop != 255 {
				t.Errorf("%s: %+v, %v", vm, a, ok)
			}
		}
	}) {
		t.Errorf("in the underlay: %s", f)
	}
}

func ndGateway(t *testing.T, n *Network) {
	macs := make(map[string]bool)
	for _, vm := range []string{"web1", "web3", "db2"} {
		for _, g := range append([]string{routerLinkLocal}, n.VM(vm).Gateways...) {
			if !netip.MustParseAddr(g).Is6() {
				continue
			}
			a, ok := n.solicit(t, vm, n.of(vm, true), g)
			if !ok || a.flags != 0xe0 || a.mac == nil {
				t.Errorf("%s asks for %s: %+v, %v", vm, g, a, ok)
			}
			macs[a.mac.String()] = true
		}
	}
	if len(macs) != 1 {
		t.Errorf("the router has the MACs %v", macs)
	}
}

func ndUnknown(t *testing.T, n *Network) {
	for _, target := range []string{"fd00:0:0:1::200", n.of("redonly", true), n.of("db2", true), "2001:db8::1"} {
		if a, ok := n.solicit(t, "web1", n.of("web1", true), target); ok {
			t.Errorf("%s is said to be at %s", target, a.mac)
		}
	}
}

func ndDAD(t *testing.T, n *Network) {
	for target, want := range map[string]bool{n.of("web2", true): true, n.of("many", true): true, n.of("web1", true): false, "fd00:0:0:1::200": false} {
		a, ok := n.solicit(t, "web1", "::", target)
		if ok != want || ok && (a.to.String() != allNodes6 || a.flags&0x40 != 0) {
			t.Errorf("a probe of %s: %+v, answered: %v", target, a, ok)
		}
	}
}

func ndRogue(t *testing.T, n *Network) {
	web2 := append(append(make([]byte, 4), IP(n.of("web2", true))...), append([]byte{2, 1}, MAC(n.VM("web1").MAC)...)...)
	frames := [][]byte{
		icmp6(n, linkLocalOf(n.VM("web1").MAC), allNodes6, 255, 134, 0, make([]byte, 12)), // router advertisement
		icmp6(n, linkLocalOf(n.VM("web1").MAC), allNodes6, 255, 137, 0, make([]byte, 36)), // redirect
		icmp6(n, n.of("web1", true), allNodes6, 255, 136, 0, web2),                        // "web2 is here"
	}
	quiet(t, n, true, frames...)
}

// linkLocalOf returns the link-local address that a VM makes of its MAC (RFC
// 4291, appendix A).
func linkLocalOf(mac string) string {
	m := MAC(mac)
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}).String()
}

func linkLocal(t *testing.T, n *Network) {
	from := linkLocalOf(n.VM("web1").MAC)
	for _, to := range []string{"web2", "web3", "many"} {
		mark := Mark()
		frame := Bytes(UDPFrame(MAC(n.VM("web1").MAC), MAC(n.VM(to).MAC), from, linkLocalOf(n.VM(to).MAC), mark)...)
		f := n.See(t, to, 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frame) })[0]
		if f.Src().String() != from || f.IP6.HopLimit != 64 {
			t.Errorf("%s got %s", to, f)
		}
	}
	mark := Mark()
	var frames [][]byte
	router := n.routerMAC6(t, "web1")
	for _, to := range []string{n.VM("db2").MAC, router} {
		frames = append(frames, Bytes(UDPFrame(MAC(n.VM("web1").MAC), MAC(to), from, linkLocalOf(n.VM("db2").MAC), mark)...))
	}
	for _, where := range []string{"underlay", "db2"} {
		for _, f := range n.See(t, where, 0, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frames...) }) {
			t.Errorf("to another subnet: %s", f)
		}
	}
}

// routerMAC6 asks for the router's MAC by its link-local address.
func (n *Network) routerMAC6(t *testing.T, vm string) string {
	t.Helper()
	a, ok := n.solicit(t, vm, n.of(vm, true), routerLinkLocal)
	if !ok {
		t.Fatalf("%s does not find its router", vm)
	}
	return a.mac.String()
}
