package conformance

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var multicastRows = []Row{
	{Name: "multicast-off", Source: "RFC 7637, 4.2", Level: May, Test: multicastOff,
		Says: "where a subnet has no broadcast and multicast, none of it leaves the sender's host, and it is counted"},
	{Name: "multicast-off-receive", Source: "RFC 7637, 4.2", Level: May, Test: multicastOffReceive,
		Says: "and what comes from the tunnel reaches no VM"},
	{Name: "multicast-unicast", Source: "RFC 7637, 4.2", Level: May,
		Says: "N-way unicast: one copy goes to each host with a VM of the subnet, none to others", Note: "broadcast and multicast are always off"},
	{Name: "multicast-group", Source: "RFC 7637, 4.2", Level: May,
		Says: "or one copy goes to the PA multicast group of the VSID", Note: "broadcast and multicast are always off"},
	{Name: "multicast-group-per-group", Source: "RFC 7637, 4.2", Level: May,
		Says: "a CA group may have a PA group of its own", Note: "broadcast and multicast are always off"},
	{Name: "multicast-isolation", Source: "RFC 7637, 4.2", Level: Says,
		Says: "no copy ever crosses to another VSID", Note: "broadcast and multicast are always off"},
	{Name: "multicast-snooping", Source: "HNV", Level: HNV,
		Says: "with snooping on, only hosts with a member of the group (IGMP, MLD) get copies", Note: "broadcast and multicast are always off"},
	{Name: "multicast-limit", Source: "HNV", Level: HNV,
		Says: "a meter limits what a subnet replicates", Note: "broadcast and multicast are always off"},
}

var allNodes = MAC("01:00:5e:00:00:01")

func multicastOff(t *testing.T, n *Network) {
	mark, m := Mark(), MAC(n.VM("web1").MAC)
	frames := [][]byte{
		Bytes(UDPFrame(m, Broadcast, n.VM("web1").CA, "255.255.255.255", mark)...),
		Bytes(UDPFrame(m, allNodes, n.VM("web1").CA, "224.0.0.1", mark)...),
		Bytes(UDPFrame(m, MAC("01:00:5e:01:02:03"), n.VM("web1").CA, "239.1.2.3", mark)...),
	}
	for _, where := range []string{"underlay", "web4", "red1"} {
		for _, f := range n.See(t, where, 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.Dropped(t, "h1", "multicast", len(frames), func() { n.From(t, "web1", frames...) })
		}) {
			t.Errorf("seen %s", f)
		}
	}
}

func multicastOffReceive(t *testing.T, n *Network) {
	mark, m := Mark(), MAC(n.VM("web2").MAC)
	key := n.VM("web1").VSID << 8
	var frames [][]byte
	for _, inner := range [][]gopacket.SerializableLayer{
		UDPFrame(m, Broadcast, n.VM("web2").CA, "255.255.255.255", mark),
		UDPFrame(m, allNodes, n.VM("web2").CA, "224.0.0.1", mark),
		ARPRequest(m, n.VM("web2").CA, n.VM("web1").CA),
	} {
		frames = append(frames, Bytes(append(n.Tunnel("h2", "h1", key), gopacket.Payload(Bytes(inner...)))...))
	}
	for _, f := range n.See(t, "web1", 0, func(f *Frame) bool { return f.Carries(mark) || f.ARP != nil && f.ARP.Operation == layers.ARPRequest }, func() {
		n.Dropped(t, "h1", "tunnel-multicast", len(frames), func() { n.OnWire(t, "rack1", frames...) })
	}) {
		t.Errorf("delivered: %s", f)
	}
}
