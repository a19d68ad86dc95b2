package openflow

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// queueLen messages or chunks of messages wait for the writer at most: a
	// bundle is encoded while the switch reads, and no further ahead.
	queueLen = 8
	// coalesce is how many octets the writer gathers for one write.
	coalesce = 256 << 10
	// maxEchoes bounds the switch's echo requests that wait for their answers.
	maxEchoes = 64
)

// outgoing is one or more whole messages.
type outgoing struct {
	b       []byte
	recycle func([]byte) // nil, or takes b back when it is written
}

// urgent holds what must not wait behind a full queue, and must never make the
// reader wait: echoes.
type urgent struct {
	mu      sync.Mutex
	answers [][]byte
	asked   bool      // our echo is due, queued or under way
	echo    []byte    // ours, while it is not written
	written time.Time // when ours was written, zero before
	wake    chan struct{}
}

func (u *urgent) poke() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// take removes what is to be written next.
func (u *urgent) take() (answers [][]byte, echo []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	answers, echo = u.answers, u.echo
	u.answers, u.echo = nil, nil
	return answers, echo
}

func (u *urgent) echoAnswered() {
	u.mu.Lock()
	u.asked, u.written = false, time.Time{}
	u.mu.Unlock()
}

// answerEcho queues the answer to the switch's echo request.
func (s *Session) answerEcho(h header, body []byte) {
	b, err := encodeEchoReply(h.xid, body)
	if err != nil {
		s.fail(err)
		return
	}
	s.urgent.mu.Lock()
	full := len(s.urgent.answers) >= maxEchoes
	if !full {
		s.urgent.answers = append(s.urgent.answers, b)
	}
	s.urgent.mu.Unlock()
	if full {
		s.fail(fmt.Errorf("openflow: the switch sends echo requests and takes no answers"))
		return
	}
	s.counters.send(kindEchoReply, 1)
	s.urgent.poke()
}

// send queues whole messages of one kind.
func (s *Session) send(ctx context.Context, k Kind, b []byte) error {
	return s.enqueue(ctx, outgoing{b: b}, k, 1)
}

func (s *Session) enqueue(ctx context.Context, o outgoing, k Kind, n int) error {
	if ctx.Err() != nil { // also while there is room
		return context.Cause(ctx)
	}
	select {
	case s.queue <- o:
		s.counters.send(k, n)
		return nil
	case <-s.done:
		return s.ended()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write is the writer: the only goroutine that writes the connection. It
// gathers what waits into few writes.
func (s *Session) write() error {
	var bufs net.Buffers
	var taken []outgoing
	for {
		select {
		case <-s.done:
			return nil
		case <-s.urgent.wake:
		case o := <-s.queue:
			taken = append(taken, o)
		}
		answers, echo := s.urgent.take()
		bufs = append(bufs[:0], answers...)
		if echo != nil {
			bufs = append(bufs, echo)
		}
		taken = s.gather(taken)
		for _, o := range taken {
			bufs = append(bufs, o.b)
		}
		n, err := s.writeAll(bufs)
		s.counters.bytesSent.Add(uint64(n))
		if err != nil {
			s.lastWords()
			return fmt.Errorf("writing: %w", err)
		}
		now := time.Now()
		s.lastWritten.Store(now.UnixNano())
		if echo != nil {
			s.urgent.mu.Lock()
			if s.urgent.asked {
				s.urgent.written = now
			}
			s.urgent.mu.Unlock()
		}
		for i, o := range taken {
			if o.recycle != nil {
				o.recycle(o.b)
			}
			taken[i] = outgoing{}
		}
		taken = taken[:0]
		clear(bufs)
	}
}

func (s *Session) writeAll(bufs net.Buffers) (int64, error) {
	if len(bufs) == 1 {
		n, err := s.conn.Write(bufs[0])
		return int64(n), err
	}
	return bufs.WriteTo(s.conn)
}

// lastWordsWait is how long a peer's last words may take when writing has
// failed.
const lastWordsWait = 200 * time.Millisecond

// lastWords lets the reader end the session before the writer does. A peer that
// refuses us mostly says why and then closes: the reason, such as a TLS alert,
// lies unread while writing fails with no more than "broken pipe".
func (s *Session) lastWords() {
	t := time.NewTimer(lastWordsWait)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
}

// gather takes more of what waits, up to what one write should have.
func (s *Session) gather(taken []outgoing) []outgoing {
	size := 0
	for _, o := range taken {
		size += len(o.b)
	}
	for size < coalesce {
		select {
		case o := <-s.queue:
			taken = append(taken, o)
			size += len(o.b)
		default:
			return taken
		}
	}
	return taken
}

// keepAlive asks a silent switch for an echo and ends the session if none
// comes. A switch is silent if it sends nothing although our echo was written,
// or takes nothing while it is not. Time in which the reader waits for a caller
// does not count.
func (s *Session) keepAlive() error {
	t := time.NewTicker(min(s.opts.EchoInterval, s.opts.EchoTimeout) / 4)
	defer t.Stop()
	for {
		select {
		case <-s.done:
			return nil
		case now := <-t.C:
			if s.held.Load() {
				s.lastRead.Store(now.UnixNano())
				continue
			}
			if err := s.checkPeer(now); err != nil {
				return err
			}
		}
	}
}

func (s *Session) checkPeer(now time.Time) error {
	heard := time.Unix(0, s.lastRead.Load())
	u := &s.urgent
	u.mu.Lock()
	defer u.mu.Unlock()
	alive := heard
	since := u.written
	if since.IsZero() {
		since = time.Unix(0, s.lastWritten.Load())
	}
	if since.After(alive) {
		alive = since
	}
	if silent := now.Sub(alive); silent >= s.opts.EchoTimeout {
		return fmt.Errorf("%w for %v", ErrPeerSilent, silent.Round(time.Millisecond))
	}
	if !u.asked && now.Sub(heard) >= s.opts.EchoInterval {
		b, err := encodeBare(s.nextXID(1), typeEchoRequest)
		if err != nil {
			return err
		}
		u.asked, u.echo = true, b
		s.counters.send(kindEcho, 1)
		u.poke()
	}
	return nil
}
