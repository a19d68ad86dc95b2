package conformance

import (
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var routerRows = []Row{
	{Name: "gateway-echo", Source: "HNV", Level: HNV, Test: gatewayEcho,
		Says: "the gateway of each subnet answers echo requests, on every host"},
	{Name: "gateway-echo-ipv6", Source: "HNV", Level: HNV, On: Dual, Test: gatewayEcho6,
		Says: "and over IPv6, by its global and its link-local address"},
	{Name: "routed-ttl", Source: "RFC 1812, 5.3.1", Level: Must, Test: routedTTL,
		Says: "between subnets the TTL is decremented and the source MAC becomes the router's; within one neither changes"},
	{Name: "ttl-expired-dropped", Source: "RFC 1812, 5.3.1", Level: Must, Test: ttlExpired,
		Says: "a packet with TTL 1 or 0 is not routed, and counted; within its subnet it is delivered"},
	{Name: "time-exceeded", Source: "RFC 1812, 5.3.1; RFC 4443, 3.3", Level: Must, On: Told, Test: timeExceeded,
		Says: "its sender gets ICMP time exceeded from the gateway, so that traceroute shows the hop, IPv4 and IPv6"},
	{Name: "unreachable", Source: "RFC 1812, 5.2.7.1; RFC 4443, 3.1", Level: Should, On: Told, Test: unreachable,
		Says: "who sends where there is no route or nobody, or to a port of the gateway, gets ICMP unreachable (network, host, port) from it, IPv4 and IPv6"},
	{Name: "no-error-about", Source: "RFC 1122, 3.2.2; RFC 4443, 2.4", Level: MustNot, On: Told, Test: errorsAboutNothing,
		Says: "no ICMP error is sent about an ICMP error, a fragment but the first, or a packet to a group"},
	{Name: "no-route-dropped", Source: "HNV", Level: HNV, Test: noRoute,
		Says: "what no subnet and no route takes is dropped, and counted"},
}

func gatewayEcho(t *testing.T, n *Network) {
	for _, vm := range []string{"web1", "web2", "web3", "db1"} {
		if out, ok := n.Ping(t, vm, n.VM(vm).Gateways[0]); !ok || !strings.Contains(out, "ttl=64") {
			t.Errorf("%s: %s", vm, out)
		}
	}
	if out, ok := n.Ping(t, "web1", n.VM("db1").Gateways[0]); !ok {
		t.Errorf("the gateway of another subnet: %s", out)
	}
}

func gatewayEcho6(t *testing.T, n *Network) {
	for _, vm := range []string{"web1", "web2", "web3", "db2"} {
		for _, g := range n.VM(vm).Gateways {
			if out, ok := n.Ping(t, vm, g); !ok || !strings.Contains(out, "ttl=64") {
				t.Errorf("%s to %s: %s", vm, g, out)
			}
		}
		if out, ok := n.Ping(t, vm, routerLinkLocal+"%eth0"); !ok {
			t.Errorf("%s to %s: %s", vm, routerLinkLocal, out)
		}
	}
}

// withTTL makes a packet from web1 to another VM, to the gateway's MAC where that
// is in another subnet.
func withTTL(t *testing.T, n *Network, to, mark string, ttl uint8) []byte {
	t.Helper()
	from, dst := n.VM("web1"), n.VM(to)
	mac := MAC(dst.MAC)
	if dst.VSID != from.VSID {
		mac = n.Reply(t, "web1", from.Gateways[0])
	}
	packet := UDP(from.CA, dst.CA, mark)
	packet[0].(*layers.IPv4).TTL = ttl
	return Bytes(append([]gopacket.SerializableLayer{Ethernet(MAC(from.MAC), mac, layers.EthernetTypeIPv4)}, packet...)...)
}

func routedTTL(t *testing.T, n *Network) {
	router := n.Reply(t, "web1", n.VM("web1").Gateways[0]).String()
	for _, c := range []struct {
		to  string
		ttl uint8
		mac string
	}{{"web4", 9, n.VM("web1").MAC}, {"web2", 9, n.VM("web1").MAC}, {"db1", 8, router}, {"db2", 8, router}} {
		mark := Mark()
		frame := withTTL(t, n, c.to, mark, 9)
		f := n.See(t, c.to, 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frame) })[0]
		if f.IP.TTL != c.ttl || f.Eth.SrcMAC.String() != c.mac || f.Eth.DstMAC.String() != n.VM(c.to).MAC {
			t.Errorf("%s got TTL %d from %s to %s, want TTL %d from %s to its own MAC", c.to, f.IP.TTL, f.Eth.SrcMAC, f.Eth.DstMAC, c.ttl, c.mac)
		}
	}
}

func ttlExpired(t *testing.T, n *Network) {
	mark := Mark()
	frames := [][]byte{withTTL(t, n, "db2", mark, 1), withTTL(t, n, "db1", mark, 1), withTTL(t, n, "db1", mark, 0)}
	for _, where := range []string{"db1", "db2"} {
		for _, f := range n.See(t, where, 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.Dropped(t, "h1", "ttl-expired", len(frames), func() { n.From(t, "web1", frames...) })
		}) {
			t.Errorf("%s got %s", where, f)
		}
	}
	n.See(t, "web2", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", withTTL(t, n, "web2", mark, 1)) })
}

func noRoute(t *testing.T, n *Network) {
	mark := Mark()
	from := n.VM("web1")
	frame := Bytes(UDPFrame(MAC(from.MAC), n.Reply(t, "web1", from.Gateways[0]), from.CA, "192.0.2.1", mark)...)
	for _, f := range n.See(t, "underlay", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
		n.Dropped(t, "h1", "no-route", 1, func() { n.From(t, "web1", frame) })
	}) {
		t.Errorf("in the underlay: %s", f)
	}
}
