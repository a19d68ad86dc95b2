package openflow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options changes how a session works. The zero value is what a controller
// wants.
type Options struct {
	Log *slog.Logger // nil: no log

	HandshakeTimeout time.Duration // until the switch has described itself; 0: 10 s
	EchoInterval     time.Duration // silence after which the switch is asked for an echo; 0: 5 s
	EchoTimeout      time.Duration // silence after which it is given up; 0: 15 s

	EventQueue int // events kept for a slow reader before new ones are dropped; 0: 256

	packets    bool   // a channel for packets: see NewPacketChannel
	controller uint16 // its number
}

// Session is one OpenFlow 1.3 connection to a bridge. The switch sends it no
// packets: for those there is [PacketChannel]. Its methods may be called
// concurrently. It ends with Close, with its context, when the connection
// breaks or when the switch falls silent; all calls then return its error.
type Session struct {
	conn net.Conn
	log  *slog.Logger
	opts Options

	features features

	done chan struct{} // closed when the session has failed
	wg   sync.WaitGroup
	stop func() bool // detaches from the context

	mu      sync.Mutex
	err     error
	xid     uint32
	pending map[uint32]handler
	ranges  []xidRange

	queue  chan outgoing // to the writer
	urgent urgent

	lastRead    atomic.Int64 // unix nanoseconds
	lastWritten atomic.Int64
	held        atomic.Bool // the reader waits for a caller, not for the switch

	hello    chan error    // the first message's verdict
	applying chan struct{} // holds a token: one bundle at a time
	bundle   uint32        // identifier of the last one, under applying
	events   chan Event
	monitor  flowMonitor
	counters counters
	chunks   sync.Pool              // *[]byte, for many changes
	spare    atomic.Pointer[[]byte] // for few
}

// handler takes the messages that answer a request. The reader calls it.
type handler interface {
	// message takes one message; body is only lent unless its kind is
	// multipart. Before it tells anybody of the last message that is due, it
	// makes the session forget the request.
	message(h header, body []byte)
}

// NewSession performs the handshake on a fresh connection, which it owns from
// then on, and returns a session that lives until ctx ends. The error is
// [ErrVersion] if the switch offers no OpenFlow 1.3.
func NewSession(ctx context.Context, conn net.Conn, o Options) (*Session, error) {
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.EchoInterval, 5*time.Second)
	setDefault(&o.EchoTimeout, 15*time.Second)
	setDefault(&o.EventQueue, 256)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Session{
		conn: conn, log: o.Log, opts: o,
		done:     make(chan struct{}),
		pending:  make(map[uint32]handler),
		queue:    make(chan outgoing, queueLen),
		urgent:   urgent{wake: make(chan struct{}, 1)},
		hello:    make(chan error, 1),
		applying: make(chan struct{}, 1),
		events:   make(chan Event, o.EventQueue),
		monitor:  flowMonitor{wake: make(chan struct{}, 1)},
	}
	now := time.Now().UnixNano()
	s.lastRead.Store(now)
	s.lastWritten.Store(now)
	s.stop = context.AfterFunc(ctx, func() { s.fail(context.Cause(ctx)) })
	for _, run := range []func() error{s.read, s.write, s.keepAlive} {
		s.wg.Go(func() { s.fail(run()) })
	}
	if err := s.handshake(ctx); err != nil {
		s.fail(err)
		s.stop()
		s.wg.Wait()
		return nil, fmt.Errorf("openflow: handshake: %w", s.Err())
	}
	return s, nil
}

func setDefault[T time.Duration | int](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// handshake exchanges hellos, asks who the switch is and says what it may send
// unasked.
func (s *Session) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opts.HandshakeTimeout,
		fmt.Errorf("no answer within %v: %w", s.opts.HandshakeTimeout, ErrPeerSilent))
	defer cancel()
	b, err := encodeHello(s.nextXID(1))
	if err != nil {
		return err
	}
	if err := s.send(ctx, kindHello, b); err != nil {
		return err
	}
	select {
	case err := <-s.hello:
		if err != nil {
			return err
		}
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r, err := s.request(ctx, kindFeatures, typeFeaturesReply, func(xid uint32) ([]byte, error) { return encodeBare(xid, typeFeaturesRequest) })
	if err != nil {
		return err
	}
	if s.features, err = readFeatures(r); err != nil {
		return err
	}
	if b, err = encodeSetConfig(s.nextXID(1)); err != nil {
		return err
	}
	if err := s.send(ctx, kindSetConfig, b); err != nil {
		return err
	}
	return s.setUp(ctx)
}

// DatapathID returns the bridge's identifier: its low 48 bits are usually its
// MAC (OpenFlow 1.3.5 section 7.3.1).
func (s *Session) DatapathID() uint64 { return s.features.datapathID }

// Done is closed when the session has ended; Err then says why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session has ended, or nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close ends the session and returns when nothing of it runs any more. It is no
// error to close a session that has ended.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	s.stop()
	s.wg.Wait()
	return nil
}

// Events returns what the switch tells without being asked. The channel is
// never closed; see Done. Events beyond [Options.EventQueue] are dropped and
// counted.
func (s *Session) Events() <-chan Event { return s.events }

