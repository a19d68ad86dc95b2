package flowset

import (
	"errors"
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// Set is an immutable set of flows, at most one for each entry of a table, in
// the order of [openflow.Encoded.Compare]. Assignment copies it, and any number
// of goroutines may read it. Two Sets that are == are equal; equal ones that
// were made apart are not ==. The zero Set is empty.
type Set struct {
	tree    persist.Tree[openflow.Encoded]
	version *version // nil: empty from the start
}

// Of returns the flows as a Set. Of flows that are the same entry, which the
// compiler never makes, the one with the lowest cookie counts. Flows that cannot
// be encoded are left out; the error names them all.
func Of(flows []flow.Flow) (Set, error) {
	var e Editor
	var errs []error
	for i := range flows {
		f, err := openflow.Encode(&flows[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if old, found := e.Put(f); found && less(old, f) {
			e.Put(old)
		}
	}
	return e.Set(), errors.Join(errs...)
}

// less decides which of two flows for one entry counts.
func less(a, b openflow.Encoded) bool {
	if c, d := a.Cookie(), b.Cookie(); c != d {
		return c < d
	}
	return a < b
}

// Len returns the number of flows.
func (s Set) Len() int { return s.tree.Len() }

// Find returns the flow that is the same entry as e.
func (s Set) Find(e openflow.Encoded) (openflow.Encoded, bool) {
	return s.tree.Find(func(f openflow.Encoded) int { return f.Compare(e) })
}

// All yields the flows in order.
func (s Set) All() iter.Seq[openflow.Encoded] { return s.tree.All() }

// Change is an entry that differs between two snapshots; "" where there is none.
type Change struct{ Old, New openflow.Encoded }

// Entry returns a flow that is the entry in question.
func (c Change) Entry() openflow.Encoded {
	if c.New != "" {
		return c.New
	}
	return c.Old
}

// Diff yields, in order, the entries in which after differs from s. It costs
// about as much as the edits between them, if one was made from the other; where
// it was made by few edits, these are remembered and the sets not looked at.
func (s Set) Diff(after Set) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		if s == after {
			return
		}
		if changes, known := after.version.since(s.version); known {
			for _, ch := range changes {
				if !yield(ch) {
					return
				}
			}
			return
		}
		for p := range persist.Diff(s.tree, after.tree) {
			if p.Old != p.New && !yield(Change{p.Old, p.New}) {
				return
			}
		}
	}
}

// Edit returns an Editor that begins with s, which stays as it is.
func (s Set) Edit() *Editor { return &Editor{set: s, check: s.Len() > 0} }

// Editor makes a [Set]. The zero Editor begins with an empty one. Its first
// edits after [Editor.Set] copy what they touch; those that follow work in
// place. It is not for concurrent use.
type Editor struct {
	set     Set
	owner   *persist.Owner
	check   bool     // whether a Put may well find what it puts, and edits are noted
	edited  bool     // since the last Set
	changes []Change // by these edits, maxChanges and one at most
}

func (e *Editor) own() *persist.Owner {
	if e.owner == nil {
		e.owner = new(persist.Owner)
	}
	return e.owner
}

// note remembers an edit.
func (e *Editor) note(c Change) {
	e.edited = true
	if e.check && len(e.changes) <= maxChanges {
		e.changes = append(e.changes, c)
	}
}

// Put adds f, in place of the flow of the same entry, which it returns.
func (e *Editor) Put(f openflow.Encoded) (old openflow.Encoded, found bool) {
	if e.check {
		// What is the same stays shared.
		if old, found := e.set.Find(f); found && old == f {
			return old, true
		}
	}
	old, found = e.set.tree.Replace(e.own(), f)
	e.note(Change{old, f})
	return old, found
}

// Delete removes the flow of the same entry as f, and returns it.
func (e *Editor) Delete(f openflow.Encoded) (old openflow.Encoded, found bool) {
	old, found = e.set.tree.Delete(e.own(), func(g openflow.Encoded) int { return g.Compare(f) })
	if found {
		e.note(Change{Old: old})
	}
	return old, found
}

// Find returns the flow that is the same entry as f.
func (e *Editor) Find(f openflow.Encoded) (openflow.Encoded, bool) { return e.set.Find(f) }

// Len returns the number of flows.
func (e *Editor) Len() int { return e.set.Len() }

// Set returns what has been edited so far. The Editor may be used further.
func (e *Editor) Set() Set {
	if e.edited {
		e.set.version = e.set.version.next(e.changes)
	}
	e.owner, e.check, e.edited, e.changes = nil, e.set.Len() > 0, false, nil
	return e.set
}
