package tenant

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func drawPrefix(t *rapid.T) netip.Prefix {
	// Few bits, so that prefixes nest and repeat often.
	a := netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "a") & 0xc1, rapid.Byte().Draw(t, "b") & 0x81, 0})
	return netip.PrefixFrom(a, rapid.IntRange(6, 26).Draw(t, "bits")).Masked()
}

// TestPrefixIndex compares the index with a search of every prefix.
func TestPrefixIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SliceOfN(rapid.Custom(drawPrefix), 0, 20).Draw(t, "prefixes")
		var x prefixIndex
		for i, p := range prefixes {
			x.add(p, i, 0)
		}
		x.build()
		a := drawPrefix(t).Addr()
		best, exact := -1, false
		for _, p := range prefixes {
			if p.Contains(a) {
				best = max(best, p.Bits())
			}
		}
		e, ok := x.lookup(a)
		if ok != (best >= 0) || ok && e.prefix.Bits() != best {
			t.Fatalf("lookup(%s) = %v %v, want length %d", a, e.prefix, ok, best)
		}
		want := drawPrefix(t)
		for _, p := range prefixes {
			exact = exact || p == want
		}
		if e, ok := x.exact(want); ok != exact || ok && e.prefix != want {
			t.Fatalf("exact(%s) = %v %v, want %v", want, e.prefix, ok, exact)
		}
		// Every prefix that overlaps an earlier one of the order has a parent.
		for i, e := range x.entries {
			overlaps := false
			for _, o := range x.entries[:i] {
				overlaps = overlaps || o.prefix.Overlaps(e.prefix)
			}
			if overlaps != (x.parent[i] >= 0) {
				t.Fatalf("entry %d %v has parent %d, overlaps %v", i, e.prefix, x.parent[i], overlaps)
			}
		}
	})
}

func TestLastAddr(t *testing.T) {
	for _, c := range [][2]string{
		{"10.0.0.0/8", "10.255.255.255"}, {"10.0.1.0/24", "10.0.1.255"}, {"10.0.1.16/28", "10.0.1.31"},
		{"10.0.1.2/31", "10.0.1.3"}, {"10.0.1.2/32", "10.0.1.2"}, {"0.0.0.0/0", "255.255.255.255"},
		{"fd00::/64", "fd00::ffff:ffff:ffff:ffff"},
	} {
		if got := lastAddr(netip.MustParsePrefix(c[0])); got.String() != c[1] {
			t.Errorf("lastAddr(%s) = %s, want %s", c[0], got, c[1])
		}
	}
}

func TestDefaultGateways(t *testing.T) {
	for _, c := range [][2]string{{"10.0.1.0/24", "10.0.1.1"}, {"10.0.1.2/31", "10.0.1.2"}, {"10.0.1.4/30", "10.0.1.5"}, {"fd00::/64", "fd00::1"}, {"fd00::2/127", "fd00::2"}} {
		p := CAPrefixFrom(netip.MustParsePrefix(c[0]))
		if got := DefaultGateways([]CAPrefix{p})[0]; got.String() != c[1] {
			t.Errorf("the gateway of %s is %s, want %s", c[0], got, c[1])
		}
	}
}
