package ofswitch

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize is small because a fleet has thousands of connections, most of them
// idle.
const bufferSize = 8 << 10

// conn is one OpenFlow connection. One goroutine serves it; what other
// goroutines touch is under the switch's lock or atomic.
type conn struct {
	sw      *Switch
	nc      net.Conn
	number  uint64
	peer    string
	r       *bufio.Reader
	writing sync.Mutex // guards w
	w       *bufio.Writer
	done    chan struct{}
	once    sync.Once
	dropped atomic.Bool

	missSendLen uint16
	configFlags uint16
	bundles     map[uint32]*bundle
	outstanding uint64 // changes since the last confirmation
	mod         flowMod
	reply       []byte

	// Under the switch's lock.
	role       uint32
	generation uint64
	dead       bool // the switch has restarted under it
}

func newConn(s *Switch, nc net.Conn, number uint64) *conn {
	return &conn{sw: s, nc: nc, number: number, peer: peerName(nc), role: roleEqual, done: make(chan struct{}),
		r: bufio.NewReaderSize(nc, bufferSize), w: bufio.NewWriterSize(nc, bufferSize), bundles: make(map[uint32]*bundle)}
}

func (c *conn) drop() {
	c.dropped.Store(true)
	c.close()
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.done)
		c.nc.Close()
	})
}

// serve handles messages until the connection ends.
func (c *conn) serve() error {
	if !c.gate(noDelay) {
		return ErrClosed
	}
	// Open vSwitch's hello has the bitmap of versions (OpenFlow 1.3.5 section 7.5.1).
	c.send([]byte{version13, typeHello, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 1 << version13})
	buf := make([]byte, 512)
	for greeted := false; ; {
		if c.r.Buffered() == 0 {
			if err := c.flush(); err != nil {
				return eof(err)
			}
		}
		head, err := c.r.Peek(headerLen)
		if err != nil {
			return eof(err)
		}
		n := int(be.Uint16(head[2:]))
		if n < headerLen {
			return io.ErrUnexpectedEOF
		}
		if cap(buf) < n {
			buf = make([]byte, n, 2*n)
		}
		msg := buf[:n]
		if _, err := io.ReadFull(c.r, msg); err != nil {
			return eof(err)
		}
		if !c.gate(func(f *Faults) time.Duration { return f.MessageDelay }) {
			return ErrClosed
		}
		c.count(func(k *Counters) {
			k.Messages++
			k.BytesReceived += uint64(n)
		})
		if !greeted {
			if !speaks13(msg) {
				c.fail(errHelloIncompatible, msg)
				return eof(c.flush())
			}
			greeted = true
			continue
		}
		if msg[0] != version13 && msg[1] != typeEchoRequest {
			c.fail(errBadVersion, msg)
			continue
		}
		c.handle(msg)
	}
}

func (c *conn) count(fn func(*Counters)) {
	c.sw.mu.Lock()
	fn(&c.sw.counters)
	c.sw.mu.Unlock()
}

// speaks13 reports whether a hello offers OpenFlow 1.3.
func speaks13(msg []byte) bool {
	if msg[1] != typeHello {
		return false
	}
	for e := msg[headerLen:]; len(e) >= 8; {
		n := int(be.Uint16(e[2:]))
		if be.Uint16(e) == 1 && n >= 8 {
			return be.Uint32(e[4:])&(1<<version13) != 0
		}
		if n < 4 || roundUp(n) > len(e) {
			break
		}
		e = e[roundUp(n):]
	}
	return msg[0] >= version13
}

// send writes a message; its error shows at the next flush.
func (c *conn) send(b []byte) {
	c.writing.Lock()
	c.w.Write(b)
	c.writing.Unlock()
	c.count(func(k *Counters) { k.BytesSent += uint64(len(b)) })
}

func (c *conn) flush() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.w.Flush()
}

