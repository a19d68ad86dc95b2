package ofswitch

import (
	"fmt"
	"strings"
	"testing"
)

// step is octets that one connection sends.
type step struct {
	conn int
	send []byte
}

func on0(msgs ...[]byte) step          { return step{0, cat(msgs...)} }
func on(i int, msgs ...[]byte) step    { return step{i, cat(msgs...)} }
func ethType(v uint64) []byte          { return entry(fEthType, v, 0) }
func proto(v uint64) []byte            { return entry(fIPProto, v, 0) }
func reg(i int, v, mask uint64) []byte { return entry(fReg0+i, v, mask) }

var (
	ip4      = ethType(etherIPv4)
	ip6      = ethType(etherIPv6)
	arp      = ethType(etherARP)
	regMatch = ofpMatch(reg(0, 1, 0))
)

// matches are matches, good ones and bad ones; each goes into an add.
var matches = map[string][]byte{
	"empty":                    ofpMatch(),
	"in_port":                  ofpMatch(entry(fInPort, 7, 0)),
	"in_port mask":             ofpMatch(entry(fInPort, 7, 0xff)),
	"in_port all ones":         ofpMatch(entry(fInPort, 7, 0xffffffff)),
	"in_port out of range":     ofpMatch(entry(fInPort, 0x12345, 0)),
	"registers unsorted":       ofpMatch(reg(5, 5, 0), reg(1, 1, 0)),
	"register masked":          ofpMatch(reg(4, 0x10, 0xf0)),
	"register mask of ones":    ofpMatch(reg(4, 0x10, 0xffffffff)),
	"register mask of zeros":   ofpMatch(oxm(classNXM1, 4, u32(0), u32(0))),
	"register twice":           ofpMatch(reg(4, 0x10, 0xf0), reg(4, 1, 1)),
	"register after no mask":   ofpMatch(oxm(classNXM1, 4, u32(0), u32(0)), reg(4, 1, 1)),
	"value beyond mask":        ofpMatch(oxm(classNXM1, 4, u32(0x11), u32(0x10))),
	"xxreg2":                   ofpMatch(oxm(classNXM1, 113, unhex("00000000 00000000 0000ffff 0a00010b"), nil)),
	"xxreg2 prefix":            ofpMatch(oxm(classNXM1, 113, unhex("00000000 00000000 0000ffff 0a000100"), unhex("00000000 00000000 0000ffff ffffff00"))),
	"xreg6":                    ofpMatch(oxm(classPReg, 6, u64(0x0000020000000001), u64(0x0000ffffffffffff))),
	"xxreg2 and reg8":          ofpMatch(oxm(classNXM1, 113, make([]byte, 16), nil), reg(8, 1, 0)),
	"reg8 and xxreg2":          ofpMatch(reg(8, 1, 0), oxm(classNXM1, 113, make([]byte, 16), nil)),
	"xxreg2 low, reg8":         ofpMatch(oxm(classNXM1, 113, unhex("00000000 00000000 00000000 00000001"), unhex("00000000 00000000 00000000 ffffffff")), reg(8, 1, 0)),
	"metadata, tunnel, regs":   ofpMatch(entry(fMetadata, 3, 7), entry(fTunID, 0x138900, 0xffffff00), entry(fTunSrc, 0x0a630002, 0), entry(fTunDst, 0x0a630001, 0), reg(2, 5001, 0)),
	"tunnel IPv6":              ofpMatch(entry(fTunIPv6Src, 1, 0), entry(fTunIPv6Dst, 0xff00, 0xff00)),
	"ethernet":                 ofpMatch(entry(fEthDst, 0x020000000001, 0), entry(fEthSrc, 0x020000000002, 0)),
	"multicast":                ofpMatch(entry(fEthDst, 0x010000000000, 0x010000000000)),
	"has a tag":                ofpMatch(entry(fVLANVID, 0x1000, 0x1000)),
	"has no tag":               ofpMatch(entry(fVLANVID, 0, 0)),
	"tag 5":                    ofpMatch(entry(fVLANVID, 0x1005, 0)),
	"tag mask of 13 ones":      ofpMatch(entry(fVLANVID, 0x1005, 0x1fff)),
	"tag mask of 16 ones":      ofpMatch(oxm(classOF, 6, u16(0x1005), u16(0xffff))),
	"tag with more bits":       ofpMatch(entry(fVLANVID, 0x3005, 0)),
	"IPv4":                     ofpMatch(ip4, entry(fIPv4Src, 0x0a000100, 0xffffff00), entry(fIPv4Dst, 0x0a00010b, 0)),
	"IPv4 order":               ofpMatch(ip4, proto(6), entry(fTCPDst, 80, 0), entry(fTCPSrc, 0x400, 0xfc00), entry(fIPTTL, 1, 0), entry(fIPv4Dst, 1, 0), entry(fIPv4Src, 1, 0)),
	"UDP":                      ofpMatch(ip4, proto(17), entry(fUDPSrc, 5, 0), entry(fUDPDst, 53, 0)),
	"ICMP":                     ofpMatch(ip4, proto(1), entry(fICMPType, 8, 0), entry(fICMPCode, 0, 0)),
	"TTL mask":                 ofpMatch(ip4, entry(fIPTTL, 1, 1)),
	"IPv6":                     ofpMatch(ip6, entry(fIPv6Src, 1, 0), entry(fIPv6Dst, 2, 3), entry(fIPTTL, 1, 0), proto(6), entry(fTCPDst, 80, 0)),
	"ND":                       ofpMatch(ip6, proto(58), entry(fICMPv6Type, 135, 0), entry(fICMPv6Code, 0, 0), entry(fNDTarget, 5, 0), entry(fNDSLL, 6, 0)),
	"NA":                       ofpMatch(ip6, proto(58), entry(fICMPv6Type, 136, 0), entry(fICMPv6Code, 0, 0), entry(fNDTarget, 5, 0), entry(fNDTLL, 6, 0)),
	"ARP":                      ofpMatch(arp, entry(fARPOp, 1, 0), entry(fARPTHA, 1, 0), entry(fARPSHA, 0x020000000001, 0), entry(fARPTPA, 2, 0), entry(fARPSPA, 1, 0)),
	"RARP":                     ofpMatch(ethType(etherRARP), entry(fARPOp, 3, 0)),
	"ARP operation too great":  ofpMatch(arp, entry(fARPOp, 256, 0)),
	"conntrack":                ofpMatch(entry(fCTState, 0x21, 0x21), entry(fCTZone, 5, 0), entry(fCTMark, 1, 1), entry(fCTLabel, 1, 0), entry(fPktMark, 3, 0), entry(fConjID, 9, 0)),
	"Nicira's numbers":         ofpMatch(oxm(classNXM0, 3, u16(etherARP), nil), oxm(classNXM0, 16, u32(7), nil), oxm(classNXM1, 17, make([]byte, 6), nil), oxm(classNXM1, 16, u64(1), nil)),
	"no prerequisite IPv4":     ofpMatch(entry(fIPv4Src, 1, 0)),
	"no prerequisite order":    ofpMatch(entry(fIPv4Src, 1, 0), ip4),
	"no prerequisite wrong":    ofpMatch(ip6, entry(fIPv4Src, 1, 0)),
	"no prerequisite TCP":      ofpMatch(ip4, entry(fTCPSrc, 1, 0)),
	"no prerequisite TCP, UDP": ofpMatch(ip4, proto(17), entry(fTCPSrc, 1, 0)),
	"no prerequisite ICMP":     ofpMatch(ip6, proto(1), entry(fICMPType, 1, 0)),
	"no prerequisite TTL":      ofpMatch(arp, entry(fIPTTL, 1, 0)),
	"no prerequisite ND":       ofpMatch(ip6, proto(58), entry(fICMPv6Type, 135, 0), entry(fNDTarget, 5, 0)),
	"no prerequisite SLL":      ofpMatch(ip6, proto(58), entry(fICMPv6Type, 136, 0), entry(fICMPv6Code, 0, 0), entry(fNDSLL, 5, 0)),
	"no prerequisite ARP":      ofpMatch(ip4, entry(fARPOp, 1, 0)),
	"unknown field":            ofpMatch(oxm(classOF, 77, u32(1), nil)),
	"unknown class":            ofpMatch(oxm(0x1234, 1, u32(1), nil)),
	"wrong length":             ofpMatch(oxm(classNXM1, 4, u16(1), nil)),
	"wrong masked length":      ofpMatch(oxm(classNXM1, 4, u32(1), u16(1))),
	"field cut short":          cat(u16(1, 10), u32(0x00010804), u16(0), make([]byte, 6)),
	"head cut short":           cat(u16(1, 6), u16(1), u16(0)),
	"match type 0":             cat(u16(0, 4), u32(0)),
	"match of two octets":      cat(u16(1, 2), u32(0)),
	"match longer than all":    cat(u16(1, 200), u32(0)),
	"padding not zero":         cat(u16(1, 4), u32(1)),
}

