package reconcile

import (
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Actual is what a switch holds, as it was read back or as it must be since: a
// snapshot that other switches share, and the exceptions from it. It does not
// change. The zero Actual is an empty switch.
type Actual struct {
	// Revision is the one that the sentinel names; HasSentinel says that there
	// is one, and Age how old it was when it was read, 0 if it was not.
	Revision    uint64
	HasSentinel bool
	Age         time.Duration
	// Len counts the flows with our mark, but for the sentinel and the odd ones, and
	// our groups and meters;
	// NumForeign those without it.
	Len        int
	NumForeign int

	read bool // just now, and not worked out from what was sent
	// Flows with our mark, and our groups and meters, are those of flows, but for the entries in except,
	// where there is another flow or, said by "", none.
	flows  flowset.Composition
	except map[string]openflow.Encoded
	// Odd flows have our mark and something that our vocabulary cannot express:
	// another release made them, or somebody's hand. They equal nothing that we
	// want.
	odd []*openflow.Stat
	// Cookies of the other flows by entry, as far as a wanted flow could have
	// their place.
	foreign map[string]uint64
	// The first foreign flows, to be held against ours.
	others []flow.Flow
}

// sentinelEntry is the entry of the sentinel, whatever its revision.
var sentinelEntry = mustEncode(0).Entry()

// mustEncode returns the sentinel of a revision. It has neither match nor
// actions, so it can be encoded.
func mustEncode(revision uint64) openflow.Encoded {
	f := flows.Sentinel(revision)
	e, err := openflow.Encode(&f)
	if err != nil {
		panic(err)
	}
	return e
}

// isSentinel reports whether e is a sentinel flow of any revision, and not
// just some flow in its table.
func isSentinel(e openflow.Encoded) bool {
	return e.Entry() == sentinelEntry && e.Drops() && flows.Ours(e.Cookie())
}

// Reader compares what is read back with what is wanted, and keeps what
// differs only.
type Reader struct {
	actual  Actual
	seed    maphash.Seed
	wanted  []openflow.Encoded // each entry once
	slots   []uint64           // a hash table: upper half of the hash, number of the flow + 1
	marks   []uint64           // a bit for each wanted flow that was read as it is wanted
	marked  int
	differs map[string]openflow.Encoded
	want    flowset.Composition
}

// NewReader returns a Reader for a switch that should hold want. Until
// [Reader.Actual] it needs some 40 octets for each wanted flow.
func NewReader(want flowset.Composition) *Reader {
	n := want.Len()
	r := &Reader{
		seed: maphash.MakeSeed(), want: want, differs: map[string]openflow.Encoded{},
		wanted: make([]openflow.Encoded, 0, n), slots: make([]uint64, 2<<bits.Len(uint(n))), marks: make([]uint64, n/64+1),
	}
	for f := range want.Unordered() {
		// Of two blocks' flows for an entry the first counts.
		hash := maphash.String(r.seed, f.Entry())
		if i, slot := r.find(hash, f.SameEntry); i < 0 {
			r.wanted = append(r.wanted, f)
			r.slots[slot] = hash&^0xffffffff | uint64(len(r.wanted))
		}
	}
	return r
}

// find returns the number of the wanted flow of that hash that is the same
// entry, or -1 and the slot where it would be.
func (r *Reader) find(hash uint64, same func(openflow.Encoded) bool) (i int, slot uint64) {
	mask := uint64(len(r.slots) - 1)
	for slot = hash & mask; ; slot = (slot + 1) & mask {
		v := r.slots[slot]
		if v == 0 {
			return -1, slot
		}
		if i := int(uint32(v)) - 1; (v^hash)>>32 == 0 && same(r.wanted[i]) {
			return i, slot
		}
	}
}

// Add takes one flow that was read back.
func (r *Reader) Add(e *openflow.Entry) {
	a := &r.actual
	if kind := e.Kind(); kind != openflow.KindFlow {
		if id := openflow.Encoded(e.Octets).Number(); kind == openflow.KindGroup && !flows.OurGroup(id) || kind == openflow.KindMeter && !flows.OurMeter(id) {
			return
		}
	} else if !flows.Ours(e.Cookie()) {
		a.NumForeign++
		if key, ok := entryOf(e); ok {
			if a.foreign == nil {
				a.foreign = map[string]uint64{}
			}
			a.foreign[key] = e.Cookie()
			a.note(e)
		}
		return
	}
	if e.Odd != nil {
		a.odd = append(a.odd, e.Odd)
		return
	}
	key := e.Key()
	i, _ := r.find(maphash.Bytes(r.seed, key), func(f openflow.Encoded) bool { return f.Entry() == string(key) })
	if i >= 0 && string(r.wanted[i]) == string(e.Octets) {
		if bit := uint64(1) << (i % 64); r.marks[i/64]&bit == 0 {
			r.marks[i/64] |= bit
			r.marked++
		}
		return
	}
	f := openflow.Encoded(e.Octets)
	if isSentinel(f) {
		a.Revision, a.HasSentinel, a.Age = f.Cookie()&^flows.CookieMask, true, e.Duration
		return
	}
	r.differs[f.Entry()] = f
}

// entryOf returns the entry of a flow if it is known, which an odd flow's is not
// always.
func entryOf(e *openflow.Entry) (string, bool) {
	if e.Odd == nil {
		return string(e.Key()), true
	}
	return oddEntry(e.Odd)
}

func oddEntry(s *openflow.Stat) (string, bool) {
	if !s.MatchKnown {
		return "", false
	}
	f := s.Flow
	f.Actions = nil
	e, err := openflow.Encode(&f)
	return e.Entry(), err == nil
}

// Actual returns what the switch holds. It comes once, behind the last Add.
func (r *Reader) Actual() *Actual {
	a := new(r.actual) // a copy, so that the Reader's tables can go
	a.read = true
	a.Len = r.marked + len(r.differs)
	if 2*r.marked >= len(r.wanted) {
		// It is the wanted but for exceptions.
		a.flows, a.except = r.want, r.differs
		if r.marked < len(r.wanted) {
			for i, f := range r.wanted {
				if _, differs := r.differs[f.Entry()]; !differs && !r.isMarked(i) {
					a.except[f.Entry()] = ""
				}
			}
		}
		return a
	}
	var ed flowset.Editor
	for i, f := range r.wanted {
		if r.isMarked(i) {
			ed.Put(f)
		}
	}
	for _, f := range r.differs {
		ed.Put(f)
	}
	a.flows = flowset.Whole("read", ed.Set())
	return a
}

func (r *Reader) isMarked(i int) bool { return r.marks[i/64]>>(i%64)&1 != 0 }
