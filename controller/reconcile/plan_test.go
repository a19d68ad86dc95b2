package reconcile_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// model is a switch's tables as OpenFlow defines them.
type model map[string]openflow.Stat

func key(m *openflow.Mod) string {
	f := flowOf(m.Flow)
	if m.RawMatch != nil {
		return fmt.Sprintf("%d/%d/raw%x", f.Table, f.Priority, m.RawMatch)
	}
	return keyOf(f)
}

func flowOf(e openflow.Encoded) *flow.Flow {
	f, err := e.Decode()
	if err != nil {
		panic(err)
	}
	return &f
}

func keyOf(f *flow.Flow) string {
	return fmt.Sprintf("%d/%d/%v", f.Table, f.Priority, f.Match)
}

func (m model) put(s openflow.Stat) {
	k := keyOf(&s.Flow)
	if s.Unknown != "" && !s.MatchKnown {
		k = fmt.Sprintf("%d/%d/raw%x", s.Table, s.Priority, s.RawMatch)
	}
	m[k] = s
}

func (m model) apply(mod openflow.Mod) {
	switch mod.Op {
	case openflow.Add:
		m[key(&mod)] = openflow.Stat{Flow: *flowOf(mod.Flow)}
	case openflow.DeleteStrict:
		for k, s := range m { // RawMatch may name a flow whose match is known, too
			same := k == key(&mod) || mod.RawMatch != nil && slices.Equal(s.RawMatch, mod.RawMatch) &&
				s.Table == mod.Flow.Table() && s.Priority == mod.Flow.Priority()
			if same && (s.Cookie^mod.Flow.Cookie())&mod.CookieMask == 0 {
				delete(m, k)
			}
		}
	default:
		panic("the plan modifies")
	}
}

// actual is what a read-back in that order says, of a switch that should hold want.
func (m model) actual(order []string, want flowset.Composition) *reconcile.Actual {
	r := reconcile.NewReader(want)
	for _, k := range order {
		s := m[k]
		r.Add(entry(&s))
	}
	return r.Actual()
}

// entry is a flow as a session reports it.
func entry(s *openflow.Stat) *openflow.Entry {
	if s.Unknown != "" {
		return &openflow.Entry{Odd: s}
	}
	return &openflow.Entry{Octets: []byte(enc(&s.Flow)), Duration: s.Duration}
}

func enc(f *flow.Flow) openflow.Encoded {
	e, err := openflow.Encode(f)
	if err != nil {
		panic(err)
	}
	return e
}

// compose puts flows into blocks by turns.
func compose(fs []flow.Flow) flowset.Composition {
	const blocks = 3
	var c flowset.Composition
	for i := range min(blocks, len(fs)) {
		var e flowset.Editor
		for j := i; j < len(fs); j += blocks {
			e.Put(enc(&fs[j]))
		}
		c = c.With(fmt.Sprint(i), e.Set())
	}
	return c
}

func (m model) keys() []string { return slices.Sorted(maps.Keys(m)) }

// few small flows, so that entries often meet.
func genFlow(cookies ...uint64) *rapid.Generator[flow.Flow] {
	return rapid.Custom(func(t *rapid.T) flow.Flow {
		f := flow.Flow{
			Table:    rapid.SampledFrom([]uint8{0, 20, 253}).Draw(t, "table"),
			Priority: rapid.Uint16Range(0, 2).Draw(t, "priority"),
			Cookie:   rapid.SampledFrom(cookies).Draw(t, "cookie"),
		}
		if rapid.Bool().Draw(t, "match port") {
			f.Match = append(f.Match, flow.Exact(flow.InPort, flow.Uint(rapid.Uint64Range(1, 2).Draw(t, "port"))))
		}
		if rapid.Bool().Draw(t, "match reg") {
			f.Match = append(f.Match, flow.Masked(flow.Reg1, flow.Uint(1), flow.Uint(rapid.SampledFrom([]uint64{1, 3}).Draw(t, "mask"))))
		}
		if rapid.Bool().Draw(t, "acts") {
			f.Actions = append(f.Actions, flow.Output(uint32(rapid.Uint64Range(1, 2).Draw(t, "out"))))
		}
		return f
	})
}

const mark = flows.CookieMark

var (
	ours    = []uint64{mark | 1, mark | 2}
	foreign = []uint64{0, 1, 0x4e57 << 48}
)

func genSwitch(t *rapid.T) model {
	m := model{}
	for _, f := range rapid.SliceOfN(genFlow(append(foreign, ours...)...), 0, 14).Draw(t, "have") {
		s := openflow.Stat{Flow: f}
		if rapid.IntRange(0, 5).Draw(t, "odd") == 0 {
			s.Unknown, s.MatchKnown = "learn", rapid.Bool().Draw(t, "match known")
			s.Actions, s.RawMatch = nil, []byte(keyOf(&f))
			if !s.MatchKnown {
				s.Match = nil
				s.RawMatch = []byte{byte(rapid.IntRange(0, 3).Draw(t, "raw"))}
			}
		}
		m.put(s)
	}
	return m
}

