package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Apply makes changes to the policy, all of them or none, and returns when they
// are in force here. Its errors are [InvalidError], [ErrConflict], [ErrBusy],
// [ErrUnavailable] or that of ctx; after ErrUnavailable the changes may have been
// made all the same, and it does no harm to make them again.
//
// Changes beyond what fits one transaction of etcd (see [Config]) are staged: it
// takes longer, other applies wait meanwhile, and if ctx ends all is put back.
func (s *Store) Apply(ctx context.Context, changes []tenant.Change, opts ApplyOptions) (Applied, error) {
	if err := s.loadedYet(ctx); err != nil {
		return Applied{}, err
	}
	if opts.DryRun {
		return s.dryRun(ctx, changes, opts)
	}
	if s.member != nil {
		if err := s.member.space(); err != nil {
			return Applied{}, err
		}
	}
	if err := s.answers(ctx); err != nil {
		return Applied{}, err
	}
	r := &request{ctx: ctx, changes: changes, opts: opts, done: make(chan struct{}), token: newToken()}
	select {
	case s.queue <- r:
	case <-s.stopped:
		return Applied{}, errEnding
	case <-ctx.Done():
		return Applied{}, ctx.Err()
	}
	return s.result(r)
}

var errEnding = fmt.Errorf("%w: the controller is ending", ErrUnavailable)

// result waits for the outcome of a request. One that nobody has begun with may
// be given up.
func (s *Store) result(r *request) (Applied, error) {
	busy := time.NewTicker(s.c.BusyWait)
	defer busy.Stop()
	for {
		select {
		case <-r.done:
			return r.applied, r.err
		case <-r.ctx.Done():
			if r.taken.CompareAndSwap(false, true) {
				return Applied{}, r.ctx.Err()
			}
			<-r.done // it is soon over
			return r.applied, r.err
		case <-busy.C:
			if err := s.busy(); err != nil && r.taken.CompareAndSwap(false, true) {
				return Applied{}, err
			}
		case <-s.stopped:
			if r.taken.CompareAndSwap(false, true) {
				return Applied{}, errEnding
			}
			<-r.done
			return r.applied, r.err
		}
	}
}

// busy returns an error where somebody is at a large apply.
func (s *Store) busy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staging == nil {
		return nil
	}
	return fmt.Errorf("%w (by %s, since %s): try again when it has ended", ErrBusy, orUnknown(s.staging.note.Author), s.staging.note.Started.Format(time.RFC3339))
}

// outageWait is how long an apply waits for etcd where it is known not to answer.
const outageWait = time.Second

// answers returns an error where etcd has not answered for some time: an apply
// would learn that after many seconds only, and not know whether it was done.
func (s *Store) answers(ctx context.Context) error {
	for end := time.Now().Add(outageWait); ; {
		s.mu.Lock()
		ok, err, dead := s.health.connected, s.health.err, s.health.dead
		s.mu.Unlock()
		switch {
		case dead != nil:
			return dead
		case s.quorum.isLost():
			return fmt.Errorf("%w; nothing was changed", s.quorum.err())
		case ok:
			return nil
		}
		if time.Now().After(end) {
			return s.unavailable(fmt.Errorf("etcd does not answer, nothing was changed: %w", err))
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *Store) loadedYet(ctx context.Context) error {
	if s.state.Load() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.c.BusyWait)
	defer cancel()
	err := s.await(ctx, func() bool { return s.state.Load() != nil })
	if errors.Is(err, context.DeadlineExceeded) {
		if st := s.Status(); st.Error != nil {
			return fmt.Errorf("%w: the policy is not loaded yet: %w", ErrUnavailable, st.Error)
		}
	}
	return s.unavailable(err)
}

func (s *Store) dryRun(ctx context.Context, changes []tenant.Change, opts ApplyOptions) (Applied, error) {
	if err := s.Sync(ctx); err != nil {
		return Applied{}, err
	}
	st := s.state.Load()
	if opts.IfRevision != 0 && opts.IfRevision != st.head.Revision {
		return Applied{}, conflict(opts.IfRevision, st.head.Revision)
	}
	if _, problems := st.policy.Apply(changes, st.head.Revision); len(problems) > 0 {
		return Applied{}, &InvalidError{problems}
	}
	return Applied{Head: st.head.Head, Effective: effective(st.policy, changes)}, nil
}

func conflict(want, have uint64) error {
	return fmt.Errorf("%w: want revision %d, and it is %d: read it again, and decide anew", ErrConflict, want, have)
}

// request is a call of Apply.
type request struct {
	ctx     context.Context
	changes []tenant.Change
	opts    ApplyOptions
	token   string
	taken   atomic.Bool // by the committer, or given up by its caller
	done    chan struct{}

	// The outcome, for the caller once done is closed.
	applied Applied
	err     error
}

func (r *request) answer(a Applied, err error) {
	r.applied, r.err = a, err
	if err == nil && r.opts.Progress != nil {
		r.opts.Progress(len(a.Effective), len(a.Effective))
	}
	close(r.done)
}

// commit applies what is queued, until ctx ends: always as much at once as makes
// one transaction, so that many small changes share the wait for the disk.
func (s *Store) commit(ctx context.Context) error {
	var held *request
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-s.queue:
			case <-ctx.Done():
				return ctx.Err()
			}
			if !first.taken.CompareAndSwap(false, true) {
				continue
			}
		}
		var batch []*request
		batch, held = s.collect(first)
		s.process(ctx, batch)
		if ctx.Err() != nil && held != nil {
			held.answer(Applied{}, errEnding)
		}
	}
}

