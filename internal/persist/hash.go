package persist

import (
	"iter"
	"math/bits"
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
	kids  []*bucket[T]
	items []Hashed[T]
}

// Hashed is a value with its hash.
type Hashed[T any] struct {
	Hash  uint64
	Value T
}

// Find returns the value of that hash that is the same.
func (h Hash[T]) Find(hash uint64, same func(T) bool) (v T, found bool) {
	b := h.root
	for shift := 0; b != nil && b.kids != nil; shift += fanBits {
		b = b.kids[hash>>shift%fan]
	}
	if b != nil {
		if i := b.find(hash, same); i >= 0 {
			return b.items[i].Value, true
		}
	}
	return v, false
}

// Same yields the values of that hash that are the same, in no order. There are
// several where the same of [Hash.Insert] told them apart.
func (h Hash[T]) Same(hash uint64, same func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		b := h.root
		for shift := 0; b != nil && b.kids != nil; shift += fanBits {
			b = b.kids[hash>>shift%fan]
		}
		if b == nil {
			return
		}
		for i := range b.items {
			if b.items[i].Hash == hash && same(b.items[i].Value) && !yield(b.items[i].Value) {
				return
			}
		}
	}
}

func (b *bucket[T]) find(hash uint64, same func(T) bool) int {
	for i := range b.items {
		if b.items[i].Hash == hash && same(b.items[i].Value) {
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
		kid := &b.kids[hash>>shift%fan]
		switch {
		case *kid == nil:
			*kid = &bucket[T]{owner: o}
		case (*kid).owner != o:
			*kid = (*kid).edit(o)
		}
		b = *kid
	}
	if i := b.find(hash, same); i >= 0 {
		return b.items[i].Value, true
	}
	b.items = append(b.items, Hashed[T]{hash, v})
	if len(b.items) > maxLeaf && shift < hashBits {
		b.split(o, shift)
	}
	return old, false
}

// InsertAll adds the values as [Hash.Insert] does one after the other, but calls
// taken with each that is not added, and with the one in its way. Of many values
// it takes those together that are near one another in the trie, which spares
// the processor's caches; two that are the same keep their order.
func (h *Hash[T]) InsertAll(o *Owner, values []Hashed[T], same func(a, b T) bool, taken func(v, old T)) {
	for _, v := range group(values) {
		if old, found := h.Insert(o, v.Hash, v.Value, func(w T) bool { return same(v.Value, w) }); found {
			taken(v.Value, old)
		}
	}
}

// group orders values by the first bits of their hashes, so that each group is
// a part of the trie that the caches hold.
func group[T any](values []Hashed[T]) []Hashed[T] {
	const part = 2048
	if len(values) < 2*part {
		return values
	}
	mask := uint64(1)<<min(bits.Len(uint(len(values)/part)), 12) - 1
	from := make([]int, mask+2)
	for _, v := range values {
		from[v.Hash&mask+1]++
	}
	for i := range mask {
		from[i+1] += from[i]
	}
	out := make([]Hashed[T], len(values))
	for _, v := range values {
		out[from[v.Hash&mask]] = v
		from[v.Hash&mask]++
	}
	return out
}

func (b *bucket[T]) split(o *Owner, shift int) {
	b.kids = make([]*bucket[T], fan)
	for _, it := range b.items {
		kid := &b.kids[it.Hash>>shift%fan]
		if *kid == nil {
			*kid = &bucket[T]{owner: o, items: make([]Hashed[T], 0, maxLeaf/4)}
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
	c := &bucket[T]{owner: o}
	if b.kids != nil {
		c.kids = slices.Clone(b.kids)
	} else {
		c.items = append(make([]Hashed[T], 0, len(b.items)+1), b.items...)
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

// remove returns nil where nothing is left.
func (b *bucket[T]) remove(o *Owner, hash uint64, shift int, same func(T) bool) *bucket[T] {
	b = b.edit(o)
	if b.kids == nil {
		i, last := b.find(hash, same), len(b.items)-1
		b.items[i] = b.items[last]
		b.items[last] = Hashed[T]{}
		if b.items = b.items[:last]; last == 0 {
			return nil
		}
		return b
	}
	i := hash >> shift % fan
	b.kids[i] = b.kids[i].remove(o, hash, shift+fanBits, same)
	return b.gather()
}

// gather makes b a leaf where its kids are leaves and hold little.
func (b *bucket[T]) gather() *bucket[T] {
	n := 0
	for _, kid := range b.kids {
		if kid == nil {
			continue
		}
		if n += len(kid.items); kid.kids != nil || n > maxLeaf/2 {
			return b
		}
	}
	if n == 0 {
		return nil
	}
	items := make([]Hashed[T], 0, n)
	for _, kid := range b.kids {
		if kid != nil {
			items = append(items, kid.items...)
		}
	}
	b.kids, b.items = nil, items
	return b
}

// All yields the values in no order.
func (h Hash[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		if h.root != nil {
			h.root.walk(func(it Hashed[T]) bool { return yield(it.Value) })
		}
	}
}

func (b *bucket[T]) walk(yield func(Hashed[T]) bool) bool {
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
