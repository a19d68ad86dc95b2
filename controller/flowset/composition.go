package flowset

import (
	"cmp"
	"iter"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
)

// Composition is an immutable list of blocks, each a [Set] with a name, that
// together are what one switch holds. Blocks are shared between switches; a
// Composition itself costs 40 octets a block. Assignment copies it, and any
// number of goroutines may read it. The zero Composition is empty.
//
// Blocks must have no entry in common: nothing looks for one in all of them when
// it changes in one. From one Composition to the next it may go from a block to
// another, such as when a VSID moves between routing domains.
type Composition struct {
	blocks []block // by id; never changed
	flows  int
}

type block struct {
	id  string
	set Set
}

// Whole returns the Composition of one block.
func Whole(id string, s Set) Composition { return Composition{}.With(id, s) }

func (c Composition) find(id string) (int, bool) {
	return slices.BinarySearchFunc(c.blocks, id, func(b block, id string) int { return cmp.Compare(b.id, id) })
}

// With returns c with s as the block of that name.
func (c Composition) With(id string, s Set) Composition {
	i, found := c.find(id)
	out := Composition{flows: c.flows + s.Len()}
	if found {
		if c.blocks[i].set == s {
			return c
		}
		out.flows -= c.blocks[i].set.Len()
		out.blocks = slices.Clone(c.blocks)
		out.blocks[i].set = s
		return out
	}
	out.blocks = make([]block, 0, len(c.blocks)+1)
	out.blocks = append(append(append(out.blocks, c.blocks[:i]...), block{id, s}), c.blocks[i:]...)
	return out
}

// Without returns c without the block of that name.
func (c Composition) Without(id string) Composition {
	i, found := c.find(id)
	if !found {
		return c
	}
	return Composition{blocks: slices.Concat(c.blocks[:i], c.blocks[i+1:]), flows: c.flows - c.blocks[i].set.Len()}
}

// Get returns a block.
func (c Composition) Get(id string) (Set, bool) {
	if i, found := c.find(id); found {
		return c.blocks[i].set, true
	}
	return Set{}, false
}

// IDs yields the names of the blocks, sorted.
func (c Composition) IDs() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range c.blocks {
			if !yield(c.blocks[i].id) {
				return
			}
		}
	}
}

// Len returns the number of flows.
func (c Composition) Len() int { return c.flows }

// Find returns the flow that is the same entry as e.
func (c Composition) Find(e openflow.Encoded) (openflow.Encoded, bool) {
	for i := range c.blocks {
		if f, found := c.blocks[i].set.Find(e); found {
			return f, true
		}
	}
	return "", false
}

// Unordered yields the flows of one block after the other.
func (c Composition) Unordered() iter.Seq[openflow.Encoded] {
	return func(yield func(openflow.Encoded) bool) {
		for i := range c.blocks {
			for f := range c.blocks[i].set.All() {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// All yields the flows in order.
func (c Composition) All() iter.Seq[openflow.Encoded] {
	return func(yield func(openflow.Encoded) bool) {
		for ch := range (Composition{}).Diff(c) {
			if !yield(ch.New) {
				return
			}
		}
	}
}
