package openflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
)

const (
	// chunk is how many octets of changes are encoded before they go to the
	// writer.
	chunk = 64 << 10
	// block is how many transaction identifiers a batch reserves at a time.
	block = 1024
)

// xidRange is a block of identifiers of one batch's changes. Errors are few and
// changes many, so a change has no entry of its own in a table.
type xidRange struct {
	first uint32
	index int // of the change with xid first
	batch *batch
}

// batch collects what became of the changes that are sent together.
type batch struct {
	s       *Session
	mods    [][]Mod // blocks, so that what an error names can be told
	n       int
	buf     []byte
	pooled  int // changes in buf
	steps   int // messages about the bundle in buf
	bundle  uint32
	bundled bool
	xid     uint32 // of the next change
	left    int    // identifiers left in the block
	waiting []*bundleStep

	mu      sync.Mutex
	refused []*ModError
	omitted int
}

// rangeOf returns who waits for errors about xid. s.mu is held.
func (s *Session) rangeOf(xid uint32) handler {
	for _, r := range s.ranges {
		if xid-r.first < block {
			return r
		}
	}
	return nil
}

// message takes an error about one change.
func (r xidRange) message(h header, body []byte) {
	r.batch.refuse(r.index+int(h.xid-r.first), readError(h, body))
}

func (b *batch) refuse(index int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) >= maxModErrors {
		b.omitted++
		return
	}
	b.refused = append(b.refused, &ModError{Index: index, Err: err})
}

// error returns the refusals, or nil. It must not run while changes are added.
func (b *batch) error(applied bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) == 0 {
		return nil
	}
	kept := b.refused[:0]
	for _, e := range b.refused {
		if e.Index < b.n { // else the switch answers what was not sent
			e.Mod = b.mods[e.Index/block][e.Index%block]
			kept = append(kept, e)
		}
	}
	slices.SortStableFunc(kept, func(d, e *ModError) int { return cmp.Compare(d.Index, e.Index) })
	return &ApplyError{Mods: kept, Omitted: b.omitted, Applied: applied}
}

// add encodes one change and sends what has gathered if that is enough.
func (b *batch) add(ctx context.Context, m Mod) error {
	if b.left == 0 {
		b.s.mu.Lock()
		b.xid, b.left = b.s.nextXIDLocked(block), block
		b.s.ranges = append(b.s.ranges, xidRange{b.xid, b.n, b})
		b.s.mu.Unlock()
		b.mods = append(b.mods, make([]Mod, 0, 8)) // most batches are small
	}
	b.room()
	last := &b.mods[len(b.mods)-1]
	*last = append(*last, m)
	var err error
	if b.bundled {
		b.buf, err = appendBundleAdd(b.buf, b.xid, b.bundle, &m)
	} else {
		b.buf, err = appendMod(b.buf, b.xid, &m)
	}
	if err != nil {
		b.refuse(b.n, err)
	} else {
		b.pooled++
	}
	b.n++
	b.xid++
	b.left--
	if len(b.buf) >= chunk {
		return b.flush(ctx)
	}
	return nil
}

// room has a buffer ready.
func (b *batch) room() {
	if b.buf == nil {
		b.buf = b.s.getChunk(b.n > 0)
	}
}

func (b *batch) flush(ctx context.Context) error {
	if b.pooled+b.steps == 0 {
		return nil
	}
	err := b.s.enqueue(ctx, outgoing{b.buf, b.s.putChunk}, KindFlowMod, b.pooled)
	if err == nil {
		b.s.counters.send(kindBundleControl, b.steps)
	}
	b.buf, b.pooled, b.steps = nil, 0, 0
	return err
}

// end forgets the batch's identifiers, those of answers that never came too.
func (b *batch) end() {
	b.s.mu.Lock()
	b.s.ranges = slices.DeleteFunc(b.s.ranges, func(r xidRange) bool { return r.batch == b })
	for _, t := range b.waiting {
		delete(b.s.pending, t.xid)
	}
	b.s.mu.Unlock()
	if b.buf != nil {
		b.s.putChunk(b.buf)
	}
}

