package verify

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// table finds the flows that packets of a space may meet. It is a set of groups:
// the flows that test the same bits, which a hash finds where all these bits are
// known, and an index of its own for each set of bits that is. Hosts whose tables
// are alike share one. It does not change but for the indexes.
type table struct {
	id     uint8
	flows  []flow.Flow
	rules  []rule
	groups []*group // by falling priority of their first
	words  []uint8  // that some group tests
}

// rule is a flow in the form that packets are walked through.
type rule struct {
	flow     *flow.Flow
	index    int // in the table
	priority uint16
	terms    []term
	steps    []step
	odd      string // why it cannot be judged
	leaks    bool   // it cannot for a port to which no policy means packets to go
	any      bool   // nobody knows what it matches
}

type group struct {
	words []uint8
	masks []uint64
	max   uint16
	rules []int32
	first map[uint64]int32 // the first of rules with that hash
	next  []int32          // the next with the same hash, or -1
	mu    sync.Mutex
	views atomic.Pointer[[]*view]
}

// view is an index by some of the bits that a group tests.
type view struct {
	masks []uint64
	of    map[uint64][]int32 // places in rules
}

const (
	hashStart = 0x9e3779b97f4a7c15
	hashPrime = 0xff51afd7ed558ccd
)

func mix(h, v uint64) uint64 {
	h = (h ^ v) * hashPrime
	return h ^ h>>32
}

// newTable makes a table of flows; odd has what keeps some from being judged.
func newTable(id uint8, fs []flow.Flow, odd []oddity) *table {
	t := &table{id: id, flows: fs, rules: make([]rule, len(fs))}
	byTuple := make(map[string]*group)
	var used [words.Count]bool
	var name []byte
	for i := range fs {
		f := &fs[i]
		r := &t.rules[i]
		*r = rule{flow: f, index: i, priority: f.Priority}
		if odd[i] != (oddity{}) {
			r.odd, r.any = odd[i].why, odd[i].anyMatch
		}
		if !r.any {
			r.terms = termsOf(f.Match)
		}
		if r.odd == "" {
			r.steps, r.odd = stepsOf(f)
			_, where := leakOf(f)
			r.leaks = where != ""
		}
		name = name[:0]
		for _, x := range r.terms {
			name = append(name, x.word)
			for s := 0; s < 64; s += 8 {
				name = append(name, byte(x.mask>>s))
			}
		}
		g := byTuple[string(name)]
		if g == nil {
			g = &group{first: make(map[uint64]int32)}
			for _, x := range r.terms {
				g.words, g.masks = append(g.words, x.word), append(g.masks, x.mask)
				used[x.word] = true
			}
			byTuple[string(name)] = g
			t.groups = append(t.groups, g)
		}
		g.max = max(g.max, f.Priority)
		h := uint64(hashStart)
		for _, x := range r.terms {
			h = mix(h, x.val)
		}
		next, ok := g.first[h]
		if !ok {
			next = -1
		}
		g.first[h] = int32(len(g.rules))
		g.next = append(g.next, next)
		g.rules = append(g.rules, int32(i))
	}
	slices.SortStableFunc(t.groups, func(a, b *group) int { return cmp.Compare(b.max, a.max) })
	for w, u := range used {
		if u {
			t.words = append(t.words, uint8(w))
		}
	}
	return t
}

// termsOf returns a match as terms by word.
func termsOf(m flow.Match) []term {
	var c cube
	for _, t := range m {
		c, _ = c.with(spread(t.Field, t.Value, t.Mask)...)
	}
	return c
}

// known is what is known of the words of a packet.
type known struct{ mask, val [words.Count]uint64 }

// candidates appends the rules that packets may meet of which that is known, and
// no rules that others are sure to go before.
func (t *table) candidates(k *known, out []*rule) []*rule {
	floor := -1
	for _, g := range t.groups {
		if int(g.max) < floor {
			break
		}
		out = t.ofGroup(g, k, out, &floor)
	}
	if len(out) > 1 {
		slices.SortStableFunc(out, func(a, b *rule) int { return cmp.Compare(b.priority, a.priority) })
		for i, r := range out {
			if int(r.priority) < floor {
				return out[:i]
			}
		}
	}
	return out
}

func (t *table) ofGroup(g *group, k *known, out []*rule, floor *int) []*rule {
	h := uint64(hashStart)
	sure := true
	for i, w := range g.words {
		if g.masks[i]&^k.mask[w] != 0 {
			sure = false
			break
		}
		h = mix(h, k.val[w]&g.masks[i])
	}
	if sure {
		i, ok := g.first[h]
		if !ok {
			return out
		}
		for ; i >= 0; i = g.next[i] {
			if r := &t.rules[g.rules[i]]; r.may(k) {
				out = append(out, r)
				if !r.any {
					*floor = max(*floor, int(r.priority))
				}
			}
		}
		return out
	}
	v := t.view(g, k)
	if v == nil {
		for _, i := range g.rules {
			out = append(out, &t.rules[i])
		}
		return out
	}
	h = hashStart
	for i, w := range g.words {
		h = mix(h, k.val[w]&v.masks[i])
	}
	for _, i := range v.of[h] {
		if r := &t.rules[g.rules[i]]; r.may(k) {
			out = append(out, r)
		}
	}
	return out
}