// fail ends the session; the first error stays.
func (s *Session) fail(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
		close(s.done)
	}
	s.mu.Unlock()
	if first {
		// This also ends reads and writes under way.
		if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Debug("closing the OpenFlow connection", "error", err)
		}
	}
}

// ended returns the session's error for a call that it cut short.
func (s *Session) ended() error { return fmt.Errorf("openflow: session ended: %w", s.Err()) }

// nextXID reserves n consecutive transaction identifiers and returns the first.
// They come round again after 2³² messages, when no answer is due any more.
func (s *Session) nextXID(n uint32) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextXIDLocked(n)
}

func (s *Session) nextXIDLocked(n uint32) uint32 {
	if s.xid+n < s.xid || s.xid == 0 { // 0 is for messages that answer nothing
		s.xid = 1
	}
	x := s.xid
	s.xid += n
	return x
}

// read is the reader: the only goroutine that reads the connection, so that
// answers are handled in the order in which the switch sent them.
func (s *Session) read() error {
	// A controller has thousands of sessions that are mostly silent: what a
	// session holds grows with what it gets. Long messages pass the buffer by.
	r := bufio.NewReaderSize(progress{s.conn, &s.lastRead}, 8<<10)
	var head [headerLen]byte
	var scratch []byte
	d := newDecoder()
	for greeted := false; ; {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return connError(err)
		}
		h, err := readHeader(head[:])
		if err != nil {
			return fmt.Errorf("openflow: the switch's stream is broken: %w", err)
		}
		n := h.length - headerLen
		var body []byte
		if h.kind == typeMultipartReply {
			body = make([]byte, n) // goes to another goroutine
		} else {
			if n > len(scratch) {
				scratch = make([]byte, max(n, 512))
			}
			body = scratch[:n]
		}
		if _, err := io.ReadFull(r, body); err != nil {
			return connError(err)
		}
		s.counters.bytesReceived.Add(uint64(h.length))
		switch {
		case !greeted:
			greeted = true
			s.greet(h, body)
		case h.version != version13:
			return fmt.Errorf("openflow: the switch sent a message of OpenFlow version %#x after agreeing to 0x04", h.version)
		default:
			s.dispatch(d, h, body)
		}
	}
}

func connError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the switch closed the connection: %w", err)
	}
	return fmt.Errorf("reading: %w", err)
}

// progress notes when something was read.
type progress struct {
	r    io.Reader
	last *atomic.Int64
}

func (p progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		p.last.Store(time.Now().UnixNano())
	}
	return n, err
}

// greet judges the first message.
func (s *Session) greet(h header, body []byte) {
	s.counters.receive(h.kind)
	switch {
	case h.kind == typeError:
		s.hello <- readError(h, body)
	case h.kind != typeHello:
		s.hello <- fmt.Errorf("the switch began with a message of type %d: is this an OpenFlow port?", h.kind)
	case !readHello(h, body):
		s.hello <- ErrVersion
	default:
		s.hello <- nil
	}
}

// dispatch hands a message to whoever waits for it. Body is lent, save that of
// a multipart reply.
func (s *Session) dispatch(d *decoder, h header, body []byte) {
	s.counters.receive(h.kind)
	switch h.kind {
	case typeEchoRequest:
		s.answerEcho(h, body)
		return
	case typeEchoReply:
		s.urgent.echoAnswered()
		return
	case typePacketIn, typeFlowRemoved, typePortStatus:
		s.deliver(d, h, body)
		return
	}
	s.mu.Lock()
	waiting := s.pending[h.xid]
	if waiting == nil && h.kind == typeError {
		waiting = s.rangeOf(h.xid)
	}
	s.mu.Unlock()
	switch {
	case waiting != nil:
		waiting.message(h, body)
	case h.kind == typeError && s.opts.packets:
		// A packet that a tenant caused: no reason to fill the log.
		s.counters.refused.Add(1)
		s.log.Debug("the switch refused a packet", "error", readError(h, body))
	case h.kind == typeError:
		s.log.Warn("the switch reports an error for which nobody waits", "error", readError(h, body))
	case h.kind == typeExperimenter && monitorNotice(body):
		s.monitor.add(nil)
	case h.kind == typeMultipartReply && h.xid == 0:
		s.takeUpdates(d, body)
	case h.kind == typeExperimenter:
		s.deliver(d, h, body)
	default:
		s.log.Debug("unexpected OpenFlow message", "type", h.kind, "xid", h.xid)
	}
}

// deliver queues an event, or drops it if nobody takes them.
func (s *Session) deliver(d *decoder, h header, body []byte) {
	e, err := d.event(h, body)
	if err != nil {
		s.counters.malformed.Add(1)
		s.log.Debug("OpenFlow event not understood", "type", h.kind, "error", err)
		return
	}
	select {
	case s.events <- e:
	default:
		s.counters.eventsDropped.Add(1)
	}
}

func (s *Session) forget(xid uint32) {
	s.mu.Lock()
	delete(s.pending, xid)
	s.mu.Unlock()
}