// roleStatus tells a connection that another one has become master (EXT-191).
// It never waits for the peer.
func (c *conn) roleStatus(generation uint64) {
	b := []byte{version13, typeExperimenter, 0, 32, 0, 0, 0, 0}
	b = be.AppendUint32(b, onf)
	b = be.AppendUint32(b, onfRoleStatus)
	b = be.AppendUint32(b, roleSlave)
	b = be.AppendUint32(b, 0) // reason: another one asked to be master
	b = be.AppendUint64(b, generation)
	written := false
	if c.writing.TryLock() {
		if written = c.w.Available() >= len(b); written {
			c.w.Write(b)
		}
		c.writing.Unlock()
	}
	c.sw.wg.Go(func() {
		if !written {
			c.send(b)
		}
		c.flush()
	})
}

func (c *conn) fail(e *Error, msg []byte) {
	c.reply = appendError(c.reply[:0], e, msg)
	c.send(c.reply)
	c.count(func(k *Counters) { k.Errors++ })
}

// head begins a reply to msg in c.reply.
func (c *conn) head(kind uint8, msg []byte) {
	c.reply = append(c.reply[:0], msg[0], kind, 0, 0)
	c.reply = append(c.reply, msg[4:8]...)
}

// answer sends what is in c.reply.
func (c *conn) answer() {
	be.PutUint16(c.reply[2:], uint16(len(c.reply)))
	c.send(c.reply)
}

func (c *conn) handle(msg []byte) {
	var err *Error
	switch msg[1] {
	case typeEchoRequest:
		c.count(func(k *Counters) { k.Echoes++ })
		c.head(typeEchoReply, msg)
		c.reply = append(c.reply, msg[headerLen:]...)
		c.answer()
	case typeHello, typeEchoReply, typeError:
	case typeFeaturesRequest:
		err = c.features(msg)
	case typeGetConfigRequest:
		err = c.getConfig(msg)
	case typeSetConfig:
		err = c.setConfig(msg)
	case typeSetAsync: // it sends nothing unasked anyway
		if len(msg) != headerLen+24 {
			err = errBadLen
		}
	case typePacketOut:
		c.count(func(k *Counters) { k.PacketOuts++ })
	case typeFlowMod:
		err = c.flowMod(msg)
	case typeGroupMod, typeMeterMod:
		err = c.otherMod(msg)
	case typeMultipartRequest:
		err = c.multipart(msg)
	case typeBarrierRequest:
		err = c.barrier(msg)
	case typeRoleRequest:
		err = c.roleRequest(msg)
	case typeExperimenter:
		err = c.experimenter(msg)
	default:
		err = errBadType
	}
	if err != nil {
		c.fail(err, msg)
	}
}

func (c *conn) features(msg []byte) *Error {
	if len(msg) != headerLen {
		return errBadLen
	}
	c.head(typeFeaturesReply, msg)
	c.reply = be.AppendUint64(c.reply, c.sw.config.DatapathID)
	c.reply = be.AppendUint32(c.reply, 0) // buffers
	c.reply = append(c.reply, numTables, 0, 0, 0)
	c.reply = be.AppendUint32(c.reply, 0x4f) // flow, table, port, group and queue statistics
	c.reply = be.AppendUint32(c.reply, 0)
	c.answer()
	return nil
}

func (c *conn) getConfig(msg []byte) *Error {
	if len(msg) != headerLen {
		return errBadLen
	}
	c.head(typeGetConfigReply, msg)
	c.reply = be.AppendUint16(c.reply, c.configFlags)
	c.reply = be.AppendUint16(c.reply, c.missSendLen)
	c.answer()
	return nil
}

func (c *conn) setConfig(msg []byte) *Error {
	if len(msg) != headerLen+4 {
		return errBadLen
	}
	c.configFlags, c.missSendLen = be.Uint16(msg[8:]), be.Uint16(msg[10:])
	return nil
}

// barrier answers at once: messages are handled one after the other.
func (c *conn) barrier(msg []byte) *Error {
	if len(msg) != headerLen {
		return errBadLen
	}
	c.outstanding = 0
	c.head(typeBarrierReply, msg)
	c.answer()
	c.count(func(k *Counters) { k.Barriers++ })
	return nil
}

