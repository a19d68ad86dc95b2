package dbserver

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Faults is how a server misbehaves. The zero Faults is a good server.
type Faults struct {
	Delay   time.Duration // passes before each request is handled
	Stalled bool          // nothing is read, answered or told until it is false again
}

// Counters is what a server has met.
type Counters struct {
	Connections  uint64
	Requests     uint64
	Transactions uint64 // that were asked for
	Failed       uint64 // of those, how many were refused
	Updates      uint64 // notifications sent
}

// Server is one database. Its methods are safe for concurrent use.
type Server struct {
	schema *Schema
	after  func(*Tx)
	wg     sync.WaitGroup

	mu            sync.Mutex
	closed        bool
	tables        map[*table]map[UUID]*row
	refs          map[UUID]int
	unique        map[string]UUID
	sessions      map[*session]struct{}
	faults        Faults
	faultsChanged chan struct{}
	counters      Counters
	watch         chan struct{}
}

// New returns a server whose database is empty. After, if not nil, is called
// after every transaction that was not made by itself, with a new one in which
// it can react; [Tx.Changed] tells what has changed. It is called with the server
// locked, and must not call it.
func New(schema *Schema, after func(*Tx)) *Server {
	s := &Server{schema: schema, after: after, tables: make(map[*table]map[UUID]*row), refs: make(map[UUID]int),
		unique: make(map[string]UUID), sessions: make(map[*session]struct{}), faultsChanged: make(chan struct{})}
	for _, t := range schema.tables {
		s.tables[t] = make(map[UUID]*row)
	}
	return s
}

// Transact runs fn in a transaction and commits it unless fn fails.
func (s *Server) Transact(fn func(*Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := s.begin()
	if err := fn(tx); err != nil {
		return err
	}
	if tx.err != nil {
		return tx.err
	}
	if err := tx.commit(); err != nil {
		return err
	}
	s.react(tx)
	return nil
}

// React calls the function that reacts to transactions as though every row were
// new.
func (s *Server) React() {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.begin()
	for t, rows := range s.tables {
		for u, r := range rows {
			all.set(t, u, r)
			all.changes[u].old = nil
		}
	}
	s.react(all)
}

func (s *Server) begin() *Tx { return &Tx{s: s, changes: make(map[UUID]*change)} }

// react lets the owner react to a transaction that was committed.
func (s *Server) react(done *Tx) {
	if s.after == nil || len(done.order) == 0 {
		return
	}
	tx := s.begin()
	tx.cause = done
	s.after(tx)
	if tx.err == nil && len(tx.order) > 0 {
		if err := tx.commit(); err != nil {
			tx.err = err
		}
	}
	if tx.err != nil {
		panic(fmt.Sprintf("dbserver: the reaction to a transaction: %v", tx.err)) // a mistake of its author
	}
}

// SetFaults makes the server misbehave so; the zero Faults ends it.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
	close(s.faultsChanged)
	s.faultsChanged = make(chan struct{})
}

// Counters returns what the server has met.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}

// Connections returns how many there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Disconnect drops every connection and returns how many there were.
func (s *Server) Disconnect() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		c.close()
	}
	return len(s.sessions)
}

// Close drops every connection and waits until none is served any more.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.sessions {
		c.close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// notify wakes who waits. The caller holds the lock.
func (s *Server) notify() {
	if s.watch != nil {
		close(s.watch)
		s.watch = nil
	}
}

// Wait returns when ok holds, which is asked, in a transaction that is not
// committed, after every change. The error is ctx's.
func (s *Server) Wait(ctx context.Context, ok func(*Tx) bool) error {
	for {
		s.mu.Lock()
		fine := ok(s.begin())
		if s.watch == nil {
			s.watch = make(chan struct{})
		}
		changed := s.watch
		s.mu.Unlock()
		if fine {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a simulated database: %w", context.Cause(ctx))
		}
	}
}

// The bounds of a connection.
const (
	maxRequest = 64 << 20  // octets of a request
	maxQueue   = 256 << 20 // octets that wait for a client that does not read
)

// ErrClosed is returned by [Server.Serve] when the server was closed or dropped
// the connection.
var ErrClosed = errors.New("the simulated database closed the connection")

// session is one connection: one goroutine reads and handles requests, one
// writes.
type session struct {
	s    *Server
	nc   net.Conn
	done chan struct{}
	once sync.Once
	wake chan struct{} // to the writer

	// Under the server's lock.
	queue    [][]byte
	queued   int
	monitors []*monitor
}

func (c *session) close() {
	c.once.Do(func() {
		close(c.done)
		c.nc.Close()
	})
}

// Serve speaks OVSDB on a connection until it ends, and closes it. It returns
// why: io.EOF where the peer closed it.
func (s *Server) Serve(nc net.Conn) error {
	c := &session{s: s, nc: nc, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errors.Join(ErrClosed, nc.Close())
	}
	s.counters.Connections++
	s.sessions[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()

	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.read()
	select {
	case <-c.done:
		err = ErrClosed
	default:
	}
	c.close()
	writer.Wait()
	s.mu.Lock()
	delete(s.sessions, c)
	s.notify()
	s.mu.Unlock()
	return err
}

// gate waits while the server is stalled, then for its delay.
func (c *session) gate(delayed bool) bool {
	for {
		c.s.mu.Lock()
		f, changed := c.s.faults, c.s.faultsChanged
		c.s.mu.Unlock()
		if f.Stalled {
			select {
			case <-changed:
				continue
			case <-c.done:
				return false
			}
		}
		if !delayed || f.Delay <= 0 {
			return true
		}
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-c.done:
			return false
		}
	}
}

