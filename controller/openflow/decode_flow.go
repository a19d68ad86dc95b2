package openflow

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Stat is one flow of a switch as it was read back.
type Stat struct {
	// Flow is canonical. Of a flow that has an Unknown part its Actions are nil,
	// and so is its Match unless MatchKnown.
	flow.Flow
	Packets  uint64
	Bytes    uint64        // of those packets, from the Ethernet header on
	Duration time.Duration // since the flow was added

	// Unknown says what [flow.Flow] cannot express about this flow, such as
	// an action outside its vocabulary or a timeout; "" if nothing. Such a flow
	// equals no flow that was sent.
	Unknown    string
	MatchKnown bool   // Match is complete although the flow is Unknown
	RawMatch   []byte // of an Unknown flow: its ofp_match with padding, for Mod.RawMatch
	Raw        []byte // of an Unknown flow: its whole ofp_flow_stats
}

// Delete returns the Mod that removes exactly this flow, whether or not it
// could be understood, and only if it still has this cookie.
func (s *Stat) Delete() Mod {
	f := s.Flow
	f.Actions = nil // a deletion has none
	if s.RawMatch != nil {
		f.Match = nil
	}
	e, err := Encode(&f)
	if err != nil {
		// What was decoded can be encoded; a Stat made by hand may be wrong. The
		// zero Encoded makes it a refused change.
		e = ""
	}
	return Mod{Op: DeleteStrict, Flow: e, CookieMask: ^uint64(0), RawMatch: s.RawMatch}
}

// decoder turns wire forms into flows. It keeps scratch space between flows
// and is not safe for concurrent use.
type decoder struct {
	tests   []flow.Test
	actions []flow.Action
	stat    Stat
	entry   Entry
	octets  []byte
}

func newDecoder() *decoder { return &decoder{} }

// splitStats calls fn for each entry in the body of one flow-stats reply. A malformed
// reply is an error; entries before the flaw have been reported.
func splitStats(body []byte, fn func(raw []byte) error) error {
	for c := (cursor{b: body}); c.more(); {
		n := int(cursor{b: c.b}.peek16())
		raw := c.bytes(n)
		if c.err != nil || n < flowStatsLen+8 {
			return fmt.Errorf("openflow: flow-stats reply: an entry of %d octets where %d remain", n, len(c.b))
		}
		if err := fn(raw); err != nil {
			return err
		}
	}
	return nil
}

// flowStats calls fn for each flow in the body of one flow-stats reply.
func (d *decoder) flowStats(body []byte, fn func(*Stat) error) error {
	return splitStats(body, func(raw []byte) error {
		var s Stat
		if err := d.flowStat(raw, &s); err != nil {
			return fmt.Errorf("openflow: flow-stats reply: %w", err)
		}
		return fn(&s)
	})
}

// peek16 returns the first 16 bits, or zero where there are none.
func (c cursor) peek16() uint16 { return c.u16() }

const flowStatsLen = 48 // up to its match

// flowStat reads one ofp_flow_stats (OpenFlow 1.3.5 section 7.3.5.2). Only an
// entry whose frame is broken is an error; what cannot be understood inside
// becomes Unknown.
func (d *decoder) flowStat(raw []byte, s *Stat) error {
	rawMatch, why, err := d.parse(raw, s)
	switch {
	case err != nil:
		return err
	case why != "":
		s.unknown(why, raw, rawMatch)
	default:
		s.Match, s.Actions = keep(s.Match), keep(s.Actions)
	}
	return nil
}

// unknown makes s a flow that cannot be expressed, with copies of all that
// belongs to it.
func (s *Stat) unknown(why string, raw, rawMatch []byte) {
	s.Match, s.Actions = keep(s.Match), nil
	s.Unknown, s.RawMatch, s.Raw = why, bytes.Clone(rawMatch), bytes.Clone(raw)
}