// collect adds to first what is queued and goes with it. What does not comes back
// as held.
func (s *Store) collect(first *request) (batch []*request, held *request) {
	batch = []*request{first}
	if first.opts.IfRevision != 0 || len(first.changes) >= s.c.MaxTxnOps {
		return batch, nil
	}
	touched := make(map[tenant.Key]bool, len(first.changes))
	for _, c := range first.changes {
		touched[c.Key()] = true
	}
	for {
		var r *request
		select {
		case r = <-s.queue:
		default:
			return batch, nil
		}
		if !r.taken.CompareAndSwap(false, true) {
			continue
		}
		goes := r.opts.IfRevision == 0 && r.opts.Author == first.opts.Author && r.opts.Comment == first.opts.Comment &&
			len(touched)+len(r.changes) <= s.c.MaxTxnOps &&
			!slices.ContainsFunc(r.changes, func(c tenant.Change) bool { return touched[c.Key()] })
		if !goes {
			return batch, r
		}
		for _, c := range r.changes {
			touched[c.Key()] = true
		}
		batch = append(batch, r)
	}
}

// process applies a batch and answers its requests.
func (s *Store) process(ctx context.Context, batch []*request) {
	waited := time.Now()
	for {
		if err := s.quorum.err(); err != nil { // since they were queued
			for _, r := range batch {
				r.answer(Applied{}, err)
			}
			return
		}
		st := s.state.Load()
		if r := batch[0]; r.opts.IfRevision != 0 && r.opts.IfRevision < st.head.Revision {
			r.answer(Applied{}, conflict(r.opts.IfRevision, st.head.Revision))
			return
		}
		p := s.plan(st, batch)
		var err error
		switch {
		case len(p.ops) > s.c.MaxTxnOps || p.size > s.c.MaxTxnBytes:
			if len(batch) > 1 { // together they are too large
				for _, r := range batch {
					s.process(ctx, []*request{r})
				}
				return
			}
			err = s.stage(ctx, batch[0].ctx, p)
		default:
			err = s.commitPlan(ctx, p)
		}
		var again *lostError
		if !errors.As(err, &again) {
			s.answerAll(p, err)
			return
		}
		if err := s.retry(ctx, batch, again, waited); err != nil {
			for _, r := range batch {
				r.answer(Applied{}, err)
			}
			return
		}
	}
}

// lostError says that the policy was not what an apply was made for.
type lostError struct {
	head    uint64 // that is in force instead
	staging bool   // somebody is at a large apply
}

// Error implements error.
func (e *lostError) Error() string { return fmt.Sprintf("the policy moved on to revision %d", e.head) }