func (c *session) write() {
	for {
		select {
		case <-c.wake:
		case <-c.done:
			return
		}
		if !c.gate(false) {
			return
		}
		c.s.mu.Lock()
		bufs := net.Buffers(c.queue)
		c.queue, c.queued = nil, 0
		c.s.mu.Unlock()
		if _, err := bufs.WriteTo(c.nc); err != nil {
			c.close()
			return
		}
	}
}

// send queues a message. The caller holds the server's lock.
func (c *session) send(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dbserver: encoding a message: %v", err)) // a mistake here
	}
	c.queue = append(c.queue, b)
	if c.queued += len(b); c.queued > maxQueue {
		c.close()
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// message is a request, a notification or a reply (RFC 7047 section 4).
type message struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     json.RawMessage `json:"id"`
}

type reply struct {
	Result any             `json:"result"`
	Error  any             `json:"error"`
	ID     json.RawMessage `json:"id"`
}

type notification struct {
	Method string `json:"method"`
	Params any    `json:"params"`
	ID     any    `json:"id"`
}

func (c *session) read() error {
	limited := &io.LimitedReader{R: c.nc}
	dec := json.NewDecoder(bufio.NewReaderSize(limited, 4<<10))
	for {
		limited.N = maxRequest
		var m message
		if err := dec.Decode(&m); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return io.EOF
			}
			return err
		}
		if m.Method == "" {
			continue // a reply: nothing was asked
		}
		if !c.gate(true) {
			return ErrClosed
		}
		c.handle(&m)
	}
}

func (c *session) handle(m *message) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters.Requests++
	var params []json.RawMessage
	if err := json.Unmarshal(m.Params, &params); err != nil {
		c.refuse(m, "syntax error", "params is no array")
		return
	}
	switch m.Method {
	case "echo":
		c.answer(m, m.Params)
	case "list_dbs":
		c.answer(m, []string{s.schema.Name})
	case "get_schema":
		if c.knows(m, params) {
			c.answer(m, s.schema.raw)
		}
	case "get_server_id":
		c.answer(m, UUID{}.String())
	case "set_db_change_aware", "monitor_cond_change":
		c.answer(m, struct{}{})
	case "monitor", "monitor_cond", "monitor_cond_since":
		if c.knows(m, params) {
			c.monitor(m, params)
		}
	case "monitor_cancel":
		c.cancel(m, params)
	case "transact":
		if c.knows(m, params) {
			c.transact(m, params[1:])
		}
	case "cancel":
	default:
		c.send(reply{Error: "unknown method", ID: m.ID})
	}
}

func (c *session) answer(m *message, result any) { c.send(reply{Result: result, ID: m.ID}) }

func (c *session) refuse(m *message, kind, details string) {
	c.send(reply{Error: &txError{kind, details}, ID: m.ID})
}

// knows refuses a request for another database.
func (c *session) knows(m *message, params []json.RawMessage) bool {
	var name string
	if len(params) > 0 && json.Unmarshal(params[0], &name) == nil && name == c.s.schema.Name {
		return true
	}
	c.refuse(m, "unknown database", fmt.Sprintf("%s request specifies unknown database %s", m.Method, name))
	return false
}

func (c *session) transact(m *message, ops []json.RawMessage) {
	c.s.counters.Transactions++
	tx := c.s.begin()
	results, failed := tx.run(ops)
	if !failed {
		if err := tx.commit(); err != nil {
			results, failed = append(results, err), true
		}
	}
	if failed {
		c.s.counters.Failed++
	}
	c.answer(m, results)
	if !failed {
		c.s.react(tx)
	}
}

// noTransaction is the transaction that monitor_cond_since knows: history is not
// kept, so every client begins anew.
const noTransaction = "00000000-0000-0000-0000-000000000000"

func (c *session) monitor(m *message, params []json.RawMessage) {
	kind := map[string]int{"monitor": 1, "monitor_cond": 2, "monitor_cond_since": 3}[m.Method]
	if len(params) < 3 {
		c.refuse(m, "syntax error", "monitor wants a database, an id and tables")
		return
	}
	mon, err := c.s.newMonitor(kind, params[1], params[2])
	if err != nil {
		c.refuse(m, "syntax error", err.Error())
		return
	}
	for _, o := range c.monitors {
		if string(o.id) == string(mon.id) {
			c.refuse(m, "syntax error", "duplicate monitor ID")
			return
		}
	}
	c.monitors = append(c.monitors, mon)
	if kind == 3 {
		c.answer(m, []any{false, noTransaction, mon.contents(c.s)})
		return
	}
	c.answer(m, mon.contents(c.s))
}

func (c *session) cancel(m *message, params []json.RawMessage) {
	for i, o := range c.monitors {
		if len(params) == 1 && string(o.id) == string(params[0]) {
			c.monitors = append(c.monitors[:i:i], c.monitors[i+1:]...)
			c.answer(m, struct{}{})
			return
		}
	}
	c.send(reply{Error: "unknown monitor", ID: m.ID})
}

// tell notifies the client of a transaction. The caller holds the lock.
func (c *session) tell(tx *Tx) {
	for _, mon := range c.monitors {
		u := mon.changes(tx)
		if len(u) == 0 {
			continue
		}
		c.s.counters.Updates++
		switch mon.kind {
		case 1:
			c.send(notification{Method: "update", Params: []any{mon.id, u}})
		case 2:
			c.send(notification{Method: "update2", Params: []any{mon.id, u}})
		default:
			c.send(notification{Method: "update3", Params: []any{mon.id, noTransaction, u}})
		}
	}
}

// Add adds d to c.
func (c *Counters) Add(d *Counters) {
	c.Connections += d.Connections
	c.Requests += d.Requests
	c.Transactions += d.Transactions
	c.Failed += d.Failed
	c.Updates += d.Updates
}
