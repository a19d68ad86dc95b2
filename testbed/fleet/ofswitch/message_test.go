package ofswitch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// message builds an OpenFlow message.
func message(kind uint8, xid uint32, body ...[]byte) []byte {
	b := []byte{version13, kind, 0, 0}
	b = be.AppendUint32(b, xid)
	for _, p := range body {
		b = append(b, p...)
	}
	be.PutUint16(b[2:], uint16(len(b)))
	return b
}

func u16(v ...uint16) (b []byte) {
	for _, x := range v {
		b = be.AppendUint16(b, x)
	}
	return b
}

func u32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = be.AppendUint32(b, x)
	}
	return b
}

func u64(v ...uint64) (b []byte) {
	for _, x := range v {
		b = be.AppendUint64(b, x)
	}
	return b
}

func cat(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// unhex reads hexadecimal digits with spaces between.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// oxm builds an OXM entry; a mask makes it masked.
func oxm(class uint16, number uint8, value, mask []byte) []byte {
	h := uint32(class)<<16 | uint32(number)<<9 | uint32(len(value)+len(mask))
	if mask != nil {
		h |= 0x100
	}
	return cat(u32(h), value, mask)
}

// entry builds the OXM entry of a field from the low octets of v and mask; mask
// 0 makes it exact.
func entry(f int, v, mask uint64) []byte {
	def := fields[f]
	n := int(def.octets)
	low := func(v uint64) []byte {
		b := make([]byte, 16)
		binary.BigEndian.PutUint64(b[8:], v)
		return b[16-n:]
	}
	if mask == 0 {
		return oxm(def.class, def.number, low(v), nil)
	}
	return oxm(def.class, def.number, low(v&mask), low(mask))
}

// ofpMatch wraps OXM entries as an ofp_match.
func ofpMatch(entries ...[]byte) []byte {
	e := cat(entries...)
	b := cat(u16(1, uint16(4+len(e))), e)
	return append(b, make([]byte, roundUp(len(b))-len(b))...)
}

// mod is a flow-mod to be.
type mod struct {
	command  uint8
	table    uint8
	priority uint16
	cookie   uint64
	mask     uint64
	idle     uint16
	hard     uint16
	flags    uint16
	outPort  uint32 // 0: any
	match    []byte // nil: empty
	instr    []byte
}

func (m mod) bytes(xid uint32) []byte {
	if m.match == nil {
		m.match = ofpMatch()
	}
	if m.outPort == 0 {
		m.outPort = anyPort
	}
	return message(typeFlowMod, xid, u64(m.cookie, m.mask), []byte{m.table, m.command}, u16(m.idle, m.hard, m.priority),
		u32(0xffffffff, m.outPort, anyGroup), u16(m.flags, 0), m.match, m.instr)
}

func instruction(kind uint16, body ...[]byte) []byte {
	b := cat(body...)
	return cat(u16(kind, uint16(4+len(b))), b)
}

func gotoTable(t uint8) []byte { return instruction(instrGoto, []byte{t, 0, 0, 0}) }

func apply(actions ...[]byte) []byte {
	return instruction(instrApplyActions, u32(0), cat(actions...))
}

func action(kind uint16, body ...[]byte) []byte {
	b := cat(body...)
	n := roundUp(4 + len(b))
	b = append(b, make([]byte, n-4-len(b))...)
	return cat(u16(kind, uint16(n)), b)
}

func output(port uint32) []byte { return action(actionOutput, u32(port), u16(0), make([]byte, 6)) }
func setField(oxm []byte) []byte {
	return action(actionSetField, oxm)
}
func nx(subtype uint16, body ...[]byte) []byte {
	return action(actionExperimenter, u32(nicira), u16(subtype), cat(body...))
}

func bundleCtl(xid, id uint32, kind, flags uint16) []byte {
	return message(typeExperimenter, xid, u32(onf, onfBundleControl, id), u16(kind, flags))
}

func bundleAddMsg(xid, id uint32, flags uint16, inner []byte) []byte {
	return message(typeExperimenter, xid, u32(onf, onfBundleAdd, id), u16(0, flags), inner)
}

func role(xid, r uint32, generation uint64) []byte {
	return message(typeRoleRequest, xid, u32(r, 0), u64(generation))
}

func multipartReq(xid uint32, kind uint16, body ...[]byte) []byte {
	return message(typeMultipartRequest, xid, u16(kind, 0), u32(0), cat(body...))
}

func flowRequestBody(table uint8, outPort uint32, cookie, mask uint64, match []byte) []byte {
	return cat([]byte{table, 0, 0, 0}, u32(outPort, anyGroup, 0), u64(cookie, mask), match)
}

func dumpRequest(xid uint32) []byte {
	return multipartReq(xid, multipartFlow, flowRequestBody(allTables, anyPort, 0, 0, ofpMatch()))
}

// show renders a message for a failure.
func show(b []byte) string {
	if len(b) < headerLen {
		return fmt.Sprintf("%x", b)
	}
	s := fmt.Sprintf("version %d type %d xid %d: %x", b[0], b[1], be.Uint32(b[4:]), b[headerLen:])
	if b[0] == version13 && b[1] == typeError && len(b) >= 12 {
		s = fmt.Sprintf("error %d/%d xid %d: %x", be.Uint16(b[8:]), be.Uint16(b[10:]), be.Uint32(b[4:]), b[12:])
	}
	return s
}

// bucket is a bucket of a group (OpenFlow 1.3.5 section 7.3.4.2).
func bucket(weight uint16, actions ...[]byte) []byte {
	a := bytes.Join(actions, nil)
	return append(append(u16(uint16(16+len(a)), weight), u32(anyPort, anyGroup, 0)...), a...)
}

func groupMod(xid uint32, command uint16, kind uint8, id uint32, buckets ...[]byte) []byte {
	b := append(u16(command), kind, 0)
	return message(typeGroupMod, xid, append(append(b, u32(id)...), bytes.Join(buckets, nil)...))
}

func meterMod(xid uint32, command, flags uint16, id, rate, burst uint32) []byte {
	b := append(u16(command, flags), u32(id)...)
	if command != modDelete {
		b = append(append(b, u16(1, 16)...), u32(rate, burst, 0)...)
	}
	return message(typeMeterMod, xid, b)
}
