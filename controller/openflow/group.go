package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// EntryKind is what an [Encoded] is an entry of.
type EntryKind uint8

// The kinds. An Encoded that is no flow has table 255, where no flow is, the
// cookie 0, and in place of a match its number; so it sorts behind all flows, and
// groups sort before meters.
const (
	KindFlow EntryKind = iota
	KindGroup
	KindMeter
)

// String returns the kind's name.
func (k EntryKind) String() string { return [...]string{"flow", "group", "meter"}[k] }

// Kind returns what e is an entry of.
func (e Encoded) Kind() EntryKind { return kindOf(e) }

func kindOf[T ~string | ~[]byte](e T) EntryKind {
	switch {
	case len(e) < encodedHead || e[0] != anyTable:
		return KindFlow
	case e[2] == 0:
		return KindGroup
	}
	return KindMeter
}

// Number returns the number of a group or a meter.
func (e Encoded) Number() uint32 {
	if len(e) < encodedHead+4 {
		return 0
	}
	return uint32(e[5])<<24 | uint32(e[6])<<16 | uint32(e[7])<<8 | uint32(e[8])
}

// Meters yields the meters that a flow's controller actions name. It may yield
// others.
func (e Encoded) Meters() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		p, ok := e.parts()
		if !ok || e.Kind() != KindFlow {
			return
		}
		for a := p.actions; len(a) >= 8; a = a[8:] { // properties are aligned
			if a[:4] == "\x00\x05\x00\x08" && !yield(uint32(a[4])<<24|uint32(a[5])<<16|uint32(a[6])<<8|uint32(a[7])) {
				return
			}
		}
	}
}

var (
	errGroupType   = errors.New("unknown type of group")
	errWeight      = errors.New("a bucket has a weight in a group that does not select")
	errOneBucket   = errors.New("an indirect group has one bucket")
	errMeterRate   = errors.New("a meter's rate or burst is 0")
	errNotAGroup   = errors.New("no group, or not one that EncodeGroup made")
	errNotAMeter   = errors.New("no meter, or not one that EncodeMeter made")
	errModifyGroup = errors.New("groups are added, which replaces, or deleted")
)

func appendNumbered(b []byte, k EntryKind, id uint32) []byte {
	b = append(b, anyTable, 0, byte(k-KindGroup), 0, 4)
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0, noGoto)
}

// body returns what is behind the head of a group or a meter.
func (e Encoded) body() string {
	p, _ := e.parts()
	return p.actions
}

// EncodeGroup returns a group in encoded form. It is an entry like a flow, and
// equal groups are equal octets.
//
//	octets   what, in place of a flow's actions
//	1        type
//	2, 2, …  of each bucket: weight, length of its actions, these
func EncodeGroup(g *flow.Group) (Encoded, error) {
	fail := func(err error) (Encoded, error) {
		return "", fmt.Errorf("openflow: encoding group %d: %w", g.ID, err)
	}
	switch {
	case g.ID > flow.MaxGroup:
		return fail(errGroupNumber)
	case g.Type > flow.GroupIndirect:
		return fail(errGroupType)
	case g.Type == flow.GroupIndirect && len(g.Buckets) != 1:
		return fail(errOneBucket)
	}
	b := append(appendNumbered(nil, KindGroup, g.ID), byte(g.Type))
	wire := bundleAddLen + groupModLen
	for i := range g.Buckets {
		k := &g.Buckets[i]
		if k.Weight != 0 && g.Type != flow.GroupSelect {
			return fail(errWeight)
		}
		b = binary.BigEndian.AppendUint16(b, k.Weight)
		at := len(b)
		b = append(b, 0, 0)
		var err error
		if b, err = appendActions(b, k.Actions); err != nil {
			return fail(err)
		}
		n := len(b) - at - 2
		if wire += bucketLen + n; wire > maxLen {
			return fail(errTooLong)
		}
		binary.BigEndian.PutUint16(b[at:], uint16(n))
	}
	return Encoded(b), nil
}

