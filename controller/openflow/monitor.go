package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// FlowChangeKind is what happened to a flow.
type FlowChangeKind uint8

// The kinds of changes (EXT-187).
const (
	FlowAdded FlowChangeKind = iota
	FlowDeleted
	FlowModified
)

// FlowChange is a change of a flow that another than this session made.
type FlowChange struct {
	Kind FlowChangeKind
	// Flow has no actions, and no match unless MatchKnown. Of a flow that was
	// replaced it is the new one.
	Flow       flow.Flow
	MatchKnown bool
}

// maxFlowChanges is how many changes wait for a slow reader.
const maxFlowChanges = 256

// flowMonitor collects what others do to the switch's flows.
type flowMonitor struct {
	mu      sync.Mutex
	on      bool
	changes []FlowChange
	lost    bool
	wake    chan struct{} // capacity 1
}

// MonitorFlows asks the switch to tell what others do to its flows
// (EXT-187, which Open vSwitch offers to OpenFlow 1.3 from 2.17 on). An [*Error]
// says that it cannot. When it returns nil, every later change shows in
// [Session.TakeFlowChanges]; the flows that are there are not told. What this
// session does is not told either.
func (s *Session) MonitorFlows(ctx context.Context) error {
	s.monitor.set(true)
	_, err := s.request(ctx, kindMonitor, typeMultipartReply, func(xid uint32) ([]byte, error) { return encodeMonitorRequest(xid), nil })
	if err != nil {
		s.monitor.set(false)
		return fmt.Errorf("openflow: monitoring flows: %w", err)
	}
	return nil
}

// IgnoreFlows ends what [Session.MonitorFlows] began. It does not wait for the
// switch; changes that have not been taken are forgotten.
func (s *Session) IgnoreFlows(ctx context.Context) error {
	s.monitor.set(false)
	xid := s.nextXID(1)
	b := appendHead(nil, typeExperimenter, headerLen+12, xid)
	b = binary.BigEndian.AppendUint32(b, experimenterONF)
	b = binary.BigEndian.AppendUint32(b, onfMonitorCancel)
	b = binary.BigEndian.AppendUint32(b, monitorID)
	return s.send(ctx, kindMonitor, b)
}

// FlowChanges has a value when [Session.TakeFlowChanges] has something.
func (s *Session) FlowChanges() <-chan struct{} { return s.monitor.wake }

// TakeFlowChanges returns the changes since the last call, at most 256. Lost
// says that there were more: only a read-back tells what the switch holds.
func (s *Session) TakeFlowChanges() (changes []FlowChange, lost bool) {
	m := &s.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	changes, lost = m.changes, m.lost
	m.changes, m.lost = nil, false
	return changes, lost
}

func (m *flowMonitor) set(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on, m.changes, m.lost = on, nil, false
}

// add notes a change, or that more happened than is known (c is nil).
func (m *flowMonitor) add(c *FlowChange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.on:
		return
	case c == nil || len(m.changes) >= maxFlowChanges:
		m.lost = true
	default:
		m.changes = append(m.changes, *c)
	}
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// takeUpdates takes a message of updates that answers no request.
func (s *Session) takeUpdates(d *decoder, body []byte) {
	if err := d.flowUpdates(body, func(c *FlowChange) { s.monitor.add(c) }); err != nil {
		s.counters.malformed.Add(1)
		s.log.Debug("flow-monitor update not understood", "error", err)
		s.monitor.add(nil)
	}
}

// EXT-187: flow monitoring for OpenFlow 1.3.
const (
	multipartExperimenter = 0xffff
	onfFlowMonitor        = 1870 // multipart
	onfMonitorCancel      = 1870 // message
	onfMonitorPaused      = 1871
	onfMonitorResumed     = 1872

	monitorID = 1 // a session has one monitor

	monitorAdd, monitorDelete, monitorModify = 2, 4, 8

	updateAbbrev = 3 // what this session did, by transaction identifier
)

func appendHead(b []byte, kind uint8, length int, xid uint32) []byte {
	b = append(b, version13, kind, byte(length>>8), byte(length))
	return binary.BigEndian.AppendUint32(b, xid)
}

// encodeMonitorRequest asks for the changes in all tables, without actions:
// what has changed is read back anyway. Our own come abbreviated, since the flag
// for own changes is not set.
func encodeMonitorRequest(xid uint32) []byte {
	const length = headerLen + 16 + 16 + 8
	b := appendHead(make([]byte, 0, length), typeMultipartRequest, length, xid)
	b = binary.BigEndian.AppendUint16(b, multipartExperimenter)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, experimenterONF)
	b = binary.BigEndian.AppendUint32(b, onfFlowMonitor)
	b = binary.BigEndian.AppendUint32(b, monitorID)
	b = binary.BigEndian.AppendUint16(b, monitorAdd|monitorDelete|monitorModify)
	b = binary.BigEndian.AppendUint16(b, 4) // of the match, without padding
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = append(b, anyTable, 0, 0, 0)
	return append(b, 0, matchOXM, 0, 4, 0, 0, 0, 0)
}

// flowUpdates calls fn for each change that another session made, in the body of
// a multipart reply.
func (d *decoder) flowUpdates(body []byte, fn func(*FlowChange)) error {
	c := cursor{b: body}
	kind := c.u16()
	c.skip(6)
	if who, what := c.u32(), c.u32(); c.err != nil || kind != multipartExperimenter || who != experimenterONF || what != onfFlowMonitor {
		return fmt.Errorf("a multipart reply of type %d, experimenter %#x/%d, for which nobody asked", kind, who, what)
	}
	for c.more() {
		n := int(c.u16())
		u := c.sub(n - 2)
		event := u.u16()
		if event == updateAbbrev && u.err == nil {
			continue
		}
		ch := FlowChange{Kind: FlowChangeKind(event)}
		u.skip(2) // the reason
		ch.Flow.Priority = u.u16()
		u.skip(6) // timeouts, length of the match
		ch.Flow.Table = u.u8()
		u.skip(1)
		ch.Flow.Cookie = u.u64()
		raw := matchBytes(&u)
		if c.err != nil || u.err != nil || event > updateAbbrev {
			return fmt.Errorf("flow update: %d octets with event %d", n, event)
		}
		var why string
		ch.Flow.Match, why = d.match(raw)
		ch.MatchKnown = why == ""
		fn(&ch)
	}
	return nil
}

// monitorNotice reports whether an experimenter's message is about the monitor:
// it pauses when we read too slowly, and then tells our own changes like those of
// others.
func monitorNotice(body []byte) bool {
	c := cursor{b: body}
	who, what := c.u32(), c.u32()
	return c.err == nil && who == experimenterONF && (what == onfMonitorPaused || what == onfMonitorResumed)
}
