package reconcile

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// Desired is what a switch should hold.
type Desired struct {
	Revision uint64 // 48 bits
	// Flows are all of ours but the sentinel, and the groups and meters that they
	// use.
	Flows flowset.Composition
	// Keep, if not nil, is asked before a flow of ours is removed (want is "")
	// or replaced by want. Where it says true the flow stays as it is.
	Keep func(have, want openflow.Encoded) bool
	// Owner, if not nil, names the owner of a cookie in the tenant's words.
	Owner func(cookie uint64) string
}

// Blocked is a wanted flow whose place a foreign flow has.
type Blocked struct {
	Want    openflow.Encoded
	Foreign uint64 // the foreign flow's cookie
}

// Refused are flows that the switch would not take, by entry.
type Refused map[string]openflow.Encoded

// Plan is the way from an [Actual] to a [Desired].
type Plan struct {
	// Puts are the flows, groups and meters to add or to replace, sorted; Added of
	// them are new.
	Puts  []openflow.Encoded
	Added int
	// meters are those that replace others, among Puts.
	meters map[openflow.Encoded]bool
	// Drops are the flows of ours to remove, sorted; OddDrops those that the
	// vocabulary cannot express.
	Drops    []openflow.Encoded
	OddDrops []*openflow.Stat
	// Blocked are wanted flows left out. Kept counts flows that Desired.Keep
	// saved.
	Blocked []Blocked
	Kept    int
	// Sentinel is the last thing to put; "" where nothing is to be done.
	Sentinel openflow.Encoded

	after *Actual // what the switch holds when the plan has been carried out
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
	if p.Sentinel != "" {
		n++
	}
	return n
}

// After returns what the switch holds when the plan has been carried out.
func (p *Plan) After() *Actual { return p.after }

// MetersFirst yields the changes of meters that must be made before Mods, MetersLast
// those behind. Open vSwitch takes no meters in bundles.
func (p *Plan) MetersFirst() []openflow.Mod {
	var mods []openflow.Mod
	for _, m := range p.Puts[kindFrom(p.Puts, openflow.KindMeter):] {
		op := openflow.Add
		if p.meters[m] {
			op = openflow.ModifyStrict
		}
		mods = append(mods, openflow.Mod{Op: op, Flow: m})
	}
	return mods
}

// MetersLast is said at [Plan.MetersFirst].
func (p *Plan) MetersLast() []openflow.Mod {
	var mods []openflow.Mod
	for _, m := range p.Drops[kindFrom(p.Drops, openflow.KindMeter):] {
		mods = append(mods, openflow.Mod{Op: openflow.DeleteStrict, Flow: m})
	}
	return mods
}

// kindFrom returns where the entries of a kind begin in a sorted list.
func kindFrom(sorted []openflow.Encoded, k openflow.EntryKind) int {
	i, _ := slices.BinarySearchFunc(sorted, k, func(e openflow.Encoded, k openflow.EntryKind) int { return cmp.Compare(e.Kind(), k) })
	return i
}

// split returns the flows and the groups of a sorted list.
func split(sorted []openflow.Encoded) (flows, groups []openflow.Encoded) {
	i, j := kindFrom(sorted, openflow.KindGroup), kindFrom(sorted, openflow.KindMeter)
	return sorted[:i], sorted[i:j]
}

// Mods yields the changes in the order in which they must be made: first what
// is added or replaced, groups before the flows that name them, then what is
// removed, flows before groups, last the sentinel. So no moment lacks a flow that
// is wanted and was there, and the sentinel names a revision only when all of it
// is in place. Meters are not among them.
func (p *Plan) Mods() iter.Seq[openflow.Mod] {
	return func(yield func(openflow.Mod) bool) {
		puts, groups := split(p.Puts)
		for _, g := range groups {
			if !yield(openflow.Mod{Op: openflow.Add, Flow: g}) {
				return
			}
		}
		for _, f := range puts {
			// Add, not modify: it alone can change a cookie, and it heals a flow
			// that has gone since the read-back.
			if !yield(openflow.Mod{Op: openflow.Add, Flow: f}) {
				return
			}
		}
		drops, groups := split(p.Drops)
		for _, f := range drops {
			// The mask spares a foreign flow that has taken the place meanwhile.
			if !yield(openflow.Mod{Op: openflow.DeleteStrict, Flow: f, CookieMask: flows.CookieMask}) {
				return
			}
		}
		for _, s := range p.OddDrops {
			if !yield(s.Delete()) {
				return
			}
		}
		// A group takes the flows that name it with it.
		for _, g := range groups {
			if !yield(openflow.Mod{Op: openflow.DeleteStrict, Flow: g}) {
				return
			}
		}
		if p.Sentinel != "" {
			yield(openflow.Mod{Op: openflow.Add, Flow: p.Sentinel})
		}
	}
}