// small is the size up to which a buffer is kept for the next batch: each of
// thousands of sessions keeps one.
const small = 4 << 10

// getChunk returns a buffer: a whole chunk's where many changes have come
// already, else one that grows with them.
func (s *Session) getChunk(many bool) []byte {
	if !many {
		if p := s.spare.Swap(nil); p != nil {
			return (*p)[:0]
		}
		return make([]byte, 0, small/2)
	}
	if p, ok := s.chunks.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, chunk+4<<10)
}

func (s *Session) putChunk(b []byte) {
	switch {
	case cap(b) <= small:
		s.spare.Store(&b)
	case cap(b) >= chunk && cap(b) <= 4*chunk:
		s.chunks.Put(&b)
	}
}

// lock waits for the right to send changes: one batch at a time.
func (s *Session) lock(ctx context.Context) error {
	select {
	case s.applying <- struct{}{}:
		return nil
	case <-s.done:
		return s.ended()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Session) unlock() { <-s.applying }

// Apply makes all the changes in their order, as one atomic bundle (EXT-230),
// or none of them. Packets see the tables before or after, never between.
//
// The changes are encoded while the switch already reads the first ones; they
// are ranged over once. A change that is refused, by the switch or because it
// cannot be encoded, makes Apply discard the bundle and return an
// [*ApplyError], which names it. If this session is no longer master, the error
// is [ErrSlave]. If the session ends, or ctx, while the commit is under way,
// the error is [ErrOutcomeUnknown] too.
//
// The switch drops a bundle for which nothing arrives for 10 s
// (bundle-idle-timeout), so mods must not pause that long.
func (s *Session) Apply(ctx context.Context, mods iter.Seq[Mod]) error {
	return s.apply(ctx, mods, false)
}

// ApplyAtOnce is Apply for a few changes, in one round trip less: the commit goes
// out behind the changes, before the switch has answered. Open vSwitch commits a
// bundle without the changes that it refused to take, so where it refuses one,
// the others are in force, and the [*ApplyError] says Applied. Packets see the
// tables before or after all the same.
func (s *Session) ApplyAtOnce(ctx context.Context, mods iter.Seq[Mod]) error {
	return s.apply(ctx, mods, true)
}

func (s *Session) apply(ctx context.Context, mods iter.Seq[Mod], atOnce bool) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	b := &batch{s: s, bundled: true}
	defer b.end()
	var open *bundleStep
	for m := range mods {
		if open == nil {
			s.bundle++
			b.bundle = s.bundle
			open = b.step(bundleOpen)
		}
		err := b.add(ctx, m)
		if err == nil && b.buf == nil { // something was sent: do not go on in vain
			err = open.refused()
		}
		if err != nil {
			s.abandon(b.bundle)
			return fmt.Errorf("openflow: filling a bundle: %w", err)
		}
	}
	if open == nil {
		return nil
	}
	// Open vSwitch commits a bundle without the changes that it refused to
	// take. The answer to close comes behind all those refusals.
	closed := b.step(bundleClose)
	var commit *bundleStep
	if atOnce {
		commit = b.step(bundleCommit)
	}
	err := b.flush(ctx)
	if err == nil && atOnce {
		_ = commit.wait(ctx) // the others have come when it has; it keeps what it got
	}
	if err == nil {
		err = open.wait(ctx)
	}
	if err == nil {
		err = closed.wait(ctx)
	}
	if err != nil {
		if e := (*Error)(nil); commit != nil && !errors.As(err, &e) {
			return fmt.Errorf("openflow: committing a bundle: %w: %w", ErrOutcomeUnknown, err)
		}
		s.abandon(b.bundle)
		return fmt.Errorf("openflow: filling a bundle: %w", err)
	}
	if err := b.error(false); err != nil && !atOnce {
		discard := b.step(bundleDiscard)
		derr := b.flush(ctx)
		if derr == nil {
			derr = discard.wait(ctx)
		}
		if derr != nil {
			s.log.Warn("discarding a bundle", "error", derr)
		}
		return err
	}
	if !atOnce {
		commit = b.step(bundleCommit)
		if err := b.flush(ctx); err != nil {
			s.abandon(b.bundle)
			return fmt.Errorf("openflow: committing a bundle: %w", err)
		}
	}
	err = commit.wait(ctx)
	if err == nil {
		return b.error(true)
	}
	if refused := b.error(false); refused != nil {
		return refused
	}
	if e := (*Error)(nil); !errors.As(err, &e) {
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("openflow: committing a bundle: %w", err)
}

// abandon tells the switch to forget a bundle, if that needs no waiting; else
// the switch's own timeout does it.
func (s *Session) abandon(bundle uint32) {
	select {
	case s.queue <- outgoing{b: appendBundleControl(nil, s.nextXID(1), bundle, bundleDiscard)}:
		s.counters.send(kindBundleControl, 1)
	default:
	}
}

// Load makes the changes one by one, in their order, and returns when the
// switch has made them all. It is faster than Apply and not atomic: packets
// see every state between, and a change that is refused leaves the others in
// force. It is meant for the first load of an empty table, whose sentinel is
// applied afterwards. The error is an [*ApplyError] that says Applied, [ErrSlave], or says why the session
// or ctx ended, with some changes made.
func (s *Session) Load(ctx context.Context, mods iter.Seq[Mod]) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	b := &batch{s: s}
	defer b.end()
	for m := range mods {
		if err := b.add(ctx, m); err != nil {
			return fmt.Errorf("openflow: loading flows: %w", err)
		}
	}
	if b.n == 0 {
		return nil
	}
	if err := b.flush(ctx); err != nil {
		return fmt.Errorf("openflow: loading flows: %w", err)
	}
	if err := s.Barrier(ctx); err != nil {
		return err
	}
	return b.error(true)
}