func genWant(t *rapid.T) []flow.Flow { // as the compiler makes it: each entry once
	return distinct(rapid.SliceOfN(genFlow(ours...), 0, 14).Draw(t, "want"))
}

// distinct drops sentinels and later flows of an entry.
func distinct(fs []flow.Flow) []flow.Flow {
	seen := map[string]bool{}
	return slices.DeleteFunc(fs, func(f flow.Flow) bool {
		s := flows.Sentinel(f.Cookie)
		sentinel := f.SameEntry(&s)
		dup := seen[keyOf(&f)]
		seen[keyOf(&f)] = true
		return dup || sentinel
	})
}

func TestPlanLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := genSwitch(t), genWant(t)
		revision := rapid.Uint64Range(0, 3).Draw(t, "revision")
		desired := reconcile.Desired{Revision: revision, Flows: compose(want)}
		actual := have.actual(have.keys(), desired.Flows)
		p := reconcile.NewPlan(actual, desired, nil)

		// What must come out: every wanted flow, every foreign one, the sentinel.
		expect := model{}
		for _, s := range have {
			if !flows.Ours(s.Cookie) {
				expect.put(s)
			}
		}
		blocked := 0
		for _, f := range want {
			if at, taken := expect[keyOf(&f)]; taken {
				if flows.Ours(at.Cookie) {
					t.Fatal("test error")
				}
				blocked++
				continue
			}
			expect.put(openflow.Stat{Flow: f})
		}
		sentinel := flows.Sentinel(revision)
		rewrites := 1
		if at, taken := expect[keyOf(&sentinel)]; taken && !flows.Ours(at.Cookie) {
			rewrites = 0
			blocked++
		} else {
			expect.put(openflow.Stat{Flow: sentinel})
		}
		if len(p.Blocked) != blocked {
			t.Fatalf("%d blocked flows reported, want %d", len(p.Blocked), blocked)
		}

		// A wanted flow that was there is there at every moment, and nothing
		// foreign is ever touched.
		got := maps.Clone(have)
		steady := model{}
		for k, s := range expect {
			if h, ok := have[k]; ok && !flows.Ours(s.Cookie) || ok && h.Unknown == "" && h.Flow.Equal(&s.Flow) {
				steady[k] = s
			}
		}
		n := 0
		for mod := range p.Mods() {
			n++
			got.apply(mod)
			for k := range steady {
				if _, ok := got[k]; !ok && k != keyOf(&sentinel) {
					t.Fatalf("after change %d (%v %s) flow %s is missing", n, mod.Op, mod.Flow.Text(), k)
				}
			}
		}
		if n != p.Len() || p.Len() != len(p.Puts)+p.Deleted()+b2i(p.Sentinel != "") {
			t.Fatalf("Len is %d, %d changes came", p.Len(), n)
		}
		if diff := compare(got, expect); diff != "" {
			t.Fatal(diff)
		}
		// The counts are what happened.
		added := 0
		for k := range expect {
			if _, ok := have[k]; !ok && k != keyOf(&sentinel) {
				added++
			}
		}
		if p.Added != added {
			t.Fatalf("Added is %d, %d entries are new", p.Added, added)
		}

		for _, read := range []flowset.Composition{desired.Flows, {}, compose(want[len(want)/2:])} {
			if again := reconcile.NewPlan(got.actual(got.keys(), read), desired, nil); !again.Empty() {
				t.Fatalf("read back against something else, the plan has %d changes", again.Len())
			}
		}
		second := reconcile.NewPlan(p.After(), desired, nil)
		if !second.Empty() || second.Len() != 0 {
			t.Fatalf("a second plan has %d changes", second.Len())
		}
		desired.Revision++
		third := reconcile.NewPlan(got.actual(got.keys(), desired.Flows), desired, nil)
		if third.Len() != rewrites || (third.Sentinel != "") != (rewrites == 1) {
			t.Fatalf("a new revision of the same flows has %d changes, want the sentinel's alone", third.Len())
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func compare(got, want model) string {
	for k, w := range want {
		g, ok := got[k]
		if !ok {
			return "missing: " + k
		}
		if !g.Flow.Equal(&w.Flow) || g.Unknown != w.Unknown {
			return fmt.Sprintf("%s is %s, want %s", k, g.Text(), w.Text())
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			return "left over: " + k
		}
	}
	return ""
}

func TestPlanIgnoresTheOrderOfItsInputs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := genSwitch(t), genWant(t)
		text := func(order []string, want []flow.Flow) (out []string) {
			c := compose(want)
			p := reconcile.NewPlan(have.actual(order, c), reconcile.Desired{Flows: c}, nil)
			for m := range p.Mods() {
				out = append(out, fmt.Sprintf("%v %s %x", m.Op, m.Flow.Text(), m.RawMatch))
			}
			return out
		}
		a := text(have.keys(), want)
		b := text(rapid.Permutation(have.keys()).Draw(t, "order"), rapid.Permutation(want).Draw(t, "want order"))
		if !slices.Equal(a, b) {
			t.Fatalf("%q\n%q", a, b)
		}
	})
}

