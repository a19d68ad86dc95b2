package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// An icmpError is what a VM is told by ICMP of a packet that it sent.
type icmpError struct {
	Type, Code uint8
	From, To   string // the packet's addresses
	MTU        int
	About      []byte // the packet that it is about, or its beginning
	Frame      *Frame
}

func (e icmpError) String() string {
	return fmt.Sprintf("type %d, code %d, MTU %d, from %s to %s", e.Type, e.Code, e.MTU, e.From, e.To)
}

func readICMPError(f *Frame) (e icmpError, ok bool) {
	var body []byte
	switch {
	case f.ICMP != nil:
		e.Type, e.Code, e.MTU, body = f.ICMP.TypeCode.Type(), f.ICMP.TypeCode.Code(), int(f.ICMP.Seq), f.ICMP.LayerPayload()
		ok = e.Type == 3 || e.Type == 11
	case f.ICMP6 != nil && len(f.ICMP6.LayerPayload()) >= 4:
		b := f.ICMP6.LayerPayload()
		e.Type, e.Code, e.MTU, body = f.ICMP6.TypeCode.Type(), f.ICMP6.TypeCode.Code(), int(binary.BigEndian.Uint32(b)), b[4:]
		ok = e.Type < 128
	}
	e.From, e.To, e.About, e.Frame = f.Src().String(), f.Dst().String(), body, f
	return e, ok
}

// told has a VM send a frame and returns what it is told of it by routers.
func (n *Network) told(t *testing.T, vm string, count int, frame []byte) (all []icmpError) {
	t.Helper()
	for _, f := range n.See(t, vm, count, n.byRouter, func() { n.From(t, vm, frame) }) {
		e, _ := readICMPError(f)
		all = append(all, e)
	}
	return all
}

// byRouter reports whether a frame is an ICMP error of a router. VMs send some,
// too, where nobody listens.
func (n *Network) byRouter(f *Frame) bool {
	_, ok := readICMPError(f)
	for _, v := range n.In.VMs {
		for _, a := range v.Addresses {
			ok = ok && netip.MustParsePrefix(a).Addr() != f.Src()
		}
	}
	return ok
}

// isTold has a VM send an IP packet, and fails the test unless it is told so once,
// by its router, with the beginning of the very packet that it sent.
func (n *Network) isTold(t *testing.T, vm string, frame []byte, typ, code uint8, mtu int) {
	t.Helper()
	sent := readFrame(vm, frame)
	six := sent.IP6 != nil
	all := n.told(t, vm, 1, frame)
	e := all[0]
	if len(all) != 1 || e.Type != typ || e.Code != code || e.MTU != mtu || e.From != n.gatewayOf(vm, six) || e.To != sent.Src().String() {
		t.Errorf("%s sent %s and is told %v; want one of type %d, code %d, MTU %d from %s", vm, sent, all, typ, code, mtu, n.gatewayOf(vm, six))
	}
	if e.Frame.Eth.DstMAC.String() != n.VM(vm).MAC || e.Frame.Eth.SrcMAC.String() != n.Reply(t, vm, n.gatewayOf(vm, false)).String() {
		t.Errorf("%s is told from %s to %s", vm, e.Frame.Eth.SrcMAC, e.Frame.Eth.DstMAC)
	}
	// RFC 1812, 4.3.2.3: as much as fits 576 octets; RFC 4443, 2.4: 1280.
	least := 576 - 28
	if six {
		least = 1280 - 48
	}
	ip := frame[14:]
	if !six {
		ip = ip[:sent.IP.Length] // without what pads the frame
	}
	want, got := constant(ip), constant(e.About)
	if len(got) < min(len(want), least) || !bytes.HasPrefix(want, got) {
		t.Errorf("it is about\n%x, not about\n%x", got, want)
	}
	if size := len(e.Frame.Data) - 14; !six && size > 576 || six && size > 1280 {
		t.Errorf("the error has %d octets", size)
	}
}

// constant returns a packet without what routers change: TTL and checksum of the
// header.
func constant(ip []byte) []byte {
	ip = slices.Clone(ip)
	if ip[0]>>4 == 6 {
		ip[7] = 0
	} else {
		ip[8], ip[10], ip[11] = 0, 0, 0
	}
	return ip
}

// gatewayOf returns the gateway of a VM's subnet, of a family.
func (n *Network) gatewayOf(vm string, six bool) string {
	for _, g := range n.VM(vm).Gateways {
		if netip.MustParseAddr(g).Is6() == six {
			return g
		}
	}
	panic("conformance: " + vm + " has no gateway of that family")
}

// toRouter makes a packet of a VM to any address, as it would send it to its
// router.
func (n *Network) toRouter(t *testing.T, vm, dst, payload string, change func(ip gopacket.SerializableLayer)) []byte {
	t.Helper()
	six := netip.MustParseAddr(dst).Is6()
	ls := UDPFrame(MAC(n.VM(vm).MAC), n.Reply(t, vm, n.gatewayOf(vm, false)), n.of(vm, six), dst, payload)
	if change != nil {
		change(ls[1])
	}
	return Bytes(ls...)
}

