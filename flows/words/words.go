// Package words lays a packet with its metadata out in words of 64 bits, as the
// models of the switch see it.
package words

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

// The words. Registers lie so that a pair is one word (xreg) and two words are
// four (xxreg), the first register the most significant (ovs-fields(7)): writing
// one form is writing the others.
const (
	InPort = iota
	Metadata
	TunID
	TunAddrs // tun_src, tun_dst
	Tun6Src
	Tun6Dst  = Tun6Src + 2
	Regs     = Tun6Dst + 2
	EthDst   = Regs + 8   // and the tag, from bit 48
	EthSrc   = EthDst + 1 // and the EtherType, from bit 48
	IPv4     = EthSrc + 1 // source, destination
	IPv6Src  = IPv4 + 1
	IPv6Dst  = IPv6Src + 2
	Transit  = IPv6Dst + 2 // protocol, TTL, ports, ICMP type and code
	ARPAddrs = Transit + 1 // sender, target
	ARPSHA   = ARPAddrs + 1
	ARPTHA   = ARPSHA + 1
	NDTarget = ARPTHA + 1
	NDSLL    = NDTarget + 2
	NDTLL    = NDSLL + 1
	NDExt    = NDTLL + 1 // reserved bits with the flags, option type from bit 32
	Count    = NDExt + 1
)

// Place is where a field lies: from bit Shift of Word on; a wide field has its
// upper half in Word and its lower half in the next.
type Place struct {
	Word, Shift uint8
	Wide        bool
}

// Of returns the place of a field.
func Of(f flow.Field) Place { return places[f] }

var places = func() (t [flow.NumFields]Place) {
	t[flow.InPort] = Place{Word: InPort}
	t[flow.Metadata] = Place{Word: Metadata}
	t[flow.TunID] = Place{Word: TunID}
	t[flow.TunSrc] = Place{Word: TunAddrs, Shift: 32}
	t[flow.TunDst] = Place{Word: TunAddrs}
	t[flow.TunIPv6Src] = Place{Word: Tun6Src, Wide: true}
	t[flow.TunIPv6Dst] = Place{Word: Tun6Dst, Wide: true}
	for i := range uint8(16) {
		t[flow.Reg0+flow.Field(i)] = Place{Word: Regs + i/2, Shift: 32 * (1 - i%2)}
	}
	for i := range uint8(8) {
		t[flow.XReg0+flow.Field(i)] = Place{Word: Regs + i}
	}
	for i := range uint8(4) {
		t[flow.XXReg0+flow.Field(i)] = Place{Word: Regs + 2*i, Wide: true}
	}
	t[flow.EthDst] = Place{Word: EthDst}
	t[flow.VLANTCI] = Place{Word: EthDst, Shift: 48}
	t[flow.EthSrc] = Place{Word: EthSrc}
	t[flow.EthType] = Place{Word: EthSrc, Shift: 48}
	t[flow.IPv4Src] = Place{Word: IPv4, Shift: 32}
	t[flow.IPv4Dst] = Place{Word: IPv4}
	t[flow.IPv6Src] = Place{Word: IPv6Src, Wide: true}
	t[flow.IPv6Dst] = Place{Word: IPv6Dst, Wide: true}
	t[flow.IPProto] = Place{Word: Transit}
	t[flow.IPTTL] = Place{Word: Transit, Shift: 8}
	// The protocol, which a test of any of these presupposes, tells them apart.
	for _, f := range []flow.Field{flow.TCPSrc, flow.UDPSrc} {
		t[f] = Place{Word: Transit, Shift: 16}
	}
	for _, f := range []flow.Field{flow.TCPDst, flow.UDPDst} {
		t[f] = Place{Word: Transit, Shift: 32}
	}
	for _, f := range []flow.Field{flow.ICMPType, flow.ICMPv6Type} {
		t[f] = Place{Word: Transit, Shift: 48}
	}
	for _, f := range []flow.Field{flow.ICMPCode, flow.ICMPv6Code} {
		t[f] = Place{Word: Transit, Shift: 56}
	}
	t[flow.ARPSPA] = Place{Word: ARPAddrs, Shift: 32}
	t[flow.ARPTPA] = Place{Word: ARPAddrs}
	t[flow.ARPSHA] = Place{Word: ARPSHA}
	t[flow.ARPOp] = Place{Word: ARPSHA, Shift: 48}
	t[flow.ARPTHA] = Place{Word: ARPTHA}
	t[flow.NDTarget] = Place{Word: NDTarget, Wide: true}
	t[flow.NDSLL] = Place{Word: NDSLL}
	t[flow.NDTLL] = Place{Word: NDTLL}
	t[flow.NDReserved] = Place{Word: NDExt}
	t[flow.NDOptType] = Place{Word: NDExt, Shift: 32}
	return t
}()
