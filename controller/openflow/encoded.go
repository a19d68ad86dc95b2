package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Encoded is one entry of what a switch holds, a flow or, by [EncodeGroup] and
// [EncodeMeter], a group or a meter. A flow is in the octets that a flow-mod carries for it, without
// those that are the same in every flow-mod. It is canonical: two flows are
// equal if and only if their Encoded are. The zero Encoded is no flow.
//
// It is what is compared, kept and sent, so a flow is encoded once for all
// switches. Equal also means that what a switch reports of a flow, once encoded
// again, equals what was sent.
//
//	octets   what
//	1        table
//	2        65535 - priority, big-endian, so that greater priorities come first
//	2        length of the match, big-endian
//	…        match: OXM fields (OpenFlow 1.3.5 section 7.2.3.2) in the order of [flow.Field]
//	8        cookie, big-endian
//	1        goto's table; 255 where there is no goto
//	…        actions (section 7.2.5)
//
// All up to the match says which entry of a table the flow is.
type Encoded string

const (
	encodedHead = 5 // up to the match
	encodedTail = 9 // between match and actions
	noGoto      = 255
)

var (
	errEncoded    = errors.New("no flow, or not one that Encode made")
	errTwice      = errors.New("a match has a field twice")
	errTable255   = errors.New("there is no table 255")
	errGotoNumber = errors.New("there is no table 255 to go to")
)

// Encode returns f in encoded form. The order of its match does not matter.
// Where f breaks a rule of [flow.Flow] the error says which.
func Encode(f *flow.Flow) (Encoded, error) {
	var room [384]byte
	b, err := appendEncoded(room[:0], f)
	if err != nil {
		return "", fmt.Errorf("openflow: encoding %s: %w", textOf(f), err)
	}
	return Encoded(b), nil
}

// textOf is Text for flows that may be broken.
func textOf(f *flow.Flow) string {
	for _, t := range f.Match {
		if t.Field >= flow.NumFields {
			return fmt.Sprintf("a flow of table %d", f.Table)
		}
	}
	for _, a := range f.Actions {
		if !a.Op.Known() || a.Src.Field >= flow.NumFields || a.Dst.Field >= flow.NumFields {
			return fmt.Sprintf("a flow of table %d", f.Table)
		}
	}
	return f.Text()
}

// appendEncoded appends what Encode returns. On an error it returns b as it was.
func appendEncoded(b []byte, f *flow.Flow) ([]byte, error) {
	start := len(b)
	if f.Table == anyTable {
		return b, errTable255
	}
	b = append(b, f.Table)
	b = binary.BigEndian.AppendUint16(b, ^f.Priority)
	b = append(b, 0, 0)
	m := f.Match
	for i := 1; i < len(m); i++ {
		if m[i].Field <= m[i-1].Field {
			m = slices.Clone(m).Canonical()
			break
		}
	}
	for i := 1; i < len(m); i++ {
		if m[i].Field == m[i-1].Field {
			return b[:start], errTwice
		}
	}
	b, err := appendTests(b, m)
	if err != nil {
		return b[:start], err
	}
	n := len(b) - start - encodedHead
	binary.BigEndian.PutUint16(b[start+3:], uint16(min(n, maxLen)))
	b = binary.BigEndian.AppendUint64(b, f.Cookie)
	actions, next := f.Actions, uint8(noGoto)
	if last := len(actions) - 1; last >= 0 && actions[last].Op == flow.OpGoto {
		if next = actions[last].Table; next == noGoto {
			return b[:start], errGotoNumber
		}
		actions = actions[:last]
	}
	b = append(b, next)
	if b, err = appendActions(b, actions); err != nil {
		return b[:start], err
	}
	// The greatest message that may carry it is that of a bundle.
	if bundleAddLen+flowModLen+8+7+8+8+len(b)-start-encodedHead-encodedTail > maxLen {
		return b[:start], errTooLong
	}
	return b, nil
}

