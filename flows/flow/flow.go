// Package flow represents OpenFlow flows as data: what a flow matches and what
// it does, independent of any encoding. It can be rendered as the text that
// ovs-ofctl accepts, compared, and interpreted.
package flow

import (
	"cmp"
	"slices"
)

// Flow is one entry of a flow table (OpenFlow 1.3.5 section 5.2). The cookie
// names its owner.
type Flow struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Match    Match
	Actions  []Action // empty: drop
}

// Match is a conjunction of tests, at most one for each field, in the order of
// [Field]. An empty match takes every packet.
type Match []Test

// Test demands that Field, under Mask, equals Value. The mask is all ones of
// the field's width for an exact match and never zero; Value has no bit
// outside Mask.
type Test struct {
	Field Field
	Value Value
	Mask  Value
}

// Exact tests a whole field.
func Exact(f Field, v Value) Test { return Test{f, v, Ones(f.Info().Bits)} }

// Masked tests the bits of a field that are set in mask.
func Masked(f Field, v, mask Value) Test { return Test{f, v.And(mask), mask} }

// IsExact reports whether the test covers the whole field.
func (t Test) IsExact() bool { return t.Mask == Ones(t.Field.Info().Bits) }

// Find returns the test of field f.
func (m Match) Find(f Field) (Test, bool) {
	for _, t := range m {
		if t.Field == f {
			return t, true
		}
	}
	return Test{}, false
}

// Canonical sorts the tests by field, in place, and returns m.
func (m Match) Canonical() Match {
	slices.SortFunc(m, func(a, b Test) int { return cmp.Compare(a.Field, b.Field) })
	return m
}

// Op is the kind of an action.
type Op uint8

// The actions that the pipeline uses. Each names the members of [Action] that
// it reads.
const (
	// OpSet writes the constant Value to Dst (NXAST_REG_LOAD2 or set_field).
	OpSet Op = iota + 1
	// OpMove copies Src to Dst, which have the same width (NXAST_REG_MOVE).
	OpMove
	// OpDecTTL decrements the TTL or hop limit (OFPAT_DEC_NW_TTL).
	OpDecTTL
	// OpOutput sends the packet to Port (OFPAT_OUTPUT).
	OpOutput
	// OpOutputReg sends the packet to the port whose number is in Src (NXAST_OUTPUT_REG).
	OpOutputReg
	// OpGoto continues in table Table, whose number is greater than the flow's
	// own (OFPIT_GOTO_TABLE). It comes last.
	OpGoto
	// OpGroup does the buckets of group Group (OFPAT_GROUP): see [Group].
	OpGroup
	// OpResubmit looks the packet up in table Table as well, and then goes on
	// (NXAST_RESUBMIT_TABLE). It is for the buckets of groups, which cannot go to
	// a table; the table's number is greater than that of the flow that names
	// the group.
	OpResubmit
	// OpController sends MaxLen octets of the packet or, as Open vSwitch does since
	// it has no buffers (2.7), more of them to the controllers
	// whose number is Controller, with UserData, as far as meter Meter lets it
	// through (NXAST_CONTROLLER2). The packet goes on unchanged.
	OpController
	// OpCheckLarger sets the one bit Dst to whether the frame, from its Ethernet
	// header on, has more than MaxLen octets (NXAST_CHECK_PKT_LARGER).
	OpCheckLarger
	// OpPopVLAN takes the outermost 802.1Q tag off (OFPAT_POP_VLAN).
	OpPopVLAN

	numOps
)

// Known reports whether o is one of the actions.
func (o Op) Known() bool { return o >= OpSet && o < numOps }

// Special port numbers (OpenFlow 1.3.5 section 7.2.1; ovs-fields(7), in_port:
// Open vSwitch numbers its ports in 16 bits, as OpenFlow 1.0 does).
const (
	PortInPort = 0xfffffff8 // back where the packet came from
	PortTable  = 0xfffffff9 // of a packet-out only: the first table
	PortMax    = 0xfeff     // the greatest number of a real port
)

// Bits is a range of bits of a field: N bits from bit Ofs, counted from the
// least significant.
type Bits struct {
	Field Field
	Ofs   uint8
	N     uint8
}

