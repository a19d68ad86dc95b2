package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/mdlayher/ndp"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

var addressRows = []Row{
	{Name: "dhcpv4", Source: "RFC 2131", Level: HNV, On: Told, Test: dhcpV4,
		Says: "a VM gets its CA, prefix length, gateway, MTU and DNS by DHCPv4"},
	{Name: "dhcpv6", Source: "RFC 8415", Level: HNV, On: Told, Test: dhcpV6,
		Says: "a VM gets its CA and DNS by DHCPv6"},
	{Name: "router-advertisement", Source: "RFC 4861, 6.2", Level: HNV, On: Told, Test: routerAdvertisement,
		Says: "a VM gets prefix, MTU and gateway by router advertisement, with M=1 and A=0"},
	{Name: "router-advertisement-linux", Source: "RFC 4861, 6.3", Level: HNV, On: Told, Test: linuxAdvertised,
		Says: "Linux in a VM takes its gateway, its link's prefix and its MTU from it, and makes no address"},
	{Name: "dhcp-off", Source: "HNV", Level: HNV, On: Told, Test: dhcpOff,
		Says: "in a subnet without DHCP none of these questions is answered"},
	{Name: "renumbering", Source: "HNV", Level: HNV, On: Told, Test: renumbering,
		Says: "a VM whose CA changes in the policy gets the new one when it asks again, and is refused the old one"},
	{Name: "packet-in-metered", Source: "HNV", Level: HNV, On: Told, Test: packetInMetered,
		Says: "what goes to the controller is limited for each VM: a flood harms no other VM, nor the flow channel"},
}

// dhcp4 has a VM send a DHCPv4 message and returns the answer; nil: none. It waits
// for count answers.
func (n *Network) dhcp4(t *testing.T, vm string, count int, q *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	t.Helper()
	mac := MAC(n.VM(vm).MAC)
	frame := Bytes(Ethernet(mac, Broadcast, layers.EthernetTypeIPv4),
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: IP("0.0.0.0"), DstIP: IP("255.255.255.255")},
		&layers.UDP{SrcPort: 68, DstPort: 67}, gopacket.Payload(q.ToBytes()))
	var all []*dhcpv4.DHCPv4
	for _, f := range n.See(t, vm, count, func(f *Frame) bool { return f.IP != nil && f.UDP != nil && f.UDP.DstPort == 68 }, func() { n.From(t, vm, frame) }) {
		a, err := dhcpv4.FromBytes(f.UDP.Payload)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if a.TransactionID == q.TransactionID {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil
	}
	if len(all) > 1 {
		t.Errorf("%s has %d answers to %s", vm, len(all), q.MessageType())
	}
	return all[0]
}

func discover(t *testing.T, vm string) *dhcpv4.DHCPv4 {
	t.Helper()
	q, err := dhcpv4.NewDiscovery(MAC(vm), dhcpv4.WithRequestedOptions(dhcpv4.OptionInterfaceMTU, dhcpv4.OptionDomainName))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func dhcpV4(t *testing.T, n *Network) {
	for _, vm := range []string{"web1", "web2", "web3"} {
		offer := n.dhcp4(t, vm, 1, discover(t, n.VM(vm).MAC))
		if offer == nil || offer.MessageType() != dhcpv4.MessageTypeOffer {
			t.Fatalf("%s is offered %v", vm, offer)
		}
		q, err := dhcpv4.NewRequestFromOffer(offer)
		if err != nil {
			t.Fatal(err)
		}
		ack := n.dhcp4(t, vm, 1, q)
		if ack == nil || ack.MessageType() != dhcpv4.MessageTypeAck {
			t.Fatalf("%s requests, and gets %v", vm, ack)
		}
		ones, _ := ack.SubnetMask().Size()
		mtu, _ := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options)
		got := fmt.Sprintln(ack.YourIPAddr, ones, ack.Router(), mtu, ack.DNS(), ack.DomainName(), ack.IPAddressLeaseTime(0), ack.ServerIdentifier())
		want := fmt.Sprintln(n.of(vm, false), 24, "[10.0.1.1]", n.Plan().VMMTU(), "[10.0.9.53]", "blue.example", 10*time.Minute, "10.0.1.1")
		if got != want {
			t.Errorf("%s is given %s, want %s", vm, got, want)
		}
	}
}

