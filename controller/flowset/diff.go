package flowset

import (
	"cmp"
	"iter"
)

// Diff yields, in order, the entries in which after differs from c. Blocks that
// are the same in both cost nothing to pass over; beside that it costs about as
// much as the edits between them.
func (c Composition) Diff(after Composition) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		changes := differences(pair(c.blocks, after.blocks))
		for len(changes) > 0 {
			ch, n := changes[0], 1
			// An entry that has gone from one block to another.
			for ; n < len(changes) && changes[n].Entry().SameEntry(ch.Entry()); n++ {
				ch.Old, ch.New = cmp.Or(ch.Old, changes[n].Old), cmp.Or(ch.New, changes[n].New)
			}
			if ch.Old != ch.New && !yield(ch) {
				return
			}
			changes = changes[n:]
		}
	}
}

// blockPair is a block of two Compositions; in one of them it may be missing.
type blockPair struct{ before, after Set }

// pair matches the blocks of two Compositions by name, and returns those that
// differ.
func pair(a, b []block) []blockPair {
	var pairs []blockPair
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
		if p.before != p.after {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// few is the number of changes up to which they are sorted in place.
const few = 64

// differences returns the changes of all pairs, sorted by entry. The caller must
// not modify them.
func differences(pairs []blockPair) []Change {
	var all []Change
	var runs []int // where each pair's changes end
	for i, p := range pairs {
		changes, known := p.after.version.since(p.before.version)
		if known && i == len(pairs)-1 && len(all) == 0 {
			return changes
		}
		if n := len(all); n == 0 && (p.before.Len() == 0 || p.after.Len() == 0) {
			all = make([]Change, 0, p.before.Len()+p.after.Len())
		}
		if known {
			all = append(all, changes...)
		} else {
			for ch := range p.before.Diff(p.after) {
				all = append(all, ch)
			}
		}
		if len(runs) == 0 || len(all) > runs[len(runs)-1] {
			runs = append(runs, len(all))
		}
	}
	switch {
	case len(runs) < 2:
	case len(all) <= few:
		sortChanges(all)
	default:
		mergeRuns(all, make([]Change, len(all)), runs, 0)
	}
	return all
}

// mergeRuns sorts what consists of sorted runs that end at ends, counted from
// base. It works in room, which is as long as all.
func mergeRuns(all, room []Change, ends []int, base int) {
	if len(ends) < 2 {
		return
	}
	half := len(ends) / 2
	m := ends[half-1] - base
	mergeRuns(all[:m], room[:m], ends[:half], base)
	mergeRuns(all[m:], room[m:], ends[half:], base+m)
	a, b := room[:copy(room, all[:m])], all[m:]
	for i := range all {
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
