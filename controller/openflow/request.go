package openflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
)

// call waits for the one message that answers a request.
type call struct {
	s      *Session
	want   uint8 // type of the answer
	answer chan answer
}

type answer struct {
	body []byte
	err  error
}

func (c *call) message(h header, body []byte) {
	c.s.forget(h.xid)
	var a answer
	switch h.kind {
	case c.want:
		a.body = bytes.Clone(body)
	case typeError:
		a.err = readError(h, body)
	default:
		a.err = fmt.Errorf("a message of type %d where one of type %d was due", h.kind, c.want)
	}
	c.answer <- a // has room: a call gets one message
}

// start sends a request without waiting for its answer.
func (s *Session) start(ctx context.Context, k Kind, want uint8, encode func(xid uint32) ([]byte, error)) (*call, uint32, error) {
	c := &call{s: s, want: want, answer: make(chan answer, 1)}
	s.mu.Lock()
	xid := s.nextXIDLocked(1)
	s.pending[xid] = c
	s.mu.Unlock()
	b, err := encode(xid)
	if err == nil {
		err = s.send(ctx, k, b)
	}
	if err != nil {
		s.forget(xid)
		return nil, 0, err
	}
	return c, xid, nil
}

// wait waits for the answer to a request.
func (s *Session) wait(ctx context.Context, c *call, xid uint32) ([]byte, error) {
	select {
	case a := <-c.answer:
		return a.body, a.err
	case <-s.done:
		select {
		case a := <-c.answer: // it came just before the end
			return a.body, a.err
		default:
			return nil, s.ended()
		}
	case <-ctx.Done():
		s.forget(xid)
		return nil, context.Cause(ctx)
	}
}

// request sends a request and waits for its answer.
func (s *Session) request(ctx context.Context, k Kind, want uint8, encode func(xid uint32) ([]byte, error)) ([]byte, error) {
	c, xid, err := s.start(ctx, k, want, encode)
	if err != nil {
		return nil, err
	}
	return s.wait(ctx, c, xid)
}

// Barrier returns when the switch has processed everything sent before
// (OpenFlow 1.3.5 section 7.3.8). Errors about it have been handled by then.
func (s *Session) Barrier(ctx context.Context) error {
	_, err := s.request(ctx, kindBarrier, typeBarrierReply, func(xid uint32) ([]byte, error) { return encodeBare(xid, typeBarrierRequest) })
	if err != nil {
		return fmt.Errorf("openflow: barrier: %w", err)
	}
	return nil
}

// ClaimMaster makes this session the switch's only writer (OpenFlow 1.3.5
// section 6.3.5): the sessions that claimed it with lower generations become
// slaves, whose changes are refused with [ErrSlave]. The generation is compared
// as a signed difference, outlives connections, and is refused with
// [ErrStaleGeneration] if the switch has seen a greater one. A session that
// never claimed may write too: claim before the first write.
func (s *Session) ClaimMaster(ctx context.Context, generation uint64) error {
	b, err := s.request(ctx, kindRole, typeRoleReply, func(xid uint32) ([]byte, error) { return encodeRoleRequest(xid, roleMaster, generation) })
	if err == nil {
		var role uint32
		if role, _, err = readRole(b); err == nil && role != roleMaster {
			err = fmt.Errorf("the switch gave role %d", role)
		}
	}
	if err != nil {
		return fmt.Errorf("openflow: claiming the switch with generation %d: %w", generation, err)
	}
	return nil
}

// parts is how many messages of flow statistics wait for a slow reader: at
// most 64 KiB each.
const parts = 8

// flowReading receives the messages of one multipart reply.
type flowReading struct {
	s         *Session
	kind      uint16 // of multipart
	parts     chan answer
	last      chan struct{} // closed behind the last part
	abandoned chan struct{} // closed when nobody reads any more
}