// outstand counts a change that awaits its confirmation.
func (c *conn) outstand() {
	c.outstanding++
	c.count(func(k *Counters) { k.MaxOutstanding = max(k.MaxOutstanding, c.outstanding) })
}

// writable returns an error where c may not write. The caller holds the lock.
func (c *conn) writable() *Error {
	if c.role == roleSlave {
		return errIsSlave
	}
	return nil
}

func (c *conn) flowMod(msg []byte) *Error {
	s := c.sw
	c.outstand()
	s.mu.Lock()
	if err := c.writable(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.mu.Unlock()
	if err := c.mod.decode(msg); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.dead {
		return nil
	}
	if err := s.faults.refuse(&c.mod, false, false); err != nil {
		s.counters.RefusedByFaults++
		return err
	}
	log, err := s.apply(&c.mod, nil)
	if err == nil {
		err = s.limit()
	}
	if err != nil {
		s.undo(log)
		return err
	}
	s.settle(log)
	s.countMod(&c.mod)
	if s.config.Observe != nil {
		s.config.Observe(c.mod.mod(false))
	}
	s.noteWrite(c, 1)
	s.notify()
	return nil
}

// limit returns an error where there are too many flows. The caller holds the
// lock.
func (s *Switch) limit() *Error {
	if s.config.FlowLimit > 0 && s.flows.n > s.config.FlowLimit {
		return errFlowTableFull
	}
	return nil
}

// countMod counts a change that takes effect.
func (s *Switch) countMod(f *flowMod) {
	switch f.command {
	case cmdAdd:
		s.counters.Adds++
	case cmdModify, cmdModifyStrict:
		s.counters.Modifies++
	default:
		s.counters.Deletes++
	}
}

// roleRequest changes the connection's role (OpenFlow 1.3.5 section 6.3.5).
func (c *conn) roleRequest(msg []byte) *Error {
	if len(msg) != headerLen+16 {
		return errBadLen
	}
	role, generation := be.Uint32(msg[8:]), be.Uint64(msg[16:])
	if role > roleSlave {
		return errRoleBad
	}
	now, generation, err := c.setRole(role, generation)
	if err != nil {
		return err
	}
	c.head(typeRoleReply, msg)
	c.reply = be.AppendUint32(c.reply, now)
	c.reply = be.AppendUint32(c.reply, 0)
	c.reply = be.AppendUint64(c.reply, generation)
	c.answer()
	return nil
}

// setRole returns the role and the generation that are in force then; where
// none is, the generation is all ones.
func (c *conn) setRole(role uint32, generation uint64) (uint32, uint64, *Error) {
	s := c.sw
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters.RoleRequests++
	if !c.dead && (role == roleMaster || role == roleSlave) {
		if s.claimed && int64(generation-s.generation) < 0 {
			return 0, 0, errRoleStale
		}
		s.claimed, s.generation = true, generation
		c.generation = generation
	}
	switch role {
	case roleMaster:
		for o := range s.conns {
			if o != c && o.role == roleMaster {
				o.role = roleSlave
				o.roleStatus(generation)
			}
		}
		c.role = roleMaster
	case roleEqual, roleSlave:
		c.role = role
	}
	s.notify()
	if !s.claimed {
		return c.role, 1<<64 - 1, nil
	}
	return c.role, s.generation, nil
}

// experimenter handles bundles (EXT-230), all that we know of experimenters.
func (c *conn) experimenter(msg []byte) *Error {
	if len(msg) < headerLen+8 {
		return errBadLen
	}
	who, kind := be.Uint32(msg[8:]), be.Uint32(msg[12:])
	switch {
	case who == onf && kind == onfBundleControl:
		return c.bundleControl(msg)
	case who == onf && kind == onfBundleAdd:
		return c.bundleAdd(msg)
	case who == nicira && (kind == nxtSetPacketInFormat || kind == nxtSetControllerID):
		return nil // no packet goes to controllers
	case who == onf || who == nicira:
		return errBadExpType
	}
	return errBadExperimenter
}