// instructions are sent in an add to table 5 that matches IPv4.
var instructions = map[string][]byte{
	"none":                           nil,
	"goto":                           gotoTable(6),
	"goto the same":                  gotoTable(5),
	"goto back":                      gotoTable(3),
	"goto 253":                       gotoTable(253),
	"goto 254":                       gotoTable(254),
	"goto 255":                       gotoTable(255),
	"goto twice":                     cat(gotoTable(6), gotoTable(7)),
	"goto too long":                  instruction(instrGoto, make([]byte, 12)),
	"apply nothing":                  apply(),
	"apply and goto":                 cat(apply(output(3)), gotoTable(9)),
	"apply twice":                    cat(apply(output(3)), apply(output(4))),
	"unknown":                        instruction(9, u32(0)),
	"type 0":                         instruction(0, u32(0)),
	"length 4":                       u16(instrGoto, 4, 0, 0),
	"length 12":                      cat(u16(instrGoto, 12, 0, 0), u64(0)),
	"too long":                       u16(instrGoto, 80, 0, 0),
	"cut short":                      u16(instrGoto, 8),
	"output":                         apply(output(1)),
	"output in_port":                 apply(output(portInPort)),
	"output controller":              apply(action(actionOutput, u32(portController), u16(0xffff), make([]byte, 6))),
	"output local":                   apply(output(portLocal)),
	"output any":                     apply(output(anyPort)),
	"output 0xff00":                  apply(output(0xff00)),
	"output 0xfeff":                  apply(output(0xfeff)),
	"output 65536":                   apply(output(0x10000)),
	"output 0xffffff00":              apply(output(0xffffff00)),
	"output 0":                       apply(output(0)),
	"output short":                   apply(action(actionOutput, u32(1))),
	"output long":                    apply(action(actionOutput, u32(1), make([]byte, 16))),
	"group":                          apply(action(actionGroup, u32(1))),
	"unknown action":                 apply(action(77, u32(1))),
	"action of length 4":             apply(u16(actionOutput, 4, 0, 0)),
	"action of length 12":            apply(u16(actionOutput, 12, 0, 0), u64(0)),
	"action too long":                apply(u16(actionOutput, 80, 0, 0)),
	"dec_ttl":                        apply(action(actionDecNwTTL, u32(0))),
	"set register":                   apply(setField(reg(3, 7, 0))),
	"set register masked":            apply(setField(reg(3, 7, 0xff))),
	"set xxreg2":                     apply(setField(oxm(classNXM1, 113, make([]byte, 16), nil))),
	"set eth_src":                    apply(setField(entry(fEthSrc, 1, 0))),
	"set eth_type":                   apply(setField(ethType(1))),
	"set ip_src":                     apply(setField(entry(fIPv4Src, 1, 0))),
	"set ip_proto":                   apply(setField(proto(1))),
	"set ttl":                        apply(setField(entry(fIPTTL, 1, 0))),
	"set ipv6_src":                   apply(setField(entry(fIPv6Src, 1, 0))),
	"set arp_op":                     apply(setField(entry(fARPOp, 1, 0))),
	"set tcp_src":                    apply(setField(entry(fTCPSrc, 1, 0))),
	"set ct_mark":                    apply(setField(entry(fCTMark, 1, 0))),
	"set conj_id":                    apply(setField(entry(fConjID, 1, 0))),
	"set tun_id":                     apply(setField(entry(fTunID, 0x138900, 0))),
	"set in_port":                    apply(setField(entry(fInPort, 0, 0))),
	"set metadata":                   apply(setField(entry(fMetadata, 1, 0))),
	"set unknown":                    apply(setField(oxm(classOF, 77, u32(1), nil))),
	"set wrong length":               apply(setField(oxm(classNXM1, 3, u16(1), nil))),
	"set cut short":                  apply(action(actionSetField, u32(0x00010604))),
	"set padding":                    apply(action(actionSetField, u32(0x00010204), u16(1), u16(0), u32(1))),
	"move":                           apply(nx(nxRegMove, u16(24, 0, 8), u32(0x00010404), oxmHead(fTunID))),
	"move all":                       apply(nx(nxRegMove, u16(48, 0, 0), u32(0x80010c08), oxmHead(fEthDst))),
	"move too many":                  apply(nx(nxRegMove, u16(24, 16, 8), u32(0x00010404), oxmHead(fTunID))),
	"move nothing":                   apply(nx(nxRegMove, u16(0, 0, 0), u32(0x00010404), oxmHead(fTunID))),
	"move unknown":                   apply(nx(nxRegMove, u16(1, 0, 0), u32(0x80019a04), oxmHead(fTunID))),
	"move to eth_type":               apply(nx(nxRegMove, u16(16, 0, 0), u32(0x00010404), oxmHead(fEthType))),
	"move from arp":                  apply(nx(nxRegMove, u16(32, 0, 0), oxmHead(fARPSPA), u32(0x00010404))),
	"load2":                          apply(nx(nxRegLoad2, reg(3, 0x70, 0xf0))),
	"load2 unmasked":                 apply(nx(nxRegLoad2, reg(3, 0x70, 0))),
	"load2 unknown":                  apply(nx(nxRegLoad2, oxm(classOF, 77, u32(1), nil))),
	"set eth_src by Nicira's number": apply(setField(oxm(classNXM0, 2, make([]byte, 6), nil))),
	"all, unordered":                 cat(gotoTable(9), instruction(instrWriteMetadata, u32(0), u64(5, 7)), instruction(instrWriteActions, u32(0), output(3)), instruction(instrClearActions, u32(0)), apply(output(3))),
	"output register":                apply(nx(nxOutputReg, u16(31), u32(0x00010a04), u16(0xffff), make([]byte, 6))),
	"output register masked":         apply(nx(nxOutputReg, u16(31), u32(0x00010b08), u16(0xffff), make([]byte, 6))),
	"output 33 bits":                 apply(nx(nxOutputReg, u16(32), u32(0x00010a04), u16(0xffff), make([]byte, 6))),
	"other experimenter":             apply(action(actionExperimenter, u32(0x12345678), u64(0))),
	"goto, then apply":               cat(gotoTable(9), apply(output(3))),
	"write actions":                  instruction(instrWriteActions, u32(0), output(3)),
	"write no actions":               instruction(instrWriteActions, u32(0)),
	"clear actions":                  instruction(instrClearActions, u32(0)),
	"write metadata":                 instruction(instrWriteMetadata, u32(0), u64(5, 7)),
	"meter":                          instruction(instrMeter, u32(1)),
	"load all":                       apply(nx(nxRegLoad, u16(31), u32(0x00010604), u64(7))),
	"load part":                      apply(nx(nxRegLoad, u16(4<<6|7), u32(0x00010604), u64(7))),
	"load too much":                  apply(nx(nxRegLoad, u16(4<<6|7), u32(0x00010604), u64(0x700))),
	"load beyond":                    apply(nx(nxRegLoad, u16(28<<6|7), u32(0x00010604), u64(7))),
	"experimenter short":             apply(action(actionExperimenter, u32(nicira))),
}

