package flowset

import (
	"cmp"
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
)

// Diff yields, in order, the entries in which after differs from c. Blocks that
// are the same in both cost nothing to pass over; beside that it costs about as
// much as the edits between them.
func (c Composition) Diff(after Composition) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		pairs := pair(c.blocks, after.blocks)
		changes := differences(pairs)
		for len(changes) > 0 {
			n := 1
			for n < len(changes) && changes[n].Entry().SameEntry(changes[0].Entry()) {
				n++
			}
			if ch := effect(pairs, changes[:n]); ch.Old != ch.New && !yield(ch) {
				return
			}
			changes = changes[n:]
		}
	}
}

// blockPair is a block of two Compositions; in one of them it may be missing.
type blockPair struct{ before, after Set }

// pair matches the blocks of two Compositions by name.
func pair(a, b []block) []blockPair {
	pairs := make([]blockPair, 0, max(len(a), len(b)))
	for len(a) > 0 || len(b) > 0 {
		var p blockPair
		var order int
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = cmp.Compare(a[0].id, b[0].id)
		}
		if order <= 0 {
			p.before, a = a[0].set, a[1:]
		}
		if order >= 0 {
			p.after, b = b[0].set, b[1:]
		}
		if p.before.Len()+p.after.Len() > 0 {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// blockChange is a change of one block.
type blockChange struct {
	Change
	pair int
}

// differences returns the changes of all pairs, sorted by entry, those of one
// entry by pair.
func differences(pairs []blockPair) []blockChange {
	var all []blockChange
	var runs []int // where each pair's changes end
	for i, p := range pairs {
		if p.before == p.after {
			continue
		}
		if n := len(all); n == 0 && (p.before.Len() == 0 || p.after.Len() == 0) {
			all = make([]blockChange, 0, p.before.Len()+p.after.Len())
		}
		for ch := range p.before.Diff(p.after) {
			all = append(all, blockChange{ch, i})
		}
		if len(runs) == 0 || len(all) > runs[len(runs)-1] {
			runs = append(runs, len(all))
		}
	}
	if len(runs) > 1 {
		mergeRuns(all, make([]blockChange, len(all)), runs, 0)
	}
	return all
}

// mergeRuns sorts what consists of sorted runs that end at ends, counted from
// base. It works in room, which is as long as all.
func mergeRuns(all, room []blockChange, ends []int, base int) {
	if len(ends) < 2 {
		return
	}
	half := len(ends) / 2
	m := ends[half-1] - base
	mergeRuns(all[:m], room[:m], ends[:half], base)
	mergeRuns(all[m:], room[m:], ends[half:], base+m)
	a, b := room[:copy(room, all[:m])], all[m:]
	for i := range all {
		// Of equals, the one of the earlier block comes first.
		if len(b) == 0 || len(a) > 0 && a[0].Entry().Compare(b[0].Entry()) <= 0 {
			if len(a) == 0 {
				break
			}
			all[i], a = a[0], a[1:]
		} else {
			all[i], b = b[0], b[1:]
		}
	}
}

// effect returns what the changes of one entry in single blocks mean for the
// whole: of each side the flow of the first block that has one.
func effect(pairs []blockPair, changes []blockChange) Change {
	if len(pairs) == 1 {
		return changes[0].Change
	}
	var out Change
	entry := changes[0].Entry()
	for i, p := range pairs {
		var here Change
		if len(changes) > 0 && changes[0].pair == i {
			here, changes = changes[0].Change, changes[1:]
		} else if p.before == p.after || p.before.Len() > 0 && p.after.Len() > 0 {
			f, _ := p.before.Find(entry)
			here = Change{f, f}
		} // else all that the pair has is among the changes
		out.Old, out.New = first(out.Old, here.Old), first(out.New, here.New)
		if out.Old != "" && out.New != "" {
			break
		}
	}
	return out
}

func first(a, b openflow.Encoded) openflow.Encoded {
	if a != "" {
		return a
	}
	return b
}
