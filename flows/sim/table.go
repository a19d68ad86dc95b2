package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// table classifies packets by tuple space search, as Open vSwitch does: the
// flows that test the same bits are one group, in which a hash finds the flow.
// The groups are searched by falling greatest priority, and no further than
// could help.
type table struct {
	groups []*group
}

type group struct {
	words []maskedWord
	max   uint16 // the greatest priority in the group
	first map[uint64]int32
	rules []rule
	keys  []uint64 // the rules' values, len(words) for each
}

type maskedWord struct {
	word uint8
	mask uint64
}

// rule is a flow in its group. Rules whose hash is the same are a list.
type rule struct {
	priority uint16
	index    int32 // of the flow in the switch
	next     int32 // the next rule of the hash, or -1
}

// tuple returns the words that a match tests, with their masks and values.
func tuple(m flow.Match) (words []maskedWord, values []uint64, err error) {
	var mask, value state
	h := headersOf(m)
	for _, t := range m {
		info := t.Field.Info()
		switch {
		case t.Field >= flow.NumFields:
			return nil, nil, fmt.Errorf("matches unknown field %d", t.Field)
		case !h.has(t.Field):
			return nil, nil, fmt.Errorf("matches %s without what it presupposes, such as dl_type", info.Name)
		case t.Mask.IsZero() || !t.Mask.And(flow.Ones(info.Bits).Not()).IsZero():
			return nil, nil, fmt.Errorf("matches %s with mask %s", info.Name, t.Mask)
		case !t.Value.And(t.Mask.Not()).IsZero():
			return nil, nil, fmt.Errorf("matches %s with bits outside the mask", info.Name)
		case !t.IsExact() && wholeOnly(t.Field):
			return nil, nil, fmt.Errorf("matches %s with a mask, which it cannot have", info.Name)
		}
		all := flow.All(t.Field)
		if !mask.get(all).And(t.Mask).IsZero() {
			return nil, nil, fmt.Errorf("matches %s twice", info.Name)
		}
		mask.set(all, mask.get(all).Or(t.Mask))
		value.set(all, value.get(all).Or(t.Value))
	}
	for i := range mask {
		if mask[i] != 0 {
			words = append(words, maskedWord{uint8(i), mask[i]})
			values = append(values, value[i])
		}
	}
	return words, values, nil
}

// wholeOnly reports whether a field cannot be matched in part (ovs-fields(7),
// "Maskable").
func wholeOnly(f flow.Field) bool {
	switch f {
	case flow.InPort, flow.EthType, flow.IPProto, flow.IPTTL, flow.ARPOp,
		flow.ICMPType, flow.ICMPCode, flow.ICMPv6Type, flow.ICMPv6Code, flow.NDReserved, flow.NDOptType:
		return true
	}
	return false
}

const (
	hashStart = 0x9e3779b97f4a7c15
	hashPrime = 0xff51afd7ed558ccd
)

func mix(h, v uint64) uint64 {
	h = (h ^ v) * hashPrime
	return h ^ h>>32
}

// add adds a flow to the table.
func (t *table) add(index int, f *flow.Flow) error {
	words, values, err := tuple(f.Match)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(t.groups, func(g *group) bool { return slices.Equal(g.words, words) })
	if i < 0 {
		i = len(t.groups)
		t.groups = append(t.groups, &group{words: words, first: make(map[uint64]int32)})
	}
	g := t.groups[i]
	g.max = max(g.max, f.Priority)
	h := uint64(hashStart)
	for _, v := range values {
		h = mix(h, v)
	}
	n := int32(len(g.rules))
	next, ok := g.first[h]
	if !ok {
		next = -1
	}
	g.rules = append(g.rules, rule{f.Priority, int32(index), next})
	g.keys = append(g.keys, values...)
	g.first[h] = n
	return nil
}

// ready sorts the groups once all flows are in.
func (t *table) ready() {
	slices.SortStableFunc(t.groups, func(a, b *group) int { return cmp.Compare(b.max, a.max) })
}

// lookup returns the index of the flow that takes the packet; -1 for none. Of
// several of one priority it is the first, where Open vSwitch is free to choose.
func (t *table) lookup(s *state) int32 {
	found, priority := int32(-1), -1
	for _, g := range t.groups {
		if int(g.max) < priority {
			break
		}
		h := uint64(hashStart)
		for _, w := range g.words {
			h = mix(h, s[w.word]&w.mask)
		}
		i, ok := g.first[h]
		if !ok {
			continue
		}
		for ; i >= 0; i = g.rules[i].next {
			r := &g.rules[i]
			if int(r.priority) < priority || int(r.priority) == priority && r.index > found {
				continue
			}
			if g.equal(int(i), s) {
				found, priority = r.index, int(r.priority)
			}
		}
	}
	return found
}

func (g *group) equal(rule int, s *state) bool {
	key := g.keys[rule*len(g.words):]
	for i, w := range g.words {
		if s[w.word]&w.mask != key[i] {
			return false
		}
	}
	return true
}
