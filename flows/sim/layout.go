package sim

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// state is a packet with its metadata as the tables see it: each field has a
// place in one word, or in two where it is wider. A field that the packet lacks
// is zero.
//
// The registers lie so that a pair is one word (xreg) and two words are four
// (xxreg), the first register the most significant (ovs-fields(7)): writing one
// form is writing the others.
type state [words.Count]uint64

// tagPresent is the bit of OXM vlan_vid that says that there is a tag
// (OpenFlow 1.3.5 section 7.2.3.8).
const tagPresent = 0x1000

// tagLen is how many octets an 802.1Q tag has.
const tagLen = 4

// get returns a range of a field's bits, right-aligned.
func (s *state) get(b flow.Bits) flow.Value {
	p := words.Of(b.Field)
	if p.Wide {
		return flow.Value{Hi: s[p.Word], Lo: s[p.Word+1]}.Shr(int(b.Ofs)).And(flow.Ones(int(b.N)))
	}
	return flow.Uint(s[p.Word] >> (p.Shift + b.Ofs)).And(flow.Ones(int(b.N)))
}

// set writes a range of a field's bits.
func (s *state) set(b flow.Bits, v flow.Value) {
	p := words.Of(b.Field)
	mask := flow.Ones(int(b.N))
	v = v.And(mask)
	if p.Wide {
		mask, v = mask.Shl(int(b.Ofs)), v.Shl(int(b.Ofs))
		s[p.Word] = s[p.Word]&^mask.Hi | v.Hi
		s[p.Word+1] = s[p.Word+1]&^mask.Lo | v.Lo
		return
	}
	n := p.Shift + b.Ofs
	s[p.Word] = s[p.Word]&^(mask.Lo<<n) | v.Lo<<n
}

func (s *state) ethType() uint16 { return uint16(s[words.EthSrc] >> 48) }
func (s *state) proto() uint8    { return uint8(s[words.Transit]) }
func (s *state) ttl() uint8      { return uint8(s[words.Transit] >> 8) }

func put32(a netip.Addr) uint64 { return flow.Addr(a).Lo }
func addr4(v uint64) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func put128(s *state, word int, a netip.Addr) {
	v := flow.Addr(a)
	s[word], s[word+1] = v.Hi, v.Lo
}

func addr16(s *state, word int) netip.Addr {
	return netip.AddrFrom16([16]byte(flow.Value{Hi: s[word], Lo: s[word+1]}.Bytes(16)))
}

