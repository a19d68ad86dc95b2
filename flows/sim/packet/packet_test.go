package packet_test

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var (
	src = tenant.MAC{2, 0, 0, 0, 0, 1}
	dst = tenant.MAC{2, 0, 0, 0, 0, 2}
	a4  = netip.MustParseAddr("10.0.0.1")
	b4  = netip.MustParseAddr("10.0.0.2")
	a6  = netip.MustParseAddr("fe80::1")
	b6  = netip.MustParseAddr("ff02::1:ff00:2")
)

// Another decoder reads from the bytes what the frame says, and the checksums
// are those that it would write.
func TestBytes(t *testing.T) {
	frames := map[string]packet.Frame{
		"arp":    {Src: src, Dst: dst, Type: packet.TypeARP, ARP: packet.ARP{Op: 1, SHA: src, THA: dst, SPA: a4, TPA: b4}},
		"udp":    {Src: src, Dst: dst, Type: packet.TypeIPv4, IP: packet.IP{Src: a4, Dst: b4, TTL: 7, Proto: packet.ProtoUDP}, L4: packet.L4{Src: 5, Dst: 53}},
		"tcp":    {Src: src, Dst: dst, Tagged: true, VID: 7, Type: packet.TypeIPv4, IP: packet.IP{Src: a4, Dst: b4, TTL: 1, Proto: packet.ProtoTCP}, L4: packet.L4{Src: 5, Dst: 80}},
		"icmp":   {Src: src, Dst: dst, Type: packet.TypeIPv4, IP: packet.IP{Src: a4, Dst: b4, TTL: 64, Proto: packet.ProtoICMP}, L4: packet.L4{Type: 8}},
		"nd":     {Src: src, Dst: dst, Type: packet.TypeIPv6, IP: packet.IP{Src: a6, Dst: b6, TTL: 255, Proto: packet.ProtoICMPv6}, L4: packet.L4{Type: 135}, ND: packet.ND{Target: a6, SLL: src}},
		"opaque": {Src: src, Dst: dst, Type: 0x88b5},
	}
	for name, f := range frames {
		t.Run(name, func(t *testing.T) {
			p := gopacket.NewPacket(f.Bytes(), layers.LayerTypeEthernet, gopacket.Default)
			if e := p.ErrorLayer(); e != nil && name != "opaque" {
				t.Fatal(e.Error())
			}
			got := decode(p)
			if got != f {
				t.Errorf("%s\nwas read as %s", f, got)
			}
			if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok {
				again := gopacket.NewSerializeBuffer()
				want := ip.Checksum
				if err := ip.SerializeTo(again, gopacket.SerializeOptions{ComputeChecksums: true}); err != nil || ip.Checksum != want {
					t.Errorf("header checksum %#x, want %#x (%v)", want, ip.Checksum, err)
				}
			}
			if f.Cut = true; f.HasARP() || f.HasIPv4() || f.HasIPv6() {
				t.Error("a frame cut short has a header")
			}
		})
	}
}

func decode(p gopacket.Packet) (f packet.Frame) {
	addr := func(b []byte) netip.Addr { a, _ := netip.AddrFromSlice(b); return a }
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			f.Src, f.Dst, f.Type = tenant.MAC(l.SrcMAC), tenant.MAC(l.DstMAC), uint16(l.EthernetType)
		case *layers.Dot1Q:
			f.Tagged, f.VID, f.Type = true, l.VLANIdentifier, uint16(l.Type)
		case *layers.ARP:
			f.ARP = packet.ARP{Op: l.Operation, SHA: tenant.MAC(l.SourceHwAddress), THA: tenant.MAC(l.DstHwAddress),
				SPA: addr(l.SourceProtAddress), TPA: addr(l.DstProtAddress)}
		case *layers.IPv4:
			f.IP = packet.IP{Src: addr(l.SrcIP), Dst: addr(l.DstIP), TTL: l.TTL, Proto: uint8(l.Protocol)}
		case *layers.IPv6:
			f.IP = packet.IP{Src: addr(l.SrcIP), Dst: addr(l.DstIP), TTL: l.HopLimit, Proto: uint8(l.NextHeader)}
		case *layers.UDP:
			f.L4.Src, f.L4.Dst = uint16(l.SrcPort), uint16(l.DstPort)
		case *layers.TCP:
			f.L4.Src, f.L4.Dst = uint16(l.SrcPort), uint16(l.DstPort)
		case *layers.ICMPv4:
			f.L4.Type, f.L4.Code = l.TypeCode.Type(), l.TypeCode.Code()
		case *layers.ICMPv6:
			f.L4.Type, f.L4.Code = l.TypeCode.Type(), l.TypeCode.Code()
		case *layers.ICMPv6NeighborSolicitation:
			f.ND.Target = addr(l.TargetAddress)
			for _, o := range l.Options {
				if o.Type == layers.ICMPv6OptSourceAddress {
					f.ND.SLL = tenant.MAC(o.Data)
				}
			}
		}
	}
	return f
}
