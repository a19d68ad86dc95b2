package sim

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// headers are the values that decide which other fields a packet has. -1 is
// unknown, or absent.
type headers struct{ ethType, proto, icmpType, icmpCode, tci int }

// headersOf returns what a match says of the headers.
func headersOf(m flow.Match) headers {
	h := headers{-1, -1, -1, -1, -1}
	for _, t := range m {
		var to *int
		switch t.Field {
		case flow.EthType:
			to = &h.ethType
		case flow.IPProto:
			to = &h.proto
		case flow.ICMPType, flow.ICMPv6Type:
			to = &h.icmpType
		case flow.ICMPCode, flow.ICMPv6Code:
			to = &h.icmpCode
		case flow.VLANTCI:
			if t.Value.Lo&tagPresent != 0 {
				h.tci = int(t.Value.Lo)
			}
			continue
		default:
			continue
		}
		if t.IsExact() {
			*to = int(t.Value.Lo)
		}
	}
	return h
}

// headers returns the headers that the packet has.
func (s *state) headers() headers {
	h := headers{int(s.ethType()), int(s.proto()), int(s[words.Transit] >> 48 & 0xff), int(s[words.Transit] >> 56), -1}
	if tci := int(s[words.EthDst] >> 48); tci&tagPresent != 0 {
		h.tci = tci
	}
	return h
}

func (h headers) ip() bool {
	return h.ethType == int(packet.TypeIPv4) || h.ethType == int(packet.TypeIPv6)
}

func (h headers) icmpv6() bool {
	return h.ethType == int(packet.TypeIPv6) && h.proto == int(packet.ProtoICMPv6)
}

// has reports whether a packet with these headers has field f (ovs-fields(7),
// "Prerequisites").
func (h headers) has(f flow.Field) bool {
	switch f {
	case flow.IPProto, flow.IPTTL:
		return h.ip()
	case flow.IPv4Src, flow.IPv4Dst:
		return h.ethType == int(packet.TypeIPv4)
	case flow.IPv6Src, flow.IPv6Dst:
		return h.ethType == int(packet.TypeIPv6)
	case flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA:
		return h.ethType == int(packet.TypeARP)
	case flow.TCPSrc, flow.TCPDst:
		return h.ip() && h.proto == int(packet.ProtoTCP)
	case flow.UDPSrc, flow.UDPDst:
		return h.ip() && h.proto == int(packet.ProtoUDP)
	case flow.ICMPType, flow.ICMPCode:
		return h.ethType == int(packet.TypeIPv4) && h.proto == int(packet.ProtoICMP)
	case flow.ICMPv6Type, flow.ICMPv6Code:
		return h.icmpv6()
	case flow.NDTarget, flow.NDReserved, flow.NDOptType:
		return h.icmpv6() && h.icmpCode == 0 &&
			(h.icmpType == int(packet.NeighborSolicitation) || h.icmpType == int(packet.NeighborAdvertisement))
	case flow.NDSLL:
		return h.icmpv6() && h.icmpCode == 0 && h.icmpType == int(packet.NeighborSolicitation)
	case flow.NDTLL:
		return h.icmpv6() && h.icmpCode == 0 && h.icmpType == int(packet.NeighborAdvertisement)
	}
	return true
}

// canSet reports whether f can be written in a packet with these headers.
func (h headers) canSet(f flow.Field) bool {
	if f == flow.VLANTCI {
		return h.tci >= 0 // OFPAT_SET_FIELD of a VLAN needs a tag
	}
	return h.has(f)
}
