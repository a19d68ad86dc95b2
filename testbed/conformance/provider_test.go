package conformance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var providerRows = []Row{
	{Name: "pa-known-only", Source: "RFC 7637, 5", Level: Says, Test: paKnownOnly,
		Says: "NVGRE from an address that is no PA of a host of the tenant, or to another address, is dropped, and counted"},
	{Name: "pa-policy", Source: "RFC 7637, 3.2 and 4.3", Level: Says, On: SeveralPAs, Test: paPolicy,
		Says: "of several PAs of a host, policy (uplink, weight) picks the ones for each pair of hosts: the same two for both directions"},
	{Name: "pa-any-accepted", Source: "RFC 7637, 4.3", Level: Says, On: SeveralPAs, Test: paAnyAccepted,
		Says: "a receiver takes packets from each PA of a peer to each of its own, so that a change of the policy loses none"},
	{Name: "pa-across-subnets", Source: "RFC 7637, 4.6", Level: Says, Test: outerMACNextHop,
		Says: "hosts on different subnets of the underlay reach each other through its router"},
	{Name: "pa-vlan-bond", Source: "HNV provider addresses", Level: HNV, On: Bonded, Test: linkLoss,
		Says: "a PA on a tagged VLAN of a bonded pair of links outlives the loss of either link: nothing is lost once it is noticed"},
	{Name: "provider-routes", Source: "HNV provider routes", Level: HNV, Test: providerRoutes,
		Says: "nvgre-ofctl doctor compares the policy's provider routes with the host's routing table"},
	{Name: "neighbour-pinned", Source: "RFC 7637, 5", Level: Says, Test: neighbourPinned,
		Says: "no frame of the underlay changes where packets to a PA go: neither forged ARP nor GRE with a forged source nor a frame with the host's own MAC"},
}

func paPolicy(t *testing.T, n *Network) {
	path := func(from, to string) string {
		mark := Mark()
		f := n.See(t, "underlay", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, from, n.Unicast(from, to, mark)) })[0]
		return fmt.Sprintf("%s > %s", f.Src(), f.Dst())
	}
	// The only uplink that both have in common.
	if got := path("web1", "web2"); got != "10.99.0.11 > 10.99.0.2" {
		t.Errorf("h1 to h2: %s", got)
	}
	if got := path("web2", "web1"); got != "10.99.0.2 > 10.99.0.11" {
		t.Errorf("h2 to h1: %s", got)
	}
	// An address of weight 4294967295 beside one of weight 1, on either side.
	for _, pair := range [][2]string{{"web1", "web3"}, {"web2", "web3"}} {
		there, back := path(pair[0], pair[1]), path(pair[1], pair[0])
		if a, b, _ := strings.Cut(there, " > "); back != b+" > "+a || b != "10.99.0.33" {
			t.Errorf("%s to %s: %s, and back %s", pair[0], pair[1], there, back)
		}
	}
	if m, err := n.Testbed.Ping(t.Context()); err != nil || m.Differences > 0 {
		t.Errorf("all to all: %+v, %v", m, err)
	}
}

func paAnyAccepted(t *testing.T, n *Network) {
	for _, from := range n.HostNamed("h3").PAs {
		for _, to := range n.HostNamed("h1").PAs {
			mark := Mark()
			ls := n.Tunnel("h3", "h1", n.VM("web1").VSID<<8)
			ls[1].(*layers.IPv4).SrcIP, ls[1].(*layers.IPv4).DstIP = IP(from), IP(to)
			n.See(t, "web1", 1, func(f *Frame) bool { return f.Carries(mark) }, func() {
				n.OnWire(t, "underlay", Bytes(append(ls, gopacket.Payload(n.Unicast("web3", "web1", mark)))...))
			})
		}
	}
}

