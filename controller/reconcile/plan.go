package reconcile

import (
	"cmp"
	"iter"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Actual is what a switch holds, as it was read back or as it must be since.
type Actual struct {
	// Ours are the flows with our mark, sorted by flow.Compare, but for the
	// sentinel and the odd ones.
	Ours []flow.Flow
	// Odd are flows with our mark that our vocabulary cannot express: another
	// release made them, or somebody's hand. They equal nothing that we want.
	Odd []openflow.Stat
	// Foreign are the other flows as far as a wanted flow could have their
	// place, sorted by flow.Compare.
	Foreign []flow.Flow
	// NumForeign counts all other flows.
	NumForeign int
	// Revision is the one that the sentinel names; HasSentinel says that there is one.
	Revision    uint64
	HasSentinel bool
}

// Add adds one flow that was read back. [Actual.Sort] comes after the last.
func (a *Actual) Add(s *openflow.Stat) {
	switch {
	case !flows.Ours(s.Cookie):
		a.NumForeign++
		if s.Unknown == "" || s.MatchKnown {
			a.Foreign = append(a.Foreign, s.Flow)
		}
	case s.Unknown != "":
		a.Odd = append(a.Odd, *s)
	default:
		if revision, ok := flows.SentinelRevision(&s.Flow); ok {
			a.Revision, a.HasSentinel = revision, true
			return
		}
		a.Ours = append(a.Ours, s.Flow)
	}
}

// Sort puts the flows into the order that [NewPlan] needs.
func (a *Actual) Sort() {
	sortFlows(a.Ours)
	sortFlows(a.Foreign)
	slices.SortFunc(a.Odd, func(s, t openflow.Stat) int {
		return cmp.Or(flow.Compare(&s.Flow, &t.Flow), slices.Compare(s.RawMatch, t.RawMatch))
	})
}

// Desired is what a switch should hold. It must not change any more.
type Desired struct {
	Revision uint64 // 48 bits
	Flows    []flow.Flow
	// Keep, if not nil, is asked before a flow of ours is removed (want is nil)
	// or replaced by want. Where it says true the flow stays as it is.
	Keep func(have, want *flow.Flow) bool
	// Owner, if not nil, names the owner of a cookie in the tenant's words.
	Owner func(cookie uint64) string
}

// Blocked is a wanted flow whose place a foreign flow has.
type Blocked struct{ Want, Foreign flow.Flow }

// Plan is the way from an [Actual] to a [Desired].
type Plan struct {
	// Puts are the flows to add or to replace, sorted; Added of them are new.
	Puts  []*flow.Flow
	Added int
	// Drops are the flows of ours to remove, sorted; OddDrops those that the
	// vocabulary cannot express.
	Drops    []*flow.Flow
	OddDrops []*openflow.Stat
	// Blocked are wanted flows left out. Kept counts flows that Desired.Keep
	// saved.
	Blocked []Blocked
	Kept    int
	// Sentinel is the last thing to put; nil where nothing is to be done.
	Sentinel *flow.Flow

	after []flow.Flow // what is ours when the plan has been carried out
}

// Changed returns how many flows are replaced by other ones.
func (p *Plan) Changed() int { return len(p.Puts) - p.Added }

// Deleted returns how many flows are removed.
func (p *Plan) Deleted() int { return len(p.Drops) + len(p.OddDrops) }

// Empty reports whether there is nothing to do, not even a new sentinel.
func (p *Plan) Empty() bool { return p.Len() == 0 }

// Len returns the number of changes, the sentinel's among them.
func (p *Plan) Len() int {
	n := len(p.Puts) + p.Deleted()
	if p.Sentinel != nil {
		n++
	}
	return n
}

// Mods yields the changes in the order in which they must be made: first what
// is added or replaced, then what is removed, last the sentinel. So no moment
// lacks a flow that is wanted and was there, and the sentinel names a revision
// only when all of it is in place.
func (p *Plan) Mods() iter.Seq[openflow.Mod] {
	return func(yield func(openflow.Mod) bool) {
		for _, f := range p.Puts {
			// Add, not modify: it alone can change a cookie, and it heals a flow
			// that has gone since the read-back.
			if !yield(openflow.Mod{Op: openflow.Add, Flow: encoded(f)}) {
				return
			}
		}
		for _, f := range p.Drops {
			// The mask spares a foreign flow that has taken the place meanwhile.
			if !yield(openflow.Mod{Op: openflow.DeleteStrict, Flow: encoded(f), CookieMask: flows.CookieMask}) {
				return
			}
		}
		for _, s := range p.OddDrops {
			if !yield(s.Delete()) {
				return
			}
		}
		if p.Sentinel != nil {
			yield(openflow.Mod{Op: openflow.Add, Flow: encoded(p.Sentinel)})
		}
	}
}

// encoded returns f, or no flow where it cannot be encoded: its change is refused.
func encoded(f *flow.Flow) openflow.Encoded {
	e, err := openflow.Encode(f)
	if err != nil {
		return ""
	}
	return e
}

// NewPlan returns the changes that lead from have to want. Flows among refused
// are left out as if they were not wanted; refused is sorted by flow.Compare.
// The order of want.Flows does not matter; of two that are the same entry, which
// the compiler never makes, the one with the lower cookie counts.
//
// The plan refers to the flows of have and want.
func NewPlan(have *Actual, want Desired, refused []flow.Flow) *Plan {
	p := &Plan{}
	wanted := normal(want.Flows)
	p.after = p.settle(have, wanted, want.Keep, refused)

	a, b := have.Ours, p.after
	for len(a) > 0 || len(b) > 0 {
		switch order(a, b) {
		case -1:
			p.Drops = append(p.Drops, &a[0])
			a = a[1:]
		case 1:
			p.Puts = append(p.Puts, &b[0])
			p.Added++
			b = b[1:]
		default:
			if !a[0].Equal(&b[0]) {
				p.Puts = append(p.Puts, &b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
	p.planOdd(have.Odd)
	if p.Len() > 0 || !have.HasSentinel || have.Revision != want.Revision&^flows.CookieMask {
		s := flows.Sentinel(want.Revision)
		if i, taken := find(have.Foreign, &s); taken {
			p.Blocked = append(p.Blocked, Blocked{s, have.Foreign[i]})
		} else {
			p.Sentinel = &s
		}
	}
	return p
}

// planOdd removes the odd flows, save those that a wanted flow replaces anyway.
func (p *Plan) planOdd(odd []openflow.Stat) {
	for i := range odd {
		s := &odd[i]
		if s.MatchKnown {
			if _, found := slices.BinarySearchFunc(p.Puts, &s.Flow, flow.Compare); found {
				p.Added--
				continue
			}
		}
		p.OddDrops = append(p.OddDrops, s)
	}
}

// settle returns what shall be ours after the plan: what is wanted, less what a
// foreign flow blocks and what was refused, and with what keep wants kept. The
// result is wanted itself where there is no such thing.
func (p *Plan) settle(have *Actual, wanted []flow.Flow, keep func(h, w *flow.Flow) bool, refused []flow.Flow) []flow.Flow {
	wanted = without(wanted, have.Foreign, func(w, f *flow.Flow) bool {
		p.Blocked = append(p.Blocked, Blocked{*w, *f})
		return true
	})
	wanted = without(wanted, refused, func(w, r *flow.Flow) bool { return w.Equal(r) })
	if keep == nil {
		return wanted
	}
	var out []flow.Flow
	a, b := have.Ours, wanted
	for len(a) > 0 || len(b) > 0 {
		switch order(a, b) {
		case -1:
			if keep(&a[0], nil) {
				out = append(out, a[0])
				p.Kept++
			}
			a = a[1:]
		case 1:
			out, b = append(out, b[0]), b[1:]
		default:
			if !a[0].Equal(&b[0]) && keep(&a[0], &b[0]) {
				out = append(out, a[0])
				p.Kept++
			} else {
				out = append(out, b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// without returns fs less the entries that are also in others and that drop
// wants dropped. Both are sorted; fs itself is not changed.
func without(fs, others []flow.Flow, drop func(f, other *flow.Flow) bool) []flow.Flow {
	gone := map[int]bool{}
	for i := range others {
		if j, found := find(fs, &others[i]); found && drop(&fs[j], &others[i]) {
			gone[j] = true
		}
	}
	if len(gone) == 0 {
		return fs
	}
	out := make([]flow.Flow, 0, len(fs)-len(gone))
	for i := range fs {
		if !gone[i] {
			out = append(out, fs[i])
		}
	}
	return out
}

// find looks for an entry among sorted flows.
func find(fs []flow.Flow, f *flow.Flow) (int, bool) {
	return slices.BinarySearchFunc(fs, f, func(g flow.Flow, f *flow.Flow) int { return flow.Compare(&g, f) })
}

// isSentinel reports whether f is a sentinel flow of any revision, and not
// just some flow in its table.
func isSentinel(f *flow.Flow) bool {
	_, ok := flows.SentinelRevision(f)
	return ok
}

// order compares the first flows of two sorted lists, of which one may be empty.
func order(a, b []flow.Flow) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return flow.Compare(&a[0], &b[0])
}

// normal returns the flows sorted, each entry once, without the sentinel. The
// compiler's output comes back as it is.
func normal(fs []flow.Flow) []flow.Flow {
	good := true
	for i := range fs {
		if i > 0 && flow.Compare(&fs[i-1], &fs[i]) >= 0 {
			good = false
			break
		}
		if isSentinel(&fs[i]) {
			good = false
			break
		}
	}
	if good {
		return fs
	}
	out := slices.DeleteFunc(slices.Clone(fs), func(f flow.Flow) bool { return isSentinel(&f) })
	slices.SortFunc(out, func(f, g flow.Flow) int {
		return cmp.Or(flow.Compare(&f, &g), cmp.Compare(f.Cookie, g.Cookie), slices.CompareFunc(f.Actions, g.Actions, compareAction))
	})
	return slices.CompactFunc(out, func(f, g flow.Flow) bool { return f.SameEntry(&g) })
}

func compareAction(a, b flow.Action) int {
	return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Port, b.Port),
		compareBits(a.Dst, b.Dst), compareBits(a.Src, b.Src),
		cmp.Compare(a.Value.Hi, b.Value.Hi), cmp.Compare(a.Value.Lo, b.Value.Lo))
}

func compareBits(a, b flow.Bits) int {
	return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Ofs, b.Ofs), cmp.Compare(a.N, b.N))
}

func sortFlows(fs []flow.Flow) {
	slices.SortFunc(fs, func(f, g flow.Flow) int { return flow.Compare(&f, &g) })
}

// done updates a to what it is after p has been carried out.
func (a *Actual) done(p *Plan, revision uint64) {
	a.Ours, a.Odd = p.after, nil
	if p.Sentinel != nil {
		a.Revision, a.HasSentinel = revision, true
	}
}
