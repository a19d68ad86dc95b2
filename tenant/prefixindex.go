package tenant

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
)

// prefixIndex finds the subnet that an address of a routing domain belongs to.
// Two prefixes either share no address or one holds the other, so that a sorted
// list with a link from each prefix to the narrowest one around it is enough.
type prefixIndex struct {
	entries []prefixEntry
	parent  []int // the entry that holds this one, or -1
}

// prefixEntry is prefix number index of subnet number subnet of the domain.
type prefixEntry struct {
	prefix        netip.Prefix
	subnet, index int
}

// compare orders entries as they stand in the spec.
func (e prefixEntry) compare(o prefixEntry) int {
	return cmp.Or(cmp.Compare(e.subnet, o.subnet), cmp.Compare(e.index, o.index))
}

func (e prefixEntry) before(o prefixEntry) bool { return e.compare(o) < 0 }

func (x *prefixIndex) add(p netip.Prefix, subnet, index int) {
	x.entries = append(x.entries, prefixEntry{p, subnet, index})
}

// build must follow the last add and precede the first lookup.
func (x *prefixIndex) build() {
	slices.SortFunc(x.entries, func(a, b prefixEntry) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()), a.compare(b))
	})
	x.parent = make([]int, len(x.entries))
	for i, e := range x.entries {
		x.parent[i] = i - 1
		for x.parent[i] >= 0 && !x.entries[x.parent[i]].prefix.Overlaps(e.prefix) {
			x.parent[i] = x.parent[x.parent[i]]
		}
	}
}

// lookup returns the narrowest prefix that holds a.
func (x *prefixIndex) lookup(a netip.Addr) (prefixEntry, bool) {
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].prefix.Addr().Compare(a) > 0 }) - 1
	for ; i >= 0; i = x.parent[i] {
		if x.entries[i].prefix.Contains(a) {
			return x.entries[i], true
		}
	}
	return prefixEntry{}, false
}

// exact returns the entry of exactly that prefix.
func (x *prefixIndex) exact(p netip.Prefix) (prefixEntry, bool) {
	i := sort.Search(len(x.entries), func(i int) bool {
		e := x.entries[i].prefix
		return cmp.Or(e.Addr().Compare(p.Addr()), cmp.Compare(e.Bits(), p.Bits())) >= 0
	})
	if i < len(x.entries) && x.entries[i].prefix == p {
		return x.entries[i], true
	}
	return prefixEntry{}, false
}
