package flow

// Field is one field of a packet or of its metadata, as ovs-fields(7) names
// them. The order of the constants is the canonical order inside a match: what
// a field presupposes comes before it, as OXM demands (OpenFlow 1.3.5 section
// 7.2.3.3).
type Field uint8

// The fields that the pipeline and its diagnostics use.
const (
	InPort Field = iota
	Metadata
	TunID
	TunSrc
	TunDst
	TunIPv6Src
	TunIPv6Dst
	Reg0
	Reg1
	Reg2
	Reg3
	Reg4
	Reg5
	Reg6
	Reg7
	Reg8
	Reg9
	Reg10
	Reg11
	Reg12
	Reg13
	Reg14
	Reg15
	XReg0
	XReg1
	XReg2
	XReg3
	XReg4
	XReg5
	XReg6
	XReg7
	XXReg0
	XXReg1
	XXReg2
	XXReg3
	EthDst
	EthSrc
	EthType
	VLANTCI // OXM vlan_vid: 12 bits of VID and 0x1000 for "has a tag"
	IPProto
	IPTTL
	IPv4Src
	IPv4Dst
	IPv6Src
	IPv6Dst
	ARPOp
	ARPSPA
	ARPTPA
	ARPSHA
	ARPTHA
	TCPSrc
	TCPDst
	UDPSrc
	UDPDst
	ICMPType
	ICMPCode
	ICMPv6Type
	ICMPv6Code
	NDTarget
	NDSLL
	NDTLL
	NDReserved // the flags R, S and O of an advertisement, and 29 reserved bits (RFC 4861 section 4.4)
	NDOptType  // the type of the first link-layer address option; 0 where there is none
	NumFields  // the number of fields, not a field
)

// OXM classes (OpenFlow 1.3.5 section 7.2.3.3; nicira-ext.h).
const (
	classNXM0 = 0x0000 // Nicira extended match, fields of OpenFlow 1.0
	classNXM1 = 0x0001 // Nicira extended match
	classOF   = 0x8000 // OpenFlow basic
	classPReg = 0x8001 // OpenFlow packet registers
	classEric = 0x1000 // Ericsson's, of Open vSwitch 2.11.1 and later
)

// Form says how a field's value is written in text.
type Form uint8

// The forms of text.
const (
	Hexadecimal Form = iota
	Decimal
	MACForm
	IPv4Form
	IPv6Form
)

// Info describes a field.
type Info struct {
	Name     string // in matches, as ovs-ofctl prints it
	Long     string // in actions, as ovs-ofctl accepts it
	Class    uint16 // OXM class
	Number   uint8  // OXM field number within the class
	Bits     int    // significant bits
	Len      int    // octets of the value on the wire
	Form     Form
	ReadOnly bool // cannot be written by an action
}

// Header returns the OXM header of the field in host byte order: class, number,
// mask bit and payload length (OpenFlow 1.3.5 section 7.2.3.2).
func (i *Info) Header(masked bool) uint32 {
	h := uint32(i.Class)<<16 | uint32(i.Number)<<9
	if masked {
		return h | 1<<8 | uint32(2*i.Len)
	}
	return h | uint32(i.Len)
}

