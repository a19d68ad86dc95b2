package frame

import "encoding/binary"

// Fragments cuts an IPv4 packet that may be fragmented into frames with packets of
// at most mtu octets (RFC 791 section 3.2), with the Ethernet header and the TTL of
// h. It returns nil where the packet forbids it, is cut short, is of another family
// or would be cut into nothing.
func (p *Packet) Fragments(h Header, mtu uint16) [][]byte {
	if !p.Src.Is4() || p.DF || p.Cut {
		return nil
	}
	n := int(p.IP[0]&15) * 4
	header, payload := p.IP[:n], p.IP[n:]
	part := binary.BigEndian.Uint16(header[6:])
	more, offset := part&0x2000, int(part&0x1fff)
	var all [][]byte
	for first := true; len(payload) > 0; first = false {
		if !first {
			header = later(header)
		}
		room := (int(mtu) - len(header)) &^ 7
		if room <= 0 {
			return nil
		}
		here, rest := payload[:min(room, len(payload))], payload[min(room, len(payload)):]
		flag := more
		if len(rest) > 0 {
			flag = 0x2000
		}
		b := append(append(make([]byte, 0, ethernetHeader+len(header)+len(here)), h.EthDst[:]...), h.EthSrc[:]...)
		b = append(append(binary.BigEndian.AppendUint16(b, TypeIPv4), header...), here...)
		ip := b[ethernetHeader:]
		ip[0] = 0x40 | byte(len(header)/4)
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], flag|uint16(offset))
		ip[8], ip[10], ip[11] = h.TTL, 0, 0
		binary.BigEndian.PutUint16(ip[10:], Checksum(ip[:len(header)], 0))
		all = append(all, b)
		offset += len(here) / 8
		payload = rest
	}
	return all
}

// later returns the header of the fragments behind the first: without the options
// that are not copied (RFC 791 section 3.1).
func later(header []byte) []byte {
	out := append([]byte(nil), header[:20]...)
	for o := header[20:]; len(o) > 0; {
		length := 1
		switch {
		case o[0] == 0: // the end
			o = nil
			continue
		case o[0] == 1: // nothing
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			o = nil
			continue
		default:
			length = int(o[1])
			if o[0]&0x80 != 0 {
				out = append(out, o[:length]...)
			}
		}
		o = o[length:]
	}
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}
