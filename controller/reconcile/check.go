package reconcile

import (
	"context"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// maxChecked is how many changes of others are looked into one by one; more lead
// to a read-back of everything.
const maxChecked = 64

// suspect notes a change of one of our entries, to be looked into.
func (w *watch) suspect(ch *openflow.FlowChange) {
	if !ch.MatchKnown || !flows.Ours(ch.Flow.Cookie) || len(w.suspects) >= maxChecked {
		w.blind = true
		return
	}
	w.suspects = append(w.suspects, *ch)
}

// trust forgets the suspects: everything has been read back.
func (w *watch) trust() { w.suspects, w.blind, w.checked = nil, false, 0 }

// check finds out what the switch holds in the entries that others have changed,
// and leaves the rest of what is known as it is. It asks for their flows by their
// cookies, which a switch finds without looking through its tables. It reports
// whether that tells enough: where a foreign flow is involved, or one that the
// vocabulary cannot express, or that needs a group or a meter, only a read-back of
// everything does.
//
// A change that comes after the question is told by the monitor again.
func (c *connection) check(ctx context.Context) (ok bool, err error) {
	w := &c.watch
	if w.blind || len(w.suspects) == 0 || c.applied == nil {
		return false, nil
	}
	type place struct {
		table  uint8
		cookie uint64
	}
	entries := make(map[string]openflow.Encoded) // what is there; "": nothing
	ask := make(map[place]bool)
	for i := range w.suspects {
		f := w.suspects[i].Flow
		f.Actions = nil
		e, err := openflow.Encode(&f)
		if err != nil || e.Entry() == sentinelEntry {
			return false, nil
		}
		if _, taken := c.have.foreign[e.Entry()]; taken {
			return false, nil
		}
		entries[e.Entry()] = ""
		ask[place{f.Table, f.Cookie}] = true
		if was := c.have.find(e); was != "" {
			if needsMore(was) {
				return false, nil
			}
			ask[place{f.Table, was.Cookie()}] = true
		}
	}
	odd := false
	for p := range ask {
		err := c.s.ReadEncoded(ctx, p.table, p.cookie, ^uint64(0), func(e *openflow.Entry) error {
			if e.Odd != nil {
				odd = true
				return nil
			}
			if _, wanted := entries[string(e.Key())]; wanted {
				entries[string(e.Key())] = openflow.Encoded(e.Octets)
			}
			return nil
		})
		if err != nil {
			return false, cause(ctx, "looking at the flows that somebody else changed", err)
		}
	}
	if odd || len(c.have.odd) > 0 {
		return false, nil
	}
	c.have = c.have.with(entries)
	w.checked, w.suspects = len(w.suspects), nil
	return true, nil
}

// needsMore reports whether a flow names a group or a meter: who deletes that
// deletes the flow too.
func needsMore(e openflow.Encoded) bool {
	f, err := e.Decode()
	return err != nil || slices.ContainsFunc(f.Actions, func(a flow.Action) bool { return a.Op == flow.OpGroup || a.Meter != 0 })
}

// find returns the flow of e's entry, "" where there is none.
func (a *Actual) find(e openflow.Encoded) openflow.Encoded {
	if f, exception := a.except[e.Entry()]; exception {
		return f
	}
	f, _ := a.flows.Find(e)
	return f
}

// with returns what a switch holds that has these flows in these entries.
func (a *Actual) with(entries map[string]openflow.Encoded) *Actual {
	b := *a
	b.except = maps.Clone(a.except)
	if b.except == nil {
		b.except = make(map[string]openflow.Encoded)
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		was, is := a.find(openflow.Encoded(key)), entries[key]
		switch {
		case was == "" && is != "":
			b.Len++
		case was != "" && is == "":
			b.Len--
		}
		if f, _ := a.flows.Find(openflow.Encoded(key)); f == is {
			delete(b.except, key)
		} else {
			b.except[key] = is
		}
	}
	return &b
}
