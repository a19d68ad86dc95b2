package conformance

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var securityRows = []Row{
	{Name: "source-mac", Source: "RFC 7637, 5; HNV", Level: HNV, Test: forged("source-mac", func(n *Network, mark string) []gopacket.SerializableLayer {
		return UDPFrame(MAC("02:66:66:66:66:66"), MAC(n.VM("web2").MAC), n.VM("web1").CA, n.VM("web2").CA, mark)
	}), Says: "a frame with a source MAC that is not the record's is dropped, and counted"},
	{Name: "source-mac-of-another", Source: "RFC 7637, 5; HNV", Level: HNV, Test: forged("source-mac", func(n *Network, mark string) []gopacket.SerializableLayer {
		return UDPFrame(MAC(n.VM("web4").MAC), MAC(n.VM("web2").MAC), n.VM("web4").CA, n.VM("web2").CA, mark)
	}), Says: "so is one with another VM's MAC and CA"},
	{Name: "source-ca", Source: "RFC 7637, 5; HNV", Level: HNV, Test: forged("source-ca", func(n *Network, mark string) []gopacket.SerializableLayer {
		return UDPFrame(MAC(n.VM("web1").MAC), MAC(n.VM("web2").MAC), n.VM("web4").CA, n.VM("web2").CA, mark)
	}), Says: "and one with a source CA that is not the record's"},
	{Name: "arp-forged-address", Source: "RFC 7637, 5; HNV", Level: HNV, Test: forged("arp-sender", func(n *Network, _ string) []gopacket.SerializableLayer {
		return ARPRequest(MAC(n.VM("web1").MAC), n.VM("web4").CA, n.VM("web2").CA)
	}), Says: "ARP in the name of another VM's CA is dropped, and counted"},
	{Name: "arp-forged-reply", Source: "RFC 7637, 5; HNV", Level: HNV, Test: forged("arp-sender", func(n *Network, _ string) []gopacket.SerializableLayer {
		ls := ARPRequest(MAC(n.VM("web1").MAC), n.VM("web4").CA, n.VM("web2").CA)
		ls[1].(*layers.ARP).Operation = layers.ARPReply
		return ls
	}), Says: "so is an ARP reply that takes another VM's CA"},
	{Name: "other-protocols", Source: "HNV", Level: HNV, Test: forged("protocol", func(n *Network, mark string) []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{Ethernet(MAC(n.VM("web1").MAC), MAC(n.VM("web2").MAC), 0x88b5), gopacket.Payload(mark)}
	}), Says: "a VM's frames that are neither IP nor ARP are dropped, and counted"},
	{Name: "bypass", Source: "HNV", Level: HNV, Test: noBypass,
		Says: "a VM reaches neither its host's PA nor the underlay by any packet of its own"},
}

// forged returns the test of a frame from web1 that no VM gets and that never
// enters the underlay.
func forged(reason string, make func(n *Network, mark string) []gopacket.SerializableLayer) func(*testing.T, *Network) {
	return func(t *testing.T, n *Network) {
		mark := Mark()
		frame := Bytes(make(n, mark)...)
		for _, where := range []string{"underlay", "web2", "web4"} {
			for _, f := range n.See(t, where, 0, func(f *Frame) bool {
				// Hosts use ARP among themselves.
				return f.Carries(mark) || where != "underlay" && f.ARP != nil && f.ARP.Operation == layers.ARPReply || f.Inner != nil && f.Inner.ARP != nil
			}, func() {
				n.Dropped(t, "h1", reason, 1, func() { n.From(t, "web1", frame) })
			}) {
				t.Errorf("seen %s", f)
			}
		}
	}
}

func noBypass(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	mark := Mark()
	router := n.Reply(t, "web1", web1.Gateways[0])
	pa := n.HostNamed("h1").PAs[0]
	nvgre := append(n.Tunnel("h2", "h1", n.VM("web4").VSID<<8), gopacket.Payload(n.Unicast("web2", "web4", mark)))
	nvgre[0] = Ethernet(MAC(web1.MAC), router, layers.EthernetTypeIPv4)
	frames := [][]byte{
		Bytes(UDPFrame(MAC(web1.MAC), router, web1.CA, pa, mark)...),
		Bytes(UDPFrame(MAC(web1.MAC), MAC(n.HostNamed("h1").MAC), web1.CA, n.HostNamed("h2").PAs[0], mark)...),
		Bytes(nvgre...),
	}
	for _, where := range []string{"underlay", "web4"} {
		for _, f := range n.See(t, where, 0, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frames...) }) {
			t.Errorf("seen %s", f)
		}
	}
	if out, ok := n.Ping(t, "web1", pa); ok {
		t.Errorf("web1 pings its host: %s", out)
	}
}