// ttl sets the TTL or hop limit.
func ttl(to uint8) func(gopacket.SerializableLayer) {
	return func(l gopacket.SerializableLayer) {
		switch ip := l.(type) {
		case *layers.IPv4:
			ip.TTL = to
		case *layers.IPv6:
			ip.HopLimit = to
		}
	}
}

func timeExceeded(t *testing.T, n *Network) {
	for _, to := range []string{"db1", "db2"} {
		n.isTold(t, "web1", n.toRouter(t, "web1", n.of(to, false), Mark(), ttl(1)), 11, 0, 0)
		n.isTold(t, "web1", n.toRouter(t, "web1", n.of(to, true), Mark(), ttl(1)), 3, 0, 0)
	}
	// A long packet's beginning is told, and no more than a packet may have.
	n.isTold(t, "web1", n.toRouter(t, "web1", n.of("db2", false), strings.Repeat("x", 1300), ttl(1)), 11, 0, 0)
	n.isTold(t, "web1", n.toRouter(t, "web1", n.of("db2", true), strings.Repeat("x", 1300), ttl(1)), 3, 0, 0)
	// With one more, it arrives.
	for _, six := range []bool{false, true} {
		mark := Mark()
		f := n.See(t, "db2", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.toRouter(t, "web1", n.of("db2", six), mark, ttl(2))) })[0]
		if six && f.IP6.HopLimit != 1 || !six && f.IP.TTL != 1 {
			t.Errorf("arrived: %s", f)
		}
	}
}

func unreachable(t *testing.T, n *Network) {
	for _, c := range []struct {
		to        string
		typ, code uint8
	}{
		{"192.0.2.1", 3, 0},                // no route: network unreachable
		{"10.0.2.99", 3, 1},                // nobody: host unreachable
		{n.gatewayOf("web1", false), 3, 3}, // nobody listens: port unreachable
		{n.gatewayOf("db1", false), 3, 3},
		{"2001:db8::1", 1, 0},             // no route to destination
		{"fd00:0:0:2::99", 1, 3},          // address unreachable
		{n.gatewayOf("web1", true), 1, 4}, // port unreachable
	} {
		n.isTold(t, "web1", n.toRouter(t, "web1", c.to, Mark(), nil), c.typ, c.code, 0)
	}
}

// errorsAboutNothing: RFC 1122, 3.2.2 and RFC 4443, 2.4 (e) list what no error is
// sent about.
func errorsAboutNothing(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	router := n.Reply(t, "web1", n.gatewayOf("web1", false))
	quoted := Bytes(UDPFrame(router, router, n.of("db2", false), n.of("web1", false), "x")...)[14:]
	quoted6 := Bytes(UDPFrame(router, router, n.of("db2", true), n.of("web1", true), "x")...)[14:]
	eth := func(t layers.EthernetType) *layers.Ethernet { return Ethernet(MAC(web1.MAC), router, t) }
	ip := func(ttl uint8, to string, p layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: ttl, Protocol: p, SrcIP: IP(n.of("web1", false)), DstIP: IP(to)}
	}
	fragment := ip(1, n.of("db2", false), layers.IPProtocolUDP)
	fragment.FragOffset = 100
	for what, frame := range map[string][]byte{
		"an ICMP error": Bytes(eth(layers.EthernetTypeIPv4), ip(1, n.of("db2", false), layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, gopacket.Payload(quoted)),
		"an ICMP error to nowhere": Bytes(eth(layers.EthernetTypeIPv4), ip(64, "192.0.2.1", layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(11, 0)}, gopacket.Payload(quoted)),
		"an ICMPv6 error": Bytes(eth(layers.EthernetTypeIPv6),
			&layers.IPv6{Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolICMPv6, SrcIP: IP(n.of("web1", true)), DstIP: IP(n.of("db2", true))},
			&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 3)}, gopacket.Payload(append(make([]byte, 4), quoted6...))),
		"a later fragment": Bytes(eth(layers.EthernetTypeIPv4), fragment, gopacket.Payload("xxxxxxxx")),
		"a group":          Bytes(UDPFrame(MAC(web1.MAC), MAC("01:00:5e:01:02:03"), n.of("web1", false), "239.1.2.3", "x")...),
		"an IPv6 group":    Bytes(UDPFrame(MAC(web1.MAC), MAC("33:33:00:00:12:34"), n.of("web1", true), "ff05::1234", "x")...),
	} {
		if all := n.told(t, "web1", 0, frame); len(all) > 0 {
			t.Errorf("about %s: %v", what, all)
		}
	}
	// The test sees what it says is not there.
	n.isTold(t, "web1", n.toRouter(t, "web1", "192.0.2.1", Mark(), nil), 3, 0, 0)
}