// NewPlan returns the changes that lead from have to want. Flows among refused
// are left out as if they were not wanted. It costs about as much as the
// snapshots of the two differ, and as have has exceptions.
func NewPlan(have *Actual, want Desired, refused Refused) *Plan {
	after := &Actual{
		Revision: have.Revision, HasSentinel: have.HasSentinel, Age: have.Age,
		Len: want.Flows.Len(), NumForeign: have.NumForeign, flows: want.Flows, foreign: have.foreign, others: have.others,
	}
	p := &Plan{after: after}
	// What differs between the snapshots and the exceptions, both in order.
	keys := slices.Sorted(maps.Keys(have.except))
	except := func() {
		f, _ := want.Flows.Find(openflow.Encoded(keys[0]))
		p.settle(keys[0], have.except[keys[0]], f, have, &want, refused)
		keys = keys[1:]
	}
	for c := range have.flows.Diff(want.Flows) {
		key := c.Entry().Entry()
		for len(keys) > 0 && keys[0] < key {
			except()
		}
		is := c.Old
		if len(keys) > 0 && keys[0] == key {
			is, keys = have.except[key], keys[1:]
		}
		p.settle(key, is, c.New, have, &want, refused)
	}
	for len(keys) > 0 {
		except()
	}
	p.useMeters(have, &want)
	p.planOdd(have.odd)
	if p.Len() > 0 || !have.HasSentinel || have.Revision != want.Revision&^flows.CookieMask {
		s := mustEncode(want.Revision)
		if cookie, taken := have.foreign[sentinelEntry]; taken {
			p.Blocked = append(p.Blocked, Blocked{s, cookie})
		} else {
			p.Sentinel = s
			after.Revision, after.HasSentinel, after.Age = want.Revision&^flows.CookieMask, true, 0
		}
	}
	return p
}

// settle decides what shall be in one entry, where there is one flow (or none, "")
// and another one is wanted (or none).
func (p *Plan) settle(key string, is, wanted openflow.Encoded, have *Actual, want *Desired, refused Refused) {
	shall := wanted
	switch cookie, taken := have.foreign[key]; {
	case shall == "":
	case key == sentinelEntry:
		shall = "" // it is not the compiler's
	case taken:
		p.Blocked = append(p.Blocked, Blocked{wanted, cookie})
		shall = ""
	case is != wanted && refused[key] == wanted: // what is there was accepted
		shall = ""
	}
	// Nothing can stay where the sentinel goes.
	if is != "" && is != shall && key != sentinelEntry && want.Keep != nil && want.Keep(is, shall) {
		shall = is
		p.Kept++
	}
	if shall != wanted {
		if p.after.except == nil {
			p.after.except = map[string]openflow.Encoded{}
		}
		p.after.except[key] = shall
		if wanted != "" {
			p.after.Len--
		}
		if shall != "" {
			p.after.Len++
		}
	}
	switch {
	case shall == is:
	case shall == "":
		p.Drops = append(p.Drops, is)
	default:
		p.Puts = append(p.Puts, shall)
		if is == "" {
			p.Added++
		} else if shall.Kind() == openflow.KindMeter {
			if p.meters == nil {
				p.meters = map[openflow.Encoded]bool{}
			}
			p.meters[shall] = true
		}
	}
}

// useMeters puts the flows that name a meter which is new although they were read
// as they are wanted: Open vSwitch looks a meter up when the flow is added.
func (p *Plan) useMeters(have *Actual, want *Desired) {
	if !have.read {
		return
	}
	fresh := map[uint32]bool{}
	for _, m := range p.Puts[kindFrom(p.Puts, openflow.KindMeter):] {
		if !p.meters[m] {
			fresh[m.Number()] = true
		}
	}
	if len(fresh) == 0 {
		return
	}
	n := len(p.Puts)
	for f := range want.Flows.Unordered() {
		for id := range f.Meters() {
			if _, already := slices.BinarySearchFunc(p.Puts[:n], f, openflow.Encoded.Compare); !already && fresh[id] && have.holds(f) {
				p.Puts = append(p.Puts, f)
				break
			}
		}
	}
	if len(p.Puts) > n {
		slices.SortFunc(p.Puts, openflow.Encoded.Compare)
	}
}

// holds reports whether a switch holds just that entry.
func (a *Actual) holds(f openflow.Encoded) bool {
	if is, exception := a.except[f.Entry()]; exception {
		return is == f
	}
	is, _ := a.flows.Find(f)
	return is == f
}

// planOdd removes the odd flows, save those that a wanted flow replaces anyway.
func (p *Plan) planOdd(odd []*openflow.Stat) {
	for _, s := range odd {
		if key, known := oddEntry(s); known {
			if _, found := slices.BinarySearchFunc(p.Puts, openflow.Encoded(key), openflow.Encoded.Compare); found {
				p.Added--
				continue
			}
		}
		p.OddDrops = append(p.OddDrops, s)
	}
	slices.SortFunc(p.OddDrops, func(s, t *openflow.Stat) int {
		return cmp.Or(cmp.Compare(s.Table, t.Table), cmp.Compare(t.Priority, s.Priority), slices.Compare(s.RawMatch, t.RawMatch))
	})
}
