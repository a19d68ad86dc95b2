package sim

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// state is a packet with its metadata as the tables see it: each field has a
// place in one word, or in two where it is wider. A field that the packet lacks
// is zero.
//
// The registers lie so that a pair is one word (xreg) and two words are four
// (xxreg), the first register the most significant (ovs-fields(7)): writing one
// form is writing the others.
type state [numWords]uint64

const (
	wordInPort = iota
	wordMetadata
	wordTunID
	wordTunAddrs
	wordTun6Src
	wordTun6Dst  = wordTun6Src + 2
	wordRegs     = wordTun6Dst + 2
	wordEthDst   = wordRegs + 8 // and the tag
	wordEthSrc   = wordEthDst + 1
	wordIPv4     = wordEthSrc + 1
	wordIPv6Src  = wordIPv4 + 1
	wordIPv6Dst  = wordIPv6Src + 2
	wordTransit  = wordIPv6Dst + 2 // protocol, TTL and the transport header
	wordARPAddrs = wordTransit + 1
	wordARPSHA   = wordARPAddrs + 1 // and the operation
	wordARPTHA   = wordARPSHA + 1
	wordNDTarget = wordARPTHA + 1
	wordNDSLL    = wordNDTarget + 2
	wordNDTLL    = wordNDSLL + 1
	numWords     = wordNDTLL + 1
)

// place is where a field lies: from bit shift of word on; a wide field has its
// upper half in word and its lower half in the next.
type place struct {
	word  uint8
	shift uint8
	wide  bool
}

// tagPresent is the bit of OXM vlan_vid that says that there is a tag
// (OpenFlow 1.3.5 section 7.2.3.8).
const tagPresent = 0x1000

var places = func() (t [flow.NumFields]place) {
	t[flow.InPort] = place{word: wordInPort}
	t[flow.Metadata] = place{word: wordMetadata}
	t[flow.TunID] = place{word: wordTunID}
	t[flow.TunSrc] = place{word: wordTunAddrs, shift: 32}
	t[flow.TunDst] = place{word: wordTunAddrs}
	t[flow.TunIPv6Src] = place{word: wordTun6Src, wide: true}
	t[flow.TunIPv6Dst] = place{word: wordTun6Dst, wide: true}
	for i := range uint8(16) {
		t[flow.Reg0+flow.Field(i)] = place{word: wordRegs + i/2, shift: 32 * (1 - i%2)}
	}
	for i := range uint8(8) {
		t[flow.XReg0+flow.Field(i)] = place{word: wordRegs + i}
	}
	for i := range uint8(4) {
		t[flow.XXReg0+flow.Field(i)] = place{word: wordRegs + 2*i, wide: true}
	}
	t[flow.EthDst] = place{word: wordEthDst}
	t[flow.VLANTCI] = place{word: wordEthDst, shift: 48}
	t[flow.EthSrc] = place{word: wordEthSrc}
	t[flow.EthType] = place{word: wordEthSrc, shift: 48}
	t[flow.IPv4Src] = place{word: wordIPv4, shift: 32}
	t[flow.IPv4Dst] = place{word: wordIPv4}
	t[flow.IPv6Src] = place{word: wordIPv6Src, wide: true}
	t[flow.IPv6Dst] = place{word: wordIPv6Dst, wide: true}
	t[flow.IPProto] = place{word: wordTransit}
	t[flow.IPTTL] = place{word: wordTransit, shift: 8}
	// The protocol, which a test of any of these presupposes, tells them apart.
	for _, f := range []flow.Field{flow.TCPSrc, flow.UDPSrc} {
		t[f] = place{word: wordTransit, shift: 16}
	}
	for _, f := range []flow.Field{flow.TCPDst, flow.UDPDst} {
		t[f] = place{word: wordTransit, shift: 32}
	}
	for _, f := range []flow.Field{flow.ICMPType, flow.ICMPv6Type} {
		t[f] = place{word: wordTransit, shift: 48}
	}
	for _, f := range []flow.Field{flow.ICMPCode, flow.ICMPv6Code} {
		t[f] = place{word: wordTransit, shift: 56}
	}
	t[flow.ARPSPA] = place{word: wordARPAddrs, shift: 32}
	t[flow.ARPTPA] = place{word: wordARPAddrs}
	t[flow.ARPSHA] = place{word: wordARPSHA}
	t[flow.ARPOp] = place{word: wordARPSHA, shift: 48}
	t[flow.ARPTHA] = place{word: wordARPTHA}
	t[flow.NDTarget] = place{word: wordNDTarget, wide: true}
	t[flow.NDSLL] = place{word: wordNDSLL}
	t[flow.NDTLL] = place{word: wordNDTLL}
	return t
}()

// get returns a range of a field's bits, right-aligned.
func (s *state) get(b flow.Bits) flow.Value {
	p := places[b.Field]
	if p.wide {
		return flow.Value{Hi: s[p.word], Lo: s[p.word+1]}.Shr(int(b.Ofs)).And(flow.Ones(int(b.N)))
	}
	return flow.Uint(s[p.word] >> (p.shift + b.Ofs)).And(flow.Ones(int(b.N)))
}

