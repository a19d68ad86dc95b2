package verify

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// expr says what a word of a packet holds: bits that are known, and bits that
// came in with the packet, there or elsewhere. Exprs do not change.
type expr struct {
	known, val uint64
	refs       []ref
}

// ref says that the bits of a word under mask are those of input word, moved
// left by shift (right where it is negative).
type ref struct {
	mask  uint64
	word  uint8
	shift int8
}

func shifted(v uint64, by int8) uint64 {
	if by >= 0 {
		return v << by
	}
	return v >> -by
}

var (
	zero     = &expr{known: all64}
	identity = func() (t [words.Count]*expr) {
		for i := range t {
			t[i] = &expr{refs: []ref{{all64, uint8(i), 0}}}
		}
		t[words.InPort] = &expr{known: low32 << 32, refs: []ref{{low32, words.InPort, 0}}}
		return t
	}()
)

// state is a packet on its way as a function of the packet that came in. A word
// that is nil is as it came in; registers and metadata are zero then.
type state struct {
	words [words.Count]*expr
	// dec is how often the TTL that came in was counted down. It concerns bits of
	// the TTL that are as they came in.
	dec uint8
}

func (s *state) word(w uint8) *expr {
	if e := s.words[w]; e != nil {
		return e
	}
	if isInput(int(w)) {
		return identity[w]
	}
	return zero
}

// resolve returns the bits of a word that all packets of c agree on.
func (s *state) resolve(w uint8, c cube) (known, val uint64) {
	e := s.word(w)
	known, val = e.known, e.val
	for i := range e.refs {
		r := &e.refs[i]
		mask, v := c.find(r.word)
		if mask == 0 {
			continue
		}
		m := shifted(mask, r.shift) & r.mask
		v = shifted(v, r.shift) & m
		if s.dec > 0 && w == words.Transit && m&ttlMask != 0 {
			if m&ttlMask != ttlMask {
				m, v = m&^ttlMask, v&^ttlMask
			} else {
				v -= uint64(s.dec) << ttlShift
			}
		}
		known |= m
		val |= v
	}
	return known, val
}

// demand returns what the input must be for the bits of a word under need,
// none of which is known, to be val's; ok is false where no input does it.
func (s *state) demand(to []term, w uint8, need, val uint64) ([]term, bool) {
	e := s.word(w)
	for i := range e.refs {
		r := &e.refs[i]
		m := need & r.mask
		if m == 0 {
			continue
		}
		v := val
		if s.dec > 0 && w == words.Transit && m&ttlMask != 0 {
			if val&ttlMask+uint64(s.dec)<<ttlShift > ttlMask {
				return nil, false
			}
			v += uint64(s.dec) << ttlShift
		}
		to = append(to, term{r.word, shifted(m, -r.shift), shifted(v&m, -r.shift)})
	}
	return to, true
}

// set writes a constant.
func (s *state) set(w uint8, mask, val uint64) {
	e := s.word(w)
	n := &expr{known: e.known | mask, val: e.val&^mask | val&mask}
	for _, r := range e.refs {
		if r.mask &^= mask; r.mask != 0 {
			n.refs = append(n.refs, r)
		}
	}
	s.words[w] = n
}

// move copies a row of bits.
func (s *state) move(r run) {
	src, dst := s.word(r.src), s.word(r.dst)
	mask := all64 >> (64 - r.n) << r.srcBit
	by := int8(r.dstBit - r.srcBit)
	cleared := shifted(mask, by)
	n := &expr{
		known: dst.known&^cleared | shifted(src.known&mask, by),
		val:   dst.val&^cleared | shifted(src.val&mask, by),
	}
	for _, o := range dst.refs {
		if o.mask &^= cleared; o.mask != 0 {
			n.refs = append(n.refs, o)
		}
	}
	for _, o := range src.refs {
		if o.mask &= mask; o.mask != 0 {
			n.refs = append(n.refs, ref{shifted(o.mask, by), o.word, o.shift + by})
		}
	}
	s.words[r.dst] = n
}

// copyFrom copies a row of bits from another state.
func (s *state) copyFrom(from *state, r run) {
	tmp := *s
	const spare = words.Metadata
	tmp.words[spare] = from.word(r.src)
	tmp.move(run{r.dst, spare, r.dstBit, r.srcBit, r.n})
	s.words[r.dst] = tmp.words[r.dst]
}

// plainTTL reports whether the TTL is the one that came in, counted down or not.
func (s *state) plainTTL() bool {
	for _, r := range s.word(words.Transit).refs {
		if r.mask&ttlMask == ttlMask {
			return r.word == words.Transit && r.shift == 0
		}
	}
	return false
}

// same reports whether all packets of c hold the same in a word of two states.
// It compares what is written, so that two ways to write one value may differ.
func same(a, b *state, w uint8, c cube) bool {
	x, y := a.words[w], b.words[w]
	if x == y && (w != words.Transit || a.dec == b.dec) {
		return true
	}
	ka, va := a.resolve(w, c)
	kb, vb := b.resolve(w, c)
	if ka != kb || va != vb {
		return false
	}
	if ka == all64 {
		return true
	}
	if w == words.Transit && a.dec != b.dec && ^ka&ttlMask != 0 {
		return false
	}
	x, y = a.word(w), b.word(w)
	for bit := uint64(1); bit != 0; bit <<= 1 {
		if ka&bit != 0 {
			continue
		}
		wa, sa := x.source(bit)
		wb, sb := y.source(bit)
		if wa != wb || sa != sb {
			return false
		}
	}
	return true
}

func (e *expr) source(bit uint64) (word uint8, shift int8) {
	for _, r := range e.refs {
		if r.mask&bit != 0 {
			return r.word, r.shift
		}
	}
	return 0, 0
}

// key returns a text that two states have in common only if they are the same.
func (s *state) key() string {
	b := []byte{s.dec}
	for w, e := range s.words {
		if e != nil {
			b = fmt.Appendf(b, "%d=%x/%x", w, e.val, e.known)
			for _, r := range e.refs {
				b = fmt.Appendf(b, ",%x<%d<%d", r.mask, r.word, r.shift)
			}
			b = append(b, ';')
		}
	}
	return string(b)
}