var infos = func() (t [NumFields]Info) {
	t[InPort] = Info{Name: "in_port", Long: "in_port", Class: classOF, Number: 0, Bits: 32, Len: 4, Form: Decimal}
	t[Metadata] = Info{Name: "metadata", Long: "metadata", Class: classOF, Number: 2, Bits: 64, Len: 8}
	t[TunID] = Info{Name: "tun_id", Long: "tun_id", Class: classOF, Number: 38, Bits: 64, Len: 8}
	t[TunSrc] = Info{Name: "tun_src", Long: "tun_src", Class: classNXM1, Number: 31, Bits: 32, Len: 4, Form: IPv4Form}
	t[TunDst] = Info{Name: "tun_dst", Long: "tun_dst", Class: classNXM1, Number: 32, Bits: 32, Len: 4, Form: IPv4Form}
	t[TunIPv6Src] = Info{Name: "tun_ipv6_src", Long: "tun_ipv6_src", Class: classNXM1, Number: 109, Bits: 128, Len: 16, Form: IPv6Form}
	t[TunIPv6Dst] = Info{Name: "tun_ipv6_dst", Long: "tun_ipv6_dst", Class: classNXM1, Number: 110, Bits: 128, Len: 16, Form: IPv6Form}
	digits := [...]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"}
	for i := range 16 {
		n := "reg" + digits[i]
		t[int(Reg0)+i] = Info{Name: n, Long: n, Class: classNXM1, Number: uint8(i), Bits: 32, Len: 4}
	}
	for i := range 8 {
		n := "xreg" + digits[i]
		t[int(XReg0)+i] = Info{Name: n, Long: n, Class: classPReg, Number: uint8(i), Bits: 64, Len: 8}
	}
	for i := range 4 {
		n := "xxreg" + digits[i]
		t[int(XXReg0)+i] = Info{Name: n, Long: n, Class: classNXM1, Number: uint8(111 + i), Bits: 128, Len: 16}
	}
	t[EthDst] = Info{Name: "dl_dst", Long: "eth_dst", Class: classOF, Number: 3, Bits: 48, Len: 6, Form: MACForm}
	t[EthSrc] = Info{Name: "dl_src", Long: "eth_src", Class: classOF, Number: 4, Bits: 48, Len: 6, Form: MACForm}
	t[EthType] = Info{Name: "dl_type", Long: "eth_type", Class: classOF, Number: 5, Bits: 16, Len: 2, ReadOnly: true}
	t[VLANTCI] = Info{Name: "vlan_tci", Long: "vlan_tci", Class: classOF, Number: 6, Bits: 13, Len: 2}
	t[IPProto] = Info{Name: "nw_proto", Long: "nw_proto", Class: classOF, Number: 10, Bits: 8, Len: 1, Form: Decimal, ReadOnly: true}
	t[IPTTL] = Info{Name: "nw_ttl", Long: "nw_ttl", Class: classNXM1, Number: 29, Bits: 8, Len: 1, Form: Decimal}
	t[IPv4Src] = Info{Name: "nw_src", Long: "ip_src", Class: classOF, Number: 11, Bits: 32, Len: 4, Form: IPv4Form}
	t[IPv4Dst] = Info{Name: "nw_dst", Long: "ip_dst", Class: classOF, Number: 12, Bits: 32, Len: 4, Form: IPv4Form}
	t[IPv6Src] = Info{Name: "ipv6_src", Long: "ipv6_src", Class: classOF, Number: 26, Bits: 128, Len: 16, Form: IPv6Form}
	t[IPv6Dst] = Info{Name: "ipv6_dst", Long: "ipv6_dst", Class: classOF, Number: 27, Bits: 128, Len: 16, Form: IPv6Form}
	t[ARPOp] = Info{Name: "arp_op", Long: "arp_op", Class: classOF, Number: 21, Bits: 16, Len: 2, Form: Decimal}
	t[ARPSPA] = Info{Name: "arp_spa", Long: "arp_spa", Class: classOF, Number: 22, Bits: 32, Len: 4, Form: IPv4Form}
	t[ARPTPA] = Info{Name: "arp_tpa", Long: "arp_tpa", Class: classOF, Number: 23, Bits: 32, Len: 4, Form: IPv4Form}
	t[ARPSHA] = Info{Name: "arp_sha", Long: "arp_sha", Class: classOF, Number: 24, Bits: 48, Len: 6, Form: MACForm}
	t[ARPTHA] = Info{Name: "arp_tha", Long: "arp_tha", Class: classOF, Number: 25, Bits: 48, Len: 6, Form: MACForm}
	t[TCPSrc] = Info{Name: "tcp_src", Long: "tcp_src", Class: classOF, Number: 13, Bits: 16, Len: 2, Form: Decimal}
	t[TCPDst] = Info{Name: "tcp_dst", Long: "tcp_dst", Class: classOF, Number: 14, Bits: 16, Len: 2, Form: Decimal}
	t[UDPSrc] = Info{Name: "udp_src", Long: "udp_src", Class: classOF, Number: 15, Bits: 16, Len: 2, Form: Decimal}
	t[UDPDst] = Info{Name: "udp_dst", Long: "udp_dst", Class: classOF, Number: 16, Bits: 16, Len: 2, Form: Decimal}
	t[ICMPType] = Info{Name: "icmp_type", Long: "icmp_type", Class: classOF, Number: 19, Bits: 8, Len: 1, Form: Decimal}
	t[ICMPCode] = Info{Name: "icmp_code", Long: "icmp_code", Class: classOF, Number: 20, Bits: 8, Len: 1, Form: Decimal}
	t[ICMPv6Type] = Info{Name: "icmpv6_type", Long: "icmpv6_type", Class: classOF, Number: 29, Bits: 8, Len: 1, Form: Decimal}
	t[ICMPv6Code] = Info{Name: "icmpv6_code", Long: "icmpv6_code", Class: classOF, Number: 30, Bits: 8, Len: 1, Form: Decimal}
	t[NDTarget] = Info{Name: "nd_target", Long: "nd_target", Class: classOF, Number: 31, Bits: 128, Len: 16, Form: IPv6Form}
	t[NDSLL] = Info{Name: "nd_sll", Long: "nd_sll", Class: classOF, Number: 32, Bits: 48, Len: 6, Form: MACForm}
	t[NDTLL] = Info{Name: "nd_tll", Long: "nd_tll", Class: classOF, Number: 33, Bits: 48, Len: 6, Form: MACForm}
	t[NDReserved] = Info{Name: "nd_reserved", Long: "nd_reserved", Class: classEric, Number: 1, Bits: 32, Len: 4}
	t[NDOptType] = Info{Name: "nd_options_type", Long: "nd_options_type", Class: classEric, Number: 2, Bits: 8, Len: 1, Form: Decimal}
	return t
}()