// set writes a range of a field's bits.
func (s *state) set(b flow.Bits, v flow.Value) {
	p := places[b.Field]
	mask := flow.Ones(int(b.N))
	v = v.And(mask)
	if p.wide {
		mask, v = mask.Shl(int(b.Ofs)), v.Shl(int(b.Ofs))
		s[p.word] = s[p.word]&^mask.Hi | v.Hi
		s[p.word+1] = s[p.word+1]&^mask.Lo | v.Lo
		return
	}
	n := p.shift + b.Ofs
	s[p.word] = s[p.word]&^(mask.Lo<<n) | v.Lo<<n
}

func (s *state) ethType() uint16 { return uint16(s[wordEthSrc] >> 48) }
func (s *state) proto() uint8    { return uint8(s[wordTransit]) }
func (s *state) ttl() uint8      { return uint8(s[wordTransit] >> 8) }

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

// load fills an empty state from a packet that came in by a port.
func (s *state) load(port uint32, o packet.Outer, f *packet.Frame) {
	s[wordInPort] = uint64(port)
	s[wordTunID] = uint64(o.Key)
	if o.Dst.Is4() {
		s[wordTunAddrs] = put32(o.Src)<<32 | put32(o.Dst)
	} else if o.Dst.Is6() {
		put128(s, wordTun6Src, o.Src)
		put128(s, wordTun6Dst, o.Dst)
	}
	s[wordEthDst] = f.Dst.Uint64()
	if f.Tagged {
		s[wordEthDst] |= uint64(f.VID&0xfff|tagPresent) << 48
	}
	s[wordEthSrc] = f.Src.Uint64() | uint64(f.Type)<<48
	switch {
	case f.HasARP():
		s[wordARPAddrs] = put32(f.ARP.SPA)<<32 | put32(f.ARP.TPA)
		s[wordARPSHA] = f.ARP.SHA.Uint64()
		if f.ARP.Op <= 0xff { // the switch reads the lower octet alone
			s[wordARPSHA] |= uint64(f.ARP.Op) << 48
		}
		s[wordARPTHA] = f.ARP.THA.Uint64()
		return
	case f.HasIPv4():
		s[wordIPv4] = put32(f.IP.Src)<<32 | put32(f.IP.Dst)
	case f.HasIPv6():
		put128(s, wordIPv6Src, f.IP.Src)
		put128(s, wordIPv6Dst, f.IP.Dst)
	default:
		return
	}
	s[wordTransit] = uint64(f.IP.Proto) | uint64(f.IP.TTL)<<8
	switch {
	case f.HasL4(packet.ProtoTCP), f.HasL4(packet.ProtoUDP):
		s[wordTransit] |= uint64(f.L4.Src)<<16 | uint64(f.L4.Dst)<<32
	case f.HasICMP(), f.HasICMPv6():
		s[wordTransit] |= uint64(f.L4.Type)<<48 | uint64(f.L4.Code)<<56
		if f.HasND() {
			put128(s, wordNDTarget, f.ND.Target)
			s[wordNDSLL], s[wordNDTLL] = f.ND.SLL.Uint64(), f.ND.TLL.Uint64()
		}
	}
}

// frame returns the frame that f has become.
func (s *state) frame(f packet.Frame) packet.Frame {
	f.Dst, f.Src = toMAC(s[wordEthDst]), toMAC(s[wordEthSrc])
	if f.Tagged {
		f.VID = uint16(s[wordEthDst]>>48) & 0xfff
	}
	switch {
	case f.HasARP():
		f.ARP.SPA, f.ARP.TPA = addr4(s[wordARPAddrs]>>32), addr4(s[wordARPAddrs])
		f.ARP.SHA, f.ARP.THA = toMAC(s[wordARPSHA]&low48), toMAC(s[wordARPTHA])
		if op := uint16(s[wordARPSHA] >> 48); op != 0 || f.ARP.Op <= 0xff {
			f.ARP.Op = op
		}
		return f
	case f.HasIPv4():
		f.IP.Src, f.IP.Dst = addr4(s[wordIPv4]>>32), addr4(s[wordIPv4])
	case f.HasIPv6():
		f.IP.Src, f.IP.Dst = addr16(s, wordIPv6Src), addr16(s, wordIPv6Dst)
	default:
		return f
	}
	f.IP.TTL = s.ttl()
	switch {
	case f.HasL4(packet.ProtoTCP), f.HasL4(packet.ProtoUDP):
		f.L4.Src, f.L4.Dst = uint16(s[wordTransit]>>16), uint16(s[wordTransit]>>32)
	case f.HasICMP(), f.HasICMPv6():
		nd := f.HasND()
		f.L4.Type, f.L4.Code = uint8(s[wordTransit]>>48), uint8(s[wordTransit]>>56)
		if nd {
			f.ND = packet.ND{Target: addr16(s, wordNDTarget), SLL: toMAC(s[wordNDSLL]), TLL: toMAC(s[wordNDTLL])}
		}
	}
	return f
}

// outer returns the tunnel metadata as the header that a tunnel port makes of
// them. Where both families are set, IPv4 wins, as in Open vSwitch.
func (s *state) outer() packet.Outer {
	o := packet.Outer{Key: uint32(s[wordTunID])}
	if uint32(s[wordTunAddrs]) != 0 || s[wordTun6Dst]|s[wordTun6Dst+1] == 0 {
		o.Src, o.Dst = addr4(s[wordTunAddrs]>>32), addr4(s[wordTunAddrs])
	} else {
		o.Src, o.Dst = addr16(s, wordTun6Src), addr16(s, wordTun6Dst)
	}
	return o
}
