package conformance

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

var routeRows = []Row{
	{Name: "route-to-vm", Source: "HNV customer routes", Level: HNV, Test: routeToVM,
		Says: "what a customer route takes goes to the VM that is its next hop, with that VM's MAC"},
	{Name: "route-longest-prefix", Source: "RFC 1812, 5.2.4.3", Level: Must, On: Routed, Test: routeLongest,
		Says: "of the routes that take a packet the longest prefix counts, then the lowest metric"},
	{Name: "route-of-subnet", Source: "HNV customer routes (RDID and VSID)", Level: HNV, On: Routed, Test: routeOfSubnet,
		Says: "a route may be for the packets of one subnet only; it wins over one of the same prefix for all"},
	{Name: "route-black-hole", Source: "HNV customer routes", Level: HNV, On: Routed, Test: routeBlackHole,
		Says: "a black-hole route drops what it takes, counted"},
	{Name: "route-ecmp", Source: "HNV customer routes", Level: HNV, On: Routed, Test: routeECMP,
		Says: "several next hops of one prefix and metric share the connections, each of which keeps its next hop",
		Note: "Open vSwitch's own datapath spreads UDP by its addresses, not by its ports"},
	{Name: "route-ecmp-dead", Source: "HNV customer routes", Level: HNV, On: Routed, Test: routeECMPDead,
		Says: "of several next hops one that is detached gets nothing, and its share again when it is back"},
	{Name: "route-ecmp-edit", Source: "HNV customer routes", Level: HNV, On: Routed, Test: routeECMPEdit,
		Says: "a next hop that leaves the policy gets nothing, and its share when it is there again"},
	{Name: "route-forwarding", Source: "HNV", Level: HNV, On: Routed, Test: routeForwarding,
		Says: "an appliance whose record says forwarding gets what a default route brings, and what it forwards goes on, in another's name",
		Note: "it sends ARP in its own name only; Linux with addresses of its own outside wants arp_announce=2 for that"},
	{Name: "route-forwarding-only", Source: "HNV", Level: HNV, On: Routed, Test: routeForwardingOnly,
		Says: "what a VM forwards whose record does not say so is dropped, and counted; one that may forward has its own MAC, and no martian source"},
}

func routeToVM(t *testing.T, n *Network) {
	mark := Mark()
	from := n.VM("web1")
	frame := Bytes(UDPFrame(MAC(from.MAC), n.Reply(t, "web1", from.Gateways[0]), from.CA, "172.16.5.5", mark)...)
	f := n.See(t, "web2", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frame) })[0]
	if f.Eth.DstMAC.String() != n.VM("web2").MAC || f.Dst().String() != "172.16.5.5" || f.IP.TTL != 63 {
		t.Errorf("the next hop got TTL %d, to %s: %s", f.IP.TTL, f.Eth.DstMAC, f)
	}
}

// both are the two families.
var both = []bool{false, true}

// outside makes a packet with a mark from a VM to an address that no VM has.
func (n *Network) outside(t *testing.T, vm, to, mark string) []byte {
	t.Helper()
	from := n.VM(vm)
	src := n.of(vm, netip.MustParseAddr(to).Is6())
	return Bytes(UDPFrame(MAC(from.MAC), n.Reply(t, vm, from.Gateways[0]), src, to, mark)...)
}

// arrives checks that what a VM sends to an address outside goes to another VM,
// and with which TTL it comes.
func (n *Network) arrives(t *testing.T, vm, to, hop string, ttl uint8) {
	t.Helper()
	mark := Mark()
	frame := n.outside(t, vm, to, mark)
	mac := n.VM(hop).MAC
	got := n.SeeAt(t, []string{"fw", "exit", "plain", "lb1", "lb2"}, 1, func(f *Frame) bool { return f.Carries(mark) && f.Eth.DstMAC.String() == mac }, func() { n.From(t, vm, frame) })
	if f := got[0]; len(got) != 1 || hops(f) != ttl || f.Src().String() != n.of(vm, f.IP6 != nil) || f.Dst().String() != to {
		t.Errorf("%s to %s: %s got %d, the first with TTL %d, want one with %d: %s", vm, to, hop, len(got), hops(f), ttl, f)
	}
}

// hops returns the TTL or hop limit of a packet.
func hops(f *Frame) uint8 {
	if f.IP6 != nil {
		return f.IP6.HopLimit
	}
	return f.IP.TTL
}

func routeLongest(t *testing.T, n *Network) {
	for _, c := range []struct{ to, hop string }{
		{"172.16.4.255", "exit"}, {"172.16.5.0", "lb1"}, {"172.16.5.255", "lb1"}, {"172.16.6.0", "exit"}, {"172.31.255.255", "exit"},
		{"2001:db8:1004:ffff::1", "exit"}, {"2001:db8:1005::", "lb1"}, {"2001:db8:1006::", "exit"},
	} {
		n.arrives(t, "web1", c.to, c.hop, 63)
	}
}

