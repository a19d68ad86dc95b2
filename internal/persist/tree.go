package persist

import (
	"iter"
	"slices"
)

// maxItems bounds the items of a node. An edit copies one node of each level,
// an iteration visits each node once: 32 serves both (BenchmarkTree).
const maxItems = 32

// Ordered is a value that knows its place among others.
type Ordered[T any] interface{ Compare(T) int }

// Tree is a sorted set, a B+ tree. The zero Tree is empty. Assignment copies
// it: after an edit under a new [Owner] the original is as it was.
//
// A probe says where an item stands relative to what is looked for: below zero
// for items before it, zero at it, above zero for items after it.
type Tree[T Ordered[T]] struct {
	root *node[T]
	n    int
}

// node is a leaf, with the items themselves, or has one item for each kid: the
// first below it.
type node[T Ordered[T]] struct {
	owner *Owner
	items []T
	kids  []*node[T]
}

// Len returns the number of items.
func (t Tree[T]) Len() int { return t.n }

// Insert adds v where the tree has no item equal to it; otherwise it returns that one.
func (t *Tree[T]) Insert(o *Owner, v T) (old T, found bool) { return t.put(o, v, false) }

// Replace adds v, in place of an item equal to it where there is one.
func (t *Tree[T]) Replace(o *Owner, v T) (old T, found bool) { return t.put(o, v, true) }

func (t *Tree[T]) put(o *Owner, v T, replace bool) (old T, found bool) {
	if t.root == nil {
		t.root, t.n = &node[T]{owner: o, items: []T{v}}, 1
		return old, false
	}
	root, split, old, found := t.root.put(o, v, replace)
	if split != nil {
		root = &node[T]{owner: o, items: []T{root.items[0], split.items[0]}, kids: []*node[T]{root, split}}
	}
	t.root = root
	if !found {
		t.n++
	}
	return old, found
}

func (n *node[T]) put(o *Owner, v T, replace bool) (self, split *node[T], old T, found bool) {
	n = n.edit(o)
	if n.kids == nil {
		i, ok := n.place(v)
		if ok {
			old = n.items[i]
			if replace {
				n.items[i] = v
			}
			return n, nil, old, true
		}
		return n, n.insert(o, i, v, nil), old, false
	}
	i, ok := n.place(v)
	if !ok && i > 0 {
		i--
	}
	kid, split, old, found := n.kids[i].put(o, v, replace)
	n.kids[i], n.items[i] = kid, kid.items[0]
	if split != nil {
		split = n.insert(o, i+1, split.items[0], split)
	}
	return n, split, old, found
}

// place returns the place of v, or where it would stand. Items mostly come in
// order: the end is tried first.
func (n *node[T]) place(v T) (int, bool) {
	lo, hi := 0, len(n.items)
	if n.items[hi-1].Compare(v) < 0 {
		return hi, false
	}
	for lo < hi {
		m := (lo + hi) / 2
		switch c := n.items[m].Compare(v); {
		case c == 0:
			return m, true
		case c < 0:
			lo = m + 1
		default:
			hi = m
		}
	}
	return lo, false
}

// insert puts an item, with its kid in an inner node, at place i. A full node is
// split; where the item is the last, the node stays full, so that sorted input
// fills the tree.
func (n *node[T]) insert(o *Owner, i int, v T, kid *node[T]) (split *node[T]) {
	to := n
	if len(n.items) == maxItems {
		at := maxItems / 2
		if i == maxItems {
			at = maxItems
		}
		split = &node[T]{owner: o, items: slices.Clone(n.items[at:])}
		clear(n.items[at:])
		n.items = n.items[:at]
		if n.kids != nil {
			split.kids = slices.Clone(n.kids[at:])
			clear(n.kids[at:])
			n.kids = n.kids[:at]
		}
		if i > at || at == maxItems {
			to, i = split, i-at
		}
	}
	to.items = slices.Insert(to.items, i, v)
	if kid != nil {
		to.kids = slices.Insert(to.kids, i, kid)
	}
	return split
}

