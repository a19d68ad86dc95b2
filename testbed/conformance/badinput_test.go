package conformance

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var badInputRows = []Row{
	{Name: "bad-arp", Source: "RFC 826", Level: HNV, Test: badARP,
		Says: "malformed ARP of a VM (truncated, other hardware, other lengths, unknown operations) is dropped, counted, and not answered"},
	{Name: "bad-nd", Source: "RFC 4861, 6.1 and 7.1", Level: HNV, Test: badND,
		Says: "malformed neighbour discovery of a VM reaches nobody and is not answered"},
	{Name: "bad-dhcp", Source: "RFC 2131; RFC 8415", Level: HNV, Test: badDHCP,
		Says: "malformed DHCP of a VM reaches nobody and is not answered"},
	{Name: "bad-igmp", Source: "RFC 3376; RFC 3810", Level: HNV, Test: badIGMP,
		Says: "malformed IGMP and MLD of a VM reach nobody"},
	{Name: "bad-ip", Source: "RFC 1122, 3.2.1", Level: HNV, Test: badIP,
		Says: "IP packets of a VM with a wrong header length or total length reach nobody",
		Note: "Open vSwitch leaves the version to the receiver: a packet with a wrong one passes, in its sender's own name"},
	{Name: "fuzz-from-vm", Source: "HNV", Level: HNV, Test: fuzzFromVM,
		Says: "a thousand truncated and mutated frames of a VM reach no other tenant, none in another's name, and end nothing"},
	{Name: "fuzz-from-tunnel", Source: "HNV", Level: HNV, Test: fuzzFromTunnel,
		Says: "a thousand truncated and mutated frames from the tunnel reach nobody whom they do not name, and end nothing"},
	{Name: "bad-script", Source: "HNV cmdlets", Level: HNV, Test: badScript,
		Says: "a bad PowerShell script of policy gives errors with line numbers, and writes nothing"},
}

// survives runs send and fails the test if a daemon has ended by it, or if VMs no
// longer reach each other.
func survives(t *testing.T, n *Network, send func()) {
	t.Helper()
	pids := func() (all []string) {
		for _, h := range n.In.Hosts {
			for _, file := range []string{h.VswitchdPid, h.OVSDBPid} {
				pid, err := os.ReadFile(file)
				if err != nil {
					t.Errorf("host %s: %v", h.Name, err)
				}
				all = append(all, string(pid))
			}
		}
		return all
	}
	before := pids()
	send()
	if after := pids(); !slices.Equal(before, after) {
		t.Errorf("the daemons were %q and are %q", before, after)
	}
	select {
	case <-n.Controller.Done():
		t.Error("the controller has ended")
	default:
	}
	for _, to := range []string{"web2", "web3"} {
		if out, ok := n.Ping(t, "web1", n.VM(to).CA); !ok {
			t.Errorf("afterwards web1 does not reach %s: %s", to, out)
		}
	}
}

// quiet sends frames from web1 and fails the test for every frame that anybody
// else gets, or web1 as an answer. With counted it waits until they are counted
// as dropped.
func quiet(t *testing.T, n *Network, counted bool, frames ...[]byte) {
	t.Helper()
	own := n.VM("web1").MAC
	total := func() (sum int) {
		for _, packets := range n.Drops("h1") {
			sum += packets
		}
		return sum
	}
	survives(t, n, func() {
		points := []string{"underlay", "web1"}
		for _, v := range n.In.VMs {
			if v.Host == "h1" && v.RDID == n.VM("web1").RDID && v.IfaceID != "web1" {
				points = append(points, v.IfaceID)
			}
		}
		for _, where := range points {
			before := total()
			for _, f := range n.See(t, where, 0, func(f *Frame) bool {
				if where == "underlay" {
					return f.Inner != nil
				}
				return f.Eth != nil && f.Eth.SrcMAC.String() != own
			}, func() { n.From(t, "web1", frames...) }) {
				t.Errorf("seen %s", f)
			}
			if counted && !n.soon(func() bool { return total()-before >= len(frames) }) {
				t.Errorf("%d of %d frames were counted as dropped", total()-before, len(frames))
			}
		}
	})
}

func badARP(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	good := Bytes(ARPRequest(MAC(web1.MAC), web1.CA, n.VM("web2").CA)...)[:14+28]
	change := func(at int, b ...byte) []byte {
		f := slices.Clone(good)
		copy(f[14+at:], b)
		return f
	}
	quiet(t, n, true,
		good[:14], good[:14+7], good[:14+8], good[:14+27], // truncated
		change(0, 0, 6),             // hardware: IEEE 802
		change(2, 0x86, 0xdd),       // protocol: IPv6
		change(4, 8), change(5, 16), // lengths of addresses
		change(6, 0, 0), change(6, 0, 3), change(6, 0xff, 0xff), // operations
		change(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), // everybody as the sender
		change(14, 255, 255, 255, 255), change(14, 224, 0, 0, 1))
}