// Info returns the description of f; it must not be modified.
func (f Field) Info() *Info { return &infos[f] }

// String returns the name that ovs-ofctl prints.
func (f Field) String() string {
	if f >= NumFields {
		return "unknown"
	}
	return infos[f].Name
}

// FieldByOXM returns the field with that OXM class and number. For fields that
// have several numbers, OVS sends the one that Info names in OpenFlow 1.3, save
// those listed as aliases here.
func FieldByOXM(class uint16, number uint8) (Field, bool) {
	f, ok := byOXM[uint32(class)<<8|uint32(number)]
	return f, ok
}

var byOXM = func() map[uint32]Field {
	m := make(map[uint32]Field, NumFields+8)
	for f := range NumFields {
		m[uint32(infos[f].Class)<<8|uint32(infos[f].Number)] = f
	}
	// Numbers of Nicira's own (nicira-ext.h), of equal width. Open vSwitch uses
	// them in OpenFlow 1.3 in its own actions, such as a move read back.
	m[classNXM1<<8|16] = TunID
	for i, f := range [...]Field{ARPSHA, ARPTHA, IPv6Src, IPv6Dst, ICMPv6Type, ICMPv6Code, NDTarget, NDSLL, NDTLL} {
		m[classNXM1<<8|uint32(17+i)] = f
	}
	for number, f := range map[uint32]Field{
		1: EthDst, 2: EthSrc, 3: EthType, 6: IPProto, 7: IPv4Src, 8: IPv4Dst,
		9: TCPSrc, 10: TCPDst, 11: UDPSrc, 12: UDPDst, 13: ICMPType, 14: ICMPCode,
		15: ARPOp, 16: ARPSPA, 17: ARPTPA,
	} {
		m[classNXM0<<8|number] = f
	}
	return m
}()
