package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var sentinel = Table{
	ID:      tableSentinel,
	Name:    "sentinel",
	Purpose: "Holds one flow that no packet meets. Its cookie names the revision of the policy that the switch has in full, so that a controller knows in one round trip.",
	Miss:    "never: nothing goes here",
}

// Sentinel returns the flow that names the revision a switch holds. It is the
// only flow of its table, which nothing goes to, and a bundle that changes
// flows always rewrites it.
func Sentinel(revision uint64) flow.Flow {
	return flow.Flow{Table: tableSentinel, Cookie: CookieMark | revision&(1<<48-1)}
}

// SentinelRevision returns the revision that a sentinel flow names; false where
// f is not exactly what [Sentinel] makes, whatever else its table may hold.
func SentinelRevision(f *flow.Flow) (uint64, bool) {
	s := Sentinel(f.Cookie)
	return f.Cookie &^ CookieMask, f.Equal(&s)
}
