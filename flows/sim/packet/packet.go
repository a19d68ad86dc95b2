// Package packet has packets as what they mean: the headers that a switch
// reads, with their values. It is the common language of the model of the
// switch (package sim) and the oracle of intent (package oracle).
package packet

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// EtherTypes and IP protocols (IANA).
const (
	TypeIPv4 uint16 = 0x0800
	TypeARP  uint16 = 0x0806
	TypeIPv6 uint16 = 0x86dd

	ProtoICMP   uint8 = 1
	ProtoTCP    uint8 = 6
	ProtoUDP    uint8 = 17
	ProtoICMPv6 uint8 = 58
)

// Values of the headers that the product speaks of (RFC 826, RFC 792, RFC 4443, RFC 4861).
const (
	ARPRequest uint16 = 1
	ARPReply   uint16 = 2

	EchoReply   uint8 = 0
	EchoRequest uint8 = 8

	EchoRequest6 uint8 = 128
	EchoReply6   uint8 = 129

	RouterSolicitation    uint8 = 133
	RouterAdvertisement   uint8 = 134
	NeighborSolicitation  uint8 = 135
	NeighborAdvertisement uint8 = 136
	Redirect              uint8 = 137
)

// Frame is an Ethernet frame by its headers. Two frames are the same where they
// are equal (==): a header that the frame lacks is zero, and addresses are not
// in their IPv4-mapped form.
type Frame struct {
	Dst, Src tenant.MAC
	Tagged   bool   // an 802.1Q tag follows the addresses
	VID      uint16 // its VLAN, 12 bits
	Type     uint16 // EtherType, of what the tag tags where there is one
	// Cut says that the frame ends inside the header that Type announces: no
	// field of that header can be read.
	Cut bool
	ARP ARP
	IP  IP
	L4  L4
	ND  ND
	// Size is how many octets the frame has from its Ethernet header on, without
	// the checksum at its end; 0 for one that is larger than nothing.
	Size uint16
}

// ARP is an ARP message for IPv4 over Ethernet (RFC 826).
type ARP struct {
	Op       uint16
	SHA, THA tenant.MAC
	SPA, TPA netip.Addr
}

// IP is an IPv4 or IPv6 header.
type IP struct {
	Src, Dst netip.Addr
	Proto    uint8
	TTL      uint8 // hop limit in IPv6
	// Fragment says that the packet is a fragment, and which. A switch sees no
	// transport header in any fragment (ovs-ofctl(8), set-frags normal).
	Fragment Fragment
}

// Fragment says which part of an IP packet a packet is.
type Fragment uint8

// The parts of an IP packet.
const (
	Whole Fragment = iota
	FirstFragment
	LaterFragment
)

// L4 is a TCP, UDP, ICMP or ICMPv6 header: ports, or type and code.
type L4 struct {
	Src, Dst   uint16
	Type, Code uint8
}

// ND is the body of a neighbour solicitation or advertisement (RFC 4861
// sections 4.3 and 4.4). A link-layer address of zero is an option left out.
type ND struct {
	Target   netip.Addr
	SLL, TLL tenant.MAC
	// Flags are the 32 bits before the target, of which the upper three are the
	// flags of an advertisement and the others are reserved.
	Flags uint32
}

// Flags of a neighbour advertisement (RFC 4861 section 4.4).
const (
	NDRouter    uint32 = 1 << 31
	NDSolicited uint32 = 1 << 30
	NDOverride  uint32 = 1 << 29
)

// Outer is what NVGRE puts around a frame (RFC 7637 section 3.2).
type Outer struct {
	Src, Dst netip.Addr
	Key      uint32 // VSID<<8 | FlowID
}

// VSID returns the virtual subnet in the key.
func (o Outer) VSID() tenant.VSID { return tenant.VSID(o.Key >> 8) }

// FlowID returns the flow entropy in the key.
func (o Outer) FlowID() uint8 { return uint8(o.Key) }

// HasARP reports whether the frame holds an ARP message that can be read.
func (f *Frame) HasARP() bool { return f.Type == TypeARP && !f.Cut }

// HasIPv4 reports whether the frame holds an IPv4 header that can be read.
func (f *Frame) HasIPv4() bool { return f.Type == TypeIPv4 && !f.Cut }

// HasIPv6 reports whether the frame holds an IPv6 header that can be read.
func (f *Frame) HasIPv6() bool { return f.Type == TypeIPv6 && !f.Cut }

// HasL4 reports whether a switch sees a transport header of that protocol.
func (f *Frame) HasL4(proto uint8) bool {
	return (f.HasIPv4() || f.HasIPv6()) && f.IP.Proto == proto && f.IP.Fragment == Whole
}

// HasICMP reports whether a switch sees an ICMP header.
func (f *Frame) HasICMP() bool { return f.HasIPv4() && f.HasL4(ProtoICMP) }

// HasICMPv6 reports whether a switch sees an ICMPv6 header.
func (f *Frame) HasICMPv6() bool { return f.HasIPv6() && f.HasL4(ProtoICMPv6) }

// HasND reports whether the frame is a neighbour solicitation or advertisement.
func (f *Frame) HasND() bool {
	return f.HasICMPv6() && f.L4.Code == 0 && (f.L4.Type == NeighborSolicitation || f.L4.Type == NeighborAdvertisement)
}
