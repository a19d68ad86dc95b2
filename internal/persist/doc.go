// Package persist has collections that are cheap to copy: a sorted tree and a
// hash trie whose versions share all that they have in common. A version that
// nobody edits any more may be read by any number of goroutines.
//
// They are our own because of what the versions are for. The difference of two
// trees skips what these share (see [Diff]), which needs the nodes; a version is
// copied by an assignment that writes nothing to the original, so that several
// goroutines may edit copies of one version at the same time; and a first build
// edits in place, at the speed of a Go map. The kept libraries (tidwall/btree,
// benbjohnson/immutable) each lack two of the three.
package persist

// Owner is the right to edit nodes in place. Each edit of a version takes a new
// one, and copies the nodes that it meets first: those that another owner made.
// It must be dropped before the version is shared.
type Owner struct{ _ byte }
