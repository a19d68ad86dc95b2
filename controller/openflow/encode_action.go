package openflow

import (
	"encoding/binary"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// appendActions appends a list of actions.
func appendActions(b []byte, actions []flow.Action) ([]byte, error) {
	for i := range actions {
		var err error
		if b, err = appendAction(b, &actions[i]); err != nil {
			return b, err
		}
	}
	return b, nil
}

// appendAction appends one action in the form that Open vSwitch itself uses in
// OpenFlow 1.3.
func appendAction(b []byte, a *flow.Action) ([]byte, error) {
	start := len(b)
	switch a.Op {
	case flow.OpSet:
		o, err := fits(a.Dst)
		if err != nil {
			return b, err
		}
		if a.Value.And(flow.Ones(int(a.Dst.N))) != a.Value {
			return b, errBadValue
		}
		if a.Dst.N == o.bits {
			b = append(b, 0, actionSetField, 0, 0)
			b = appendValue(binary.BigEndian.AppendUint32(b, o.header), a.Value, o.length)
		} else {
			// OpenFlow 1.3 has no masked set_field.
			b = appendNicira(b, nxRegLoad2)
			b = binary.BigEndian.AppendUint32(b, o.masked())
			b = appendValue(b, a.Value.Shl(int(a.Dst.Ofs)), o.length)
			b = appendValue(b, a.Dst.Mask(), o.length)
		}
		b = pad(b, start)
		b[start+3] = uint8(len(b) - start) // at most 56
	case flow.OpMove:
		src, err := fits(a.Src)
		if err != nil {
			return b, err
		}
		dst, err := fits(a.Dst)
		if err != nil {
			return b, err
		}
		if a.Src.N != a.Dst.N {
			return b, errMoveWidth
		}
		b = appendNicira(b, nxRegMove)
		b = append(b, 0, a.Src.N, 0, a.Src.Ofs, 0, a.Dst.Ofs)
		b = binary.BigEndian.AppendUint32(b, src.header)
		b = binary.BigEndian.AppendUint32(b, dst.header)
		b[start+3] = 24
	case flow.OpDecTTL:
		b = append(b, 0, actionDecTTL, 0, 8, 0, 0, 0, 0)
	case flow.OpOutput:
		b = append(b, 0, actionOutput, 0, 16)
		b = binary.BigEndian.AppendUint32(b, a.Port)
		b = binary.BigEndian.AppendUint16(b, outputMaxLen(a.Port))
		b = append(b, 0, 0, 0, 0, 0, 0)
	case flow.OpOutputReg:
		src, err := fits(a.Src)
		if err != nil {
			return b, err
		}
		if a.Src.N > 32 {
			return b, errBadBits // a port's number has 32 bits
		}
		b = appendNicira(b, nxOutputReg)
		b = binary.BigEndian.AppendUint16(b, ofsBits(a.Src))
		b = binary.BigEndian.AppendUint32(b, src.header)
		b = append(b, 0xff, 0xff, 0, 0, 0, 0, 0, 0)
		b[start+3] = 24
	case flow.OpGoto:
		return b, errGotoLast // the last one is no action here
	case flow.OpGroup:
		if a.Group > flow.MaxGroup {
			return b, errGroupNumber
		}
		b = append(b, 0, actionGroup, 0, 8)
		b = binary.BigEndian.AppendUint32(b, a.Group)
	case flow.OpResubmit:
		if a.Table == anyTable {
			return b, errGotoNumber
		}
		b = appendNicira(b, nxResubmitTable)
		b = binary.BigEndian.AppendUint16(b, portInPort16)
		b = append(b, a.Table, 0, 0, 0)
		b[start+3] = 16
	case flow.OpController:
		return appendController(b, a)
	case flow.OpCheckLarger:
		dst, err := fits(a.Dst)
		if err != nil {
			return b, err
		}
		if a.Dst.N != 1 {
			return b, errOneBit
		}
		b = appendNicira(b, nxCheckPktLarger)
		b = binary.BigEndian.AppendUint16(b, a.MaxLen)
		b = binary.BigEndian.AppendUint16(b, uint16(a.Dst.Ofs))
		b = binary.BigEndian.AppendUint32(b, dst.header)
		b = append(b, 0, 0, 0, 0, 0, 0)
		b[start+3] = 24
	case flow.OpPopVLAN:
		b = append(b, 0, actionPopVLAN, 0, 8, 0, 0, 0, 0)
	default:
		return b, errUnknownAction
	}
	return b, nil
}

// appendController appends a controller action in the form in which Open vSwitch
// reads it back: NXAST_CONTROLLER where that can say it, else NXAST_CONTROLLER2.
func appendController(b []byte, a *flow.Action) ([]byte, error) {
	start := len(b)
	if a.Meter > flow.MaxMeter {
		return b, errMeterNumber
	}
	if a.Meter == 0 && a.UserData == "" {
		b = appendNicira(b, nxController)
		b = binary.BigEndian.AppendUint16(b, a.MaxLen)
		b = binary.BigEndian.AppendUint16(b, a.Controller)
		b = append(b, reasonAction, 0)
		b[start+3] = 16
		return b, nil
	}
	if len(a.UserData) > maxUserData {
		return b, errTooLong
	}
	b = appendNicira(b, nxController2)
	b = append(b, 0, 0, 0, 0, 0, 0)
	if a.MaxLen != flow.WholePacket {
		b = append(b, 0, nxc2MaxLen, 0, 6, byte(a.MaxLen>>8), byte(a.MaxLen), 0, 0)
	}
	if a.Controller != 0 {
		b = append(b, 0, nxc2Controller, 0, 6, byte(a.Controller>>8), byte(a.Controller), 0, 0)
	}
	if a.UserData != "" {
		at := len(b)
		b = append(b, 0, nxc2UserData)
		b = binary.BigEndian.AppendUint16(b, uint16(4+len(a.UserData)))
		b = pad(append(b, a.UserData...), at)
	}
	if a.Meter != 0 {
		b = append(b, 0, nxc2Meter, 0, 8)
		b = binary.BigEndian.AppendUint32(b, a.Meter)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, nil
}

// maxUserData is how much user data an action has room for at most.
const maxUserData = 60_000

// outputMaxLen returns how much of a packet goes to a port: only the
// controller's port knows a limit.
func outputMaxLen(port uint32) uint16 {
	if port == portController {
		return maxLenWhole
	}
	return 0
}

// ofsBits packs a range of at most 64 bits as nicira-ext.h does.
func ofsBits(r flow.Bits) uint16 { return uint16(r.Ofs)<<6 | uint16(r.N-1) }

// appendNicira appends the head of a Nicira action, without its length.
func appendNicira(b []byte, subtype uint8) []byte {
	return append(b, 0xff, 0xff, 0, 0, 0, 0, 0x23, 0x20, 0, subtype)
}
