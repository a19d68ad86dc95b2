package flows

import (
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// numbers are what stands for routing domains, or for hosts, in registers: 32
// bits that depend on their identifiers alone, so that a new object leaves the
// numbers of the others as they are. Where two hashes collide, the object that
// comes first in the policy keeps the number.
type numbers[K comparable] struct {
	hash  func(K) uint32
	known persist.Hash[K] // by hash
	odd   map[K]uint32    // those whose number is not their hash
}

// of returns the number of k; false where k is not there.
func (n *numbers[K]) of(k K) (uint32, bool) {
	h := n.hash(k)
	if _, ok := n.known.Find(uint64(h), func(l K) bool { return l == k }); !ok {
		return 0, false
	}
	if i, ok := n.odd[k]; ok {
		return i, true
	}
	return h, true
}

// next returns the numbers where some objects have gone and others have come.
// Only where hashes collide does it look at all the others.
func (n numbers[K]) next(gone, come []K, order func() iter.Seq[K]) numbers[K] {
	if len(gone)+len(come) == 0 {
		return n
	}
	o := &persist.Owner{}
	collide := len(n.odd) > 0
	for _, k := range gone {
		n.known.Delete(o, uint64(n.hash(k)), func(l K) bool { return l == k })
	}
	for _, k := range come {
		h := n.hash(k)
		if _, taken := n.known.Find(uint64(h), func(K) bool { return true }); taken || h == 0 {
			collide = true
		}
		n.known.Insert(o, uint64(h), k, func(l K) bool { return l == k })
	}
	n.odd = nil
	if !collide {
		return n
	}
	taken := map[uint32]bool{0: true}
	for k := range order() {
		h := n.hash(k)
		i := h
		for taken[i] {
			i++
		}
		taken[i] = true
		if i != h {
			if n.odd == nil {
				n.odd = make(map[K]uint32)
			}
			n.odd[k] = i
		}
	}
	return n
}

// same reports whether k has the same number in n and m, or is in neither.
func (n *numbers[K]) same(m *numbers[K], k K) bool {
	i, a := n.of(k)
	j, b := m.of(k)
	return i == j && a == b
}

// moved yields those of both whose numbers differ because of a collision.
func (n *numbers[K]) moved(m *numbers[K]) iter.Seq[K] {
	return func(yield func(K) bool) {
		for _, odd := range []map[K]uint32{n.odd, m.odd} {
			for k := range odd {
				if !n.same(m, k) && !yield(k) {
					return
				}
			}
		}
	}
}
