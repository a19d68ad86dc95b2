package calc

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Whatever units want and want no more, in any order: of each entry the flow of
// the lowest cookie is in force, and those in its way are known.
func TestLayerLaws(t *testing.T) {
	var all []openflow.Encoded
	for port := range uint64(3) {
		for cookie := range uint64(4) {
			f := flow.Flow{Priority: 1, Cookie: cookie, Match: flow.Match{flow.Exact(flow.InPort, flow.Uint(port+1))}, Actions: []flow.Action{flow.Goto(uint8(cookie) + 1)}}
			e, err := openflow.Encode(&f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
	}
	contested := 0
	rapid.Check(t, func(t *rapid.T) {
		var l layer
		var wanted []openflow.Encoded // once for each unit
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			before, old := l.set, len(l.conflicts())
			for range rapid.IntRange(0, 3).Draw(t, "gone") {
				if len(wanted) > 0 {
					i := rapid.IntRange(0, len(wanted)-1).Draw(t, "which")
					l.remove = append(l.remove, wanted[i])
					wanted = slices.Delete(wanted, i, i+1)
				}
			}
			come := rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, "come")
			l.add = append(l.add, come...)
			wanted = append(wanted, come...)
			if changed := l.apply(); changed != (before != l.set) {
				t.Fatal("apply does not say whether the set has changed")
			}
			slices.SortFunc(wanted, order)
			var want []openflow.Encoded
			refused := 0
			for i, f := range wanted {
				switch {
				case i == 0 || !f.SameEntry(wanted[i-1]):
					want = append(want, f)
				case f != wanted[i-1]:
					refused++
				}
			}
			if got := slices.Collect(l.set.All()); !slices.Equal(got, want) {
				t.Fatalf("in force %q, want %q", got, want)
			}
			conflicts := l.conflicts()
			if contested += refused; len(conflicts) != refused {
				t.Fatalf("%d conflicts, want %d", len(conflicts), refused)
			}
			if refused != old && !l.stirred {
				t.Fatal("the conflicts are others, and the layer does not say so")
			}
			for _, c := range conflicts {
				if c.InForce.Cookie >= c.Refused.Cookie || !c.InForce.SameEntry(&c.Refused) {
					t.Fatalf("in force %s, refused %s", c.InForce.Text(), c.Refused.Text())
				}
			}
		}
	})
	if contested == 0 {
		t.Error("nothing was contested")
	}
}
