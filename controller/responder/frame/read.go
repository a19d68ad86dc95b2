package frame

import (
	"encoding/binary"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// EtherTypes.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeIPv6 = 0x86dd
)

// IP protocols.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Packet is an IP packet in an Ethernet frame. Its slices are parts of the frame.
type Packet struct {
	EthDst, EthSrc tenant.MAC
	Src, Dst       netip.Addr
	TTL            uint8 // or the hop limit
	// IP is the packet from its IP header on, without the frame's padding. It
	// ends early where the frame does: Cut says so.
	IP  []byte
	Cut bool
	// Proto is the protocol of Payload, behind IPv6's extension headers; Payload
	// is nil where the frame ends before it or where its headers are wrong.
	Proto   uint8
	Payload []byte
	// DF says that the packet must not be fragmented: always of IPv6 (RFC 8200
	// section 5).
	DF bool
	// Fragment says that the packet is a part of another one, Later that it is
	// not the first part, so that Payload is not what Proto says.
	Fragment, Later bool
}

const ethernetHeader = 14

// Read reads an untagged frame with an IP packet. It returns false where the
// frame has none, or one whose header is wrong (RFC 1812 section 5.2.2).
func Read(b []byte) (Packet, bool) {
	var p Packet
	if len(b) < ethernetHeader {
		return p, false
	}
	copy(p.EthDst[:], b)
	copy(p.EthSrc[:], b[6:])
	ip := b[ethernetHeader:]
	switch binary.BigEndian.Uint16(b[12:]) {
	case TypeIPv4:
		return p, p.read4(ip)
	case TypeIPv6:
		return p, p.read6(ip)
	}
	return p, false
}

func (p *Packet) read4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || header > len(b) || total < header || Checksum(b[:header], 0) != 0 {
		return false
	}
	if p.Cut = total > len(b); !p.Cut {
		b = b[:total]
	}
	p.IP, p.TTL, p.Proto = b, b[8], b[9]
	p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	part := binary.BigEndian.Uint16(b[6:])
	p.DF, p.Later, p.Fragment = part&0x4000 != 0, part&0x1fff != 0, part&0x3fff != 0
	p.Payload = b[header:]
	return true
}

// maxExtensions bounds how many extension headers are read.
const maxExtensions = 8

func (p *Packet) read6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if p.Cut = total > len(b); !p.Cut {
		b = b[:total]
	}
	p.IP, p.TTL, p.DF = b, b[7], true
	p.Src, p.Dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	p.Proto = b[6]
	rest := b[40:]
	for range maxExtensions {
		length := 0
		switch p.Proto {
		case 0, 43, 60: // hop-by-hop options, routing, destination options
			if len(rest) < 8 {
				return true
			}
			length = 8 + 8*int(rest[1])
		case 44: // fragment
			if len(rest) < 8 {
				return true
			}
			length = 8
			p.Later = binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0
			p.Fragment = p.Later || rest[3]&1 != 0
		default:
			p.Payload = rest
			return true
		}
		if length > len(rest) {
			return true
		}
		p.Proto, rest = rest[0], rest[length:]
		if p.Later {
			break // what follows is no header
		}
	}
	return true
}

// UDPPayload returns the ports and the payload of an unfragmented UDP datagram
// whose length and checksum are right.
func (p *Packet) UDPPayload() (src, dst uint16, payload []byte, ok bool) {
	b := p.Payload
	if p.Proto != UDP || p.Fragment || p.Cut || len(b) < 8 {
		return 0, 0, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < 8 || n > len(b) {
		return 0, 0, nil, false
	}
	b = b[:n]
	given := binary.BigEndian.Uint16(b[6:])
	// RFC 768: no checksum is 0. RFC 8200 section 8.1 forbids that of IPv6.
	if given == 0 && p.Src.Is6() || given != 0 && Checksum(b, pseudo(p.Src, p.Dst, UDP, n)) != 0 {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[8:], true
}

// ICMPv6Message returns the octets of an unfragmented ICMPv6 message whose
// checksum is right.
func (p *Packet) ICMPv6Message() ([]byte, bool) {
	b := p.Payload
	if p.Proto != ICMPv6 || p.Fragment || p.Cut || len(b) < 4 || Checksum(b, pseudo(p.Src, p.Dst, ICMPv6, len(b))) != 0 {
		return nil, false
	}
	return b, true
}