// bundleStep is a request about a whole bundle.
type bundleStep struct {
	s      *Session
	xid    uint32
	bundle uint32
	want   uint16 // kind of the answer
	answer chan error
	done   bool
	err    error
}

// step puts a request about the bundle behind what is in the buffer.
func (b *batch) step(kind uint16) *bundleStep {
	t := &bundleStep{s: b.s, bundle: b.bundle, want: kind + 1, answer: make(chan error, 1)}
	b.s.mu.Lock()
	t.xid = b.s.nextXIDLocked(1)
	b.s.pending[t.xid] = t
	b.s.mu.Unlock()
	b.waiting = append(b.waiting, t)
	b.room()
	b.buf = appendBundleControl(b.buf, t.xid, b.bundle, kind)
	b.steps++
	return t
}

func (t *bundleStep) message(h header, body []byte) {
	t.s.forget(h.xid)
	var err error
	switch h.kind {
	case typeExperimenter:
		var bundle uint32
		var kind uint16
		bundle, kind, err = readBundleReply(body)
		if err == nil && (bundle != t.bundle || kind != t.want) {
			err = fmt.Errorf("the switch answered for bundle %d with kind %d, want bundle %d and kind %d", bundle, kind, t.bundle, t.want)
		}
	case typeError:
		err = readError(h, body)
	default:
		err = fmt.Errorf("a message of type %d where one of type %d was due", h.kind, typeExperimenter)
	}
	t.answer <- err // has room: a step gets one message
}

// refused returns the step's error if its answer has come already.
func (t *bundleStep) refused() error {
	if t.done || len(t.answer) == 0 {
		return t.err
	}
	return t.wait(context.Background())
}

func (t *bundleStep) wait(ctx context.Context) error {
	if t.done {
		return t.err
	}
	t.done = true
	select {
	case t.err = <-t.answer:
	case <-t.s.done:
		select {
		case t.err = <-t.answer: // it came just before the end
		default:
			t.err = t.s.ended()
		}
	case <-ctx.Done():
		t.err = context.Cause(ctx)
	}
	return t.err
}