// may reports whether nothing that is known forbids the rule.
func (r *rule) may(k *known) bool {
	for i := range r.terms {
		x := &r.terms[i]
		if (k.val[x.word]^x.val)&x.mask&k.mask[x.word] != 0 {
			return false
		}
	}
	return true
}

// view returns the group's index by the bits that are known; nil where none is.
func (t *table) view(g *group, k *known) *view {
	find := func(vs []*view) *view {
	next:
		for _, v := range vs {
			for i, w := range g.words {
				if v.masks[i] != g.masks[i]&k.mask[w] {
					continue next
				}
			}
			return v
		}
		return nil
	}
	some := false
	for i, w := range g.words {
		some = some || g.masks[i]&k.mask[w] != 0
	}
	if !some {
		return nil
	}
	if vs := g.views.Load(); vs != nil {
		if v := find(*vs); v != nil {
			return v
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var vs []*view
	if old := g.views.Load(); old != nil {
		if v := find(*old); v != nil {
			return v
		}
		vs = *old
	}
	v := &view{of: make(map[uint64][]int32)}
	for i, w := range g.words {
		v.masks = append(v.masks, g.masks[i]&k.mask[w])
	}
	for place, i := range g.rules {
		h := uint64(hashStart)
		for n, x := range t.rules[i].terms {
			h = mix(h, x.val&v.masks[n])
		}
		v.of[h] = append(v.of[h], int32(place))
	}
	vs = append(slices.Clip(vs), v)
	g.views.Store(&vs)
	return v
}

// step is one action in the form that packets are walked through.
type step struct {
	op    flow.Op
	sets  []term // of OpSet
	runs  []run  // of OpMove and OpOutputReg: the source, moved to bit 0 of a word
	port  uint32
	group uint32
	table uint8
}

// stepsOf translates a flow's actions; odd says why it cannot.
func stepsOf(f *flow.Flow) (steps []step, odd string) {
	if len(f.Actions) == 0 {
		return nil, ""
	}
	steps = make([]step, len(f.Actions))
	for i, a := range f.Actions {
		s := &steps[i]
		s.op, s.port, s.table = a.Op, a.Port, a.Table
		switch a.Op {
		case flow.OpSet:
			if judged := settable(a.Dst.Field); !judged {
				return nil, "it writes " + a.Dst.Field.Info().Long
			}
			s.sets = spread(a.Dst.Field, a.Value.And(flow.Ones(int(a.Dst.N))).Shl(int(a.Dst.Ofs)), a.Dst.Mask())
		case flow.OpMove:
			if judged := settable(a.Dst.Field); !judged {
				return nil, "it writes " + a.Dst.Field.Info().Long
			}
			s.runs = runs(a.Dst, a.Src)
		case flow.OpOutput:
			if a.Port == portController {
				s.op = 0 // the packet goes on unchanged, and by no port
				continue
			}
			if a.Port > sim.MaxPort && a.Port != flow.PortInPort {
				return nil, fmt.Sprintf("it sends to the reserved port %#x, such as normal or flood", a.Port)
			}
		case flow.OpOutputReg:
			if a.Src.N > 64 {
				return nil, "it outputs to a port in more than 64 bits"
			}
			s.runs = runs(flow.Bits{Field: flow.XReg0, N: a.Src.N}, a.Src)
		case flow.OpGroup:
			if s.group = a.Group; i != len(f.Actions)-1 {
				return nil, "it does more behind a group"
			}
		case flow.OpResubmit:
			if s.op = flow.OpGoto; i != len(f.Actions)-1 {
				return nil, "it does more behind a resubmit"
			}
		case flow.OpCheckLarger:
			// The proof is of packets that the underlay takes.
			s.op = flow.OpSet
			s.sets = spread(a.Dst.Field, flow.Uint(0), a.Dst.Mask())
		case flow.OpController:
			if a.Controller != flows.ControllerID {
				return nil, "it does " + a.Text()
			}
			s.port = a.Meter
		case flow.OpDecTTL, flow.OpGoto:
		default:
			return nil, "it does " + a.Text()
		}
	}
	return steps, ""
}

// settable reports whether a write to the field can be judged: one that changes
// which headers a packet has cannot, but for the type of an ICMPv6 message, which
// no flow reads without.
func settable(f flow.Field) bool {
	switch f {
	case flow.VLANTCI, flow.ICMPv6Code, flow.InPort, flow.EthType, flow.IPProto:
		return false
	}
	return true
}
