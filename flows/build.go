package flows

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// builder collects flows.
type builder struct {
	host     string
	flows    []flow.Flow
	groups   []flow.Group
	meters   []flow.Meter
	problems []Problem
	tests    store[flow.Test]
	actions  store[flow.Action]
}

// store is memory that many short slices are cut from.
type store[T any] struct {
	chunk []T
	used  int
}

const firstChunk, lastChunk = 32, 1024

func (s *store[T]) copy(of []T) []T {
	if s.used+len(of) > len(s.chunk) {
		s.chunk = make([]T, max(len(of), min(max(2*len(s.chunk), firstChunk), lastChunk)))
		s.used = 0
	}
	c := s.chunk[s.used : s.used+len(of) : s.used+len(of)]
	s.used += copy(c, of)
	return c
}

// reset makes room anew: the flows so far must not be used any more.
func (b *builder) reset() {
	b.flows, b.groups, b.meters, b.problems = b.flows[:0], b.groups[:0], b.meters[:0], nil
	b.tests.used, b.actions.used = 0, 0
}

func (b *builder) problem(iface, format string, args ...any) {
	b.problems = append(b.problems, Problem{Host: b.host, IfaceID: iface, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) lack(iface, format string, args ...any) {
	b.problems = append(b.problems, Problem{Host: b.host, IfaceID: iface, Text: fmt.Sprintf(format, args...), Lack: true})
}

// match returns the tests as a canonical match.
func (b *builder) match(tests ...flow.Test) flow.Match {
	return flow.Match(b.tests.copy(tests)).Canonical()
}

// add adds a flow. One that its table's declaration does not allow is a fault
// of the compiler: it is left out, so that the packets meet a drop flow, and
// reported.
func (b *builder) add(t *Table, priority uint16, cookie uint64, m flow.Match, actions ...flow.Action) {
	f := flow.Flow{Table: t.ID, Priority: priority, Cookie: cookie, Match: m, Actions: b.actions.copy(actions)}
	if err := tableRules[t.ID].check(&f); err != nil {
		b.problem("", "internal error, please report it: %v; flow left out: %s", err, f.Text())
		return
	}
	b.flows = append(b.flows, f)
}

// addGroup adds a group. It is held to the declaration of the table whose flows
// do it, like a flow of that table, and left out together with nothing else: the
// switch refuses flows that name a group that is not there.
func (b *builder) addGroup(t *Table, g flow.Group) {
	for _, k := range g.Buckets {
		f := flow.Flow{Table: t.ID, Actions: k.Actions}
		if err := tableRules[t.ID].checkBucket(&f); err != nil {
			b.problem("", "internal error, please report it: %v; group left out: %s", err, g.Text())
			return
		}
	}
	b.groups = append(b.groups, g)
}

// miss adds the flow that takes what no other flow of the table does.
func (b *builder) miss(t *Table, r DropReason) {
	b.add(t, 0, tableOwner(t.ID).drop(r), nil)
}

// order compares flows as merge wants them.
func order(f, g *flow.Flow) int {
	return cmp.Or(flow.Compare(f, g), cmp.Compare(f.Cookie, g.Cookie))
}

func sortFlows(fs []flow.Flow) {
	slices.SortFunc(fs, func(f, g flow.Flow) int { return order(&f, &g) })
}

// merge puts sorted blocks of flows together and keeps one of each entry.
func merge(blocks [][]flow.Flow) (kept []flow.Flow, conflicts []Conflict) {
	n := 0
	for _, b := range blocks {
		n += len(b)
	}
	kept = make([]flow.Flow, 0, n)
	for len(blocks) > 1 {
		// Pairwise, so that many small routing domains cost n log n too.
		half := blocks[:0:0]
		for i := 0; i+1 < len(blocks); i += 2 {
			half = append(half, mergeTwo(blocks[i], blocks[i+1]))
		}
		if len(blocks)%2 == 1 {
			half = append(half, blocks[len(blocks)-1])
		}
		blocks = half
	}
	for i := range blocks[0] {
		f := &blocks[0][i]
		if n := len(kept); n > 0 && kept[n-1].SameEntry(f) {
			if !kept[n-1].Equal(f) {
				conflicts = append(conflicts, Conflict{kept[n-1], *f})
			}
			continue
		}
		kept = append(kept, *f)
	}
	return kept, conflicts
}

func mergeTwo(a, b []flow.Flow) []flow.Flow {
	out := make([]flow.Flow, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if order(&a[0], &b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