// Group returns the group that e is.
func (e Encoded) Group() (flow.Group, error) {
	body := e.body()
	if e.Kind() != KindGroup || body == "" || body[0] > byte(flow.GroupIndirect) {
		return flow.Group{}, fmt.Errorf("openflow: decoding %d octets: %w", len(e), errNotAGroup)
	}
	g := flow.Group{ID: e.Number(), Type: flow.GroupType(body[0])}
	d := newDecoder()
	for c := (cursor{b: []byte(body[1:])}); c.more(); {
		k := flow.Bucket{Weight: c.u16()}
		actions := c.sub(int(c.u16()))
		d.actions = d.actions[:0]
		why := d.applied(&actions)
		if c.err != nil || why != "" {
			return flow.Group{}, fmt.Errorf("openflow: decoding group %d: %w %s", g.ID, errNotAGroup, why)
		}
		k.Actions = keep(d.actions)
		g.Buckets = append(g.Buckets, k)
	}
	return g, nil
}

// EncodeMeter returns a meter in encoded form. It is an entry like a flow.
//
//	octets   what, in place of a flow's actions
//	4        rate
//	4        burst
func EncodeMeter(m *flow.Meter) (Encoded, error) {
	switch {
	case m.ID == 0 || m.ID > flow.MaxMeter:
		return "", fmt.Errorf("openflow: encoding meter %d: %w", m.ID, errMeterNumber)
	case m.Rate == 0 || m.Burst == 0: // for a burst of 0 Open vSwitch takes another
		return "", fmt.Errorf("openflow: encoding meter %d: %w", m.ID, errMeterRate)
	}
	b := binary.BigEndian.AppendUint32(appendNumbered(nil, KindMeter, m.ID), m.Rate)
	return Encoded(binary.BigEndian.AppendUint32(b, m.Burst)), nil
}

// Meter returns the meter that e is.
func (e Encoded) Meter() (flow.Meter, error) {
	body := e.body()
	if e.Kind() != KindMeter || len(body) != 8 {
		return flow.Meter{}, fmt.Errorf("openflow: decoding %d octets: %w", len(e), errNotAMeter)
	}
	return flow.Meter{ID: e.Number(), Rate: uint32(uint64At(e[len(e)-8:]) >> 32), Burst: uint32(uint64At(e[len(e)-8:]))}, nil
}

// appendGroupMod appends a group-mod (OpenFlow 1.3.5 section 7.3.4.2). Adding
// replaces a group of that number.
func appendGroupMod(b []byte, xid uint32, m *Mod) ([]byte, error) {
	start := len(b)
	g, err := m.Flow.Group()
	command := uint16(groupAddOrModify)
	switch {
	case m.Op == DeleteStrict:
		command, g.Type, g.Buckets, err = groupDelete, 0, nil, nil
	case m.Op != Add:
		err = errModifyGroup
	}
	if err != nil {
		return b, err
	}
	b = appendHead(b, typeGroupMod, 0, xid)
	b = binary.BigEndian.AppendUint16(b, command)
	b = append(b, byte(g.Type), 0)
	b = binary.BigEndian.AppendUint32(b, m.Flow.Number())
	for i := range g.Buckets {
		at := len(b)
		b = binary.BigEndian.AppendUint16(append(b, 0, 0), g.Buckets[i].Weight)
		b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0) // no port or group to watch
		if b, err = appendActions(b, g.Buckets[i].Actions); err != nil {
			return b[:start], err
		}
		binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at))
	}
	if len(b)-start > maxLen {
		return b[:start], errTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, nil
}

// appendMeterMod appends a meter-mod (OpenFlow 1.3.5 section 7.3.4.5).
func appendMeterMod(b []byte, xid uint32, m *Mod) ([]byte, error) {
	const flags = meterPktps | meterBurst | meterStats
	command, length := uint16(meterAdd), meterModLen+16
	switch m.Op {
	case Add:
	case ModifyStrict:
		command = meterModify
	case DeleteStrict:
		command, length = meterDelete, meterModLen
	default:
		return b, errUnknownOp
	}
	t, err := m.Flow.Meter()
	if err != nil && m.Op != DeleteStrict {
		return b, err
	}
	b = appendHead(b, typeMeterMod, length, xid)
	b = binary.BigEndian.AppendUint16(b, command)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, m.Flow.Number())
	if m.Op != DeleteStrict {
		b = append(b, 0, meterDrop, 0, 16)
		b = binary.BigEndian.AppendUint32(b, t.Rate)
		b = binary.BigEndian.AppendUint32(b, t.Burst)
		b = append(b, 0, 0, 0, 0)
	}
	return b, nil
}

