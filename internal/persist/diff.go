package persist

import "iter"

// Pair is an item of two versions of a tree: equal in order, or missing in one.
type Pair[T any] struct {
	Old, New     T
	InOld, InNew bool
}

// Diff yields, in order, the items that the trees may differ in: those that only
// one has, and pairs that are equal in order. It passes over nodes that both
// trees share, and so costs about as much as the edits between them.
func Diff[T Ordered[T]](before, after Tree[T]) iter.Seq[Pair[T]] {
	return func(yield func(Pair[T]) bool) {
		a, b := newCursor(before), newCursor(after)
		for len(a.stack) > 0 || len(b.stack) > 0 {
			var order int
			switch {
			case len(a.stack) == 0:
				order = 1
			case len(b.stack) == 0:
				order = -1
			default:
				order = a.first().Compare(b.first())
			}
			switch {
			case order < 0 && a.height() >= 0:
				a.open()
			case order > 0 && b.height() >= 0:
				b.open()
			case order < 0:
				if !yield(Pair[T]{Old: a.pop(), InOld: true}) {
					return
				}
			case order > 0:
				if !yield(Pair[T]{New: b.pop(), InNew: true}) {
					return
				}
			case a.height() < 0 && b.height() < 0:
				if !yield(Pair[T]{Old: a.pop(), New: b.pop(), InOld: true, InNew: true}) {
					return
				}
			case a.node() == b.node():
				a.pop()
				b.pop()
			// A shared node begins with the same item in both trees and is
			// equally high: opened this way, both cursors come to stand on it.
			case a.height() > b.height():
				a.open()
			case a.height() < b.height():
				b.open()
			default:
				a.open()
				b.open()
			}
		}
	}
}

// cursor stands on a node that is not open yet, or on an item of an open leaf.
type cursor[T Ordered[T]] struct{ stack []frame[T] }

type frame[T Ordered[T]] struct {
	n      *node[T]
	i      int
	height int // of what stands at i: -1 for an item
}

func newCursor[T Ordered[T]](t Tree[T]) *cursor[T] {
	c := &cursor[T]{}
	if t.root == nil {
		return c
	}
	height := 0
	for n := t.root; n.kids != nil; n = n.kids[0] {
		height++
	}
	// A node above the root makes the root a kid like others.
	c.stack = append(c.stack, frame[T]{&node[T]{items: t.root.items[:1], kids: []*node[T]{t.root}}, 0, height})
	return c
}

func (c *cursor[T]) top() *frame[T] { return &c.stack[len(c.stack)-1] }
func (c *cursor[T]) height() int    { return c.top().height }
func (c *cursor[T]) first() T       { return c.top().n.items[c.top().i] }

// node returns the node that c stands on, nil on an item.
func (c *cursor[T]) node() *node[T] {
	if f := c.top(); f.height >= 0 {
		return f.n.kids[f.i]
	}
	return nil
}

func (c *cursor[T]) open() {
	c.stack = append(c.stack, frame[T]{c.node(), 0, c.height() - 1})
}

// pop moves on, and returns the item that c stood on, or the first of its node.
func (c *cursor[T]) pop() T {
	v := c.first()
	for len(c.stack) > 0 {
		f := c.top()
		if f.i++; f.i < len(f.n.items) {
			break
		}
		c.stack = c.stack[:len(c.stack)-1]
	}
	return v
}
