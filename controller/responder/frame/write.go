package frame

import (
	"encoding/binary"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Header says where a frame goes and where it says that it comes from. Src and
// Dst are of one family.
type Header struct {
	EthDst, EthSrc tenant.MAC
	Src, Dst       netip.Addr
	TTL            uint8
}

const maxIPv4Payload = 65535 - 20

// IP returns a frame with an IP packet, IPv4 with DF and without options; nil
// where the payload is longer than an IP packet can be.
func (h Header) IP(proto uint8, payload []byte) []byte {
	if len(payload) > maxIPv4Payload || h.Src.Is4() != h.Dst.Is4() {
		return nil
	}
	b := make([]byte, 0, ethernetHeader+40+len(payload))
	b = append(append(b, h.EthDst[:]...), h.EthSrc[:]...)
	if h.Src.Is4() {
		b = binary.BigEndian.AppendUint16(b, TypeIPv4)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(20+len(payload)))
		b = append(b, 0, 0, 0x40, 0, h.TTL, proto, 0, 0)
		b = append(append(b, h.Src.AsSlice()...), h.Dst.AsSlice()...)
		binary.BigEndian.PutUint16(b[ethernetHeader+10:], Checksum(b[ethernetHeader:], 0))
		return append(b, payload...)
	}
	b = binary.BigEndian.AppendUint16(b, TypeIPv6)
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, proto, h.TTL)
	b = append(append(b, h.Src.AsSlice()...), h.Dst.AsSlice()...)
	return append(b, payload...)
}

// UDP returns a frame with a UDP datagram, nil where the payload is too long.
func (h Header) UDP(src, dst uint16, payload []byte) []byte {
	n := 8 + len(payload)
	if n > maxIPv4Payload {
		return nil
	}
	b := make([]byte, 0, n)
	b = binary.BigEndian.AppendUint16(b, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(append(b, 0, 0), payload...)
	sum := Checksum(b, pseudo(h.Src, h.Dst, UDP, n))
	if sum == 0 {
		sum = 0xffff // RFC 768: zero means that there is none
	}
	binary.BigEndian.PutUint16(b[6:], sum)
	return h.IP(UDP, b)
}

// ICMP returns a frame with an ICMP or ICMPv6 message, whose checksum (its octets
// 2 and 3) is filled in; nil where the message has no room for one or is too
// long.
func (h Header) ICMP(message []byte) []byte {
	if len(message) < 4 {
		return nil
	}
	message[2], message[3] = 0, 0
	proto, start := uint8(ICMP), uint32(0)
	if h.Src.Is6() {
		proto, start = ICMPv6, pseudo(h.Src, h.Dst, ICMPv6, len(message))
	}
	binary.BigEndian.PutUint16(message[2:], Checksum(message, start))
	return h.IP(proto, message)
}

// pseudo returns the sum of the pseudo-header (RFC 768, RFC 8200 section 8.1).
func pseudo(src, dst netip.Addr, proto uint8, length int) uint32 {
	return sum(src.AsSlice(), 0) + sum(dst.AsSlice(), 0) + uint32(proto) + uint32(length)
}

// Checksum returns the Internet checksum of b (RFC 1071), with start added to the
// sum. Over octets that hold a right checksum it is 0.
func Checksum(b []byte, start uint32) uint16 {
	s := sum(b, start)
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func sum(b []byte, s uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
		s = s&0xffff + s>>16
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}
