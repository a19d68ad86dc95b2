package ofswitch

// field describes a field of a match. Its place in fields is its place in what
// Open vSwitch reads back in OpenFlow 1.3 (seen on a real switch; the tests
// compare).
type field struct {
	class    uint16
	number   uint8
	octets   uint8  // of the value
	bits     uint8  // that count
	maskable bool   // under any mask
	ethType  uint16 // needs this, 0: none
	anyIP    bool   // needs IPv4 or IPv6
	proto    uint8  // needs this IP protocol, 0: none
	nd       uint8  // needs neighbour discovery: 135, 136, or 1 for both
	readOnly bool   // actions cannot write it
}

// OXM classes.
const (
	classNXM0 = 0x0000
	classNXM1 = 0x0001
	classOF   = 0x8000
	classPReg = 0x8001
	classEric = 0x1000
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherRARP = 0x8035
	etherIPv6 = 0x86dd
)

// The indexes of the fields that the code names.
const (
	fConjID = iota
	fInPort
	fEthSrc
	fEthDst
	fEthType
	fVLANVID
	fIPv4Src
	fIPv4Dst
	fIPv6Src
	fIPv6Dst
	fIPTTL
	fIPProto
	fTCPSrc
	fTCPDst
	fUDPSrc
	fUDPDst
	fICMPType
	fICMPCode
	fICMPv6Type
	fICMPv6Code
	fNDTarget
	fNDSLL
	fNDTLL
	fNDReserved
	fNDOptType
	fARPOp
	fARPSPA
	fARPTPA
	fARPSHA
	fARPTHA
	fTunID
	fTunSrc
	fTunDst
	fTunIPv6Src
	fTunIPv6Dst
	fReg0
	fReg15   = fReg0 + 15
	fPktMark = iota + 14 // behind reg15
	fCTState
	fCTZone
	fCTMark
	fCTLabel
	fMetadata
	numFields
)

var fields = func() (t [numFields]field) {
	t[fConjID] = field{class: classNXM1, number: 37, octets: 4, bits: 32, readOnly: true}
	t[fInPort] = field{class: classOF, number: 0, octets: 4, bits: 32, readOnly: true}
	t[fEthSrc] = field{class: classOF, number: 4, octets: 6, bits: 48, maskable: true}
	t[fEthDst] = field{class: classOF, number: 3, octets: 6, bits: 48, maskable: true}
	t[fEthType] = field{class: classOF, number: 5, octets: 2, bits: 16, readOnly: true}
	t[fVLANVID] = field{class: classOF, number: 6, octets: 2, bits: 13, maskable: true}
	t[fIPv4Src] = field{class: classOF, number: 11, octets: 4, bits: 32, maskable: true, ethType: etherIPv4}
	t[fIPv4Dst] = field{class: classOF, number: 12, octets: 4, bits: 32, maskable: true, ethType: etherIPv4}
	t[fIPv6Src] = field{class: classOF, number: 26, octets: 16, bits: 128, maskable: true, ethType: etherIPv6}
	t[fIPv6Dst] = field{class: classOF, number: 27, octets: 16, bits: 128, maskable: true, ethType: etherIPv6}
	t[fIPTTL] = field{class: classNXM1, number: 29, octets: 1, bits: 8, anyIP: true}
	t[fIPProto] = field{class: classOF, number: 10, octets: 1, bits: 8, anyIP: true, readOnly: true}
	t[fTCPSrc] = field{class: classOF, number: 13, octets: 2, bits: 16, maskable: true, proto: 6}
	t[fTCPDst] = field{class: classOF, number: 14, octets: 2, bits: 16, maskable: true, proto: 6}
	t[fUDPSrc] = field{class: classOF, number: 15, octets: 2, bits: 16, maskable: true, proto: 17}
	t[fUDPDst] = field{class: classOF, number: 16, octets: 2, bits: 16, maskable: true, proto: 17}
	t[fICMPType] = field{class: classOF, number: 19, octets: 1, bits: 8, ethType: etherIPv4, proto: 1}
	t[fICMPCode] = field{class: classOF, number: 20, octets: 1, bits: 8, ethType: etherIPv4, proto: 1}
	t[fICMPv6Type] = field{class: classOF, number: 29, octets: 1, bits: 8, ethType: etherIPv6, proto: 58}
	t[fICMPv6Code] = field{class: classOF, number: 30, octets: 1, bits: 8, ethType: etherIPv6, proto: 58}
	t[fNDTarget] = field{class: classOF, number: 31, octets: 16, bits: 128, maskable: true, ethType: etherIPv6, proto: 58, nd: 1}
	t[fNDSLL] = field{class: classOF, number: 32, octets: 6, bits: 48, maskable: true, ethType: etherIPv6, proto: 58, nd: 135}
	t[fNDTLL] = field{class: classOF, number: 33, octets: 6, bits: 48, maskable: true, ethType: etherIPv6, proto: 58, nd: 136}
	t[fNDReserved] = field{class: classEric, number: 1, octets: 4, bits: 32, ethType: etherIPv6, proto: 58, nd: 1}
	t[fNDOptType] = field{class: classEric, number: 2, octets: 1, bits: 8, ethType: etherIPv6, proto: 58, nd: 1}
	t[fARPOp] = field{class: classOF, number: 21, octets: 2, bits: 16, ethType: etherARP}
	t[fARPSPA] = field{class: classOF, number: 22, octets: 4, bits: 32, maskable: true, ethType: etherARP}
	t[fARPTPA] = field{class: classOF, number: 23, octets: 4, bits: 32, maskable: true, ethType: etherARP}
	t[fARPSHA] = field{class: classOF, number: 24, octets: 6, bits: 48, maskable: true, ethType: etherARP}
	t[fARPTHA] = field{class: classOF, number: 25, octets: 6, bits: 48, maskable: true, ethType: etherARP}
	t[fTunID] = field{class: classOF, number: 38, octets: 8, bits: 64, maskable: true}
	t[fTunSrc] = field{class: classNXM1, number: 31, octets: 4, bits: 32, maskable: true}
	t[fTunDst] = field{class: classNXM1, number: 32, octets: 4, bits: 32, maskable: true}
	t[fTunIPv6Src] = field{class: classNXM1, number: 109, octets: 16, bits: 128, maskable: true}
	t[fTunIPv6Dst] = field{class: classNXM1, number: 110, octets: 16, bits: 128, maskable: true}
	for i := range 16 {
		t[fReg0+i] = field{class: classNXM1, number: uint8(i), octets: 4, bits: 32, maskable: true}
	}
	t[fPktMark] = field{class: classNXM1, number: 33, octets: 4, bits: 32, maskable: true}
	t[fCTState] = field{class: classNXM1, number: 105, octets: 4, bits: 32, maskable: true, readOnly: true}
	t[fCTZone] = field{class: classNXM1, number: 106, octets: 2, bits: 16, readOnly: true}
	t[fCTMark] = field{class: classNXM1, number: 107, octets: 4, bits: 32, maskable: true, readOnly: true}
	t[fCTLabel] = field{class: classNXM1, number: 108, octets: 16, bits: 128, maskable: true, readOnly: true}
	t[fMetadata] = field{class: classOF, number: 2, octets: 8, bits: 64, maskable: true}
	return t
}()

