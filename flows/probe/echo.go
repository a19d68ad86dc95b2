// Package probe makes echo messages that can be told from all others, and the
// temporary flows that watch where they come.
//
// A watching flow stands in front of one other flow of a switch, the one that
// decides about the message in its table. It takes the message and what cannot be
// told from it by anything that any flow of that table looks at, sends a copy to
// the controller, and does what the other flow does. So it changes nothing for
// anybody.
package probe

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// ID tells the echo messages of one diagnosis from all others. Seq counts them.
type ID struct {
	Nonce [8]byte
	Seq   uint16
}

// The parts of an echo message (RFC 792, RFC 4443 section 4): type, code,
// checksum, identifier and sequence number, then the payload.
const (
	ethLen, ip4Len, ip6Len, icmpLen = 14, 20, 40, 8

	mark    = "nvgre-ofctl"
	idLen   = len(mark) + 8 + 2
	minEcho = icmpLen + idLen
)

// MinSize is the least size of an IP packet that holds an echo message of
// [Bytes], of IPv4; one of IPv6 is 20 octets longer.
const MinSize = ip4Len + minEcho

// Bytes returns an echo request or reply, as f has its headers, on the wire. Its
// IP packet has size octets, or the least that can be where that is more.
func Bytes(f *packet.Frame, id ID, size int) []byte {
	head := ip4Len
	if f.HasIPv6() {
		head = ip6Len
	}
	body := make([]byte, max(size-head, minEcho))
	body[0], body[1] = f.L4.Type, f.L4.Code
	copy(body[4:], id.Nonce[:2])
	binary.BigEndian.PutUint16(body[6:], id.Seq)
	p := append([]byte(mark), id.Nonce[:]...)
	copy(body[icmpLen:], binary.BigEndian.AppendUint16(p, id.Seq))

	b := append(append([]byte(nil), f.Dst[:]...), f.Src[:]...)
	b = binary.BigEndian.AppendUint16(b, f.Type)
	if head == ip6Len {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
		b = append(b, f.IP.Proto, f.IP.TTL)
		addrs := append(f.IP.Src.AsSlice(), f.IP.Dst.AsSlice()...)
		b = append(b, addrs...)
		// The pseudo-header of RFC 8200 section 8.1.
		sum := add(add(0, addrs), []byte{0, f.IP.Proto}) + uint32(len(body))
		binary.BigEndian.PutUint16(body[2:], fold(add(sum, body)))
		return append(b, body...)
	}
	h := make([]byte, ip4Len)
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[2:], uint16(ip4Len+len(body)))
	h[6] = 0x40 // do not fragment
	h[8], h[9] = f.IP.TTL, f.IP.Proto
	copy(h[12:], f.IP.Src.AsSlice())
	copy(h[16:], f.IP.Dst.AsSlice())
	binary.BigEndian.PutUint16(h[10:], fold(add(0, h)))
	binary.BigEndian.PutUint16(body[2:], fold(add(0, body)))
	return append(append(b, h...), body...)
}

// Echo is an echo message that somebody saw.
type Echo struct {
	ID
	Reply    bool
	Src, Dst netip.Addr
	TTL      uint8
}

// Parse reads a frame that was seen; false where it is no echo message of [Bytes]
// nor an answer to one.
func Parse(b []byte) (e Echo, ok bool) {
	if len(b) < ethLen {
		return e, false
	}
	var body []byte
	switch typ := binary.BigEndian.Uint16(b[12:]); {
	case typ == packet.TypeIPv4 && len(b) >= ethLen+ip4Len && b[ethLen]>>4 == 4 && b[ethLen+9] == packet.ProtoICMP:
		ip := b[ethLen:]
		n := int(ip[0]&15) * 4
		if n < ip4Len || len(ip) < n {
			return e, false
		}
		e.Src, e.Dst, e.TTL = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:])), ip[8]
		body = ip[n:]
	case typ == packet.TypeIPv6 && len(b) >= ethLen+ip6Len && b[ethLen]>>4 == 6 && b[ethLen+6] == packet.ProtoICMPv6:
		ip := b[ethLen:]
		e.Src, e.Dst, e.TTL = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:])), ip[7]
		body = ip[ip6Len:]
	default:
		return e, false
	}
	if len(body) < minEcho || !bytes.HasPrefix(body[icmpLen:], []byte(mark)) {
		return e, false
	}
	switch body[0] {
	case packet.EchoRequest, packet.EchoRequest6:
	case packet.EchoReply, packet.EchoReply6:
		e.Reply = true
	default:
		return e, false
	}
	p := body[icmpLen+len(mark):]
	e.Nonce, e.Seq = [8]byte(p), binary.BigEndian.Uint16(p[8:])
	return e, true
}

func add(sum uint32, b []byte) uint32 {
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
