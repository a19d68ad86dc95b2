package tenant

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func pathHost(name string, pas ...ProviderAddress) *Host {
	return &Host{Name: name, ProviderAddresses: pas}
}

func providerAddress(pa string, weight uint32, uplink string) ProviderAddress {
	a, err := ParsePA(pa)
	if err != nil {
		panic(err)
	}
	return ProviderAddress{PA: a, Weight: weight, Uplink: uplink}
}

func TestPath(t *testing.T) {
	v4 := func(n int) ProviderAddress { return providerAddress(fmt.Sprintf("10.99.0.%d", n), 1, "") }
	v6 := func(n int) ProviderAddress { return providerAddress(fmt.Sprintf("fd99::%d", n), 1, "") }
	on := func(pa, uplink string) ProviderAddress { return providerAddress(pa, 1, uplink) }
	for _, c := range []struct {
		name     string
		a, b     *Host
		src, dst string // "": no path
	}{
		{"IPv4", pathHost("a", v4(1)), pathHost("b", v4(2)), "10.99.0.1", "10.99.0.2"},
		{"IPv6", pathHost("a", v6(1)), pathHost("b", v6(2)), "fd99::1", "fd99::2"},
		{"no family", pathHost("a", v6(1)), pathHost("b", v4(2)), "", ""},
		{"one shared family", pathHost("a", v4(1), v6(1)), pathHost("b", v6(2)), "fd99::1", "fd99::2"},
		{"both prefer IPv6", pathHost("a", v6(1), v4(1)), pathHost("b", v6(2), v4(2)), "fd99::1", "fd99::2"},
		{"they differ", pathHost("a", v6(1), v4(1)), pathHost("b", v4(2), v6(2)), "10.99.0.1", "10.99.0.2"},
		{"one uplink in common", pathHost("a", on("10.1.0.1", "eth0"), on("10.2.0.1", "eth1")), pathHost("b", on("10.3.0.2", "eth2"), on("10.2.0.2", "eth1")), "10.2.0.1", "10.2.0.2"},
	} {
		src, dst, ok := Path(c.a, c.b)
		if ok != (c.src != "") || ok && (src.String() != c.src || dst.String() != c.dst) {
			t.Errorf("%s: %v, %v, %v, want %s, %s", c.name, src, dst, ok, c.src, c.dst)
		}
	}
}

// Each address gets its share of the peers.
func TestPathWeights(t *testing.T) {
	const peers = 6000
	self := pathHost("self", providerAddress("10.99.0.1", 3, ""), providerAddress("10.99.0.2", 1, ""), providerAddress("10.99.0.3", 2, ""))
	got := make(map[string]int)
	for i := range peers {
		src, _, ok := Path(self, pathHost(fmt.Sprintf("host%d", i), providerAddress("10.99.1.1", 1, "")))
		if !ok {
			t.Fatal("no path")
		}
		got[src.String()]++
	}
	for pa, share := range map[string]float64{"10.99.0.1": 0.5, "10.99.0.2": 1.0 / 6, "10.99.0.3": 1.0 / 3} {
		// Five standard deviations.
		if d := math.Abs(float64(got[pa]) - peers*share); d > 5*math.Sqrt(peers*share*(1-share)) {
			t.Errorf("%s has %d peers of %d, want some %.0f", pa, got[pa], peers, peers*share)
		}
	}
}

// Both ends choose the same two addresses, of one family, each its own; and the
// order of the addresses behind the first decides nothing.
func TestPathIsOneForBothEnds(t *testing.T) {
	host := func(name string, n byte) *rapid.Generator[*Host] {
		return rapid.Custom(func(t *rapid.T) *Host {
			h := &Host{Name: name}
			for i := range rapid.IntRange(1, 4).Draw(t, "addresses") {
				form := rapid.SampledFrom([]string{"10.%d.0.%d", "fd%d::%d"}).Draw(t, "family")
				h.ProviderAddresses = append(h.ProviderAddresses, providerAddress(fmt.Sprintf(form, n, i+1),
					rapid.SampledFrom([]uint32{0, 1, 7, math.MaxUint32}).Draw(t, "weight"), rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "uplink")))
			}
			return h
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := host("a", 10).Draw(t, "a"), host("b", 20).Draw(t, "b")
		src, dst, ok := Path(a, b)
		dst2, src2, ok2 := Path(b, a)
		if ok != ok2 || src != src2 || dst != dst2 {
			t.Fatalf("one way %v %v %v, the other %v %v %v", src, dst, ok, src2, dst2, ok2)
		}
		if !ok {
			return
		}
		if src.Addr().Is4() != dst.Addr().Is4() || !owns(a, src) || !owns(b, dst) {
			t.Fatalf("%v to %v", src, dst)
		}
		other := &Host{Name: "a", ProviderAddresses: []ProviderAddress{a.ProviderAddresses[0]}}
		for i := len(a.ProviderAddresses) - 1; i > 0; i-- {
			other.ProviderAddresses = append(other.ProviderAddresses, a.ProviderAddresses[i])
		}
		if s, d, _ := Path(other, b); s != src || d != dst {
			t.Fatalf("in another order %v to %v, want %v to %v", s, d, src, dst)
		}
	})
}

func owns(h *Host, pa PA) bool {
	for _, a := range h.ProviderAddresses {
		if a.PA == pa {
			return true
		}
	}
	return false
}