// edit returns n, or a copy of it that o may change.
func (n *node[T]) edit(o *Owner) *node[T] {
	if n.owner == o {
		return n
	}
	room := min(len(n.items)+1, maxItems)
	c := &node[T]{owner: o, items: append(make([]T, 0, room), n.items...)}
	if n.kids != nil {
		c.kids = append(make([]*node[T], 0, room), n.kids...)
	}
	return c
}

// Delete removes the item that probe finds, and returns it.
func (t *Tree[T]) Delete(o *Owner, probe func(T) int) (old T, found bool) {
	if old, found = t.Find(probe); !found {
		return old, false
	}
	root := t.root.remove(o, probe)
	for len(root.kids) == 1 {
		root = root.kids[0]
	}
	if len(root.items) == 0 {
		root = nil
	}
	t.root = root
	t.n--
	return old, true
}

func (n *node[T]) remove(o *Owner, probe func(T) int) *node[T] {
	n = n.edit(o)
	i := n.floor(probe)
	if n.kids == nil {
		n.items = slices.Delete(n.items, i, i+1)
		return n
	}
	kid := n.kids[i].remove(o, probe)
	if len(kid.items) == 0 {
		n.items, n.kids = slices.Delete(n.items, i, i+1), slices.Delete(n.kids, i, i+1)
		return n
	}
	n.kids[i], n.items[i] = kid, kid.items[0]
	if len(kid.items) < maxItems/4 {
		n.merge(o, i)
	}
	return n
}

// merge joins kid i with a neighbour where both have room in one.
func (n *node[T]) merge(o *Owner, i int) {
	for _, left := range [...]int{i - 1, i} {
		if left < 0 || left+1 >= len(n.kids) || len(n.kids[left].items)+len(n.kids[left+1].items) > maxItems*3/4 {
			continue
		}
		l, r := n.kids[left].edit(o), n.kids[left+1]
		l.items, l.kids = append(l.items, r.items...), append(l.kids, r.kids...)
		n.kids[left] = l
		n.items, n.kids = slices.Delete(n.items, left+1, left+2), slices.Delete(n.kids, left+1, left+2)
		return
	}
}

// floor returns the last place that is not after what probe looks for, or 0.
func (n *node[T]) floor(probe func(T) int) int {
	lo, hi := 0, len(n.items)
	for lo < hi {
		m := (lo + hi) / 2
		if probe(n.items[m]) <= 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return max(lo-1, 0)
}

// Find returns the item that probe finds.
func (t Tree[T]) Find(probe func(T) int) (v T, found bool) {
	v, found = t.Floor(probe)
	if !found || probe(v) != 0 {
		var zero T
		return zero, false
	}
	return v, true
}

// Floor returns the last item that is not after what probe looks for.
func (t Tree[T]) Floor(probe func(T) int) (v T, found bool) {
	n := t.root
	if n == nil {
		return v, false
	}
	for n.kids != nil {
		n = n.kids[n.floor(probe)]
	}
	if v := n.items[n.floor(probe)]; probe(v) <= 0 {
		return v, true
	}
	return v, false
}

// All yields the items in order.
func (t Tree[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		if t.root != nil {
			t.root.walk(yield)
		}
	}
}

func (n *node[T]) walk(yield func(T) bool) bool {
	for _, kid := range n.kids {
		if !kid.walk(yield) {
			return false
		}
	}
	if n.kids == nil {
		for _, v := range n.items {
			if !yield(v) {
				return false
			}
		}
	}
	return true
}

// From yields, in order, the items that are not before what probe looks for.
func (t Tree[T]) From(probe func(T) int) iter.Seq[T] {
	return func(yield func(T) bool) {
		if t.root != nil {
			t.root.walkFrom(probe, yield)
		}
	}
}

func (n *node[T]) walkFrom(probe func(T) int, yield func(T) bool) bool {
	i := n.floor(probe)
	if n.kids == nil {
		if probe(n.items[i]) < 0 {
			i++
		}
		for ; i < len(n.items); i++ {
			if !yield(n.items[i]) {
				return false
			}
		}
		return true
	}
	if !n.kids[i].walkFrom(probe, yield) {
		return false
	}
	for _, kid := range n.kids[i+1:] {
		if !kid.walk(yield) {
			return false
		}
	}
	return true
}
