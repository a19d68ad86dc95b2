package packet

import (
	"encoding/binary"
	"net/netip"
)

// Bytes returns the frame as it is on the wire, without a payload and without
// the padding to Ethernet's least length. A fragment carries the transport
// header in its first part and eight zero octets in later ones.
func (f *Frame) Bytes() []byte {
	b := make([]byte, 0, 96)
	b = append(append(b, f.Dst[:]...), f.Src[:]...)
	if f.Tagged {
		b = binary.BigEndian.AppendUint16(b, 0x8100)
		b = binary.BigEndian.AppendUint16(b, f.VID&0x0fff)
	}
	b = binary.BigEndian.AppendUint16(b, f.Type)
	switch {
	case f.Cut:
		return append(b, 0, 0, 0, 0)
	case f.HasARP():
		return f.appendARP(b)
	case f.HasIPv4():
		return f.appendIPv4(b)
	case f.HasIPv6():
		return f.appendIPv6(b)
	}
	return append(b, make([]byte, 46)...)
}

func (f *Frame) appendARP(b []byte) []byte {
	b = append(b, 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, f.ARP.Op)
	b = append(append(b, f.ARP.SHA[:]...), as4(f.ARP.SPA)...)
	return append(append(b, f.ARP.THA[:]...), as4(f.ARP.TPA)...)
}

func (f *Frame) appendIPv4(b []byte) []byte {
	body := f.l4()
	h := make([]byte, 20, 20+len(body))
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(body)))
	switch f.IP.Fragment {
	case FirstFragment:
		h[6] = 0x20 // more fragments
	case LaterFragment:
		h[7] = 1
	}
	h[8], h[9] = f.IP.TTL, f.IP.Proto
	copy(h[12:], as4(f.IP.Src))
	copy(h[16:], as4(f.IP.Dst))
	binary.BigEndian.PutUint16(h[10:], checksum(0, h))
	return append(append(b, h...), body...)
}

func (f *Frame) appendIPv6(b []byte) []byte {
	body := f.l4()
	next := f.IP.Proto
	if f.IP.Fragment != Whole {
		h := [8]byte{0: next, 3: 1} // more fragments
		if f.IP.Fragment == LaterFragment {
			h[3] = 8
		}
		body, next = append(h[:], body...), 44
	}
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, next, f.IP.TTL)
	src, dst := f.IP.Src.As16(), f.IP.Dst.As16()
	return append(append(append(b, src[:]...), dst[:]...), body...)
}

// l4 returns the transport header, or zeros where the model knows none.
func (f *Frame) l4() []byte {
	if f.IP.Fragment == LaterFragment {
		return make([]byte, 8)
	}
	switch f.IP.Proto {
	case ProtoTCP:
		h := make([]byte, 20)
		binary.BigEndian.PutUint16(h, f.L4.Src)
		binary.BigEndian.PutUint16(h[2:], f.L4.Dst)
		h[12], h[13] = 0x50, 0x02 // five words, SYN
		return h
	case ProtoUDP:
		h := make([]byte, 8)
		binary.BigEndian.PutUint16(h, f.L4.Src)
		binary.BigEndian.PutUint16(h[2:], f.L4.Dst)
		h[5] = 8
		return h
	case ProtoICMP:
		h := []byte{f.L4.Type, f.L4.Code, 0, 0, 0, 1, 0, 1}
		binary.BigEndian.PutUint16(h[2:], checksum(0, h))
		return h
	case ProtoICMPv6:
		return f.icmpv6()
	}
	return make([]byte, 8)
}

func (f *Frame) icmpv6() []byte {
	h := []byte{f.L4.Type, f.L4.Code, 0, 0, 0, 0, 0, 0}
	if f.HasND() {
		binary.BigEndian.PutUint32(h[4:], f.ND.Flags)
		target := f.ND.Target.As16()
		h = append(h, target[:]...)
		if f.ND.SLL != [6]byte{} {
			h = append(append(h, 1, 1), f.ND.SLL[:]...)
		}
		if f.ND.TLL != [6]byte{} {
			h = append(append(h, 2, 1), f.ND.TLL[:]...)
		}
	}
	// The pseudo-header of RFC 8200 section 8.1.
	src, dst := f.IP.Src.As16(), f.IP.Dst.As16()
	sum := sum16(sum16(0, src[:]), dst[:]) + uint32(len(h)) + uint32(ProtoICMPv6)
	binary.BigEndian.PutUint16(h[2:], checksum(sum, h))
	return h
}

// as4 returns an IPv4 address's octets; those of 0.0.0.0 for the zero Addr.
func as4(a netip.Addr) []byte {
	if !a.Is4() {
		return make([]byte, 4)
	}
	return a.AsSlice()
}

func sum16(sum uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

// checksum returns the Internet checksum (RFC 1071) of an even number of octets.
func checksum(sum uint32, b []byte) uint16 {
	sum = sum16(sum, b)
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