// Additions come first: the opposite would open gaps.
func TestPlanAddsBeforeItDeletes(t *testing.T) {
	old := flow.Flow{Table: 20, Priority: 1, Cookie: mark | 1}
	wanted := flow.Flow{Table: 20, Priority: 2, Cookie: mark | 1}
	p := reconcile.NewPlan(holding(old), reconcile.Desired{Revision: 9, Flows: compose([]flow.Flow{wanted})}, nil)
	var got []string
	for m := range p.Mods() {
		got = append(got, fmt.Sprintf("%v %d", m.Op, m.Flow.Priority()))
	}
	if want := []string{"add 2", "delete 1", "add 0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// holding is a switch with these flows.
func holding(fs ...flow.Flow) *reconcile.Actual {
	m := model{}
	for _, f := range fs {
		m.put(openflow.Stat{Flow: f})
	}
	return m.actual(m.keys(), flowset.Composition{})
}

// A refused flow is left out, and the stale flow in its place does not stay.
func TestPlanLeavesOutTheRefused(t *testing.T) {
	stale := flow.Flow{Table: 20, Priority: 1, Cookie: mark | 1}
	bad := flow.Flow{Table: 20, Priority: 1, Cookie: mark | 1, Actions: []flow.Action{flow.Output(1)}}
	better := flow.Flow{Table: 20, Priority: 1, Cookie: mark | 1, Actions: []flow.Action{flow.Output(2)}}
	have, refused := holding(stale), reconcile.Refused{enc(&bad).Entry(): enc(&bad)}
	p := reconcile.NewPlan(have, reconcile.Desired{Flows: compose([]flow.Flow{bad})}, refused)
	if len(p.Puts) != 0 || len(p.Drops) != 1 {
		t.Errorf("%d puts, %d drops", len(p.Puts), len(p.Drops))
	}
	p = reconcile.NewPlan(have, reconcile.Desired{Flows: compose([]flow.Flow{better})}, refused)
	if len(p.Puts) != 1 || p.Changed() != 1 || len(p.Drops) != 0 {
		t.Errorf("a corrected flow is not tried: %d puts, %d drops", len(p.Puts), len(p.Drops))
	}
}

func TestPlanKeeps(t *testing.T) {
	gone := flow.Flow{Table: 20, Priority: 1, Cookie: mark | 1}
	changed := flow.Flow{Table: 20, Priority: 2, Cookie: mark | 1, Actions: []flow.Action{flow.Output(1)}}
	other := flow.Flow{Table: 20, Priority: 3, Cookie: mark | 2}
	want := flow.Flow{Table: 20, Priority: 2, Cookie: mark | 3}
	fresh := flow.Flow{Table: 20, Priority: 4, Cookie: mark | 1}
	have := holding(other, changed, gone)
	d := reconcile.Desired{Flows: compose([]flow.Flow{fresh, want}), Keep: func(h, w openflow.Encoded) bool { return h.Cookie() == mark|1 }}
	p := reconcile.NewPlan(have, d, nil)
	if p.Kept != 2 || len(p.Puts) != 1 || p.Puts[0] != enc(&fresh) || len(p.Drops) != 1 || p.Drops[0] != enc(&other) {
		t.Errorf("kept %d, puts %d, drops %d", p.Kept, len(p.Puts), len(p.Drops))
	}
	d.Keep = nil
	if p = reconcile.NewPlan(have, d, nil); len(p.Puts) != 2 || len(p.Drops) != 2 {
		t.Errorf("without keep: puts %d, drops %d", len(p.Puts), len(p.Drops))
	}
}

// manyFlows are as many flows of table ca as a big network has.
func manyFlows(n int) []flow.Flow {
	fs := make([]flow.Flow, n)
	for i := range fs {
		fs[i] = flow.Flow{Table: 20, Priority: 100, Cookie: mark | uint64(i),
			Match: flow.Match{
				flow.Exact(flow.Reg0, flow.Uint(uint64(i/1000))), flow.Exact(flow.Reg8, flow.Uint(0)), flow.Exact(flow.Reg9, flow.Uint(0)),
				flow.Exact(flow.Reg10, flow.Uint(0xffff)), flow.Exact(flow.Reg11, flow.Uint(0x0a000000+uint64(i))),
			},
			Actions: []flow.Action{flow.Set(flow.All(flow.Reg2), flow.Uint(5001)), flow.Set(flow.All(flow.Reg3), flow.Uint(uint64(i%100))),
				flow.Set(flow.All(flow.XReg6), flow.Uint(uint64(i))), flow.Goto(25)}}
	}
	return fs
}

// TestPlansFollowOneAnother: what a driver remembers after a plan is what it
// would read back, whatever was kept, refused or blocked; and a flow that moves
// to another block is not removed.
func TestPlansFollowOneAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sw := genSwitch(t)
		have := sw.actual(sw.keys(), flowset.Composition{})
		for round := range rapid.IntRange(2, 5).Draw(t, "rounds") {
			want := genWant(t)
			desired := reconcile.Desired{Revision: uint64(rapid.IntRange(0, 2).Draw(t, "revision")), Flows: compose(rapid.Permutation(want).Draw(t, "blocks"))}
			if rapid.Bool().Draw(t, "keep") {
				cookie := rapid.SampledFrom(ours).Draw(t, "kept")
				desired.Keep = func(h, _ openflow.Encoded) bool { return h.Cookie() == cookie }
			}
			refused := reconcile.Refused{}
			for _, f := range want {
				if rapid.IntRange(0, 5).Draw(t, "refuse") == 0 {
					refused[enc(&f).Entry()] = enc(&f)
				}
			}
			var got, back []string
			p := reconcile.NewPlan(have, desired, refused)
			for m := range reconcile.NewPlan(sw.actual(sw.keys(), desired.Flows), desired, refused).Mods() {
				back = append(back, fmt.Sprintf("%v %s %x", m.Op, m.Flow.Text(), m.RawMatch))
			}
			for m := range p.Mods() {
				sw.apply(m)
				got = append(got, fmt.Sprintf("%v %s %x", m.Op, m.Flow.Text(), m.RawMatch))
				if _, wanted := desired.Flows.Find(m.Flow); wanted && m.Op == openflow.DeleteStrict && m.RawMatch == nil && refused[m.Flow.Entry()] == "" && desired.Keep == nil {
					t.Fatalf("a wanted flow is removed: %s", m.Flow.Text())
				}
			}
			if !slices.Equal(got, back) {
				t.Fatalf("round %d: from memory %q, from the switch %q", round, got, back)
			}
			have = p.After()
			a := sw.actual(sw.keys(), desired.Flows)
			if have.Len != a.Len || have.NumForeign != a.NumForeign || have.HasSentinel != a.HasSentinel || have.Revision != a.Revision {
				t.Fatalf("round %d: remembered %d flows, %d foreign, revision %d; there are %d, %d, %d",
					round, have.Len, have.NumForeign, have.Revision, a.Len, a.NumForeign, a.Revision)
			}
		}
	})
}