// parts are the variable parts of an Encoded.
type encodedParts struct {
	match, actions string
	cookie         uint64
	next           uint8
}

// parts takes e apart; false where it is malformed.
func (e Encoded) parts() (p encodedParts, ok bool) {
	n := e.entryLen()
	if n == 0 || len(e) < n+encodedTail {
		return p, false
	}
	p.match, p.cookie, p.next, p.actions = string(e[encodedHead:n]), uint64At(e[n:]), e[n+8], string(e[n+encodedTail:])
	return p, true
}

// entryLen returns the length of the part that says which entry e is, 0 where e
// is malformed.
func (e Encoded) entryLen() int {
	if len(e) < encodedHead {
		return 0
	}
	n := encodedHead + int(e[3])<<8 + int(e[4])
	if len(e) < n {
		return 0
	}
	return n
}

func uint64At(s Encoded) uint64 {
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}

// Decode returns the flow; its match is canonical. What [Encode] did not make
// gives an error or some flow.
func (e Encoded) Decode() (flow.Flow, error) {
	p, ok := e.parts()
	if !ok || e.Kind() != KindFlow {
		return flow.Flow{}, fmt.Errorf("openflow: decoding %d octets: %w", len(e), errEncoded)
	}
	d := newDecoder()
	f := flow.Flow{Table: e.Table(), Priority: e.Priority(), Cookie: p.cookie}
	tests, why := d.lentTests([]byte(p.match))
	if why == "" {
		d.actions = d.actions[:0]
		c := cursor{b: []byte(p.actions)}
		why = d.applied(&c)
	}
	if why != "" {
		return flow.Flow{}, fmt.Errorf("openflow: decoding a flow of table %d: %s", f.Table, why)
	}
	if p.next != noGoto {
		d.actions = append(d.actions, flow.Goto(p.next))
	}
	if len(tests) > 0 {
		f.Match = tests
	}
	if len(d.actions) > 0 {
		f.Actions = d.actions
	}
	return f, nil
}

// Text returns the flow in the syntax of ovs-ofctl, for messages.
func (e Encoded) Text() string {
	switch e.Kind() {
	case KindGroup:
		if g, err := e.Group(); err == nil {
			return g.Text()
		}
		return fmt.Sprintf("group_id=%d, which is not of ours", e.Number())
	case KindMeter:
		if m, err := e.Meter(); err == nil {
			return m.Text()
		}
		return fmt.Sprintf("meter=%d, which is not of ours", e.Number())
	}
	f, err := e.Decode()
	if err != nil {
		return fmt.Sprintf("malformed flow %x", string(e))
	}
	return f.Text()
}

// Table returns the flow's table. It must be a flow, as for Priority and Cookie.
func (e Encoded) Table() uint8 { return e[0] }

// Priority returns the flow's priority.
func (e Encoded) Priority() uint16 { return ^(uint16(e[1])<<8 | uint16(e[2])) }

// Cookie returns the flow's cookie.
func (e Encoded) Cookie() uint64 { return uint64At(e[e.entryLen():]) }

// Drops reports whether the flow has neither actions nor a goto.
func (e Encoded) Drops() bool {
	p, ok := e.parts()
	return ok && p.next == noGoto && p.actions == ""
}

// Entry returns the part of e that says which entry it is: table, priority and
// match (OpenFlow 1.3.5 section 6.4). It shares e's memory.
func (e Encoded) Entry() string { return string(e[:e.entryLen()]) }

// SameEntry reports whether two flows are the same entry of a table, of which
// it can hold one.
func (e Encoded) SameEntry(f Encoded) bool { return e.Entry() == f.Entry() }

// Compare orders entries: by table, falling priority, then the octets of the
// match, shorter matches first. It returns 0 if and only if both are the same entry.
func (e Encoded) Compare(f Encoded) int { return strings.Compare(e.Entry(), f.Entry()) }