func (r *flowReading) message(h header, body []byte) {
	a := answer{body: body}
	more := false
	switch h.kind {
	case typeError:
		a.err = readError(h, body)
	case typeMultipartReply:
		if len(body) < 8 || binary.BigEndian.Uint16(body) != r.kind {
			a.err = fmt.Errorf("a multipart reply of another type")
			break
		}
		more = binary.BigEndian.Uint16(body[2:])&multipartReplyMore != 0
		a.body = body[8:]
	default:
		a.err = fmt.Errorf("a message of type %d where a multipart reply was due", h.kind)
	}
	select {
	case r.parts <- a:
	default:
		// The caller is slow. Read nothing more until it has caught up: that
		// bounds memory here, and in the end makes the switch wait.
		r.s.held.Store(true)
		select {
		case r.parts <- a:
		case <-r.abandoned:
		case <-r.s.done:
		}
		r.s.held.Store(false)
	}
	if !more {
		r.s.forget(h.xid)
		close(r.last)
	}
}

// AllTables stands for every table in [Session.ReadEncoded].
const AllTables uint8 = anyTable

// ReadFlows calls fn for every flow of the switch whose cookie equals cookie
// under mask (mask 0: every flow), in the switch's order. It holds a few
// messages of 64 KiB at a time, however many flows there are. An error of fn
// ends the reading and is returned.
//
// While fn lags behind, the session reads nothing else, so fn must not call
// the session and should do little. The Stat may be kept.
func (s *Session) ReadFlows(ctx context.Context, cookie, mask uint64, fn func(*Stat) error) error {
	d := newDecoder()
	return s.readFlows(ctx, AllTables, cookie, mask, func(body []byte) error { return d.flowStats(body, fn) })
}

// ReadEncoded is [Session.ReadFlows] for who wants to compare: it takes flows of
// one table or of [AllTables], yields their octets and makes no copies of them.
// The Entry is lent until fn returns.
func (s *Session) ReadEncoded(ctx context.Context, table uint8, cookie, mask uint64, fn func(*Entry) error) error {
	d := newDecoder()
	return s.readFlows(ctx, table, cookie, mask, func(body []byte) error { return d.entries(body, fn) })
}

// readFlows calls each for the flows in each message of a flow-stats reply.
func (s *Session) readFlows(ctx context.Context, table uint8, cookie, mask uint64, each func(body []byte) error) error {
	err := s.readParts(ctx, multipartFlow, func(xid uint32) ([]byte, error) { return encodeFlowRequest(xid, table, cookie, mask) }, func(body []byte) error {
		if err := each(body); err != nil {
			return ofCaller{err}
		}
		return nil
	})
	if c, ok := err.(ofCaller); ok {
		return c.error
	}
	if err != nil {
		return fmt.Errorf("openflow: reading flows: %w", err)
	}
	return nil
}

// ofCaller is an error that a callback returned.
type ofCaller struct{ error }

// readParts calls each for each message of a multipart reply.
func (s *Session) readParts(ctx context.Context, kind uint16, request func(xid uint32) ([]byte, error), each func(body []byte) error) error {
	r := &flowReading{s: s, kind: kind, parts: make(chan answer, parts), last: make(chan struct{}), abandoned: make(chan struct{})}
	defer close(r.abandoned)
	s.mu.Lock()
	xid := s.nextXIDLocked(1)
	s.pending[xid] = r
	s.mu.Unlock()
	b, err := request(xid)
	if err == nil {
		err = s.send(ctx, kindFlowRequest, b)
	}
	if err != nil {
		s.forget(xid)
		return err
	}
	for {
		a, more, err := r.next(ctx)
		if err == nil && more {
			if err = a.err; err == nil {
				err = each(a.body)
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

// next returns the next part, or false behind the last.
func (r *flowReading) next(ctx context.Context) (answer, bool, error) {
	if ctx.Err() != nil {
		return answer{}, false, context.Cause(ctx)
	}
	// What has arrived comes before the end.
	select {
	case a := <-r.parts:
		return a, true, nil
	default:
	}
	select {
	case a := <-r.parts:
		return a, true, nil
	case <-r.last:
		select {
		case a := <-r.parts:
			return a, true, nil
		default:
			return answer{}, false, nil
		}
	case <-r.s.done:
		return answer{}, false, r.s.ended()
	case <-ctx.Done():
		return answer{}, false, context.Cause(ctx)
	}
}