// shuffled returns flows as scattered as a switch's hash table, and the same each
// time.
func shuffled(fs []flow.Flow) []flow.Flow {
	fs = slices.Clone(fs)
	for i := range fs {
		j := int(uint64(i) * 0x9e3779b97f4a7c15 % uint64(len(fs)))
		fs[i], fs[j] = fs[j], fs[i]
	}
	return fs
}

func BenchmarkPlan(b *testing.B) {
	const n = 100_000
	all := manyFlows(n)
	want := compose(all)
	changed := all[n/2]
	changed.Actions = changed.Actions[:3]
	id := fmt.Sprint(n / 2 % 3)
	s, _ := want.Get(id)
	e := s.Edit()
	e.Put(enc(&changed))
	one := want.With(id, e.Set())
	full := reconcile.NewPlan(&reconcile.Actual{}, reconcile.Desired{Flows: want}, nil).After()
	for _, c := range []struct {
		name string
		have *reconcile.Actual
		want flowset.Composition
		mods int
	}{
		{"empty-switch", &reconcile.Actual{}, want, n + 1},
		{"one-change", full, one, 2},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p := reconcile.NewPlan(c.have, reconcile.Desired{Flows: c.want}, nil); p.Len() != c.mods {
					b.Fatalf("%d changes, want %d", p.Len(), c.mods)
				}
			}
		})
	}
}

// BenchmarkCompare compares flows that were read back with the wanted ones.
func BenchmarkCompare(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all := manyFlows(n)
			want := compose(all)
			var back []*openflow.Entry
			for _, f := range shuffled(all) {
				back = append(back, entry(&openflow.Stat{Flow: f}))
			}
			b.ReportAllocs()
			for b.Loop() {
				r := reconcile.NewReader(want)
				for _, e := range back {
					r.Add(e)
				}
				if p := reconcile.NewPlan(r.Actual(), reconcile.Desired{Flows: want}, nil); p.Len() != 1 {
					b.Fatal(p.Len())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/flow")
		})
	}
}