// dhcp6 has a VM send a DHCPv6 message and returns the answer; nil: none. It waits
// for count answers.
func (n *Network) dhcp6(t *testing.T, vm string, count int, q *dhcpv6.Message) *dhcpv6.Message {
	t.Helper()
	mac := n.VM(vm).MAC
	frame := Bytes(Ethernet(MAC(mac), MAC("33:33:00:01:00:02"), layers.EthernetTypeIPv6),
		&layers.IPv6{Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolUDP, SrcIP: IP(linkLocalOf(mac)), DstIP: IP("ff02::1:2")},
		&layers.UDP{SrcPort: 546, DstPort: 547}, gopacket.Payload(q.ToBytes()))
	var answer *dhcpv6.Message
	for _, f := range n.See(t, vm, count, func(f *Frame) bool { return f.IP6 != nil && f.UDP != nil && f.UDP.DstPort == 546 }, func() { n.From(t, vm, frame) }) {
		a, err := dhcpv6.MessageFromBytes(f.UDP.Payload)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if answer != nil || a.TransactionID != q.TransactionID || f.Src().String() != routerLinkLocal || f.Dst().String() != linkLocalOf(mac) {
			t.Errorf("%s gets %s", vm, f)
		}
		answer = a
	}
	return answer
}

func dhcpV6(t *testing.T, n *Network) {
	for _, vm := range []string{"web1", "web2", "web3"} {
		q, err := dhcpv6.NewSolicit(MAC(n.VM(vm).MAC))
		if err != nil {
			t.Fatal(err)
		}
		advertise := n.dhcp6(t, vm, 1, q)
		if advertise == nil || advertise.MessageType != dhcpv6.MessageTypeAdvertise {
			t.Fatalf("%s solicits, and gets %v", vm, advertise)
		}
		if q, err = dhcpv6.NewRequestFromAdvertise(advertise); err != nil {
			t.Fatal(err)
		}
		reply := n.dhcp6(t, vm, 1, q)
		if reply == nil || reply.MessageType != dhcpv6.MessageTypeReply || reply.Options.OneIANA() == nil || reply.Options.OneIANA().Options.OneAddress() == nil {
			t.Fatalf("%s requests, and gets %v", vm, reply)
		}
		given := reply.Options.OneIANA().Options.OneAddress()
		got := fmt.Sprintln(given.IPv6Addr, given.ValidLifetime, reply.Options.DNS(), reply.Options.DomainSearchList().Labels)
		want := fmt.Sprintln(n.of(vm, true), 10*time.Minute, "[fd00:0:0:9::53]", "[blue.example]")
		if got != want {
			t.Errorf("%s is given %s, want %s", vm, got, want)
		}
	}
}

// routerSolicitation makes a VM's question for routers.
func (n *Network) routerSolicitation(vm string) []byte {
	mac := n.VM(vm).MAC
	return Bytes(Ethernet(MAC(mac), MAC("33:33:00:00:00:02"), layers.EthernetTypeIPv6),
		&layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: IP(linkLocalOf(mac)), DstIP: IP("ff02::2")},
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(133, 0)}, gopacket.Payload(append([]byte{0, 0, 0, 0, 1, 1}, MAC(mac)...)))
}

// routers has a VM ask for routers, and returns the advertisements that it gets.
func (n *Network) routers(t *testing.T, vm string, count int) (all []*Frame) {
	t.Helper()
	return n.See(t, vm, count, func(f *Frame) bool { return f.ICMP6 != nil && f.ICMP6.TypeCode.Type() == 134 }, func() { n.From(t, vm, n.routerSolicitation(vm)) })
}

func routerAdvertisement(t *testing.T, n *Network) {
	for _, vm := range []string{"web1", "web2", "web3"} {
		all := n.routers(t, vm, 1)
		if len(all) != 1 {
			t.Fatalf("%s gets %d advertisements: %v", vm, len(all), all)
		}
		f := all[0]
		m, err := ndp.ParseMessage(f.IP6.Payload)
		if err != nil {
			t.Fatal(err)
		}
		ra := m.(*ndp.RouterAdvertisement)
		router := n.Reply(t, vm, "10.0.1.1").String()
		if f.Src().String() != routerLinkLocal || f.IP6.HopLimit != 255 || f.Eth.SrcMAC.String() != router || f.Dst().String() != linkLocalOf(n.VM(vm).MAC) {
			t.Errorf("%s: %s", vm, f)
		}
		if !ra.ManagedConfiguration || ra.RouterLifetime == 0 {
			t.Errorf("M is %v, lifetime %v", ra.ManagedConfiguration, ra.RouterLifetime)
		}
		var got []string
		for _, o := range ra.Options {
			switch o := o.(type) {
			case *ndp.PrefixInformation:
				got = append(got, fmt.Sprintf("prefix %s/%d on link: %v, A: %v", o.Prefix, o.PrefixLength, o.OnLink, o.AutonomousAddressConfiguration))
			case *ndp.MTU:
				got = append(got, fmt.Sprint("mtu ", o.MTU))
			case *ndp.LinkLayerAddress:
				got = append(got, fmt.Sprint("mac ", o.Addr))
			case *ndp.RecursiveDNSServer:
				got = append(got, fmt.Sprint("dns ", o.Servers))
			}
		}
		for _, want := range []string{"prefix fd00:0:0:1::/64 on link: true, A: false", fmt.Sprint("mtu ", n.Plan().VMMTU()), "mac " + router, "dns [fd00:0:0:9::53]"} {
			if !strings.Contains(strings.Join(got, "; ")+";", want+";") {
				t.Errorf("%s is not told %q but %q", vm, want, got)
			}
		}
	}
}

