package conformance

import (
	"strings"
	"testing"
)

var recordRows = []Row{
	{Name: "record-static", Source: "HNV lookup records, type Static", Level: HNV, Test: recordStatic,
		Says: "a record says where a CA is, and packets follow"},
	{Name: "record-moves", Source: "HNV", Level: HNV, Test: recordMoves,
		Says: "a VM whose record names no host is where its port appears; unplugged, what is sent to it is dropped, and counted"},
	{Name: "record-dynamic", Source: "HNV lookup records, type Dynamic", Level: HNV, Note: "all records are static",
		Says: "a CA that is learned from the VM, inside what the policy permits, is published to all hosts and ages"},
	{Name: "record-l2only", Source: "HNV lookup records, type L2Only", Level: HNV, Note: "all records are static",
		Says: "a VM with a MAC and no CA yet is reachable by its MAC in its subnet"},
	{Name: "record-wildcard", Source: "HNV lookup records, type GatewayWildcard", Level: HNV, Note: "all records are static",
		Says: "all CAs of a subnet that no record has go to one VM"},
	{Name: "rule-nat", Source: "HNV lookup records, rule TranslationMethodNat", Level: HNV, Note: "all records are encapsulated",
		Says: "a CA with rule Nat is rewritten one to one between two PAs, without encapsulation"},
	{Name: "use-vm-mac", Source: "HNV lookup records, UseVmMACAddress", Level: HNV, Note: "the MAC is always the record's",
		Says: "a record may leave the MAC to the VM's own adapter"},
	{Name: "several-cas", Source: "HNV", Level: HNV, On: Dual, Test: severalCAs,
		Says: "one adapter may have several CAs of its subnet, in both families"},
}

func recordStatic(t *testing.T, n *Network) { unicastToLocation(t, n) }

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