// retry waits for what an apply has lost against.
func (s *Store) retry(ctx context.Context, batch []*request, lost *lostError, since time.Time) error {
	if r := batch[0]; r.opts.IfRevision != 0 && lost.head != r.opts.IfRevision {
		return conflict(r.opts.IfRevision, lost.head)
	}
	if len(batch) == 1 && batch[0].ctx.Err() != nil {
		return batch[0].ctx.Err()
	}
	rctx, cancel := context.WithTimeout(ctx, s.c.RequestTimeout)
	defer cancel()
	if !lost.staging {
		return s.unavailable(s.reached(rctx, lost.head))
	}
	// The fence may be up before the watch has told of it: what counts is that it goes.
	s.pokeRecoverer()
	bctx, cancel := context.WithTimeout(ctx, max(s.c.BusyWait-time.Since(since), time.Millisecond))
	defer cancel()
	for {
		_, st, _, err := s.readHead(bctx, 0)
		if err == nil && st == nil {
			return nil
		}
		if err == nil {
			err = s.await(bctx, func() bool { return s.staging == nil || s.staging.fence > st.fence })
		}
		if err == nil {
			err = sleep(bctx, 5*time.Millisecond) // the watch lags behind what was read
		}
		if err != nil {
			if busy := s.busy(); busy != nil {
				return busy
			}
			if ctx.Err() == nil && bctx.Err() != nil {
				return ErrBusy
			}
			return s.unavailable(err)
		}
	}
}

// plan is what a batch makes of the policy of a state.
type plan struct {
	base     *state
	next     *tenant.Policy
	requests []planned
	all      []tenant.Change // effective, of all requests, by key
	ops      []write
	size     int
	opts     ApplyOptions
	token    string
	head     Head // once it is in force
}

// planned is a request with what it changes, or with why it cannot.
type planned struct {
	*request
	effective []tenant.Change
	problems  []tenant.Problem
}

// write is a key of etcd with its new value, "" for a deleted object.
type write struct{ key, value string }

func (s *Store) plan(st *state, batch []*request) *plan {
	p := &plan{base: st, next: st.policy, opts: batch[0].opts, token: batch[0].token, requests: make([]planned, len(batch))}
	var all []tenant.Change
	for i, r := range batch {
		p.requests[i].request = r
		all = append(all, r.changes...)
	}
	next, problems := st.policy.Apply(all, st.head.Revision)
	switch {
	case len(problems) == 0:
		p.next = next
	case len(batch) == 1:
		p.requests[0].problems = problems
	default: // one after the other, so that only those at fault fail
		for i, r := range batch {
			next, problems := p.next.Apply(r.changes, st.head.Revision)
			if len(problems) > 0 {
				p.requests[i].problems = problems
			} else {
				p.next = next
			}
		}
	}
	for i := range p.requests {
		if r := &p.requests[i]; len(r.problems) == 0 {
			r.effective = effective(st.policy, r.changes)
			p.all = append(p.all, r.effective...)
		}
	}
	if len(batch) > 1 {
		sorted(p.all)
	}
	p.ops = make([]write, 0, len(p.all)+1)
	for _, c := range p.all {
		p.add(s.keys.object(c.Key()), c.Object())
	}
	s.repair(p)
	return p
}

func (p *plan) add(key string, o tenant.Object) {
	value := ""
	if o != nil {
		b, err := o.MarshalJSON()
		if err != nil {
			panic(err) // it has no field that could not be
		}
		value = string(b)
	}
	p.ops = append(p.ops, write{key, value})
	p.size += len(key) + len(value) + 40
}

// repair adds to a plan what puts back objects that somebody edited.
func (s *Store) repair(p *plan) {
	s.mu.Lock()
	var keys []string
	for k := range s.foreign {
		if len(keys) < spareOps-5 {
			keys = append(keys, k)
		}
	}
	s.mu.Unlock()
	for _, text := range keys {
		key := s.keys.objects + text
		if slices.ContainsFunc(p.ops, func(w write) bool { return w.key == key }) {
			continue
		}
		var o tenant.Object
		if k, err := tenant.ParseKey(text); err == nil {
			o, _ = p.base.policy.Object(k)
		}
		p.add(key, o)
	}
}

// answerAll tells each caller the outcome of its part.
func (s *Store) answerAll(p *plan, err error) {
	for _, r := range p.requests {
		switch {
		case err != nil:
			r.answer(Applied{}, err)
		case len(r.problems) > 0:
			r.answer(Applied{}, &InvalidError{r.problems})
		case len(r.effective) == 0:
			r.answer(Applied{Head: p.base.head.Head}, nil)
		default:
			r.answer(Applied{Head: p.head, Effective: r.effective}, nil)
		}
	}
}
