package flowset

import "slices"

const (
	// maxChanges bounds how many changes between two versions are remembered.
	maxChanges = 256
	// maxVersions bounds how many versions are remembered one behind the other.
	maxVersions = 8
)

// version says how a set was made from the one before. Sets that many switches
// share are compared by each of them, mostly with their last version: what they
// differ in is found once, when they are edited.
type version struct {
	changes []Change // sorted, each entry once; not changed any more
	before  *version // nil: not remembered
	depth   int      // versions before this one
}

// next returns the version that the edits lead to. Too many of them are not
// remembered.
func (v *version) next(edits []Change) *version {
	if v == nil || len(edits) == 0 || len(edits) > maxChanges || v.depth == maxVersions {
		return new(version)
	}
	return &version{changes: combine(edits), before: v, depth: v.depth + 1}
}

// since returns the changes that led from an earlier version to v, sorted; false
// where they are not remembered. The caller must not modify them.
func (v *version) since(earlier *version) (changes []Change, known bool) {
	if v == nil || earlier == nil {
		return nil, false
	}
	if v.before == earlier {
		return v.changes, true
	}
	var steps [maxVersions]*version
	n := 0
	for ; v != earlier; v = v.before {
		if v.before == nil {
			return nil, false
		}
		steps[n] = v
		n++
	}
	for i := n - 1; i >= 0; i-- {
		changes = append(changes, steps[i].changes...)
	}
	return combine(changes), true
}

// combine makes one change of those of one entry, which come one after the
// other, and sorts them by entry. It works in place.
func combine(all []Change) []Change {
	sortChanges(all)
	out := all[:0]
	for i := 0; i < len(all); {
		c, entry := all[i], all[i].Entry()
		for i++; i < len(all) && all[i].Entry().SameEntry(entry); i++ {
			c.New = all[i].New
		}
		if c.Old != c.New {
			out = append(out, c)
		}
	}
	return out
}

// sortChanges sorts by entry and leaves those of one entry in their order.
func sortChanges(all []Change) {
	slices.SortStableFunc(all, func(a, b Change) int { return a.Entry().Compare(b.Entry()) })
}