// linkLoss sends a frame every 5 ms while each link of the sender's and of the
// receiver's host goes down, one after the other.
func linkLoss(t *testing.T, n *Network) {
	const gap, before, after = 5 * time.Millisecond, 20, 150
	for _, host := range []string{"h1", "h2"} {
		for _, link := range []string{host + ":1", host + ":2"} {
			mark := Mark()
			got := n.See(t, "web2", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
				tick := time.NewTicker(gap)
				defer tick.Stop()
				for i := range before + after {
					if i == before {
						if err := n.SetLink(link, false); err != nil {
							t.Fatal(err)
						}
					}
					<-tick.C
					n.From(t, "web1", n.Unicast("web1", "web2", fmt.Sprintf("%s %d", mark, i)))
				}
			})
			if err := n.SetLink(link, true); err != nil {
				t.Fatal(err)
			}
			heard := make(map[string]bool)
			for _, f := range got {
				heard[string(f.UDP.Payload)] = true
			}
			lost, last := 0, -1
			for i := range before + after {
				if !heard[fmt.Sprintf("%s %d", mark, i)] {
					lost++
					last = i
				}
			}
			t.Logf("%s down: %d of %d frames lost, the last %v after it", link, lost, before+after, time.Duration(max(0, last-before))*gap)
			// The loss of a carrier is told at once; a busy machine notes it later.
			if lost > after/2 || last >= before+after-25 {
				t.Errorf("%s down: %d of %d frames lost, up to number %d", link, lost, before+after, last)
			}
			// The link is back before the other one goes.
			n.waitFor(t, link+" to be up", func() bool { up, err := n.LinkUp(link); return err == nil && up })
		}
	}
	if m, err := n.Testbed.Ping(t.Context()); err != nil || m.Differences > 0 {
		t.Errorf("at the end: %+v, %v", m, err)
	}
}

func providerRoutes(t *testing.T, n *Network) {
	before := n.ReadPolicy()
	defer n.WritePolicy(before)
	route := func(prefix, via string) []string {
		n.WritePolicy(strings.Replace(before, "{name: h1, ", fmt.Sprintf("{name: h1, routes: [{prefix: %s, next_hop: %s}], ", prefix, via), 1))
		return doctor(t, n, "h1", "--peer", "h2")
	}
	if wrong := route("0.0.0.0/0", "10.99.0.254"); len(wrong) > 0 {
		t.Errorf("a route that is there: %v", wrong)
	}
	if wrong := route("0.0.0.0/0", "10.99.0.253"); len(wrong) != 1 || !strings.Contains(wrong[0], "the host routes 0.0.0.0/0 by 10.99.0.254, the policy by 10.99.0.253") {
		t.Errorf("another next hop: %v", wrong)
	}
	if wrong := route("10.99.3.0/24", "10.99.0.254"); len(wrong) != 1 || !strings.Contains(wrong[0], "has no route for 10.99.3.0/24") || !strings.Contains(wrong[0], "ip route replace 10.99.3.0/24 via 10.99.0.254") {
		t.Errorf("a route that is missing: %v", wrong)
	}
}

func paKnownOnly(t *testing.T, n *Network) {
	mark := Mark()
	inner := gopacket.Payload(n.Unicast("web2", "web1", mark))
	tunnel := func(src, dst string) []byte {
		ls := n.Tunnel("h2", "h1", n.VM("web1").VSID<<8)
		ls[1].(*layers.IPv4).SrcIP, ls[1].(*layers.IPv4).DstIP = IP(src), IP(dst)
		return Bytes(append(ls, inner)...)
	}
	h1 := n.HostNamed("h1").PAs[0]
	for _, f := range n.See(t, "web1", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
		n.Dropped(t, "h1", "unknown-pa", 2, func() { n.OnWire(t, "rack1", tunnel("10.99.0.77", h1), tunnel("192.0.2.1", h1)) })
		n.OnWire(t, "rack1", tunnel(n.HostNamed("h2").PAs[0], "10.99.0.78"))
	}) {
		t.Errorf("delivered: %s", f)
	}
}

func neighbourPinned(t *testing.T, n *Network) {
	h1, h2 := n.HostNamed("h1"), n.HostNamed("h2")
	forger := MAC("02:66:66:66:66:66")
	gre := n.Tunnel("h2", "h1", 0x66666600)
	gre[0].(*layers.Ethernet).SrcMAC = forger
	reply := ARPRequest(forger, h2.PAs[0], h1.PAs[0])
	reply[1].(*layers.ARP).Operation = layers.ARPReply
	n.OnWire(t, "rack1",
		Bytes(UDPFrame(MAC(h2.MAC), Broadcast, "192.0.2.1", "255.255.255.255", "own")...), // as if h2 were elsewhere
		Bytes(ARPRequest(forger, h2.PAs[0], h2.PAs[0])...),                                // gratuitous
		Bytes(reply...),
		Bytes(append(gre, gopacket.Payload(n.Unicast("web2", "web1", Mark())))...))
	mark := Mark()
	f := n.See(t, "underlay", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web2", mark)) })[0]
	n.See(t, "web2", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web2", mark)) })
	if f.Eth.DstMAC.String() != h2.MAC {
		t.Errorf("packets to %s go to %s, want %s", h2.PAs[0], f.Eth.DstMAC, h2.MAC)
	}
}
