package openflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// header is an OpenFlow message's head (OpenFlow 1.3.5 section 7.1).
type header struct {
	version uint8
	kind    uint8
	length  int // of the whole message
	xid     uint32
}

func readHeader(b []byte) (header, error) {
	c := cursor{b: b}
	h := header{c.u8(), c.u8(), int(c.u16()), c.u32()}
	if c.err != nil {
		return h, c.err
	}
	if h.length < headerLen {
		return h, fmt.Errorf("a message says it has %d octets", h.length)
	}
	return h, nil
}

// readHello reports whether the peer speaks OpenFlow 1.3 (section 7.5.1): the
// version bitmap says so, and where there is none the header's version.
func readHello(h header, body []byte) bool {
	c := cursor{b: body}
	for c.more() {
		kind, n := c.u16(), int(c.u16())
		elem := c.sub(n - 4)
		if c.err != nil {
			break
		}
		if kind == 1 {
			return elem.u32()&(1<<version13) != 0
		}
		c.skip(min(-n&7, len(c.b)))
	}
	return h.version >= version13
}

// features is a switch's description of itself (section 7.3.1).
type features struct {
	datapathID uint64
	tables     uint8
}

func readFeatures(body []byte) (features, error) {
	c := cursor{b: body}
	f := features{datapathID: c.u64()}
	c.skip(4)
	f.tables = c.u8()
	c.skip(11)
	if c.err != nil {
		return f, fmt.Errorf("features reply: %w", c.err)
	}
	return f, nil
}

// maxErrorData is how much of the offending message an Error keeps; a switch
// returns at least 64 octets where there are so many.
const maxErrorData = 128

// readError reads an error message (section 7.4.4), an experimenter's too.
func readError(h header, body []byte) *Error {
	c := cursor{b: body}
	e := &Error{Type: c.u16(), Code: c.u16(), XID: h.xid}
	if e.Type == errorExperimenter {
		e.Experimenter = c.u32()
	}
	e.Data = bytes.Clone(c.b[:min(len(c.b), maxErrorData)])
	e.Request = "a message"
	if inner, err := readHeader(e.Data); err == nil {
		e.Request = requestName(inner, e.Data[headerLen:])
	}
	return e
}

// requestName names a message that we sent.
func requestName(h header, body []byte) string {
	switch h.kind {
	case typeHello:
		return "hello"
	case typeEchoRequest:
		return "echo"
	case typeFeaturesRequest:
		return "features request"
	case typeSetConfig:
		return "set-config"
	case typeFlowMod:
		return "flow-mod"
	case typeGroupMod:
		return "group-mod"
	case typeMeterMod:
		return "meter-mod"
	case typePacketOut:
		return "packet-out"
	case typeSetAsync:
		return "set-async"
	case typeMultipartRequest:
		return "request for statistics"
	case typeBarrierRequest:
		return "barrier"
	case typeRoleRequest:
		return "role request"
	case typeExperimenter:
		c := cursor{b: body}
		switch who, kind := c.u32(), c.u32(); {
		case who == experimenterONF && kind == onfBundleAdd:
			return "bundle-add"
		case who == experimenterONF && kind == onfBundleControl:
			return "bundle control"
		}
		return "experimenter message"
	}
	return fmt.Sprintf("message of type %d", h.kind)
}

// readBundleReply returns the bundle and the kind of a bundle control message.
func readBundleReply(body []byte) (bundle uint32, kind uint16, err error) {
	c := cursor{b: body}
	if who, what := c.u32(), c.u32(); c.err == nil && (who != experimenterONF || what != onfBundleControl) {
		return 0, 0, fmt.Errorf("experimenter message %#x/%d where a bundle's reply was due", who, what)
	}
	bundle, kind = c.u32(), c.u16()
	return bundle, kind, c.err
}

// readRole returns the role and generation of a role reply (section 7.3.9).
func readRole(body []byte) (role uint32, generation uint64, err error) {
	c := cursor{b: body}
	role = c.u32()
	c.skip(4)
	generation = c.u64()
	if c.err != nil {
		return 0, 0, fmt.Errorf("role reply: %w", c.err)
	}
	return role, generation, nil
}

// Event is something that a switch tells without being asked: a [*PacketIn], a
// [*FlowRemoved] or a [*PortStatus].
type Event interface{ event() }

func (*PacketIn) event()    {}
func (*FlowRemoved) event() {}
func (*PortStatus) event()  {}

// PacketIn is a packet that a flow sent to the controller (OpenFlow 1.3.5
// section 7.4.1, or NXT_PACKET_IN2 of nicira-ext.h). Whatever is in Data, a
// tenant may have written it.
type PacketIn struct {
	Table  uint8
	Cookie uint64 // of the flow
	Reason uint8
	// Match has the packet's metadata as far as [flow.Field] has words for them:
	// input port, tunnel, registers. What is zero is left out.
	Match    flow.Match
	Data     []byte // the packet, or its first octets
	Length   int    // of the whole packet; 0 if the switch does not say
	UserData []byte // of the flow's controller action
}

// FlowRemoved says that a flow which asked for it has ended (OpenFlow 1.3.5
// section 7.4.2).
type FlowRemoved struct {
	Flow           flow.Flow // without actions
	Reason         uint8
	Duration       time.Duration
	Packets, Bytes uint64
}

