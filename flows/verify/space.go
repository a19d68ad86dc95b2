package verify

import "math/bits"

// term demands that the bits of an input word under mask are val's.
type term struct {
	word      uint8
	mask, val uint64
}

// cube is a set of packets: those that meet all its terms, which are sorted by
// word, one for each word at most. Bits that no term names may be anything.
type cube []term

// find returns the cube's demand on a word.
func (c cube) find(word uint8) (mask, val uint64) {
	for i := range c {
		if c[i].word == word {
			return c[i].mask, c[i].val
		}
	}
	return 0, 0
}

// with returns the cube's packets that meet more terms too, which may be in any
// order; ok is false where there are none.
func (c cube) with(more ...term) (out cube, ok bool) {
	out = make(cube, len(c), len(c)+len(more))
	copy(out, c)
next:
	for _, t := range more {
		i := 0
		for ; i < len(out) && out[i].word <= t.word; i++ {
			if o := &out[i]; o.word == t.word {
				if (o.val^t.val)&o.mask&t.mask != 0 {
					return nil, false
				}
				o.val |= t.val
				o.mask |= t.mask
				continue next
			}
		}
		out = append(out, term{})
		copy(out[i+1:], out[i:])
		out[i] = t
	}
	return out, true
}

// relation is how the packets of one cube lie to those of another.
type relation uint8

const (
	disjoint relation = iota
	partial           // some are, perhaps
	inside            // all are
)

// in tells how c's packets lie to n's.
func (c cube) in(n cube) relation {
	r := inside
	for i := range n {
		t := &n[i]
		mask, val := c.find(t.word)
		if (val^t.val)&mask&t.mask != 0 {
			return disjoint
		}
		if t.mask&^mask != 0 {
			r = partial
		}
	}
	return r
}

// space is a cube without the packets of other cubes.
type space struct {
	cube cube
	negs []cube
}

// narrow returns the part of the space that meets more terms; ok is false where
// it is seen at once to be empty. Where ok is true it may still be empty: see
// witness.
func (s space) narrow(more ...term) (out space, ok bool) {
	if out.cube, ok = s.cube.with(more...); !ok {
		return out, false
	}
	for i, n := range s.negs {
		switch out.cube.in(n) {
		case inside:
			return out, false
		case partial:
			if out.negs == nil {
				out.negs = make([]cube, 0, len(s.negs)-i)
			}
			out.negs = append(out.negs, n)
		}
	}
	return out, true
}

// without returns the space less the packets that meet the terms; ok is false
// where these are all.
func (s space) without(t ...term) (out space, ok bool) {
	n, _ := cube(nil).with(t...)
	switch s.cube.in(n) {
	case inside:
		return s, false
	case disjoint:
		return s, true
	}
	negs := make([]cube, len(s.negs)+1)
	copy(negs, s.negs)
	negs[len(s.negs)] = n
	return space{s.cube, negs}, true
}

// maxSteps bounds the search for a packet: beyond, nobody can say.
const maxSteps = 200_000

// witness finds a packet of a space: a cube all of whose packets are in it.
// known is false where the search was given up.
func (s space) witness() (found cube, ok, known bool) {
	steps := 0
	found, ok = search(s.cube, s.negs, &steps)
	return found, ok, steps < maxSteps
}

// search looks for a part of c that lies outside all negs, by halving: on a bit
// of the neg that demands least, the half outside of it first.
func search(c cube, negs []cube, steps *int) (cube, bool) {
	if *steps++; *steps >= maxSteps {
		return nil, false
	}
	var left []cube
	var least cube
	fewest := 1 << 30
	for _, n := range negs {
		switch c.in(n) {
		case inside:
			return nil, false
		case partial:
			left = append(left, n)
			free := 0
			for _, t := range n {
				mask, _ := c.find(t.word)
				free += bits.OnesCount64(t.mask &^ mask)
			}
			if free < fewest {
				least, fewest = n, free
			}
		}
	}
	if len(left) == 0 {
		return c, true
	}
	for _, t := range least {
		mask, _ := c.find(t.word)
		free := t.mask &^ mask
		if free == 0 {
			continue
		}
		bit := free & -free
		for _, val := range []uint64{^t.val & bit, t.val & bit} {
			half, _ := c.with(term{t.word, bit, val})
			if found, ok := search(half, left, steps); ok {
				return found, true
			}
		}
		break
	}
	return nil, false
}