// icmp6 makes an ICMPv6 message from web1 to all nodes, with any addresses.
func icmp6(n *Network, src, dst string, hop uint8, typ, code uint8, body []byte) []byte {
	return Bytes(Ethernet(MAC(n.VM("web1").MAC), MAC("33:33:00:00:00:01"), layers.EthernetTypeIPv6),
		&layers.IPv6{Version: 6, HopLimit: hop, NextHeader: layers.IPProtocolICMPv6, SrcIP: IP(src), DstIP: IP(dst)},
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, code)}, gopacket.Payload(body))
}

func badND(t *testing.T, n *Network) {
	target := append(make([]byte, 4), IP("fd00:1::12")...)
	sll := append([]byte{1, 1}, MAC(n.VM("web1").MAC)...)
	ns := append(slices.Clone(target), sll...)
	whole := icmp6(n, "fd00:1::11", "ff02::1:ff00:12", 255, 135, 0, ns)
	quiet(t, n, false,
		icmp6(n, "fd00:1::11", "ff02::1:ff00:12", 254, 135, 0, ns),                        // it came through a router
		icmp6(n, "fd00:1::11", "ff02::1:ff00:12", 255, 135, 1, ns),                        // code
		icmp6(n, "fd00:1::11", "ff02::1:ff00:12", 255, 135, 0, target[:10]),               // truncated
		icmp6(n, "fd00:1::11", "ff02::1:ff00:12", 255, 135, 0, append(target, 1, 0)),      // an option of length 0
		icmp6(n, "fd00:1::11", "ff02::1:ff00:12", 255, 135, 0, append(target, 1, 200, 1)), // one beyond the end
		icmp6(n, "::", "ff02::1", 255, 135, 0, ns),                                        // duplicate address detection with an SLL
		icmp6(n, "fe80::bad", "ff02::1", 255, 134, 0, make([]byte, 12)),                   // a router advertisement
		icmp6(n, "fe80::bad", "ff02::1", 255, 137, 0, make([]byte, 36)),                   // a redirect
		icmp6(n, "fd00:1::12", "ff02::1", 255, 136, 0, target),                            // an advertisement of another's address
		whole[:14+40], whole[:14+20], whole[:14+44])
}

func badDHCP(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	v4 := func(payload []byte) []byte {
		return Bytes(Ethernet(MAC(web1.MAC), Broadcast, layers.EthernetTypeIPv4),
			&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: IP("0.0.0.0"), DstIP: IP("255.255.255.255")},
			&layers.UDP{SrcPort: 68, DstPort: 67}, gopacket.Payload(payload))
	}
	v6 := func(payload []byte) []byte {
		return Bytes(Ethernet(MAC(web1.MAC), MAC("33:33:00:01:00:02"), layers.EthernetTypeIPv6),
			&layers.IPv6{Version: 6, HopLimit: 1, NextHeader: layers.IPProtocolUDP, SrcIP: IP("fe80::1:11"), DstIP: IP("ff02::1:2")},
			&layers.UDP{SrcPort: 546, DstPort: 547}, gopacket.Payload(payload))
	}
	header := make([]byte, 240)
	copy(header, []byte{1, 1, 6, 0})
	copy(header[28:], MAC(web1.MAC))
	copy(header[236:], []byte{0x63, 0x82, 0x53, 0x63})
	reply := slices.Clone(header)
	reply[0] = 2
	hlen := slices.Clone(header)
	hlen[2] = 255
	quiet(t, n, false,
		v4(nil), v4(header[:100]), v4(header[:239]), // truncated
		v4(reply), v4(hlen),
		v4(append(slices.Clone(header), 53, 1)),                             // an option without its value
		v4(append(slices.Clone(header), 53, 200, 1)),                        // one beyond the end
		v4(append(slices.Clone(header), 53, 1, 99, 255)),                    // a type of message that there is not
		v4(append(slices.Clone(header), slices.Repeat([]byte{0}, 1000)...)), // nothing but padding
		v6(nil), v6([]byte{1}), v6([]byte{1, 0, 0}), v6([]byte{99, 0, 0, 0}),
		v6([]byte{1, 0, 0, 1, 0, 1, 0xff, 0xff, 1}), v6(append([]byte{12, 0}, make([]byte, 32)...)))
}

