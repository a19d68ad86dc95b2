package conformance

import (
	"testing"

	"github.com/gopacket/gopacket"
)

var unicastRows = []Row{
	{Name: "unicast-to-location", Source: "RFC 7637, 4.3", Level: Says, Test: unicastToLocation,
		Says: "a frame goes as one packet to the one host where its destination is, and to nobody else"},
	{Name: "unicast-local", Source: "RFC 7637, 4.3", Level: Says, Test: unicastLocal,
		Says: "what stays on its host never enters the underlay"},
	{Name: "unicast-returns", Source: "RFC 7637, 4.3", Level: Says, Test: unicastReturns,
		Says: "traffic flows likewise on the way back"},
	{Name: "all-reach-all", Source: "HNV", Level: HNV, Test: allReachAll,
		Says: "in a routing domain every VM reaches every other, across subnets at the price of one hop, and between routing domains nobody reaches anybody"},
	{Name: "same-addresses", Source: "HNV", Level: HNV, Test: sameAddresses,
		Says: "tenants may use the same CAs and MACs: each packet reaches its own tenant's VM only"},
	{Name: "other-tenant-unreachable", Source: "HNV", Level: HNV, Test: otherTenant,
		Says: "an address that only another tenant has is nowhere: dropped, and counted"},
	{Name: "wrong-subnet-dropped", Source: "RFC 7637, 4.3", Level: Says, Test: wrongSubnet,
		Says: "a frame from the tunnel with a MAC that its VSID does not have on this host is dropped, and counted"},
	{Name: "no-learning-no-flooding", Source: "RFC 7637, 4.3", Level: Says, Test: noFlooding,
		Says: "locations come from the policy: no packet is flooded to find them, and none changes them"},
}

func unicastToLocation(t *testing.T, n *Network) {
	mark := Mark()
	got := n.See(t, "underlay", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web2", mark)) })
	if len(got) != 1 || got[0].Dst().String() != n.HostNamed("h2").PAs[0] {
		t.Errorf("%d packets, the first %s", len(got), got[0])
	}
}

func unicastLocal(t *testing.T, n *Network) {
	mark := Mark()
	for _, f := range n.See(t, "underlay", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
		if got := n.See(t, "web4", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web4", mark)) }); len(got) != 1 {
			t.Errorf("web4 got %d", len(got))
		}
	}) {
		t.Errorf("in the underlay: %s", f)
	}
}

func unicastReturns(t *testing.T, n *Network) {
	for _, to := range []string{"web2", "web3", "web4"} {
		if out, ok := n.Ping(t, "web1", n.VM(to).CA); !ok {
			t.Errorf("web1 to %s: %s", to, out)
		}
	}
}

func allReachAll(t *testing.T, n *Network) {
	m, err := n.Testbed.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Pairs {
		if !p.OK {
			t.Errorf("%s to %s (%s): %s", p.From, p.To, p.Address, p.Why)
		}
	}
}

func sameAddresses(t *testing.T, n *Network) {
	for _, to := range []string{"web2", "red2"} { // the same MAC and CA, on the same host
		from, other := "web1", "red2"
		if to == "red2" {
			from, other = "red1", "web2"
		}
		mark := Mark()
		for _, f := range n.See(t, other, 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.See(t, to, 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, from, n.Unicast(from, to, mark)) })
		}) {
			t.Errorf("%s got %s", other, f)
		}
	}
}

func otherTenant(t *testing.T, n *Network) {
	mark := Mark()
	web1, theirs := n.VM("web1"), n.VM("redonly")
	frame := Bytes(UDPFrame(MAC(web1.MAC), MAC(theirs.MAC), web1.CA, theirs.CA, mark)...)
	for _, f := range n.See(t, "underlay", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
		n.Dropped(t, "h1", "unknown-ca", 1, func() { n.From(t, "web1", frame) })
	}) {
		t.Errorf("in the underlay: %s", f)
	}
}

func wrongSubnet(t *testing.T, n *Network) {
	mark := Mark()
	frame := Bytes(append(n.Tunnel("h2", "h1", n.VM("db1").VSID<<8), gopacket.Payload(n.Unicast("web2", "web1", mark)))...)
	for _, f := range n.See(t, "web1", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
		n.Dropped(t, "h1", "not-here", 1, func() { n.OnWire(t, "rack1", frame) })
	}) {
		t.Errorf("delivered: %s", f)
	}
}

func noFlooding(t *testing.T, n *Network) {
	before, mark := Mark(), Mark()
	web2 := n.VM("web2")
	// A frame that claims web4's MAC from elsewhere, which a learning switch
	// would believe.
	claim := UDPFrame(MAC(n.VM("web4").MAC), MAC(n.VM("web1").MAC), web2.CA, n.VM("web1").CA, before)
	n.OnWire(t, "rack1", Bytes(append(n.Tunnel("h2", "h1", web2.VSID<<8), gopacket.Payload(Bytes(claim...)))...))
	stranger := Bytes(UDPFrame(MAC(n.VM("web1").MAC), MAC("02:66:66:66:66:66"), n.VM("web1").CA, "10.0.1.200", mark)...)
	flooded := n.See(t, "underlay", 0, func(f *Frame) bool { return f.Carries(mark) || f.Inner != nil && f.Inner.ARP != nil }, func() {
		n.Dropped(t, "h1", "unknown-ca", 1, func() { n.From(t, "web1", stranger) })
		n.See(t, "web4", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web4", mark)) })
	})
	if len(flooded) > 0 {
		t.Errorf("%d frames in the underlay, the first %s", len(flooded), flooded[0])
	}
}
