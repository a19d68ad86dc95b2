package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Op says what a [Mod] does with its flow.
type Op uint8

// The operations.
const (
	// Add puts the flow in its table; it replaces a flow of the same table,
	// priority and match, whose counters start again.
	Add Op = iota + 1
	// ModifyStrict gives the flow of this table, priority and match new
	// actions and keeps its counters and its cookie. Where there is no such
	// flow nothing happens.
	ModifyStrict
	// DeleteStrict removes the flow of this table, priority and match. Where
	// there is none nothing happens.
	DeleteStrict
)

// String returns the operation's name.
func (o Op) String() string {
	switch o {
	case Add:
		return "add"
	case ModifyStrict:
		return "modify"
	case DeleteStrict:
		return "delete"
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// Mod is one change of a switch's tables. Groups are added, which replaces, or
// deleted; a meter that is there is modified, and meters cannot be in bundles:
// they are changed by [Session.Load]. The cookie's mask and the raw match are for
// flows.
type Mod struct {
	Op   Op
	Flow Encoded // or a group or a meter; of DeleteStrict only the entry and the cookie count

	// CookieMask restricts ModifyStrict and DeleteStrict to a flow whose cookie
	// equals Flow's under it; 0 takes any. It protects the flow of another
	// controller that has taken the same place. Add ignores it.
	CookieMask uint64

	// HardTimeout is after how many seconds the switch removes the flow that Add
	// puts there, whoever is left to do so; 0: never.
	HardTimeout uint16

	// RawMatch, if not nil, is sent in place of Flow's match: an ofp_match with
	// its padding, as in [Stat.RawMatch], of a flow that the vocabulary of
	// [flow.Flow] cannot express.
	RawMatch []byte
}

// oxm is what the encoder needs of a field.
type oxm struct {
	header uint32 // unmasked, OpenFlow 1.3.5 section 7.2.3.2
	length uint8  // octets of the value
	bits   uint8
	ones   flow.Value // the mask of an exact match
}

func (o *oxm) masked() uint32 { return o.header&^0xff | 1<<8 | uint32(2*o.length) }

var oxms = func() (t [flow.NumFields]oxm) {
	for f := range flow.NumFields {
		i := f.Info()
		t[f] = oxm{i.Header(false), uint8(i.Len), uint8(i.Bits), flow.Ones(i.Bits)}
	}
	return t
}()

// The errors of flows that cannot be encoded. They are the caller's mistakes.
var (
	errUnknownOp     = errors.New("unknown operation")
	errUnknownField  = errors.New("unknown field")
	errBadTest       = errors.New("a match's mask is zero or wider than its field, or its value has bits outside the mask")
	errWideMatch     = errors.New("a match names a 64- or 128-bit register: it must name the 32-bit ones inside")
	errUnknownAction = errors.New("unknown action")
	errBadBits       = errors.New("an action names bits that its field has not")
	errBadValue      = errors.New("a value is wider than the bits it is written to")
	errMoveWidth     = errors.New("a move's two ends differ in width")
	errGotoLast      = errors.New("goto must come last")
	errOneBit        = errors.New("the result of check_pkt_larger wants one bit")
	errGroupNumber   = errors.New("a group's number is greater than 0xffffff00")
	errMeterNumber   = errors.New("a meter's number is greater than 0xffff0000")
	errRawMatch      = errors.New("a raw match is malformed")
	errTooLong       = errors.New("the flow exceeds an OpenFlow message of 65,535 octets")
)

// appendBundleAdd appends a bundle-add message (EXT-230) that carries m. Both
// headers have the same xid, as the extension demands.
func appendBundleAdd(b []byte, xid, bundle uint32, m *Mod) ([]byte, error) {
	start := len(b)
	if m.Flow.Kind() == KindMeter {
		return b, errBundledMeter
	}
	b = append(b, version13, typeExperimenter, 0, 0)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint32(b, experimenterONF)
	b = binary.BigEndian.AppendUint32(b, onfBundleAdd)
	b = binary.BigEndian.AppendUint32(b, bundle)
	b = append(b, 0, 0, 0, bundleAtomic|bundleOrdered)
	b, err := appendMod(b, xid, m)
	if err != nil {
		return b[:start], err
	}
	n := len(b) - start
	if n > maxLen {
		return b[:start], errTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}

// appendBundleControl appends a request about a whole bundle (EXT-230).
func appendBundleControl(b []byte, xid, bundle uint32, kind uint16) []byte {
	b = append(b, version13, typeExperimenter, 0, headerLen+16)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint32(b, experimenterONF)
	b = binary.BigEndian.AppendUint32(b, onfBundleControl)
	b = binary.BigEndian.AppendUint32(b, bundle)
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(b, 0, bundleAtomic|bundleOrdered)
}

var errBundledMeter = errors.New("a meter in a bundle, which Open vSwitch does not take")

// appendMod appends the message that makes a change.
func appendMod(b []byte, xid uint32, m *Mod) ([]byte, error) {
	switch m.Flow.Kind() {
	case KindGroup:
		return appendGroupMod(b, xid, m)
	case KindMeter:
		return appendMeterMod(b, xid, m)
	}
	return appendFlowMod(b, xid, m)
}

// appendFlowMod appends a flow-mod (OpenFlow 1.3.5 section 7.3.4.1) without
// idle timeout and flags. On an error it returns b as it was.
func appendFlowMod(b []byte, xid uint32, m *Mod) ([]byte, error) {
	start := len(b)
	p, ok := m.Flow.parts()
	if !ok {
		return b, errEncoded
	}
	var command uint8
	mask := m.CookieMask
	switch m.Op {
	case Add:
		command, mask = commandAdd, 0
	case ModifyStrict:
		command = commandModifyStrict
	case DeleteStrict:
		command = commandDeleteStrict
	default:
		return b, errUnknownOp
	}
	b = append(b, version13, typeFlowMod, 0, 0)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint64(b, p.cookie)
	b = binary.BigEndian.AppendUint64(b, mask)
	b = append(b, m.Flow.Table(), command, 0, 0)
	b = binary.BigEndian.AppendUint16(b, m.HardTimeout)
	b = binary.BigEndian.AppendUint16(b, m.Flow.Priority())
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = binary.BigEndian.AppendUint32(b, anyGroup)
	b = append(b, 0, 0, 0, 0)

	if m.RawMatch != nil {
		var err error
		if b, err = appendRawMatch(b, m.RawMatch); err != nil {
			return b[:start], err
		}
	} else {
		at := len(b)
		b = append(b, 0, matchOXM)
		b = binary.BigEndian.AppendUint16(b, uint16(4+len(p.match)))
		b = pad(append(b, p.match...), at)
	}
	if m.Op != DeleteStrict {
		// A flow without instructions drops.
		if p.actions != "" {
			b = append(b, 0, instructionApply)
			b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.actions)))
			b = append(b, 0, 0, 0, 0)
			b = append(b, p.actions...)
		}
		if p.next != noGoto {
			b = append(b, 0, instructionGoto, 0, 8, p.next, 0, 0, 0)
		}
	}
	n := len(b) - start
	if n > maxLen {
		return b[:start], errTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	return b, nil
}

var zeros [8]byte

// pad appends zeros until what follows start is a multiple of 8 octets.
func pad(b []byte, start int) []byte { return append(b, zeros[:-(len(b)-start)&7]...) }

// appendTests appends the OXM fields of a match (OpenFlow 1.3.5 section 7.2.3.2).
func appendTests(b []byte, m flow.Match) ([]byte, error) {
	for i := range m {
		t := &m[i]
		if t.Field >= flow.NumFields {
			return b, errUnknownField
		}
		if wide(t.Field) {
			return b, errWideMatch
		}
		o := &oxms[t.Field]
		switch {
		case t.Mask == o.ones:
			b = appendValue(binary.BigEndian.AppendUint32(b, o.header), t.Value, o.length)
		case t.Mask.IsZero() || t.Mask.And(o.ones) != t.Mask:
			return b, errBadTest
		default:
			b = appendValue(binary.BigEndian.AppendUint32(b, o.masked()), t.Value, o.length)
			b = appendValue(b, t.Mask, o.length)
		}
		if t.Value.And(t.Mask) != t.Value {
			return b, errBadTest
		}
	}
	return b, nil
}

// appendRawMatch appends an ofp_match that came from a switch.
func appendRawMatch(b, raw []byte) ([]byte, error) {
	if len(raw) < 8 || len(raw)&7 != 0 {
		return b, errRawMatch
	}
	if n := int(binary.BigEndian.Uint16(raw[2:])); n < 4 || (n+7)&^7 != len(raw) {
		return b, errRawMatch
	}
	return append(b, raw...), nil
}

// wide reports whether f is a 64- or 128-bit register, which no match names; see
// the package's documentation.
func wide(f flow.Field) bool { return f >= flow.XReg0 && f <= flow.XXReg3 }

// fits returns the field of bits that exist, or an error.
func fits(r flow.Bits) (*oxm, error) {
	if r.Field >= flow.NumFields {
		return nil, errUnknownField
	}
	o := &oxms[r.Field]
	if r.N == 0 || int(r.Ofs)+int(r.N) > int(o.bits) {
		return nil, errBadBits
	}
	return o, nil
}

// appendValue appends the low n octets of v, big-endian.
func appendValue(b []byte, v flow.Value, n uint8) []byte {
	switch n {
	case 1:
		return append(b, byte(v.Lo))
	case 2:
		return binary.BigEndian.AppendUint16(b, uint16(v.Lo))
	case 4:
		return binary.BigEndian.AppendUint32(b, uint32(v.Lo))
	case 6:
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(v.Lo>>32)), uint32(v.Lo))
	case 8:
		return binary.BigEndian.AppendUint64(b, v.Lo)
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, v.Hi), v.Lo)
}
