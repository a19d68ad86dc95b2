package conformance

import (
	"testing"

	"github.com/gopacket/gopacket/layers"
)

var neighbourRows = []Row{
	{Name: "arp-real-mac", Source: "HNV", Level: HNV, Test: arpRealMAC,
		Says: "ARP for a VM of the subnet, here or elsewhere, is answered with that VM's own MAC by the sender's host"},
	{Name: "arp-gateway", Source: "HNV", Level: HNV, Test: arpGateway,
		Says: "ARP for the subnet's gateway is answered with the router's MAC, the same on every host"},
	{Name: "arp-stays", Source: "HNV", Level: HNV, Test: arpStays,
		Says: "no ARP of a VM enters the underlay or reaches another VM"},
	{Name: "arp-unknown-silent", Source: "HNV", Level: HNV, Test: arpUnknown,
		Says: "ARP for an address that nobody has, or that is in another subnet, is not answered, and counted"},
	{Name: "arp-tenants-apart", Source: "HNV", Level: HNV, Test: arpTenants,
		Says: "ARP for an address that only another tenant has is not answered"},
	{Name: "arp-probe", Source: "RFC 5227, 2.1", Level: Says, Test: arpProbe,
		Says: "a probe is answered where another VM has the address, and not where it is the sender's own"},
	{Name: "arp-unicast-delivered", Source: "RFC 1122, 2.3.2.1", Level: May, Test: arpUnicast,
		Says: "unicast ARP, by which a VM checks that a neighbour still answers, reaches that neighbour, and its answer who asked"},
	{Name: "nd-real-mac", Source: "RFC 4861, 7.2", Level: HNV, On: Dual, Test: ndRealMAC,
		Says: "a neighbour solicitation for a VM of the subnet is answered with that VM's own MAC, solicited, by the sender's host; nothing enters the underlay"},
	{Name: "nd-gateway", Source: "RFC 4861, 7.2", Level: HNV, On: Dual, Test: ndGateway,
		Says: "and one for the gateway, by its global and its link-local address, with the router's MAC and the R flag"},
	{Name: "nd-unknown-silent", Source: "HNV", Level: HNV, On: Dual, Test: ndUnknown,
		Says: "one for an address that nobody has, or only another tenant, is not answered"},
	{Name: "nd-dad", Source: "RFC 4862, 5.4", Level: HNV, On: Dual, Test: ndDAD,
		Says: "duplicate address detection finds an address that another VM has, and no other"},
	{Name: "nd-rogue-dropped", Source: "RFC 6105", Level: HNV, On: Dual, Test: ndRogue,
		Says: "router advertisements, redirects and neighbour advertisements in another's name reach nobody, and are counted"},
	{Name: "link-local", Source: "RFC 4291, 2.5.6", Level: HNV, On: Dual, Test: linkLocal,
		Says: "VMs of one virtual subnet reach each other by their link-local addresses, also across hosts; those of another do not"},
}

func arpRealMAC(t *testing.T, n *Network) {
	for _, vm := range []string{"web2", "web3", "web4"} {
		if got, want := n.Reply(t, "web1", n.VM(vm).CA), n.VM(vm).MAC; got.String() != want {
			t.Errorf("%s is said to be at %s, want %s", vm, got, want)
		}
	}
}

func arpGateway(t *testing.T, n *Network) {
	first := n.Reply(t, "web1", n.VM("web1").Gateways[0])
	if first == nil {
		t.Fatal("no answer")
	}
	for _, vm := range []string{"web2", "web3", "db1"} {
		if got := n.Reply(t, vm, n.VM(vm).Gateways[0]); got.String() != first.String() {
			t.Errorf("%s's gateway is at %s, web1's at %s", vm, got, first)
		}
	}
}

func arpStays(t *testing.T, n *Network) {
	isARP := func(f *Frame) bool {
		return f.Inner != nil && f.Inner.ARP != nil || f.ARP != nil && f.ARP.Operation == layers.ARPRequest && string(f.Eth.SrcMAC) == string(MAC(n.VM("web1").MAC))
	}
	for _, where := range []string{"underlay", "web4", "red1"} {
		for _, f := range n.See(t, where, 0, isARP, func() {
			for _, target := range []string{n.VM("web2").CA, n.VM("web4").CA} {
				n.Reply(t, "web1", target)
			}
			// Counted before the next row begins to count.
			n.Dropped(t, "h1", "arp-unknown-ca", 1, func() { n.Reply(t, "web1", "10.0.1.200") })
		}) {
			t.Errorf("seen %s", f)
		}
	}
}

func arpUnknown(t *testing.T, n *Network) {
	n.Dropped(t, "h1", "arp-unknown-ca", 1, func() {
		if got := n.Reply(t, "web1", "10.0.1.200"); got != nil {
			t.Errorf("10.0.1.200 is said to be at %s", got)
		}
	})
	n.Dropped(t, "h1", "arp-target", 2, func() {
		for _, elsewhere := range []string{n.VM("db1").CA, "192.0.2.1"} {
			if got := n.Reply(t, "web1", elsewhere); got != nil {
				t.Errorf("%s is said to be at %s", elsewhere, got)
			}
		}
	})
}

func arpTenants(t *testing.T, n *Network) {
	if got := n.Reply(t, "web1", n.VM("redonly").CA); got != nil {
		t.Errorf("the other tenant's VM is said to be at %s", got)
	}
}

func arpProbe(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	for target, want := range map[string]bool{n.VM("web2").CA: true, n.VM("web4").CA: true, web1.CA: false, "10.0.1.200": false} {
		got := n.See(t, "web1", 0, func(f *Frame) bool { return f.ARP != nil && f.ARP.Operation == layers.ARPReply }, func() {
			n.From(t, "web1", Bytes(ARPRequest(MAC(web1.MAC), "0.0.0.0", target)...))
		})
		if (len(got) > 0) != want {
			t.Errorf("a probe of %s gets %d answers, want some: %v", target, len(got), want)
		}
	}
}

func arpUnicast(t *testing.T, n *Network) {
	web1, web2 := n.VM("web1"), n.VM("web2")
	ls := ARPRequest(MAC(web1.MAC), web1.CA, web2.CA)
	ls[0] = Ethernet(MAC(web1.MAC), MAC(web2.MAC), layers.EthernetTypeARP)
	n.See(t, "web2", 1, func(f *Frame) bool {
		return f.ARP != nil && f.ARP.Operation == layers.ARPRequest && string(f.Eth.SrcMAC) == string(MAC(web1.MAC))
	}, func() {
		n.See(t, "web1", 1, func(f *Frame) bool {
			return f.ARP != nil && f.ARP.Operation == layers.ARPReply && string(f.Eth.SrcMAC) == string(MAC(web2.MAC))
		}, func() { n.From(t, "web1", Bytes(ls...)) })
	})
}
