package ha

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A member that goes moves only its own hosts; one that comes takes only what is
// then its own; the order of the members does not matter.
func TestRendezvousMovesFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), 1, 8, rapid.ID[string]).Draw(t, "members")
		host := rapid.String().Draw(t, "host")
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "gone")
		with := winner(host, members)
		if !slices.Contains(members, with) {
			t.Fatalf("%q belongs to %q, which is no member", host, with)
		}
		without := winner(host, slices.Delete(slices.Clone(members), gone, gone+1))
		if with != members[gone] && without != with {
			t.Fatalf("%q moved from %q to %q when %q went", host, with, without, members[gone])
		}
		if other := winner(host, rapid.Permutation(members).Draw(t, "order")); other != with {
			t.Fatalf("%q belongs to %q or %q", host, with, other)
		}
	})
	if w := winner("h", nil); w != "" {
		t.Errorf("nobody is %q", w)
	}
}

func TestRendezvousBalance(t *testing.T) {
	members := []string{"controller-1", "controller-2", "controller-3"}
	share := make(map[string]int)
	for i := range 1000 {
		share[winner(fmt.Sprintf("host-%d", i), members)]++
	}
	t.Log(share)
	for _, m := range members {
		if share[m] < 280 || share[m] > 390 {
			t.Errorf("%s has %d of 1000 hosts", m, share[m])
		}
	}
}
