package ofswitch

import (
	"hash/maphash"
	"sync"
	"unsafe"
)

// Body is a flow as a switch holds it: table, priority, match, cookie, timeouts,
// flags and instructions in one string. It never changes, and all the switches
// of one [Pool] that have it share it.
type Body struct {
	data  string
	hash  uint64 // of the key
	key   uint16 // octets of data that say which entry it is: table, priority, match
	shard uint16
	refs  int32 // under the shard's lock
}

// The layout of Body.data: table (1), priority (2), match entries; then cookie
// (8), flags, idle and hard timeout (2 each), instructions.
const (
	keyHead  = 3
	bodyMeta = 14
)

// bytes returns s without copying it; nobody may write to it.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Table returns the flow's table.
func (f *Body) Table() uint8 { return f.data[0] }

// Priority returns the flow's priority.
func (f *Body) Priority() uint16 { return be.Uint16(bytesOf(f.data[1:3])) }

// Cookie returns the flow's cookie.
func (f *Body) Cookie() uint64 { return be.Uint64(bytesOf(f.data[f.key : f.key+8])) }

func (f *Body) meta() (flags, idle, hard uint16) {
	b := bytesOf(f.data[f.key+8 : f.key+bodyMeta])
	return be.Uint16(b), be.Uint16(b[2:]), be.Uint16(b[4:])
}

func (f *Body) matchEntries() []byte { return bytesOf(f.data[keyHead:f.key]) }
func (f *Body) instructions() []byte { return bytesOf(f.data[int(f.key)+bodyMeta:]) }

// appendBody appends the flow that an add makes, and returns the length of its
// key.
func (f *flowMod) appendBody(b []byte) ([]byte, int) {
	b = append(b, f.table)
	b = be.AppendUint16(b, f.priority)
	b = f.match.appendEntries(b)
	key := len(b)
	b = be.AppendUint64(b, f.cookie)
	b = be.AppendUint16(b, f.flags)
	b = be.AppendUint16(b, f.idle)
	b = be.AppendUint16(b, f.hard)
	return append(b, f.instr...), key
}

// withInstructions appends the flow f with other instructions.
func (f *Body) withInstructions(b, instr []byte) ([]byte, int) {
	b = append(b, f.data[:int(f.key)+bodyMeta]...)
	return append(b, instr...), int(f.key)
}

const poolShards = 64

// Pool holds the flows of the switches that share it, each distinct one once.
// The flow of a customer address is the same on every host that has its routing
// domain. The zero Pool is not usable.
type Pool struct {
	seed   maphash.Seed
	shards [poolShards]poolShard
}

type poolShard struct {
	mu     sync.Mutex
	bodies map[string]*Body
}

// NewPool returns an empty pool.
func NewPool() *Pool {
	p := &Pool{seed: maphash.MakeSeed()}
	for i := range p.shards {
		p.shards[i].bodies = make(map[string]*Body)
	}
	return p
}

// Len returns how many distinct flows there are.
func (p *Pool) Len() int {
	n := 0
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		n += len(s.bodies)
		s.mu.Unlock()
	}
	return n
}

// get returns the flow with this data, to be given back by release.
func (p *Pool) get(data []byte, key int) *Body {
	hash := maphash.Bytes(p.seed, data[:key])
	n := uint16(hash % poolShards)
	s := &p.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.bodies[string(data)]
	if f == nil {
		f = &Body{data: string(data), hash: hash, key: uint16(key), shard: n}
		s.bodies[f.data] = f
	}
	f.refs++
	return f
}

// probe makes b a body that only finds others: its data is borrowed.
func (p *Pool) probe(data []byte, key int, b *Body) *Body {
	*b = Body{data: unsafe.String(unsafe.SliceData(data), len(data)), hash: maphash.Bytes(p.seed, data[:key]), key: uint16(key)}
	return b
}

func (p *Pool) release(f *Body) {
	s := &p.shards[f.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.refs--; f.refs == 0 {
		delete(s.bodies, f.data)
	}
}
