package openflow

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Entry is one flow of a switch as [Session.ReadEncoded] reports it.
type Entry struct {
	Octets   []byte        // of an [Encoded], lent until the callback returns; nil where Odd is not
	Duration time.Duration // since the flow was added
	Odd      *Stat         // a flow that an Encoded cannot express; it may be kept
}

// Key is [Encoded.Entry] of Octets. It is lent like them.
func (e *Entry) Key() []byte { return e.Octets[:encodedHead+int(e.Octets[3])<<8+int(e.Octets[4])] }

// Kind returns what it is an entry of.
func (e *Entry) Kind() EntryKind {
	if e.Odd != nil {
		return KindFlow
	}
	return kindOf(e.Octets)
}

// Cookie returns the flow's cookie, whether or not it is odd.
func (e *Entry) Cookie() uint64 {
	if e.Odd != nil {
		return e.Odd.Cookie
	}
	return binary.BigEndian.Uint64(e.Octets[len(e.Key()):])
}

// entries calls fn for each flow in the body of one flow-stats reply. What fn is
// given is lent.
func (d *decoder) entries(body []byte, fn func(*Entry) error) error {
	return splitStats(body, func(raw []byte) error {
		e := &d.entry
		if err := d.encode(raw, e); err != nil {
			return fmt.Errorf("openflow: flow-stats reply: %w", err)
		}
		return fn(e)
	})
}

// encode reads one ofp_flow_stats into e.
func (d *decoder) encode(raw []byte, e *Entry) error {
	s := &d.stat
	rawMatch, why, err := d.parse(raw, s)
	if err != nil {
		return err
	}
	*e = Entry{Duration: s.Duration}
	if why == "" {
		b, err := appendEncoded(d.octets[:0], &s.Flow)
		if err == nil {
			d.octets, e.Octets = b, b
			return nil
		}
		why = err.Error()
	}
	e.Odd = &Stat{}
	*e.Odd = *s
	e.Odd.unknown(why, raw, rawMatch)
	return nil
}
