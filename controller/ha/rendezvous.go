package ha

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
)

// winner returns which of the members a host belongs to: the one with the
// greatest hash of both names (rendezvous hashing), "" if there is none. A
// member that goes moves no host of another, and one that comes takes hosts only
// for itself. All controllers must agree, so the hash is a fixed one.
func winner(host string, members []string) string {
	best, weight := "", uint64(0)
	for _, m := range members {
		w := score(m, host)
		if best == "" || w > weight || w == weight && m < best {
			best, weight = m, w
		}
	}
	return best
}

func score(member, host string) uint64 {
	h := sha256.New()
	// The length keeps the names apart: "ab" + "c" is not "a" + "bc". Writing to
	// a hash does not fail.
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(member)))
	_, _ = h.Write(n[:])
	_, _ = io.WriteString(h, member)
	_, _ = io.WriteString(h, host)
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint64(h.Sum(sum[:0]))
}