func oxmHead(f int) []byte { return entry(f, 0, 0)[:4] }

func add(table uint8, priority uint16, cookie uint64, match []byte, port uint32) []byte {
	return mod{command: cmdAdd, table: table, priority: priority, cookie: cookie, match: match, instr: apply(output(port))}.bytes(uint32(cookie))
}

func some() []byte {
	return cat(
		add(0, 10, 0x100, ofpMatch(), 1),
		add(1, 10, 0x101, regMatch, 1),
		add(1, 20, 0x102, regMatch, 2),
		add(1, 10, 0x201, ofpMatch(reg(0, 1, 0), ip4), 2),
		add(1, 10, 0x202, ofpMatch(reg(0, 2, 0), ip4), 3),
		add(1, 10, 0x203, ofpMatch(reg(0, 2, 2), ip4), 3),
		add(2, 10, 0x301, ofpMatch(ip4, entry(fIPv4Dst, 0x0a000100, 0xffffff00)), 3),
		add(2, 10, 0x302, ofpMatch(ip4, entry(fIPv4Dst, 0x0a000101, 0)), 3),
		add(253, 0, 0x400, ofpMatch(), 4),
	)
}

const xid = 77

// scenarios are what is sent, after an empty table and new connections.
var scenarios = map[string][]step{
	"add replaces":                  {on0(some()), on0(add(1, 10, 0x999, regMatch, 9))},
	"add in table 255":              {on0(add(255, 5, 1, ofpMatch(), 1))},
	"add in table 254":              {on0(add(254, 5, 1, ofpMatch(), 1))},
	"add with cookie mask":          {on0(mod{command: cmdAdd, cookie: 5, mask: 1}.bytes(xid))},
	"add with timeouts":             {on0(mod{command: cmdAdd, idle: 500, hard: 600}.bytes(xid))},
	"add with flags":                {on0(mod{command: cmdAdd, flags: 1}.bytes(xid), mod{command: cmdAdd, priority: 1, flags: 4}.bytes(xid), mod{command: cmdAdd, priority: 2, flags: 8}.bytes(xid), mod{command: cmdAdd, priority: 3, flags: 16}.bytes(xid))},
	"add with unknown flags":        {on0(mod{command: cmdAdd, flags: 0x20}.bytes(xid))},
	"add with out_port":             {on0(mod{command: cmdAdd, outPort: 3}.bytes(xid))},
	"add with cookie of ones":       {on0(mod{command: cmdAdd, cookie: 1<<64 - 1}.bytes(xid))},
	"overlap":                       {on0(some()), on0(mod{command: cmdAdd, table: 1, priority: 10, flags: flagCheckOverlap}.bytes(xid)), on0(mod{command: cmdAdd, table: 1, priority: 11, flags: flagCheckOverlap}.bytes(xid)), on0(mod{command: cmdAdd, table: 3, priority: 10, flags: flagCheckOverlap}.bytes(xid)), on0(mod{command: cmdAdd, table: 1, priority: 10, match: ofpMatch(reg(0, 4, 7)), flags: flagCheckOverlap}.bytes(xid))},
	"overlap with itself":           {on0(some()), on0(mod{command: cmdAdd, table: 253, flags: flagCheckOverlap, cookie: 9}.bytes(xid))},
	"unknown command":               {on0(mod{command: 5}.bytes(xid))},
	"unknown command, bad goto":     {on0(mod{command: 5, table: 3, instr: gotoTable(2)}.bytes(xid))},
	"modify":                        {on0(some()), on0(mod{command: cmdModify, table: 1, match: regMatch, cookie: 7, instr: apply(output(8))}.bytes(xid))},
	"modify finds nothing":          {on0(some()), on0(mod{command: cmdModify, table: 1, match: ofpMatch(reg(9, 9, 0)), cookie: 7, instr: apply(output(8))}.bytes(xid))},
	"modify by cookie":              {on0(some()), on0(mod{command: cmdModify, table: 1, cookie: 0x200, mask: 0xf00, instr: gotoTable(9)}.bytes(xid))},
	"modify in all tables":          {on0(some()), on0(mod{command: cmdModify, table: 255, cookie: 0x200, mask: 0xf00, instr: apply(output(8))}.bytes(xid))},
	"modify goto in all tables":     {on0(some()), on0(mod{command: cmdModify, table: 255, instr: gotoTable(9)}.bytes(xid))},
	"modify with out_port":          {on0(some()), on0(mod{command: cmdModify, table: 1, outPort: 3, instr: apply(output(8))}.bytes(xid))},
	"modify with flags":             {on0(some()), on0(mod{command: cmdModify, table: 1, flags: 0x5, idle: 9, instr: apply(output(8))}.bytes(xid))},
	"modify strict":                 {on0(some()), on0(mod{command: cmdModifyStrict, table: 1, priority: 10, match: regMatch, cookie: 7, instr: apply(output(8))}.bytes(xid))},
	"modify strict, wrong priority": {on0(some()), on0(mod{command: cmdModifyStrict, table: 1, priority: 11, match: regMatch, cookie: 7, instr: apply(output(8))}.bytes(xid))},
	"modify strict by cookie":       {on0(some()), on0(mod{command: cmdModifyStrict, table: 1, priority: 10, match: regMatch, cookie: 0x200, mask: 0xf00, instr: apply(output(8))}.bytes(xid), mod{command: cmdModifyStrict, table: 1, priority: 20, match: regMatch, cookie: 0x100, mask: 0xf00, instr: apply(output(8))}.bytes(xid))},
	"modify strict in all tables":   {on0(some()), on0(mod{command: cmdModifyStrict, table: 255, priority: 10, match: regMatch, instr: apply(output(8))}.bytes(xid))},
	"modify strict in table 254":    {on0(some()), on0(mod{command: cmdModifyStrict, table: 254, instr: apply(output(8))}.bytes(xid))},
	"modify goto back":              {on0(some()), on0(mod{command: cmdModify, table: 1, instr: gotoTable(1)}.bytes(xid))},
	"delete":                        {on0(some()), on0(mod{command: cmdDelete, table: 1, match: regMatch}.bytes(xid))},
	"delete masked":                 {on0(some()), on0(mod{command: cmdDelete, table: 1, match: ofpMatch(reg(0, 2, 2))}.bytes(xid))},
	"delete prefix":                 {on0(some()), on0(mod{command: cmdDelete, table: 2, match: ofpMatch(ip4, entry(fIPv4Dst, 0x0a000000, 0xffff0000))}.bytes(xid))},
	"delete one table":              {on0(some()), on0(mod{command: cmdDelete, table: 2}.bytes(xid))},
	"delete all":                    {on0(some()), on0(mod{command: cmdDelete, table: 255}.bytes(xid))},
	"delete by cookie":              {on0(some()), on0(mod{command: cmdDelete, table: 255, cookie: 0x200, mask: 0xf00}.bytes(xid))},
	"delete by port":                {on0(some()), on0(mod{command: cmdDelete, table: 255, outPort: 3}.bytes(xid))},
	"delete in table 254":           {on0(some()), on0(mod{command: cmdDelete, table: 254}.bytes(xid))},
	"delete with instructions":      {on0(some()), on0(mod{command: cmdDelete, table: 1, instr: gotoTable(2)}.bytes(xid))},
	"delete with bad instructions":  {on0(some()), on0(mod{command: cmdDelete, table: 1, instr: gotoTable(0)}.bytes(xid))},
	"delete goto in all tables":     {on0(some()), on0(mod{command: cmdDelete, table: 255, instr: gotoTable(2)}.bytes(xid))},
	"delete strict":                 {on0(some()), on0(mod{command: cmdDeleteStrict, table: 1, priority: 10, match: regMatch}.bytes(xid))},
	"delete strict finds nothing":   {on0(some()), on0(mod{command: cmdDeleteStrict, table: 1, priority: 11, match: regMatch}.bytes(xid))},
	"delete strict by cookie":       {on0(some()), on0(mod{command: cmdDeleteStrict, table: 1, priority: 10, match: regMatch, cookie: 0x200, mask: 0xf00}.bytes(xid), mod{command: cmdDeleteStrict, table: 1, priority: 20, match: regMatch, cookie: 0x100, mask: 0xf00}.bytes(xid))},
	"delete strict by port":         {on0(some()), on0(mod{command: cmdDeleteStrict, table: 1, priority: 10, match: regMatch, outPort: 2}.bytes(xid), mod{command: cmdDeleteStrict, table: 1, priority: 20, match: regMatch, outPort: 2}.bytes(xid))},
	"delete strict in all tables":   {on0(some()), on0(mod{command: cmdDeleteStrict, table: 255, priority: 10, match: regMatch}.bytes(xid))},
	"delete strict, other spelling": {on0(add(1, 1, 1, ofpMatch(oxm(classNXM1, 113, make([]byte, 16), nil)), 1)), on0(mod{command: cmdDeleteStrict, table: 1, priority: 1, match: ofpMatch(reg(11, 0, 0), reg(10, 0, 0), reg(9, 0, 0), reg(8, 0, 0xffffffff))}.bytes(xid))},
	"flow-mod too short":            {on0(message(typeFlowMod, xid, make([]byte, 20)))},

	"read one table":      {on0(some()), on0(multipartReq(xid, multipartFlow, flowRequestBody(1, anyPort, 0, 0, ofpMatch())))},
	"read by cookie":      {on0(some()), on0(multipartReq(xid, multipartFlow, flowRequestBody(255, anyPort, 0x200, 0xf00, ofpMatch())))},
	"read by match":       {on0(some()), on0(multipartReq(xid, multipartFlow, flowRequestBody(255, anyPort, 0, 0, regMatch)))},
	"read by port":        {on0(some()), on0(multipartReq(xid, multipartFlow, flowRequestBody(255, 3, 0, 0, ofpMatch())))},
	"read with bad match": {on0(multipartReq(xid, multipartFlow, flowRequestBody(255, anyPort, 0, 0, matches["unknown field"])))},
	"read too short":      {on0(multipartReq(xid, multipartFlow, make([]byte, 8)))},
	"read nothing":        {on0(multipartReq(xid, multipartFlow, flowRequestBody(99, anyPort, 0, 0, ofpMatch())))},
	"count":               {on0(some()), on0(multipartReq(xid, multipartAggregate, flowRequestBody(1, anyPort, 0, 0, ofpMatch())))},
	"unknown multipart":   {on0(multipartReq(xid, 99))},
	"multipart too short": {on0(message(typeMultipartRequest, xid, u16(1, 0)))},

	"groups":                {on0(groupMod(xid, modAdd, 0, 5, bucket(0, output(2)), bucket(0, output(3))), add(1, 1, 1, ofpMatch(), 1)), on0(mod{command: cmdAdd, table: 3, instr: apply(action(actionGroup, u32(5)))}.bytes(xid)), on0(multipartReq(xid, multipartGroupDesc))},
	"group is there":        {on0(groupMod(xid, modAdd, 0, 5), groupMod(xid, modAdd, 0, 5))},
	"group is not there":    {on0(groupMod(xid, modModify, 0, 5)), on0(groupMod(xid, modDelete, 0, 5))},
	"group changes":         {on0(groupMod(xid, modAdd, 0, 5, bucket(0, output(2)))), on0(groupMod(xid, groupAddOrModify, 1, 5, bucket(1, output(3)))), on0(multipartReq(xid, multipartGroupDesc))},
	"group goes":            {on0(groupMod(xid, modAdd, 0, 5)), on0(mod{command: cmdAdd, table: 3, instr: apply(action(actionGroup, u32(5)))}.bytes(xid)), on0(groupMod(xid, modDelete, 0, 5)), on0(multipartReq(xid, multipartGroupDesc))},
	"groups go":             {on0(groupMod(xid, modAdd, 0, 5)), on0(groupMod(xid, modAdd, 0, 6)), on0(groupMod(xid, modDelete, 0, groupAll)), on0(multipartReq(xid, multipartGroupDesc))},
	"group of no type":      {on0(groupMod(xid, modAdd, 9, 5))},
	"group too great":       {on0(groupMod(xid, modAdd, 0, 0xffffff01))},
	"group of two indirect": {on0(groupMod(xid, modAdd, 2, 5, bucket(0), bucket(0)))},
	"group with weights":    {on0(groupMod(xid, modAdd, 0, 5, bucket(4)))},
	"group with a bad port": {on0(groupMod(xid, modAdd, 0, 5, bucket(0, output(0xff10))))},
	"group command":         {on0(groupMod(xid, 77, 0, 5))},
	"groups in a bundle":    {on(0, bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, groupMod(2, modAdd, 0, 5, bucket(0, output(2)))), bundleAddMsg(3, 5, 3, mod{command: cmdAdd, table: 3, instr: apply(action(actionGroup, u32(5)))}.bytes(3)), bundleCtl(4, 5, bundleCommit, 3)), on0(multipartReq(xid, multipartGroupDesc))},
	"a bundle with a flaw":  {on(0, bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, groupMod(2, modAdd, 0, 5, bucket(0, output(2)))), bundleAddMsg(3, 5, 3, mod{command: cmdAdd, table: 3, instr: apply(action(actionGroup, u32(6)))}.bytes(3)), bundleCtl(4, 5, bundleCommit, 3)), on0(multipartReq(xid, multipartGroupDesc))},
	"meters":                {on0(meterMod(xid, modAdd, 14, 5, 10, 20), meterMod(xid, modModify, 14, 5, 11, 21)), on0(meterMod(xid, modAdd, 14, 6, 10, 20)), on0(meterMod(xid, modDelete, 0, 6, 0, 0)), on0(multipartReq(xid, multipartMeterConfig, u32(0xffffffff, 0)))},
	"meter is there":        {on0(meterMod(xid, modAdd, 14, 5, 10, 20)), on0(meterMod(xid, modAdd, 14, 5, 10, 20))},
	"meter is not there":    {on0(meterMod(xid, modModify, 14, 5, 10, 20)), on0(meterMod(xid, modDelete, 0, 5, 0, 0))},
	"meter in a bundle":     {on(0, bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, meterMod(2, modAdd, 14, 5, 10, 20)))},

	"echo":                    {on0(message(typeEchoRequest, xid, []byte("hello")))},
	"features":                {on0(message(typeFeaturesRequest, xid))},
	"features too long":       {on0(message(typeFeaturesRequest, xid, u64(0)))},
	"configuration":           {on0(message(typeGetConfigRequest, xid), message(typeSetConfig, xid, u16(0, 0xffff)), message(typeGetConfigRequest, xid))},
	"what comes unasked":      {on0(message(typeSetAsync, xid, make([]byte, 24)), message(typeEchoRequest, xid))},
	"packets to controllers":  {on0(message(typeExperimenter, xid, u32(nicira, nxtSetPacketInFormat, 2)), message(typeExperimenter, xid, u32(nicira, nxtSetControllerID, 0, 5)), message(typeEchoRequest, xid))},
	"configuration short":     {on0(message(typeSetConfig, xid, u16(0)))},
	"barrier too long":        {on0(message(typeBarrierRequest, xid, u64(0)))},
	"unknown type":            {on0(message(77, xid))},
	"reply as request":        {on0(message(typeFeaturesReply, xid, make([]byte, 24)))},
	"features, version 1":     {on0([]byte{1, typeFeaturesRequest, 0, 8, 0, 0, 0, xid})},
	"wrong version":           {on0([]byte{1, typeEchoRequest, 0, 8, 0, 0, 0, xid})},
	"unknown experimenter":    {on0(message(typeExperimenter, xid, u32(0x12345678, 1)))},
	"unknown in experimenter": {on0(message(typeExperimenter, xid, u32(onf, 1))), on0(message(typeExperimenter, xid, u32(nicira, 9999)))},
	"experimenter too short":  {on0(message(typeExperimenter, xid, u32(onf)))},

	"bundle":                            {on0(bundleCtl(1, 5, bundleOpen, 3)), on0(bundleAddMsg(2, 5, 3, add(1, 1, 2, ofpMatch(), 1)), bundleAddMsg(3, 5, 3, add(2, 1, 3, ofpMatch(), 1))), on0(dumpRequest(4)), on0(bundleCtl(5, 5, bundleClose, 3)), on0(bundleCtl(6, 5, bundleCommit, 3))},
	"bundle not closed":                 {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(1, 1, 2, ofpMatch(), 1)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle not opened":                 {on0(bundleAddMsg(2, 5, 3, add(1, 1, 2, ofpMatch(), 1)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle empty":                      {on0(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(2, 5, bundleCommit, 3))},
	"bundle opened twice":               {on0(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(2, 5, bundleOpen, 3), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle closed twice":               {on0(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(2, 5, bundleClose, 3), bundleCtl(3, 5, bundleClose, 3), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle filled after close":         {on0(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(2, 5, bundleClose, 3), bundleAddMsg(3, 5, 3, add(1, 1, 3, ofpMatch(), 1)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle with other flags":           {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(3, 5, 1, add(1, 1, 3, ofpMatch(), 1)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle closed with other flags":    {on0(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(3, 5, bundleClose, 1), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle committed with other flags": {on0(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(3, 5, bundleCommit, 1), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle with unknown flags":         {on0(bundleCtl(1, 5, bundleOpen, 0x80), bundleCtl(6, 5, bundleCommit, 0x80))},
	"bundle message, unknown flags":     {on0(bundleAddMsg(1, 5, 0x80, add(1, 1, 1, ofpMatch(), 1)))},
	"bundle unknown":                    {on0(bundleCtl(1, 9, bundleClose, 3), bundleCtl(2, 9, bundleCommit, 3), bundleCtl(3, 9, bundleDiscard, 3))},
	"bundle of unknown kind":            {on0(bundleCtl(1, 9, 9, 3))},
	"bundle reply as request":           {on0(bundleCtl(1, 9, 1, 3))},
	"bundle discarded":                  {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(1, 1, 2, ofpMatch(), 1)), bundleCtl(3, 5, bundleDiscard, 3), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle too short":                  {on0(message(typeExperimenter, xid, u32(onf, onfBundleControl, 5)))},
	"bundle message too short":          {on0(message(typeExperimenter, xid, u32(onf, onfBundleAdd, 5), u16(0, 3)))},
	"bundle message of other xid":       {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(99, 5, 3, add(1, 1, 2, ofpMatch(), 1)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle of other messages":          {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, message(typeBarrierRequest, 2)), bundleAddMsg(2, 5, 3, message(typeEchoRequest, 2)), bundleAddMsg(2, 5, 3, dumpRequest(2)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle message too long":           {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, []byte{4, 14, 1, 0, 0, 0, 0, 2}), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle message of version 1":       {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, []byte{1, 14, 0, 8, 0, 0, 0, 2}), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle with padding":               {on0(bundleCtl(1, 5, bundleOpen, 3), message(typeExperimenter, 2, u32(onf, onfBundleAdd, 5), u16(0, 3), add(1, 1, 2, ofpMatch(), 1), u64(0)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle with a bad message":         {on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(1, 1, 2, ofpMatch(), 1)), bundleAddMsg(3, 5, 3, add(1, 2, 3, matches["unknown field"], 1)), bundleCtl(6, 5, bundleCommit, 3))},
	"bundle refused at the commit":      {on0(some()), on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, mod{command: cmdDelete, table: 1, priority: 10}.bytes(2)), bundleAddMsg(3, 5, 3, add(1, 10, 3, regMatch, 77)), bundleAddMsg(4, 5, 3, mod{command: cmdModify, table: 253, instr: apply(output(3))}.bytes(4)), bundleAddMsg(5, 5, 3, mod{command: cmdAdd, table: 253, match: regMatch, flags: flagCheckOverlap}.bytes(5)), bundleAddMsg(6, 5, 3, add(9, 10, 6, regMatch, 77)), bundleCtl(7, 5, bundleClose, 3), bundleCtl(8, 5, bundleCommit, 3))},
	"bundle in table 254":               {on0(some()), on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(1, 10, 2, regMatch, 77)), bundleAddMsg(3, 5, 3, add(254, 10, 3, regMatch, 77)), bundleCtl(8, 5, bundleCommit, 3))},
	"bundle delete and add again":       {on0(some()), on0(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, mod{command: cmdDelete, table: 255}.bytes(2)), bundleAddMsg(3, 5, 3, add(1, 10, 3, regMatch, 77)), bundleAddMsg(4, 5, 3, add(1, 10, 4, regMatch, 78)), bundleCtl(8, 5, bundleCommit, 3))},
	"bundles of two connections":        {on(0, bundleCtl(1, 5, bundleOpen, 3)), on(1, bundleCtl(1, 5, bundleOpen, 3)), on(0, bundleAddMsg(2, 5, 3, add(1, 10, 2, regMatch, 1))), on(1, bundleAddMsg(3, 5, 3, add(1, 10, 3, regMatch, 2))), on(1, bundleCtl(4, 5, bundleCommit, 3)), on(0, dumpRequest(5)), on(0, bundleCtl(6, 5, bundleCommit, 3))},

	"roles":                     {on(0, role(1, roleMaster, 10)), on(1, role(2, roleNoChange, 0)), on(1, role(3, roleMaster, 11)), on(0, role(4, roleNoChange, 0)), on(0, add(1, 1, 5, ofpMatch(), 1)), on(1, add(2, 1, 6, ofpMatch(), 1)), on(0, role(7, roleMaster, 10)), on(0, role(8, roleMaster, 12)), on(1, add(2, 1, 9, ofpMatch(), 1))},
	"role of equals":            {on(0, role(1, roleMaster, 20)), on(1, add(1, 1, 2, ofpMatch(), 1)), on(1, role(3, roleEqual, 0)), on(0, role(4, roleNoChange, 0))},
	"role of the same":          {on(0, role(1, roleMaster, 30)), on(1, role(2, roleMaster, 30)), on(0, role(3, roleNoChange, 0))},
	"role slave":                {on(0, role(1, roleSlave, 40)), on(0, add(1, 1, 2, ofpMatch(), 1)), on(0, dumpRequest(3)), on(0, bundleCtl(4, 5, bundleOpen, 3)), on(0, bundleAddMsg(5, 5, 3, add(1, 1, 5, ofpMatch(), 1))), on(0, message(typeSetConfig, 6, u16(0, 77)), message(typeGetConfigRequest, 7)), on(0, message(typeEchoRequest, 8)), on(0, role(9, roleEqual, 0)), on(0, add(1, 1, 9, ofpMatch(), 1))},
	"role slave, stale":         {on(0, role(1, roleSlave, 50)), on(1, role(2, roleSlave, 49)), on(1, role(3, roleMaster, 49))},
	"role, no change with gen":  {on(0, role(1, roleNoChange, 55)), on(0, role(2, roleMaster, 54))},
	"role of great generation":  {on(0, role(1, roleMaster, 60)), on(0, role(2, roleMaster, 60+1<<63)), on(0, role(3, roleMaster, 59+1<<63))},
	"role unknown":              {on(0, role(1, 9, 100))},
	"role too short":            {on(0, message(typeRoleRequest, xid, u32(2)))},
	"role lost while filling":   {on(0, role(1, roleMaster, 59+1<<63)), on(0, bundleCtl(2, 5, bundleOpen, 3), bundleAddMsg(3, 5, 3, add(1, 1, 3, ofpMatch(), 1))), on(1, role(4, roleMaster, 59+1<<63)), on(0, bundleCtl(5, 5, bundleCommit, 3)), on(0, role(6, roleMaster, 59+1<<63)), on(0, bundleCtl(7, 5, bundleCommit, 3))},
	"slave's malformed message": {on(0, role(1, roleSlave, 59+1<<63)), on(0, add(1, 1, 2, matches["unknown field"], 1))},
}

func init() {
	for name, m := range matches {
		scenarios["match/"+name] = []step{on0(mod{command: cmdAdd, table: 1, match: m}.bytes(xid))}
	}
	for name, i := range instructions {
		scenarios["instructions/"+name] = []step{on0(mod{command: cmdAdd, table: 5, match: ofpMatch(ip4), instr: i}.bytes(xid))}
	}
}

// TestTruth sends every scenario to a real and to the simulated switch and
// compares answers and flow tables.
func TestTruth(t *testing.T) {
	p := startPair(t, 0)
	for name, steps := range scenarios {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "role") {
				p.forget(t)
			}
			p.fresh(t, 2)
			for i, s := range steps {
				if ok, diff := p.both(t, s.conn, s.send); !ok {
					t.Errorf("step %d: %s", i, diff)
				}
			}
			p.connect(t)
			if ok, diff := p.flows(t, 2); !ok {
				t.Errorf("in the end: %s", diff)
			}
		})
	}
	if t.Failed() {
		return
	}
	fmt.Fprintf(t.Output(), "%d scenarios\n", len(scenarios))
}
