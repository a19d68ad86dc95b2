package conformance

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
)

// A Frame is a frame that was seen, read by gopacket: a decoder that knows
// nothing of this project.
type Frame struct {
	Point string // where: a host for what it sent into the underlay, or a VM
	Data  []byte

	Eth   *layers.Ethernet
	VLANs []*layers.Dot1Q
	IP    *layers.IPv4
	IP6   *layers.IPv6
	GRE   *layers.GRE // nil for what is no GRE
	ARP   *layers.ARP
	UDP   *layers.UDP
	ICMP  *layers.ICMPv4
	ICMP6 *layers.ICMPv6
	Bad   error  // why the rest could not be read
	Inner *Frame // what GRE carries
}

func readFrame(point string, data []byte) *Frame {
	f := &Frame{Point: point, Data: data}
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
	if e := p.ErrorLayer(); e != nil {
		f.Bad = e.Error()
	}
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			f.Eth = l
		case *layers.Dot1Q:
			f.VLANs = append(f.VLANs, l)
		case *layers.IPv4:
			f.IP = l
		case *layers.IPv6:
			f.IP6 = l
		case *layers.ARP:
			f.ARP = l
		case *layers.UDP:
			f.UDP = l
		case *layers.ICMPv4:
			f.ICMP = l
		case *layers.ICMPv6:
			f.ICMP6 = l
		case *layers.GRE:
			f.GRE = l
			if l.Protocol == layers.EthernetTypeTransparentEthernetBridging {
				f.Inner = readFrame(point, l.LayerPayload())
			}
			return f
		}
	}
	return f
}

// VSID returns the upper 24 bits of the GRE key, FlowID the lower 8 (RFC 7637
// section 3.2).
func (f *Frame) VSID() uint32 { return f.GRE.Key >> 8 }

// FlowID returns the lower 8 bits of the GRE key.
func (f *Frame) FlowID() uint8 { return uint8(f.GRE.Key) }

// Src and Dst return the addresses of the frame's IP packet, invalid where it
// carries none.
func (f *Frame) Src() netip.Addr { return addr(f, true) }

// Dst returns where the frame's IP packet goes.
func (f *Frame) Dst() netip.Addr { return addr(f, false) }

func addr(f *Frame, src bool) netip.Addr {
	var ip net.IP
	switch {
	case f.IP != nil && src:
		ip = f.IP.SrcIP
	case f.IP != nil:
		ip = f.IP.DstIP
	case f.IP6 != nil && src:
		ip = f.IP6.SrcIP
	case f.IP6 != nil:
		ip = f.IP6.DstIP
	}
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// Carries reports whether what UDP carries, in NVGRE or bare, holds a mark.
func (f *Frame) Carries(mark string) bool {
	if f.Inner != nil {
		return f.Inner.Carries(mark)
	}
	return f.UDP != nil && strings.Contains(string(f.UDP.Payload), mark)
}

// String returns the frame in one line.
func (f *Frame) String() string {
	d, err := capture.Decode(f.Data)
	if err != nil {
		return fmt.Sprintf("at %s: %s (%v)", f.Point, d, err)
	}
	return fmt.Sprintf("at %s: %s", f.Point, d)
}

// Bytes serializes layers into a frame, with lengths and checksums.
func Bytes(ls ...gopacket.SerializableLayer) []byte {
	return serialize(gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls)
}

// RawBytes serializes layers as they are, so that lengths and checksums may be
// wrong.
func RawBytes(ls ...gopacket.SerializableLayer) []byte {
	return serialize(gopacket.SerializeOptions{}, ls)
}

func serialize(o gopacket.SerializeOptions, ls []gopacket.SerializableLayer) []byte {
	for i, l := range ls {
		if i == 0 {
			continue
		}
		network, ok := ls[i-1].(gopacket.NetworkLayer)
		if !ok {
			continue
		}
		switch l := l.(type) { // no more than what a checksum needs
		case *layers.UDP:
			l.SetNetworkLayerForChecksum(network)
		case *layers.TCP:
			l.SetNetworkLayerForChecksum(network)
		case *layers.ICMPv6:
			l.SetNetworkLayerForChecksum(network)
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, o, ls...); err != nil {
		panic(fmt.Sprintf("conformance: a test's own frame cannot be made: %v", err))
	}
	return b.Bytes()
}

// MAC reads a MAC that a test wrote or the testbed reported.
func MAC(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// IP reads an address that a test wrote or the testbed reported.
func IP(s string) net.IP { return netip.MustParseAddr(s).AsSlice() }

// Broadcast is the MAC of everybody.
var Broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Ethernet makes an Ethernet header.
func Ethernet(src, dst net.HardwareAddr, t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: t}
}

// UDP makes an IPv4 or IPv6 packet that carries a mark to UDP port 9, where
// nobody answers.
func UDP(src, dst, mark string) []gopacket.SerializableLayer {
	u := &layers.UDP{SrcPort: 9, DstPort: 9}
	if netip.MustParseAddr(src).Is6() {
		return []gopacket.SerializableLayer{
			&layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: IP(src), DstIP: IP(dst)}, u, gopacket.Payload(mark)}
	}
	return []gopacket.SerializableLayer{
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: IP(src), DstIP: IP(dst)}, u, gopacket.Payload(mark)}
}

// UDPFrame makes a frame with [UDP] in it.
func UDPFrame(srcMAC, dstMAC net.HardwareAddr, src, dst, mark string) []gopacket.SerializableLayer {
	t := layers.EthernetTypeIPv4
	if netip.MustParseAddr(src).Is6() {
		t = layers.EthernetTypeIPv6
	}
	return append([]gopacket.SerializableLayer{Ethernet(srcMAC, dstMAC, t)}, UDP(src, dst, mark)...)
}

// ARPRequest makes a broadcast ARP request.
func ARPRequest(sender net.HardwareAddr, senderIP, targetIP string) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{Ethernet(sender, Broadcast, layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: sender, SourceProtAddress: IP(senderIP), DstHwAddress: make([]byte, 6), DstProtAddress: IP(targetIP)}}
}
