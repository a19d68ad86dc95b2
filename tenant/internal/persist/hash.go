package persist

import (
	"iter"
	"slices"
)

const (
	fan      = 8 // kids of an inner node
	fanBits  = 3
	maxLeaf  = 16
	hashBits = 64
)

// Hash is a set of values that are found by the hash of a part of them: a trie
// with small buckets for leaves. The zero Hash is empty. Assignment copies it:
// after an edit under a new [Owner] the original is as it was.
//
// The caller computes the hash, which should be seeded, and says by same
// whether a value of that hash is the one meant.
type Hash[T any] struct{ root *bucket[T] }

// bucket is a leaf, or has kids, chosen by the next bits of the hash.
type bucket[T any] struct {
	owner *Owner
	n     int // values below, in an inner node
	kids  []*bucket[T]
	items []hashed[T]
}

type hashed[T any] struct {
	hash  uint64
	value T
}

// Len returns the number of values.
func (h Hash[T]) Len() int {
	if h.root == nil {
		return 0
	}
	return h.root.len()
}

func (b *bucket[T]) len() int { return b.n + len(b.items) }

// Find returns the value of that hash that is the same.
func (h Hash[T]) Find(hash uint64, same func(T) bool) (v T, found bool) {
	b := h.root
	for shift := 0; b != nil && b.kids != nil; shift += fanBits {
		b = b.kids[hash>>shift%fan]
	}
	if b != nil {
		if i := b.find(hash, same); i >= 0 {
			return b.items[i].value, true
		}
	}
	return v, false
}

func (b *bucket[T]) find(hash uint64, same func(T) bool) int {
	for i := range b.items {
		if b.items[i].hash == hash && same(b.items[i].value) {
			return i
		}
	}
	return -1
}

// Insert adds v where no value is the same; otherwise it returns that one.
func (h *Hash[T]) Insert(o *Owner, hash uint64, v T, same func(T) bool) (old T, found bool) {
	if h.root == nil {
		h.root = &bucket[T]{owner: o}
	}
	h.root = h.root.edit(o)
	b := h.root
	shift := 0
	for ; b.kids != nil; shift += fanBits {
		b.n++
		i := hash >> shift % fan
		if b.kids[i] == nil {
			b.kids[i] = &bucket[T]{owner: o}
		}
		b.kids[i] = b.kids[i].edit(o)
		b = b.kids[i]
	}
	if i := b.find(hash, same); i >= 0 {
		old = b.items[i].value
		h.uncount(hash)
		return old, true
	}
	b.items = append(b.items, hashed[T]{hash, v})
	if len(b.items) > maxLeaf && shift < hashBits {
		b.split(o, shift)
	}
	return old, false
}

// uncount takes back what a vain insertion counted.
func (h *Hash[T]) uncount(hash uint64) {
	for b, shift := h.root, 0; b.kids != nil; shift += fanBits {
		b.n--
		b = b.kids[hash>>shift%fan]
	}
}

func (b *bucket[T]) split(o *Owner, shift int) {
	b.kids, b.n = make([]*bucket[T], fan), len(b.items)
	for _, it := range b.items {
		kid := &b.kids[it.hash>>shift%fan]
		if *kid == nil {
			*kid = &bucket[T]{owner: o, items: make([]hashed[T], 0, maxLeaf/4)}
		}
		(*kid).items = append((*kid).items, it)
	}
	b.items = nil
	for _, kid := range b.kids {
		if kid != nil && len(kid.items) > maxLeaf && shift+fanBits < hashBits {
			kid.split(o, shift+fanBits)
		}
	}
}

func (b *bucket[T]) edit(o *Owner) *bucket[T] {
	if b.owner == o {
		return b
	}
	c := &bucket[T]{owner: o, n: b.n}
	if b.kids != nil {
		c.kids = slices.Clone(b.kids)
	} else {
		c.items = append(make([]hashed[T], 0, len(b.items)+1), b.items...)
	}
	return c
}

// Delete removes the value of that hash that is the same, and returns it.
func (h *Hash[T]) Delete(o *Owner, hash uint64, same func(T) bool) (old T, found bool) {
	if old, found = h.Find(hash, same); found {
		h.root = h.root.remove(o, hash, 0, same)
	}
	return old, found
}

func (b *bucket[T]) remove(o *Owner, hash uint64, shift int, same func(T) bool) *bucket[T] {
	b = b.edit(o)
	if b.kids == nil {
		i, last := b.find(hash, same), len(b.items)-1
		b.items[i] = b.items[last]
		b.items[last] = hashed[T]{}
		b.items = b.items[:last]
	} else {
		i := hash >> shift % fan
		b.kids[i] = b.kids[i].remove(o, hash, shift+fanBits, same)
		if b.n--; b.n <= maxLeaf/2 {
			items := make([]hashed[T], 0, maxLeaf/2)
			b.walk(func(it hashed[T]) bool { items = append(items, it); return true })
			b.n, b.kids, b.items = 0, nil, items
		}
	}
	if b.len() == 0 {
		return nil
	}
	return b
}

// All yields the values in no order.
func (h Hash[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		if h.root != nil {
			h.root.walk(func(it hashed[T]) bool { return yield(it.value) })
		}
	}
}

func (b *bucket[T]) walk(yield func(hashed[T]) bool) bool {
	for _, kid := range b.kids {
		if kid != nil && !kid.walk(yield) {
			return false
		}
	}
	for _, it := range b.items {
		if !yield(it) {
			return false
		}
	}
	return true
}