// ReadGroups calls fn for every group and then every meter of the switch, in its
// order, as [Session.ReadEncoded] does for flows; none is odd. What an [Encoded]
// cannot express has the entry of its number and equals nothing that was sent. A
// switch without meters has none.
func (s *Session) ReadGroups(ctx context.Context, fn func(*Entry) error) error {
	d := newDecoder()
	err := s.readParts(ctx, multipartGroupDesc, func(xid uint32) ([]byte, error) {
		return appendMultipart(nil, xid, multipartGroupDesc, nil), nil
	}, func(body []byte) error { return d.groups(body, fn) })
	if err != nil {
		return fmt.Errorf("openflow: reading groups: %w", err)
	}
	err = s.readParts(ctx, multipartMeterConfig, func(xid uint32) ([]byte, error) {
		return appendMultipart(nil, xid, multipartMeterConfig, []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), nil
	}, func(body []byte) error { return d.meters(body, fn) })
	if e := (*Error)(nil); errors.As(err, &e) && e.Type == errorBadRequest {
		return nil
	}
	if err != nil {
		return fmt.Errorf("openflow: reading meters: %w", err)
	}
	return nil
}

func appendMultipart(b []byte, xid uint32, kind uint16, body []byte) []byte {
	b = appendHead(b, typeMultipartRequest, headerLen+8+len(body), xid)
	b = binary.BigEndian.AppendUint16(b, kind)
	return append(append(b, 0, 0, 0, 0, 0, 0), body...)
}

// numbered calls fn for an entry that was read.
func (d *decoder) numbered(octets []byte, fn func(*Entry) error) error {
	d.octets = octets
	d.entry = Entry{Octets: octets}
	return fn(&d.entry)
}

// groups reads the body of a group-desc reply (OpenFlow 1.3.5 section 7.3.5.10).
func (d *decoder) groups(body []byte, fn func(*Entry) error) error {
	for c := (cursor{b: body}); c.more(); {
		raw := c.bytes(int(cursor{b: c.b}.peek16()))
		if c.err != nil || len(raw) < 8 {
			return fmt.Errorf("a group of %d octets where %d remain", len(raw), len(c.b))
		}
		g := cursor{b: raw[2:]}
		kind := g.u8()
		g.skip(1)
		b := append(appendNumbered(d.octets[:0], KindGroup, g.u32()), kind)
		at := len(b)
		b, why := d.buckets(b, &g, flow.GroupType(kind))
		if why != "" {
			b = append(append(b[:at-1], 0xff), raw...) // some group that nobody wants
		}
		if err := d.numbered(b, fn); err != nil {
			return err
		}
	}
	return nil
}

// buckets appends a group's buckets as EncodeGroup does.
func (d *decoder) buckets(b []byte, c *cursor, kind flow.GroupType) ([]byte, string) {
	if kind > flow.GroupIndirect {
		return b, "a type without a name"
	}
	for c.more() {
		n := int(c.u16())
		weight := c.u16()
		watch := c.u64()
		c.skip(4)
		actions := c.sub(n - bucketLen)
		d.actions = d.actions[:0]
		why := d.applied(&actions)
		switch {
		case c.err != nil:
			return b, "a bucket is truncated"
		case why != "":
			return b, why
		case watch != ^uint64(0):
			return b, "a bucket that watches a port or group"
		}
		b = binary.BigEndian.AppendUint16(b, weight)
		at := len(b)
		var err error
		if b, err = appendActions(append(b, 0, 0), d.actions); err != nil {
			return b, err.Error()
		}
		binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	}
	return b, ""
}

// meters reads the body of a meter-config reply (OpenFlow 1.3.5 section 7.3.5.13).
func (d *decoder) meters(body []byte, fn func(*Entry) error) error {
	for c := (cursor{b: body}); c.more(); {
		raw := c.bytes(int(cursor{b: c.b}.peek16()))
		if c.err != nil || len(raw) < 8 {
			return fmt.Errorf("a meter of %d octets where %d remain", len(raw), len(c.b))
		}
		m := cursor{b: raw[2:]}
		flags, id := m.u16(), m.u32()
		kind, n, rate, burst := m.u16(), m.u16(), m.u32(), m.u32()
		m.skip(4)
		b := appendNumbered(d.octets[:0], KindMeter, id)
		if m.err != nil || m.more() || flags != meterPktps|meterBurst|meterStats || kind != meterDrop || n != 16 {
			b = append(append(b, 0xff), raw...)
		} else {
			b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, rate), burst)
		}
		if err := d.numbered(b, fn); err != nil {
			return err
		}
	}
	return nil
}
