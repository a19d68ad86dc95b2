package flowset_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

func encode(tb interface{ Fatal(...any) }, f flow.Flow) openflow.Encoded {
	e, err := openflow.Encode(&f)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// genEntry draws a flow of few entries, so that they often meet.
func genEntry(t *rapid.T) openflow.Encoded {
	f := flow.Flow{
		Table: rapid.SampledFrom([]uint8{0, 20}).Draw(t, "table"), Priority: rapid.Uint16Range(0, 2).Draw(t, "priority"),
		Cookie: rapid.Uint64Range(1, 2).Draw(t, "cookie"),
	}
	if n := rapid.Uint64Range(0, 20).Draw(t, "match"); n > 0 {
		f.Match = flow.Match{flow.Exact(flow.Reg0, flow.Uint(n))}
	}
	if rapid.Bool().Draw(t, "acts") {
		f.Actions = []flow.Action{flow.Output(1)}
	}
	return encode(t, f)
}

// model is a set as a map, by entry.
type model map[string]openflow.Encoded

func (m model) sorted() []openflow.Encoded {
	return slices.SortedFunc(maps.Values(m), openflow.Encoded.Compare)
}

// editSet applies some edits to a set and to its model.
func editSet(t *rapid.T, s flowset.Set, m model) (flowset.Set, model) {
	e, m := s.Edit(), maps.Clone(m)
	if m == nil {
		m = model{}
	}
	for range rapid.IntRange(0, 40).Draw(t, "edits") {
		f := genEntry(t)
		want, had := m[f.Entry()]
		var old openflow.Encoded
		var found bool
		if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
			old, found = e.Delete(f)
			delete(m, f.Entry())
		} else {
			old, found = e.Put(f)
			m[f.Entry()] = f
		}
		if old != want || found != had {
			t.Fatalf("replaced %q, %v, want %q, %v", old, found, want, had)
		}
		if rapid.IntRange(0, 9).Draw(t, "snapshot") == 0 {
			e.Set()
		}
	}
	return e.Set(), m
}

func checkSet(t *rapid.T, s flowset.Set, m model) {
	t.Helper()
	if got := slices.Collect(s.All()); !slices.Equal(got, m.sorted()) || s.Len() != len(m) {
		t.Fatalf("%d flows, want %d", s.Len(), len(m))
	}
	f := genEntry(t)
	got, found := s.Find(f)
	if want, is := m[f.Entry()]; got != want || found != is {
		t.Fatalf("found %q, %v, want %q, %v", got, found, want, is)
	}
}

// diffOf is the difference by definition.
func diffOf(a, b model) []flowset.Change {
	var out []flowset.Change
	both := maps.Clone(a)
	maps.Copy(both, b)
	for _, f := range both.sorted() {
		if c := (flowset.Change{Old: a[f.Entry()], New: b[f.Entry()]}); c.Old != c.New {
			out = append(out, c)
		}
	}
	return out
}

func TestSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, am := editSet(t, flowset.Set{}, model{})
		b, bm := editSet(t, a, am)
		c, cm := editSet(t, flowset.Set{}, model{})
		checkSet(t, a, am) // as it was
		checkSet(t, b, bm)
		for _, p := range []struct {
			a, b   flowset.Set
			am, bm model
		}{{a, b, am, bm}, {b, a, bm, am}, {b, c, bm, cm}, {flowset.Set{}, a, model{}, am}, {a, a, am, am}} {
			if got, want := slices.Collect(p.a.Diff(p.b)), diffOf(p.am, p.bm); !slices.Equal(got, want) {
				t.Fatalf("differences %q, want %q", got, want)
			}
		}
		// A second edit that changes nothing leaves it the same.
		e := a.Edit()
		for f := range a.All() {
			e.Put(f)
		}
		if e.Set() != a {
			t.Fatal("putting what is there makes another set")
		}
	})
}

// whole is what a composition means.
func whole(blocks map[string]model) model {
	out := model{}
	for _, m := range blocks {
		maps.Copy(out, m)
	}
	return out
}

