package ofswitch

import "bytes"

// test is one field of a match: value under mask, right behind each other in
// the octets that the field has.
type test struct {
	field uint8
	exact bool
	value [16]byte
	mask  [16]byte
}

// match is a decoded match: tests in the order of fields, none of them for a
// field that any value satisfies.
type match struct {
	tests []test
	buf   [12]test // most matches need no other place
}

func (m *match) find(f uint8) *test {
	for i := range m.tests {
		if m.tests[i].field == f {
			return &m.tests[i]
		}
	}
	return nil
}

// insert puts t in its place.
func (m *match) insert(t test) {
	i := len(m.tests)
	for i > 0 && m.tests[i-1].field > t.field {
		i--
	}
	m.tests = append(m.tests, test{})
	copy(m.tests[i+1:], m.tests[i:])
	m.tests[i] = t
}

// exact16 returns the value of a field of one or two octets that is matched
// exactly.
func (m *match) exact16(f uint8) (uint16, bool) {
	t := m.find(f)
	if t == nil || !t.exact {
		return 0, false
	}
	if fields[f].octets == 1 {
		return uint16(t.value[0]), true
	}
	return be.Uint16(t.value[:]), true
}

// presupposed reports whether the match has what f needs (OpenFlow 1.3.5 section
// 7.2.3.6).
func (m *match) presupposed(i uint8) bool {
	f := &fields[i]
	if f.ethType == 0 && !f.anyIP && f.proto == 0 {
		return true
	}
	eth, _ := m.exact16(fEthType)
	ip := eth == etherIPv4 || eth == etherIPv6
	switch {
	case f.ethType == etherARP && eth != etherARP && eth != etherRARP,
		f.ethType != 0 && f.ethType != etherARP && eth != f.ethType,
		f.anyIP && !ip,
		f.proto != 0 && !ip:
		return false
	}
	if f.proto != 0 {
		if p, ok := m.exact16(fIPProto); !ok || p != uint16(f.proto) {
			return false
		}
	}
	if f.nd != 0 {
		kind, ok := m.exact16(fICMPv6Type)
		code, _ := m.exact16(fICMPv6Code)
		if !ok || code != 0 || kind != 135 && kind != 136 || f.nd != 1 && kind != uint16(f.nd) {
			return false
		}
	}
	return true
}

// decodeMatch reads an ofp_match from the start of b and returns its octets with
// padding (OpenFlow 1.3.5 section 7.2.3).
func (m *match) decode(b []byte) (int, *Error) {
	m.tests = m.buf[:0]
	if len(b) < 4 {
		return 0, errMatchLen
	}
	kind, n := be.Uint16(b), int(be.Uint16(b[2:]))
	if kind == 0 {
		return 0, errMatchLen // the match of OpenFlow 1.1, which has 88 octets
	}
	if kind != 1 {
		return 0, errMatchType
	}
	if n < 4 || roundUp(n) > len(b) {
		return 0, errMatchLen
	}
	for e := b[4:n]; len(e) > 0; {
		used, err := m.decodeEntry(e)
		if err != nil {
			return 0, err
		}
		e = e[used:]
	}
	return roundUp(n), nil
}

// decodeEntry reads one OXM entry.
func (m *match) decodeEntry(b []byte) (int, *Error) {
	if len(b) < 4 {
		return 0, errMatchLen
	}
	header := be.Uint32(b)
	masked, n := header&0x100 != 0, int(header&0xff)
	if n == 0 || len(b) < 4+n {
		return 0, errMatchLen
	}
	p, ok := lookup(header)
	if !ok {
		return 0, errMatchField
	}
	octets := p.octets()
	value, mask := b[4:4+n], []byte(nil)
	if masked {
		if n != 2*octets {
			return 0, errMatchField
		}
		value, mask = value[:octets], value[octets:]
	} else if n != octets {
		return 0, errMatchField
	}
	for i, c := range mask {
		if value[i]&^c != 0 {
			return 0, errMatchWildcards
		}
	}
	f := p.first
	if masked && !fields[f].maskable && !allOnes(mask) {
		return 0, errMatchMask
	}
	if !m.presupposed(f) {
		return 0, errMatchPrereq
	}
	for i := range p.parts {
		if m.find(f+i) != nil {
			return 0, errMatchDup
		}
	}
	if !valid(f, value) {
		return 0, errMatchValue
	}
	size := octets / int(p.parts)
	for i := range int(p.parts) {
		t := test{field: f + uint8(i), exact: true}
		copy(t.value[:], value[i*size:(i+1)*size])
		if masked {
			copy(t.mask[:], mask[i*size:(i+1)*size])
			if f == fVLANVID {
				t.mask[0] &= 0x1f
			}
			if t.mask == [16]byte{} {
				continue
			}
			t.exact = isOnes(t.field, &t.mask)
		}
		if t.exact {
			t.mask = onesOf[t.field]
		}
		m.insert(t)
	}
	return 4 + n, nil
}

