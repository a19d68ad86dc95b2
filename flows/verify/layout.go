package verify

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

// A packet with its metadata is numWords words of 64 bits, as the tables see it.
// Registers lie so that a pair is one word (xreg) and two words are four (xxreg),
// the first register the most significant (ovs-fields(7)).
const (
	wordInPort = iota
	wordMetadata
	wordTunID
	wordTunAddrs // tun_src, tun_dst
	wordTun6Src
	wordTun6Dst  = wordTun6Src + 2
	wordRegs     = wordTun6Dst + 2
	wordEthDst   = wordRegs + 8   // and the tag, from bit 48
	wordEthSrc   = wordEthDst + 1 // and the EtherType, from bit 48
	wordIPv4     = wordEthSrc + 1 // source, destination
	wordIPv6Src  = wordIPv4 + 1
	wordIPv6Dst  = wordIPv6Src + 2
	wordTransit  = wordIPv6Dst + 2 // protocol, TTL, ports, ICMP type and code
	wordARPAddrs = wordTransit + 1 // sender, target
	wordARPSHA   = wordARPAddrs + 1
	wordARPTHA   = wordARPSHA + 1
	wordNDTarget = wordARPTHA + 1
	wordNDSLL    = wordNDTarget + 2
	wordNDTLL    = wordNDSLL + 1
	numWords     = wordNDTLL + 1
)

const (
	low32      = 1<<32 - 1
	low48      = 1<<48 - 1
	all64      = ^uint64(0)
	tagPresent = 0x1000 << 48 // in wordEthDst: there is a tag (OpenFlow 1.3.5 section 7.2.3.8)
	tagBits    = 0xffff << 48
	ttlShift   = 8
	ttlMask    = 0xff << ttlShift
)

// place is where a field lies: from bit shift of word on; a wide field has its
// upper half in word and its lower half in the next.
type place struct {
	word, shift uint8
	wide        bool
}

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
	t[flow.IPTTL] = place{word: wordTransit, shift: ttlShift}
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

// isInput reports whether a word is part of what comes in; the others, registers
// and metadata, are zero at first.
func isInput(word int) bool {
	return word != wordMetadata && (word < wordRegs || word >= wordRegs+8)
}

// isFrame reports whether a word is part of the frame.
func isFrame(word int) bool { return word >= wordEthDst }

// spread returns value v under mask m of field f as terms.
func spread(f flow.Field, v, m flow.Value) (ts []term) {
	p := places[f]
	if !p.wide {
		return []term{{p.word, m.Lo << p.shift, v.Lo << p.shift}}
	}
	if m.Hi != 0 {
		ts = append(ts, term{p.word, m.Hi, v.Hi})
	}
	if m.Lo != 0 {
		ts = append(ts, term{p.word + 1, m.Lo, v.Lo})
	}
	return ts
}

// bitAt returns the word and the bit in it of the i-th bit of a field.
func bitAt(f flow.Field, i int) (word uint8, bit int) {
	p := places[f]
	switch {
	case !p.wide:
		return p.word, int(p.shift) + i
	case i < 64:
		return p.word + 1, i
	}
	return p.word, i - 64
}

// run is a row of bits that a move copies from one word to another.
type run struct {
	dst, src uint8
	dstBit   int
	srcBit   int
	n        int
}

// runs returns the rows that a move of src to dst consists of.
func runs(dst, src flow.Bits) (rs []run) {
	for i := range int(dst.N) {
		dw, db := bitAt(dst.Field, int(dst.Ofs)+i)
		sw, sb := bitAt(src.Field, int(src.Ofs)+i)
		if n := len(rs); n > 0 {
			l := &rs[n-1]
			if l.dst == dw && l.src == sw && l.dstBit+l.n == db && l.srcBit+l.n == sb {
				l.n++
				continue
			}
		}
		rs = append(rs, run{dw, sw, db, sb, 1})
	}
	return rs
}