func routeOfSubnet(t *testing.T, n *Network) {
	for _, to := range []string{"192.0.2.5", "2001:db8:192::5"} {
		n.arrives(t, "web1", to, "plain", 63)
		n.arrives(t, "db1", to, "exit", 63) // by the default route
	}
	for _, to := range []string{"198.51.100.5", "2001:db8:198::5"} {
		n.arrives(t, "web1", to, "fw", 63)
		n.arrives(t, "db1", to, "exit", 63)
	}
}

func routeBlackHole(t *testing.T, n *Network) {
	for _, c := range []struct{ hole, beside string }{{"172.16.66.127", "172.16.66.128"}, {"2001:db8:1066:7fff::1", "2001:db8:1066:8000::"}} {
		mark := Mark()
		frame := n.outside(t, "web1", c.hole, mark)
		for _, f := range n.SeeAt(t, []string{"underlay", "exit", "lb1"}, 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.Dropped(t, "h1", "black-hole", 1, func() { n.From(t, "web1", frame) })
		}) {
			t.Errorf("seen %s", f)
		}
		n.arrives(t, "web1", c.beside, "lb1", 63)
	}
}

// balanced makes packets of TCP connections from web1 to an address that lb1 and
// lb2 share, each of another port. They ask for no answer.
func (n *Network) balanced(t *testing.T, six bool, count int, mark string) (frames [][]byte) {
	t.Helper()
	to := "203.0.113.7"
	if six {
		to = "2001:db8:203::7"
	}
	from := n.VM("web1")
	router := n.Reply(t, "web1", from.Gateways[0])
	for i := range count {
		ls := UDPFrame(MAC(from.MAC), router, n.of("web1", six), to, mark)
		if six {
			ls[1].(*layers.IPv6).NextHeader = layers.IPProtocolTCP
		} else {
			ls[1].(*layers.IPv4).Protocol = layers.IPProtocolTCP
		}
		ls[2] = &layers.TCP{SrcPort: layers.TCPPort(20000 + i), DstPort: 443, RST: true}
		frames = append(frames, Bytes(ls...))
	}
	return frames
}

// portOf returns the source port of a bare TCP packet with a mark; 0: it is none.
func portOf(f *Frame, mark string) layers.TCPPort {
	tcp, _ := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.NoCopy).Layer(layers.LayerTypeTCP).(*layers.TCP)
	if tcp == nil || string(tcp.Payload) != mark {
		return 0
	}
	return tcp.SrcPort
}

// takers sends packets of so many connections and returns which VMs, of those
// named, got each, as often as they did. It waits for all where all are awaited.
func (n *Network) takers(t *testing.T, six bool, count, times int, await bool, at ...string) map[layers.TCPPort][]string {
	t.Helper()
	mark := Mark()
	frames := n.balanced(t, six, count, mark)
	awaited := 0
	if await {
		awaited = count * times
	}
	got := make(map[layers.TCPPort][]string)
	for _, f := range n.SeeAt(t, at, awaited, func(f *Frame) bool { return portOf(f, mark) != 0 }, func() {
		for range times {
			n.From(t, "web1", frames...)
		}
	}) {
		got[portOf(f, mark)] = append(got[portOf(f, mark)], f.Eth.DstMAC.String())
	}
	return got
}

const connections = 200

// balancedWell checks that lb1 and lb2 share connections, each of which keeps to
// one of them.
func (n *Network) balancedWell(t *testing.T, six bool) {
	t.Helper()
	counts := make(map[string]int)
	for port, macs := range n.takers(t, six, connections, 3, true, "lb1", "lb2") {
		for _, m := range macs {
			if m != macs[0] {
				t.Errorf("packets from port %d went to %v", port, macs)
				break
			}
		}
		if len(macs) != 3 {
			t.Errorf("%d packets from port %d of 3", len(macs), port)
		}
		counts[macs[0]]++
	}
	t.Logf("connections by next hop: %v", counts)
	for _, vm := range []string{"lb1", "lb2"} {
		if counts[n.VM(vm).MAC] < connections/4 {
			t.Errorf("%d connections of %d by %s", counts[n.VM(vm).MAC], connections, vm)
		}
	}
}

func routeECMP(t *testing.T, n *Network) {
	for _, six := range both {
		n.balancedWell(t, six)
	}
	// UDP, by addresses.
	mark := Mark()
	var frames [][]byte
	router := n.Reply(t, "web1", n.VM("web1").Gateways[0])
	to := netip.MustParseAddr("203.0.113.0")
	for range connections {
		frames = append(frames, Bytes(UDPFrame(MAC(n.VM("web1").MAC), router, n.VM("web1").CA, to.String(), mark)...))
		to = to.Next()
	}
	counts := make(map[string]int)
	for _, f := range n.SeeAt(t, []string{"lb1", "lb2"}, connections, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", frames...) }) {
		counts[f.Eth.DstMAC.String()]++
	}
	if len(counts) != 2 || counts[n.VM("lb1").MAC] < connections/4 || counts[n.VM("lb2").MAC] < connections/4 {
		t.Errorf("UDP to %d addresses by next hop: %v", connections, counts)
	}
}

