package flowset

import "slices"

// Draft is a Composition that changes. However many blocks change between two
// calls of [Draft.Composition], what it has given out is copied once. The zero
// Draft is empty. It is not for concurrent use.
type Draft struct {
	c   Composition
	own bool // nobody else knows c's blocks
}

// Get returns a block.
func (d *Draft) Get(id string) (Set, bool) { return d.c.Get(id) }

// Put makes s the block of that name.
func (d *Draft) Put(id string, s Set) {
	i, found := d.c.find(id)
	if found && d.c.blocks[i].set == s {
		return
	}
	if !d.own {
		d.c.blocks = append(make([]block, 0, len(d.c.blocks)+1), d.c.blocks...)
		d.own = true
	}
	if !found {
		d.c.blocks = slices.Insert(d.c.blocks, i, block{id: id})
	}
	d.c.flows += s.Len() - d.c.blocks[i].set.Len()
	d.c.blocks[i].set = s
}

// Delete takes out the block of that name, if there is one.
func (d *Draft) Delete(id string) { d.c, d.own = d.c.Without(id), false }

// Composition returns what the draft is now.
func (d *Draft) Composition() Composition {
	d.own = false
	return d.c
}