// All returns all bits of f.
func All(f Field) Bits { return Bits{f, 0, uint8(f.Info().Bits)} }

// IsAll reports whether b covers the whole field.
func (b Bits) IsAll() bool { return b.Ofs == 0 && int(b.N) == b.Field.Info().Bits }

// Mask returns the bits of b set, in the place they have in the field.
func (b Bits) Mask() Value { return Ones(int(b.N)).Shl(int(b.Ofs)) }

// Action is one step of what a flow does. Which members count depends on Op.
type Action struct {
	Op    Op
	Table uint8
	Dst   Bits
	Src   Bits
	Port  uint32
	Value Value // right-aligned: bit 0 of Value goes to bit Dst.Ofs of the field

	Group      uint32
	Meter      uint32 // 0: none
	MaxLen     uint16 // octets
	Controller uint16 // as NXT_SET_CONTROLLER_ID gives it to a connection
	UserData   string // octets, at most some 60,000
}

// WholePacket is the MaxLen of an [OpController] that sends packets uncut.
const WholePacket = 0xffff

// Set returns the action that writes v to b.
func Set(b Bits, v Value) Action { return Action{Op: OpSet, Dst: b, Value: v} }

// Move returns the action that copies src to dst, which must be equally wide.
func Move(src, dst Bits) Action { return Action{Op: OpMove, Src: src, Dst: dst} }

// DecTTL returns the action that decrements the TTL.
func DecTTL() Action { return Action{Op: OpDecTTL} }

// Output returns the action that sends the packet to a port.
func Output(port uint32) Action { return Action{Op: OpOutput, Port: port} }

// OutputReg returns the action that sends the packet to the port whose number
// is in src.
func OutputReg(src Bits) Action { return Action{Op: OpOutputReg, Src: src} }

// Goto returns the action that continues in a later table.
func Goto(table uint8) Action { return Action{Op: OpGoto, Table: table} }

// ToGroup returns the action that does the buckets of a group.
func ToGroup(id uint32) Action { return Action{Op: OpGroup, Group: id} }

// Resubmit returns the action that looks the packet up in a later table, for a
// bucket.
func Resubmit(table uint8) Action { return Action{Op: OpResubmit, Table: table} }

// ToController returns the action that sends whole packets to the controllers of
// that number, metered where meter is not 0.
func ToController(controller uint16, meter uint32) Action {
	return Action{Op: OpController, MaxLen: WholePacket, Controller: controller, Meter: meter}
}

// CheckLarger returns the action that sets the bit dst to whether the frame has
// more than that many octets.
func CheckLarger(octets uint16, dst Bits) Action {
	return Action{Op: OpCheckLarger, MaxLen: octets, Dst: dst}
}

// PopVLAN returns the action that takes the outermost tag off.
func PopVLAN() Action { return Action{Op: OpPopVLAN} }

// Equal reports whether two flows are the same in every respect. Both must be
// canonical.
func (f *Flow) Equal(g *Flow) bool {
	return f.Cookie == g.Cookie && f.Table == g.Table && f.Priority == g.Priority &&
		slices.Equal(f.Match, g.Match) && slices.Equal(f.Actions, g.Actions)
}

// SameEntry reports whether two flows are the same entry of a table: equal
// table, priority and match (OpenFlow 1.3.5 section 6.4). Both must be canonical.
func (f *Flow) SameEntry(g *Flow) bool {
	return f.Table == g.Table && f.Priority == g.Priority && slices.Equal(f.Match, g.Match)
}

// Compare orders flows as a reader wants them: by table, falling priority, then
// match.
func Compare(f, g *Flow) int {
	if c := cmp.Or(cmp.Compare(f.Table, g.Table), cmp.Compare(g.Priority, f.Priority)); c != 0 {
		return c
	}
	return slices.CompareFunc(f.Match, g.Match, func(a, b Test) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Value.Hi, b.Value.Hi), cmp.Compare(a.Value.Lo, b.Value.Lo),
			cmp.Compare(a.Mask.Hi, b.Mask.Hi), cmp.Compare(a.Mask.Lo, b.Mask.Lo))
	})
}