func routeECMPDead(t *testing.T, n *Network) {
	// The record of lb1 names its host, that of lb2 does not.
	for _, c := range []struct{ gone, left, host string }{{"lb2", "lb1", "h2"}, {"lb1", "lb2", "h1"}} {
		if err := n.Unplug(t.Context(), c.gone); err != nil {
			t.Fatal(err)
		}
		for _, six := range both {
			n.waitFor(t, "all by "+c.left, func() bool { return len(n.takers(t, six, 32, 1, false, c.left)) == 32 })
			if got := n.takers(t, six, connections, 1, true, c.left); len(got) != connections {
				t.Errorf("%d connections of %d by %s", len(got), connections, c.left)
			}
		}
		if err := n.Plug(t.Context(), c.gone, c.host); err != nil {
			t.Fatal(err)
		}
		for _, six := range both {
			n.waitFor(t, c.gone+" to have its share", func() bool { return len(n.takers(t, six, 32, 1, false, c.gone)) > 0 })
			n.balancedWell(t, six)
		}
	}
}

func routeECMPEdit(t *testing.T, n *Network) {
	const line = "      - {prefix: 203.0.113.0/24, next_hop: 10.0.3.22}\n"
	before := n.ReadPolicy()
	n.Edit(line, "")
	n.waitFor(t, "all by lb1", func() bool { return len(n.takers(t, false, 32, 1, false, "lb1")) == 32 })
	n.WritePolicy(before)
	n.waitFor(t, "lb2 to have its share", func() bool { return len(n.takers(t, false, 32, 1, false, "lb2")) > 0 })
	n.balancedWell(t, false)
}

// forwards lets a VM forward, or not any more.
func (n *Network) forwards(t *testing.T, vm string, on bool) {
	t.Helper()
	settings := []string{"ipv4/ip_forward=0", "ipv6/conf/all/forwarding=0"}
	if on {
		settings = []string{"ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/rp_filter=0", "ipv4/conf/" + testbed.VMDevice + "/rp_filter=0",
			"ipv4/conf/all/send_redirects=0", "ipv4/conf/" + testbed.VMDevice + "/send_redirects=0"}
	}
	if err := netspace.SetSysctl(n.VM(vm).Namespace, settings...); err != nil {
		t.Fatal(err)
	}
}

// addLoopback gives a VM an address that the policy does not know.
func (n *Network) addLoopback(t *testing.T, vm, address string) {
	t.Helper()
	h, err := netspace.Handle(n.VM(vm).Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err == nil {
		ip := IP(address)
		err = h.AddrReplace(link, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))}})
	}
	if err != nil {
		t.Fatalf("address %s of %s: %v", address, vm, err)
	}
}

func routeForwarding(t *testing.T, n *Network) {
	n.forwards(t, "fw", true)
	defer n.forwards(t, "fw", false)
	// A VM asks by ARP in its own name only, not in that of what it answers for.
	if err := netspace.SetSysctl(n.VM("exit").Namespace, "ipv4/conf/all/arp_announce=2"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"198.51.100.1", "2001:db8:198::1"} {
		// web1, its router, fw, its router, exit.
		n.arrives(t, "web1", to, "exit", 61)
		n.addLoopback(t, "exit", to)
		// Exit answers in the outside's name, once its kernel has the address in use.
		n.waitFor(t, "an answer from "+to, func() bool { _, ok := n.Ping(t, "web1", to); return ok })
	}
}

func routeForwardingOnly(t *testing.T, n *Network) {
	n.forwards(t, "plain", true)
	defer n.forwards(t, "plain", false)
	for _, to := range []string{"192.0.2.5", "2001:db8:192::5"} {
		mark := Mark()
		frame := n.outside(t, "web1", to, mark)
		if got := n.See(t, "underlay", 1, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.Dropped(t, "h2", "source-ca", 1, func() { n.From(t, "web1", frame) })
		}); len(got) != 1 {
			t.Errorf("%d packets in the underlay, the last %s", len(got), got[len(got)-1])
		}
	}
	fw := n.VM("fw")
	router := n.Reply(t, "fw", fw.Gateways[0])
	for _, c := range []struct{ reason, mac, src, dst string }{
		{"source-mac", n.VM("plain").MAC, "198.51.100.1", "10.0.1.11"},
		{"source-ca", fw.MAC, "127.0.0.1", "10.0.1.11"},
		{"source-ca", fw.MAC, "224.0.0.1", "10.0.1.11"},
		{"source-ca", fw.MAC, "::1", "fd00:0:0:1::11"},
		{"source-ca", fw.MAC, "fe80::1", "fd00:0:0:1::11"},
	} {
		mark := Mark()
		frame := Bytes(UDPFrame(MAC(c.mac), router, c.src, c.dst, mark)...)
		for _, f := range n.See(t, "web1", 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.Dropped(t, "h2", c.reason, 1, func() { n.From(t, "fw", frame) })
		}) {
			t.Errorf("from %s: %s", c.src, f)
		}
	}
}
