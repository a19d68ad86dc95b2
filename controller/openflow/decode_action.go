package openflow

import (
	"fmt"
	"math/bits"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// applied reads a list of actions into the scratch space.
func (d *decoder) applied(c *cursor) string {
	for c.more() {
		kind, n := c.u16(), int(c.u16())
		body := c.sub(n - 4)
		if c.err != nil || n < 8 || n&7 != 0 {
			return "an action is malformed"
		}
		var a flow.Action
		var why string
		switch kind {
		case actionOutput:
			a = flow.Output(body.u32())
			if max := body.u16(); a.Port == portController && max != maxLenWhole {
				why = fmt.Sprintf("output to the controller cut at %d octets", max)
			}
		case actionDecTTL:
			a = flow.DecTTL()
		case actionPopVLAN:
			a = flow.PopVLAN()
		case actionGroup:
			if a = flow.ToGroup(body.u32()); a.Group > flow.MaxGroup {
				why = fmt.Sprintf("group %#x", a.Group)
			}
		case actionSetField:
			a, why = readSet(&body)
		case actionExperimenter:
			a, why = readExperimenter(&body)
		default:
			why = fmt.Sprintf("action %d", kind)
		}
		if why == "" && body.err != nil {
			why = fmt.Sprintf("action %d is truncated", kind)
		}
		if why != "" {
			return why
		}
		d.actions = append(d.actions, a)
	}
	return ""
}

// readSet reads the OXM entry of a set_field or NXAST_REG_LOAD2. Its mask must
// be one run of bits.
func readSet(c *cursor) (flow.Action, string) {
	f, value, mask, why := readOXM(c)
	if why != "" {
		return flow.Action{}, "set: " + why
	}
	ofs := trailingZeros(mask)
	n := onesCount(mask)
	if mask.Shr(ofs) != flow.Ones(n) {
		return flow.Action{}, fmt.Sprintf("set of %s under the mask %v", f, mask)
	}
	r := flow.Bits{Field: f, Ofs: uint8(ofs), N: uint8(n)}
	return flow.Set(r, value.And(mask).Shr(ofs)), ""
}

// readExperimenter reads an experimenter's action behind its type and length.
func readExperimenter(c *cursor) (flow.Action, string) {
	who, subtype := c.u32(), c.u16()
	if who == experimenterONF && subtype == onfCopyField {
		c.skip(2)
		return readMove(c, 2)
	}
	if who != experimenterNicira {
		return flow.Action{}, fmt.Sprintf("action %d of experimenter %#x", subtype, who)
	}
	switch subtype {
	case nxRegMove:
		return readMove(c, 0)
	case nxRegLoad:
		packed := c.u16()
		dst, why := bitsOf(c.u32(), packed>>6, packed&63+1)
		value := flow.Uint(c.u64())
		if why != "" {
			return flow.Action{}, "load: " + why
		}
		if value.And(flow.Ones(int(dst.N))) != value {
			return flow.Action{}, "load: a value wider than its bits"
		}
		return flow.Set(dst, value), ""
	case nxOutputReg:
		packed := c.u16()
		src, why := bitsOf(c.u32(), packed>>6, packed&63+1)
		if why != "" {
			return flow.Action{}, "output to register: " + why
		}
		if src.N > 32 {
			return flow.Action{}, fmt.Sprintf("output to %d bits", src.N)
		}
		if max := c.u16(); max != maxLenWhole {
			return flow.Action{}, fmt.Sprintf("output to register cut at %d octets", max)
		}
		return flow.OutputReg(src), ""
	case nxRegLoad2:
		return readSet(c)
	case nxResubmitTable:
		if port := c.u16(); port != portInPort16 {
			return flow.Action{}, fmt.Sprintf("resubmit as from port %d", port)
		}
		a := flow.Resubmit(c.u8())
		if a.Table == anyTable {
			return flow.Action{}, "resubmit to the same table"
		}
		return a, ""
	case nxController:
		a := flow.Action{Op: flow.OpController, MaxLen: c.u16(), Controller: c.u16()}
		if reason := c.u8(); reason != reasonAction {
			return flow.Action{}, fmt.Sprintf("controller with reason %d", reason)
		}
		return a, ""
	case nxController2:
		return readController(c)
	case nxCheckPktLarger:
		n, ofs := c.u16(), c.u16()
		dst, why := bitsOf(c.u32(), ofs, 1)
		if why != "" {
			return flow.Action{}, "check_pkt_larger: " + why
		}
		return flow.CheckLarger(n, dst), ""
	}
	return flow.Action{}, fmt.Sprintf("Nicira action %d", subtype)
}

// readController reads the properties of NXAST_CONTROLLER2.
func readController(c *cursor) (flow.Action, string) {
	c.skip(6)
	a := flow.ToController(0, 0)
	for c.more() {
		kind, n := c.u16(), int(c.u16())
		prop := c.sub(n - 4)
		if c.err != nil {
			return flow.Action{}, "controller: a property is truncated"
		}
		c.skip(min(-n&7, len(c.b)))
		switch kind {
		case nxc2MaxLen:
			a.MaxLen = prop.u16()
		case nxc2Controller:
			a.Controller = prop.u16()
		case nxc2UserData:
			a.UserData, prop.b = string(prop.b), nil
		case nxc2Meter:
			if a.Meter = prop.u32(); a.Meter == 0 || a.Meter > flow.MaxMeter {
				return flow.Action{}, fmt.Sprintf("controller with meter %#x", a.Meter)
			}
		default:
			return flow.Action{}, fmt.Sprintf("controller with property %d", kind)
		}
		if prop.err != nil || len(prop.b) > 3 {
			return flow.Action{}, fmt.Sprintf("controller: property %d has %d octets", kind, n)
		}
	}
	if len(a.UserData) > maxUserData {
		return flow.Action{}, "controller with too much user data"
	}
	return a, ""
}

// readMove reads what a move copies; pad octets separate offsets and fields.
func readMove(c *cursor, pad int) (flow.Action, string) {
	n, srcOfs, dstOfs := c.u16(), c.u16(), c.u16()
	c.skip(pad)
	src, why := bitsOf(c.u32(), srcOfs, n)
	if why != "" {
		return flow.Action{}, "move from " + why
	}
	dst, why := bitsOf(c.u32(), dstOfs, n)
	if why != "" {
		return flow.Action{}, "move to " + why
	}
	return flow.Move(src, dst), ""
}

// bitsOf returns the n bits from ofs of the field with an OXM header.
func bitsOf(header uint32, ofs, n uint16) (flow.Bits, string) {
	f, ok := fieldOf(header)
	if !ok || header&0x1ff != uint32(oxms[f].length) {
		return flow.Bits{}, fmt.Sprintf("OXM header %#08x", header)
	}
	if n == 0 || int(ofs)+int(n) > int(oxms[f].bits) {
		return flow.Bits{}, fmt.Sprintf("bits %d+%d of %s", ofs, n, f)
	}
	return flow.Bits{Field: f, Ofs: uint8(ofs), N: uint8(n)}, ""
}

// trailingZeros counts the zero bits below the lowest one bit of v, which is
// not zero.
func trailingZeros(v flow.Value) int {
	if v.Lo != 0 {
		return bits.TrailingZeros64(v.Lo)
	}
	return 64 + bits.TrailingZeros64(v.Hi)
}

func onesCount(v flow.Value) int { return bits.OnesCount64(v.Hi) + bits.OnesCount64(v.Lo) }