// PortStatus says that a port was added (Reason 0), removed (1) or changed (2)
// (OpenFlow 1.3.5 section 7.4.3).
type PortStatus struct {
	Reason uint8
	Port   Port
}

// Port describes a port of the switch (OpenFlow 1.3.5 section 7.2.1).
type Port struct {
	Number uint32
	MAC    [6]byte
	Name   string
	Config uint32 // OFPPC_ bits
	State  uint32 // OFPPS_ bits
}

// event decodes an asynchronous message. What it returns shares nothing with
// body.
func (d *decoder) event(h header, body []byte) (Event, error) {
	switch h.kind {
	case typePacketIn:
		return d.packetIn(body)
	case typeFlowRemoved:
		return d.flowRemoved(body)
	case typePortStatus:
		return portStatus(body)
	case typeExperimenter:
		c := cursor{b: body}
		if who, kind := c.u32(), c.u32(); who == experimenterNicira && kind == nxtPacketIn2 {
			return d.packetIn2(c.b)
		}
	}
	return nil, errNoEvent
}

var errNoEvent = errors.New("not an event")

func (d *decoder) packetIn(body []byte) (Event, error) {
	c := cursor{b: body}
	c.skip(4) // no buffers: their identifiers mean nothing
	p := &PacketIn{Length: int(c.u16()), Reason: c.u8(), Table: c.u8(), Cookie: c.u64()}
	raw := matchBytes(&c)
	c.skip(2)
	if c.err != nil {
		return nil, fmt.Errorf("packet-in: %w", c.err)
	}
	if n := int(binary.BigEndian.Uint16(raw[2:])); n <= len(raw) {
		p.Match = d.metadata(raw[4:n])
	}
	p.Data = bytes.Clone(c.b)
	return p, nil
}

// Field returns what a field of the packet's metadata holds; zero where the switch
// does not say.
func (p *PacketIn) Field(f flow.Field) flow.Value {
	t, _ := p.Match.Find(f)
	return t.Value
}

// metadata reads the OXM fields of a packet's metadata, without those that it
// has no words for.
func (d *decoder) metadata(raw []byte) flow.Match {
	d.tests = d.tests[:0]
	for c := (cursor{b: raw}); c.more(); {
		start := c.b
		n := int(c.u32() & 0xff)
		c.skip(n)
		if c.err != nil {
			break
		}
		one := cursor{b: start[:4+n]}
		f, value, mask, why := readOXM(&one)
		if why != "" || wide(f) || value.And(mask) != value || slices.ContainsFunc(d.tests, func(t flow.Test) bool { return t.Field == f }) {
			continue
		}
		d.tests = append(d.tests, flow.Test{Field: f, Value: value, Mask: mask})
	}
	return keep(flow.Match(d.tests).Canonical())
}

// packetIn2 reads the properties of NXT_PACKET_IN2 (nicira-ext.h).
func (d *decoder) packetIn2(body []byte) (Event, error) {
	p := &PacketIn{}
	for c := (cursor{b: body}); c.more(); {
		kind, n := c.u16(), int(c.u16())
		prop := c.sub(n - 4)
		if c.err != nil {
			return nil, fmt.Errorf("packet-in2: property %d: %w", kind, c.err)
		}
		c.skip(min(-n&7, len(c.b)))
		switch kind {
		case 0:
			p.Data = bytes.Clone(prop.b)
		case 1:
			p.Length = int(prop.u32())
		case 3:
			p.Table = prop.u8()
		case 4:
			prop.skip(4)
			p.Cookie = prop.u64()
		case 5:
			p.Reason = prop.u8()
		case 6:
			p.Match = d.metadata(prop.b)
		case 7:
			p.UserData = bytes.Clone(prop.b)
		}
		if prop.err != nil {
			return nil, fmt.Errorf("packet-in2: property %d: %w", kind, prop.err)
		}
	}
	return p, nil
}

func (d *decoder) flowRemoved(body []byte) (Event, error) {
	c := cursor{b: body}
	r := &FlowRemoved{}
	r.Flow.Cookie = c.u64()
	r.Flow.Priority = c.u16()
	r.Reason = c.u8()
	r.Flow.Table = c.u8()
	sec, nsec := c.u32(), c.u32()
	r.Duration = time.Duration(sec)*time.Second + time.Duration(nsec)
	c.skip(4)
	r.Packets, r.Bytes = c.u64(), c.u64()
	raw := matchBytes(&c)
	if c.err != nil {
		return nil, fmt.Errorf("flow-removed: %w", c.err)
	}
	r.Flow.Match, _ = d.match(raw)
	return r, nil
}

func portStatus(body []byte) (Event, error) {
	c := cursor{b: body}
	s := &PortStatus{Reason: c.u8()}
	c.skip(7)
	s.Port.Number = c.u32()
	c.skip(4)
	copy(s.Port.MAC[:], c.bytes(6))
	c.skip(2)
	name := c.bytes(16)
	s.Port.Config, s.Port.State = c.u32(), c.u32()
	c.skip(24)
	if c.err != nil {
		return nil, fmt.Errorf("port-status: %w", c.err)
	}
	name, _, _ = bytes.Cut(name, []byte{0})
	s.Port.Name = string(name)
	return s, nil
}