// The machine of client has no address of its own but the link-local one.
func linuxAdvertised(t *testing.T, n *Network) {
	v := n.VM("client")
	ip := func(args ...string) string {
		t.Helper()
		out, errs, code := drive.Run(t, "ip", append([]string{"-6", "-n", v.Namespace}, args...)...)
		if code != 0 {
			t.Fatalf("ip %v: %s%s", args, out, errs)
		}
		return out
	}
	n.largeMTU(t, "client")
	ip("addr", "flush", "dev", testbed.VMDevice, "scope", "global")
	ip("route", "flush", "default")
	conf := "ipv6/conf/" + testbed.VMDevice + "/"
	if err := netspace.SetSysctl(v.Namespace, conf+"accept_ra=1", conf+"autoconf=1"); err != nil {
		t.Fatal(err)
	}
	defer netspace.SetSysctl(v.Namespace, conf+"accept_ra=0")
	if all := n.routers(t, "client", 1); len(all) != 1 {
		t.Fatalf("%d advertisements", len(all))
	}
	var routes string
	if !n.soon(func() bool { routes = ip("route", "show"); return strings.Contains(routes, "default via fe80::1 ") }) || !strings.Contains(routes, "fd00:0:0:1::/64 dev "+testbed.VMDevice+" proto kernel") {
		t.Errorf("the routes are\n%s", routes)
	}
	if mtu := ip("route", "get", n.of("db2", true), "from", "::"); !strings.Contains(mtu, "fe80::1") {
		t.Errorf("the way to db2 is %s", mtu)
	}
	if got := ip("addr", "show", "dev", testbed.VMDevice, "scope", "global"); strings.TrimSpace(got) != "" {
		t.Errorf("it has made itself an address: %s", got)
	}
	// With the address that DHCPv6 gives, all is there.
	ip("addr", "add", n.of("client", true)+"/128", "dev", testbed.VMDevice)
	if out, ok := n.Ping(t, "client", n.of("db2", true), "-s", "1400"); !ok {
		t.Errorf("db2 does not answer: %s", out)
	}
}

func dhcpOff(t *testing.T, n *Network) {
	for _, vm := range []string{"db1", "db2"} {
		if a := n.dhcp4(t, vm, 0, discover(t, n.VM(vm).MAC)); a != nil {
			t.Errorf("%s is given %s", vm, a.Summary())
		}
		q, err := dhcpv6.NewSolicit(MAC(n.VM(vm).MAC))
		if err != nil {
			t.Fatal(err)
		}
		if a := n.dhcp6(t, vm, 0, q); a != nil {
			t.Errorf("%s is given %s", vm, a.Summary())
		}
		if all := n.routers(t, vm, 0); len(all) > 0 {
			t.Errorf("%s gets %s", vm, all[0])
		}
	}
}

func renumbering(t *testing.T, n *Network) {
	before := n.ReadPolicy()
	old := netip.MustParseAddr(n.of("web2", false))
	n.Edit("ca: 10.0.1.12,", "ca: 10.0.1.112,")
	defer func() {
		n.WritePolicy(before)
		n.waitFor(t, "the old policy", func() bool { return n.offered(t, "web2") == old.String() })
	}()
	n.waitFor(t, "the new address", func() bool { return n.offered(t, "web2") == "10.0.1.112" })
	q := discover(t, n.VM("web2").MAC)
	q.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRequest))
	q.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IP(old.AsSlice())))
	if a := n.dhcp4(t, "web2", 1, q); a == nil || a.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("asked for its old address: %v", a)
	}
}

// offered returns the address that a VM is offered by DHCPv4.
func (n *Network) offered(t *testing.T, vm string) string {
	t.Helper()
	if offer := n.dhcp4(t, vm, 0, discover(t, n.VM(vm).MAC)); offer != nil {
		return offer.YourIPAddr.String()
	}
	return ""
}