// place says which fields an OXM class and number stand for: parts of four
// octets from first on where it is a wide register.
type place struct {
	first uint8
	parts uint8 // 0: unknown, 1: the field itself
}

func (p place) octets() int {
	if p.parts == 1 {
		return int(fields[p.first].octets)
	}
	return 4 * int(p.parts)
}

// places is indexed by the class (0, 1, 0x8000, 0x8001 and 0x1000 as 0 to 4) and the
// number.
var places = func() (t [5][128]place) {
	for i, f := range fields {
		c, _ := classIndex(f.class)
		t[c][f.number] = place{uint8(i), 1}
	}
	for i := range 8 {
		t[3][i] = place{uint8(fReg0 + 2*i), 2} // xreg
	}
	for i := range 4 {
		t[1][111+i] = place{uint8(fReg0 + 4*i), 4} // xxreg
	}
	// Nicira's own numbers for fields that OpenFlow has too.
	for n, f := range map[int]uint8{16: fTunID, 17: fARPSHA, 18: fARPTHA, 19: fIPv6Src, 20: fIPv6Dst, 21: fICMPv6Type,
		22: fICMPv6Code, 23: fNDTarget, 24: fNDSLL, 25: fNDTLL} {
		t[1][n] = place{f, 1}
	}
	for n, f := range map[int]uint8{1: fEthDst, 2: fEthSrc, 3: fEthType, 6: fIPProto, 7: fIPv4Src, 8: fIPv4Dst, 9: fTCPSrc,
		10: fTCPDst, 11: fUDPSrc, 12: fUDPDst, 13: fICMPType, 14: fICMPCode, 15: fARPOp, 16: fARPSPA, 17: fARPTPA} {
		t[0][n] = place{f, 1}
	}
	return t
}()

// niciraHeads has the OXM header that Open vSwitch names a field by in Nicira's
// own actions in OpenFlow 1.3: Nicira's number where there is one.
var niciraHeads = func() (t [numFields]uint32) {
	for i, f := range fields {
		t[i] = uint32(f.class)<<16 | uint32(f.number)<<9 | uint32(f.octets)
	}
	for _, c := range []uint32{classNXM1, classNXM0} {
		for n, p := range places[c] {
			if p.parts == 1 {
				t[p.first] = c<<16 | uint32(n)<<9 | uint32(fields[p.first].octets)
			}
		}
	}
	return t
}()

func classIndex(class uint16) (int, bool) {
	switch class {
	case classNXM0:
		return 0, true
	case classNXM1:
		return 1, true
	case classOF:
		return 2, true
	case classPReg:
		return 3, true
	case classEric:
		return 4, true
	}
	return 0, false
}

// lookup returns what the OXM header stands for.
func lookup(header uint32) (place, bool) {
	c, ok := classIndex(uint16(header >> 16))
	if !ok {
		return place{}, false
	}
	p := places[c][header>>9&0x7f]
	return p, p.parts > 0
}