func toMAC(v uint64) tenant.MAC {
	return tenant.MAC{byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

const low48 = 1<<48 - 1

// Types of the link-layer address options (RFC 4861 section 4.6.1).
const (
	optSLL = 1
	optTLL = 2
)

// load fills an empty state from a packet that came in by a port.
func (s *state) load(port uint32, o packet.Outer, f *packet.Frame) {
	s[words.InPort] = uint64(port)
	s[words.TunID] = uint64(o.Key)
	if o.Dst.Is4() {
		s[words.TunAddrs] = put32(o.Src)<<32 | put32(o.Dst)
	} else if o.Dst.Is6() {
		put128(s, words.Tun6Src, o.Src)
		put128(s, words.Tun6Dst, o.Dst)
	}
	s[words.EthDst] = f.Dst.Uint64()
	if f.Tagged {
		s[words.EthDst] |= uint64(f.VID&0xfff|tagPresent) << 48
	}
	s[words.EthSrc] = f.Src.Uint64() | uint64(f.Type)<<48
	switch {
	case f.HasARP():
		s[words.ARPAddrs] = put32(f.ARP.SPA)<<32 | put32(f.ARP.TPA)
		s[words.ARPSHA] = f.ARP.SHA.Uint64()
		if f.ARP.Op <= 0xff { // the switch reads the lower octet alone
			s[words.ARPSHA] |= uint64(f.ARP.Op) << 48
		}
		s[words.ARPTHA] = f.ARP.THA.Uint64()
		return
	case f.HasIPv4():
		s[words.IPv4] = put32(f.IP.Src)<<32 | put32(f.IP.Dst)
	case f.HasIPv6():
		put128(s, words.IPv6Src, f.IP.Src)
		put128(s, words.IPv6Dst, f.IP.Dst)
	default:
		return
	}
	s[words.Transit] = uint64(f.IP.Proto) | uint64(f.IP.TTL)<<8
	switch {
	case f.HasL4(packet.ProtoTCP), f.HasL4(packet.ProtoUDP):
		s[words.Transit] |= uint64(f.L4.Src)<<16 | uint64(f.L4.Dst)<<32
	case f.HasICMP(), f.HasICMPv6():
		s[words.Transit] |= uint64(f.L4.Type)<<48 | uint64(f.L4.Code)<<56
		if f.HasND() {
			put128(s, words.NDTarget, f.ND.Target)
			s[words.NDSLL], s[words.NDTLL] = f.ND.SLL.Uint64(), f.ND.TLL.Uint64()
			s[words.NDExt] = uint64(f.ND.Flags)
			switch {
			case f.ND.SLL != tenant.MAC{}:
				s[words.NDExt] |= optSLL << 32
			case f.ND.TLL != tenant.MAC{}:
				s[words.NDExt] |= optTLL << 32
			}
		}
	}
}

// frame returns the frame that f has become.
func (s *state) frame(f packet.Frame) packet.Frame {
	f.Dst, f.Src = toMAC(s[words.EthDst]), toMAC(s[words.EthSrc])
	if f.Tagged {
		f.VID = uint16(s[words.EthDst]>>48) & 0xfff
		if s[words.EthDst]>>48&tagPresent == 0 { // it was popped
			f.Tagged, f.VID = false, 0
			f.Size -= min(f.Size, tagLen)
		}
	}
	switch {
	case f.HasARP():
		f.ARP.SPA, f.ARP.TPA = addr4(s[words.ARPAddrs]>>32), addr4(s[words.ARPAddrs])
		f.ARP.SHA, f.ARP.THA = toMAC(s[words.ARPSHA]&low48), toMAC(s[words.ARPTHA])
		if op := uint16(s[words.ARPSHA] >> 48); op != 0 || f.ARP.Op <= 0xff {
			f.ARP.Op = op
		}
		return f
	case f.HasIPv4():
		f.IP.Src, f.IP.Dst = addr4(s[words.IPv4]>>32), addr4(s[words.IPv4])
	case f.HasIPv6():
		f.IP.Src, f.IP.Dst = addr16(s, words.IPv6Src), addr16(s, words.IPv6Dst)
	default:
		return f
	}
	f.IP.TTL = s.ttl()
	switch {
	case f.HasL4(packet.ProtoTCP), f.HasL4(packet.ProtoUDP):
		f.L4.Src, f.L4.Dst = uint16(s[words.Transit]>>16), uint16(s[words.Transit]>>32)
	case f.HasICMP(), f.HasICMPv6():
		nd := f.HasND()
		f.L4.Type, f.L4.Code = uint8(s[words.Transit]>>48), uint8(s[words.Transit]>>56)
		if nd {
			was := f.ND
			f.ND = packet.ND{Target: addr16(s, words.NDTarget), Flags: uint32(s[words.NDExt])}
			// The packet has the options that it came with; only the type of the one
			// may have changed, and of what is written the switch takes what fits it.
			if was.SLL != (tenant.MAC{}) || was.TLL != (tenant.MAC{}) {
				switch s[words.NDExt] >> 32 {
				case optSLL:
					f.ND.SLL = toMAC(s[words.NDSLL])
				case optTLL:
					f.ND.TLL = toMAC(s[words.NDTLL])
				}
			}
		}
	}
	return f
}

// outer returns the tunnel metadata as the header that a tunnel port makes of
// them. Where both families are set, IPv4 wins, as in Open vSwitch.
func (s *state) outer() packet.Outer {
	o := packet.Outer{Key: uint32(s[words.TunID])}
	if uint32(s[words.TunAddrs]) != 0 || s[words.Tun6Dst]|s[words.Tun6Dst+1] == 0 {
		o.Src, o.Dst = addr4(s[words.TunAddrs]>>32), addr4(s[words.TunAddrs])
	} else {
		o.Src, o.Dst = addr16(s, words.Tun6Src), addr16(s, words.Tun6Dst)
	}
	return o
}
