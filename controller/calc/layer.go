package calc

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// layer is a set of flows that units make. Where several units want one entry,
// the flow of the lowest cookie is in the set, and the others wait.
type layer struct {
	set       flowset.Set
	contested [][]openflow.Encoded // by entry; each by cookie, at least two
	stirred   bool                 // contested has changed in apply
	faults    map[flows.Unit][]flows.Problem

	remove, add []openflow.Encoded // what apply is to do
}

// change notes that a unit's flows are to be those of after instead of those of
// before. Either may be nil.
func (l *layer) change(before, after *flows.Compiler, u flows.Unit) {
	l.changeTo(before, u, after, u)
}

func (l *layer) changeTo(before *flows.Compiler, old flows.Unit, after *flows.Compiler, u flows.Unit) {
	if before != nil {
		before.Make(old, func(ps flows.Parts, _ []flows.Problem) { l.remove, _ = encode(l.remove, ps) })
		delete(l.faults, old)
	}
	if after != nil {
		after.Make(u, func(ps flows.Parts, problems []flows.Problem) { l.want(u, ps, problems) })
	}
}

func (l *layer) want(u flows.Unit, ps flows.Parts, problems []flows.Problem) {
	var err error
	if l.add, err = encode(l.add, ps); err != nil {
		problems = append(problems, flows.Problem{Text: fmt.Sprintf("internal error, please report it: %s: %v; flow left out", u, err)})
	}
	if len(problems) > 0 {
		if l.faults == nil {
			l.faults = make(map[flows.Unit][]flows.Problem)
		}
		l.faults[u] = problems
	}
}

// encode appends a unit's parts to out, without those that cannot be encoded.
func encode(out []openflow.Encoded, ps flows.Parts) ([]openflow.Encoded, error) {
	var first error
	put := func(e openflow.Encoded, err error) {
		if err != nil {
			first = cmp.Or(first, err)
			return
		}
		out = append(out, e)
	}
	for i := range ps.Flows {
		put(openflow.Encode(&ps.Flows[i]))
	}
	for i := range ps.Groups {
		put(openflow.EncodeGroup(&ps.Groups[i]))
	}
	for i := range ps.Meters {
		put(openflow.EncodeMeter(&ps.Meters[i]))
	}
	return out, first
}

// order orders flows by entry, those of one entry by cookie.
func order(a, b openflow.Encoded) int {
	return cmp.Or(a.Compare(b), cmp.Compare(a.Cookie(), b.Cookie()), cmp.Compare(a, b))
}

// apply does what was noted, and reports whether the set has changed.
func (l *layer) apply() bool {
	slices.SortFunc(l.remove, order)
	slices.SortFunc(l.add, order)
	remove, add := cancel(l.remove, l.add)
	l.remove, l.add, l.stirred = nil, nil, false
	if len(remove)+len(add) == 0 {
		return false
	}
	before, e := l.set, l.set.Edit()
	for _, f := range remove {
		l.take(e, f)
	}
	for _, f := range add {
		l.put(e, f)
	}
	l.set = e.Set()
	return l.set != before
}

// cancel leaves out what both sorted lists have.
func cancel(a, b []openflow.Encoded) (onlyA, onlyB []openflow.Encoded) {
	if len(a) == 0 || len(b) == 0 {
		return a, b
	}
	for len(a) > 0 && len(b) > 0 {
		switch c := order(a[0], b[0]); {
		case c < 0:
			onlyA, a = append(onlyA, a[0]), a[1:]
		case c > 0:
			onlyB, b = append(onlyB, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(onlyA, a...), append(onlyB, b...)
}

// contest returns the place of the entry of f among those that are contested.
func (l *layer) contest(f openflow.Encoded) (int, bool) {
	if len(l.contested) == 0 {
		return 0, false
	}
	return slices.BinarySearchFunc(l.contested, f, func(c []openflow.Encoded, f openflow.Encoded) int { return c[0].Compare(f) })
}

func (l *layer) put(e *flowset.Editor, f openflow.Encoded) {
	if i, found := l.contest(f); found {
		c := l.contested[i]
		l.stirred = true
		at, _ := slices.BinarySearchFunc(c, f, order)
		l.contested[i] = slices.Insert(c, at, f)
		e.Put(l.contested[i][0])
		return
	}
	old, found := e.Put(f)
	if !found {
		return
	}
	l.stirred = true
	c := []openflow.Encoded{old, f}
	slices.SortFunc(c, order)
	e.Put(c[0])
	at, _ := l.contest(f)
	l.contested = slices.Insert(l.contested, at, c)
}

func (l *layer) take(e *flowset.Editor, f openflow.Encoded) {
	i, found := l.contest(f)
	if !found {
		e.Delete(f)
		return
	}
	c := l.contested[i]
	l.stirred = true
	if at, there := slices.BinarySearchFunc(c, f, order); there {
		c = slices.Delete(c, at, at+1)
	}
	e.Put(c[0])
	if l.contested[i] = c; len(c) == 1 {
		l.contested = slices.Delete(l.contested, i, i+1)
	}
}

// conflicts returns the entries that units want differently.
func (l *layer) conflicts() (out []flows.Conflict) {
	for _, c := range l.contested {
		inForce, err := c[0].Decode()
		if err != nil {
			continue // what this program encoded it can decode
		}
		for i, f := range c[1:] {
			if f == c[i] {
				continue
			}
			if refused, err := f.Decode(); err == nil {
				out = append(out, flows.Conflict{InForce: inForce, Refused: refused})
			}
		}
	}
	return out
}

// problems returns the faults of the program, in the order of their texts.
func (l *layer) problems() (out []flows.Problem) {
	for _, ps := range l.faults {
		out = append(out, ps...)
	}
	slices.SortFunc(out, func(p, q flows.Problem) int { return cmp.Compare(p.Text, q.Text) })
	return out
}
