package ofswitch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Port is a port that the switch describes.
type Port struct {
	Number uint32
	Name   string // at most 15 octets
	MAC    [6]byte
}

// Config makes a [Switch].
type Config struct {
	DatapathID uint64
	Pool       *Pool         // nil: one of its own
	Ports      func() []Port // nil: no ports
	// FlowLimit is how many flows the switch holds; more are refused with
	// FLOW_MOD_FAILED/TABLE_FULL. 0: no limit, as Open vSwitch by default.
	FlowLimit int
	// Observe, if not nil, is called for every change of flows that has taken
	// effect, those of a bundle after its commit. The switch is locked
	// meanwhile, so it must not call it and should do little.
	Observe func(Mod)
}

// Switch is one simulated bridge. Its methods are safe for concurrent use.
type Switch struct {
	config Config
	pool   *Pool
	wg     sync.WaitGroup // connections

	mu            sync.Mutex
	closed        bool
	conns         map[*conn]struct{}
	numbers       uint64 // of connections
	epoch         uint64 // restarts
	flows         flowTable
	groups        map[uint32][]byte // type, and what follows the number in a group-mod
	meters        map[uint32][]byte // flags, and what follows the number in a meter-mod
	generation    uint64            // of the last claim
	claimed       bool              // there was one
	faults        Faults
	faultsChanged chan struct{}
	counters      Counters
	writes        []Write
	watch         chan struct{} // closed at the next change; nil while nobody waits

	// Places to work in.
	scratch      []byte
	scratchMatch match
	selected     []*Body
	key          Body
}

// New returns a switch without flows.
func New(c Config) *Switch {
	if c.Pool == nil {
		c.Pool = NewPool()
	}
	return &Switch{config: c, pool: c.Pool, conns: make(map[*conn]struct{}), faultsChanged: make(chan struct{})}
}

// ErrClosed is returned by [Switch.Serve] when the switch was closed, or dropped
// the connection.
var ErrClosed = errors.New("the simulated switch closed the connection")

// Serve speaks OpenFlow on a connection until it ends, and closes it. It returns
// why: io.EOF where the peer closed it.
func (s *Switch) Serve(nc net.Conn) error {
	c, err := s.admit(nc)
	if err != nil {
		return errors.Join(err, nc.Close())
	}
	defer s.wg.Done()
	err = c.serve()
	s.mu.Lock()
	delete(s.conns, c)
	s.notify()
	s.mu.Unlock()
	c.close()
	select {
	case <-c.done:
		if c.dropped.Load() {
			return ErrClosed
		}
	default:
	}
	return err
}

func (s *Switch) admit(nc net.Conn) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.numbers++
	s.counters.Connections++
	c := newConn(s, nc, s.numbers)
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.notify()
	return c, nil
}

// Disconnect drops every connection and returns how many there were.
func (s *Switch) Disconnect() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.conns)
	for c := range s.conns {
		c.drop()
	}
	return n
}

// Restart does what a restart of the switch's process does: it drops every
// connection and forgets the generation of the last claim and, unless they are
// kept as Open vSwitch's flow-restore keeps them, the flows.
func (s *Switch) Restart(keepFlows bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.drop()
		c.dead = true // whatever it still has in hand has no effect
	}
	s.epoch++
	s.claimed, s.generation = false, 0
	if !keepFlows {
		s.clear()
	}
	s.notify()
}

func (s *Switch) clear() {
	for f := range s.flows.all {
		s.pool.release(f)
	}
	s.flows = flowTable{}
	s.groups, s.meters = nil, nil
}

// Close drops every connection, waits until none is served any more and gives
// the flows back to the pool.
func (s *Switch) Close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.drop()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.notify()
}

// notify wakes who waits for the switch to change. The caller holds the lock.
func (s *Switch) notify() {
	if s.watch != nil {
		close(s.watch)
		s.watch = nil
	}
}

// Snapshot is what a switch is at one moment.
type Snapshot struct {
	Flows       int
	Groups      int
	Meters      int
	Connections int
	Masters     int    // connections that are master: 0 or 1
	Generation  uint64 // of the last claim, 0 where there is none
	Epoch       uint64 // restarts
	Counters    Counters
}

func (s *Switch) snapshot() Snapshot {
	n := Snapshot{Flows: s.flows.n, Groups: len(s.groups), Meters: len(s.meters), Connections: len(s.conns), Generation: s.generation, Epoch: s.epoch, Counters: s.counters}
	for c := range s.conns {
		if c.role == roleMaster {
			n.Masters++
		}
	}
	return n
}

// Snapshot returns what the switch is now.
func (s *Switch) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

// Wait returns when ok holds for the switch, which it looks at after every
// change; ok must not call the switch. The error is ctx's.
func (s *Switch) Wait(ctx context.Context, ok func(Snapshot) bool) error {
	for {
		s.mu.Lock()
		n := s.snapshot()
		if s.watch == nil {
			s.watch = make(chan struct{})
		}
		changed := s.watch
		s.mu.Unlock()
		if ok(n) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a simulated switch with %d flows, %d connections: %w", n.Flows, n.Connections, context.Cause(ctx))
		}
	}
}

// Writes returns who has changed flows, in order.
func (s *Switch) Writes() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Write(nil), s.writes...)
}

// Flow is a flow that a switch holds.
type Flow struct {
	Table        uint8
	Priority     uint16
	Cookie       uint64
	Match        []byte // OXM entries, as they are read back; must not be changed
	Instructions []byte // must not be changed
}

// Flows calls fn for every flow, in no order, until it returns false. It may call
// the switch, and does not see changes made meanwhile.
func (s *Switch) Flows(fn func(Flow) bool) {
	for _, f := range s.bodies() {
		if !fn(Flow{f.Table(), f.Priority(), f.Cookie(), f.matchEntries(), f.instructions()}) {
			return
		}
	}
}

func (s *Switch) bodies() []*Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Body, 0, s.flows.n)
	for f := range s.flows.all {
		all = append(all, f)
	}
	return all
}

func noDelay(*Faults) time.Duration { return 0 }

// eof makes the two ways in which a peer goes away one.
func eof(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}
