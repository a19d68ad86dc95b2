package tenant

import (
	"cmp"
	"slices"
)

// Path returns the provider addresses of packets from one host to another: what
// is chosen depends on the two hosts alone, so everybody chooses the same, and
// packets the other way have the same two addresses the other way round. ok is
// false where the hosts share no family.
//
// Of two families that both have, it is the one that both prefer (by their first
// address of the two), and IPv4 where they differ. Of the pairs of addresses in
// that family those count whose uplinks have one name on both hosts, unless there
// is none; among them a hash of the hosts' names decides, so that each address
// gets a share of the host's peers that grows with its weight.
func Path(from, to *Host) (src, dst PA, ok bool) {
	if from.Name > to.Name {
		dst, src, ok = Path(to, from)
		return src, dst, ok
	}
	six, ok := pathFamily(from, to)
	if !ok {
		return PA{}, PA{}, false
	}
	if a, b := from.ProviderAddresses, to.ProviderAddresses; len(a) == 1 && len(b) == 1 {
		return a[0].PA, b[0].PA, true
	}
	type candidate struct {
		src, dst PA
		weight   uint64 // of both, each below 2^32
	}
	var all []candidate
	oneName := false
	for _, s := range from.ProviderAddresses {
		for _, d := range to.ProviderAddresses {
			if s.PA.Addr().Is6() != six || d.PA.Addr().Is6() != six {
				continue
			}
			same := s.Uplink != "" && s.Uplink == d.Uplink
			if same && !oneName {
				oneName, all = true, nil
			}
			if same == oneName {
				all = append(all, candidate{s.PA, d.PA, uint64(s.resolved().Weight) * uint64(d.resolved().Weight)})
			}
		}
	}
	// The order of a host's addresses says what is preferred, not who gets which.
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(a.src.Addr().Compare(b.src.Addr()), a.dst.Addr().Compare(b.dst.Addr()))
	})
	// Additions and divisions as IEEE 754 has them: the same on every machine.
	total := 0.0
	for _, c := range all {
		total += float64(c.weight)
	}
	at := pathHash(from.Name, to.Name) >> 32
	sum := 0.0
	for _, c := range all {
		if sum += float64(c.weight); float64(at) < sum/total*(1<<32) {
			return c.src, c.dst, true
		}
	}
	last := all[len(all)-1]
	return last.src, last.dst, true
}

// pathFamily reports whether packets between two hosts are in IPv6. ok is false
// where the hosts share no family.
func pathFamily(a, b *Host) (six, ok bool) {
	has := func(h *Host, six bool) bool {
		return slices.ContainsFunc(h.ProviderAddresses, func(p ProviderAddress) bool { return p.PA.Addr().Is6() == six })
	}
	four := has(a, false) && has(b, false)
	six = has(a, true) && has(b, true)
	if four && six { // then each host's first address is of a family that both have
		return a.ProviderAddresses[0].PA.Addr().Is6() && b.ProviderAddresses[0].PA.Addr().Is6(), true
	}
	return six, four || six
}

// pathHash is 64 bits that depend on two names and nothing else: FNV-1a, mixed
// once more for its high bits.
func pathHash(a, b string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range []string{a, "\x00", b} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