// valid reports whether the field can have the value.
func valid(f uint8, value []byte) bool {
	switch f {
	case fVLANVID:
		return value[0]&0xe0 == 0
	case fARPOp:
		return value[0] == 0
	case fInPort:
		n := be.Uint32(value)
		return n < 0xff00 || n >= portMax
	}
	return true
}

func allOnes(b []byte) bool {
	for _, c := range b {
		if c != 0xff {
			return false
		}
	}
	return true
}

// onesOf has for each field the mask of an exact match.
var onesOf = func() (t [numFields][16]byte) {
	for i, f := range fields {
		for j := range f.octets {
			t[i][j] = 0xff
		}
		if i == fVLANVID {
			t[i][0] = 0x1f
		}
	}
	return t
}()

func isOnes(f uint8, mask *[16]byte) bool { return *mask == onesOf[f] }

// appendEntries appends the match as Open vSwitch reads it back: OXM entries
// without the head and the padding of an ofp_match.
func (m *match) appendEntries(b []byte) []byte {
	for i := range m.tests {
		t := &m.tests[i]
		f := &fields[t.field]
		h := uint32(f.class)<<16 | uint32(f.number)<<9
		if t.exact {
			b = be.AppendUint32(b, h|uint32(f.octets))
			b = append(b, t.value[:f.octets]...)
		} else {
			b = be.AppendUint32(b, h|0x100|2*uint32(f.octets))
			b = append(b, t.value[:f.octets]...)
			b = append(b, t.mask[:f.octets]...)
		}
	}
	return b
}

// decodeEntries reads back what appendEntries wrote.
func (m *match) decodeEntries(b []byte) {
	m.tests = m.buf[:0]
	for len(b) > 0 {
		h := be.Uint32(b)
		p, _ := lookup(h)
		n := int(fields[p.first].octets)
		t := test{field: p.first, exact: h&0x100 == 0}
		copy(t.value[:], b[4:4+n])
		if t.exact {
			t.mask = onesOf[t.field]
			b = b[4+n:]
		} else {
			copy(t.mask[:], b[4+n:4+2*n])
			b = b[4+2*n:]
		}
		m.tests = append(m.tests, t)
	}
}

// covers reports whether every packet that n takes is taken by m: n tests at
// least what m tests (OpenFlow 1.3.5 section 6.4, non-strict).
func (m *match) covers(n *match) bool {
	for i := range m.tests {
		t := &m.tests[i]
		o := n.find(t.field)
		if o == nil {
			return false
		}
		for j := range fields[t.field].octets {
			if t.mask[j]&^o.mask[j] != 0 || (t.value[j]^o.value[j])&t.mask[j] != 0 {
				return false
			}
		}
	}
	return true
}

// overlaps reports whether some packet is taken by both.
func (m *match) overlaps(n *match) bool {
	for i := range m.tests {
		t := &m.tests[i]
		o := n.find(t.field)
		if o == nil {
			continue
		}
		for j := range fields[t.field].octets {
			if (t.value[j]^o.value[j])&t.mask[j]&o.mask[j] != 0 {
				return false
			}
		}
	}
	return true
}

func (m *match) equal(n *match) bool {
	return bytes.Equal(m.appendEntries(nil), n.appendEntries(nil))
}