// TestCompositionLaws: a composition is the union of its blocks, and a
// difference that of the unions.
func TestCompositionLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		edit := func(c flowset.Composition, blocks map[string]model) (flowset.Composition, map[string]model) {
			blocks = maps.Clone(blocks)
			for range rapid.IntRange(0, 4).Draw(t, "blocks") {
				id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "id")
				if rapid.IntRange(0, 4).Draw(t, "without") == 0 {
					c = c.Without(id)
					delete(blocks, id)
					continue
				}
				s, _ := c.Get(id)
				s, m := editSet(t, s, blocks[id])
				c = c.With(id, s)
				blocks[id] = m
				// An entry is in one block at a time.
				for other := range blocks {
					if other == id {
						continue
					}
					s, _ := c.Get(other)
					e, n := s.Edit(), maps.Clone(blocks[other])
					for key, f := range m {
						e.Delete(f)
						delete(n, key)
					}
					c = c.With(other, e.Set())
					blocks[other] = n
				}
			}
			return c, blocks
		}
		check := func(c flowset.Composition, blocks map[string]model) {
			t.Helper()
			n := 0
			for id, m := range blocks {
				s, found := c.Get(id)
				if !found {
					t.Fatalf("block %s is lost", id)
				}
				checkSet(t, s, m)
				n += len(m)
			}
			m := whole(blocks)
			if got := slices.Collect(c.All()); !slices.Equal(got, m.sorted()) || c.Len() != n {
				t.Fatalf("%q, want %q", got, m.sorted())
			}
			if got := slices.Collect(c.IDs()); !slices.Equal(got, slices.Sorted(maps.Keys(blocks))) {
				t.Fatalf("blocks %q", got)
			}
			seen := model{}
			for f := range c.Unordered() {
				if _, there := seen[f.Entry()]; !there {
					seen[f.Entry()] = f
				}
			}
			if !maps.Equal(seen, m) {
				t.Fatalf("unordered %q, want %q", seen, m)
			}
			f := genEntry(t)
			if got, found := c.Find(f); got != m[f.Entry()] || found != (got != "") {
				t.Fatalf("found %q, want %q", got, m[f.Entry()])
			}
		}
		a, am := edit(flowset.Composition{}, map[string]model{})
		b, bm := edit(a, am)
		check(a, am)
		check(b, bm)
		// A draft makes the same.
		var d flowset.Draft
		for id := range a.IDs() {
			s, _ := a.Get(id)
			d.Put(id, s)
		}
		check(d.Composition(), am)
		between := d.Composition()
		for _, id := range []string{"a", "b", "c", "d"} {
			if s, there := b.Get(id); there {
				d.Put(id, s)
			} else {
				d.Delete(id)
			}
			s, there := d.Get(id)
			if t, want := b.Get(id); s != t || there != want {
				panic("the draft has another block")
			}
		}
		check(d.Composition(), bm)
		check(between, am)
		for range rapid.IntRange(0, 12).Draw(t, "versions") { // more than are remembered
			b, bm = edit(b, bm)
		}
		if got, want := slices.Collect(a.Diff(b)), diffOf(whole(am), whole(bm)); !slices.Equal(got, want) {
			t.Fatalf("differences %q, want %q", got, want)
		}
	})
}

func TestOf(t *testing.T) {
	a := flow.Flow{Table: 1, Cookie: 2}
	b := flow.Flow{Table: 1, Cookie: 1, Actions: []flow.Action{flow.Output(1)}}
	bad := flow.Flow{Table: 2, Actions: []flow.Action{{}}}
	for _, in := range [][]flow.Flow{{a, bad, b}, {b, a, bad}} {
		s, err := flowset.Of(in)
		if got := slices.Collect(s.All()); err == nil || len(got) != 1 || got[0] != encode(t, b) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// caFlow is like a flow of the ca table.
func caFlow(i int) flow.Flow {
	return flow.Flow{Table: 20, Priority: 100, Cookie: 0x4e56000000000000 | uint64(i),
		Match: flow.Match{
			flow.Exact(flow.Reg0, flow.Uint(uint64(1+i/1000))), flow.Exact(flow.Reg8, flow.Uint(0)), flow.Exact(flow.Reg9, flow.Uint(0)),
			flow.Exact(flow.Reg10, flow.Uint(0xffff)), flow.Exact(flow.Reg11, flow.Uint(0x0a000000|uint64(i))),
		},
		Actions: []flow.Action{
			flow.Set(flow.All(flow.Reg2), flow.Uint(uint64(5001+i/250))), flow.Set(flow.All(flow.Reg3), flow.Uint(uint64(1+i%16))),
			flow.Set(flow.Bits{Field: flow.XReg6, N: 48}, flow.Uint(0x020000000000|uint64(i))), flow.Goto(25),
		}}
}

// BenchmarkBuild builds a set of 100,000 flows; the metric is its memory.
func BenchmarkBuild(b *testing.B) {
	const n = 100_000
	for _, order := range []string{"sorted", "shuffled"} {
		at := make([]int, n)
		for i := range at {
			at[i] = i
		}
		if order == "shuffled" {
			rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { at[i], at[j] = at[j], at[i] })
		}
		b.Run(order, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var s flowset.Set
			for b.Loop() {
				var e flowset.Editor
				for _, i := range at {
					f := caFlow(i)
					enc, _ := openflow.Encode(&f)
					e.Put(enc)
				}
				s = e.Set()
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "octets/flow")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/flow")
			runtime.KeepAlive(s)
		})
	}
}

// BenchmarkDiff finds one change among 100,000 flows in 20 blocks.
func BenchmarkDiff(b *testing.B) {
	var c flowset.Composition
	for d := range 20 {
		var e flowset.Editor
		for i := range 5000 {
			e.Put(encode(b, caFlow(d*5000+i)))
		}
		c = c.With(fmt.Sprint("domain ", d), e.Set())
	}
	f := caFlow(77_777)
	f.Cookie++
	s, _ := c.Get("domain 15")
	e := s.Edit()
	e.Put(encode(b, f))
	d := c.With("domain 15", e.Set())
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range c.Diff(d) {
			n++
		}
		if n != 1 {
			b.Fatal(n)
		}
	}
}