// keep copies what was lent; nothing is nil.
func keep[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// parse reads one ofp_flow_stats. Match and Actions of s are the decoder's and
// lent until it is used again, and so is the match's wire form. The text says
// why the flow cannot be expressed, or is "".
func (d *decoder) parse(raw []byte, s *Stat) (rawMatch []byte, why string, err error) {
	*s = Stat{}
	c := cursor{b: raw}
	c.skip(2)
	s.Table = c.u8()
	c.skip(1)
	sec, nsec := c.u32(), c.u32()
	s.Duration = time.Duration(sec)*time.Second + time.Duration(nsec)
	s.Priority = c.u16()
	idle, hard, flags := c.u16(), c.u16(), c.u16()
	c.skip(4)
	s.Cookie = c.u64()
	s.Packets = c.u64()
	s.Bytes = c.u64()
	rawMatch = matchBytes(&c)
	if c.err != nil {
		return nil, "", c.err
	}
	match, why := d.lentMatch(rawMatch)
	s.Match, s.MatchKnown = match, why == ""
	if why == "" {
		s.Actions, why = d.instructions(c.b)
	}
	switch {
	case why != "":
	case idle != 0 || hard != 0:
		why = fmt.Sprintf("timeouts: idle %d s, hard %d s", idle, hard)
	case flags != 0:
		why = fmt.Sprintf("flags %#x", flags)
	}
	return rawMatch, why, nil
}

// matchBytes takes an ofp_match with its padding off c.
func matchBytes(c *cursor) []byte {
	if len(c.b) < 4 {
		c.fail("a match of %d octets", len(c.b))
		return nil
	}
	n := int(c.b[2])<<8 | int(c.b[3])
	if n < 4 {
		c.fail("a match that says it has %d octets", n)
		return nil
	}
	return c.bytes((n + 7) &^ 7)
}

// match reads an ofp_match as matchBytes returns it. The second result says
// why the match cannot be expressed, or is "".
func (d *decoder) match(raw []byte) (flow.Match, string) {
	m, why := d.lentMatch(raw)
	return keep(m), why
}

// lentMatch is match without a copy.
func (d *decoder) lentMatch(raw []byte) (flow.Match, string) {
	c := cursor{b: raw}
	if t := c.u16(); t != matchOXM {
		return nil, fmt.Sprintf("match of type %d", t)
	}
	n := int(c.u16())
	if n < 4 || n > len(raw) {
		return nil, "match is truncated"
	}
	return d.lentTests(raw[4:n])
}

// lentTests reads a list of OXM fields as a match, which is lent.
func (d *decoder) lentTests(raw []byte) (flow.Match, string) {
	d.tests = d.tests[:0]
	sorted := true
	for c := (cursor{b: raw}); c.more(); {
		f, value, mask, why := readOXM(&c)
		if why != "" {
			return nil, why
		}
		if wide(f) {
			return nil, "match on " + f.String() + ", a wide register"
		}
		if value.And(mask) != value {
			return nil, "match on " + f.String() + " has a value outside its mask"
		}
		if n := len(d.tests); n > 0 && d.tests[n-1].Field >= f {
			sorted = false
		}
		d.tests = append(d.tests, flow.Test{Field: f, Value: value, Mask: mask})
	}
	tests := flow.Match(d.tests)
	if sorted {
		return tests, ""
	}
	tests = tests.Canonical()
	for i := 1; i < len(tests); i++ {
		if tests[i].Field == tests[i-1].Field {
			return nil, "match has " + tests[i].Field.String() + " twice"
		}
	}
	return tests, ""
}

// fieldOf returns the field that an OXM header names: [flow.FieldByOXM], but
// without a search, since each flow read back asks for a dozen.
func fieldOf(header uint32) (flow.Field, bool) {
	class := header >> 16
	at := class>>15<<1 | class&1
	switch {
	case class == 0x1000: // Ericsson's, which Open vSwitch knows
		at = 4
	case class&^0x8001 != 0:
		return 0, false
	}
	f := byOXM[at][header>>9&0x7f]
	return f - 1, f != 0
}

// byOXM has, for the classes 0, 1, 0x8000, 0x8001 and 0x1000, each number's
// field + 1.
var byOXM = func() (t [5][128]flow.Field) {
	for i, class := range [...]uint16{0, 1, 0x8000, 0x8001, 0x1000} {
		for number := range uint8(128) {
			if f, ok := flow.FieldByOXM(class, number); ok {
				t[i][number] = f + 1
			}
		}
	}
	return t
}()

// readOXM reads one OXM entry. The mask of an exact match is that of the whole
// field; the value may have bits outside the mask.
func readOXM(c *cursor) (f flow.Field, value, mask flow.Value, why string) {
	header := c.u32()
	payload := c.bytes(int(header & 0xff))
	if c.err != nil {
		return 0, value, mask, "an OXM field is truncated"
	}
	f, ok := fieldOf(header)
	if !ok {
		return 0, value, mask, fmt.Sprintf("OXM field %d of class %#x", header>>9&0x7f, header>>16)
	}
	o := &oxms[f]
	masked := header&0x100 != 0
	want := int(o.length)
	if masked {
		want *= 2
	}
	if len(payload) != want {
		return 0, value, mask, fmt.Sprintf("field %s in %d octets", f, len(payload))
	}
	value, mask = flow.FromBytes(payload[:o.length]), o.ones
	if masked {
		mask = flow.FromBytes(payload[o.length:])
	}
	if mask.IsZero() || mask.And(o.ones) != mask || value.And(o.ones) != value {
		return 0, value, mask, fmt.Sprintf("field %s with value %v and mask %v", f, value, mask)
	}
	return f, value, mask, ""
}

// instructions reads the instructions of a flow: at most one apply-actions and
// one goto. What it returns is lent.
func (d *decoder) instructions(raw []byte) ([]flow.Action, string) {
	d.actions = d.actions[:0]
	var applied bool
	for c := (cursor{b: raw}); c.more(); {
		kind, n := c.u16(), int(c.u16())
		body := c.sub(n - 4)
		if c.err != nil || n < 8 || n&7 != 0 {
			return nil, "an instruction is malformed"
		}
		if len(d.actions) > 0 && d.actions[len(d.actions)-1].Op == flow.OpGoto {
			return nil, fmt.Sprintf("instruction %d after goto", kind)
		}
		switch {
		case kind == instructionApply && !applied:
			applied = true
			body.skip(4)
			if why := d.applied(&body); why != "" {
				return nil, why
			}
		case kind == instructionGoto && n == 8:
			next := body.u8()
			if next == noGoto {
				return nil, "goto table 255"
			}
			d.actions = append(d.actions, flow.Goto(next))
		default:
			return nil, fmt.Sprintf("instruction %d", kind)
		}
	}
	return d.actions, ""
}
