package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// PacketChannel is an OpenFlow connection to a bridge for packets alone: those
// that the switch's flows send to a controller, and those that the controller
// sends out. It is a connection of its own, so that packets, which tenants cause,
// hold up no change of flows. Its methods may be called concurrently.
//
// The switch is told the channel's number, and then sends it the packets of those
// controller actions that name it, and nothing else: no packets of other
// controllers, no changes of ports or flows. Every channel of that number gets
// every packet.
type PacketChannel struct{ s *Session }

// NewPacketChannel performs the handshake on a fresh connection, which it owns
// from then on, and returns a channel that lives until ctx ends. Controller is
// the number in the flows' controller actions. Of o, EventQueue is how many
// packets wait for a slow reader before new ones are dropped.
func NewPacketChannel(ctx context.Context, conn net.Conn, controller uint16, o Options) (*PacketChannel, error) {
	o.packets, o.controller = true, controller
	s, err := NewSession(ctx, conn, o)
	if err != nil {
		return nil, err
	}
	// The switch has done all that by the time of its answer.
	if err := s.Barrier(ctx); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("openflow: opening a channel for packets: %w", err)
	}
	return &PacketChannel{s}, nil
}

// Next waits for a packet and returns it. The error says why the channel or ctx
// ended.
func (c *PacketChannel) Next(ctx context.Context) (*PacketIn, error) {
	for {
		select {
		case e := <-c.s.events:
			if p, ok := e.(*PacketIn); ok {
				return p, nil
			}
		case <-c.s.done:
			return nil, c.s.ended()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// DatapathID returns the bridge's identifier; see [Session.DatapathID].
func (c *PacketChannel) DatapathID() uint64 { return c.s.DatapathID() }

// Counters returns what the channel has done so far: EventsDropped is how many
// packets nobody took in time.
func (c *PacketChannel) Counters() Counters { return c.s.Counters() }

// Done is closed when the channel has ended; Err then says why.
func (c *PacketChannel) Done() <-chan struct{} { return c.s.Done() }

// Err returns why the channel has ended, or nil while it lives.
func (c *PacketChannel) Err() error { return c.s.Err() }

// Close ends the channel and returns when nothing of it runs any more.
func (c *PacketChannel) Close() error { return c.s.Close() }

// PacketOut is a packet that a switch is to send (OpenFlow 1.3.5 section 7.3.7).
type PacketOut struct {
	// InPort is the port that the packet counts as having come in by;
	// 0 or PortController: none.
	InPort uint32
	// Actions say what becomes of it: outputs, writes to registers and other
	// fields, resubmits to tables ([flow.PortTable] is table 0), no goto. What a
	// write presupposes the switch looks for in the packet.
	Actions []flow.Action
	Data    []byte // the frame, from its Ethernet header on
}

// PortController is the input port of packets that came in by none.
const PortController = portController

// Send sends a packet. It waits while the connection takes no more, and does not
// wait for the switch to send it: what the switch refuses is logged.
func (c *PacketChannel) Send(ctx context.Context, p *PacketOut) error {
	b, err := appendPacketOut(nil, c.s.nextXID(1), p)
	if err == nil {
		err = c.s.send(ctx, kindPacketOut, b)
	}
	if err != nil {
		return fmt.Errorf("openflow: sending a packet: %w", err)
	}
	return nil
}

var errNoPacket = errors.New("a packet-out has no packet")

func appendPacketOut(b []byte, xid uint32, p *PacketOut) ([]byte, error) {
	start := len(b)
	if len(p.Data) == 0 {
		return b, errNoPacket
	}
	in := p.InPort
	if in == 0 {
		in = PortController
	}
	b = append(b, version13, typePacketOut, 0, 0)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, in)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	at := len(b)
	b, err := appendActions(b, p.Actions)
	if err != nil {
		return b[:start], err
	}
	n := len(b) - at
	b = append(b, p.Data...)
	if len(b)-start > maxLen {
		return b[:start], errTooLong
	}
	binary.BigEndian.PutUint16(b[at-8:], uint16(n))
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, nil
}

// setUp tells the switch what it may send unasked.
func (s *Session) setUp(ctx context.Context) error {
	b := appendSetAsync(nil, s.nextXID(1), s.opts.packets)
	if s.opts.packets {
		b = appendNiciraMessage(b, s.nextXID(1), nxtSetPacketInFormat, []byte{0, 0, 0, packetInFormat2})
		b = appendNiciraMessage(b, s.nextXID(1), nxtSetControllerID, []byte{0, 0, 0, 0, 0, 0, byte(s.opts.controller >> 8), byte(s.opts.controller)})
	}
	return s.send(ctx, kindSetConfig, b)
}

// appendSetAsync appends a message (OpenFlow 1.3.5 section 7.3.10) that asks, as
// master and as slave, for packets and nothing else, or for all but packets.
func appendSetAsync(b []byte, xid uint32, packets bool) []byte {
	const allPacketIns, allPortChanges, allFlowEnds = 0x3f, 0x7, 0x3f
	b = appendHead(b, typeSetAsync, headerLen+24, xid)
	masks := [3]uint32{0, allPortChanges, allFlowEnds}
	if packets {
		masks = [3]uint32{allPacketIns, 0, 0}
	}
	for i, mask := range masks {
		slave := mask
		if i == 2 {
			slave = 0 // as without the message
		}
		b = binary.BigEndian.AppendUint32(b, mask)
		b = binary.BigEndian.AppendUint32(b, slave)
	}
	return b
}

func appendNiciraMessage(b []byte, xid, subtype uint32, body []byte) []byte {
	b = appendHead(b, typeExperimenter, headerLen+8+len(body), xid)
	b = binary.BigEndian.AppendUint32(b, experimenterNicira)
	b = binary.BigEndian.AppendUint32(b, subtype)
	return append(b, body...)
}
