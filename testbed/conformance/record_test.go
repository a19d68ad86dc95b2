package conformance

import (
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
)

var recordRows = []Row{
	{Name: "record-static", Source: "HNV lookup records, type Static", Level: HNV, Test: recordStatic,
		Says: "a record says where a CA is, and packets follow"},
	{Name: "record-moves", Source: "HNV", Level: HNV, Test: recordMoves,
		Says: "a VM whose record names no host is where its port appears; unplugged, what is sent to it is dropped, and counted"},
	{Name: "record-dynamic", Source: "HNV lookup records, type Dynamic", Level: HNV, Note: "all records are static",
		Says: "a CA that is learned from the VM, inside what the policy permits, is published to all hosts and ages"},
	{Name: "record-l2only", Source: "HNV lookup records, type L2Only", Level: HNV, On: Odd, Test: recordL2Only,
		Says: "a VM with a MAC and no CA yet is known: frames to its MAC in its subnet reach it, and what it sends is dropped, and counted"},
	{Name: "record-wildcard", Source: "HNV lookup records, type GatewayWildcard", Level: HNV, On: Odd, Test: recordWildcard,
		Says: "all CAs of a subnet that no record has go to one VM, from its own subnet and from others, and ARP for them is answered with its MAC"},
	{Name: "record-wildcard-6", Source: "HNV lookup records, type GatewayWildcard", Level: HNV, On: Odd, Test: recordWildcard6,
		Says: "likewise for IPv6 and neighbour solicitations"},
	{Name: "record-wildcard-sends", Source: "HNV lookup records, type GatewayWildcard", Level: HNV, On: Odd, Test: recordWildcardSends,
		Says: "and that VM sends from addresses that are not its own; an address that it takes itself is not said to be taken"},
	{Name: "rule-nat", Source: "HNV lookup records, rule TranslationMethodNat", Level: HNV, Note: "all records are encapsulated",
		Says: "a CA with rule Nat is rewritten one to one between two PAs, without encapsulation"},
	{Name: "use-vm-mac", Source: "HNV lookup records, UseVmMACAddress", Level: HNV, Note: "the MAC is always the record's",
		Says: "a record may leave the MAC to the VM's own adapter"},
	{Name: "several-cas", Source: "HNV", Level: HNV, On: Dual, Test: severalCAs,
		Says: "one adapter may have several CAs of its subnet, in both families"},
}

func recordStatic(t *testing.T, n *Network) { unicastToLocation(t, n) }

// The addresses that no record has.
const nobody, nobody6 = "10.0.1.200", "fd00:0:0:1::200"

func recordWildcard(t *testing.T, n *Network) {
	gw := n.VM("gw")
	if got := n.Reply(t, "web1", nobody); got.String() != gw.MAC {
		t.Errorf("%s is said to be at %s, want %s", nobody, got, gw.MAC)
	}
	for _, from := range []string{"web1", "db1"} {
		mark := Mark()
		frame := Bytes(UDPFrame(MAC(n.VM(from).MAC), MAC(gw.MAC), n.VM(from).CA, nobody, mark)...)
		for _, f := range n.See(t, "gw", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, from, frame) }) {
			if f.Eth.DstMAC.String() != gw.MAC || f.Dst().String() != nobody {
				t.Errorf("from %s: %s", from, f)
			}
		}
	}
	n.Dropped(t, "h1", "arp-target", 1, func() { n.Reply(t, "db1", nobody) })
	n.Dropped(t, "h1", "arp-unknown-ca", 1, func() { n.Reply(t, "db1", "10.0.2.200") }) // has no wildcard
}

func recordWildcard6(t *testing.T, n *Network) {
	gw, web1 := n.VM("gw"), n.VM("web1")
	mark := Mark()
	frame := Bytes(UDPFrame(MAC(web1.MAC), MAC(gw.MAC), n.of("web1", true), nobody6, mark)...)
	n.See(t, "gw", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frame) })
	if a, ok := n.solicit(t, "web1", n.of("web1", true), nobody6); !ok || a.mac.String() != gw.MAC {
		t.Errorf("%s is said to be at %+v, want %s", nobody6, a, gw.MAC)
	}
}

func recordWildcardSends(t *testing.T, n *Network) {
	gw, web1 := n.VM("gw"), n.VM("web1")
	for _, from := range []string{nobody, "192.0.2.9"} {
		mark := Mark()
		frame := Bytes(UDPFrame(MAC(gw.MAC), MAC(web1.MAC), from, web1.CA, mark)...)
		n.See(t, "web1", 1, func(f *Frame) bool { return f.Carries(mark) && f.Src().String() == from }, func() { n.From(t, "gw", frame) })
	}
	n.Dropped(t, "h2", "source-ca", 1, func() {
		n.From(t, "gw", Bytes(UDPFrame(MAC(gw.MAC), MAC(web1.MAC), "127.0.0.1", web1.CA, Mark())...))
	})
	n.Dropped(t, "h2", "arp-own", 1, func() {
		n.From(t, "gw", Bytes(ARPRequest(MAC(gw.MAC), "0.0.0.0", nobody)...))
	})
}

func recordL2Only(t *testing.T, n *Network) {
	fresh, web1 := n.VM("fresh"), n.VM("web1")
	mark := Mark()
	inner := Bytes(UDPFrame(MAC(web1.MAC), MAC(fresh.MAC), web1.CA, "10.0.1.13", mark)...)
	frame := Bytes(append(n.Tunnel("h1", "h2", fresh.VSID<<8), gopacket.Payload(inner))...)
	n.See(t, "fresh", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.OnWire(t, "rack1", frame) })
	n.Dropped(t, "h2", "no-ca", 2, func() {
		n.From(t, "fresh",
			Bytes(UDPFrame(MAC(fresh.MAC), MAC(web1.MAC), "10.0.1.13", web1.CA, Mark())...),
			Bytes(ARPRequest(MAC(fresh.MAC), "10.0.1.13", web1.CA)...))
	})
}

func severalCAs(t *testing.T, n *Network) {
	many := n.VM("many")
	for _, a := range many.Addresses {
		ca, _, _ := strings.Cut(a, "/")
		for _, from := range []string{"web1", "web2", "web3"} {
			if out, ok := n.Ping(t, from, ca); !ok {
				t.Errorf("%s to %s: %s", from, ca, out)
			}
		}
		to := n.VM("web2").CA
		if strings.Contains(ca, ":") {
			to = n.of("web2", true)
		}
		mark := Mark()
		frame := Bytes(UDPFrame(MAC(many.MAC), MAC(n.VM("web2").MAC), ca, to, mark)...)
		n.See(t, "web2", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "many", frame) })
	}
}

func recordMoves(t *testing.T, n *Network) {
	reached := func() bool { _, ok := n.Ping(t, "web1", n.VM("roam").CA); return ok }
	if !reached() {
		t.Fatal("roam is not reached at first")
	}
	mark := Mark()
	frame := n.Unicast("web1", "roam", mark)
	if err := n.Unplug(t.Context(), "roam"); err != nil {
		t.Fatal(err)
	}
	n.waitFor(t, "its drop flow", func() bool {
		before := n.Drops("h1")["unattached"]
		n.From(t, "web1", frame)
		return n.soon(func() bool { return n.Drops("h1")["unattached"] > before })
	})
	if err := n.Plug(t.Context(), "roam", "h3"); err != nil {
		t.Fatal(err)
	}
	n.waitFor(t, "roam on h3", reached)
	if err := n.Move(t.Context(), "roam", "h2"); err != nil {
		t.Fatal(err)
	}
	n.waitFor(t, "roam on h2 again", reached)
}