func badIGMP(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	v4 := func(payload []byte) []byte {
		return Bytes(Ethernet(MAC(web1.MAC), MAC("01:00:5e:00:00:16"), layers.EthernetTypeIPv4),
			&layers.IPv4{Version: 4, TTL: 1, Protocol: layers.IPProtocolIGMP, SrcIP: IP(web1.CA), DstIP: IP("224.0.0.22")}, gopacket.Payload(payload))
	}
	quiet(t, n, false,
		v4(nil), v4([]byte{0x22}), v4([]byte{0x22, 0, 0, 0, 0, 0, 0xff, 0xff}), // truncated; a count beyond the end
		v4([]byte{0x16, 0, 0, 0}), v4([]byte{0x99, 0, 0, 0, 239, 1, 1, 1}),
		v4([]byte{0x16, 0, 0xde, 0xad, 10, 0, 1, 12}), // a group that is none
		icmp6(n, "fe80::1:11", "ff02::16", 1, 143, 0, []byte{0, 0, 0xff, 0xff}),
		icmp6(n, "fe80::1:11", "ff02::1", 1, 131, 0, []byte{0, 0}))
}

func badIP(t *testing.T, n *Network) {
	good := n.Unicast("web1", "web2", Mark())
	change := func(at int, b ...byte) []byte {
		f := slices.Clone(good)
		copy(f[14+at:], b)
		binary.BigEndian.PutUint16(f[14+10:], 0)
		return f
	}
	quiet(t, n, false, good[:14], good[:14+1], good[:14+19],
		change(0, 0x41), change(0, 0x44), change(0, 0x4f), // header length
		change(2, 0, 3), change(2, 0xff, 0xff)) // total length
}

// mutants returns frames that are like the given ones, but for some octets, or
// for their ends; always the same.
func mutants(count int, from ...[]byte) (all [][]byte) {
	r := rand.New(rand.NewPCG(7, 637))
	for range count {
		f := slices.Clone(from[r.IntN(len(from))])
		for range 1 + r.IntN(4) {
			f[r.IntN(len(f))] = byte(r.Uint32())
		}
		if r.IntN(3) == 0 {
			f = f[:14+r.IntN(len(f)-14)]
		}
		all = append(all, f)
	}
	return all
}

const mutantCount = 1000

func fuzzFromVM(t *testing.T, n *Network) {
	web1, web2 := n.VM("web1"), n.VM("web2")
	frames := mutants(mutantCount,
		n.Unicast("web1", "web2", "x"), n.Unicast("web1", "web4", "x"), n.Unicast("web1", "db2", "x"),
		Bytes(ARPRequest(MAC(web1.MAC), web1.CA, web2.CA)...), tagged(n.Unicast("web1", "web2", "x"), layers.Dot1Q{VLANIdentifier: 7}),
		icmp6(n, "fd00:1::11", "ff02::1", 255, 135, 0, make([]byte, 28)))
	survives(t, n, func() {
		for _, f := range n.See(t, "underlay", 0, func(f *Frame) bool { return f.Point == "h1" && f.Inner != nil }, func() { n.From(t, "web1", frames...) }) {
			if f.VSID() != web1.VSID && f.VSID() != n.VM("db1").VSID {
				t.Errorf("to another tenant: %s", f)
			}
			if f.Inner.Src().String() != web1.CA || len(f.Inner.VLANs) > 0 || f.Inner.Eth.DstMAC[0]&1 != 0 {
				t.Errorf("in another's name, tagged or to a group: %s", f)
			}
		}
		for _, f := range n.See(t, "red1", 0, func(f *Frame) bool { return f.Eth != nil && f.Eth.SrcMAC.String() != n.VM("red1").MAC }, func() { n.From(t, "web1", frames...) }) {
			t.Errorf("red1 got %s", f)
		}
	})
}

func fuzzFromTunnel(t *testing.T, n *Network) {
	web1 := n.VM("web1")
	inner := gopacket.Payload(n.Unicast("web2", "web1", "x"))
	tunnelled := func(p gopacket.Payload) []byte { return Bytes(append(n.Tunnel("h2", "h1", web1.VSID<<8), p)...) }
	frames := mutants(mutantCount, tunnelled(inner), tunnelled(inner), tunnelled(tagged(inner, layers.Dot1Q{VLANIdentifier: 7})),
		tunnelled(Bytes(ARPRequest(MAC(n.VM("web2").MAC), n.VM("web2").CA, web1.CA)...)))
	survives(t, n, func() {
		for _, vm := range []string{"web1", "web4", "db1", "red1"} {
			own := n.VM(vm).MAC
			for _, f := range n.See(t, vm, 0, func(f *Frame) bool { return f.Eth != nil && f.Eth.SrcMAC.String() != own }, func() { n.OnWire(t, "rack1", frames...) }) {
				if f.Eth.DstMAC.String() != own || len(f.VLANs) > 0 || vm != "web1" {
					t.Errorf("%s got %s", vm, f)
				}
			}
		}
	})
}
