package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of a connection.
const (
	// writeTimeout bounds one message: a peer that does not read for so long
	// is gone.
	writeTimeout = 30 * time.Second
	// maxMessage bounds what a host can make us hold, in octets. The contents
	// of a database with 100,000 interfaces are about 40 MB.
	maxMessage = 256 << 20
	// maxEchoes bounds the echo requests of the peer that wait for a reply.
	maxEchoes = 16
)

// rpc is one JSON-RPC 1.0 connection (RFC 7047 section 4). Its owner runs serve
// and answer, each in a goroutine, and closes conn to end them.
type rpc struct {
	conn   net.Conn
	notify func(method string, params json.RawMessage) error // called by serve
	echoes chan echo
	done   chan struct{} // closed when serve ends
	heard  atomic.Int64  // messages received

	writing sync.Mutex

	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]*call
	broken  error // what made us end it, where that was a write
	reason  error // why it has ended; set before done is closed
}

type echo struct{ id, params json.RawMessage }

// call is a request under way. accept runs in serve, before any message that
// follows the reply is handled.
type call struct {
	accept func(result json.RawMessage) error
	reply  chan error // capacity 1
}

// message is a request, a notification or a reply (RFC 7047 section 4.1).
type message struct {
	Method *string         `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
	ID     json.RawMessage `json:"id"`
}

// rpcError is the error member of a reply: the server did not understand or
// allow the request as a whole.
type rpcError struct {
	method string
	text   string
}

func (e *rpcError) Error() string { return "ovsdb-server refused " + e.method + ": " + e.text }

func newRPC(conn net.Conn, notify func(string, json.RawMessage) error) *rpc {
	return &rpc{
		conn: conn, notify: notify,
		echoes:  make(chan echo, maxEchoes),
		done:    make(chan struct{}),
		pending: make(map[uint64]*call),
	}
}

// serve reads messages until the connection or a handler fails, and returns why.
func (r *rpc) serve() error {
	defer close(r.done)
	err := r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		err = r.broken // reading failed because of it
	}
	r.reason = err
	return err
}

// ended returns what serve has returned, or nil while it runs.
func (r *rpc) ended() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

func (r *rpc) read() error {
	limited := &messageLimit{r: r.conn, left: maxMessage}
	dec := json.NewDecoder(limited)
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return ErrClosed
			}
			return fmt.Errorf("reading from ovsdb-server: %w", err)
		}
		limited.left = maxMessage
		r.heard.Add(1)
		if err := r.handle(&m); err != nil {
			return err
		}
	}
}

func (r *rpc) handle(m *message) error {
	switch {
	case m.Method == nil:
		return r.handleReply(m)
	case *m.Method == "echo":
		select {
		case r.echoes <- echo{m.ID, m.Params}:
			return nil
		default:
			return fmt.Errorf("ovsdb-server sent more than %d echo requests without waiting for a reply", maxEchoes)
		}
	default:
		return r.notify(*m.Method, m.Params)
	}
}

func (r *rpc) handleReply(m *message) error {
	var id uint64
	if err := json.Unmarshal(m.ID, &id); err != nil {
		return fmt.Errorf("ovsdb-server sent a reply with the id %.40q, which no request had", m.ID)
	}
	r.mu.Lock()
	c := r.pending[id]
	delete(r.pending, id)
	r.mu.Unlock()
	if c == nil {
		return nil // the caller gave up
	}
	if len(m.Error) > 0 && string(m.Error) != "null" {
		c.reply <- &rpcError{text: replyError(m.Error)}
		return nil
	}
	// A reply that cannot be used fails the call, and the connection too: what
	// we believe of the database would be wrong.
	err := safely(func() error { return c.accept(m.Result) })
	c.reply <- err
	return err
}

// replyError renders the error member of a reply, a string or an <error>
// (RFC 7047 section 3.1).
func replyError(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var e struct{ Error, Details string }
	if json.Unmarshal(raw, &e) == nil && e.Error != "" {
		if e.Details != "" {
			return e.Error + ": " + e.Details
		}
		return e.Error
	}
	return string(raw)
}

// answer replies to the peer's echo requests, apart from serve so that reading
// never waits for writing.
func (r *rpc) answer(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.done:
			return nil
		case e := <-r.echoes:
			if err := r.write(struct {
				ID     json.RawMessage `json:"id"`
				Result json.RawMessage `json:"result"`
				Error  any             `json:"error"`
			}{e.id, e.params, nil}); err != nil && !errors.Is(err, errConnectionLost) {
				return err
			}
		}
	}
}

// call sends a request and waits until accept has seen its result. When ctx
// ends first, the request may or may not have taken effect.
func (r *rpc) call(ctx context.Context, method string, params any, accept func(json.RawMessage) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{accept: accept, reply: make(chan error, 1)}
	r.mu.Lock()
	r.nextID++
	id := r.nextID
	r.pending[id] = c
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pending, id)
		r.mu.Unlock()
	}()
	if err := r.write(struct {
		Method string `json:"method"`
		Params any    `json:"params"`
		ID     uint64 `json:"id"`
	}{method, params, id}); err != nil {
		return err
	}
	select {
	case err := <-c.reply:
		var refused *rpcError
		if errors.As(err, &refused) {
			refused.method = method
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return errConnectionLost
	}
}

// ErrClosed reports that the database's server ended the connection, and did
// not say why.
var ErrClosed = errors.New("ovsdb-server closed the connection")

var errConnectionLost = errors.New("the connection to ovsdb-server was lost; whether the change was made is unknown")

func (r *rpc) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	err = r.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = r.conn.Write(b)
	}
	if err != nil {
		return r.breakOff(fmt.Errorf("writing to ovsdb-server: %w", err))
	}
	return nil
}

// lastWordsWait is how long a peer's last words may take when writing has
// failed.
const lastWordsWait = 200 * time.Millisecond

// breakOff ends a connection that err has made useless: a part of a message may
// have gone out, and nothing sensible can follow it. But a peer that refuses us
// mostly says why and then closes: the reason, such as a TLS alert, lies unread
// while writing fails with no more than "broken pipe". So serve may end the
// connection first, and then the error is errConnectionLost.
func (r *rpc) breakOff(err error) error {
	late := time.NewTimer(lastWordsWait)
	defer late.Stop()
	select {
	case <-r.done:
		return errConnectionLost
	case <-late.C:
	}
	r.mu.Lock()
	r.broken = err
	r.mu.Unlock()
	r.conn.Close()
	return err
}

// messageLimit fails when a message is longer than left.
type messageLimit struct {
	r    io.Reader
	left int
}

func (l *messageLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("a message exceeds %d octets", maxMessage)
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// safely turns a panic of f into an error: libovsdb asserts types where a peer
// that is broken or hostile sends others.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ovsdb-server sent what OVSDB does not allow: %v", p)
		}
	}()
	return f()
}
